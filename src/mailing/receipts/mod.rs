//! Receipts: what came of the letters of a split after they were dispatched.
//!
//! A digital letter may still fail at its operator, and must then be printed late. Operators and dispatchers say so in
//! receipts: CSV, or the result XML of Digipost. [`SplitDirectory::reconcile`](super::SplitDirectory::reconcile) compares
//! them with the letters, and [`SplitDirectory::record`](super::SplitDirectory::record) says of one letter what was known,
//! decided and answered.

mod digipost;
mod letters;
mod reconcile;
mod record;
mod table;

pub use reconcile::{ReceiptsSummary, Reconciled, ReconciledFile};
pub use record::{FurtherRecord, LetterRecord, RecordKey, RunRecord, RunRegister};

use super::error::ReceiptsError;
use super::id_numbers::IdNumbers;
use crate::decode::{BoundedInput, decompressed};
use crate::identities::Identity;
use crate::rejected::RejectedLimit;
use std::io::{self, BufRead};
use std::path::Path;

/// Words of receipts for letters that arrived, in lower case.
const DELIVERED: [&str; 16] = [
    "delivered",
    "sent",
    "sendt",
    "ok",
    "success",
    "succeeded",
    "accepted",
    "received",
    "levererad",
    "levererat",
    "skickad",
    "skickat",
    "mottagen",
    "mottatt",
    "levert",
    "suksess",
];
/// Words of receipts for letters that did not, in lower case.
const FAILED: [&str; 16] = [
    "failed",
    "failure",
    "error",
    "rejected",
    "refused",
    "bounced",
    "undelivered",
    "undeliverable",
    "returned",
    "misslyckad",
    "misslyckades",
    "fel",
    "avvisad",
    "feilet",
    "feil",
    "ikke_sendt",
];

/// How receipts are read, and which letters they are for.
#[derive(Clone, Debug)]
pub struct ReceiptOptions {
    /// More words for letters that arrived; upper and lower case are the same.
    pub delivered: Vec<String>,
    /// More words for letters that did not.
    pub failed: Vec<String>,
    /// The column of row numbers; found by its name if `None`.
    pub row_column: Option<String>,
    /// The column of ids; found by its name if `None`.
    pub id_column: Option<String>,
    /// The column of the status; found by its name if `None`.
    pub status_column: Option<String>,
    /// The column of the reason; found by its name if `None`.
    pub reason_column: Option<String>,
    /// Channels of the split beside the mailbox operators whose letters have receipts.
    pub channels: Vec<String>,
    /// The limit of receipts of a file that cannot be read.
    pub max_rejected: RejectedLimit,
}

/// What a receipt is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReceiptKey {
    /// The row of the list, from 1, as in the feedback.
    Row(u64),
    /// The recipient.
    Id(Identity),
}

/// What a receipt says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Delivered,
    Failed,
}

/// A receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Receipt {
    pub(super) key: ReceiptKey,
    /// The recipient, if the receipt names the row and the recipient.
    pub(super) check: Option<Identity>,
    pub(super) answer: Answer,
    pub(super) reason: String,
}

/// Why a receipt is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unusable {
    /// It has neither a row number nor a valid id.
    NoKey,
    /// The row number and the id are those of different letters.
    KeysDiffer,
    /// Its status is no known word.
    UnknownStatus,
    /// The record cannot be read.
    Unreadable,
}

/// A receipt, or why it is none, and the line on which it begins.
pub(super) type ReadReceipt = (u64, Result<Receipt, Unusable>);

/// Reads one file of receipts.
pub(super) struct ReceiptReader<'o> {
    pub(super) options: &'o ReceiptOptions,
    pub(super) ids: IdNumbers,
}

impl ReceiptReader<'_> {
    /// Reads receipts one by one. Returns the digest of the file as it is.
    pub(super) fn read(
        &self,
        path: &Path,
        visit: &mut dyn FnMut(ReadReceipt),
    ) -> Result<String, ReceiptsError> {
        let bad = |finding: String| ReceiptsError { path: path.to_owned(), finding };
        let failed = |error: io::Error| bad(format!("cannot be read: {error}"));
        let mut input = decompressed(path).map_err(failed)?;
        let is_xml = {
            let start = input.fill_buf().map_err(failed)?;
            let start = start.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(start);
            start.trim_ascii_start().starts_with(b"<")
        };
        let input = BoundedInput::new(input);
        let read = if is_xml { digipost::read(self, input, visit) } else { table::read(self, input, visit) };
        read.map_err(bad)?;
        // The file again, as it is: what was read may have been decompressed.
        let mut hasher = blake3::Hasher::new();
        let file = std::fs::File::open(path).map_err(failed)?;
        hasher.update_reader(file).map_err(failed)?;
        Ok(format!("blake3:{}", hasher.finalize().to_hex()))
    }

    /// The answer of a status, if it is a known word.
    fn answer(&self, status: &str) -> Result<Answer, Unusable> {
        let status = status.trim().to_lowercase();
        let is_given = |words: &[String]| words.iter().any(|word| word.to_lowercase() == status);
        // Words that were given come first: they may be one of ours with another meaning.
        match () {
            () if is_given(&self.options.delivered) => Ok(Answer::Delivered),
            () if is_given(&self.options.failed) => Ok(Answer::Failed),
            () if DELIVERED.contains(&&*status) => Ok(Answer::Delivered),
            () if FAILED.contains(&&*status) => Ok(Answer::Failed),
            () => Err(Unusable::UnknownStatus),
        }
    }

    fn id(&self, text: &str) -> Option<Identity> {
        self.ids.identity(text.trim().as_bytes()).ok()
    }

    /// A text that is an id or a row number: with fewer than ten digits a row number, also if it may be an id that lost its
    /// zeros.
    fn key(&self, text: &str) -> Result<ReceiptKey, Unusable> {
        let text = text.trim();
        let key = match text.bytes().filter(u8::is_ascii_digit).count() {
            0..10 => text.parse().ok().filter(|&row: &u64| row > 0).map(ReceiptKey::Row),
            _ => self.id(text).map(ReceiptKey::Id),
        };
        key.ok_or(Unusable::NoKey)
    }
}

impl Unusable {
    pub(super) const ALL: [Unusable; 4] =
        [Unusable::NoKey, Unusable::KeysDiffer, Unusable::UnknownStatus, Unusable::Unreadable];

    /// The name in the file of receipts that are not used.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Unusable::NoKey => "no_key",
            Unusable::KeysDiffer => "keys_differ",
            Unusable::UnknownStatus => "unknown_status",
            Unusable::Unreadable => "unreadable",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identities::{Country, Today};

    fn options() -> ReceiptOptions {
        ReceiptOptions {
            delivered: vec!["Fel".to_owned()],
            failed: Vec::new(),
            row_column: None,
            id_column: None,
            status_column: None,
            reason_column: None,
            channels: Vec::new(),
            max_rejected: RejectedLimit::Rows(0),
        }
    }

    #[test]
    fn short_numbers_are_rows() {
        let options = options();
        for country in [Country::Sweden, Country::Norway] {
            let ids = IdNumbers { country, other: None, today: Today::CONTRACT };
            let reader = ReceiptReader { options: &options, ids };
            // Also one that is an id without its zeros.
            let short = (1_000_000u64..1_500_000).find(|number| reader.id(&number.to_string()).is_some());
            for row in [1, 4_000_000].into_iter().chain(short) {
                assert_eq!(reader.key(&format!(" {row} ")), Ok(ReceiptKey::Row(row)));
            }
            for text in ["", "0", "-1", "1x", "99999999999999999999"] {
                assert_eq!(reader.key(text), Err(Unusable::NoKey), "{text}");
            }
        }
    }

    #[test]
    fn words_that_were_given_come_first() {
        let options = options();
        let ids = IdNumbers { country: Country::Sweden, other: None, today: Today::CONTRACT };
        let reader = ReceiptReader { options: &options, ids };
        for (word, answer) in [
            ("Fel", Ok(Answer::Delivered)),
            (" feilet ", Ok(Answer::Failed)),
            ("SENT", Ok(Answer::Delivered)),
            ("not sent", Err(Unusable::UnknownStatus)),
            ("", Err(Unusable::UnknownStatus)),
        ] {
            assert_eq!(reader.answer(word), answer, "{word}");
        }
    }
}
