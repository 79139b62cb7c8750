//! The directory of a replica, and the incomplete files and directories beside it, whose names begin with a dot.

use super::{Event, FollowError, Offer, Source, io_error};
use crate::{files, memory, store};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{channel, sync_channel};
use std::thread;

/// File in a replica's directory with the name of its register, as the source gives it.
const REPLICA_OF: &str = "replica-of";

/// Bytes of a piece of a register file.
const PIECE: usize = 1 << 20;
/// Most pieces received and not yet written.
const PIECES_AHEAD: usize = 16;
/// Pieces between two syncs.
const SYNC_PIECES: usize = 16;

/// A replica's directory.
pub(super) struct Directory {
    pub(super) path: PathBuf,
    parent: PathBuf,
    name: String,
}

impl Directory {
    pub(super) fn new(path: &Path) -> Result<Directory, FollowError> {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let parent = path.parent().map(Path::to_owned);
        let (Some(name), Some(parent)) = (name, parent) else {
            return Err(FollowError::Options("name a directory".to_owned()));
        };
        fs::create_dir_all(&parent).map_err(io_error(&parent))?;
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
        match fs::read_to_string(directory.join(REPLICA_OF)) {
            Ok(text) => Ok(text.trim_end().to_owned()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(FollowError::NotAReplica(directory.to_owned()))
            }
            Err(error) => Err(io_error(directory)(error)),
        }
    }

    fn sibling(&self, what: &str) -> PathBuf {
        self.parent.join(format!(".{}.{what}", self.name))
    }

    /// Path of the directory that will replace this one.
    pub(super) fn next(&self) -> PathBuf {
        self.sibling("next")
    }

    /// Keeps other processes from following into the directory while the file is open.
    pub(super) fn lock(&self) -> Result<File, FollowError> {
        let path = self.sibling("lock");
        let file = OpenOptions::new().create(true).append(true).open(&path).map_err(io_error(&path))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(fs::TryLockError::WouldBlock) => Err(FollowError::Locked(self.path.clone())),
            Err(fs::TryLockError::Error(error)) => Err(io_error(&path)(error)),
        }
    }

    /// Completes an interrupted [`exchange`](Directory::exchange).
    pub(super) fn recover(&self) -> Result<(), FollowError> {
        let (next, old) = (self.next(), self.sibling("old"));
        if !self.path.exists() && old.exists() {
            let from = if store::is_data_directory(&next) { &next } else { &old };
            self.rename(from, &self.path)?;
        }
        remove(&next)?;
        remove(&old)
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), FollowError> {
        fs::rename(from, to).and_then(|()| files::sync_directory(to)).map_err(io_error(to))
    }

    /// Replaces the directory with the [next](Directory::next) one.
    pub(super) fn exchange(&self) -> Result<(), FollowError> {
        let old = self.sibling("old");
        self.rename(&self.path, &old)?;
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
        // Before the register file, so that every data directory of a replica has it.
        let replica_of = directory.join(REPLICA_OF);
        fs::create_dir_all(directory)
            .and_then(|()| fs::write(&replica_of, format!("{}\n", offer.register)))
            .and_then(|()| File::open(&replica_of)?.sync_all())
            .map_err(io_error(&replica_of))?;
        store::adopt(&path, directory)?;
        Ok(true)
    }

    /// Removes partial downloads of other register files.
    fn remove_other_partials(&self, kept: &Path) -> Result<(), FollowError> {
        let failed = io_error(&self.parent);
        for entry in fs::read_dir(&self.parent).map_err(&failed)? {
            let path = entry.map_err(&failed)?.path();
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let middle = name.strip_prefix(&format!(".{}.", self.name));
            let digest = middle.and_then(|rest| rest.strip_suffix(".partial"));
            if digest.is_some_and(|digest| digest.len() == 64) && path != kept {
                fs::remove_file(&path).map_err(io_error(&path))?;
            }
        }
        Ok(())
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
    let file = OpenOptions::new().create(true).append(true).read(true).open(path).map_err(&failed)?;
    let mut hasher = blake3::Hasher::new();
    let before = memory::map(&file).map_err(&failed)?;
    let mut here = before.as_ref().len() as u64;
    hasher.update_rayon(before.as_ref());
    if here < offer.bytes {
        let Some(mut reader) = source.snapshot(offer, here)? else { return Ok(false) };
        receive(&mut *reader, &file, &failed, |piece| {
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

/// Removes a directory if it exists.
pub(super) fn remove(directory: &Path) -> Result<(), FollowError> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(io_error(directory)(error)),
        _ => Ok(()),
    }
}
