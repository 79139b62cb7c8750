//! The register in memory: persons by the number of their last change, faults derived from a seed, and a clock that moves
//! only when something waits.

use crate::identities::{Country, Identity, Ordinal};
use crate::register::{Damage, Recipient, Register};
use crate::replica::tests::disk::{Failing, Fault, Faults};
use crate::replica::tests::random::Random;
use crate::source::answer::CallError;
use crate::source::feed::FeedSource;
use crate::source::feed::page::{self, FeedError, Page};
use crate::store::{self, DataDirectory, Reader, StoreError, Writer};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Persons of a page.
pub(super) const PAGE: usize = 7;
/// What ends a run of the test, as if the process had been killed.
pub(super) const KILLED: &str = "killed";

/// A person: reservation, status, and a mobile number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Somebody {
    pub(super) reserved: bool,
    pub(super) deleted: bool,
    pub(super) mobile: String,
}

pub(super) type Everybody = BTreeMap<String, Somebody>;

/// The register, and how its feed behaves.
pub(super) struct Fake {
    /// Where `nabar follow` writes.
    pub(super) directory: PathBuf,
    /// Persons, and the number of the last change of each.
    pub(super) persons: RefCell<BTreeMap<String, (u64, Somebody)>>,
    pub(super) latest: Cell<u64>,
    /// Numbers before this one are gone.
    pub(super) oldest: Cell<u64>,
    pub(super) clock: Cell<Timestamp>,
    pub(super) random: RefCell<Random>,
    /// Probability of a fault, in thousandths, and the number of calls until there are none.
    pub(super) faults: Cell<u64>,
    pub(super) calls: Cell<u64>,
    /// Answers in place of others, the next one last.
    pub(super) script: RefCell<Vec<Scripted>>,
    pub(super) pauses: RefCell<Vec<Duration>>,
    pub(super) happened: RefCell<BTreeMap<&'static str, u64>>,
    pub(super) disk: Faults,
    /// Persons that a reader of the directory has seen, and those who have left since without a trace.
    pub(super) seen: Cell<u64>,
    pub(super) left: Cell<u64>,
    /// Whether the directory was damaged by the test, so that it cannot be read.
    pub(super) is_damaged: Cell<bool>,
    /// A directory that takes the place of the one that is followed in the next pause. Until then the disk is full for each
    /// page.
    pub(super) other: RefCell<Option<PathBuf>>,
}

#[derive(Clone, Debug)]
pub(super) enum Scripted {
    True,
    Error(fn() -> FeedError),
    /// A page of these numbers, without persons.
    Empty([u64; 3]),
    /// A page with these persons.
    Text(String),
}

pub(super) fn ids() -> Vec<String> {
    let first = Country::Norway.ordinals().start;
    let identities = (0..40).filter_map(|number| Identity::from_ordinal(Ordinal(first + 4001 * number)));
    identities.map(|identity| identity.as_str().to_owned()).collect()
}

pub(super) fn person_of(id: &str, somebody: &Somebody) -> Value {
    let reserved = if somebody.reserved { "JA" } else { "NEI" };
    let status = if somebody.deleted { "SLETTET" } else { "AKTIV" };
    let contact = json!({"mobiltelefonnummer": somebody.mobile, "mobiltelefonnummer_oppdatert": "2026-01-01T00:00:00Z"});
    json!({"personidentifikator": id, "reservasjon": reserved, "status": status, "kontaktinformasjon": contact})
}

pub(super) fn page_text(list: &[Value], [from, to, latest]: [u64; 3]) -> String {
    json!({"list": list, "fraEndringsId": from, "tilEndringsId": to, "sisteEndringsId": latest}).to_string()
}

/// The persons of a directory.
pub(super) fn everybody(register: &Register) -> Everybody {
    let mut found = Everybody::new();
    let read = register.for_each::<Damage>(|identity, recipient| {
        let Recipient::Krr { state, person } = recipient else { panic!("KRR") };
        let mobile = person.kontaktinformasjon.unwrap_or_default().mobiltelefonnummer;
        let somebody = Somebody { reserved: state.reserved, deleted: state.deleted, mobile };
        assert!(found.insert(identity.as_str().to_owned(), somebody).is_none());
        Ok(())
    });
    read.expect("undamaged");
    found
}

impl Fake {
    pub(super) fn new(directory: &Path, seed: u64) -> Fake {
        Fake {
            directory: directory.to_owned(),
            persons: RefCell::default(),
            latest: Cell::new(0),
            oldest: Cell::new(0),
            clock: Cell::new("2026-06-01T00:00:00Z".parse().expect("a time")),
            random: RefCell::new(Random::new(seed)),
            faults: Cell::new(0),
            calls: Cell::new(0),
            script: RefCell::default(),
            pauses: RefCell::default(),
            happened: RefCell::default(),
            disk: Faults::default(),
            seen: Cell::new(0),
            left: Cell::new(0),
            is_damaged: Cell::new(false),
            other: RefCell::default(),
        }
    }

    pub(super) fn with_script(self, script: &[Scripted]) -> Fake {
        self.script.borrow_mut().extend(script.iter().rev().cloned());
        self
    }

    pub(super) fn below(&self, end: u64) -> u64 {
        self.random.borrow_mut().below(end)
    }

    pub(super) fn note(&self, what: &'static str) {
        *self.happened.borrow_mut().entry(what).or_default() += 1;
    }

    pub(super) fn put(&self, id: &str, somebody: Somebody) {
        self.latest.set(self.latest.get() + 1);
        self.persons.borrow_mut().insert(id.to_owned(), (self.latest.get(), somebody));
    }

    /// Some persons change, and some numbers are used for nothing.
    pub(super) fn change(&self, count: u64) {
        let ids = ids();
        for _ in 0..count {
            let id = &ids[self.below(ids.len() as u64) as usize];
            let mobile = format!("+47{:08}", self.below(100_000_000));
            self.put(id, Somebody { reserved: self.below(4) == 0, deleted: self.below(5) == 0, mobile });
            self.latest.set(self.latest.get() + if self.below(10) == 0 { 15 } else { 0 });
        }
    }

    pub(super) fn truth(&self) -> Everybody {
        self.persons.borrow().iter().map(|(id, (_, somebody))| (id.clone(), somebody.clone())).collect()
    }

    /// The answer to a call: the persons who changed after a number, in the order of their changes.
    fn true_text(&self, from: u64) -> String {
        let persons = self.persons.borrow();
        let mut changed: Vec<_> = persons.iter().filter(|(_, (number, _))| *number > from).collect();
        changed.sort_by_key(|(_, (number, _))| *number);
        let mut to = self.latest.get();
        if changed.len() > PAGE {
            changed.truncate(PAGE);
            to = changed[PAGE - 1].1.0;
        }
        // An empty page that is not the last.
        if changed.first().is_some_and(|(_, (number, _))| *number > from + 10) {
            self.note("an empty page before others");
            changed.clear();
            to = from + 5;
        }
        let mut list: Vec<Value> =
            changed.iter().map(|(id, (_, somebody))| person_of(id, somebody)).collect();
        if !list.is_empty() && self.below(3) == 0 {
            // An earlier entry of the same person, with a later date: the order of the feed counts.
            self.note("doubles");
            let (id, (_, somebody)) = changed[self.below(changed.len() as u64) as usize];
            let earlier = Somebody {
                reserved: !somebody.reserved,
                deleted: !somebody.deleted,
                mobile: "+4799999999".into(),
            };
            let mut earlier = person_of(id, &earlier);
            earlier["kontaktinformasjon"]["mobiltelefonnummer_oppdatert"] = json!("2026-05-31T00:00:00Z");
            list.insert(0, earlier);
        }
        page_text(&list, [from, to, self.latest.get()])
    }

    /// What a reader of the directory sees: never fewer persons than before.
    pub(super) fn look(&self) {
        if self.is_damaged.get() {
            return;
        }
        if store::is_data_directory(&self.directory) {
            let register = Reader::open(&self.directory).expect("readable").register();
            let count = everybody(&register).len() as u64;
            assert!(
                count + self.left.get() >= self.seen.get(),
                "a reader sees {count} persons of {}",
                self.seen.get()
            );
            self.seen.set(count);
        } else {
            assert_eq!(self.seen.get(), 0, "the directory has disappeared");
        }
    }

    fn fault(&self, from: u64) -> Option<Result<Page, FeedError>> {
        let (name, answer): (_, Result<String, FeedError>) = match self.below(7) {
            0 => ("killed", Err(FeedError::Call(CallError::Stop(KILLED.to_owned())))),
            1 => ("away", Err(FeedError::Call(CallError::again("away")))),
            2 => ("another page", Ok(page_text(&[], [from + 2, from + 3, from + 3]))),
            3 => {
                let text = self.true_text(from);
                ("cut off", Ok(text[..text.len() / 2].to_owned()))
            }
            4 => (
                "a bad value",
                Ok(self.true_text(from).replace("\"NEI\"", "\"KANSKJE\"").replace("\"JA\"", "\"\"")),
            ),
            5 if from > 0 => {
                self.oldest.set(self.latest.get() + 1);
                ("gone", Err(FeedError::Gone("status 410".to_owned())))
            }
            _ => (
                "away for long",
                Err(FeedError::Call(CallError::Again {
                    why: "503".to_owned(),
                    after: Some(Duration::from_secs(600)),
                })),
            ),
        };
        // Nothing to spoil.
        if name == "a bad value" && !answer.as_ref().is_ok_and(|text| text.contains("KANSKJE")) {
            return None;
        }
        self.note(name);
        Some(answer.and_then(|text| page::read(text.as_bytes(), from, self.now())))
    }
}

impl FeedSource for Fake {
    fn page(&self, from: u64) -> Result<Page, FeedError> {
        self.look();
        self.calls.set(self.calls.get() + 1);
        if self.other.borrow().is_some() {
            self.disk.set(Fault::Full(0));
        }
        match self.script.borrow_mut().pop() {
            Some(Scripted::True) => {}
            Some(Scripted::Error(error)) => return Err(error()),
            Some(Scripted::Empty(numbers)) => {
                return page::read(page_text(&[], numbers).as_bytes(), from, self.now());
            }
            Some(Scripted::Text(text)) => return page::read(text.as_bytes(), from, self.now()),
            None => {}
        }
        if self.below(1000) < self.faults.get()
            && let Some(fault) = self.fault(from)
        {
            return fault;
        }
        if from > 0 && from < self.oldest.get() {
            return Err(FeedError::Gone("status 400".to_owned()));
        }
        if self.faults.get() > 0 {
            self.change(self.below(3));
            // Of the next writes, also within a checkpoint.
            match self.below(12) {
                0 => self.disk.set(Fault::Full(self.below(8))),
                1 => self.disk.set(Fault::Killed(self.below(8))),
                _ => {}
            }
        }
        page::read(self.true_text(from).as_bytes(), from, self.now())
    }

    fn now(&self) -> Timestamp {
        self.clock.get()
    }

    fn pause(&self, time: Duration) {
        self.pauses.borrow_mut().push(time);
        if let Some(other) = self.other.take() {
            std::fs::remove_dir_all(&self.directory).expect("removed");
            std::fs::rename(other, &self.directory).expect("renamed");
        }
        let time = SignedDuration::try_from(time).expect("a time");
        self.clock.set(self.clock.get().checked_add(time).expect("a time"));
        if matches!(self.disk.get(), Fault::Full(_)) && self.below(2) == 0 {
            self.note("disk full");
            self.disk.set(Fault::None);
        }
        // Gone numbers belong to earlier copies: the register knows those of a copy that begins now.
        if self.below(2) == 0 {
            self.oldest.set(0);
        }
    }

    fn open(&self, directory: &Path) -> Result<Writer, StoreError> {
        let disk = Arc::new(Failing::new(directory, &self.disk));
        Writer::of(DataDirectory { disk, path: directory.to_owned() })
    }
}
