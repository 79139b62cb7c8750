//! The loop of a feed: fetch a page, commit it, and so on; or load all persons again beside the directory.

use super::page::FeedError;
use super::{FeedSource, FeedTerms};
use crate::changes::{Change, ChangeBody};
use crate::register::{Kind, moment};
use crate::replica::backoff::Backoff;
use crate::replica::directory::{self, Directory};
use crate::replica::{Event, Follow, FollowError};
use crate::snapshot::krr::KrrDraft;
use crate::source::answer::CallError;
use crate::source::config::time;
use crate::store::{self, ApplyError, InitError, Lines, Reader, StoreError, Writer};
use crate::{files, files::Folder};
use jiff::{SignedDuration, Timestamp};
use std::io::{self, Cursor, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Calls in succession that must say that a number is gone, before all persons are loaded again for it.
const GONE_ATTEMPTS: u32 = 3;
/// With `once`: attempts at a page that does not fit.
const BAD_ANSWERS_MAX: u32 = 5;
/// Length of the log of a full load, at most, in register files. (The log has the certificate of each person, the file has
/// each once.)
const LOG_PER_FILE: u64 = 4;
/// Bytes of memory of the persons in the log of a full load that are always allowed.
const LOAD_MEMORY_BYTES: u64 = 128 << 20;
/// Full loads in succession whose own numbers may be gone.
const LOADS_MAX: u32 = 3;

/// Follows a feed until an error that does not pass, or with `once` until there is nothing more.
pub(super) fn run(
    follow: &Follow,
    terms: &FeedTerms<'_>,
    source: &dyn FeedSource,
    report: &mut dyn FnMut(Event),
) -> Result<(), FollowError> {
    let directory = Directory::new(&follow.directory)?;
    let _alone = directory.lock()?;
    directory.complete_exchange()?;
    let mut state = FeedState {
        follow,
        terms,
        source,
        directory,
        backoff: Backoff::default(),
        bad_answers: 0,
        gone: 0,
        damages: None,
        token_refused: false,
        failing_since: None,
        lost: false,
        alarm_reported: false,
        last_fetch: source.now(),
        alarmed_at: None,
        report,
    };
    state.claim()?;
    state.drop_empty_load()?;
    // The number at the end of the last full load.
    let mut loaded_at = None;
    loop {
        match state.load_and_follow(&mut loaded_at) {
            Err(error) => match error.damage() {
                // With `once` a second time without progress is an error.
                Some(why) if !(follow.once && state.damages.is_some()) => {
                    match &mut state.damages {
                        Some(pauses) => source.pause(pauses.next()),
                        none => *none = Some(Backoff::default()),
                    }
                    (state.report)(Event::Damaged(why));
                    state.begin()?;
                }
                _ => return Err(error),
            },
            Ok(Ended::Level) => return Ok(()),
            // An empty directory, and more than a page to come: readers would see half of the register.
            Ok(Ended::Gone(0)) => state.begin()?,
            Ok(Ended::Gone(at)) if loaded_at == Some(at) => {
                let text = "the register does not know the number at which its own full load ended";
                return Err(FollowError::FeedRefused(text.to_owned()));
            }
            Ok(Ended::Gone(_)) => {
                (state.report)(Event::Behind);
                state.begin()?;
            }
        }
    }
}

/// Why following ended without an error.
enum Ended {
    /// There was nothing more, and that is enough.
    Level,
    /// The changes after this number are gone.
    Gone(u64),
}

/// An attempt that failed, and the time that the register wants to be left alone.
struct Failed(FollowError, Option<Duration>);

impl<E: Into<FollowError>> From<E> for Failed {
    fn from(error: E) -> Failed {
        Failed(error.into(), None)
    }
}

/// Position after a page.
struct Position {
    to: u64,
    latest: u64,
}

struct FeedState<'f> {
    follow: &'f Follow,
    terms: &'f FeedTerms<'f>,
    source: &'f dyn FeedSource,
    directory: Directory,
    backoff: Backoff,
    /// Pages in succession that did not fit.
    bad_answers: u32,
    /// Calls in succession that said that the number is gone.
    gone: u32,
    /// The pauses between loads because of damage, since the last progress.
    damages: Option<Backoff>,
    token_refused: bool,
    failing_since: Option<Timestamp>,
    /// Whether the source was reported as lost, and is not back yet.
    lost: bool,
    /// Whether a page that does not fit was reported since the last success.
    alarm_reported: bool,
    /// Time of the last page.
    last_fetch: Timestamp,
    /// When the alarm of silence was last reported.
    alarmed_at: Option<Timestamp>,
    report: &'f mut dyn FnMut(Event),
}

impl FeedState<'_> {
    /// Checks that the directory may follow this feed, and marks it. It may be absent or empty, or hold a KRR register
    /// of an export of the same register, whose sequence number is the register's change number.
    fn claim(&self) -> Result<(), FollowError> {
        let path = &self.directory.path;
        let other = |why: String| FollowError::NotOfFeed { directory: path.clone(), why };
        if !path.exists() {
            return Ok(());
        }
        let names = Folder::open(path).and_then(|folder| folder.names()).map_err(io_error(path))?;
        if !store::is_data_directory(path) {
            // Without its register file, it is loaded again.
            let is_own = store::feed_of(path).map_err(io_error(path))?.as_deref() == Some(self.terms.address);
            return match names.is_empty() || is_own {
                true => Ok(()),
                false => Err(InitError::Occupied(path.display().to_string()).into()),
            };
        }
        if let Some(of) = store::feed_of(path).map_err(io_error(path))? {
            return match of == self.terms.address {
                true => Ok(()),
                false => Err(other(format!("follows the feed of {of}"))),
            };
        }
        if store::replica_of(path).map_err(io_error(path))?.is_some() {
            return Err(other("is a replica of a service".to_owned()));
        }
        // They would be lost with a full load.
        let is_known =
            |name: &std::ffi::OsString| name.to_str().is_some_and(store::is_file_of_data_directory);
        if !names.iter().all(is_known) {
            return Err(other("has files that nabar has not made".to_owned()));
        }
        if self.source.open(path)?.kind() != Kind::Krr {
            return Err(other("has a register of FaR".to_owned()));
        }
        self.mark(path, path)
    }

    /// Writes into a directory whose feed it follows, with the permissions of another one's files.
    fn mark(&self, directory: &Path, like: &Path) -> Result<(), FollowError> {
        let mark = directory.join(store::FEED_OF);
        let written = store::create_directory_like(directory, like).and_then(|mode| {
            files::replace_with_mode(&mark, mode, |file| writeln!(file, "{}", self.terms.address))
        });
        written.map(drop).map_err(io_error(&mark))
    }

    /// Removes a full load that is damaged or of which no page has come: whether numbers are gone is to be asked again.
    fn drop_empty_load(&self) -> Result<(), FollowError> {
        let next = self.directory.next();
        let are_both = [&self.directory.path, &next].into_iter().all(store::is_data_directory);
        if !are_both {
            return Ok(());
        }
        match Reader::open(&next) {
            Ok(reader) if reader.register().sequence() > 0 => Ok(()),
            Err(error) if !error.is_damage() => Err(error.into()),
            _ => directory::remove(&next),
        }
    }

    /// Loads all persons if that is necessary, and follows. `loaded_at`: the number at the end of the load.
    fn load_and_follow(&mut self, loaded_at: &mut Option<u64>) -> Result<Ended, FollowError> {
        if self.is_loading()? {
            *loaded_at = Some(self.load()?);
        }
        self.follow()
    }

    /// Whether all persons have to be loaded. A load that was interrupted goes on.
    fn is_loading(&mut self) -> Result<bool, FollowError> {
        let next = self.directory.next();
        let is_begun = store::is_data_directory(&next)
            && store::feed_of(&next).map_err(io_error(&next))?.as_deref() == Some(self.terms.address);
        match is_begun {
            true => Ok(true),
            false if store::is_data_directory(&self.directory.path) => {
                directory::remove(&next)?;
                Ok(false)
            }
            false => self.begin().map(|()| true),
        }
    }

    /// Creates an empty register beside the directory, in place of one that may be there; waits while the disk is full.
    fn begin(&mut self) -> Result<(), FollowError> {
        loop {
            match self.create_empty() {
                Err(error) if error.is_full() => self.wait(error, None)?,
                created => return created,
            }
        }
    }

    fn create_empty(&self) -> Result<(), FollowError> {
        let next = self.directory.next();
        directory::remove(&next)?;
        self.mark(&next, &self.directory.path)?;
        let mut register = Cursor::new(Vec::new());
        let draft = KrrDraft::default().finish(0, self.source.now());
        draft.write_to(&mut register).map_err(io_error(&next))?;
        Ok(store::init_from_bytes(register.get_ref(), &next, &next)?)
    }

    /// Loads all persons beside the directory, which is then replaced: readers see the old register until the new one is
    /// complete. Returns its number.
    fn load(&mut self) -> Result<u64, FollowError> {
        let next = self.directory.next();
        let (mut writer, mut file_bytes, mut restarts) = (self.open(&next)?, 0, 0);
        loop {
            match self.step(&writer, true) {
                Ok(Position { to, latest }) => {
                    (self.report)(Event::Loading(to, latest));
                    if to == latest || self.is_long(&writer, file_bytes) {
                        match writer.checkpoint(false) {
                            Ok(done) => file_bytes = done.file_bytes,
                            Err(error) => writer = self.reopen(writer, error.into(), &next)?,
                        }
                    }
                    if to == latest && writer.log_bytes() == 0 {
                        drop(writer);
                        self.directory.exchange()?;
                        return Ok(to);
                    }
                }
                Err(Failed(FollowError::Gone, _)) => {
                    restarts += 1;
                    if restarts == LOADS_MAX {
                        let text = "the register does not know the numbers of its own full load";
                        return Err(FollowError::FeedRefused(text.to_owned()));
                    }
                    (self.report)(Event::Behind);
                    drop(writer);
                    self.begin()?;
                    (writer, file_bytes) = (self.open(&next)?, 0);
                }
                Err(Failed(error, _)) if error.is_full() => writer = self.reopen(writer, error, &next)?,
                Err(Failed(error, after)) => self.wait(error, after)?,
            }
        }
    }

    /// Whether the log of a full load is folded into the register file. Each time the whole file is written: since the log
    /// may be longer the larger the file is, all of them together write a few times the final file.
    fn is_long(&self, writer: &Writer, file_bytes: u64) -> bool {
        let (_, memory) = writer.register().changed();
        writer.log_bytes() > LOG_PER_FILE * file_bytes.max(self.terms.load_log_bytes)
            || memory as u64 > file_bytes.max(LOAD_MEMORY_BYTES)
    }

    /// Follows into the directory.
    fn follow(&mut self) -> Result<Ended, FollowError> {
        let path = self.directory.path.clone();
        let mut writer = self.open(&path)?;
        let register = writer.register();
        (self.report)(Event::Open(register.sequence()));
        // Also of an earlier process: the time of the last page is that of the register.
        self.last_fetch = self.last_fetch.min(register.as_of());
        drop(register);
        loop {
            writer.check_files()?;
            match self.step(&writer, false) {
                Ok(Position { to, latest }) => {
                    (self.report)(Event::Progress(to, latest));
                    if writer.log_bytes() > self.follow.checkpoint_at
                        && let Err(error) = writer.checkpoint(false)
                    {
                        writer = self.reopen(writer, error.into(), &path)?;
                    }
                    if to == latest {
                        if self.follow.once {
                            return Ok(Ended::Level);
                        }
                        self.source.pause(time(self.terms.times.interval));
                    }
                }
                Err(Failed(FollowError::Gone, _)) => return Ok(Ended::Gone(writer.register().sequence())),
                Err(Failed(error, _)) if error.is_full() => writer = self.reopen(writer, error, &path)?,
                Err(Failed(error, after)) => self.wait(error, after)?,
            }
        }
    }

    /// Fetches the next page, and commits it.
    fn step(&mut self, writer: &Writer, loading: bool) -> Result<Position, Failed> {
        let from = writer.register().sequence();
        let page = match self.source.page(from) {
            Ok(page) => page,
            Err(error) => return Err(self.failed(error)),
        };
        let (to, latest) = (page.to, page.latest);
        if from == 0 && to < latest && !loading {
            return Err(FollowError::Gone.into());
        }
        if to > from {
            if !writer.directory().is_dir() {
                return Err(FollowError::Removed(writer.directory().to_owned()).into());
            }
            let time = moment::nanoseconds(self.source.now()).unwrap_or_default();
            // In the order of the feed: of several entries of a person, the last one counts.
            let what = ChangeBody::PutPersons { previous: from, persons: page.persons };
            let applied = writer.apply(Lines::of([Change { sequence: to, time, what }]), None);
            applied.map_err(|error| match error {
                ApplyError::Store(error) => FollowError::Store(error),
                error => FollowError::Untrusted(format!("the page cannot be stored: {error}")),
            })?;
        }
        self.succeeded();
        if !loading {
            self.damages = None;
        }
        Ok(Position { to, latest })
    }

    fn succeeded(&mut self) {
        self.backoff.reset();
        (self.bad_answers, self.gone, self.token_refused) = (0, 0, false);
        (self.failing_since, self.alarm_reported, self.alarmed_at) = (None, false, None);
        self.last_fetch = self.source.now();
        if std::mem::take(&mut self.lost) {
            (self.report)(Event::Reconnected);
        }
    }

    /// What follows from a failed call.
    fn failed(&mut self, error: FeedError) -> Failed {
        let refused_before = std::mem::take(&mut self.token_refused);
        let gone_before = std::mem::take(&mut self.gone);
        match error {
            FeedError::Gone(_) if gone_before + 1 == GONE_ATTEMPTS => FollowError::Gone.into(),
            FeedError::Gone(why) => {
                self.gone = gone_before + 1;
                FollowError::Unreachable(format!("the changes are gone: {why}")).into()
            }
            FeedError::Call(CallError::Again { why, after }) => Failed(FollowError::Unreachable(why), after),
            FeedError::Call(CallError::BadAnswer(why)) => {
                self.bad_answers += 1;
                FollowError::Untrusted(why).into()
            }
            FeedError::Call(CallError::TokenRefused(why)) if !refused_before => {
                self.token_refused = true;
                FollowError::Unreachable(why).into()
            }
            FeedError::Call(
                CallError::TokenRefused(why) | CallError::SenderRefused(why) | CallError::Stop(why),
            ) => FollowError::FeedRefused(why).into(),
            FeedError::Call(CallError::BadIds | CallError::TooMany) => {
                FollowError::FeedRefused("the register does not take the request".to_owned()).into()
            }
        }
    }

    /// Opens a directory; waits while the disk is full.
    fn open(&mut self, path: &Path) -> Result<Writer, FollowError> {
        loop {
            match self.source.open(path).map_err(FollowError::from) {
                Err(error) if error.is_full() => self.wait(error, None)?,
                opened => return opened,
            }
        }
    }

    /// Opens a directory again after a failed write, after which the writer refuses further ones.
    ///
    /// Errors: also if another program has replaced or altered its files meanwhile, which is damage.
    fn reopen(&mut self, writer: Writer, error: FollowError, path: &Path) -> Result<Writer, FollowError> {
        let files = writer.open_files();
        drop(writer);
        self.wait(error, None)?;
        let opened = match self.open(path) {
            Err(FollowError::Store(error @ StoreError::NotOne(_))) => {
                Err(FollowError::Damaged(error.to_string()))
            }
            opened => opened,
        }?;
        files.check_all()?;
        Ok(opened)
    }

    /// Waits before the next attempt, at least for the time that the register wants to be left alone.
    ///
    /// Errors: `error`, if it does not pass or with `once` lasts too long.
    fn wait(&mut self, error: FollowError, after: Option<Duration>) -> Result<(), FollowError> {
        let now = self.source.now();
        let untrusted = matches!(error, FollowError::Untrusted(_));
        let failing = now.duration_since(*self.failing_since.get_or_insert(now));
        let is_over = is_longer(failing, self.terms.give_up_after) || self.bad_answers >= BAD_ANSWERS_MAX;
        if !error.passes() || self.follow.once && is_over {
            return Err(error);
        }
        if untrusted && !std::mem::replace(&mut self.alarm_reported, true) {
            (self.report)(Event::Untrusted(error.to_string()));
            self.lost = true;
        } else if self.backoff.is_first() {
            (self.report)(Event::Waiting(error.to_string()));
            self.lost = true;
        }
        (self.report)(Event::AttemptFailed);
        self.check_silence(now);
        self.source.pause(self.backoff.next().max(after.unwrap_or_default()));
        Ok(())
    }

    /// Reports that nothing was fetched for too long: once, and again each time that as much has passed.
    fn check_silence(&mut self, now: Timestamp) {
        let max = time(self.terms.times.max_silence);
        if is_longer(now.duration_since(self.alarmed_at.unwrap_or(self.last_fetch)), max) {
            self.alarmed_at = Some(now);
            (self.report)(Event::Silent(self.last_fetch));
        }
    }
}

fn is_longer(passed: SignedDuration, max: Duration) -> bool {
    Duration::try_from(passed).is_ok_and(|passed| passed > max)
}

fn io_error(path: &Path) -> impl Fn(io::Error) -> FollowError + use<> {
    let path: PathBuf = path.to_owned();
    move |error| FollowError::Io { path: path.clone(), error }
}
