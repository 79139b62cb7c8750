//! The files of a split.
//!
//! They are written to a temporary directory, and get their final names when all are complete: if the output
//! directory is new, all at once by a rename of the temporary directory; if it exists, one by one, the report last.

use super::buffers::Buffers;
use super::error::ListError;
use super::feedback::{self, Feedback, RowCounter, decimal_digits};
use super::options::Duplicates;
use super::parse::ChunkRows;
use super::report::{REPORT, REPORT_HTML};
use super::tally::{Tally, Verdict, VerdictNumbers};
use crate::cpu::{self, Work};
use crate::register::{Kind, Operator, Outcome, Register};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Name of the feedback file.
pub const FEEDBACK: &str = "feedback.csv";
/// Name of the file of rejected rows.
pub const REJECTED: &str = "rejected.csv";

/// A finished file of rows.
pub(super) struct OutputFile {
    pub(super) path: String,
    pub(super) outcome: String,
    pub(super) operator: Option<u16>,
    pub(super) rows: u64,
    pub(super) bytes: u64,
}

/// What a chunk gets when it is its turn.
pub(super) struct ChunkOffsets {
    /// Number of the chunk, from 0.
    pub(super) chunk: u64,
    /// Number of its first row, from 1.
    pub(super) first_row: u64,
    /// For each file the offset of the chunk's part, the feedback last.
    pub(super) offsets: Vec<u64>,
}

/// An open file of rows.
struct RowFile {
    name: String,
    outcome: &'static str,
    operator: Option<u16>,
    file: File,
}

/// All files of a split, open for writing.
pub(super) struct Outputs {
    directory: OutputDirectory,
    files: Vec<RowFile>,
    feedback_file: File,
    /// For each verdict its index in `files`.
    file_of: Vec<usize>,
    feedback: Feedback,
    /// Byte order mark and header of the list, with which every file but the feedback begins.
    prefix: Vec<u8>,
}

fn write_error(path: &Path) -> impl FnOnce(io::Error) -> ListError {
    let path = path.to_owned();
    move |error| ListError::Write { path, error }
}

impl Outputs {
    pub(super) fn create(
        directory: OutputDirectory,
        register: &Register,
        duplicates: Duplicates,
        prefix: &[u8],
    ) -> Result<Outputs, ListError> {
        let numbers = VerdictNumbers::new(register.operators().len());
        let open = |name: &str| {
            let path = directory.partial.join(name);
            let file = File::options().read(true).write(true).create_new(true).open(&path);
            file.and_then(|file| {
                file.write_all_at(if name == FEEDBACK { feedback::HEADER } else { prefix }, 0).map(|()| file)
            })
            .map_err(write_error(&path))
        };
        let mut files = Vec::new();
        for (name, outcome, operator) in names(register, duplicates) {
            files.push(RowFile { file: open(&name)?, name, outcome, operator });
        }
        let index = |verdict: Verdict| {
            let operator = match verdict {
                Verdict::Decided(Outcome::Digital(operator)) => Some(operator.get()),
                _ => None,
            };
            let goes_to = |file: &RowFile| file.outcome == verdict.outcome() && file.operator == operator;
            // Outcomes that are impossible in this job (notify in FaR) have no file and get no rows.
            files.iter().position(goes_to).unwrap_or(0)
        };
        let file_of = numbers.all().map(index).collect();
        let feedback_file = open(FEEDBACK)?;
        let feedback = Feedback::new(register, numbers);
        Ok(Outputs { directory, files, feedback_file, file_of, feedback, prefix: prefix.to_vec() })
    }

    pub(super) fn offset_allocator(&self) -> OffsetAllocator<'_> {
        let mut next = vec![self.prefix.len() as u64; self.files.len()];
        next.push(feedback::HEADER.len() as u64);
        OffsetAllocator { outputs: self, next }
    }

    /// Buffers for the parts of a chunk, the feedback last.
    pub(super) fn buffers(&self) -> Buffers {
        Buffers::new(self.files.len() + 1)
    }

    /// Writes the rows of a chunk, with which `bytes` begin, to their files.
    pub(super) fn write(
        &self,
        buffers: &mut Buffers,
        chunk: &ChunkOffsets,
        bytes: &[u8],
        rows: &ChunkRows,
    ) -> Result<(), ListError> {
        let mut lengths = vec![0; self.files.len() + 1];
        self.add_lengths(chunk.first_row, &rows.tally, &mut lengths);
        buffers.lay_out(&lengths);
        let first_row = chunk.first_row;
        if rows.tally.repeats == 0 {
            cpu::vectorized(RenderRows::<false> { outputs: self, buffers, first_row, bytes, rows });
        } else {
            cpu::vectorized(RenderRows::<true> { outputs: self, buffers, first_row, bytes, rows });
        }
        // The kernel lets one thread at a time write to a file, so every other chunk begins with the feedback, the
        // largest file.
        let feedback = self.files.len();
        if chunk.chunk % 2 == 1 {
            self.write_buffer(feedback, buffers, chunk)?;
        }
        for file in 0..feedback {
            self.write_buffer(file, buffers, chunk)?;
        }
        if chunk.chunk.is_multiple_of(2) {
            self.write_buffer(feedback, buffers, chunk)?;
        }
        Ok(())
    }

    /// Writes the buffer of one file; the feedback has the index after all others.
    fn write_buffer(&self, file: usize, buffers: &Buffers, chunk: &ChunkOffsets) -> Result<(), ListError> {
        let bytes = buffers.filled(file);
        if bytes.is_empty() {
            return Ok(());
        }
        let (name, file_handle) = match self.files.get(file) {
            Some(file) => (&file.name[..], &file.file),
            None => (FEEDBACK, &self.feedback_file),
        };
        let written = file_handle.write_all_at(bytes, chunk.offsets[file]);
        written.map_err(write_error(&self.directory.partial.join(name)))
    }

    /// Adds the bytes of the counted rows, the first of which is row `first_row`, to the length of each file, the
    /// feedback last.
    fn add_lengths(&self, first_row: u64, tally: &Tally, lengths: &mut [u64]) {
        for (&file, &bytes) in self.file_of.iter().zip(&tally.bytes) {
            lengths[file] += bytes;
        }
        lengths[self.files.len()] += self.feedback_bytes(first_row, tally);
    }

    /// Checks that every file has the counted rows and bytes, and lists them.
    pub(super) fn check(&self, tally: &Tally, rows: u64) -> Result<Vec<OutputFile>, ListError> {
        let mut listed = Vec::new();
        for (index, file) in self.files.iter().enumerate() {
            let mine = || (0..self.file_of.len()).filter(|&verdict| self.file_of[verdict] == index);
            let bytes = self.prefix.len() as u64 + mine().map(|verdict| tally.bytes[verdict]).sum::<u64>();
            let path = self.directory.partial.join(&file.name);
            if file.file.metadata().map_err(write_error(&path))?.len() != bytes {
                return Err(ListError::Sums);
            }
            listed.push(OutputFile {
                path: file.name.clone(),
                outcome: file.outcome.to_owned(),
                operator: file.operator,
                rows: mine().map(|verdict| tally.letters[verdict]).sum(),
                bytes,
            });
        }
        let feedback = self.feedback_file.metadata().map_err(write_error(&self.directory.partial))?.len();
        let expected = feedback::HEADER.len() as u64 + self.feedback_bytes(1, tally);
        let listed_rows: u64 = listed.iter().map(|file| file.rows).sum();
        if feedback != expected || tally.rows_of_list() != rows || listed_rows != tally.total_letters() {
            return Err(ListError::Sums);
        }
        Ok(listed)
    }

    /// Bytes of the feedback on the counted rows, the first of which is row `first_row`.
    fn feedback_bytes(&self, first_row: u64, tally: &Tally) -> u64 {
        let tails = tally.letters.iter().enumerate();
        let tails = tails.map(|(verdict, letters)| letters * self.feedback.bytes_without_number(verdict));
        decimal_digits(first_row, tally.rows_of_list()) + tally.repeat_digits + tails.sum::<u64>()
    }

    /// Syncs all files to the disk.
    pub(super) fn sync(&self) -> Result<(), ListError> {
        let mut files = self.files.iter().map(|file| &file.file).chain([&self.feedback_file]);
        files.try_for_each(File::sync_data).map_err(write_error(&self.directory.partial))
    }

    pub(super) fn into_directory(self) -> OutputDirectory {
        self.directory
    }
}

/// Copies the rows of a chunk to the buffers of their files, and appends their feedback. `TWICE` if a row may be two
/// letters.
struct RenderRows<'a, const TWICE: bool> {
    outputs: &'a Outputs,
    buffers: &'a mut Buffers,
    first_row: u64,
    bytes: &'a [u8],
    rows: &'a ChunkRows,
}

impl<const TWICE: bool> Work for RenderRows<'_, TWICE> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let RenderRows { outputs, buffers, first_row, bytes, rows } = self;
        let (mut buffers, feedback) = (buffers.filling(), outputs.files.len());
        let mut counter = RowCounter::new(first_row);
        let (mut start, mut last) = (0, 0);
        for ((&end, &verdict), identity) in rows.ends.iter().zip(&rows.verdicts).zip(&rows.identities) {
            let verdict = usize::from(verdict);
            if TWICE && end == last {
                counter.go_back();
            } else {
                start = last;
            }
            buffers.push(outputs.file_of[verdict], &bytes[start..], end - start);
            outputs.feedback.push(&mut buffers, feedback, &mut counter, identity, verdict);
            last = end;
        }
    }
}

/// Names, outcomes and operators of the files of rows.
fn names(register: &Register, duplicates: Duplicates) -> Vec<(String, &'static str, Option<u16>)> {
    let slugs: Vec<String> = register.operators().iter().map(slug).collect();
    let digital = (0u16..).zip(register.operators()).zip(&slugs).map(|((index, operator), slug)| {
        let shared = slugs.iter().filter(|other| *other == slug).count() > 1;
        let name = match shared {
            true => format!("digital-{slug}-{}", slug_of(&operator.id)),
            false => format!("digital-{slug}"),
        };
        (name, "digital", Some(index))
    });
    let mut files: Vec<(String, &'static str, Option<u16>)> = Vec::new();
    for (name, outcome, operator) in digital {
        // Equal file names are numbered.
        let taken = |name: &str| files.iter().any(|(other, ..)| other == name);
        let numbered = (2..).map(|number| format!("{name}-{number}.csv"));
        let name = std::iter::once(format!("{name}.csv")).chain(numbered).find(|name| !taken(name));
        files.push((name.unwrap_or_default(), outcome, operator));
    }
    match register.kind() {
        Kind::Krr => files.push(("notify.csv".to_owned(), "notify", None)),
        Kind::Far => {}
    }
    files.push(("paper.csv".to_owned(), "paper", None));
    files.push((REJECTED.to_owned(), "rejected", None));
    if duplicates == Duplicates::SetAside {
        files.push(("duplicates.csv".to_owned(), "duplicate", None));
    }
    files
}

fn slug(operator: &Operator) -> String {
    let slug = slug_of(&operator.name);
    if slug.is_empty() { slug_of(&operator.id) } else { slug }
}

/// A name reduced to lower-case ASCII letters, digits and single hyphens.
fn slug_of(name: &str) -> String {
    let mut slug = String::new();
    for character in name.to_lowercase().chars() {
        match character {
            'a'..='z' | '0'..='9' => slug.push(character),
            'å' | 'ä' => slug.push('a'),
            'ö' | 'ø' => slug.push('o'),
            'æ' => slug.push_str("ae"),
            'é' => slug.push('e'),
            _ if !slug.is_empty() && !slug.ends_with('-') => slug.push('-'),
            _ => {}
        }
    }
    slug.trim_end_matches('-').to_owned()
}

/// Allocates offsets in the files, in the order of the list.
pub(super) struct OffsetAllocator<'a> {
    outputs: &'a Outputs,
    /// Next free byte of each file, the feedback last.
    next: Vec<u64>,
}

impl OffsetAllocator<'_> {
    /// Allocates the offsets of a chunk's parts.
    pub(super) fn allocate(&mut self, first_row: u64, tally: &Tally) -> Vec<u64> {
        let offsets = self.next.clone();
        self.outputs.add_lengths(first_row, tally, &mut self.next);
        offsets
    }
}

/// The directory of a job's files.
pub(super) struct OutputDirectory {
    wanted: PathBuf,
    /// The temporary directory, until all files are complete.
    partial: PathBuf,
    /// Held while the job runs. The lock of a job that was killed is free.
    _lock: File,
    /// Whether `wanted` existed before the job.
    existed: bool,
    finished: bool,
}

impl OutputDirectory {
    /// Makes the temporary directory, and removes files that a killed job left in it.
    ///
    /// Errors: `wanted` is not empty and `force` is false; another job is writing there.
    pub(super) fn create(wanted: &Path, force: bool) -> Result<OutputDirectory, ListError> {
        let existed = wanted.exists();
        let partial = if existed { wanted.join(".nabar.partial") } else { crate::files::partial(wanted) };
        if existed && !force {
            let entries = fs::read_dir(wanted).map_err(write_error(wanted))?;
            let others = entries.flatten().any(|entry| entry.path() != partial);
            if others {
                return Err(ListError::Occupied(wanted.to_owned()));
            }
        }
        fs::create_dir_all(&partial).map_err(write_error(&partial))?;
        let lock_path = partial.join("lock");
        let lock = File::create(&lock_path).map_err(write_error(&lock_path))?;
        if lock.try_lock().is_err() {
            return Err(ListError::Busy(wanted.to_owned()));
        }
        for entry in fs::read_dir(&partial).map_err(write_error(&partial))?.flatten() {
            if entry.path() != lock_path {
                fs::remove_file(entry.path()).map_err(write_error(&entry.path()))?;
            }
        }
        Ok(OutputDirectory { wanted: wanted.to_owned(), partial, _lock: lock, existed, finished: false })
    }

    /// Writes a file.
    pub(super) fn add(&self, name: &str, content: &[u8], sync: bool) -> Result<(), ListError> {
        let path = self.partial.join(name);
        let write = || {
            let mut file = File::create(&path)?;
            file.write_all(content)?;
            if sync { file.sync_data() } else { Ok(()) }
        };
        write().map_err(write_error(&path))
    }

    /// Removes all files but these.
    pub(super) fn keep_only(&self, names: &[&str]) -> Result<(), ListError> {
        for entry in fs::read_dir(&self.partial).map_err(write_error(&self.partial))?.flatten() {
            let name = entry.file_name();
            if name != "lock" && !names.iter().any(|kept| name == *kept) {
                fs::remove_file(entry.path()).map_err(write_error(&entry.path()))?;
            }
        }
        Ok(())
    }

    /// Renames the files to their final names, after removing the files that an earlier job's report in the same
    /// directory lists.
    pub(super) fn finish(mut self, sync: bool) -> Result<(), ListError> {
        let lock = self.partial.join("lock");
        if self.existed {
            self.remove_earlier()?;
            let mut names: Vec<_> = fs::read_dir(&self.partial)
                .map_err(write_error(&self.partial))?
                .flatten()
                .map(|entry| entry.file_name())
                .filter(|name| name != "lock")
                .collect();
            names.sort_by_key(|name| name == REPORT);
            for name in names {
                let path = self.wanted.join(&name);
                fs::rename(self.partial.join(&name), &path)
                    .map_err(|error| ListError::Finish { path, error })?;
            }
        } else {
            fs::remove_file(&lock).map_err(write_error(&lock))?;
            fs::rename(&self.partial, &self.wanted).map_err(write_error(&self.wanted))?;
        }
        self.finished = true;
        if sync {
            let made = self.wanted.join(REPORT);
            crate::files::sync_directory(&made).map_err(write_error(&self.wanted))?;
            crate::files::sync_directory(&self.wanted).map_err(write_error(&self.wanted))?;
        }
        Ok(())
    }

    fn remove_earlier(&self) -> Result<(), ListError> {
        let report = self.wanted.join(REPORT);
        let Ok(text) = fs::read(&report) else { return Ok(()) };
        let listed =
            serde_json::from_slice::<EarlierReport>(&text).map(|report| report.files).unwrap_or_default();
        fs::remove_file(&report).map_err(write_error(&report))?;
        for path in [FEEDBACK, REPORT_HTML] {
            let _ = fs::remove_file(self.wanted.join(path));
        }
        for EarlierFile { path } in listed {
            // Plain names only: the report may have been edited.
            if Path::new(&path).components().count() == 1 && !path.starts_with('.') {
                let _ = fs::remove_file(self.wanted.join(path));
            }
        }
        Ok(())
    }
}

#[derive(serde::Deserialize)]
struct EarlierReport {
    #[serde(default)]
    files: Vec<EarlierFile>,
}

#[derive(serde::Deserialize)]
struct EarlierFile {
    path: String,
}

impl Drop for OutputDirectory {
    fn drop(&mut self) {
        // Best effort: the next job removes the rest. A renamed directory is no longer at this path.
        let partial = !self.finished || self.existed;
        if partial {
            let _ = fs::remove_dir_all(&self.partial);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_job_at_a_time_and_no_partial_files_left() {
        let root = tempfile::tempdir().expect("directory");
        let (new, old) = (root.path().join("new"), root.path().join("old"));
        fs::create_dir(&old).expect("made");
        for wanted in [&new, &old] {
            let first = OutputDirectory::create(wanted, false).expect("free");
            first.add("paper.csv", b"half", false).expect("written");
            assert!(matches!(OutputDirectory::create(wanted, false), Err(ListError::Busy(_))));
            assert!(first.partial.join("paper.csv").exists(), "the second job does not touch it");
            drop(first);
            let second = OutputDirectory::create(wanted, false).expect("free again");
            assert!(!second.partial.join("paper.csv").exists());
            second.add(REPORT, b"{}", true).expect("written");
            second.finish(true).expect("named");
            let names: Vec<_> =
                fs::read_dir(wanted).expect("read").flatten().map(|e| e.file_name()).collect();
            assert_eq!(names, [REPORT]);
        }
    }

    #[test]
    fn slugs() {
        for (name, slug) in [
            ("Kivra", "kivra"),
            ("Min myndighetspost", "min-myndighetspost"),
            ("e-Boks (gamla)", "e-boks-gamla"),
            ("Åkes Östra Brevlåda AB", "akes-ostra-brevlada-ab"),
            ("../../etc", "etc"),
            ("📮", ""),
        ] {
            assert_eq!(slug_of(name), slug);
        }
    }
}
