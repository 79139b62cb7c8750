//! The answers of a job: each is durable in the journal, and what the register file needs of it is in memory, so that the file
//! need not be made of the journal when the last answer has come.

use super::answer::{Answers, subject};
use super::asking::Job;
use super::journal::{Journal, JournalError, Subject};
use super::register::JobAnswers;
use super::{SourceError, Terms};
use crate::identities::Ordinal;
use crate::register::Scope;
use jiff::Timestamp;
use std::path::Path;

/// The answers for some ids.
pub(super) struct Collected<'i> {
    journal: Journal,
    pub(super) ids: &'i [Ordinal],
    /// Ids before this one are answered or being asked.
    next: usize,
    /// Older answers do not count.
    since: Timestamp,
    answers: JobAnswers<'i>,
}

impl<'i> Collected<'i> {
    /// Opens the journal of a job, or begins it. Its answers for `ids`, which ascend, count if they are not older than `since`.
    pub(super) fn open(
        path: &Path,
        subject: &Subject,
        ids: &'i [Ordinal],
        since: Timestamp,
    ) -> Result<Collected<'i>, SourceError> {
        let (journal, mut answers) = (Journal::open(path, subject)?, JobAnswers::new(subject.kind, ids));
        let mut failed = None;
        journal.for_each(|id, time, answer| {
            if time >= since && failed.is_none() {
                failed = answers.add(id, time, &answer).err();
            }
        })?;
        failed.map_or(Ok(Collected { journal, ids, next: 0, since, answers }), Err)
    }

    /// The number of ids without an answer.
    pub(super) fn left(&self) -> u64 {
        (0..self.ids.len()).filter(|index| !self.answers.is_answered(*index)).count() as u64
    }

    /// The first id without an answer from an index on, and its index.
    pub(super) fn unanswered(&self, from: usize) -> Option<(usize, Ordinal)> {
        let index = (from..self.ids.len()).find(|index| !self.answers.is_answered(*index))?;
        Some((index, self.ids[index]))
    }

    /// When answers must have been given to count.
    pub(super) fn since(&self) -> Timestamp {
        self.since
    }

    /// Whether the journal has no answers.
    pub(super) fn is_empty(&self) -> bool {
        self.journal.is_empty()
    }

    /// Removes the journal.
    pub(super) fn remove(self) -> Result<(), JournalError> {
        self.journal.remove()
    }

    /// Writes the register file. Returns what it says of itself, its length in bytes, and the journal.
    pub(super) fn write(self, terms: &Terms<'_>, path: &Path) -> Result<(Scope, u64, Journal), SourceError> {
        let (scope, bytes) = self.answers.write(&self.journal, self.since, terms, path)?;
        Ok((scope, bytes, self.journal))
    }
}

impl Job for Collected<'_> {
    fn next(&mut self) -> Option<Ordinal> {
        let (index, id) = self.unanswered(self.next)?;
        self.next = index + 1;
        Some(id)
    }

    fn append(&mut self, time: Timestamp, answers: Answers) -> Result<(), SourceError> {
        for answer in &answers.answers {
            if let Some(id) = subject(answer) {
                self.answers.add(id, time, answer)?;
            }
        }
        Ok(self.journal.append(time, answers)?)
    }

    fn sync(&mut self) -> Result<(), SourceError> {
        Ok(self.journal.sync()?)
    }
}
