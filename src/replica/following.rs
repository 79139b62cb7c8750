//! What a replica does, one thing after the other, whatever it follows.

use super::backoff::Backoff;
use super::directory::{self, Directory};
use super::{Event, Follow, FollowError, Source};
use crate::store::{self, Lines, Writer};
use std::path::Path;
use std::time::Duration;

/// For how long the source is asked to wait for changes.
pub(super) const WAIT: Duration = Duration::from_secs(25);
/// Changes of one batch, at most.
const BATCH: usize = 100_000;

/// Follows a source until that cannot go on.
pub(crate) fn run(
    follow: &Follow,
    source: &dyn Source,
    tell: &mut dyn FnMut(Event),
) -> Result<(), FollowError> {
    let directory = Directory::new(&follow.directory)?;
    let _alone = directory.lock()?;
    directory.recover()?;
    let mut following = Following {
        follow,
        source,
        directory,
        of: String::new(),
        offered: None,
        useless: None,
        backoff: Backoff::default(),
        alarmed: false,
        tell,
    };
    let mut writer = following.open()?;
    // Where it has begun anew, until something has come since; whether that was because it had diverged.
    let (mut began, mut suspect) = (None, false);
    loop {
        let from = writer.register().sequence();
        let error = match following.step(&writer) {
            Ok(at) => {
                suspect &= !at.agrees;
                (following.tell)(Event::At(at.to, at.latest));
                if follow.once && at.to == at.latest {
                    return Ok(());
                }
                continue;
            }
            Err(error) => error,
        };
        let diverged = matches!(error, FollowError::Diverged(_));
        match error {
            // Its register file is older than its changes: it is about to make another one.
            FollowError::Gone if began == Some(from) => {
                began = None;
                following.useless = following.offered.take();
                following.wait(FollowError::Away(error.to_string()))?;
            }
            FollowError::Diverged(_) if suspect => return Err(error),
            FollowError::Gone | FollowError::Diverged(_) => {
                (following.tell)(match error {
                    FollowError::Diverged(why) => Event::Diverged(why),
                    _ => Event::Behind,
                });
                suspect |= diverged;
                // Readers have seen what was taken in before it turned out to be something else.
                let least = writer.register().sequence();
                drop(writer);
                following.begin_anew(least)?;
                writer = following.open()?;
                began = Some(writer.register().sequence());
            }
            // What has failed may have left the writer so that it writes no more.
            error if error.is_full() => {
                drop(writer);
                following.wait(error)?;
                writer = following.open()?;
            }
            error => following.wait(error)?,
        }
    }
}

/// How far a replica has come.
struct At {
    to: u64,
    latest: u64,
    /// Whether the source has told its content digest, and it is the replica's too.
    agrees: bool,
}

struct Following<'f> {
    follow: &'f Follow,
    source: &'f dyn Source,
    directory: Directory,
    /// The register that it is a replica of, as the source calls it.
    of: String,
    /// Digest of the register file that it began with last.
    offered: Option<String>,
    /// Digest of one that no changes follow.
    useless: Option<String>,
    backoff: Backoff,
    /// Whether it has been told that what comes is not to be trusted.
    alarmed: bool,
    tell: &'f mut dyn FnMut(Event),
}

impl Following<'_> {
    /// Takes in what comes next, and folds the log if it is long.
    fn step(&mut self, writer: &Writer) -> Result<At, FollowError> {
        let here = writer.register().sequence();
        let wait = if self.follow.once { Duration::ZERO } else { WAIT };
        let told = self.source.changes(&writer.register(), BATCH, wait)?;
        if told.register != self.of {
            return Err(FollowError::Another { found: told.register });
        }
        if told.latest < here {
            return Err(FollowError::RolledBack { here });
        }
        if !told.changes.is_empty() {
            if !store::is_data_directory(writer.directory()) {
                return Err(FollowError::Removed(writer.directory().to_owned()));
            }
            writer.apply(Lines::of(told.changes), None)?;
        }
        let register = writer.register();
        if register.sequence() != told.to {
            let (said, found) = (told.to, register.sequence());
            let why = format!("its changes lead to {found}, and the source says that they lead to {said}");
            return Err(FollowError::Diverged(why));
        }
        let agrees = match told.content {
            None => false,
            Some(content) => {
                let found = register.content();
                found.map_err(|damage| FollowError::Diverged(damage.to_string()))?.to_string() == content
                    || return Err(FollowError::Diverged("the content digests differ".to_owned()))
            }
        };
        self.backoff.reset();
        self.alarmed = false;
        if writer.log_bytes() > self.follow.checkpoint_at {
            writer.checkpoint(false)?;
        }
        Ok(At { to: told.to, latest: told.latest, agrees })
    }

    /// Opens the replica, which begins if it is not there.
    fn open(&mut self) -> Result<Writer, FollowError> {
        let path = self.directory.path.clone();
        if store::is_data_directory(&path) {
            self.directory.register(&path)?;
        } else {
            self.begin(&path, 0)?;
        }
        let writer = self.open_with_room(&path)?;
        (self.tell)(Event::Open(writer.register().sequence()));
        Ok(writer)
    }

    /// Opens a data directory, as soon as the disk has room for it.
    fn open_with_room(&mut self, path: &Path) -> Result<Writer, FollowError> {
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

    /// Makes a data directory of the register file of a source that has a sequence number, or a later one.
    fn begin(&mut self, path: &Path, least: u64) -> Result<(), FollowError> {
        let mut altered = false;
        loop {
            let made = self.source.offer().and_then(|offer| {
                if offer.latest < least {
                    // It may have been given by somebody in between who has kept it.
                    return Err(FollowError::Away("the register that is offered is older".to_owned()));
                }
                if self.useless.as_ref() == Some(&offer.digest) {
                    let why = "the changes that follow the register file are gone; it offers no other yet";
                    return Err(FollowError::Away(why.to_owned()));
                }
                if !self.of.is_empty() && self.of != offer.register {
                    return Err(FollowError::Another { found: offer.register });
                }
                self.offered = Some(offer.digest.clone());
                self.directory.make(path, self.source, &offer, self.tell)
            });
            match made {
                Ok(true) => return Ok(()),
                // It was replaced meanwhile: there is another one.
                Ok(false) => {}
                // What had come before may have been damaged since; once more from its beginning.
                Err(FollowError::Altered) if !std::mem::replace(&mut altered, true) => {}
                Err(error) => self.wait(error)?,
            }
        }
    }

    /// Makes another directory of what the source has, which takes the place of the one that is there when it is no
    /// older: nobody who reads it goes back in time.
    fn begin_anew(&mut self, least: u64) -> Result<(), FollowError> {
        let next = self.directory.next();
        'anew: loop {
            directory::remove(&next)?;
            self.begin(&next, least)?;
            let mut writer = self.open_with_room(&next)?;
            while writer.register().sequence() < least {
                match self.step(&writer) {
                    Ok(_) => {}
                    Err(error @ FollowError::Gone) => {
                        self.wait(FollowError::Away(error.to_string()))?;
                        continue 'anew;
                    }
                    // As in `run`.
                    Err(error) if error.is_full() => {
                        drop(writer);
                        self.wait(error)?;
                        writer = self.open_with_room(&next)?;
                    }
                    Err(error) => self.wait(error)?,
                }
            }
            drop(writer);
            return self.directory.exchange();
        }
    }

    /// Waits until it is worth trying again: longer each time, and not as long as others who wait.
    ///
    /// Errors: trying again does not help.
    fn wait(&mut self, error: FollowError) -> Result<(), FollowError> {
        let untrusted = matches!(error, FollowError::Untrusted(_));
        let give_up = self.follow.once && (untrusted || self.backoff.is_over());
        if !error.passes() || give_up {
            return Err(error);
        }
        if untrusted && !std::mem::replace(&mut self.alarmed, true) {
            (self.tell)(Event::Untrusted(error.to_string()));
        } else if self.backoff.is_first() {
            (self.tell)(Event::Away(error.to_string()));
        }
        self.source.pause(self.backoff.next());
        Ok(())
    }
}
