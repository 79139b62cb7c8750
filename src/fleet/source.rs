//! A fleet as the source of a replica.

use super::store::{Latest, STORE_TIME, Store};
use super::{Fleet, FleetError, runtime, unreachable};
use crate::changes::Change;
use crate::limits::{REPLICA_CHANGES_BYTES_MAX, REPLICA_CHANGES_MAX};
use crate::register::Register;
use crate::replica::{ChangeBatch, FollowError, Offer, Source, check_signature, stated_bytes};
use crate::signing::{Statement, TrustedKeys, header};
use crate::store::changes_of_frames;
use async_nats::HeaderMap;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer, pull};
use async_nats::jetstream::stream::RawMessageError;
use async_nats::jetstream::{Message, stream};
use futures_util::StreamExt;
use jiff::Timestamp;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::Read;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Most messages of one fetch.
const MESSAGES: usize = 64;
/// Longest time the server waits for a message. Heartbeats are off: with them async-nats 0.51 does not wake for a
/// message after a heartbeat.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// Time without any reply after which the connection is considered lost.
const SILENCE_MAX: Duration = Duration::from_secs(7);
/// Longest time for all messages of one fetch.
const FETCH_MAX: Duration = Duration::from_secs(120);
/// Interval at which the store is asked for the newest statement of the source while no changes arrive.
const ASK_STORE_EVERY: Duration = Duration::from_secs(60);
/// How long messages wait for the store when it is asked only whether what they say is still the newest.
const CHECK_TIME: Duration = Duration::from_secs(2);
/// Time without acknowledgement after which the server sends a message again.
const ACK_WAIT: Duration = Duration::from_secs(300);

/// The stream and the store of a fleet.
pub(super) struct NatsSource {
    /// `None` while this is dropped.
    runtime: Option<Runtime>,
    fleet: Fleet,
    consumer: String,
    store: Arc<Store>,
    /// The read of `latest.json` that is under way.
    asking: RefCell<Option<JoinHandle<LatestResult>>>,
    trusted: TrustedKeys,
    session: RefCell<Option<Session>>,
    freshness: RefCell<Freshness>,
}

/// What verified statements have said about the source, in the stream and in the store. A message that is withheld is
/// not noticed by itself, but statements expire (TUF: indefinite freeze).
#[derive(Clone, Copy, Default)]
struct Freshness {
    /// Until when the newest of them is valid; `None` if none has said so.
    until: Option<Timestamp>,
    /// When the store was last asked.
    asked: Option<Instant>,
    /// Last sequence number of the source.
    latest: u64,
}

/// Until when a statement is valid; `None` if it does not say.
fn expiry(statement: &Statement) -> Result<Option<Timestamp>, FollowError> {
    if statement.expires.is_empty() {
        return Ok(None);
    }
    let malformed = |_| FollowError::Untrusted(format!("{}: its expiry is malformed", statement.what));
    statement.expires.parse().map(Some).map_err(malformed)
}

fn expired_text(expired: Timestamp) -> String {
    format!(
        "the newest statement of the source expired at {expired}: its publisher has ended, or what it publishes is \
         withheld"
    )
}

/// A durable consumer at the replica's position.
struct Session {
    consumer: PullConsumer,
    /// Sequence number of the replica after the messages taken. A replica elsewhere needs a new session.
    at: u64,
    /// Messages received and not yet taken.
    waiting: VecDeque<Message>,
    /// Last sequence numbers and messages not yet acknowledged.
    taken: Vec<(u64, Message)>,
    /// Last known sequence number of the source.
    latest: u64,
    /// Statement of the last message at the start of the session, if its signature is valid.
    end: Option<Statement>,
}

/// A parsed message.
struct MessageContent {
    statement: Statement,
    changes: Vec<Change>,
}

/// `latest.json`; `None` if there is none yet.
type LatestResult = Result<Option<Latest>, FleetError>;

impl Drop for NatsSource {
    /// A read of the store may hang for ever, and must not keep the process from ending.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl NatsSource {
    pub(super) fn new(
        fleet: Fleet,
        consumer: String,
        trusted: TrustedKeys,
    ) -> Result<NatsSource, FollowError> {
        let store = Arc::new(Store::open(&fleet.store, &fleet.stream.name)?);
        let (session, freshness) = (RefCell::new(None), RefCell::default());
        let (runtime, asking) = (Some(runtime()?), RefCell::default());
        Ok(NatsSource { runtime, fleet, consumer, store, asking, trusted, session, freshness })
    }

    fn runtime(&self) -> Result<&Runtime, FollowError> {
        self.runtime.as_ref().ok_or_else(|| FollowError::Unreachable("it is being closed".to_owned()))
    }

    /// `latest.json`. A read that takes longer than `wait` goes on, and the next call waits for the same one: a store that
    /// hangs keeps one thread, and nothing else waits for it.
    fn read_latest(&self, wait: Duration) -> Result<Option<Latest>, FollowError> {
        let runtime = self.runtime()?;
        let mut asking = self.asking.borrow_mut();
        let read = asking.get_or_insert_with(|| {
            let store = Arc::clone(&self.store);
            runtime.spawn(async move { store.latest().await })
        });
        let Ok(ended) = runtime.block_on(async { timeout(wait, read).await }) else {
            return Err(FollowError::Unreachable("the object store does not answer".to_owned()));
        };
        *asking = None;
        Ok(ended.map_err(unreachable("the object store"))??)
    }

    /// The newest register file in the store, as its publisher states it now.
    fn latest(&self) -> Result<Latest, FollowError> {
        let latest = self.stated(STORE_TIME)?;
        match expiry(&latest.statement())?.filter(|expires| *expires < Timestamp::now()) {
            Some(expired) => Err(FollowError::Untrusted(format!("latest.json: {}", expired_text(expired)))),
            None => Ok(latest),
        }
    }

    /// The verified statement in the store, which may have expired.
    fn stated(&self, wait: Duration) -> Result<Latest, FollowError> {
        let latest = self.read_latest(wait)?;
        let latest = latest.ok_or_else(|| FollowError::Unreachable("nothing is published yet".to_owned()))?;
        let statement = latest.statement();
        check_signature(&self.trusted, &statement, |name| latest.signature(name))?;
        self.note(&statement);
        Ok(latest)
    }

    /// Notes how long a verified statement is valid, and the sequence number of the source.
    fn note(&self, statement: &Statement) {
        let mut freshness = self.freshness.borrow_mut();
        let expires = expiry(statement).ok().flatten();
        freshness.until = freshness.until.max(expires);
        freshness.latest = freshness.latest.max(statement.latest);
    }

    /// Checks that the source still says that there are no more changes: a statement that has not expired, in the
    /// stream or in the store. Returns the last sequence number that it has stated.
    ///
    /// Without the store, the statements of the stream are valid until they expire.
    fn check_freshness(&self) -> Result<u64, FollowError> {
        let Freshness { until, asked, .. } = *self.freshness.borrow();
        let is_over = |until: Option<Timestamp>| until.is_some_and(|until| until < Timestamp::now());
        if asked.is_none_or(|asked| asked.elapsed() >= ASK_STORE_EVERY) || is_over(until) {
            self.freshness.borrow_mut().asked = Some(Instant::now());
            match self.stated(CHECK_TIME) {
                Ok(_) | Err(FollowError::Unreachable(_)) => {}
                Err(error) => return Err(error),
            }
        }
        let Freshness { until, latest, .. } = *self.freshness.borrow();
        match until.filter(|_| is_over(until)) {
            Some(until) => Err(FollowError::Untrusted(expired_text(until))),
            None => Ok(latest),
        }
    }

    fn piece(&self, headers: Option<&HeaderMap>, payload: &[u8]) -> Result<MessageContent, FollowError> {
        let get = |name| headers?.get(name).map(|value| value.as_str());
        let foreign = || FollowError::Unreachable("the stream has a message of another program".to_owned());
        let statement = Statement::of_headers("changes", get, String::new()).ok_or_else(foreign)?;
        check_signature(&self.trusted, &statement, get)?;
        let bytes = stated_bytes(&statement, REPLICA_CHANGES_BYTES_MAX)?;
        let is_whole =
            payload.len() as u64 == bytes && *blake3::hash(payload).to_hex().as_str() == *statement.body;
        if !is_whole {
            let why = "changes: a message is not the one that was signed";
            return Err(FollowError::Untrusted(why.to_owned()));
        }
        let changes = changes_of_frames(payload, statement.from, REPLICA_CHANGES_MAX);
        let damaged = || FollowError::Untrusted("a message is damaged or forged".to_owned());
        let changes = changes.ok_or_else(damaged)?;
        self.note(&statement);
        Ok(MessageContent { changes, statement })
    }

    /// Opens a session at the replica's position.
    async fn session(&self, here: u64) -> Result<Session, FollowError> {
        let context = self.fleet.connect().await?;
        let stream = context.get_stream(&self.fleet.stream.name).await.map_err(unreachable("the stream"))?;
        let (start, latest, end) = self.position(&stream, here).await?;
        // The consumer may exist at another position.
        let _ = stream.delete_consumer(&self.consumer).await;
        let config = pull::Config {
            durable_name: Some(self.consumer.clone()),
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: start },
            ack_policy: AckPolicy::Explicit,
            ack_wait: ACK_WAIT,
            ..pull::Config::default()
        };
        let consumer = stream.create_consumer(config).await.map_err(unreachable("the consumer"))?;
        Ok(Session { consumer, at: here, waiting: VecDeque::new(), taken: Vec::new(), latest, end })
    }

    /// Takes the changes after `here` from consecutive messages.
    async fn take(
        &self,
        session: &mut Session,
        here: u64,
        most: usize,
        wait: Duration,
    ) -> Result<ChangeBatch, FollowError> {
        session.acknowledge(here).await?;
        let mut batch = ChangeBatch {
            register: String::new(),
            changes: Vec::new(),
            to: here,
            latest: session.latest.max(here),
            content: None,
        };
        while batch.changes.len() < most
            && let Some(message) = session.next(batch.changes.is_empty().then_some(wait)).await?
        {
            let piece = self.piece(message.headers.as_ref(), &message.payload)?;
            let MessageContent { statement, changes } = piece;
            if statement.from > batch.to {
                return Err(FollowError::Unreachable("messages are out of order".to_owned()));
            }
            session.latest = session.latest.max(statement.latest);
            session.taken.push((statement.to, message));
            if statement.to > batch.to {
                let before = batch.to;
                batch.changes.extend(changes.into_iter().filter(|change| change.sequence() > before));
                (batch.to, batch.register) = (statement.to, statement.register);
                batch.content = Some(statement.content).filter(|content| !content.is_empty());
            }
        }
        session.at = batch.to;
        batch.latest = session.latest.max(batch.to);
        // Without new changes, the last published message identifies the register.
        if let Some(end) = session.end.take_if(|end| end.to <= batch.to)
            && end.to == batch.to
            && batch.to == here
        {
            (batch.register, batch.content) =
                (end.register, Some(end.content).filter(|content| !content.is_empty()));
        }
        Ok(batch)
    }

    /// Position in the stream of the first message after a sequence number, or its end; the last sequence number of the
    /// stream; and the statement of its last message, if its signature is valid.
    ///
    /// Errors: the changes after the sequence number are gone.
    async fn position(
        &self,
        stream: &stream::Stream,
        here: u64,
    ) -> Result<(u64, u64, Option<Statement>), FollowError> {
        let failed = unreachable("the stream");
        let info = stream.get_info().await.map_err(&failed)?;
        let (mut low, end) = (info.state.first_sequence, info.state.last_sequence + 1);
        if info.state.messages == 0 {
            return Ok((end, here, None));
        }
        // The search uses headers before their signatures are checked; messages are verified when they are taken.
        let read = async |position| {
            let message = stream.get_raw_message(position).await;
            let message = message.map_err(unreachable::<RawMessageError>("the stream"))?;
            let number = |name| message.headers.get(name).and_then(|text| text.as_str().parse::<u64>().ok());
            let foreign =
                || FollowError::Unreachable("the stream has a message of another program".to_owned());
            let (from, to) = number(header::FROM).zip(number(header::TO)).ok_or_else(foreign)?;
            Ok::<_, FollowError>((from, to, message))
        };
        let (.., last) = read(end - 1).await?;
        let last = self.piece(Some(&last.headers), &last.payload).ok().map(|piece| piece.statement);
        let latest = last.as_ref().map_or(here, |last| last.to);
        // The first message that ends after `here`.
        let mut high = end;
        while low < high {
            let middle = low + (high - low) / 2;
            match read(middle).await? {
                (_, to, _) if to > here => high = middle,
                _ => low = middle + 1,
            }
        }
        if low < end && read(low).await?.0 > here {
            return Err(FollowError::Gone);
        }
        Ok((low, latest, last))
    }
}

impl Session {
    /// Acknowledges the messages that the replica has stored durably.
    async fn acknowledge(&mut self, here: u64) -> Result<(), FleetError> {
        let durable = self.taken.iter().take_while(|(to, _)| *to <= here).count();
        for (_, message) in self.taken.drain(..durable) {
            message.ack().await.map_err(unreachable("acknowledging"))?;
        }
        Ok(())
    }

    /// The next message, if one is available or arrives within `wait`.
    async fn next(&mut self, wait: Option<Duration>) -> Result<Option<Message>, FleetError> {
        if self.waiting.is_empty() {
            if let Some(wait) = wait.filter(|wait| !wait.is_zero()) {
                let one = self.consumer.batch().max_messages(1).expires(wait.min(WAIT_MAX));
                let one = one.messages().await;
                self.keep(one.map_err(unreachable("the stream"))?).await?;
            }
            // All others that are available.
            let more = self.consumer.fetch().max_messages(MESSAGES).messages().await;
            self.keep(more.map_err(unreachable("the stream"))?).await?;
        }
        Ok(self.waiting.pop_front())
    }

    async fn keep(&mut self, mut messages: pull::Batch) -> Result<(), FleetError> {
        // A server that has lost the consumer never replies.
        let silent = |_| FleetError::Unreachable { what: "the stream", why: "no reply".to_owned() };
        let all = async {
            while let Some(message) = timeout(SILENCE_MAX, messages.next()).await.map_err(silent)? {
                self.waiting.push_back(message.map_err(unreachable("the stream"))?);
            }
            Ok(())
        };
        let slow = |_| FleetError::Unreachable { what: "the stream", why: "it is too slow".to_owned() };
        timeout(FETCH_MAX, all).await.map_err(slow)?
    }
}

impl Source for NatsSource {
    fn offer(&self) -> Result<Offer, FollowError> {
        let latest = self.latest()?;
        let Latest { register, digest, bytes, sequence, latest, .. } = latest;
        Ok(Offer { register, digest, bytes, sequence, latest })
    }

    fn snapshot(&self, offer: &Offer, from: u64) -> Result<Option<Box<dyn Read + '_>>, FollowError> {
        let latest = self.latest()?;
        if latest.digest != offer.digest {
            return Ok(None);
        }
        let reading = self.store.read(self.runtime()?, &latest, from)?;
        Ok(reading.map(|reading| Box::new(reading) as Box<dyn Read>))
    }

    fn changes(&self, here: &Register, most: usize, wait: Duration) -> Result<ChangeBatch, FollowError> {
        let sequence = here.sequence();
        // After a failure, the next attempt starts with a new connection.
        let kept = self.session.borrow_mut().take().filter(|session| session.at == sequence);
        let batch = self.runtime()?.block_on(async {
            let mut session = match kept {
                Some(session) => session,
                None => self.session(sequence).await?,
            };
            let batch = self.take(&mut session, sequence, most, wait).await?;
            Ok((session, batch))
        });
        let (session, mut batch): (Session, ChangeBatch) = batch.map_err(|error: FollowError| error)?;
        *self.session.borrow_mut() = Some(session);
        if batch.changes.is_empty() {
            batch.latest = batch.latest.max(self.check_freshness()?);
        }
        if batch.register.is_empty() {
            batch.register = here.kind().name().to_owned();
        }
        Ok(batch)
    }
}
