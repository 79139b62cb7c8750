//! Replicas: a data directory that follows a register over HTTP.
//!
//! A replica begins with the source's register file, which is verified before it is used, and takes in the
//! changes after it, each batch durably. It can be killed at any time: what it has is in its data directory,
//! and a register file that was coming is gone on with. Readers of the directory are served all the while, also
//! when it has fallen so far behind that it begins anew.

mod source;

pub use source::SourceOptions;

use crate::files;
use crate::register::Kind;
use crate::store::{self, ApplyError, InitError, Lines, StoreError, Writer};
use source::{Offer, Source};
use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

/// For how long the source is asked to wait for changes.
const WAIT: Duration = Duration::from_secs(25);
/// Changes of one batch, at most.
const BATCH: usize = 50_000;
/// How long to wait before the source is asked again that did not answer: at first, and at most.
const RETRY: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// Why a replica does not follow.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The source does not answer, or cannot now: it is asked again.
    #[error("the source does not answer: {0}")]
    Away(String),
    /// It does not want to.
    #[error("the source refuses ({status}): {detail}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// What it says.
        detail: String,
    },
    /// The changes that are asked for are folded into its register file.
    #[error("the changes are gone at the source")]
    Gone,
    /// What answers is no `nabar serve`.
    #[error("what answers there is no register of nabar's: name the address without /v1")]
    NoSource,
    /// A register file that is not what was offered, twice.
    #[error("the register file that came is not the one that the source offers: its digest does not hold")]
    Altered,
    /// What came does not lead to where the source says it does.
    #[error(
        "the source says that the register is at {said} after its changes, and they lead to {found}: the replica is \
         not the register that the source has; remove the directory to begin anew"
    )]
    Diverged {
        /// By the source.
        said: u64,
        /// Here.
        found: u64,
    },
    /// Certificates, keys or tokens.
    #[error("{0}")]
    Options(String),
    /// Another process follows there.
    #[error("another process keeps {}: end it first", .0.display())]
    Occupied(PathBuf),
    /// A change does not fit: the replica is not the register that the source has.
    #[error("{0}; the replica is not the register that the source has: remove the directory to begin anew")]
    Apply(#[from] ApplyError),
    /// The directory.
    #[error(transparent)]
    Init(#[from] InitError),
    /// The directory.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The disk.
    #[error("{}: {error}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// What happens to a replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A register file is coming: bytes that are here, bytes of all.
    Coming(u64, u64),
    /// The replica is at a sequence number, and the source at another.
    At(u64, u64),
    /// The replica has fallen behind, and begins anew.
    Behind,
    /// The source does not answer; told once until it does.
    Away(String),
}

/// How a replica is kept.
#[derive(Clone, Debug)]
pub struct Follow {
    /// Where from.
    pub source: SourceOptions,
    /// Its data directory.
    pub directory: PathBuf,
    /// Whether to end when it has what the source has.
    pub once: bool,
    /// Bytes of log after which it is folded into the register file.
    pub checkpoint_at: u64,
}

/// Follows until it cannot, or has all if it is told to end then.
///
/// Errors: all but [`FollowError::Away`], which it waits out.
pub fn follow(follow: &Follow, mut tell: impl FnMut(Event)) -> Result<(), FollowError> {
    let replica = Replica::new(follow)?;
    let _alone = replica.lock()?;
    replica.recover()?;
    let mut away = Away::default();
    if !store::is_data_directory(&replica.directory) {
        replica.begin(&replica.directory, &mut away, &mut tell)?;
    }
    let (mut writer, mut began) = (Writer::open(&replica.directory)?, None);
    loop {
        let from = writer.register().sequence();
        let wait = if follow.once { Duration::ZERO } else { WAIT };
        let told = match replica.source.changes(from, BATCH, wait) {
            Ok(told) => told,
            Err(FollowError::Away(why)) => {
                away.wait(why, &mut tell);
                continue;
            }
            // Again, and nothing came between: its register file is older than its changes.
            Err(FollowError::Gone) if began == Some(from) => {
                away.wait(FollowError::Gone.to_string(), &mut tell);
                began = None;
                continue;
            }
            Err(FollowError::Gone) => {
                tell(Event::Behind);
                drop(writer);
                replica.begin_anew(&mut away, &mut tell)?;
                writer = Writer::open(&replica.directory)?;
                began = Some(writer.register().sequence());
                continue;
            }
            Err(error) => return Err(error),
        };
        away = Away::default();
        if told.to > from {
            apply(&writer, &told.text, told.to)?;
            if writer.log_bytes() > follow.checkpoint_at {
                writer.checkpoint(false)?;
            }
        }
        tell(Event::At(told.to, told.latest));
        if follow.once && told.to == told.latest {
            return Ok(());
        }
    }
}

fn apply(writer: &Writer, text: &[u8], said: u64) -> Result<(), FollowError> {
    let kind: Kind = writer.kind();
    writer.apply(Lines::parse(text, kind), false)?;
    match writer.register().sequence() {
        found if found == said => Ok(()),
        found => Err(FollowError::Diverged { said, found }),
    }
}

/// How long the source has not answered.
#[derive(Default)]
struct Away {
    times: u32,
}

impl Away {
    /// Waits, longer each time, and not as long as others who wait.
    fn wait(&mut self, why: String, tell: &mut impl FnMut(Event)) {
        if self.times == 0 {
            tell(Event::Away(why));
        }
        let longest = RETRY.saturating_mul(1 << self.times.min(16)).min(RETRY_MAX);
        self.times += 1;
        let part = RandomState::new().hash_one(self.times) as f64 / u64::MAX as f64;
        thread::sleep(longest.mul_f64(0.5 + part / 2.0));
    }
}

/// A replica and its source. What is not complete lies beside the directory, under names that begin with a dot.
struct Replica {
    source: Source,
    directory: PathBuf,
    parent: PathBuf,
    name: String,
}

impl Replica {
    fn new(follow: &Follow) -> Result<Replica, FollowError> {
        let directory = std::path::absolute(&follow.directory).unwrap_or_else(|_| follow.directory.clone());
        let name = directory.file_name().map(|name| name.to_string_lossy().into_owned());
        let parent = directory.parent().map(Path::to_owned);
        let (Some(name), Some(parent)) = (name, parent) else {
            return Err(FollowError::Options("name a directory".to_owned()));
        };
        fs::create_dir_all(&parent).map_err(io_error(&parent))?;
        Ok(Replica { source: Source::new(follow.source.clone())?, directory, parent, name })
    }

    fn beside(&self, what: &str) -> PathBuf {
        self.parent.join(format!(".{}.{what}", self.name))
    }

    fn lock(&self) -> Result<File, FollowError> {
        let path = self.beside("lock");
        let file = OpenOptions::new().create(true).append(true).open(&path).map_err(io_error(&path))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(fs::TryLockError::WouldBlock) => Err(FollowError::Occupied(self.directory.clone())),
            Err(fs::TryLockError::Error(error)) => Err(io_error(&path)(error)),
        }
    }

    /// Ends what was interrupted while one directory took the place of another.
    fn recover(&self) -> Result<(), FollowError> {
        let (next, old) = (self.beside("next"), self.beside("old"));
        if !self.directory.exists() && old.exists() {
            let from = if store::is_data_directory(&next) { &next } else { &old };
            self.rename(from, &self.directory)?;
        }
        for leftover in [next, old].iter().filter(|path| path.exists()) {
            fs::remove_dir_all(leftover).map_err(io_error(leftover))?;
        }
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), FollowError> {
        fs::rename(from, to).map_err(io_error(to))?;
        files::sync_directory(&self.parent).map_err(io_error(&self.parent))
    }

    /// Makes a data directory of the source's register file.
    fn begin(
        &self,
        directory: &Path,
        away: &mut Away,
        tell: &mut impl FnMut(Event),
    ) -> Result<(), FollowError> {
        let mut altered = false;
        loop {
            let file = match self.fetch(tell) {
                Err(FollowError::Away(why)) => {
                    away.wait(why, tell);
                    continue;
                }
                // What had come before may have been damaged since; once more from its beginning.
                Err(FollowError::Altered) if !std::mem::replace(&mut altered, true) => continue,
                file => file?,
            };
            // It was replaced meanwhile: there is another one.
            let Some(file) = file else { continue };
            store::init(&file, directory)?;
            return fs::remove_file(&file).map_err(io_error(&file));
        }
    }

    /// The same, in the place of the directory that is there.
    fn begin_anew(&self, away: &mut Away, tell: &mut impl FnMut(Event)) -> Result<(), FollowError> {
        let (next, old) = (self.beside("next"), self.beside("old"));
        self.begin(&next, away, tell)?;
        self.rename(&self.directory, &old)?;
        self.rename(&next, &self.directory)?;
        fs::remove_dir_all(&old).map_err(io_error(&old))
    }

    /// Fetches the register file, or what is missing of it. `None` if the source has replaced it.
    fn fetch(&self, tell: &mut impl FnMut(Event)) -> Result<Option<PathBuf>, FollowError> {
        let offer = self.source.offer()?;
        let path = self.beside(&format!("{}.partial", offer.digest));
        self.remove_partial(&path)?;
        let failed = io_error(&path);
        let mut file = OpenOptions::new().create(true).append(true).open(&path).map_err(&failed)?;
        let here = file.metadata().map_err(&failed)?.len();
        if here < offer.bytes {
            let Some(mut reader) = self.source.snapshot(&offer, here)? else { return Ok(None) };
            let mut piece = vec![0; 1 << 20];
            let mut here = here;
            loop {
                let read = io::Read::read(&mut reader, &mut piece);
                let read = read.map_err(|error| FollowError::Away(error.to_string()))?;
                if read == 0 {
                    break;
                }
                file.write_all(&piece[..read]).map_err(&failed)?;
                here += read as u64;
                tell(Event::Coming(here, offer.bytes));
            }
            if here < offer.bytes {
                return Err(FollowError::Away("the register file broke off".to_owned()));
            }
        }
        self.verify(&path, &offer)?;
        Ok(Some(path))
    }

    /// Errors: it is not what was offered, and is removed.
    fn verify(&self, path: &Path, offer: &Offer) -> Result<(), FollowError> {
        let bytes = crate::memory::map_path(path).map_err(io_error(path))?;
        let digest = blake3::Hasher::new().update_rayon(bytes.as_ref()).finalize().to_hex();
        if *digest.as_str() == *offer.digest {
            return Ok(());
        }
        fs::remove_file(path).map_err(io_error(path))?;
        Err(FollowError::Altered)
    }

    /// Removes what has come of other register files.
    fn remove_partial(&self, but: &Path) -> Result<(), FollowError> {
        let failed = io_error(&self.parent);
        for entry in fs::read_dir(&self.parent).map_err(&failed)? {
            let path = entry.map_err(&failed)?.path();
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let middle = name.strip_prefix(&format!(".{}.", self.name));
            let digest = middle.and_then(|rest| rest.strip_suffix(".partial"));
            if digest.is_some_and(|digest| digest.len() == 64) && path != but {
                fs::remove_file(&path).map_err(io_error(&path))?;
            }
        }
        Ok(())
    }
}

fn io_error(path: &Path) -> impl Fn(io::Error) -> FollowError + use<> {
    let path = path.to_owned();
    move |error| FollowError::Io { path: path.clone(), error }
}
