//! Changes as `nabar apply` reads them: JSON Lines, and pages of KRR's feed.

use crate::data::{Copy, head, of};
use nabar::rejected::RejectedLimit;
use nabar::store::{Lines, Reader, Writer, changes};
use nabar::{Register, Snapshot};
use std::fs;
use std::path::Path;

/// The content of a register, as a digest.
fn content(register: &Register) -> String {
    format!("{:?}", register.content().expect("a whole register"))
}

/// Applies lines in a directory; with the register's own sequence numbers the second time nothing may happen.
fn applied(writer: &Writer, lines: Lines) -> Option<u64> {
    writer.apply(lines, Some(RejectedLimit::Percent(100.0))).ok().map(|batch| batch.applied)
}

/// What was applied is in the log, in a file made of it, and makes the same register elsewhere.
pub(crate) fn holds(writer: &Writer, directory: &Path, data: &Path, after: u64, checkpoints: bool) {
    let register = writer.register();
    let here = content(&register);
    let read = Reader::open(directory).expect("a reader").register();
    assert_eq!(content(&read), here, "a reader has another register");
    assert_eq!(read.sequence(), register.sequence());

    let history = changes(directory, after).expect("the log");
    let lines: Vec<String> = history.map(|change| change.expect("a change").to_json()).collect();
    let text = lines.join("\n");
    let other = Copy::of(data);
    let again = Writer::open(&other.0).expect("a writer");
    let parsed = Lines::parse(text.as_bytes(), writer.kind());
    again.apply(parsed, None).expect("the changes of a log are changes");
    assert_eq!(content(&again.register()), here, "the same changes make another register");

    if checkpoints {
        writer.checkpoint(false).expect("a checkpoint");
        let name = format!("register-{:020}.nabar", register.sequence());
        let file = Snapshot::open(directory.join(name)).expect("a register file");
        assert_eq!(file.verify(), [], "a checkpoint is whole");
        assert_eq!(content(&file.register().expect("opened")), here, "a checkpoint has another register");
    }
}

/// The first byte chooses the register and whether a checkpoint is made, the rest is a file of JSON Lines. Where a line
/// has the number 0, it gets the next one: random bytes seldom have it.
pub(crate) fn run(data: &[u8]) {
    let ([choice], text) = head::<1>(data);
    let known = of(choice & 1 != 0);
    assert!(!(Lines::are_pages(text) && Lines::may_be_pages(text)), "pages, and undecided");
    let after = known.register.sequence();
    let numbered = numbered(text, after);
    let copy = Copy::of(&known.data);
    let writer = Writer::open(&copy.0).expect("a writer");
    let parse = || Lines::parse(&numbered, known.register.kind());
    if applied(&writer, parse()).is_none_or(|count| count == 0) {
        return;
    }
    let sequence = writer.register().sequence();
    assert!(applied(&writer, parse()).is_none_or(|count| count == 0), "applied twice");
    assert_eq!(writer.register().sequence(), sequence);
    holds(&writer, &copy.0, &known.data, after, choice & 6 == 0);
}

/// The lines, with the next sequence numbers for `"sequence":0`.
fn numbered(text: &[u8], after: u64) -> Vec<u8> {
    const ZERO: &[u8] = b"\"sequence\":0";
    let (mut out, mut next) = (Vec::new(), after);
    let mut rest = text;
    while let Some(at) = rest.windows(ZERO.len()).position(|window| window == ZERO) {
        next += 1;
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(format!("\"sequence\":{next}").as_bytes());
        rest = &rest[at + ZERO.len()..];
    }
    out.extend_from_slice(rest);
    out
}

/// A page of KRR's `HentEndringer`, in XML or JSON.
pub(crate) fn pages(data: &[u8]) {
    let known = of(true);
    let time = known.register.as_of();
    let Ok(lines) = Lines::of_pages(data, "page", time) else { return };
    if lines.is_empty() {
        return;
    }
    let copy = Copy::of(&known.data);
    let writer = Writer::open(&copy.0).expect("a writer");
    if applied(&writer, lines).is_some_and(|count| count > 0) {
        holds(&writer, &copy.0, &known.data, known.register.sequence(), false);
    }
    drop(writer);
    assert!(fs::exists(&copy.0).is_ok_and(|exists| exists));
}
