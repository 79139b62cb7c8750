//! Channel rules applied to the letters of a list.

use super::cells::Cells;
use super::channel_report::IdListSummary;
use super::error::ListError;
use super::options::Progress;
use super::rows::{Layout, text_of};
use super::seen::SeenIdentities;
use super::sniff::{CellPlace, Encoding, ListForm};
use super::tally::VerdictNumbers;
use super::{Mailing, list_of_ids};
use crate::channels::{ChannelRules, Letter, Plan, TextForms};
use crate::cpu::{BLOCK_BYTES, BaselineScan, BlockScan};
use crate::identities::Identity;
use crate::register::Operator;
use jiff::civil::Date;
use std::ops::Range;

/// Channel rules with the id lists that they name.
pub struct Ruling<'r> {
    rules: &'r ChannelRules,
    lists: Vec<SeenIdentities>,
    summaries: Vec<IdListSummary>,
}

impl<'r> Ruling<'r> {
    /// Reads the id lists of some rules, as for a mailing: its register, day, threads and progress. The rules themselves and
    /// the list of the mailing are not used. Cost: as [`check`](super::check) of the lists.
    ///
    /// Errors: a list cannot be read, or more rows than allowed have no id.
    pub fn load(rules: &'r ChannelRules, mailing: &Mailing<'_>) -> Result<Ruling<'r>, ListError> {
        let (mut lists, mut summaries) = (Vec::new(), Vec::new());
        for list in rules.lists() {
            let (ids, summary) = list_of_ids(mailing, list).map_err(|error| match error {
                ListError::Interrupted | ListError::IdListRejected { .. } | ListError::IdListEmpty { .. } => {
                    error
                }
                error => {
                    ListError::IdList { name: list.name.clone(), line: list.line, error: Box::new(error) }
                }
            })?;
            lists.push(ids);
            summaries.push(summary);
        }
        Ok(Ruling { rules, lists, summaries })
    }

    /// The rules.
    pub fn rules(&self) -> &'r ChannelRules {
        self.rules
    }

    /// What was read of the id lists, in the order of the file.
    pub fn lists(&self) -> &[IdListSummary] {
        &self.summaries
    }

    /// For each id list, whether an identity is in it.
    pub fn in_lists(&self, identity: &Identity) -> Vec<bool> {
        self.lists.iter().map(|list| list.contains(identity.ordinal())).collect()
    }
}

/// Channel rules for the rows of one list.
pub(super) struct ListRuling<'a> {
    plan: Plan,
    lists: &'a [SeenIdentities],
    places: &'a [CellPlace],
    layout: &'a Layout,
    encoding: Encoding,
    /// The last column that is read, and one more.
    columns: usize,
    /// A bit for each column that is read, of the first 63; the last bit is that of all others.
    wanted: u64,
    numbers: VerdictNumbers,
    /// By verdict: the verdict with the rule that applies to all its letters, or [`Self::DEPENDS`].
    ruled: Vec<u16>,
}

impl<'a> ListRuling<'a> {
    /// No number of a verdict: the rule depends on the letter.
    const DEPENDS: u16 = u16::MAX;

    pub(super) fn new(
        ruling: &'a Ruling<'_>,
        operators: &[Operator],
        numbers: VerdictNumbers,
        day: Date,
        form: &'a ListForm,
    ) -> ListRuling<'a> {
        let columns = form.cells.iter().map(|place| match place {
            CellPlace::Column(column) => column + 1,
            CellPlace::Bytes(..) => 0,
        });
        let plan = Plan::new(ruling.rules, operators, day, text_forms(form.encoding));
        let ruled = (0..numbers.count() as u16).map(|verdict| match numbers.answer_of(verdict) {
            None => verdict,
            Some(answer) => {
                plan.rule_of(answer).map_or(Self::DEPENDS, |rule| numbers.with_rule(answer, rule))
            }
        });
        ListRuling {
            ruled: ruled.collect(),
            numbers,
            plan,
            lists: &ruling.lists,
            wanted: columns
                .clone()
                .filter(|column| *column > 0)
                .fold(0, |all, column| all | bit_of(column - 1)),
            columns: columns.max().unwrap_or(0),
            places: &form.cells,
            layout: &form.guard.rules.layout,
            encoding: form.encoding,
        }
    }

    /// Decides rules, for one thread.
    pub(super) fn ruler(&self) -> Ruler<'_> {
        Ruler { ruling: self, cells: vec![0..0; self.places.len()], text: Vec::new() }
    }

    /// The cells of a row that conditions read, as text.
    pub(super) fn texts(&self, bytes: &[u8], row: Range<usize>, identity: Identity) -> Vec<String> {
        let mut ruler = self.ruler();
        let mut letter =
            RowLetter { ruler: &mut ruler, identity, bytes, row, is_cut: false, has_quotes: false };
        (0..self.places.len()).map(|column| self.encoding.text(letter.cell(column))).collect()
    }
}

fn text_forms(encoding: Encoding) -> TextForms {
    match encoding {
        Encoding::Utf8 | Encoding::Utf8Bom => TextForms {
            decode: |bytes| Encoding::Utf8.text(bytes),
            encode: |text| Some(text.as_bytes().to_vec()),
        },
        Encoding::Windows1252 => TextForms {
            decode: |bytes| Encoding::Windows1252.text(bytes),
            encode: |text| {
                let (bytes, _, has_others) = encoding_rs::WINDOWS_1252.encode(text);
                (!has_others).then(|| bytes.into_owned())
            },
        },
    }
}

/// Decides the rules of letters, one after another.
pub(super) struct Ruler<'a> {
    ruling: &'a ListRuling<'a>,
    /// The cells of the current row.
    cells: Vec<Range<usize>>,
    /// A cell that is not in the list as it is read.
    text: Vec<u8>,
}

impl Ruler<'_> {
    /// A verdict with the rule that applies to a letter, of which the bytes of the row are needed.
    #[inline(always)]
    pub(super) fn ruled(
        &mut self,
        verdict: u16,
        identity: impl FnOnce() -> Identity,
        bytes: &[u8],
        row: Range<usize>,
    ) -> u16 {
        match self.ruling.ruled[usize::from(verdict)] {
            ListRuling::DEPENDS => self.decided(verdict, identity(), bytes, row),
            ruled => ruled,
        }
    }

    fn decided(&mut self, verdict: u16, identity: Identity, bytes: &[u8], row: Range<usize>) -> u16 {
        let ListRuling { numbers, plan, .. } = self.ruling;
        let Some(answer) = numbers.answer_of(verdict) else { return verdict };
        let mut letter = RowLetter { ruler: self, identity, bytes, row, is_cut: false, has_quotes: false };
        numbers.with_rule(answer, plan.decide(answer, &mut letter))
    }
}

/// A letter, and its row.
struct RowLetter<'l, 'a> {
    ruler: &'l mut Ruler<'a>,
    identity: Identity,
    bytes: &'l [u8],
    row: Range<usize>,
    /// Whether the cells have been found.
    is_cut: bool,
    /// Whether the row has quotation marks; of fixed width they are text.
    has_quotes: bool,
}

impl RowLetter<'_, '_> {
    /// Finds the cells that conditions read.
    fn cut(&mut self) {
        let ListRuling { places, layout, columns, .. } = *self.ruler.ruling;
        let text = text_of(self.bytes, &self.row);
        match *layout {
            Layout::Delimited { delimiter, .. } => {
                if !self.cut_plain(&text, delimiter) {
                    self.has_quotes = true;
                    self.ruler.cells.fill(text.start..text.start);
                    let cells = Cells::new(self.bytes, self.row.clone(), delimiter).take(columns);
                    let cells = cells.map_while(Result::ok).enumerate();
                    cells.for_each(|(column, cell)| keep(places, &mut self.ruler.cells, column, &cell));
                }
            }
            Layout::Fixed { .. } => {
                for (place, kept) in places.iter().zip(&mut self.ruler.cells) {
                    if let CellPlace::Bytes(offset, length) = *place {
                        let start = (text.start + offset).min(text.end);
                        *kept = start..(start + length).min(text.end);
                    }
                }
            }
        }
    }

    /// Finds the cells of a row without quotation marks up to the last one that is read; `false` if it has any.
    fn cut_plain(&mut self, text: &Range<usize>, delimiter: Option<u8>) -> bool {
        let ListRuling { places, columns, wanted, .. } = *self.ruler.ruling;
        let (mut column, mut start, mut at) = (0, text.start, text.start);
        while at < text.end {
            let marks = marks(&self.bytes[at..], delimiter.unwrap_or(b'"'));
            let mut left =
                if text.end - at < BLOCK_BYTES { marks & ((1 << (text.end - at)) - 1) } else { marks };
            while left != 0 {
                let mark = at + left.trailing_zeros() as usize;
                left &= left - 1;
                if self.bytes[mark] == b'"' {
                    return false;
                }
                if is_wanted(wanted, column) {
                    keep(places, &mut self.ruler.cells, column, &(start..mark));
                }
                (column, start) = (column + 1, mark + 1);
                if column == columns {
                    return true;
                }
            }
            at += BLOCK_BYTES;
        }
        keep(places, &mut self.ruler.cells, column, &(start..text.end));
        // The row ends before the other columns.
        for column in column + 1..columns {
            keep(places, &mut self.ruler.cells, column, &(text.end..text.end));
        }
        true
    }
}

fn bit_of(column: usize) -> u64 {
    1 << column.min(63)
}

#[inline(always)]
fn is_wanted(wanted: u64, column: usize) -> bool {
    wanted & bit_of(column) != 0
}

/// The delimiters and quotation marks among the first 64 bytes, as bits.
#[inline(always)]
fn marks(bytes: &[u8], delimiter: u8) -> u64 {
    match bytes.first_chunk() {
        Some(block) => BaselineScan.equal_either(delimiter, b'"', block),
        None => {
            let mut block = [0; BLOCK_BYTES];
            block[..bytes.len()].copy_from_slice(bytes);
            BaselineScan.equal_either(delimiter, b'"', &block)
        }
    }
}

/// Keeps a cell for the conditions that read its column.
#[inline(always)]
fn keep(places: &[CellPlace], cells: &mut [Range<usize>], column: usize, cell: &Range<usize>) {
    for (place, kept) in places.iter().zip(cells) {
        if *place == CellPlace::Column(column) {
            *kept = cell.clone();
        }
    }
}

impl Letter for RowLetter<'_, '_> {
    fn identity(&self) -> Identity {
        self.identity
    }

    fn is_in(&self, list: usize) -> bool {
        self.ruler.ruling.lists[list].contains(self.identity.ordinal())
    }

    fn cell(&mut self, column: usize) -> &[u8] {
        if !std::mem::replace(&mut self.is_cut, true) {
            self.cut();
        }
        let cell = self.bytes[self.ruler.cells[column].clone()].trim_ascii();
        // Doubled quotation marks, and white space that is not ASCII, are rare.
        let has_marks = self.has_quotes && memchr::memchr(b'"', cell).is_some();
        let is_plain = !has_marks && !may_have_wide_blank(cell);
        if is_plain {
            return cell;
        }
        let encoding = self.ruler.ruling.encoding;
        let text = encoding.text(cell).replace("\"\"", "\"");
        let encoded = (text_forms(encoding).encode)(&text);
        self.ruler.text = encoded.unwrap_or_else(|| cell.to_vec());
        &self.ruler.text
    }
}

/// Whether a cell may begin or end with white space that is not ASCII, in one of the encodings. Letters such as Å do not count.
fn may_have_wide_blank(cell: &[u8]) -> bool {
    const BLANK: u8 = 0xA0; // of Windows-1252
    let is_lead = |byte: u8| matches!(byte, BLANK | 0xC2 | 0xE1..=0xE3);
    let Some((&first, &last)) = cell.first().zip(cell.last()) else { return false };
    is_lead(first)
        || !last.is_ascii() && cell[cell.len().saturating_sub(3)..].iter().any(|&byte| is_lead(byte))
}

/// Nothing is shown while an id list is read.
pub(super) struct Quiet<'p>(pub(super) &'p dyn Progress);

impl Progress for Quiet<'_> {
    fn interrupted(&self) -> bool {
        self.0.interrupted()
    }
}
