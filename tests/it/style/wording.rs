//! Words and phrases that must not come back into code, documentation and tools, and what to write instead.

use super::{read, text_files};
use crate::support::workspace::root;
use std::path::{Path, PathBuf};

/// Each phrase in lower case, and the replacement. Words of a phrase may be joined by blanks, line ends, comment signs or
/// underscores, so names of functions and constants are searched too; a hyphen belongs to its word.
const PHRASES: [(&str, &str); 37] = [
    ("whoever", "name the actor: client, reader, operator"),
    ("whatever", "any, regardless of, even if"),
    ("anew", "again, new, restarted"),
    ("nobody", "no client, no recipient; unused; absent"),
    ("told", "reported, stated, passed, configured; distinguished"),
    ("asked for ahead", "prefetched"),
    ("asks who asks", "requires credentials"),
    ("who asks", "the client, authentication"),
    ("what stands", "name the thing"),
    ("stands behind", "name the thing: query string, suffix"),
    ("gone on with", "resumed"),
    ("go on with", "resume"),
    ("goes on with", "resumes"),
    ("has it all", "is complete"),
    ("is none of", "is not a, is not among"),
    ("where it lies", "in place"),
    ("what few need", "optional, rarely needed"),
    ("by way of", "through, over, with"),
    ("look-up", "lookup"),
    ("look-ups", "lookups"),
    ("comes to the same", "has the same result"),
    ("a second each", "per second"),
    ("_a_second", "per_second"),
    ("_a_minute", "per_minute"),
    ("_an_hour", "per_hour"),
    ("answers a second", "answers per second"),
    ("batches a second", "batches per second"),
    ("bytes a second", "bytes per second"),
    ("changes a second", "changes per second"),
    ("ids a second", "ids per second"),
    ("lines a second", "lines per second"),
    ("lookups a second", "lookups per second"),
    ("requests a minute", "requests per minute"),
    ("requests a second", "requests per second"),
    ("rows a second", "rows per second"),
    ("times a second", "times per second"),
    ("times a minute", "times per minute"),
];

/// Lines where a phrase is right: file, and the line without the blanks around it.
const EXCEPTIONS: [(&str, &str); 3] = [
    // Former names.
    ("CHANGELOG.md", "`requests_a_second`, `ids_a_second`, `connections_a_client`)."),
    // Names of jobs in the record.
    ("benches/changes.rs", "group.bench_function(format!(\"{with}: 100 000 changes a second\"), |bencher| {"),
    ("benches/peers/src/figures/jobs.rs", "median(&format!(\"lookups/{with}: 100 000 changes a second\")),"),
];

/// Where prose is looked for.
const SEARCHED: [&str; 10] = [
    ".ci",
    "CHANGELOG.md",
    "Cargo.toml",
    "README.md",
    "benches",
    "docs",
    "fixtures",
    "src",
    "tests",
    "tools",
];

/// Not prose: measurements, lock files, downloaded packages, and this list.
fn is_exempt(path: &Path) -> bool {
    path.starts_with("benches/record") || path.ends_with("Cargo.lock") || path.ends_with("style/wording.rs")
}

struct Word {
    /// In lower case.
    text: String,
    line: usize,
    /// What lies between the word before and this one is no punctuation.
    is_joined: bool,
    is_after_underscore: bool,
}

/// The words of a text. Names in camel case are several words.
fn words(text: &str) -> Vec<Word> {
    let mut words: Vec<Word> = Vec::new();
    let (mut line, mut is_joined, mut before) = (1, true, ' ');
    for character in text.chars() {
        let is_inside = before.is_alphanumeric() || before == '-';
        if character.is_alphanumeric() || (character == '-' && before.is_alphanumeric()) {
            if is_inside && !(before.is_lowercase() && character.is_uppercase()) {
                words.last_mut().expect("begun").text.extend(character.to_lowercase());
            } else {
                let text = character.to_lowercase().collect();
                words.push(Word { text, line, is_joined, is_after_underscore: before == '_' });
                is_joined = true;
            }
        } else if !character.is_whitespace() && !"_/!#".contains(character) {
            is_joined = false;
        }
        line += usize::from(character == '\n');
        // A hyphen that begins nothing is punctuation.
        before = if character == '-' && !before.is_alphanumeric() { ' ' } else { character };
    }
    words
}

/// The lines on which a phrase begins.
fn lines_with(phrase: &str, words: &[Word]) -> Vec<usize> {
    let is_name = phrase.starts_with('_');
    let phrase: Vec<&str> = phrase.split([' ', '_']).filter(|word| !word.is_empty()).collect();
    let is_hit = |found: &&[Word]| {
        found.iter().zip(&phrase).all(|(word, expected)| word.text == **expected)
            && found[1..].iter().all(|word| word.is_joined)
            && (!is_name || found.iter().all(|word| word.is_after_underscore))
    };
    let mut lines: Vec<usize> =
        words.windows(phrase.len()).filter(is_hit).map(|found| found[0].line).collect();
    lines.dedup();
    lines
}

#[test]
fn phrases_are_found_in_prose_and_in_names() {
    for (text, phrase) in [
        ("/// What\n    /// stands there", "what stands"),
        ("fn nobody_is_there()", "nobody"),
        ("nobody's", "nobody"),
        ("struct WasTold;", "told"),
        ("IDS_A_SECOND", "_a_second"),
        ("Look-up of", "look-up"),
    ] {
        assert_eq!(lines_with(phrase, &words(text)), [1], "{text}");
    }
    for (text, phrase) in [
        ("he stands. Behind", "stands behind"),
        ("untold", "told"),
        ("after a second one", "_a_second"),
        ("look up", "look-up"),
    ] {
        assert!(lines_with(phrase, &words(text)).is_empty(), "{text}");
    }
}

#[test]
fn prose_is_plain_english() {
    let (mut hits, mut unused) = (Vec::new(), EXCEPTIONS.to_vec());
    for path in text_files(&SEARCHED.map(|name| root().join(name))) {
        let name: PathBuf = path.strip_prefix(root()).expect("inside").to_owned();
        if is_exempt(&name) {
            continue;
        }
        let Some(text) = read(&path) else { continue };
        let words = words(&text);
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        for (phrase, instead) in PHRASES {
            for number in lines_with(phrase, &words) {
                let line = lines[number - 1];
                let is_this =
                    |exception: &(&str, &str)| name == Path::new(exception.0) && line == exception.1;
                if EXCEPTIONS.iter().any(is_this) {
                    unused.retain(|exception| !is_this(exception));
                } else {
                    hits.push(format!("{}:{number}: \"{phrase}\" ({instead}): {line}", name.display()));
                }
            }
        }
    }
    hits.extend(unused.iter().map(|(name, line)| format!("{name}: exception without a hit: {line}")));
    hits.sort();
    assert!(hits.is_empty(), "{} phrases to replace:\n{}", hits.len(), hits.join("\n"));
}
