//! Jobs as the library runs them: detection, limits, interruption. The naive model of whole splits is in
//! `tests/model.rs`.

use super::*;
use crate::register::Register;
use crate::snapshot::Snapshot;
use std::fs;

struct Bench {
    directory: tempfile::TempDir,
    register: Register,
}

/// Two persons, an organisation and a sender that the fixture `far` has.
const FIRST: &str = "196810199809";
const SECOND: &str = "195904109807";

impl Bench {
    fn new() -> Bench {
        let directory = tempfile::tempdir().expect("directory");
        let file = directory.path().join("far.nabar");
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/far");
        crate::extract::build(&fixture, &file, true).expect("built");
        let register = Snapshot::open(&file).and_then(|snapshot| snapshot.register()).expect("whole");
        Bench { directory, register }
    }

    fn run<T>(&self, list: &[u8], job: impl FnOnce(&mut Mailing<'_>) -> T) -> T {
        let path = self.directory.path().join("list");
        fs::write(&path, list).expect("written");
        let sender = &self.register.senders()[0].id;
        let question = self.register.question(Some(sender), jiff::civil::date(2026, 6, 1)).expect("asked");
        let mut mailing = Mailing {
            question: &question,
            list: &path,
            options: ListOptions::default(),
            today: Today::new(2026, 6, 1).expect("a day"),
            duplicates: Duplicates::Keep,
            max_rejected: None,
            prices: None,
            threads: 2,
            progress: &(),
        };
        job(&mut mailing)
    }

    fn check(&self, list: &[u8]) -> Result<Report, ListError> {
        self.run(list, |mailing| check(mailing))
    }
}

fn list(delimiter: &str, header: &str, rows: usize) -> String {
    let mut list = header.replace(';', delimiter);
    for row in 0..rows {
        let id = if row % 2 == 0 { FIRST } else { SECOND };
        list.push_str(&format!("{row};Name {row};{id};12,50\n").replace(';', delimiter));
    }
    list
}

#[test]
fn the_form_of_a_list_is_told() {
    let bench = Bench::new();
    for (delimiter, header, column) in [
        (";", "nr;namn;personnummer;belopp\n", "personnummer"),
        (",", "nr;namn;personnummer;öre;belopp\n", "personnummer"),
        ("\t", "nr;namn;Person-/org.nr;belopp\n", "Person-/org.nr"),
        ("|", "nr;namn;whatever;belopp\n", "whatever"),
        (";", "", "3"),
    ] {
        let report = bench.check(list(delimiter, header, 40).as_bytes()).expect("told");
        let told = (&report.list.delimiter[..], &report.list.id_column[..], report.list.rows);
        assert_eq!(told, (delimiter, column, 40), "{delimiter:?} {header}");
        assert_eq!(report.outcomes["rejected"], 0);
    }
}

#[test]
fn one_column_needs_no_delimiter() {
    let bench = Bench::new();
    for (text, rows, column) in [
        (format!("{FIRST}\n{SECOND}"), 2, "1"),
        (format!("pnr\r\n{FIRST}\r\n{SECOND}\r\n"), 2, "pnr"),
        (format!("{}-{}\n", &FIRST[..8], &FIRST[8..]), 1, "1"),
        ("not an id\nneither\n".to_owned(), 1, "not an id"),
        (String::new(), 0, "1"),
        ("personnummer\n".to_owned(), 0, "personnummer"),
    ] {
        let report = bench.check(text.as_bytes()).expect("told");
        let told = (&report.list.delimiter[..], &report.list.id_column[..], report.list.rows);
        assert_eq!(told, ("", column, rows), "{text}");
    }
}

#[test]
fn encodings_are_told_and_what_is_no_text_is_refused() {
    let bench = Bench::new();
    let encoding = |bytes: &[u8]| bench.check(bytes).map(|report| report.list.encoding);
    let row = |name: &[u8]| [b"personnummer;namn\n196810199809;", name, b"\n"].concat();
    assert_eq!(encoding(&row("Åsa".as_bytes())).expect("text"), "utf-8");
    assert_eq!(encoding(&[b"\xEF\xBB\xBF", &row(b"Asa")[..]].concat()).expect("text"), "utf-8-bom");
    assert_eq!(encoding(&row(b"\xC5sa")).expect("text"), "windows-1252");
    let mixed = [row("Åsa Öberg".as_bytes()), b"196810199809;\xC5\n".to_vec()].concat();
    assert_eq!(encoding(&mixed).expect("text"), "utf-8", "one broken character among whole ones");
    let utf16: Vec<u8> = "personnummer\n196810199809\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert!(matches!(encoding(&[b"\xFF\xFE", &utf16[..]].concat()), Err(ListError::Utf16)));
    assert!(matches!(encoding(&utf16), Err(ListError::Utf16)));
    assert!(matches!(encoding(b"nabar\r\n\x1a\x01\0\0\0"), Err(ListError::Register)));
    assert!(matches!(encoding(b"PK\x03\x04xl/worksheets"), Err(ListError::Spreadsheet)));
    assert!(matches!(encoding(b"pnr\r196810199809\r"), Err(ListError::CarriageReturns)));
}

#[test]
fn a_column_that_cannot_be_told_is_asked_for_without_content() {
    let bench = Bench::new();
    let two = format!("sökande;granne\n{FIRST};{SECOND}\n{SECOND};{FIRST}\n");
    let error = bench.check(two.as_bytes()).expect_err("two columns").to_string();
    assert!(error.contains("1 \"sökande\" (100 % identities), 2 \"granne\" (100 % identities)"), "{error}");
    let headless = two.split_once('\n').expect("rows").1;
    for text in [headless, "Anna;Åsa\nBo;Eva\n"] {
        let error = bench.check(text.as_bytes()).expect_err("cannot be told").to_string();
        assert!(error.contains("--id-column") && !error.contains(FIRST), "{error}");
    }
    for (name, column) in [("granne", 1), ("GRANNE", 1), ("2", 1), ("1", 0)] {
        let report = bench.run(two.as_bytes(), |mailing| {
            mailing.options.id_column = Some(name.to_owned());
            check(mailing)
        });
        assert_eq!(report.expect("named").list.id_column, ["sökande", "granne"][column]);
    }
    let forced = bench.run(headless.as_bytes(), |mailing| {
        mailing.options =
            ListOptions { id_column: Some("1".into()), header: Some(true), ..ListOptions::default() };
        check(mailing)
    });
    assert!(matches!(forced, Err(ListError::HeaderIsRow)), "a row is not copied to every file");
    for name in ["3", "0", "nobody"] {
        let report = bench.run(two.as_bytes(), |mailing| {
            mailing.options.id_column = Some(name.to_owned());
            check(mailing)
        });
        assert!(report.expect_err("no such column").is_usage());
    }
}

#[test]
fn limits_of_rejected_rows() {
    for (limit, rejected, rows, exceeded) in [
        (RejectedLimit::Rows(0), 0, 10, false),
        (RejectedLimit::Rows(0), 1, 10, true),
        (RejectedLimit::Percent(10.0), 1, 10, false),
        (RejectedLimit::Percent(9.99), 1, 10, true),
        (RejectedLimit::Percent(0.0), 0, 0, false),
    ] {
        assert_eq!(limit.exceeded(rejected, rows), exceeded, "{limit:?} {rejected} of {rows}");
    }
}

struct Impatient(std::sync::atomic::AtomicU64);

impl Progress for Impatient {
    fn advanced(&self, rows: u64, _bytes: u64) {
        self.0.store(rows, std::sync::atomic::Ordering::Relaxed);
    }

    fn interrupted(&self) -> bool {
        self.0.load(std::sync::atomic::Ordering::Relaxed) > 0
    }
}

#[test]
fn an_interrupted_split_leaves_nothing() {
    let bench = Bench::new();
    let out = bench.directory.path().join("out");
    let to = Destination { directory: &out, force: false, sync: false, language: Language::English };
    let impatient = Impatient(0.into());
    let result = bench.run(list(";", "", 200_000).as_bytes(), |mailing| {
        let mailing = Mailing {
            question: mailing.question,
            list: mailing.list,
            options: mailing.options.clone(),
            progress: &impatient,
            ..*mailing
        };
        split(&mailing, &to)
    });
    assert!(matches!(result, Err(ListError::Interrupted)));
    let left: Vec<_> =
        fs::read_dir(bench.directory.path()).expect("read").flatten().map(|e| e.file_name()).collect();
    assert_eq!(left.len(), 3, "the register, its rejected.csv and the list: {left:?}");
}

#[test]
fn a_report_in_both_languages_escapes_what_it_quotes() {
    let bench = Bench::new();
    let report = bench.run(format!("{FIRST}\nx\n").as_bytes(), |mailing| {
        mailing.prices = Some((8.5, 0.9));
        check(mailing)
    });
    let mut report = report.expect("checked");
    report.list.path = "<script>".to_owned();
    let english = report.to_html(Language::English);
    let swedish = report.to_html(Language::Swedish);
    assert!(english.contains("bad character") && english.contains("50.0%"));
    assert!(swedish.contains("otillåtet tecken") && swedish.contains("50,0\u{a0}%"));
    for page in [english, swedish] {
        assert!(!page.contains("<script>") && page.contains("&lt;script&gt;") && !page.contains(FIRST));
    }
}
