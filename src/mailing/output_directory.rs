//! The directory of a split's files.
//!
//! They are written to an incomplete directory with a random name, readable by this user only. When all are complete they
//! get their final names: if the output directory is new, all at once by a rename; if it exists, one by one, the report
//! last.

use super::error::ListError;
use super::list_run::is_ending;
use super::report::{FEEDBACK, MOTTAKERSPLITT_RESULT, REJECTED, REPORT, REPORT_HTML};
use crate::channels::is_channel_name;
use crate::files::{FileMode, Folder, Others, PartialDirectory, is_ours, is_partial_of, is_regular};
use crate::memory;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// Incomplete directories in an existing output directory are named after this.
const WITHIN: &str = "nabar";
/// File of an incomplete directory that is no output.
const LOCK: &str = "lock";

/// The directory of a job's files.
pub(super) struct OutputDirectory {
    wanted: PathBuf,
    partial: PartialDirectory,
    /// The output directory, if it existed before the job.
    existing: Option<Folder>,
}

pub(super) fn write_error(path: &Path) -> impl Fn(io::Error) -> ListError + use<> {
    let path = path.to_owned();
    move |error| ListError::Write { path: path.clone(), error }
}

impl OutputDirectory {
    /// Makes the incomplete directory, and removes those that killed jobs left.
    ///
    /// Errors: `wanted` is another user's, or not empty and `force` is false; a file to be replaced is another user's; another job is
    /// writing there.
    pub(super) fn create(wanted: &Path, force: bool) -> Result<OutputDirectory, ListError> {
        let failed = write_error(wanted);
        let busy = |error: io::Error| match error.kind() {
            io::ErrorKind::WouldBlock => ListError::Busy(wanted.to_owned()),
            _ => failed(error),
        };
        let existing = match Folder::open(wanted) {
            Ok(folder) => Some(folder),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(failed(error)),
        };
        let partial = match &existing {
            Some(folder) => {
                folder.check_owner().map_err(|error| match error.kind() {
                    io::ErrorKind::PermissionDenied => ListError::OtherOwner(wanted.to_owned()),
                    _ => failed(error),
                })?;
                check_contents(folder, force)?;
                let folder = Folder::open(wanted).map_err(&failed)?;
                PartialDirectory::create(folder, OsStr::new(WITHIN), Others::Exclude)
            }
            None => {
                let parent = wanted.parent().unwrap_or(Path::new(""));
                let parent = Folder::create_all(parent, FileMode::of_process()).map_err(&failed)?;
                PartialDirectory::create(parent, name_of(wanted)?, Others::Exclude)
            }
        };
        Ok(OutputDirectory { wanted: wanted.to_owned(), partial: partial.map_err(busy)?, existing })
    }

    /// The path of an incomplete file, for messages.
    pub(super) fn partial_path(&self, name: &str) -> PathBuf {
        self.partial.folder().path().join(name)
    }

    /// Creates a file.
    pub(super) fn create_file(&self, name: &str) -> Result<File, ListError> {
        let created = self.partial.folder().create_file(name, FileMode::of_process());
        created.map_err(write_error(&self.partial_path(name)))
    }

    /// The digest of a file: `blake3:` and 64 hexadecimal digits. Errors: it has another length; it cannot be read.
    pub(super) fn digest(&self, name: &str, bytes: u64) -> Result<String, ListError> {
        let failed = write_error(&self.partial_path(name));
        let file = self.partial.folder().open_file(name, false).map_err(&failed)?;
        // Mapped, its bytes are not copied.
        let mapped = memory::map(&file).map_err(&failed)?;
        if mapped.as_ref().len() as u64 != bytes {
            return Err(ListError::Sums);
        }
        let digest = blake3::hash(mapped.as_ref());
        match mapped.is_intact() {
            true => Ok(format!("blake3:{}", digest.to_hex())),
            false => Err(ListError::Sums),
        }
    }

    /// The bytes of a complete file.
    pub(super) fn mapped(&self, name: &str) -> Result<memory::Mapped, ListError> {
        let file = self.partial.folder().open_file(name, false);
        file.and_then(|file| memory::map(&file)).map_err(write_error(&self.partial_path(name)))
    }

    /// Removes a file.
    pub(super) fn remove(&self, name: &str) -> Result<(), ListError> {
        self.partial.folder().remove(OsStr::new(name)).map_err(write_error(&self.partial_path(name)))
    }

    /// Writes a file.
    pub(super) fn add(&self, name: &str, content: &[u8], sync: bool) -> Result<(), ListError> {
        let mut file = self.create_file(name)?;
        let written = file.write_all(content).and_then(|()| if sync { file.sync_data() } else { Ok(()) });
        written.map_err(write_error(&self.partial_path(name)))
    }

    /// Names of all complete files.
    fn outputs(&self) -> Result<Vec<OsString>, ListError> {
        let mut names = self.partial.folder().names().map_err(write_error(&self.partial_path("")))?;
        names.retain(|name| name != LOCK);
        Ok(names)
    }

    /// Removes all files but these.
    pub(super) fn keep_only(&self, names: &[&str]) -> Result<(), ListError> {
        for name in self.outputs()?.iter().filter(|name| !names.iter().any(|kept| *name == kept)) {
            self.partial.folder().remove(name).map_err(write_error(&self.partial_path("")))?;
        }
        Ok(())
    }

    /// The length of a complete file.
    pub(super) fn length(&self, name: &str) -> Result<u64, ListError> {
        let failed = write_error(&self.partial_path(name));
        let file = self.partial.folder().open_file(name, false).map_err(&failed)?;
        Ok(file.metadata().map_err(failed)?.len())
    }

    /// Renames the files to their final names in an existing directory, whose other files stay, one of them last; on the disk
    /// when this returns.
    pub(super) fn add_to_existing(self, last: &str) -> Result<(), ListError> {
        let failed = write_error(&self.wanted);
        let Some(existing) = &self.existing else {
            return Err(failed(io::ErrorKind::NotFound.into()));
        };
        let mut names = self.outputs()?;
        names.sort_by_key(|name| name == last);
        for name in names {
            if name == last {
                existing.sync().map_err(&failed)?;
            }
            let renamed = self.partial.folder().rename(&name, (existing, &name));
            renamed.map_err(|error| ListError::Finish { path: self.wanted.join(&name), error })?;
        }
        existing.sync().map_err(failed)
    }

    /// Renames the files to their final names, after removing the files that an earlier job's report in the same
    /// directory lists.
    pub(super) fn finish(self, sync: bool) -> Result<(), ListError> {
        let failed = write_error(&self.wanted);
        if let Some(existing) = &self.existing {
            remove_earlier(existing)?;
            let mut names = self.outputs()?;
            names.sort_by_key(|name| name == REPORT);
            for name in names {
                let renamed = self.partial.folder().rename(&name, (existing, &name));
                renamed.map_err(|error| ListError::Finish { path: self.wanted.join(&name), error })?;
            }
            if sync {
                existing.sync().map_err(&failed)?;
            }
            return Ok(());
        }
        if sync {
            self.partial.folder().sync().map_err(&failed)?;
        }
        self.partial.finish(name_of(&self.wanted)?, FileMode::of_process()).map_err(&failed)?;
        if sync {
            crate::files::sync_directory(&self.wanted).map_err(&failed)?;
        }
        Ok(())
    }
}

fn name_of(wanted: &Path) -> Result<&OsStr, ListError> {
    wanted.file_name().ok_or_else(|| write_error(wanted)(io::ErrorKind::InvalidFilename.into()))
}

/// Checks that a job may write to an existing directory.
fn check_contents(existing: &Folder, force: bool) -> Result<(), ListError> {
    let failed = write_error(existing.path());
    for name in existing.names().map_err(&failed)? {
        if is_partial_of(&name, OsStr::new(WITHIN)) {
            continue;
        }
        if !force {
            return Err(ListError::Occupied(existing.path().to_owned()));
        }
        let foreign = existing.entry(&name).map_err(&failed)?.is_some_and(|entry| !is_ours(&entry));
        // With channel rules, rows may go to a file of any such name.
        let may_be_output = |name: &str| is_output(name) || stem_of_rows(name).is_some();
        if foreign && name.to_str().is_some_and(may_be_output) {
            return Err(ListError::OtherOwner(existing.path().join(name)));
        }
    }
    Ok(())
}

/// Whether a split may have written a file of this name.
fn is_output(name: &str) -> bool {
    let is_rows = stem_of_rows(name).is_some_and(|stem| {
        stem.starts_with("digital-") || ["notify", "paper", REJECTED, "duplicates"].contains(&stem)
    });
    is_rows || [FEEDBACK, REPORT, REPORT_HTML, MOTTAKERSPLITT_RESULT].contains(&name)
}

/// The name of a file that may have rows or letters, without its ending.
fn stem_of_rows(name: &str) -> Option<&str> {
    name.rsplit_once('.').filter(|(_, ending)| is_ending(ending)).map(|(stem, _)| stem)
}

/// Removes the files of an earlier job, as far as they belong to this user.
fn remove_earlier(existing: &Folder) -> Result<(), ListError> {
    let failed = write_error(&existing.path().join(REPORT));
    let is_own_file = |name: &str| {
        let entry = existing.entry(name);
        entry.is_ok_and(|entry| entry.is_some_and(|entry| is_ours(&entry) && is_regular(&entry)))
    };
    if !is_own_file(REPORT) {
        return Ok(());
    }
    let mut text = Vec::new();
    existing.open_own(REPORT).and_then(|mut file| file.read_to_end(&mut text)).map_err(&failed)?;
    let listed =
        serde_json::from_slice::<EarlierReport>(&text).map(|report| report.files).unwrap_or_default();
    existing.remove(REPORT).map_err(&failed)?;
    // The report may have been edited: only names that a split gives.
    let listed = listed.into_iter().filter(EarlierFile::is_output).map(|file| file.path);
    for name in [FEEDBACK, REPORT_HTML, MOTTAKERSPLITT_RESULT].map(str::to_owned).into_iter().chain(listed) {
        if !name.contains('/') && is_own_file(&name) {
            // Best effort: a file of the same name is replaced.
            let _ = existing.remove(&name);
        }
    }
    Ok(())
}

#[derive(serde::Deserialize)]
struct EarlierReport {
    #[serde(default)]
    files: Vec<EarlierFile>,
}

#[derive(serde::Deserialize)]
struct EarlierFile {
    path: String,
    channel: Option<String>,
}

impl EarlierFile {
    /// Whether a split may have given it its name.
    fn is_output(&self) -> bool {
        let of_channel = |channel: &String| {
            let rest = stem_of_rows(&self.path).and_then(|stem| stem.strip_prefix(channel.as_str()));
            is_channel_name(channel) && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        };
        is_output(&self.path) || self.channel.as_ref().is_some_and(of_channel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).expect("read").flatten();
        let mut names: Vec<_> =
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn one_job_at_a_time_and_no_partial_files_left() {
        let root = tempfile::tempdir().expect("directory");
        let (new, old) = (root.path().join("new"), root.path().join("old"));
        fs::create_dir(&old).expect("made");
        for wanted in [&new, &old] {
            let first = OutputDirectory::create(wanted, false).expect("free");
            first.add("paper.csv", b"half", false).expect("written");
            assert!(matches!(OutputDirectory::create(wanted, false), Err(ListError::Busy(_))));
            let half = first.partial_path("paper.csv");
            assert!(half.exists(), "the second job does not touch it");
            drop(first);
            assert!(!half.exists());
            let second = OutputDirectory::create(wanted, false).expect("free again");
            second.add(REPORT, b"{}", true).expect("written");
            second.finish(true).expect("named");
            assert_eq!(names(wanted), [REPORT]);
            assert_eq!(fs::metadata(wanted.join(REPORT)).expect("there").permissions().mode() & 0o777, 0o600);
        }
        assert_eq!(names(root.path()), ["new", "old"]);
        assert_eq!(fs::metadata(&new).expect("there").permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn planted_links_and_directories_are_neither_followed_nor_emptied() {
        let root = tempfile::tempdir().expect("directory");
        let (precious, wanted) = (root.path().join("precious"), root.path().join("out"));
        fs::create_dir(&precious).expect("made");
        fs::write(precious.join("thesis"), "years").expect("written");
        let as_partial = root.path().join(".out.0123456789abcdef.partial");
        // A link with the name of an incomplete directory, with the fixed name of earlier versions, and a directory of
        // this user that someone has renamed.
        symlink(&precious, &as_partial).expect("linked");
        symlink(&precious, root.path().join(".out.partial")).expect("linked");
        let renamed = root.path().join(".out.fedcba9876543210.partial");
        fs::create_dir(&renamed).expect("made");
        fs::write(renamed.join("lock"), "").expect("written");
        fs::write(renamed.join("thesis"), "years").expect("written");
        let job = OutputDirectory::create(&wanted, false).expect("free");
        job.add(REPORT, b"{}", false).expect("written");
        job.finish(false).expect("named");
        assert_eq!(names(&precious), ["thesis"]);
        assert_eq!(names(&renamed), ["lock", "thesis"]);
        // A report that lists other names than a split gives.
        let report = r#"{"files":[{"path":"thesis"},{"path":"../precious/thesis"},{"path":"paper.csv"},
            {"path":"thesis","channel":"thesis"},{"path":"../precious/thesis","channel":"../precious/thesis"},
            {"path":"hold.csv","channel":"hold"},{"path":"box-brevia.csv","channel":"box"}]}"#;
        fs::write(wanted.join(REPORT), report).expect("written");
        fs::write(wanted.join("thesis"), "years").expect("written");
        fs::write(wanted.join("paper.csv"), "old").expect("written");
        let job = OutputDirectory::create(&wanted, true).expect("free");
        job.add(REPORT, b"{}", false).expect("written");
        job.finish(false).expect("named");
        assert_eq!(names(&wanted), [REPORT, "thesis"]);
        assert_eq!(names(&precious), ["thesis"]);
    }
}
