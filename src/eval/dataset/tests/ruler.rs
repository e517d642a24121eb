//! RULER's files, and kvpress's.

use super::*;
use crate::eval::dataset::tests::folder::{Folder, all, write_lines};

#[test]
fn whole_prompts_are_split_before_their_question() {
    let folder = all();
    for (name, context, question) in [
        (
            "ruler_niah_single_1",
            "Remember.\nIt is 77.\n",
            "What is it?",
        ),
        (
            "ruler_qa_2",
            "Answer the question based on the given documents.\n\nDocument 1:\nIt is 77.\n\n",
            "Answer the question based on the given documents.\n\nQuestion: What is it?",
        ),
    ] {
        let item = ask(name, &folder.settings(), 4096).unwrap().items.remove(0);
        assert_eq!(part(&item, &item.parts.context), context);
        assert_eq!(part(&item, &item.parts.question), question);
        assert_eq!(
            (item.cue.as_str(), item.max_new_tokens),
            (" It is", if name == "ruler_qa_2" { 32 } else { 128 })
        );
        assert!((score(name, &item, " 77.") - 1.0).abs() < 1e-9);
    }
}

#[test]
fn rows_of_kvpress_are_those_of_the_task() {
    let folder = Folder::new();
    let row = |task: &str, number: usize| {
        json!({
            "context": format!("It is {number}."), "question": "\nWhat is it?", "answer_prefix": " It is", "answer": [number.to_string()],
            "task": task, "max_new_tokens": 7,
        })
    };
    let path = folder.ruler().join("512.jsonl");
    write_lines(&path, &[row("vt", 1), row("cwe", 2), row("vt", 3)]);
    let items = ask("ruler_vt", &folder.settings(), 512).unwrap().items;
    let prompts: Vec<String> = items.iter().map(prompt_of).collect();
    assert_eq!(
        prompts,
        ["It is 1.\nWhat is it? It is", "It is 3.\nWhat is it? It is"]
    );
    assert!(items.iter().all(|item| item.max_new_tokens == 7));
    let none = ask("ruler_fwe", &folder.settings(), 512)
        .unwrap_err()
        .to_string();
    assert!(none.contains("`task` is `fwe`"), "{none}");
}

#[test]
fn prompts_that_are_too_long_stay_whole_and_cannot_be_run() {
    let folder = Folder::new();
    let row = json!({"input": "word ".repeat(300) + "\nWhat?", "outputs": ["x"]});
    write_lines(&folder.ruler().join("vt/validation_200.jsonl"), &[row]);
    let set = ask("ruler_vt", &folder.settings(), 200).unwrap();
    assert!(set.items[0].max_len() > 200);
    let skip = FileSettings {
        on_overflow: Some(crate::config::eval_files::Overflow::Skip),
        ..folder.settings()
    };
    let set = ask("ruler_vt", &skip, 200).unwrap();
    assert_eq!((set.items.len(), set.num_expected), (0, 0));
    assert!(
        set.notes[0].contains("1 items that are too long were left out"),
        "{:?}",
        set.notes
    );
}
