//! Parts of a register that are kept for organisations that may not copy the whole.

use super::served::{KeptPart, OpenRegisterError, ServedRegister};
use crate::replica::{self, Event};
use crate::service::config::Replicas;
use crate::store::CHECKPOINT_AT;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};

/// Keeps the configured parts of a register up to date. `threads` gets the threads that do.
///
/// Errors: the register is a file, which has no changes.
pub(super) fn keep(
    whole: &Path,
    served: &ServedRegister,
    replicas: &Replicas,
    stop: &Arc<AtomicBool>,
    threads: &mut Vec<JoinHandle<()>>,
) -> Result<Vec<Arc<KeptPart>>, OpenRegisterError> {
    let kind = served.register().kind();
    let parts = replicas.parts.iter().filter(|part| part.is_of(kind));
    let mut all = Vec::new();
    for part in parts {
        if !whole.is_dir() {
            return Err(OpenRegisterError::NoParts(whole.to_owned()));
        }
        let name = part.to_string().replace(':', "-");
        let directory =
            replicas.directory.join(if served.name.is_empty() { kind.name() } else { &served.name });
        let kept = Arc::new(KeptPart { part: part.clone(), served: OnceLock::new() });
        all.push(Arc::clone(&kept));
        let (whole, stop) = (whole.to_owned(), Arc::clone(stop));
        threads.push(thread::spawn(move || follow(&kept, &whole, &directory.join(name), &stop)));
    }
    Ok(all)
}

fn follow(kept: &KeptPart, whole: &Path, directory: &Path, stop: &Arc<AtomicBool>) {
    let part = kept.part.to_string();
    let ended =
        replica::follow_part(whole, &kept.part, directory, CHECKPOINT_AT, stop, |event| match event {
            Event::Open(sequence) => {
                tracing::info!(part, sequence, "the part is ready");
                if kept.served.get().is_none() {
                    match ServedRegister::open_part(directory, &kept.part, stop) {
                        Ok(served) => drop(kept.served.set(served)),
                        Err(error) => tracing::error!(part, %error, "the part cannot be served"),
                    }
                }
            }
            Event::Behind => tracing::info!(part, "the part is rebuilt"),
            Event::Diverged(what) | Event::Untrusted(what) => {
                tracing::error!(part, what, "the part is rebuilt")
            }
            Event::Waiting(what) => tracing::warn!(part, what, "the part waits"),
            Event::Downloading(..) | Event::Progress(..) => {}
        });
    if let Err(error) = ended {
        tracing::error!(part, %error, "the part is no longer updated; its last version is still served");
    }
}
