//! The directory of a replica, and the incomplete files and directories beside it, whose names begin with a dot.

use super::{Event, FollowError, Offer, Source, bounds, io_error};
use crate::files::{FileMode, Folder, is_ours};
use crate::register::moment;
use crate::snapshot::Snapshot;
use crate::{files, memory, store};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{channel, sync_channel};
use std::thread;

/// Bytes of a piece of a register file.
const PIECE: usize = 1 << 20;
/// Most pieces received and not yet written.
const PIECES_AHEAD: usize = 16;
/// Pieces between two syncs.
const SYNC_PIECES: usize = 16;

/// The directory of a replica or of a feed.
pub(crate) struct Directory {
    pub(crate) path: PathBuf,
    parent: PathBuf,
    name: String,
}

impl Directory {
    pub(crate) fn new(path: &Path) -> Result<Directory, FollowError> {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let parent = path.parent().map(Path::to_owned);
        let (Some(name), Some(parent)) = (name, parent) else {
            return Err(FollowError::Options("name a directory".to_owned()));
        };
        Folder::create_all(&parent, FileMode::of_process()).map_err(io_error(&parent))?;
        let directory = Directory { path, parent, name };
        directory.check()?;
        Ok(directory)
    }

    /// Errors: no replica can be created here.
    fn check(&self) -> Result<(), FollowError> {
        let Ok(found) = fs::metadata(&self.path) else { return Ok(()) };
        let path = self.path.display();
        if !found.is_dir() {
            return Err(FollowError::Options(format!("{path} is a file: name a directory")));
        }
        Folder::open(&self.path).and_then(|folder| folder.check_owner()).map_err(io_error(&self.path))?;
        // Directories and register files are renamed into place.
        let parent = fs::metadata(&self.parent).map_err(io_error(&self.parent))?;
        match found.dev() == parent.dev() {
            true => Ok(()),
            false => {
                let why = "is a mount point, or lies on another file system than its parent";
                Err(FollowError::Options(format!("{path} {why}: name a directory inside it")))
            }
        }
    }

    /// Name of the replica's register.
    ///
    /// Errors: the directory is not a replica.
    pub(super) fn register(&self, directory: &Path) -> Result<String, FollowError> {
        let of = store::replica_of(directory).map_err(io_error(directory))?;
        of.ok_or_else(|| FollowError::NotAReplica(directory.to_owned()))
    }

    fn sibling(&self, what: &str) -> PathBuf {
        self.parent.join(format!(".{}.{what}", self.name))
    }

    /// Path of the directory that will replace this one.
    pub(crate) fn next(&self) -> PathBuf {
        self.sibling("next")
    }

    /// Keeps other processes from following into the directory while the file is open.
    pub(crate) fn lock(&self) -> Result<File, FollowError> {
        let path = self.sibling("lock");
        let folder = Folder::open(&self.parent).map_err(io_error(&self.parent))?;
        let file = folder.open_own_lock(file_name(&path), FileMode::PRIVATE).map_err(io_error(&path))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(fs::TryLockError::WouldBlock) => Err(FollowError::Locked(self.path.clone())),
            Err(fs::TryLockError::Error(error)) => Err(io_error(&path)(error)),
        }
    }

    /// Completes an interrupted [`exchange`](Directory::exchange), and removes an incomplete [next](Directory::next)
    /// directory.
    pub(super) fn recover(&self) -> Result<(), FollowError> {
        self.complete_exchange()?;
        remove(&self.next())
    }

    /// Completes an interrupted [`exchange`](Directory::exchange).
    pub(crate) fn complete_exchange(&self) -> Result<(), FollowError> {
        let (next, old) = (self.next(), self.sibling("old"));
        let complete = [&next, &old].into_iter().find(|from| store::is_data_directory(from));
        if let Some(from) = complete.filter(|_| !self.path.exists() && old.exists()) {
            let real = Folder::of(from).and_then(|(parent, name)| parent.folder(name));
            real.and_then(|folder| folder.check_owner()).map_err(io_error(from))?;
            self.rename(from, &self.path)?;
        }
        remove(&old)
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), FollowError> {
        fs::rename(from, to).and_then(|()| files::sync_directory(to)).map_err(io_error(to))
    }

    /// Replaces the directory, if it exists, with the [next](Directory::next) one.
    pub(crate) fn exchange(&self) -> Result<(), FollowError> {
        let old = self.sibling("old");
        if self.path.exists() {
            self.rename(&self.path, &old)?;
        }
        self.rename(&self.next(), &self.path)?;
        remove(&old)
    }

    /// Creates a data directory, this or the next one, from the register file that the source offers. `false` if the
    /// source has replaced the file meanwhile.
    pub(super) fn create(
        &self,
        directory: &Path,
        source: &dyn Source,
        offer: &Offer,
        report: &mut dyn FnMut(Event),
    ) -> Result<bool, FollowError> {
        let path = self.sibling(&format!("{}.partial", offer.digest));
        self.remove_other_partials(&path)?;
        if !fetch(&path, source, offer, report)? {
            return Ok(false);
        }
        if let Err(error) = check_file(&path, source, offer) {
            fs::remove_file(&path).map_err(io_error(&path))?;
            return Err(error);
        }
        // Before the register file, so that every data directory of a replica has it.
        let replica_of = directory.join(store::REPLICA_OF);
        let name = format!("{}\n", offer.register);
        store::create_directory_like(directory, &self.path)
            .and_then(|mode| {
                files::replace_with_mode(&replica_of, mode, |file| file.write_all(name.as_bytes()))
            })
            .map_err(io_error(&replica_of))?;
        store::adopt(&path, directory)?;
        Ok(true)
    }

    /// Removes partial downloads of other register files.
    fn remove_other_partials(&self, kept: &Path) -> Result<(), FollowError> {
        let failed = io_error(&self.parent);
        let parent = Folder::open(&self.parent).map_err(&failed)?;
        for name in parent.names().map_err(&failed)? {
            let name = name.to_string_lossy();
            let middle = name.strip_prefix(&format!(".{}.", self.name));
            let digest = middle.and_then(|rest| rest.strip_suffix(".partial"));
            let is_other = digest.is_some_and(|digest| digest.len() == 64) && *name != *file_name(kept);
            let is_removed = || parent.entry(&*name).map(|entry| entry.is_some_and(|entry| is_ours(&entry)));
            if is_other && is_removed().map_err(&failed)? {
                parent.remove(&*name).map_err(&failed)?;
            }
        }
        Ok(())
    }
}

/// Checks a downloaded register file whole before it is used. Its digest shows that it is the one on offer, not that
/// the offer was honest.
fn check_file(path: &Path, source: &dyn Source, offer: &Offer) -> Result<(), FollowError> {
    let file = Snapshot::open(path).map_err(|error| FollowError::BadFile(error.to_string()))?;
    let header = file.header();
    if bounds::kind_of(&offer.register) != Some(header.kind) || header.sequence != offer.sequence {
        let found = format!("it is of {} at sequence {}", header.kind.name(), header.sequence);
        return Err(FollowError::BadFile(format!("{found}, and {} was offered", offer.sequence)));
    }
    if let Some(now) = source.now() {
        // Not `Untrusted`, after which it would be downloaded again at once.
        let as_of = moment::of_nanoseconds(header.as_of);
        bounds::check_time(now, as_of).map_err(|error| FollowError::BadFile(error.to_string()))?;
    }
    match file.verify().into_iter().next() {
        Some(finding) => Err(FollowError::BadFile(finding.to_string())),
        None => Ok(()),
    }
}

/// Downloads the missing bytes of a register file durably. `false` if the source has replaced the file.
///
/// Errors: the digest differs from the offer; the file is then removed.
fn fetch(
    path: &Path,
    source: &dyn Source,
    offer: &Offer,
    report: &mut dyn FnMut(Event),
) -> Result<bool, FollowError> {
    let failed = io_error(path);
    let file = open_download(path).map_err(&failed)?;
    let mut hasher = blake3::Hasher::new();
    let before = memory::map(&file).map_err(&failed)?;
    let mut here = before.as_ref().len() as u64;
    hasher.update_rayon(before.as_ref());
    if here < offer.bytes {
        let Some(reader) = source.snapshot(offer, here)? else { return Ok(false) };
        // At most the offered bytes reach the disk, even if the source sends more.
        let mut reader = reader.take(offer.bytes - here);
        receive(&mut reader, &file, &failed, |piece| {
            hasher.update(piece);
            here += piece.len() as u64;
            report(Event::Downloading(here, offer.bytes));
        })?;
        if here < offer.bytes {
            return Err(FollowError::Unreachable("the register file was truncated".to_owned()));
        }
    } else {
        // Downloaded by a process that ended before it was synced.
        file.sync_all().map_err(&failed)?;
    }
    if *hasher.finalize().to_hex().as_str() == *offer.digest {
        return Ok(true);
    }
    fs::remove_file(path).map_err(&failed)?;
    Err(FollowError::Altered)
}

/// Receives pieces while another thread writes and syncs them, so that disk, network and digest do not wait for each
/// other.
fn receive(
    reader: &mut dyn Read,
    mut file: &File,
    failed: impl Fn(io::Error) -> FollowError,
    mut each: impl FnMut(&[u8]),
) -> Result<(), FollowError> {
    let (to_writer, pieces) = sync_channel::<Vec<u8>>(PIECES_AHEAD);
    let (written, free) = channel::<Vec<u8>>();
    let (read, written_all) = thread::scope(|scope| {
        let writer = scope.spawn(move || {
            for (index, piece) in pieces.into_iter().enumerate() {
                file.write_all(&piece)?;
                if (index + 1) % SYNC_PIECES == 0 {
                    file.sync_data()?;
                }
                // The receiver is gone once everything was received.
                let _ = written.send(piece);
            }
            file.sync_all()
        });
        let read = loop {
            let mut piece = free.try_recv().unwrap_or_else(|_| Vec::with_capacity(PIECE));
            piece.clear();
            // Includes the bytes received before an error.
            let read = (&mut *reader).take(PIECE as u64).read_to_end(&mut piece);
            let last = piece.len() < PIECE;
            each(&piece);
            // Sending fails if the writer has ended with an error, which takes precedence.
            if to_writer.send(piece).is_err() || last || read.is_err() {
                break read;
            }
        };
        drop(to_writer);
        (read, writer.join().unwrap_or_else(|panic| resume_unwind(panic)))
    });
    written_all.map_err(failed)?;
    read.map(drop).map_err(|error| FollowError::Unreachable(error.to_string()))
}

/// Opens a partial download, or begins one. The name is not random, so that a download can be resumed.
///
/// Errors: the file is not a regular file of this user.
fn open_download(path: &Path) -> io::Result<File> {
    let (folder, name) = Folder::of(path)?;
    match folder.create_file(name, FileMode::PRIVATE) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => folder.open_own(name),
        created => created,
    }
}

fn file_name(path: &Path) -> &OsStr {
    path.file_name().unwrap_or_default()
}

/// Removes the directory of a replica or of a feed, complete or not, if it exists.
///
/// Errors: it is none, or belongs to another user; then it stays.
pub(crate) fn remove(directory: &Path) -> Result<(), FollowError> {
    let failed = io_error(directory);
    let (parent, name) = Folder::of(directory).map_err(&failed)?;
    let folder = match parent.folder(name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        folder => folder.map_err(&failed)?,
    };
    folder.check_owner().map_err(&failed)?;
    let names = folder.names().map_err(&failed)?;
    // An incomplete one may lack the name of its register, but then it has nothing else than a data directory has.
    if names.iter().any(|name| name == store::REPLICA_OF) {
        folder.clear(store::REPLICA_OF).map_err(&failed)?;
    }
    for name in names.iter().filter(|name| name.to_str().is_some_and(store::is_file_of_data_directory)) {
        match folder.remove(name) {
            // Not one of nabar's: an empty one is no loss.
            Err(error) if error.kind() == io::ErrorKind::IsADirectory => {
                folder.remove_folder(name).map_err(&failed)?;
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
    }
    parent.remove_folder(name).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn replicas_use_nothing_that_was_planted() {
        let parent = tempfile::tempdir().expect("directory");
        let at = |name: &str| parent.path().join(name);
        let directory = Directory::new(&at("far")).expect("free");
        fs::create_dir(at("home")).expect("made");
        fs::write(at("home/thesis"), "years").expect("written");
        // A directory that was renamed, and links.
        for name in [".far.next", ".far.old"] {
            fs::rename(at("home"), at(name)).expect("renamed");
            assert!(directory.recover().is_err() && !at("far").exists(), "{name}");
            fs::rename(at(name), at("home")).expect("renamed");
            symlink(at("home"), at(name)).expect("linked");
            assert!(directory.recover().is_err() && !at("far").exists(), "{name}");
            fs::remove_file(at(name)).expect("still a link");
            assert_eq!(fs::read(at("home/thesis")).expect("there"), b"years", "{name}");
        }
        // A replica with a file of its user, and one whose creation was interrupted.
        for names in
            [&[store::REPLICA_OF, "lock", "notes"][..], &["lock", ".replica-of.0123456789abcdef.partial"]]
        {
            fs::create_dir(at(".far.old")).expect("made");
            names.iter().for_each(|name| fs::write(at(".far.old").join(name), "far").expect("written"));
            directory.recover().expect("removed");
            assert!(!at(".far.old").exists());
        }
        let download = format!(".far.{}.partial", "0".repeat(64));
        for name in [&download[..], ".far.lock"] {
            symlink(at("home/thesis"), at(name)).expect("linked");
        }
        assert!(open_download(&at(&download)).is_err() && directory.lock().is_err());
        fs::remove_file(at(&download)).expect("removed");
        fs::hard_link(at("home/thesis"), at(&download)).expect("linked");
        assert!(open_download(&at(&download)).is_err(), "another name of a file of this user");
        assert_eq!(fs::read(at("home/thesis")).expect("there"), b"years");
        assert!(Directory::new(&at("home/thesis")).is_err());
    }
}
