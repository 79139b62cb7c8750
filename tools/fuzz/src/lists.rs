//! Lists against the model, which decides the form of a list and cuts it into rows byte by byte.
//!
//! An input is not a list but how one is put together: bytes below 128 stand for themselves, the others for words, ids,
//! line ends and separators. So inputs have valid identities and known names, which random bytes never have. All single
//! letters are one letter: the model knows only those words of headers and placeholders that `docs/lists.md` lists.

use crate::data::{DATE, DAY, Known, head, new_directory, of};
use crate::model::expected::{Expected, expected};
use crate::model::form::{Header, ListOptions as ModelOptions};
use crate::model::lists::List;
use nabar::mailing::{
    Duplicates, ListError, ListOptions, Mailing, Report, StreamLimits, TwoIds, check_stream,
};
use nabar::rejected::RejectedLimit;
use nabar::{Destination, Today};
use serde_json::Value;
use std::fs;
use std::io::Cursor;
use std::path::Path;

/// Words of headers, of ends and of cells, beginning with byte 128.
const WORDS: [&str; 40] = [
    "Personnummer",
    "pnr",
    "Person-nr",
    "Fødselsnummer",
    "fnr",
    "Organisationsnummer",
    "Åäö",
    "Namn",
    "Adress",
    "Postnr",
    "Ort",
    "Belopp",
    "Navn",
    "Stockholm",
    "Mottagarens pnr",
    "Personnummer (12 siffror)",
    "Totalsumma",
    "Antal rader",
    "EOF",
    "Totalt: 12 st",
    "skyddad",
    "saknas",
    "okänd",
    "Ek, Kalle",
    "Åsa Öst",
    "Storgatan 1",
    "12345",
    "123 45",
    "070-123456",
    "8,50",
    "2026-06-01",
    "1,98501E+11",
    "sep=;",
    "sep=,",
    "",
    "q",
    "0",
    "uppdatering",
    "12345678",
    "20260601",
];

/// Separators, line ends and marks after the words and the ids.
const MARKS: [&[u8]; 24] = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\r\r\n",
    b"\n\n",
    b";",
    b",",
    b"\t",
    b"|",
    b"\"",
    b"\"\"",
    b"\";\"",
    b"\"\n",
    b"=\"",
    b"'",
    b"\xC2\xA0",
    b"\xEF\xBB\xBF",
    b"\xE2\x80\x8B",
    b"\x1A",
    b"\0",
    b"\xC2\x85",
    b"\xE5",
    b"\x96",
    b"\xFF",
];

/// An id in one of the spellings that lists have, or with an error.
fn id(known: &Known, number: u8) -> String {
    let ids = &known.model.ids;
    let id = &ids[usize::from(number / 8) % ids.len()];
    let tail = id.len() - if id.len() == 12 { 4 } else { 5 };
    match number % 8 {
        0 | 1 => id.clone(),
        2 => format!("{}-{}", &id[..tail], &id[tail..]),
        3 if id.len() == 12 => id[2..].to_owned(),
        4 if id.len() == 12 => format!("{}-{}", &id[2..tail], &id[tail..]),
        5 => format!("{} {}", &id[..tail], &id[tail..]),
        6 => format!("{}.0", id.trim_start_matches('0')),
        7 => {
            let last = id.as_bytes()[id.len() - 1];
            format!("{}{}", &id[..id.len() - 1], if last == b'9' { '0' } else { char::from(last + 1) })
        }
        _ => format!("'{id}"),
    }
}

/// The bytes of a list.
fn list_bytes(known: &Known, data: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for &byte in data {
        match byte {
            b'a'..=b'z' => bytes.push(b'q'),
            b'A'..=b'Z' => bytes.push(b'Q'),
            0..128 => bytes.push(byte),
            128..168 => bytes.extend_from_slice(WORDS[usize::from(byte - 128)].as_bytes()),
            168..232 => bytes.extend_from_slice(id(known, byte - 168).as_bytes()),
            232.. => bytes.extend_from_slice(MARKS[usize::from(byte - 232)]),
        }
    }
    bytes
}

/// The options in the first bytes of an input. Most inputs have none.
fn options(choice: [u8; 4]) -> (ModelOptions, ListOptions) {
    let [flags, form, first, second] = choice;
    let column = |byte: u8| match byte {
        1..=4 => Some(byte.to_string()),
        5 => Some("pnr".to_owned()),
        6 => Some("Personnummer".to_owned()),
        7 => Some("namn".to_owned()),
        _ => None,
    };
    let ids: Vec<String> = [column(first & 15), column(first >> 4)].into_iter().flatten().collect();
    let expected_ids: Vec<String> = column(second & 15).into_iter().collect();
    let header = match form & 7 {
        1 => Header::Yes,
        2 => Header::No,
        _ => Header::Auto,
    };
    let delimiter =
        [None, None, Some(b';'), Some(b','), Some(b'\t'), Some(b'|'), None, None][usize::from(form >> 3 & 7)];
    let fixed = [None, None, Some((0, 12)), Some((0, 11)), Some((5, 12)), None][usize::from(second >> 4) % 6];
    let skip_rows = usize::from(form >> 6);
    let (both, strict, drops_skipped) = (flags & 4 != 0, flags & 8 != 0, flags & 16 != 0);
    let options = ListOptions {
        delimiter,
        id_columns: ids.clone(),
        two_ids: if both { TwoIds::Both } else { TwoIds::FirstReachable },
        expected_ids: expected_ids.clone(),
        strict_rows: strict,
        every_cell: false,
        skip_rows: skip_rows as u64,
        drop_skipped: drops_skipped,
        id_at: fixed,
        cell_columns: Vec::new(),
        other_country: None,
        header: match header {
            Header::Auto => None,
            Header::Yes => Some(true),
            Header::No => Some(false),
        },
        sheet: None,
        run: None,
    };
    let both = both && ids.len() == 2;
    (
        ModelOptions { delimiter, header, ids, both, expected_ids, skip_rows, drops_skipped, strict, fixed },
        options,
    )
}

/// A list of an input, how nabar gets it, and what the model expects.
struct Case {
    known: &'static Known,
    list: List,
    options: ListOptions,
}

impl Case {
    /// `None` for options that the command line does not accept.
    fn of(data: &[u8]) -> Option<Case> {
        let (choice, rest) = head::<4>(data);
        let known = of(choice[0] & 1 != 0);
        let (model_options, options) = options(choice);
        if options.id_at.is_some()
            && (options.delimiter.is_some()
                || !options.id_columns.is_empty()
                || !options.expected_ids.is_empty())
        {
            return None;
        }
        let mut list = List::new(vec![list_bytes(known, rest)], 1, model_options);
        (list.day, list.set_aside) = (DAY, choice[0] & 2 != 0);
        Some(Case { known, list, options })
    }

    fn expected(&self) -> Result<Expected, i32> {
        expected(&self.list, &self.list.bytes(), &self.known.model)
    }

    /// Runs a job on the list, with the options of the case.
    fn with<T>(&self, path: &Path, job: impl FnOnce(&Mailing<'_>) -> T) -> T {
        let sender = self.known.model.senders.get(self.list.sender).map(|(id, _)| id.as_str());
        let question = self.known.register.question(sender, DATE).expect("a question");
        let mut mailing = Mailing::new(&question, path);
        mailing.options = self.options.clone();
        mailing.today = Today::from_date(DATE).expect("a day");
        mailing.max_rejected = RejectedLimit::Percent(100.0);
        mailing.threads = 1;
        if self.list.set_aside {
            mailing.duplicates = Duplicates::SetAside;
        }
        job(&mailing)
    }

    fn differs(&self, what: &str, expected: impl std::fmt::Display, found: impl std::fmt::Display) -> ! {
        let (arguments, bytes) = (self.list.options.arguments(), self.list.bytes());
        let kind = self.known.model.kind();
        panic!(
            "{what} ({kind}): expected {expected}, found {found}\n{arguments:?}\n\"{}\"",
            bytes.escape_ascii()
        )
    }

    /// A job that the model expects to be refused, or to be done.
    fn refuses(&self, expected: Result<Expected, i32>, found: Result<Report, ListError>) -> ! {
        let short = |report: &Value| {
            let mut list = report["list"].clone();
            list.as_object_mut().map(|list| list.remove("digest"));
            format!("{list} {} {}", report["outcomes"], report["reasons"])
        };
        let expected = expected.map_or_else(|code| code.to_string(), |expected| short(&expected.report));
        let found = found.map(|report| short(&serde_json::to_value(report).expect("JSON")));
        self.differs("refusal", expected, found.unwrap_or_else(|error| error.to_string()))
    }

    /// The refusal that the model expects, which has no markup and does not guess what a list without identities is.
    fn compare_refusal(&self, expected: i32, error: &ListError) {
        let code = match error {
            ListError::NotAList(_) => return,
            ListError::NotRows { .. } => 2,
            error if error.is_refusal() => 3,
            error if error.is_usage() => 2,
            _ => 1,
        };
        if code != expected {
            self.differs("exit code", expected, format!("{code}: {error}"));
        }
    }

    /// The figures that the model expects.
    fn compare_report(&self, expected: &Value, found: &Value) {
        let all_rejected = expected["outcomes"]["rejected"] == expected["list"]["rows"];
        // The model decodes letters only.
        let is_utf8 = expected["list"]["encoding"] != "windows-1252";
        for (name, value) in expected.as_object().expect("an object") {
            match (name.as_str(), value) {
                ("files", _) if found["files"].is_null() => {}
                ("operators", _) if found["files"].is_null() => {
                    let rows = |report: &Value| {
                        let operators = report["operators"].as_array().expect("operators").iter();
                        operators.map(|operator| operator["rows"].clone()).collect::<Vec<_>>()
                    };
                    if rows(expected) != rows(found) {
                        self.differs(name, value, &found[name]);
                    }
                }
                ("list" | "register", Value::Object(names)) => {
                    for (inner, value) in names {
                        // Without identities there is no mix-up, and the number of columns is not specified.
                        let is_open = inner == "columns" && all_rejected || inner == "id_column" && !is_utf8;
                        // Nor is how blanks and quotation marks in a name are shown, and a blank name is none.
                        let shown = |value: &Value| match value.as_str() {
                            Some(text) => text.trim().replace('"', "").into(),
                            None => value.clone(),
                        };
                        let is_open = is_open || shown(value) == "";
                        if !is_open && shown(value) != shown(&found[name][inner]) {
                            self.differs(inner, value, &found[name][inner]);
                        }
                    }
                }
                _ if *value != found[name] => self.differs(name, value, &found[name]),
                _ => {}
            }
        }
    }
}

/// The report of a list.
pub(crate) fn check(data: &[u8]) {
    let Some(case) = Case::of(data) else { return };
    let bytes = case.list.bytes();
    let report = case.with(Path::new("-"), |mailing| {
        check_stream(mailing, Box::new(Cursor::new(bytes)), StreamLimits::default())
    });
    match (case.expected(), report) {
        (Ok(expected), Ok(report)) => {
            case.compare_report(&expected.report, &serde_json::to_value(&report).expect("JSON"));
        }
        (Err(code), Err(error)) => case.compare_refusal(code, &error),
        (Ok(_), Err(ListError::NotAList(_))) => {}
        (expected, report) => case.refuses(expected, report),
    }
}

/// The files of a split.
pub(crate) fn split(data: &[u8]) {
    let Some(case) = Case::of(data) else { return };
    let (path, out) = (new_directory(), new_directory());
    fs::write(&path, case.list.bytes()).expect("written");
    let report = case.with(&path, |mailing| nabar::split(mailing, &Destination::new(&out)));
    match (case.expected(), report) {
        (Ok(expected), Ok(report)) => {
            case.compare_report(&expected.report, &serde_json::to_value(&report).expect("JSON"));
            for (name, content) in &expected.files {
                let found =
                    fs::read(out.join(name)).unwrap_or_else(|error| case.differs(name, "a file", error));
                if *content != found {
                    case.differs(name, content.escape_ascii(), found.escape_ascii());
                }
            }
        }
        (Err(code), Err(error)) => {
            case.compare_refusal(code, &error);
            assert!(!out.exists(), "refused, and an output is there");
        }
        (Ok(_), Err(ListError::NotAList(_))) => {}
        (expected, report) => case.refuses(expected, report),
    }
    let _ = fs::remove_file(&path);
    let _ = fs::remove_dir_all(&out);
}
