//! The loop of a replica: download the register file, then apply changes.

use super::backoff::Backoff;
use super::directory::{self, Directory};
use super::link::LinkedWriter;
use super::{Event, Follow, FollowError, FollowerLink, Source, bounds};
use crate::limits::REPLICA_CHANGES_MAX;
use crate::store::{self, Lines, OpenFiles, StoreError, Writer};
use std::path::Path;
use std::time::Duration;

/// How long the source is asked to wait for changes.
pub(super) const WAIT: Duration = Duration::from_secs(25);
/// Offers of a refused register file that are passed over before it is downloaded again: it may have been damaged on the
/// way or here, or be from the future by a clock that is right by then. After the first minutes, 120 are half an hour to
/// an hour.
const REFUSED_OFFERS: u32 = 120;

/// Follows a source until an error that does not pass, or with `once` until the replica is up to date.
pub(crate) fn run(
    follow: &Follow,
    source: &dyn Source,
    report: &mut dyn FnMut(Event),
) -> Result<(), FollowError> {
    let directory = Directory::new(&follow.directory)?;
    let _alone = directory.lock()?;
    directory.recover()?;
    let mut state = FollowState {
        follow,
        source,
        directory,
        of: String::new(),
        offered: None,
        without_changes: None,
        refused: None,
        backoff: Backoff::default(),
        damages: None,
        files: None,
        alarm_reported: false,
        bad_file_reported: false,
        lost: false,
        in_contact: false,
        report,
    };
    let mut writer = state.open_whole()?;
    // Sequence number of the last new start, until changes arrive; whether the replica has diverged since it agreed.
    let (mut started_at, mut suspect) = (None, false);
    loop {
        let from = writer.register().sequence();
        if let Err(error) = writer.check_files()
            && error.is_damage()
        {
            state.close(writer);
            writer = state.start_over_damaged(error.into(), from)?;
            started_at = Some(writer.register().sequence());
            continue;
        }
        if source.link().is_some_and(FollowerLink::take_suspicion) {
            writer = state.verify(writer)?;
            continue;
        }
        let error = match state.step(&writer) {
            Ok(progress) => {
                suspect &= !progress.agrees;
                state.damages = None;
                (state.report)(Event::Progress(progress.to, progress.latest));
                if follow.once && progress.to == progress.latest {
                    return Ok(());
                }
                continue;
            }
            Err(error) => error,
        };
        let diverged = matches!(error, FollowError::Diverged(_));
        match error {
            error if error.damage().is_some() => {
                state.close(writer);
                writer = state.start_over_damaged(error, from)?;
                started_at = Some(writer.register().sequence());
            }
            // The source's register file is older than its oldest change: a checkpoint is about to replace the file.
            FollowError::Gone if started_at == Some(from) => {
                started_at = None;
                state.without_changes = state.offered.take();
                state.wait(FollowError::Unreachable(error.to_string()))?;
            }
            FollowError::Diverged(_) if suspect => return Err(error),
            FollowError::Gone | FollowError::Diverged(_) => {
                (state.report)(match error {
                    FollowError::Diverged(why) => Event::Diverged(why),
                    _ => Event::Behind,
                });
                suspect |= diverged;
                // Readers have seen the changes up to here and must not go back, also if the replica has diverged.
                let here = writer.register().sequence();
                state.release(writer);
                let replaced = state.replace_replica(here);
                writer = state.opened_after(replaced, here)?;
                started_at = Some(writer.register().sequence());
            }
            // After a failed write the writer refuses further ones. Meanwhile what it has written can be read.
            error if error.is_full() => {
                state.wait(error)?;
                state.release(writer);
                writer = state.opened_after(Ok(()), from)?;
            }
            error => state.wait(error)?,
        }
    }
}

fn displaced() -> FollowError {
    FollowError::Damaged("another program has replaced, removed or altered its files".to_owned())
}

/// Position of a replica after a step.
struct Progress {
    to: u64,
    latest: u64,
    /// Whether the source sent its content digest and the replica's is equal.
    agrees: bool,
}

/// A register file that has been downloaded and refused, and is not downloaded again at once.
struct RefusedFile {
    digest: String,
    why: String,
    /// Offers of it since.
    offers: u32,
}

struct FollowState<'f> {
    follow: &'f Follow,
    source: &'f dyn Source,
    directory: Directory,
    /// Name of the replica's register, as the source gives it.
    of: String,
    /// Digest of the register file of the last start.
    offered: Option<String>,
    /// Digest of a register file whose next changes are gone.
    without_changes: Option<String>,
    refused: Option<RefusedFile>,
    backoff: Backoff,
    /// The pauses between new starts because of damage, since the last progress.
    damages: Option<Backoff>,
    /// The files of the replica when it was open last.
    files: Option<OpenFiles>,
    /// Whether an untrusted response was reported since the last success.
    alarm_reported: bool,
    /// Whether a refused register file was reported since the last success.
    bad_file_reported: bool,
    /// Whether the source was reported as lost, and is not back yet.
    lost: bool,
    /// Whether the last attempt succeeded.
    in_contact: bool,
    report: &'f mut dyn FnMut(Event),
}

impl FollowState<'_> {
    /// Applies the next batch of changes, and makes a checkpoint if the log is long.
    fn step(&mut self, writer: &Writer) -> Result<Progress, FollowError> {
        let here = writer.register().sequence();
        // The first response, also after failures, shows at once that the source is there.
        let wait = if self.follow.once || !self.in_contact { Duration::ZERO } else { WAIT };
        let batch = self.source.changes(&writer.register(), REPLICA_CHANGES_MAX, wait)?;
        if batch.register != self.of {
            return Err(FollowError::OtherRegister { found: batch.register });
        }
        if batch.latest < here {
            return Err(FollowError::RolledBack { here });
        }
        if let Some(now) = self.source.now() {
            bounds::check_batch(&batch, here, now)?;
        }
        if batch.changes.is_empty() && batch.latest > here {
            // Waits: asking again at once would never end.
            let latest = batch.latest;
            let why = format!("it is at sequence {latest}, but sends no changes after {here}");
            return Err(FollowError::Unreachable(why));
        }
        if !batch.changes.is_empty() {
            if !writer.directory().is_dir() {
                return Err(FollowError::Removed(writer.directory().to_owned()));
            }
            writer.apply(Lines::of(batch.changes), None)?;
        }
        let register = writer.register();
        if register.sequence() != batch.to {
            let (said, found) = (batch.to, register.sequence());
            let why = format!("the changes end at sequence {found}, and the source states {said}");
            return Err(FollowError::Diverged(why));
        }
        let agrees = match batch.content {
            None => false,
            Some(content) => {
                let found = register.content();
                found.map_err(|damage| FollowError::Damaged(damage.to_string()))?.to_string() == content
                    || return Err(FollowError::Diverged("the content digests differ".to_owned()))
            }
        };
        self.backoff.reset();
        (self.alarm_reported, self.bad_file_reported, self.in_contact) = (false, false, true);
        if std::mem::take(&mut self.lost) {
            (self.report)(Event::Reconnected);
        }
        if writer.log_bytes() > self.follow.checkpoint_at {
            writer.checkpoint(false)?;
        }
        Ok(Progress { to: batch.to, latest: batch.latest, agrees })
    }

    /// Opens the replica, and creates it if it does not exist.
    ///
    /// Errors: also if it is not the one that was open before.
    fn open(&mut self) -> Result<LinkedWriter, FollowError> {
        let path = self.directory.path.clone();
        match store::is_data_directory(&path) {
            true => drop(self.directory.register(&path)?),
            false if self.files.is_some() => return Err(displaced()),
            false => self.begin(&path, 0)?,
        }
        let opened = self.open_when_possible(&path);
        let writer = match &self.files {
            // It was open before, and must be the same.
            Some(files) => {
                let is_missing =
                    |error: &FollowError| matches!(error, FollowError::Store(StoreError::NotOne(_)));
                let opened = opened.map_err(|error| if is_missing(&error) { displaced() } else { error })?;
                files.check_all()?;
                opened
            }
            None => opened?,
        };
        let writer = LinkedWriter::new(writer, self.source.link());
        self.files = None;
        (self.report)(Event::Open(writer.register().sequence()));
        Ok(writer)
    }

    /// Closes the replica, which is the follower's own. It is compared when it is opened again.
    fn release(&mut self, writer: LinkedWriter) {
        self.files = Some(writer.open_files());
    }

    /// Opens the replica, which was at `here`, after a step. If it, or what has taken its place, is damaged, it starts over.
    fn opened_after(
        &mut self,
        step: Result<(), FollowError>,
        here: u64,
    ) -> Result<LinkedWriter, FollowError> {
        match step.and_then(|()| self.open()) {
            Err(error) if error.damage().is_some() => self.start_over_damaged(error, here),
            opened => opened,
        }
    }

    /// As [`open`](Self::open). If the replica is damaged, it starts over.
    fn open_whole(&mut self) -> Result<LinkedWriter, FollowError> {
        match self.open() {
            Err(error) if error.damage().is_some() => {
                let sequence_min = store::sequence_of_names(&self.directory.path)?;
                self.start_over_damaged(error, sequence_min)
            }
            opened => opened,
        }
    }

    /// Closes the writer of a directory in which there may be the work of another program.
    fn close(&self, writer: LinkedWriter) {
        self.keep_readers_out();
        drop(writer);
    }

    /// Until the replica is open, nothing in its directory is read.
    fn keep_readers_out(&self) {
        if let Some(link) = self.source.link() {
            link.replacing();
        }
    }

    /// Verifies the replica's register file, and opens the replica again. If it is damaged, or another file has taken its
    /// place meanwhile, the replica starts over.
    fn verify(&mut self, writer: LinkedWriter) -> Result<LinkedWriter, FollowError> {
        let here = writer.register().sequence();
        self.files = Some(writer.open_files());
        self.close(writer);
        let verified = match store::verify_newest(&self.directory.path) {
            Err(error @ StoreError::NotOne(_)) => Err(FollowError::Damaged(error.to_string())),
            verified => verified.map_err(FollowError::from),
        };
        self.opened_after(verified, here)
    }

    /// Replaces the replica, whose writer at `here` is closed, because it is damaged, until it can be opened. If it was without
    /// progress since the last time, its disk or another program may damage it again and again.
    ///
    /// Errors: with `once` also that.
    fn start_over_damaged(&mut self, error: FollowError, here: u64) -> Result<LinkedWriter, FollowError> {
        let mut error = error;
        loop {
            match &mut self.damages {
                Some(_) if self.follow.once => return Err(error),
                Some(pauses) => self.source.pause(pauses.next()),
                none => *none = Some(Backoff::default()),
            }
            self.keep_readers_out();
            self.of = self.directory.register(&self.directory.path)?;
            (self.report)(Event::Damaged(error.damage().unwrap_or_else(|| error.to_string())));
            // The next response shows at once that the replica is there again.
            self.in_contact = false;
            match self.replace_replica(here).and_then(|()| self.open()) {
                Err(found) if found.damage().is_some() => error = found,
                opened => return opened,
            }
        }
    }

    /// Opens a data directory; waits while the disk is full.
    fn open_when_possible(&mut self, path: &Path) -> Result<Writer, FollowError> {
        loop {
            match self.source.open(path).map_err(FollowError::from) {
                Err(error) if error.is_full() => self.wait(error)?,
                opened => {
                    self.of = self.directory.register(path)?;
                    return opened;
                }
            }
        }
    }

    /// Creates a data directory from the source's register file, once the source is at `sequence_min` or later.
    fn begin(&mut self, path: &Path, sequence_min: u64) -> Result<(), FollowError> {
        let (mut altered, mut replaced) = (false, 0);
        loop {
            let made = self.source.offer().and_then(|offer| {
                if offer.latest < sequence_min {
                    // A proxy may have answered from its cache.
                    let why = "the register on offer is older than the replica";
                    return Err(FollowError::Unreachable(why.to_owned()));
                }
                if self.without_changes.as_ref() == Some(&offer.digest) {
                    let why = "the changes after the register file are gone, and there is no newer file yet";
                    return Err(FollowError::Unreachable(why.to_owned()));
                }
                if self.source.now().is_some() {
                    bounds::check_offer(&offer, (sequence_min > 0).then_some(sequence_min))?;
                }
                if !self.of.is_empty() && self.of != offer.register {
                    return Err(FollowError::OtherRegister { found: offer.register });
                }
                self.pass_over_refused(&offer.digest)?;
                self.offered = Some(offer.digest.clone());
                let made = self.directory.create(path, self.source, &offer, self.report);
                if let Err(FollowError::BadFile(why)) = &made {
                    self.refused = Some(RefusedFile { digest: offer.digest, why: why.clone(), offers: 0 });
                }
                made
            });
            match made {
                Ok(true) => return Ok(()),
                // The file was replaced meanwhile: try the new one.
                Ok(false) if replaced < 2 => replaced += 1,
                Ok(false) => {
                    let why = "it does not send the register file that it offers";
                    self.wait(FollowError::Unreachable(why.to_owned()))?;
                }
                // The partial download may have been damaged: try at once from the beginning.
                Err(FollowError::Altered) if !std::mem::replace(&mut altered, true) => {}
                Err(error) => self.wait(error)?,
            }
        }
    }

    /// Errors: the register file was refused, and is not to be downloaded again yet.
    fn pass_over_refused(&mut self, digest: &str) -> Result<(), FollowError> {
        match &mut self.refused {
            Some(refused) if refused.digest == digest && refused.offers < REFUSED_OFFERS => {
                refused.offers += 1;
                Err(FollowError::BadFile(refused.why.clone()))
            }
            _ => Ok(()),
        }
    }

    /// Creates another directory from the source's register file, and replaces this one when the new one is at
    /// `sequence_min` or later, so that no reader goes back in time.
    fn replace_replica(&mut self, sequence_min: u64) -> Result<(), FollowError> {
        let next = self.directory.next();
        'again: loop {
            directory::remove(&next)?;
            self.begin(&next, sequence_min)?;
            let mut writer = self.open_when_possible(&next)?;
            while writer.register().sequence() < sequence_min {
                match self.step(&writer) {
                    Ok(_) => {}
                    Err(error @ FollowError::Gone) => {
                        self.wait(FollowError::Unreachable(error.to_string()))?;
                        continue 'again;
                    }
                    // As in `run`.
                    Err(error) if error.is_full() => {
                        let files = writer.open_files();
                        drop(writer);
                        self.wait(error)?;
                        writer = self.open_when_possible(&next)?;
                        files.check_all()?;
                    }
                    Err(error) => self.wait(error)?,
                }
            }
            let files = writer.open_files().moved_to(&self.directory.path);
            drop(writer);
            match self.source.link() {
                Some(link) => link.exchange(&files, || self.directory.exchange())?,
                None => self.directory.exchange()?,
            }
            self.files = Some(files);
            return Ok(());
        }
    }

    /// Waits before the next attempt.
    ///
    /// Errors: `error`, if it does not pass or with `once` lasts too long.
    fn wait(&mut self, error: FollowError) -> Result<(), FollowError> {
        let (untrusted, bad_file) = (matches!(error, FollowError::Untrusted(_)), error.is_bad_file());
        let give_up = self.follow.once && (untrusted || bad_file || self.backoff.is_over());
        if !error.passes() || give_up {
            return Err(error);
        }
        if untrusted && !std::mem::replace(&mut self.alarm_reported, true) {
            (self.report)(Event::Untrusted(error.to_string()));
            self.lost = true;
        } else if bad_file && !std::mem::replace(&mut self.bad_file_reported, true) {
            (self.report)(Event::BadFile(error.to_string()));
            self.lost = true;
        } else if !bad_file && self.backoff.is_first() {
            (self.report)(Event::Waiting(error.to_string()));
            self.lost = true;
        }
        self.in_contact = false;
        (self.report)(Event::AttemptFailed);
        self.source.pause(self.backoff.next());
        Ok(())
    }
}
