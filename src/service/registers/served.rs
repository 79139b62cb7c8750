//! A register that is served: always the newest version of its file or data directory.

use super::error::OpenRegisterError;
use super::log::ServedLog;
use super::source::RegisterSource;
use super::written::WrittenRegister;
use super::{RETRY, Threads};
use crate::register::column::Bytes;
use crate::register::{Damage, DecidedStates, QuestionError, Register};
use crate::replica::{self, Event, FollowStatus, FollowerLink, Part, Standing};
use crate::service::attempts::Attempts;
use crate::service::problem::Problem;
use crate::snapshot::Snapshot;
use crate::source::{Front, Source, SourceKind};
use crate::store::{FileWatch, Log, StoreError};
use arc_swap::ArcSwap;
use jiff::SignedDuration;
use jiff::civil::Date;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::thread;
use std::time::Duration;
use tokio::sync::watch;

/// How often a data directory is read on a file system without events. Cost: some microseconds each time.
const DIRECTORY_POLL: Duration = Duration::from_millis(10);
/// How often the metadata of a register file is read on a file system without events.
const FILE_POLL: Duration = Duration::from_secs(1);
/// How often a register is read in any case: some changes cause no event.
pub(super) const FALLBACK: Duration = Duration::from_secs(1);
/// Time that an attempt to read what is new may take: a new register file is verified whole.
const READ_TIME: Duration = Duration::from_secs(300);
/// Questions whose decisions are cached.
const DECIDED_CACHE_MAX: usize = 512;

/// The mapped bytes of a register file.
type MappedFile = dyn Bytes;

/// A register that is served.
pub(in crate::service) struct ServedRegister {
    /// The first segment of its paths; empty if it is at the root.
    pub(in crate::service) name: String,
    /// Which part of a register it is; `None` for a whole register.
    pub(in crate::service) part: Option<Part>,
    /// The parts of it that are kept for replicas.
    pub(in crate::service) parts: Vec<Arc<KeptPart>>,
    path: PathBuf,
    /// Of a data directory.
    log: Arc<ServedLog>,
    current: ArcSwap<Register>,
    decided: Mutex<DecisionCache>,
    versions: Mutex<Vec<Weak<Register>>>,
    /// The sequence number of the newest version.
    published: watch::Sender<u64>,
    /// The digest of the register file of the newest version.
    digest: Mutex<Option<(Weak<MappedFile>, String)>>,
    /// Number of changes that were applied since the start.
    pub(in crate::service) applied: AtomicU64,
    /// Why the last attempt to read what is new failed, if it did.
    failure: Mutex<Option<String>>,
    attempts: Attempts,
    rules: FollowRules,
    /// The live register, if it is asked for each question. Then the newest version is one without answers.
    front: Option<Front>,
    /// The state of the replica in its directory, if the service follows a source into it.
    pub(super) source: OnceLock<Arc<FollowStatus>>,
    /// The writer of its directory, if the service takes changes.
    written: Option<Arc<WrittenRegister>>,
    /// Connects it with the follower of its directory, if that is in this process: a replica or part.
    pub(super) link: Arc<OnceLock<FollowerLink>>,
}

/// How a register is followed.
#[derive(Clone, Copy, Debug, Default)]
pub struct FollowRules {
    /// The age beyond which the service is not ready.
    pub max_age: Option<SignedDuration>,
    /// Whether a register with a lower sequence number may replace one.
    pub allow_rollback: bool,
    /// Time for which a source may be silent before the service is not ready; [`MAX_SOURCE_SILENCE`] if `None`.
    pub max_source_silence: Option<SignedDuration>,
}

impl FollowRules {
    pub(super) fn max_silence(&self) -> SignedDuration {
        self.max_source_silence.unwrap_or(MAX_SOURCE_SILENCE)
    }
}

/// The default of [`FollowRules::max_source_silence`]. A source that has nothing new answers every 25 seconds.
pub const MAX_SOURCE_SILENCE: SignedDuration = SignedDuration::from_mins(15);

/// How far ahead of the clock the as-of time of a register may be.
const CLOCKS_DIFFER: SignedDuration = SignedDuration::from_mins(5);

/// A part of a register, which is kept for its organisation.
pub(in crate::service) struct KeptPart {
    pub(in crate::service) part: Part,
    /// Empty while the part is being made.
    pub(in crate::service) served: OnceLock<Arc<ServedRegister>>,
    /// False if it is no longer kept up to date, because of an error.
    pub(super) is_followed: AtomicBool,
    /// Attempts in succession that have failed.
    pub(super) failed: AtomicU64,
    pub(super) link: FollowerLink,
}

impl KeptPart {
    pub(super) fn new(part: Part) -> KeptPart {
        let (served, is_followed) = (OnceLock::new(), AtomicBool::new(true));
        KeptPart { part, served, is_followed, failed: AtomicU64::new(0), link: FollowerLink::default() }
    }
}

impl KeptPart {
    /// Notes whether it is kept up to date.
    pub(super) fn note(&self, event: &Event) {
        let is_followed = match event {
            Event::Progress(..) => {
                self.failed.store(0, Ordering::Relaxed);
                true
            }
            Event::Damaged(_) | Event::BadFile(_) => false,
            // One may be because a checkpoint removes what is read.
            Event::AttemptFailed if self.failed.fetch_add(1, Ordering::Relaxed) > 0 => false,
            _ => return,
        };
        self.is_followed.store(is_followed, Ordering::Relaxed);
    }
}

/// The decisions of one version by sender and day: most questions repeat both.
#[derive(Default)]
struct DecisionCache {
    version: Weak<Register>,
    by_question: HashMap<(Option<String>, Date), Arc<DecidedStates>>,
}

impl ServedRegister {
    pub(super) fn open(
        name: String,
        path: &Path,
        rules: FollowRules,
    ) -> Result<(ServedRegister, RegisterSource), OpenRegisterError> {
        let (register, source) = RegisterSource::open(path)?;
        Ok((ServedRegister::of(name, path, register, rules), source))
    }

    fn of(name: String, path: &Path, register: Arc<Register>, rules: FollowRules) -> ServedRegister {
        ServedRegister {
            name,
            part: None,
            parts: Vec::new(),
            log: Arc::new(ServedLog::new(path)),
            path: path.to_owned(),
            decided: Mutex::default(),
            versions: Mutex::new(vec![Arc::downgrade(&register)]),
            published: watch::Sender::new(register.sequence()),
            digest: Mutex::default(),
            current: ArcSwap::new(register),
            applied: AtomicU64::new(0),
            failure: Mutex::default(),
            attempts: Attempts::new(READ_TIME),
            rules,
            front: None,
            source: OnceLock::new(),
            written: None,
            link: Arc::default(),
        }
    }

    /// A live register, which a source file describes. Errors: the file, its certificates and keys.
    pub(super) fn live(name: String, path: &Path) -> Result<ServedRegister, OpenRegisterError> {
        let failed = |why: String| OpenRegisterError::Source(path.to_owned(), why);
        let source = Source::open(path, None).map_err(|error| failed(error.to_string()))?;
        if source.file().kind == SourceKind::Kivra {
            return Err(failed(
                "Kivra takes 500 000 ids a call: it is asked without a service in front".to_owned(),
            ));
        }
        let front = Front::new(source);
        let register = front.empty(None).map_err(|error| failed(error.to_string()))?;
        let served = ServedRegister::of(name, path, register, FollowRules::default());
        Ok(ServedRegister { front: Some(front), ..served })
    }

    /// A data directory that the service writes to.
    pub(super) fn written_by(
        name: String,
        path: &Path,
        rules: FollowRules,
        written: WrittenRegister,
    ) -> ServedRegister {
        let served = ServedRegister::of(name, path, written.writer().register(), rules);
        ServedRegister { written: Some(Arc::new(written)), ..served }
    }

    /// The writer of its directory, if the service takes changes.
    pub(in crate::service) fn written(&self) -> Option<&Arc<WrittenRegister>> {
        self.written.as_ref()
    }

    /// The live register, if it is one.
    pub(in crate::service) fn front(&self) -> Option<&Front> {
        self.front.as_ref()
    }

    /// Opens the data directory of a part and follows it in a thread.
    pub(super) fn open_part(
        path: &Path,
        kept: &KeptPart,
        threads: &Threads,
    ) -> Result<Arc<ServedRegister>, OpenRegisterError> {
        // A part that is rebuilt is no older than it was.
        let rules = FollowRules::default();
        let (mut served, source) = ServedRegister::open(kept.part.to_string(), path, rules)?;
        served.part = Some(kept.part.clone());
        served.link = Arc::new(OnceLock::from(kept.link.clone()));
        let served = Arc::new(served);
        served.follow_in_thread(source, threads);
        Ok(served)
    }

    /// Notes that a source is followed into its directory. The first call counts.
    pub(super) fn follows(&self, source: &Arc<FollowStatus>) {
        let _ = self.link.set(source.link());
        let _ = self.source.set(Arc::clone(source));
    }

    /// The newest version.
    pub(in crate::service) fn register(&self) -> Arc<Register> {
        self.current.load_full()
    }

    /// What a version decides for a sender, as the request spells it, on a day.
    pub(in crate::service) fn decided(
        &self,
        register: &Arc<Register>,
        sender: Option<&str>,
        date: Date,
    ) -> Result<Arc<DecidedStates>, QuestionError> {
        let key = (sender.map(str::to_owned), date);
        let mut cache = self.decided.lock().unwrap_or_else(PoisonError::into_inner);
        if !std::ptr::eq(cache.version.as_ptr(), Arc::as_ptr(register)) {
            *cache = DecisionCache { version: Arc::downgrade(register), by_question: HashMap::new() };
        }
        if let Some(decided) = cache.by_question.get(&key) {
            return Ok(Arc::clone(decided));
        }
        let decided = Arc::clone(register.question(sender, date)?.decided());
        if cache.by_question.len() >= DECIDED_CACHE_MAX {
            cache.by_question.clear();
        }
        cache.by_question.insert(key, Arc::clone(&decided));
        Ok(decided)
    }

    /// Reads from the log of a data directory; `None` for a register file. Of a replica or part, what was read is returned
    /// only if the files are those of its follower.
    pub(in crate::service) fn read_log<T, E: From<StoreError>>(
        &self,
        read: impl FnOnce(Option<&Arc<Log>>) -> Result<T, E>,
    ) -> Result<T, E> {
        let log = self.path.is_dir().then(|| Arc::clone(self.log.log()));
        let read = read(log.as_ref())?;
        match self.standing()? {
            Standing::Own => Ok(read),
            Standing::Unknown => {
                let why = "the directory is being opened, or made again".to_owned();
                Err(StoreError::Replaced { path: self.path.clone(), why }.into())
            }
        }
    }

    /// Whether the files in the directory are those of its follower, if there is one in this process.
    ///
    /// Errors: another program has replaced, removed or altered one.
    fn standing(&self) -> Result<Standing, StoreError> {
        self.link.get().map_or(Ok(Standing::Own), FollowerLink::check)
    }

    /// What is known of the log.
    pub(super) fn log_state(&self) -> &Arc<ServedLog> {
        &self.log
    }

    /// 500: the log cannot be read. Until it can, the service is not ready.
    pub(in crate::service) fn unreadable_log(&self, error: &dyn std::error::Error) -> Problem {
        let is_new = self.log.note_damage();
        if let (true, Some(link)) = (is_new, self.link.get()) {
            link.suspect();
        }
        Problem::unreadable(error, is_new)
    }

    /// Reads the log again if there may be damage in it.
    pub(super) fn check_log(&self) {
        match self.path.is_dir() {
            true => self.log.check(&self.name, self.register().sequence()),
            false => self.log.forget(),
        }
    }

    /// Waits until the newest version has another sequence number.
    pub(in crate::service) async fn wait_for_change(&self, sequence: u64) {
        // The channel's sender lives as long as this.
        let _ = self.published.subscribe().wait_for(|newest| *newest != sequence).await;
    }

    /// BLAKE3 of the register file of a version. Cost: reads the whole file twice, once per file.
    ///
    /// Errors: the file is not what its checksums say.
    pub(in crate::service) fn digest_of(
        &self,
        register: &Register,
        snapshot: &Snapshot,
    ) -> Result<String, Damage> {
        let mut cached = self.digest.lock().unwrap_or_else(PoisonError::into_inner);
        let file = register.file();
        let same =
            |(of, _): &&(Weak<MappedFile>, String)| of.upgrade().is_some_and(|of| Arc::ptr_eq(&of, file));
        if let Some((_, digest)) = cached.as_ref().filter(same) {
            return Ok(digest.clone());
        }
        let digest = replica::digest_of_whole(register, snapshot)?;
        *cached = Some((Arc::downgrade(file), digest.clone()));
        Ok(digest)
    }

    /// Number of versions in memory.
    pub(in crate::service) fn versions_in_memory(&self) -> usize {
        let mut versions = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
        versions.retain(|version| version.strong_count() > 0);
        versions.len()
    }

    /// Whether it is not older than `max_age`, and not from the future.
    pub(in crate::service) fn is_fresh(&self) -> bool {
        if self.front.is_some() {
            // Each answer has an age of its own.
            return true;
        }
        let age = jiff::Timestamp::now().duration_since(self.register().as_of());
        age >= -CLOCKS_DIFFER && self.rules.max_age.is_none_or(|max| age <= max)
    }

    /// Whether the last attempt to read what is new succeeded, also of its parts.
    pub(in crate::service) fn is_following(&self) -> bool {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).is_none()
            && !self.attempts.is_overdue()
            && self.front.as_ref().is_none_or(Front::is_answered)
            && self.parts.iter().all(|part| {
                // A part that has not been made yet is unknown.
                let is_served = part.served.get().is_some_and(|served| served.is_following());
                is_served && part.is_followed.load(Ordering::Relaxed)
            })
    }

    /// The attempts to read what is new.
    pub(in crate::service) fn attempts(&self) -> &Attempts {
        &self.attempts
    }

    /// The state of the replica, if the service follows a source.
    pub(in crate::service) fn source(&self) -> Option<&FollowStatus> {
        self.source.get().map(|source| &**source)
    }

    /// Whether its source, if it has one, has answered lately.
    pub(in crate::service) fn hears_its_source(&self) -> bool {
        self.source().is_none_or(|source| source.is_followed(self.rules.max_silence()))
    }

    /// Whether requests can be answered, as far as is known, also those for its parts.
    pub(in crate::service) fn is_intact(&self) -> bool {
        let (register, parts) = (self.register(), self.parts.iter());
        register.is_intact()
            && !register.is_damaged()
            && !self.log.is_damaged()
            && parts.filter_map(|part| part.served.get()).all(|served| served.is_intact())
    }

    pub(super) fn publish(&self, register: Arc<Register>) {
        let before = self.current.swap(Arc::clone(&register));
        self.applied.fetch_add(register.sequence().saturating_sub(before.sequence()), Ordering::Relaxed);
        let mut versions = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
        versions.retain(|version| version.strong_count() > 0);
        versions.push(Arc::downgrade(&register));
        self.published.send_replace(register.sequence());
    }

    /// Publishes the newest version if it is another one.
    fn refresh(&self, source: &mut RegisterSource) -> Result<(), OpenRegisterError> {
        if self.standing()? != Standing::Own {
            return Ok(());
        }
        let newest = source.newest(&self.path, &self.register(), self.rules.allow_rollback)?;
        let replaced = source.replaced_file();
        // They may have been replaced meanwhile.
        if self.standing().inspect_err(|_| source.forget())? != Standing::Own {
            source.forget();
            return Ok(());
        }
        if let Some(register) = newest {
            self.publish(Arc::clone(&register));
            if let RegisterSource::File(_) = source {
                self.log_new_file(&register);
            }
        }
        let is_newer = matches!(replaced, Err(OpenRegisterError::Directory(StoreError::Newer { .. })));
        if let (true, false, Some(link)) = (replaced.is_err(), is_newer, self.link.get()) {
            link.suspect();
        }
        if let Some(register) = replaced? {
            self.log_new_file(&register);
            self.publish(register);
        }
        Ok(())
    }

    fn log_new_file(&self, register: &Register) {
        tracing::info!(register = self.name, sequence = register.sequence(), "new register file");
    }

    /// Publishes new versions in a thread.
    pub(super) fn follow_in_thread(self: &Arc<Self>, mut source: RegisterSource, threads: &Threads) {
        let served = Arc::clone(self);
        threads.spawn(move |stop| {
            let this = thread::current();
            let mut watch = FileWatch::new(std::slice::from_ref(&served.path), move || this.unpark());
            let mut suspected = None;
            while !stop.load(Ordering::Relaxed) {
                let attempt = served.attempts.begin();
                watch.renew();
                let failed = served.note(served.refresh(&mut source));
                drop(attempt);
                served.check_log();
                suspected = served.raise_suspicion(suspected);
                let poll = match source {
                    _ if failed => RETRY,
                    RegisterSource::Directory(_) => DIRECTORY_POLL,
                    RegisterSource::File(_) => FILE_POLL,
                };
                thread::park_timeout(watch.interval(poll).unwrap_or(FALLBACK));
            }
        });
    }

    /// Has the follower of a replica or part verify its register file if damage was found in it, once per file. `last`: the
    /// file that was damaged at the last call.
    fn raise_suspicion(&self, last: Option<Weak<MappedFile>>) -> Option<Weak<MappedFile>> {
        let register = self.register();
        if register.is_intact() && !register.is_damaged() {
            return None;
        }
        let same = |last: Arc<MappedFile>| Arc::ptr_eq(&last, register.file());
        if !last.and_then(|last| last.upgrade()).is_some_and(same)
            && let Some(link) = self.link.get()
        {
            link.suspect();
        }
        Some(Arc::downgrade(register.file()))
    }

    /// Notes and logs how an attempt to read what is new ended. Returns whether it failed.
    pub(super) fn note(&self, refreshed: Result<(), OpenRegisterError>) -> bool {
        // What is served is the newest that there is: nothing is lost yet.
        let is_spare = matches!(refreshed, Err(OpenRegisterError::Directory(StoreError::Newer { .. })));
        let now = refreshed.err().map(|error| error.to_string());
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        match (&*failure, &now) {
            (before, Some(error)) if before.as_ref() != Some(error) => match is_spare {
                true => tracing::warn!(register = self.name, error, "a register file is not used"),
                false => tracing::error!(register = self.name, error, "cannot read what is new; retrying"),
            },
            (Some(_), None) => tracing::info!(register = self.name, "what is new can be read again"),
            _ => {}
        }
        *failure = now;
        failure.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is new in the whole register cannot be written, such as to a full disk.
    #[test]
    fn a_part_whose_attempts_fail_is_not_followed() {
        let kept = KeptPart::new(Part::Operator("164921000016".to_owned()));
        let is_followed = |event: Event| {
            kept.note(&event);
            kept.is_followed.load(Ordering::Relaxed)
        };
        assert!(is_followed(Event::Open(1000)) && is_followed(Event::AttemptFailed), "it may pass");
        assert!(!is_followed(Event::AttemptFailed) && !is_followed(Event::Open(1000)));
        assert!(is_followed(Event::Progress(1001, 1001)) && is_followed(Event::AttemptFailed));
        assert!(!is_followed(Event::Damaged(String::new())));
    }
}
