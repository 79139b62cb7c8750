//! The network between a follower and what it follows: the follower's end of it, in a thread of its own.
//!
//! Whatever a follower does with its world is a message to the simulation, which answers when it likes and
//! meanwhile lets others go on. So one thing happens at a time, in an order that follows from the seed.

use super::disk::{Failing, Troubles};
use super::model::know_sums;
use crate::register::Register;
use crate::replica::{Event, FollowError, Offer, Source, Told};
use crate::store::{Place, StoreError, Writer, changes_of_frames};
use std::cell::Cell;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::time::Duration;

/// What is asked of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Question {
    Offer,
    Snapshot { digest: String, from: u64 },
    Changes { from: u64 },
}

/// What a source says, as it is on the wire.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    Offer(Offer),
    /// The rest of a register file.
    File {
        digest: String,
        bytes: Arc<[u8]>,
    },
    /// There is another register file by now.
    Replaced,
    Changes {
        from: u64,
        to: u64,
        latest: u64,
        content: Option<String>,
        frames: Vec<u8>,
    },
    Gone,
    /// It has less than it is asked for.
    Unknown,
}

/// What a follower tells the simulation, and waits for an answer to.
#[derive(Debug)]
pub(super) enum Message {
    Asks(Question),
    Pauses,
    Opens(PathBuf),
    Tells(Event),
    Ended(Result<(), FollowError>),
}

/// What it is answered.
pub(super) enum Reply {
    Go,
    Answer(Answer),
    /// Bytes of a register file, as they come: so many at a time; `true` breaks off with an error at the end.
    Bytes {
        digest: String,
        bytes: Arc<[u8]>,
        piece: usize,
        fails: bool,
    },
    Away,
    /// The process ends.
    Killed,
}

/// A follower's end.
#[derive(Clone)]
pub(super) struct Link {
    messages: Sender<Message>,
    replies: Rc<Receiver<Reply>>,
    troubles: Troubles,
    killed: Rc<Cell<bool>>,
}

impl Link {
    pub(super) fn new(messages: Sender<Message>, replies: Receiver<Reply>, troubles: Troubles) -> Link {
        Link { messages, replies: Rc::new(replies), troubles, killed: Rc::default() }
    }

    /// A process that has ended says nothing any more, whatever it seems to do.
    fn say(&self, message: Message) -> Reply {
        if self.killed.get() {
            return Reply::Killed;
        }
        let sent = self.messages.send(message);
        let reply = sent.ok().and_then(|()| self.replies.recv().ok()).unwrap_or(Reply::Killed);
        self.killed.set(matches!(reply, Reply::Killed));
        reply
    }

    pub(super) fn tell(&self, event: Event) {
        self.say(Message::Tells(event));
    }

    pub(super) fn end(&self, result: Result<(), FollowError>) {
        self.killed.set(false);
        // Nobody listens if the simulation has ended.
        let _ = self.messages.send(Message::Ended(result));
    }

    fn ask(&self, question: Question) -> Result<Reply, FollowError> {
        match self.say(Message::Asks(question)) {
            Reply::Killed => Err(killed()),
            Reply::Away | Reply::Go => Err(FollowError::Away("nothing comes".to_owned())),
            reply => Ok(reply),
        }
    }
}

/// An error that ends a follower at once.
fn killed() -> FollowError {
    FollowError::Refused { status: 0, detail: "killed".to_owned() }
}

fn damaged() -> FollowError {
    FollowError::Away("it came damaged".to_owned())
}

/// What the client of the service makes of what is on the wire.
impl Source for Link {
    fn offer(&self) -> Result<Offer, FollowError> {
        match self.ask(Question::Offer)? {
            Reply::Answer(Answer::Offer(offer)) => Ok(offer),
            _ => Err(damaged()),
        }
    }

    fn snapshot(&self, offer: &Offer, from: u64) -> Result<Option<Box<dyn Read + '_>>, FollowError> {
        match self.ask(Question::Snapshot { digest: offer.digest.clone(), from })? {
            Reply::Bytes { digest, bytes, piece, fails } if digest == offer.digest => {
                let killed = Rc::clone(&self.killed);
                Ok(Some(Box::new(Coming { bytes, at: 0, piece, fails, killed })))
            }
            Reply::Bytes { .. } | Reply::Answer(Answer::Replaced) => Ok(None),
            _ => Err(damaged()),
        }
    }

    fn changes(&self, here: &Register, _: usize, _: Duration) -> Result<Told, FollowError> {
        know_sums(here);
        let from = here.sequence();
        match self.ask(Question::Changes { from })? {
            Reply::Answer(Answer::Changes { from: said, to, latest, content, frames }) => {
                let changes = changes_of_frames(&frames, from).filter(|_| said == from);
                let changes = changes.ok_or_else(damaged)?;
                Ok(Told { register: "far".to_owned(), changes, to, latest, content })
            }
            Reply::Answer(Answer::Gone) => Err(FollowError::Gone),
            Reply::Answer(Answer::Unknown) => Err(FollowError::RolledBack { here: from }),
            _ => Err(damaged()),
        }
    }

    fn pause(&self, _: Duration) {
        self.say(Message::Pauses);
    }

    fn open(&self, directory: &Path) -> Result<Writer, StoreError> {
        let path = directory.to_owned();
        if let Reply::Killed = self.say(Message::Opens(path.clone())) {
            let error = io::ErrorKind::NotConnected.into();
            return Err(StoreError::Io { path, error });
        }
        let writer = Writer::of(Place { disk: Arc::new(Failing::new(directory, &self.troubles)), path })?;
        know_sums(&writer.register());
        Ok(writer)
    }
}

/// A register file as it comes.
struct Coming {
    bytes: Arc<[u8]>,
    at: usize,
    piece: usize,
    fails: bool,
    killed: Rc<Cell<bool>>,
}

impl Read for Coming {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = &self.bytes[self.at..];
        if self.killed.get() || self.fails && left.is_empty() {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let count = left.len().min(self.piece).min(buffer.len());
        buffer[..count].copy_from_slice(&left[..count]);
        self.at += count;
        Ok(count)
    }
}
