//! The first rows of a list, cut into cells: delimiter, header, column of the identities.

use super::encoding::Encoding;
use super::ground::Ground;
use super::names;
use crate::channels::suggestion;
use crate::identities::{Country, Identity, Today};
use crate::limits::{COLUMNS_MAX, HEADER_ROWS, SAMPLE_ROWS};
use crate::mailing::cells::QuoteChain;
use crate::mailing::error::ListError;
use crate::mailing::guard::without_line_end;
use crate::mailing::options::ListOptions;
use crate::mailing::rows::{Layout, line_end};
use crate::plain_text::plain;
use std::ops::Range;

/// A column of identities has at least this percentage of them.
pub(super) const SHARE_PERCENT: usize = 50;
/// Candidates for the delimiter; of equals the first wins.
const DELIMITERS: [u8; 4] = *b";\t|,";

/// The beginning of a list.
pub(super) struct Sampler<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) encoding: Encoding,
    /// Whether it is the whole list.
    pub(super) whole: bool,
    pub(super) country: Country,
    pub(super) today: Today,
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

    /// Whether a text is an identity. Most are names and addresses, which are excluded by their digits.
    fn parses(&self, text: &[u8]) -> bool {
        may_be_identity(text) && Identity::parse(text, self.country, self.today).is_ok()
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

    /// The delimiter with the most identities in one column, then with the most rows alike, then with the most cells;
    /// `None` if no delimiter cuts half of the rows alike.
    pub(super) fn delimiter(&self, start: usize) -> (Option<u8>, Ground) {
        let score = |delimiter: u8| {
            let rows = self.rows(start, Some(delimiter));
            let (of, alike, columns) = usual_cells(&rows);
            let best = most_identities(&rows);
            (columns >= 2 && alike * 2 >= of).then_some((best, alike, columns, delimiter))
        };
        // Of equal scores, `max_by_key` takes the last.
        let scores = DELIMITERS.into_iter().rev().filter_map(score);
        match scores.max_by_key(|&(best, alike, columns, _)| (best, alike, columns)) {
            Some((0, .., delimiter)) => (Some(delimiter), Ground::Cells),
            Some((.., delimiter)) => (Some(delimiter), Ground::Identities),
            None => (None, Ground::NoChoice),
        }
    }

    pub(super) fn table(&'a self, start: usize, delimiter: Option<u8>) -> SampleTable<'a> {
        let rows = self.rows(start, delimiter);
        let (.., columns) = usual_cells(&rows);
        let first = rows.iter().position(SampleRow::has_identity);
        SampleTable { sampler: self, columns: columns.max(1), first, rows }
    }

    /// Bytes that most lines have; 0 for fewer than two lines.
    pub(super) fn usual_width(&self, start: usize) -> usize {
        let (mut at, mut widths) = (start, std::collections::BTreeMap::new());
        let mut lines = 0;
        while at < self.bytes.len() && lines < SAMPLE_ROWS {
            let end = line_end(self.bytes, at);
            *widths.entry(without_line_end(&self.bytes[at..end]).len()).or_insert(0) += 1;
            (at, lines) = (end, lines + 1);
        }
        let usual = widths.into_iter().max_by_key(|&(width, count)| (count, std::cmp::Reverse(width)));
        usual.filter(|_| lines > 1).map_or(0, |(width, _)| width)
    }

    /// Identities at a fixed position, and lines.
    pub(super) fn share_of_lines(&self, start: usize, layout: &Layout) -> (usize, usize) {
        let (mut at, mut identities, mut lines) = (start, 0, 0);
        while at < self.bytes.len() && lines < SAMPLE_ROWS {
            let line = at..line_end(self.bytes, at);
            at = line.end;
            lines += 1;
            identities +=
                usize::from(layout.plain_cell(self.bytes, line).is_ok_and(|cell| self.is_identity(&cell)));
        }
        (identities, lines)
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

/// The number of identities in the column with the most.
fn most_identities(rows: &[SampleRow]) -> usize {
    let mut counts: Vec<usize> = Vec::new();
    for row in rows {
        counts.resize(counts.len().max(row.identities.len()), 0);
        counts.iter_mut().zip(&row.identities).for_each(|(count, &is)| *count += usize::from(is));
    }
    counts.into_iter().max().unwrap_or(0)
}

/// The first rows of a list as a table.
pub(super) struct SampleTable<'a> {
    sampler: &'a Sampler<'a>,
    /// Cells that a row usually has.
    pub(super) columns: usize,
    /// The first row with an identity.
    first: Option<usize>,
    pub(super) rows: Vec<SampleRow>,
}

/// The columns of the identities.
pub(super) struct IdColumns {
    /// One or two.
    pub(super) columns: Vec<usize>,
    pub(super) ground: Ground,
}

impl SampleTable<'_> {
    fn text(&self, cell: &Range<usize>) -> String {
        self.sampler.encoding.text(&self.sampler.bytes[cell.clone()])
    }

    fn texts(&self, row: usize) -> Vec<String> {
        self.rows.get(row).map_or(Vec::new(), |row| row.cells.iter().map(|cell| self.text(cell)).collect())
    }

    /// The rows that may be the header.
    fn above(&self) -> Range<usize> {
        0..self.first.unwrap_or(self.rows.len().min(HEADER_ROWS))
    }

    /// The header, as far as names and words show it.
    pub(super) fn header(&self, options: &ListOptions) -> Result<(Option<usize>, Ground), ListError> {
        let named: Vec<&String> =
            options.id_columns.iter().filter(|name| name.parse::<usize>().is_err()).collect();
        if let Some(name) = named.first() {
            let within = 0..self.rows.len().min(HEADER_ROWS);
            let row = within.clone().find(|&row| position(&self.texts(row), name, true).is_some());
            let row =
                row.or_else(|| within.clone().find(|&row| position(&self.texts(row), name, false).is_some()));
            return match row {
                Some(row) => Ok((Some(row), Ground::Given)),
                None => Err(self.no_such_column(name, None)),
            };
        }
        let (by_words, ground) = self.header_by_words();
        match options.header {
            None => Ok((by_words, ground)),
            Some(false) => Ok((None, Ground::Given)),
            Some(true) => {
                let first = (!self.rows.is_empty()).then_some(0);
                Ok((by_words.or_else(|| self.header_by_types(usize::MAX)).or(first), Ground::Given))
            }
        }
    }

    fn header_by_words(&self) -> (Option<usize>, Ground) {
        let country = self.sampler.country;
        let known = |row: &usize| self.texts(*row).iter().any(|title| names::rank(title, country) > 0);
        let usual = |row: &usize| {
            let titles: Vec<String> =
                self.texts(*row).into_iter().filter(|title| !title.is_empty()).collect();
            let (words, others): (Vec<_>, Vec<_>) =
                titles.iter().partition(|title| names::is_usual(title, country));
            let least = if self.columns == 1 { 1 } else { 2 };
            words.len() >= least
                && words.len() * 2 >= titles.len()
                && others.iter().all(|title| is_wordy(title))
        };
        if self.rows.is_empty() {
            return (None, Ground::NoChoice);
        }
        let may_be =
            |row: &usize| self.rows[*row].cells.len() * 2 >= self.columns && !self.may_be_recipient(*row);
        let header = match self.above().find(|row| may_be(row) && known(row)) {
            Some(row) => Some((row, Ground::KnownName)),
            None => self.above().find(|row| may_be(row) && usual(row)).map(|row| (row, Ground::UsualWords)),
        };
        match header {
            Some((row, ground)) if self.may_be_copied_above(row) => (Some(row), ground),
            _ => (None, Ground::NoSign),
        }
    }

    /// Whether a row without identity may be a recipient whose identity is missing: the columns of the identities are
    /// empty or have a placeholder.
    fn may_be_recipient(&self, row: usize) -> bool {
        let Some(first) = self.first else { return false };
        let titles = self.texts(row);
        let mut holding = (0..self.columns).filter(|&column| self.holds(column, first)).peekable();
        let is_missing = |column: usize| {
            titles.get(column).is_none_or(|title| title.is_empty() || names::is_placeholder(title))
        };
        holding.peek().is_some() && holding.all(is_missing)
    }

    /// Whether the rows above a header may be copied to every file: they are few, and none may be a recipient's. A row
    /// may be one if every column is filled, or if it may be a recipient whose identity is missing and two columns are
    /// filled.
    fn may_be_copied_above(&self, header: usize) -> bool {
        let is_cut = !self.sampler.whole && self.rows[header].range.end == self.sampler.bytes.len();
        let is_recipient = |row: usize| {
            let filled = self.texts(row).iter().filter(|title| !title.is_empty()).count();
            self.columns > 1 && (filled >= self.columns || filled >= 2 && self.may_be_recipient(row))
        };
        header < HEADER_ROWS && !is_cut && !(0..header).any(is_recipient)
    }

    /// Whether at least half of the rows from one on have an identity in a column.
    fn holds(&self, column: usize, from: usize) -> bool {
        let below = self.rows.get(from..).unwrap_or_default();
        let identities = below.iter().filter(|row| row.identities.get(column) == Some(&true)).count();
        identities > 0 && identities * 100 >= below.len() * SHARE_PERCENT
    }

    /// The first row with words where the rows below have digits: in two columns beside the identity's, or in another
    /// column of identities.
    pub(super) fn header_by_types(&self, id_column: usize) -> Option<usize> {
        let first = self.first?;
        let has_digit = |cell: &Range<usize>| self.sampler.bytes[cell.clone()].iter().any(u8::is_ascii_digit);
        let below = &self.rows[first..];
        let is_digital = |&column: &usize| {
            let digital = below.iter().filter(|row| row.cells.get(column).is_some_and(has_digit)).count();
            column != id_column && digital * 5 >= below.len() * 4
        };
        let digital: Vec<usize> = (0..self.columns).filter(is_digital).collect();
        let is_distinct = digital.len() >= 2 || digital.iter().any(|&column| self.holds(column, first));
        let row = self.above().find(|&row| {
            let mut titles = self.texts(row);
            let wordy = titles.iter().all(|title| is_wordy(title) && !names::is_placeholder(title));
            titles.sort_unstable();
            titles.dedup();
            wordy && titles.len() == self.columns && titles.len() == self.rows[row].cells.len()
        });
        row.filter(|&row| is_distinct && self.columns >= 2 && self.may_be_copied_above(row))
    }

    /// The columns of identities.
    pub(super) fn id_columns(
        &self,
        header: Option<usize>,
        options: &ListOptions,
    ) -> Result<IdColumns, ListError> {
        if options.id_columns.is_empty() {
            let (column, ground) = self.find(header)?;
            return Ok(IdColumns { columns: vec![column], ground });
        }
        let columns = options.id_columns.iter().map(|name| self.column(name, header));
        let columns: Vec<usize> = columns.collect::<Result<_, _>>()?;
        Ok(IdColumns { columns, ground: Ground::Given })
    }

    /// The column with a name or number.
    pub(super) fn column(&self, name: &str, header: Option<usize>) -> Result<usize, ListError> {
        if let Ok(number) = name.parse::<usize>() {
            let column = number.checked_sub(1).ok_or(ListError::ColumnZero)?;
            // If no row could be cut, any number is accepted.
            return match self.widest() == 0 || column < self.widest() {
                true => Ok(column),
                false => Err(self.no_such_column(name, header)),
            };
        }
        let titles = header.map_or(Vec::new(), |row| self.texts(row));
        let column = position(&titles, name, true).or_else(|| position(&titles, name, false));
        column.ok_or_else(|| self.no_such_column(name, header))
    }

    /// As [`column`](Self::column). Errors: also if several columns have the name, with the same upper and lower case or without
    /// regard to it.
    pub(super) fn only_column(&self, name: &str, header: Option<usize>) -> Result<usize, ListError> {
        let column = self.column(name, header)?;
        let titles = header.map_or(Vec::new(), |row| self.texts(row));
        let mut others =
            titles.iter().enumerate().filter(|(other, _)| *other != column).map(|(_, title)| title);
        let title = titles.get(column).filter(|_| name.parse::<usize>().is_err());
        let is_like =
            |other: &String| title.is_some_and(|title| title.to_lowercase() == other.to_lowercase());
        match others.any(is_like) {
            true => Err(ListError::AmbiguousColumn { line: 0, wanted: name.to_owned() }),
            false => Ok(column),
        }
    }

    fn no_such_column(&self, name: &str, header: Option<usize>) -> ListError {
        let titles = header.map_or(Vec::new(), |row| self.texts(row));
        ListError::NoSuchColumn {
            wanted: name.to_owned(),
            columns: self.described(header),
            similar: suggestion(name, titles.iter().map(|title| &**title)),
        }
    }

    fn widest(&self) -> usize {
        self.rows.iter().map(|row| row.cells.len()).max().unwrap_or(0)
    }

    /// The name of a column, its number from 1 if the list has no header.
    pub(super) fn name_of(&self, column: usize, header: Option<usize>) -> String {
        let title = header.and_then(|row| self.texts(row).get(column).cloned());
        title.filter(|title| !title.is_empty()).unwrap_or_else(|| (column + 1).to_string())
    }

    /// Below the header: identities in a column, and rows.
    pub(super) fn share(&self, column: usize, header: Option<usize>) -> (usize, usize) {
        let below = &self.rows[header.map_or(0, |row| row + 1)..];
        let identities = below.iter().filter(|row| row.identities.get(column) == Some(&true)).count();
        (identities, below.len())
    }

    /// The column of the identities, if there is only one candidate.
    fn find(&self, header: Option<usize>) -> Result<(usize, Ground), ListError> {
        if self.rows.is_empty() {
            return Ok((0, Ground::NoChoice));
        }
        // Rows above the first identity do not count.
        let from = header.map_or(self.first.unwrap_or(0), |row| row + 1);
        let columns = 0..self.widest().min(COLUMNS_MAX);
        let holding: Vec<usize> = columns.clone().filter(|&column| self.holds(column, from)).collect();
        let titles = header.map_or(Vec::new(), |row| self.texts(row));
        let rank =
            |column: usize| titles.get(column).map_or(0, |title| names::rank(title, self.sampler.country));
        let best = |candidates: Vec<usize>| -> Vec<usize> {
            let best = candidates.iter().map(|&column| rank(column)).max().unwrap_or(0);
            candidates.into_iter().filter(|&column| best > 0 && rank(column) == best).collect()
        };
        let (candidates, ground) = match holding.len() {
            0 => (best(columns.collect()), Ground::KnownName),
            1 => (holding, Ground::Identities),
            _ => (best(holding), Ground::KnownName),
        };
        match candidates[..] {
            [column] => Ok((column, ground)),
            // A single column is the identity's, with or without identities.
            _ if self.widest() <= 1 => Ok((0, Ground::NoChoice)),
            _ => Err(ListError::UnknownIdColumn { columns: self.described(header) }),
        }
    }

    /// The columns, and the share of identities in each. Has no content of cells but the header's, and only the columns
    /// of the header or of most rows.
    fn described(&self, header: Option<usize>) -> String {
        // A header without known words may still show by types.
        let header = header.or_else(|| self.header_by_types(usize::MAX));
        let titles = header.map_or(Vec::new(), |row| self.texts(row));
        let describe = |column: usize| {
            let (identities, rows) = self.share(column, header);
            let percent = identities * 100 / rows.max(1);
            match titles.get(column).filter(|name| !name.is_empty() && may_be_shown(name)) {
                Some(name) => format!("{} \"{}\" ({percent} % identities)", column + 1, plain(name)),
                None => format!("{} ({percent} % identities)", column + 1),
            }
        };
        let columns = self.columns.max(titles.len()).min(40);
        (0..columns).map(describe).collect::<Vec<_>>().join(", ")
    }
}

/// Whether a message may show a title: it has no number that may be an identity.
fn may_be_shown(title: &str) -> bool {
    title.split(|character: char| !character.is_ascii_digit()).all(|digits| digits.len() < 6)
}

/// Whether a cell has something in it and no digit.
fn is_wordy(cell: &str) -> bool {
    !cell.is_empty() && !cell.bytes().any(|byte| byte.is_ascii_digit())
}

/// The index of a name among titles: exact, or without case, punctuation and accents.
fn position(titles: &[String], name: &str, exact: bool) -> Option<usize> {
    let folded = names::folded(name);
    titles.iter().position(|title| {
        if exact { title == name } else { !folded.is_empty() && names::folded(title) == folded }
    })
}
