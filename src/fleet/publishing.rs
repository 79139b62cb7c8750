//! A data directory's log and register files, mirrored to a fleet.

use super::store::{Latest, Store};
use super::{Fleet, FleetError, away, runtime};
use crate::changes::Change;
use crate::register::Register;
use crate::replica::backoff::Backoff;
use crate::signing::{Keys, Statement};
use crate::snapshot::Snapshot;
use crate::store::{Log, Reader, StoreError, changes_of_frames};
use async_nats::HeaderMap;
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{Config, LastRawMessageErrorKind, StorageType};
use async_nats::jetstream::{Context, stream};
use bytes::Bytes;
use jiff::Timestamp;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Bytes of a message, about: the servers' usual limit is 1 MiB.
const MESSAGE_BYTES: usize = 256 << 10;
/// Changes of a message, at most.
const MESSAGE_CHANGES: usize = 100_000;
/// How often the directory is asked for news.
const POLL: Duration = Duration::from_millis(2);

/// What is published, and where.
pub struct Publish {
    /// The data directory.
    pub directory: PathBuf,
    /// Where to.
    pub fleet: Fleet,
    /// What signs.
    pub keys: Keys,
    /// Servers that keep the stream, in a cluster.
    pub replicas: usize,
    /// For how long the stream keeps changes; for ever if it is zero.
    pub retain: Duration,
    /// Whether to end when all is published, or what fails has been tried again for a minute or so.
    pub once: bool,
}

/// What happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Published {
    /// A register file is in the store.
    Register(u64),
    /// The stream has all changes up to a sequence number.
    To(u64),
    /// Something does not answer; told once until it does.
    Away(String),
}

/// Publishes until it cannot, or has published all if it is told to end then.
///
/// Each message has its last sequence number as its id, and names the id that must be before it: so whatever is tried
/// again, and whoever else publishes, every change is in the stream once, in order.
///
/// Errors: those that waiting does not help.
pub fn publish(publish: &Publish, mut tell: impl FnMut(Published)) -> Result<(), FleetError> {
    let store = Store::open(&publish.fleet.store, &publish.fleet.stream.name)?;
    let reader = Reader::open(&publish.directory).map_err(FleetError::Store)?;
    let log = Log::new(&publish.directory);
    let mut publishing =
        Publishing { publish, store, reader, log, backoff: Backoff::default(), stored: None };
    runtime()?.block_on(async {
        loop {
            match publishing.session(&mut tell).await {
                Err(error @ FleetError::Away { .. }) if !(publish.once && publishing.backoff.is_over()) => {
                    if publishing.backoff.is_first() {
                        tell(Published::Away(error.to_string()));
                    }
                    tokio::time::sleep(publishing.backoff.next()).await;
                }
                ended => return ended,
            }
        }
    })
}

struct Publishing<'p> {
    publish: &'p Publish,
    store: Store,
    reader: Reader,
    log: Arc<Log>,
    backoff: Backoff,
    /// Sequence number of the register file in the store.
    stored: Option<u64>,
}

impl Publishing<'_> {
    /// Publishes over one connection.
    async fn session(&mut self, tell: &mut impl FnMut(Published)) -> Result<(), FleetError> {
        self.reader.refresh()?;
        self.stored = match self.store.latest().await? {
            Some(latest) => Some(self.signed_by_all(latest).await?),
            None => None,
        };
        let context = self.publish.fleet.connect().await?;
        let stream = self.stream(&context).await?;
        let mut published = self.end(&stream).await?;
        loop {
            self.reader.refresh()?;
            let register = self.reader.register();
            self.put_register(&register, tell).await?;
            let here = register.sequence();
            match published {
                Some(published) if published > here => {
                    return Err(FleetError::RolledBack { published, here });
                }
                Some(published) if published == here => {
                    if self.publish.once {
                        return Ok(());
                    }
                    tokio::time::sleep(POLL).await;
                }
                _ => {
                    let to = self.publish_next(&context, published, &register).await?;
                    tell(Published::To(to));
                    published = Some(to);
                }
            }
            self.backoff.reset();
        }
    }

    /// Has the keys of today sign what the store has; returns its sequence number.
    async fn signed_by_all(&self, latest: Latest) -> Result<u64, FleetError> {
        let sequence = latest.sequence;
        let register = self.reader.register();
        let file = file(&register)?;
        if !self.publish.keys.have_signed(&latest.signature)
            && sequence == file.header().sequence
            && latest.digest == file.digest()
        {
            self.store.say(&self.latest(&register, sequence, latest.digest, latest.bytes)).await?;
        }
        Ok(sequence)
    }

    /// What is said of a register file in the store.
    fn latest(&self, register: &Register, sequence: u64, digest: String, bytes: u64) -> Latest {
        let mut said = self.statement(register, "snapshot");
        (said.from, said.to, said.body) = (sequence, sequence, digest.clone());
        Latest {
            signature: self.publish.keys.sign(&said),
            register: said.register,
            sequence,
            latest: said.latest,
            digest,
            bytes,
            time: said.time,
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
        context.get_or_create_stream(config).await.map_err(away("the stream"))
    }

    /// The sequence number that a stream ends with.
    ///
    /// Errors: it is not this register's.
    async fn end(&self, stream: &stream::Stream) -> Result<Option<u64>, FleetError> {
        let found = stream.get_last_raw_message_by_subject(&self.publish.fleet.stream.subject()).await;
        let message = match found {
            Err(error) if matches!(error.kind(), LastRawMessageErrorKind::NoMessageFound) => return Ok(None),
            found => found.map_err(away("the stream"))?,
        };
        let get = |name| message.headers.get(name).map(|value| value.as_str());
        let said = Statement::of_headers("changes", get, String::new(), String::new());
        let foreign = || FleetError::Options("the stream has messages that are not nabar's".to_owned());
        let Statement { register, from, to, content, .. } = said.ok_or_else(foreign)?;
        let own = self.reader.register();
        let here = own.sequence();
        if register != own.kind().name() {
            return Err(FleetError::Another { published: to });
        }
        if to > here {
            return Err(FleetError::RolledBack { published: to, here });
        }
        let wanted = to.checked_sub(from).ok_or_else(foreign)? as usize;
        let same =
            match self.log.changes(from).and_then(|log| log.take(wanted).collect::<Result<Vec<_>, _>>()) {
                Ok(own) => changes_of_frames(&message.payload, from).is_some_and(|changes| {
                    let last = changes.last().map(Change::sequence);
                    own.into_iter().take_while(|change| Some(change.sequence()) <= last).eq(changes)
                }),
                // They are folded into the register file: only the content can tell.
                Err(StoreError::Gone { .. }) if to == here && !content.is_empty() => {
                    own.content().is_ok_and(|own| own.to_string() == content)
                }
                Err(StoreError::Gone { .. }) => true,
                Err(error) => return Err(error.into()),
            };
        if same { Ok(Some(to)) } else { Err(FleetError::Another { published: to }) }
    }

    /// Puts the register file into the store that the log follows, if another one is there.
    async fn put_register(
        &mut self,
        register: &Register,
        tell: &mut impl FnMut(Published),
    ) -> Result<(), FleetError> {
        let file = file(register)?;
        let base = file.header().sequence;
        if self.stored.is_some_and(|stored| stored >= base) {
            return Ok(());
        }
        let latest = self.latest(register, base, file.digest(), file.as_ref().len() as u64);
        let file = Bytes::from_owner(file);
        self.store.put(file, &latest).await?;
        self.stored = Some(base);
        tell(Published::Register(base));
        Ok(())
    }

    /// Publishes what follows; returns up to where.
    async fn publish_next(
        &self,
        context: &Context,
        published: Option<u64>,
        register: &Register,
    ) -> Result<u64, FleetError> {
        // Whoever has less than the register file begins with that.
        let base = file(register)?.header().sequence;
        let (here, after) = (register.sequence(), published.unwrap_or(base));
        let read = |after| self.log.frames(after, here, MESSAGE_CHANGES, MESSAGE_BYTES);
        let (after, (frames, to)) = match read(after) {
            Err(StoreError::Gone { .. }) if after < base => (base, read(base)?),
            read => (after, read?),
        };
        let mut said = self.statement(register, "changes");
        (said.from, said.to, said.body) = (after, to, blake3::hash(&frames).to_hex().to_string());
        if to == here {
            let content = register.content().map_err(|damage| FleetError::Options(damage.to_string()))?;
            said.content = content.to_string();
        }
        let mut headers = HeaderMap::new();
        said.headers(&self.publish.keys).for_each(|(name, text)| headers.insert(name, text));
        let message =
            PublishMessage::build().headers(headers).payload(frames.into()).message_id(to.to_string());
        let message = match published {
            Some(published) => message.expected_last_message_id(published.to_string()),
            None => message,
        };
        let sent = context.send_publish(self.publish.fleet.stream.subject(), message).await;
        sent.map_err(away("publishing"))?.await.map_err(away("publishing"))?;
        Ok(to)
    }

    fn statement(&self, register: &Register, what: &'static str) -> Statement {
        Statement {
            what,
            register: register.kind().name().to_owned(),
            from: 0,
            to: 0,
            latest: register.sequence(),
            content: String::new(),
            body: String::new(),
            nonce: String::new(),
            time: Timestamp::now().to_string(),
        }
    }
}

/// The file that a version is made of.
fn file(register: &Register) -> Result<Snapshot, FleetError> {
    Snapshot::of_register(register).map_err(|error| FleetError::Options(error.to_string()))
}
