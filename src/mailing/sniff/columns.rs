//! The column of the identities, and columns with a name or number.

use super::ground::Ground;
use super::table::{EXCEPTION, SampleRow, SampleTable, may_be_identity};
use crate::channels::suggestion;
use crate::limits::COLUMNS_MAX;
use crate::mailing::error::ListError;
use crate::mailing::names;
use crate::mailing::options::ListOptions;
use crate::plain_text::plain;

/// The columns of the identities.
pub(super) struct IdColumns {
    /// One or two.
    pub(super) columns: Vec<usize>,
    pub(super) ground: Ground,
}

impl SampleTable<'_> {
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

    /// The column of the identities, if there is only one candidate.
    fn find(&self, header: Option<usize>) -> Result<(usize, Ground), ListError> {
        if self.rows.is_empty() {
            return Ok((0, Ground::NoChoice));
        }
        if header.is_none() && self.names_another_column() {
            return Err(ListError::UnknownIdColumn { columns: self.described(header) });
        }
        let candidates = Candidates::of(self, header);
        let (likely, ground) = candidates.likely();
        match likely[..] {
            [column] if !candidates.others(column).any(|other| candidates.may_be_meant(other, column)) => {
                Ok((column, ground))
            }
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

/// The columns that may be the one of the identities.
struct Candidates<'a> {
    table: &'a SampleTable<'a>,
    titles: Vec<String>,
    /// The rows below the header, or from the first identity on.
    rows: &'a [SampleRow],
    count: usize,
    /// Those with an identity in half of the rows.
    holding: Vec<usize>,
    /// Those whose title is a known name that only columns of identities have.
    known: Vec<usize>,
}

impl<'a> Candidates<'a> {
    fn of(table: &'a SampleTable<'a>, header: Option<usize>) -> Candidates<'a> {
        let from = header.map_or(table.first.unwrap_or(0), |row| row + 1);
        let mut candidates = Candidates {
            table,
            titles: header.map_or(Vec::new(), |row| table.texts(row)),
            rows: table.rows.get(from..).unwrap_or_default(),
            count: table.widest().min(COLUMNS_MAX),
            holding: Vec::new(),
            known: Vec::new(),
        };
        let columns = 0..candidates.count;
        candidates.holding = columns.clone().filter(|&column| table.holds(column, from)).collect();
        let is_known =
            |&column: &usize| candidates.rank(column) > 0 && !names::is_weak(candidates.title(column));
        candidates.known = columns.filter(is_known).collect();
        candidates
    }

    fn title(&self, column: usize) -> &str {
        self.titles.get(column).map_or("", |title| title)
    }

    fn rank(&self, column: usize) -> u8 {
        names::rank(self.title(column), self.table.sampler.ids.only_country())
    }

    /// All columns but one.
    fn others(&self, column: usize) -> impl Iterator<Item = usize> {
        (0..self.count).filter(move |other| *other != column)
    }

    /// Those of some columns with the best title, if it is one of identities.
    fn best(&self, columns: &[usize]) -> Vec<usize> {
        let best = columns.iter().map(|&column| self.rank(column)).max().unwrap_or(0);
        columns.iter().copied().filter(|&column| best > 0 && self.rank(column) == best).collect()
    }

    /// The best candidates. A column with a known name is not passed over because its identities cannot be read: those in
    /// another column are other people's.
    fn likely(&self) -> (Vec<usize>, Ground) {
        let readable: Vec<usize> =
            self.known.iter().copied().filter(|column| self.holding.contains(column)).collect();
        match (&self.known[..], &readable[..], &self.holding[..]) {
            ([_, ..], [], _) => (self.best(&self.known), Ground::KnownName),
            ([_, ..], [one], [_]) => (vec![*one], Ground::Identities),
            ([_, ..], [one], _) => (vec![*one], Ground::KnownName),
            ([_, ..], ..) => (self.best(&readable), Ground::KnownName),
            (.., []) => (self.best(&(0..self.count).collect::<Vec<_>>()), Ground::KnownName),
            (.., [one]) => (vec![*one], Ground::Identities),
            (.., holding) => (self.best(holding), Ground::KnownName),
        }
    }

    /// Whether another column than the likely one may be the one meant. A column whose title is about other people is not,
    /// unless that of the likely one is, too. Otherwise one is that
    ///
    /// - has a better title, or one as good with some identities, or in half of the rows what seems to be one that cannot be
    ///   read or is withheld;
    /// - has identities in half of the rows and a known name, or in some rows and a title for those whom letters go to, or any
    ///   title if that of the likely column is no exact known name;
    /// - of a list without known names: has what a spreadsheet made of identities.
    fn may_be_meant(&self, other: usize, likely: usize) -> bool {
        let (title, country) = (self.title(other), self.table.sampler.ids.only_country());
        let (is_known, is_about_others) = (self.known.contains(&other), names::names_others(title));
        let names_recipients = names::names_recipients(title, country);
        if names::names_others(self.title(likely)) {
            if self.holding.contains(&other) || names_recipients && !is_about_others {
                return true;
            }
        } else if is_about_others {
            return false;
        }
        let (rank, best) = (self.rank(other), self.rank(likely));
        let may_have_them =
            || self.has_some(other) || self.half_seems_unreadable(other, |cell| self.seems_withheld(cell));
        if is_known && (rank > best || self.holding.contains(&other) || rank == best && may_have_them()) {
            return true;
        }
        let is_exact = names::is_exact(self.title(likely), country);
        if (names_recipients || !is_exact) && self.has_some(other) {
            return true;
        }
        !self.known.contains(&likely)
            && (self.half_seems_unreadable(other, is_rounded)
                || names::is_weak(title) && self.half_seems_unreadable(other, may_be_identity))
            || self.table.sampler.is_strict && !is_exact && self.half_seems_unreadable(other, has_six_digits)
    }

    fn seems_withheld(&self, cell: &[u8]) -> bool {
        let text = self.table.sampler.encoding.text(cell);
        may_be_identity(cell) || is_rounded(cell) || is_date(cell) || names::ends_unreadable(&text)
    }

    /// Whether a column has an identity in more than exceptional rows. Ten digits of an organisation do not count: reference
    /// numbers have its check digit, too.
    fn has_some(&self, column: usize) -> bool {
        let is_one = |row: &&SampleRow| {
            row.identities.get(column) == Some(&true) && self.table.sampler.is_plain(&row.cells[column])
        };
        let identities = self.rows.iter().filter(is_one).count();
        identities > 0 && identities * EXCEPTION >= self.rows.len()
    }

    /// Whether half of the rows have something in a column that seems to be an identity, and is none.
    fn half_seems_unreadable(&self, column: usize, seems: impl Fn(&[u8]) -> bool) -> bool {
        let is = |row: &&SampleRow| {
            let cell = row.cells.get(column).map(|cell| self.table.sampler.bytes[cell.clone()].trim_ascii());
            row.identities.get(column) == Some(&false) && cell.is_some_and(&seems)
        };
        !self.rows.is_empty() && self.rows.iter().filter(is).count() * 2 >= self.rows.len()
    }
}

/// Whether a number was rounded by a spreadsheet, as `1,99E+11`.
fn is_rounded(text: &[u8]) -> bool {
    let text = text.trim_ascii();
    let ends = [b"E+11", b"E+10", b"e+11", b"e+10"].into_iter().any(|end| text.ends_with(end));
    ends && text[0].is_ascii_digit()
}

/// Whether a text begins with a date of six digits, `YYMMDD`, and has no further ones: an identity without its last digits.
fn is_date(text: &[u8]) -> bool {
    let Some((date, rest)) = text.split_first_chunk::<6>() else { return false };
    let part = |tens: usize| match (date[tens], date[tens + 1]) {
        (tens @ b'0'..=b'9', ones @ b'0'..=b'9') => 10 * (tens - b'0') + ones - b'0',
        _ => 0,
    };
    date[..2].iter().all(u8::is_ascii_digit)
        && (1..=12).contains(&part(2))
        && (1..=31).contains(&(part(4) % 60))
        && !rest.iter().any(u8::is_ascii_digit)
}

/// Whether a text has six digits.
fn has_six_digits(text: &[u8]) -> bool {
    text.iter().filter(|byte| byte.is_ascii_digit()).count() >= 6
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
