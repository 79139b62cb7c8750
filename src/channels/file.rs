//! Reads a file of rules, and checks it.

use super::cell::{Limit, Limits};
use super::naming::suggestion;
use super::read::{self, OneOrMore, When};
use super::{
    AgeTest, AnswerTest, CellForms, CellTest, Channel, ChannelRule, ChannelRules, Condition, FurtherRegister,
    IdList, REGISTERS_MAX, RULES_MAX, RecipientKind, RuleColumn, Test,
};
use crate::files;
use crate::plain_text::plain;
use crate::register::PaperReason;
use crate::rejected::RejectedLimit;
use jiff::civil::Date;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use toml::{Spanned, Value};

/// Length of a file of rules in bytes, at most.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Length of a channel's name.
const CHANNEL_BYTES_MAX: usize = 40;
/// Length of a rule's name in bytes: answers of the service repeat it for each id.
const RULE_BYTES_MAX: usize = 200;
/// Conditions within conditions, at most.
const DEPTH_MAX: usize = 32;
/// Names that files of a split have already.
const RESERVED: [&str; 9] = [
    "rejected",
    "duplicates",
    "feedback",
    "report",
    "late-paper",
    "late-moved",
    "record",
    "reconcile",
    "receipts-rejected",
];
const OUTCOMES: [&str; 4] = ["digital", "notify", "paper", "other_country"];

/// Why a file of rules is refused.
#[derive(Debug, thiserror::Error)]
#[error("{}: {finding}", path.display())]
pub struct ChannelRulesError {
    /// Which file.
    pub path: PathBuf,
    /// The line, what is wrong, and what to do.
    pub finding: String,
}

/// What is wrong, from a byte of the file on.
struct Finding(usize, String);

impl ChannelRules {
    /// Reads a file of rules. Relative paths in it start from its directory.
    pub fn read(path: impl AsRef<Path>) -> Result<ChannelRules, ChannelRulesError> {
        let path = path.as_ref();
        let bad = |finding: String| ChannelRulesError { path: path.to_owned(), finding };
        let text = files::read_regular_text(path, FILE_BYTES_MAX).map_err(|error| bad(error.to_string()))?;
        ChannelRules::parse(&text, path.parent().unwrap_or(Path::new(""))).map_err(bad)
    }

    /// Reads the text of a file in a directory. Errors: the line, what is wrong, and what to do.
    pub fn parse(text: &str, directory: &Path) -> Result<ChannelRules, String> {
        let lines = Lines::of(text);
        let at =
            |Finding(byte, what): Finding| format!("line {}: {}", lines.number(byte), without_numbers(&what));
        let file: read::File = toml::from_str(text).map_err(|error| {
            at(Finding(error.span().map_or(0, |span| span.start), error.message().to_owned()))
        })?;
        Reader { lines: &lines, columns: Vec::new(), lists: HashMap::new(), registers: Vec::new() }
            .rules(file, directory, blake3::hash(text.as_bytes()))
            .map_err(at)
    }
}

/// Where the lines of a text begin.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Lines {
        Lines([0].into_iter().chain(memchr::memchr_iter(b'\n', text.as_bytes()).map(|at| at + 1)).collect())
    }

    fn number(&self, byte: usize) -> usize {
        self.0.partition_point(|&start| start <= byte)
    }
}

struct Reader<'l> {
    lines: &'l Lines,
    columns: Vec<RuleColumn>,
    /// Index by name.
    lists: HashMap<String, usize>,
    registers: Vec<FurtherRegister>,
}

impl Reader<'_> {
    fn rules(
        mut self,
        file: read::File,
        directory: &Path,
        digest: blake3::Hash,
    ) -> Result<ChannelRules, Finding> {
        let cells = cell_forms(file.decimal_sign, file.date_form)?;
        self.all_registers(file.register, directory)?;
        let places: Vec<usize> = file.channel.iter().map(|channel| channel.name.span().start).collect();
        let channels = channels(file.channel, &self.registers)?;
        check_file_names(&channels, &places)?;
        let mut lists = Vec::new();
        for list in file.list {
            lists.push(self.list(list, directory)?);
        }
        let compared_at = file.compare_with.as_ref().map_or(0, |name| name.span().start);
        let compare_with = file.compare_with.map(|name| channel_index(&channels, &name)).transpose()?;
        if let Some(channel) = compare_with.filter(|channel| channels[*channel].cost.is_none()) {
            let name = &channels[channel].name;
            return Err(Finding(
                compared_at,
                format!("costs are compared with channel {name}, which has no `cost`"),
            ));
        }
        let rules = self.all_rules(file.rule, &channels, compare_with.is_some())?;
        Ok(ChannelRules {
            channels,
            lists,
            registers: self.registers,
            rules,
            columns: self.columns,
            cells,
            compare_with,
            currency: file.currency,
            digest,
        })
    }

    fn all_registers(&mut self, read: Vec<read::Register>, directory: &Path) -> Result<(), Finding> {
        for register in read {
            let at = register.name.span().start;
            let finding = |text: String| Err(Finding(at, text));
            let name = register.name.into_inner();
            let path = directory.join(&register.path);
            if !is_channel_name(&name) {
                return finding(
                    "the name of a register has lower-case letters a to z, digits and hyphens".into(),
                );
            }
            if self.registers.iter().any(|other| other.name == name) {
                return finding(format!("there are two registers with the name {name}"));
            }
            if self.registers.len() == REGISTERS_MAX {
                return finding(format!("there are more than {REGISTERS_MAX} further registers"));
            }
            let sender = register.sender.map(|sender| {
                let at = sender.span().start;
                let text = sender.into_inner().0;
                match matches!(text.len(), 10 | 12) && text.bytes().all(|byte| byte.is_ascii_digit()) {
                    true => Ok(text),
                    false => Err(Finding(at, "a sender is 10 or 12 digits".to_owned())),
                }
            });
            let (sender, max_age_hours) = (sender.transpose()?, register.max_age_hours);
            let line = self.lines.number(at);
            self.registers.push(FurtherRegister { name, path, sender, max_age_hours, line });
        }
        Ok(())
    }

    fn list(&mut self, list: read::List, directory: &Path) -> Result<IdList, Finding> {
        let at = list.name.span().start;
        let name = list.name.into_inner();
        let path = directory.join(&list.path);
        if !path.is_file() {
            return Err(Finding(at, format!("list {}: there is no file {}", plain(&name), path.display())));
        }
        let max_rejected = match list.max_rejected {
            Some(limit) => {
                let limit_at = limit.span().start;
                limit.into_inner().0.parse().map_err(|error: &str| Finding(limit_at, error.to_owned()))?
            }
            None => RejectedLimit::Rows(0),
        };
        if self.lists.insert(name.clone(), self.lists.len()).is_some() {
            return Err(Finding(at, format!("there are two lists with the name {}", plain(&name))));
        }
        let id_column = list.id_column.map(|column| column.0);
        let (may_be_empty, line) = (list.may_be_empty, self.lines.number(at));
        Ok(IdList { name, path, id_column, max_rejected, may_be_empty, line })
    }

    fn all_rules(
        &mut self,
        read: Vec<read::Rule>,
        channels: &[Channel],
        compares: bool,
    ) -> Result<Vec<ChannelRule>, Finding> {
        if read.len() > RULES_MAX {
            let at = read[RULES_MAX].name.span().start;
            return Err(Finding(at, format!("there are more than {RULES_MAX} rules")));
        }
        let mut rules: Vec<ChannelRule> = Vec::new();
        let mut last = 0;
        for rule in read {
            last = rule.name.span().start;
            let name = rule.name.into_inner();
            if name.trim().is_empty() || name.len() > RULE_BYTES_MAX || name.contains(char::is_control) {
                let finding = format!("a rule has a name of one line and at most {RULE_BYTES_MAX} bytes");
                return Err(Finding(last, finding));
            }
            if let Some(other) = rules.iter().find(|other| other.name == name) {
                let finding = format!("the rule of line {} has the same name: {}", other.line, plain(&name));
                return Err(Finding(last, finding));
            }
            let channel = channel_index(channels, &rule.channel)?;
            let cost = rule.cost.map(price).transpose()?;
            if let Some(compared) = rule.compared_cost.as_ref().filter(|_| !compares) {
                let finding =
                    "`compared_cost` is the price in the channel of `compare_with`, which is not there";
                return Err(Finding(compared.span().start, finding.to_owned()));
            }
            let compared_cost = rule.compared_cost.map(price).transpose()?;
            let when = self.condition(rule.when, last, 0)?;
            rules.push(ChannelRule {
                name,
                channel,
                when,
                cost,
                compared_cost,
                line: self.lines.number(last),
            });
        }
        match rules.last() {
            None => {
                let finding = "there is no rule: the last one, without `when`, says how all other letters go";
                Err(Finding(0, finding.to_owned()))
            }
            Some(rule) if rule.when != Condition::All(Vec::new()) => {
                let finding = "the last rule has conditions: add one without `when` for all other letters";
                Err(Finding(last, finding.to_owned()))
            }
            Some(rule) if channels[rule.channel].mailbox => {
                let finding = "the last rule is for letters of every kind, and not all have a mailbox: name another channel";
                Err(Finding(last, finding.to_owned()))
            }
            Some(_) => Ok(rules),
        }
    }

    /// The conditions of a table, which all must hold.
    fn condition(&mut self, when: When, at: usize, depth: usize) -> Result<Condition, Finding> {
        if depth > DEPTH_MAX {
            return Err(Finding(at, format!("conditions are nested more than {DEPTH_MAX} deep")));
        }
        let mut all = Vec::new();
        let mut test = |test| all.push(Condition::Test(test));
        let tests = answer_tests(when.outcome, when.reason, when.operator)?;
        tests.into_iter().map(Test::Answer).for_each(&mut test);
        if let Some(says) = when.register {
            let register = register_index(&self.registers, &says.name)?;
            let tests = answer_tests(says.outcome, says.reason, says.operator)?;
            if tests.is_empty() {
                let finding = "name an `outcome`, a `reason` or an `operator` of the register".to_owned();
                return Err(Finding(says.name.span().start, finding));
            }
            tests.into_iter().map(|answer| Test::Further(register, answer)).for_each(&mut test);
        }
        if let Some(names) = when.recipient {
            let all = RecipientKind::ALL.map(RecipientKind::name);
            test(Test::Kind(known(names, "kind of recipient", &all, |name| {
                RecipientKind::ALL.into_iter().find(|kind| kind.name() == name)
            })?));
        }
        if let Some(digits) = when.first_digit {
            let all = ["1", "2", "3", "4", "5", "6", "7", "8", "9"];
            test(Test::FirstDigit(known(digits, "first digit", &all, |digit| {
                digit.parse().ok().filter(|digit| (1..=9).contains(digit))
            })?));
        }
        if let Some(age) = when.age {
            test(Test::Age(age_test(age)?));
        }
        if let Some(names) = when.list {
            let at = names.span().start;
            let mut any = Vec::new();
            for name in names.into_inner().0 {
                let found = self.lists.get(&name).copied();
                let near = || suggestion(&name, self.lists.keys().map(|name| &**name));
                let missing =
                    || Finding(at, format!("there is no [[list]] with the name {}{}", plain(&name), near()));
                any.push(Condition::Test(Test::List(found.ok_or_else(missing)?)));
            }
            all.push(one_of(any, Condition::Any));
        }
        if let Some(cell) = when.cell {
            all.extend(self.cell(cell)?);
        }
        let nested = |reader: &mut Self, all: Vec<When>| {
            all.into_iter().map(|one| reader.condition(one, at, depth + 1)).collect::<Result<Vec<_>, _>>()
        };
        if let Some(conditions) = when.all {
            all.push(Condition::All(nested(self, conditions)?));
        }
        if let Some(conditions) = when.any {
            if conditions.is_empty() {
                return Err(Finding(
                    at,
                    "`any` without conditions never holds: name at least one".to_owned(),
                ));
            }
            all.push(Condition::Any(nested(self, conditions)?));
        }
        if let Some(condition) = when.not {
            all.push(Condition::Not(Box::new(self.condition(*condition, at, depth + 1)?)));
        }
        Ok(one_of(all, Condition::All))
    }

    /// The tests of a cell.
    fn cell(&mut self, cell: read::Cell) -> Result<Vec<Condition>, Finding> {
        let at = cell.column.span().start;
        let name = cell.column.into_inner().0;
        let limits: [ReadLimit; 4] = [
            (cell.at_least, Limit::AtLeast, Limit::AtLeast),
            (cell.above, Limit::Above, Limit::Above),
            (cell.at_most, Limit::AtMost, Limit::AtMost),
            (cell.below, Limit::Below, Limit::Below),
        ];
        let tests = [
            cell.is.map(|OneOrMore(texts)| {
                CellTest::Is(texts.into_iter().map(|text| text.trim().to_owned()).collect())
            }),
            cell.empty.map(CellTest::Empty),
            cell.matches.map(|OneOrMore(patterns)| CellTest::Matches(patterns)),
            cell.not_a_number.map(CellTest::NotANumber),
            cell.not_a_date.map(CellTest::NotADate),
            limits_of(limits)?.map(CellTest::Within),
        ];
        let column = self.columns.iter().position(|column| column.name == name).unwrap_or_else(|| {
            self.columns.push(RuleColumn { name: name.clone(), line: self.lines.number(at) });
            self.columns.len() - 1
        });
        let tests: Vec<Condition> =
            tests.into_iter().flatten().map(|test| Condition::Test(Test::Cell(column, test))).collect();
        match tests.is_empty() {
            true => Err(Finding(at, format!("the cell of column {} is compared with nothing", plain(&name)))),
            false => Ok(tests),
        }
    }
}

/// The tests of a register's answer.
fn answer_tests(
    outcome: Option<Spanned<OneOrMore>>,
    reason: Option<Spanned<OneOrMore>>,
    operator: Option<Spanned<OneOrMore>>,
) -> Result<Vec<AnswerTest>, Finding> {
    let outcome = outcome.map(|names| {
        let outcome = |name: &str| OUTCOMES.into_iter().find(|known| *known == name);
        known(names, "outcome", &OUTCOMES, outcome).map(AnswerTest::Outcome)
    });
    let reason = reason.map(|names| {
        let reason = |name: &str| PaperReason::ALL.into_iter().find(|reason| reason.name() == name);
        known(names, "reason", &PaperReason::ALL.map(PaperReason::name), reason).map(AnswerTest::Reason)
    });
    let operator = operator.map(|names| Ok(AnswerTest::Operator(names.into_inner().0)));
    [outcome, reason, operator].into_iter().flatten().collect()
}

/// A single condition as it is, several together.
fn one_of(mut all: Vec<Condition>, together: fn(Vec<Condition>) -> Condition) -> Condition {
    if all.len() == 1 { all.remove(0) } else { together(all) }
}

fn channels(read: Vec<read::Channel>, registers: &[FurtherRegister]) -> Result<Vec<Channel>, Finding> {
    let mut channels: Vec<Channel> = Vec::new();
    for channel in read {
        let at = channel.name.span().start;
        let name = channel.name.into_inner();
        if !is_channel_name(&name) {
            let finding = "the name of a channel has lower-case letters a to z, digits and hyphens, as its file is named so";
            return Err(Finding(at, finding.to_owned()));
        }
        let stem = name.trim_end_matches(|character: char| character.is_ascii_digit()).trim_end_matches('-');
        if RESERVED.contains(&&*name) || RESERVED.contains(&stem) {
            return Err(Finding(
                at,
                format!("a file of every split is named {name}: name the channel otherwise"),
            ));
        }
        if channels.iter().any(|other| other.name == name) {
            return Err(Finding(at, format!("there are two channels with the name {name}")));
        }
        let cost = channel.cost.map(price).transpose()?;
        // The file of rows for each operator.
        let mailbox = channel.mailbox.unwrap_or(name == "mailbox");
        if name == "mailbox" && !mailbox {
            return Err(Finding(at, "a channel with the name mailbox is one: name it otherwise".to_owned()));
        }
        let register = channel.register.map(|register| {
            let index = register_index(registers, &register)?;
            match mailbox {
                true => Ok(index),
                false => {
                    let finding = "a channel for the operators of a register has `mailbox = true`".to_owned();
                    Err(Finding(register.span().start, finding))
                }
            }
        });
        channels.push(Channel { name, mailbox, register: register.transpose()?, cost });
    }
    Ok(channels)
}

fn price(cost: Spanned<f64>) -> Result<f64, Finding> {
    match (0.0..1e6).contains(cost.get_ref()) {
        true => Ok(cost.into_inner()),
        false => Err(Finding(cost.span().start, "a cost is an amount from 0, such as 8.50".to_owned())),
    }
}

/// Whether a name is one of a channel.
pub(crate) fn is_channel_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=CHANNEL_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_plain) && !name.starts_with('-')
}

/// Checks that no file of a channel has the name that a file for an operator may have: who fetches it by its name would get
/// the wrong letters. `places` is where the channels are in the file.
fn check_file_names(channels: &[Channel], places: &[usize]) -> Result<(), Finding> {
    let mailboxes = channels.iter().filter(|channel| channel.mailbox).map(|channel| &*channel.name);
    for prefix in mailboxes.chain(["mailbox", "digital"]) {
        let is_like =
            |channel: &Channel| channel.name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('-'));
        if let Some((channel, at)) = channels.iter().zip(places).find(|(channel, _)| is_like(channel)) {
            let finding = format!(
                "a file for an operator may be named as the channel {}: name the channel otherwise",
                channel.name
            );
            return Err(Finding(*at, finding));
        }
    }
    Ok(())
}

/// A message in which what may be an identity is left out.
fn without_numbers(text: &str) -> String {
    let (mut shown, mut digits) = (String::new(), String::new());
    let end = |shown: &mut String, digits: &mut String| {
        let count = digits.bytes().filter(u8::is_ascii_digit).count();
        shown.push_str(if (9..=12).contains(&count) { "…" } else { digits });
        digits.clear();
    };
    for character in text.chars() {
        match character {
            '0'..='9' => digits.push(character),
            '-' | '+' if digits.len() == 6 || digits.len() == 8 => digits.push(character),
            _ => {
                end(&mut shown, &mut digits);
                shown.push(character);
            }
        }
    }
    end(&mut shown, &mut digits);
    shown
}

fn channel_index(channels: &[Channel], name: &Spanned<String>) -> Result<usize, Finding> {
    let wanted = name.get_ref();
    channels.iter().position(|channel| channel.name == *wanted).ok_or_else(|| {
        let near = suggestion(wanted, channels.iter().map(|channel| &*channel.name));
        Finding(name.span().start, format!("there is no [[channel]] with the name {}{near}", plain(wanted)))
    })
}

fn register_index(registers: &[FurtherRegister], name: &Spanned<String>) -> Result<usize, Finding> {
    let wanted = name.get_ref();
    registers.iter().position(|register| register.name == *wanted).ok_or_else(|| {
        let near = suggestion(wanted, registers.iter().map(|register| &*register.name));
        let finding = format!("there is no [[register]] with the name {}{near}", plain(wanted));
        Finding(name.span().start, finding)
    })
}

/// The values with some names.
fn known<T>(
    names: Spanned<OneOrMore>,
    what: &str,
    all: &[&str],
    find: impl Fn(&str) -> Option<T>,
) -> Result<Vec<T>, Finding> {
    let at = names.span().start;
    let found = |name: String| {
        find(&name).ok_or_else(|| {
            let near = suggestion(&name, all.iter().copied());
            Finding(at, format!("there is no {what} {}{near}; there are: {}", plain(&name), all.join(", ")))
        })
    };
    names.into_inner().0.into_iter().map(found).collect()
}

fn age_test(age: Spanned<read::Age>) -> Result<AgeTest, Finding> {
    let at = age.span().start;
    match age.into_inner() {
        read::Age::Unknown => Ok(AgeTest::Unknown),
        read::Age::Within { at_least, below } => {
            let (from, below) = (at_least.unwrap_or(0), below.unwrap_or(u32::MAX));
            match from < below {
                true => Ok(AgeTest::Between(from, below)),
                false => Err(Finding(at, "no age is within these limits".to_owned())),
            }
        }
    }
}

fn cell_forms(
    decimal_sign: Option<Spanned<String>>,
    date_form: Option<Spanned<String>>,
) -> Result<CellForms, Finding> {
    let decimal_sign = match decimal_sign {
        None => '.',
        Some(sign) => match &sign.get_ref()[..] {
            "." => '.',
            "," => ',',
            _ => return Err(Finding(sign.span().start, "the decimal sign is \".\" or \",\"".to_owned())),
        },
    };
    let date_form = match date_form {
        None => "%Y-%m-%d".to_owned(),
        Some(form) => {
            let at = form.span().start;
            let form = form.into_inner();
            let written = jiff::fmt::strtime::format(&form, Date::constant(2026, 6, 1)).ok();
            let is_read = written.is_some_and(|text| Date::strptime(&form, text).is_ok());
            if !is_read {
                let finding = "the form of dates is written as for strftime, such as \"%d.%m.%Y\"";
                return Err(Finding(at, finding.to_owned()));
            }
            form
        }
    };
    Ok(CellForms { decimal_sign, date_form })
}

/// What a cell is compared with.
enum Compared {
    Number(f64),
    Date(Date),
}

/// A limit as the file has it, if it does, and what it becomes for numbers and for dates.
type ReadLimit = (Option<Spanned<Value>>, fn(f64) -> Limit<f64>, fn(Date) -> Limit<Date>);

fn limits_of(limits: [ReadLimit; 4]) -> Result<Option<Limits>, Finding> {
    let (mut numbers, mut dates, mut at) = (Vec::new(), Vec::new(), 0);
    for (value, of_number, of_date) in limits {
        let Some(value) = value else { continue };
        at = value.span().start;
        match compared(value.into_inner()).map_err(|finding| Finding(at, finding))? {
            Compared::Number(number) => numbers.push(of_number(number)),
            Compared::Date(date) => dates.push(of_date(date)),
        }
    }
    match (numbers.is_empty(), dates.is_empty()) {
        (true, true) => Ok(None),
        (false, true) => Ok(Some(Limits::Numbers(numbers))),
        (true, false) => Ok(Some(Limits::Dates(dates))),
        (false, false) => Err(Finding(at, "one limit is a number, another one a date".to_owned())),
    }
}

fn compared(value: Value) -> Result<Compared, String> {
    let date = |date: toml::value::Date| Date::new(date.year as i16, date.month as i8, date.day as i8).ok();
    match value {
        Value::Integer(number) => Ok(Compared::Number(number as f64)),
        Value::Float(number) if number.is_finite() => Ok(Compared::Number(number)),
        Value::Datetime(time) if time.time.is_none() => {
            time.date.and_then(date).map(Compared::Date).ok_or_else(|| "there is no such date".to_owned())
        }
        _ => {
            let finding = "a limit is a number or a date, such as 2 or 2026-06-01, without quotation marks";
            Err(finding.to_owned())
        }
    }
}
