//! KRR's feed of changes: all persons for a client that begins with 0, then the changes since.
//!
//! The register does not store at which number each person changed last. So a client that begins with 0 first gets all
//! persons, in the order of their ordinals, and then the changes since that began. The numbers that it is given encode
//! its position; they ascend and end at the latest number, as the contract requires. The service keeps no state between
//! two calls. A client that begins with one of the register's own numbers (from an export) is given the
//! register's own numbers.

use crate::changes::ChangeBody;
use crate::identities::{Country, Identity, Ordinal};
use crate::limits::{ANSWER_BYTES_MAX, PAGE_ORDINALS};
use crate::register::{Damage, Recipient, Register};
use crate::store::{Log, StoreError};
use std::collections::HashSet;
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

/// Set in the numbers of a client that began with 0. Numbers stay below 2^53, the largest integer of JavaScript.
const FROM_ZERO: u64 = 1 << 52;
/// Bits below the sequence number: the client's position among all persons, in pages of the index.
const PAGE_BITS: u32 = 22;
/// The page number of a client that has got all persons.
const ALL_PERSONS: u64 = (1 << PAGE_BITS) - 1;
/// Bits of the sequence number.
const SEQUENCE_BITS: u32 = 52 - PAGE_BITS;
/// Changes that are read for one page, at most.
const CHANGES_MAX: usize = 100_000;

/// A page of the feed.
pub(super) struct FeedPage {
    /// `None` for a recipient that was removed from the register.
    pub(super) persons: Vec<(Identity, Option<Recipient>)>,
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) latest: u64,
}

/// Why a page cannot be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum FeedError {
    /// The register has not reached this number.
    #[error(
        "the register has not reached this change; begin with 0, or check that the number comes from this register"
    )]
    Unknown,
    /// The register's numbers do not fit into those of the feed.
    #[error("the register's change numbers are too high for a feed from 0; begin with an export")]
    TooHigh,
    /// The texts of a page are too long.
    #[error("the texts of the next page are longer than {ANSWER_BYTES_MAX} bytes")]
    TooLarge,
    #[error(transparent)]
    Damaged(#[from] Damage),
    #[error(transparent)]
    Log(#[from] StoreError),
}

/// The position of a client in the feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FeedPosition {
    /// After a change. `from_zero`: the client began with 0.
    After { sequence: u64, from_zero: bool },
    /// At a page of all persons, begun after a change.
    AllPersons { sequence: u64, page: u32 },
}

impl FeedPosition {
    /// `high`: the register's own numbers are so high that there are no others.
    fn decode(number: u64, high: bool) -> Option<FeedPosition> {
        let sequence = (number & (FROM_ZERO - 1)) >> PAGE_BITS;
        match (number & FROM_ZERO, number & ALL_PERSONS) {
            _ if high => Some(FeedPosition::After { sequence: number, from_zero: false }),
            _ if number >= 2 * FROM_ZERO => None,
            (0, _) => Some(FeedPosition::After { sequence: number, from_zero: false }),
            (_, ALL_PERSONS) => Some(FeedPosition::After { sequence, from_zero: true }),
            (_, page) => Some(FeedPosition::AllPersons { sequence, page: page as u32 }),
        }
    }

    fn encode(self) -> u64 {
        match self {
            FeedPosition::After { sequence, from_zero: false } => sequence,
            FeedPosition::After { sequence, from_zero: true } => {
                FROM_ZERO | sequence << PAGE_BITS | ALL_PERSONS
            }
            FeedPosition::AllPersons { sequence, page } => {
                FROM_ZERO | sequence << PAGE_BITS | u64::from(page)
            }
        }
    }
}

/// The page after a number, with at most `most` persons, which must be more than a page of the index has. `log` is that
/// of a data directory.
///
/// Persons are in their current state; a person who changes again appears again. If the changes after the number have
/// been removed (folded into the register file) or do not fit a page, the feed starts again with all persons.
pub(super) fn page(
    register: &Register,
    log: Option<&Arc<Log>>,
    from: u64,
    most: usize,
) -> Result<FeedPage, FeedError> {
    let latest = register.sequence();
    let high = latest >> SEQUENCE_BITS > 0;
    let position = match FeedPosition::decode(from, high).ok_or(FeedError::Unknown)? {
        FeedPosition::After { sequence: 0, from_zero: false } => {
            FeedPosition::AllPersons { sequence: latest, page: 0 }
        }
        FeedPosition::After { sequence, .. } | FeedPosition::AllPersons { sequence, .. }
            if sequence > latest =>
        {
            return Err(FeedError::Unknown);
        }
        position => position,
    };
    let (persons, next) = match position {
        FeedPosition::AllPersons { sequence, page } => all_persons(register, sequence, page, most)?,
        FeedPosition::After { sequence, from_zero } => match changed(register, log, sequence, most)? {
            Some((persons, sequence)) => (persons, FeedPosition::After { sequence, from_zero }),
            None => all_persons(register, latest, 0, most)?,
        },
    };
    let from_zero = !matches!(next, FeedPosition::After { from_zero: false, .. });
    if from_zero && high {
        return Err(FeedError::TooHigh);
    }
    let latest = FeedPosition::After { sequence: latest, from_zero }.encode();
    Ok(FeedPage { persons, from, to: next.encode(), latest })
}

type Persons = Vec<(Identity, Option<Recipient>)>;

/// All persons from a page of the index on, in whole pages.
fn all_persons(
    register: &Register,
    sequence: u64,
    page: u32,
    most: usize,
) -> Result<(Persons, FeedPosition), FeedError> {
    let first = Country::Norway.ordinals().start;
    let mut persons: Persons = Vec::new();
    // The current page of the index, and the number of persons before it.
    let (mut current, mut before, mut bytes) = (page, 0, 0);
    let mut next = FeedPosition::After { sequence, from_zero: true };
    register.for_each_from::<FeedError>(Ordinal(first + page * PAGE_ORDINALS), |identity, recipient| {
        let page = (identity.ordinal().0 - first) / PAGE_ORDINALS;
        if page != current {
            (current, before) = (page, persons.len());
        }
        bytes += text_bytes(&recipient);
        if bytes > ANSWER_BYTES_MAX && before == 0 {
            return Err(FeedError::TooLarge);
        }
        if persons.len() == most || bytes > ANSWER_BYTES_MAX {
            persons.truncate(before);
            next = FeedPosition::AllPersons { sequence, page: current };
            return Ok(ControlFlow::Break(()));
        }
        persons.push((*identity, Some(recipient)));
        Ok(ControlFlow::Continue(()))
    })?;
    Ok((persons, next))
}

fn text_bytes(recipient: &Recipient) -> usize {
    match recipient {
        Recipient::Krr { person, .. } => person.text_bytes(),
        Recipient::Far { .. } => 0,
    }
}

/// Persons who changed after a number, and the last number that was read. `None` if the changes have been removed.
fn changed(
    register: &Register,
    log: Option<&Arc<Log>>,
    after: u64,
    most: usize,
) -> Result<Option<(Persons, u64)>, FeedError> {
    let (mut to, mut seen, mut ordinals) = (after, HashSet::new(), Vec::new());
    if after < register.sequence() {
        let changes = match log.map(|log| log.changes_until(after, register.sequence())) {
            None | Some(Err(StoreError::Gone { .. })) => return Ok(None),
            Some(changes) => changes?,
        };
        for change in changes.take(CHANGES_MAX) {
            let change = match change {
                // A checkpoint has removed the segment since.
                Err(StoreError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => {
                    return Ok(None);
                }
                change => change?,
            };
            let persons = match &change.what {
                ChangeBody::PutPerson(put) => std::slice::from_ref(&**put),
                ChangeBody::PutPersons { persons, .. } => persons,
                _ => &[],
            };
            let removed = if let ChangeBody::Remove(ordinal) = &change.what { Some(*ordinal) } else { None };
            let new = persons.iter().map(|put| put.person).chain(removed);
            let new: Vec<Ordinal> = new.filter(|ordinal| !seen.contains(ordinal)).collect();
            if ordinals.len() + new.len() > most {
                if new.len() > most && to == after {
                    // One change of more persons than fit a page.
                    return Ok(None);
                }
                break;
            }
            ordinals.extend(new.into_iter().filter(|ordinal| seen.insert(*ordinal)));
            to = change.sequence();
        }
    }
    let mut bytes = 0;
    let known = ordinals.into_iter().filter_map(Identity::from_ordinal).map(|identity| {
        let recipient = register.recipient(&identity)?;
        bytes += recipient.as_ref().map_or(0, text_bytes);
        match bytes > ANSWER_BYTES_MAX {
            true => Err(FeedError::TooLarge),
            false => Ok((identity, recipient)),
        }
    });
    Ok(Some((known.collect::<Result<_, FeedError>>()?, to)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Lines, Reader, Writer, init};
    use std::collections::BTreeMap;
    use std::path::{Path, PathBuf};

    fn fixture(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
    }

    /// A client's copy: its number, and persons.
    #[derive(Default)]
    struct Copy {
        number: u64,
        persons: BTreeMap<Ordinal, Option<Recipient>>,
    }

    impl Copy {
        /// Applies a page; returns whether it was the last.
        fn take(&mut self, register: &Register, log: &Arc<Log>, most: usize) -> bool {
            let page = page(register, Some(log), self.number, most).expect("a page");
            assert!(page.persons.len() <= most);
            assert!(page.from == self.number && page.from <= page.to && page.to <= page.latest);
            assert!(page.to > page.from || page.to == page.latest, "a page before the last advances");
            self.number = page.to;
            let persons = page.persons.into_iter();
            self.persons.extend(persons.map(|(identity, recipient)| (identity.ordinal(), recipient)));
            page.to == page.latest
        }
    }

    fn all(register: &Register) -> BTreeMap<Ordinal, Option<Recipient>> {
        let mut persons = BTreeMap::new();
        let read = register.for_each::<Damage>(|identity, recipient| {
            persons.insert(identity.ordinal(), Some(recipient));
            Ok(())
        });
        read.expect("undamaged");
        persons
    }

    /// For any sequence of pages, batches and checkpoints, a client ends with the persons of the register.
    #[test]
    fn copies_converge() {
        let directory = tempfile::tempdir().expect("directory");
        let text = std::fs::read(fixture("changes/krr.jsonl")).expect("changes");
        let lines: Vec<&[u8]> = text.split_inclusive(|&byte| byte == b'\n').collect();
        for round in 0..12_usize {
            let data = directory.path().join(format!("krr-{round}"));
            init(fixture("krr"), &data).expect("a data directory");
            let writer = Writer::open(&data).expect("a writer");
            let mut reader = Reader::open(&data).expect("a reader");
            let log = Log::new(&data);
            let most = [60, 100, 1000][round % 3];
            // One begins with 0, one with an export.
            let mut copies = [Copy::default(), Copy { number: 1000, persons: all(&reader.register()) }];
            for (step, batch) in lines.chunks(9 + 5 * round).enumerate() {
                writer.apply(Lines::parse(&batch.concat(), writer.kind()), None).expect("applied");
                if (step + round) % 4 == 3 {
                    writer.checkpoint(round % 2 == 0).expect("a checkpoint");
                }
                reader.refresh().expect("read");
                copies.iter_mut().for_each(|copy| _ = copy.take(&reader.register(), &log, most));
            }
            let register = reader.register();
            for mut copy in copies {
                while !copy.take(&register, &log, most) {}
                let expected = all(&register);
                // Removals whose changes were removed are not in the feed: KRR itself has none.
                let kept = round % 2 == 0;
                copy.persons.retain(|ordinal, recipient| match kept {
                    true => recipient.is_some(),
                    false => expected.contains_key(ordinal),
                });
                assert!(copy.persons == expected, "round {round}");
                assert!(copy.take(&register, &log, most), "nothing more");
            }
        }
    }

    #[test]
    fn positions_survive_encoding() {
        for position in [
            FeedPosition::After { sequence: 1000, from_zero: false },
            FeedPosition::After { sequence: 1000, from_zero: true },
            FeedPosition::After { sequence: (1 << SEQUENCE_BITS) - 1, from_zero: true },
            FeedPosition::AllPersons { sequence: 0, page: 0 },
            FeedPosition::AllPersons { sequence: 1000, page: ALL_PERSONS as u32 - 1 },
        ] {
            assert_eq!(FeedPosition::decode(position.encode(), false), Some(position));
            assert!(position.encode() < 1 << 53);
        }
        assert_eq!(FeedPosition::decode(1 << 53, false), None);
        let ordinals = Country::Norway.ordinals();
        assert!(u64::from((ordinals.end - ordinals.start) / PAGE_ORDINALS) < ALL_PERSONS);
    }

    #[test]
    fn numbers_that_the_register_has_not_reached_are_errors() {
        let directory = tempfile::tempdir().expect("directory");
        let data = directory.path().join("krr");
        init(fixture("krr"), &data).expect("a data directory");
        let register = Reader::open(&data).expect("a reader").register();
        let ahead = FeedPosition::After { sequence: 1001, from_zero: true }.encode();
        for number in [1001, ahead, 1 << 53, u64::MAX] {
            assert!(matches!(page(&register, None, number, 1000), Err(FeedError::Unknown)), "{number}");
        }
        // Removed changes: the feed starts again with all persons.
        let page = page(&register, None, 999, 1000).expect("a page");
        assert!(!page.persons.is_empty() && page.latest >= FROM_ZERO);
    }
}
