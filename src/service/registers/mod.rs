//! The registers that are served.

mod awaited;
mod error;
mod log;
mod parts;
mod served;
mod source;
mod tended;
mod written;

pub(super) use awaited::AwaitedRegister;
pub use error::OpenRegisterError;
pub(super) use served::ServedRegister;
pub use served::{FollowRules, MAX_SOURCE_SILENCE};
pub(super) use written::WrittenRegister;

use super::config::{Replicas, Writable};
use crate::replica::FollowStatus;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How often a thread that follows a source is looked after.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// Time between attempts to read or open a register that cannot be read.
const RETRY: Duration = Duration::from_secs(1);

/// Time that a thread has to end, and how often it is looked at.
const END_TIME: Duration = Duration::from_secs(10);
const END_POLL: Duration = Duration::from_millis(1);

/// All registers that are served. Each follows its files in a thread, until this is dropped.
pub struct Registers {
    pub(in crate::service) all: Vec<Arc<ServedRegister>>,
    /// The register of a replica that could not be opened at the start.
    awaited: Option<Arc<AwaitedRegister>>,
    threads: Threads,
}

/// The threads that follow registers. They end when the last copy but theirs is dropped, or else by a fault.
#[derive(Clone)]
pub(super) struct Threads {
    stop: Arc<AtomicBool>,
    running: Arc<Mutex<Vec<JoinHandle<()>>>>,
    /// Whether one has ended by a fault.
    broken: watch::Sender<bool>,
}

/// Notes the end of a thread, also by a panic.
struct NoteEnd(Threads);

impl Drop for NoteEnd {
    fn drop(&mut self) {
        if !self.0.stop.load(Ordering::Relaxed) {
            self.0.broken.send_replace(true);
        }
    }
}

impl Threads {
    fn new() -> Threads {
        Threads { stop: Arc::default(), running: Arc::default(), broken: watch::Sender::new(false) }
    }

    /// Runs a function in a thread. It returns soon after the flag that it is given is set, and not before.
    pub(super) fn spawn(&self, work: impl FnOnce(&Arc<AtomicBool>) + Send + 'static) {
        let threads = self.clone();
        let thread = thread::spawn(move || {
            let end = NoteEnd(threads);
            work(&end.0.stop);
        });
        self.running.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
    }
}

impl Registers {
    /// Opens registers by their names, and live registers by those of their source files. A single one may have the name ""
    /// and is then at the root. With `writable`, all of them are data directories, and take changes.
    pub fn open(
        given: Vec<(String, PathBuf)>,
        live: Vec<(String, PathBuf)>,
        rules: FollowRules,
        replicas: &Replicas,
        writable: Option<&Writable>,
    ) -> Result<Registers, OpenRegisterError> {
        let mut registers = Registers { all: Vec::new(), awaited: None, threads: Threads::new() };
        check_names(given.iter().chain(&live).map(|(name, _)| &**name).collect())?;
        let all =
            given.into_iter().map(|given| (given, false)).chain(live.into_iter().map(|live| (live, true)));
        for ((name, path), is_live) in all {
            if is_live {
                registers.all.push(Arc::new(ServedRegister::live(name, &path)?));
                continue;
            }
            if let Some(writable) = writable {
                let written = WrittenRegister::open(&path, writable.signatories.as_deref())?;
                let mut served = ServedRegister::written_by(name, &path, rules, written);
                served.parts = parts::keep(&path, &served, replicas, &registers.threads)?;
                let served = Arc::new(served);
                registers.all.push(Arc::clone(&served));
                served.tend_in_thread(&registers.threads);
                continue;
            }
            let (mut served, source) = ServedRegister::open(name, &path, rules)?;
            served.parts = parts::keep(&path, &served, replicas, &registers.threads)?;
            let served = Arc::new(served);
            registers.all.push(Arc::clone(&served));
            served.follow_in_thread(source, &registers.threads);
        }
        Ok(registers)
    }

    /// As [`open`](Self::open), with a replica that cannot be opened yet: its name and its data directory. Its register is
    /// served when `is_open` gets a message; until then its paths are 503, and the service is not ready.
    pub fn open_awaiting(
        (name, path): (String, PathBuf),
        live: Vec<(String, PathBuf)>,
        rules: FollowRules,
        replicas: &Replicas,
        source: Arc<FollowStatus>,
        is_open: Receiver<()>,
    ) -> Result<Registers, OpenRegisterError> {
        check_names([&*name].into_iter().chain(live.iter().map(|(name, _)| &**name)).collect())?;
        let mut registers = Registers { all: Vec::new(), awaited: None, threads: Threads::new() };
        for (name, path) in live {
            registers.all.push(Arc::new(ServedRegister::live(name, &path)?));
        }
        let (replicas, served) = (replicas.clone(), OnceLock::new());
        let awaited = Arc::new(AwaitedRegister { name, path, rules, replicas, source, served });
        registers.awaited = Some(Arc::clone(&awaited));
        let threads = registers.threads.clone();
        registers.threads.spawn(move |stop| {
            awaited.serve_when_open(&is_open, &threads, stop);
            while !stop.load(Ordering::Relaxed) {
                thread::park();
            }
        });
        Ok(registers)
    }

    /// The registers that can be asked.
    pub(super) fn served(&self) -> impl Iterator<Item = &Arc<ServedRegister>> {
        self.all.iter().chain(self.awaited.iter().filter_map(|awaited| awaited.served.get()))
    }

    /// The register that cannot be opened yet.
    pub(super) fn awaited(&self) -> Option<&AwaitedRegister> {
        self.awaited.as_deref().filter(|awaited| awaited.served.get().is_none())
    }

    /// Says that a thread follows a source into the directory of the first register, and notes its events in `status`.
    pub fn follow_source(&self, status: Arc<FollowStatus>, thread: JoinHandle<()>) {
        if let Some(first) = self.all.first().filter(|_| self.awaited.is_none()) {
            first.follows(&status);
        }
        self.threads.spawn(move |stop| {
            while !stop.load(Ordering::Relaxed) && !thread.is_finished() {
                thread::park_timeout(WATCH_INTERVAL);
            }
            // If it has ended by itself, the service goes on and is not ready; if it has panicked, the service ends.
            let has_panicked = thread.is_finished() && thread.join().is_err();
            while !has_panicked && !stop.load(Ordering::Relaxed) {
                thread::park();
            }
        });
    }

    /// Waits until a thread that follows a register has ended by a fault.
    pub(super) async fn broken(&self) {
        // The sender lives as long as this.
        let _ = self.threads.broken.subscribe().wait_for(|broken| *broken).await;
    }

    /// Whether all threads that follow registers run.
    pub(super) fn are_followed(&self) -> bool {
        !*self.threads.broken.borrow()
    }

    /// The number of registers and of parts of them.
    pub(super) fn with_parts(&self) -> usize {
        let awaited = self.awaited.iter().map(|awaited| 1 + awaited.replicas.parts.len());
        awaited.chain(self.all.iter().map(|served| 1 + served.parts.len())).sum()
    }

    /// The names of all registers.
    pub(super) fn names(&self) -> Vec<&str> {
        let awaited = self.awaited.iter().map(|awaited| awaited.name.as_str());
        awaited.chain(self.all.iter().map(|served| served.name.as_str())).collect()
    }

    /// The register that a path names, and the rest of the path.
    pub(super) fn at<'p>(&self, path: &'p str) -> Option<(&Arc<ServedRegister>, &'p str)> {
        let (name, rest) = self.split(path)?;
        self.served().find(|served| served.name == name).map(|served| (served, rest))
    }

    /// Whether a path is one of the register that cannot be opened yet.
    pub(super) fn is_awaited(&self, path: &str) -> bool {
        self.split(path).zip(self.awaited()).is_some_and(|((name, _), awaited)| awaited.name == name)
    }

    /// The name of the register that a path names, and the rest of the path.
    fn split<'p>(&self, path: &'p str) -> Option<(&'p str, &'p str)> {
        // A register without a name is the only one.
        let awaited = self.awaited.iter().map(|awaited| &awaited.name);
        let mut names = awaited.chain(self.all.iter().map(|served| &served.name));
        if names.next().is_some_and(String::is_empty) {
            return Some(("", path));
        }
        let inner = path.strip_prefix('/')?;
        inner.split_at_checked(inner.find('/')?)
    }
}

/// Checks the names of all registers.
fn check_names(names: Vec<&str>) -> Result<(), OpenRegisterError> {
    let valid = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    for (index, &name) in names.iter().enumerate() {
        if !name.chars().all(valid) {
            return Err(OpenRegisterError::Name(name.to_owned()));
        }
        if name.is_empty() && names.len() > 1 || names[..index].contains(&name) {
            return Err(OpenRegisterError::Twice(name.to_owned()));
        }
    }
    Ok(())
}

impl Drop for Registers {
    fn drop(&mut self) {
        self.threads.stop.store(true, Ordering::Relaxed);
        // A thread may begin another one while it is waited for.
        loop {
            let next = self.threads.running.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some(thread) = next else { return };
            thread.thread().unpark();
            // One that waits for a hung file system never ends, and must not keep the process from ending.
            let began = Instant::now();
            while !thread.is_finished() && began.elapsed() < END_TIME {
                thread::park_timeout(END_POLL);
            }
            if thread.is_finished() {
                let _ = thread.join();
            }
        }
    }
}
