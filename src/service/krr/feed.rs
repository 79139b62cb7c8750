//! KRR's feed of changes: everybody who has changed after a number, and everybody at all for who begins with 0.
//!
//! The register does not know at which number each person changed last, so who begins with 0 is first led
//! through all persons, in the order of their ordinals, and then through the changes since that began. Where
//! in that a client is, is in the numbers that it is given: they ascend, and end at the latest, as the
//! contract has it; nothing is kept between two calls. Who comes with a number of the register's own
//! (from an export) is given the register's own.

use crate::changes::What;
use crate::identities::{Country, Identity, Ordinal};
use crate::limits::PAGE_ORDINALS;
use crate::register::{Damage, Recipient, Register};
use crate::store::{Log, StoreError};
use std::collections::HashSet;
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

/// Set in the numbers of a client that began with 0. Numbers stay below 2^53, which JavaScript can still count.
const LED: u64 = 1 << 52;
/// Bits below the sequence number: where among all persons a client is, in pages of the index.
const PLACE_BITS: u32 = 22;
/// Place of who has seen all persons.
const SEEN: u64 = (1 << PLACE_BITS) - 1;
/// Bits of the sequence number.
const SEQUENCE_BITS: u32 = 52 - PLACE_BITS;
/// Changes that are looked through for one page, at most.
const CHANGES_MAX: usize = 100_000;

/// A page of the feed.
pub(super) struct Page {
    /// Everybody on it; `None` who has left the register.
    pub(super) persons: Vec<(Identity, Option<Recipient>)>,
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) latest: u64,
}

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoPage {
    /// A number that the register has not given, or not yet.
    #[error("the register has no such change yet; begin with 0, or ask where the number comes from")]
    Unknown,
    /// The register's numbers do not fit.
    #[error("the register's change numbers are too high to begin with 0; begin with an export")]
    TooHigh,
    #[error(transparent)]
    Damaged(#[from] Damage),
    #[error(transparent)]
    Log(#[from] StoreError),
}

/// Where a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Behind a change.
    After { sequence: u64, led: bool },
    /// Among all persons, which began behind a change.
    Among { sequence: u64, page: u32 },
}

impl Place {
    /// `high` is whether the register's own numbers are so high that it gives no others.
    fn of(number: u64, high: bool) -> Option<Place> {
        let sequence = (number & (LED - 1)) >> PLACE_BITS;
        match (number & LED, number & SEEN) {
            _ if high => Some(Place::After { sequence: number, led: false }),
            _ if number >= 2 * LED => None,
            (0, _) => Some(Place::After { sequence: number, led: false }),
            (_, SEEN) => Some(Place::After { sequence, led: true }),
            (_, page) => Some(Place::Among { sequence, page: page as u32 }),
        }
    }

    fn number(self) -> u64 {
        match self {
            Place::After { sequence, led: false } => sequence,
            Place::After { sequence, led: true } => LED | sequence << PLACE_BITS | SEEN,
            Place::Among { sequence, page } => LED | sequence << PLACE_BITS | u64::from(page),
        }
    }
}

/// The page behind a number, at most `most` persons, which are more than a page of the index may have. `log` is the
/// register's, if it has one.
///
/// Somebody is on it as the register knows them now: who changes again comes again. If the changes behind the
/// number are gone (folded into the register file) or too many for a page, it begins with everybody.
pub(super) fn page(
    register: &Register,
    log: Option<&Arc<Log>>,
    from: u64,
    most: usize,
) -> Result<Page, NoPage> {
    let latest = register.sequence();
    let high = latest >> SEQUENCE_BITS > 0;
    let place = match Place::of(from, high).ok_or(NoPage::Unknown)? {
        Place::After { sequence: 0, led: false } => Place::Among { sequence: latest, page: 0 },
        Place::After { sequence, .. } | Place::Among { sequence, .. } if sequence > latest => {
            return Err(NoPage::Unknown);
        }
        place => place,
    };
    let (persons, next) = match place {
        Place::Among { sequence, page } => everybody(register, sequence, page, most)?,
        Place::After { sequence, led } => match changed(register, log, sequence, most)? {
            Some((persons, sequence)) => (persons, Place::After { sequence, led }),
            None => everybody(register, latest, 0, most)?,
        },
    };
    let led = !matches!(next, Place::After { led: false, .. });
    if led && high {
        return Err(NoPage::TooHigh);
    }
    let latest = Place::After { sequence: latest, led }.number();
    Ok(Page { persons, from, to: next.number(), latest })
}

type Persons = Vec<(Identity, Option<Recipient>)>;

/// Everybody from a page of the index on, in whole pages.
fn everybody(register: &Register, sequence: u64, page: u32, most: usize) -> Result<(Persons, Place), Damage> {
    let first = Country::Norway.ordinals().start;
    let mut persons: Persons = Vec::new();
    // The page that is being filled, and who was there before it.
    let (mut current, mut before) = (page, 0);
    let mut next = Place::After { sequence, led: true };
    register.for_each_from::<Damage>(Ordinal(first + page * PAGE_ORDINALS), |identity, recipient| {
        let page = (identity.ordinal().0 - first) / PAGE_ORDINALS;
        if page != current {
            (current, before) = (page, persons.len());
        }
        if persons.len() == most {
            persons.truncate(before);
            next = Place::Among { sequence, page: current };
            return Ok(ControlFlow::Break(()));
        }
        persons.push((*identity, Some(recipient)));
        Ok(ControlFlow::Continue(()))
    })?;
    Ok((persons, next))
}

/// Everybody who changed after a number, and the last number that was looked at. `None` if the changes are gone.
fn changed(
    register: &Register,
    log: Option<&Arc<Log>>,
    after: u64,
    most: usize,
) -> Result<Option<(Persons, u64)>, NoPage> {
    let (mut to, mut seen, mut ordinals) = (after, HashSet::new(), Vec::new());
    if after < register.sequence() {
        let changes = match log.map(|log| log.changes(after)) {
            None | Some(Err(StoreError::Gone { .. })) => return Ok(None),
            Some(changes) => changes?,
        };
        for change in changes.take(CHANGES_MAX) {
            let change = match change {
                // A checkpoint has just removed the segment.
                Err(StoreError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => {
                    return Ok(None);
                }
                change => change?,
            };
            let persons = match &change.what {
                What::PutPerson(put) => std::slice::from_ref(&**put),
                What::PutPersons { persons, .. } => persons,
                _ => &[],
            };
            let removed = if let What::Remove(ordinal) = &change.what { Some(*ordinal) } else { None };
            let new = persons.iter().map(|put| put.person).chain(removed);
            let new: Vec<Ordinal> = new.filter(|ordinal| !seen.contains(ordinal)).collect();
            if change.sequence() > register.sequence() {
                break;
            }
            if ordinals.len() + new.len() > most {
                if new.len() > most && to == after {
                    // A change of more persons than a page has room for.
                    return Ok(None);
                }
                break;
            }
            ordinals.extend(new.into_iter().filter(|ordinal| seen.insert(*ordinal)));
            to = change.sequence();
        }
    }
    let known = ordinals.into_iter().filter_map(Identity::from_ordinal).map(|identity| {
        let recipient = register.recipient(&identity)?;
        Ok((identity, recipient))
    });
    Ok(Some((known.collect::<Result<_, Damage>>()?, to)))
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

    /// What a client keeps: it knows numbers and persons, and nothing else.
    #[derive(Default)]
    struct Copy {
        at: u64,
        persons: BTreeMap<Ordinal, Option<Recipient>>,
    }

    impl Copy {
        /// Takes a page; returns whether all is told.
        fn take(&mut self, register: &Register, log: &Arc<Log>, most: usize) -> bool {
            let page = page(register, Some(log), self.at, most).expect("a page");
            assert!(page.persons.len() <= most);
            assert!(page.from == self.at && page.from <= page.to && page.to <= page.latest);
            assert!(page.to > page.from || page.to == page.latest, "it goes on");
            self.at = page.to;
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

    /// However pages, batches and checkpoints follow one another, a client ends with what the register has.
    #[test]
    fn copies_converge() {
        let directory = tempfile::tempdir().expect("directory");
        let text = std::fs::read(fixture("changes/krr.jsonl")).expect("changes");
        let lines: Vec<&[u8]> = text.split_inclusive(|&byte| byte == b'\n').collect();
        for round in 0..12_usize {
            let data = directory.path().join(format!("krr-{round}"));
            init(&fixture("krr"), &data).expect("a data directory");
            let writer = Writer::open(&data).expect("a writer");
            let mut reader = Reader::open(&data).expect("a reader");
            let log = Log::new(&data);
            let most = [60, 100, 1000][round % 3];
            // One begins with everybody, one with an export.
            let mut copies = [Copy::default(), Copy { at: 1000, persons: all(&reader.register()) }];
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
                // Removals are not told if they are gone: KRR itself has none.
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
    fn numbers_tell_places() {
        for place in [
            Place::After { sequence: 1000, led: false },
            Place::After { sequence: 1000, led: true },
            Place::After { sequence: (1 << SEQUENCE_BITS) - 1, led: true },
            Place::Among { sequence: 0, page: 0 },
            Place::Among { sequence: 1000, page: SEEN as u32 - 1 },
        ] {
            assert_eq!(Place::of(place.number(), false), Some(place));
            assert!(place.number() < 1 << 53);
        }
        assert_eq!(Place::of(1 << 53, false), None);
        let ordinals = Country::Norway.ordinals();
        assert!(u64::from((ordinals.end - ordinals.start) / PAGE_ORDINALS) < SEEN);
    }

    #[test]
    fn numbers_that_are_not_the_registers_are_told() {
        let directory = tempfile::tempdir().expect("directory");
        let data = directory.path().join("krr");
        init(&fixture("krr"), &data).expect("a data directory");
        let register = Reader::open(&data).expect("a reader").register();
        let ahead = Place::After { sequence: 1001, led: true }.number();
        for number in [1001, ahead, 1 << 53, u64::MAX] {
            assert!(matches!(page(&register, None, number, 1000), Err(NoPage::Unknown)), "{number}");
        }
        // What is gone begins with everybody.
        let page = page(&register, None, 999, 1000).expect("a page");
        assert!(!page.persons.is_empty() && page.latest >= LED);
    }
}
