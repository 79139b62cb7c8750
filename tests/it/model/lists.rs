//! Random lists of every known kind.

use super::form::{Header, ListOptions};
use super::identities::{Country, Day};
use super::maker::{CLEAN, Maker, dirt, little_dirt};
use super::registers::Register;
use crate::support::random::Random;

const BOM: &[u8] = b"\xEF\xBB\xBF";

/// A list and its options.
#[derive(Clone)]
pub(crate) struct List {
    /// Its rows as they were made, each with its line end; the first begins with the byte order mark and
    /// is the header, if there is one. (What rows they are when read is another question.)
    pub(crate) pieces: Vec<Vec<u8>>,
    /// Pieces at the beginning that no shrinking takes away.
    pub(crate) kept: usize,
    pub(crate) options: ListOptions,
    /// `--date`.
    pub(crate) day: Day,
    /// Index of the sender, for FaR.
    pub(crate) sender: usize,
    pub(crate) set_aside: bool,
}

impl List {
    pub(crate) fn new(pieces: Vec<Vec<u8>>, kept: usize, options: ListOptions) -> List {
        List { pieces, kept, options, day: Day::new(2026, 6, 1), sender: 0, set_aside: false }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.pieces.concat()
    }
}

const DELIMITERS: [u8; 4] = [b';', b',', b'\t', b'|'];

/// A list of some rows for a register.
pub(crate) fn list(random: &mut Random, register: &Register, rows: usize, day: Day) -> List {
    let sender = random.below(register.senders.len().max(1));
    let set_aside = random.percent(50);
    let mut list = match random.below(10) {
        0 => fixed(random, register, rows),
        1 => clean(random, register, rows.max(8)),
        2..=5 => formed(random, register, rows.max(10)),
        _ => dirty(random, register, rows),
    };
    (list.day, list.sender, list.set_aside) = (day, sender, set_aside);
    if random.percent(15) {
        match list.pieces.first_mut() {
            Some(first) => _ = first.splice(0..0, BOM.iter().copied()),
            None => list.pieces.push(BOM.to_vec()),
        }
    }
    if random.percent(40) && list.pieces.len() > 2 {
        let last = list.pieces.last_mut().expect("rows");
        let kept = last.len() - last.iter().rev().take_while(|byte| b"\r\n".contains(byte)).count();
        last.truncate(kept.max(1));
    }
    list
}

/// A list whose format can be detected, without dirt.
fn clean(random: &mut Random, register: &Register, rows: usize) -> List {
    let (columns, has_header) = (1 + random.below(5), random.percent(60));
    let (column, delimiter) = (random.below(columns), *random.pick(&DELIMITERS));
    let mut maker = Maker::new(random, register, delimiter, columns, column, CLEAN);
    (maker.second, maker.numbers) = (None, None);
    let mut pieces: Vec<Vec<u8>> = Vec::new();
    if has_header {
        let name = known_name(random, maker.country);
        pieces.push(header(&maker, random, name));
    }
    pieces.extend((0..rows).map(|_| maker.row(random)));
    List::new(pieces, 1, ListOptions::default())
}

fn known_name(random: &mut Random, country: Country) -> &'static str {
    let names = match country {
        Country::Sweden => {
            ["Personnummer", "pnr_1", "Person-nr", "ORG.NR", "Personnummer (12 siffror)", "Mottagarens pnr"]
        }
        Country::Norway => {
            ["Fødselsnummer", "fnr 1", "F.nr", "D-nummer", "Fødselsnummer (11 siffer)", "Mottakers fnr"]
        }
    };
    names[random.below(names.len())]
}

/// A header with such a name over the identities.
fn header(maker: &Maker, random: &mut Random, name: &str) -> Vec<u8> {
    const OTHERS: [&str; 5] = ["Namn", "Adress", "Ort", "kolumn", "blåbär"];
    let has_quotes = random.percent(20);
    let cell = |column: usize| {
        let title = match column {
            _ if column == maker.column => name,
            _ if Some(column) == maker.second => "Malsman",
            _ if Some(column) == maker.numbers => "Postnr",
            _ => OTHERS[column % OTHERS.len()],
        };
        match column {
            1 if has_quotes => format!("\"{title}\r\nm.m.\""),
            _ if has_quotes => format!("\"{title}\""),
            _ => title.to_owned(),
        }
    };
    let cells: Vec<String> = (0..maker.columns).map(cell).collect();
    maker.ended(random, cells.join(&char::from(maker.delimiter).to_string()).as_bytes())
}

/// A list whose format can be detected, with a common irregularity: titles above the header; no header and a withheld
/// identity first; footers; joined from several files.
fn formed(random: &mut Random, register: &Register, rows: usize) -> List {
    let (columns, delimiter) = (1 + random.below(6), *random.pick(&DELIMITERS));
    let column = random.below(columns);
    let dirt = little_dirt(random);
    let maker = Maker::new(random, register, delimiter, columns, column, dirt);
    let mut options =
        ListOptions { delimiter: Some(delimiter).filter(|_| random.percent(10)), ..ListOptions::default() };
    let (mut pieces, has_header) = (Vec::new(), random.percent(65));
    if random.percent(12) {
        let line = format!("{}{}", random.pick(&["sep=", "SEP=", "Sep="]), char::from(delimiter));
        let line = if random.percent(30) { format!("\"{line}\"") } else { line };
        pieces.push(maker.ended(random, line.as_bytes()));
    }
    let mut titles = 0;
    if random.percent(if has_header { 40 } else { 8 }) {
        titles = 1 + random.below(4);
        for _ in 0..titles {
            let title = random.pick(&[
                "Utskick april 2026",
                "2026-04-01",
                "",
                "Kommunens lista",
                "Skapad: 2026-04-01 12:00",
                "  ",
                "Kommunen AB;;",
                ";;;",
                "Utskick nr 7; Anna Andersson; 2026",
            ]);
            let title = title.replace(';', &char::from(delimiter).to_string());
            pieces.push(maker.ended(random, title.as_bytes()));
        }
    }
    if titles > 0 && random.percent(30) {
        options.skip_rows = 1 + random.below(titles);
    }
    let mut the_header = Vec::new();
    if has_header {
        let name = match random.below(10) {
            0 => "nyckel",
            1 => "Mottagare",
            2 => "Namn",
            _ => known_name(random, maker.country),
        };
        the_header = match random.below(10) {
            // A header without usual words, recognized because it differs from the rows.
            0 => {
                let titles: Vec<String> =
                    (0..columns).map(|column| format!("kolumn {}", (b'a' + column as u8) as char)).collect();
                maker.ended(random, titles.join(&char::from(delimiter).to_string()).as_bytes())
            }
            _ => header(&maker, random, name),
        };
        pieces.push(the_header.clone());
        if name.is_ascii() && !name.contains(' ') && random.percent(15) {
            options.ids = vec![random.pick(&[name.to_owned(), name.to_uppercase()]).clone()];
        }
    }
    for _ in 0..random.below(3) {
        let withheld = random.pick(&["SKYDDAD", "okänd", "", "saknas", "Hemlig", "Skyddad identitet"]);
        pieces.push(maker.plain_row_of(random, withheld));
    }
    if random.percent(10) {
        options.header = if has_header { Header::Yes } else { Header::No };
    }
    if options.ids.is_empty() && random.percent(10) {
        options.ids = vec![(column + 1).to_string()];
    }
    let first_row = pieces.len();
    // The rows of the sample decide the format.
    let kept = first_row + 8;
    guard_options(random, &maker, &mut options);
    pieces.extend((0..rows).map(|_| maker.row(random)));
    if has_header && random.percent(40) {
        // Joined files, with a byte order mark and a header in the middle, and perhaps no line end before them.
        let at = first_row + random.below(rows);
        if random.percent(40) && at > first_row {
            let before = &mut pieces[at - 1];
            before.truncate(before.len() - before.iter().rev().take_while(|b| b"\r\n".contains(b)).count());
        }
        let bom = if random.percent(50) { BOM } else { b"" };
        pieces.insert(at, [bom, &the_header].concat());
    }
    for _ in 0..random.below(4) {
        let footer =
            random.pick(&["", "Antal: 4711", "Summa;;12,50", ";;", "\u{1A}", "(5 rows affected)", " "]);
        let footer = footer.replace(';', &char::from(delimiter).to_string());
        pieces.push(maker.ended(random, footer.as_bytes()));
    }
    if random.percent(10) {
        pieces.push(vec![0x1A]);
    }
    List::new(pieces, kept, options)
}

/// Options about further identities.
fn guard_options(random: &mut Random, maker: &Maker, options: &mut ListOptions) {
    options.strict = random.percent(25);
    options.drops_skipped = random.percent(25);
    let Some(second) = maker.second else { return };
    let number = (second + 1).to_string();
    match random.below(4) {
        0 => options.expected_ids = vec![number],
        1 | 2 => {
            let first = options.ids.first().cloned().unwrap_or((maker.column + 1).to_string());
            options.ids = vec![first, number];
            options.both = random.percent(50);
        }
        _ => {}
    }
}

/// A list with every kind of dirt; the command line gives its format.
fn dirty(random: &mut Random, register: &Register, rows: usize) -> List {
    let (columns, has_header, dirt) = (1 + random.below(6), random.percent(60), dirt(random));
    let column = *random.pick(&[0, columns / 2, columns - 1]);
    let delimiter = *random.pick(&DELIMITERS);
    let maker = Maker::new(random, register, delimiter, columns, column, dirt);
    let mut pieces: Vec<Vec<u8>> = Vec::new();
    let skip_rows = if random.percent(15) { 1 + random.below(3) } else { 0 };
    for _ in 0..skip_rows {
        pieces.push(maker.ended(random, b"Utskick april"));
    }
    if has_header {
        pieces.push(header(&maker, random, "Mottagar-id"));
    } else if rows > 0 {
        // So that the column is detected.
        pieces.push(maker.plain_row(random));
    }
    let kept = pieces.len();
    pieces.extend((1..rows).map(|_| maker.row(random)));
    let by_name = has_header && random.percent(50);
    let mut options = ListOptions {
        delimiter: Some(delimiter),
        header: if has_header { Header::Yes } else { Header::No },
        ids: vec![if by_name { "Mottagar-id".to_owned() } else { (column + 1).to_string() }],
        skip_rows,
        ..ListOptions::default()
    };
    guard_options(random, &maker, &mut options);
    if has_header && !options.expected_ids.is_empty() && random.percent(50) {
        options.expected_ids = vec!["malsman".to_owned()];
    }
    List::new(pieces, kept, options)
}

/// A list of fixed width, in which quotation marks and delimiters mean nothing.
fn fixed(random: &mut Random, register: &Register, rows: usize) -> List {
    let (offset, length, has_header) = (random.below(12), 16 + random.below(4), random.percent(40));
    let skip_rows = if random.percent(15) { 1 + random.below(2) } else { 0 };
    let dirt = dirt(random);
    let mut maker = Maker::new(random, register, b';', 1, 0, dirt);
    maker.second = None;
    let mut pieces: Vec<Vec<u8>> = vec![b"a title \"\n".to_vec(); skip_rows];
    if has_header {
        pieces.push(b"a header; \"anything\n".to_vec());
    }
    let kept = pieces.len().max(1);
    for _ in 0..rows {
        pieces.push(loop {
            let row = fixed_row(random, &maker, offset, length);
            if maker.holds_only_test_numbers(&row) {
                break row;
            }
        });
    }
    let mut options = ListOptions { fixed: Some((offset, length)), skip_rows, ..ListOptions::default() };
    (options.strict, options.drops_skipped) = (random.percent(25), random.percent(25));
    if has_header || random.percent(50) {
        options.header = if has_header { Header::Yes } else { Header::No };
    }
    List::new(pieces, kept, options)
}

fn fixed_row(random: &mut Random, maker: &Maker, offset: usize, length: usize) -> Vec<u8> {
    let mut row: Vec<u8> = (0..offset).map(|_| *random.pick(b"ab \";,\xE5x")).collect();
    let id = maker.id(random);
    row.extend_from_slice(&id);
    row.extend((id.len()..length).map(|_| b' '));
    let other = format!("\x0Bc/o {}", random.pick(&maker.ids));
    let tails: [&[u8]; 8] =
        [b"", b"Anna \"K", b"x;y", b"1", b"\xC3\xB6", b"\"", other.as_bytes(), &other.as_bytes()[1..]];
    row.extend_from_slice(tails[random.below(tails.len())]);
    if random.percent(maker.dirt.short * 2) {
        // Half an id may be somebody's: a row ends before the seventh digit or after the last.
        let kept = random.below(row.len() + 1);
        let is_half = kept > offset + 6 && kept < offset + id.len();
        row.truncate(if is_half { offset + 6 } else { kept });
    }
    row.retain(|byte| *byte != b'\n');
    maker.ended(random, &row)
}

/// A list of rows that a maker for long lists made, the header first.
pub(crate) fn long(pieces: Vec<Vec<u8>>, maker: &Maker, random: &mut Random) -> List {
    let name = if maker.country == Country::Sweden { "pnr" } else { "fnr" };
    let (ids, delimiter) = (vec![name.to_owned()], Some(b';'));
    let mut list =
        List::new(pieces, 1, ListOptions { ids, delimiter, header: Header::Yes, ..ListOptions::default() });
    list.set_aside = random.percent(50);
    list
}

/// The header of a long list.
pub(crate) fn long_header(maker: &Maker, name: &str, has_quotes: bool) -> Vec<u8> {
    let cell = |column: usize| match column {
        _ if column == maker.column && has_quotes => format!("\"{name}\"").into_bytes(),
        _ if column == maker.column => name.as_bytes().to_vec(),
        1 if has_quotes => format!("\"två\nrader{}\"\"\"", maker.delimiter as char).into_bytes(),
        _ => format!("kolumn {}", (b'a' + column as u8) as char).into_bytes(),
    };
    let cells: Vec<Vec<u8>> = (0..maker.columns).map(cell).collect();
    [cells.join(&maker.delimiter), b"\n".to_vec()].concat()
}

/// A list with `;` and the identity in the first column, without header.
pub(crate) fn plain(random: &mut Random, pieces: Vec<Vec<u8>>) -> List {
    let (ids, delimiter) = (vec!["1".to_owned()], Some(b';'));
    let mut list =
        List::new(pieces, 1, ListOptions { ids, delimiter, header: Header::No, ..ListOptions::default() });
    list.set_aside = random.percent(50);
    list
}
