//! A stand-in for the Hub: two servers of this machine, the Hub itself and another host where large files lie.
//!
//! Everything asked is written down; a test may answer in the Hub's place.

use crate::hub_routes::{self, State};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use tiny_http::{Header, Response, Server};

/// A token that may read and write.
pub(crate) const TOKEN: &str = "hf_stand_in_token";

/// A request.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) url: String,
    pub(crate) authorization: Option<String>,
    pub(crate) body: Vec<u8>,
}

impl Seen {
    /// Method and address, as tests name them.
    pub(crate) fn line(&self) -> String {
        format!("{} {}", self.method, self.url)
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// An answer.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: body.into(),
        }
    }

    pub(crate) fn json(value: &serde_json::Value) -> Self {
        Self::new(200, value.to_string()).with("Content-Type", "application/json")
    }

    /// A refusal as the Hub words it.
    pub(crate) fn error(status: u16, code: &str, message: &str) -> Self {
        let body = serde_json::json!({ "error": message }).to_string();
        let reply = Self::new(status, body).with("X-Error-Message", message);
        let reply = reply.with("X-Request-Id", "Root=1-stand-in");
        if code.is_empty() {
            reply
        } else {
            reply.with("X-Error-Code", code)
        }
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// What a test answers in place of a server.
pub(crate) type Override = Box<dyn FnMut(&Seen) -> Option<Reply> + Send>;

/// Shared between a test and the threads that answer.
pub(crate) struct Shared {
    pub(crate) state: State,
    pub(crate) hub_log: Vec<Seen>,
    pub(crate) storage_log: Vec<Seen>,
    pub(crate) instead: Option<Override>,
}

/// Both servers; they stop when it is dropped.
pub(crate) struct HubServer {
    pub(crate) url: String,
    pub(crate) storage_url: String,
    shared: Arc<Mutex<Shared>>,
    servers: Vec<(Arc<Server>, Option<JoinHandle<()>>)>,
}

impl HubServer {
    pub(crate) fn start() -> Self {
        let [hub, storage] = [(); 2].map(|()| Arc::new(Server::http("127.0.0.1:0").unwrap()));
        let [url, storage_url] = [&hub, &storage].map(|server| {
            let address = server.server_addr().to_ip().unwrap();
            format!("http://{address}")
        });
        let shared = Arc::new(Mutex::new(Shared {
            state: State::new(&url, &storage_url),
            hub_log: Vec::new(),
            storage_log: Vec::new(),
            instead: None,
        }));
        let servers = [(hub, true), (storage, false)].map(|(server, is_hub)| {
            let (worker, shared) = (Arc::clone(&server), Arc::clone(&shared));
            let thread = std::thread::spawn(move || serve(&worker, &shared, is_hub));
            (server, Some(thread))
        });
        Self {
            url,
            storage_url,
            shared,
            servers: servers.into(),
        }
    }

    pub(crate) fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap()
    }

    /// Lets `answer` speak first.
    pub(crate) fn instead(&self, answer: impl FnMut(&Seen) -> Option<Reply> + Send + 'static) {
        self.shared().instead = Some(Box::new(answer));
    }

    /// Method and address of everything that the Hub was asked.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.shared().hub_log.iter().map(Seen::line).collect()
    }

    /// The same for the other host.
    pub(crate) fn storage_lines(&self) -> Vec<String> {
        self.shared().storage_log.iter().map(Seen::line).collect()
    }
}

impl Drop for HubServer {
    fn drop(&mut self) {
        for (server, thread) in &mut self.servers {
            server.unblock();
            // A failed assertion of a thread shows in what it did not answer.
            let _ = thread.take().unwrap().join();
        }
    }
}

fn serve(server: &Server, shared: &Mutex<Shared>, is_hub: bool) {
    for mut request in server.incoming_requests() {
        let mut body = Vec::new();
        request.as_reader().read_to_end(&mut body).unwrap();
        let authorization = request.headers().iter().find_map(|header| {
            let is_it = header.field.equiv("Authorization");
            is_it.then(|| header.value.as_str().to_owned())
        });
        let seen = Seen {
            method: request.method().to_string(),
            url: request.url().to_owned(),
            authorization,
            body,
        };
        let reply = answer(&mut shared.lock().unwrap(), seen, is_hub);
        let mut response = Response::from_data(reply.body).with_status_code(reply.status);
        for (name, value) in reply.headers {
            response.add_header(Header::from_bytes(name, value).unwrap());
        }
        // A client may leave before it has read everything.
        let _ = request.respond(response.with_chunked_threshold(usize::MAX));
    }
}

fn answer(shared: &mut Shared, seen: Seen, is_hub: bool) -> Reply {
    let instead = shared.instead.as_mut().and_then(|answer| answer(&seen));
    let reply = instead.unwrap_or_else(|| {
        if is_hub {
            hub_routes::hub(&mut shared.state, &seen)
        } else {
            hub_routes::storage(&shared.state, &seen)
        }
    });
    if is_hub {
        shared.hub_log.push(seen);
    } else {
        shared.storage_log.push(seen);
    }
    reply
}
