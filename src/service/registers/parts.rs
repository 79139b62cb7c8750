//! Parts of a register that are kept for organisations that may not copy the whole.

use super::Threads;
use super::error::OpenRegisterError;
use super::log::ServedLog;
use super::served::{KeptPart, ServedRegister};
use crate::replica::{self, Event};
use crate::service::config::Replicas;
use crate::store::CHECKPOINT_AT;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// Keeps the configured parts of a register up to date, in threads.
///
/// Errors: the register is a file, which has no changes.
pub(super) fn keep(
    whole: &Path,
    served: &ServedRegister,
    replicas: &Replicas,
    threads: &Threads,
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
        let kept = Arc::new(KeptPart::new(part.clone()));
        all.push(Arc::clone(&kept));
        let (whole, beside) = (whole.to_owned(), threads.clone());
        let log = Arc::clone(served.log_state());
        threads.spawn(move |stop| follow(&kept, &whole, &log, &directory.join(name), &beside, stop));
    }
    Ok(all)
}

/// Follows a part into a directory. `log` is that of the whole register.
fn follow(
    kept: &KeptPart,
    whole: &Path,
    log: &ServedLog,
    directory: &Path,
    threads: &Threads,
    stop: &Arc<AtomicBool>,
) {
    let part = kept.part.to_string();
    let ended =
        replica::follow_part(whole, &kept.part, directory, CHECKPOINT_AT, stop, &kept.suspicion, |event| {
            match event {
                Event::Open(sequence) => tracing::info!(part, sequence, "the part is open"),
                Event::Behind => tracing::info!(part, "the part is rebuilt"),
                Event::Diverged(what) | Event::Untrusted(what) => {
                    tracing::error!(part, what, "the part is rebuilt")
                }
                Event::Damaged(what) => {
                    tracing::error!(part, what, "the part is damaged, and is rebuilt");
                    kept.is_followed.store(false, Ordering::Relaxed);
                }
                Event::Waiting(what) => {
                    tracing::warn!(part, what, "the part waits");
                    // A damaged log may be the reason.
                    log.suspect();
                }
                Event::BadFile(what) => {
                    tracing::warn!(part, what, "the part waits for another register file");
                    kept.is_followed.store(false, Ordering::Relaxed);
                }
                Event::Progress(sequence, latest) => {
                    kept.is_followed.store(true, Ordering::Relaxed);
                    // Not before: its content has been compared with the whole register now. What was in the directory may
                    // have been another register.
                    if sequence == latest && kept.served.get().is_none() {
                        tracing::info!(part, sequence, "the part is ready");
                        match ServedRegister::open_part(directory, kept, threads) {
                            Ok(served) => drop(kept.served.set(served)),
                            Err(error) => tracing::error!(part, %error, "the part cannot be served"),
                        }
                    }
                }
                Event::Reconnected => tracing::info!(part, "the part follows again"),
                // The last two are those of feeds.
                Event::Downloading(..) | Event::AttemptFailed | Event::Loading(..) | Event::Silent(_) => {}
            }
        });
    if let Err(error) = ended {
        tracing::error!(part, %error, "the part is no longer updated; its last version is still served");
        kept.is_followed.store(false, Ordering::Relaxed);
        // The service goes on, and is not ready.
        while !stop.load(Ordering::Relaxed) {
            thread::park();
        }
    }
}
