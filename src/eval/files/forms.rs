//! Every wording there is: its file in `data/prompts`, and the fields that each of its texts may name.

use super::wording::Form;

const NONE: &[&str] = &[];
const DEMOS: &[&str] = &["demos"];
const QUESTION: &[&str] = &["question"];

/// Questions over passages.
pub const KILT: Form = Form {
    name: "kilt",
    text: include_str!("../../../data/prompts/kilt.toml"),
    instruction: DEMOS,
    item: &["title", "text"],
    demo: &["documents", "question", "answer"],
    question: QUESTION,
    cue: NONE,
};

/// The value of a key.
pub const JSON_KV: Form = Form {
    name: "json_kv",
    text: include_str!("../../../data/prompts/json_kv.toml"),
    instruction: NONE,
    item: NONE,
    demo: &["key", "value"],
    question: &["demos", "key"],
    cue: NONE,
};

/// One fact in a long text.
pub const NIAH: Form = Form {
    name: "niah",
    text: include_str!("../../../data/prompts/niah.toml"),
    instruction: &["kind"],
    item: NONE,
    demo: NONE,
    question: &["kind", "query"],
    cue: &["kind", "query"],
};

/// Several facts in a long text.
pub const NIAH_MANY: Form = Form {
    name: "niah_many",
    text: include_str!("../../../data/prompts/niah_many.toml"),
    ..NIAH
};

/// Passages to be ranked.
pub const MSMARCO: Form = Form {
    name: "msmarco",
    text: include_str!("../../../data/prompts/msmarco.toml"),
    instruction: DEMOS,
    item: &["id", "heading", "text"],
    demo: &["documents", "query", "ranking"],
    question: &["query"],
    cue: NONE,
};

/// Labels learnt from examples.
pub const ICL: Form = Form {
    name: "icl",
    text: include_str!("../../../data/prompts/icl.toml"),
    instruction: NONE,
    item: &["text", "label"],
    demo: NONE,
    question: &["text"],
    cue: NONE,
};

/// Questions about a story.
pub const NARRATIVEQA: Form = Form {
    name: "narrativeqa",
    text: include_str!("../../../data/prompts/narrativeqa.toml"),
    instruction: DEMOS,
    item: NONE,
    demo: &["question", "answer"],
    question: QUESTION,
    cue: NONE,
};

/// Questions about a book.
pub const INFBENCH_QA: Form = Form {
    name: "infbench_qa_eng",
    text: include_str!("../../../data/prompts/infbench_qa_eng.toml"),
    ..NARRATIVEQA
};

/// Questions about a book with options.
pub const INFBENCH_CHOICE: Form = Form {
    name: "infbench_choice_eng",
    text: include_str!("../../../data/prompts/infbench_choice_eng.toml"),
    demo: &["question", "options", "answer"],
    question: &["question", "options"],
    ..NARRATIVEQA
};

/// Summary of a book.
pub const INFBENCH_SUM: Form = Form {
    name: "infbench_sum_eng",
    text: include_str!("../../../data/prompts/infbench_sum_eng.toml"),
    demo: &["answer"],
    question: NONE,
    ..NARRATIVEQA
};

/// Summary of a lawsuit.
pub const MULTI_LEXSUM: Form = Form {
    name: "multi_lexsum",
    text: include_str!("../../../data/prompts/multi_lexsum.toml"),
    ..INFBENCH_SUM
};

/// All wordings.
pub const ALL: [&Form; 11] = [
    &KILT,
    &JSON_KV,
    &NIAH,
    &NIAH_MANY,
    &MSMARCO,
    &ICL,
    &NARRATIVEQA,
    &INFBENCH_QA,
    &INFBENCH_CHOICE,
    &INFBENCH_SUM,
    &MULTI_LEXSUM,
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::files::wording::Wording;

    #[test]
    fn ours_name_known_fields_only_and_ask() {
        for form in ALL {
            let wording = Wording::ours(form).unwrap();
            let cue = wording.cue(
                &form
                    .cue
                    .iter()
                    .map(|field| (*field, "x"))
                    .collect::<Vec<_>>(),
            );
            assert!(
                !cue.unwrap().ends_with(char::is_whitespace),
                "{}",
                form.name
            );
        }
    }

    #[test]
    fn every_file_of_wordings_has_its_form() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("data/prompts");
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| {
                entry
                    .unwrap()
                    .path()
                    .file_stem()
                    .unwrap()
                    .to_string_lossy()
                    .into_owned()
            })
            .collect();
        files.sort();
        let mut names: Vec<&str> = ALL.iter().map(|form| form.name).collect();
        names.sort_unstable();
        assert_eq!(files, names);
    }
}
