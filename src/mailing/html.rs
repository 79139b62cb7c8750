//! `report.html`: the report as one page.

use super::channel_report::ChannelsSummary;
use super::report::{Report, Savings};
use super::rows::RowProblem;
use super::words::Language;
use crate::plain_text::plain;
use maud::{DOCTYPE, Markup, PreEscaped, html};

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

/// Whether a file begins as a page of [`Report::to_html`] does.
pub fn is_html_report(beginning: &[u8]) -> bool {
    memchr::memmem::find(beginning, b"<title>nabar: ").is_some()
}

impl Report {
    /// The report as one self-contained page.
    pub fn to_html(&self, language: Language) -> String {
        page(self, language)
    }
}

fn page(report: &Report, language: Language) -> String {
    let words = language.words();
    let rows = report.letters;
    let page = html! {
        (DOCTYPE)
        html lang=(language.code()) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "nabar: " (words.title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { (words.title) }
                @if let Some(sender) = &report.sender { p.soft { (plain(&sender.name)) } }
                @if let Some(reason) = report.refused {
                    p.refused {
                        @if reason == "no_rows" { (words.refused_no_rows) } @else { (words.refused_max_rejected) }
                        @if let Some(cause) = &report.likely_cause { " " (language.cause(cause)) }
                    }
                }
                @let digital = report.digital_letters();
                p.figure { (language.percent(digital, rows)) }
                @let go = if rows > report.list.rows { words.letters_digital } else { words.rows_digital };
                p { (language.number(digital)) " " (words.of) " " (language.number(rows)) " " (go) }
                div.bar role="img" aria-label=(words.outcomes) {
                    @for (name, part) in bars(report) {
                        span title=(language.outcome(name)) style=(format!("width:{:.3}%;background:var(--{name})", share(part, rows))) {}
                    }
                }
                h2 { (words.outcomes) }
                (table(language, rows, bars(report).map(|(name, part)| (language.outcome(name), part, name))))
                @if let Some(found) = &report.channels { (by_channel(found, language, rows)) }
                @if let Some(savings) = &report.savings { (saved(savings, language)) }
                h2 { (words.by_operator) }
                (table(language, rows, report.operators.iter().map(|o| (plain(&o.name).into_owned(), o.rows, "digital"))))
                @if !report.reasons.is_empty() {
                    h2 { (words.reasons) }
                    (table(language, rows, reasons(report, language).into_iter()))
                }
                (basis(report, language))
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
    let rejected = |name| RowProblem::all().any(|problem| problem.name() == name);
    let of = |(&name, &rows): (&&'static str, &u64)| {
        (language.outcome(name), rows, if rejected(name) { "rejected" } else { "paper" })
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

/// A bar for each channel, a line for each rule, and what the channels cost.
fn by_channel(found: &ChannelsSummary, language: Language, rows: u64) -> Markup {
    let (words, amount) = (language.words(), |amount| language.decimal(amount, 2));
    html! {
        h2 { (words.channels) }
        (table(language, rows, found.channels.iter().map(|channel| (channel.name.clone(), channel.letters, "notify"))))
        h2 { (words.rules) }
        (table(language, rows, found.rules.iter().map(|rule| {
            (format!("{} → {}", plain(&rule.name), rule.channel), rule.letters, "digital")
        })))
        @if let Some(costs) = &found.costs {
            h2 { (words.costs) " " (plain(&costs.currency)) }
            table {
                @for channel in found.channels.iter().filter(|channel| channel.letters > 0) {
                    tr {
                        th scope="row" { (channel.name) }
                        td.number { (language.number(channel.letters)) }
                        td.number { (channel.cost.map_or(String::new(), amount)) }
                        td.number { (channel.total.map_or(String::new(), amount)) }
                    }
                }
            }
            p {
                strong { (amount(costs.as_split)) } " " (words.as_split)
                @if let (Some(channel), Some(compared), Some(saved)) = (&costs.compared_with, costs.compared, costs.saved) {
                    "; " (words.all_in_channel) " " (channel) ": " (amount(compared)) ", " (words.saved) ": " (amount(saved))
                }
                @if costs.letters_without_price > 0 {
                    "; " (language.number(costs.letters_without_price)) " " (words.without_price)
                }
                "."
            }
        }
    }
}

fn saved(savings: &Savings, language: Language) -> Markup {
    let (words, amount) = (language.words(), |amount| language.decimal(amount, 2));
    html! {
        h2 { (words.savings) }
        p {
            strong { (amount(savings.saved)) } " " (words.saved) ": "
            (words.all_on_paper) " " (amount(savings.paper_only)) ", "
            (words.as_split) " " (amount(savings.as_split)) "."
        }
    }
}

fn basis(report: &Report, language: Language) -> Markup {
    let words = language.words();
    let register = &report.register;
    html! {
        h2 { (words.basis) }
        dl {
            dt { (words.list) } dd { (plain(&report.list.path)) }
            dt { (words.form) }
            dd {
                (report.list.encoding)
                @if !report.list.delimiter.is_empty() { ", " code { (report.list.delimiter.escape_default()) } }
                ", "
                @match report.list.header_row {
                    Some(row) => { (words.header_in_row) " " (row) }
                    None => (words.no_header)
                }
                ", " (words.identities_in) " " (plain(&report.list.id_column))
            }
            @if let Some(sender) = &report.sender { dt { (words.sender) } dd { (plain(&sender.name)) " (" (plain(&sender.id)) ")" } }
            dt { (words.register) }
            dd {
                (match register.kind { "far" => "FaR", "kivra" => "Kivra", _ => "KRR" }) ", " (words.as_of) " " (register.as_of) ", "
                (words.sequence) " " (register.sequence) ", " (register.age_days) " " (words.days_old)
            }
            @if let Some(source) = &register.source {
                dt { (words.asked) }
                dd {
                    (plain(&source.address)) ", " (language.number(source.ids)) " " (words.ids_answered)
                    @if source.refused > 0 { " (" (language.number(source.refused)) " " (words.refused_by_register) ")" }
                    " " (words.from) " " (source.oldest) " " (words.to) " " (source.newest)
                    @if let Some(asked) = &source.asked {
                        "; " (language.number(asked.calls)) " " (words.calls) ", "
                        (language.number(asked.retries)) " " (words.made_again)
                    }
                }
            }
            dt { (words.duplicates) } dd { (language.number(report.duplicates)) }
            @if report.more_than_one_identity > 0 {
                dt { (words.more_than_one_identity) }
                dd { (language.number(report.more_than_one_identity)) }
            }
            @if report.second_ids > 0 {
                dt { (words.second_ids) }
                dd { (language.number(report.letters)) ", " (language.number(report.second_ids)) }
            }
            dt { (words.digest) } dd { (report.list.digest) }
        }
    }
}
