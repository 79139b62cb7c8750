//! The registers that are served.

mod parts;
mod served;

pub use served::OpenRegisterError;
pub(super) use served::ServedRegister;

use super::config::Replicas;
use jiff::SignedDuration;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// All registers that are served. Each follows its files in a thread, until this is dropped.
pub struct Registers {
    pub(in crate::service) all: Vec<Arc<ServedRegister>>,
    stop: Arc<AtomicBool>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Registers {
    /// Opens registers by their names. A single register may have the name "" and is then at the root.
    pub fn open(
        given: Vec<(String, PathBuf)>,
        max_age: Option<SignedDuration>,
        replicas: &Replicas,
    ) -> Result<Registers, OpenRegisterError> {
        let mut registers =
            Registers { all: Vec::new(), stop: Arc::default(), threads: Vec::with_capacity(given.len()) };
        let single = given.len() == 1;
        for (name, path) in given {
            let valid = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            if !name.chars().all(valid) {
                return Err(OpenRegisterError::Name(name));
            }
            if name.is_empty() && !single || registers.all.iter().any(|served| served.name == name) {
                return Err(OpenRegisterError::Twice(name));
            }
            let (mut served, source) = ServedRegister::open(name, &path, max_age)?;
            served.parts = parts::keep(&path, &served, replicas, &registers.stop, &mut registers.threads)?;
            let served = Arc::new(served);
            registers.all.push(Arc::clone(&served));
            registers.threads.push(served.follow_in_thread(source, &registers.stop));
        }
        Ok(registers)
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
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}
