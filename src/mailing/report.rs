//! `report.json`: the result of a job. `docs/report.md` describes every name.

use super::channel_report::{ChannelsSummary, rounded};
use super::likely_cause::LikelyCause;
use super::register_report::RegisterSummary;
use crate::runs::RunDescription;
use serde::Serialize;
use std::collections::BTreeMap;

/// Name of the report's file, the last one that a job writes.
pub const REPORT: &str = "report.json";
/// Name of the same report as a page.
pub const REPORT_HTML: &str = "report.html";
/// Name of the result of a Digipost mottakersplitt.
pub const MOTTAKERSPLITT_RESULT: &str = "mottakersplitt-resultat.xml";

/// Name of the feedback file.
pub const FEEDBACK: &str = "feedback.csv";
/// Name of the file of rejected rows, before its ending: `.csv`, or that of a print run.
pub const REJECTED: &str = "rejected";

/// Version of the report's names and meanings.
pub const VERSION: u32 = 1;

/// The report of a job.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// [`VERSION`].
    pub version: u32,
    /// When the report was made, by which version of nabar, and for which day.
    pub made: MadeSummary,
    /// The settings of the job.
    pub settings: SettingsSummary,
    /// The list.
    pub list: ListSummary,
    /// The register that was used.
    pub register: RegisterSummary,
    /// The sender, `null` for KRR.
    pub sender: Option<SenderSummary>,
    /// Letters by outcome: `digital`, `notify`, `paper`, `rejected`, and `duplicate` if duplicates are set aside.
    pub outcomes: BTreeMap<&'static str, u64>,
    /// Letters by reason, for paper and rejected rows.
    pub reasons: BTreeMap<&'static str, u64>,
    /// Digital letters by operator, in the order of the register.
    pub operators: Vec<OperatorSummary>,
    /// Letters by channel and rule, if the job has channel rules.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channels: Option<ChannelsSummary>,
    /// Letters by group, for each column by which they are grouped.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<GroupsSummary>,
    /// The files of a split.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<Vec<FileSummary>>,
    /// The feedback of a split.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub feedback: Option<FeedbackSummary>,
    /// Rows whose identity occurs in an earlier row.
    pub duplicates: u64,
    /// Letters: rows of the list, and once more for each row that is a letter to two identities.
    pub letters: u64,
    /// Letters to the identity in the second column.
    pub second_ids: u64,
    /// Rows with another identity beside their own that were not rejected.
    pub more_than_one_identity: u64,
    /// Savings, if prices are given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub savings: Option<Savings>,
    /// Why the job was refused: `max_rejected` (more rows were rejected than allowed) or `no_rows`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<&'static str>,
    /// Of a refused job, why most rows of the list may have no identity; in words in JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub likely_cause: Option<LikelyCause>,
    /// Duration in seconds.
    pub seconds: f64,
    /// Rows per second.
    pub rows_per_second: f64,
}

/// When, by which version, and for which day a job was done.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MadeSummary {
    /// Time, RFC 3339, with the offset of the machine's time zone.
    pub at: String,
    /// The day for which the register was asked, as `YYYY-MM-DD`: for ages, KRR's 18 months, and the century of numbers with
    /// ten digits.
    pub date: String,
    /// Version of nabar.
    pub version: &'static str,
}

/// The settings of a job beside list, register, sender and day, so that it can be done again. What is `null` or empty was
/// decided from the list.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SettingsSummary {
    /// The delimiter.
    pub delimiter: Option<String>,
    /// Names or numbers of the identities' columns.
    pub id_columns: Vec<String>,
    /// The sheet of a workbook.
    pub sheet: Option<String>,
    /// `OFFSET:LENGTH` of the identity in a list of fixed width.
    pub id_at: Option<String>,
    /// `first_reachable` or `both`.
    pub two_ids: &'static str,
    /// Columns in which other identities are expected.
    pub expected_ids: Vec<String>,
    /// Whether rows with another identity are rejected.
    pub strict_rows: bool,
    /// Whether the list has a header.
    pub header: Option<bool>,
    /// Lines above the header that are not rows.
    pub skip_rows: u64,
    /// `keep` or `drop`: whether these lines are in the files of rows.
    pub skipped: &'static str,
    /// `keep` or `set_aside`.
    pub duplicates: &'static str,
    /// A number of rows, or a percentage.
    pub max_rejected: String,
}

/// The list, and how it was read.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ListSummary {
    /// Path as given; `-` is standard input.
    pub path: String,
    /// Data rows.
    pub rows: u64,
    /// Length of the file, before decompression.
    pub bytes: u64,
    /// `;`, `,`, `|`, a tab, or empty for a list of one column or of fixed width.
    pub delimiter: String,
    /// `utf-8`, `utf-8-bom` or `windows-1252`.
    pub encoding: String,
    /// Name of the identity's column, its number from 1 if there is no header, or `OFFSET:LENGTH`.
    pub id_column: String,
    /// Cells that a row usually has; 0 for a list of fixed width.
    pub columns: usize,
    /// Number of the header's row, from 1, among all rows of the file; `null` without header.
    pub header_row: Option<u64>,
    /// Rows above the header, or above the first row, that are not part of the list.
    pub skipped_rows: u64,
    /// Share of the first rows, 0 to 1, that have an identity in the (first) identity's column.
    pub id_share: f64,
    /// Why the list was read so.
    pub decided_by: DecidedBy,
    /// If the list is a print run: then `rows` above, and in the rest of the report, are letters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<RunSummary>,
    /// If the list is in a workbook: the sheet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sheet: Option<SheetSummary>,
    /// `blake3:` and 64 hexadecimal digits, of the file as it is.
    pub digest: String,
}

/// A sheet of a workbook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SheetSummary {
    /// Its name, in which numbers as long as ids are masked.
    pub name: String,
    /// Rows that the workbook hides; they are read like the others.
    pub hidden_rows: u64,
    /// Formulas without a saved value, whose cells are read as empty.
    pub empty_formulas: u64,
}

/// A print run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunSummary {
    /// Its description, by the names that a description's file has.
    pub description: RunDescription,
    /// Records of all letters.
    pub records: u64,
    /// Bytes before the first letter, with which each file of the split begins.
    pub bytes_before: u64,
    /// Bytes behind the last letter, with which each file of the split ends.
    pub bytes_after: u64,
    /// Columns of channel rules and groups in which no letter had a text, of those that were read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub empty_columns: Vec<String>,
    /// Of an archive, what became of its entries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entries: Option<EntriesSummary>,
    /// Of a mottakersplitt, its result.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<MottakersplittSummary>,
}

/// The result of a mottakersplitt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MottakersplittSummary {
    /// Its file: `mottakersplitt-resultat.xml`.
    pub path: String,
    /// Recipients with a mailbox at Digipost (`DIGIPOST`).
    pub digipost: u64,
    /// Others that the register has (`IDENTIFISERT`).
    pub identified: u64,
    /// Those that it has not, or without a number (`UIDENTIFISERT`).
    pub unidentified: u64,
    /// Those whose number cannot be one, or without `kunde-id` (`UGYLDIG`).
    pub invalid: u64,
    /// `blake3:` and 64 hexadecimal digits.
    pub digest: String,
}

/// What became of the entries of a ZIP run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct EntriesSummary {
    /// Entries beside the index and directories.
    pub files: u64,
    /// Those that a letter names.
    pub named: u64,
    /// Those that every part gets.
    pub common: u64,
    /// Others that no letter names: they are with the rejected letters.
    pub unnamed: u64,
    /// Those that letters of several files of the split name: they are in each.
    pub shared: u64,
    /// Files that letters name and that are not there.
    pub missing: u64,
}

/// Why the list was read as it was; `docs/lists.md` lists the words.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DecidedBy {
    /// The delimiter.
    pub delimiter: &'static str,
    /// Whether there is a header, and where.
    pub header: &'static str,
    /// The identity's column.
    pub id_column: &'static str,
}

/// The sender of the mailing.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SenderSummary {
    /// `16` and ten digits.
    pub id: String,
    /// Name.
    pub name: String,
}

/// The letters of one operator.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OperatorSummary {
    /// Id.
    pub id: String,
    /// Name.
    pub name: String,
    /// Rows.
    pub rows: u64,
    /// Name of its file, `null` if no files were made.
    pub file: Option<String>,
}

/// One file of a split.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FileSummary {
    /// Name in the output directory.
    pub path: String,
    /// Outcome of its rows, `null` if they may have several.
    pub outcome: Option<String>,
    /// Channel of its rows, if the job has channel rules and they have one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// Operator of its rows, `null` if they have none.
    pub operator_id: Option<String>,
    /// The further register of the rules whose operator it is, if it is not one of the job's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub register: Option<String>,
    /// Rows without the header.
    pub rows: u64,
    /// Records of its letters, if the list is a print run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub records: Option<u64>,
    /// Length.
    pub bytes: u64,
    /// `blake3:` and 64 hexadecimal digits.
    pub digest: String,
}

/// The feedback of a split.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FeedbackSummary {
    /// Length.
    pub bytes: u64,
    /// `blake3:` and 64 hexadecimal digits.
    pub digest: String,
}

/// Letters by the texts of a column, or by age.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GroupsSummary {
    /// The column, or `age`.
    pub by: String,
    /// The groups that have enough letters.
    pub groups: Vec<GroupSummary>,
    /// Number of groups that are not shown, because few letters could point at a recipient.
    pub hidden_groups: u64,
    /// Letters in them.
    pub hidden_letters: u64,
}

/// The letters of a group.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GroupSummary {
    /// The text in the column, or ages such as `18-24`.
    pub name: String,
    /// Letters.
    pub letters: u64,
    /// Letters by outcome, of those that it has.
    pub outcomes: BTreeMap<&'static str, u64>,
    /// Letters by channel, if the job has channel rules.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub channels: BTreeMap<String, u64>,
}

/// Prices of letters.
#[derive(Clone, Debug, PartialEq)]
pub struct Prices {
    /// A letter on paper.
    pub postage: f64,
    /// A digital letter.
    pub digital_cost: f64,
    /// Currency, as it is to be shown; may be empty.
    pub currency: String,
}

/// What the digital letters save, in the currency of the prices.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Savings {
    /// Currency of the prices; may be empty.
    pub currency: String,
    /// Price of a letter on paper.
    pub postage: f64,
    /// Price of a digital letter.
    pub digital_cost: f64,
    /// Cost of all letters that are not rejected or set aside, on paper.
    pub paper_only: f64,
    /// Cost of the same letters as split: digital ones digitally, the rest on paper.
    pub as_split: f64,
    /// The difference.
    pub saved: f64,
}

impl Report {
    /// Name of the file of rejected rows, with its ending if files were made.
    pub fn rejected_file(&self) -> &str {
        let mut files = self.files.iter().flatten();
        files.find(|file| file.outcome.as_deref() == Some("rejected")).map_or(REJECTED, |file| &file.path)
    }

    /// Letters that go to a mailbox operator. With channel rules, those of its channels.
    pub fn digital_letters(&self) -> u64 {
        match &self.channels {
            Some(found) => {
                found.channels.iter().filter(|channel| channel.mailbox).map(|channel| channel.letters).sum()
            }
            None => self.outcomes["digital"],
        }
    }

    /// Letters of a group that go to a mailbox operator. With channel rules, those of its channels.
    pub fn digital_letters_of(&self, group: &GroupSummary) -> u64 {
        let of = |letters: Option<&u64>| letters.copied().unwrap_or(0);
        match &self.channels {
            Some(found) => {
                let mailboxes = found.channels.iter().filter(|channel| channel.mailbox);
                mailboxes.map(|channel| of(group.channels.get(&channel.name))).sum()
            }
            None => of(group.outcomes.get("digital")),
        }
    }
}

impl Savings {
    /// The savings of `digital` digital letters among `digital + others` letters.
    pub(super) fn new(prices: &Prices, digital: u64, others: u64) -> Savings {
        let Prices { postage, digital_cost, ref currency } = *prices;
        let paper_only = (digital + others) as f64 * postage;
        let as_split = digital as f64 * digital_cost + others as f64 * postage;
        Savings {
            currency: currency.clone(),
            postage,
            digital_cost,
            paper_only: rounded(paper_only),
            as_split: rounded(as_split),
            saved: rounded(paper_only - as_split),
        }
    }
}
