//! LongProc's data sets.

use super::*;
use crate::eval::dataset::tests::folder::{all, write, write_list};

#[test]
fn prompts_are_the_users_with_their_fields() {
    let folder = all();
    for (name, expected) in [
        (
            "path_traversal_2k",
            "Routes.\nA leads to B by bus.\nFrom A to B, as {city}.",
        ),
        ("tom_tracking_0.5k", "Ann enters.\nWhere is the ball?"),
        ("countdown_0.5k", "# Search one\nNow [3, 8, 21, 30] to 14."),
        (
            "travel_planning_2k",
            "\nPlan: Visit 2 European cities for 6 days.",
        ),
        (
            "html_to_tsv_0.5k",
            "<p>Heat, 1995</p>\nFilms List them. name\tyear All.",
        ),
    ] {
        let set = ask(name, &folder.settings(), 4096).unwrap();
        assert_eq!(set.items.len(), 1, "{name}");
        assert_eq!(prompt_of(&set.items[0]), expected, "{name}");
        assert_eq!(set.items[0].parts.before_question(), None, "{name}");
        assert!(
            set.notes.iter().any(|note| note.contains("chat")),
            "{:?}",
            set.notes
        );
    }
}

#[test]
fn right_answers_are_right() {
    let folder = all();
    for (name, output) in [
        (
            "path_traversal_0.5k",
            "<Route>\nFrom A, take a bus to B.\n</Route>",
        ),
        (
            "tom_tracking_0.5k",
            "- Ann is in the hall.\n- Ann believes the ball is nowhere.",
        ),
        (
            "countdown_0.5k",
            "<Solution>\n3 - 8 = -5\n-5 + 21 = 16\n30 - 16 = 14\n</Solution>",
        ),
        (
            "travel_planning_2k",
            "<Plan>\nDay 1-4 Oslo\nDay 4 from Oslo to Porto\nDay 4-6 Porto\n</Plan>",
        ),
        ("html_to_tsv_0.5k", "```tsv\nname\tyear\nHeat\t1995\n```"),
    ] {
        let item = ask(name, &folder.settings(), 4096).unwrap().items.remove(0);
        assert!((score(name, &item, output) - 1.0).abs() < 1e-9, "{name}");
    }
}

#[test]
fn tours_are_those_of_their_level() {
    let folder = all();
    let sources = |name: &str, length: usize| -> Vec<String> {
        let items = ask(name, &folder.settings(), length).unwrap().items;
        items
            .into_iter()
            .map(|item| item.origin.unwrap().source)
            .collect()
    };
    assert_eq!(
        sources("travel_planning_2k", 4096),
        ["travel_planning_all.json:1"]
    );
    assert_eq!(
        sources("travel_planning_8k", 16_384),
        ["travel_planning_all.json:3"]
    );
}

#[test]
fn pages_outside_of_the_folder_and_prompts_with_unknown_fields_are_refused() {
    let folder = all();
    let root = folder.longproc().join("html_to_tsv");
    let outside = folder.helmet().join("secret.html");
    write(&outside, "x");
    for (path, words) in [
        ("../../../helmet/secret.html", "lies outside of"),
        (outside.to_str().unwrap(), "lies outside of"),
        ("none.html", "there is no `none.html`"),
    ] {
        write_list(
            &root.join("html_to_tsv_2k.json"),
            &[json!({
                "html_path": path, "task_topic": "", "task_description": "", "gt": "a\nb", "tsv_header": "a", "filtering_instruction": "",
            })],
        );
        let error = ask("html_to_tsv_2k", &folder.settings(), 4096)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(words) && error.contains("html_to_tsv_2k.json:1"),
            "{error}"
        );
    }
    write(&root.join("prompts.yaml"), "USER_PROMPT: '{html}'");
    let error = ask("html_to_tsv_0.5k", &folder.settings(), 4096)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("prompts.yaml") && error.contains("html"),
        "{error}"
    );
    write(&root.join("prompts.yaml"), "SYSTEM: x");
    let error = ask("html_to_tsv_0.5k", &folder.settings(), 4096)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("prompts.yaml") && error.contains("USER_PROMPT"),
        "{error}"
    );
}
