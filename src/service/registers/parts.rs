//! Parts of a register that are kept for organisations that may not copy the whole.

use super::Threads;
use super::error::OpenRegisterError;
use super::log::ServedLog;
use super::served::{KeptPart, ServedRegister};
use crate::replica::{self, Event, FollowError, FollowerLink};
use crate::service::config::Replicas;
use crate::store::CHECKPOINT_AT;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

/// Time after which a part that could not be followed is tried again.
const FOLLOW_AGAIN: Duration = Duration::from_secs(5);

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
        let keeper = PartKeeper {
            kept,
            whole: whole.to_owned(),
            link_of_whole: Arc::clone(&served.link),
            log: Arc::clone(served.log_state()),
            directory: directory.join(name),
            threads: threads.clone(),
        };
        threads.spawn(move |stop| keeper.follow(stop));
    }
    Ok(all)
}

/// Keeps a part up to date.
struct PartKeeper {
    kept: Arc<KeptPart>,
    /// Data directory of the whole register.
    whole: PathBuf,
    /// Connects the follower of the whole register with its readers, if it is a replica.
    link_of_whole: Arc<OnceLock<FollowerLink>>,
    /// The log of the whole register.
    log: Arc<ServedLog>,
    /// Data directory of the part.
    directory: PathBuf,
    threads: Threads,
}

impl PartKeeper {
    /// Follows the part into its directory. If that fails, it is tried again: another program may be replacing the directory.
    fn follow(&self, stop: &Arc<AtomicBool>) {
        let (kept, mut reported) = (&self.kept, None);
        let part = kept.part.to_string();
        while let Err(error) = self.follow_once(stop) {
            kept.is_followed.store(false, Ordering::Relaxed);
            let error = error.to_string();
            if reported.as_ref() != Some(&error) {
                tracing::error!(
                    part,
                    error,
                    "the part is not updated; its last version is still served; trying again"
                );
                reported = Some(error);
            }
            let again = Instant::now() + FOLLOW_AGAIN;
            while Instant::now() < again && !stop.load(Ordering::Relaxed) {
                thread::park_timeout(again.saturating_duration_since(Instant::now()));
            }
        }
    }

    /// Follows the part until that fails, or the service ends.
    fn follow_once(&self, stop: &Arc<AtomicBool>) -> Result<(), FollowError> {
        let PartKeeper { kept, directory, .. } = self;
        let part = kept.part.to_string();
        let whole = (&*self.whole, &*self.link_of_whole);
        replica::follow_part(whole, &kept.part, directory, CHECKPOINT_AT, stop, &kept.link, |event| {
            kept.note(&event);
            match event {
                Event::Open(sequence) => tracing::info!(part, sequence, "the part is open"),
                Event::Behind => tracing::info!(part, "the part is rebuilt"),
                Event::Diverged(what) | Event::Untrusted(what) => {
                    tracing::error!(part, what, "the part is rebuilt")
                }
                Event::Damaged(what) => {
                    tracing::error!(part, what, "the part is damaged, and is rebuilt");
                }
                Event::Waiting(what) => {
                    tracing::warn!(part, what, "the part waits");
                    // A damaged log may be the reason.
                    self.log.suspect();
                }
                Event::BadFile(what) => {
                    tracing::warn!(part, what, "the part waits for another register file");
                }
                Event::Progress(sequence, latest) => {
                    // Not before: its content has been compared with the whole register now. What was in the directory may
                    // have been another register.
                    if sequence == latest && kept.served.get().is_none() {
                        tracing::info!(part, sequence, "the part is ready");
                        match ServedRegister::open_part(directory, kept, &self.threads) {
                            Ok(served) => drop(kept.served.set(served)),
                            Err(error) => tracing::error!(part, %error, "the part cannot be served"),
                        }
                    }
                }
                Event::Reconnected => tracing::info!(part, "the part follows again"),
                // The last two are those of feeds.
                Event::AttemptFailed | Event::Downloading(..) | Event::Loading(..) | Event::Silent(_) => {}
            }
        })
    }
}
