//! The letters of a split, and what receipts said of them so far.

use super::super::error::ListError;
use super::super::feedback::{CHANNEL_COLUMN, OUTCOME_COLUMN, columns, outcome_column};
use super::super::split_directory::SplitDirectory;
use super::ReceiptKey;
use crate::identities::{Identity, Ordinal};
use csv::ByteRecord;
use hashbrown::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::ops::Range;
use std::path::Path;

/// What came of a letter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Fate {
    /// No receipt.
    #[default]
    Unknown,
    Delivered,
    Failed,
    /// Receipts contradict each other.
    Contradiction,
}

impl Fate {
    const ALL: [Fate; 4] = [Fate::Unknown, Fate::Delivered, Fate::Failed, Fate::Contradiction];

    /// The name in the record; empty without receipt.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Fate::Unknown => "",
            Fate::Delivered => "delivered",
            Fate::Failed => "failed",
            Fate::Contradiction => "contradiction",
        }
    }

    fn of(name: &[u8]) -> Option<Fate> {
        Fate::ALL.into_iter().find(|fate| fate.name().as_bytes() == name)
    }
}

/// A letter: a line of the feedback.
pub(super) struct Letter {
    pub(super) row: u32,
    recipient: Ordinal,
    /// Index of its file in the report; `u16::MAX` without one.
    pub(super) file: u16,
    pub(super) fate: Fate,
    /// Number of the file of receipts, from 1; 0 without receipt.
    pub(super) receipts: u32,
}

/// The letters of a split, in the order of the feedback.
pub(super) struct Letters {
    pub(super) letters: Vec<Letter>,
    /// What receipts gave as reason, of the letters for which they did.
    pub(super) reasons: HashMap<u32, String>,
    /// The letters by recipient.
    by_recipient: Vec<(Ordinal, u32)>,
    /// Digest of the feedback, or of the record, that was read.
    pub(super) digest: String,
}

/// Columns of a record beside those of the feedback with rules.
pub(super) const MORE_COLUMNS: [&str; 3] = ["status", "status_reason", "receipts"];

impl Letters {
    /// Reads the feedback of a split, or a record that was made of it. Memory: 24 bytes a letter, and up to
    /// twice that while it is read.
    pub(super) fn read(split: &SplitDirectory, name: &str) -> Result<Letters, ListError> {
        let path = split.path().join(name);
        let mut letters = Vec::new();
        let mut reasons = HashMap::new();
        let (ids, columns) = (split.ids(), columns_of_feedback(split).len());
        let digest = for_each_line(&path, &mut |record| {
            let cell = |column: usize| record.get(column).unwrap_or_default();
            let number =
                |column: usize| std::str::from_utf8(cell(column)).ok().and_then(|text| text.parse().ok());
            let recipient = ids.identity(cell(1));
            let row = number(0).ok_or_else(|| ListError::OutputChanged(path.clone()))?;
            let fate = Fate::of(cell(columns)).ok_or_else(|| ListError::OutputChanged(path.clone()))?;
            let reason = String::from_utf8_lossy(cell(columns + 1)).into_owned();
            if !reason.is_empty() {
                reasons.insert(letters.len() as u32, reason);
            }
            letters.push(Letter {
                row,
                recipient: recipient.map_or(Ordinal::ABSENT, |recipient| recipient.ordinal()),
                file: file_of(split, record).map_or(u16::MAX, |file| file as u16),
                fate,
                receipts: number(columns + 2).unwrap_or(0),
            });
            Ok(())
        })?;
        let numbered = letters.iter().zip(0u32..).map(|(letter, index)| (letter.recipient, index));
        let mut by_recipient: Vec<_> = numbered.filter(|(id, _)| *id != Ordinal::ABSENT).collect();
        by_recipient.sort_unstable();
        Ok(Letters { letters, reasons, by_recipient, digest })
    }

    /// The letters that a receipt may be about.
    pub(super) fn of(&self, key: ReceiptKey) -> Vec<u32> {
        match key {
            ReceiptKey::Row(row) => {
                let Range { start, end } = range(&self.letters, |letter| u64::from(letter.row).cmp(&row));
                (start as u32..end as u32).collect()
            }
            ReceiptKey::Id(id) => {
                let found = range(&self.by_recipient, |(recipient, _)| recipient.cmp(&id.ordinal()));
                self.by_recipient[found].iter().map(|(_, index)| *index).collect()
            }
        }
    }

    /// Whether a letter is to a recipient.
    pub(super) fn is_to(&self, letter: u32, recipient: &Identity) -> bool {
        self.letters[letter as usize].recipient == recipient.ordinal()
    }
}

/// The elements of an ascending slice that are equal.
fn range<T>(ascending: &[T], compared: impl Fn(&T) -> std::cmp::Ordering) -> Range<usize> {
    let start = ascending.partition_point(|one| compared(one).is_lt());
    start..start + ascending[start..].partition_point(|one| compared(one).is_eq())
}

/// The columns of the feedback of a split; of one without rules, those that its record has.
pub(super) fn columns_of_feedback(split: &SplitDirectory) -> Vec<String> {
    columns(split.further().iter().map(|further| &*further.name))
}

/// The file of rows that a line of the feedback is about.
pub(super) fn file_of(split: &SplitDirectory, line: &ByteRecord) -> Option<usize> {
    let cell = |column: usize| line.get(column).unwrap_or_default();
    let text = |text: &Option<String>| text.as_ref().map(|text| text.as_bytes().to_owned());
    split.report().files.iter().position(|file| {
        // A file of a channel may have letters of several outcomes, and then of several operators.
        let has_several = file.outcome.is_none();
        // Of the register of the job, or of a further one.
        let register = match &file.register {
            None => Some(OUTCOME_COLUMN),
            Some(name) => split.further().iter().position(|one| one.name == *name).map(outcome_column),
        };
        let is_to = |outcome: usize| {
            text(&file.outcome).is_some_and(|of| of == cell(outcome))
                && text(&file.operator_id).unwrap_or_default() == cell(outcome + 2)
        };
        text(&file.channel).unwrap_or_default() == cell(CHANNEL_COLUMN)
            && (has_several || register.is_some_and(is_to))
    })
}

/// Reads the lines of a feedback or record after its header. Returns the digest of the file.
pub(super) fn for_each_line(
    path: &Path,
    visit: &mut dyn FnMut(&ByteRecord) -> Result<(), ListError>,
) -> Result<String, ListError> {
    let failed = |error: io::Error| ListError::ReadOutput { path: path.to_owned(), error };
    let hashing = Hashing { file: File::open(path).map_err(failed)?, hasher: blake3::Hasher::new() };
    let mut reader =
        csv::ReaderBuilder::new().flexible(true).from_reader(BufReader::with_capacity(1 << 18, hashing));
    let mut record = ByteRecord::new();
    loop {
        match reader.read_byte_record(&mut record) {
            Ok(true) => visit(&record)?,
            Ok(false) => break,
            Err(error) => {
                return Err(match error.into_kind() {
                    csv::ErrorKind::Io(error) => failed(error),
                    _ => ListError::OutputChanged(path.to_owned()),
                });
            }
        }
    }
    Ok(format!("blake3:{}", reader.into_inner().into_inner().hasher.finalize().to_hex()))
}

/// A file whose digest is made while it is read.
struct Hashing {
    file: File,
    hasher: blake3::Hasher,
}

impl Read for Hashing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.file.read(buffer)?;
        self.hasher.update(&buffer[..length]);
        Ok(length)
    }
}
