//! Parts of a register that are kept for those who may have no more of it.

use super::config::Replicas;
use super::registers::{Live, OpenFailed};
use crate::replica::{self, Event, Part};
use crate::store::CHECKPOINT_AT;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};

/// A part, and the register that it is when it is ready.
pub(super) struct Kept {
    pub(super) part: Part,
    live: OnceLock<Arc<Live>>,
}

impl Kept {
    /// `None` while it is being made.
    pub(super) fn live(&self) -> Option<&Arc<Live>> {
        self.live.get()
    }
}

/// Keeps the parts of a register that are configured. `started` gets the threads that do.
///
/// Errors: the register is a file, which has no changes to tell.
pub(super) fn keep(
    whole: &Path,
    register: &Live,
    replicas: &Replicas,
    stop: &Arc<AtomicBool>,
    started: &mut Vec<JoinHandle<()>>,
) -> Result<Vec<Arc<Kept>>, OpenFailed> {
    let kind = register.register().kind();
    let parts = replicas.parts.iter().filter(|part| part.is_of(kind));
    let mut kept = Vec::new();
    for part in parts {
        if !whole.is_dir() {
            return Err(OpenFailed::NoParts(whole.to_owned()));
        }
        let name = part.to_string().replace(':', "-");
        let directory =
            replicas.directory.join(if register.name.is_empty() { kind.name() } else { &register.name });
        let one = Arc::new(Kept { part: part.clone(), live: OnceLock::new() });
        kept.push(Arc::clone(&one));
        let (whole, stop) = (whole.to_owned(), Arc::clone(stop));
        started.push(thread::spawn(move || follow(&one, &whole, &directory.join(name), &stop)));
    }
    Ok(kept)
}

fn follow(kept: &Kept, whole: &Path, directory: &Path, stop: &Arc<AtomicBool>) {
    let part = kept.part.to_string();
    let ended =
        replica::follow_part(whole, &kept.part, directory, CHECKPOINT_AT, stop, |event| match event {
            Event::Open(sequence) => {
                tracing::info!(part, sequence, "the part is there");
                if kept.live.get().is_none() {
                    match Live::of_part(directory, &kept.part, stop) {
                        Ok(live) => drop(kept.live.set(live)),
                        Err(error) => tracing::error!(part, %error, "the part cannot be served"),
                    }
                }
            }
            Event::Behind => tracing::info!(part, "the part is made anew"),
            Event::Diverged(what) | Event::Untrusted(what) => {
                tracing::error!(part, what, "the part is made anew")
            }
            Event::Away(what) => tracing::warn!(part, what, "the part waits"),
            Event::Coming(..) | Event::At(..) => {}
        });
    if let Err(error) = ended {
        tracing::error!(part, %error, "the part is kept no more; what it has is served on");
    }
}

/// Where parts are kept if nobody says.
pub(super) fn usual_directory() -> PathBuf {
    PathBuf::from("parts")
}
