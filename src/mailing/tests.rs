//! Jobs of the library: detection, limits, interruption. The naive model of splits is in `tests/it/model/`.

use super::*;
use crate::limits::ROW_BYTES_MAX;
use crate::register::Register;
use crate::snapshot::Snapshot;
use std::fs;

struct Fixture {
    directory: tempfile::TempDir,
    register: Register,
}

/// Two recipients of the fixture `far`.
const FIRST: &str = "196810199809";
const SECOND: &str = "195904109807";

impl Fixture {
    fn new() -> Fixture {
        let directory = tempfile::tempdir().expect("directory");
        let file = directory.path().join("far.nabar");
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/far");
        crate::extract::build(&fixture, &file, &crate::extract::BuildOptions::strict()).expect("built");
        let register = Snapshot::open(&file).and_then(|snapshot| snapshot.register()).expect("whole");
        Fixture { directory, register }
    }

    fn run<T>(&self, list: &[u8], job: impl FnOnce(&mut Mailing<'_>) -> T) -> T {
        let path = self.directory.path().join("list");
        fs::write(&path, list).expect("written");
        let sender = &self.register.senders()[0].id;
        let question = self.register.question(Some(sender), jiff::civil::date(2026, 6, 1)).expect("asked");
        let mut mailing = Mailing {
            ruling: None,
            question: &question,
            list: &path,
            options: ListOptions::default(),
            today: Today::new(2026, 6, 1).expect("a day"),
            duplicates: Duplicates::Keep,
            max_rejected: RejectedLimit::Percent(100.0),
            now: jiff::Timestamp::now(),
            groups: None,
            prices: None,
            asked: None,
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
fn forms_of_lists() {
    let fixture = Fixture::new();
    for (delimiter, header, column) in [
        (";", "nr;namn;personnummer;belopp\n", "personnummer"),
        (",", "nr;namn;personnummer;öre;belopp\n", "personnummer"),
        ("\t", "nr;namn;Person-/org.nr;belopp\n", "Person-/org.nr"),
        ("|", "nr;namn;fritext;belopp\n", "fritext"),
        (";", "", "3"),
    ] {
        let report = fixture.check(list(delimiter, header, 40).as_bytes()).expect("a report");
        let form = (&report.list.delimiter[..], &report.list.id_column[..], report.list.rows);
        assert_eq!(form, (delimiter, column, 40), "{delimiter:?} {header}");
        assert_eq!(report.outcomes["rejected"], 0);
    }
}

#[test]
fn one_column_needs_no_delimiter() {
    let fixture = Fixture::new();
    for (text, rows, column) in [
        (format!("{FIRST}\n{SECOND}"), 2, "1"),
        (format!("pnr\r\n{FIRST}\r\n{SECOND}\r\n"), 2, "pnr"),
        (format!("{}-{}\n", &FIRST[..8], &FIRST[8..]), 1, "1"),
        ("not an id\nneither\n".to_owned(), 2, "1"),
        (String::new(), 0, "1"),
        ("personnummer\n".to_owned(), 0, "personnummer"),
    ] {
        let report = fixture.check(text.as_bytes()).expect("a report");
        let form = (&report.list.delimiter[..], &report.list.id_column[..], report.list.rows);
        assert_eq!(form, ("", column, rows), "{text}");
    }
}

#[test]
fn encodings_and_other_kinds_of_files() {
    let fixture = Fixture::new();
    let encoding = |bytes: &[u8]| fixture.check(bytes).map(|report| report.list.encoding);
    let row = |name: &[u8]| [b"personnummer;namn\n196810199809;", name, b"\n"].concat();
    assert_eq!(encoding(&row("Åsa".as_bytes())).expect("text"), "utf-8");
    assert_eq!(encoding(&[b"\xEF\xBB\xBF", &row(b"Asa")[..]].concat()).expect("text"), "utf-8-bom");
    assert_eq!(encoding(&row(b"\xC5sa")).expect("text"), "windows-1252");
    let mixed = [row("Åsa Öberg".as_bytes()), b"196810199809;\xC5\n".to_vec()].concat();
    assert_eq!(encoding(&mixed).expect("text"), "utf-8", "one broken character among whole ones");
    for (bytes, kind) in [
        (&b"nabar\r\n\x1a\x01\0\0\0"[..], FileKind::Register),
        (b"PK\x03\x04a.csv", FileKind::Zip),
        (b"\xFF\xFEp\0n\0r\0\n\0", FileKind::Utf16),
    ] {
        assert!(matches!(encoding(bytes), Err(ListError::NotAList(found)) if found == kind));
    }
    assert!(matches!(encoding(b"PK\x03\x04xl/worksheets"), Err(ListError::Workbook(_))));
}

#[test]
fn an_unknown_id_column_is_an_error_without_content() {
    let fixture = Fixture::new();
    let two = format!("sökande;granne;nr\n{FIRST};{SECOND};1\n{SECOND};{FIRST};2\n");
    let error = fixture.check(two.as_bytes()).expect_err("two columns").to_string();
    assert!(error.contains("1 \"sökande\" (100 % identities), 2 \"granne\" (100 % identities)"), "{error}");
    let headless = two.split_once('\n').expect("rows").1;
    for text in [headless, "Anna;Åsa\nBo;Eva\n"] {
        let error = fixture.check(text.as_bytes()).expect_err("unknown column");
        assert_eq!(error.hint(), Some(Hint::NameIdColumn));
        assert!(!error.to_string().contains(FIRST), "{error}");
    }
    for (name, column) in [("granne", 1), ("GRANNE", 1), ("2", 1), ("1", 0)] {
        let report = fixture.run(two.as_bytes(), |mailing| {
            mailing.options.id_columns = vec![name.to_owned()];
            check(mailing)
        });
        assert_eq!(report.expect("named").list.id_column, ["sökande", "granne"][column]);
    }
    let forced = fixture.run(headless.as_bytes(), |mailing| {
        mailing.options =
            ListOptions { id_columns: vec!["1".into()], header: Some(true), ..ListOptions::default() };
        check(mailing)
    });
    assert!(matches!(forced, Err(ListError::HeaderIsRow)), "a row is not copied to every file");
    for name in ["4", "0", "other"] {
        let report = fixture.run(two.as_bytes(), |mailing| {
            mailing.options.id_columns = vec![name.to_owned()];
            check(mailing)
        });
        assert!(report.expect_err("no such column").is_usage());
    }
}

#[test]
fn lists_with_too_many_rejected_rows_are_refused() {
    for (limit, rejected, rows, expected) in [
        (MAX_REJECTED, 5, 10, None),
        (MAX_REJECTED, 6, 10, Some("max_rejected")),
        (MAX_REJECTED, 0, 0, Some("no_rows")),
        (RejectedLimit::Rows(0), 0, 10, None),
        (RejectedLimit::Rows(0), 0, 0, Some("no_rows")),
        (RejectedLimit::Percent(100.0), 10, 10, None),
        (RejectedLimit::Percent(100.0), 0, 0, None),
    ] {
        assert_eq!(refusal(limit, rejected, rows), expected, "{limit:?} {rejected} of {rows}");
    }
    let fixture = Fixture::new();
    let refused = |list: &str| {
        let report = fixture.run(list.as_bytes(), |mailing| {
            mailing.max_rejected = MAX_REJECTED;
            check(mailing)
        });
        let report = report.expect("a report");
        (report.refused, report.likely_cause.map(|cause| cause.to_string()).unwrap_or_default())
    };
    let fixed: String = (0..9).map(|row| format!("A{row}{FIRST}Kalle\n")).collect();
    let records: String = (0..9).map(|_| format!("10;{FIRST};Kalle\n20;1;x\n20;2;y\n20;3;z\n")).collect();
    for (list, reason, cause) in [
        ("", Some("no_rows"), ""),
        ("personnummer\n", Some("no_rows"), ""),
        (&format!("pnr\n{FIRST}\n\n\n\n"), None, ""),
        (&format!("pnr;x\n{FIRST};\nA;\n"), None, ""),
        (&format!("pnr;x\n{FIRST};\nA;\nB;\n"), Some("max_rejected"), ""),
        ("01819012365\n41819012359\n", Some("max_rejected"), "Norwegian"),
        ("pnr;x\n1,99001E+11;a\n1,99001E+11;b\n", Some("max_rejected"), "spreadsheet"),
        (&fixed, Some("max_rejected"), "2:12"),
    ] {
        let (refused, likely) = refused(list);
        assert_eq!(refused, reason, "{list}");
        assert!(likely.contains(cause) && !likely.contains(FIRST), "{list}: {likely}");
    }
    for (list, cause) in [
        (&records[..], "several types"),
        ("{\"a\": 1, \"b\": 2},\n{\"a\": 1, \"b\": 2}\n", "JSON"),
        ("<?xml version=\"1.0\"?>\n<a>\n</a>\n", "XML"),
        ("<a b=\"1;2\">\n<c d=\"3;4\">\n", "XML"),
    ] {
        let error = fixture.check(list.as_bytes()).expect_err("no column");
        assert!(error.is_refusal() && error.to_string().contains(cause), "{error}");
    }
}

/// Joined rows are rejected, with any separator between them.
#[test]
fn joined_rows_go_to_no_operator() {
    let fixture = Fixture::new();
    for join in ["\u{b}", "\u{c}", "\0", "\u{1a}", "\u{85}", "\u{2028}", "\u{2029}", "\u{feff}", "\u{1e}", ""]
    {
        let list = format!("pnr;namn;nr\n{FIRST};Asa;1{join}{SECOND};Bo;2\n{SECOND};Bo;3\n");
        let report = fixture.check(list.as_bytes()).expect("checked");
        assert_eq!(report.reasons.get("joined_rows"), Some(&1), "{join:?}");
        assert_eq!(report.outcomes["digital"] + report.outcomes["paper"], 1);
    }
    for line_end in ["\r", "\r\n", "\n", "\r\r\n"] {
        let list = format!("pnr;namn;nr{line_end}{FIRST};Asa;1{line_end}{SECOND};Bo;2{line_end}");
        let report = fixture.check(list.as_bytes()).expect("checked");
        assert_eq!((report.list.rows, report.outcomes["rejected"]), (2, 0), "{line_end:?}");
    }
}

/// Two rows of fixed width without anything between their identities: one run of digits.
#[test]
fn joined_rows_of_fixed_width_whose_identities_touch_go_to_no_operator() {
    let fixture = Fixture::new();
    let ids = format!("{FIRST}\n{SECOND}\n").repeat(20);
    for (offset, length, joined) in [
        (0, 12, format!("{FIRST}{SECOND}\n")),
        (0, 12, format!("{FIRST}{SECOND}.0\n")),
        (0, 12, format!("{FIRST}{SECOND}")),
        (2, 10, format!("{FIRST}{SECOND}\n")),
    ] {
        for list in [format!("{ids}{joined}"), format!("{ids}{}\n{ids}", joined.trim_end())] {
            let report = fixture.run(list.as_bytes(), |mailing| {
                mailing.options.id_at = Some((offset, length));
                check(mailing).expect("checked")
            });
            let whole = list.lines().filter(|line| line.len() == 12).count() as u64;
            assert_eq!(report.reasons.get("joined_rows"), Some(&1), "{offset}:{length} {joined}");
            assert_eq!(report.letters - report.outcomes["rejected"], whole, "the others are letters");
        }
    }
}

#[test]
fn two_ids_in_a_row() {
    let fixture = Fixture::new();
    let outcome = |id: &str| {
        let report = fixture.check(format!("{id}\n").as_bytes()).expect("checked");
        report.outcomes.iter().find(|(_, rows)| **rows > 0).map(|(name, _)| *name).expect("one row")
    };
    let fallback = "190001010000".to_owned();
    let unknown = (0..1000).map(|n| format!("19000101{n:03}")).map(|stem| {
        (0..10)
            .map(|last| format!("{stem}{last}"))
            .find(|id| outcome(id) != "rejected")
            .unwrap_or(fallback.clone())
    });
    let unknown =
        unknown.into_iter().find(|id| outcome(id) == "paper").expect("a recipient who is not registered");
    assert_eq!([outcome(FIRST), outcome(SECOND)], ["digital", "digital"]);
    let list = format!(
        "barn;vh;nr\n{unknown};{FIRST};1\n{FIRST};{SECOND};2\n;{FIRST};3\n{FIRST};;4\n{FIRST};{FIRST};5\n;;6\nx;y;7\n"
    );
    let run = |two_ids| {
        let report = fixture.run(list.as_bytes(), |mailing| {
            mailing.options.id_columns = vec!["barn".to_owned(), "vh".to_owned()];
            mailing.options.two_ids = two_ids;
            check(mailing)
        });
        let report = report.expect("checked");
        let outcomes = ["digital", "paper", "rejected"].map(|name| report.outcomes[name]);
        (report.list.rows, report.letters, report.second_ids, outcomes, report.list.id_column)
    };
    assert_eq!(run(TwoIds::FirstReachable), (7, 7, 2, [5, 0, 2], "barn + vh".to_owned()));
    assert_eq!(run(TwoIds::Both), (7, 9, 3, [6, 1, 2], "barn + vh".to_owned()));
}

#[test]
fn a_list_that_changes_during_the_job_is_an_error() {
    struct Truncating<'a>(&'a Path, std::sync::Once);
    impl Progress for Truncating<'_> {
        fn advanced(&self, _: u64, _: u64) {
            self.1.call_once(|| {
                fs::File::options()
                    .write(true)
                    .open(self.0)
                    .and_then(|file| file.set_len(4096))
                    .expect("cut");
            });
        }
    }
    let fixture = Fixture::new();
    let path = fixture.directory.path().join("list");
    let result = fixture.run(list(";", "", 400_000).as_bytes(), |mailing| {
        let truncating = Truncating(&path, std::sync::Once::new());
        let mailing = Mailing { options: mailing.options.clone(), progress: &truncating, ..*mailing };
        check(&mailing)
    });
    assert!(matches!(result, Err(ListError::ListChanged)), "{result:?}");
}

struct InterruptAtOnce(std::sync::atomic::AtomicU64);

impl Progress for InterruptAtOnce {
    fn advanced(&self, rows: u64, _bytes: u64) {
        self.0.store(rows, std::sync::atomic::Ordering::Relaxed);
    }

    fn interrupted(&self) -> bool {
        self.0.load(std::sync::atomic::Ordering::Relaxed) > 0
    }
}

#[test]
fn an_interrupted_split_leaves_nothing() {
    let fixture = Fixture::new();
    let out = fixture.directory.path().join("out");
    let to =
        Destination { directory: &out, force: false, sync: false, language: Language::English, csv: false };
    let interrupt = InterruptAtOnce(0.into());
    let result = fixture.run(list(";", "", 200_000).as_bytes(), |mailing| {
        let mailing = Mailing {
            question: mailing.question,
            list: mailing.list,
            options: mailing.options.clone(),
            progress: &interrupt,
            ..*mailing
        };
        split(&mailing, &to)
    });
    assert!(matches!(result, Err(ListError::Interrupted)));
    let left: Vec<_> =
        fs::read_dir(fixture.directory.path()).expect("read").flatten().map(|e| e.file_name()).collect();
    assert_eq!(left.len(), 3, "the register, its rejected.csv and the list: {left:?}");
}

#[test]
fn a_report_in_both_languages_escapes_what_it_quotes() {
    let fixture = Fixture::new();
    let report = fixture.run(format!("{FIRST}\nx\n").as_bytes(), |mailing| {
        let prices = Prices { postage: 8.5, digital_cost: 0.9, currency: "SEK".to_owned() };
        check(&Mailing { prices: Some(&prices), ..mailing.clone() })
    });
    let mut report = report.expect("checked");
    report.list.path = "<script>".to_owned();
    let english = report.to_html(Language::English);
    let swedish = report.to_html(Language::Swedish);
    assert!(english.contains("bad character") && english.contains("50.0%") && english.contains("SEK"));
    assert!(swedish.contains("otillåtet tecken") && swedish.contains("50,0\u{a0}%"));
    for page in [english, swedish] {
        assert!(!page.contains("<script>") && page.contains("&lt;script&gt;") && !page.contains(FIRST));
    }
}

#[test]
fn the_likely_cause_is_in_the_language_of_the_page() {
    let fixture = Fixture::new();
    let report = fixture.run(b"01819012365\n41819012359\n", |mailing| {
        mailing.max_rejected = MAX_REJECTED;
        check(mailing)
    });
    let report = report.expect("a report");
    let json = serde_json::to_value(&report).expect("JSON");
    assert!(json["likely_cause"].as_str().is_some_and(|cause| cause.contains("Norwegian")), "{json}");
    assert!(report.to_html(Language::English).contains("Norwegian"));
    let swedish = report.to_html(Language::Swedish);
    assert!(swedish.contains("listan har norska") && !swedish.contains("Norwegian"), "{swedish}");
}

/// Errors carry facts. Callers name options as their users know them.
#[test]
fn no_error_names_an_option_of_the_command_line() {
    let fixture = Fixture::new();
    let two = format!("{FIRST};{SECOND}\n");
    let header_is_row = fixture.run(two.as_bytes(), |mailing| {
        mailing.options =
            ListOptions { id_columns: vec!["1".into()], header: Some(true), ..ListOptions::default() };
        check(mailing)
    });
    let errors = [
        (header_is_row.expect_err("a row"), Some(Hint::SkipRows)),
        (fixture.check(two.as_bytes()).expect_err("two columns"), Some(Hint::NameIdColumn)),
        (fixture.check(b"nabar\r\n\x1a").expect_err("a register"), Some(Hint::ListIsRegister)),
        (ListError::Occupied("out".into()), Some(Hint::ReplaceOutput)),
        (ListError::InputInOutput("out/list.csv".into()), Some(Hint::OtherOutput)),
        (ListError::Damaged(crate::register::Damage::Changed), Some(Hint::VerifyRegister)),
    ];
    for (error, hint) in errors {
        let text = error.to_string();
        assert_eq!(error.hint(), hint, "{text}");
        assert!(!text.contains("--") && !text.contains("`nabar"), "{text}");
    }
}

/// A list of one row without a line end, far longer than a row may be, is refused without being held in memory.
#[test]
fn a_row_that_is_too_long_is_an_error_with_its_place() {
    struct Endless(u64);
    impl std::io::Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            self.0 += buffer.len() as u64;
            assert!(self.0 < 16 << 20, "the list is read further than needed");
            buffer.fill(b'x');
            Ok(buffer.len())
        }
    }
    let fixture = Fixture::new();
    fixture.run(b"", |mailing| {
        let first = std::io::Cursor::new(b"personnummer;name\n199001022384;\n".repeat(2));
        let endless = std::io::Read::chain(first, Endless(0));
        let result = check_stream(mailing, Box::new(endless), StreamLimits::default());
        assert!(matches!(result, Err(ListError::RowTooLong(64))), "{result:?}");
    });
    // Plain and quoted, of a file and of a stream: the last row that is short enough, and the first that is not.
    for (before, after) in [("199001022384;", ""), ("199001022384;\"a\";", ""), ("\"199001022384\";\"", "\"")]
    {
        for (more, is_too_long) in [(0, false), (1, true), (ROW_BYTES_MAX + 2, true)] {
            let filled = "x".repeat(ROW_BYTES_MAX - before.len() - after.len() + more);
            let list = format!("personnummer;name;a\n199001022384;b;c\n{before}{filled}{after}\n1;2;3\n");
            fixture.run(list.as_bytes(), |mailing| {
                let options = ListOptions { id_columns: vec!["1".to_owned()], ..ListOptions::default() };
                let mailing = Mailing { options, progress: &(), ..*mailing };
                let stream = Box::new(std::io::Cursor::new(list.clone().into_bytes()));
                let of_stream = check_stream(&mailing, stream, StreamLimits::default()).map(|_| ());
                for result in [check(&mailing).map(|_| ()), of_stream] {
                    match is_too_long {
                        false => assert!(result.is_ok(), "{result:?} {before}"),
                        true => assert!(
                            matches!(result, Err(ListError::RowTooLong(37))),
                            "{result:?} {before} {more}"
                        ),
                    }
                }
            });
        }
    }
}

#[test]
fn streams_have_limits() {
    let fixture = Fixture::new();
    fixture.run(b"", |mailing| {
        let list = "personnummer;name\n".to_owned() + &"199001022384;Kalle\n".repeat(4 << 20);
        let packed = zstd::encode_all(list.as_bytes(), 1).expect("packed");
        let check = |limits| check_stream(mailing, Box::new(std::io::Cursor::new(packed.clone())), limits);
        let limits = StreamLimits::default();
        assert!(check(limits).is_ok());
        let short = StreamLimits { bytes: list.len() as u64 - 1, ..limits };
        assert!(matches!(check(short), Err(ListError::TooLong(_))));
        let result = check(StreamLimits { expansion: 100, ..limits });
        assert!(matches!(result, Err(ListError::ExpandsTooMuch(100))), "{result:?}");
        let result = check(StreamLimits { zstd_window_log: 10, ..limits });
        assert!(matches!(result, Err(ListError::Read(_))), "{result:?}");
    });
}

/// Letters of a stream, and what is around them, are read to their ends only if these are near.
#[test]
fn letters_of_streams_have_a_limit() {
    let said = "form = \"records\"\nrecord_type = \"0:1\"\nletter_start = \"1\"\nid_in = \"1\"\nid_at = \"1:12\"\nheader = \"0\"\ntrailer = \"9\"";
    let run = crate::runs::RunDescription::parse(said).expect("a description");
    let fixture = Fixture::new();
    fixture.run(b"", |mailing| {
        let options = ListOptions { run: Some(run.clone()), ..ListOptions::default() };
        let mailing = Mailing { options, ..mailing.clone() };
        let limits = StreamLimits { letter_bytes: 1 << 22, ..StreamLimits::default() };
        let of = |header: usize, letter: usize, trailer: usize| {
            let lines = |kind: char, count: usize| format!("{kind}{}\n", "x".repeat(98)).repeat(count);
            let run =
                [lines('0', header), "1199001022384\n".to_owned(), lines('2', letter), lines('9', trailer)];
            check_stream(&mailing, Box::new(std::io::Cursor::new(run.concat())), limits)
        };
        assert_eq!(of(10_000, 10_000, 10_000).expect("checked").list.rows, 1);
        for (header, letter, trailer) in [(200_000, 1, 1), (1, 200_000, 1), (1, 1, 200_000)] {
            let result = of(header, letter, trailer);
            assert!(matches!(result, Err(ListError::Run(_))), "{result:?}");
        }
    });
}
