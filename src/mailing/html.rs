//! `report.html`: the report as one page, for people.

use super::report::{Report, Savings};
use maud::{DOCTYPE, Markup, PreEscaped, html};

/// Language of a page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Language {
    /// English.
    #[default]
    English,
    /// Swedish.
    Swedish,
}

const STYLE: &str = "
:root { color-scheme: light dark; --ink: #1b2430; --soft: #5b6776; --line: #d9dee5; --page: #fff;
  --digital: #1f7a4d; --notify: #2b6cb0; --paper: #b7791f; --rejected: #c53030; --duplicate: #718096; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8ecf1; --soft: #a3afbd; --line: #36404c; --page: #161b22;
  --digital: #3fb27f; --notify: #63a4e8; --paper: #e0a84a; --rejected: #f07a7a; --duplicate: #a0aec0; } }
body { font: 16px/1.45 system-ui, sans-serif; color: var(--ink); background: var(--page);
  max-width: 46rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; } h2 { font-size: 1.05rem; margin: 2rem 0 .5rem; }
.soft { color: var(--soft); } .figure { font-size: 2.6rem; font-weight: 650; line-height: 1.1; margin: 1.2rem 0 .2rem; }
.bar { display: flex; height: 1.6rem; border-radius: .3rem; overflow: hidden; background: var(--line); }
.bar span { display: block; min-width: 1px; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
td, th { padding: .3rem .5rem .3rem 0; border-bottom: 1px solid var(--line); text-align: left; font-weight: normal; }
td.number { text-align: right; white-space: nowrap; } td.line { width: 38%; }
td.line span { display: block; height: .7rem; border-radius: .2rem; min-width: 1px; }
.refused { border: 2px solid var(--rejected); border-radius: .3rem; padding: .6rem .8rem; margin: 1rem 0; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; } dt { color: var(--soft); }
dd { margin: 0; overflow-wrap: anywhere; }
";

impl Language {
    fn code(self) -> &'static str {
        match self {
            Language::English => "en",
            Language::Swedish => "sv",
        }
    }

    /// The English text or its Swedish translation.
    fn say(self, english: &'static str) -> &'static str {
        if self == Language::English {
            return english;
        }
        match english {
            "Digital and paper" => "Digitalt och papper",
            "of all rows go digitally" => "av alla rader går digitalt",
            "of all letters go digitally" => "av alla brev går digitalt",
            "Outcomes" => "Utfall",
            "digital" => "digitalt",
            "notify" => "avisering (e-post eller sms)",
            "paper" => "papper",
            "rejected" => "avvisade",
            "duplicate" => "dubbletter",
            "Digital, by mailbox operator" => "Digitalt, per brevlådeoperatör",
            "Why not digital" => "Varför inte digitalt",
            "Savings" => "Besparing",
            "saved" => "sparas",
            "all on paper" => "allt på papper",
            "as split" => "enligt uppdelningen",
            "What was asked" => "Underlag",
            "List" => "Lista",
            "Sender" => "Avsändare",
            "Register" => "Register",
            "Rows with an identity that stood before" => "Rader med en tidigare förekommande identitet",
            "Digest" => "Kontrollsumma",
            "as of" => "per",
            "sequence" => "sekvensnummer",
            "Refused: more rows were rejected than the job allows. No files but the rejected rows were kept." => {
                "Avbrutet: fler rader avvisades än uppdraget tillåter. Bara filen med avvisade rader finns kvar."
            }
            "not_registered" => "inte ansluten",
            "sender_declined" => "har valt bort avsändaren",
            "pending" => "anslutning pågår",
            "anonymous_account" => "anonymt konto",
            "operator_without_address" => "operatör utan adress",
            "reserved" => "har reserverat sig",
            "not_notifiable" => "kan inte aviseras",
            "deleted" => "avregistrerad",
            "empty" => "identitet saknas",
            "bad_character" => "otillåtet tecken i identiteten",
            "bad_length" => "fel längd på identiteten",
            "bad_century" => "fel sekel i identiteten",
            "bad_date" => "datumet finns inte",
            "bad_organisation_number" => "inget organisationsnummer",
            "bad_check_digit" => "fel kontrollsiffra",
            "ambiguous" => "tvetydig identitet",
            "missing_column" => "kolumnen saknas",
            "bad_quoting" => "felaktiga citattecken",
            "scientific_notation" => "talet är avrundat av ett kalkylprogram",
            "joined_rows" => "två rader i en",
            "more_than_one_identity" => "flera identiteter i raden",
            "blank_row" => "tom rad",
            "repeated_header" => "rubrikraden igen",
            "footer" => "summarad eller annat slut på listan",
            "Refused: the list has no rows." => "Avbrutet: listan har inga rader.",
            "Rows with another identity beside their own" => "Rader med ytterligare en identitet",
            "Letters, and those to the second identity" => "Brev, och de till den andra identiteten",
            "How the list was read" => "Så lästes listan",
            "header in row" => "rubrik på rad",
            "no header" => "utan rubrik",
            "identities in" => "identiteter i",
            "days old" => "dagar gammalt",
            other => other,
        }
    }

    /// A reason in words.
    fn reason(self, name: &'static str) -> String {
        match self {
            Language::English => name.replace('_', " "),
            Language::Swedish => self.say(name).to_owned(),
        }
    }

    /// A number in groups of three digits.
    fn number(self, number: u64) -> String {
        let digits = number.to_string();
        let mut grouped = String::new();
        for (place, digit) in digits.chars().enumerate() {
            if place > 0 && (digits.len() - place).is_multiple_of(3) {
                grouped.push(if self == Language::English { ',' } else { '\u{a0}' });
            }
            grouped.push(digit);
        }
        grouped
    }

    fn decimal(self, value: f64, places: usize) -> String {
        let text = format!("{value:.places$}");
        let (sign, text) = text.strip_prefix('-').map_or(("", &text[..]), |rest| ("-", rest));
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let whole = self.number(whole.parse().unwrap_or(u64::MAX));
        let point = if self == Language::English { "." } else { "," };
        let fraction = if fraction.is_empty() { String::new() } else { format!("{point}{fraction}") };
        format!("{sign}{whole}{fraction}")
    }

    fn percent(self, part: u64, whole: u64) -> String {
        let percent = if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 };
        let space = if self == Language::English { "" } else { "\u{a0}" };
        format!("{}{space}%", self.decimal(percent, 1))
    }
}

/// Whether a file begins as a page of [`Report::to_html`] does.
pub fn is_html_report(beginning: &[u8]) -> bool {
    memchr::memmem::find(beginning, b"<title>nabar: ").is_some()
}

impl Report {
    /// The report as one page that needs nothing else.
    pub fn to_html(&self, language: Language) -> String {
        page(self, language)
    }
}

fn page(report: &Report, language: Language) -> String {
    let say = |text| language.say(text);
    let rows = report.letters;
    let page = html! {
        (DOCTYPE)
        html lang=(language.code()) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "nabar: " (say("Digital and paper")) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { (say("Digital and paper")) }
                @if let Some(sender) = &report.sender { p.soft { (sender.name) } }
                @if let Some(reason) = report.refused {
                    p.refused {
                        @if reason == "no_rows" { (say("Refused: the list has no rows.")) }
                        @else { (say("Refused: more rows were rejected than the job allows. No files but the rejected rows were kept.")) }
                        @if let Some(cause) = &report.likely_cause { " " (cause) }
                    }
                }
                p.figure { (language.percent(report.outcomes["digital"], rows)) }
                @let all = if rows > report.list.rows { "of all letters go digitally" } else { "of all rows go digitally" };
                p { (say(all)) " (" (language.number(rows)) ")" }
                div.bar role="img" aria-label=(say("Outcomes")) {
                    @for (name, part) in bars(report) {
                        span title=(say(name)) style=(format!("width:{:.3}%;background:var(--{name})", share(part, rows))) {}
                    }
                }
                h2 { (say("Outcomes")) }
                (table(language, rows, bars(report).map(|(name, part)| (say(name).to_owned(), part, name))))
                @if let Some(savings) = &report.savings { (saved(savings, language)) }
                h2 { (say("Digital, by mailbox operator")) }
                (table(language, rows, report.operators.iter().map(|o| (o.name.clone(), o.rows, "digital"))))
                @if !report.reasons.is_empty() {
                    h2 { (say("Why not digital")) }
                    (table(language, rows, reasons(report, language).into_iter()))
                }
                (asked(report, language))
            }
        }
    };
    page.into_string()
}

/// Outcomes in the order in which they are shown.
fn bars(report: &Report) -> impl Iterator<Item = (&'static str, u64)> + '_ {
    let shown = ["digital", "notify", "paper", "rejected", "duplicate"].into_iter();
    shown.filter_map(|name| report.outcomes.get(name).map(|&rows| (name, rows))).filter(|(_, rows)| *rows > 0)
}

/// Reasons, the most frequent first.
fn reasons(report: &Report, language: Language) -> Vec<(String, u64, &'static str)> {
    let rejected = |name| super::RowProblem::all().any(|problem| problem.name() == name);
    let of = |(&name, &rows): (&&'static str, &u64)| {
        (language.reason(name), rows, if rejected(name) { "rejected" } else { "paper" })
    };
    let mut reasons: Vec<_> = report.reasons.iter().map(of).collect();
    reasons.sort_by_key(|(_, rows, _)| std::cmp::Reverse(*rows));
    reasons
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 }
}

fn table(language: Language, whole: u64, lines: impl Iterator<Item = (String, u64, &'static str)>) -> Markup {
    html! {
        table {
            @for (name, part, colour) in lines {
                tr {
                    th scope="row" { (name) }
                    td.line { span style=(format!("width:{:.3}%;background:var(--{colour})", share(part, whole))) {} }
                    td.number { (language.number(part)) }
                    td.number.soft { (language.percent(part, whole)) }
                }
            }
        }
    }
}

fn saved(savings: &Savings, language: Language) -> Markup {
    let amount = |amount| language.decimal(amount, 2);
    html! {
        h2 { (language.say("Savings")) }
        p {
            strong { (amount(savings.saved)) } " " (language.say("saved")) ": "
            (language.say("all on paper")) " " (amount(savings.paper_only)) ", "
            (language.say("as split")) " " (amount(savings.as_split)) "."
        }
    }
}

fn asked(report: &Report, language: Language) -> Markup {
    let say = |text| language.say(text);
    let register = &report.register;
    html! {
        h2 { (say("What was asked")) }
        dl {
            dt { (say("List")) } dd { (report.list.path) }
            dt { (say("How the list was read")) }
            dd {
                (report.list.encoding)
                @if !report.list.delimiter.is_empty() { ", " code { (report.list.delimiter.escape_default()) } }
                ", "
                @match report.list.header_row {
                    Some(row) => { (say("header in row")) " " (row) }
                    None => (say("no header"))
                }
                ", " (say("identities in")) " " (report.list.id_column)
            }
            @if let Some(sender) = &report.sender { dt { (say("Sender")) } dd { (sender.name) " (" (sender.id) ")" } }
            dt { (say("Register")) }
            dd {
                (if register.kind == "far" { "FaR" } else { "KRR" }) ", " (say("as of")) " " (register.as_of) ", "
                (say("sequence")) " " (register.sequence) ", " (register.age_days) " " (say("days old"))
            }
            dt { (say("Rows with an identity that stood before")) } dd { (language.number(report.duplicates)) }
            @if report.more_than_one_identity > 0 {
                dt { (say("Rows with another identity beside their own")) }
                dd { (language.number(report.more_than_one_identity)) }
            }
            @if report.second_ids > 0 {
                dt { (say("Letters, and those to the second identity")) }
                dd { (language.number(report.letters)) ", " (language.number(report.second_ids)) }
            }
            dt { (say("Digest")) } dd { (report.list.digest) }
        }
    }
}
