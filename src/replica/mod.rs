//! Replicas: a data directory that follows a register over HTTP.
//!
//! A replica starts with the source's register file, which is verified before use, and then applies changes, each
//! batch durably. It can be killed at any time: its state is in its data directory, and an interrupted download of a
//! register file is resumed. The directory can be read all the time, also while a replica that has fallen too far
//! behind starts over.

pub(crate) mod backoff;
mod bounds;
pub(crate) mod client;
pub(crate) mod directory;
pub(crate) mod following;
mod http;
mod link;
pub(crate) mod pace;
mod part;
mod status;
#[cfg(any(feature = "fleet", feature = "service"))]
mod whole;

#[cfg(test)]
pub(crate) mod tests;

pub use http::SourceOptions;
pub use link::FollowerLink;
pub(crate) use link::Standing;
pub use part::Part;
pub use status::FollowStatus;
#[cfg(any(feature = "fleet", feature = "service"))]
pub(crate) use whole::digest as digest_of_whole;

use crate::changes::Change;
use crate::plain_text::plain;
use crate::register::Register;
use crate::signing::{SignatureError, Statement, TrustedKeys, header};
use crate::store::{ApplyError, InitError, StoreError, Writer};
use jiff::Timestamp;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// Why a replica stops or waits.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FollowError {
    /// The source is unreachable or fails: tried again.
    #[error("the source does not answer: {0}")]
    Unreachable(String),
    /// A response without a valid signature, or one that cannot be true or exceeds a limit: ignored, and requested
    /// again.
    #[error("the response is refused: {0}")]
    Untrusted(String),
    /// The register file that the source offers is damaged or forged: another one is waited for.
    #[error(
        "the source's register file is refused: {0}; `nabar verify` at the source lists what is wrong with it"
    )]
    BadFile(String),
    /// The source refuses the request.
    #[error("the source refuses ({status}): {detail}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// Its explanation.
        detail: String,
    },
    /// The requested changes are already folded into the source's register file.
    #[error("the changes are gone at the source")]
    Gone,
    /// The address is not a register of `nabar serve`.
    #[error("the address is not a register of a nabar service: name it without /v1")]
    NotAService,
    /// A downloaded register file differs from the offer, twice: tried again.
    #[error("the downloaded register file is not the one on offer: the digests differ")]
    Altered,
    /// The source is behind the replica.
    #[error(
        "the source is at an earlier sequence number than the replica, {here}: it was rolled back, or is another \
         register; remove the directory to start over"
    )]
    RolledBack {
        /// Last sequence number of the replica.
        here: u64,
    },
    /// The source has the register of another country, or another part.
    #[error("the source has another register, {}: follow it into another directory", plain(found))]
    OtherRegister {
        /// The source's register.
        found: String,
    },
    /// The directory is a data directory, but not a replica.
    #[error("{} is a data directory that `nabar follow` has not made: name another one", .0.display())]
    NotAReplica(PathBuf),
    /// The replica was removed while it was followed.
    #[error("the replica in {} was removed while it was followed: follow again", .0.display())]
    Removed(PathBuf),
    /// The replica differs from the source, twice.
    #[error("the replica differs from the source's register: {0}; it has already started over once")]
    Diverged(String),
    /// The replica's own files are damaged: it starts over.
    #[error("the replica is damaged: {0}")]
    Damaged(String),
    /// A bearer token would be sent over plain HTTP to another machine.
    #[error(
        "the token would go to {0} in plain text, where anyone on the way can read and use it: name the service with \
         https://, or allow a plain token"
    )]
    PlainToken(String),
    /// A live register refuses its feed: trying again is of no use.
    #[error("{0}")]
    FeedRefused(String),
    /// The directory follows the feed of another register, or is none that can follow a feed.
    #[error("{} {why}: name another directory", directory.display())]
    NotOfFeed {
        /// Which directory.
        directory: PathBuf,
        /// What it is.
        why: String,
    },
    /// An address, certificate, key or token is unusable.
    #[error("{0}")]
    Options(String),
    /// Another process follows into the directory.
    #[error("another process follows into {}: end it first", .0.display())]
    Locked(PathBuf),
    /// The directory cannot be created.
    #[error(transparent)]
    Init(#[from] InitError),
    /// The directory cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file cannot be read or written.
    #[error("{}: {error}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

impl FollowError {
    /// Whether the error may pass by waiting.
    pub(crate) fn passes(&self) -> bool {
        let is_bad_answer = matches!(self, FollowError::Unreachable(_) | FollowError::Untrusted(_));
        is_bad_answer || self.is_bad_file() || self.is_full()
    }

    /// Whether the register file of the source is not usable.
    pub(crate) fn is_bad_file(&self) -> bool {
        matches!(self, FollowError::Altered | FollowError::BadFile(_))
    }

    /// What is wrong with the replica's own files, if that is the error.
    pub(crate) fn damage(&self) -> Option<String> {
        match self {
            FollowError::Damaged(why) => Some(why.clone()),
            FollowError::Store(error) if error.is_damage() => Some(error.to_string()),
            _ => None,
        }
    }

    /// Whether the disk is full.
    pub(crate) fn is_full(&self) -> bool {
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

/// Events of a replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A register file is being downloaded: bytes received, bytes in total.
    Downloading(u64, u64),
    /// All persons of a feed are being loaded into a directory beside: last number loaded, last number of the source.
    Loading(u64, u64),
    /// Nothing was fetched since this time, for longer than the terms of a feed allow: an alarm.
    Silent(Timestamp),
    /// The replica is readable, at a sequence number.
    Open(u64),
    /// Last sequence numbers of the replica and of the source.
    Progress(u64, u64),
    /// The replica has fallen too far behind and starts over.
    Behind,
    /// The replica differs from the source and starts over: an alarm.
    Diverged(String),
    /// The replica's own files are damaged, and it starts over: an alarm.
    Damaged(String),
    /// The source is unreachable, or the disk is full; reported once until that is over.
    Waiting(String),
    /// A response that is refused ([`FollowError::Untrusted`]): an alarm, reported once until the next success.
    Untrusted(String),
    /// The register file of the source is refused ([`FollowError::Altered`] or [`FollowError::BadFile`]); reported once
    /// until the next success.
    BadFile(String),
    /// An attempt has failed; reported each time, after [`Waiting`](Event::Waiting), [`Untrusted`](Event::Untrusted) or
    /// [`BadFile`](Event::BadFile).
    AttemptFailed,
    /// The first success after [`Waiting`](Event::Waiting), [`Untrusted`](Event::Untrusted) or
    /// [`BadFile`](Event::BadFile).
    Reconnected,
}

/// Options of a replica.
#[derive(Clone, Debug)]
pub struct Follow {
    /// Its data directory.
    pub directory: PathBuf,
    /// Whether to end when the replica is up to date.
    pub once: bool,
    /// Bytes of log that trigger a checkpoint.
    pub checkpoint_at: u64,
}

/// As [`follow`], and notes all events in `status`. Readers of the directory in this process use the
/// [link](FollowStatus::link) of `status`.
pub fn follow_with_status(
    source: &SourceOptions,
    follow: &Follow,
    status: &FollowStatus,
    mut report: impl FnMut(Event),
) -> Result<(), FollowError> {
    let mut report = |event| {
        status.note(&event);
        report(event);
    };
    let source = http::HttpSource::new(source.clone());
    let ended =
        source.and_then(|source| following::run(follow, &source.with_link(status.link()), &mut report));
    status.note_end();
    ended
}

/// Follows until it fails, or with `once` until the replica is up to date.
///
/// Errors: those that do not pass by waiting; with `once` also [`FollowError::Untrusted`], [`FollowError::Altered`] and
/// [`FollowError::BadFile`] at once, and [`FollowError::Unreachable`] after a minute or so.
pub fn follow(
    source: &SourceOptions,
    follow: &Follow,
    mut report: impl FnMut(Event),
) -> Result<(), FollowError> {
    let source = http::HttpSource::new(source.clone())?;
    following::run(follow, &source, &mut report)
}

/// Follows a part of the register in a local data directory into another directory, until `stop` is set. If the whole
/// register is a replica that this process follows, its link says which files are its own.
/// Readers of that directory in this process use `link`.
///
/// Errors: as [`follow`].
pub fn follow_part(
    whole: (&Path, &OnceLock<FollowerLink>),
    part: &Part,
    directory: impl AsRef<Path>,
    checkpoint_at: u64,
    stop: &AtomicBool,
    link: &FollowerLink,
    mut report: impl FnMut(Event),
) -> Result<(), FollowError> {
    let directory = directory.as_ref();
    let mut made = directory.as_os_str().to_owned();
    made.push(".made");
    let source = part::WholeRegister::new(whole, part.clone(), made.into(), stop, link);
    let follow = Follow { directory: directory.to_owned(), once: false, checkpoint_at };
    match following::run(&follow, &source, &mut report) {
        Err(_) if stop.load(Ordering::Relaxed) => Ok(()),
        ended => ended,
    }
}

/// The register file that a source offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Offer {
    /// `far` or `krr`; for a part, followed by a space and the part.
    pub(crate) register: String,
    /// BLAKE3, 64 hexadecimal digits.
    pub(crate) digest: String,
    pub(crate) bytes: u64,
    /// Sequence number of the register file.
    pub(crate) sequence: u64,
    /// The source's last sequence number.
    pub(crate) latest: u64,
}

/// Consecutive changes of a source.
pub(crate) struct ChangeBatch {
    /// `far` or `krr`; for a part, followed by a space and the part.
    pub(crate) register: String,
    pub(crate) changes: Vec<Change>,
    /// Sequence number of the last one.
    pub(crate) to: u64,
    /// Last sequence number of the source.
    pub(crate) latest: u64,
    /// Content digest at `to`, if the source sent it.
    pub(crate) content: Option<String>,
}

/// What a replica follows; also clock and disk, so that simulations can replace them.
pub(crate) trait Source {
    /// The current register file.
    fn offer(&self) -> Result<Offer, FollowError>;
    /// The bytes of a register file from an offset on. `None` if the file is no longer on offer.
    fn snapshot(&self, offer: &Offer, from: u64) -> Result<Option<Box<dyn Read + '_>>, FollowError>;
    /// The changes after the register `here`, at most `most`; waits for some if there are none.
    fn changes(&self, here: &Register, most: usize, wait: Duration) -> Result<ChangeBatch, FollowError>;

    /// Connects the follower with readers of the replica in the same process.
    fn link(&self) -> Option<&FollowerLink> {
        None
    }

    /// The clock by which the source's times and sequence numbers are judged. `None` if the source is a register on
    /// this machine, which is believed.
    fn now(&self) -> Option<Timestamp> {
        Some(Timestamp::now())
    }

    /// Waits before the next attempt.
    fn pause(&self, time: Duration) {
        thread::sleep(time);
    }

    /// Opens the data directory of the replica.
    fn open(&self, directory: &Path) -> Result<Writer, StoreError> {
        Writer::open(directory)
    }
}

/// Checks that a trusted key has signed a statement in format 2, if there are trusted keys. `get` finds headers by name.
pub(crate) fn check_signature<'h>(
    trusted: &TrustedKeys,
    statement: &Statement,
    get: impl Fn(&'static str) -> Option<&'h str>,
) -> Result<(), FollowError> {
    let refused = |why: SignatureError| FollowError::Untrusted(format!("{}: {why}", statement.what));
    if !trusted.is_empty() {
        let old = get(header::SIGNATURE).is_none() && get(header::SIGNATURE_1).is_some();
        let checked = if old { Err(SignatureError::OldFormat) } else { Ok(()) };
        checked.and_then(|()| trusted.check(statement, get(header::SIGNATURE))).map_err(refused)?;
    }
    Ok(())
}

/// The length that a statement says, at most `max`.
pub(crate) fn stated_bytes(statement: &Statement, max: u64) -> Result<u64, FollowError> {
    let what = statement.what;
    match statement.bytes {
        None => Err(FollowError::Untrusted(format!("{what}: {}", SignatureError::OldFormat))),
        Some(bytes) if bytes > max => {
            Err(FollowError::Untrusted(format!("{what}: {bytes} bytes, and at most {max} are accepted")))
        }
        Some(bytes) => Ok(bytes),
    }
}

fn io_error(path: &Path) -> impl Fn(io::Error) -> FollowError + use<> {
    let path = path.to_owned();
    move |error| FollowError::Io { path: path.clone(), error }
}
