//! The damage of rows in real lists.

use crate::identity::{Register, is_organisation, norwegian, swedish};
use crate::more_dirt::Kinds;
use crate::random::Random;
use crate::row::{Dialect, Encoding, Field, Row};

/// One kind of damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dirt {
    WrongCheckDigit,
    ImpossibleDate,
    Letters,
    EmptyId,
    TruncatedId,
    TooLong,
    Scientific,
    MissingColumns,
    ExtraColumns,
    StrayQuote,
    NewlineInQuotes,
    BlankLine,
    TrailingSpaces,
    NulByte,
    InvalidUtf8,
    /// `="…"` and apostrophes.
    SpreadsheetMarks,
    /// `….0`
    DecimalZero,
    /// A mark that cannot be seen, or another blank.
    InvisibleMark,
    UnicodeDash,
    FullWidth,
    /// Without month or day of birth; in Norway a control digit of 2032.
    UnknownDate,
    DecimalComma,
    /// The row ends with a carriage return only.
    CarriageReturn,
    /// The row ends with two of them and a line feed.
    CarriageReturns,
    /// The row touches the next one.
    NoLineEnd,
    /// A vertical tab, NEL and such within a cell.
    MarkInCell,
    /// Two rows with such a mark between them.
    JoinedRows,
    /// Somebody else's number in a text.
    OtherIdentity,
    /// A stray quotation mark, and another one a row later.
    StrayPair,
    /// A byte order mark before the row.
    ByteOrderMark,
    /// The header follows the row.
    HeaderAgain,
    /// A total follows the row.
    Total,
    /// Nothing but delimiters.
    BlankCells,
    /// A word instead of the number.
    Withheld,
}

impl Dirt {
    pub const ALL: [Dirt; 15] = [
        Dirt::WrongCheckDigit,
        Dirt::ImpossibleDate,
        Dirt::Letters,
        Dirt::EmptyId,
        Dirt::TruncatedId,
        Dirt::TooLong,
        Dirt::Scientific,
        Dirt::MissingColumns,
        Dirt::ExtraColumns,
        Dirt::StrayQuote,
        Dirt::NewlineInQuotes,
        Dirt::BlankLine,
        Dirt::TrailingSpaces,
        Dirt::NulByte,
        Dirt::InvalidUtf8,
    ];

    pub fn draw(kinds: Kinds, random: &mut Random) -> Self {
        match kinds {
            Kinds::Usual => Dirt::ALL[random.index(Dirt::ALL.len())],
            Kinds::All => {
                let place = random.index(Dirt::ALL.len() + Dirt::MORE.len());
                *Dirt::ALL.iter().chain(&Dirt::MORE).nth(place).expect("one of them")
            }
        }
    }

    /// Damages a clean row.
    pub fn apply(self, row: &mut Row, register: Register, id: u64, dialect: &Dialect, random: &mut Random) {
        let id_index = dialect.id_index();
        match self {
            Dirt::MissingColumns => row.fields.truncate(1 + random.index(row.fields.len() - 1)),
            Dirt::ExtraColumns => add_columns(row, 1 + random.index(2)),
            Dirt::BlankLine => row.fields.clear(),
            Dirt::StrayQuote => {
                let field = &mut row.fields[other_than(id_index)];
                insert(field, b'"', random);
                field.quoted = false;
            }
            Dirt::NewlineInQuotes => {
                let field = &mut row.fields[other_than(id_index)];
                insert(field, b'\n', random);
                field.quoted = true;
            }
            Dirt::NulByte => {
                let index = random.index(row.fields.len());
                insert(&mut row.fields[index], 0, random);
            }
            Dirt::InvalidUtf8 => {
                // A lone å of ISO-8859-1; in such a list, a byte that stands for nothing.
                let byte = if dialect.encoding == Encoding::Latin1 { 0x81 } else { 0xE5 };
                insert(&mut row.fields[other_than(id_index)], byte, random);
            }
            _ if Dirt::MORE.contains(&self) => self.apply_more(row, register, id, dialect, random),
            _ => self.damage_id(&mut row.fields[id_index].bytes, register, id, dialect, random),
        }
    }

    fn damage_id(
        self,
        bytes: &mut Vec<u8>,
        register: Register,
        id: u64,
        dialect: &Dialect,
        random: &mut Random,
    ) {
        let width = register.width();
        let text = match self {
            Dirt::WrongCheckDigit => {
                let wrong = id / 10 * 10 + (id + 1 + random.below(9)) % 10;
                format!("{wrong:0width$}")
            }
            Dirt::ImpossibleDate => format!("{:0width$}", impossible(register, id, random)),
            Dirt::Letters => with_letters(&format!("{id:0width$}"), random),
            Dirt::EmptyId => String::new(),
            // Short enough that no rule for lost zeros makes a number of it.
            Dirt::TruncatedId => format!("{id:0width$}")[..5 + random.index(4)].to_owned(),
            Dirt::TooLong => format!("{id:0width$}{:02}", random.below(100)),
            Dirt::Scientific => scientific(id, if dialect.delimiter_byte() == b',' { '.' } else { ',' }),
            Dirt::TrailingSpaces => {
                bytes.extend_from_slice(&b"   "[..1 + random.index(3)]);
                return;
            }
            _ => unreachable!("{self:?} does not damage the id alone"),
        };
        bytes.clear();
        bytes.extend_from_slice(text.as_bytes());
    }
}

/// A column that is not the id and has letters.
fn other_than(id_index: usize) -> usize {
    if id_index == 0 { 1 } else { 0 }
}

fn add_columns(row: &mut Row, count: usize) {
    for _ in 0..count {
        row.fields.push(Field { bytes: b"obs".to_vec(), quoted: false });
    }
}

/// Puts `byte` into the field between two letters that are one byte each.
fn insert(field: &mut Field, byte: u8, random: &mut Random) {
    let inside = |at: &usize| field.bytes[at - 1].is_ascii() && field.bytes[*at].is_ascii();
    let places: Vec<usize> = (1..field.bytes.len()).filter(inside).collect();
    let place = if places.is_empty() { 0 } else { places[random.index(places.len())] };
    field.bytes.insert(place, byte);
}

/// Check digits are right where that is possible; the date is not. Organisations, which have no
/// date, get a third digit below two instead.
fn impossible(register: Register, id: u64, random: &mut Random) -> u64 {
    match register {
        Register::Far => {
            let stem = id / 10;
            swedish(if is_organisation(id) {
                stem / 10_000_000 * 10_000_000 + stem % 1_000_000 + random.below(2) * 1_000_000
            } else if random.chance(500_000) {
                stem / 10_000_000 * 10_000_000 + 1_300_000 + stem % 100_000
            } else {
                stem / 100_000 * 100_000 + 32_000 + stem % 1000
            })
        }
        Register::Krr => {
            let stem = id / 100;
            let stem = if random.chance(500_000) {
                stem / 10_000_000 * 10_000_000 + 1_300_000 + stem % 100_000
            } else {
                32 * 10_000_000 + stem % 10_000_000
            };
            norwegian(stem, 0).unwrap_or(stem * 100)
        }
    }
}

fn with_letters(canonical: &str, random: &mut Random) -> String {
    match random.below(3) {
        0 => "SAKNAS".to_owned(),
        1 => format!("{}TF{}", &canonical[..canonical.len() - 4], &canonical[canonical.len() - 2..]),
        _ => {
            let mut text = canonical.replacen('0', "O", 1);
            if text == canonical {
                text.replace_range(0..1, "l");
            }
            text
        }
    }
}

/// What a spreadsheet shows of a long number: `1,98501E+11`.
fn scientific(id: u64, decimal: char) -> String {
    let exponent = id.ilog10();
    let unit = 10u64.pow(exponent - 5);
    let rounded = (id + unit / 2) / unit;
    format!("{}{decimal}{:05}E+{exponent:02}", rounded / 100_000, rounded % 100_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Stream;
    use crate::row::{Delimiter, IdColumn, LineEnd, Quotes};

    const ID: u64 = 198_501_012_382;

    fn damaged(dirt: Dirt, key: u64) -> Vec<u8> {
        let dialect = Dialect {
            delimiter: Delimiter::Semicolon,
            quotes: Quotes::None,
            line_end: LineEnd::Lf,
            encoding: Encoding::Utf8,
            header: false,
            id_column: IdColumn::First,
        };
        let mut random = Random::new(1, Stream::Row, key);
        let mut row = Row::default();
        row.fill(&dialect, Register::Far, ID, &ID.to_string(), &mut random);
        dirt.apply(&mut row, Register::Far, ID, &dialect, &mut random);
        let mut out = Vec::new();
        row.push(&mut out, &dialect);
        out
    }

    #[test]
    fn every_kind_changes_the_row() {
        for key in 0..100 {
            let clean = damaged(Dirt::ExtraColumns, key);
            for &dirt in Dirt::ALL.iter().chain(&Dirt::MORE) {
                let line = damaged(dirt, key);
                assert!(dirt == Dirt::ExtraColumns || line != clean, "{dirt:?}");
                let has_line_end = ![Dirt::CarriageReturn, Dirt::NoLineEnd].contains(&dirt);
                assert_eq!(line.ends_with(b"\n"), has_line_end, "{dirt:?}");
            }
        }
    }

    #[test]
    fn wrong_check_digits_and_dates_are_wrong() {
        for key in 0..100 {
            let text = String::from_utf8(damaged(Dirt::WrongCheckDigit, key)).unwrap();
            assert_ne!(text[..12].parse::<u64>().unwrap(), swedish(ID / 10));
            let text = String::from_utf8(damaged(Dirt::ImpossibleDate, key)).unwrap();
            let id: u64 = text[..12].parse().unwrap();
            assert_eq!(id, swedish(id / 10));
            assert!(text[4..6] == *"13" || text[6..8] == *"32", "{text}");
        }
    }

    #[test]
    fn organisations_lose_their_third_digit() {
        let mut random = Random::new(1, Stream::Row, 0);
        let id = impossible(Register::Far, swedish(16_456_000_123), &mut random);
        assert!(id / 10_000_000 % 10 < 2 && id / 100_000_000 == 1645, "{id}");
    }

    #[test]
    fn spreadsheets_shorten_numbers() {
        assert_eq!(scientific(198_501_012_389, ','), "1,98501E+11");
        assert_eq!(scientific(1_810_112_345, '.'), "1.81011E+09");
        assert_eq!(scientific(198_501_900_000, ','), "1,98502E+11");
    }
}
