//! The word of native sparse attention: `nsa[:top=N][:block=N][:window=N]`.

use super::setting_words::{self, Setting};
use crate::infer::cache::branches::Branches;
use crate::span::Span;
use std::fmt;

/// The method's name.
pub(super) const NAME: &str = "nsa";

const SETTINGS: [Setting; 3] = [
    Setting::new("top", Branches::NUM_BLOCKS, Branches::MIN_BLOCKS),
    Setting::new("block", Branches::BLOCK_LEN, 1),
    Setting::new("window", Branches::WINDOW_LEN, 1),
];

/// Reads the settings in `words`.
///
/// # Errors
/// What is wrong with a setting.
pub(super) fn read<'a>(words: impl Iterator<Item = &'a str>) -> Result<Branches, String> {
    let [num_blocks, block_len, window_len] = setting_words::read(NAME, &SETTINGS, words)?;
    Ok(Branches {
        num_blocks,
        block_len,
        window: Span::new(0, window_len, 1).map_err(|error| error.to_string())?,
    })
}

/// Writes the word that [`read`] turns into `branches`.
pub(super) fn write(branches: Branches, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let window_len = branches.window.window_len();
    let values = [branches.num_blocks, branches.block_len, window_len];
    f.write_str(NAME)?;
    setting_words::write(&SETTINGS, values, f)
}

#[cfg(test)]
mod tests {
    use crate::eval::method_spec::MethodSpec;

    #[test]
    fn words_survive_reading_and_printing() {
        for word in ["nsa", "nsa:top=3:block=4:window=8", "nsa:window=64"] {
            assert_eq!(word.parse::<MethodSpec>().unwrap().to_string(), word);
        }
        let error = "nsa:top=2".parse::<MethodSpec>().unwrap_err().to_string();
        assert!(error.contains("at least 3"), "{error}");
    }
}
