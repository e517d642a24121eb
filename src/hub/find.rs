//! Finds masks for a base model, by the tags that the Hub derives from their cards.

use crate::hub::client::Hub;
use crate::hub::error::HubError;
use crate::hub::repo::Repo;
use crate::hub::settings::Settings;

/// The tag of every card that `prulong` writes.
const TAG: &str = "prulong";

/// A repository that may hold a mask.
#[derive(Debug, PartialEq, Eq, serde::Serialize)]
pub struct Found {
    /// `owner/name`.
    pub repository: String,
    /// In the last 30 days.
    pub downloads: Option<u64>,
    /// How many like it.
    pub likes: Option<u64>,
    /// When it changed last.
    pub last_modified: Option<String>,
}

/// Repositories with our tag whose card names `base_model`, in the Hub's order.
///
/// # Errors
/// [`HubError`].
pub fn find(settings: &Settings, base_model: &Repo) -> Result<Vec<Found>, HubError> {
    if settings.offline {
        return Err(HubError::Offline {
            what: "searching needs the network".to_owned(),
        });
    }
    let hub = Hub::connect(settings)?;
    // One tag can be asked for: ours is the rarer one.
    let listed = hub
        .client
        .list_models()
        .filter(TAG)
        .send()
        .map_err(|error| hub.asked(base_model, "list repositories").failed(error))?;
    let wanted = format!("base_model:{base_model}");
    let is_wanted = |tags: &[String]| tags.iter().any(|tag| tag.eq_ignore_ascii_case(&wanted));
    let found = listed
        .into_iter()
        .filter(|model| is_wanted(model.tags.as_deref().unwrap_or_default()));
    let found = found.map(|model| Found {
        repository: model.id,
        downloads: model.downloads,
        likes: model.likes,
        last_modified: model.last_modified,
    });
    Ok(found.collect())
}
