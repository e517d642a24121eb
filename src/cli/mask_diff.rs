//! `prulong mask diff`.

use crate::cli::mask_show::{self, load};
use crate::cli::output::{self, Output};
use crate::fault::{AnyFault, Coded, Kind};
use crate::mask::agreement::{Agreement, votes};
use crate::mask::head_mask::HeadMask;
use crate::mask::sidecar::content::Sidecar;
use crate::span::StreamingRule;
use serde_json::json;
use std::path::PathBuf;

/// Arguments of `prulong mask diff`.
#[derive(clap::Args, Debug)]
pub(super) struct DiffArgs {
    /// Masks of one architecture: each a `head_mask.safetensors`, or the folder that holds one.
    #[arg(required = true, num_args = 2.., value_name = "FILE")]
    files: Vec<PathBuf>,

    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Why there is no comparison, or that masks differ.
#[derive(Debug, thiserror::Error)]
enum DiffError {
    /// Masks of another architecture.
    #[error("`{other}` is not comparable with `{first}`: {differences}")]
    Incomparable {
        first: PathBuf,
        other: PathBuf,
        differences: String,
    },
    /// The answer.
    #[error("the masks differ: {what}")]
    Differ { what: String },
}

impl Coded for DiffError {
    fn code(&self) -> &'static str {
        match self {
            Self::Incomparable { .. } => "mask.incomparable",
            Self::Differ { .. } => "mask.differ",
        }
    }
    fn kind(&self) -> Kind {
        match self {
            Self::Incomparable { .. } => Kind::Input,
            Self::Differ { .. } => Kind::Answer,
        }
    }
    fn hint(&self) -> Option<String> {
        match self {
            Self::Incomparable { .. } => Some("compare masks of one model".to_owned()),
            Self::Differ { .. } => None,
        }
    }
}

/// Masks in the order given; all have the extents of the first.
struct Masks {
    files: Vec<PathBuf>,
    sidecars: Vec<Sidecar>,
    votes: Vec<usize>,
    pairs: Vec<(usize, usize, Agreement)>,
}

/// Compares masks.
///
/// # Errors
/// What is wrong with a file or that one belongs to another architecture (exit 2), or that not all are equal (exit 1).
pub(super) fn diff(args: &DiffArgs) -> Result<(), AnyFault> {
    let masks = Masks::load(&args.files)?;
    let notes = masks.notes();
    if args.json {
        output::json(&masks.object(&notes))?;
    } else {
        let mut out = Output::stdout();
        for line in notes.iter().cloned().chain(masks.lines()) {
            out.line(line)?;
        }
        out.finish()?;
    }
    Ok(masks.judge()?)
}

impl Masks {
    fn load(paths: &[PathBuf]) -> Result<Self, AnyFault> {
        let mut files = Vec::new();
        let mut sidecars: Vec<Sidecar> = Vec::new();
        for path in paths {
            let (path, checked) = load(path)?;
            for warning in &checked.warnings {
                let (code, file) = (warning.code(), path.display());
                output::note(format!("warning[{code}]: {file}: {warning}"));
            }
            if let (Some(first), Some(file)) = (sidecars.first(), files.first()) {
                comparable((file, first), (&path, &checked.sidecar))?;
            }
            files.push(path);
            sidecars.push(checked.sidecar);
        }
        Ok(Self::of(files, sidecars))
    }

    fn of(files: Vec<PathBuf>, sidecars: Vec<Sidecar>) -> Self {
        let masks: Vec<&HeadMask> = sidecars.iter().map(|sidecar| &sidecar.mask).collect();
        let votes = votes(&masks);
        let indices = 0..sidecars.len();
        let pairs = indices.flat_map(|a| (a + 1..sidecars.len()).map(move |b| (a, b)));
        let pairs =
            pairs.filter_map(|(a, b)| Some((a, b, Agreement::of(&sidecars[a], &sidecars[b])?)));
        Self {
            pairs: pairs.collect(),
            files,
            votes,
            sidecars,
        }
    }

    /// In what the masks differ besides their heads, against the first.
    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        let first = &self.sidecars[0];
        for (index, other) in self.sidecars.iter().enumerate().skip(1) {
            let mut note = |what: &str, a: String, b: String| {
                if a != b {
                    notes.push(format!("{what} differs: A {a}; {} {b}", label(index)));
                }
            };
            let span = |of: &Sidecar| mask_show::span_text(&of.span);
            note("span", span(first), span(other));
            let rule = |of: &Sidecar| of.streaming_rule.map_or("none", StreamingRule::name);
            note(
                "streaming rule",
                rule(first).to_owned(),
                rule(other).to_owned(),
            );
            let digests = [first, other].map(|of| of.base.weights_sha256.clone());
            if let [Some(a), Some(b)] = digests {
                note("digest of the base weights", a, b);
            }
            let positions = first.base.arch.position_differences(&other.base.arch);
            let which = label(index);
            let text = |text: &String| format!("base differs, A against {which}: {text}");
            notes.extend(positions.iter().map(text));
        }
        notes
    }

    /// Heads that are of one kind in some masks and of the other in others, as (layer, kv head).
    fn contested(&self) -> Vec<(usize, usize)> {
        let (count, width) = (self.sidecars.len(), self.sidecars[0].mask.num_kv_heads());
        let votes = self.votes.iter().enumerate();
        let split = votes.filter(|(_, votes)| is_split(**votes, count));
        split
            .map(|(index, _)| (index / width, index % width))
            .collect()
    }

    fn judge(&self) -> Result<(), DiffError> {
        let first = &self.sidecars[0];
        let num_contested = self.contested().len();
        if num_contested > 0 {
            let all = self.votes.len();
            let what =
                format!("{num_contested} of {all} kv heads are not of one kind in all of them");
            return Err(DiffError::Differ { what });
        }
        if self.sidecars.iter().any(|other| other.span != first.span) {
            let what = "the same heads, with other spans".to_owned();
            return Err(DiffError::Differ { what });
        }
        Ok(())
    }

    fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (index, (file, sidecar)) in self.files.iter().zip(&self.sidecars).enumerate() {
            let (mask, file) = (&sidecar.mask, file.display());
            let (kept, all) = (mask.num_retrieval(), mask.flags().len());
            lines.push(format!(
                "{}  {kept} of {all} retrieval heads  {file}",
                label(index)
            ));
        }
        lines.push(String::new());
        lines.extend(self.table());
        lines.push(String::new());
        lines.extend(self.grid());
        lines
    }

    fn table(&self) -> Vec<String> {
        let head = [
            "both",
            "only 1st",
            "only 2nd",
            "neither",
            "by chance",
            "Jaccard",
            "Spearman",
        ];
        let row = |name: &str, cells: [String; 7]| {
            let cells = cells.iter();
            cells.fold(format!("{name:<6}"), |line, cell| {
                format!("{line}{cell:>11}")
            })
        };
        let correlation =
            |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.3}"));
        let mut lines = vec![row("", head.map(str::to_owned))];
        for (a, b, of) in &self.pairs {
            let counts = [of.both, of.only_first, of.only_second, of.neither];
            let [both, only_first, only_second, neither] = counts.map(|count| count.to_string());
            let chance = format!("{:.1}", of.both_by_chance);
            let jaccard = format!("{:.3}", of.jaccard);
            let cells = [
                both,
                only_first,
                only_second,
                neither,
                chance,
                jaccard,
                correlation(of.spearman),
            ];
            lines.push(row(&format!("{} {}", label(*a), label(*b)), cells));
        }
        if self.pairs.len() > 1 {
            let mut cells = [const { String::new() }; 7];
            cells[5] = format!("{:.3}", self.mean_jaccard());
            cells[6] = correlation(self.mean_spearman());
            lines.push(row("mean", cells));
        }
        lines
    }

    /// One line per layer, one cell per kv head, and how many of its heads differ.
    fn grid(&self) -> Vec<String> {
        let count = self.sidecars.len();
        let legend = if count == 2 {
            "█ retrieval in both   A, B in that one alone   · streaming in both".to_owned()
        } else {
            format!("█ retrieval in all {count}   1.. in that many   · streaming in all")
        };
        let mut lines = vec![legend];
        let digits = if count == 2 {
            1
        } else {
            count.to_string().len()
        };
        let width = self.sidecars[0].mask.num_kv_heads();
        for (layer, votes) in self.votes.chunks(width).enumerate() {
            let in_first = self.sidecars[0].mask.layer(layer);
            let cells: Vec<String> = votes
                .iter()
                .zip(in_first)
                .map(|(votes, first)| match *votes {
                    0 => mask_show::STREAMING_CELL.to_owned(),
                    all if all == count => mask_show::RETRIEVAL_CELL.to_owned(),
                    _ if count == 2 => label(usize::from(!first)),
                    some => some.to_string(),
                })
                .map(|cell| format!("{cell:>digits$}"))
                .collect();
            let changed = votes
                .iter()
                .filter(|votes| is_split(**votes, count))
                .count();
            let note = match changed {
                0 => String::new(),
                changed => format!("  {changed} differ"),
            };
            lines.push(format!("layer {layer:>3}  {}{note}", cells.join(" ")));
        }
        lines
    }

    fn mean_jaccard(&self) -> f64 {
        mean(self.pairs.iter().map(|(_, _, of)| of.jaccard)).unwrap_or(1.0)
    }

    /// Over the pairs that have one.
    fn mean_spearman(&self) -> Option<f64> {
        mean(self.pairs.iter().filter_map(|(_, _, of)| of.spearman))
    }

    fn object(&self, notes: &[String]) -> serde_json::Value {
        let width = self.sidecars[0].mask.num_kv_heads();
        let mask = |(index, (file, sidecar)): (usize, (&PathBuf, &Sidecar))| {
            json!({
                "label": label(index),
                "file": file,
                "num_retrieval": sidecar.mask.num_retrieval(),
                "num_heads": sidecar.mask.flags().len(),
            })
        };
        let masks = self.files.iter().zip(&self.sidecars).enumerate().map(mask);
        let pair = |(a, b, of): &(usize, usize, Agreement)| json!({"first": label(*a), "second": label(*b), "agreement": of});
        json!({
            "schema": "prulong.mask-diff/1",
            "equal": self.judge().is_ok(),
            "notes": notes,
            "masks": masks.collect::<Vec<_>>(),
            "pairs": self.pairs.iter().map(pair).collect::<Vec<_>>(),
            "mean_jaccard": self.mean_jaccard(),
            "mean_spearman": self.mean_spearman(),
            "votes": self.votes.chunks(width).collect::<Vec<_>>(),
            "contested": self.contested(),
        })
    }
}

/// # Errors
/// If the architectures differ, or the extents of the masks.
fn comparable(
    (first_file, first): (&PathBuf, &Sidecar),
    (other_file, other): (&PathBuf, &Sidecar),
) -> Result<(), DiffError> {
    let differences = first.base.arch.hashed_differences(&other.base.arch);
    if differences.is_empty() {
        return Ok(());
    }
    Err(DiffError::Incomparable {
        first: first_file.clone(),
        other: other_file.clone(),
        differences: differences.join(", "),
    })
}

/// Whether some of `count` masks keep a head and others do not.
fn is_split(votes: usize, count: usize) -> bool {
    votes > 0 && votes < count
}

/// `A` to `Z`, then numbers.
fn label(index: usize) -> String {
    let letter = u8::try_from(index).ok().filter(|index| *index < 26);
    letter.map_or_else(
        || (index + 1).to_string(),
        |index| char::from(b'A' + index).to_string(),
    )
}

#[expect(clippy::cast_precision_loss, reason = "a handful of pairs")]
fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0_usize), |(sum, count), value| {
        (sum + value, count + 1)
    });
    (count > 0).then(|| sum / count as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mask::agreement::tests::sidecar;
    use crate::mask::sidecar::write;
    use crate::span::Span;

    const RISING: [f32; 8] = [0., 1., 2., 3., 4., 5., 6., 7.];
    const SHUFFLED: [f32; 8] = [0., 3., 4., 5., 1., 2., 6., 7.];

    fn masks(sidecars: &[Sidecar]) -> Masks {
        let files = (0..sidecars.len()).map(|index| PathBuf::from(format!("m{index}")));
        Masks::of(files.collect(), sidecars.to_vec())
    }

    #[test]
    fn two_masks_are_shown_head_by_head() {
        let masks = masks(&[sidecar(RISING, 4), sidecar(SHUFFLED, 5)]);
        let lines = masks.lines();
        assert_eq!(lines[0], "A  4 of 8 retrieval heads  m0");
        let row: Vec<&str> = lines[4].split_whitespace().collect();
        assert_eq!(row, ["A", "B", "2", "2", "3", "1", "2.5", "0.286", "0.643"]);
        assert_eq!(
            lines[6],
            "█ retrieval in both   A, B in that one alone   · streaming in both"
        );
        assert_eq!(lines[7], "layer   0  · B B B A A █ █  5 differ");
        assert_eq!(lines.len(), 8);
        let error = masks.judge().unwrap_err();
        assert_eq!((error.code(), error.kind()), ("mask.differ", Kind::Answer));
        assert!(error.to_string().contains("5 of 8 kv heads"), "{error}");
    }

    #[test]
    fn several_masks_are_counted_and_averaged() {
        let masks = masks(&[sidecar(RISING, 4), sidecar(SHUFFLED, 5), sidecar(RISING, 4)]);
        let lines = masks.lines();
        assert_eq!(
            lines.last().unwrap(),
            "layer   0  · 1 1 1 2 2 █ █  5 differ"
        );
        // Jaccard 2/7, 1, 2/7; Spearman 9/14, 1, 9/14.
        let mean: Vec<&str> = lines[8].split_whitespace().collect();
        assert_eq!(mean, ["mean", "0.524", "0.762"]);
        let object = masks.object(&masks.notes());
        assert_eq!(object["votes"], json!([[0, 1, 1, 1, 2, 2, 3, 3]]));
        assert_eq!(object["pairs"][1]["agreement"]["jaccard"], 1.0);
        assert_eq!(object["contested"][0], json!([0, 1]));
        assert_eq!(object["equal"], false);
    }

    #[test]
    fn equal_masks_are_equal_and_another_span_is_not() {
        let same = sidecar(RISING, 4);
        let mut sidecars = vec![same.clone(), same.clone()];
        masks(&sidecars).judge().unwrap();
        assert!(masks(&sidecars).notes().is_empty());
        sidecars[1].span = Span::new(4, 64, 1).unwrap();
        sidecars[1].streaming_rule = Some(StreamingRule::Sliding);
        sidecars[0].base.weights_sha256 = Some("ab".to_owned());
        sidecars[1].base.weights_sha256 = Some("cd".to_owned());
        let masks = masks(&sidecars);
        assert_eq!(
            masks.notes(),
            [
                "span differs: A sink 128, window 1024, block 1; B sink 4, window 64, block 1",
                "streaming rule differs: A none; B sliding",
                "digest of the base weights differs: A ab; B cd",
            ]
        );
        assert_eq!(masks.judge().unwrap_err().kind(), Kind::Answer);
    }

    #[test]
    fn masks_of_another_model_are_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let mut wider = sidecar(RISING, 4);
        wider.base.arch.vocab_size += 1;
        let files = [("a", sidecar(RISING, 4)), ("b", wider)].map(|(name, sidecar)| {
            let path = folder.path().join(name);
            std::fs::write(&path, write::to_bytes(&sidecar)).unwrap();
            path
        });
        let args = |files: &[PathBuf]| DiffArgs {
            files: files.to_vec(),
            json: true,
        };
        let fault = diff(&args(&files)).unwrap_err();
        assert_eq!(
            (fault.code(), fault.kind()),
            ("mask.incomparable", Kind::Input)
        );
        assert!(fault.to_string().contains("vocab_size"), "{fault}");
        diff(&args(&[files[0].clone(), files[0].clone()])).unwrap();
    }

    #[test]
    fn labels_go_on_after_the_alphabet() {
        assert_eq!([0, 25, 26].map(label), ["A", "Z", "27"]);
    }
}
