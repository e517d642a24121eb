//! Settings of a method's word: `NAME[:SETTING=N]...`, each a whole number with a default.

use std::fmt;

/// A setting: its word, its default and the least that means something.
#[derive(Debug, Clone, Copy)]
pub(super) struct Setting {
    word: &'static str,
    default: usize,
    least: usize,
}

impl Setting {
    pub(super) const fn new(word: &'static str, default: usize, least: usize) -> Self {
        Self {
            word,
            default,
            least,
        }
    }
}

/// The values that `words` give the `settings` of the method `name`, their defaults where they give none.
///
/// # Errors
/// What is wrong with a word.
pub(super) fn read<'a, const N: usize>(
    name: &str,
    settings: &[Setting; N],
    words: impl Iterator<Item = &'a str>,
) -> Result<[usize; N], String> {
    let mut values = settings.map(|setting| setting.default);
    for word in words {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        let Some(place) = settings.iter().position(|setting| setting.word == key) else {
            let known = settings.map(|setting| format!("`{}=N`", setting.word));
            return Err(format!(
                "`{name}` has no setting `{word}`: known are {}",
                known.join(" and ")
            ));
        };
        let least = settings[place].least;
        let number = value.parse::<u32>().ok().map(|number| number as usize);
        values[place] = number
            .filter(|number| *number >= least)
            .ok_or_else(|| format!("`{word}` needs a whole number of at least {least}"))?;
    }
    Ok(values)
}

/// Writes the words that [`read`] turns into `values`; defaults are left out.
pub(super) fn write<const N: usize>(
    settings: &[Setting; N],
    values: [usize; N],
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    for (setting, value) in settings.iter().zip(values) {
        if value != setting.default {
            write!(f, ":{}={value}", setting.word)?;
        }
    }
    Ok(())
}
