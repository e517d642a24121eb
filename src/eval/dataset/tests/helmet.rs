//! HELMET's data sets.

use super::*;
use crate::data::chat_template::ChatTemplate;
use crate::eval::dataset::tests::folder::{Folder, all, kilt, write, write_lines};
use crate::eval::gold::Gold;

#[test]
fn questions_stand_behind_passages_and_demonstrations() {
    let folder = all();
    let set = ask("kilt_nq", &folder.settings(), 4096).unwrap();
    assert_eq!(set.items.len(), 6);
    assert_eq!(set.depths.as_deref(), Some(&[0.0, 1.0][..]));
    for item in &set.items {
        let prompt = prompt_of(item);
        let question = part(item, &item.parts.question);
        let number = question
            .trim()
            .trim_start_matches("Question: What is ")
            .trim_end_matches('?');
        assert_eq!(question, format!("Question: What is {number}?\n"));
        assert!(prompt.ends_with("\nAnswer:"));
        // Two demonstrations with three passages each, then the item's own.
        assert_eq!(prompt.matches("Question: ").count(), 3);
        assert_eq!(prompt.matches("Document (Title: Page ").count(), 2 * 3 + 4);
        let context = part(item, &item.parts.context);
        assert!(
            context.starts_with("Document (Title: Page 0)") && context.ends_with(".\n\n"),
            "{context}"
        );
        assert!((score("kilt_nq", item, &format!(" answer{number}\n")) - 1.0).abs() < 1e-9);
        assert!(score("kilt_nq", item, " something\n") < 1e-9);
        // The answer stands in the first or the last passage.
        let is_first = item.meta.depth == Some(0.0);
        assert_eq!(
            item.meta.needle_distance.unwrap() > item.parts.context.len() / 2,
            is_first
        );
        assert_eq!(item.meta.depth_index, usize::from(!is_first));
    }
    let origin = set.items[2].origin.as_ref().unwrap();
    assert_eq!(origin.source, "nq-dev-multikilt_1000_k20_dep6.jsonl:3");
    assert!(origin.template.is_some() && !origin.chat);
}

#[test]
fn at_most_a_hundred_questions_are_asked_at_all_their_depths() {
    let folder = Folder::new();
    let file = |name: &str| folder.helmet().join("kilt").join(name);
    write_lines(
        &file("nq-dev-multikilt_1000_k20_dep6.jsonl"),
        &kilt(130, 2, &json!({})),
    );
    write_lines(
        &file("nq-train-multikilt_1000_k3_dep6.jsonl"),
        &kilt(4, 3, &json!({})),
    );
    let set = ask("kilt_nq", &folder.settings(), 4096).unwrap();
    assert_eq!(set.items.len(), 200);
    // Python: random.seed(42); random.sample(sorted(...), 100).
    let mut questions: Vec<String> = (0..130)
        .map(|number| format!("What is {number}?"))
        .collect();
    questions.sort();
    let drawn = crate::eval::choice::python::Python::new(42).sample(130, 100);
    let asked: Vec<String> = set
        .items
        .iter()
        .map(|item| part(item, &item.parts.question))
        .collect();
    for place in drawn {
        assert!(asked.contains(&format!("Question: {}\n", questions[place])));
    }
}

#[test]
fn popular_entities_and_the_items_own_demonstrations_are_left_out() {
    let set = ask("kilt_popqa_3", &all().settings(), 4096).unwrap();
    assert_eq!(set.items.len(), 6);
    for item in &set.items {
        let asked = part(item, &item.parts.question);
        assert_eq!(prompt_of(item).matches(asked.trim()).count(), 1);
    }
}

#[test]
fn keys_of_objects_are_asked_after_the_object() {
    let set = ask("helmet_json_kv", &all().settings(), 4096).unwrap();
    let item = set.items.iter().find(|item| item.id == "4096-2").unwrap();
    let prompt = prompt_of(item);
    assert!(
        prompt.starts_with("JSON data:\n{\"k1\": \"v1\",\n\"k\": \"v\"}\n\nFind the key"),
        "{prompt}"
    );
    assert!(prompt.ends_with("Key: k\nCorresponding value: v\n\nKey: a\nCorresponding value: b\n\nKey: k1\nCorresponding value:"));
    assert!((score("helmet_json_kv", item, " v1\nKey: x") - 1.0).abs() < 1e-9);
    assert_eq!(item.meta.depth_index, 1);
    assert_eq!(set.depths.unwrap().len(), 4);
}

#[test]
fn needles_are_asked_for_in_the_number_of_their_values() {
    let folder = all();
    let one = ask("helmet_niah_mk_3", &folder.settings(), 4096)
        .unwrap()
        .items
        .remove(0);
    assert_eq!(one.max_new_tokens, 100);
    assert!(one.cue.starts_with("The special magic uuid for key-") && one.cue.ends_with(" is"));
    let many = ask("helmet_niah_mv", &folder.settings(), 4096)
        .unwrap()
        .items
        .remove(0);
    assert!(
        many.cue.starts_with("The special magic numbers for key-") && many.cue.ends_with(" are")
    );
    let Gold::Answers { answers } = &many.gold else {
        panic!("{:?}", many.gold);
    };
    assert_eq!(answers.len(), 2);
    assert!((score("helmet_niah_mv", &many, &format!(" {}.", answers[0])) - 0.5).abs() < 1e-9);
}

#[test]
fn passages_are_ranked_by_their_labels() {
    let set = ask("msmarco_rerank_psg", &all().settings(), 4096).unwrap();
    assert_eq!(set.items.len(), 4);
    for (query, item) in set.items.iter().enumerate() {
        let prompt = prompt_of(item);
        assert!(prompt.contains("[ID: 102] Document: Text 2."));
        // No query of any item is left to be shown but the item's own is not.
        assert_eq!(
            prompt.matches(&format!("Query: query {query}\n")).count(),
            1
        );
        assert_eq!(prompt.matches("\nRanking: 10").count(), 2);
        let best = format!(" {} > {}", 100 + query, 101 + query);
        assert!((score("msmarco_rerank_psg", item, &best) - 1.0).abs() < 1e-9);
        let worse = format!(" {} > {}", 101 + query, 100 + query);
        assert!(score("msmarco_rerank_psg", item, &worse) < 1.0);
    }
}

#[test]
fn labels_are_numbers_that_differ_between_items() {
    let folder = all();
    let set = ask("icl_trec_coarse", &folder.settings(), 4096).unwrap();
    assert_eq!(set.items.len(), 3);
    for item in &set.items {
        let prompt = prompt_of(item);
        let Gold::Answers { answers } = &item.gold else {
            panic!("{:?}", item.gold);
        };
        // The label of the item is that of every example with the same one.
        let asked: usize = part(item, &item.parts.question)
            .trim()
            .trim_start_matches("text ")
            .parse()
            .unwrap();
        let shots: Vec<(usize, &str)> = prompt
            .split("\n\n")
            .filter_map(|shot| shot.strip_prefix("text ")?.split_once("\nlabel: "))
            .map(|(text, label)| (text.parse().unwrap(), label))
            .collect();
        // 200 shots of six labels do not fit into 4,096 tokens of this tokenizer: the last ones are cut.
        assert!(shots.len() > 100, "{}", shots.len());
        for (text, label) in shots {
            assert_eq!(text % 6 == asked % 6, label == answers[0], "{text} {label}");
        }
        assert!((score("icl_trec_coarse", item, &format!(" {}\n", answers[0])) - 1.0).abs() < 1e-9);
    }
    let nlu = ask("icl_nlu", &folder.settings(), 4096).unwrap();
    assert_eq!(nlu.items.len(), 3, "a tenth of the rows");
}

#[test]
fn stories_are_cut_to_their_room_and_say_so() {
    let set = ask("narrativeqa", &all().settings(), 4096).unwrap();
    assert_eq!(set.items.len(), 2);
    let item = &set.items[0];
    let context = part(item, &item.parts.context);
    assert!(
        context
            .trim_end()
            .ends_with("[the rest of this text is left out]"),
        "{context}"
    );
    let tokens = item.parts.context.len();
    assert!(
        (4096 - 300 - 8..=4096 - 300 + 2).contains(&tokens),
        "{tokens}"
    );
    assert_eq!(prompt_of(item).matches("Question: Who is ").count(), 3);
    assert!(task("narrativeqa").card().proxy);
    assert!(set.notes[0].contains("no chat template"), "{:?}", set.notes);
}

#[test]
fn options_have_letters_and_the_right_one_is_gold() {
    let set = ask("infbench_choice_eng", &all().settings(), 4096).unwrap();
    assert_eq!(set.items.len(), 4);
    for item in &set.items {
        let Gold::Choice { letter, text } = &item.gold else {
            panic!("{:?}", item.gold);
        };
        let question = part(item, &item.parts.question);
        assert!(
            question.contains(&format!("\n{letter}. {text}\n")),
            "{question}"
        );
        assert!(question.ends_with("D. option 3\n\n"));
        assert!((score("infbench_choice_eng", item, &format!(" {letter}\n")) - 1.0).abs() < 1e-9);
        assert_eq!(prompt_of(item).matches("[a story]").count(), 2);
    }
}

#[test]
fn cases_without_a_summary_are_left_out() {
    let set = ask("multi_lexsum", &all().settings(), 4096).unwrap();
    assert_eq!(set.items.len(), 2);
    let sources: Vec<&str> = set
        .items
        .iter()
        .map(|item| &*item.origin.as_ref().unwrap().source)
        .collect();
    assert_eq!(sources, ["validation.jsonl:1", "validation.jsonl:3"]);
    assert!((score("multi_lexsum", &set.items[0], " The court ruled.") - 1.0).abs() < 1e-9);
}

#[test]
fn chats_go_through_the_models_template_and_lose_their_cue() {
    let folder = all();
    let model = tempfile::tempdir().unwrap();
    let template = "{{ bos_token }}<user>{{ messages[0].content | trim }}<end>\n<answer>";
    let config = json!({"chat_template": template, "bos_token": "<|begin_of_text|>"});
    write(
        &model.path().join("tokenizer_config.json"),
        &config.to_string(),
    );
    assert!(ChatTemplate::of_model(model.path()).unwrap().is_some());
    let library = || {
        Library::open(&folder.settings())
            .unwrap()
            .for_model(model.path())
            .unwrap()
    };
    let set = ask_in("infbench_qa_eng", library(), 4096).unwrap();
    assert!(set.notes.is_empty(), "{:?}", set.notes);
    let item = &set.items[0];
    let prompt = prompt_of(item);
    assert!(prompt.starts_with("<user>Read the story"), "{prompt}");
    assert!(prompt.ends_with("?<end>\n<answer>") && item.cue.is_empty());
    let bos = i64::from(TOKENIZER.bos());
    assert_eq!(item.prompt.iter().filter(|id| **id == bos).count(), 1);
    assert!(item.origin.as_ref().unwrap().chat);
    assert!(item.parts.before_question().is_some());
    // Another template makes other prompts, and is another evaluation.
    let other = config.to_string().replace("<answer>", "<reply>");
    write(&model.path().join("tokenizer_config.json"), &other);
    let replied = ask_in("infbench_qa_eng", library(), 4096).unwrap();
    assert_ne!(replied.fingerprint, set.fingerprint);
    // What was never a chat is completed as before.
    let json_kv = ask_in("helmet_json_kv", library(), 4096).unwrap();
    assert_eq!(
        json_kv,
        ask("helmet_json_kv", &folder.settings(), 4096).unwrap()
    );
}

#[test]
fn rows_that_are_wrong_are_named() {
    let folder = all();
    let path = folder
        .helmet()
        .join("kilt/nq-dev-multikilt_1000_k20_dep6.jsonl");
    let row = &kilt(1, 2, &json!({}))[0];
    let check = |change: &dyn Fn(&mut Value), words: &[&str]| {
        let mut bad = row.clone();
        change(&mut bad);
        write_lines(&path, &[row.clone(), bad]);
        let error = ask("kilt_nq", &folder.settings(), 4096).unwrap_err();
        let text = error.to_string();
        assert_eq!(error.code(), "task.row", "{text}");
        assert!(words.iter().all(|word| text.contains(word)), "{text}");
    };
    check(
        &|row| row["answers"] = json!([]),
        &["dep6.jsonl:2", "`answers` holds no right answer"],
    );
    check(
        &|row| row["ctxs"] = json!([{"title": "x"}]),
        &["dep6.jsonl:2", "`ctxs[0]", "missing field `text`"],
    );
    check(
        &|row| row["question"] = json!(7),
        &["dep6.jsonl:2", "`question`"],
    );
    let demos = folder
        .helmet()
        .join("kilt/nq-train-multikilt_1000_k3_dep6.jsonl");
    write_lines(&path, std::slice::from_ref(row));
    write_lines(&demos, &kilt(1, 3, &json!({})));
    let error = ask("kilt_nq", &folder.settings(), 4096)
        .unwrap_err()
        .to_string();
    assert!(error.contains("has 1 demonstrations"), "{error}");
}

#[test]
fn wordings_of_the_user_change_prompts_and_their_fingerprint() {
    let folder = all();
    let ours = ask("helmet_json_kv", &folder.settings(), 4096).unwrap();
    let prompts = tempfile::tempdir().unwrap();
    write(
        &prompts.path().join("json_kv.toml"),
        "demo = '{key}={value}'\nquestion = ' {key}?'\ncue = 'It is'",
    );
    let settings = FileSettings {
        prompts: Some(prompts.path().to_owned()),
        ..folder.settings()
    };
    let theirs = ask("helmet_json_kv", &settings, 4096).unwrap();
    let item = theirs.items.iter().find(|item| item.id == "4096-2");
    let prompt = prompt_of(item.unwrap());
    assert_eq!(
        prompt,
        "JSON data:
{\"k1\": \"v1\",
\"k\": \"v\"} k1?It is"
    );
    assert_ne!(ours.fingerprint, theirs.fingerprint);
    assert_ne!(ours.items[0].origin, theirs.items[0].origin);
}

#[test]
fn results_are_called_as_helmet_calls_them() {
    let name = |task: &str, length| registry::find(task).unwrap().0.published(length);
    for (task, expected, word) in [
        ("helmet_niah_mk_2", "ruler_niah_mk_2", "validation_131072"),
        ("kilt_popqa_3", "kilt_popqa_3", "validation_131072"),
        ("icl_trec_coarse", "icl_trec_coarse_6600shot_balance", ""),
        ("narrativeqa", "narrativeqa_130772", ""),
        ("infbench_qa_eng", "infbench_qa_eng_130862", ""),
        ("infbench_sum_eng", "infbench_sum_eng_129672", ""),
        ("multi_lexsum", "multi_lexsum_130372", ""),
        ("html_to_tsv_0.5k", "html_to_tsv_0.5k", "data"),
    ] {
        let published = name(task, 131_072);
        assert_eq!(published.name, expected);
        assert_eq!(
            published.file.word("validation_131072.jsonl:7"),
            word,
            "{task}"
        );
    }
}

#[test]
fn files_without_enough_to_show_are_refused() {
    let folder = all();
    let books = folder
        .helmet()
        .join("hub/infinitebench/longbook_qa_eng.jsonl");
    let text = std::fs::read_to_string(&books).unwrap();
    write(&books, text.lines().next().unwrap());
    let error = ask("infbench_qa_eng", &folder.settings(), 4096).unwrap_err();
    assert!(error.to_string().contains("has 1 rows"), "{error}");
    write_lines(
        &folder.helmet().join("hub/nlu/train.jsonl"),
        &[json!({"text": "a", "label": 0})],
    );
    let error = ask("icl_nlu", &folder.settings(), 4096).unwrap_err();
    assert!(error.to_string().contains("has no example"), "{error}");
}
