//! Receipts as CSV with a header: a row number or an id, a status, and perhaps a reason.

use super::{ReadReceipt, Receipt, ReceiptKey, ReceiptReader, Unusable};
use crate::decode::BoundedInput;
use crate::plain_text::plain;
use csv::ByteRecord;
use std::io::{self, BufRead, Read};

/// Names of columns, as [`reduced`] returns them.
const ROW: [&str; 4] = ["row", "rownumber", "rad", "radnummer"];
const ID: [&str; 12] = [
    "id",
    "recipientid",
    "recipient",
    "mottagarid",
    "mottakerid",
    "personnummer",
    "personnr",
    "pnr",
    "orgnr",
    "fodselsnummer",
    "fnr",
    "identitet",
];
const STATUS: [&str; 4] = ["status", "result", "resultat", "utfall"];
const REASON: [&str; 10] =
    ["reason", "orsak", "arsak", "message", "meddelande", "melding", "error", "fel", "feil", "statusreason"];

const DELIMITERS: [u8; 4] = [b';', b',', b'\t', b'|'];

/// The columns of a file.
struct Columns {
    row: Option<usize>,
    id: Option<usize>,
    status: usize,
    reason: Option<usize>,
}

pub(super) fn read(
    reader: &ReceiptReader<'_>,
    mut input: BoundedInput,
    visit: &mut dyn FnMut(ReadReceipt),
) -> Result<(), String> {
    let mut header = Vec::new();
    input.read_until(b'\n', &mut header).map_err(|_| "the first line is longer than 1 MiB".to_owned())?;
    let header = header.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&header);
    let count = |delimiter: u8| header.iter().filter(|&&byte| byte == delimiter).count();
    let delimiter = DELIMITERS.into_iter().max_by_key(|&delimiter| count(delimiter)).unwrap_or(b';');
    let mut titles = csv::ReaderBuilder::new().delimiter(delimiter).has_headers(false).from_reader(header);
    let mut record = ByteRecord::new();
    titles.read_byte_record(&mut record).map_err(|_| "the header cannot be read".to_owned())?;
    let titles: Vec<String> = record.iter().map(text).collect();
    let columns = Columns::find(reader, &titles)?;
    let lines = UnixLines { inner: input, has_cr: false, ends: true };
    let mut rows =
        csv::ReaderBuilder::new().delimiter(delimiter).has_headers(false).flexible(true).from_reader(lines);
    loop {
        rows.get_mut().inner.begin_record();
        let read = rows.read_byte_record(&mut record);
        // The reader is behind the line end of the record, and the header is the first line.
        let within: usize = record.iter().map(|cell| memchr::memchr_iter(b'\n', cell).count()).sum();
        let line = rows.position().line().saturating_sub(within as u64);
        match read {
            Ok(false) => return Ok(()),
            Ok(true) if record.iter().all(|cell| cell.trim_ascii().is_empty()) => {}
            // A mark that was not closed hides the receipts after it.
            Ok(true) if record.iter().any(|cell| holds_line(cell, delimiter)) => {
                return Err(format!(
                    "line {line}: a quotation mark is not closed, and other receipts may be behind it"
                ));
            }
            Ok(true) => visit((line, columns.receipt(reader, &record))),
            Err(error) if error.is_io_error() && rows.get_ref().inner.is_exceeded => {
                return Err(format!("line {line}: a record is longer than 1 MiB, or never ends"));
            }
            Err(error) if error.is_io_error() => {
                return Err(format!("line {line}: it cannot be read further"));
            }
            Err(_) => visit((line, Err(Unusable::Unreadable))),
        }
    }
}

/// Whether a cell has a line end and delimiters, as if other lines were in it.
fn holds_line(cell: &[u8], delimiter: u8) -> bool {
    cell.contains(&b'\n') && cell.contains(&delimiter)
}

/// Lines that end with LF, also the last one, where they ended with CR LF: so that a reader of CSV counts lines right.
struct UnixLines {
    inner: BoundedInput,
    /// The last byte, if it was a CR that has not been passed on.
    has_cr: bool,
    /// Whether the last byte was a line end.
    ends: bool,
}

impl Read for UnixLines {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut length = 0;
        while length < buffer.len() {
            let Some(&byte) = self.inner.fill_buf()?.first() else {
                let last = if self.has_cr { Some(b'\r') } else { (!self.ends).then_some(b'\n') };
                if let Some(last) = last {
                    buffer[length] = last;
                    length += 1;
                }
                (self.has_cr, self.ends) = (false, self.ends || !self.has_cr);
                return Ok(length);
            };
            if std::mem::take(&mut self.has_cr) && byte != b'\n' {
                // A CR alone is text.
                buffer[length] = b'\r';
                (length, self.ends) = (length + 1, false);
                continue;
            }
            self.inner.consume(1);
            if byte == b'\r' {
                self.has_cr = true;
                continue;
            }
            buffer[length] = byte;
            (length, self.ends) = (length + 1, byte == b'\n');
        }
        Ok(length)
    }
}

impl Columns {
    fn find(reader: &ReceiptReader<'_>, titles: &[String]) -> Result<Columns, String> {
        let options = reader.options;
        let find = |wanted: &Option<String>, known: &[&str], option: &str| match wanted {
            Some(wanted) => {
                let found = titles.iter().position(|title| title == wanted.trim());
                found.map(Some).ok_or_else(|| {
                    format!("there is no column of the name given with {option}{}", has(titles))
                })
            }
            None => {
                let is_known = |(_, title): &(usize, &String)| known.contains(&&*reduced(title));
                let mut found = titles.iter().enumerate().filter(is_known).map(|(column, _)| column);
                match (found.next(), found.next()) {
                    // One of them says something else than the other, perhaps the opposite.
                    (Some(_), Some(_)) => {
                        Err(format!("several columns may be meant: name one with {option}{}", has(titles)))
                    }
                    (column, _) => Ok(column),
                }
            }
        };
        let row = find(&options.row_column, &ROW, "--row-column")?;
        let id = find(&options.id_column, &ID, "--id-column")?;
        if row.is_none() && id.is_none() {
            return Err(format!(
                "no column is known as that of row numbers or of ids: name it with --row-column or --id-column{}",
                has(titles)
            ));
        }
        let status = find(&options.status_column, &STATUS, "--status-column")?.ok_or_else(|| {
            format!("no column is known as that of the status: name it with --status-column{}", has(titles))
        })?;
        Ok(Columns { row, id, status, reason: find(&options.reason_column, &REASON, "--reason-column")? })
    }

    fn receipt(&self, reader: &ReceiptReader<'_>, record: &ByteRecord) -> Result<Receipt, Unusable> {
        let cell = |column: Option<usize>| column.and_then(|column| record.get(column)).map(text);
        let filled = |column| cell(column).filter(|text: &String| !text.is_empty());
        let row = filled(self.row).map(|text| text.parse().ok().filter(|&row: &u64| row > 0));
        let id = filled(self.id).map(|text| reader.id(&text));
        // A row number is the more exact one; what cannot be read must not be passed over.
        let key = match (row, id) {
            (Some(None), _) | (_, Some(None)) | (None, None) => return Err(Unusable::NoKey),
            (Some(Some(row)), _) => ReceiptKey::Row(row),
            (None, Some(Some(id))) => ReceiptKey::Id(id),
        };
        let answer = reader.answer(&cell(Some(self.status)).unwrap_or_default())?;
        let check = id.flatten();
        Ok(Receipt { key, check, answer, reason: cell(self.reason).unwrap_or_default() })
    }
}

/// The titles, for a message. A file without header would show its first receipt.
fn has(titles: &[String]) -> String {
    let is_known = |title: &String| [&ROW[..], &ID, &STATUS, &REASON].concat().contains(&&*reduced(title));
    match titles.iter().any(is_known) {
        false => "; the first line seems to be no header".to_owned(),
        true => {
            let titles: Vec<_> = titles.iter().take(20).map(|title| plain(title)).collect();
            format!("; it has: {}", titles.join(", "))
        }
    }
}

/// A title in lower case, without punctuation and accents.
fn reduced(title: &str) -> String {
    let letter = |character: char| match character {
        'å' | 'ä' => Some('a'),
        'ö' | 'ø' => Some('o'),
        _ => character.is_alphanumeric().then_some(character),
    };
    title.to_lowercase().chars().filter_map(letter).collect()
}

/// A cell in UTF-8, or otherwise in Windows-1252.
fn text(cell: &[u8]) -> String {
    let text = match std::str::from_utf8(cell) {
        Ok(text) => text.into(),
        Err(_) => encoding_rs::WINDOWS_1252.decode_without_bom_handling(cell).0,
    };
    text.trim().to_owned()
}
