//! Making a data directory.

use super::directory::DataDirectory;
use super::disk::{LOCK, Lock, MODE, keep_mode, mode_of_files};
use super::error::StoreError;
use super::format::root_sum;
use super::names::{self, REJECTED};
use crate::extract::{BuildError, BuildOptions, Summary, build_with_rejected};
use crate::files::{self, FileMode, Folder};
use crate::snapshot::format::{self, HEADER_BYTES};
use crate::snapshot::{Header, OpenError};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Why a data directory cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InitError {
    /// The directory is not empty.
    #[error("{0} exists already and is not empty: name a new directory")]
    Occupied(String),
    /// The path of the directory is a file.
    #[error("{} is not a directory: name a new directory", .0.display())]
    NotADirectory(PathBuf),
    /// No register can be built from the extract.
    #[error(transparent)]
    Extract(#[from] BuildError),
    /// The register file or the directory.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Creates a directory that will replace a data directory, with the same permissions if that exists. Returns the mode of
/// its files.
pub(crate) fn create_directory_like(path: &Path, earlier: &Path) -> std::io::Result<FileMode> {
    let mode = Folder::open(earlier).map_or(FileMode::of_process(), |earlier| mode_of_files(&earlier));
    let folder = Folder::create_all(path, mode)?;
    folder.check_owner()?;
    // The later files have its permissions.
    keep_mode(&folder, mode)?;
    Ok(mode)
}

/// Creates a directory unless it exists.
///
/// Errors: it belongs to a user who is neither this one nor root, and who could exchange its files.
fn create_directory(path: &Path) -> std::io::Result<()> {
    Folder::create_all(path, FileMode::of_process())?.check_owner()
}

/// Makes a data directory from a register file or an extract, durably. Returns the summary of the build, for an
/// extract.
///
/// `rejected.csv` in the directory lists the rejected rows of an extract.
pub fn init(source: impl AsRef<Path>, directory: impl AsRef<Path>) -> Result<Option<Summary>, InitError> {
    init_with(source, directory, &BuildOptions::default())
}

/// As [`init`], with options for an extract.
pub fn init_with(
    source: impl AsRef<Path>,
    directory: impl AsRef<Path>,
    options: &BuildOptions,
) -> Result<Option<Summary>, InitError> {
    let (source, directory) = (source.as_ref(), directory.as_ref());
    let io = |error| StoreError::Io { path: directory.to_owned(), error };
    if directory.exists() && !directory.is_dir() {
        return Err(InitError::NotADirectory(directory.to_owned()));
    }
    create_directory(directory).map_err(io)?;
    let data = DataDirectory::new(directory);
    let existing = data.disk.names().map_err(io)?;
    let is_leftover = |name: &String| [LOCK, MODE].contains(&&name[..]) || name.ends_with(".partial");
    let contents = data.contents()?;
    // An earlier attempt may have ended before the register file was complete.
    let unfinished = contents.registers.is_empty()
        && existing.iter().all(|name| is_leftover(name) || name.starts_with("changes-") || name == REJECTED);
    if !unfinished {
        return Err(InitError::Occupied(directory.display().to_string()));
    }
    let summary = if source.is_dir() {
        // Replaces the file of an earlier attempt.
        let built = directory.join(names::partial("init"));
        let options = BuildOptions { force: true, ..*options };
        let summary = build_with_rejected(source, &built, &directory.join(REJECTED), &options)?;
        fill(&data, files::map_regular(&built).map_err(io)?.as_ref(), source)?;
        std::fs::remove_file(&built).map_err(io)?;
        Some(summary)
    } else {
        let bytes = files::map_regular(source).map_err(StoreError::io(source, ""))?;
        fill(&data, bytes.as_ref(), source)?;
        None
    };
    files::sync_directory(directory).map_err(io)?;
    Ok(summary)
}

/// Makes a data directory from a register file on the same file system, by moving the file into it. The caller has
/// verified and synced the file.
pub(crate) fn adopt(register: &Path, directory: &Path) -> Result<(), InitError> {
    let data = DataDirectory::new(directory);
    create_directory(directory).map_err(data.io(""))?;
    let bytes = files::map_regular(register).map_err(StoreError::io(register, ""))?;
    let (_lock, header) = begin(&data, bytes.as_ref(), register)?;
    let name = names::register(header.sequence);
    files::set_mode(register, mode_of_files(&Folder::open(directory).map_err(data.io(""))?))
        .map_err(data.io(&name))?;
    std::fs::rename(register, directory.join(&name)).map_err(data.io(&name))?;
    data.disk.sync_names().and_then(|()| files::sync_directory(directory)).map_err(data.io(""))?;
    Ok(())
}

/// As [`init`], from the bytes of a register file; errors name its `source`.
#[cfg(feature = "source")]
pub(crate) fn init_from_bytes(register: &[u8], source: &Path, directory: &Path) -> Result<(), InitError> {
    let data = DataDirectory::new(directory);
    create_directory(directory).map_err(data.io(""))?;
    fill(&data, register, source)?;
    Ok(files::sync_directory(directory).map_err(data.io(""))?)
}

/// Makes a data directory from the bytes of a register file; errors name its `source`.
///
/// The register file gets its name last; until then the directory is not a data directory.
pub(super) fn fill(directory: &DataDirectory, register: &[u8], source: &Path) -> Result<(), InitError> {
    let (_lock, header) = begin(directory, register, source)?;
    Ok(directory.write_register(header.sequence, |mut out| out.write_all(register))?)
}

/// Begins the log of a new data directory, and locks it until the result is dropped.
fn begin(directory: &DataDirectory, register: &[u8], source: &Path) -> Result<(Lock, Header), InitError> {
    let lock = directory.lock()?;
    let contents = directory.contents()?;
    if !contents.registers.is_empty() {
        return Err(InitError::Occupied(directory.path.display().to_string()));
    }
    // The segment of an earlier attempt may follow another sequence number.
    for name in contents.segments.into_iter().map(names::segment) {
        directory.disk.remove(&name).map_err(directory.io(&name))?;
    }
    let header = format::decode(register);
    let of_source = |error| StoreError::Register { path: source.to_owned(), error };
    let (header, _) = header.map_err(of_source)?;
    if header.has_scope {
        return Err(of_source(OpenError::Scoped).into());
    }
    directory.new_segment(header.kind, header.sequence, root_sum(&register[..HEADER_BYTES]))?;
    Ok((lock, header))
}
