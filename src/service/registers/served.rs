//! A register that is served: always the newest version of its file or data directory.

use crate::register::column::Bytes;
use crate::register::{DecidedStates, QuestionError, Register};
use crate::replica::Part;
use crate::snapshot::{OpenError, Snapshot};
use crate::store::{FileWatch, Log, Reader, StoreError};
use arc_swap::ArcSwap;
use jiff::SignedDuration;
use jiff::civil::Date;
use std::collections::HashMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::sync::watch;

/// How often a data directory is read on a file system without events. Cost: some microseconds each time.
const DIRECTORY_POLL: Duration = Duration::from_millis(10);
/// How often the metadata of a register file is read on a file system without events.
const FILE_POLL: Duration = Duration::from_secs(1);
/// How often a register is read in any case: some changes cause no event.
const FALLBACK: Duration = Duration::from_secs(1);
/// Time between attempts to read a register that cannot be read.
const RETRY: Duration = Duration::from_secs(1);
/// Questions whose decisions are cached.
const DECIDED_CACHE_MAX: usize = 512;

/// Why a register cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum OpenRegisterError {
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
    /// A name that cannot be a segment of a path.
    #[error("the name of a register has lower-case letters, digits and - only (NAME=REGISTER), not {0:?}")]
    Name(String),
    /// Parts of a register file.
    #[error("{} is a register file: replicas.parts needs a data directory, which `nabar init` makes", .0.display())]
    NoParts(PathBuf),
    /// Two registers at one path.
    #[error("two registers have the name {0:?}; name each differently: NAME=REGISTER")]
    Twice(String),
}

/// The mapped bytes of a register file.
type MappedFile = dyn Bytes;

/// A register that is served.
pub(in crate::service) struct ServedRegister {
    /// The first segment of its paths; empty if it is at the root.
    pub(in crate::service) name: String,
    /// Which part of a register it is; `None` for a whole register.
    pub(in crate::service) part: Option<Part>,
    /// The parts of it that are kept for replicas.
    pub(in crate::service) parts: Vec<Arc<KeptPart>>,
    path: PathBuf,
    /// Of a data directory.
    log: Arc<Log>,
    current: ArcSwap<Register>,
    decided: Mutex<DecisionCache>,
    versions: Mutex<Vec<Weak<Register>>>,
    /// The sequence number of the newest version.
    published: watch::Sender<u64>,
    /// The digest of the register file of the newest version.
    digest: Mutex<Option<(Weak<MappedFile>, String)>>,
    /// Number of changes that were applied since the start.
    pub(in crate::service) applied: AtomicU64,
    /// Whether the last attempt to read new changes failed.
    pub(in crate::service) failing: AtomicBool,
    /// The age beyond which the service is not ready.
    max_age: Option<SignedDuration>,
}

/// A part of a register, which is kept for its organisation.
pub(in crate::service) struct KeptPart {
    pub(in crate::service) part: Part,
    /// Empty while the part is being made.
    pub(in crate::service) served: OnceLock<Arc<ServedRegister>>,
}

/// The decisions of one version by sender and day: most questions repeat both.
#[derive(Default)]
struct DecisionCache {
    version: Weak<Register>,
    by_question: HashMap<(Option<String>, Date), Arc<DecidedStates>>,
}

/// What a register is read from.
pub(super) enum RegisterSource {
    File(FileId),
    Directory(Box<Reader>),
}

/// Distinguishes files that have the same path at different times.
#[derive(PartialEq, Eq)]
pub(super) struct FileId(u64, u64, i64, i64, u64);

impl FileId {
    fn of(metadata: &Metadata) -> FileId {
        FileId(metadata.dev(), metadata.ino(), metadata.mtime(), metadata.mtime_nsec(), metadata.len())
    }
}

impl ServedRegister {
    pub(super) fn open(
        name: String,
        path: &Path,
        max_age: Option<SignedDuration>,
    ) -> Result<(ServedRegister, RegisterSource), OpenRegisterError> {
        let (register, source) = open_source(path)?;
        let served = ServedRegister {
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
        Ok((served, source))
    }

    /// Opens the data directory of a part and follows it in a thread.
    pub(super) fn open_part(
        path: &Path,
        part: &Part,
        stop: &Arc<AtomicBool>,
    ) -> Result<Arc<ServedRegister>, OpenRegisterError> {
        let (mut served, source) = ServedRegister::open(part.to_string(), path, None)?;
        served.part = Some(part.clone());
        let served = Arc::new(served);
        served.follow_in_thread(source, stop);
        Ok(served)
    }

    /// The newest version.
    pub(in crate::service) fn register(&self) -> Arc<Register> {
        self.current.load_full()
    }

    /// What a version decides for a sender, as the request spells it, on a day.
    pub(in crate::service) fn decided(
        &self,
        register: &Arc<Register>,
        sender: Option<&str>,
        date: Date,
    ) -> Result<Arc<DecidedStates>, QuestionError> {
        let key = (sender.map(str::to_owned), date);
        let mut cache = self.decided.lock().unwrap_or_else(PoisonError::into_inner);
        if !std::ptr::eq(cache.version.as_ptr(), Arc::as_ptr(register)) {
            *cache = DecisionCache { version: Arc::downgrade(register), by_question: HashMap::new() };
        }
        if let Some(decided) = cache.by_question.get(&key) {
            return Ok(Arc::clone(decided));
        }
        let decided = Arc::clone(register.question(sender, date)?.decided());
        if cache.by_question.len() >= DECIDED_CACHE_MAX {
            cache.by_question.clear();
        }
        cache.by_question.insert(key, Arc::clone(&decided));
        Ok(decided)
    }

    /// The log of a data directory; `None` for a register file.
    pub(in crate::service) fn log(&self) -> Option<Arc<Log>> {
        self.path.is_dir().then(|| Arc::clone(&self.log))
    }

    /// Waits until the newest version has another sequence number.
    pub(in crate::service) async fn wait_for_change(&self, sequence: u64) {
        // The channel's sender lives as long as this.
        let _ = self.published.subscribe().wait_for(|newest| *newest != sequence).await;
    }

    /// BLAKE3 of the register file of a version. Cost: reads the whole file, once per file.
    pub(in crate::service) fn digest_of(&self, register: &Register, snapshot: &Snapshot) -> String {
        let mut cached = self.digest.lock().unwrap_or_else(PoisonError::into_inner);
        let file = register.file();
        let same =
            |(of, _): &&(Weak<MappedFile>, String)| of.upgrade().is_some_and(|of| Arc::ptr_eq(&of, file));
        if let Some((_, digest)) = cached.as_ref().filter(same) {
            return digest.clone();
        }
        let digest = snapshot.digest();
        *cached = Some((Arc::downgrade(file), digest.clone()));
        digest
    }

    /// Number of versions in memory.
    pub(in crate::service) fn versions_in_memory(&self) -> usize {
        let mut versions = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
        versions.retain(|version| version.strong_count() > 0);
        versions.len()
    }

    /// Whether it is not older than `max_age`.
    pub(in crate::service) fn is_fresh(&self) -> bool {
        let age = jiff::Timestamp::now().duration_since(self.register().as_of());
        self.max_age.is_none_or(|max| age <= max)
    }

    fn publish(&self, register: Arc<Register>) {
        let before = self.current.swap(Arc::clone(&register));
        self.applied.fetch_add(register.sequence().saturating_sub(before.sequence()), Ordering::Relaxed);
        let mut versions = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
        versions.retain(|version| version.strong_count() > 0);
        versions.push(Arc::downgrade(&register));
        self.published.send_replace(register.sequence());
    }

    /// Publishes a newer version if there is one.
    fn refresh(&self, source: &mut RegisterSource) -> Result<(), OpenRegisterError> {
        match source {
            RegisterSource::Directory(reader) => {
                if reader.refresh()? {
                    self.publish(reader.register());
                }
            }
            RegisterSource::File(id) => {
                // While the file is being replaced it may be missing.
                let Ok(metadata) = std::fs::metadata(&self.path) else { return Ok(()) };
                if FileId::of(&metadata) != *id {
                    let (register, opened) = open_source(&self.path)?;
                    *source = opened;
                    self.publish(register);
                    tracing::info!(
                        register = self.name,
                        sequence = self.register().sequence(),
                        "new register file"
                    );
                }
            }
        }
        Ok(())
    }

    /// Publishes new versions until `stop` is set.
    pub(super) fn follow_in_thread(
        self: &Arc<Self>,
        mut source: RegisterSource,
        stop: &Arc<AtomicBool>,
    ) -> JoinHandle<()> {
        let (served, stop) = (Arc::clone(self), Arc::clone(stop));
        thread::spawn(move || {
            let this = thread::current();
            let mut watch = FileWatch::new(std::slice::from_ref(&served.path), move || this.unpark());
            while !stop.load(Ordering::Relaxed) {
                watch.renew();
                let refreshed = served.refresh(&mut source);
                let failed = refreshed.is_err();
                if let Err(error) = refreshed
                    && !served.failing.load(Ordering::Relaxed)
                {
                    tracing::error!(register = served.name, %error, "cannot read new changes; retrying");
                }
                served.failing.store(failed, Ordering::Relaxed);
                let poll = match source {
                    _ if failed => RETRY,
                    RegisterSource::Directory(_) => DIRECTORY_POLL,
                    RegisterSource::File(_) => FILE_POLL,
                };
                thread::park_timeout(watch.interval(poll).unwrap_or(FALLBACK));
            }
        })
    }
}

fn open_source(path: &Path) -> Result<(Arc<Register>, RegisterSource), OpenRegisterError> {
    if path.is_dir() {
        let reader = Reader::open(path)?;
        return Ok((reader.register(), RegisterSource::Directory(Box::new(reader))));
    }
    let failed = |error| OpenRegisterError::File { path: path.to_owned(), error };
    // The metadata first: if the file is replaced now, the next refresh sees another id.
    let metadata = std::fs::metadata(path).map_err(|error| failed(error.into()))?;
    let register = Snapshot::open(path).and_then(|snapshot| snapshot.register()).map_err(failed)?;
    Ok((Arc::new(register), RegisterSource::File(FileId::of(&metadata))))
}
