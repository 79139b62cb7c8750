//! The words of reports, for `report.html` and the terminal.

use super::likely_cause::LikelyCause;
use crate::identities::Country;

/// Language of a report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Language {
    /// English.
    #[default]
    English,
    /// Swedish.
    Swedish,
}

/// Words and phrases in one language.
#[derive(Debug)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the English text of each is in `ENGLISH`")]
pub struct ReportWords {
    pub title: &'static str,
    pub summary: &'static str,
    pub rows: &'static str,
    pub letters: &'static str,
    pub of: &'static str,
    pub rows_digital: &'static str,
    pub letters_digital: &'static str,
    pub refused_no_rows: &'static str,
    pub refused_max_rejected: &'static str,
    pub outcomes: &'static str,
    pub by_operator: &'static str,
    pub reasons: &'static str,
    pub channels: &'static str,
    pub rules: &'static str,
    pub costs: &'static str,
    pub all_in_channel: &'static str,
    pub without_price: &'static str,
    pub savings: &'static str,
    pub saved: &'static str,
    pub all_on_paper: &'static str,
    pub as_split: &'static str,
    pub basis: &'static str,
    pub list: &'static str,
    pub sender: &'static str,
    pub register: &'static str,
    pub form: &'static str,
    pub sheet: &'static str,
    pub header_in_row: &'static str,
    pub no_header: &'static str,
    pub identities_in: &'static str,
    pub as_of: &'static str,
    pub sequence: &'static str,
    pub days_old: &'static str,
    pub duplicates: &'static str,
    pub more_than_one_identity: &'static str,
    pub second_ids: &'static str,
    pub digest: &'static str,
    pub asked: &'static str,
    pub ids_answered: &'static str,
    pub refused_by_register: &'static str,
    pub from: &'static str,
    pub to: &'static str,
    pub calls: &'static str,
    pub made_again: &'static str,
    pub outcome: &'static str,
    pub operator: &'static str,
    pub reason: &'static str,
    pub channel: &'static str,
    pub rule: &'static str,
    pub group: &'static str,
    pub bar: &'static str,
    pub share: &'static str,
    pub price: &'static str,
    pub cost: &'static str,
    pub file: &'static str,
    pub bytes: &'static str,
    pub groups_by: &'static str,
    pub age: &'static str,
    pub hidden_groups: &'static str,
    pub repeat: &'static str,
    pub made: &'static str,
    pub day: &'static str,
    pub version: &'static str,
    pub settings: &'static str,
    pub no_settings: &'static str,
    pub register_digest: &'static str,
    pub to_change: &'static str,
    pub rules_digest: &'static str,
    pub id_lists: &'static str,
    pub further_registers: &'static str,
    pub ids: &'static str,
    pub files: &'static str,
}

static ENGLISH: ReportWords = ReportWords {
    title: "Digital and paper",
    summary: "Summary",
    rows: "rows",
    letters: "letters",
    of: "of",
    rows_digital: "rows go digitally",
    letters_digital: "letters go digitally",
    refused_no_rows: "Refused: the list has no rows.",
    refused_max_rejected: "Refused: more rows were rejected than the job allows. Only the rejected rows were kept.",
    outcomes: "Outcomes",
    by_operator: "Digital, by mailbox operator",
    reasons: "Why not digital",
    channels: "Channels",
    rules: "Rules, and the channel of each",
    costs: "Costs",
    all_in_channel: "all by channel",
    without_price: "letters without a price, which are left out",
    savings: "Savings",
    saved: "saved",
    all_on_paper: "all on paper",
    as_split: "as split",
    basis: "List, sender and register",
    list: "List",
    sender: "Sender",
    register: "Register",
    form: "How the list was read",
    sheet: "sheet",
    header_in_row: "header in row",
    no_header: "no header",
    identities_in: "identities in",
    as_of: "as of",
    sequence: "sequence",
    days_old: "days old",
    duplicates: "Rows whose identity occurs in an earlier row",
    more_than_one_identity: "Rows with another identity beside their own",
    second_ids: "Letters, and those to the second identity",
    digest: "Digest",
    asked: "Register that was asked",
    ids_answered: "answers",
    refused_by_register: "refused",
    from: "from",
    to: "to",
    calls: "calls",
    made_again: "made again",
    outcome: "Outcome",
    operator: "Operator",
    reason: "Reason",
    channel: "Channel",
    rule: "Rule",
    group: "Group",
    bar: "Bar",
    share: "Share",
    price: "Price",
    cost: "Cost",
    file: "File",
    bytes: "Bytes",
    groups_by: "By",
    age: "age",
    hidden_groups: "groups are not shown, because few letters could point at a recipient; letters in them:",
    repeat: "To repeat this job",
    made: "Made",
    day: "Day asked",
    version: "Version of nabar",
    settings: "Settings",
    no_settings: "none: decided from the list",
    register_digest: "Digest of the register file",
    to_change: "with changes to sequence",
    rules_digest: "Digest of the rules",
    id_lists: "Lists of the rules",
    further_registers: "Registers of the rules",
    ids: "ids",
    files: "Files",
};

static SWEDISH: ReportWords = ReportWords {
    title: "Digitalt och papper",
    summary: "Sammanfattning",
    rows: "rader",
    letters: "brev",
    of: "av",
    rows_digital: "rader går digitalt",
    letters_digital: "brev går digitalt",
    refused_no_rows: "Avbrutet: listan har inga rader.",
    refused_max_rejected: "Avbrutet: fler rader avvisades än uppdraget tillåter. Bara de avvisade raderna finns kvar.",
    outcomes: "Utfall",
    by_operator: "Digitalt, per brevlådeoperatör",
    reasons: "Varför inte digitalt",
    channels: "Kanaler",
    rules: "Regler, och kanalen för var och en",
    costs: "Kostnader",
    all_in_channel: "allt i kanal",
    without_price: "brev utan pris, som inte räknas med",
    savings: "Besparing",
    saved: "sparas",
    all_on_paper: "allt på papper",
    as_split: "enligt uppdelningen",
    basis: "Underlag",
    list: "Lista",
    sender: "Avsändare",
    register: "Register",
    form: "Så lästes listan",
    sheet: "blad",
    header_in_row: "rubrik på rad",
    no_header: "utan rubrik",
    identities_in: "identiteter i",
    as_of: "per",
    sequence: "sekvensnummer",
    days_old: "dagar gammalt",
    duplicates: "Rader med en tidigare förekommande identitet",
    more_than_one_identity: "Rader med ytterligare en identitet",
    second_ids: "Brev, och de till den andra identiteten",
    digest: "Kontrollsumma",
    asked: "Tillfrågat register",
    ids_answered: "svar",
    refused_by_register: "avvisade",
    from: "från",
    to: "till",
    calls: "anrop",
    made_again: "omgjorda",
    outcome: "Utfall",
    operator: "Operatör",
    reason: "Orsak",
    channel: "Kanal",
    rule: "Regel",
    group: "Grupp",
    bar: "Stapel",
    share: "Andel",
    price: "Pris",
    cost: "Kostnad",
    file: "Fil",
    bytes: "Byte",
    groups_by: "Per",
    age: "ålder",
    hidden_groups: "grupper visas inte, eftersom få brev kunde peka ut en mottagare; brev i dem:",
    repeat: "För att göra om uppdraget",
    made: "Gjord",
    day: "Dag som frågan gäller",
    version: "Version av nabar",
    settings: "Inställningar",
    no_settings: "inga: avgjordes av listan",
    register_digest: "Kontrollsumma för registerfilen",
    to_change: "med ändringar till sekvensnummer",
    rules_digest: "Kontrollsumma för reglerna",
    id_lists: "Reglernas listor",
    further_registers: "Reglernas register",
    ids: "identiteter",
    files: "Filer",
};

impl Language {
    /// The code of ISO 639.
    pub const fn code(self) -> &'static str {
        match self {
            Language::English => "en",
            Language::Swedish => "sv",
        }
    }

    /// The words of this language.
    pub const fn words(self) -> &'static ReportWords {
        match self {
            Language::English => &ENGLISH,
            Language::Swedish => &SWEDISH,
        }
    }

    /// An outcome or a reason, by its name in `report.json`.
    pub fn outcome(self, name: &str) -> String {
        let swedish = match self {
            Language::English => None,
            Language::Swedish => swedish_outcome(name),
        };
        swedish.map_or_else(|| name.replace('_', " "), str::to_owned)
    }

    /// Why something was decided of a list, by its name in `report.json`.
    pub fn ground(self, name: &str) -> &str {
        let (english, swedish) = match name {
            "given" => ("as given", "enligt uppgift"),
            "sep_line" => ("the first line says so", "står på första raden"),
            "identities" => ("it shows the most ids", "ger flest identiteter"),
            "cells" => ("it cuts most rows alike", "delar flest rader lika"),
            "no_choice" => ("nothing else is possible", "inget annat är möjligt"),
            "known_name" => ("a known name", "ett känt namn"),
            "usual_words" => ("usual words of headers", "vanliga ord i rubriker"),
            "types" => ("words where the rows below have digits", "ord där raderna under har siffror"),
            "no_sign" => ("no row looks like one", "ingen rad ser ut som en rubrik"),
            other => (other, other),
        };
        self.pick(english, swedish)
    }

    /// The likely cause of a refusal.
    pub fn cause(self, cause: &LikelyCause) -> String {
        match (self, cause) {
            (Language::English, cause) => cause.to_string(),
            (Language::Swedish, LikelyCause::OtherCountry { register }) => match register {
                Country::Sweden => {
                    "registret har svenska nummer (FaR) och listan har norska: är det rätt register?".to_owned()
                }
                Country::Norway => {
                    "registret har norska nummer (KRR) och listan har svenska: är det rätt register?".to_owned()
                }
            },
            (Language::Swedish, LikelyCause::RoundedNumbers) => {
                "ett kalkylprogram har avrundat numren (1,99E+11): exportera igen med kolumnen formaterad som text"
                    .to_owned()
            }
            (Language::Swedish, LikelyCause::FixedWidth { offset, length }) => {
                format!("det ser ut som en lista med fast bredd och identiteterna på {offset}:{length}")
            }
            (Language::Swedish, LikelyCause::RecordTypes) => {
                "det ser ut som poster av flera typer som tillsammans är ett brev: gör om den till en rad per brev"
                    .to_owned()
            }
            (Language::Swedish, LikelyCause::OtherColumn { delimiter: Some(delimiter) }) => format!(
                "de flesta rader har en identitet utanför identitetens kolumn; listan lästes med skiljetecknet '{}'",
                char::from(*delimiter).escape_default()
            ),
            (Language::Swedish, LikelyCause::OtherColumn { delimiter: None }) => {
                "de flesta rader har en identitet utanför identitetens kolumn".to_owned()
            }
        }
    }

    /// The text in this language.
    pub const fn pick<'a>(self, english: &'a str, swedish: &'a str) -> &'a str {
        match self {
            Language::English => english,
            Language::Swedish => swedish,
        }
    }

    /// A number in groups of three digits.
    pub(super) fn number(self, number: u64) -> String {
        let digits = number.to_string();
        let mut grouped = String::new();
        for (position, digit) in digits.chars().enumerate() {
            if position > 0 && (digits.len() - position).is_multiple_of(3) {
                grouped.push_str(self.pick(",", "\u{a0}"));
            }
            grouped.push(digit);
        }
        grouped
    }

    /// A number with decimals.
    pub(super) fn decimal(self, value: f64, decimals: usize) -> String {
        let text = format!("{value:.decimals$}");
        let (sign, text) = text.strip_prefix('-').map_or(("", &text[..]), |rest| ("-", rest));
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let whole = self.number(whole.parse().unwrap_or(u64::MAX));
        let point = self.pick(".", ",");
        let fraction = if fraction.is_empty() { String::new() } else { format!("{point}{fraction}") };
        format!("{sign}{whole}{fraction}")
    }

    /// `part` in percent of `whole`.
    pub(super) fn percent(self, part: u64, whole: u64) -> String {
        let percent = if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 };
        format!("{}{}%", self.decimal(percent, 1), self.pick("", "\u{a0}"))
    }
}

fn swedish_outcome(name: &str) -> Option<&'static str> {
    Some(match name {
        "digital" => "digitalt",
        "notify" => "avisering (e-post eller sms)",
        "paper" => "papper",
        "other_country" => "annat lands nummer",
        "rejected" => "avvisade",
        "duplicate" => "dubbletter",
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
        "extra_cells" => "mer än listans kolumner",
        "shifted_cells" => "förskjutna celler",
        "more_than_one_identity" => "flera identiteter i raden",
        "blank_row" => "tom rad",
        "repeated_header" => "rubrikraden igen",
        "other_header" => "rubriker i annan ordning",
        "footer" => "summarad eller annat slut på listan",
        "no_id" => "brevet har ingen identitet",
        "unknown_record" => "post av okänd typ",
        "bad_text" => "tecken som teckenkodningen inte har",
        "refused_by_register" => "avvisad av registret",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mailing::rows::RowProblem;
    use crate::register::PaperReason;

    #[test]
    fn every_reason_has_swedish_words() {
        let paper =
            PaperReason::ALL.into_iter().map(|reason| crate::register::Outcome::Paper(reason).reason());
        for name in paper.chain(RowProblem::all().map(RowProblem::name)) {
            assert!(swedish_outcome(name).is_some(), "{name}");
        }
    }

    #[test]
    fn numbers_in_both_languages() {
        assert_eq!(Language::English.decimal(-1234567.891, 2), "-1,234,567.89");
        assert_eq!(Language::Swedish.decimal(1234.5, 1), "1\u{a0}234,5");
        assert_eq!([Language::English, Language::Swedish].map(|l| l.percent(1, 8)), ["12.5%", "12,5\u{a0}%"]);
    }
}
