//! What was known of a letter, what was decided, and what came of it.

use super::super::error::ListError;
use super::super::feedback::outcome_column;
use super::super::report::FEEDBACK;
use super::super::split_directory::{SplitDirectory, WrittenFurther, WrittenRegister};
use super::letters::{columns_of_feedback, file_of, for_each_line};
use super::reconcile::ReceiptsSummary;
use serde::Serialize;

/// Which letter.
#[derive(Clone, Copy, Debug)]
pub enum RecordKey<'k> {
    /// The row of the list, from 1.
    Row(u64),
    /// The recipient, in any spelling.
    Id(&'k str),
}

/// The run in which a letter was decided.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunRecord {
    /// When the split was made, RFC 3339; `null` if an earlier version made it.
    pub made: Option<String>,
    /// The day for which the register was asked.
    pub date: Option<String>,
    /// Version of nabar.
    pub version: Option<String>,
    /// The list, as given.
    pub list: String,
    /// Digest of the list.
    pub list_digest: String,
    /// Id of the sender, `null` for KRR.
    pub sender: Option<String>,
    /// `far`, `krr` or `kivra`.
    pub register: String,
    /// Sequence number of the register.
    pub sequence: u64,
    /// The time of its content, RFC 3339.
    pub as_of: String,
    /// Digest of its file.
    pub register_digest: Option<String>,
    /// Of a live register: its address, and the times of its oldest and newest answer.
    pub asked: Option<(String, String, String)>,
    /// The further registers of its rules.
    pub registers: Vec<RunRegister>,
    /// Digest of the rules, if there were any.
    pub rules_digest: Option<String>,
    /// Its letters that were asked for; several if the recipient has several.
    pub letters: Vec<LetterRecord>,
}

/// A letter.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LetterRecord {
    /// Row of the list, from 1.
    pub row: u64,
    /// What the register said of the recipient: `digital`, `notify`, `paper`; or `rejected`, `duplicate`.
    pub outcome: String,
    /// Why; empty without a reason.
    pub reason: String,
    /// The operator of a digital letter.
    pub operator_id: String,
    /// The channel, if the run had rules.
    pub channel: String,
    /// The rule that applied.
    pub rule: String,
    /// What the further registers of the rules said.
    pub registers: Vec<FurtherRecord>,
    /// The file that has its row.
    pub file: Option<String>,
    /// `delivered`, `failed` or `contradiction`; empty without a receipt.
    pub status: String,
    /// What the receipt gives as the reason.
    pub status_reason: String,
    /// The file of receipts.
    pub receipts: Option<ReceiptsSummary>,
}

/// What a further register of the rules said of a recipient.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FurtherRecord {
    /// Name of the register in the rules.
    pub name: String,
    /// The outcome; empty if the rules did not ask it for this letter.
    pub outcome: String,
    /// Why; empty without a reason.
    pub reason: String,
    /// The operator of a digital letter.
    pub operator_id: String,
}

/// A register of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunRegister {
    /// Name in the rules.
    pub name: String,
    /// `far`, `krr` or `kivra`.
    pub kind: String,
    /// Number of its last change.
    pub sequence: u64,
    /// The time of its content.
    pub as_of: String,
    /// Digest of its file.
    pub digest: Option<String>,
}

impl SplitDirectory {
    /// What was known of a letter, decided, and answered. Cost: reads the feedback, or the record of the last reconciliation.
    ///
    /// Errors: there is no such letter; a file was changed since it was written.
    pub fn record(&self, key: RecordKey<'_>) -> Result<RunRecord, ListError> {
        let last = self.last_reconciled()?;
        let (name, digest) = match &last {
            Some(last) => (&*last.record.path, Some(&last.record.digest)),
            None => (FEEDBACK, self.feedback_digest()),
        };
        let no_letter = || ListError::NoSuchLetter(self.path().to_owned());
        let wanted = match key {
            RecordKey::Row(row) => row.to_string(),
            RecordKey::Id(text) => {
                let id = self.ids().identity(text.trim().as_bytes());
                id.map_err(|_| no_letter())?.as_str().to_owned()
            }
        };
        let column = match key {
            RecordKey::Row(_) => 0,
            RecordKey::Id(_) => 1,
        };
        let columns = columns_of_feedback(self).len();
        let mut letters = Vec::new();
        let found = for_each_line(&self.path().join(name), &mut |line| {
            if line.get(column) == Some(wanted.as_bytes()) {
                let cell =
                    |column| String::from_utf8_lossy(line.get(column).unwrap_or_default()).into_owned();
                let file = file_of(self, line);
                let receipts =
                    cell(columns + 2).parse::<usize>().ok().and_then(|number| number.checked_sub(1));
                let receipts = receipts.and_then(|index| last.as_ref()?.receipts.get(index).cloned());
                let registers = self.further().iter().enumerate().map(|(index, further)| {
                    let outcome = outcome_column(index);
                    FurtherRecord {
                        name: further.name.clone(),
                        outcome: cell(outcome),
                        reason: cell(outcome + 1),
                        operator_id: cell(outcome + 2),
                    }
                });
                letters.push(LetterRecord {
                    row: cell(0).parse().unwrap_or(0),
                    outcome: cell(2),
                    reason: cell(3),
                    operator_id: cell(4),
                    channel: cell(5),
                    rule: cell(6),
                    file: file.map(|file| self.report().files[file].path.clone()),
                    registers: registers.collect(),
                    status: cell(columns),
                    status_reason: cell(columns + 1),
                    receipts,
                });
            }
            Ok(())
        })?;
        if digest.is_some_and(|digest| *digest != found) {
            return Err(ListError::OutputChanged(self.path().join(name)));
        }
        if letters.is_empty() {
            return Err(no_letter());
        }
        let report = self.report();
        let made = report.made.as_ref();
        let source = report.register.source.as_ref();
        Ok(RunRecord {
            made: made.map(|made| made.at.clone()),
            date: made.map(|made| made.date.clone()),
            version: made.map(|made| made.version.clone()),
            list: report.list.path.clone(),
            list_digest: report.list.digest.clone(),
            sender: self.sender().map(str::to_owned),
            register: report.register.kind.clone(),
            sequence: report.register.sequence,
            as_of: report.register.as_of.clone(),
            register_digest: report.register.digest.clone(),
            asked: source.map(|asked| (asked.address.clone(), asked.oldest.clone(), asked.newest.clone())),
            registers: self.further().iter().map(RunRegister::of).collect(),
            rules_digest: report.channels.as_ref().map(|found| found.rules_digest.clone()),
            letters,
        })
    }
}

impl RunRegister {
    fn of(further: &WrittenFurther) -> RunRegister {
        let WrittenRegister { kind, sequence, as_of, digest, .. } = &further.register;
        RunRegister {
            name: further.name.clone(),
            kind: kind.clone(),
            sequence: *sequence,
            as_of: as_of.clone(),
            digest: digest.clone(),
        }
    }
}
