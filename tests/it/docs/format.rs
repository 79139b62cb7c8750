//! `docs/format.md`: register files decoded by the document's tables.

use super::registers::Registers;
use super::{document, first_column, number, recipients, section, table, tables};
use nabar::identities::{Country, Identity, Space};
use nabar::limits;
use nabar::register::{AccountType, KrrState, OperatorIndex, Recipient, SenderIndex, StateRule};
use nabar::snapshot::Snapshot;
use nabar::snapshot::format::{ALIGNMENT, ENTRY_BYTES, HEADER_BYTES, MAGIC, Section};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// A documented structure: offset and length of each field.
pub(crate) struct Layout(Vec<(String, usize, usize)>);

impl Layout {
    /// From a table with the columns offset, bytes, type, field; the fields fill `bytes` without gaps.
    pub(crate) fn of(table: &[Vec<String>], bytes: usize) -> Layout {
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

    pub(crate) fn bytes<'b>(&self, structure: &'b [u8], field: &str) -> &'b [u8] {
        let found = self.0.iter().find(|(name, ..)| name == field);
        let (_, offset, length) = found.unwrap_or_else(|| panic!("{field} is not documented"));
        &structure[*offset..offset + length]
    }

    pub(crate) fn get(&self, structure: &[u8], field: &str) -> u64 {
        unsigned(self.bytes(structure, field))
    }
}

pub(crate) fn unsigned(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte))
}

/// A register file, decoded by the document.
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

    /// Offsets of the elements of a vector of the archive.
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

    /// Directory index, block entry and record number of an ordinal that is present.
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

/// The ordinal of an identity, computed as documented.
pub(crate) fn documented_ordinal(document: &str, identity: &Identity) -> u32 {
    let spaces = table(document, "Ordinals");
    let row = spaces.iter().find(|row| row[0] == identity.space().name()).expect("a documented space");
    let digits: Vec<u32> = identity.as_str().bytes().map(|digit| u32::from(digit - b'0')).collect();
    let value =
        |range: std::ops::Range<usize>| digits[range].iter().fold(0, |value, digit| value * 10 + digit);
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
            let remainder =
                digits.iter().zip(weights).map(|(digit, weight)| digit * weight).sum::<u32>() % 11;
            let slot = days(2000, value(2..4) - added, value(0..2) - d_number, 2000);
            remainder * 36_600_000 + (value(4..6) * 366 + slot) * 1000 + value(6..9)
        }
    };
    number(&row[1]) as u32 + within
}

/// A packed contact, taken off the beginning of `packed` by the table of its fields.
pub(crate) fn documented_contact(
    fields: &[Vec<String>],
    packed: &mut &[u8],
    certificate: impl Fn(usize) -> String,
) -> serde_json::Map<String, Value> {
    let mut take = |count: usize| {
        let (head, rest) = packed.split_at(count);
        *packed = rest;
        head
    };
    let mask = unsigned(take(4));
    let is_set = |bit: &str| mask >> number(bit) & 1 == 1;
    let mut found = serde_json::Map::new();
    for row in fields.iter().filter(|row| is_set(&row[0])) {
        let text = match &row[1][..] {
            "time" => jiff::Timestamp::from_nanosecond(i128::from(unsigned(take(8)) as i64))
                .expect("time")
                .to_string(),
            "text" => {
                let length = unsigned(take(2)) as usize;
                String::from_utf8(take(length).to_vec()).expect("text")
            }
            "certificate" => certificate(unsigned(take(4)) as usize),
            "known" => "NEI".to_owned(),
            "yes" => "JA".to_owned(),
            other => panic!("{other}"),
        };
        found.insert(row[2].clone(), text.into());
    }
    found
}

/// The fields of a person, except those stored elsewhere: identity, reservation, status, operator.
pub(crate) fn flattened(person: Value) -> serde_json::Map<String, Value> {
    let mut fields = serde_json::Map::new();
    let Value::Object(person) = person else { panic!("an object") };
    for (name, value) in person {
        match value {
            Value::Object(inner) => fields.extend(inner),
            value => _ = fields.insert(name, value),
        }
    }
    for name in ["personidentifikator", "reservasjon", "status", "postkasseleverandoeradresse"] {
        fields.remove(name);
    }
    fields
}

#[test]
fn header_and_section_table_are_as_documented() {
    let registers = Registers::new();
    let text = document("format.md");
    let documented: Vec<String> =
        table(&text, "Header")[0][4].split('`').next().expect("bytes").split(' ').map(Into::into).collect();
    assert_eq!(documented, MAGIC.map(|byte| format!("{byte:02X}")));
    for kind in ["far", "krr"] {
        let path = registers.file(kind);
        let (snapshot, parsed) = (Snapshot::open(&path).expect("open"), Parsed::new(&path));
        let (file, header) = (&parsed.file, Layout::of(&table(&text, "Header"), HEADER_BYTES));
        assert_eq!(header.bytes(file, "magic"), MAGIC);
        assert_eq!(header.get(file, "version"), u64::from(snapshot.header().version()));
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
        let documented: Vec<_> = table(&text, "Sections")
            .into_iter()
            .filter(|row| [name, "both", "with a scope"].contains(&&row[2][..]))
            .collect();
        let expected = Section::of(kind, true).map(|section| {
            let widths: Vec<_> = section.widths().iter().map(u32::to_string).collect();
            [(section as u32).to_string(), section.name().to_owned(), widths.join(", ")]
        });
        let documented: Vec<_> =
            documented.iter().map(|row| [&row[0], &row[1], &row[3]].map(Clone::clone)).collect();
        assert_eq!(documented, expected.collect::<Vec<_>>());
    }
    let spaces = Space::ALL.map(|space| {
        let ordinals = space.ordinals();
        [space.name().to_owned(), ordinals.start.to_string(), ordinals.len().to_string()]
    });
    assert_eq!(table(&text, "Ordinals"), spaces);
    assert_eq!(
        first_column(&table(&document("identities.md"), "Names of the identity spaces")),
        Space::ALL.map(Space::name)
    );
    let (sweden, norway) = (Country::Sweden.ordinals(), Country::Norway.ordinals());
    let ends = [sweden.start, sweden.end - 1, norway.start, norway.end - 1];
    let [a, b, c, d] = ends;
    let sentence = format!("Sweden's ordinals are {a} to {b}, Norway's {c} to {d}");
    assert!(text.contains(&sentence), "{sentence}");
    let later = Space::SamordningsnummerUnknownDate.ordinals().start..Country::Sweden.span().end;
    let sentence = format!("{} to {} too", later.start, later.end - 1);
    assert!(text.contains(&sentence), "{sentence}");
    let sentence = format!("it has {} elements", later.end / limits::BLOCK_ORDINALS);
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
    let report = document("lists.md");
    assert!(report.contains(&format!("within {} bytes of the beginning of the row", limits::ROW_BYTES_MAX)));
    assert_eq!((limits::SAMPLE_BYTES, limits::SAMPLE_ROWS), (1 << 20, 1000));
    assert!(report.contains("the first mebibyte of the list, at most 1001 rows"));
}

#[test]
fn organisations_are_archived_as_documented() {
    let registers = Registers::new();
    let parsed = Parsed::new(&registers.file("far"));
    let register = Snapshot::open(registers.file("far")).expect("open").register().expect("register");
    let lists = tables(&section(&parsed.document, "actors"));
    let root = parsed.bytes("actors").len() - Layout::of(&lists[0], 24).0.len() * 8;
    let width =
        |name: &str| lists[1].iter().find(|row| row[0] == name).map(|row| number(&row[1])).expect(name);
    let texts = |at: usize, count: usize| (0..count).map(|n| parsed.text(at + 8 * n)).collect::<Vec<_>>();
    let operators: Vec<_> =
        parsed.vector(root, width("operator")).into_iter().map(|at| texts(at, 6)).collect();
    let expected = register.operators().iter().map(|o| {
        [&o.id, &o.name, &o.service_address, &o.ui_address, &o.internal_service_address, &o.logo]
            .map(String::clone)
    });
    assert_eq!(operators, expected.collect::<Vec<_>>());
    let senders: Vec<_> =
        parsed.vector(root + 8, width("sender")).into_iter().map(|at| texts(at, 3)).collect();
    let expected = register.senders().iter().map(|s| [&s.id, &s.name, &s.attention].map(String::clone));
    assert_eq!(senders, expected.collect::<Vec<_>>());
    let dispatchers: Vec<_> = parsed.vector(root + 16, width("dispatcher"));
    assert_eq!(dispatchers.len(), register.dispatchers().len());
    for (at, expected) in dispatchers.into_iter().zip(register.dispatchers()) {
        assert_eq!(texts(at, 2), [&expected.id[..], &expected.name]);
        let places = parsed.vector(at + 16, 2).into_iter();
        let places: Vec<_> =
            places.map(|at| SenderIndex::new(unsigned(&parsed.bytes("actors")[at..at + 2]) as u16)).collect();
        assert_eq!(places, expected.senders);
    }
}

/// All fields that decide the outcome of a recipient, read from the file as documented.
#[test]
fn far_recipients_are_stored_as_documented() {
    let registers = Registers::new();
    let parsed = Parsed::new(&registers.file("far"));
    let register = Snapshot::open(registers.file("far")).expect("open").register().expect("register");
    let (blocks, states) = (parsed.layout("blocks"), parsed.layout("states"));
    let all = recipients(&register);
    let (mut listed, mut shared) = (0, 0);
    assert_eq!(all.len(), parsed.length("records") - 1);
    for (identity, recipient) in &all {
        let ordinal = documented_ordinal(&parsed.document, identity);
        let (_, entry, record) = parsed.find(Country::Sweden.ordinals().start, ordinal).expect("present");
        let Recipient::Far { state, rule, last_registration, last_sender_accept_change } = recipient else {
            panic!("a recipient of FaR")
        };
        let documented = parsed.element("states", parsed.get("records", record));
        let (detail, flags) = (states.get(documented, "detail"), states.get(documented, "flags"));
        let account = [AccountType::Not, AccountType::Anonymous, AccountType::Secure];
        assert_eq!(account[parsed.flag(flags, "account_type") as usize], state.account_type);
        assert_eq!(parsed.flag(flags, "pending") == 1, state.pending);
        assert_eq!(parsed.flag(flags, "present"), 1);
        let operator = state.operator.map_or(0, |operator| u64::from(operator.get()) + 1);
        assert_eq!(states.get(documented, "operator"), operator);
        let rule_number = if parsed.flag(flags, "listed") == 1 {
            listed += 1;
            assert_eq!((detail, state.rule), (0, StateRule::Listed));
            let place = record - blocks.get(entry, "first_record") as usize;
            let first = blocks.get(entry, "first_exception") as usize;
            let mut exceptions = first..first + blocks.get(entry, "exceptions") as usize;
            let found = exceptions.find(|&at| parsed.get("exception_places", at) == place);
            parsed.get("exception_rules", found.expect("an exception"))
        } else {
            shared += usize::from(detail != 0);
            detail as usize
        };
        let (head, next) = (parsed.get("rule_heads", rule_number), parsed.get("rule_heads", rule_number + 1));
        let member = |at| SenderIndex::new(parsed.get("rule_members", at) as u16);
        let members: Vec<_> = (head >> 1..next >> 1).map(member).collect();
        assert_eq!((head & 1 == 1, &members), (rule.acceptance.name() == "only", &rule.senders));
        let columns = [
            ("last_registration", last_registration),
            ("last_sender_accept_change", last_sender_accept_change),
        ];
        for (column, time) in columns {
            let value = unsigned(parsed.element(column, record));
            let none = if parsed.sections[column].0 == 4 { 4_294_967_295 } else { 1 << 63 };
            let unit = if parsed.sections[column].0 == 4 { 1_000_000_000 } else { 1 };
            let time = time.map(|time| time.as_nanosecond());
            assert_eq!((value != none).then_some(i128::from(value) * unit), time, "{column}");
        }
    }
    assert!(listed > 20 && shared > 20, "both kinds of rules: {listed} and {shared}");
    assert_eq!(
        [parsed.sections["last_registration"].0, parsed.sections["last_sender_accept_change"].0],
        [4, 8]
    );
}

#[test]
fn krr_persons_are_stored_as_documented() {
    let registers = Registers::new();
    let parsed = Parsed::new(&registers.file("krr"));
    let register = Snapshot::open(registers.file("krr")).expect("open").register().expect("register");
    let (blocks, states) = (parsed.layout("blocks"), parsed.layout("states"));
    let fields = table(&parsed.document, "contact_places and contacts");
    let heads: Vec<u64> = parsed.bytes("rule_heads").chunks(4).map(unsigned).collect();
    assert_eq!(heads, [0, 0], "rule 0 only");
    for (identity, recipient) in recipients(&register) {
        let ordinal = documented_ordinal(&parsed.document, &identity);
        let (_, entry, record) = parsed.find(Country::Norway.ordinals().start, ordinal).expect("present");
        let Recipient::Krr { state, person } = recipient else { panic!("a person of KRR") };
        let documented = parsed.element("states", parsed.get("records", record));
        let (flags, operator) = (states.get(documented, "flags"), states.get(documented, "operator") as u16);
        let flag = |name| parsed.flag(flags, name) == 1;
        let (reserved, deleted, mailbox) = (flag("reserved"), flag("deleted"), flag("mailbox"));
        let expires = states.get(documented, "detail") as u32;
        assert_eq!(
            state,
            KrrState {
                reserved,
                deleted,
                operator: operator.checked_sub(1).map(OperatorIndex::new),
                mailbox,
                expires
            }
        );

        let start = blocks.get(entry, "first_contact") as usize + parsed.get("contact_places", record);
        let mut packed = &parsed.bytes("contacts")[start..];
        let found = documented_contact(&fields, &mut packed, |place| {
            let start = place.checked_sub(1).map_or(0, |before| parsed.get("certificate_ends", before));
            let text = &parsed.bytes("certificates")[start..parsed.get("certificate_ends", place)];
            String::from_utf8(text.to_vec()).expect("text")
        });
        // The ordinal and the state hold the rest.
        assert_eq!(found, flattened(serde_json::to_value(&person).expect("JSON")));
    }
}

#[test]
fn block_checksums_are_as_documented() {
    let registers = Registers::new();
    for kind in ["far", "krr"] {
        let parsed = Parsed::new(&registers.file(kind));
        let layout = parsed.layout("blocks");
        let (mut next, mut far) = (1, kind == "far");
        for place in (0..parsed.length("directory")).filter(|&place| parsed.get("directory", place) != 0) {
            let block = parsed.get("directory", place);
            assert_eq!(block, next, "entries are numbered in order");
            next += 1;
            let entry = parsed.element("blocks", block);
            let part = |section: &str, first: &str, count: &str| {
                let width = parsed.sections[section].0;
                let (first, count) = (layout.get(entry, first) as usize, layout.get(entry, count) as usize);
                parsed.bytes(section)[first * width..][..count * width].to_vec()
            };
            let records = |section| part(section, "first_record", "records");
            let exceptions = |section| part(section, "first_exception", "exceptions");
            let place = (place as u32).to_le_bytes().to_vec();
            let pages = parsed.bytes("pages")[block * 32 * 64..][..32 * 64].to_vec();
            let hot = [
                place.clone(),
                entry[..32].to_vec(),
                pages,
                records("records"),
                exceptions("exception_places"),
                exceptions("exception_rules"),
            ];
            let cold = match kind {
                "far" => [place, records("last_registration"), records("last_sender_accept_change")],
                _ => [place, records("contact_places"), part("contacts", "first_contact", "contact_bytes")],
            };
            let sum = |parts: &[Vec<u8>]| xxhash_rust::xxh3::xxh3_128(&parts.concat()).to_le_bytes();
            assert_eq!(layout.bytes(entry, "hot_sum"), sum(&hot));
            assert_eq!(layout.bytes(entry, "cold_sum"), sum(&cold));
            far |= layout.get(entry, "exceptions") > 0;
        }
        assert!(next > 100 && far == (kind == "far"));
        assert_eq!(parsed.length("blocks"), next);
        assert!(parsed.element("blocks", 0).iter().all(|&byte| byte == 0));
    }
}
