//! Print runs: what letters a run has does not depend on where it is cut or how much of it has arrived.
//!
//! The first byte of an input is the number of a description, the second one the length of chunks; the rest is the run.

use nabar::runs::{BytesEnd, Letters, Run, RunDescription, propose};

/// Descriptions of all forms.
const DESCRIPTIONS: [&str; 8] = [
    "form = \"records\"\nrecord_type = \"0:1\"\nletter_start = \"1\"\nid_in = \"1\"\nid_at = \"1:4\"\nheader = \"0\"\ntrailer = \"9\"\nrecords = \"2\"\n[[count]]\nin = \"9\"\nat = \"1:2\"",
    "form = \"records\"\nletter_key = \"0:1\"\nid_at = \"1:4\"\nrecord_length = 6",
    "form = \"records\"\nletter_key = \"1\"\nid_at = \"2\"\ndelimiter = \";\"",
    "form = \"records\"\nletter_match = \"^a+b\"\nid_at = \"1:4\"",
    "form = \"records\"\ncharset = \"ebcdic-278\"\nrecord_type = \"0:1\"\nletter_start = \"1\"\nid_at = \"1:4\"",
    "form = \"xml\"\nletter_element = \"L\"\nid_path = \"R/@i\"\n[[count]]\npath = \"B/@n\"",
    "form = \"xml\"\nletter_element = \"{u}L\"\nid_path = \"I\"\n[[count]]\npath = \"B/C/N\"",
    "form = \"afp\"\nid_tag = \"I\"",
];

/// End, records and id of each letter.
type Found = Vec<(usize, u32, Option<Vec<u8>>)>;

fn add(found: &mut Found, letters: &Letters, at: usize) {
    let each = letters.all().iter();
    found.extend(
        each.map(|letter| (at + letter.end, letter.records, letters.id(letter).ok().map(<[u8]>::to_vec))),
    );
}

/// Reads a run in chunks of about so many bytes. `None` if it is not as described.
fn read(run: &dyn Run, bytes: &[u8], until: usize) -> Option<(Found, usize)> {
    let (mut at, mut found, mut letters) = (run.first_letter(), Vec::new(), Letters::default());
    loop {
        letters.clear();
        run.letters(&bytes[at..], until, BytesEnd::Run, &mut letters).ok()?;
        add(&mut found, &letters, at);
        assert!(letters.end > 0 || letters.is_last, "a chunk has a letter");
        at += letters.end;
        if letters.is_last {
            return Some((found, at));
        }
    }
}

pub(crate) fn run(data: &[u8]) {
    let [number, chunk, bytes @ ..] = data else { return };
    let description = RunDescription::parse(DESCRIPTIONS[usize::from(*number) % DESCRIPTIONS.len()]);
    let description = description.unwrap_or_else(|error| panic!("{error}"));
    let _ = propose(bytes, &|text: &[u8]| text.len() > 3);
    for end in [bytes.len() / 3, bytes.len() / 2] {
        let _ = description.open(&bytes[..end], false);
    }
    let Ok(Some(run)) = description.open(bytes, true) else { return };
    let first = run.first_letter();
    let whole = read(&*run, bytes, usize::MAX);
    let chunked = read(&*run, bytes, usize::from(*chunk) + 1);
    assert_eq!(whole.is_some(), chunked.is_some(), "an error is one in any chunks");
    assert_eq!(whole, chunked);
    let Some((found, end)) = whole else { return };
    for to in [first + (bytes.len() - first) / 2, bytes.len()] {
        let mut letters = Letters::default();
        let _ = run.letters(&bytes[first..to], usize::MAX, BytesEnd::Anywhere, &mut letters);
        let mut arrived = Vec::new();
        add(&mut arrived, &letters, first);
        assert!(found.starts_with(&arrived), "letters that are certain");
    }
    let guessed = run.likely_start(&bytes[first..], usize::from(*chunk).min(bytes.len() - first));
    assert!(guessed <= bytes.len() - first);
    for (around, is_end) in [(&bytes[..first], false), (&bytes[end..], true)] {
        let _ = (run.counts(around, is_end), run.records_around(around));
    }
    let _ = run.lines(&bytes[first..end], 3);
    if let Some(column) = run.column("I") {
        column.read(&bytes[first..end], &mut Vec::new());
    }
}
