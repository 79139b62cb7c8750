//! The report of `check` and `split` on a terminal.

use nabar::mailing::{
    ChannelsSummary, FurtherSummary, GroupsSummary, Language, Report, RowProblem, SourceSummary,
};
use nabar::plain_text::plain;
use std::io::{self, Write};

/// Age of a register, in days, from which on a job warns.
const OLD_DAYS: i64 = 8;
/// Share of identities in the sample above which the column is taken to be the right one.
const RIGHT_COLUMN_SHARE: f64 = 0.5;

/// A report in a language.
pub(super) struct TerminalReport<'a> {
    pub(super) report: &'a Report,
    pub(super) language: Language,
}

impl TerminalReport<'_> {
    fn pick<'t>(&self, english: &'t str, swedish: &'t str) -> &'t str {
        self.language.pick(english, swedish)
    }

    fn decimal(&self, value: f64, decimals: usize) -> String {
        format!("{value:.decimals$}").replace('.', self.pick(".", ","))
    }

    /// Why the job was refused, and what to do.
    pub(super) fn refusal(&self, reason: &str) -> String {
        let report = self.report;
        let problem = |name: &str| RowProblem::all().find(|problem| problem.name() == name);
        let is_letter = |name: &str| problem(name).is_some_and(|problem| !problem.is_not_a_letter());
        let not_letters: u64 = report
            .reasons
            .iter()
            .filter(|(name, _)| problem(name).is_some_and(RowProblem::is_not_a_letter))
            .map(|(_, rows)| rows)
            .sum();
        let (rejected, rows) = (report.outcomes["rejected"] - not_letters, report.letters - not_letters);
        let refused = match (reason, self.language) {
            ("no_rows", _) => self.pick("the list has no rows", "listan har inga rader").to_owned(),
            (_, Language::English) => {
                let name = if report.list.run.is_some() { "letters" } else { "rows" };
                format!("{rejected} of {rows} {name} were rejected, more than --max-rejected allows")
            }
            (_, Language::Swedish) => {
                let name = if report.list.run.is_some() { "brev" } else { "rader" };
                format!("{rejected} av {rows} {name} avvisades, fler än --max-rejected tillåter")
            }
        };
        let most = report.reasons.iter().filter(|(name, _)| is_letter(name)).max_by_key(|(_, rows)| **rows);
        let (column, file) = (plain(&report.list.id_column), report.rejected_file());
        let cause = match (&report.likely_cause, most, self.language) {
            (Some(cause), ..) => self.language.cause(cause),
            (None, ..) if reason == "no_rows" => {
                self.pick("is it the right file?", "är det rätt fil?").to_owned()
            }
            (None, Some((name, rows)), _) if report.list.id_share >= RIGHT_COLUMN_SHARE => {
                match self.language {
                    Language::English => {
                        format!("{rows} of them are {name}; nabar split leaves them in {file}")
                    }
                    Language::Swedish => {
                        let name = self.language.outcome(name);
                        format!("{rows} av dem: {name}; nabar split lämnar dem i {file}")
                    }
                }
            }
            (None, _, Language::English) if report.list.run.is_some() => {
                format!("are the ids at {column}? See the description of the run")
            }
            (None, _, Language::Swedish) if report.list.run.is_some() => {
                format!("finns identiteterna på {column}? Se körningens beskrivning")
            }
            (None, _, Language::English) => format!("are the ids in column {column}? See --id-column"),
            (None, _, Language::Swedish) => format!("står identiteterna i kolumn {column}? Se --id-column"),
        };
        format!("{refused}: {cause}")
    }

    /// How a list with one row a letter was read, and why.
    fn explain_form(&self, out: &mut impl Write) -> io::Result<()> {
        let (report, words) = (self.report, self.language.words());
        let list = &report.list;
        let prefix = self.pick("nabar: list:", "nabar: lista:");
        let named = self.pick("delimiter", "skiljetecken");
        let delimiter = match &list.delimiter[..] {
            "" => self.pick("no delimiter", "utan skiljetecken").to_owned(),
            "\t" => format!("{named} {}", self.pick("tab", "tabb")),
            delimiter => format!("{named} {}", plain(delimiter)),
        };
        let header = match list.header_row {
            Some(row) => format!("{} {row}", words.header_in_row),
            None => words.no_header.to_owned(),
        };
        let column = match list.header_row {
            // A title may have several lines.
            Some(_) => format!("\"{}\"", plain(&list.id_column.replace('\n', " "))),
            None => format!("{} {}", self.pick("column", "kolumn"), list.id_column),
        };
        let form = match &list.sheet {
            Some(sheet) => format!("{} \"{}\"", self.pick("sheet", "blad"), plain(&sheet.name)),
            None => {
                let ground = self.language.ground(list.decided_by.delimiter);
                format!("{}, {delimiter} ({ground})", list.encoding)
            }
        };
        writeln!(
            out,
            "{prefix} {form}, {header} ({}), {} {column} ({}; {} % {})",
            self.language.ground(list.decided_by.header),
            self.pick("ids in", "identiteter i"),
            self.language.ground(list.decided_by.id_column),
            self.decimal(list.id_share * 100.0, 1),
            self.pick("of the first rows", "av de första raderna"),
        )?;
        if list.skipped_rows > 0 {
            let skipped = self.pick(
                "skipped above the header or the first row:",
                "överhoppade rader före rubriken eller den första raden:",
            );
            writeln!(out, "{prefix} {skipped} {}", list.skipped_rows)?;
        }
        if let Some(sheet) = list.sheet.as_ref().filter(|sheet| sheet.hidden_rows > 0) {
            let hidden = self.pick(
                "rows are hidden in the sheet; they are read like the others:",
                "rader är dolda i bladet; de läses som de andra:",
            );
            writeln!(out, "{prefix} {hidden} {}", sheet.hidden_rows)?;
        }
        if let Some(sheet) = list.sheet.as_ref().filter(|sheet| sheet.empty_formulas > 0) {
            let formulas = self.pick(
                "formulas have no saved value, and their cells are read as empty (open the workbook in Excel, and save it):",
                "formler har inget sparat värde, och deras celler läses som tomma (öppna arbetsboken i Excel och spara den):",
            );
            writeln!(out, "{prefix} {formulas} {}", sheet.empty_formulas)?;
        }
        if list.decided_by.header == "no_sign" && report.outcomes["rejected"] > 0 {
            let hint = self.pick(
                "if a rejected row is the header, use --header yes, and --skip-rows if it is not the first row",
                "om en avvisad rad är rubriken, ange --header yes, och --skip-rows om den inte är den första raden",
            );
            writeln!(out, "{prefix} {hint}")?;
        }
        Ok(())
    }

    /// How the list was read and why, warnings, and the age of the register.
    pub(super) fn explain(&self, out: &mut impl Write) -> io::Result<()> {
        let (report, words) = (self.report, self.language.words());
        let list = &report.list;
        if let Some(run) = &list.run {
            writeln!(
                out,
                "{} {}, {} {}, {} {}, {} {} ({} % {})",
                self.pick("nabar: run:", "nabar: körning:"),
                run.description.form(),
                list.rows,
                self.pick("letters", "brev"),
                run.records,
                self.pick("records", "poster"),
                self.pick("ids in", "identiteter i"),
                plain(&list.id_column),
                self.decimal(list.id_share * 100.0, 1),
                self.pick("of the letters", "av breven"),
            )?;
        } else {
            self.explain_form(out)?;
        }
        let warning = self.pick("nabar: warning:", "nabar: varning:");
        for column in list.run.iter().flat_map(|run| &run.empty_columns) {
            let empty = self.pick("no letter has a text at", "inget brev har text på");
            writeln!(out, "{warning} {empty} {}", plain(column))?;
        }
        if report.more_than_one_identity > 0 {
            let others = match list.run {
                None => self.pick(
                    "rows hold the id of another recipient outside the id column; --strict-rows rejects them, \
                     --expected-ids names columns where other ids are expected",
                    "rader har en annan mottagares identitet utanför identitetens kolumn; --strict-rows avvisar dem, \
                     --expected-ids anger kolumner där andra identiteter är väntade",
                ),
                Some(_) => self.pick(
                    "letters hold the id of another recipient; --strict-rows rejects them",
                    "brev har en annan mottagares identitet; --strict-rows avvisar dem",
                ),
            };
            writeln!(out, "{warning} {} {others}", report.more_than_one_identity)?;
        }
        if let Some(joined) = report.reasons.get("joined_rows") {
            let rows = self.pick(
                "rows look like two rows in one, and were rejected",
                "rader ser ut som två rader i en, och avvisades",
            );
            writeln!(out, "{warning} {joined} {rows}")?;
        }
        if let Some(extra) = report.reasons.get("extra_cells") {
            let rows = self.pick(
                "rows have more in them than the list has columns, and were rejected: texts with delimiters need quotation \
                 marks, or rows were joined",
                "rader innehåller mer än listan har kolumner, och avvisades: texter med skiljetecken behöver citattecken, \
                 eller rader har satts ihop",
            );
            writeln!(out, "{warning} {extra} {rows}")?;
        }
        if let Some(shifted) = report.reasons.get("shifted_cells") {
            let rows = self.pick(
                "rows have fewer or more cells than the others, so that another person's id may be in the id column, and \
                 were rejected",
                "rader har färre eller fler celler än de andra, så att en annan persons identitet kan stå i identitetens \
                 kolumn, och avvisades",
            );
            writeln!(out, "{warning} {shifted} {rows}")?;
        }
        let days = report.register.age_days;
        match days {
            OLD_DAYS.. => writeln!(
                out,
                "{warning} {} {days} {}",
                self.pick("the register is", "registret är"),
                words.days_old
            ),
            // The same word in both languages.
            _ => writeln!(out, "nabar: register: {} {}", days.max(0), words.days_old),
        }
    }

    /// The letters by outcome, operator and reason.
    pub(super) fn print(&self, out: &mut impl Write) -> io::Result<()> {
        let (report, words) = (self.report, self.language.words());
        let letters = report.letters;
        let percent = |part: u64| if letters == 0 { 0.0 } else { part as f64 * 100.0 / letters as f64 };
        let mut line = |indent: &str, part: u64, name: &str| {
            writeln!(out, "{indent}{part:>11}  {:>5} %  {name}", self.decimal(percent(part), 1))
        };
        let has_letters = letters > report.list.rows || report.list.run.is_some();
        line("", letters, if has_letters { words.letters } else { words.rows })?;
        line("", report.outcomes["digital"], &self.name("digital"))?;
        for operator in report.operators.iter().filter(|operator| operator.rows > 0) {
            line("    ", operator.rows, &plain(&operator.name))?;
        }
        let rejects = |reason: &str| RowProblem::all().any(|problem| problem.name() == reason);
        let others = report.outcomes.iter().filter(|(name, part)| **name != "digital" && **part > 0);
        for (outcome, &part) in others {
            line("", part, &self.name(outcome))?;
            let reasons = report.reasons.iter().filter(|(reason, _)| match *outcome {
                "paper" => !rejects(reason),
                "rejected" => rejects(reason),
                _ => false,
            });
            for (reason, &part) in reasons {
                line("    ", part, &self.name(reason))?;
            }
        }
        writeln!(out, "{}: {}", self.pick("duplicates", "dubbletter"), report.duplicates)?;
        if report.second_ids > 0 {
            let second = self.pick("to the second id", "till den andra identiteten");
            writeln!(out, "{}: {letters} ({} {second})", words.letters, report.second_ids)?;
        }
        if let Some(channels) = &report.channels {
            self.print_channels(channels, letters, out)?;
        }
        for groups in &report.groups {
            self.print_groups(groups, out)?;
        }
        if let Some(savings) = &report.savings {
            let (saved, all) = (self.decimal(savings.saved, 2), self.decimal(savings.paper_only, 2));
            let (saves, of) = (self.pick("saves", "sparar"), self.pick("of", "av"));
            let currency = plain(&savings.currency);
            let saved = format!("{saved} {currency}").trim_end().to_owned();
            writeln!(out, "{saves} {saved} {of} {all} ({})", words.all_on_paper)?;
        }
        let register = &report.register;
        if let Some(source) = &register.source {
            self.print_source(source, out)?;
        }
        for further in report.channels.iter().flat_map(|channels| &channels.registers) {
            self.print_further(further, out)?;
        }
        writeln!(
            out,
            "{} {} {}, {} {}; {} s, {} {}",
            register.kind,
            words.as_of,
            register.as_of,
            words.sequence,
            register.sequence,
            self.decimal(report.seconds, 2),
            self.decimal(report.rows_per_second / 1e6, 1),
            self.pick("million rows/s", "miljoner rader/s")
        )
    }

    /// What a further register of the rules said of the letters for which they asked it.
    fn print_further(&self, further: &FurtherSummary, out: &mut impl Write) -> io::Result<()> {
        let (words, register) = (self.language.words(), &further.register);
        let FurtherSummary { name, outcomes, .. } = further;
        let said: Vec<String> =
            outcomes.iter().map(|(outcome, letters)| format!("{letters} {}", self.name(outcome))).collect();
        let (kind, as_of) = (register.kind, &register.as_of);
        let said = if said.is_empty() { "0".to_owned() } else { said.join(", ") };
        writeln!(
            out,
            "{name} ({kind} {} {as_of}, {} {}): {said}",
            words.as_of, words.sequence, register.sequence
        )
    }

    /// The letters of each group, and how many of them go digitally.
    fn print_groups(&self, groups: &GroupsSummary, out: &mut impl Write) -> io::Result<()> {
        let words = self.language.words();
        let by = if groups.by == "age" { words.age.into() } else { plain(&groups.by) };
        writeln!(out, "{} {by}: {}, {}", words.groups_by, words.letters, self.name("digital"))?;
        for group in &groups.groups {
            let digital = self.report.digital_letters_of(group);
            let percent = self.decimal(digital as f64 * 100.0 / group.letters.max(1) as f64, 1);
            let name = if group.name.is_empty() { "–".into() } else { plain(&group.name) };
            writeln!(out, "    {:>11}  {percent:>5} %  {name}", group.letters)?;
        }
        if groups.hidden_groups > 0 {
            let (hidden, letters) = (groups.hidden_groups, groups.hidden_letters);
            writeln!(out, "    {hidden} {} {letters}", words.hidden_groups)?;
        }
        Ok(())
    }

    /// The letters by channel and rule, and their costs.
    fn print_channels(&self, found: &ChannelsSummary, letters: u64, out: &mut impl Write) -> io::Result<()> {
        let percent = |part: u64| if letters == 0 { 0.0 } else { part as f64 * 100.0 / letters as f64 };
        let mut line = |indent: &str, part: u64, name: &str| {
            writeln!(out, "{indent}{part:>11}  {:>5} %  {}", self.decimal(percent(part), 1), plain(name))
        };
        for channel in &found.channels {
            let cost = channel.total.map_or(String::new(), |total| format!(": {}", self.decimal(total, 2)));
            line("", channel.letters, &format!("{} {}{cost}", self.pick("channel", "kanal"), channel.name))?;
            for rule in found.rules.iter().filter(|rule| rule.channel == channel.name && rule.letters > 0) {
                line("    ", rule.letters, &rule.name)?;
            }
        }
        let Some(costs) = &found.costs else { return Ok(()) };
        let amount = |amount: f64| {
            format!("{} {}", self.decimal(amount, 2), plain(&costs.currency)).trim_end().to_owned()
        };
        write!(out, "{} {}", self.pick("costs", "kostar"), amount(costs.as_split))?;
        if let (Some(channel), Some(compared), Some(saved)) =
            (&costs.compared_with, costs.compared, costs.saved)
        {
            let (saves, of) = (self.pick("saves", "sparar"), self.pick("of", "av"));
            let all = self.pick("all by channel", "allt i kanal");
            write!(out, "; {saves} {} {of} {} ({all} {channel})", amount(saved), amount(compared))?;
        }
        if costs.letters_without_price > 0 {
            write!(out, "; {} {}", costs.letters_without_price, self.language.words().without_price)?;
        }
        writeln!(out)
    }

    /// Where answers of a live register come from.
    fn print_source(&self, source: &SourceSummary, out: &mut impl Write) -> io::Result<()> {
        let words = self.language.words();
        write!(out, "{}: {}, {} {}", words.asked, plain(&source.address), source.ids, words.ids_answered)?;
        if source.refused > 0 {
            write!(out, " ({} {})", source.refused, words.refused_by_register)?;
        }
        write!(out, " {} {} {} {}", words.from, source.oldest, words.to, source.newest)?;
        if let Some(asked) = source.asked {
            write!(out, "; {} {}, {} {}", asked.calls, words.calls, asked.retries, words.made_again)?;
        }
        writeln!(out)
    }

    /// An outcome or reason: the names of `report.json` in English, words in Swedish.
    fn name(&self, name: &str) -> String {
        match self.language {
            Language::English => name.to_owned(),
            Language::Swedish => self.language.outcome(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nabar::extract::{BuildOptions, build};
    use nabar::mailing::{GroupBy, GroupOptions, Mailing, Prices, StreamLimits, check_stream};
    use nabar::snapshot::Snapshot;
    use std::path::Path;

    #[test]
    fn the_whole_report_is_in_one_language() {
        let directory = tempfile::tempdir().expect("directory");
        let file = directory.path().join("far.nabar");
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/far");
        build(&fixture, &file, &BuildOptions::strict()).expect("built");
        let register = Snapshot::open(&file).and_then(|snapshot| snapshot.register()).expect("a register");
        let sender = &register.senders()[0].id;
        let question = register.question(Some(sender), jiff::civil::date(2026, 6, 1)).expect("a question");
        let list = "Utskick\n\npnr;namn\n196810199809;Asa\nx;Bo\ny;Ci\n";
        let prices = Prices { postage: 8.5, digital_cost: 0.9, currency: "SEK".to_owned() };
        let groups = GroupOptions { by: vec![GroupBy::Age], smallest: 2 };
        let mailing = Mailing {
            prices: Some(&prices),
            groups: Some(&groups),
            ..Mailing::new(&question, Path::new("list.csv"))
        };
        let report =
            check_stream(&mailing, Box::new(list.as_bytes()), StreamLimits::default()).expect("checked");
        let text = |language| {
            let (terminal, mut text) = (TerminalReport { report: &report, language }, Vec::new());
            terminal.explain(&mut text).and_then(|()| terminal.print(&mut text)).expect("written");
            String::from_utf8(text).expect("text") + &terminal.refusal(report.refused.expect("refused"))
        };
        let english = [
            "delimiter ;",
            "header in row 3",
            "digital",
            "bad_character",
            "saves",
            "2 of 3 rows",
            "By age: letters",
            "groups are not shown",
        ];
        let swedish = [
            "skiljetecken ;",
            "rubrik på rad 3",
            "digitalt",
            "otillåtet tecken",
            "sparar",
            "2 av 3 rader",
            "Per ålder: brev",
            "grupper visas inte",
        ];
        for (language, own, other) in
            [(Language::English, english, swedish), (Language::Swedish, swedish, english)]
        {
            let text = text(language);
            for (own, other) in own.into_iter().zip(other) {
                assert!(text.contains(own), "{own}: {text}");
                assert!(own.contains(other) || !text.contains(other), "{other}: {text}");
            }
        }
    }
}
