//! The digital part of an earlier split, decided again shortly before dispatch.
//!
//! Days may pass between a split and the dispatch of its letters. Then some recipients have left their mailbox or declined
//! the sender, and some have another operator. A recheck splits each `digital-*.csv` again and writes, to a directory of
//! its own, the letters that are still to be sent to their operator, those that must be printed late, and those that go to
//! another operator than before.

use super::error::ListError;
use super::output_directory::{OutputDirectory, write_error};
use super::report::{FileSummary, REPORT, Report};
use super::split_directory::SplitDirectory;
use super::{Destination, Mailing, split};
use crate::files::WorkDirectory;
use serde::Serialize;
use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::path::Path;

/// Letters to recipients who cannot be reached digitally any longer.
pub const LATE_PAPER: &str = "late-paper.csv";
/// Letters to recipients who have another operator now.
pub const LATE_MOVED: &str = "late-moved.csv";

/// What a recheck found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Rechecked {
    /// Letters that were digital.
    pub letters: u64,
    /// Letters that are still digital, at the same operator.
    pub unchanged: u64,
    /// Letters to recipients who cannot be reached digitally any longer.
    pub late_paper: u64,
    /// Letters to recipients who have another operator.
    pub late_moved: u64,
    /// Where the new answers come from, as in `report.json`; absent without letters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub register: Option<super::RegisterSummary>,
}

impl SplitDirectory {
    /// Decides the digital letters by the register of `mailing` again, and writes the directory. Letters to operators of
    /// another register, which channel rules asked too, are left as they are.
    ///
    /// Errors: those of a split; [`ListError::ListChanged`] if a file does not have the rows that the report says.
    pub fn recheck(&self, mailing: &Mailing<'_>, to: &Destination<'_>) -> Result<Rechecked, ListError> {
        let directory = OutputDirectory::create(to.directory, to.force)?;
        let work = WorkDirectory::beside(to.directory).map_err(write_error(to.directory))?;
        let mut late = [LATE_PAPER, LATE_MOVED].map(|name| LateFile::new(&directory, name));
        let mut done = Rechecked { letters: 0, unchanged: 0, late_paper: 0, late_moved: 0, register: None };
        for (number, (file, operator)) in self.digital(mailing.question.register().source_name()).enumerate()
        {
            let list = self.path().join(&file.path);
            let part = work.path().join(number.to_string());
            let to_part = Destination::new(&part);
            let report =
                self.read_as_list(|options| split(&Mailing { options, list: &list, ..*mailing }, &to_part))?;
            let Some(files) = report.files.as_ref().filter(|_| report.list.rows == file.rows) else {
                return Err(ListError::ListChanged);
            };
            let prefix = prefix_bytes(&report, files);
            for written in files.iter().filter(|written| written.rows > 0) {
                let from = part.join(&written.path);
                done.letters += written.rows;
                match &written.operator_id {
                    Some(now) if now == operator => {
                        done.unchanged += written.rows;
                        let mut kept = directory.create_file(&file.path)?;
                        let copied = File::open(&from).and_then(|mut from| io::copy(&mut from, &mut kept));
                        copied.map_err(write_error(&from))?;
                    }
                    Some(_) => {
                        done.late_moved += written.rows;
                        late[1].append(&from, prefix)?;
                    }
                    None => {
                        done.late_paper += written.rows;
                        late[0].append(&from, prefix)?;
                    }
                }
            }
            done.register = Some(report.register);
        }
        let json = serde_json::to_vec_pretty(&done)
            .map_err(|error| ListError::Write { path: to.directory.join(REPORT), error: error.into() })?;
        directory.add("recheck.json", &json, to.sync)?;
        drop(late);
        directory.finish(to.sync)?;
        Ok(done)
    }
}

/// Bytes of what is above the first row. It is in each file of a split once, and the rows are in one of them: so the files
/// have as many bytes more than the list as all but one of them have above their first row.
fn prefix_bytes(report: &Report, files: &[FileSummary]) -> u64 {
    let all: u64 = files.iter().map(|file| file.bytes).sum();
    // A split has a file of paper and one of rejected rows at least.
    all.saturating_sub(report.list.bytes) / (files.len() as u64 - 1).max(1)
}

/// A file of late letters, which begins with the header of the list.
struct LateFile<'d> {
    directory: &'d OutputDirectory,
    name: &'static str,
    file: Option<File>,
}

impl LateFile<'_> {
    fn new<'d>(directory: &'d OutputDirectory, name: &'static str) -> LateFile<'d> {
        LateFile { directory, name, file: None }
    }

    /// Appends the rows of a file; the first one with what is above them.
    fn append(&mut self, from: &Path, prefix: u64) -> Result<(), ListError> {
        let failed = write_error(from);
        let mut from = File::open(from).map_err(&failed)?;
        let file = match &mut self.file {
            Some(file) => {
                from.seek(SeekFrom::Start(prefix)).map_err(&failed)?;
                file
            }
            None => self.file.insert(self.directory.create_file(self.name)?),
        };
        io::copy(&mut from, file).map(drop).map_err(&failed)
    }
}
