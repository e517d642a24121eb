//! Which ids begin and end a text.
//!
//! The names that Llama tokenizers give them come first, even where a chat model's configuration ends its *turns* with
//! another token: documents end with the end of text. Other tokenizers are asked through the files beside them.

use crate::data::error::DataError;
use serde_json::Value;
use std::path::Path;

/// Ids of the begin and end tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SpecialIds {
    pub bos: u32,
    pub eos: u32,
}

/// Begin and end token of Llama 3 and of Llama 2.
const KNOWN_PAIRS: [(&str, &str); 2] = [("<|begin_of_text|>", "<|end_of_text|>"), ("<s>", "</s>")];

/// Finds both ids for the tokenizer file `path`, whose vocabulary is asked through `token_to_id`.
pub(super) fn find_special(
    path: &Path,
    token_to_id: impl Fn(&str) -> Option<u32>,
) -> Result<SpecialIds, DataError> {
    for (bos, eos) in KNOWN_PAIRS {
        if let (Some(bos), Some(eos)) = (token_to_id(bos), token_to_id(eos)) {
            return Ok(SpecialIds { bos, eos });
        }
    }
    let tokenizer_config = read_json(&path.with_file_name("tokenizer_config.json"))?;
    let model_config = read_json(&path.with_file_name("config.json"))?;
    let find = |token_key: &str, id_key: &str, which: &'static str| {
        named_token(&tokenizer_config, token_key)
            .and_then(&token_to_id)
            .or_else(|| listed_id(&model_config, id_key))
            .ok_or_else(|| DataError::TokenizerSpecial {
                path: path.to_path_buf(),
                which,
            })
    };
    Ok(SpecialIds {
        bos: find("bos_token", "bos_token_id", "begin-of-text")?,
        eos: find("eos_token", "eos_token_id", "end-of-text")?,
    })
}

/// A file that does not exist says nothing; one that is not JSON is an error.
fn read_json(path: &Path) -> Result<Value, DataError> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Value::Null),
        Err(error) => return Err(DataError::io("read", path, error)),
    };
    serde_json::from_slice(&bytes).map_err(|error| DataError::TokenizerFormat {
        path: path.to_path_buf(),
        reason: error.to_string(),
    })
}

/// `"key": "token"` or `"key": {"content": "token"}`.
fn named_token<'a>(config: &'a Value, key: &str) -> Option<&'a str> {
    let entry = config.get(key)?;
    entry.as_str().or_else(|| entry.get("content")?.as_str())
}

/// `"key": 2` or `"key": [2, 3]`, of which the first counts.
fn listed_id(config: &Value, key: &str) -> Option<u32> {
    let entry = config.get(key)?;
    let id = entry.as_u64().or_else(|| entry.get(0)?.as_u64())?;
    u32::try_from(id).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Coded;

    fn check(vocab: &[&str], files: &[(&str, &str)], expected: Result<(u32, u32), &str>) {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let lookup = |token: &str| {
            let index = vocab.iter().position(|known| *known == token)?;
            u32::try_from(index).ok()
        };
        let found = find_special(&folder.path().join("tokenizer.json"), lookup);
        let found = found
            .as_ref()
            .map(|ids| (ids.bos, ids.eos))
            .map_err(Coded::code);
        assert_eq!(found, expected, "{vocab:?} {files:?}");
    }

    #[test]
    fn llama_names_come_before_the_files_beside_the_tokenizer() {
        let chat = [(
            "config.json",
            "{\"bos_token_id\": 7, \"eos_token_id\": [8, 9]}",
        )];
        check(&["<s>", "a", "</s>"], &[], Ok((0, 2)));
        check(&["<|end_of_text|>", "<|begin_of_text|>"], &chat, Ok((1, 0)));
        check(&["<s>", "</s>", "<|begin_of_text|>"], &[], Ok((0, 1)));
        check(&["a"], &chat, Ok((7, 8)));
    }

    #[test]
    fn other_names_come_from_tokenizer_config() {
        let text = "{\"bos_token\": {\"content\": \"B\"}, \"eos_token\": \"E\"}";
        check(&["E", "B"], &[("tokenizer_config.json", text)], Ok((1, 0)));
        check(
            &["E"],
            &[("tokenizer_config.json", text)],
            Err("tok.special"),
        );
        check(&["E"], &[("tokenizer_config.json", "{")], Err("tok.format"));
        check(&["a"], &[], Err("tok.special"));
    }
}
