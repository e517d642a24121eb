//! The words of methods that save compute: `NAME[:SETTING=N]...`, every setting with its published default.

use super::setting_words::{self, Setting};
use crate::infer::policy::a_shape::AShape;
use crate::infer::policy::block_sparse::BlockSparse;
use crate::infer::policy::moba::Moba;
use crate::infer::policy::skipping::SkippingMethod;
use crate::infer::policy::vertical_slash::VerticalSlash;
use crate::span::Span;
use std::fmt;

/// The settings of the method `name`; nothing if it is none of these.
fn settings(name: &str) -> Option<[Setting; 2]> {
    let setting = Setting::new;
    let (lines, blocks) = (VerticalSlash::default(), BlockSparse::default());
    let gated = Moba::default();
    Some(match name {
        "a-shape" => [
            setting("sink", AShape::SINK_LEN, 0),
            setting("window", AShape::WINDOW_LEN, 1),
        ],
        "vertical-slash" => [
            setting("columns", lines.num_columns, VerticalSlash::MIN_COLUMNS),
            setting("slashes", lines.num_slashes, VerticalSlash::MIN_SLASHES),
        ],
        "block-sparse" => [
            setting("top", blocks.num_blocks, 1),
            setting("block", blocks.block_len, 1),
        ],
        "moba" => [
            setting("top", gated.num_blocks, 1),
            setting("block", gated.block_len, 1),
        ],
        _ => return None,
    })
}

/// Reads the method `name` with the settings in `words`; nothing if it is none of these.
///
/// # Errors
/// What is wrong with a setting.
pub(super) fn read<'a>(
    name: &str,
    words: impl Iterator<Item = &'a str>,
) -> Result<Option<SkippingMethod>, String> {
    let Some(settings) = settings(name) else {
        return Ok(None);
    };
    let values = setting_words::read(name, &settings, words)?;
    build(name, values).map(Some)
}

fn build(name: &str, [first, second]: [usize; 2]) -> Result<SkippingMethod, String> {
    Ok(match name {
        "a-shape" => {
            let span = Span::new(first, second, 1).map_err(|error| error.to_string())?;
            SkippingMethod::AShape(AShape::new(span))
        }
        "vertical-slash" => SkippingMethod::VerticalSlash(VerticalSlash {
            num_columns: first,
            num_slashes: second,
        }),
        "block-sparse" => SkippingMethod::BlockSparse(BlockSparse {
            num_blocks: first,
            block_len: second,
        }),
        _ => SkippingMethod::Moba(Moba {
            num_blocks: first,
            block_len: second,
        }),
    })
}

/// Writes the word that [`read`] turns into `method`.
pub(super) fn write(method: SkippingMethod, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let values = match method {
        SkippingMethod::AShape(of) => [of.span().sink_len(), of.span().window_len()],
        SkippingMethod::VerticalSlash(of) => [of.num_columns, of.num_slashes],
        SkippingMethod::BlockSparse(of) => [of.num_blocks, of.block_len],
        SkippingMethod::Moba(of) => [of.num_blocks, of.block_len],
    };
    f.write_str(method.name())?;
    match settings(method.name()) {
        Some(settings) => setting_words::write(&settings, values, f),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use crate::eval::method_spec::MethodSpec;

    #[test]
    fn words_survive_reading_and_printing() {
        for word in [
            "a-shape",
            "a-shape:sink=0:window=64",
            "vertical-slash:columns=30:slashes=800",
            "block-sparse:top=4:block=32",
            "moba:top=4:block=64",
        ] {
            assert_eq!(word.parse::<MethodSpec>().unwrap().to_string(), word);
        }
        let long: MethodSpec = "vertical-slash:slashes=6096:columns=30".parse().unwrap();
        assert_eq!(long.to_string(), "vertical-slash:columns=30");
    }

    #[test]
    fn words_that_mean_nothing_are_refused_with_the_reason() {
        for (word, reason) in [
            (
                "a-shape:128",
                "no setting `128`: known are `sink=N` and `window=N`",
            ),
            (
                "a-shape:window=0",
                "`window=0` needs a whole number of at least 1",
            ),
            (
                "vertical-slash:columns=5",
                "`columns=5` needs a whole number of at least 30",
            ),
            (
                "block-sparse:top=few",
                "`top=few` needs a whole number of at least 1",
            ),
            ("a-shape:window=4000000000", "longer than any context"),
        ] {
            let error = word.parse::<MethodSpec>().unwrap_err().to_string();
            assert!(error.contains(reason), "{word}: {error}");
        }
    }
}
