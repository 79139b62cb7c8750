//! Telling from the beginning of a list what kind of list it is.

use super::rows::{Cells, Layout, has_only_carriage_returns};
use super::{ListError, ListOptions};
use crate::identities::{Country, Identity, Today};
use crate::limits::{COLUMNS_MAX, SAMPLE_ROWS};
use std::ops::Range;

/// How a list is encoded, as far as its beginning tells. Bytes pass through whatever it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// UTF-8, or plain ASCII.
    Utf8,
    /// UTF-8 with a byte order mark.
    Utf8Bom,
    /// Windows-1252, of which ISO-8859-1 is a part.
    Windows1252,
}

impl Encoding {
    /// The name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Encoding::Utf8 => "utf-8",
            Encoding::Utf8Bom => "utf-8-bom",
            Encoding::Windows1252 => "windows-1252",
        }
    }
}

/// What a list is, as given by the user or told from its beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Form {
    /// How it is encoded.
    pub encoding: Encoding,
    /// Where the identity is.
    pub layout: Layout,
    /// Bytes before the first data row: the byte order mark and the header.
    pub prefix: usize,
    /// Name of the identity's column, its number from 1 if the list has no header, or the fixed place.
    pub id_column: String,
}

const BOM: &[u8] = b"\xEF\xBB\xBF";
const DELIMITERS: [u8; 4] = *b";\t|,";
/// A column of identities has at least this share of them, in percent of its rows.
const SHARE_PERCENT: usize = 50;

/// Header names of identity columns, in lower case, without marks and accents.
const NAMES: &[&str] = &[
    "personnummer",
    "personnr",
    "persnr",
    "persnummer",
    "pnr",
    "personid",
    "personidentitet",
    "personidentitetsnummer",
    "identitetsnummer",
    "identitetsnr",
    "identitet",
    "samordningsnummer",
    "samordningsnr",
    "organisationsnummer",
    "organisationsnr",
    "orgnr",
    "orgnummer",
    "personorgnr",
    "persorgnr",
    "personorganisationsnummer",
    "personellerorganisationsnummer",
    "recipientid",
    "recipient",
    "mottagarid",
    "mottagare",
    "mottakerid",
    "mottaker",
    "fodselsnummer",
    "fodselsnr",
    "fnr",
    "dnummer",
    "dnr",
    "fnrdnr",
    "personidentifikator",
    "nationalid",
    "ssn",
];

/// Tells the form of a list of which `sample` is the beginning, and all of it if `whole`.
pub(super) fn sniff(
    sample: &[u8],
    whole: bool,
    country: Country,
    today: Today,
    options: &ListOptions,
) -> Result<Form, ListError> {
    let encoding = encoding(sample)?;
    let bom = if encoding == Encoding::Utf8Bom { BOM.len() } else { 0 };
    let sampler = Sampler { bytes: sample, first: bom, whole, country, today };
    if let Some((offset, length)) = options.id_at {
        let header = options.header.unwrap_or(false);
        let prefix = if header { line_end(sample, bom) } else { bom };
        let layout = Layout::Fixed { offset, length };
        return Ok(Form { encoding, layout, prefix, id_column: format!("{offset}:{length}") });
    }
    let delimiter = match options.delimiter {
        Some(delimiter) => Some(delimiter),
        None => sampler.delimiter(),
    };
    let table = sampler.table(delimiter, encoding);
    let (column, header) = table.column_and_header(options)?;
    if header && table.first_has.get(column) == Some(&true) {
        return Err(ListError::HeaderIsRow);
    }
    let prefix = if header { table.first_end } else { bom };
    let id_column = match table.names.get(column).filter(|_| header) {
        Some(name) => name.clone(),
        None => (column + 1).to_string(),
    };
    Ok(Form { encoding, layout: Layout::Delimited { delimiter, column }, prefix, id_column })
}

fn line_end(bytes: &[u8], start: usize) -> usize {
    memchr::memchr(b'\n', &bytes[start..]).map_or(bytes.len(), |length| start + length + 1)
}

fn encoding(sample: &[u8]) -> Result<Encoding, ListError> {
    if sample.starts_with(b"nabar\r\n") {
        return Err(ListError::Register);
    }
    let zeros = memchr::memchr_iter(0, sample).count();
    if sample.starts_with(b"\xFF\xFE") || sample.starts_with(b"\xFE\xFF") || zeros * 5 > sample.len() {
        return Err(ListError::Utf16);
    }
    if sample.starts_with(b"PK\x03\x04") {
        return Err(ListError::Spreadsheet);
    }
    if has_only_carriage_returns(sample) {
        return Err(ListError::CarriageReturns);
    }
    if sample.starts_with(BOM) {
        return Ok(Encoding::Utf8Bom);
    }
    // Text in UTF-8 has whole characters of several bytes, and perhaps a broken one; in Windows-1252
    // what looks like one is rare. A character that the sample cuts says nothing.
    let (mut whole, mut broken) = (0, 0);
    for chunk in sample.utf8_chunks() {
        whole += chunk.valid().chars().filter(|character| !character.is_ascii()).count();
        broken += usize::from(!chunk.invalid().is_empty());
    }
    let cut = std::str::from_utf8(sample).is_err_and(|error| error.error_len().is_none());
    Ok(if broken > whole && !cut { Encoding::Windows1252 } else { Encoding::Utf8 })
}

struct Sampler<'a> {
    bytes: &'a [u8],
    first: usize,
    whole: bool,
    country: Country,
    today: Today,
}

impl<'a> Sampler<'a> {
    /// The first rows, cut into cells. The last one is left out if it may be cut.
    fn rows(&self, delimiter: Option<u8>) -> Vec<(usize, Vec<Range<usize>>)> {
        let (mut at, mut rows) = (self.first, Vec::new());
        while at < self.bytes.len() && rows.len() <= SAMPLE_ROWS {
            let line = at..line_end(self.bytes, at);
            let mut cells = Cells::new(self.bytes, line.clone(), delimiter);
            let row: Result<Vec<_>, _> = cells.by_ref().collect();
            at = if row.is_ok() { cells.end() } else { line.end };
            let cut = !self.whole && at == self.bytes.len() && !rows.is_empty();
            if !cut {
                rows.push((at, row.unwrap_or_default()));
            }
        }
        rows
    }

    /// The delimiter that cuts most rows into the same number of cells, and into most; `None` if none
    /// cuts half of them alike.
    fn delimiter(&self) -> Option<u8> {
        let score = |delimiter: u8| {
            let rows = self.rows(Some(delimiter));
            let mut counts = vec![0usize; COLUMNS_MAX + 1];
            rows.iter().for_each(|(_, cells)| counts[cells.len().min(COLUMNS_MAX)] += 1);
            let (columns, &alike) =
                counts.iter().enumerate().skip(2).max_by_key(|(_, count)| **count).unwrap_or((0, &0));
            let percent = alike * 100 / rows.len().max(1);
            (percent >= 50).then_some((percent, columns, delimiter))
        };
        // Earlier delimiters win what is equal.
        let scores = DELIMITERS.into_iter().rev().filter_map(score);
        scores.max_by_key(|&(percent, columns, _)| (percent, columns)).map(|(.., delimiter)| delimiter)
    }

    fn table(&self, delimiter: Option<u8>, encoding: Encoding) -> Table {
        let rows = self.rows(delimiter);
        let is_identity = |cell: &Range<usize>| {
            Identity::parse(&self.bytes[cell.clone()], self.country, self.today).is_ok()
        };
        let mut identities = vec![0; rows.iter().map(|(_, cells)| cells.len()).max().unwrap_or(0)];
        for (_, cells) in rows.iter().skip(1) {
            for (column, cell) in cells.iter().enumerate() {
                identities[column] += usize::from(is_identity(cell));
            }
        }
        identities.truncate(COLUMNS_MAX);
        let first: &[Range<usize>] = rows.first().map_or(&[], |(_, cells)| cells);
        Table {
            names: first.iter().map(|cell| text(&self.bytes[cell.clone()], encoding)).collect(),
            first_has: first.iter().map(is_identity).collect(),
            first_end: rows.first().map_or(self.first, |&(end, _)| end),
            rows: rows.len().saturating_sub(1),
            identities,
        }
    }
}

fn text(cell: &[u8], encoding: Encoding) -> String {
    let text = match encoding {
        Encoding::Windows1252 => encoding_rs::WINDOWS_1252.decode_without_bom_handling(cell).0,
        Encoding::Utf8 | Encoding::Utf8Bom => String::from_utf8_lossy(cell),
    };
    text.trim().to_owned()
}

/// What the sample shows of the columns.
struct Table {
    /// The cells of the first row as text.
    names: Vec<String>,
    /// Whether they are identities.
    first_has: Vec<bool>,
    /// Past the first row.
    first_end: usize,
    /// Rows after the first.
    rows: usize,
    /// Identities in each column of those rows.
    identities: Vec<usize>,
}

impl Table {
    fn column_and_header(&self, options: &ListOptions) -> Result<(usize, bool), ListError> {
        match &options.id_column {
            Some(name) => {
                if let Ok(number) = name.parse::<usize>() {
                    let column = number.checked_sub(1).ok_or(ListError::ColumnZero)?;
                    if column >= self.names.len().max(self.identities.len()) && !self.names.is_empty() {
                        return Err(ListError::NoSuchColumn {
                            wanted: name.clone(),
                            columns: self.described(),
                        });
                    }
                    return Ok((column, options.header.unwrap_or_else(|| self.is_header(column))));
                }
                let exact = self.names.iter().position(|column| column == name);
                let alike = || self.names.iter().position(|column| folded(column) == folded(name));
                let column = exact.or_else(alike);
                let error = ListError::NoSuchColumn { wanted: name.clone(), columns: self.described() };
                Ok((column.ok_or(error)?, true))
            }
            None => {
                let column = self.find()?;
                Ok((column, options.header.unwrap_or_else(|| self.is_header(column))))
            }
        }
    }

    fn is_named(&self, column: usize) -> bool {
        self.names.get(column).is_some_and(|name| NAMES.contains(&&folded(name)[..]))
    }

    /// Whether the first row is a header: its cell in the identity's column is a known name, or has no
    /// digit at all, and no cell is an identity.
    fn is_header(&self, column: usize) -> bool {
        let name = self.names.get(column).map_or("", |name| name);
        let wordy = !name.is_empty() && !name.bytes().any(|byte| byte.is_ascii_digit());
        !self.first_has.contains(&true) && (wordy || self.is_named(column))
    }

    /// The column that holds identities, if only one can be it.
    fn find(&self) -> Result<usize, ListError> {
        if self.names.is_empty() {
            return Ok(0); // an empty list
        }
        let columns = 0..self.names.len().max(self.identities.len());
        let holds = |&column: &usize| {
            let first = usize::from(self.first_has.get(column) == Some(&true));
            let found = self.identities.get(column).copied().unwrap_or(0) + first;
            found > 0 && found * 100 >= self.rows * SHARE_PERCENT
        };
        let holding: Vec<usize> = columns.clone().filter(holds).collect();
        let named = |&column: &usize| self.is_named(column);
        let candidates = match holding.len() {
            0 => columns.filter(named).collect(),
            1 => holding,
            _ => holding.into_iter().filter(named).collect(),
        };
        match candidates[..] {
            [column] => Ok(column),
            // One column and nothing else: whatever is in it was meant to be an identity.
            _ if self.names.len() == 1 && self.identities.len() <= 1 => Ok(0),
            _ => Err(ListError::IdColumn { columns: self.described() }),
        }
    }

    /// The columns and what was found in them; no content but the header's.
    fn described(&self) -> String {
        let is_header = !self.first_has.contains(&true)
            && self.names.iter().any(|name| !name.is_empty())
            && !self.names.iter().any(|name| name.bytes().filter(u8::is_ascii_digit).count() > 5);
        let describe = |column: usize| {
            let percent = self.identities.get(column).map_or(0, |found| found * 100 / self.rows.max(1));
            match self.names.get(column).filter(|name| is_header && !name.is_empty()) {
                Some(name) => format!("{} \"{name}\" ({percent} % identities)", column + 1),
                None => format!("{} ({percent} % identities)", column + 1),
            }
        };
        let columns = self.names.len().max(self.identities.len()).min(40);
        (0..columns).map(describe).collect::<Vec<_>>().join(", ")
    }
}

/// A header name in lower case without marks and accents.
fn folded(name: &str) -> String {
    let fold = |character: char| match character {
        'å' | 'ä' | 'à' | 'á' => Some('a'),
        'ö' | 'ø' | 'ó' => Some('o'),
        'é' | 'è' => Some('e'),
        character if character.is_alphanumeric() => Some(character),
        _ => None,
    };
    name.to_lowercase().chars().filter_map(fold).collect()
}
