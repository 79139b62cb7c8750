//! A fleet as what a replica follows.

use super::store::{Latest, Store};
use super::{Fleet, FleetError, away, runtime};
use crate::changes::Change;
use crate::register::Register;
use crate::replica::{FollowError, Offer, Source, Told, believed};
use crate::signing::{Statement, Trusted, header};
use crate::store::changes_of_frames;
use async_nats::HeaderMap;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer, pull};
use async_nats::jetstream::stream::RawMessageError;
use async_nats::jetstream::{Message, stream};
use futures_util::StreamExt;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::Read;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::time::timeout;

/// Messages that are taken at a time.
const MESSAGES: usize = 64;
/// How long the server is asked to wait for a message. Without heartbeats: with them async-nats 0.51 is not woken by
/// a message that comes after one.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// After how long without a word something is wrong.
const SILENT: Duration = Duration::from_secs(7);
/// How long the server waits for an acknowledgement before it sends a message again.
const ACK_WAIT: Duration = Duration::from_secs(300);

/// A stream and a store.
pub(super) struct Nats {
    runtime: Runtime,
    fleet: Fleet,
    consumer: String,
    store: Store,
    trusted: Trusted,
    session: RefCell<Option<Session>>,
}

/// A durable consumer that stands where the replica does.
struct Session {
    consumer: PullConsumer,
    /// Where a replica stands that has what was taken: another one, made anew, needs a session of its own.
    at: u64,
    /// Messages that have come and are not taken in.
    waiting: VecDeque<Message>,
    /// Messages that are not acknowledged, and where they lead.
    taken: Vec<(u64, Message)>,
    /// The source's last sequence number, as far as is known.
    latest: u64,
    /// What the last message says that was there at the beginning, if it is believed.
    end: Option<Statement>,
}

/// What one message has.
struct Piece {
    said: Statement,
    changes: Vec<Change>,
}

impl Nats {
    pub(super) fn new(fleet: Fleet, consumer: String, trusted: Trusted) -> Result<Nats, FollowError> {
        let store = Store::open(&fleet.store, &fleet.stream.name)?;
        Ok(Nats { runtime: runtime()?, fleet, consumer, store, trusted, session: RefCell::new(None) })
    }

    fn latest(&self) -> Result<Latest, FollowError> {
        let latest = self.runtime.block_on(self.store.latest())?;
        let latest = latest.ok_or_else(|| FollowError::Away("nothing is published there yet".to_owned()))?;
        let said = Statement {
            what: "snapshot",
            register: latest.register.clone(),
            from: latest.sequence,
            to: latest.sequence,
            latest: latest.latest,
            content: String::new(),
            body: latest.digest.clone(),
            nonce: String::new(),
            time: latest.time.clone(),
        };
        believed(&self.trusted, &said, Some(&latest.signature))?;
        Ok(latest)
    }

    fn piece(&self, headers: Option<&HeaderMap>, payload: &[u8]) -> Result<Piece, FollowError> {
        let get = |name| headers?.get(name).map(|value| value.as_str());
        let foreign = || FollowError::Away("the stream has a message that is not nabar's".to_owned());
        let digest = blake3::hash(payload).to_hex().to_string();
        let said = Statement::of_headers("changes", get, digest, String::new()).ok_or_else(foreign)?;
        believed(&self.trusted, &said, get(header::SIGNATURE))?;
        let changes = changes_of_frames(payload, said.from);
        let damaged = || FollowError::Away("a message came damaged".to_owned());
        Ok(Piece { changes: changes.ok_or_else(damaged)?, said })
    }

    /// Stands where the replica does.
    async fn session(&self, here: u64) -> Result<Session, FollowError> {
        let context = self.fleet.connect().await?;
        let stream = context.get_stream(&self.fleet.stream.name).await.map_err(away("the stream"))?;
        let (start, latest, end) = self.position(&stream, here).await?;
        // Wherever it stood, it stands here now.
        let _ = stream.delete_consumer(&self.consumer).await;
        let config = pull::Config {
            durable_name: Some(self.consumer.clone()),
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: start },
            ack_policy: AckPolicy::Explicit,
            ack_wait: ACK_WAIT,
            ..pull::Config::default()
        };
        let consumer = stream.create_consumer(config).await.map_err(away("the consumer"))?;
        Ok(Session { consumer, at: here, waiting: VecDeque::new(), taken: Vec::new(), latest, end })
    }

    /// Takes in what follows `here`, from messages one after another.
    async fn take(
        &self,
        session: &mut Session,
        here: u64,
        most: usize,
        wait: Duration,
    ) -> Result<Told, FollowError> {
        session.acknowledge(here).await?;
        let mut told = Told {
            register: String::new(),
            changes: Vec::new(),
            to: here,
            latest: session.latest.max(here),
            content: None,
        };
        while told.changes.len() < most
            && let Some(message) = session.next(told.changes.is_empty().then_some(wait)).await?
        {
            let piece = self.piece(message.headers.as_ref(), &message.payload)?;
            let Piece { said, changes } = piece;
            if said.from > told.to {
                return Err(FollowError::Away("messages came in another order".to_owned()));
            }
            session.latest = session.latest.max(said.latest);
            session.taken.push((said.to, message));
            if said.to > told.to {
                let before = told.to;
                told.changes.extend(changes.into_iter().filter(|change| change.sequence() > before));
                (told.to, told.register) = (said.to, said.register);
                told.content = Some(said.content).filter(|content| !content.is_empty());
            }
        }
        session.at = told.to;
        told.latest = session.latest.max(told.to);
        // With nothing new, whether it is the register that was published is told by what was there before.
        if let Some(end) = session.end.take_if(|end| end.to <= told.to)
            && end.to == told.to
            && told.to == here
        {
            (told.register, told.content) =
                (end.register, Some(end.content).filter(|content| !content.is_empty()));
        }
        Ok(told)
    }

    /// Where in a stream the message is that leads on from a sequence number, or behind its end; where the stream leads;
    /// and what its last message says, if it is believed.
    ///
    /// Errors: the changes that follow are not there any more.
    async fn position(
        &self,
        stream: &stream::Stream,
        here: u64,
    ) -> Result<(u64, u64, Option<Statement>), FollowError> {
        let failed = away("the stream");
        let info = stream.get_info().await.map_err(&failed)?;
        let (mut low, end) = (info.state.first_sequence, info.state.last_sequence + 1);
        if info.state.messages == 0 {
            return Ok((end, here, None));
        }
        // Where messages are is taken as they say; what they tell is believed when they are taken in.
        let read = async |place| {
            let message = stream.get_raw_message(place).await;
            let message = message.map_err(away::<RawMessageError>("the stream"))?;
            let number = |name| message.headers.get(name).and_then(|text| text.as_str().parse::<u64>().ok());
            let foreign = || FollowError::Away("the stream has a message that is not nabar's".to_owned());
            let (from, to) = number(header::FROM).zip(number(header::TO)).ok_or_else(foreign)?;
            Ok::<_, FollowError>((from, to, message))
        };
        let (_, latest, last) = read(end - 1).await?;
        let last = self.piece(Some(&last.headers), &last.payload).ok().map(|piece| piece.said);
        // The first message that leads beyond.
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
    /// Acknowledges what is durable.
    async fn acknowledge(&mut self, here: u64) -> Result<(), FleetError> {
        let durable = self.taken.iter().take_while(|(to, _)| *to <= here).count();
        for (_, message) in self.taken.drain(..durable) {
            message.ack().await.map_err(away("acknowledging"))?;
        }
        Ok(())
    }

    /// The next message, if one is there or comes in a time.
    async fn next(&mut self, wait: Option<Duration>) -> Result<Option<Message>, FleetError> {
        if self.waiting.is_empty() {
            if let Some(wait) = wait.filter(|wait| !wait.is_zero()) {
                let one = self.consumer.batch().max_messages(1).expires(wait.min(WAIT_MAX));
                let one = one.messages().await;
                self.keep(one.map_err(away("the stream"))?).await?;
            }
            // And all that are there now.
            let more = self.consumer.fetch().max_messages(MESSAGES).messages().await;
            self.keep(more.map_err(away("the stream"))?).await?;
        }
        Ok(self.waiting.pop_front())
    }

    async fn keep(&mut self, mut messages: pull::Batch) -> Result<(), FleetError> {
        // A server that has lost the consumer never says that there is nothing.
        let silent = |_| FleetError::Away { what: "the stream", why: "nothing is said".to_owned() };
        while let Some(message) = timeout(SILENT, messages.next()).await.map_err(silent)? {
            self.waiting.push_back(message.map_err(away("the stream"))?);
        }
        Ok(())
    }
}

impl Source for Nats {
    fn offer(&self) -> Result<Offer, FollowError> {
        let latest = self.latest()?;
        let Latest { register, digest, bytes, latest, .. } = latest;
        Ok(Offer { register, digest, bytes, latest })
    }

    fn snapshot(&self, offer: &Offer, from: u64) -> Result<Option<Box<dyn Read + '_>>, FollowError> {
        let latest = self.latest()?;
        if latest.digest != offer.digest {
            return Ok(None);
        }
        let reading = self.store.read(&self.runtime, &latest, from)?;
        Ok(reading.map(|reading| Box::new(reading) as Box<dyn Read>))
    }

    fn changes(&self, here: &Register, most: usize, wait: Duration) -> Result<Told, FollowError> {
        let sequence = here.sequence();
        // Whatever fails, the next attempt begins with a new connection, where the replica stands then.
        let kept = self.session.borrow_mut().take().filter(|session| session.at == sequence);
        let told = self.runtime.block_on(async {
            let mut session = match kept {
                Some(session) => session,
                None => self.session(sequence).await?,
            };
            let told = self.take(&mut session, sequence, most, wait).await?;
            Ok((session, told))
        });
        let (session, mut told): (Session, Told) = told.map_err(|error: FollowError| error)?;
        *self.session.borrow_mut() = Some(session);
        if told.register.is_empty() {
            told.register = here.kind().name().to_owned();
        }
        Ok(told)
    }
}
