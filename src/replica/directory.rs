//! The directory of a replica, and what lies beside it until it is complete, under names that begin with a dot.

use super::{Event, FollowError, Offer, Source, io_error};
use crate::{files, store};
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// Bytes of a register file that are taken at a time.
const PIECE: usize = 1 << 20;

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
        Ok(Directory { path, parent, name })
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
        verify(&path, offer)?;
        store::init(&path, directory)?;
        fs::remove_file(&path).map_err(io_error(&path))?;
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

/// Fetches what is missing of a register file. `false` if the source has replaced it.
fn fetch(
    path: &Path,
    source: &dyn Source,
    offer: &Offer,
    tell: &mut dyn FnMut(Event),
) -> Result<bool, FollowError> {
    let failed = io_error(path);
    let mut file = OpenOptions::new().create(true).append(true).open(path).map_err(&failed)?;
    let mut here = file.metadata().map_err(&failed)?.len();
    if here >= offer.bytes {
        return Ok(true);
    }
    let Some(mut reader) = source.snapshot(offer, here)? else { return Ok(false) };
    let mut piece = vec![0; PIECE];
    loop {
        let read = reader.read(&mut piece).map_err(|error| FollowError::Away(error.to_string()))?;
        if read == 0 {
            break;
        }
        file.write_all(&piece[..read]).map_err(&failed)?;
        here += read as u64;
        tell(Event::Coming(here, offer.bytes));
    }
    if here < offer.bytes {
        return Err(FollowError::Away("the register file broke off".to_owned()));
    }
    Ok(true)
}

/// Errors: it is not what was offered, and is removed.
fn verify(path: &Path, offer: &Offer) -> Result<(), FollowError> {
    let bytes = crate::memory::map_path(path).map_err(io_error(path))?;
    let digest = blake3::Hasher::new().update_rayon(bytes.as_ref()).finalize().to_hex();
    if *digest.as_str() == *offer.digest {
        return Ok(());
    }
    fs::remove_file(path).map_err(io_error(path))?;
    Err(FollowError::Altered)
}

/// Removes a directory, if it is there.
pub(super) fn remove(directory: &Path) -> Result<(), FollowError> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(io_error(directory)(error)),
        _ => Ok(()),
    }
}
