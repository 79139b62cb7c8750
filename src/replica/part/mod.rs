//! Parts of a register: what one mailbox operator or one dispatcher may have of it.
//!
//! A part is a register of its own, with its own file, log and digests, which follows the whole one in a directory on
//! the same machine. An operator's has the recipients who have that operator; whoever goes over to another one is removed.
//! A dispatcher's has all recipients, and their acceptance as far as it concerns the senders that the dispatcher acts
//! for. The numbers of changes that are not told are used up ([`What::Others`]), so a part is at the same sequence number
//! as the whole.

mod made;
mod telling;

use super::{FollowError, Offer, Source, Told, io_error};
use crate::changes::{Change, OrganisationId};
use crate::register::{Kind, Register};
use crate::snapshot::Snapshot;
use crate::store::{Log, Reader, StoreError, Writer};
use std::cell::RefCell;
use std::fmt;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How often the whole register is asked for news.
const POLL: Duration = Duration::from_millis(2);

/// Whose part.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// A mailbox operator's, by its id.
    Operator(String),
    /// A dispatcher's, by its id. FaR only.
    Dispatcher(String),
}

impl Part {
    /// The organisation that may have it.
    pub fn organisation(&self) -> &str {
        match self {
            Part::Operator(id) | Part::Dispatcher(id) => id,
        }
    }

    /// Whether a register of that country can have such a part.
    pub fn is_of(&self, kind: Kind) -> bool {
        let swedish = OrganisationId::parse(self.organisation()).is_some();
        match (self, kind) {
            (_, Kind::Far) => swedish,
            (Part::Operator(_), Kind::Krr) => !swedish,
            (Part::Dispatcher(_), Kind::Krr) => false,
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Part::Operator(id) => write!(f, "operator:{id}"),
            Part::Dispatcher(id) => write!(f, "dispatcher:{id}"),
        }
    }
}

impl FromStr for Part {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Part, &'static str> {
        const FORM: &str = "a part is operator:NUMBER or dispatcher:NUMBER, with an organisation's number";
        let (whose, id) = text.split_once(':').ok_or(FORM)?;
        let id = match OrganisationId::parse(id) {
            Some(id) => id.text(),
            // Norwegian numbers have nine digits.
            None if id.len() == 9 && id.bytes().all(|byte| byte.is_ascii_digit()) => id.to_owned(),
            None => return Err(FORM),
        };
        match whose {
            "operator" => Ok(Part::Operator(id)),
            "dispatcher" => Ok(Part::Dispatcher(id)),
            _ => Err(FORM),
        }
    }
}

/// A register in a data directory on this machine, of which a part is followed.
pub(super) struct Whole<'s> {
    directory: PathBuf,
    part: Part,
    /// Where the part's register file is made.
    made: PathBuf,
    log: Arc<Log>,
    reader: RefCell<Option<Reader>>,
    stop: &'s AtomicBool,
}

impl<'s> Whole<'s> {
    pub(super) fn new(directory: &Path, part: Part, made: PathBuf, stop: &'s AtomicBool) -> Whole<'s> {
        let (log, directory) = (Log::new(directory), directory.to_owned());
        Whole { directory, part, made, log, reader: RefCell::new(None), stop }
    }

    /// The whole register as it is now.
    fn register(&self) -> Result<Arc<Register>, FollowError> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(FollowError::Options("it is told to end".to_owned()));
        }
        let away = |error: StoreError| FollowError::Away(error.to_string());
        let mut reader = self.reader.borrow_mut();
        let reader = match reader.take() {
            Some(mut open) => {
                open.refresh().map_err(away)?;
                reader.insert(open)
            }
            None => reader.insert(Reader::open(&self.directory).map_err(away)?),
        };
        Ok(reader.register())
    }

    /// The whole register, as soon as it is at another sequence number.
    fn other_than(&self, sequence: u64, wait: Duration) -> Result<Arc<Register>, FollowError> {
        let until = Instant::now() + wait;
        loop {
            let register = self.register()?;
            if register.sequence() != sequence || Instant::now() >= until {
                return Ok(register);
            }
            thread::sleep(POLL);
        }
    }

    /// The changes of the whole register, after and up to a sequence number.
    fn whole_changes(&self, after: u64, until: u64, most: usize) -> Result<Vec<Change>, FollowError> {
        let read = || -> Result<Vec<Change>, StoreError> {
            let mut changes = Vec::new();
            for change in self.log.changes(after)?.take(most) {
                let change = change?;
                if change.sequence() > until {
                    break;
                }
                changes.push(change);
            }
            Ok(changes)
        };
        read().map_err(|error| match error {
            StoreError::Gone { .. } => FollowError::Gone,
            // A checkpoint may be removing segments.
            error => FollowError::Away(error.to_string()),
        })
    }
}

impl Source for Whole<'_> {
    fn offer(&self) -> Result<Offer, FollowError> {
        let register = self.register()?;
        let failed = io_error(&self.made);
        let draft = made::draft(&self.part, &register)?;
        draft.write(&self.made).map_err(&failed)?;
        let made = Snapshot::open(&self.made).map_err(|error| FollowError::Away(error.to_string()))?;
        Ok(Offer {
            register: register.kind().name().to_owned(),
            digest: made.digest(),
            bytes: made.as_ref().len() as u64,
            latest: register.sequence(),
        })
    }

    fn snapshot(&self, _: &Offer, from: u64) -> Result<Option<Box<dyn Read + '_>>, FollowError> {
        let failed = io_error(&self.made);
        let mut file = File::open(&self.made).map_err(&failed)?;
        file.seek(SeekFrom::Start(from)).map_err(&failed)?;
        Ok(Some(Box::new(file)))
    }

    fn changes(&self, here: &Register, most: usize, wait: Duration) -> Result<Told, FollowError> {
        let from = here.sequence();
        let register = self.other_than(from, wait)?;
        let changes = match register.sequence() {
            latest if latest > from => self.whole_changes(from, latest, most)?,
            _ => Vec::new(),
        };
        let to = changes.last().map_or(from, Change::sequence);
        let told = telling::told(&self.part, &changes, here)?.ok_or(FollowError::Gone)?;
        let name = register.kind().name().to_owned();
        Ok(Told { register: name, changes: told, to, latest: register.sequence(), content: None })
    }

    fn pause(&self, time: Duration) {
        let until = Instant::now() + time;
        while Instant::now() < until && !self.stop.load(Ordering::Relaxed) {
            thread::sleep(time.min(Duration::from_millis(50)));
        }
    }

    fn open(&self, directory: &Path) -> Result<Writer, StoreError> {
        // Best effort: it is written anew when it is needed again.
        let _ = fs::remove_file(&self.made);
        Writer::open(directory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::register::ContentDigest;
    use crate::snapshot::Snapshot;
    use crate::store::{self, Lines};

    fn fixture(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
    }

    fn content(register: &Register) -> ContentDigest {
        register.content().expect("undamaged")
    }

    /// The part as it is made of the whole register.
    fn made(part: &Part, whole: &Register, path: &Path) -> Option<Register> {
        let draft = match made::draft(part, whole) {
            Err(FollowError::Away(_)) => return None,
            draft => draft.expect("a part"),
        };
        draft.write(path).expect("written");
        Some(Snapshot::open(path).and_then(|file| file.register()).expect("a register"))
    }

    /// Follows a part through the changes of a fixture; returns how often it was made anew.
    fn follow(kind: &str, part: &Part, batch: usize) -> usize {
        let directory = tempfile::tempdir().expect("directory");
        let whole = directory.path().join("whole");
        store::init(&fixture(kind), &whole).expect("a data directory");
        let whole = Writer::open(&whole).expect("a writer");
        let file = directory.path().join("part.nabar");
        let (mut here, mut anew) = (None, 0);
        let text = fs::read(fixture(&format!("changes/{kind}.jsonl"))).expect("changes");
        let lines: Vec<&[u8]> = text.split_inclusive(|&byte| byte == b'\n').collect();
        for (place, lines) in lines.chunks(batch).enumerate() {
            let from = whole.register().sequence();
            whole.apply(Lines::parse(&lines.concat(), whole.kind()), None).expect("applied");
            let log = Log::new(&directory.path().join("whole"));
            let changes: Vec<Change> = log.changes(from).and_then(Iterator::collect).expect("changes");
            let expected = made(part, &whole.register(), &file);
            let told = here.as_ref().and_then(|here: &Writer| {
                telling::told(part, &changes, &here.register()).expect("undamaged")
            });
            match (told, &here) {
                (Some(told), Some(here)) => {
                    here.apply(Lines::of(told), None).expect("it fits");
                }
                _ if expected.is_some() => {
                    let path = directory.path().join(format!("part-{place}"));
                    store::init(&file, &path).expect("a data directory");
                    (here, anew) = (Some(Writer::open(&path).expect("a writer")), anew + 1);
                }
                _ => here = None,
            }
            if let (Some(here), Some(expected)) = (&here, expected) {
                let register = here.register();
                assert_eq!(register.sequence(), whole.register().sequence(), "{part}");
                assert_eq!(content(&register), content(&expected), "{part} at {}", register.sequence());
            }
        }
        anew
    }

    /// Whatever the batches, a part that follows is what would be made of the whole register.
    #[test]
    fn a_part_is_what_the_whole_register_makes_it() {
        let mut told = 0;
        for kind in ["far", "krr"] {
            let directory = tempfile::tempdir().expect("directory");
            let data = directory.path().join("data");
            store::init(&fixture(kind), &data).expect("a data directory");
            let register = Reader::open(&data).expect("a reader").register();
            let operators = register.operators().iter().map(|operator| Part::Operator(operator.id.clone()));
            let dispatchers = register.dispatchers().iter();
            let dispatchers = dispatchers.map(|dispatcher| Part::Dispatcher(dispatcher.id.clone()));
            for (place, part) in operators.chain(dispatchers).enumerate() {
                assert!(part.is_of(register.kind()), "{part}");
                assert_eq!(part.to_string().parse(), Ok(part.clone()));
                told += usize::from(follow(kind, &part, [9, 30, 75][place % 3]) < 4);
            }
        }
        assert!(told > 5, "{told} followed for most of the way");
    }

    #[test]
    fn parts_are_named_by_whose_they_are() {
        assert_eq!(
            "operator:5566777888".parse::<Part>().is_ok(),
            OrganisationId::parse("5566777888").is_some()
        );
        for bad in ["", "operator", "operator:", "sender:164821000025", "operator:16482100002", "x:984661185"]
        {
            assert!(bad.parse::<Part>().is_err(), "{bad}");
        }
        let norwegian: Part = "operator:984661185".parse().expect("a part");
        assert!(norwegian.is_of(Kind::Krr) && !norwegian.is_of(Kind::Far));
        assert!(!Part::Dispatcher("984661185".to_owned()).is_of(Kind::Krr));
    }
}
