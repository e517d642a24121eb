//! What `prulong score` prints.

use super::output::Output;
use crate::fault::AnyFault;
use crate::infer::windows::{Lead, Windows};
use serde_json::{Value, json};
use std::f64::consts::LN_2;
use std::fmt::Write;

/// Losses added up.
pub(super) struct Totals {
    num_tokens: usize,
    sum_nats: f64,
    num_bytes: Option<u64>,
}

/// A document and its totals.
pub(super) struct Document {
    /// Name of its source.
    pub source: String,
    /// Its id.
    pub id: String,
    /// Its losses.
    pub totals: Totals,
}

/// A whole result.
pub(super) struct Score {
    /// Over everything.
    pub totals: Totals,
    /// blake3 of the scored bytes, where they are known.
    pub blake3: Option<String>,
    /// The windows, unless each text was read in one pass.
    pub windows: Option<Windows>,
    /// Each document, if sources were scored.
    pub documents: Option<Vec<Document>>,
    /// Each loss, if a file was scored.
    pub nll: Option<Vec<f64>>,
}

impl Totals {
    /// Adds up `losses`, in nats, of a text of `num_bytes` bytes.
    pub(super) fn new(losses: &[f64], num_bytes: Option<u64>) -> Self {
        Self {
            num_tokens: losses.len(),
            sum_nats: losses.iter().sum(),
            num_bytes,
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "no text has 2^53 tokens")]
    fn nats_per_token(&self) -> f64 {
        self.sum_nats / self.num_tokens as f64
    }

    #[expect(clippy::cast_precision_loss, reason = "no text has 2^53 bytes")]
    fn bits_per_byte(&self) -> Option<f64> {
        self.num_bytes
            .map(|bytes| self.sum_nats / LN_2 / bytes as f64)
    }

    fn json(&self) -> Value {
        let mut object = json!({
            "num_tokens": self.num_tokens,
            "perplexity": self.nats_per_token().exp(),
        });
        if let (Some(num_bytes), Some(bits)) = (self.num_bytes, self.bits_per_byte()) {
            object["num_bytes"] = num_bytes.into();
            object["bits_per_byte"] = bits.into();
        }
        object
    }

    fn line(&self) -> String {
        let nats = self.nats_per_token();
        let mut line = format!(
            "{} tokens  {nats:.6} nats per token  perplexity {:.4}",
            self.num_tokens,
            nats.exp()
        );
        if let (Some(num_bytes), Some(bits)) = (self.num_bytes, self.bits_per_byte()) {
            let _ = write!(line, "  {num_bytes} bytes  {bits:.4} bits per byte");
        }
        line
    }
}

impl Score {
    /// Prints it, as JSON or for people.
    ///
    /// # Errors
    /// If standard output refuses it.
    pub(super) fn print(&self, as_json: bool) -> Result<(), AnyFault> {
        let mut out = Output::stdout();
        if as_json {
            out.json(&self.json())?;
        } else {
            for line in self.lines() {
                out.line(line)?;
            }
        }
        out.finish()?;
        Ok(())
    }

    fn json(&self) -> Value {
        let mut object = self.totals.json();
        if let Some(blake3) = &self.blake3 {
            object["blake3"] = blake3.as_str().into();
        }
        if let Some(windows) = &self.windows {
            object["context"] = windows.context_len.into();
            object["stride"] = windows.stride.into();
            object["bos"] = bos_word(windows.lead).into();
        }
        if let Some(documents) = &self.documents {
            let each = documents.iter().map(|document| {
                let mut object = document.totals.json();
                object["source"] = document.source.as_str().into();
                object["id"] = document.id.as_str().into();
                object
            });
            object["documents"] = each.collect();
        }
        if let Some(nll) = &self.nll {
            object["nll"] = nll.as_slice().into();
        }
        object
    }

    fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(documents) = &self.documents {
            lines.push("bits/byte      bytes     tokens  document".to_owned());
            lines.extend(documents.iter().map(|document| {
                let Document { source, id, totals } = document;
                let bits = totals.bits_per_byte().unwrap_or(f64::NAN);
                let num_bytes = totals.num_bytes.unwrap_or(0);
                let num_tokens = totals.num_tokens;
                format!("{bits:>9.4} {num_bytes:>10} {num_tokens:>10}  {source} {id}")
            }));
        }
        lines.push(self.totals.line());
        if let Some(windows) = &self.windows {
            lines.push(format!(
                "in windows of {} tokens, stride {}, begin token at every {}",
                windows.context_len,
                windows.stride,
                bos_word(windows.lead)
            ));
        }
        lines
    }
}

fn bos_word(lead: Lead) -> &'static str {
    match lead {
        Lead::Begin => "window",
        Lead::Previous => "document",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_bit_per_token_of_four_bytes_is_a_quarter() {
        let totals = Totals::new(&[LN_2; 6], Some(24));
        assert!((totals.bits_per_byte().unwrap() - 0.25).abs() < 1e-15);
        assert!((totals.json()["perplexity"].as_f64().unwrap() - 2.0).abs() < 1e-12);
        assert!(totals.line().ends_with("24 bytes  0.2500 bits per byte"));
        let without = Totals::new(&[LN_2], None);
        assert!(without.json().get("bits_per_byte").is_none());
    }
}
