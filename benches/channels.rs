//! What channel rules cost a split: `cargo bench --bench channels`.
//!
//! 3 million recipients (`NABAR_BENCH_RECIPIENTS`) and as many rows. The splits of each round are made in turns,
//! without rules and with each file of them, and compared by the ratio of the medians. The letters of each rule are compared
//! with those of a plain reading of the list.

use nabar::channels::ChannelRules;
use nabar::identities::Identity;
use nabar::mailing::{self, Destination, Mailing, Ruling};
use nabar::register::{Outcome, Question};
use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::time::Instant;

mod support;

/// As in the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const CHANNELS: &str = r#"
[[channel]]
name = "mailbox"
[[channel]]
name = "print"
[[channel]]
name = "hold"
"#;

/// The register's answer only.
const OUTCOMES: &str = r#"
[[rule]]
name = "declined"
when = { reason = "sender_declined" }
channel = "hold"
[[rule]]
name = "mailbox"
when = { outcome = "digital" }
channel = "mailbox"
[[rule]]
name = "others"
channel = "print"
"#;

/// A cell of every letter.
const ONE_CELL: &str = r#"
[[rule]]
name = "Göteborg"
when = { cell = { column = "ort", is = "Göteborg" } }
channel = "hold"
[[rule]]
name = "mailbox"
when = { outcome = "digital" }
channel = "mailbox"
[[rule]]
name = "others"
channel = "print"
"#;

/// Cells, ages, and lists of ids.
const EIGHT: &str = r#"
[[list]]
name = "protected"
path = "protected.csv"
[[list]]
name = "customers"
path = "customers.csv"
[[rule]]
name = "protected"
when = { list = "protected" }
channel = "hold"
[[rule]]
name = "minor"
when = { age = { below = 18 } }
channel = "hold"
[[rule]]
name = "Göteborg"
when = { cell = { column = "ort", is = ["Göteborg", "Kiruna"] }, list = "customers" }
channel = "hold"
[[rule]]
name = "north"
when = { cell = { column = "postnummer", above = 90000 }, recipient = "person" }
channel = "print"
[[rule]]
name = "case"
when = { cell = { column = "arende", matches = "B6*" } }
channel = "hold"
[[rule]]
name = "organisation without address"
when = { recipient = "organisation", cell = { column = "adress", empty = true } }
channel = "hold"
[[rule]]
name = "mailbox"
when = { outcome = "digital" }
channel = "mailbox"
[[rule]]
name = "others"
channel = "print"
"#;

/// Beside these, another register: who declines one sender is asked of the other.
const REGISTER: &str = r#"
[[register]]
name = "other"
path = "OTHER"
sender = "SENDER"
[[rule]]
name = "other"
when = { reason = "sender_declined", register = { name = "other", outcome = "digital" } }
channel = "hold"
[[rule]]
name = "not in the other"
when = { not = { register = { name = "other", outcome = "digital" } }, outcome = "digital", age = { below = 18 } }
channel = "print"
"#;

/// A letter as a plain reading sees it.
struct Row<'r> {
    identity: Identity,
    outcome: Outcome,
    /// What the other register says.
    other: Outcome,
    cells: Vec<&'r str>,
}

/// The rule of a letter.
type Plain<'p> = &'p dyn Fn(&Row<'_>) -> usize;

/// Letters by rule, as the csv crate and a plain reading of the rules count them.
fn expected(
    text: &str,
    question: &Question<'_>,
    other: &Question<'_>,
    count: usize,
    rule: Plain<'_>,
) -> Vec<u64> {
    let mut letters = vec![0; count];
    let mut reader =
        csv::ReaderBuilder::new().delimiter(b';').flexible(true).from_reader(text.as_bytes()).into_records();
    let country = question.register().kind().country();
    reader.by_ref().for_each(|record| {
        let record = record.expect("a record");
        let Ok(identity) = Identity::parse(record[0].as_bytes(), country, support::today()) else { return };
        let outcome = question.ask(&identity).expect("undamaged");
        let other = other.ask(&identity).expect("undamaged");
        let row = Row { identity, outcome, other, cells: record.iter().map(str::trim).collect() };
        letters[rule(&row)] += 1;
    });
    letters
}

fn main() {
    let rows = support::size(3_000_000);
    let rounds = if support::short() { 1 } else { 7 };
    let data = support::Data::far(rows, rows);
    let list = data.with_dialect("clean", rows, &["--dirt", "0", "--duplicates", "0"]);
    let text = fs::read_to_string(&list).expect("a list");
    let register = data.open();
    let sender = data.sender();
    let question = register.question(Some(&sender), jiff::civil::date(2026, 6, 1)).expect("a question");

    let directory = data.directory.join("rules");
    fs::create_dir_all(&directory).expect("a directory");
    let identities = data.identities();
    let every = |step: usize| identities.iter().step_by(step).copied().collect::<HashSet<Identity>>();
    let (protected, customers) = (every(1000), every(10));
    for (name, ids) in [("protected.csv", &protected), ("customers.csv", &customers)] {
        let lines: String = ids.iter().map(|id| format!("{}\n", id.as_str())).collect();
        fs::write(directory.join(name), lines).expect("written");
    }
    let others = register.senders().iter().map(|sender| sender.id.clone());
    let other_sender = others.into_iter().find(|id| *id != sender).expect("another sender");
    let other = register.question(Some(&other_sender), jiff::civil::date(2026, 6, 1)).expect("a question");
    let is_digital = |row: &Row<'_>| matches!(row.outcome, Outcome::Digital(_));
    let last = |row: &Row<'_>, digital: usize| if is_digital(row) { digital } else { digital + 1 };
    let outcomes = |row: &Row<'_>| if row.outcome.reason() == "sender_declined" { 0 } else { last(row, 1) };
    let one_cell = |row: &Row<'_>| if row.cells[4] == "Göteborg" { 0 } else { last(row, 1) };
    let eight = |row: &Row<'_>| {
        let is_organisation = row.identity.as_str().starts_with("16");
        let born = row.identity.date_of_birth();
        let cell = |column: usize| row.cells.get(column).copied().unwrap_or_default();
        match () {
            () if protected.contains(&row.identity) => 0,
            () if born.is_some_and(|born| born > jiff::civil::date(2008, 6, 1)) => 1,
            () if ["Göteborg", "Kiruna"].contains(&cell(4)) && customers.contains(&row.identity) => 2,
            () if cell(3).replace(' ', "").parse::<u32>().is_ok_and(|number| number > 90000)
                && row.identity.space().name() == "personnummer" =>
            {
                3
            }
            () if cell(5).starts_with("B6") => 4,
            () if is_organisation && cell(2).is_empty() => 5,
            () => last(row, 6),
        }
    };
    let with_register =
        REGISTER.replace("OTHER", &data.register.display().to_string()).replace("SENDER", &other_sender);
    let with_register = format!("{with_register}{EIGHT}");
    let with_other = |row: &Row<'_>| {
        let is_in_other = matches!(row.other, Outcome::Digital(_));
        let is_minor =
            || row.identity.date_of_birth().is_some_and(|born| born > jiff::civil::date(2008, 6, 1));
        match () {
            () if row.outcome.reason() == "sender_declined" && is_in_other => 0,
            () if is_digital(row) && !is_in_other && is_minor() => 1,
            () => 2 + eight(row),
        }
    };
    let files: [(&str, &str, Plain<'_>); 4] = [
        ("outcomes only", OUTCOMES, &outcomes),
        ("one cell", ONE_CELL, &one_cell),
        ("eight rules", EIGHT, &eight),
        ("ten rules and a second register", &with_register, &with_other),
    ];
    let all: Vec<ChannelRules> = files
        .iter()
        .map(|(_, text, _)| ChannelRules::parse(&format!("{CHANNELS}{text}"), &directory).expect("rules"))
        .collect();
    let plain = Mailing { today: support::today(), ..Mailing::new(&question, &list) };
    let rulings: Vec<Ruling<'_>> =
        all.iter().map(|rules| Ruling::load(rules, &plain).expect("id lists")).collect();
    for ((name, _, rule), ruling) in files.iter().zip(&rulings) {
        let report = mailing::check(&Mailing { ruling: Some(ruling), ..plain.clone() }).expect("checked");
        let found: Vec<u64> = report.channels.expect("rules").rules.iter().map(|rule| rule.letters).collect();
        assert_eq!(found, expected(&text, &question, &other, found.len(), rule), "{name}");
    }

    let to = data.directory.join("split");
    let split = |ruling: Option<&Ruling<'_>>| seconds(&to, &Mailing { ruling, ..plain.clone() });
    let mut times = vec![Vec::new(); 1 + rulings.len()];
    for round in 0..rounds {
        for turn in 0..times.len() {
            // Each begins as often as the others.
            let job = (turn + round) % times.len();
            times[job].push(split(job.checked_sub(1).map(|rules| &rulings[rules])));
        }
    }
    let medians: Vec<f64> = times.into_iter().map(support::median).collect();
    let names = std::iter::once("without rules").chain(files.iter().map(|(name, ..)| *name));
    for (name, median) in names.zip(&medians) {
        println!(
            "split, {name}: {:.2} of the time without rules, {:.1} million rows/s",
            median / medians[0],
            rows as f64 / median / 1e6
        );
    }
}

/// Seconds of a split.
fn seconds(to: &Path, mailing: &Mailing<'_>) -> f64 {
    let _ = fs::remove_dir_all(to);
    let began = Instant::now();
    mailing::split(mailing, &Destination::new(to)).expect("split");
    let seconds = began.elapsed().as_secs_f64();
    let _ = fs::remove_dir_all(to);
    seconds
}
