//! Making a data directory.

use super::StoreError;
use super::disk::{Directory, Disk};
use super::format::root_sum;
use super::load::{Place, place};
use super::names::{self, Contents};
use super::writer::new_segment;
use crate::extract::{BuildError, BuildOptions, Summary, build};
use crate::files;
use crate::memory;
use crate::snapshot::Header;
use crate::snapshot::format::{self, HEADER_BYTES};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

/// Why no data directory can be made.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// There is something where it should go.
    #[error("{0} is there already and not empty: name a new directory")]
    Occupied(String),
    /// The extract cannot be read.
    #[error(transparent)]
    Extract(#[from] BuildError),
    /// The register file or the directory.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Makes a data directory of a register file or an extract, durably. Returns what a build tells, for an
/// extract.
///
/// Rows of an extract that are set aside are named in `rejected.csv` in the directory.
pub fn init(source: &Path, directory: &Path) -> Result<Option<Summary>, InitError> {
    init_with(source, directory, &BuildOptions::default())
}

/// The same, with options for an extract.
pub fn init_with(
    source: &Path,
    directory: &Path,
    options: &BuildOptions,
) -> Result<Option<Summary>, InitError> {
    let io = |error| StoreError::Io { path: directory.to_owned(), error };
    std::fs::create_dir_all(directory).map_err(io)?;
    let disk = Directory(directory.to_owned());
    let there = disk.names().map_err(io)?;
    let leftover = |name: &String| name == super::disk::LOCK || name.ends_with(".partial");
    let contents = Contents::of(&disk, directory)?;
    // An earlier attempt may have ended before the register file had its name.
    let unfinished = contents.registers.is_empty()
        && there.iter().all(|name| leftover(name) || name.starts_with("changes-") || name == "rejected.csv");
    if !unfinished {
        return Err(InitError::Occupied(directory.display().to_string()));
    }
    let place = Place { disk: Arc::new(disk), path: directory.to_owned() };
    let summary = if source.is_dir() {
        // An earlier attempt may have left it.
        let built = directory.join(names::partial("init"));
        let summary = build(source, &built, &BuildOptions { force: true, ..*options })?;
        fill(&place, memory::map_path(&built).map_err(io)?.as_ref())?;
        std::fs::remove_file(&built).map_err(io)?;
        Some(summary)
    } else {
        let bytes = memory::map_path(source).map_err(StoreError::io(source, ""))?;
        fill(&place, bytes.as_ref())?;
        None
    };
    files::sync_directory(directory).map_err(io)?;
    Ok(summary)
}

/// Makes a data directory of a register file on the same file system, which moves into it. It is not read for that:
/// whoever calls knows that it is what it should be, and has synced it.
pub(crate) fn adopt(register: &Path, directory: &Path) -> Result<(), InitError> {
    let place = place(directory);
    std::fs::create_dir_all(directory).map_err(place.io(""))?;
    let bytes = memory::map_path(register).map_err(StoreError::io(register, ""))?;
    let (_lock, header) = begin(&place, bytes.as_ref())?;
    let name = names::register(header.sequence);
    std::fs::rename(register, directory.join(&name)).map_err(place.io(&name))?;
    place.disk.sync_names().and_then(|()| files::sync_directory(directory)).map_err(place.io(""))?;
    Ok(())
}

/// Makes a data directory of the bytes of a register file.
///
/// The register file gets its name last: without it the directory is none.
pub(crate) fn fill(place: &Place, register: &[u8]) -> Result<(), InitError> {
    let (_lock, header) = begin(place, register)?;
    Ok(place.write_register(header.sequence, |mut out| out.write_all(register))?)
}

/// Begins the log of a new data directory, and keeps others away as long as what is returned is held.
fn begin(place: &Place, register: &[u8]) -> Result<(Box<dyn Send + Sync>, Header), InitError> {
    let lock = place.disk.lock().map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => StoreError::Locked(place.path.clone()),
        _ => place.io("lock")(error),
    })?;
    let contents = place.contents()?;
    if !contents.registers.is_empty() {
        return Err(InitError::Occupied(place.path.display().to_string()));
    }
    // An earlier attempt's may follow another sequence number.
    for name in contents.segments.into_iter().map(names::segment) {
        place.disk.remove(&name).map_err(place.io(&name))?;
    }
    let header = format::decode(register);
    let (header, _) = header.map_err(|error| StoreError::Register { path: place.path.clone(), error })?;
    new_segment(place, header.kind, header.sequence, root_sum(&register[..HEADER_BYTES]))?;
    Ok((lock, header))
}
