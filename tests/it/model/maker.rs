//! Random rows of dirty lists.

use super::guard::identities_in;
use super::identities::{Country, Day, is_test_number, read};
use super::registers::Register;
use super::rows::{pieces, without_marks};
use super::test_numbers::{misspelled, random_id, spelled};
use crate::support::random::Random;

const BOM: &[u8] = b"\xEF\xBB\xBF";

/// Percentages of rows with each kind of dirt.
#[derive(Clone)]
pub(crate) struct Dirt {
    pub(crate) bad_ids: usize,
    pub(crate) spellings: usize,
    pub(crate) quotes: usize,
    /// Stray and never-closed quotation marks.
    pub(crate) strays: usize,
    pub(crate) blank: usize,
    pub(crate) short: usize,
    /// Another line end than the list's.
    pub(crate) line_ends: usize,
    /// Rows that touch the next one, with a mark between them or without.
    pub(crate) joined: usize,
    /// Identities of others in a text.
    pub(crate) seconds: usize,
    /// Footers in mid-list, and byte order marks.
    pub(crate) footers: usize,
    pub(crate) foreign: bool,
}

pub(crate) const CLEAN: Dirt = Dirt {
    bad_ids: 0,
    spellings: 15,
    quotes: 0,
    strays: 0,
    blank: 0,
    short: 0,
    line_ends: 0,
    joined: 0,
    seconds: 0,
    footers: 0,
    foreign: false,
};

/// Dirt of a list whose format is given by options.
pub(crate) fn dirt(random: &mut Random) -> Dirt {
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
        joined: up_to(3, 20),
        seconds: up_to(3, 20),
        footers: up_to(2, 10),
        foreign: true,
    }
}

/// Dirt that leaves the format detectable.
pub(crate) fn little_dirt(random: &mut Random) -> Dirt {
    let mut up_to = |most: usize| random.below(most + 1);
    Dirt {
        bad_ids: up_to(8),
        spellings: up_to(60),
        quotes: up_to(15),
        strays: up_to(2),
        blank: up_to(3),
        short: up_to(3),
        line_ends: up_to(10),
        joined: up_to(5),
        seconds: up_to(5),
        footers: up_to(2),
        foreign: up_to(1) == 1,
    }
}

const LINE_ENDS: [&[u8]; 4] = [b"\n", b"\r\n", b"\r", b"\r\r\n"];

/// The bytes between two joined rows.
const JOINTS: [&[u8]; 15] = [
    b"",
    b"",
    b"",
    b"\xEF\xBB\xBF",
    b"\x0B",
    b"\x0C",
    b"\xC2\x85",
    b"\xE2\x80\xA8",
    b"\xE2\x80\xA9",
    b"\0",
    b"\x1A",
    b"\x1C",
    b"\x1E",
    b"\x85",
    b" ",
];

const FOOTERS: [&str; 18] = [
    "Antal: 4711",
    "Antal rader: 12 st",
    "Summa;;12,50",
    "Summa;12 345,00 kr",
    "(4711 rows affected)",
    "(4711 rad(er) påverkades)",
    "Totalsumma\t12\u{A0}500",
    "EOF",
    "-- END OF FILE --",
    "\u{1A}",
    "\u{1A}\u{1A} \u{1A}",
    "\"Antall\";\"5\"",
    "4711",
    "Summa avgifter: 5",
    "Slut på listan",
    "of file",
    "Antal12",
    "Total;x",
];

/// Makes rows of one list.
#[derive(Clone)]
pub(crate) struct Maker {
    pub(crate) delimiter: u8,
    pub(crate) columns: usize,
    pub(crate) column: usize,
    /// The column of another person, such as a guardian.
    pub(crate) second: Option<usize>,
    /// A column of numbers: postal codes, amounts.
    pub(crate) numbers: Option<usize>,
    pub(crate) dirt: Dirt,
    line_end: usize,
    pub(crate) country: Country,
    /// Ids that the list draws from, sometimes repeatedly.
    pub(crate) ids: Vec<String>,
}

impl Maker {
    pub(crate) fn new(
        random: &mut Random,
        register: &Register,
        delimiter: u8,
        columns: usize,
        column: usize,
        dirt: Dirt,
    ) -> Maker {
        let count = *random.pick(&[20, 200, 2000]);
        let ids = (0..count).map(|_| random.pick(&register.ids).clone()).collect();
        let other = |random: &mut Random, percent: usize| {
            Some(random.below(columns)).filter(|&other| other != column && random.percent(percent))
        };
        let (second, numbers) = (other(random, 40), other(random, 70));
        let numbers = numbers.filter(|&numbers| Some(numbers) != second);
        // Old Macs made lists with carriage returns, some programs make two of one.
        let line_end = *random.pick(&[0, 0, 0, 1, 1, 2, 3]);
        let country = register.country();
        Maker { delimiter, columns, column, second, numbers, dirt, line_end, country, ids }
    }

    /// Makes rows for lists of some megabytes: mostly clean.
    pub(crate) fn for_long_lists(random: &mut Random, register: &Register, column: usize) -> Maker {
        let dirt = Dirt { quotes: 4, blank: 1, short: 1, bad_ids: 2, line_ends: 2, ..CLEAN };
        let mut maker = Maker::new(random, register, b';', 4, column, dirt);
        (maker.second, maker.numbers) = (None, None);
        maker.ids = register.ids.clone();
        maker
    }

    /// The same rows with much dirt in them.
    pub(crate) fn hostile(self) -> Maker {
        let dirt = Dirt {
            quotes: 45,
            strays: 25,
            blank: 3,
            short: 5,
            joined: 5,
            seconds: 5,
            line_ends: 15,
            foreign: true,
            ..self.dirt
        };
        Maker { dirt, ..self }
    }

    pub(crate) fn line_end(&self, random: &mut Random) -> &'static [u8] {
        let other = random.percent(self.dirt.line_ends);
        LINE_ENDS[if other { random.below(LINE_ENDS.len()) } else { self.line_end }]
    }

    pub(crate) fn ended(&self, random: &mut Random, text: &[u8]) -> Vec<u8> {
        [text, self.line_end(random)].concat()
    }

    /// A cell of a column of identities, without quotation marks around it.
    pub(crate) fn id(&self, random: &mut Random) -> Vec<u8> {
        if random.percent(self.dirt.bad_ids) {
            return misspelled(random, self.country);
        }
        let id = match random.percent(80) {
            true => random.pick(&self.ids).clone(),
            false => random_id(random, self.country),
        };
        match random.percent(self.dirt.spellings) {
            // A clean list must be recognized as a list of identities.
            true if self.dirt.bad_ids > 0 => spelled(random, &id),
            true => format!(" {id}").into_bytes(),
            false => id.into_bytes(),
        }
    }

    /// A row with all cells and without quotation marks.
    pub(crate) fn plain_row(&self, random: &mut Random) -> Vec<u8> {
        let id = random.pick(&self.ids).clone();
        self.plain_row_of(random, &id)
    }

    /// The same with a given identity cell.
    pub(crate) fn plain_row_of(&self, random: &mut Random, id: &str) -> Vec<u8> {
        let cell = |column: usize| match column {
            _ if column == self.column => id.as_bytes().to_vec(),
            _ if Some(column) == self.numbers => b"111 22".to_vec(),
            _ if Some(column) == self.second => random.pick(&self.ids).clone().into_bytes(),
            _ => random.pick(&["Anna", "Storgatan", "Ort", "x"]).as_bytes().to_vec(),
        };
        let cells: Vec<Vec<u8>> = (0..self.columns).map(cell).collect();
        let row = cells.join(&self.delimiter);
        self.ended(random, &row)
    }

    /// A row, two joined rows, or a line that is not a row.
    pub(crate) fn row(&self, random: &mut Random) -> Vec<u8> {
        loop {
            let row = self.any_row(random);
            if self.holds_only_test_numbers(&row) {
                return row;
            }
        }
    }

    fn any_row(&self, random: &mut Random) -> Vec<u8> {
        if random.percent(self.dirt.blank) {
            let delimiters = vec![self.delimiter; random.below(self.columns + 2)];
            let blanks: [&[u8]; 9] =
                [b"", b" ", b"\t", b"  \t ", b"\xA0", b"\"\"", &delimiters, b"\"\" \"\"", b"\x0C \x0B"];
            let blank = random.pick(&blanks).to_vec();
            return self.ended(random, &blank);
        }
        if random.percent(self.dirt.footers) {
            let footer = random.pick(&FOOTERS).replace(';', &char::from(self.delimiter).to_string());
            return self.ended(random, footer.as_bytes());
        }
        let mut row = self.one_row(random);
        if random.percent(self.dirt.joined) {
            row.extend_from_slice(JOINTS[random.below(JOINTS.len())]);
            row.extend_from_slice(&self.one_row(random));
        } else if random.percent(self.dirt.footers) {
            row = [BOM, &row].concat();
        }
        self.ended(random, &row)
    }

    /// A row without line end.
    fn one_row(&self, random: &mut Random) -> Vec<u8> {
        let mut cells: Vec<Vec<u8>> = (0..self.columns).map(|column| self.cell(random, column)).collect();
        if random.percent(self.dirt.short) {
            cells.truncate(random.below(self.columns + 1));
        }
        if self.dirt.foreign && random.percent(3) {
            cells.push(b"one more".to_vec());
        }
        cells.join(&self.delimiter)
    }

    /// Whether no number that may be read in a row can be a real one.
    pub(crate) fn holds_only_test_numbers(&self, row: &[u8]) -> bool {
        let day = Day::new(2026, 6, 1);
        let cells = pieces(row, Some(self.delimiter)).into_iter().map(without_marks);
        let mut found: Vec<String> =
            cells.filter_map(|cell| read(cell.trim_ascii(), self.country, day).ok()).collect();
        found.extend(identities_in(row, self.country, day, true).into_iter().map(|found| found.id));
        found.iter().all(|id| is_test_number(id))
    }

    /// A row with a quoted cell of so many lines, which look like rows but for what they have for an identity.
    pub(crate) fn row_of_many_lines(&self, random: &mut Random, lines: usize, has_ids: bool) -> Vec<u8> {
        let id = random.pick(&self.ids).clone();
        let mut row = format!("{id};\"").into_bytes();
        for _ in 0..lines {
            let line = if has_ids { self.plain_row(random) } else { self.plain_row_of(random, "c/o") };
            row.extend_from_slice(&line);
            if random.percent(10) {
                row.extend_from_slice(b"\"\"in\"\";it\n");
            }
        }
        row.extend_from_slice(b"\";x\n");
        row
    }

    fn cell(&self, random: &mut Random, column: usize) -> Vec<u8> {
        let is_id = column == self.column || Some(column) == self.second;
        let mut cell = match column {
            _ if column == self.column => self.id(random),
            _ if Some(column) == self.second && random.percent(30) => Vec::new(),
            _ if Some(column) == self.second => self.id(random),
            _ if Some(column) == self.numbers => {
                let numbers: [&[u8]; 6] =
                    [b"111 22", b"12,50", b"12345", b"SE-123 45", b"1 234,00", b"12.50"];
                random.pick(&numbers).to_vec()
            }
            _ => self.text(random),
        };
        let delimiter = self.delimiter as char;
        if random.percent(self.dirt.strays) {
            let at = random.below(cell.len() + 1);
            match random.below(9) {
                0 | 1 => cell.insert(0, b'"'), // never closed, or closed by later text
                2 => cell.insert(at, b'"'),
                3 => cell.push(b'"'),
                4 => cell = [b"\"", &cell[..], b"\"x"].concat(),
                5 => cell = [b"\"", &cell[..], b"\" "].concat(),
                6 => {
                    let line_end = LINE_ENDS[random.below(LINE_ENDS.len())];
                    cell = [b"\"", &cell[..at], line_end, b"\"", &cell[at..]].concat();
                }
                7 => cell = [b"\"", &cell[..at], b"\"", &cell[at..], b"\""].concat(),
                _ => cell = [b"\"", &cell[..], b"\"\r"].concat(),
            }
        } else if random.percent(self.dirt.quotes) || cell.contains(&self.delimiter) {
            let text = match random.below(if is_id { 3 } else { 9 }) {
                0..=2 => String::new(),
                3 => format!("a{delimiter}b"),
                4 => "\n".to_owned(),
                5 => "\r\nc/o \"\"Kalle\"\"\r\n".to_owned(),
                6 => format!("{delimiter}\n{delimiter}\"\"\n"),
                7 => "\rx\r\r\n".to_owned(),
                _ => "\"\"".to_owned(),
            };
            let at = random.below(cell.len() + 1);
            cell = [b"\"", &cell[..at], text.as_bytes(), &cell[at..], b"\""].concat();
        }
        cell
    }

    fn text(&self, random: &mut Random) -> Vec<u8> {
        const WORDS: [&[u8]; 5] = [b"Anna", b"Storgatan", b"Ort", b"x", b"ort och land"];
        const FOREIGN: [&[u8]; 12] = [
            b"",
            b" ",
            b"\xC3\x85ke \xC3\x96stlund",
            b"\xC5ke \xD6stlund",
            b"5' 3\"\" \x80 1",
            b"111 22",
            b"2020-01-01",
            b"\xFF\xFE\x85",
            b"Anna\x0BAndersson",
            b"Bo \xC2\x85 Ek",
            b"8327-9,123 456 789-0",
            b"12345678901234567890",
        ];
        if random.percent(self.dirt.seconds) {
            let id = random.pick(&self.ids);
            let at = if id.len() == 12 { 8 } else { 6 };
            let (head, tail) = id.split_at(at);
            let (short, other) = (&id[id.len() - 10..], random.pick(&["-", " ", "+"]));
            let texts = [
                id.clone(),
                format!("c/o {head}-{tail}"),
                format!("{head}{other}{tail}."),
                format!("{short}x"),
                format!("{}-{tail}, ring", &id[at - 6..at]),
                format!("nr{id}7"),
                format!("111{id}"),
                format!("7{id}"),
            ];
            return random.pick(&texts).clone().into_bytes();
        }
        if self.dirt.foreign && random.percent(30) { random.pick(&FOREIGN) } else { random.pick(&WORDS) }
            .to_vec()
    }
}
