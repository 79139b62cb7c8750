//! The registers that are served, and how they stay up to date.

use super::config::Replicas;
use super::parts::{self, Kept};
use crate::register::column::Bytes;
use crate::register::{Decided, NotAsked, Register};
use crate::replica::Part;
use crate::snapshot::{OpenError, Snapshot};
use crate::store::{Log, Reader, StoreError};
use arc_swap::ArcSwap;
use jiff::SignedDuration;
use jiff::civil::Date;
use std::collections::HashMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::watch;

/// How often a data directory is asked for news: some microseconds each time.
const DIRECTORY_POLL: Duration = Duration::from_millis(2);
/// How often a register file is looked at: whether another has taken its place.
const FILE_POLL: Duration = Duration::from_secs(1);
/// Questions of which it is kept what has been decided.
const DECIDED_KEPT: usize = 512;
/// How long after a failure it is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Why a register cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum OpenFailed {
    /// The register file.
    #[error("{}: {error}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: OpenError,
    },
    /// The data directory.
    #[error(transparent)]
    Directory(#[from] StoreError),
    /// A name that cannot be a part of an address.
    #[error("a register is named with small letters, digits and - (NAME=REGISTER), not {0:?}")]
    Name(String),
    /// Parts of a register file.
    #[error("{} is a register file: parts are kept of a data directory, which `nabar init` makes", .0.display())]
    NoParts(PathBuf),
    /// Two registers at one address.
    #[error("two registers are named {0:?}; with more than one, give each a name of its own: NAME=REGISTER")]
    Twice(String),
}

/// A register file as it is mapped.
type Mapped = dyn Bytes;

/// A register that is served, always the newest version that is known.
pub struct Live {
    /// Under which name; empty if it is at the root.
    pub(super) name: String,
    /// If it is a part.
    pub(super) part: Option<Part>,
    /// Parts of it.
    pub(super) parts: Vec<Arc<Kept>>,
    path: PathBuf,
    /// Of a data directory.
    log: Arc<Log>,
    current: ArcSwap<Register>,
    decided: Mutex<DecidedFor>,
    versions: Mutex<Vec<Weak<Register>>>,
    /// Told the sequence number of each version.
    published: watch::Sender<u64>,
    /// Of the register file, by where it is mapped; a file that is gone is not kept for it.
    digest: Mutex<Option<(Weak<Mapped>, String)>>,
    /// Changes that were taken in since the service began.
    pub(super) applied: AtomicU64,
    /// Whether the last attempt to take in what is new failed.
    pub(super) failing: AtomicBool,
    /// The age beyond which the service is not ready.
    pub(super) max_age: Option<SignedDuration>,
}

/// What has been decided for a version: senders and days come again and again.
#[derive(Default)]
struct DecidedFor {
    version: Weak<Register>,
    by_question: HashMap<(Option<String>, Date), Arc<Decided>>,
}

/// What a register is read from.
enum Source {
    File(FileId),
    Directory(Box<Reader>),
}

/// What tells one file from another under the same name.
#[derive(PartialEq, Eq)]
struct FileId(u64, u64, i64, i64, u64);

impl FileId {
    fn of(metadata: &Metadata) -> FileId {
        FileId(metadata.dev(), metadata.ino(), metadata.mtime(), metadata.mtime_nsec(), metadata.len())
    }
}

impl Live {
    /// The newest version.
    pub(super) fn register(&self) -> Arc<Register> {
        self.current.load_full()
    }

    /// What a version decides for a sender, as it is written in the request, on a day.
    pub(super) fn decided(
        &self,
        register: &Arc<Register>,
        sender: Option<&str>,
        date: Date,
    ) -> Result<Arc<Decided>, NotAsked> {
        let key = (sender.map(str::to_owned), date);
        let mut kept = self.decided.lock().unwrap_or_else(PoisonError::into_inner);
        if !std::ptr::eq(kept.version.as_ptr(), Arc::as_ptr(register)) {
            *kept = DecidedFor { version: Arc::downgrade(register), by_question: HashMap::new() };
        }
        if let Some(decided) = kept.by_question.get(&key) {
            return Ok(Arc::clone(decided));
        }
        let decided = Arc::clone(register.question(sender, date)?.decided());
        // A year of days, or all senders on one: whoever asks for more waits a little longer.
        if kept.by_question.len() >= DECIDED_KEPT {
            kept.by_question.clear();
        }
        kept.by_question.insert(key, Arc::clone(&decided));
        Ok(decided)
    }

    /// The changes of a data directory; none of a register file.
    pub(super) fn log(&self) -> Option<Arc<Log>> {
        self.path.is_dir().then(|| Arc::clone(&self.log))
    }

    /// Waits until the newest version is another than at a sequence number.
    pub(super) async fn other_than(&self, sequence: u64) {
        // The sender lives as long as this.
        let _ = self.published.subscribe().wait_for(|newest| *newest != sequence).await;
    }

    /// BLAKE3 of the register file that a version is made of. Cost: all of it is read, once for each file.
    pub(super) fn digest_of(&self, register: &Register, snapshot: &Snapshot) -> String {
        let mut kept = self.digest.lock().unwrap_or_else(PoisonError::into_inner);
        let file = register.file();
        let same = |(of, _): &&(Weak<Mapped>, String)| of.upgrade().is_some_and(|of| Arc::ptr_eq(&of, file));
        if let Some((_, digest)) = kept.as_ref().filter(same) {
            return digest.clone();
        }
        let digest = snapshot.digest();
        *kept = Some((Arc::downgrade(file), digest.clone()));
        digest
    }

    /// Versions that somebody has.
    pub(super) fn versions_alive(&self) -> usize {
        let mut versions = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
        versions.retain(|version| version.strong_count() > 0);
        versions.len()
    }

    /// Whether it may be asked: it is not too old.
    pub(super) fn is_fresh(&self) -> bool {
        let age = jiff::Timestamp::now().duration_since(self.register().as_of());
        self.max_age.is_none_or(|max| age <= max)
    }

    fn new(name: String, path: &Path, max_age: Option<SignedDuration>) -> Result<(Live, Source), OpenFailed> {
        let (register, source) = Live::open(path)?;
        let live = Live {
            name,
            part: None,
            parts: Vec::new(),
            log: Log::new(path),
            path: path.to_owned(),
            decided: Mutex::default(),
            versions: Mutex::new(vec![Arc::downgrade(&register)]),
            published: watch::Sender::new(register.sequence()),
            digest: Mutex::default(),
            current: ArcSwap::new(register),
            applied: AtomicU64::new(0),
            failing: AtomicBool::new(false),
            max_age,
        };
        Ok((live, source))
    }

    /// Follows a part in its directory, until it is told to end.
    pub(super) fn of_part(path: &Path, part: &Part, stop: &Arc<AtomicBool>) -> Result<Arc<Live>, OpenFailed> {
        let (mut live, source) = Live::new(part.to_string(), path, None)?;
        live.part = Some(part.clone());
        let (live, stop) = (Arc::new(live), Arc::clone(stop));
        let followed = Arc::clone(&live);
        std::thread::spawn(move || run(&followed, source, &stop));
        Ok(live)
    }

    fn open(path: &Path) -> Result<(Arc<Register>, Source), OpenFailed> {
        if path.is_dir() {
            let reader = Reader::open(path)?;
            return Ok((reader.register(), Source::Directory(Box::new(reader))));
        }
        let failed = |error| OpenFailed::File { path: path.to_owned(), error };
        // The id first: if another file takes its place now, that is seen at the next look.
        let id = std::fs::metadata(path).map_err(|error| failed(error.into()))?;
        let register = Snapshot::open(path).and_then(|snapshot| snapshot.register()).map_err(failed)?;
        Ok((Arc::new(register), Source::File(FileId::of(&id))))
    }

    /// Takes what has been opened anew.
    fn replace(&self, source: &mut Source, (register, new): (Arc<Register>, Source)) {
        *source = new;
        self.publish(register);
    }

    fn publish(&self, register: Arc<Register>) {
        let before = self.current.swap(Arc::clone(&register));
        self.applied.fetch_add(register.sequence().saturating_sub(before.sequence()), Ordering::Relaxed);
        let mut versions = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
        versions.retain(|version| version.strong_count() > 0);
        versions.push(Arc::downgrade(&register));
        self.published.send_replace(register.sequence());
    }

    /// Takes in what is new; returns how long to wait before the next time.
    fn follow(&self, source: &mut Source) -> Result<Duration, OpenFailed> {
        match source {
            Source::Directory(reader) => {
                if reader.refresh()? {
                    self.publish(reader.register());
                }
                Ok(DIRECTORY_POLL)
            }
            Source::File(id) => {
                // While it is being replaced there may be none.
                let Ok(metadata) = std::fs::metadata(&self.path) else { return Ok(FILE_POLL) };
                if FileId::of(&metadata) != *id {
                    self.replace(source, Live::open(&self.path)?);
                    tracing::info!(register = self.name, sequence = self.register().sequence(), "new file");
                }
                Ok(FILE_POLL)
            }
        }
    }
}

/// All registers that are served. They follow what happens to their files until this is dropped.
pub struct Registers {
    pub(super) all: Vec<Arc<Live>>,
    stop: Arc<AtomicBool>,
    followers: Vec<std::thread::JoinHandle<()>>,
}

impl Registers {
    /// Opens registers by their names; the only one may have the name "" and is then at the root.
    pub fn open(
        given: Vec<(String, PathBuf)>,
        max_age: Option<SignedDuration>,
        replicas: &Replicas,
    ) -> Result<Registers, OpenFailed> {
        let mut registers =
            Registers { all: Vec::new(), stop: Arc::default(), followers: Vec::with_capacity(given.len()) };
        let alone = given.len() == 1;
        for (name, path) in given {
            let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            if !name.chars().all(good) {
                return Err(OpenFailed::Name(name));
            }
            if name.is_empty() && !alone || registers.all.iter().any(|live| live.name == name) {
                return Err(OpenFailed::Twice(name));
            }
            let (mut live, source) = Live::new(name, &path, max_age)?;
            live.parts = parts::keep(&path, &live, replicas, &registers.stop, &mut registers.followers)?;
            let live = Arc::new(live);
            registers.all.push(Arc::clone(&live));
            let stop = Arc::clone(&registers.stop);
            registers.followers.push(std::thread::spawn(move || run(&live, source, &stop)));
        }
        Ok(registers)
    }

    /// The names of all registers.
    pub(super) fn names(&self) -> Vec<&str> {
        self.all.iter().map(|live| live.name.as_str()).collect()
    }

    /// The register at an address, and the rest of the address.
    pub(super) fn at<'p>(&self, path: &'p str) -> Option<(&Arc<Live>, &'p str)> {
        if let [only] = &self.all[..]
            && only.name.is_empty()
        {
            return Some((only, path));
        }
        let inner = path.strip_prefix('/')?;
        let end = inner.find('/')?;
        let live = self.all.iter().find(|live| live.name == inner[..end])?;
        Some((live, &inner[end..]))
    }
}

impl Drop for Registers {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for follower in self.followers.drain(..) {
            follower.thread().unpark();
            let _ = follower.join();
        }
    }
}

fn run(live: &Live, mut source: Source, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let wait = match live.follow(&mut source) {
            Ok(wait) => {
                live.failing.store(false, Ordering::Relaxed);
                wait
            }
            Err(error) => {
                if !live.failing.swap(true, Ordering::Relaxed) {
                    tracing::error!(register = live.name, %error, "cannot take in what is new; trying again");
                }
                RETRY
            }
        };
        std::thread::park_timeout(wait);
    }
}
