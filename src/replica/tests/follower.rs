//! A follower: a process and its directory.

use super::disk::{Fault, Faults};
use super::network::{Link, Message, Reply, Request, Response};
use super::served::Served;
use crate::replica::{Follow, FollowError, following};
use crate::store::{self, Reader};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Longest time of a step that waits for nothing.
const PATIENCE: Duration = Duration::from_secs(120);

/// A follower, whose process may have ended.
pub(super) struct Follower {
    pub(super) path: PathBuf,
    /// What it follows: 0 is the source, others are followers, numbered from 1.
    pub(super) parent: usize,
    pub(super) checkpoint_at: u64,
    pub(super) process: Option<Process>,
    /// A continuous reader, like a service.
    pub(super) watch: Option<Served>,
    /// A reader that does not check whether the directory was replaced.
    pub(super) reader: Option<Reader>,
    /// Highest sequence number that `watch` has read.
    pub(super) shown: u64,
    /// Highest sequence number that `reader` has read.
    pub(super) read: u64,
    /// Responses to deliver late or twice.
    pub(super) kept: Vec<(Request, Response)>,
    /// Whether register files were altered in transit or on disk.
    pub(super) altered: bool,
}

/// A running follower. It waits for the reply to its last message.
pub(super) struct Process {
    messages: Receiver<Message>,
    replies: Option<Sender<Reply>>,
    thread: Option<JoinHandle<()>>,
    pub(super) message: Message,
    pub(super) once: bool,
    pub(super) faults: Faults,
    /// Whether it was killed.
    pub(super) killed: bool,
    /// Whether it has requested a register file and not opened a directory since.
    pub(super) making: bool,
    /// Whether it has received an offer that was not the newest.
    pub(super) old_offer: bool,
}

impl Process {
    fn start(path: &Path, once: bool, checkpoint_at: u64) -> Process {
        let (to_world, messages) = channel();
        let (replies, from_world) = channel();
        let faults = Faults::default();
        let follow = Follow { directory: path.to_owned(), once, checkpoint_at };
        let its = faults.clone();
        let thread = thread::spawn(move || {
            let link = Link::new(to_world, from_world, its);
            let result = following::run(&follow, &link, &mut |event| link.report(event));
            link.end(result);
        });
        let mut process = Process {
            messages,
            replies: Some(replies),
            thread: Some(thread),
            message: Message::Pauses,
            once,
            faults,
            killed: false,
            making: false,
            old_offer: false,
        };
        process.listen();
        process
    }

    fn listen(&mut self) {
        let Ok(message) = self.messages.recv_timeout(PATIENCE) else {
            // Without a panic, it loops forever.
            let thread = self.thread.take().filter(JoinHandle::is_finished);
            let panic = thread.and_then(|thread| thread.join().err());
            panic!("a follower hangs or panics: {:?}", panic.map(|panic| super::message(&*panic)));
        };
        match &message {
            Message::Requests(Request::Snapshot { .. }) => self.making = true,
            Message::Requests(Request::Changes { .. }) => self.making = false,
            _ => {}
        }
        self.message = message;
    }

    /// Replies to its last message, and waits for the next one.
    pub(super) fn reply(&mut self, reply: Reply) {
        let replies = self.replies.as_ref().expect("it runs");
        replies.send(reply).unwrap_or_else(|_| panic!("a follower has ended without a message"));
        self.listen();
    }

    /// Kills the process at its current step.
    pub(super) fn kill(&mut self) {
        self.killed = true;
        self.faults.set(Fault::Killed(0));
        while !matches!(self.message, Message::Ended(_)) {
            self.reply(Reply::Killed);
        }
    }

    /// Whether it was killed, now or while it wrote.
    pub(super) fn was_killed(&self) -> bool {
        self.killed || self.faults.get() == Fault::Killed(0)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.replies = None;
        if let Some(thread) = self.thread.take().filter(|_| !thread::panicking()) {
            thread.join().expect("no panic");
        }
    }
}

impl Follower {
    pub(super) fn new(path: PathBuf, parent: usize, checkpoint_at: u64) -> Follower {
        let (process, watch, reader, kept) = (None, None, None, Vec::new());
        let (shown, read, altered) = (0, 0, false);
        Follower { path, parent, checkpoint_at, process, watch, reader, shown, read, kept, altered }
    }

    pub(super) fn start(&mut self, once: bool) {
        self.process = Some(Process::start(&self.path, once, self.checkpoint_at));
    }

    /// Path of a file or directory beside its own.
    pub(super) fn beside(&self, what: &str) -> PathBuf {
        let name = self.path.file_name().expect("a name").to_string_lossy();
        self.path.with_file_name(format!(".{name}.{what}"))
    }

    /// Partial downloads of register files.
    pub(super) fn partial(&self) -> Vec<PathBuf> {
        let begins = format!("{}.", self.beside("").to_string_lossy().trim_end_matches('.'));
        let entries = fs::read_dir(self.path.parent().expect("a parent")).expect("read");
        let paths = entries.map(|entry| entry.expect("an entry").path());
        let ours = |path: &PathBuf| {
            let path = path.to_string_lossy();
            path.starts_with(&begins) && path.ends_with(".partial")
        };
        let mut partial: Vec<PathBuf> = paths.filter(ours).collect();
        partial.sort();
        partial
    }

    /// Lets its readers look at the directory.
    pub(super) fn refresh(&mut self) {
        match &mut self.watch {
            Some(watch) => watch.refresh(),
            none => *none = Served::open(&self.path).ok(),
        }
        // A reader that failed is not used again.
        if self.reader.as_mut().is_none_or(|reader| reader.refresh().is_err()) {
            self.reader = Reader::open(&self.path).ok();
        }
    }

    /// Why the process should not have ended this way. `None` if it may.
    pub(super) fn why_ended(&self, restored: bool) -> Option<String> {
        let process = self.process.as_ref()?;
        let Message::Ended(result) = &process.message else { return None };
        let good = match result {
            _ if process.was_killed() => true,
            Ok(()) => process.once,
            Err(FollowError::Altered) => self.altered && process.once,
            Err(FollowError::BadFile(_)) => false,
            Err(FollowError::RolledBack { .. }) => process.old_offer || restored,
            Err(FollowError::Diverged(_)) => restored,
            Err(error) => process.once && error.passes(),
        };
        (!good).then(|| format!("ended: {result:?}"))
    }

    /// The state after a kill during the exchange of directories, at step 0 to 2. `None` if no exchange was due.
    pub(super) fn interrupt_exchange(&mut self, how_far: u64) -> Option<()> {
        let (next, old) = (self.beside("next"), self.beside("old"));
        let made = Reader::open(&next).ok()?;
        let here = Reader::open(&self.path).ok()?;
        if made.register().sequence() < here.register().sequence() {
            return None;
        }
        fs::rename(&self.path, &old).expect("renamed");
        if how_far > 0 {
            fs::rename(&next, &self.path).expect("renamed");
        }
        if how_far > 1 {
            let file = here.register_file();
            fs::remove_file(old.join(file.file_name().expect("a name"))).expect("removed");
        }
        Some(())
    }

    /// The state after a kill before the register file was renamed into place. `None` without a data directory.
    pub(super) fn interrupt_making(&self, directory: &Path) -> Option<()> {
        if !store::is_data_directory(directory) {
            return None;
        }
        let file = Reader::open(directory).expect("made").register_file();
        let name = file.file_name().expect("a name").to_string_lossy();
        let bytes = fs::read(&file).expect("read");
        fs::write(directory.join(format!(".{name}.partial")), &bytes[..bytes.len() / 2]).expect("written");
        fs::remove_file(&file).expect("removed");
        Some(())
    }
}
