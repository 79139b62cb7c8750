//! Parts of a register: the recipients and senders that one mailbox operator or one dispatcher may see.
//!
//! A part is itself a register, with its own file, log and digests, which follows the whole one in another directory on
//! the same machine. An operator's part has the recipients with that operator; a recipient who changes to another one
//! is removed. A dispatcher's part has all recipients, with their acceptance of the senders that the dispatcher acts
//! for. Sequence numbers of omitted changes are skipped ([`ChangeBody::Others`](crate::changes::ChangeBody::Others)), so a part is
//! at the same sequence number as the whole register.

mod changes;
mod draft;

use super::{ChangeBatch, FollowError, FollowerLink, Offer, Source, Standing, io_error};
use crate::changes::{Change, OrganisationId};
use crate::register::{Kind, Register};
use crate::snapshot::Snapshot;
use crate::store::{FileWatch, Log, Reader, StoreError, Writer};
use jiff::Timestamp;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

/// Interval at which the whole register is read on a file system without events.
const POLL: Duration = Duration::from_millis(10);
/// Interval at which it is read in any case.
const FALLBACK: Duration = Duration::from_secs(1);

/// Longest time between two attempts to make a part: what the whole register lacks may be there at any time.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// A part of a register.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// The part of a mailbox operator, by its id.
    Operator(String),
    /// The part of a dispatcher, by its id. FaR only.
    Dispatcher(String),
}

impl Part {
    /// Id of the organisation that may see the part.
    pub fn organisation(&self) -> &str {
        match self {
            Part::Operator(id) | Part::Dispatcher(id) => id,
        }
    }

    /// Whether a register of that kind can have such a part.
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

/// A register in a local data directory as the source of a part.
pub(super) struct WholeRegister<'s> {
    directory: PathBuf,
    part: Part,
    /// Path of the part's register file.
    file: PathBuf,
    log: Arc<Log>,
    reader: RefCell<Option<Reader>>,
    watch: RefCell<FileWatch>,
    stop: &'s AtomicBool,
    link: &'s FollowerLink,
    /// Connects the follower of the whole register with its readers, if it is a replica.
    link_of_whole: &'s OnceLock<FollowerLink>,
    /// Whether the content of the part has been compared since it was opened.
    compared: Cell<bool>,
}

impl<'s> WholeRegister<'s> {
    pub(super) fn new(
        (directory, link_of_whole): (&Path, &'s OnceLock<FollowerLink>),
        part: Part,
        file: PathBuf,
        stop: &'s AtomicBool,
        link: &'s FollowerLink,
    ) -> WholeRegister<'s> {
        let (log, directory) = (Log::new(directory), directory.to_owned());
        let this = thread::current();
        let watch = FileWatch::new(std::slice::from_ref(&directory), move || this.unpark());
        let (reader, watch) = (RefCell::new(None), RefCell::new(watch));
        let compared = Cell::new(false);
        WholeRegister { directory, part, file, log, reader, watch, stop, link, link_of_whole, compared }
    }

    /// The current version of the whole register.
    fn register(&self) -> Result<Arc<Register>, FollowError> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(FollowError::Options("stopped".to_owned()));
        }
        let away = |error: StoreError| FollowError::Unreachable(error.to_string());
        let mut reader = self.reader.borrow_mut();
        let reader = match reader.take() {
            Some(mut open) => {
                open.refresh().map_err(away)?;
                reader.insert(open)
            }
            // Also if the register file was damaged: it may have been replaced.
            None => reader.insert(Reader::open(&self.directory).map_err(away)?),
        };
        Ok(reader.register())
    }

    /// Checks that the files of the whole register, if it is a replica, are those of its follower: before and after each
    /// reading. What was read is forgotten otherwise.
    fn check_whole(&self) -> Result<(), FollowError> {
        let why = match self.link_of_whole.get().map(FollowerLink::check) {
            None | Some(Ok(Standing::Own)) => return Ok(()),
            Some(Ok(Standing::Unknown)) => "it is being opened, or made again".to_owned(),
            Some(Err(error)) => error.to_string(),
        };
        drop(self.reader.take());
        Err(FollowError::Unreachable(format!("the whole register: {why}")))
    }

    /// The whole register once it is at another sequence number, or after `wait`.
    fn wait_for_change(&self, sequence: u64, wait: Duration) -> Result<Arc<Register>, FollowError> {
        let until = Instant::now() + wait;
        loop {
            let mut watch = self.watch.borrow_mut();
            watch.renew();
            let register = self.register()?;
            let left = until.saturating_duration_since(Instant::now());
            if register.sequence() != sequence || left.is_zero() || self.link.is_suspected() {
                return Ok(register);
            }
            thread::park_timeout(watch.interval(POLL).unwrap_or(FALLBACK).min(left));
        }
    }

    /// The changes of the whole register between two sequence numbers, at most `most`.
    fn whole_changes(&self, after: u64, until: u64, most: usize) -> Result<Vec<Change>, FollowError> {
        let read = || -> Result<Vec<Change>, StoreError> {
            let mut changes = Vec::new();
            for change in self.log.changes_until(after, until)?.take(most) {
                changes.push(change?);
            }
            Ok(changes)
        };
        read().map_err(|error| match error {
            StoreError::Gone { .. } => FollowError::Gone,
            // A checkpoint may be removing segments.
            error => FollowError::Unreachable(error.to_string()),
        })
    }
}

impl WholeRegister<'_> {
    /// Writes the register file of the part as the whole register is now.
    fn write_part(&self, register: &Register) -> Result<Snapshot, FollowError> {
        let draft = draft::draft(&self.part, register).and_then(|draft| {
            register.intact()?;
            Ok(draft)
        });
        let draft = draft.inspect_err(|_| drop(self.reader.take()))?;
        draft.write(&self.file).map_err(io_error(&self.file))?;
        Snapshot::open(&self.file).map_err(|error| FollowError::Unreachable(error.to_string()))
    }

    /// The content digest of the part as the whole register is now: once, because what is in the directory of a part when it
    /// is opened may be another register. Cost: that of making the part.
    fn content(&self, register: &Register) -> Result<String, FollowError> {
        let part = self.write_part(register)?.register();
        let part = part.map_err(|error| FollowError::Unreachable(error.to_string()))?;
        let content = part.content().map_err(|damage| FollowError::Unreachable(damage.to_string()))?;
        let _ = fs::remove_file(&self.file);
        self.compared.set(true);
        Ok(content.to_string())
    }
}

impl Source for WholeRegister<'_> {
    fn offer(&self) -> Result<Offer, FollowError> {
        self.check_whole()?;
        let register = self.register()?;
        let snapshot = self.write_part(&register)?;
        self.check_whole()?;
        Ok(Offer {
            register: register.kind().name().to_owned(),
            digest: snapshot.digest(),
            bytes: snapshot.as_ref().len() as u64,
            sequence: snapshot.header().sequence,
            latest: register.sequence(),
        })
    }

    fn snapshot(&self, _: &Offer, from: u64) -> Result<Option<Box<dyn Read + '_>>, FollowError> {
        let failed = io_error(&self.file);
        let mut file = File::open(&self.file).map_err(&failed)?;
        file.seek(SeekFrom::Start(from)).map_err(&failed)?;
        Ok(Some(Box::new(file)))
    }

    fn changes(&self, here: &Register, most: usize, wait: Duration) -> Result<ChangeBatch, FollowError> {
        let from = here.sequence();
        self.check_whole()?;
        let register = self.wait_for_change(from, wait)?;
        let changes = match register.sequence() {
            latest if latest > from => self.whole_changes(from, latest, most)?,
            _ => Vec::new(),
        };
        let to = changes.last().map_or(from, Change::sequence);
        let content = match to == register.sequence() && !self.compared.get() {
            true => Some(self.content(&register)?),
            false => None,
        };
        self.check_whole().inspect_err(|_| self.compared.set(false))?;
        let of_part = changes::changes_of_part(&self.part, &changes, here)?.ok_or(FollowError::Gone)?;
        let name = register.kind().name().to_owned();
        Ok(ChangeBatch { register: name, changes: of_part, to, latest: register.sequence(), content })
    }

    fn link(&self) -> Option<&FollowerLink> {
        Some(self.link)
    }

    /// The whole register is on this machine: an account that can write it can write the part as well.
    fn now(&self) -> Option<Timestamp> {
        None
    }

    fn pause(&self, time: Duration) {
        let until = Instant::now() + time.min(PAUSE_MAX);
        while Instant::now() < until && !self.stop.load(Ordering::Relaxed) {
            thread::sleep(time.min(Duration::from_millis(50)));
        }
    }

    fn open(&self, directory: &Path) -> Result<Writer, StoreError> {
        // Best effort: the file is written again when it is needed.
        let _ = fs::remove_file(&self.file);
        self.compared.set(false);
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

    /// The part of the whole register, or `None` if it has none.
    fn made(part: &Part, whole: &Register, path: &Path) -> Option<Register> {
        let draft = match draft::draft(part, whole) {
            Err(FollowError::Unreachable(_)) => return None,
            draft => draft.expect("a part"),
        };
        draft.write(path).expect("written");
        Some(Snapshot::open(path).and_then(|file| file.register()).expect("a register"))
    }

    /// Follows a part through the changes of a fixture; returns how often it was rebuilt.
    fn follow(kind: &str, part: &Part, batch: usize) -> usize {
        let directory = tempfile::tempdir().expect("directory");
        let whole = directory.path().join("whole");
        store::init(fixture(kind), &whole).expect("a data directory");
        let whole = Writer::open(&whole).expect("a writer");
        let file = directory.path().join("part.nabar");
        let (mut here, mut rebuilds) = (None, 0);
        let text = fs::read(fixture(&format!("changes/{kind}.jsonl"))).expect("changes");
        let lines: Vec<&[u8]> = text.split_inclusive(|&byte| byte == b'\n').collect();
        for (index, lines) in lines.chunks(batch).enumerate() {
            let from = whole.register().sequence();
            whole.apply(Lines::parse(&lines.concat(), whole.kind()), None).expect("applied");
            let log = Log::new(directory.path().join("whole"));
            let changes: Vec<Change> = log.changes(from).and_then(Iterator::collect).expect("changes");
            let expected = made(part, &whole.register(), &file);
            let changes = here.as_ref().and_then(|here: &Writer| {
                changes::changes_of_part(part, &changes, &here.register()).expect("undamaged")
            });
            match (changes, &here) {
                (Some(changes), Some(here)) => {
                    here.apply(Lines::of(changes), None).expect("it fits");
                }
                _ if expected.is_some() => {
                    let path = directory.path().join(format!("part-{index}"));
                    store::init(&file, &path).expect("a data directory");
                    (here, rebuilds) = (Some(Writer::open(&path).expect("a writer")), rebuilds + 1);
                }
                _ => here = None,
            }
            if let (Some(here), Some(expected)) = (&here, expected) {
                let register = here.register();
                assert_eq!(register.sequence(), whole.register().sequence(), "{part}");
                assert_eq!(content(&register), content(&expected), "{part} at {}", register.sequence());
            }
        }
        rebuilds
    }

    /// A part that follows equals the part made from the whole register, in batches of any size.
    #[test]
    fn following_equals_making_the_part_again() {
        let mut rarely_rebuilt = 0;
        for kind in ["far", "krr"] {
            let directory = tempfile::tempdir().expect("directory");
            let data = directory.path().join("data");
            store::init(fixture(kind), &data).expect("a data directory");
            let register = Reader::open(&data).expect("a reader").register();
            let operators = register.operators().iter().map(|operator| Part::Operator(operator.id.clone()));
            let dispatchers = register.dispatchers().iter();
            let dispatchers = dispatchers.map(|dispatcher| Part::Dispatcher(dispatcher.id.clone()));
            for (index, part) in operators.chain(dispatchers).enumerate() {
                assert!(part.is_of(register.kind()), "{part}");
                assert_eq!(part.to_string().parse(), Ok(part.clone()));
                rarely_rebuilt += usize::from(follow(kind, &part, [9, 30, 75][index % 3]) < 4);
            }
        }
        assert!(rarely_rebuilt > 5, "{rarely_rebuilt} parts followed without frequent rebuilds");
    }

    #[test]
    fn names_of_parts_parse() {
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

    /// A part is not made of what another program puts into the directory of a replica, beside its files.
    #[test]
    fn a_part_is_made_of_the_files_of_the_follower_only() {
        let directory = tempfile::tempdir().expect("directory");
        let at = |name: &str| directory.path().join(name);
        store::init(fixture("far"), at("whole")).expect("a data directory");
        let (link, link_of_whole) = (FollowerLink::default(), OnceLock::from(FollowerLink::default()));
        let (stop, part) = (AtomicBool::new(false), Part::Operator("164921000016".to_owned()));
        let whole = at("whole");
        let source = WholeRegister::new((&whole, &link_of_whole), part, at("part.nabar"), &stop, &link);
        let offered = || source.offer().map(|offer| offer.latest);
        assert!(matches!(offered(), Err(FollowError::Unreachable(_))), "it is not open yet");
        let writer = Writer::open(&whole).expect("a writer");
        let writer = crate::replica::link::LinkedWriter::new(writer, link_of_whole.get());
        assert_eq!(offered().expect("a part"), 1000);
        let other = whole.join("register-00000000000000002000.nabar");
        fs::copy(whole.join("register-00000000000000001000.nabar"), &other).expect("copied");
        assert!(matches!(offered(), Err(FollowError::Unreachable(_))), "another file is there");
        assert!(source.changes(&writer.register(), 10, Duration::ZERO).is_err());
        fs::remove_file(&other).expect("removed");
        assert_eq!(offered().expect("a part"), 1000);
        // After it was closed, too.
        drop(writer);
        assert_eq!(offered().expect("a part"), 1000);
        fs::remove_file(whole.join("changes-00000000000000001000.log")).expect("removed");
        assert!(matches!(offered(), Err(FollowError::Unreachable(_))), "a file is missing");
    }
}
