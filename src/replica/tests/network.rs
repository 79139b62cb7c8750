//! The network between a follower and its source: the follower's end, in a separate thread.
//!
//! Each external action of a follower is a message to the simulation, which replies later and meanwhile lets others
//! proceed. So one event happens at a time, in an order determined by the seed.

use super::disk::{Failing, Faults};
use super::model::know_sums;
use crate::register::Register;
use crate::replica::{ChangeBatch, Event, FollowError, Offer, Source};
use crate::store::{DataDirectory, StoreError, Writer, changes_of_frames};
use std::cell::Cell;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::time::Duration;

/// A request to a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Request {
    Offer,
    Snapshot { digest: String, from: u64 },
    Changes { from: u64 },
}

/// A response of a source, as transmitted.
#[derive(Clone, Debug)]
pub(super) enum Response {
    Offer(Offer),
    /// The rest of a register file.
    File {
        digest: String,
        bytes: Arc<[u8]>,
    },
    /// The register file was replaced.
    Replaced,
    Changes {
        from: u64,
        to: u64,
        latest: u64,
        content: Option<String>,
        frames: Vec<u8>,
    },
    Gone,
    /// The source is behind the requested sequence number.
    Unknown,
}

/// A message of a follower to the simulation. The follower waits for a [`Reply`].
#[derive(Debug)]
pub(super) enum Message {
    Requests(Request),
    Pauses,
    Opens(PathBuf),
    Reports(Event),
    Ended(Result<(), FollowError>),
}

/// Reply of the simulation to a [`Message`].
pub(super) enum Reply {
    Go,
    Response(Response),
    /// A register file in pieces; `fails` ends it with an error.
    Bytes {
        digest: String,
        bytes: Arc<[u8]>,
        piece: usize,
        fails: bool,
    },
    Unreachable,
    /// The process is killed.
    Killed,
}

/// The follower's end of the network.
#[derive(Clone)]
pub(super) struct Link {
    messages: Sender<Message>,
    replies: Rc<Receiver<Reply>>,
    faults: Faults,
    killed: Rc<Cell<bool>>,
}

impl Link {
    pub(super) fn new(messages: Sender<Message>, replies: Receiver<Reply>, faults: Faults) -> Link {
        Link { messages, replies: Rc::new(replies), faults, killed: Rc::default() }
    }

    /// Sends a message. A killed process sends nothing more.
    fn say(&self, message: Message) -> Reply {
        if self.killed.get() {
            return Reply::Killed;
        }
        let sent = self.messages.send(message);
        let reply = sent.ok().and_then(|()| self.replies.recv().ok()).unwrap_or(Reply::Killed);
        self.killed.set(matches!(reply, Reply::Killed));
        reply
    }

    pub(super) fn report(&self, event: Event) {
        self.say(Message::Reports(event));
    }

    pub(super) fn end(&self, result: Result<(), FollowError>) {
        self.killed.set(false);
        // The receiver is gone if the simulation has ended.
        let _ = self.messages.send(Message::Ended(result));
    }

    fn ask(&self, request: Request) -> Result<Reply, FollowError> {
        match self.say(Message::Requests(request)) {
            Reply::Killed => Err(killed()),
            Reply::Unreachable | Reply::Go => Err(FollowError::Unreachable("no response".to_owned())),
            reply => Ok(reply),
        }
    }
}

/// An error that ends a follower at once.
fn killed() -> FollowError {
    FollowError::Refused { status: 0, detail: "killed".to_owned() }
}

fn damaged() -> FollowError {
    FollowError::Unreachable("damaged in transit".to_owned())
}

/// Interprets responses as the client of a service does.
impl Source for Link {
    fn offer(&self) -> Result<Offer, FollowError> {
        match self.ask(Request::Offer)? {
            Reply::Response(Response::Offer(offer)) => Ok(offer),
            _ => Err(damaged()),
        }
    }

    fn snapshot(&self, offer: &Offer, from: u64) -> Result<Option<Box<dyn Read + '_>>, FollowError> {
        match self.ask(Request::Snapshot { digest: offer.digest.clone(), from })? {
            Reply::Bytes { digest, bytes, piece, fails } if digest == offer.digest => {
                let killed = Rc::clone(&self.killed);
                Ok(Some(Box::new(Download { bytes, at: 0, piece, fails, killed })))
            }
            Reply::Bytes { .. } | Reply::Response(Response::Replaced) => Ok(None),
            _ => Err(damaged()),
        }
    }

    fn changes(&self, here: &Register, _: usize, _: Duration) -> Result<ChangeBatch, FollowError> {
        know_sums(here);
        let from = here.sequence();
        match self.ask(Request::Changes { from })? {
            Reply::Response(Response::Changes { from: said, to, latest, content, frames }) => {
                let changes = changes_of_frames(&frames, from, usize::MAX).filter(|_| said == from);
                let changes = changes.ok_or_else(damaged)?;
                Ok(ChangeBatch { register: "far".to_owned(), changes, to, latest, content })
            }
            Reply::Response(Response::Gone) => Err(FollowError::Gone),
            Reply::Response(Response::Unknown) => Err(FollowError::RolledBack { here: from }),
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
        let writer =
            Writer::of(DataDirectory { disk: Arc::new(Failing::new(directory, &self.faults)), path })?;
        know_sums(&writer.register());
        Ok(writer)
    }
}

/// A register file while it is downloaded.
struct Download {
    bytes: Arc<[u8]>,
    at: usize,
    piece: usize,
    fails: bool,
    killed: Rc<Cell<bool>>,
}

impl Read for Download {
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
