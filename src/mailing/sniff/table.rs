//! The first rows of a list, cut into cells: delimiter, header, column of the identities.

use super::encoding::Encoding;
use super::ground::Ground;
use crate::channels::suggestion;
use crate::identities::{Country, Identity, Today};
use crate::limits::{COLUMNS_MAX, SAMPLE_ROWS};
use crate::mailing::cells::QuoteChain;
use crate::mailing::error::ListError;
use crate::mailing::guard::without_line_end;
use crate::mailing::names;
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

/// Whether a number was rounded by a spreadsheet, as `1,99E+11`.
fn is_rounded(text: &[u8]) -> bool {
    let text = text.trim_ascii();
    let ends = [b"E+11", b"E+10", b"e+11", b"e+10"].into_iter().any(|end| text.ends_with(end));
    ends && text[0].is_ascii_digit()
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

/// The columns of the identities.
pub(super) struct IdColumns {
    /// One or two.
    pub(super) columns: Vec<usize>,
    pub(super) ground: Ground,
}

impl SampleTable<'_> {
    pub(super) fn text(&self, cell: &Range<usize>) -> String {
        self.sampler.encoding.text(&self.sampler.bytes[cell.clone()])
    }

    pub(super) fn texts(&self, row: usize) -> Vec<String> {
        self.rows.get(row).map_or(Vec::new(), |row| row.cells.iter().map(|cell| self.text(cell)).collect())
    }

    /// Whether at least half of the rows from one on have an identity in a column.
    pub(super) fn holds(&self, column: usize, from: usize) -> bool {
        let below = self.rows.get(from..).unwrap_or_default();
        let identities = below.iter().filter(|row| row.identities.get(column) == Some(&true)).count();
        identities > 0 && identities * 100 >= below.len() * SHARE_PERCENT
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
        let columns = options.id_columns.iter().map(|name| self.id_column(name, header));
        let columns: Vec<usize> = columns.collect::<Result<_, _>>()?;
        Ok(IdColumns { columns, ground: Ground::Given })
    }

    /// The column of identities with a name or number. Errors: also if several have the name.
    fn id_column(&self, name: &str, header: Option<usize>) -> Result<usize, ListError> {
        let titles = header.map_or(Vec::new(), |row| self.texts(row));
        let exact = titles.iter().filter(|title| *title == name).count();
        let like = titles.iter().filter(|title| names::folded(title) == names::folded(name)).count();
        match name.parse::<usize>().is_err() && (exact > 1 || exact == 0 && like > 1) {
            true => Err(ListError::UnknownIdColumn { columns: self.described(header) }),
            false => self.column(name, header),
        }
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

    pub(super) fn no_such_column(&self, name: &str, header: Option<usize>) -> ListError {
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
        let Sampler { bytes, country, today, .. } = *self.sampler;
        let parse = |text: &[u8]| Identity::parse(text, country, today).ok();
        let own = parse(&bytes[row.cells[id_column].clone()]);
        // With and without a sign or the century, the longest first: the last digits of an identity are no other one.
        let lengths: &[usize] = match country {
            Country::Sweden => &[13, 12, 11, 10],
            Country::Norway => &[12, 11],
        };
        let others = row.cells.iter().zip(&row.identities).filter(|(_, is_identity)| !**is_identity);
        others.map(|(cell, _)| bytes[cell.clone()].trim_ascii_end()).any(|cell| {
            // Also what begins with an identity, where the last column has it.
            let begins = lengths.iter().find_map(|length| {
                let (text, after) = (cell.get(..*length)?, cell.get(*length)?);
                let digits = text.iter().filter(|byte| byte.is_ascii_digit()).count();
                let other = parse(text).filter(|_| digits >= 10)?;
                Some((after.is_ascii_alphabetic() || !after.is_ascii()) && Some(other) != own)
            });
            if begins == Some(true) {
                return true;
            }
            let ends = lengths.iter().filter_map(|length| cell.len().checked_sub(*length));
            let found = ends.map(|at| cell.split_at(at)).find_map(|(before, text)| {
                let digits = text.iter().filter(|byte| byte.is_ascii_digit()).count();
                let is_whole = digits >= 10 && text.first().is_some_and(u8::is_ascii_digit);
                parse(text).filter(|_| is_whole).map(|other| (before, other))
            });
            found.is_some_and(|(before, other)| {
                let is_joined = before.last().is_some_and(|&last| {
                    last.is_ascii_alphanumeric() || !last.is_ascii() || matches!(last, b'\t' | b'|')
                });
                is_joined && Some(other) != own
            })
        })
    }

    /// Whether half of the rows from one on have a number in a column that seems to be an identity, and is none.
    fn seems_unreadable(&self, column: usize, from: usize, seems: impl Fn(&[u8]) -> bool) -> bool {
        let is = |row: &&SampleRow| {
            let cell = row.cells.get(column).map(|cell| self.sampler.bytes[cell.clone()].trim_ascii());
            row.identities.get(column) == Some(&false) && cell.is_some_and(&seems)
        };
        let below = self.rows.get(from..).unwrap_or_default();
        !below.is_empty() && below.iter().filter(is).count() * 2 >= below.len()
    }

    /// The column of the identities, if there is only one candidate.
    fn find(&self, header: Option<usize>) -> Result<(usize, Ground), ListError> {
        if self.rows.is_empty() {
            return Ok((0, Ground::NoChoice));
        }
        if header.is_none() && self.names_another_column() {
            return Err(ListError::UnknownIdColumn { columns: self.described(header) });
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
        // A column with a known name is not passed over because its identities cannot be read: those in another column
        // are other people's.
        let is_strong = |&column: &usize| {
            rank(column) > 0 && !titles.get(column).is_some_and(|title| names::is_weak(title))
        };
        let known: Vec<usize> = columns.clone().filter(is_strong).collect();
        let readable: Vec<usize> = known.iter().copied().filter(|column| holding.contains(column)).collect();
        let (mut candidates, ground) = match (&known[..], &readable[..], holding.len()) {
            ([_, ..], [], _) => (best(known.clone()), Ground::KnownName),
            ([_, ..], [one], _) => {
                (vec![*one], if holding.len() == 1 { Ground::Identities } else { Ground::KnownName })
            }
            ([_, ..], ..) => (best(readable), Ground::KnownName),
            (.., 0) => (best(columns.clone().collect()), Ground::KnownName),
            (.., 1) => (holding.clone(), Ground::Identities),
            _ => (best(holding.clone()), Ground::KnownName),
        };
        let title = |column: usize| titles.get(column).map_or("", |title| title);
        if let [column] = candidates[..] {
            let seems_withheld = |cell: &[u8]| {
                let text = self.sampler.encoding.text(cell);
                may_be_identity(cell) || is_rounded(cell) || names::is_withheld(&text)
            };
            // Another column that may be the one meant: with identities under a title that may name them, or with what seems
            // to be identities that cannot be read.
            let may_be_meant = |other: usize| match holding.contains(&other) {
                true => {
                    let may_name = rank(other) > 0 && !names::names_others(title(other));
                    names::names_others(title(column)) || may_name && known.contains(&other)
                }
                false if known.contains(&other) => {
                    rank(other) >= rank(column) && self.seems_unreadable(other, from, seems_withheld)
                }
                false => {
                    !known.contains(&column)
                        && (self.seems_unreadable(other, from, is_rounded)
                            || names::is_weak(title(other))
                                && self.seems_unreadable(other, from, may_be_identity))
                }
            };
            if columns.filter(|other| *other != column).any(may_be_meant) {
                candidates.clear();
            }
        }
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

/// The index of a name among titles: exact, or without case, punctuation and accents.
pub(super) fn position(titles: &[String], name: &str, exact: bool) -> Option<usize> {
    let folded = names::folded(name);
    titles.iter().position(|title| {
        if exact { title == name } else { !folded.is_empty() && names::folded(title) == folded }
    })
}
