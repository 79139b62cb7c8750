//! Publication of a data directory's log and register files to a fleet.

use super::store::{Latest, Store};
use super::{Fleet, FleetError, runtime, unreachable};
use crate::changes::Change;
use crate::register::Register;
use crate::replica::backoff::Backoff;
use crate::signing::{SigningKeys, Statement};
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

/// Approximate bytes of a message; the usual limit of servers is 1 MiB.
const MESSAGE_BYTES: usize = 256 << 10;
/// Most changes of a message.
const MESSAGE_CHANGES: usize = 100_000;
/// Interval at which the directory is checked for changes.
const POLL: Duration = Duration::from_millis(2);

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
    let mut publisher = Publisher { publish, store, reader, log, backoff: Backoff::default(), stored: None };
    runtime()?.block_on(async {
        loop {
            match publisher.session(&mut report).await {
                Err(error @ FleetError::Unreachable { .. })
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
    backoff: Backoff,
    /// Sequence number of the register file in the store.
    stored: Option<u64>,
}

impl Publisher<'_> {
    /// Publishes through one connection.
    async fn session(&mut self, report: &mut impl FnMut(Published)) -> Result<(), FleetError> {
        self.reader.refresh()?;
        self.stored = match self.store.latest().await? {
            Some(latest) => Some(self.sign_latest(latest).await?),
            None => None,
        };
        let context = self.publish.fleet.connect().await?;
        let stream = self.stream(&context).await?;
        let mut published = self.last_published(&stream).await?;
        loop {
            self.reader.refresh()?;
            let register = self.reader.register();
            self.put_register(&register, report).await?;
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
                    report(Published::To(to));
                    published = Some(to);
                }
            }
            self.backoff.reset();
        }
    }

    /// Signs `latest.json` with the current keys unless they have; returns its sequence number.
    async fn sign_latest(&self, latest: Latest) -> Result<u64, FleetError> {
        let sequence = latest.sequence;
        let register = self.reader.register();
        let file = file(&register)?;
        if !self.publish.keys.have_signed(&latest.signature)
            && sequence == file.header().sequence
            && latest.digest == file.digest()
        {
            self.store.put_latest(&self.latest(&register, sequence, latest.digest, latest.bytes)).await?;
        }
        Ok(sequence)
    }

    /// The signed `latest.json` of a register file.
    fn latest(&self, register: &Register, sequence: u64, digest: String, bytes: u64) -> Latest {
        let mut statement = self.statement(register, "snapshot");
        (statement.from, statement.to, statement.body) = (sequence, sequence, digest.clone());
        Latest {
            signature: self.publish.keys.sign(&statement),
            register: statement.register,
            sequence,
            latest: statement.latest,
            digest,
            bytes,
            time: statement.time,
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
        let statement = Statement::of_headers("changes", get, String::new(), String::new());
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
                Ok(own) => changes_of_frames(&message.payload, from).is_some_and(|changes| {
                    let last = changes.last().map(Change::sequence);
                    own.into_iter().take_while(|change| Some(change.sequence()) <= last).eq(changes)
                }),
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
        if self.stored.is_some_and(|stored| stored >= base) {
            return Ok(());
        }
        let latest = self.latest(register, base, file.digest(), file.as_ref().len() as u64);
        let file = Bytes::from_owner(file);
        self.store.put(file, &latest).await?;
        self.stored = Some(base);
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
        let read = |after| self.log.frames(after, here, MESSAGE_CHANGES, MESSAGE_BYTES);
        let (after, (frames, to)) = match read(after) {
            Err(StoreError::Gone { .. }) if after < base => (base, read(base)?),
            read => (after, read?),
        };
        let mut statement = self.statement(register, "changes");
        (statement.from, statement.to, statement.body) =
            (after, to, blake3::hash(&frames).to_hex().to_string());
        if to == here {
            let content = register.content().map_err(|damage| FleetError::Options(damage.to_string()))?;
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

/// The register file of a version.
fn file(register: &Register) -> Result<Snapshot, FleetError> {
    Snapshot::of_register(register).map_err(|error| FleetError::Options(error.to_string()))
}
