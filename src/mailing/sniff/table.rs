//! The first rows of a list, cut into cells: delimiter, header, column of the identities.

use super::encoding::Encoding;
use super::ground::Ground;
use crate::identities::Identity;
use crate::limits::{COLUMNS_MAX, SAMPLE_ROWS};
use crate::mailing::cells::{QuoteChain, without_line_end};
use crate::mailing::error::ListError;
use crate::mailing::guard::{identities_at_end, is_plain, whole_lengths};
use crate::mailing::id_numbers::IdNumbers;
use crate::mailing::names;
use crate::mailing::rows::{Layout, line_end};
use crate::mailing::shape::RowShape;
use std::ops::Range;

/// A column of identities has at least this percentage of them.
pub(super) const SHARE_PERCENT: usize = 50;
/// Lines of fixed width that are too few for a tenth of them.
const FEW_LINES: usize = 20;
/// One row in so many with an identity in a column is no exception.
pub(super) const EXCEPTION: usize = 20;
/// Candidates for the delimiter; of equals the first wins.
const DELIMITERS: [u8; 4] = *b";\t|,";

/// The beginning of a list.
pub(super) struct Sampler<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) encoding: Encoding,
    /// Whether it is the whole list.
    pub(super) whole: bool,
    pub(super) ids: IdNumbers,
    /// Whether columns with dates and numbers are identities' more easily: in lists of ids, of which none may be missed.
    pub(super) is_strict: bool,
}

/// A row of the sample.
pub(super) struct SampleRow {
    /// Its bytes, with the line end.
    pub(super) range: Range<usize>,
    pub(super) cells: Vec<Range<usize>>,
    /// For each cell, whether it is an identity.
    pub(super) identities: Vec<bool>,
    /// Whether a line that begins in a quoted cell has a cell that is an identity.
    has_identity_within: bool,
}

impl SampleRow {
    /// Whether it may be a row of one recipient, or of several if a quotation mark is never closed. Then it is not a
    /// header.
    pub(super) fn has_identity(&self) -> bool {
        self.has_identity_within || self.identities.contains(&true)
    }
}

impl<'a> Sampler<'a> {
    pub(super) fn is_identity(&self, cell: &Range<usize>) -> bool {
        self.parses(&self.bytes[cell.clone()])
    }

    /// Whether a cell that is an identity is more than ten digits of an organisation.
    pub(super) fn is_plain(&self, cell: &Range<usize>) -> bool {
        let text = self.bytes[cell.clone()].trim_ascii();
        self.ids.identity(text).is_ok_and(|identity| is_plain(text, &identity))
    }

    /// Whether a text is an identity. Most are names and addresses, which are excluded by their digits.
    fn parses(&self, text: &[u8]) -> bool {
        may_be_identity(text) && self.ids.identity(text).is_ok()
    }

    /// Whether a cell of some lines is an identity, with any delimiter.
    pub(super) fn has_identity(&self, lines: Range<usize>) -> bool {
        let parts =
            self.bytes[lines].split(|byte| DELIMITERS.contains(byte) || matches!(byte, b'\r' | b'\n'));
        parts.into_iter().any(|part| self.parses(part))
    }

    /// The first rows from `start` on. The last one is left out if it may be cut.
    fn rows(&self, start: usize, delimiter: Option<u8>) -> Vec<SampleRow> {
        let (mut at, mut rows, mut chain) = (start, Vec::new(), QuoteChain::default());
        while at < self.bytes.len() && rows.len() <= SAMPLE_ROWS {
            let line = at..line_end(self.bytes, at);
            let mut cells = Vec::new();
            let row = chain.end_of_row(self.bytes, line.clone(), delimiter, |number, cell| {
                cells.truncate(number);
                cells.push(cell);
            });
            if row.is_err() {
                cells.clear();
            }
            let end = row.unwrap_or(line.end);
            let cut = !self.whole && end == self.bytes.len() && !rows.is_empty();
            if !cut {
                let identities = cells.iter().map(|cell| self.is_identity(cell)).collect();
                // A badly quoted row has no cells.
                let from = if cells.is_empty() { line.start } else { line.end };
                let has_identity_within = self.has_identity(from..end);
                rows.push(SampleRow { range: at..end, cells, identities, has_identity_within });
            }
            at = end;
        }
        rows
    }

    /// The delimiter under which the list has a header with a known name, then the one with the most identities in one
    /// column, then with the most rows alike, then with the most cells; `None` if no delimiter cuts half of the rows alike.
    ///
    /// Errors: with another delimiter, half as many rows or more have an identity in another place: those could be other
    /// people.
    pub(super) fn delimiter(&self, start: usize) -> Result<(Option<u8>, Ground), ListError> {
        let score = |delimiter: u8| {
            let rows = self.rows(start, Some(delimiter));
            let (of, alike, columns) = usual_cells(&rows);
            let identities = identities_of_one_column(&rows);
            let table = self.table_of(rows);
            let level = if identities.is_empty() { 0 } else { table.header_level() };
            (columns >= 2 && alike * 2 >= of).then_some(DelimiterScore {
                key: (level == 2, identities.len(), alike, columns),
                level,
                identities,
                delimiter,
            })
        };
        let mut scores: Vec<DelimiterScore> = DELIMITERS.into_iter().filter_map(score).collect();
        // Stable: of equal scores, the first delimiter.
        scores.sort_by_key(|score| std::cmp::Reverse(score.key));
        let Some(best) = scores.first() else { return Ok((None, Ground::NoChoice)) };
        if let Some(other) = scores[1..].iter().find(|other| best.may_be_wrong(other)) {
            return Err(ListError::UnknownDelimiter { one: best.delimiter, other: other.delimiter });
        }
        let ground = if best.identities.is_empty() { Ground::Cells } else { Ground::Identities };
        Ok((Some(best.delimiter), ground))
    }

    pub(super) fn table(&'a self, start: usize, delimiter: Option<u8>) -> SampleTable<'a> {
        self.table_of(self.rows(start, delimiter))
    }

    fn table_of(&'a self, rows: Vec<SampleRow>) -> SampleTable<'a> {
        let (.., columns) = usual_cells(&rows);
        let first = rows.iter().position(SampleRow::has_identity);
        let mut table =
            SampleTable { sampler: self, columns: columns.max(1), first, likely_ids: Vec::new(), rows };
        table.likely_ids = table.likely_id_columns();
        table
    }

    /// The first lines from `start` on.
    fn lines(&self, start: usize) -> impl Iterator<Item = Range<usize>> {
        let mut at = start;
        let next = move || {
            let line = (at < self.bytes.len()).then(|| at..line_end(self.bytes, at))?;
            at = line.end;
            Some(line)
        };
        std::iter::from_fn(next).take(SAMPLE_ROWS)
    }

    /// The bytes that most lines have (0 for fewer than two lines), and those beyond which a line may be two: of the lines
    /// with an identity, half as many again as nine of ten have, or as half of them if they are few.
    pub(super) fn shape_of_lines(&self, start: usize, layout: &Layout) -> RowShape {
        let mut widths = std::collections::BTreeMap::new();
        let (mut lines, mut filled) = (0, Vec::new());
        for line in self.lines(start) {
            let text = without_line_end(&self.bytes[line.clone()]);
            *widths.entry(text.len()).or_insert(0) += 1;
            lines += 1;
            if layout.plain_cell(self.bytes, line).is_ok_and(|cell| self.is_identity(&cell)) {
                filled.push(text.trim_ascii_end().len());
            }
        }
        let usual = widths.into_iter().max_by_key(|&(width, count)| (count, std::cmp::Reverse(width)));
        let usual = usual.filter(|_| lines > 1).map_or(0, |(width, _)| width);
        filled.sort_unstable();
        let share = if filled.len() < FEW_LINES { filled.len() / 2 } else { filled.len() * 9 / 10 };
        let most = filled.get(share).filter(|_| filled.len() > 1).map_or(usize::MAX, |bytes| bytes * 3 / 2);
        RowShape::Bytes { usual, most }
    }

    /// Whether most lines with an identity in a field have another one at the same place of their second half, third, up to
    /// twentieth: then each line is several records. Between two there may be up to four bytes.
    pub(super) fn has_several_records(&self, start: usize, offset: usize, length: usize) -> bool {
        let identity = |line: &Range<usize>, at: usize| {
            let text = without_line_end(&self.bytes[line.clone()]).get(at..at + length)?;
            self.ids.identity(text).ok()
        };
        let with_identity: Vec<(Range<usize>, Identity)> = self
            .lines(start)
            .filter_map(|line| identity(&line, offset).map(|identity| (line, identity)))
            .collect();
        let periods = (2..=20).map(|records| (records, 0)).chain((1..=4).map(|between| (2, between)));
        periods.into_iter().any(|(records, between)| {
            let is_several = |(line, own): &&(Range<usize>, Identity)| {
                let bytes = without_line_end(&self.bytes[line.clone()]).len();
                let next = offset + (bytes + between) / records;
                (bytes + between).is_multiple_of(records)
                    && identity(line, next).is_some_and(|other| other != *own)
            };
            let several = with_identity.iter().filter(is_several).count();
            several > 1 && several * 2 >= with_identity.len()
        })
    }

    /// Identities at a fixed position, and lines.
    pub(super) fn share_of_lines(&self, start: usize, layout: &Layout) -> (usize, usize) {
        let is_identity = |line: Range<usize>| {
            layout.plain_cell(self.bytes, line).is_ok_and(|cell| self.is_identity(&cell))
        };
        let lines: Vec<bool> = self.lines(start).map(is_identity).collect();
        (lines.iter().filter(|is| **is).count(), lines.len())
    }
}

/// Whether a text has enough digits for an identity: 7 of a number that lost its zeros, or full-width ones, which begin
/// with the byte EF.
pub(super) fn may_be_identity(text: &[u8]) -> bool {
    text.iter().filter(|byte| byte.is_ascii_digit()).count() >= 7 || text.contains(&0xEF)
}

/// Of the rows with an identity (of all rows, if no row has one): their number, how many have the usual number of
/// cells, and that number.
fn usual_cells(rows: &[SampleRow]) -> (usize, usize, usize) {
    let any = rows.iter().any(SampleRow::has_identity);
    let mut counts = vec![0usize; COLUMNS_MAX + 1];
    let mut of = 0;
    for row in rows.iter().filter(|row| row.has_identity() || !any) {
        counts[row.cells.len().min(COLUMNS_MAX)] += 1;
        of += 1;
    }
    let usual = counts.iter().enumerate().filter(|(_, count)| **count > 0);
    let usual = usual.max_by_key(|&(cells, &count)| (count, std::cmp::Reverse(cells)));
    usual.map_or((of, 0, 0), |(cells, &alike)| (of, alike, cells))
}

/// Where the identities of the column with the most begin.
fn identities_of_one_column(rows: &[SampleRow]) -> Vec<usize> {
    let mut columns: Vec<Vec<usize>> = Vec::new();
    for row in rows {
        columns.resize(columns.len().max(row.identities.len()), Vec::new());
        let cells = columns.iter_mut().zip(&row.identities).zip(&row.cells);
        cells.filter(|((_, is), _)| **is).for_each(|((column, _), cell)| column.push(cell.start));
    }
    columns.into_iter().max_by_key(Vec::len).unwrap_or_default()
}

/// How well a delimiter cuts a list.
struct DelimiterScore {
    /// Whether a header has a known name; identities in one column, rows alike, columns.
    key: (bool, usize, usize, usize),
    /// How well it shows a header.
    level: u8,
    /// Where the identities begin.
    identities: Vec<usize>,
    delimiter: u8,
}

impl DelimiterScore {
    /// Whether another delimiter, which is not as good, gives half as many identities or more in other places.
    fn may_be_wrong(&self, other: &DelimiterScore) -> bool {
        let same =
            other.identities.iter().filter(|start| self.identities.binary_search(start).is_ok()).count();
        let is_named = self.level == 2 && other.level == 0;
        let is_as_good = !is_named && other.identities.len() * 2 >= self.identities.len();
        is_as_good && !other.identities.is_empty() && same * 2 < other.identities.len()
    }
}

/// The first rows of a list as a table.
pub(super) struct SampleTable<'a> {
    pub(super) sampler: &'a Sampler<'a>,
    /// Cells that a row usually has.
    pub(super) columns: usize,
    /// The first row with an identity.
    pub(super) first: Option<usize>,
    /// The columns that have the identities, most likely.
    pub(super) likely_ids: Vec<usize>,
    pub(super) rows: Vec<SampleRow>,
}

impl SampleTable<'_> {
    pub(super) fn text(&self, cell: &Range<usize>) -> String {
        self.sampler.encoding.text(&self.sampler.bytes[cell.clone()])
    }

    pub(super) fn texts(&self, row: usize) -> Vec<String> {
        self.rows.get(row).map_or(Vec::new(), |row| row.cells.iter().map(|cell| self.text(cell)).collect())
    }

    /// How many cells rows have. If most have as many as several joined ones, the header shows how many one has.
    pub(super) fn shape(&self, header: Option<usize>, ids: &[usize]) -> RowShape {
        let titles = header.map_or(Vec::new(), |row| self.texts(row));
        let named = titles.iter().rposition(|title| !title.is_empty()).map_or(0, |last| last + 1);
        let most = match named {
            0 if self.is_cut_row() => usize::MAX,
            0 => self.columns,
            cells if self.columns >= (2 * cells - 1).max(2) => cells,
            cells => cells.max(self.columns),
        };
        let usual = self.columns.min(most);
        let is_other = |column: &usize| {
            let named = titles.get(*column).is_some_and(|title| {
                names::rank(title, self.sampler.ids.only_country()) > 0 && !names::is_weak(title)
            });
            let below = self.rows.iter().filter(|row| row.cells.len() == usual);
            named || below.clone().any(|row| row.identities[*column])
        };
        let others: Vec<usize> =
            (0..usual).filter(|column| !ids.contains(column) && is_other(column)).collect();
        let has_only = |column: &usize| {
            let below = self.rows.get(header.map_or(0, |row| row + 1)..).unwrap_or_default();
            let filled =
                below.iter().filter_map(|row| Some((row.cells.get(*column)?, row.identities[*column])));
            let filled =
                filled.filter(|(cell, _)| !self.sampler.bytes[(*cell).clone()].trim_ascii().is_empty());
            let identities = filled.clone().filter(|(_, is)| *is).count();
            identities > 0 && identities * 2 >= filled.count()
        };
        let only_others = others.iter().copied().filter(has_only).collect();
        RowShape::Cells { usual, most, others, only_others }
    }

    /// Whether the sample is the beginning of a single row.
    fn is_cut_row(&self) -> bool {
        let is_cut = |row: &SampleRow| !self.sampler.whole && row.range.end == self.sampler.bytes.len();
        self.rows.len() == 1 && is_cut(&self.rows[0])
    }

    /// Whether at least half of the rows from one on have an identity in a column.
    pub(super) fn holds(&self, column: usize, from: usize) -> bool {
        let below = self.rows.get(from..).unwrap_or_default();
        let identities = below.iter().filter(|row| row.identities.get(column) == Some(&true)).count();
        identities > 0 && identities * 100 >= below.len() * SHARE_PERCENT
    }

    /// Below the header: identities in a column, and rows.
    pub(super) fn share(&self, column: usize, header: Option<usize>) -> (usize, usize) {
        let below = &self.rows[header.map_or(0, |row| row + 1)..];
        let identities = below.iter().filter(|row| row.identities.get(column) == Some(&true)).count();
        (identities, below.len())
    }

    /// Whether most rows seem to be several, because line ends were lost: another cell than the identity's ends with an
    /// identity that is no other way of writing the row's own, right after a letter, a digit or what separates cells of other
    /// lists.
    pub(super) fn has_several_in_a_row(&self, id_column: usize) -> bool {
        let with_identity = self.rows.iter().filter(|row| row.identities.get(id_column) == Some(&true));
        let several = with_identity.clone().filter(|row| self.is_several(row, id_column)).count();
        several > 0 && several * 2 >= with_identity.count()
    }

    /// Whether a row ends a cell, which is none, with an identity other than its own, right behind something.
    fn is_several(&self, row: &SampleRow, id_column: usize) -> bool {
        let Sampler { bytes, ids, .. } = *self.sampler;
        let parse = |text: &[u8]| ids.identity(text).ok();
        let own = parse(&bytes[row.cells[id_column].clone()]);
        let others = row.cells.iter().zip(&row.identities).filter(|(_, is_identity)| !**is_identity);
        others.map(|(cell, _)| bytes[cell.clone()].trim_ascii_end()).any(|cell| {
            // Also what begins with an identity, where the last column has it.
            let begins = ids.countries().flat_map(whole_lengths).find_map(|length| {
                let (text, after) = (cell.get(..*length)?, cell.get(*length)?);
                let digits = text.iter().filter(|byte| byte.is_ascii_digit()).count();
                let other = parse(text).filter(|_| digits >= 10)?;
                Some((after.is_ascii_alphabetic() || !after.is_ascii()) && Some(other) != own)
            });
            if begins == Some(true) {
                return true;
            }
            identities_at_end(cell, &ids).any(|(before, _, other)| {
                let is_joined = before.last().is_some_and(|&last| {
                    last.is_ascii_alphanumeric() || !last.is_ascii() || matches!(last, b'\t' | b'|')
                });
                is_joined && Some(other) != own
            })
        })
    }
}
