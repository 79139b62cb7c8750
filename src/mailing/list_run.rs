//! The print run that a list is.

use super::rows::RowProblem;
use crate::runs::{Column, CountPlace, LetterProblem, Run, RunDescription, RunError, RunProblem, Totals};
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A print run as a job reads it.
#[derive(Clone)]
pub(super) struct ListRun(Arc<Opened>);

struct Opened {
    run: Box<dyn Run>,
    description: RunDescription,
    /// Those of [`ListOptions::cell_columns`](super::ListOptions::cell_columns).
    columns: Vec<OpenedColumn>,
}

/// A column, and whether a letter had a text in it.
struct OpenedColumn {
    name: String,
    column: Box<dyn Column>,
    is_read: AtomicBool,
    has_text: AtomicBool,
}

impl PartialEq for ListRun {
    fn eq(&self, other: &ListRun) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for ListRun {}

impl fmt::Debug for ListRun {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.run.fmt(out)
    }
}

impl std::ops::Deref for ListRun {
    type Target = dyn Run;

    fn deref(&self) -> &(dyn Run + 'static) {
        &*self.0.run
    }
}

impl ListRun {
    /// A run that has been opened, and the columns of its letters that are read, with their names.
    pub(super) fn new(
        run: Box<dyn Run>,
        description: RunDescription,
        columns: Vec<(String, Box<dyn Column>)>,
    ) -> ListRun {
        let columns = columns.into_iter().map(|(name, column)| OpenedColumn {
            name,
            column,
            is_read: AtomicBool::new(false),
            has_text: AtomicBool::new(false),
        });
        let columns = columns.collect();
        ListRun(Arc::new(Opened { run, description, columns }))
    }

    pub(super) fn description(&self) -> &RunDescription {
        &self.0.description
    }

    pub(super) fn column_of(&self, column: usize) -> &dyn Column {
        &*self.0.columns[column].column
    }

    /// Columns in which no letter had a text, of those that were read.
    pub(super) fn empty_columns(&self) -> Vec<String> {
        let is_empty = |column: &&OpenedColumn| {
            column.is_read.load(Ordering::Relaxed) && !column.has_text.load(Ordering::Relaxed)
        };
        let mut names: Vec<String> =
            self.0.columns.iter().filter(is_empty).map(|one| one.name.clone()).collect();
        names.dedup();
        names
    }

    /// Appends a text of a letter.
    pub(super) fn read_column(&self, column: usize, letter: &[u8], text: &mut Vec<u8>) {
        let column = &self.0.columns[column];
        column.column.read(letter, text);
        // Most letters find both as they are: the flags are written once.
        if !column.is_read.load(Ordering::Relaxed) {
            column.is_read.store(true, Ordering::Relaxed);
        }
        if !text.is_empty() && !column.has_text.load(Ordering::Relaxed) {
            column.has_text.store(true, Ordering::Relaxed);
        }
    }

    /// Numbers before the first letter, and behind the last one, that depend on the letters.
    ///
    /// Errors: one is missing, or is not that of all letters.
    pub(super) fn checked_counts(
        &self,
        (beginning, end): (&[u8], &[u8]),
        end_at: u64,
        totals: &Totals,
    ) -> Result<[Vec<CountPlace>; 2], RunError> {
        let of = |around: &[u8], is_end: bool, base: u64| {
            let moved = |error: RunError| error.moved(base);
            let counts = self.counts(around, is_end).map_err(moved)?;
            counts.iter().try_for_each(|count| count.check(around, totals)).map_err(moved)?;
            Ok(counts)
        };
        let counts = [of(beginning, false, 0)?, of(end, true, end_at)?];
        let is_there = |name: &String| counts.iter().flatten().any(|count| count.name == *name);
        match self.count_names().into_iter().find(|name| !is_there(name)) {
            Some(name) => Err(RunProblem::NoNumber(name).at(0)),
            None => Ok(counts),
        }
    }
}

/// How the files of a job end: as the name of the run does, without that of a compression.
pub(super) fn ending(description: Option<&RunDescription>, list: &Path) -> String {
    let Some(description) = description else { return ".csv".to_owned() };
    let is_packed = |ending: &str| matches!(ending, "gz" | "zst" | "zstd");
    let name = list.file_name().unwrap_or_default();
    let mut name = Path::new(name);
    let of = |name: &Path| name.extension().and_then(|ending| ending.to_str()).map(str::to_ascii_lowercase);
    if of(name).is_some_and(|ending| is_packed(&ending)) {
        name = Path::new(name.file_stem().unwrap_or_default());
    }
    let ending = of(name).filter(|ending| is_ending(ending));
    format!(".{}", ending.as_deref().unwrap_or(description.usual_ending()))
}

/// Whether a text may be how the files of a job end, after the dot. Reports have other endings.
pub(super) fn is_ending(text: &str) -> bool {
    let is_own = ["json", "html", "gz", "zst", "partial"].contains(&text);
    (1..=8).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric()) && !is_own
}

impl From<LetterProblem> for RowProblem {
    fn from(problem: LetterProblem) -> RowProblem {
        match problem {
            LetterProblem::NoId => RowProblem::NoId,
            LetterProblem::SeveralIds => RowProblem::MoreThanOneIdentity,
            LetterProblem::UnknownRecord => RowProblem::UnknownRecord,
            LetterProblem::MissingColumn => RowProblem::MissingColumn,
            LetterProblem::BadText => RowProblem::BadText,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_end_as_the_run_does() {
        let text = "form = \"records\"\nletter_key = \"0:2\"\nid_at = \"2:12\"";
        let description = RunDescription::parse(text).expect("a description");
        for (list, expected) in [
            ("night.DAT", ".dat"),
            ("night.dat.gz", ".dat"),
            ("night.zst", ".txt"),
            ("-", ".txt"),
            ("a/b.c/night", ".txt"),
            ("night.much-too-long", ".txt"),
            ("night.json", ".txt"),
            (".hidden", ".txt"),
        ] {
            assert_eq!(ending(Some(&description), Path::new(list)), expected, "{list}");
        }
        assert_eq!(ending(None, Path::new("list.txt")), ".csv");
    }
}
