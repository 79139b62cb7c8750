//! Kinds of files that are not lists, detected by their first bytes.

use std::fmt;

/// A kind of file that is not a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileKind {
    /// Text in UTF-16.
    Utf16,
    /// A workbook of Excel or LibreOffice.
    Workbook,
    /// A workbook of Excel before 2007.
    OldWorkbook,
    /// Another ZIP file.
    Zip,
    /// PDF.
    Pdf,
    /// Apache Parquet.
    Parquet,
    /// Apache Arrow or Feather.
    Arrow,
    /// Apache Avro.
    Avro,
    /// Apache ORC.
    Orc,
    /// A database of SQLite.
    Sqlite,
    /// An archive of 7-Zip, xz or bzip2.
    Archive,
    /// A register file of nabar.
    Register,
    /// XML or HTML.
    Xml,
    /// JSON.
    Json,
    /// RTF.
    RichText,
}

/// The first bytes of each kind.
const MAGIC: &[(&[u8], FileKind)] = &[
    (b"nabar\r\n", FileKind::Register),
    (b"PK\x03\x04", FileKind::Zip),
    (b"PK\x05\x06", FileKind::Zip),
    (b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1", FileKind::OldWorkbook),
    (b"%PDF-", FileKind::Pdf),
    (b"PAR1", FileKind::Parquet),
    (b"ARROW1", FileKind::Arrow),
    (b"FEA1", FileKind::Arrow),
    (b"Obj\x01", FileKind::Avro),
    (b"ORC", FileKind::Orc),
    (b"SQLite format 3\0", FileKind::Sqlite),
    (b"7z\xBC\xAF\x27\x1C", FileKind::Archive),
    (b"\xFD7zXZ\0", FileKind::Archive),
    (b"BZh", FileKind::Archive),
    (b"\xFF\xFE", FileKind::Utf16),
    (b"\xFE\xFF", FileKind::Utf16),
];

/// Kinds whose first bytes a list may have too; they count only if the sample has a zero byte.
const SHORT: &[FileKind] = &[FileKind::Orc, FileKind::Archive];

impl FileKind {
    /// The kind of a file that begins with `sample`; `None` if it may be a list.
    pub(super) fn of(sample: &[u8]) -> Option<FileKind> {
        let zeros = memchr::memchr_iter(0, sample).count();
        let magic = MAGIC.iter().find(|(magic, _)| sample.starts_with(magic)).map(|(_, kind)| *kind);
        match magic {
            Some(FileKind::Zip) => Some(zip(sample)),
            Some(kind) if !SHORT.contains(&kind) || zeros > 0 => Some(kind),
            // Continuation and length of the first message of a stream.
            _ if sample.starts_with(b"\xFF\xFF\xFF\xFF") && zeros > 0 => Some(FileKind::Arrow),
            _ if zeros * 5 > sample.len() => Some(FileKind::Utf16),
            _ => markup(sample),
        }
    }
}

/// XML, JSON and RTF, by the first characters after white space.
fn markup(sample: &[u8]) -> Option<FileKind> {
    let text = sample.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(sample).trim_ascii_start();
    let (first, rest) = text.split_first()?;
    let next = rest.trim_ascii_start().first().copied().unwrap_or(b' ');
    match first {
        b'<' if next.is_ascii_alphabetic() || matches!(next, b'?' | b'!') => Some(FileKind::Xml),
        b'{' if rest.starts_with(b"\\rtf") => Some(FileKind::RichText),
        b'{' if matches!(next, b'"' | b'}') => Some(FileKind::Json),
        b'[' if matches!(next, b'"' | b'{' | b'[' | b']' | b'0'..=b'9') => Some(FileKind::Json),
        _ => None,
    }
}

/// Workbooks are ZIP files.
fn zip(sample: &[u8]) -> FileKind {
    let names: [&[u8]; 3] =
        [b"[Content_Types].xml", b"xl/", b"application/vnd.oasis.opendocument.spreadsheet"];
    let beginning = &sample[..sample.len().min(1 << 16)];
    match names.iter().any(|name| memchr::memmem::find(beginning, name).is_some()) {
        true => FileKind::Workbook,
        false => FileKind::Zip,
    }
}

/// The kind of file, and how to make a list of it.
impl fmt::Display for FileKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FileKind::Utf16 => {
                "UTF-16 (\"Unicode text\"): save it as UTF-8, or convert it with `iconv -f UTF-16 -t UTF-8`"
            }
            FileKind::Workbook => "a workbook of Excel or LibreOffice, which has no bytes of fixed width and no records: omit --id-at and --run, or save the sheet as CSV",
            FileKind::OldWorkbook => "an old Excel workbook (.xls), or one with a password: save it as .xlsx, without a password",
            FileKind::Zip => "a ZIP file: describe a print run with --run (docs/runs.md), or unpack it and use the list in it",
            FileKind::Pdf => "a PDF file: ask for the list that it was made from",
            FileKind::Parquet => "a Parquet file: write it as CSV, with DuckDB or pandas for example",
            FileKind::Arrow => "an Arrow or Feather file: write it as CSV, with DuckDB or pandas for example",
            FileKind::Avro => "an Avro file: write it as CSV",
            FileKind::Orc => "an ORC file: write it as CSV",
            FileKind::Sqlite => "a SQLite database: export the table as CSV",
            FileKind::Archive => "an archive or compressed file: unpack it, or compress it with gzip or zstd",
            FileKind::Xml => "XML or HTML (a file of that kind may be named .xls: save it as .xlsx): describe a print run with --run (docs/runs.md), or convert it to CSV with one row per letter",
            FileKind::Json => "JSON: convert it to CSV with one row per letter",
            FileKind::RichText => "a document of a word processor: save it as plain text",
            FileKind::Register => "a register file of nabar, not a list",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_by_first_bytes() {
        let utf16: Vec<u8> =
            "personnummer\n196810199809\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        for (bytes, kind) in [
            (&b"nabar\r\n\x1a\x01\0\0\0"[..], Some(FileKind::Register)),
            (b"PK\x03\x04\x14\0\0\0\x08\0a.csv", Some(FileKind::Zip)),
            (b"PK\x03\x04\x14\0\0\0\x08\0[Content_Types].xml", Some(FileKind::Workbook)),
            (b"PK\x03\x04\x14\0\0\0\x08\0xl/workbook.xml", Some(FileKind::Workbook)),
            (b"ARROW1\0\0\xFF\xFF\xFF\xFF\x10\0\0\0\0\0\0\0", Some(FileKind::Arrow)),
            (b"PAR1\x15\x04\x15\0\0\0\0", Some(FileKind::Parquet)),
            (&utf16, Some(FileKind::Utf16)),
            (b"\xFF\xFEp\0n\0r\0", Some(FileKind::Utf16)),
            (b"BZh91AY&SY\0\0", Some(FileKind::Archive)),
            (b"<?xml version=\"1.0\"?>\n<a/>\n", Some(FileKind::Xml)),
            (b"\xEF\xBB\xBF\n <letters>\n", Some(FileKind::Xml)),
            (b"[\n\"196810199809\",\n", Some(FileKind::Json)),
            (b"{ \"ids\": []}", Some(FileKind::Json)),
            (b"{\\rtf1\\ansi", Some(FileKind::RichText)),
            (b"[pnr];[namn]\n", None),
            (b"<5;pnr\n", None),
            (b"ORC;pnr\n", None),
            (b"personnummer\n196810199809\n", None),
            (b"", None),
        ] {
            assert_eq!(FileKind::of(bytes), kind, "{}", bytes.escape_ascii());
        }
    }
}
