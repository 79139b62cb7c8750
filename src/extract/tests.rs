//! Extracts: build and export, and rejected rows.

use super::*;
use crate::files::NotReplaced;
use crate::register::Register;
use crate::rejected::RejectedLimit;
use crate::snapshot::Snapshot;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

struct Workspace(tempfile::TempDir);

impl Workspace {
    fn new() -> Workspace {
        Workspace(tempfile::tempdir().expect("directory"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// An extract of some files.
    fn extract(&self, name: &str, files: &[(&str, &str)]) -> PathBuf {
        let directory = self.path(name);
        fs::create_dir_all(&directory).expect("directory");
        for (file, content) in files {
            fs::write(directory.join(file), content).expect("written");
        }
        directory
    }

    fn build(&self, extract: &Path, strict: bool) -> Result<(Summary, Vec<u8>), BuildError> {
        let file = self.path("register.nabar");
        let options = if strict { BuildOptions::strict() } else { BuildOptions::lenient() };
        let summary = build(extract, &file, &options)?;
        Ok((summary, fs::read(file).expect("read")))
    }

    fn rejected(&self) -> String {
        fs::read_to_string(self.path("register.nabar.rejected.csv")).expect("there")
    }
}

fn register(bytes: &[u8]) -> Register {
    Snapshot::from_bytes(bytes).expect("opens").register().expect("whole")
}

const FAR: &str = "kind = \"far\"\nsequence = 7\nas_of = \"2026-06-01T04:00:00Z\"\n";
const KRR: &str = "kind = \"krr\"\nsequence = 7\nas_of = 2026-06-01T04:00:00Z\n";
const OPERATORS: &str = "id,name,service_address,ui_address,internal_service_address,logo\n\
    164920000009,Brevia AB,https://a.example/,,,\n\
    492100000,too short,,,,\n\
    4920000009,the same again,,,,\n";
const SENDERS: &str = "id,name,attention\n164820000000,Kommun,\n";
const DISPATCHERS: &str =
    "id,name,senders\n164720000001,Utskick,164820000000\n164721000000,Okänd,164830000008\n";

fn far(recipients: &str) -> Vec<(&'static str, String)> {
    let header = "recipient_id,type,pending,operator_id,last_registration,acceptance,exceptions,last_sender_accept_change\n";
    vec![
        ("register.toml", FAR.to_owned()),
        ("operators.csv", OPERATORS.to_owned()),
        ("senders.csv", SENDERS.to_owned()),
        ("dispatchers.csv", DISPATCHERS.to_owned()),
        ("recipients.csv", format!("{header}{recipients}")),
    ]
}

fn files<'a>(owned: &'a [(&'static str, String)]) -> Vec<(&'a str, &'a str)> {
    owned.iter().map(|(name, text)| (*name, &text[..])).collect()
}

#[test]
fn building_an_export_gives_the_same_file() {
    for name in ["far", "krr", "krr-xml"] {
        let work = Workspace::new();
        let (_, bytes) = work.build(&fixture(name), true).expect("built");
        let exported = work.path("exported");
        export(&register(&bytes), &exported).expect("exported");
        let (_, again) = work.build(&exported, true).expect("built again");
        assert!(bytes == again, "{name}");
        let occupied = export(&register(&bytes), &exported);
        assert!(matches!(occupied, Err(ExportError::Occupied(_))));
    }
}

/// The file depends neither on the order of the rows nor on rejected rows.
#[test]
fn the_same_recipients_make_the_same_file() {
    let rows = [
        "199001022384,Secure,false,164920000009,2026-01-01T00:00:00+01:00,only,164820000000,\n",
        "189001019802,Anonymous,true,,,all-except,164820000000,2026-01-01T00:00:00.5Z\n",
        "164120000007,Not,,,,,,\n",
    ];
    let work = Workspace::new();
    let first = far(&rows.concat());
    let (summary, bytes) = work.build(&work.extract("a", &files(&first)), false).expect("built");
    assert_eq!((summary.recipients, summary.set_aside.values().sum::<u64>()), (3, 3));
    // The second row for a recipient has a state and a rule that no other recipient has.
    let double = "164120000007,Secure,true,164920000009,,only,,\n";
    let second = far(&[rows[2], rows[0], rows[1], double].concat());
    let (summary, again) = work.build(&work.extract("b", &files(&second)), false).expect("built");
    assert_eq!(summary.set_aside["duplicate_recipient"], 1);
    assert!(work.rejected().contains("recipients.csv,5,duplicate_recipient,recipient_id\n"));
    assert!(bytes == again);
}

#[test]
fn bad_rows_are_rejected_with_their_reasons() {
    let cases = [
        ("199001022385,Secure,false,164920000009,,,,", "bad_check_digit,recipient_id"),
        (",Secure,false,164920000009,,,,", "empty,recipient_id"),
        ("199001022384,secured,false,164920000009,,,,", "bad_type,type"),
        ("199001022384,Secure,maybe,164920000009,,,,", "bad_boolean,pending"),
        ("199001022384,Secure,false,164930000007,,,,", "unknown_operator,operator_id"),
        ("199001022384,Secure,false,492100000,,,,", "unknown_operator,operator_id"),
        ("199001022384,Secure,false,164920000009,yesterday,,,", "bad_time,last_registration"),
        ("199001022384,Secure,false,164920000009,,some,,", "bad_acceptance,acceptance"),
        ("199001022384,Secure,false,164920000009,,only,164830000008,", "unknown_sender,exceptions"),
        ("199001022384,Secure,false,164920000009,,,,1", "bad_time,last_sender_accept_change"),
        ("199001022384,Secure", "missing_column,"),
        ("199001022384,Sec\u{fffd}ure,false,164920000009,,,,", "bad_type,type"),
    ];
    let text: String = cases.iter().map(|(row, _)| format!("{row}\n")).collect();
    let extract = far(&text);
    let work = Workspace::new();
    let (summary, bytes) = work.build(&work.extract("far", &files(&extract)), false).expect("built");
    assert_eq!(summary.recipients, 0);
    let rejected = work.rejected();
    let mut lines = rejected.lines();
    assert_eq!(lines.next(), Some("file,line,reason,column"));
    assert_eq!(lines.next(), Some("operators.csv,3,bad_organisation_number,id"));
    assert_eq!(lines.next(), Some("operators.csv,4,duplicate_id,id"));
    assert_eq!(lines.next(), Some("dispatchers.csv,3,unknown_sender,senders"));
    for (line, (row, reason)) in (2..).zip(cases) {
        assert_eq!(lines.next(), Some(&format!("recipients.csv,{line},{reason}")[..]), "{row}");
    }
    assert_eq!(lines.next(), None);
    assert!(!rejected.contains("19900102"), "no identity number");
    // The same lines with other line ends; blank ones count, and so do those in quotes.
    let mut other = extract.clone();
    other[4].1 = other[4].1.replace('\n', "\r\n").replacen("\r\n,Secure", "\r\n\r\n\n,Secure", 1);
    let last =
        "199001022385,Secure,false,\"164920000009\n\",,,,\r\n199001022385,Secure,false,164920000009,,,,";
    other[4].1.push_str(last);
    work.build(&work.extract("crlf", &files(&other)), false).expect("built");
    let lines = work.rejected();
    for line in ["2,bad_check_digit", "5,empty", "6,bad_type", "16,bad_check_digit", "18,bad_check_digit"] {
        assert!(lines.contains(&format!("recipients.csv,{line},")), "{line} in {lines}");
    }
    assert_eq!(register(&bytes).operators().len(), 1);
    // Strict: the first of them is an error, and nothing is written.
    let before = fs::read(work.path("register.nabar")).expect("there");
    let strict = work.build(&work.path("far"), true);
    assert!(matches!(strict, Err(BuildError::Strict { file: "operators.csv", line: 3, .. })));
    assert!(fs::read(work.path("register.nabar")).expect("there") == before);
}

#[test]
fn compressed_extracts_and_other_column_orders() {
    let work = Workspace::new();
    let recipients = "type,x,operator_id,pending,recipient_id\nSecure,7,4920000009,false,900102-2384\n";
    let mut plain = far("");
    plain[4].1 = recipients.to_owned();
    let (_, expected) = work.build(&work.extract("plain", &files(&plain)), false).expect("built");
    let packed = work.extract("packed", &files(&plain[..4]));
    let gz = fs::File::create(packed.join("recipients.csv.gz")).expect("created");
    let mut gz = flate2::write::GzEncoder::new(gz, flate2::Compression::fast());
    gz.write_all(recipients.as_bytes()).and_then(|()| gz.try_finish()).expect("written");
    let senders = zstd::encode_all(SENDERS.as_bytes(), 1).expect("packed");
    fs::write(packed.join("senders.csv.zst"), senders).expect("written");
    assert!(matches!(work.build(&packed, false), Err(BuildError::Twice { name: "senders.csv", .. })));
    fs::remove_file(packed.join("senders.csv")).expect("removed");
    let (_, bytes) = work.build(&packed, false).expect("built");
    assert!(bytes == expected);
    // A truncated file is an error, not a shorter register.
    let gz = fs::read(packed.join("recipients.csv.gz")).expect("read");
    fs::write(packed.join("recipients.csv.gz"), &gz[..gz.len() - 9]).expect("written");
    assert!(matches!(work.build(&packed, false), Err(BuildError::Read { .. })));
}

#[test]
fn missing_files_and_columns_are_errors() {
    let work = Workspace::new();
    let all = far("");
    for missing in 0..all.len() {
        let mut some = all.clone();
        let (name, _) = some.remove(missing);
        let extract = work.extract(&format!("without-{name}"), &files(&some));
        let error = work.build(&extract, false).expect_err(name).to_string();
        assert!(error.contains(name), "{error}");
        let hidden = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().starts_with('.');
        let left = fs::read_dir(work.0.path()).expect("read").flatten().any(|entry| hidden(&entry));
        assert!(!left, "nothing is left behind");
    }
    let toml = |text: &str| {
        let mut files = all.clone();
        files[0].1 = text.to_owned();
        let owned: Vec<_> = files.iter().map(|(name, text)| (*name, &text[..])).collect();
        work.build(&work.extract("toml", &owned), false).expect_err("wrong").to_string()
    };
    assert!(toml("kind = \"fr\"\n").contains("neither"));
    assert!(toml("kind = \"far\"\n").contains("sequence"));
    assert!(toml("kind = \"far\"\nsequence = 1\n").contains("as_of"));
    assert!(toml("kind = \"far\"\nsequence = 1\nas_of = \"today\"\n").contains("RFC 3339"));
    assert!(toml("kind = \"far\"\nsequences = 1\n").contains("unknown field"));
    let mut columns = all.clone();
    columns[4].1 = "id,type\n".to_owned();
    let error = work.build(&work.extract("columns", &files(&columns)), false).expect_err("no column");
    assert!(matches!(error, BuildError::MissingColumn { column: "recipient_id", .. }));
}

/// Words are compared without case: a capital letter must not put all letters of a country on paper.
#[test]
fn words_are_read_in_any_case() {
    let rows = [
        "199001022384,SECURE,False,164920000009,,ALL-EXCEPT,,\n",
        "189001019802,secure,NEJ,164920000009,,,,\n",
        "164120000007,Secure,0,164920000009,,,,\n",
    ];
    let work = Workspace::new();
    let (summary, _) = work.build(&work.extract("a", &files(&far(&rows.concat()))), false).expect("built");
    assert_eq!((summary.recipients, summary.set_aside.get("bad_boolean")), (3, None));
    let person = PERSON.replace("AKTIV", "Aktiv").replace("NEI", "nei");
    let krr = work.extract("krr", &[("register.toml", KRR), ("personer.jsonl", &person)]);
    assert_eq!(work.build(&krr, true).expect("built").0.recipients, 1);
}

#[test]
fn an_extract_with_too_many_rejected_rows_is_an_error() {
    let work = Workspace::new();
    let good = work.extract("good", &files(&far("199001022384,Secure,false,164920000009,,,,\n")));
    let (_, before) = work.build(&good, false).expect("built");
    let rows: String = (0..99)
        .map(|_| "199001022384,Secure,Falskt,164920000009,2026-06-01 04:00:00,,,\n".to_owned())
        .chain(["189001019802,Secure,false,164920000009,,,,\n".to_owned()])
        .collect();
    // The other tables have no rejected rows.
    let mut bad = far(&rows);
    bad[1].1 = OPERATORS.lines().take(2).map(|line| format!("{line}\n")).collect();
    bad[3].1 = DISPATCHERS.lines().take(2).map(|line| format!("{line}\n")).collect();
    let bad = work.extract("bad", &files(&bad));
    let file = work.path("register.nabar");
    let refused = |options: &BuildOptions| build(&bad, &file, options);
    let error = refused(&BuildOptions::default()).expect_err("99 of 100");
    let BuildError::TooManyRejected(too_many) = &error else { panic!("{error}") };
    assert_eq!((too_many.rejected, too_many.rows, too_many.column), (99, 100, "pending"));
    assert_eq!(too_many.values, ["Falskt"]);
    assert!(error.to_string().contains("99 of 100 rows of recipients.csv"), "{error}");
    assert!(work.rejected().contains("bad_boolean,pending"), "the rows are named");
    assert_eq!(fs::read(&file).expect("there"), before, "the earlier file stays");
    let allowing = |limit| BuildOptions { max_rejected: limit, ..BuildOptions::default() };
    assert!(refused(&allowing(RejectedLimit::Rows(98))).is_err());
    assert_eq!(refused(&allowing(RejectedLimit::Rows(99))).expect("allowed").recipients, 1);
    let empty = work.extract("empty", &files(&far("")));
    let all = allowing(RejectedLimit::Percent(100.0));
    assert!(matches!(build(&empty, &file, &all), Err(BuildError::Empty)));
    assert_eq!(build(&empty, &file, &BuildOptions::lenient()).expect("asked for").recipients, 0);
}

#[test]
fn outputs_replace_only_registers() {
    let work = Workspace::new();
    let extract = work.extract("far", &files(&far("199001022384,Secure,false,164920000009,,,,\n")));
    let options = BuildOptions { max_rejected: RejectedLimit::Percent(100.0), ..BuildOptions::default() };
    let senders = extract.join("senders.csv");
    let foreign = work.path("letter.txt");
    fs::write(&foreign, "Dear").expect("written");
    let within = build(&extract, &senders, &options);
    assert!(matches!(within, Err(BuildError::NotReplaced(NotReplaced::IsInput(_)))));
    let refused = build(&extract, &foreign, &options);
    assert!(matches!(refused, Err(BuildError::NotReplaced(NotReplaced::Foreign(_)))));
    let file = work.path("new/far.nabar");
    fs::create_dir(work.path("new")).expect("directory");
    fs::write(work.path("new/far.nabar.rejected.csv"), "pnr;namn\n").expect("written");
    assert!(matches!(
        build(&extract, &file, &options),
        Err(BuildError::NotReplaced(NotReplaced::Foreign(_)))
    ));
    assert!(fs::read_to_string(&senders).expect("there").starts_with("id,name"));
    let force = BuildOptions { force: true, ..options };
    assert!(build(&extract, &file, &force).is_ok() && build(&extract, &foreign, &force).is_ok());
    assert!(build(&extract, &foreign, &options).is_ok(), "a register file by now");
}

const PERSON: &str = r#"{"personidentifikator":"01819012365","reservasjon":"NEI","status":"AKTIV","kontaktinformasjon":{"epostadresse":"a@example.com","epostadresse_oppdatert":"2026-01-02T10:14:52+01","mobiltelefonnummer":""},"digital_post":{"postkasseadresse":"a.b#1234","postkasseleverandoeradresse":"984661185"},"sertifikat":"AAAA"}"#;

#[test]
fn persons_are_rejected_with_their_reasons() {
    let person = |from: &str, to: &str| PERSON.replace(from, to);
    let cases = [
        (PERSON.to_owned(), ""),
        ("{".to_owned(), "bad_json,"),
        ("[1]".to_owned(), "bad_json,"),
        (person("01819012365", "01819012364"), "bad_check_digit,personidentifikator"),
        (person("01819012365", ""), "empty,personidentifikator"),
        (person("AKTIV", "IKKE_REGISTRERT"), "not_registered,status"),
        (person("AKTIV", "aktive"), "bad_value,status"),
        (person("NEI", "KANSKJE"), "bad_value,reservasjon"),
        (person("2026-01-02T10:14:52+01", "i fjor"), "bad_time,epostadresse_oppdatert"),
        (person("a@example.com", &"x".repeat(70_000)), "too_long,"),
        (person("AKTIV", "SLETTET"), "duplicate_recipient,personidentifikator"),
    ];
    // Only the first and the last are persons, the same one.
    let text: String = cases.iter().map(|(line, _)| format!("{line}\n\n")).collect();
    let work = Workspace::new();
    let extract = work.extract("krr", &[("register.toml", KRR), ("personer.jsonl", &text)]);
    let (summary, bytes) = work.build(&extract, false).expect("built");
    assert_eq!(summary.recipients, 1);
    let rejected = work.rejected();
    for (number, (_, reason)) in cases.iter().enumerate().skip(1) {
        let line = format!("personer.jsonl,{},{reason}\n", 2 * number + 1);
        assert!(rejected.contains(&line), "{line} in {rejected}");
    }
    let register = register(&bytes);
    assert_eq!(register.operators()[0].name, "Digipost");
}

const XML: &str = r#"<?xml version="1.0"?>
<k:Kontaktregister xmlns:k="http://kontaktinfo.difi.no/xsd/eksporttjeneste/14-05" xmlns:m="http://begrep.difi.no" senesteEndringsNummer="42" eksportTidspunkt="2026-06-01T06:00:00+02:00">
 <m:Person><m:personidentifikator>01819012365</m:personidentifikator><m:reservasjon>NEI</m:reservasjon>
  <m:status>AKTIV</m:status><m:beskrivelse>a &amp; b</m:beskrivelse>
  <m:Kontaktinformasjon><m:Mobiltelefonnummer/><m:Epostadresse sistOppdatert="2026-01-02T10:14:52+01:00">a&#64;example.com</m:Epostadresse></m:Kontaktinformasjon>
  <m:SikkerDigitalPostAdresse><m:postkasseadresse><![CDATA[a.b#1234]]></m:postkasseadresse>
  <m:postkasseleverandoerAdresse>984661185</m:postkasseleverandoerAdresse></m:SikkerDigitalPostAdresse>
  <m:X509Sertifikat>AA
AA</m:X509Sertifikat></m:Person>
 <m:Person><m:personidentifikator>1</m:personidentifikator></m:Person>
</k:Kontaktregister>
"#;

#[test]
fn an_xml_export_gives_the_same_register_as_json() {
    let work = Workspace::new();
    let xml = work.extract("xml", &[("kontaktregister.xml", XML)]);
    let (summary, bytes) = work.build(&xml, false).expect("built");
    assert_eq!((summary.recipients, summary.set_aside["bad_length"]), (1, 1));
    assert!(work.rejected().contains("kontaktregister.xml,10,bad_length,personidentifikator"));
    let toml = KRR.replace("sequence = 7", "sequence = 42");
    let line = format!("{PERSON}\n");
    let line = line.replace("\"mobiltelefonnummer\":\"\"", "\"mobiltelefonnummer\":null");
    let json = work.extract("json", &[("register.toml", &toml), ("personer.jsonl", &line)]);
    assert!(work.build(&json, true).expect("built").1 == bytes);
    // A description that contradicts the export.
    let both = work.extract("both", &[("register.toml", KRR), ("kontaktregister.xml", XML)]);
    let error = work.build(&both, false).expect_err("7 is not 42").to_string();
    assert!(error.contains('7') && error.contains("42"), "{error}");
}

#[test]
fn an_invalid_export_is_an_error_with_the_line() {
    let work = Workspace::new();
    let error = |name: &str, text: &str| {
        let extract = work.extract(name, &[("kontaktregister.xml", text)]);
        work.build(&extract, false).expect_err(name).to_string()
    };
    let cut = error("cut", &XML[..XML.len() - 30]);
    assert!(cut.contains("truncated") && cut.contains("line 10"), "{cut}");
    assert!(error("entity", &XML.replace("&#64;", "&at;")).contains("entity"));
    let bomb = XML.replacen("<k:Kont", "<!DOCTYPE k [<!ENTITY at \"@\">]><k:Kont", 1);
    assert!(error("bomb", &bomb).contains("document type"));
    assert!(error("root", "<Person/>").contains("Kontaktregister"));
    assert!(error("number", &XML.replace("\"42\"", "\"\"")).contains("senesteEndringsNummer"));
    assert!(error("nesting", &XML.replace("</m:status>", "</m:stat>")).contains("well-formed"));
    let personal = error("tags", &XML.replace("<m:status>", "<01819012365>"));
    assert!(!personal.contains("01819012365"), "{personal}");
}
