//! The directory of a replica, and what lies beside it until it is complete, under names that begin with a dot.

use super::{Event, FollowError, Offer, Source, io_error};
use crate::{files, memory, store};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{channel, sync_channel};
use std::thread;

/// The file in a replica's directory that says which register it is of, as its source calls it.
const REPLICA_OF: &str = "replica-of";

/// Bytes of a register file that are taken at a time.
const PIECE: usize = 1 << 20;
/// Pieces that may have come and not been written.
const PIECES_AHEAD: usize = 16;
/// Pieces that are made durable at a time.
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

    /// Errors: a replica cannot be made here.
    fn check(&self) -> Result<(), FollowError> {
        let Ok(found) = fs::metadata(&self.path) else { return Ok(()) };
        let path = self.path.display();
        if !found.is_dir() {
            return Err(FollowError::Options(format!("{path} is a file: name a directory")));
        }
        // Directories and register files come to their places by being renamed.
        let parent = fs::metadata(&self.parent).map_err(io_error(&self.parent))?;
        match found.dev() == parent.dev() {
            true => Ok(()),
            false => {
                let why = "is a mount point, or lies on another file system than its parent";
                Err(FollowError::Options(format!("{path} {why}: name a directory inside it")))
            }
        }
    }

    /// Which register the replica is of.
    ///
    /// Errors: it is no replica.
    pub(super) fn register(&self, directory: &Path) -> Result<String, FollowError> {
        match fs::read_to_string(directory.join(REPLICA_OF)) {
            Ok(text) => Ok(text.trim_end().to_owned()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(FollowError::NoReplica(directory.to_owned()))
            }
            Err(error) => Err(io_error(directory)(error)),
        }
    }

    fn beside(&self, what: &str) -> PathBuf {
        self.parent.join(format!(".{}.{what}", self.name))
    }

    /// Where another directory is made that takes the place of this one.
    pub(super) fn next(&self) -> PathBuf {
        self.beside("next")
    }

    /// Keeps other processes from following into it, as long as the file is held.
    pub(super) fn lock(&self) -> Result<File, FollowError> {
        let path = self.beside("lock");
        let file = OpenOptions::new().create(true).append(true).open(&path).map_err(io_error(&path))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(fs::TryLockError::WouldBlock) => Err(FollowError::Occupied(self.path.clone())),
            Err(fs::TryLockError::Error(error)) => Err(io_error(&path)(error)),
        }
    }

    /// Ends what was interrupted while one directory took the place of another.
    pub(super) fn recover(&self) -> Result<(), FollowError> {
        let (next, old) = (self.next(), self.beside("old"));
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

    /// Lets the directory that was made beside this one take its place.
    pub(super) fn exchange(&self) -> Result<(), FollowError> {
        let old = self.beside("old");
        self.rename(&self.path, &old)?;
        self.rename(&self.next(), &self.path)?;
        remove(&old)
    }

    /// Makes a data directory, this or the next one, of the register file that the source offers. `false` if that was
    /// replaced meanwhile.
    pub(super) fn make(
        &self,
        directory: &Path,
        source: &dyn Source,
        offer: &Offer,
        tell: &mut dyn FnMut(Event),
    ) -> Result<bool, FollowError> {
        let path = self.beside(&format!("{}.partial", offer.digest));
        self.remove_partial(&path)?;
        if !fetch(&path, source, offer, tell)? {
            return Ok(false);
        }
        // Before the register file: whatever is a data directory then says so.
        let said = directory.join(REPLICA_OF);
        fs::create_dir_all(directory)
            .and_then(|()| fs::write(&said, format!("{}\n", offer.register)))
            .and_then(|()| File::open(&said)?.sync_all())
            .map_err(io_error(&said))?;
        store::adopt(&path, directory)?;
        Ok(true)
    }

    /// Removes what has come of other register files.
    fn remove_partial(&self, but: &Path) -> Result<(), FollowError> {
        let failed = io_error(&self.parent);
        for entry in fs::read_dir(&self.parent).map_err(&failed)? {
            let path = entry.map_err(&failed)?.path();
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let middle = name.strip_prefix(&format!(".{}.", self.name));
            let digest = middle.and_then(|rest| rest.strip_suffix(".partial"));
            if digest.is_some_and(|digest| digest.len() == 64) && path != but {
                fs::remove_file(&path).map_err(io_error(&path))?;
            }
        }
        Ok(())
    }
}

/// Fetches what is missing of a register file, durably. `false` if the source has replaced it.
///
/// Errors: what has come is not what was offered, and is removed.
fn fetch(
    path: &Path,
    source: &dyn Source,
    offer: &Offer,
    tell: &mut dyn FnMut(Event),
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
            tell(Event::Coming(here, offer.bytes));
        })?;
        if here < offer.bytes {
            return Err(FollowError::Away("the register file broke off".to_owned()));
        }
    } else {
        // It came before a process ended.
        file.sync_all().map_err(&failed)?;
    }
    if *hasher.finalize().to_hex().as_str() == *offer.digest {
        return Ok(true);
    }
    fs::remove_file(path).map_err(&failed)?;
    Err(FollowError::Altered)
}

/// Takes in what comes, in pieces, while another thread writes them and makes them durable: the disk, the network and
/// the digest do not wait for each other.
fn receive(
    reader: &mut dyn Read,
    mut file: &File,
    failed: impl Fn(io::Error) -> FollowError,
    mut each: impl FnMut(&[u8]),
) -> Result<(), FollowError> {
    let (come, to_write) = sync_channel::<Vec<u8>>(PIECES_AHEAD);
    let (written, free) = channel::<Vec<u8>>();
    let (read, kept) = thread::scope(|scope| {
        let keeping = scope.spawn(move || {
            for (place, piece) in to_write.into_iter().enumerate() {
                file.write_all(&piece)?;
                if (place + 1) % SYNC_PIECES == 0 {
                    file.sync_data()?;
                }
                // Nobody needs it if all has come.
                let _ = written.send(piece);
            }
            file.sync_all()
        });
        let read = loop {
            let mut piece = free.try_recv().unwrap_or_else(|_| Vec::with_capacity(PIECE));
            piece.clear();
            // What came before an error is in it too.
            let read = (&mut *reader).take(PIECE as u64).read_to_end(&mut piece);
            let last = piece.len() < PIECE;
            each(&piece);
            // It has ended if it cannot write; its error is what counts.
            if come.send(piece).is_err() || last || read.is_err() {
                break read;
            }
        };
        drop(come);
        (read, keeping.join().unwrap_or_else(|panic| resume_unwind(panic)))
    });
    kept.map_err(failed)?;
    read.map(drop).map_err(|error| FollowError::Away(error.to_string()))
}

/// Removes a directory, if it is there.
pub(super) fn remove(directory: &Path) -> Result<(), FollowError> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(io_error(directory)(error)),
        _ => Ok(()),
    }
}
