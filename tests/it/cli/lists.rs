//! Lists with the irregularities of real ones, through the real binary.

use super::{DATE, FAR, KNOWN, args};
use crate::support::workspace::Workspace;
use std::fs;

/// Another personnummer of the fixture `far`, at another operator.
const OTHER: &str = "195904109807";

impl Workspace {
    /// Splits a list, and returns each file of rows with its name.
    fn split(&self, list: &[u8], more: &[&str]) -> Vec<(String, String)> {
        fs::write(self.path("list.csv"), list).expect("written");
        let _ = fs::remove_dir_all(self.path("out"));
        self.done(&args(&[&["split", "list.csv", "-o", "out", "--quiet"], &FAR, &DATE, more]));
        let files =
            self.names("out").into_iter().filter(|name| name.ends_with(".csv") && name != "feedback.csv");
        let text = |name: &String| fs::read(self.path("out").join(name)).expect("read");
        files.map(|name| (name.clone(), String::from_utf8_lossy(&text(&name)).into_owned())).collect()
    }

    /// The names of the files that hold a text.
    fn holding(&self, list: &str, text: &str, more: &[&str]) -> Vec<String> {
        let files = self.split(list.as_bytes(), more).into_iter();
        files.filter(|(_, content)| content.contains(text)).map(|(name, _)| name).collect()
    }
}

#[test]
fn a_carriage_return_ends_a_row() {
    let work = Workspace::with_register_files();
    for list in [
        format!("Personnummer;Namn;Postnr\r{KNOWN};Asa;11111\r\n{OTHER};Bo;22222\r\n"),
        format!("Personnummer;Namn;Postnr\r{KNOWN};Asa;11111\r{OTHER};Bo;22222\r"),
        format!("Personnummer;Namn;Postnr\r{KNOWN};Asa;11111\r{OTHER};Bo;22222\n"),
        format!("Personnummer;Namn;Postnr\n{KNOWN};Asa;11111\r\r\n{OTHER};Bo;22222\r\r\n"),
    ] {
        let (first, second) = (work.holding(&list, "Asa", &[]), work.holding(&list, "Bo", &[]));
        assert_eq!((first.len(), second.len()), (1, 1), "{}", list.escape_debug());
        assert!(first != second && first[0].starts_with("digital-") && second[0].starts_with("digital-"));
        let named = work.holding(&list, "Postnr", &[]);
        assert_eq!(named.len(), work.split(list.as_bytes(), &[]).len(), "the header is in every file");
    }
}

/// A row never reaches another operator's file, even if its line end is damaged.
#[test]
fn joined_rows_go_to_no_operator() {
    let work = Workspace::with_register_files();
    for (name, list) in [
        ("vertical tab", format!("pnr;namn;nr\n{KNOWN};Asa;1\u{b}{OTHER};Bo;2\n{KNOWN};x;1\n")),
        ("NUL", format!("pnr;namn;nr\n{KNOWN};Asa;1\0{OTHER};Bo;2\n{KNOWN};x;1\n")),
        ("NEL", format!("pnr;namn;nr\n{KNOWN};Asa;1\u{85}{OTHER};Bo;2\n{KNOWN};x;1\n")),
        ("Ctrl-Z", format!("pnr;namn;nr\n{KNOWN};Asa;1\u{1a}{OTHER};Bo;2\n{KNOWN};x;1\n")),
        ("byte order mark", format!("pnr;namn;nr\n{KNOWN};Asa;1\u{feff}{OTHER};Bo;2\n{KNOWN};x;1\n")),
        ("no line end between files", format!("pnr;namn;nr\n{KNOWN};x;1\n{KNOWN};Asa;11111{OTHER};Bo;2\n")),
        (
            "a quotation mark that is never closed",
            format!("pnr;namn;nr\n{KNOWN};\"Asa;1\n{OTHER};Bo 5\";2\n"),
        ),
    ] {
        for (file, content) in work.split(list.as_bytes(), &[]) {
            let both = content.contains("Asa") && content.contains("Bo");
            assert!(!both || file == "rejected.csv", "{name}: {file}");
        }
    }
    let files = format!("pnr;namn\n{KNOWN};Asa\n\u{feff}pnr;namn\n{OTHER};Bo\nAntal: 2\n;\n\u{1a}");
    fs::write(work.path("list.csv"), files).expect("written");
    let report = work.json(&args(&[&["check", "list.csv", "--json"], &FAR, &DATE]));
    assert_eq!(report["outcomes"]["digital"], 2);
    let reasons = serde_json::json!({"repeated_header": 1, "footer": 2, "blank_row": 1});
    assert_eq!(report["reasons"], reasons);
}

#[test]
fn further_identities_are_counted_expected_or_refused() {
    let work = Workspace::with_register_files();
    fs::write(work.path("list.csv"), format!("pnr;vh;namn\n{KNOWN};{OTHER};Asa\n{OTHER};;Bo\n"))
        .expect("written");
    let check = |more: &[&str]| work.json(&args(&[&["check", "list.csv", "--json"], &FAR, &DATE, more]));
    let id = ["--id-column", "pnr"];
    assert_eq!(check(&id)["more_than_one_identity"], 1);
    assert_eq!(check(&args(&[&id, &["--expected-ids", "vh"]]))["more_than_one_identity"], 0);
    let strict = check(&args(&[&id, &["--strict-rows"]]));
    assert_eq!(strict["reasons"]["more_than_one_identity"], 1);
    let both = check(&["--id-column", "pnr", "--id-column", "vh", "--two-ids", "both"]);
    assert_eq!(
        (&both["letters"], &both["second_ids"], &both["list"]["rows"]),
        (&3.into(), &1.into(), &2.into())
    );
    let list = format!("pnr;vh;namn\n{KNOWN};{OTHER};Asa\n");
    let held = work.holding(&list, "Asa", &["--id-column", "1", "--id-column", "2", "--two-ids", "both"]);
    assert_eq!(held.len(), 2, "the row goes to both operators");
    let feedback = fs::read_to_string(work.path("out/feedback.csv")).expect("feedback");
    let rows: Vec<&str> = feedback.lines().skip(1).map(|line| &line[..15]).collect();
    assert_eq!(rows, [format!("1,{KNOWN},"), format!("1,{OTHER},")].map(|row| row[..15].to_owned()));
    work.fails(
        2,
        &args(&[&["check", "list.csv", "--id-column", "1", "--id-column", "2", "--id-column", "3"], &FAR]),
    );
}

/// A first row without identity is not taken for a header, which would be repeated in every file.
#[test]
fn a_row_without_identity_is_in_no_operators_file() {
    let work = Workspace::with_register_files();
    let rest = format!("{KNOWN};Bo;Dnr 12346-26;Lund\n{OTHER};Cia;Dnr 12347-26;Lund\n");
    for first in [
        "SKYDDAD;Anna;Dnr 12345-26;Lund\n",
        ";Anna;Dnr 12345-26;Lund\n",
        "Personnummer saknas;Anna;Storgatan;Lund\n",
        "Skyddad;Anna;Adress;Ort\n",
        "Spärrad;Anna;Utomlands;Ort\n",
        "SKYDDAD;Anna;Storgatan 1;Lund\npnr;namn;nr;ort\n",
        "okänd;Anna;Storgatan;Lund\n",
    ] {
        let held = work.holding(&format!("{first}{rest}"), "Anna", &[]);
        assert_eq!(held, ["rejected.csv"], "{first}");
    }
    for above in
        [format!("Lista för {KNOWN}\nPersonnummer;Namn;Nr;Ort\n"), format!("pnr {KNOWN};Namn;Nr;Ort\n")]
    {
        fs::write(work.path("list.csv"), format!("{above}{rest}")).expect("written");
        let error =
            work.fails(2, &args(&[&["check", "list.csv", "--id-column", "1", "--header", "yes"], &FAR]));
        assert!(error.contains("a recipient's row") && !error.contains(KNOWN), "{above}: {error}");
    }
    let swallowing = format!("{KNOWN};SECRET;1;\"open\npnr;namn;nr;ort\n{OTHER};Bo;2;x\n{OTHER};Bo;2;x\n");
    let held = work.holding(&swallowing, "SECRET", &["--max-rejected", "100%"]);
    assert_eq!(held, ["rejected.csv"]);
}

/// Fixed-width records that have lost their line ends.
#[test]
fn fixed_width_rows_of_another_length_are_rejected() {
    let work = Workspace::with_register_files();
    let row = |id: &str, name: &str| format!("{id}{name:<10}22345");
    let (a, b) = (row(KNOWN, "Anna"), row(OTHER, "Bo"));
    for list in [format!("{a}{b}"), format!("{a}{b}\n"), format!("{a}\n{b}\n{a}{b}\n{b}\n")] {
        let files = work.split(list.as_bytes(), &["--id-at", "0:12", "--max-rejected", "100%"]);
        let joined = files.iter().filter(|(_, content)| content.contains(&format!("{a}{b}")));
        assert_eq!(joined.map(|(name, _)| &name[..]).collect::<Vec<_>>(), ["rejected.csv"], "{list}");
    }
}

#[test]
fn decisions_about_the_list_are_reported() {
    let work = Workspace::with_register_files();
    let list = format!("sep=;\nUtskick\n\nPersonnummer (12 siffror);Namn\n{KNOWN};Asa\n{OTHER};Bo\n");
    fs::write(work.path("list.csv"), &list).expect("written");
    let output = work.run(&args(&[&["check", "list.csv", "--json"], &FAR, &DATE]));
    let message = String::from_utf8(output.stderr).expect("text");
    for part in ["delimiter ; (the first line says so)", "header in row 4", "100.0 %", "days old"] {
        assert!(message.contains(part), "{part}: {message}");
    }
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let list_says = &report["list"];
    assert_eq!((&list_says["header_row"], &list_says["skipped_rows"]), (&4.into(), &3.into()));
    assert_eq!(list_says["decided_by"]["header"], "known_name");
    assert!(report["register"]["age_days"].as_i64().is_some());
    let quiet = work.run(&args(&[&["check", "list.csv", "-q"], &FAR, &DATE]));
    assert!(quiet.stderr.is_empty() && quiet.stdout.is_empty());
    let dropped = work.split(list.as_bytes(), &["--skipped", "drop"]);
    assert!(dropped.iter().all(|(_, content)| content.starts_with("Personnummer (12")), "{dropped:?}");
}

#[test]
fn an_unreadable_list_is_an_error() {
    let work = Workspace::with_register_files();
    let utf16: Vec<u8> = format!("pnr\n{KNOWN}\n").encode_utf16().flat_map(u16::to_le_bytes).collect();
    for (content, cause) in [
        (&b""[..], "no rows"),
        (b"pnr;namn\n", "no rows"),
        (b"<?xml version=\"1.0\"?>\n<letters>\n<letter/>\n</letters>\n", "XML"),
        (b"01819012365\n41819012359\n01819012373\n", "Norwegian"),
        (b"PAR1\x15\x04\x15\x10\x15\x14\0\0", "Parquet"),
        (b"ARROW1\0\0\xff\xff\xff\xff\x10\0\0\0", "Arrow"),
        (b"PK\x03\x04\x14\0\0\0\x08\0a.csv", "ZIP"),
        (b"PK\x03\x04\x14\0\0\0\x08\0xl/workbook.xml", "the workbook is damaged"),
        (&utf16, "UTF-16"),
    ] {
        fs::write(work.path("list.csv"), content).expect("written");
        let error = work.fails(3, &args(&[&["check", "list.csv", "--quiet"], &FAR, &DATE]));
        assert!(error.contains(cause) && error.contains("list.csv"), "{cause}: {error}");
    }
    fs::write(work.path("list.csv"), "").expect("written");
    work.done(&args(&[&["check", "list.csv", "--quiet", "--max-rejected", "100%"], &FAR, &DATE]));
    let swedish = args(&[&["check", "-r", "krr.nabar", "swedish.csv", "-q"], &DATE]);
    fs::write(work.path("swedish.csv"), format!("{KNOWN}\n{OTHER}\n")).expect("written");
    assert!(work.fails(3, &swedish).contains("Swedish"));
}
