//! Channel rules through the real binary: splits, the report, `rules check` and `rules explain`.

use super::{DATE, FAR, args, plain_list};
use crate::support::workspace::{Workspace, fixture, root};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;

/// Conditions of every kind. `read` decides the same.
const RULES: &str = r#"
currency = "SEK"
compare_with = "print"

[[channel]]
name = "mailbox"
cost = 0.90
[[channel]]
name = "email"
cost = 0.05
[[channel]]
name = "print"
cost = 8.50
[[channel]]
name = "print-north"
cost = 9.25
[[channel]]
name = "hold"
cost = 0

[[list]]
name = "protected"
path = "protected.csv"

[[rule]]
name = "protected"
when = { list = "protected" }
channel = "hold"

[[rule]]
name = "minor, or of unknown age"
when = { recipient = ["person", "samordningsnummer"], any = [{ age = { below = 30 } }, { age = "unknown" }] }
channel = "hold"

[[rule]]
name = "Brevia, Göteborg"
when = { operator = "Brevia AB", cell = { column = "ort", is = ["Göteborg", "Åre"] } }
channel = "mailbox"

[[rule]]
name = "north, \"by hand\""
when = { cell = { column = "postnummer", above = 80000 }, not = { outcome = "digital" } }
channel = "print-north"

[[rule]]
name = "not registered, in S"
when = { reason = "not_registered", cell = { column = "ort", matches = "S*" } }
channel = "email"

[[rule]]
name = "has a mailbox"
when = { outcome = "digital" }
channel = "mailbox"

[[rule]]
name = "all others"
channel = "print"
"#;

/// Index of the rule for a row, from what the register says of it and from its cells.
fn read(said: &csv::StringRecord, cells: &[String], protected: &[String]) -> usize {
    let (id, outcome, reason, operator) = (&said[1], &said[2], &said[3], &said[4]);
    let number = |text: &str| text.replace(' ', "").parse::<f64>().ok();
    let is_person = !id.starts_with("16");
    let day: u32 = id[6..8].parse().expect("digits");
    let (year, month, day) = (id[..4].parse().expect("digits"), id[4..6].parse().expect("digits"), day % 60);
    let born: Option<jiff::civil::Date> = jiff::civil::Date::new(year, month, day as i8).ok();
    let is_young = born.is_none_or(|born| born > jiff::civil::date(1996, 6, 1));
    let (postcode, town) = (&cells[3], &cells[4]);
    match () {
        () if protected.contains(&id.to_owned()) => 0,
        () if is_person && is_young => 1,
        () if operator == "164921000016" && (town == "Göteborg" || town == "Åre") => 2,
        () if number(postcode).is_some_and(|number| number > 80000.0) && outcome != "digital" => 3,
        () if reason == "not_registered" && town.starts_with('S') => 4,
        () if outcome == "digital" => 5,
        () => 6,
    }
}

const NAMES: [(&str, &str); 7] = [
    ("protected", "hold"),
    ("minor, or of unknown age", "hold"),
    ("Brevia, Göteborg", "mailbox"),
    ("north, \"by hand\"", "print-north"),
    ("not registered, in S", "email"),
    ("has a mailbox", "mailbox"),
    ("all others", "print"),
];

fn workspace() -> (Workspace, Vec<String>) {
    let work = Workspace::with_register_files();
    let (list, recipients) =
        (plain_list(), fs::read_to_string(fixture("far/recipients.csv")).expect("recipients"));
    let list = String::from_utf8(list).expect("text");
    let ids = recipients.lines().skip(1).filter_map(|line| line.split(',').next());
    let protected: Vec<String> = ids.filter(|id| list.contains(id)).step_by(7).map(str::to_owned).collect();
    work.write("protected.csv", format!("id\n{}\n", protected.join("\n")));
    work.write("rules.toml", RULES);
    (work, protected)
}

fn records(bytes: &[u8]) -> Vec<csv::StringRecord> {
    csv::Reader::from_reader(bytes).records().map(|record| record.expect("a record")).collect()
}

/// Splits a list without and with the rules, and compares each file of the latter with what `read` says.
fn compare(
    work: &Workspace,
    protected: &[String],
    list: &[u8],
    cells: &[Vec<String>],
    more: &[&str],
) -> Value {
    work.write("list.csv", list);
    let arguments = |out| args(&[&["split", "list.csv", "-o", out, "--force", "--json"], &FAR, &DATE, more]);
    work.json(&arguments("plain"));
    let report = work.json(&[arguments("out"), vec!["--rules", "rules.toml"]].concat());
    let out = |name: &str| fs::read(work.path("out").join(name)).expect("a file");
    let plain = records(&fs::read(work.path("plain/feedback.csv")).expect("feedback"));
    let feedback = records(&out("feedback.csv"));
    let rows: Vec<&[u8]> = list.split_inclusive(|byte| *byte == b'\n').collect();
    assert_eq!((rows.len() - 1, cells.len(), plain.len()), (feedback.len(), feedback.len(), feedback.len()));
    let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let operators = report["operators"].as_array().expect("operators");
    let file_of = |channel: &str, operator: &str| match channel {
        "mailbox" => {
            let of = operators.iter().find(|one| one["id"] == operator).expect("an operator");
            of["file"].as_str().expect("a file").to_owned()
        }
        channel => format!("{channel}.csv"),
    };
    let mut letters = [0u64; NAMES.len()];
    for (index, (said, found)) in plain.iter().zip(&feedback).enumerate() {
        assert!((0..5).all(|column| said[column] == found[column]), "row {}", index + 1);
        let file = if matches!(&said[2], "rejected" | "duplicate") {
            assert_eq!((&found[5], &found[6]), ("", ""));
            format!("{}.csv", said[2].replace("duplicate", "duplicates"))
        } else {
            let rule = read(said, &cells[index], protected);
            letters[rule] += 1;
            let (name, channel) = NAMES[rule];
            assert_eq!((&found[6], &found[5]), (name, channel), "row {}", index + 1);
            file_of(channel, &said[4])
        };
        files.entry(file).or_insert_with(|| rows[0].to_vec()).extend_from_slice(rows[index + 1]);
    }
    for file in report["files"].as_array().expect("files") {
        let name = file["path"].as_str().expect("a path");
        let expected = files.remove(name).unwrap_or_else(|| rows[0].to_vec());
        assert!(out(name) == expected, "{name}");
        assert_eq!(file["bytes"].as_u64(), Some(expected.len() as u64), "{name}");
    }
    assert!(files.is_empty(), "{:?}", files.keys());
    for (rule, letters) in letters.into_iter().enumerate() {
        let of = &report["channels"]["rules"][rule];
        assert_eq!((&of["name"], &of["letters"]), (&NAMES[rule].0.into(), &letters.into()));
    }
    report
}

/// The rows of the fixture, cut into cells.
fn cells() -> Vec<Vec<String>> {
    let list = plain_list();
    let mut reader =
        csv::ReaderBuilder::new().delimiter(b';').flexible(true).quoting(false).from_reader(&list[..]);
    let cut = |record: csv::StringRecord| {
        let mut cells: Vec<String> = record.iter().map(|cell| cell.trim().to_owned()).collect();
        cells.resize(6, String::new());
        cells
    };
    reader.records().map(|record| cut(record.expect("a record"))).collect()
}

/// Every row goes to the file of its channel, byte for byte and in order, in any encoding and with any quotation marks, and
/// the feedback, the report, `rules check` and `rules explain` say the same.
#[test]
fn rules_decide_the_file_of_each_row() {
    let (work, protected) = workspace();
    let list = plain_list();
    let cells = cells();
    let report = compare(&work, &protected, &list, &cells, &[]);
    let rules = report["channels"]["rules"].as_array().expect("rules");
    assert!(rules.iter().all(|rule| rule["letters"].as_u64() > Some(0)), "each rule has letters: {rules:?}");
    let channels = report["channels"]["channels"].as_array().expect("channels");
    let of = |key: &str| channels.iter().map(|channel| channel[key].as_f64().expect("a number")).sum::<f64>();
    let page = work.read("out/report.html");
    for shown in ["Channels", "north, &quot;by hand&quot; → print-north", "all by channel print"] {
        assert!(page.contains(shown), "{shown}");
    }
    let costs = &report["channels"]["costs"];
    assert!((of("total") - costs["as_split"].as_f64().expect("a number")).abs() < 0.01, "{costs}");
    assert_eq!(costs["compared"].as_f64(), Some(of("letters") * 8.5));
    compare(&work, &protected, &list, &cells, &["--duplicates", "set-aside", "--threads", "1"]);

    let checked = work.json(&args(&[&["rules", "check", "rules.toml", "list.csv", "--json"], &FAR, &DATE]));
    for (rule, counted) in rules.iter().zip(checked["rules"].as_array().expect("rules")) {
        assert_eq!((&rule["letters"], &counted["can_apply"]), (&counted["letters"], &true.into()));
    }
    let feedback = records(&fs::read(work.path("out/feedback.csv")).expect("feedback"));
    for row in (0..feedback.len()).step_by(29) {
        let number = (row + 1).to_string();
        let explain = ["rules", "explain", "rules.toml", "--row", &number, "list.csv"];
        let text = work.done(&args(&[&explain, &FAR, &DATE]));
        match &feedback[row][6] {
            "" => assert!(text.contains("no rule is asked"), "{text}"),
            name => assert!(text.contains(&format!("{name}: applies: {}", &feedback[row][5])), "{text}"),
        }
    }

    // Windows-1252.
    let text = String::from_utf8(list).expect("text");
    let narrow: Vec<u8> = text.chars().map(|character| character as u32 as u8).collect();
    compare(&work, &protected, &narrow, &cells, &[]);
    // Each cell in quotation marks, and marks and a delimiter in one of them.
    let mut quoted = csv::WriterBuilder::new()
        .delimiter(b';')
        .quote_style(csv::QuoteStyle::Always)
        .from_writer(Vec::new());
    quoted.write_record(text.lines().next().expect("a header").split(';')).expect("written");
    for row in &cells {
        let mut row = row.clone();
        row[1] = format!("{} \"; Bo\"", row[1]);
        quoted.write_record(row).expect("written");
    }
    compare(&work, &protected, &quoted.into_inner().expect("written"), &cells, &[]);
}

/// Cells of a list of fixed width, and of one whose rows are short, are empty where there are none.
#[test]
fn cells_of_fixed_width_and_of_short_rows() {
    let work = Workspace::with_register_files();
    let rules = |column: &str| {
        format!(
            "[[channel]]\nname = \"a\"\n[[channel]]\nname = \"b\"\n[[channel]]\nname = \"c\"\n\
             [[rule]]\nname = \"empty\"\nchannel = \"a\"\nwhen.cell = {{ column = {column}, empty = true }}\n\
             [[rule]]\nname = \"large\"\nchannel = \"b\"\nwhen.cell = {{ column = {column}, is = \"C4\" }}\n\
             [[rule]]\nname = \"others\"\nchannel = \"c\"\n"
        )
    };
    let rows = ["196810199809C4\n", "195904109807  \n", "198104809804\n", "164560149462C5\n"];
    work.write("list.txt", rows.concat());
    work.write("rules.toml", rules("\"12:2\""));
    let split = ["split", "list.txt", "-o", "out", "--quiet", "--rules", "rules.toml", "--id-at", "0:12"];
    work.done(&args(&[&split, &FAR, &DATE]));
    let read = |name: &str| work.read(&format!("out/{name}"));
    assert_eq!(read("a.csv"), rows[1..3].concat());
    assert_eq!((read("b.csv"), read("c.csv")), (rows[0].to_owned(), rows[3].to_owned()));

    let rows = ["196810199809;Bo;C4\n", "195904109807;Ci;\n", "198104809804;Di\n", "164560149462;Ed; C4 \n"];
    work.write("list.csv", rows.concat());
    work.write("rules.toml", rules("3"));
    let split = ["split", "list.csv", "-o", "out", "--force", "--quiet", "--rules", "rules.toml"];
    work.done(&args(&[&split, &FAR, &DATE]));
    assert_eq!(read("a.csv"), rows[1..3].concat());
    assert_eq!((read("b.csv"), read("c.csv")), ([rows[0], rows[3]].concat(), String::new()));
}

/// Of a row with two ids, each letter has the rule of its own recipient.
#[test]
fn each_of_two_letters_has_its_own_rule() {
    let work = Workspace::with_register_files();
    work.write(
        "rules.toml",
        "[[channel]]\nname = \"old\"\n[[channel]]\nname = \"young\"\n\
         [[rule]]\nname = \"young\"\nchannel = \"young\"\nwhen.age = { below = 60 }\n\
         [[rule]]\nname = \"old\"\nchannel = \"old\"\n",
    );
    work.write("list.csv", "a;b\n196810199809;195904109807\n195904109807;198104809804\n");
    let split = [
        "split",
        "list.csv",
        "-o",
        "out",
        "--quiet",
        "--rules",
        "rules.toml",
        "--id-column",
        "a",
        "--id-column",
        "b",
        "--two-ids",
        "both",
    ];
    work.done(&args(&[&split, &FAR, &DATE]));
    let rules: Vec<String> = records(work.read("out/feedback.csv").as_bytes())
        .iter()
        .map(|line| format!("{} {}", &line[0], &line[6]))
        .collect();
    assert_eq!(rules, ["1 young", "1 old", "2 old", "2 young"]);
}

/// What does not fit is an error with the line of the rules, before anything is written.
#[test]
fn rules_that_do_not_fit_the_list_are_refused() {
    let (work, _) = workspace();
    let list = fixture("far-list.csv");
    let fails = |code, rules: &str| {
        work.write("bad.toml", rules);
        let error =
            work.fails(code, &args(&[&["split", &list, "-o", "none", "--rules", "bad.toml"], &FAR, &DATE]));
        assert!(!work.path("none").exists());
        error
    };
    let error = fails(2, &RULES.replace("\"postnummer\"", "\"postnumer\""));
    assert!(
        error.contains("bad.toml: line 42 of the rules") && error.contains("did you mean \"postnummer\"?"),
        "{error}"
    );
    let error = fails(2, &RULES.replace("channel = \"email\"", "channel = \"mail\""));
    assert!(error.contains("bad.toml: line 48: there is no [[channel]]"), "{error}");
    // A person on this list could get what she must not.
    work.write("protected.csv", "id\n196810199809\nunknown\n");
    let error = fails(3, RULES);
    assert!(
        error.contains("the list protected of the rules (line 22) has rows without a valid id (1)"),
        "{error}"
    );
    for (ids, finding) in [
        // What looks like the end of a report, or stands above the header, and a second id.
        ("personnummer\n195904109807\nslut 196810199809\n", "without a valid id (1)"),
        ("personnummer;anm\n195904109807;se 196810199809\n", "without a valid id (1)"),
        ("personnummer;make\n195904109807;1968 10 19 9809\n", "without a valid id (1)"),
        ("personnummer;företag\n195904109807;4560149462\n", "without a valid id (1)"),
        ("1968-10-19-9809\npersonnummer;namn\n195904109807;Eva\n", "without a valid id (1)"),
        ("SKYDDAD Anna\npersonnummer\n195904109807\n", "without a valid id (1)"),
        ("Elev;Anna;Umeå;7\n195904109807;1;Umeå;7\n", "without a valid id (1)"),
        ("id\n", "has no id"),
    ] {
        work.write("protected.csv", ids);
        let error = fails(3, RULES);
        assert!(error.contains(finding), "{error}");
    }
    work.write("protected.csv", "196810199808\npersonnummer\n195904109807\n");
    let error = fails(2, RULES);
    assert!(
        error.contains("the list protected of the rules (line 22): the header, or a line above it"),
        "{error}"
    );
    work.write("protected.csv", "Person;Handläggare personnummer\n19681019-XXXX;195904109807\n");
    assert!(fails(2, RULES).contains("cannot determine the column"), "those of case workers");
    work.write("protected.csv", "id\n196810199809\nunknown\n");
    let allowed = RULES.replace("\"protected.csv\"", "\"protected.csv\"\nmax_rejected = \"1\"");
    work.write("allowed.toml", allowed);
    work.done(&args(&[&["split", &list, "-o", "out", "--quiet", "--rules", "allowed.toml"], &FAR, &DATE]));
    let error =
        work.fails(2, &args(&[&["rules", "explain", "allowed.toml", "--row", "601", &list], &FAR, &DATE]));
    assert!(error.contains("the list has 600 rows"), "{error}");
}

/// Nothing of an earlier split is left beside another one, so that no letter is in two files.
#[test]
fn the_files_of_channels_of_an_earlier_split_are_removed() {
    let (work, _) = workspace();
    let list = fixture("far-list.csv");
    let split = |rules: &[&str]| {
        let report =
            work.json(&args(&[&["split", &list, "-o", "out", "--force", "--json"], rules, &FAR, &DATE]));
        let files = report["files"].as_array().expect("files").iter();
        let mut names: Vec<String> =
            files.map(|file| file["path"].as_str().expect("a path").to_owned()).collect();
        names.extend(["feedback.csv", "report.html", "report.json"].map(str::to_owned));
        names.sort();
        assert_eq!(work.names("out"), names);
    };
    split(&["--rules", "rules.toml"]);
    let renamed = RULES.replace("name = \"mailbox\"", "name = \"box\"\nmailbox = true");
    work.write(
        "renamed.toml",
        renamed.replace("channel = \"mailbox\"", "channel = \"box\"").replace("hold", "manual"),
    );
    split(&["--rules", "renamed.toml"]);
    split(&[]);
    split(&["--rules", "rules.toml"]);
}

/// Of two columns with one name, neither is read.
#[test]
fn a_column_whose_name_occurs_twice_is_refused() {
    let (work, _) = workspace();
    work.write("twice.csv", "pnr;a;b;postnummer;ort;Ort\n196810199809;x;y;41101;Lund;Umea\n");
    let split = ["split", "twice.csv", "-o", "none", "--rules", "rules.toml"];
    let error = work.fails(2, &args(&[&split, &FAR, &DATE]));
    assert!(error.contains("several columns of the list are named ort: name it by its number"), "{error}");
}

/// What is probably not meant is said by the job, too; an explanation says what it was not given.
#[test]
fn warnings_and_hints_about_rules() {
    let (work, _) = workspace();
    let list = fixture("far-list.csv");
    let unknown = RULES.replace("Brevia AB", "Breva AB");
    let dead = "[[rule]]\nname = \"twice\"\nchannel = \"mailbox\"\nwhen.outcome = \"digital\"\n";
    let last = "[[rule]]\nname = \"all others\"";
    work.write("odd.toml", unknown.replace(last, &format!("{dead}{last}")));
    let split = work.run(&args(&[&["split", &list, "-o", "out", "--rules", "odd.toml"], &FAR, &DATE]));
    let said = String::from_utf8_lossy(&split.stderr);
    for warning in ["the register has no operator Breva AB", "rule twice can never apply"] {
        assert!(said.contains("nabar: warning: odd.toml: ") && said.contains(warning), "{said}");
    }
    let explain = ["rules", "explain", "rules.toml"];
    let text = work.done(&args(&[&explain, &["196810199809", "--cell", "ort=Lund"], &FAR, &DATE]));
    assert!(text.contains("taken as empty, since no --cell gives them: postnummer\n"), "{text}");
    assert!(work.fails(2, &args(&[&explain, &[&list], &FAR, &DATE])).contains("name the row with --row N"));
    let error = work.fails(2, &args(&[&explain, &["196810199809", "--cell", "stad=Lund"], &FAR, &DATE]));
    assert!(error.contains("the rules read no column stad; they read: ort, postnummer"), "{error}");
}

/// The ready-made rules, as `nabar rules check` shows them.
#[test]
fn ready_made_rules_are_checked() {
    let work = Workspace::new();
    for entry in fs::read_dir(root().join("fixtures/rules")).expect("read") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|ending| ending == "toml") {
            let text = work.done(&["rules", "check", path.to_str().expect("text")]);
            assert!(text.contains("all others") && !text.contains("never"), "{text}");
        }
    }
}

/// A split with rules is rechecked as any other: its mailbox files are the digital ones.
#[test]
fn the_mailboxes_of_a_split_with_rules_are_rechecked() {
    let (work, _) = workspace();
    let list = fixture("far-list.csv");
    let report =
        work.json(&args(&[&["split", &list, "-o", "out", "--json", "--rules", "rules.toml"], &FAR, &DATE]));
    let mailboxes =
        report["files"].as_array().expect("files").iter().filter(|file| file["channel"] == "mailbox");
    for file in mailboxes {
        assert_eq!((&file["outcome"], file["operator_id"].is_string()), (&"digital".into(), true), "{file}");
    }
    let others = report["files"].as_array().expect("files").iter().filter(|file| file["channel"] == "print");
    assert!(others.into_iter().all(|file| file["outcome"].is_null() && file["operator_id"].is_null()));
}
