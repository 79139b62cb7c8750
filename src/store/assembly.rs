//! Assembling a batch: lines in order of their sequence numbers, without those that the register has already.

use super::batch::{ApplyError, Batch, Lines, SetAside};
use super::directory::DataDirectory;
use super::error::StoreError;
use super::history::{History, Log};
use crate::changes::json::BadLine;
use crate::changes::{Change, ChangeBody, PutPerson};
use crate::decode::Reason;
use crate::register::Kind;
use crate::register::contact::Contact;
use crate::rejected::RejectedLimit;

/// The changes of a batch that are new to a register.
#[derive(Default)]
pub(super) struct BatchAssembly {
    pub(super) changes: Vec<Change>,
    /// The line number of each change.
    pub(super) lines: Vec<u64>,
    /// Lines and changes that the register has already.
    old: Vec<(u64, Change)>,
    skipped: u64,
    pub(super) set_aside: Vec<SetAside>,
    /// The sequence number after `changes`.
    cursor: u64,
    /// The time of the last change.
    time: i64,
    /// Lines without a legible sequence number since the last change.
    unnumbered: Vec<(u64, Reason)>,
}

impl BatchAssembly {
    /// Assembles lines after the sequence number `current`.
    pub(super) fn new(
        lines: Lines,
        kind: Kind,
        current: u64,
        time: i64,
        skip_bad: bool,
    ) -> Result<BatchAssembly, ApplyError> {
        let count = lines.len();
        let (changes, numbers) = (Vec::with_capacity(count), Vec::with_capacity(count));
        let mut assembly =
            BatchAssembly { changes, lines: numbers, cursor: current, time, ..BatchAssembly::default() };
        for (line, read) in lines.lines {
            // Pages and changes from other sources have not been checked against the kind of register.
            match read.and_then(|change| change.of_kind(kind)) {
                Ok(change) => assembly.add(line, change, current)?,
                Err(BadLine { reason, .. }) if !skip_bad => return Err(ApplyError::Bad { line, reason }),
                Err(BadLine { sequence: None, reason, .. }) => assembly.unnumbered.push((line, reason)),
                Err(BadLine { sequence: Some(sequence), .. }) if sequence <= assembly.cursor => {
                    assembly.release();
                    assembly.skipped += 1;
                }
                Err(BadLine { sequence: Some(sequence), time, reason }) => {
                    assembly.use_up_to(line, sequence)?;
                    assembly.time = time.unwrap_or(assembly.time);
                    assembly.reject_line(line, reason);
                }
            }
        }
        // Lines after the last change use up no number: the file may be truncated.
        assembly.release();
        Ok(assembly)
    }

    /// One change, whose number is the next one.
    #[cfg(feature = "service")]
    pub(super) fn of(change: Change) -> BatchAssembly {
        let (cursor, time) = (change.sequence, change.time);
        BatchAssembly { changes: vec![change], lines: vec![1], cursor, time, ..BatchAssembly::default() }
    }

    /// Checks that no more than `limit` of `read` lines are rejected, including `more` that are about to be.
    pub(super) fn check_limit(
        &self,
        limit: Option<RejectedLimit>,
        read: u64,
        more: u64,
    ) -> Result<(), ApplyError> {
        let set_aside = self.set_aside.len() as u64 + more;
        match limit {
            Some(limit) if limit.is_exceeded(set_aside, read) => {
                Err(ApplyError::TooManyRejected { rejected: set_aside, lines: read, limit })
            }
            _ => Ok(()),
        }
    }

    fn add(&mut self, line: u64, mut change: Change, current: u64) -> Result<(), ApplyError> {
        if let ChangeBody::PutPersons { previous, .. } | ChangeBody::Others { previous } = &mut change.what {
            // A page has all persons who changed since `previous`, so it may begin earlier.
            self.release();
            if change.sequence <= self.cursor {
                self.skipped += 1;
                return Ok(());
            }
            if *previous > self.cursor {
                return Err(ApplyError::Gap { line, expected: self.cursor, found: *previous });
            }
            *previous = self.cursor;
        } else if change.sequence <= self.cursor {
            return self.repeated(line, change, current);
        } else {
            self.use_up_to(line, change.sequence)?;
        }
        (self.cursor, self.time) = (change.sequence, change.time);
        self.changes.push(change);
        self.lines.push(line);
        Ok(())
    }

    /// Skips a change whose sequence number is used up already.
    fn repeated(&mut self, line: u64, change: Change, current: u64) -> Result<(), ApplyError> {
        self.release();
        self.skipped += 1;
        if change.sequence <= current {
            self.old.push((line, change));
            return Ok(());
        }
        let earlier = self.changes.binary_search_by_key(&change.sequence, |other| other.sequence);
        match earlier.map(|index| &self.changes[index]) {
            Ok(other) if differ(other, &change) => Err(ApplyError::Fork { line, sequence: change.sequence }),
            _ => Ok(()),
        }
    }

    /// Uses up the sequence numbers before `sequence` for lines without a legible one.
    fn use_up_to(&mut self, line: u64, sequence: u64) -> Result<(), ApplyError> {
        let missing = sequence - self.cursor - 1;
        if missing > self.unnumbered.len() as u64 {
            return Err(ApplyError::Gap { line, expected: self.cursor + 1, found: sequence });
        }
        let mut unnumbered = std::mem::take(&mut self.unnumbered);
        for (line, reason) in unnumbered.drain(..missing as usize) {
            self.reject_line(line, reason);
        }
        self.unnumbered = unnumbered;
        self.release();
        Ok(())
    }

    /// Rejects lines without a legible sequence number that use up none: the line after them has the expected number,
    /// or an earlier one.
    fn release(&mut self) {
        let lines = self.unnumbered.drain(..);
        self.set_aside.extend(lines.map(|(line, reason)| SetAside { line, sequence: None, reason }));
    }

    /// Rejects a line, which uses up the next sequence number.
    fn reject_line(&mut self, line: u64, why: Reason) {
        self.cursor += 1;
        let what = ChangeBody::SetAside { reason: why.name.into(), column: why.column.into() };
        self.changes.push(Change { sequence: self.cursor, time: self.time, what });
        self.lines.push(line);
        self.set_aside.push(SetAside { line, sequence: Some(self.cursor), reason: why });
    }

    /// Rejects a change that does not fit the register.
    pub(super) fn reject(&mut self, index: usize, why: Reason) {
        let change = &mut self.changes[index];
        change.what = ChangeBody::SetAside { reason: why.name.into(), column: why.column.into() };
        let sequence = Some(change.sequence);
        self.set_aside.push(SetAside { line: self.lines[index], sequence, reason: why });
    }

    /// Compares the changes that the register has already with its log, as far back as the log goes.
    ///
    /// A stream that is applied again comes in many batches, so the position in the log is kept.
    pub(super) fn compare(
        &mut self,
        directory: &DataDirectory,
        repeated: &mut Option<RepeatedChanges>,
    ) -> Result<(), ApplyError> {
        self.old.sort_by_key(|(_, change)| change.sequence);
        let Some((_, first)) = self.old.first() else {
            *repeated = None;
            return Ok(());
        };
        let mut cursor = match repeated.take().filter(|repeated| repeated.until < first.sequence) {
            Some(cursor) => cursor,
            None => RepeatedChanges::from(directory, first.sequence)?,
        };
        for (line, change) in &self.old {
            let logged = cursor.find(change.sequence)?;
            if logged.is_some_and(|logged| differ(&logged, change) && !lacks_validated(&logged, change)) {
                return Err(ApplyError::Fork { line: *line, sequence: change.sequence });
            }
        }
        *repeated = Some(cursor);
        Ok(())
    }

    /// The result of the batch.
    pub(super) fn summary(self, from: u64, without_effect: u64) -> Batch {
        let aside =
            self.changes.iter().filter(|change| matches!(change.what, ChangeBody::SetAside { .. })).count();
        let mut set_aside = self.set_aside;
        set_aside.sort_by_key(|set_aside| set_aside.line);
        Batch {
            from,
            to: self.cursor,
            applied: (self.changes.len() - aside) as u64,
            skipped: self.skipped,
            without_effect,
            set_aside,
        }
    }
}

/// Position in the log up to which repeated changes have been compared.
pub(super) struct RepeatedChanges {
    history: History,
    /// The last sequence number that was looked up.
    until: u64,
    /// The last change that was read.
    last: Option<Change>,
}

impl RepeatedChanges {
    /// Begins at a sequence number, or at the beginning of the log if that is later.
    fn from(directory: &DataDirectory, sequence: u64) -> Result<RepeatedChanges, StoreError> {
        let log = Log::of(directory);
        let history = match log.changes(sequence.saturating_sub(1)) {
            Err(StoreError::Gone { oldest, .. }) => log.changes(oldest)?,
            history => history?,
        };
        Ok(RepeatedChanges { history, until: 0, last: None })
    }

    /// The change with a sequence number, if the log has it. Sequence numbers ascend from call to call.
    fn find(&mut self, sequence: u64) -> Result<Option<Change>, StoreError> {
        self.until = sequence;
        while self.last.as_ref().is_none_or(|last| last.sequence < sequence) {
            match self.history.next().transpose()? {
                None => return Ok(None),
                next => self.last = next,
            }
        }
        Ok(self.last.clone().filter(|last| last.sequence == sequence))
    }
}

/// Whether a change in the log has all that the repeated one has but the times of validation, which were not kept before
/// format 2 of the log.
fn lacks_validated(logged: &Change, repeated: &Change) -> bool {
    let ChangeBody::PutPerson(new) = &repeated.what else { return false };
    Contact::without_validated(&new.contact).is_some_and(|contact| {
        let what = ChangeBody::PutPerson(Box::new(PutPerson { contact, ..(**new).clone() }));
        *logged == Change { what, ..repeated.clone() }
    })
}

/// Whether two changes with the same sequence number differ. Rejected changes and pages cannot be compared.
fn differ(one: &Change, other: &Change) -> bool {
    let is_incomparable = |change: &Change| {
        matches!(
            change.what,
            ChangeBody::SetAside { .. } | ChangeBody::PutPersons { .. } | ChangeBody::Others { .. }
        )
    };
    one != other && !is_incomparable(one) && !is_incomparable(other)
}
