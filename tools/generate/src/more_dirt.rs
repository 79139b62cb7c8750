//! Further damage of rows and lists, drawn only on request, so that fixtures and benchmark data do not change.

use std::io::{self, Write};

use clap::ValueEnum;

use crate::dirt::Dirt;
use crate::identity::{Register, is_organisation, norwegian, swedish};
use crate::random::Random;
use crate::row::{Dialect, Encoding, Field, Row};

/// Which kinds of damage rows have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kinds {
    /// Those of the fixtures: wrong numbers, missing cells, stray quotation marks, blank lines
    Usual,
    /// Those, and spellings of spreadsheets, other line ends, joined rows, other identities, totals
    All,
}

/// Damage of a list as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ListDirt {
    /// A first line `sep=;`
    Sep,
    /// A title, a date and a blank line above the header
    Title,
    /// The header again after half of the rows, behind a byte order mark
    SecondHeader,
    /// A total as the last rows
    Footer,
    /// Ctrl-Z as the last byte
    CtrlZ,
    /// No line end after the last row
    NoLineEnd,
}

impl ListDirt {
    /// Writes the lines above the header.
    pub fn write_start(dirt: &[ListDirt], out: &mut impl Write, dialect: &Dialect) -> io::Result<()> {
        let end = dialect.line_end_bytes();
        if dirt.contains(&ListDirt::Sep) {
            out.write_all(&[b"sep=", &[dialect.delimiter_byte()][..], end].concat())?;
        }
        if dirt.contains(&ListDirt::Title) {
            out.write_all(&[b"Utskick juni", end, b"2026-06-01", end, end].concat())?;
        }
        Ok(())
    }

    /// Writes the end of the list, after the last row.
    pub fn write_end(
        dirt: &[ListDirt],
        out: &mut impl Write,
        dialect: &Dialect,
        rows: usize,
    ) -> io::Result<()> {
        let (end, delimiter) = (dialect.line_end_bytes(), [dialect.delimiter_byte()]);
        let mut total = Vec::new();
        if dirt.contains(&ListDirt::Footer) {
            let counted = [b"Antal: ", rows.to_string().as_bytes()].concat();
            total = [end, b"Summa", &delimiter, &delimiter, b"12 st", end, &counted].concat();
        }
        if !total.is_empty() && !dirt.contains(&ListDirt::NoLineEnd) {
            total.extend_from_slice(end);
        }
        if dirt.contains(&ListDirt::CtrlZ) {
            total.push(0x1A);
        }
        out.write_all(&total)
    }
}

impl Dirt {
    /// The kinds that are drawn besides [`Dirt::ALL`].
    pub const MORE: [Dirt; 19] = [
        Dirt::SpreadsheetMarks,
        Dirt::DecimalZero,
        Dirt::InvisibleMark,
        Dirt::UnicodeDash,
        Dirt::FullWidth,
        Dirt::UnknownDate,
        Dirt::DecimalComma,
        Dirt::CarriageReturn,
        Dirt::CarriageReturns,
        Dirt::NoLineEnd,
        Dirt::MarkInCell,
        Dirt::JoinedRows,
        Dirt::OtherIdentity,
        Dirt::StrayPair,
        Dirt::ByteOrderMark,
        Dirt::HeaderAgain,
        Dirt::Total,
        Dirt::BlankCells,
        Dirt::Withheld,
    ];

    /// Damages a clean row in one of the further ways.
    pub(crate) fn apply_more(
        self,
        row: &mut Row,
        register: Register,
        id: u64,
        dialect: &Dialect,
        random: &mut Random,
    ) {
        let width = register.width();
        let id_index = dialect.id_index();
        let canonical = format!("{id:0width$}");
        let text_index = if id_index == 0 { 1 } else { 0 };
        let is_utf8 = dialect.encoding != Encoding::Latin1;
        let other = other_identity(register, id, random);
        let end = dialect.line_end_bytes();
        let rendered = |row: &Row| {
            let mut bytes = Vec::new();
            row.push(&mut bytes, dialect);
            bytes
        };
        match self {
            Dirt::SpreadsheetMarks => {
                let (before, after) = [("=\"", "\""), ("'", ""), ("'", "'"), ("=", "")][random.index(4)];
                set(&mut row.fields[id_index], format!("{before}{canonical}{after}").as_bytes());
            }
            Dirt::DecimalZero => {
                let tail =
                    if dialect.delimiter_byte() == b',' { ".0" } else { [".0", ",0"][random.index(2)] };
                set(&mut row.fields[id_index], format!("{canonical}{tail}").as_bytes());
            }
            Dirt::InvisibleMark => {
                let marks: &[&[u8]] = if is_utf8 {
                    &[b"\xE2\x80\x8B", b"\xEF\xBB\xBF", b"\xC2\xAD", b"\xE2\x80\xAF", b"\xE2\x81\xA0"]
                } else {
                    &[b"\xA0", b"\xAD"]
                };
                let at = random.index(width + 1);
                let mark = random.pick(marks);
                set(
                    &mut row.fields[id_index],
                    &[&canonical.as_bytes()[..at], mark, &canonical.as_bytes()[at..]].concat(),
                );
            }
            Dirt::UnicodeDash => {
                let dashes: &[&[u8]] = if is_utf8 {
                    &[b"\xE2\x80\x91", b"\xE2\x80\x93", b"\xE2\x88\x92"]
                } else {
                    &[b"\x96", b"\x97"]
                };
                let (head, tail) = canonical.as_bytes().split_at(if width == 12 { 8 } else { 6 });
                set(&mut row.fields[id_index], &[head, random.pick(dashes), tail].concat());
            }
            Dirt::FullWidth if is_utf8 => {
                let digits = canonical.bytes().flat_map(|digit| [0xEF, 0xBC, 0x90 + (digit - b'0')]);
                set(&mut row.fields[id_index], &digits.collect::<Vec<u8>>());
            }
            Dirt::FullWidth => set(&mut row.fields[id_index], &[canonical.as_bytes(), b"\xA0"].concat()),
            Dirt::UnknownDate => {
                let number =
                    unknown_date(register, id, random).map_or(canonical, |id| format!("{id:0width$}"));
                set(&mut row.fields[id_index], number.as_bytes());
                row.fields[id_index].bytes.push(b' ');
            }
            Dirt::DecimalComma => {
                let quoted = row.fields[text_index].quoted || dialect.delimiter_byte() == b',';
                row.fields[text_index] = Field { bytes: b"12,50".to_vec(), quoted };
            }
            Dirt::CarriageReturn => row.line_end = Some(b"\r".to_vec()),
            Dirt::CarriageReturns => row.line_end = Some(b"\r\r\n".to_vec()),
            Dirt::NoLineEnd => row.line_end = Some(Vec::new()),
            Dirt::MarkInCell => {
                let bytes = &mut row.fields[text_index].bytes;
                let mark = mark_between_rows(is_utf8, random);
                bytes.extend_from_slice(&[mark, b"c/o"].concat());
            }
            Dirt::JoinedRows => {
                let mut second = row.clone();
                set(&mut second.fields[id_index], format!("{other:0width$}").as_bytes());
                row.line_end = Some([mark_between_rows(is_utf8, random), &rendered(&second)].concat());
            }
            Dirt::OtherIdentity => {
                let text = format!("c/o {other:0width$}");
                row.fields[text_index].bytes = text.into_bytes();
            }
            Dirt::StrayPair => {
                // The second mark seems to close the first one, a row later.
                let mut second = row.clone();
                set(&mut second.fields[id_index], format!("{other:0width$}").as_bytes());
                second.fields[text_index] = Field { bytes: b"Anna\"".to_vec(), quoted: false };
                row.fields[text_index] = Field { bytes: b"\"Anna".to_vec(), quoted: false };
                row.line_end = Some([end, &rendered(&second)].concat());
            }
            Dirt::ByteOrderMark => {
                let first = &mut row.fields[0];
                let quoted = std::mem::take(&mut first.quoted);
                let mark = if quoted { "\"" } else { "" };
                first.bytes = [b"\xEF\xBB\xBF", mark.as_bytes(), &first.bytes, mark.as_bytes()].concat();
            }
            Dirt::HeaderAgain => {
                let mut header = Vec::new();
                dialect.push_header(&mut header, register);
                row.line_end = Some([end, &header].concat());
            }
            Dirt::Total => {
                let totals = ["Antal: 4711", "Totalt 12 st", "(5 rows affected)", "EOF", "\u{1A}"];
                row.line_end = Some([end, random.pick(&totals).as_bytes(), end].concat());
            }
            Dirt::BlankCells => row.fields.iter_mut().for_each(|field| field.bytes.clear()),
            Dirt::Withheld => {
                let words = ["SKYDDAD", "saknas", "Hemlig", "Skyddad identitet"];
                set(&mut row.fields[id_index], random.pick(&words).as_bytes());
            }
            _ => unreachable!("{self:?} is one of the usual kinds"),
        }
    }
}

/// Puts bytes into a field. A delimiter or a quotation mark in them needs none of the quoting that follows from
/// them: no spelling begins with a quotation mark.
fn set(field: &mut Field, bytes: &[u8]) {
    field.bytes.clear();
    field.bytes.extend_from_slice(bytes);
}

/// Characters that programs write within cells, and that may be the only separator left between two rows.
fn mark_between_rows(is_utf8: bool, random: &mut Random) -> &'static [u8] {
    let marks: &[&'static [u8]] = if is_utf8 {
        &[b"\x0B", b"\x0C", b"\x1C", b"\x1A", b"\0", b"\xC2\x85", b"\xE2\x80\xA8", b"\xE2\x80\xA9"]
    } else {
        &[b"\x0B", b"\x0C", b"\x1C", b"\x1A", b"\0"]
    };
    marks[random.index(marks.len())]
}

/// Another valid id, a test number if the first one is.
fn other_identity(register: Register, id: u64, random: &mut Random) -> u64 {
    match register {
        Register::Far if is_organisation(id) => {
            let stem = id / 10;
            swedish(stem / 10_000 * 10_000 + (stem + 1 + random.below(9_000)) % 10_000)
        }
        Register::Far => {
            // The birth numbers of test persons.
            let series = [238, 239, 980, 981];
            let stem = id / 10;
            let other = series[random.index(series.len())];
            let other = if stem % 1000 == other { series[usize::from(other == series[0])] } else { other };
            swedish(stem / 1000 * 1000 + other)
        }
        Register::Krr => {
            let stem = id / 100;
            let others = (1..1000).map(|step| stem / 1000 * 1000 + (stem + step) % 1000);
            others.filter_map(|stem| norwegian(stem, 0)).next().unwrap_or(id)
        }
    }
}

/// A samordningsnummer without month or day of birth; a Norwegian number as they are given out from 2032.
fn unknown_date(register: Register, id: u64, random: &mut Random) -> Option<u64> {
    match register {
        Register::Far if is_organisation(id) => None,
        Register::Far => {
            let stem = id / 10;
            let (year, serial) = (stem / 10_000_000, stem % 1000);
            let month = stem / 100_000 % 100;
            let (month, day) = if random.chance(500_000) { (month, 60) } else { (0, 60 + random.below(32)) };
            Some(swedish(year * 10_000_000 + month * 100_000 + day * 1000 + serial))
        }
        Register::Krr => norwegian(id / 100, 1 + random.below(3)),
    }
}
