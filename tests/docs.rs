//! The documentation against the code: what `docs/` says in tables is read from there and compared with
//! what the program does.

use nabar::identities::{Country, Identity, Rejection, Space, Today};
use nabar::limits;
use nabar::mailing::RowProblem;
use nabar::register::{AccountType, FarState, KrrState, Outcome, PaperReason, Recipient, Register, StateRule};
use nabar::snapshot::Snapshot;
use nabar::snapshot::format::{ALIGNMENT, ENTRY_BYTES, HEADER_BYTES, MAGIC, Section, VERSION};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

// --- Reading the documentation -----------------------------------------------------------------

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn document(name: &str) -> String {
    fs::read_to_string(root().join("docs").join(name)).expect(name)
}

/// The lines of the section with a heading, up to the next heading.
fn section(text: &str, heading: &str) -> String {
    let mut lines = text.lines().skip_while(|line| line.trim_start_matches('#').trim() != heading);
    assert!(lines.next().is_some_and(|line| line.starts_with('#')), "no section \"{heading}\"");
    lines.take_while(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n")
}

/// All tables of a text: their rows without header and ruler, cells without back quotes.
fn tables(text: &str) -> Vec<Vec<Vec<String>>> {
    let mut tables = vec![Vec::new()];
    for line in text.lines() {
        match line.strip_prefix('|') {
            Some(row) => {
                let row = row.trim_end().trim_end_matches('|').replace("\\|", "\u{0}");
                let cell = |cell: &str| cell.trim().trim_matches('`').replace('\u{0}', "|");
                tables.last_mut().expect("a table").push(row.split('|').map(cell).collect::<Vec<_>>());
            }
            None => tables.push(Vec::new()),
        }
    }
    tables.retain(|table| table.len() > 2);
    tables.iter_mut().for_each(|table| _ = table.drain(..2));
    tables
}

/// The only table, or the first one, of a section.
fn table(document: &str, heading: &str) -> Vec<Vec<String>> {
    tables(&section(document, heading)).into_iter().next().unwrap_or_else(|| panic!("no table in {heading}"))
}

fn first_column(table: &[Vec<String>]) -> Vec<&str> {
    table.iter().map(|row| row[0].as_str()).collect()
}

fn number(text: &str) -> usize {
    text.parse().unwrap_or_else(|_| panic!("{text:?} is no number"))
}

/// A documented structure: where each field is.
struct Layout(Vec<(String, usize, usize)>);

impl Layout {
    /// From a table with the columns offset, bytes, type, field; the fields fill `bytes` without gaps.
    fn of(table: &[Vec<String>], bytes: usize) -> Layout {
        let fields: Vec<_> =
            table.iter().map(|row| (row[3].clone(), number(&row[0]), number(&row[1]))).collect();
        let mut end = 0;
        for (name, offset, length) in &fields {
            assert_eq!(*offset, end, "{name} does not follow what is before it");
            end += length;
        }
        assert_eq!(end, bytes, "the fields do not fill the structure");
        Layout(fields)
    }

    fn bytes<'b>(&self, structure: &'b [u8], field: &str) -> &'b [u8] {
        let found = self.0.iter().find(|(name, ..)| name == field);
        let (_, offset, length) = found.unwrap_or_else(|| panic!("{field} is not documented"));
        &structure[*offset..offset + length]
    }

    fn get(&self, structure: &[u8], field: &str) -> u64 {
        unsigned(self.bytes(structure, field))
    }
}

fn unsigned(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte))
}

// --- Registers and lists to look at ------------------------------------------------------------

fn nabar(directory: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_nabar")).args(args).current_dir(directory).output().expect("run")
}

/// Standard output of a command that must end with an exit code.
fn done(directory: &Path, code: i32, args: &[&str]) -> String {
    let output = nabar(directory, args);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {error}");
    String::from_utf8(output.stdout).expect("text")
}

fn today() -> Today {
    Today::new(2026, 6, 1).expect("a day")
}

/// `start` and the check digits that make it an identity, if any do.
fn completed(start: &str, country: Country) -> Option<Identity> {
    let missing = country.digits() - start.len();
    let all = (0..10u32.pow(missing as u32)).map(|tail| format!("{start}{tail:0missing$}"));
    all.into_iter().find_map(|text| Identity::parse(text.as_bytes(), country, today()).ok())
}

fn organisation(number: u32) -> String {
    completed(&format!("1648{number:07}"), Country::Sweden).expect("an organisation").as_str().to_owned()
}

/// Ids of senders: test organisations, the first digit is 4.
fn senders() -> Vec<String> {
    (0..10).map(|n| organisation(2_100_000 + n)).collect()
}

/// An extract with recipients of all kinds, and so many rules that not all of them can be shared.
fn write_far(directory: &Path) {
    fs::create_dir_all(directory).expect("directory");
    let file = |name: &str, text: String| fs::write(directory.join(name), text).expect(name);
    file("register.toml", "kind = \"far\"\nsequence = 7\nas_of = \"2026-06-01T04:00:00.25Z\"\n".into());
    let operators: Vec<String> = (0..3).map(|n| organisation(9_200_000 + n)).collect();
    file(
        "operators.csv",
        format!(
            "id,name,service_address,ui_address,logo\n{},Kort,https://a.example/service,,x\n{},\
             En brevlåda med ett långt namn,,https://b.example/,\n{},,https://c.example/,,\n",
            operators[0], operators[1], operators[2]
        ),
    );
    let senders = senders();
    let rows: Vec<String> = senders.iter().map(|id| format!("{id},Myndighet {id},\n")).collect();
    file("senders.csv", format!("id,name,attention\n{}", rows.concat()));
    let dispatcher = organisation(7_300_000);
    file("dispatchers.csv", format!("id,name,senders\n{dispatcher},Utskick,{} {}\n", senders[4], senders[1]));
    let mut text = String::from(
        "recipient_id,type,pending,operator_id,last_registration,acceptance,exceptions,last_sender_accept_change\n",
    );
    for n in 0..700u32 {
        let (year, month, day) = (1930 + n % 80, 1 + n % 12, 1 + n % 28);
        let start = match n % 7 {
            6 => format!("1642{:07}", 2_000_000 + n * 7919),
            5 => format!("{year}{month:02}{:02}{}", day + 60, 980 + n % 2),
            _ => format!("{year}{month:02}{day:02}{}", 238 + n % 2),
        };
        let identity = completed(&start, Country::Sweden).expect("a recipient");
        let account = ["Secure", "Secure", "Anonymous", "Not"][(n % 23 / 7) as usize];
        let rule = n / 2; // most rules of one or two recipients
        let named = (0..10).filter(|bit| rule >> bit & 1 == 1).map(|bit| &senders[bit][..]);
        let acceptance = if rule % 3 == 0 { "only" } else { "all-except" };
        text += &format!(
            "{},{account},{},{},2025-01-{day:02}T10:00:{:02}Z,{acceptance},{},{}\n",
            identity.as_str(),
            n % 11 == 0,
            if n % 5 == 4 { "" } else { &operators[(n % 3) as usize] },
            n % 60,
            named.collect::<Vec<_>>().join(" "),
            if n % 4 == 0 { String::new() } else { format!("2025-02-{day:02}T10:00:00.{:03}Z", n % 1000) },
        );
    }
    file("recipients.csv", text);
}

/// Persons of all kinds.
fn write_krr(directory: &Path) {
    fs::create_dir_all(directory).expect("directory");
    fs::write(
        directory.join("register.toml"),
        "kind = \"krr\"\nsequence = 9\nas_of = \"2026-06-01T00:00:00Z\"\n",
    )
    .expect("register.toml");
    let mut lines = String::new();
    for n in 0..300u32 {
        let (day, month, year) = (1 + n % 28 + if n % 6 == 5 { 40 } else { 0 }, 81 + n % 12, 50 + n % 40);
        let start = format!("{day:02}{month}{year}{:03}", n % 400);
        let Some(identity) = completed(&start, Country::Norway) else { continue };
        let time = |minute: u32| format!("202{}-03-04T05:{minute:02}:06.5Z", 1 + n % 6);
        let mut person = serde_json::json!({"personidentifikator": identity.as_str()});
        if n % 10 != 0 {
            person["kontaktinformasjon"] = serde_json::json!({
                "epostadresse": if n % 3 == 0 { "" } else { "kari@example.com" },
                "epostadresse_oppdatert": time(1), "epostadresse_sist_verifisert": time(2),
                "epostadresse_duplisert": ["", "JA", "NEI"][n as usize % 3],
                "mobiltelefonnummer": if n % 4 == 0 { "" } else { "+4799999999" },
                "mobiltelefonnummer_oppdatert": time(3), "mobiltelefonnummer_sist_verifisert": time(4),
                "mobiltelefonnummer_duplisert": ["NEI", "", "JA", ""][n as usize % 4],
            });
            person["reservasjon"] = ["JA", "NEI"][usize::from(n % 7 != 0)].into();
            person["reservasjonstidspunkt"] = time(5).into();
            person["reservasjon_oppdatert"] = time(6).into();
            person["status"] = ["SLETTET", "AKTIV"][usize::from(n % 9 != 0)].into();
            person["spraak"] = "nn".into();
            person["spraak_oppdatert"] = time(7).into();
            person["sertifikat"] = format!("MIIC{}", n % 5).into();
        }
        if n % 2 == 0 {
            person["digital_post"] = serde_json::json!({
                "postkasseadresse": format!("kari#{n}"),
                "postkasseleverandoeradresse": ["984661185", "996460320"][n as usize % 4 / 2],
            });
        }
        lines += &format!("{person}\n");
    }
    fs::write(directory.join("personer.jsonl"), lines).expect("personer.jsonl");
}

struct Registers(tempfile::TempDir);

impl Registers {
    fn new() -> Registers {
        let directory = tempfile::tempdir().expect("directory");
        write_far(&directory.path().join("far"));
        write_krr(&directory.path().join("krr"));
        for kind in ["far", "krr"] {
            done(directory.path(), 0, &["build", kind, "-o", &format!("{kind}.nabar"), "--strict", "-q"]);
        }
        Registers(directory)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn file(&self, kind: &str) -> PathBuf {
        self.path().join(format!("{kind}.nabar"))
    }
}

// --- docs/format.md ----------------------------------------------------------------------------

/// A register file, taken apart by what the document says.
struct Parsed {
    file: Vec<u8>,
    document: String,
    /// Width, first byte and length of each section, by name.
    sections: BTreeMap<String, (usize, usize, usize)>,
}

impl Parsed {
    fn new(path: &Path) -> Parsed {
        let (file, document) = (fs::read(path).expect("register"), document("format.md"));
        let header = Layout::of(&table(&document, "Header"), HEADER_BYTES);
        let entry = Layout::of(&table(&document, "Section table"), ENTRY_BYTES);
        let numbers = table(&document, "Sections");
        let mut sections = BTreeMap::new();
        for place in 0..header.get(&file, "sections") as usize {
            let bytes = &file[HEADER_BYTES + place * ENTRY_BYTES..][..ENTRY_BYTES];
            let value = |field| entry.get(bytes, field) as usize;
            let row = numbers.iter().find(|row| number(&row[0]) == value("section")).expect("documented");
            assert!(row[3].split(", ").any(|width| number(width) == value("width")), "{row:?}");
            sections.insert(row[1].clone(), (value("width"), value("offset"), value("bytes")));
        }
        Parsed { file, document, sections }
    }

    fn bytes(&self, section: &str) -> &[u8] {
        let (_, offset, bytes) = self.sections[section];
        &self.file[offset..offset + bytes]
    }

    fn length(&self, section: &str) -> usize {
        self.sections[section].2 / self.sections[section].0
    }

    fn element(&self, section: &str, place: usize) -> &[u8] {
        let width = self.sections[section].0;
        &self.bytes(section)[place * width..][..width]
    }

    fn get(&self, section: &str, place: usize) -> usize {
        unsigned(self.element(section, place)) as usize
    }

    fn layout(&self, heading: &str) -> Layout {
        Layout::of(&table(&self.document, heading), self.element(heading, 0).len())
    }

    /// A text of the archive of organisations.
    fn text(&self, at: usize) -> String {
        let archive = self.bytes("actors");
        let bytes = &archive[at..at + 8];
        let text = if bytes[0] >> 6 == 0b10 {
            let x = unsigned(&bytes[..4]) as usize;
            let distance = unsigned(&bytes[4..]) as u32 as i32;
            &archive[at.wrapping_add_signed(distance as isize)..][..(x & 63) | ((x & !255) >> 2)]
        } else {
            bytes.split(|&byte| byte == 0xFF).next().expect("a first part")
        };
        String::from_utf8(text.to_vec()).expect("text")
    }

    /// Where the elements of a vector of the archive are.
    fn vector(&self, at: usize, width: usize) -> Vec<usize> {
        let archive = self.bytes("actors");
        let distance = unsigned(&archive[at..at + 4]) as u32 as i32;
        let first = at.wrapping_add_signed(distance as isize);
        (0..unsigned(&archive[at + 4..at + 8]) as usize).map(|place| first + place * width).collect()
    }

    /// The bits of a flag of a state, shifted down.
    fn flag(&self, flags: u64, name: &str) -> u64 {
        let tables = tables(&section(&self.document, "states"));
        let row = tables[1].iter().find(|row| row[2] == name).unwrap_or_else(|| panic!("no flag {name}"));
        let (low, high) = row[0].split_once('–').unwrap_or((&row[0], &row[0]));
        flags >> number(low) & ((1 << (number(high) - number(low) + 1)) - 1)
    }

    /// Place in the directory, entry of the block and record number of an ordinal that is present.
    fn find(&self, first: u32, ordinal: u32) -> Option<(usize, &[u8], usize)> {
        let offset = (ordinal - first) as usize;
        let place = offset / 14_336;
        let block = self.get("directory", place);
        if block == 0 {
            return None;
        }
        let (bit, page) = (offset % 448, self.element("pages", 32 * block + offset % 14_336 / 448));
        let layout = self.layout("pages");
        let words: Vec<u64> = layout.bytes(page, "presence").chunks(8).map(unsigned).collect();
        if words[bit / 64] >> (bit % 64) & 1 == 0 {
            return None;
        }
        let pair = bit / 128 * 2;
        let below = (pair * 64..bit).filter(|bit| words[bit / 64] >> (bit % 64) & 1 == 1).count();
        let entry = self.element("blocks", block);
        let before = layout.get(page, &format!("count_{pair}")) as usize + below;
        Some((place, entry, self.layout("blocks").get(entry, "first_record") as usize + before))
    }
}

/// The ordinal of an identity, worked out as the document says.
fn documented_ordinal(document: &str, identity: &Identity) -> u32 {
    let spaces = table(document, "Ordinals");
    let row = spaces.iter().find(|row| row[0] == identity.space().name()).expect("a documented space");
    let digits: Vec<u32> = identity.as_str().bytes().map(|digit| u32::from(digit - b'0')).collect();
    let value = |range: std::ops::Range<usize>| digits[range].iter().fold(0, |value, digit| value * 10 + digit);
    let days = |year: u32, month: u32, day: u32, from: i16| {
        let date = jiff::civil::date(year as i16, month as i8, day as i8);
        (date.duration_since(jiff::civil::date(from, 1, 1)).as_hours() / 24) as u32
    };
    let within = match identity.space() {
        Space::Organisationsnummer => value(2..4) * 8_000_000 + (digits[4] - 2) * 1_000_000 + value(5..11),
        Space::Personnummer => days(value(0..4), value(4..6), value(6..8), 1800) * 1000 + value(8..11),
        Space::Samordningsnummer => {
            days(value(0..4), value(4..6), value(6..8) - 60, 1800) * 1000 + value(8..11)
        }
        space => {
            let (d_number, added) = match space {
                Space::Fodselsnummer => (0, 0),
                Space::DNummer => (40, 0),
                Space::Fodselsnummer80 => (0, 80),
                Space::DNummer80 => (40, 80),
                _ => unreachable!("not in the test registers"),
            };
            let weights = [3, 7, 6, 1, 8, 9, 4, 5, 2, 1];
            let remainder = digits.iter().zip(weights).map(|(digit, weight)| digit * weight).sum::<u32>() % 11;
            let slot = days(2000, value(2..4) - added, value(0..2) - d_number, 2000);
            remainder * 36_600_000 + (value(4..6) * 366 + slot) * 1000 + value(6..9)
        }
    };
    number(&row[1]) as u32 + within
}

fn recipients(register: &Register) -> Vec<(Identity, Recipient)> {
    let mut recipients = Vec::new();
    let read = register.for_each::<nabar::register::Damage>(|identity, recipient| {
        recipients.push((*identity, recipient));
        Ok(())
    });
    read.expect("whole");
    recipients
}

#[test]
fn header_and_section_table_are_as_documented() {
    let registers = Registers::new();
    let text = document("format.md");
    let documented: Vec<String> =
        table(&text, "Header")[0][4].split(['`', ':']).nth(1).expect("bytes").split(' ').map(Into::into).collect();
    assert_eq!(documented, MAGIC.map(|byte| format!("{byte:02X}")));
    for kind in ["far", "krr"] {
        let path = registers.file(kind);
        let (snapshot, parsed) = (Snapshot::open(&path).expect("open"), Parsed::new(&path));
        let (file, header) = (&parsed.file, Layout::of(&table(&text, "Header"), HEADER_BYTES));
        assert_eq!(header.bytes(file, "magic"), MAGIC);
        assert_eq!(header.get(file, "version"), u64::from(VERSION));
        assert_eq!(header.get(file, "kind"), if kind == "far" { 1 } else { 2 });
        assert_eq!(header.get(file, "sequence"), snapshot.header().sequence);
        assert_eq!(header.get(file, "as_of") as i64, snapshot.header().as_of);
        assert_eq!(header.get(file, "file_bytes"), file.len() as u64);
        assert_eq!(header.get(file, "recipients"), snapshot.header().recipients);
        assert_eq!(header.get(file, "reserved_1"), 0);
        let entries = &file[HEADER_BYTES..][..snapshot.sections().len() * ENTRY_BYTES];
        assert_eq!(header.bytes(file, "table_sum"), blake3::hash(entries).as_bytes());
        assert_eq!(header.bytes(file, "header_sum"), blake3::hash(&file[..96]).as_bytes());
        let entry = Layout::of(&table(&text, "Section table"), ENTRY_BYTES);
        let mut end = HEADER_BYTES + entries.len();
        for (bytes, expected) in entries.chunks(ENTRY_BYTES).zip(snapshot.sections()) {
            let offset = entry.get(bytes, "offset");
            assert_eq!(entry.get(bytes, "section"), expected.section as u64);
            assert_eq!(entry.get(bytes, "width"), u64::from(expected.width));
            assert_eq!((offset, entry.get(bytes, "bytes")), (expected.offset, expected.bytes));
            assert_eq!((offset % ALIGNMENT, entry.get(bytes, "reserved_2")), (0, 0));
            assert!(file[end..offset as usize].iter().all(|&byte| byte == 0), "between the sections");
            end = (offset + expected.bytes) as usize;
            let sum = blake3::hash(&file[offset as usize..end]);
            assert_eq!(entry.bytes(bytes, "sum"), sum.as_bytes());
        }
        assert_eq!(end, file.len());
    }
}

#[test]
fn sections_spaces_and_limits_are_as_documented() {
    let text = document("format.md");
    for (kind, name) in [(nabar::register::Kind::Far, "FaR"), (nabar::register::Kind::Krr, "KRR")] {
        let documented: Vec<_> = table(&text, "Sections").into_iter().filter(|row| [name, "both"].contains(&&row[2][..])).collect();
        let expected = Section::of_kind(kind).map(|section| {
            let widths: Vec<_> = section.widths().iter().map(u32::to_string).collect();
            [(section as u32).to_string(), section.name().to_owned(), widths.join(", ")]
        });
        let documented: Vec<_> = documented.iter().map(|row| [&row[0], &row[1], &row[3]].map(Clone::clone)).collect();
        assert_eq!(documented, expected.collect::<Vec<_>>());
    }
    let spaces = Space::ALL.map(|space| {
        let ordinals = space.ordinals();
        [space.name().to_owned(), ordinals.start.to_string(), ordinals.len().to_string()]
    });
    assert_eq!(table(&text, "Ordinals"), spaces);
    assert_eq!(first_column(&table(&document("identities.md"), "Names of the identity spaces")), Space::ALL.map(Space::name));
    let (sweden, norway) = (Country::Sweden.ordinals(), Country::Norway.ordinals());
    let ends = [sweden.start, sweden.end - 1, norway.start, norway.end - 1];
    let [a, b, c, d] = ends;
    let sentence = format!("Sweden's ordinals are {a} to {b}, Norway's {c} to {d}");
    assert!(text.contains(&sentence), "{sentence}");
    let blocks = [sweden.len(), norway.len()].map(|ordinals| ordinals as u32 / limits::BLOCK_ORDINALS);
    let sentence = format!("{} elements for Sweden, {}\nfor Norway", blocks[0], blocks[1]);
    assert!(text.contains(&sentence), "{sentence}");
    let (page, pages, block) = (limits::PAGE_ORDINALS, limits::BLOCK_PAGES, limits::BLOCK_ORDINALS);
    let sentence = format!("A page covers {page} ordinals, a block {pages} pages: {block} ordinals.");
    assert!(text.contains(&sentence), "{sentence}");
    let most = [
        limits::OPERATORS_MAX,
        limits::SENDERS_MAX,
        limits::DISPATCHERS_MAX,
        limits::RECIPIENTS_MAX,
        limits::CONTACT_BYTES_MAX,
    ];
    assert_eq!(table(&text, "Limits").iter().map(|row| number(&row[1])).collect::<Vec<_>>(), most);
    let report = document("report.md");
    assert!(report.contains(&format!("within {} bytes of the beginning of the row", limits::ROW_BYTES_MAX)));
    assert_eq!((limits::SAMPLE_BYTES, limits::SAMPLE_ROWS), (1 << 20, 1000));
    assert!(report.contains("the first mebibyte of the list, at most 1001 rows"));
}

#[test]
fn organisations_are_archived_as_documented() {
    let registers = Registers::new();
    let parsed = Parsed::new(&registers.file("far"));
    let register = Snapshot::open(&registers.file("far")).expect("open").register().expect("register");
    let lists = tables(&section(&parsed.document, "actors"));
    let root = parsed.bytes("actors").len() - Layout::of(&lists[0], 24).0.len() * 8;
    let width = |name: &str| lists[1].iter().find(|row| row[0] == name).map(|row| number(&row[1])).expect(name);
    let texts = |at: usize, count: usize| (0..count).map(|n| parsed.text(at + 8 * n)).collect::<Vec<_>>();
    let operators: Vec<_> =
        parsed.vector(root, width("operator")).into_iter().map(|at| texts(at, 6)).collect();
    let expected = register.operators().iter().map(|o| {
        [&o.id, &o.name, &o.service_address, &o.ui_address, &o.internal_service_address, &o.logo].map(String::clone)
    });
    assert_eq!(operators, expected.collect::<Vec<_>>());
    let senders: Vec<_> = parsed.vector(root + 8, width("sender")).into_iter().map(|at| texts(at, 3)).collect();
    let expected = register.senders().iter().map(|s| [&s.id, &s.name, &s.attention].map(String::clone));
    assert_eq!(senders, expected.collect::<Vec<_>>());
    let dispatchers: Vec<_> = parsed.vector(root + 16, width("dispatcher"));
    assert_eq!(dispatchers.len(), register.dispatchers().len());
    for (at, expected) in dispatchers.into_iter().zip(register.dispatchers()) {
        assert_eq!(texts(at, 2), [&expected.id[..], &expected.name]);
        let places = parsed.vector(at + 16, 2).into_iter();
        let places: Vec<u16> = places.map(|at| unsigned(&parsed.bytes("actors")[at..at + 2]) as u16).collect();
        assert_eq!(places, expected.senders);
    }
}
