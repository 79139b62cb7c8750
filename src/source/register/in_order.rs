//! The answers of a journal in the order of their ids.
//!
//! Each frame of the journal is the answer to one call, and calls ask for ids in ascending order, so frames are merged:
//! only those whose ids overlap are in memory at a time.

use crate::changes::encoding::{ChangeDecoder, StoredChange};
use crate::identities::Ordinal;
use crate::register::moment;
use crate::source::answer::subject;
use crate::source::journal::{FrameSpan, Journal, JournalError};
use jiff::Timestamp;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// A frame whose answers are not all given yet.
struct OpenFrame {
    bytes: Vec<u8>,
    /// The id of each answer and where it begins, the last one first: ids descend, and of several answers for an id the
    /// last one is given first.
    answers: Vec<(Ordinal, u32)>,
}

impl OpenFrame {
    /// Answers that are older than `since`, in nanoseconds since 1970, are left out.
    fn open(journal: &Journal, span: &FrameSpan, since: i64) -> Result<OpenFrame, JournalError> {
        let (mut bytes, mut answers) = (Vec::new(), Vec::new());
        let changes = journal.read(span, &mut bytes)?;
        let end = changes.end;
        let mut decoder = ChangeDecoder::new(&bytes[changes], 0);
        while !decoder.rest().is_empty() {
            let start = end - decoder.rest().len();
            let (time, id) = match decoder.next_stored().ok_or_else(|| journal.damaged())? {
                StoredChange::Person(person) => (person.time, Some(person.person)),
                StoredChange::Removed { subject, time } => (time, Some(subject)),
                StoredChange::Other(change) => (change.time, subject(&change.what)),
            };
            answers.extend(id.filter(|_| time >= since).map(|id| (id, start as u32)));
        }
        answers.sort_unstable_by_key(|(id, start)| (Reverse(*id), *start));
        Ok(OpenFrame { bytes, answers })
    }
}

/// Calls `each` with the last answer of each id that is not older than `since`, in ascending order of the ids.
///
/// Memory: the frames whose ids overlap. Errors: the journal cannot be read or is damaged, or those of `each`.
pub(super) fn for_each<E: From<JournalError>>(
    journal: &Journal,
    since: Timestamp,
    mut each: impl FnMut(Ordinal, StoredChange<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let since = moment::nanoseconds(since).unwrap_or(i64::MIN);
    let mut closed = journal.frames().to_vec();
    closed.sort_unstable_by_key(|span| Reverse(span.least));
    let mut open: BTreeMap<u64, OpenFrame> = BTreeMap::new();
    // The next id of each open frame; of equal ones that of the last frame is the greatest.
    let mut heads: BinaryHeap<(Reverse<Ordinal>, u64)> = BinaryHeap::new();
    let mut before = None;
    loop {
        while let Some(span) = closed.pop_if(|span| heads.peek().is_none_or(|(id, _)| span.least <= id.0)) {
            let frame = OpenFrame::open(journal, &span, since)?;
            heads.extend(frame.answers.last().map(|(id, _)| (Reverse(*id), span.offset)));
            open.insert(span.offset, frame);
        }
        let Some((Reverse(id), offset)) = heads.pop() else { return Ok(()) };
        let Some(frame) = open.get_mut(&offset) else { return Err(journal.damaged().into()) };
        if let (Some((_, start)), true) = (frame.answers.pop(), before != Some(id)) {
            let change = ChangeDecoder::new(&frame.bytes[start as usize..], 0).next_stored();
            each(id, change.ok_or_else(|| journal.damaged())?)?;
            before = Some(id);
        }
        match frame.answers.last() {
            Some((next, _)) => heads.push((Reverse(*next), offset)),
            None => drop(open.remove(&offset)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::changes::ChangeBody;
    use crate::identities::Identity;
    use crate::register::Kind;
    use crate::replica::tests::fast_directory;
    use crate::replica::tests::random::Random;
    use crate::source::answer::{Answers, refused};
    use crate::source::journal::Subject;
    use crate::source::tests::model::{self, Truth};

    /// Frames as calls write them and as they never would: any ids, in any order, some of them several times, and old ones.
    #[test]
    fn the_last_answer_of_each_id_in_the_order_of_the_ids() {
        for seed in 1..200 {
            let mut random = Random::new(seed);
            let directory = fast_directory();
            let subject = Subject { kind: Kind::Krr, address: String::new(), asker: String::new() };
            let path = directory.path().join("run.journal");
            let mut journal = Journal::open(&path, &subject).expect("a journal");
            let ids = model::ids(Kind::Krr, &mut random, 40);
            let mut expected = BTreeMap::new();
            for _ in 0..random.below(12) {
                let second = random.below(10) as i64;
                let mut answers = Answers::default();
                for _ in 0..random.below(12) {
                    let id = random.one_of(&ids);
                    let truth = Truth::random(Kind::Krr, id, &mut random, 200);
                    answers.answers.push(truth.answer(id, &mut answers.operators));
                }
                let kept = answers.answers.iter().filter(|_| second >= 3);
                expected.extend(kept.map(|answer| (subject_of(answer), (second, text(answer)))));
                let time = Timestamp::from_second(second).expect("a time");
                journal.append(time, answers).expect("appended");
                if random.chance(200) {
                    drop(journal);
                    journal = Journal::open(&path, &subject).expect("a journal");
                }
            }
            let (mut found, since) = (Vec::new(), Timestamp::from_second(3).expect("a time"));
            let read = for_each::<JournalError>(&journal, since, |id, change| {
                let (time, content) = match change {
                    StoredChange::Other(change) => (change.time, text(&change.what)),
                    StoredChange::Removed { subject, time } => (time, text(&ChangeBody::Remove(subject))),
                    StoredChange::Person(person) => {
                        let state = person.state().expect("a contact");
                        let texts = person.operator().zip(person.certificate()).expect("texts");
                        (person.time, format!("{:?}", (state, person.contact, texts.0, texts.1)))
                    }
                };
                found.push((id, (moment::of_nanoseconds(time).as_second(), content)));
                Ok(())
            });
            read.expect("whole");
            assert_eq!(found, expected.into_iter().collect::<Vec<_>>(), "seed {seed}");
        }
    }

    fn subject_of(answer: &ChangeBody) -> Ordinal {
        subject(answer).expect("an id")
    }

    fn text(answer: &ChangeBody) -> String {
        match answer {
            ChangeBody::PutPerson(put) => {
                format!("{:?}", (put.state, &*put.contact, &*put.operator, &*put.certificate))
            }
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn a_damaged_frame_is_an_error() {
        let directory = fast_directory();
        let subject = Subject { kind: Kind::Krr, address: String::new(), asker: String::new() };
        let path = directory.path().join("run.journal");
        let mut journal = Journal::open(&path, &subject).expect("a journal");
        let id = model::ids(Kind::Krr, &mut Random::new(1), 1)[0];
        let refused = refused(&Identity::from_ordinal(id).expect("an identity"));
        journal
            .append(Timestamp::UNIX_EPOCH, Answers { answers: vec![refused], ..Answers::default() })
            .expect("appended");
        let whole = std::fs::read(&path).expect("a file");
        let span = journal.frames()[0];
        for at in span.offset as usize..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x80;
            std::fs::write(&path, &damaged).expect("written");
            // No sum is checked again: a damaged time or text may be read, but nothing panics.
            let _ = for_each::<JournalError>(&journal, Timestamp::MIN, |_, _| Ok(()));
        }
        std::fs::write(&path, &whole[..whole.len() - 1]).expect("written");
        assert!(for_each::<JournalError>(&journal, Timestamp::MIN, |_, _| Ok(())).is_err());
    }
}
