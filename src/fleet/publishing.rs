//! Publication of a data directory's log and register files to a fleet.

use super::store::{Latest, Store};
use super::{Fleet, FleetError, runtime, unreachable};
use crate::changes::Change;
use crate::limits::REPLICA_CHANGES_MAX;
use crate::register::{Damage, Register};
use crate::replica::backoff::Backoff;
use crate::replica::digest_of_whole;
use crate::signing::{SigningKeys, Statement, header};
use crate::snapshot::Snapshot;
use crate::store::{FileWatch, Log, Reader, StoreError, changes_of_frames};
use async_nats::HeaderMap;
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{Config, LastRawMessageErrorKind, StorageType};
use async_nats::jetstream::{Context, stream};
use bytes::Bytes;
use jiff::Timestamp;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::time::timeout;

/// Approximate bytes of a message; the usual limit of servers is 1 MiB.
const MESSAGE_BYTES: usize = 256 << 10;
/// Most changes of a message.
const MESSAGE_CHANGES_MAX: usize = REPLICA_CHANGES_MAX;
/// Interval at which the directory is read on a file system without events.
const POLL: Duration = Duration::from_millis(10);
/// Interval at which it is read in any case.
const FALLBACK: Duration = Duration::from_secs(1);
/// `latest.json` is signed again when this part of the time until it expires has passed.
const RENEWED_AFTER: u32 = 3;
/// Longest time until a failed attempt to do so is repeated.
const RENEWAL_RETRY: Duration = Duration::from_secs(10);

/// Options of [`publish`].
pub struct Publish {
    /// The data directory.
    pub directory: PathBuf,
    /// The destination.
    pub fleet: Fleet,
    /// Keys that sign.
    pub keys: SigningKeys,
    /// Copies of the stream in a cluster.
    pub replicas: usize,
    /// How long the stream keeps changes; forever if zero.
    pub retain: Duration,
    /// How long a statement is valid. The one in the store is renewed in time; replicas raise an alarm when the newest
    /// one that they can get has expired.
    pub expires: Duration,
    /// Whether to end when everything is published, or after about a minute of failures.
    pub once: bool,
}

/// Events of [`publish`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Published {
    /// The register file of a sequence number was uploaded.
    Register(u64),
    /// The stream holds all changes up to a sequence number.
    To(u64),
    /// The fleet is unreachable; reported once until it recovers.
    Unreachable(String),
}

/// Publishes until it fails, or with `once` until everything is published.
///
/// The id of a message is its last sequence number, and it names the id that must precede it. So the stream has every
/// change once and in order, also after repeated attempts and with several publishers.
///
/// Errors: those that do not pass by waiting.
pub fn publish(publish: &Publish, mut report: impl FnMut(Published)) -> Result<(), FleetError> {
    let store = Store::open(&publish.fleet.store, &publish.fleet.stream.name)?;
    let reader = Reader::open(&publish.directory).map_err(FleetError::Store)?;
    let log = Log::new(&publish.directory);
    let (changed, directory) = (Arc::new(Notify::new()), std::slice::from_ref(&publish.directory));
    let wake = Arc::clone(&changed);
    let watch = FileWatch::new(directory, move || wake.notify_one());
    let (backoff, stored) = (Backoff::default(), None);
    let mut publisher = Publisher { publish, store, reader, log, watch, changed, backoff, stored };
    runtime()?.block_on(async {
        loop {
            match publisher.session(&mut report).await {
                Err(error @ (FleetError::Unreachable { .. } | FleetError::Untrusted(_)))
                    if !(publish.once && publisher.backoff.is_over()) =>
                {
                    if publisher.backoff.is_first() {
                        report(Published::Unreachable(error.to_string()));
                    }
                    tokio::time::sleep(publisher.backoff.next()).await;
                }
                ended => return ended,
            }
        }
    })
}

struct Publisher<'p> {
    publish: &'p Publish,
    store: Store,
    reader: Reader,
    log: Arc<Log>,
    watch: FileWatch,
    /// Notified when the directory may have changed.
    changed: Arc<Notify>,
    backoff: Backoff,
    /// What the store has.
    stored: Option<Stored>,
}

/// The register file in the store, and its statement.
struct Stored {
    latest: Latest,
    /// Whether its digest is known to be right, so that the statement may be signed again.
    is_known: bool,
    /// When it is to be signed again; `None` if it was signed by an earlier process.
    due: Option<Instant>,
    /// Whether the last attempt to write it failed.
    is_failing: bool,
}

impl Publisher<'_> {
    /// Publishes through one connection.
    async fn session(&mut self, report: &mut impl FnMut(Published)) -> Result<(), FleetError> {
        self.reader.refresh()?;
        self.stored = match self.store.latest().await? {
            Some(latest) => Some(self.stored(latest)?),
            None => None,
        };
        let context = self.publish.fleet.connect().await?;
        let stream = self.stream(&context).await?;
        let mut published = self.last_published(&stream).await?;
        let mut loads = self.reader.loads();
        loop {
            self.watch.renew();
            self.reader.refresh()?;
            if std::mem::replace(&mut loads, self.reader.loads()) != loads {
                // It may be another history: also after a checkpoint, which is rare.
                published = self.last_published(&stream).await?;
            }
            let register = self.reader.register();
            self.put_register(&register, report).await?;
            self.renew(published, report).await;
            let here = register.sequence();
            match published {
                Some(published) if published > here => {
                    return Err(FleetError::RolledBack { published, here });
                }
                Some(published) if published == here => {
                    if self.publish.once {
                        return Ok(());
                    }
                    let wait = self.watch.interval(POLL).unwrap_or(FALLBACK).min(self.renewal());
                    // Nothing has changed, or it is time to look anyway.
                    let _ = timeout(wait, self.changed.notified()).await;
                }
                _ => {
                    let to = self.publish_next(&context, published, &register).await?;
                    report(Published::To(to));
                    published = Some(to);
                }
            }
            self.backoff.reset();
        }
    }

    /// What the store has, and whether this publisher may sign it again: it is the directory's file, or has a valid
    /// signature of these keys.
    fn stored(&self, latest: Latest) -> Result<Stored, FleetError> {
        let keys = &self.publish.keys;
        let file = file(&self.reader.register())?;
        let is_own = latest.sequence == file.header().sequence && latest.digest == file.digest();
        let has_signed =
            || keys.public().check(&latest.statement(), latest.signature(header::SIGNATURE)).is_ok();
        let is_known = is_own || keys.is_empty() || has_signed();
        Ok(Stored { latest, is_known, due: None, is_failing: false })
    }

    /// Time between two signatures of `latest.json`.
    fn renewal(&self) -> Duration {
        self.publish.expires / RENEWED_AFTER
    }

    /// Signs `latest.json` again before it expires, with the current keys.
    ///
    /// Changes are published also while the store fails, so that is reported and tried again later.
    async fn renew(&mut self, published: Option<u64>, report: &mut impl FnMut(Published)) {
        let (publish, renewal) = (self.publish, self.renewal());
        let is_due =
            |stored: &&mut Stored| stored.is_known && stored.due.is_none_or(|due| due <= Instant::now());
        let Some(stored) = self.stored.as_mut().filter(is_due) else { return };
        let latest = published.unwrap_or_default().max(stored.latest.sequence);
        let mut renewed = Latest { latest, ..stored.latest.clone() };
        sign(&mut renewed, publish);
        match self.store.put_latest(&renewed).await {
            Ok(()) => {
                (stored.latest, stored.is_failing) = (renewed, false);
                stored.due = Some(Instant::now() + renewal);
            }
            Err(error) => {
                stored.due = Some(Instant::now() + renewal.min(RENEWAL_RETRY));
                if !std::mem::replace(&mut stored.is_failing, true) {
                    report(Published::Unreachable(error.to_string()));
                }
            }
        }
    }

    async fn stream(&self, context: &Context) -> Result<stream::Stream, FleetError> {
        let config = Config {
            name: self.publish.fleet.stream.name.clone(),
            subjects: vec![self.publish.fleet.stream.subject()],
            storage: StorageType::File,
            num_replicas: self.publish.replicas,
            max_age: self.publish.retain,
            ..Config::default()
        };
        context.get_or_create_stream(config).await.map_err(unreachable("the stream"))
    }

    /// Last sequence number of a stream.
    ///
    /// Errors: the stream holds another register or history.
    async fn last_published(&self, stream: &stream::Stream) -> Result<Option<u64>, FleetError> {
        let found = stream.get_last_raw_message_by_subject(&self.publish.fleet.stream.subject()).await;
        let message = match found {
            Err(error) if matches!(error.kind(), LastRawMessageErrorKind::NoMessageFound) => return Ok(None),
            found => found.map_err(unreachable("the stream"))?,
        };
        let get = |name| message.headers.get(name).map(|value| value.as_str());
        let statement = Statement::of_headers("changes", get, String::new());
        let foreign = || FleetError::Options("the stream has messages of another program".to_owned());
        let Statement { register, from, to, content, .. } = statement.ok_or_else(foreign)?;
        let own = self.reader.register();
        let here = own.sequence();
        if register != own.kind().name() {
            return Err(FleetError::OtherRegister { published: to });
        }
        if to > here {
            return Err(FleetError::RolledBack { published: to, here });
        }
        let wanted = to.checked_sub(from).ok_or_else(foreign)? as usize;
        let same =
            match self.log.changes(from).and_then(|log| log.take(wanted).collect::<Result<Vec<_>, _>>()) {
                Ok(own) => {
                    changes_of_frames(&message.payload, from, MESSAGE_CHANGES_MAX).is_some_and(|changes| {
                        let last = changes.last().map(Change::sequence);
                        own.into_iter().take_while(|change| Some(change.sequence()) <= last).eq(changes)
                    })
                }
                // The changes are folded into the register file: only the contents can be compared.
                Err(StoreError::Gone { .. }) if to == here && !content.is_empty() => {
                    own.content().is_ok_and(|own| own.to_string() == content)
                }
                Err(StoreError::Gone { .. }) => true,
                Err(error) => return Err(error.into()),
            };
        if same { Ok(Some(to)) } else { Err(FleetError::OtherRegister { published: to }) }
    }

    /// Uploads the register file if the store's is older.
    async fn put_register(
        &mut self,
        register: &Register,
        report: &mut impl FnMut(Published),
    ) -> Result<(), FleetError> {
        let file = file(register)?;
        let base = file.header().sequence;
        if self.stored.as_ref().is_some_and(|stored| stored.latest.sequence >= base) {
            return Ok(());
        }
        let mut latest = Latest {
            register: register.kind().name().to_owned(),
            sequence: base,
            latest: register.sequence(),
            digest: digest_of_whole(register, &file).map_err(|damage| damaged(&damage))?,
            bytes: file.as_ref().len() as u64,
            ..Latest::default()
        };
        sign(&mut latest, self.publish);
        let file = Bytes::from_owner(file);
        let is_whole = || register.intact().map_err(|damage| damaged(&damage));
        self.store.put(file, &latest, is_whole).await?;
        let due = Some(Instant::now() + self.renewal());
        self.stored = Some(Stored { latest, is_known: true, due, is_failing: false });
        report(Published::Register(base));
        Ok(())
    }

    /// Publishes the next message; returns its last sequence number.
    async fn publish_next(
        &self,
        context: &Context,
        published: Option<u64>,
        register: &Register,
    ) -> Result<u64, FleetError> {
        // Replicas behind the register file start with that file.
        let base = file(register)?.header().sequence;
        let (here, after) = (register.sequence(), published.unwrap_or(base));
        let read = |after| self.log.frames(after, here, MESSAGE_CHANGES_MAX, MESSAGE_BYTES);
        let (after, (frames, to)) = match read(after) {
            Err(StoreError::Gone { .. }) if after < base => (base, read(base)?),
            read => (after, read?),
        };
        let now = Timestamp::now();
        let mut statement = Statement {
            what: "changes",
            register: register.kind().name().to_owned(),
            from: after,
            to,
            latest: here,
            content: String::new(),
            body: blake3::hash(&frames).to_hex().to_string(),
            bytes: Some(frames.len() as u64),
            nonce: String::new(),
            time: now.to_string(),
            expires: expiry(now, self.publish.expires),
        };
        if to == here {
            let content = register.content().map_err(|damage| damaged(&damage))?;
            statement.content = content.to_string();
        }
        let mut headers = HeaderMap::new();
        statement.headers(&self.publish.keys).for_each(|(name, text)| headers.insert(name, text));
        let message =
            PublishMessage::build().headers(headers).payload(frames.into()).message_id(to.to_string());
        let message = match published {
            Some(published) => message.expected_last_message_id(published.to_string()),
            None => message,
        };
        let sent = context.send_publish(self.publish.fleet.stream.subject(), message).await;
        sent.map_err(unreachable("publishing"))?.await.map_err(unreachable("publishing"))?;
        Ok(to)
    }
}

/// Time, expiry and signatures of `latest.json`.
fn sign(latest: &mut Latest, publish: &Publish) {
    let now = Timestamp::now();
    (latest.time, latest.expires) = (now.to_string(), expiry(now, publish.expires));
    let statement = latest.statement();
    latest.signature = publish.keys.sign_format_1(&statement);
    latest.signature_2 = publish.keys.sign(&statement);
}

/// The time at which a statement of now expires.
fn expiry(now: Timestamp, valid: Duration) -> String {
    now.saturating_add(valid).unwrap_or(now).to_string()
}

fn damaged(damage: &Damage) -> FleetError {
    FleetError::Options(damage.to_string())
}

/// The register file of a version.
fn file(register: &Register) -> Result<Snapshot, FleetError> {
    Snapshot::of_register(register).map_err(|error| FleetError::Options(error.to_string()))
}
