//! The registers that are served.

mod error;
mod log;
mod parts;
mod served;
mod source;

pub use error::OpenRegisterError;
pub(super) use served::ServedRegister;
pub use served::{FollowRules, MAX_SOURCE_SILENCE};

use super::config::Replicas;
use crate::replica::FollowStatus;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How often a thread that follows a source is looked after.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// Time that a thread has to end, and how often it is looked at.
const END_TIME: Duration = Duration::from_secs(10);
const END_POLL: Duration = Duration::from_millis(1);

/// All registers that are served. Each follows its files in a thread, until this is dropped.
pub struct Registers {
    pub(in crate::service) all: Vec<Arc<ServedRegister>>,
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
    /// and is then at the root.
    pub fn open(
        given: Vec<(String, PathBuf)>,
        live: Vec<(String, PathBuf)>,
        rules: FollowRules,
        replicas: &Replicas,
    ) -> Result<Registers, OpenRegisterError> {
        let mut registers = Registers { all: Vec::new(), threads: Threads::new() };
        let single = given.len() + live.len() == 1;
        let all =
            given.into_iter().map(|given| (given, false)).chain(live.into_iter().map(|live| (live, true)));
        for ((name, path), is_live) in all {
            let valid = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            if !name.chars().all(valid) {
                return Err(OpenRegisterError::Name(name));
            }
            if name.is_empty() && !single || registers.all.iter().any(|served| served.name == name) {
                return Err(OpenRegisterError::Twice(name));
            }
            if is_live {
                registers.all.push(Arc::new(ServedRegister::live(name, &path)?));
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

    /// Says that a thread follows a source into the directory of the first register, and notes its events in `status`.
    pub fn follow_source(&self, status: Arc<FollowStatus>, thread: JoinHandle<()>) {
        if let Some(first) = self.all.first() {
            // The first call counts.
            let _ = first.source.set(status);
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
        self.all.iter().map(|served| 1 + served.parts.len()).sum()
    }

    /// The names of all registers.
    pub(super) fn names(&self) -> Vec<&str> {
        self.all.iter().map(|served| served.name.as_str()).collect()
    }

    /// The register that a path names, and the rest of the path.
    pub(super) fn at<'p>(&self, path: &'p str) -> Option<(&Arc<ServedRegister>, &'p str)> {
        if let [only] = &self.all[..]
            && only.name.is_empty()
        {
            return Some((only, path));
        }
        let inner = path.strip_prefix('/')?;
        let end = inner.find('/')?;
        let served = self.all.iter().find(|served| served.name == inner[..end])?;
        Some((served, &inner[end..]))
    }
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
