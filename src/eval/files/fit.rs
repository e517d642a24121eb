//! Entries that are brought to a length, and become items.

use super::entry::Entry;
use super::prompt::{Prompt, Writer};
use crate::config::eval_files::Overflow;
use crate::eval::error::EvalError;
use crate::eval::gold::Gold;
use crate::eval::item::{Item, Meta, Origin, Truncated};
use crate::eval::stop::Stop;

/// Seed of HELMET's choices, which decide the items of files.
pub const SEED: u32 = 42;

/// The item of `entry` for a length: whole if it fits or may not be cut, nothing if it is to be left out.
///
/// As in HELMET, the end of the context is cut where its first token begins that is too many, and again until all fits.
///
/// # Errors
/// [`EvalError::Data`] if the tokenizer cannot encode it.
pub fn fit(
    entry: &Entry,
    length: usize,
    overflow: Overflow,
    writer: &Writer<'_>,
) -> Result<Option<Item>, EvalError> {
    let mut prompt = writer.write(entry, &entry.context)?;
    let mut context = entry.context.as_str();
    let too_many =
        |prompt: &Prompt| (prompt.tokens.len() + entry.max_new_tokens).saturating_sub(length);
    if too_many(&prompt) > 0 && overflow == Overflow::Skip {
        return Ok(None);
    }
    let full_len = prompt.tokens.len();
    while overflow == Overflow::Cut && entry.can_cut && too_many(&prompt) > 0 {
        let Some(shorter) = without_last(context, too_many(&prompt), writer)? else {
            break;
        };
        context = shorter;
        prompt = writer.write(entry, context)?;
    }
    let truncated = (context.len() < entry.context.len()).then(|| Truncated {
        part: "context".to_owned(),
        tokens: full_len - prompt.tokens.len(),
        chars: entry.context[context.len()..].chars().count(),
        gold_lost: is_lost(&entry.gold, &entry.context, context),
    });
    Ok(Some(item(
        entry, length, prompt, context, truncated, writer,
    )?))
}

/// `text` without its last `num_tokens` tokens, or one letter shorter; nothing if it has no more.
fn without_last<'a>(
    text: &'a str,
    num_tokens: usize,
    writer: &Writer<'_>,
) -> Result<Option<&'a str>, EvalError> {
    let starts = writer.tokenizer().token_starts(text)?;
    let kept = starts.len().checked_sub(num_tokens);
    let end = kept.and_then(|kept| starts.get(kept)).copied();
    Ok(end.filter(|end| *end < text.len()).map(|end| &text[..end]))
}

/// Whether a right answer stood in the context and does no more.
fn is_lost(gold: &Gold, whole: &str, cut: &str) -> Option<bool> {
    let answers = gold.answers()?;
    let stands = |text: &str| {
        let text = text.to_lowercase();
        answers
            .iter()
            .any(|answer| text.contains(&answer.to_lowercase()))
    };
    stands(whole).then(|| !stands(cut))
}

fn item(
    entry: &Entry,
    length: usize,
    prompt: Prompt,
    context: &str,
    truncated: Option<Truncated>,
    writer: &Writer<'_>,
) -> Result<Item, EvalError> {
    let needle_distance = needle_distance(entry, context, &prompt, writer)?;
    let ids = prompt.tokens.iter().map(|id| i64::from(*id));
    Ok(Item {
        id: format!("{length}-{}", entry.row),
        meta: Meta {
            length,
            depth_index: 0,
            index: entry.row,
            seed: u64::from(SEED),
            depth: entry.depth,
            needle_distance,
            num_units: None,
        },
        prompt: ids.collect(),
        parts: prompt.parts,
        cue: prompt.cue,
        gold: entry.gold.clone(),
        answer: Vec::new(),
        max_new_tokens: entry.max_new_tokens,
        stop: Stop::End,
        origin: Some(Origin {
            source: entry.source.clone(),
            template: entry.template.clone(),
            chat: writer.is_chat(entry),
            truncated,
        }),
    })
}

/// Tokens behind the last right answer in the context, where the file says that one stands there at some depth.
fn needle_distance(
    entry: &Entry,
    context: &str,
    prompt: &Prompt,
    writer: &Writer<'_>,
) -> Result<Option<usize>, EvalError> {
    let (Some(_), Some(answers)) = (entry.depth, entry.gold.answers()) else {
        return Ok(None);
    };
    let ends = answers
        .iter()
        .filter_map(|answer| Some(context.rfind(answer.as_str())? + answer.len()));
    let Some(end) = ends.max() else {
        return Ok(None);
    };
    let before = writer.tokenizer().encode(&context[..end])?.len();
    let start = prompt.parts.context.start;
    Ok(Some(prompt.tokens.len().saturating_sub(start + before)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::tokenizer::Tokenizer;
    use std::path::Path;

    fn tokenizer() -> Tokenizer {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("checkpoints/tiny");
        Tokenizer::from_file(&folder).unwrap()
    }

    fn entry(context: &str) -> Entry {
        Entry {
            row: 7,
            source: "x.jsonl:7".to_owned(),
            depth: Some(0.5),
            instruction: "Read this.\n\n".to_owned(),
            context: context.to_owned(),
            can_cut: true,
            question: "\n\nWhat colour?\n".to_owned(),
            cue: "Answer:".to_owned(),
            gold: Gold::answer("green"),
            max_new_tokens: 5,
            is_chat: false,
            template: None,
        }
    }

    fn decoded(tokenizer: &Tokenizer, item: &Item) -> String {
        tokenizer.decode_output(&item.prompt[1..])
    }

    #[test]
    fn what_fits_is_left_as_it_is() {
        let tokenizer = tokenizer();
        let writer = Writer::new(&tokenizer, None).unwrap();
        let entry = entry("The tree is green. The sea is blue.");
        let item = fit(&entry, 200, Overflow::Cut, &writer).unwrap().unwrap();
        assert_eq!(
            decoded(&tokenizer, &item),
            "Read this.\n\nThe tree is green. The sea is blue.\n\nWhat colour?\nAnswer:"
        );
        let part =
            |range: &std::ops::Range<usize>| tokenizer.decode_output(&item.prompt[range.clone()]);
        assert_eq!(
            part(&item.parts.context),
            "The tree is green. The sea is blue.\n\n"
        );
        assert_eq!(part(&item.parts.question), "What colour?\n");
        assert_eq!(part(&item.parts.cue), "Answer:");
        let distance = item.meta.needle_distance.unwrap();
        let behind = &item.prompt[item.prompt.len() - distance..];
        assert_eq!(
            tokenizer.decode_output(behind),
            ". The sea is blue.\n\nWhat colour?\nAnswer:"
        );
        assert_eq!(item.origin.unwrap().truncated, None);
        assert_eq!(item.id, "200-7");
    }

    #[test]
    fn the_end_of_the_context_is_cut_until_all_fits() {
        let tokenizer = tokenizer();
        let writer = Writer::new(&tokenizer, None).unwrap();
        let entry = entry(&"The sea is blue, caf\u{e9} \u{1f980}. The tree is green. ".repeat(30));
        let full = fit(&entry, 100_000, Overflow::Cut, &writer)
            .unwrap()
            .unwrap();
        for length in (30..full.max_len()).step_by(7) {
            let item = fit(&entry, length, Overflow::Cut, &writer)
                .unwrap()
                .unwrap();
            let origin = item.origin.as_ref().unwrap();
            let truncated = origin.truncated.as_ref().unwrap();
            assert!(
                item.max_len() <= length && item.max_len() + 8 > length,
                "{length}"
            );
            assert_eq!(truncated.tokens, full.prompt.len() - item.prompt.len());
            let text = decoded(&tokenizer, &item);
            assert!(text.ends_with("\n\nWhat colour?\nAnswer:"), "{text}");
            let context = text.split("\n\n").nth(1).unwrap();
            assert!(entry.context.starts_with(context), "{context}");
            assert_eq!(truncated.gold_lost, Some(!text.contains("green")));
        }
    }

    #[test]
    fn what_is_too_long_is_left_out_or_whole() {
        let tokenizer = tokenizer();
        let writer = Writer::new(&tokenizer, None).unwrap();
        let entry = entry(&"green ".repeat(90));
        assert_eq!(fit(&entry, 40, Overflow::Skip, &writer).unwrap(), None);
        let stuck = Entry {
            can_cut: false,
            ..entry.clone()
        };
        for (entry, overflow) in [(&entry, Overflow::Error), (&stuck, Overflow::Cut)] {
            let item = fit(entry, 40, overflow, &writer).unwrap().unwrap();
            assert!(item.max_len() > 40);
        }
        // Instruction and question alone are too long.
        let item = fit(&entry, 8, Overflow::Cut, &writer).unwrap().unwrap();
        assert!(item.max_len() > 8);
    }
}
