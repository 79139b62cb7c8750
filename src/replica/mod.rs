//! Replicas: a data directory that follows a register over HTTP.
//!
//! A replica begins with the source's register file, which is verified before it is used, and takes in the
//! changes after it, each batch durably. It can be killed at any time: what it has is in its data directory,
//! and a register file that was coming is gone on with. Readers of the directory are served all the while, also
//! when it has fallen so far behind that it begins anew.

pub(crate) mod backoff;
mod directory;
pub(crate) mod following;
mod http;
mod part;

#[cfg(test)]
mod tests;

pub use http::SourceOptions;
pub use part::Part;

use crate::changes::Change;
use crate::register::Register;
use crate::signing::{Statement, Trusted};
use crate::store::{ApplyError, InitError, StoreError, Writer};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// Why a replica does not follow.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The source does not answer, or cannot now: it is asked again.
    #[error("the source does not answer: {0}")]
    Away(String),
    /// What came is not signed as it must be: it is passed over, and the source asked again.
    #[error("what came is refused: {0}")]
    Untrusted(String),
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
    /// The source has less than the replica.
    #[error(
        "the source is at an earlier sequence number than the replica, {here}: it was rolled back, or is another \
         register; remove the directory to begin anew"
    )]
    RolledBack {
        /// What the replica has.
        here: u64,
    },
    /// The source has the register of another country, or another part.
    #[error("the source has another register, {found}: follow it into another directory")]
    Another {
        /// Which.
        found: String,
    },
    /// There is a data directory that has changes of its own.
    #[error("{} is a data directory that `nabar follow` has not made: name another one", .0.display())]
    NoReplica(PathBuf),
    /// Somebody has removed the replica.
    #[error("somebody has removed what was in {} while it was kept: follow anew", .0.display())]
    Removed(PathBuf),
    /// The replica is not the register that the source has, twice.
    #[error("the replica is not the register that the source has: {0}; it has begun anew once already")]
    Diverged(String),
    /// Certificates, keys or tokens.
    #[error("{0}")]
    Options(String),
    /// Another process follows there.
    #[error("another process keeps {}: end it first", .0.display())]
    Occupied(PathBuf),
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

impl FollowError {
    /// Whether it may be over when it is tried again.
    fn passes(&self) -> bool {
        matches!(self, FollowError::Away(_) | FollowError::Untrusted(_)) || self.is_full()
    }

    /// Whether there is no room on the disk.
    fn is_full(&self) -> bool {
        let kind = match self {
            FollowError::Io { error, .. } | FollowError::Store(StoreError::Io { error, .. }) => error.kind(),
            FollowError::Store(StoreError::Failed { kind, .. }) => *kind,
            FollowError::Init(InitError::Store(StoreError::Io { error, .. })) => error.kind(),
            _ => return false,
        };
        matches!(kind, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }
}

impl From<ApplyError> for FollowError {
    fn from(error: ApplyError) -> FollowError {
        match error {
            ApplyError::Store(error) => FollowError::Store(error),
            error => FollowError::Diverged(format!("a change does not fit: {error}")),
        }
    }
}

/// What happens to a replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A register file is coming: bytes that are here, bytes of all.
    Coming(u64, u64),
    /// The replica can be read, at a sequence number.
    Open(u64),
    /// The replica is at a sequence number, and the source at another.
    At(u64, u64),
    /// The replica has fallen behind, and begins anew.
    Behind,
    /// The replica is not what the source has, and begins anew: an alarm.
    Diverged(String),
    /// The source does not answer, or the disk is full; told once until that is over.
    Away(String),
    /// What came is not signed as it must be: an alarm, told once until something is.
    Untrusted(String),
}

/// How a replica is kept.
#[derive(Clone, Debug)]
pub struct Follow {
    /// Its data directory.
    pub directory: PathBuf,
    /// Whether to end when it has what the source has.
    pub once: bool,
    /// Bytes of log after which it is folded into the register file.
    pub checkpoint_at: u64,
}

/// Follows until it cannot, or has all if it is told to end then.
///
/// Errors: those that waiting does not help; with `once` also [`FollowError::Untrusted`] at once, and
/// [`FollowError::Away`] after a minute or so.
pub fn follow(
    source: &SourceOptions,
    follow: &Follow,
    mut tell: impl FnMut(Event),
) -> Result<(), FollowError> {
    let source = http::Http::new(source.clone())?;
    following::run(follow, &source, &mut tell)
}

/// Follows a part of the register in a data directory on this machine into another directory, until it is told to end.
///
/// Errors: as [`follow`].
pub fn follow_part(
    whole: &Path,
    part: &Part,
    directory: &Path,
    checkpoint_at: u64,
    stop: &AtomicBool,
    mut tell: impl FnMut(Event),
) -> Result<(), FollowError> {
    let mut made = directory.as_os_str().to_owned();
    made.push(".made");
    let source = part::Whole::new(whole, part.clone(), made.into(), stop);
    let follow = Follow { directory: directory.to_owned(), once: false, checkpoint_at };
    match following::run(&follow, &source, &mut tell) {
        Err(_) if stop.load(Ordering::Relaxed) => Ok(()),
        ended => ended,
    }
}

/// The register file that a source offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Offer {
    /// `far` or `krr`, and behind a blank whose part of it, if it is not all.
    pub(crate) register: String,
    /// BLAKE3, 64 hexadecimal digits.
    pub(crate) digest: String,
    pub(crate) bytes: u64,
    /// The source's last sequence number.
    pub(crate) latest: u64,
}

/// Changes as a source tells them.
pub(crate) struct Told {
    /// `far` or `krr`, and behind a blank whose part of it, if it is not all.
    pub(crate) register: String,
    pub(crate) changes: Vec<Change>,
    /// Sequence number of the last one.
    pub(crate) to: u64,
    /// The source's own.
    pub(crate) latest: u64,
    /// Content digest at `to`, where the source tells it.
    pub(crate) content: Option<String>,
}

/// What a replica follows, and what else of the world it deals with.
pub(crate) trait Source {
    /// The register file that it has now.
    fn offer(&self) -> Result<Offer, FollowError>;
    /// What is missing of a register file. `None` if it is not what is offered any more.
    fn snapshot(&self, offer: &Offer, from: u64) -> Result<Option<Box<dyn Read + '_>>, FollowError>;
    /// The changes after the register that is here; waits for some if there are none.
    fn changes(&self, here: &Register, most: usize, wait: Duration) -> Result<Told, FollowError>;

    /// Waits before something is tried again.
    fn pause(&self, time: Duration) {
        thread::sleep(time);
    }

    /// Opens the replica.
    fn open(&self, directory: &Path) -> Result<Writer, StoreError> {
        Writer::open(directory)
    }
}

/// Whether what is said is signed by somebody who is trusted, if anybody is.
pub(crate) fn believed(
    trusted: &Trusted,
    said: &Statement,
    signatures: Option<&str>,
) -> Result<(), FollowError> {
    if trusted.is_empty() {
        return Ok(());
    }
    let believed = trusted.check(said, signatures);
    believed.map_err(|why| FollowError::Untrusted(format!("{}: {why}", said.what)))
}

fn io_error(path: &Path) -> impl Fn(io::Error) -> FollowError + use<> {
    let path = path.to_owned();
    move |error| FollowError::Io { path: path.clone(), error }
}
