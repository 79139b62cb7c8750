//! A follower: a process, while it runs, and the directory that it keeps.

use super::disk::{Trouble, Troubles};
use super::network::{Answer, Link, Message, Question, Reply};
use super::served::Served;
use crate::replica::{Follow, FollowError, following};
use crate::store::{self, Reader};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How long something may take that waits for nothing.
const PATIENCE: Duration = Duration::from_secs(120);

/// A follower, which may have ended.
pub(super) struct Follower {
    pub(super) path: PathBuf,
    /// Whom it follows: 0 is the source, the others are followers, from 1 on.
    pub(super) parent: usize,
    pub(super) checkpoint_at: u64,
    pub(super) process: Option<Process>,
    /// Who reads the directory all the time, as a service does.
    pub(super) watch: Option<Served>,
    /// Who does not ask whether another directory has taken its place.
    pub(super) reader: Option<Reader>,
    /// The last sequence number that anybody has read there.
    pub(super) shown: u64,
    /// The last that `reader` has read.
    pub(super) read: u64,
    /// Answers that come late, or twice.
    pub(super) kept: Vec<(Question, Answer)>,
    /// Register files have been altered on their way or where they are kept.
    pub(super) altered: bool,
}

/// A follower that runs. It waits until what it has said last is answered.
pub(super) struct Process {
    messages: Receiver<Message>,
    replies: Option<Sender<Reply>>,
    thread: Option<JoinHandle<()>>,
    pub(super) said: Message,
    pub(super) once: bool,
    pub(super) troubles: Troubles,
    /// It is made to end.
    pub(super) killed: bool,
    /// It has asked for a register file, and not opened a directory since.
    pub(super) making: bool,
    /// It was given an offer that was not the newest.
    pub(super) old_offer: bool,
}

impl Process {
    fn start(path: &Path, once: bool, checkpoint_at: u64) -> Process {
        let (to_world, messages) = channel();
        let (replies, from_world) = channel();
        let troubles = Troubles::default();
        let follow = Follow { directory: path.to_owned(), once, checkpoint_at };
        let its = troubles.clone();
        let thread = thread::spawn(move || {
            let link = Link::new(to_world, from_world, its);
            let result = following::run(&follow, &link, &mut |event| link.tell(event));
            link.end(result);
        });
        let mut process = Process {
            messages,
            replies: Some(replies),
            thread: Some(thread),
            said: Message::Pauses,
            once,
            troubles,
            killed: false,
            making: false,
            old_offer: false,
        };
        process.listen();
        process
    }

    fn listen(&mut self) {
        let Ok(said) = self.messages.recv_timeout(PATIENCE) else {
            // If it has not panicked, it does something for ever.
            let thread = self.thread.take().filter(JoinHandle::is_finished);
            let panic = thread.and_then(|thread| thread.join().err());
            panic!("a follower hangs or panics: {:?}", panic.map(|panic| super::message(&*panic)));
        };
        match &said {
            Message::Asks(Question::Snapshot { .. }) => self.making = true,
            Message::Asks(Question::Changes { .. }) => self.making = false,
            _ => {}
        }
        self.said = said;
    }

    /// Answers what it has said last, and waits until it says more.
    pub(super) fn answer(&mut self, reply: Reply) {
        let replies = self.replies.as_ref().expect("it runs");
        replies.send(reply).unwrap_or_else(|_| panic!("a follower has ended without a word"));
        self.listen();
    }

    /// Ends it where it is. What it would do then is not done.
    pub(super) fn kill(&mut self) {
        self.killed = true;
        self.troubles.set(Trouble::Killed(0));
        while !matches!(self.said, Message::Ended(_)) {
            self.answer(Reply::Killed);
        }
    }

    /// Whether it was made to end, now or while it wrote.
    pub(super) fn was_killed(&self) -> bool {
        self.killed || self.troubles.get() == Trouble::Killed(0)
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

    /// Something beside its directory.
    pub(super) fn beside(&self, what: &str) -> PathBuf {
        let name = self.path.file_name().expect("a name").to_string_lossy();
        self.path.with_file_name(format!(".{name}.{what}"))
    }

    /// Register files that were coming.
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

    /// Reads its directory, as those do who have it open already.
    pub(super) fn look(&mut self) {
        match &mut self.watch {
            Some(watch) => watch.look(),
            none => *none = Served::open(&self.path).ok(),
        }
        // What a reader had read in part is not used again.
        if self.reader.as_mut().is_none_or(|reader| reader.refresh().is_err()) {
            self.reader = Reader::open(&self.path).ok();
        }
    }

    /// What is wrong with how it has ended. `None` if it may end so.
    pub(super) fn why_ended(&self, restored: bool) -> Option<String> {
        let process = self.process.as_ref()?;
        let Message::Ended(result) = &process.said else { return None };
        let good = match result {
            _ if process.was_killed() => true,
            Ok(()) => process.once,
            Err(FollowError::Altered) => self.altered,
            Err(FollowError::RolledBack { .. }) => process.old_offer || restored,
            Err(FollowError::Diverged(_)) => restored,
            Err(error) => process.once && error.passes(),
        };
        (!good).then(|| format!("ended: {result:?}"))
    }

    /// What lies there when a process ends while one directory takes the place of another, `None` if it was not about
    /// to: how far it has come is 0 to 2.
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

    /// What lies there when a process ends before the register file has its name, `None` if nothing is there.
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
