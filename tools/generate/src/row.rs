//! One row of a mailing list, and the dialect it is written in.

use clap::ValueEnum;

use crate::identity::{Register, is_organisation};
use crate::random::{Random, Stream};
use crate::words::{Country, NORWAY, SWEDEN};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Delimiter {
    Semicolon,
    Comma,
    Tab,
    Pipe,
}

/// Which fields are quoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Quotes {
    None,
    Some,
    All,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LineEnd {
    Lf,
    Crlf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Encoding {
    Utf8,
    Utf8Bom,
    Latin1,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum IdColumn {
    First,
    Middle,
    Last,
}

/// How rows are written.
#[derive(Clone, Debug)]
pub struct Dialect {
    pub delimiter: Delimiter,
    pub quotes: Quotes,
    pub line_end: LineEnd,
    pub encoding: Encoding,
    pub header: bool,
    pub id_column: IdColumn,
}

/// Columns of a clean row.
pub const COLUMNS: usize = 6;

#[derive(Clone, Debug, Default)]
pub struct Field {
    /// In the encoding of the list.
    pub bytes: Vec<u8>,
    pub quoted: bool,
}

/// A row in construction; its buffers are reused for the next.
#[derive(Clone, Debug, Default)]
pub struct Row {
    pub fields: Vec<Field>,
    /// The bytes after the fields, if not the line end of the list.
    pub line_end: Option<Vec<u8>>,
}

fn country(register: Register) -> &'static Country {
    match register {
        Register::Far => &SWEDEN,
        Register::Krr => &NORWAY,
    }
}

impl Dialect {
    pub fn delimiter_byte(&self) -> u8 {
        match self.delimiter {
            Delimiter::Semicolon => b';',
            Delimiter::Comma => b',',
            Delimiter::Tab => b'\t',
            Delimiter::Pipe => b'|',
        }
    }

    /// Position of the id.
    pub fn id_index(&self) -> usize {
        match self.id_column {
            IdColumn::First => 0,
            IdColumn::Middle => COLUMNS / 2,
            IdColumn::Last => COLUMNS - 1,
        }
    }

    /// Appends the byte order mark and the header, as far as the dialect has them.
    pub fn push_start(&self, out: &mut Vec<u8>, register: Register) {
        if self.encoding == Encoding::Utf8Bom {
            out.extend_from_slice(b"\xEF\xBB\xBF");
        }
        if self.header {
            self.push_header(out, register);
        }
    }

    /// Appends the names of the columns.
    pub fn push_header(&self, out: &mut Vec<u8>, register: Register) {
        let names = country(register).header;
        let quoted = self.quotes == Quotes::All;
        let field = |name: &str| Field { bytes: name.as_bytes().to_vec(), quoted };
        let mut fields: Vec<Field> = names[1..].iter().map(|name| field(name)).collect();
        fields.insert(self.id_index(), field(names[0]));
        Row { fields, line_end: None }.push(out, self);
    }

    pub fn line_end_bytes(&self) -> &'static [u8] {
        match self.line_end {
            LineEnd::Lf => b"\n",
            LineEnd::Crlf => b"\r\n",
        }
    }

    /// Puts `text` into the field, in the encoding of the list.
    fn set(&self, field: &mut Field, text: &str, random: &mut Random) {
        field.bytes.clear();
        match self.encoding {
            Encoding::Utf8 | Encoding::Utf8Bom => field.bytes.extend_from_slice(text.as_bytes()),
            // The words have no other letters.
            Encoding::Latin1 => field.bytes.extend(text.chars().map(|letter| letter as u8)),
        }
        field.quoted = match self.quotes {
            Quotes::None => false,
            Quotes::Some => {
                field.bytes.contains(&self.delimiter_byte())
                    || field.bytes.contains(&b'"')
                    || random.chance(250_000)
            }
            Quotes::All => true,
        };
    }
}

impl Row {
    /// Fills in a clean row. Name and address depend on the id alone, so duplicates agree on them.
    pub fn fill(&mut self, dialect: &Dialect, register: Register, id: u64, spelt: &str, random: &mut Random) {
        let country = country(register);
        let mut of_id = Random::new(0, Stream::Row, id);
        let person = register == Register::Krr || !is_organisation(id);
        let (postcode, place) = draw_place(&mut of_id, country, register);
        let texts = [
            draw_name(&mut of_id, country, person, dialect),
            draw_address(&mut of_id, country),
            postcode,
            place.to_owned(),
            format!("{}{:05}", ["A", "B", "SK"][random.index(3)], random.below(100_000)),
        ];
        self.line_end = None;
        self.fields.resize_with(COLUMNS, Field::default);
        let id_index = dialect.id_index();
        let mut texts = texts.iter().map(String::as_str);
        for (index, field) in self.fields.iter_mut().enumerate() {
            let text = if index == id_index { Some(spelt) } else { texts.next() };
            dialect.set(field, text.unwrap_or_default(), random);
        }
    }

    /// Appends the row and its line end. A row without fields is a blank line.
    pub fn push(&self, out: &mut Vec<u8>, dialect: &Dialect) {
        for (index, field) in self.fields.iter().enumerate() {
            if index > 0 {
                out.push(dialect.delimiter_byte());
            }
            if field.quoted {
                out.push(b'"');
                for &byte in &field.bytes {
                    out.extend_from_slice(if byte == b'"' { b"\"\"" } else { std::slice::from_ref(&byte) });
                }
                out.push(b'"');
            } else {
                out.extend_from_slice(&field.bytes);
            }
        }
        out.extend_from_slice(self.line_end.as_deref().unwrap_or(dialect.line_end_bytes()));
    }
}

/// Delimiters and quotes appear in names only where the dialect can quote them.
fn draw_name(random: &mut Random, country: &Country, person: bool, dialect: &Dialect) -> String {
    let last = random.pick(country.last_names);
    if !person {
        return format!("{last}s {}", random.pick(country.trades));
    }
    let first = random.pick(country.first_names);
    let roll = random.below(1000);
    match roll {
        _ if dialect.quotes == Quotes::None => format!("{first} {last}"),
        0..30 => format!("{last}{} {first}", char::from(dialect.delimiter_byte())),
        30..33 => format!("{first} \"{}\" {last}", random.pick(country.first_names)),
        _ => format!("{first} {last}"),
    }
}

fn draw_address(random: &mut Random, country: &Country) -> String {
    let street = random.pick(country.streets);
    let number = 1 + random.below(120);
    match random.below(10) {
        0 => format!("{street} {number} A"),
        1 => format!("{street} {number} lgh 1{:03}", random.below(1000)),
        _ => format!("{street} {number}"),
    }
}

fn draw_place(random: &mut Random, country: &Country, register: Register) -> (String, &'static str) {
    let (front, place) = country.places[random.index(country.places.len())];
    let end = random.below(100);
    let postcode = match register {
        Register::Far => format!("{front}{} {end:02}", random.below(10)),
        Register::Krr => format!("{front:02}{end:02}"),
    };
    (postcode, place)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dialect(encoding: Encoding, quotes: Quotes, id_column: IdColumn) -> Dialect {
        let (delimiter, line_end) = (Delimiter::Comma, LineEnd::Crlf);
        Dialect { delimiter, quotes, line_end, encoding, header: true, id_column }
    }

    #[test]
    fn headers_follow_the_id_column() {
        let text = |encoding, quotes, id_column| {
            let mut out = Vec::new();
            dialect(encoding, quotes, id_column).push_start(&mut out, Register::Far);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(
            text(Encoding::Utf8, Quotes::None, IdColumn::Middle),
            "namn,adress,postnummer,personnummer,ort,arende\r\n"
        );
        assert_eq!(
            text(Encoding::Utf8Bom, Quotes::All, IdColumn::Last),
            "\u{feff}\"namn\",\"adress\",\"postnummer\",\"ort\",\"arende\",\"personnummer\"\r\n"
        );
    }

    #[test]
    fn encodings_differ_in_length_only_by_their_letters() {
        let mut random = Random::new(1, Stream::Row, 0);
        let mut field = Field::default();
        dialect(Encoding::Latin1, Quotes::None, IdColumn::First).set(&mut field, "Åsa", &mut random);
        assert_eq!(field.bytes, b"\xC5sa");
        dialect(Encoding::Utf8, Quotes::None, IdColumn::First).set(&mut field, "Åsa", &mut random);
        assert_eq!(field.bytes, "Åsa".as_bytes());
    }

    #[test]
    fn quotes_are_doubled() {
        let field = Field { bytes: b"a\"b".to_vec(), quoted: true };
        let mut out = Vec::new();
        let row = Row { fields: vec![field.clone(), field], line_end: None };
        row.push(&mut out, &dialect(Encoding::Utf8, Quotes::Some, IdColumn::First));
        assert_eq!(out, b"\"a\"\"b\",\"a\"\"b\"\r\n");
    }
}
