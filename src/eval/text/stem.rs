//! Stems of English words, as NLTK's stemmer finds them for ROUGE.
//!
//! Porter's algorithm of 1980 (not its successor Porter2) with NLTK's changes, each named where it is made. In every step
//! the first suffix that fits decides, whether or not its condition holds.

/// Words whose stems no rule finds (NLTK).
const IRREGULAR: [(&str, &str); 16] = [
    ("sky", "sky"),
    ("skies", "sky"),
    ("dying", "die"),
    ("lying", "lie"),
    ("tying", "tie"),
    ("news", "news"),
    ("inning", "inning"),
    ("innings", "inning"),
    ("outing", "outing"),
    ("outings", "outing"),
    ("canning", "canning"),
    ("cannings", "canning"),
    ("howe", "howe"),
    ("proceed", "proceed"),
    ("exceed", "exceed"),
    ("succeed", "succeed"),
];

/// What a suffix becomes.
type Rule = (&'static str, &'static str);

const PLURALS: [Rule; 4] = [("sses", "ss"), ("ies", "i"), ("ss", "ss"), ("s", "")];

/// `bli` stands for Porter's `abli`, and `fulli` is new (NLTK).
const DOUBLE_SUFFIXES: [Rule; 21] = [
    ("ational", "ate"),
    ("tional", "tion"),
    ("enci", "ence"),
    ("anci", "ance"),
    ("izer", "ize"),
    ("bli", "ble"),
    ("alli", "al"),
    ("entli", "ent"),
    ("eli", "e"),
    ("ousli", "ous"),
    ("ization", "ize"),
    ("ation", "ate"),
    ("ator", "ate"),
    ("alism", "al"),
    ("iveness", "ive"),
    ("fulness", "ful"),
    ("ousness", "ous"),
    ("aliti", "al"),
    ("iviti", "ive"),
    ("biliti", "ble"),
    ("fulli", "ful"),
];

const ENDINGS: [Rule; 7] = [
    ("icate", "ic"),
    ("ative", ""),
    ("alize", "al"),
    ("iciti", "ic"),
    ("ical", "ic"),
    ("ful", ""),
    ("ness", ""),
];

/// Suffixes that fall away.
const LAST_SUFFIXES: [&str; 19] = [
    "al", "ance", "ence", "er", "ic", "able", "ible", "ant", "ement", "ment", "ent", "ion", "ou",
    "ism", "ate", "iti", "ous", "ive", "ize",
];

/// The stem of `word`, which consists of lower-case ASCII letters and digits. Words of two letters are their own stems.
pub fn stem(word: &str) -> String {
    if let Some((_, stem)) = IRREGULAR.iter().find(|(of, _)| *of == word) {
        return (*stem).to_owned();
    }
    if word.len() <= 2 {
        return word.to_owned();
    }
    let steps = [
        plural,
        past,
        last_y,
        double_suffix,
        ending,
        last_suffix,
        last_e,
        double_l,
    ];
    let all = steps.into_iter();
    all.fold(word.to_owned(), |word, step| step(&word))
}

/// Step 1a; NLTK: words of four letters keep the e of `ies`.
fn plural(word: &str) -> String {
    match word.strip_suffix("ies") {
        Some(stem) if word.len() == 4 => format!("{stem}ie"),
        _ => apply(word, &PLURALS, |_| true),
    }
}

/// Step 1b; NLTK: `ied` becomes `i`, and `ie` in words of four letters.
fn past(word: &str) -> String {
    if let Some(stem) = word.strip_suffix("ied") {
        let end = if word.len() == 4 { "ie" } else { "i" };
        return format!("{stem}{end}");
    }
    if word.ends_with("eed") {
        return apply(word, &[("eed", "ee")], |stem| measure(stem) > 0);
    }
    let with_vowel = |suffix| {
        let stem: &str = word.strip_suffix(suffix)?;
        consonants(stem).contains(&false).then_some(stem)
    };
    let stem = with_vowel("ed").or_else(|| with_vowel("ing"));
    stem.map_or_else(|| word.to_owned(), mended)
}

/// What `ed` or `ing` was put behind.
fn mended(stem: &str) -> String {
    let short = || measure(stem) == 1 && is_short(stem);
    if ["at", "bl", "iz"].iter().any(|end| stem.ends_with(end)) {
        format!("{stem}e")
    } else if ends_double(stem) {
        let keeps = stem.ends_with(['l', 's', 'z']);
        stem[..stem.len() - usize::from(!keeps)].to_owned()
    } else if short() {
        format!("{stem}e")
    } else {
        stem.to_owned()
    }
}

/// Step 1c; NLTK: only behind a consonant, and not in words of two letters.
fn last_y(word: &str) -> String {
    apply(word, &[("y", "i")], |stem| {
        stem.len() > 1 && consonants(stem).last() == Some(&true)
    })
}

/// Step 2; NLTK: `alli` goes first and the step is done again, and the l of `logi` counts as part of the stem.
fn double_suffix(word: &str) -> String {
    let is_long = |stem: &str| measure(stem) > 0;
    match word.strip_suffix("li") {
        Some(shorter) if shorter.strip_suffix("al").is_some_and(is_long) => {
            return double_suffix(shorter);
        }
        _ => {}
    }
    match word.strip_suffix("ogi") {
        Some(stem) if stem.ends_with('l') && is_long(stem) => format!("{stem}og"),
        _ => apply(word, &DOUBLE_SUFFIXES, is_long),
    }
}

/// Step 3.
fn ending(word: &str) -> String {
    apply(word, &ENDINGS, |stem| measure(stem) > 0)
}

/// Step 4.
fn last_suffix(word: &str) -> String {
    let Some((suffix, stem)) = LAST_SUFFIXES
        .iter()
        .find_map(|suffix| Some((*suffix, word.strip_suffix(suffix)?)))
    else {
        return word.to_owned();
    };
    let fits = suffix != "ion" || stem.ends_with(['s', 't']);
    let stays = measure(stem) <= 1 || !fits;
    if stays { word } else { stem }.to_owned()
}

/// Step 5a.
fn last_e(word: &str) -> String {
    apply(word, &[("e", "")], |stem| match measure(stem) {
        0 => false,
        1 => !is_short(stem),
        _ => true,
    })
}

/// Step 5b.
fn double_l(word: &str) -> String {
    match word.strip_suffix('l') {
        Some(shorter) if shorter.ends_with('l') && measure(shorter) > 1 => shorter.to_owned(),
        _ => word.to_owned(),
    }
}

/// `word` after the first of `rules` whose suffix it has, if the part before the suffix fulfils `condition`.
fn apply(word: &str, rules: &[Rule], condition: impl Fn(&str) -> bool) -> String {
    let found = rules
        .iter()
        .find_map(|(suffix, end)| Some((word.strip_suffix(suffix)?, end)));
    match found {
        Some((stem, end)) if condition(stem) => format!("{stem}{end}"),
        _ => word.to_owned(),
    }
}

/// For each letter whether it is a consonant; y is one at the start and behind a vowel.
fn consonants(word: &str) -> Vec<bool> {
    let mut found: Vec<bool> = Vec::with_capacity(word.len());
    for letter in word.bytes() {
        let is_consonant = match letter {
            b'a' | b'e' | b'i' | b'o' | b'u' => false,
            b'y' => !found.last().is_some_and(|before| *before),
            _ => true,
        };
        found.push(is_consonant);
    }
    found
}

/// How often a vowel is followed by a consonant.
fn measure(stem: &str) -> usize {
    let letters = consonants(stem);
    letters
        .windows(2)
        .filter(|pair| !pair[0] && pair[1])
        .count()
}

fn ends_double(stem: &str) -> bool {
    let [.., before, last] = stem.as_bytes() else {
        return false;
    };
    before == last && consonants(stem).last() == Some(&true)
}

/// Whether consonant, vowel and a consonant other than w, x and y end it; NLTK: or vowel and consonant are all of it.
fn is_short(stem: &str) -> bool {
    match consonants(stem)[..] {
        [false, true] => true,
        [.., true, false, true] => !stem.ends_with(['w', 'x', 'y']),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::stem;
    use crate::eval::goldens::goldens;

    #[test]
    fn stems_are_those_of_nltk() {
        for case in goldens("porter_nltk") {
            let word = case[0].as_str().unwrap();
            assert_eq!(stem(word), case[1].as_str().unwrap(), "{word}");
        }
    }

    #[test]
    fn the_changes_of_nltk_are_made() {
        for (word, expected) in [
            ("skies", "sky"),
            ("dies", "die"),
            ("died", "die"),
            ("spied", "spi"),
            ("feed", "feed"),
            ("agreed", "agre"),
            ("bled", "bled"),
            ("enjoy", "enjoy"),
            ("fly", "fli"),
            ("by", "by"),
            ("geologi", "geolog"),
            ("logi", "logi"),
            ("rationalli", "ration"),
            ("hopefulli", "hope"),
            ("possibli", "possibl"),
            ("using", "use"),
            ("y2k9", "y2k9"),
            ("controll", "control"),
        ] {
            assert_eq!(stem(word), expected, "{word}");
        }
    }
}
