//! Random dirty lists.

use super::identities::{Country, Day, anybody, misspelled, spelled};
use super::random::Random;
use super::registers::Register;
use super::rows::Layout;

const BOM: &[u8] = b"\xEF\xBB\xBF";

/// A list, and what the command line says of it.
#[derive(Clone)]
pub(crate) struct List {
    /// Its rows as they were made, each with its line end; the first begins with the byte order mark and
    /// is the header, if there is one. (What rows they are when read is another question.)
    pub(crate) pieces: Vec<Vec<u8>>,
    pub(crate) layout: Layout,
    pub(crate) has_header: bool,
    /// Name, number or place of the identity's column, as reports show it.
    pub(crate) id_column: String,
    /// Options that say what the list is; the rest is told from it.
    pub(crate) options: Vec<String>,
    /// The day asked.
    pub(crate) day: Day,
    /// Place of the sender, for FaR.
    pub(crate) sender: usize,
    pub(crate) set_aside: bool,
}

impl List {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.pieces.concat()
    }
}

/// How many of a hundred rows have what.
#[derive(Clone)]
struct Dirt {
    bad_ids: usize,
    spellings: usize,
    quotes: usize,
    /// Stray and never-closed quotation marks.
    strays: usize,
    blank: usize,
    short: usize,
    /// Another line end than the list's.
    line_ends: usize,
    foreign: bool,
}

const CLEAN: Dirt = Dirt {
    bad_ids: 0,
    spellings: 15,
    quotes: 0,
    strays: 0,
    blank: 0,
    short: 0,
    line_ends: 0,
    foreign: false,
};

fn dirt(random: &mut Random) -> Dirt {
    let heavy = random.percent(30);
    let mut up_to = |light: usize, most: usize| random.below(if heavy { most } else { light } + 1);
    Dirt {
        bad_ids: up_to(10, 40),
        spellings: up_to(40, 90),
        quotes: up_to(15, 60),
        strays: up_to(3, 30),
        blank: up_to(3, 20),
        short: up_to(3, 20),
        line_ends: up_to(5, 50),
        foreign: true,
    }
}

/// The delimiters, and what they are called on the command line.
const DELIMITERS: [(u8, [&str; 2]); 4] =
    [(b';', [";", "semicolon"]), (b',', [",", "comma"]), (b'\t', ["\t", "tab"]), (b'|', ["|", "pipe"])];

/// A list of some rows for a register.
pub(crate) fn list(random: &mut Random, register: &Register, rows: usize, day: Day) -> List {
    let sender = random.below(register.senders.len().max(1));
    let set_aside = random.percent(50);
    let mut list = match random.below(10) {
        0 => fixed(random, register, rows),
        1 | 2 => clean(random, register, rows.max(8)),
        _ => dirty(random, register, rows),
    };
    (list.day, list.sender, list.set_aside) = (day, sender, set_aside);
    if random.percent(15) {
        match list.pieces.first_mut() {
            Some(first) => _ = first.splice(0..0, BOM.iter().copied()),
            None => list.pieces.push(BOM.to_vec()),
        }
    }
    // A lone carriage return is a line end of lists that are refused, so there must be another.
    if random.percent(40) && list.pieces.len() > 2 {
        let last = list.pieces.last_mut().expect("rows");
        let kept = last.len() - last.iter().rev().take_while(|byte| b"\r\n".contains(byte)).count();
        last.truncate(kept.max(1));
    }
    list
}

fn new(pieces: Vec<Vec<u8>>, layout: Layout, has_header: bool, id_column: String) -> List {
    let day = Day::new(2026, 6, 1);
    List { pieces, layout, has_header, id_column, options: Vec::new(), day, sender: 0, set_aside: false }
}

fn options(options: &[&str]) -> Vec<String> {
    options.iter().map(|&option| option.to_owned()).collect()
}

/// A list that says itself what it is.
fn clean(random: &mut Random, register: &Register, rows: usize) -> List {
    let (columns, has_header) = (1 + random.below(5), random.percent(60));
    let (column, delimiter) = (random.below(columns), random.pick(&DELIMITERS).0);
    let maker = Maker::new(random, register, delimiter, columns, column, CLEAN);
    let name = match register.country() {
        Country::Sweden => "Personnummer",
        Country::Norway => "Fødselsnummer",
    };
    let mut pieces: Vec<Vec<u8>> = Vec::new();
    if has_header {
        pieces.push(maker.header(name, false));
    }
    pieces.extend((0..rows).map(|_| maker.row(random)));
    let delimiter = (columns > 1).then_some(delimiter);
    let id_column = if has_header { name.to_owned() } else { (column + 1).to_string() };
    new(pieces, Layout::Delimited { delimiter, column }, has_header, id_column)
}

/// A list with everything that lists may have in them; the command line says what it is.
fn dirty(random: &mut Random, register: &Register, rows: usize) -> List {
    let (columns, has_header, dirt) = (1 + random.below(6), random.percent(60), dirt(random));
    let column = *random.pick(&[0, columns / 2, columns - 1]);
    let (delimiter, spellings) = *random.pick(&DELIMITERS);
    let maker = Maker::new(random, register, delimiter, columns, column, dirt);
    let (by_name, by_spelling) = (has_header && random.percent(50), random.below(2));
    let mut pieces: Vec<Vec<u8>> = Vec::new();
    if has_header {
        let has_quotes = random.percent(30);
        pieces.push(maker.header("Mottagar-id", has_quotes));
    } else if rows > 0 {
        // So that the column can be seen to be there.
        pieces.push(maker.plain_row(random));
    }
    pieces.extend((1..rows).map(|_| maker.row(random)));
    let number = (column + 1).to_string();
    let mut list = new(
        pieces,
        Layout::Delimited { delimiter: Some(delimiter), column },
        has_header,
        if has_header { "Mottagar-id".to_owned() } else { number.clone() },
    );
    list.options = options(&[
        "--delimiter",
        spellings[by_spelling],
        "--header",
        if has_header { "yes" } else { "no" },
        "--id-column",
        if by_name { "Mottagar-id" } else { &number },
    ]);
    list
}

/// A list of fixed width, in which quotation marks and delimiters mean nothing.
fn fixed(random: &mut Random, register: &Register, rows: usize) -> List {
    let (offset, length, has_header) = (random.below(12), 16 + random.below(4), random.percent(40));
    let dirt = dirt(random);
    let maker = Maker::new(random, register, b';', 1, 0, dirt);
    let mut pieces: Vec<Vec<u8>> = Vec::new();
    if has_header {
        pieces.push(b"a header; \"whatever\n".to_vec());
    }
    for _ in 0..rows {
        let mut row: Vec<u8> = (0..offset).map(|_| *random.pick(b"ab \";,\xE5\r")).collect();
        let id = maker.id(random);
        row.extend_from_slice(&id);
        row.extend((id.len()..length).map(|_| b' '));
        row.extend_from_slice(random.pick::<&[u8]>(&[b"", b"Anna \"K", b"x;y", b"1", b"\xC3\xB6", b"\""]));
        if random.percent(maker.dirt.short * 2) {
            // Half an id may be somebody's: a row ends before the seventh digit or after the last.
            let kept = random.below(row.len() + 1);
            let is_half = kept > offset + 6 && kept < offset + id.len();
            row.truncate(if is_half { offset + 6 } else { kept });
        }
        row.retain(|byte| *byte != b'\n');
        row.extend_from_slice(maker.line_end(random));
        pieces.push(row);
    }
    let place = format!("{offset}:{length}");
    let mut list = new(pieces, Layout::Fixed { offset, length }, has_header, place.clone());
    list.options = options(&["--id-at", &place]);
    if has_header || random.percent(50) {
        list.options.extend(options(&["--header", if has_header { "yes" } else { "no" }]));
    }
    list
}

/// A list of rows that a maker for long lists made, the header first.
pub(crate) fn long(pieces: Vec<Vec<u8>>, maker: &Maker, random: &mut Random) -> List {
    let layout = Layout::Delimited { delimiter: Some(maker.delimiter), column: maker.column };
    let name = if maker.country == Country::Sweden { "pnr" } else { "fnr" };
    let mut list = new(pieces, layout, true, name.to_owned());
    list.options = options(&["--delimiter", ";", "--header", "yes", "--id-column", name]);
    list.set_aside = random.percent(50);
    list
}

/// A list with `;` and the identity in the first column, without header.
pub(crate) fn plain(random: &mut Random, pieces: Vec<Vec<u8>>) -> List {
    let layout = Layout::Delimited { delimiter: Some(b';'), column: 0 };
    let mut list = new(pieces, layout, false, "1".to_owned());
    list.options = options(&["--delimiter", ";", "--header", "no", "--id-column", "1"]);
    list.set_aside = random.percent(50);
    list
}

/// Makes rows of one list.
#[derive(Clone)]
pub(crate) struct Maker {
    delimiter: u8,
    columns: usize,
    column: usize,
    dirt: Dirt,
    crlf: bool,
    country: Country,
    /// Ids that the list draws from; those it has drawn are drawn again now and then.
    ids: Vec<String>,
}

impl Maker {
    fn new(
        random: &mut Random,
        register: &Register,
        delimiter: u8,
        columns: usize,
        column: usize,
        dirt: Dirt,
    ) -> Maker {
        let count = *random.pick(&[20, 200, 2000]);
        let ids = (0..count).map(|_| random.pick(&register.ids).clone()).collect();
        let country = register.country();
        Maker { delimiter, columns, column, dirt, crlf: random.percent(40), country, ids }
    }

    /// Makes rows for lists of some megabytes: mostly clean.
    pub(crate) fn for_long_lists(random: &mut Random, register: &Register, column: usize) -> Maker {
        let dirt = Dirt { quotes: 4, strays: 0, blank: 1, short: 1, bad_ids: 2, line_ends: 2, ..CLEAN };
        let mut maker = Maker::new(random, register, b';', 4, column, dirt);
        maker.ids = register.ids.clone();
        maker
    }

    /// The same rows with much dirt in them.
    pub(crate) fn hostile(self) -> Maker {
        let dirt = Dirt { quotes: 45, strays: 25, blank: 3, short: 5, foreign: true, ..self.dirt };
        Maker { dirt, ..self }
    }

    pub(crate) fn header(&self, name: &str, has_quotes: bool) -> Vec<u8> {
        let cell = |column: usize| match column {
            _ if column == self.column && has_quotes => format!("\"{name}\"").into_bytes(),
            _ if column == self.column => name.as_bytes().to_vec(),
            1 if has_quotes => format!("\"två\nrader{}\"\"\"", self.delimiter as char).into_bytes(),
            2 if self.dirt.foreign => b"\xE5ngstr\xF6m".to_vec(),
            _ => format!("kolumn {}", (b'a' + column as u8) as char).into_bytes(),
        };
        let cells: Vec<Vec<u8>> = (0..self.columns).map(cell).collect();
        let mut row = cells.join(&self.delimiter);
        row.extend_from_slice(if self.crlf { b"\r\n" } else { b"\n" });
        row
    }

    fn line_end(&self, random: &mut Random) -> &'static [u8] {
        let crlf = self.crlf != random.percent(self.dirt.line_ends);
        if crlf { b"\r\n" } else { b"\n" }
    }

    /// A cell of the identity's column, without quotation marks around it.
    pub(crate) fn id(&self, random: &mut Random) -> Vec<u8> {
        if random.percent(self.dirt.bad_ids) {
            return misspelled(random, self.country);
        }
        let id = match random.percent(80) {
            true => random.pick(&self.ids).clone(),
            false => anybody(random, self.country),
        };
        match random.percent(self.dirt.spellings) {
            // A clean list must be seen to hold identities.
            true if self.dirt.bad_ids > 0 => spelled(random, &id),
            true => format!(" {id}").into_bytes(),
            false => id.into_bytes(),
        }
    }

    /// A row with all cells and without quotation marks.
    pub(crate) fn plain_row(&self, random: &mut Random) -> Vec<u8> {
        let cell = |column: usize| {
            if column == self.column {
                random.pick(&self.ids).clone().into_bytes()
            } else {
                random.pick(&["Anna", "Storgatan", "Ort", "x"]).as_bytes().to_vec()
            }
        };
        let cells: Vec<Vec<u8>> = (0..self.columns).map(cell).collect();
        let mut row = cells.join(&self.delimiter);
        row.extend_from_slice(self.line_end(random));
        row
    }

    pub(crate) fn row(&self, random: &mut Random) -> Vec<u8> {
        if random.percent(self.dirt.blank) {
            let blank = random.pick::<&[u8]>(&[b"", b" ", b"\t", b"  \t ", b"\xA0", b"\"\""]).to_vec();
            return [&blank[..], self.line_end(random)].concat();
        }
        let mut cells: Vec<Vec<u8>> = (0..self.columns).map(|column| self.cell(random, column)).collect();
        if random.percent(self.dirt.short) {
            cells.truncate(random.below(self.columns + 1));
        }
        if self.dirt.foreign && random.percent(3) {
            cells.push(b"one more".to_vec());
        }
        let mut row = cells.join(&self.delimiter);
        row.extend_from_slice(self.line_end(random));
        row
    }

    /// A row with a quoted cell of so many lines, which look like rows.
    pub(crate) fn row_of_many_lines(&self, random: &mut Random, lines: usize) -> Vec<u8> {
        let id = random.pick(&self.ids).clone();
        let mut row = format!("{id};\"").into_bytes();
        for _ in 0..lines {
            row.extend_from_slice(&self.plain_row(random));
            if random.percent(10) {
                row.extend_from_slice(b"\"\"in\"\";it\n");
            }
        }
        row.extend_from_slice(b"\";x\n");
        row
    }

    fn cell(&self, random: &mut Random, column: usize) -> Vec<u8> {
        let mut cell = if column == self.column { self.id(random) } else { self.text(random) };
        let delimiter = self.delimiter as char;
        if random.percent(self.dirt.strays) {
            let stray = random.below(8);
            let at = random.below(cell.len() + 1);
            match stray {
                0 => cell.insert(0, b'"'), // never closed, or by whatever comes
                1 => cell.insert(at, b'"'),
                2 => cell.push(b'"'),
                3 => cell = [b"\"", &cell[..], b"\"x"].concat(),
                4 => cell = [b"\"", &cell[..], b"\" "].concat(),
                5 => cell = [b"\"", &cell[..at], b"\n\"", &cell[at..]].concat(),
                6 => cell = [b"\"", &cell[..at], b"\"", &cell[at..], b"\""].concat(),
                _ => cell = [b"\"", &cell[..], b"\"\r"].concat(),
            }
        } else if random.percent(self.dirt.quotes) {
            let text = match random.below(if column == self.column { 3 } else { 8 }) {
                0..=2 => String::new(),
                3 => format!("a{delimiter}b"),
                4 => "\n".to_owned(),
                5 => "\r\nc/o \"\"Kalle\"\"\r\n".to_owned(),
                6 => format!("{delimiter}\n{delimiter}\"\"\n"),
                _ => "\"\"".to_owned(),
            };
            let at = random.below(cell.len() + 1);
            cell = [b"\"", &cell[..at], text.as_bytes(), &cell[at..], b"\""].concat();
        }
        cell
    }

    fn text(&self, random: &mut Random) -> Vec<u8> {
        const WORDS: [&[u8]; 5] = [b"Anna", b"Storgatan", b"Ort", b"x", b"ort och land"];
        const FOREIGN: [&[u8]; 8] = [
            b"",
            b" ",
            b"\xC3\x85ke \xC3\x96stlund",
            b"\xC5ke \xD6stlund",
            b"5' 3\"\" \x80 1",
            b"111 22",
            b"2020-01-01",
            b"\xFF\xFE\x85",
        ];
        if self.dirt.foreign && random.percent(30) { random.pick(&FOREIGN) } else { random.pick(&WORDS) }
            .to_vec()
    }
}
