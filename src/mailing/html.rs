//! `report.html`: the report as one page.

use super::channel_report::{ChannelCosts, ChannelsSummary, FurtherSummary};
use super::report::{FEEDBACK, GroupSummary, GroupsSummary, Report, Savings};
use super::rows::RowProblem;
use super::words::Language;
use crate::plain_text::plain;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use maud::{DOCTYPE, Markup, PreEscaped, html};

/// Bars are drawings, not backgrounds, so that they are printed; on paper they have patterns, which are distinguished without
/// colours.
const STYLE: &str = "
:root { color-scheme: light dark; --ink: #1b2430; --soft: #525d6b; --line: #d9dee5; --page: #fff;
  --digital: #1f7a4d; --notify: #2b6cb0; --paper: #9c6412; --rejected: #c53030; --duplicate: #5f6c7d; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8ecf1; --soft: #a9b5c2; --line: #36404c; --page: #161b22;
  --digital: #3fb27f; --notify: #63a4e8; --paper: #e0a84a; --rejected: #f07a7a; --duplicate: #a0aec0; } }
body { font: 16px/1.45 system-ui, sans-serif; color: var(--ink); background: var(--page);
  max-width: 46rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; } h2 { font-size: 1.05rem; margin: 2rem 0 .5rem; }
.soft { color: var(--soft); } .figure { font-size: 2.6rem; font-weight: 650; line-height: 1.1; margin: 1.2rem 0 .2rem; }
svg { display: block; width: 100%; } .all { height: 1.6rem; } .line svg { height: .7rem; }
.back { fill: var(--line); } .digital { fill: var(--digital); } .notify { fill: var(--notify); }
.paper { fill: var(--paper); } .rejected { fill: var(--rejected); } .duplicate { fill: var(--duplicate); }
.patterns { position: absolute; width: 0; height: 0; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
td, th { padding: .3rem .5rem .3rem 0; border-bottom: 1px solid var(--line); text-align: left; font-weight: normal;
  vertical-align: top; overflow-wrap: anywhere; }
thead th { color: var(--soft); font-size: .85rem; } .number { text-align: right; white-space: nowrap; }
.line { width: 30%; } td.line { padding-top: .7rem; } .meaning { display: block; font-size: .85rem; color: var(--soft); }
.digest { font-size: .75rem; }
.refused { border: 2px solid var(--rejected); border-radius: .3rem; padding: .6rem .8rem; margin: 1rem 0; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; } dt { color: var(--soft); }
dd { margin: 0; overflow-wrap: anywhere; }
@media (max-width: 30rem) { dl { display: block; } dd { margin: 0 0 .4rem; } .line { width: 15%; } }
@media print {
  :root { color-scheme: light; --ink: #000; --soft: #333; --line: #999; --page: #fff; }
  body { max-width: none; margin: 0; font-size: 11pt; }
  table, tr, dl, .figure, .refused, .all { break-inside: avoid; } h1, h2 { break-after: avoid; }
  thead { display: table-header-group; }
  rect { stroke: #000; stroke-width: 1px; vector-effect: non-scaling-stroke; } .back { fill: none; }
  .digital { fill: #000; } .notify { fill: url(#stripes); } .paper { fill: url(#dots); } .rejected { fill: url(#grid); }
  .duplicate { fill: #bbb; }
}
";

/// The patterns of bars on paper.
const PATTERNS: &str = r##"<svg class="patterns" aria-hidden="true" focusable="false"><defs>
<pattern id="stripes" width="4" height="4" patternUnits="userSpaceOnUse"><path d="M0 4L4 0" stroke="#000"/></pattern>
<pattern id="dots" width="4" height="4" patternUnits="userSpaceOnUse"><circle cx="2" cy="2" r=".8"/></pattern>
<pattern id="grid" width="4" height="4" patternUnits="userSpaceOnUse"><path d="M0 0H4M0 0V4" stroke="#000"/></pattern>
</defs></svg>"##;

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
    let letters = report.letters;
    // These tables are those of the job's register only.
    let has_further = report.channels.as_ref().is_some_and(|channels| !channels.registers.is_empty());
    let of_register = if has_further { format!(" ({})", report.register.kind) } else { String::new() };
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
                (PreEscaped(PATTERNS))
                header {
                    h1 { (words.title) }
                    @if let Some(sender) = &report.sender { p.soft { (plain(&sender.name)) } }
                }
                main {
                    (first_figures(report, language))
                    h2 { (words.outcomes) (of_register) }
                    (table(language, words.outcome, letters, bars(report).map(|(name, part)| Line::new(language.outcome(name), part, name))))
                    @if let Some(found) = &report.channels { (by_channel(found, language, letters)) }
                    @if let Some(savings) = &report.savings { (saved(savings, language)) }
                    h2 { (words.by_operator) (of_register) }
                    (table(language, words.operator, letters, report.operators.iter().map(|operator| {
                        Line::new(plain(&operator.name).into_owned(), operator.rows, "digital")
                    })))
                    @if !report.reasons.is_empty() {
                        h2 { (words.reasons) (of_register) }
                        (table(language, words.reason, letters, reasons(report, language).into_iter()))
                    }
                    @for groups in &report.groups { (by_group(groups, report, language)) }
                    (basis(report, language))
                    (to_repeat(report, language))
                }
            }
        }
    };
    page.into_string()
}

/// How much goes digitally, or why the job was refused.
fn first_figures(report: &Report, language: Language) -> Markup {
    let words = language.words();
    let (digital, letters) = (report.digital_letters(), report.letters);
    let go = if letters > report.list.rows || report.list.run.is_some() {
        words.letters_digital
    } else {
        words.rows_digital
    };
    let widths = bars(report).map(|(name, part)| (name, share(part, letters)));
    let segments = widths.scan(0.0, |end, (name, width)| {
        let from = std::mem::replace(end, *end + width);
        Some((name, from, width))
    });
    html! {
        @if let Some(reason) = report.refused {
            p.refused {
                @if reason == "no_rows" { (words.refused_no_rows) } @else { (words.refused_max_rejected) }
                @if let Some(cause) = &report.likely_cause { " " (language.cause(cause)) }
            }
        }
        p.figure { (language.percent(digital, letters)) }
        p { (language.number(digital)) " " (words.of) " " (language.number(letters)) " " (go) }
        svg.all viewBox="0 0 100 10" preserveAspectRatio="none" role="img" aria-label=(words.outcomes) {
            rect.back width="100" height="10" {}
            @for (name, from, width) in segments {
                rect class=(name) x=(format!("{from:.3}")) width=(format!("{width:.3}")) height="10" {
                    title { (language.outcome(name)) }
                }
            }
        }
    }
}

/// Outcomes in the order in which they are shown.
fn bars(report: &Report) -> impl Iterator<Item = (&'static str, u64)> + '_ {
    let shown = ["digital", "notify", "paper", "other_country", "rejected", "duplicate"].into_iter();
    shown.filter_map(|name| report.outcomes.get(name).map(|&rows| (name, rows))).filter(|(_, rows)| *rows > 0)
}

/// A line of a table: what it counts, how many letters, and the colour of its bar.
struct Line {
    name: String,
    meaning: Option<&'static str>,
    letters: u64,
    colour: &'static str,
}

impl Line {
    fn new(name: String, letters: u64, colour: &'static str) -> Line {
        Line { name, meaning: None, letters, colour }
    }
}

/// Reasons, the most frequent first.
fn reasons(report: &Report, language: Language) -> Vec<Line> {
    let rejected = |name| RowProblem::all().any(|problem| problem.name() == name);
    let of = |(&name, &letters): (&&'static str, &u64)| {
        let colour = if rejected(name) { "rejected" } else { "paper" };
        Line { meaning: language.meaning(name), ..Line::new(language.outcome(name), letters, colour) }
    };
    let mut reasons: Vec<_> = report.reasons.iter().map(of).collect();
    reasons.sort_by_key(|line| std::cmp::Reverse(line.letters));
    reasons
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 }
}

/// A bar for a share of the letters.
fn bar(part: u64, whole: u64, colour: &str) -> Markup {
    html! {
        svg viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true" focusable="false" {
            rect class=(colour) width=(format!("{:.3}", share(part, whole))) height="10" {}
        }
    }
}

fn table(language: Language, counted: &str, whole: u64, lines: impl Iterator<Item = Line>) -> Markup {
    let words = language.words();
    html! {
        table {
            thead { tr {
                th scope="col" { (counted) }
                th.line scope="col" { (words.bar) }
                th.number scope="col" { (words.letters) }
                th.number scope="col" { (words.share) }
            } }
            tbody {
                @for Line { name, meaning, letters, colour } in lines {
                    tr {
                        th scope="row" { (name) @if let Some(meaning) = meaning { span.meaning { (meaning) } } }
                        td.line { (bar(letters, whole, colour)) }
                        td.number { (language.number(letters)) }
                        td.number.soft { (language.percent(letters, whole)) }
                    }
                }
            }
        }
    }
}

/// A bar for each channel, a line for each rule, and what the channels cost.
fn by_channel(found: &ChannelsSummary, language: Language, letters: u64) -> Markup {
    let words = language.words();
    html! {
        h2 { (words.channels) }
        (table(language, words.channel, letters, found.channels.iter().map(|channel| {
            Line::new(channel.name.clone(), channel.letters, if channel.mailbox { "digital" } else { "notify" })
        })))
        h2 { (words.rules) }
        (table(language, words.rule, letters, found.rules.iter().map(|rule| {
            Line::new(format!("{} → {}", plain(&rule.name), rule.channel), rule.letters, "notify")
        })))
        @if let Some(costs) = &found.costs { (costs_of(found, costs, language)) }
    }
}

/// The price of the letters of each rule, and what they cost.
fn costs_of(found: &ChannelsSummary, costs: &ChannelCosts, language: Language) -> Markup {
    let (words, amount) = (language.words(), |amount| language.decimal(amount, 2));
    html! {
        h2 { (words.costs) @if !costs.currency.is_empty() { " (" (plain(&costs.currency)) ")" } }
        table {
            thead { tr {
                th scope="col" { (words.rule) }
                th.number scope="col" { (words.letters) }
                th.number scope="col" { (words.price) }
                th.number scope="col" { (words.cost) }
            } }
            tbody {
                @for rule in found.rules.iter().filter(|rule| rule.letters > 0) {
                    tr {
                        th scope="row" { (plain(&rule.name)) " → " (rule.channel) }
                        td.number { (language.number(rule.letters)) }
                        td.number { (rule.cost.map_or("–".to_owned(), amount)) }
                        td.number { (rule.total.map_or("–".to_owned(), amount)) }
                    }
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

fn saved(savings: &Savings, language: Language) -> Markup {
    let (words, amount) = (language.words(), |amount| language.decimal(amount, 2));
    html! {
        h2 { (words.savings) @if !savings.currency.is_empty() { " (" (plain(&savings.currency)) ")" } }
        p {
            strong { (amount(savings.saved)) } " " (words.saved) ": "
            (words.all_on_paper) " " (amount(savings.paper_only)) ", "
            (words.as_split) " " (amount(savings.as_split)) ". "
            (words.price) ": " (language.outcome("paper")) " " (amount(savings.postage)) ", "
            (language.outcome("digital")) " " (amount(savings.digital_cost)) "."
        }
    }
}

/// The letters of each group: how many, and how they go.
fn by_group(groups: &GroupsSummary, report: &Report, language: Language) -> Markup {
    let words = language.words();
    let by = if groups.by == "age" { words.age.into() } else { plain(&groups.by) };
    // Channels if the job has them, else outcomes.
    let channels = report.channels.iter().flat_map(|found| &found.channels);
    let channels: Vec<(String, &str)> =
        channels.map(|channel| (channel.name.clone(), &*channel.name)).collect();
    let outcomes = bars(report).map(|(name, _)| (language.outcome(name), name)).collect();
    let columns: Vec<(String, &str)> = if channels.is_empty() { outcomes } else { channels };
    let letters_of = |group: &GroupSummary, column: &str| match group.channels.get(column) {
        Some(letters) => *letters,
        None => group.outcomes.get(column).copied().unwrap_or(0),
    };
    html! {
        h2 { (words.groups_by) " " (by) }
        table {
            thead { tr {
                th scope="col" { (words.group) }
                th.line scope="col" { (language.outcome("digital")) }
                th.number scope="col" { (words.share) }
                th.number scope="col" { (words.letters) }
                @for (name, _) in &columns { th.number scope="col" { (name) } }
            } }
            tbody {
                @for group in &groups.groups {
                    @let part = report.digital_letters_of(group);
                    tr {
                        th scope="row" { @if group.name.is_empty() { "–" } @else { (plain(&group.name)) } }
                        td.line { (bar(part, group.letters, "digital")) }
                        td.number { (language.percent(part, group.letters)) }
                        td.number { (language.number(group.letters)) }
                        @for (_, column) in &columns { td.number { (language.number(letters_of(group, column))) } }
                    }
                }
            }
        }
        @if groups.hidden_groups > 0 {
            p.soft {
                (language.number(groups.hidden_groups)) " " (words.hidden_groups) " " (language.number(groups.hidden_letters))
            }
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
                @match (&report.list.run, &report.list.sheet) {
                    (Some(run), _) => { (run.description.form()) }
                    (None, Some(sheet)) => { (words.sheet) " " (plain(&sheet.name)) }
                    (None, None) => { (report.list.encoding) }
                }
                @if !report.list.delimiter.is_empty() { ", " code { (report.list.delimiter.escape_default()) } }
                @match (report.list.header_row, &report.list.run) {
                    (Some(row), _) => { ", " (words.header_in_row) " " (row) }
                    (None, None) => { ", " (words.no_header) }
                    (None, Some(_)) => {}
                }
                ", " (words.identities_in) " " (plain(&report.list.id_column))
            }
            @if let Some(sender) = &report.sender { dt { (words.sender) } dd { (plain(&sender.name)) " (" (plain(&sender.id)) ")" } }
            dt { (words.register) }
            dd {
                (match register.kind { "far" => "FaR", "kivra" => "Kivra", _ => "KRR" }) ", " (words.as_of) " " (local(&register.as_of)) ", "
                (words.sequence) " " (register.sequence) ", " (register.age_days) " " (words.days_old)
            }
            @if let Some(source) = &register.source {
                dt { (words.asked) }
                dd {
                    (plain(&source.address)) ", " (language.number(source.ids)) " " (words.ids_answered)
                    @if source.refused > 0 { " (" (language.number(source.refused)) " " (words.refused_by_register) ")" }
                    " " (words.from) " " (local(&source.oldest)) " " (words.to) " " (local(&source.newest))
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
        }
    }
}

/// What somebody needs who does the job again and compares the results.
fn to_repeat(report: &Report, language: Language) -> Markup {
    let words = language.words();
    let (made, register) = (&report.made, &report.register);
    let settings = given(report);
    html! {
        h2 { (words.repeat) }
        dl {
            dt { (words.made) } dd { (local_with_offset(&made.at)) }
            dt { (words.version) } dd { (made.version) }
            dt { (words.day) } dd { (made.date) }
            dt { (words.settings) }
            dd { @if settings.is_empty() { (words.no_settings) } @else { (plain(&settings.join(", "))) } }
            dt { (words.digest) } dd.digest { (report.list.digest) }
            dt { (words.register_digest) }
            dd.digest {
                (register.digest)
                @if register.sequence > register.file_sequence { ", " (words.to_change) " " (register.sequence) }
            }
            @if let Some(found) = &report.channels {
                dt { (words.rules_digest) } dd.digest { (found.rules_digest) }
                @for list in &found.lists {
                    dt { (words.id_lists) }
                    dd { (plain(&list.name)) ", " (language.number(list.ids)) " " (words.ids) ", " span.digest { (list.digest) } }
                }
                @for FurtherSummary { name, register, .. } in &found.registers {
                    dt { (words.further_registers) }
                    dd {
                        (name) ": " (register.kind) ", " (words.sequence) " " (register.sequence) ", " (words.as_of) " "
                        (local(&register.as_of)) ", " span.digest { (register.digest) }
                    }
                }
            }
        }
        @if let Some(files) = &report.files {
            table {
                thead { tr {
                    th scope="col" { (words.file) }
                    th.number scope="col" { (words.letters) }
                    th.number scope="col" { (words.bytes) }
                    th scope="col" { (words.digest) }
                } }
                tbody {
                    @for file in files {
                        tr {
                            th scope="row" { (plain(&file.path)) }
                            td.number { (language.number(file.rows)) }
                            td.number { (language.number(file.bytes)) }
                            td.digest { (file.digest) }
                        }
                    }
                    @if let Some(feedback) = &report.feedback {
                        tr {
                            th scope="row" { (FEEDBACK) }
                            td.number { "–" }
                            td.number { (language.number(feedback.bytes)) }
                            td.digest { (feedback.digest) }
                        }
                    }
                }
            }
        }
    }
}

/// The settings that were given, as options of the command line.
fn given(report: &Report) -> Vec<String> {
    let settings = &report.settings;
    let several =
        |name: &str, values: &[String]| values.iter().map(|value| format!("{name} {value}")).collect();
    let mut given: Vec<String> = several("--id-column", &settings.id_columns);
    given.extend(several("--expected-ids", &settings.expected_ids));
    let one = |name: &str, value: &Option<String>| value.as_ref().map(|value| format!("{name} {value}"));
    given.extend(one(
        "--delimiter",
        &settings.delimiter.as_ref().map(|text| text.escape_default().to_string()),
    ));
    given.extend(one("--id-at", &settings.id_at));
    given.extend(one("--sheet", &settings.sheet));
    given.extend(settings.header.map(|header| format!("--header {}", if header { "yes" } else { "no" })));
    given.extend((settings.two_ids != "first_reachable").then(|| format!("--two-ids {}", settings.two_ids)));
    given.extend(settings.strict_rows.then(|| "--strict-rows".to_owned()));
    given.extend((settings.skip_rows > 0).then(|| format!("--skip-rows {}", settings.skip_rows)));
    given.extend((settings.skipped != "keep").then(|| format!("--skipped {}", settings.skipped)));
    given.extend((settings.duplicates != "keep").then(|| "--duplicates set-aside".to_owned()));
    given.push(format!("--max-rejected {}", settings.max_rejected));
    given
}

/// A time in the time zone of the machine.
fn local(time: &str) -> String {
    let zoned = time.parse::<Timestamp>().map(|time| time.to_zoned(TimeZone::system()));
    zoned.map_or(time.to_owned(), |time| time.strftime("%Y-%m-%d %H:%M").to_string())
}

/// A time in the time zone of the machine, with its offset.
fn local_with_offset(time: &str) -> String {
    let zoned = time.parse::<Timestamp>().map(|time| time.to_zoned(TimeZone::system()));
    zoned.map_or(time.to_owned(), |time| time.strftime("%Y-%m-%d %H:%M:%S (UTC%:z)").to_string())
}
