//! `rules check`, `rules explain` and `rules schema`.

use super::args::{RulesArgs, RulesCheck, RulesCommand, RulesExplain, SenderArgs};
use super::mailing::{JobProgress, list_options};
use super::{CommandResult, Failure, InputRegister, day, listen, source_of};
use nabar::channels::{ChannelRules, ChannelRulesError, Explained, FurtherRegister, Truth};
use nabar::mailing::{self, ChannelsSummary, ExplainedLetter, IdListSummary, Mailing, Ruling};
use nabar::plain_text::plain;
use nabar::register::Register;
use nabar::rejected::RejectedLimit;
use serde::Serialize;
use serde_json::json;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

/// The JSON Schema of files of rules.
const SCHEMA: &str = include_str!("../../docs/rules.schema.json");

impl From<ChannelRulesError> for Failure {
    fn from(error: ChannelRulesError) -> Failure {
        Failure::Usage(error.to_string())
    }
}

pub(super) fn rules(args: &RulesArgs) -> CommandResult {
    match &args.command {
        RulesCommand::Check(args) => check(args),
        RulesCommand::Explain(args) => explain(args),
        RulesCommand::Schema(_) => Ok(io::stdout().write_all(SCHEMA.as_bytes())?),
    }
}

fn check(args: &RulesCheck) -> CommandResult {
    let rules = ChannelRules::read(&args.rules)?;
    listen();
    let counted = match (&args.list, &args.register) {
        (Some(list), Some(register)) => Some(counted(&rules, list, register, args)?),
        _ => None,
    };
    let dead: Vec<&str> = rules.dead().into_iter().map(|rule| &*rule.name).collect();
    let mut out = io::stdout().lock();
    let unused = rules.unused();
    if args.json {
        let listed = rules.rules().iter().enumerate().map(|(index, rule)| {
            json!({
                "name": rule.name,
                "line": rule.line,
                "channel": rules.channel_of(index).name,
                "can_apply": !dead.contains(&&*rule.name),
                "letters": counted.as_ref().map(|counted| counted.channels.rules[index].letters),
            })
        });
        let listed: Vec<_> = listed.collect();
        let operators = counted.as_ref().map(|counted| &counted.unknown_operators);
        let lists = counted.as_ref().map(|counted| &counted.channels.lists);
        let all = json!({
            "rules": listed,
            "lists": lists,
            "unused": unused,
            "unknown_operators": operators,
        });
        serde_json::to_writer_pretty(&mut out, &all).map_err(io::Error::from)?;
        return Ok(writeln!(out)?);
    }
    for (index, rule) in rules.rules().iter().enumerate() {
        let letters = counted
            .as_ref()
            .map_or(String::new(), |counted| format!("{:>11}  ", counted.channels.rules[index].letters));
        let channel = &rules.channel_of(index).name;
        let note = if dead.contains(&&*rule.name) { "  (can never apply)" } else { "" };
        writeln!(out, "{letters}line {:>3}  {channel:<14}  {}{note}", rule.line, plain(&rule.name))?;
    }
    if let Some(counted) = &counted {
        writeln!(out, "rows: {}, rejected: {}", counted.rows, counted.rejected)?;
        for IdListSummary { name, ids, rejected, .. } in &counted.channels.lists {
            writeln!(out, "list {}: {ids} ids, {rejected} rows without a valid id", plain(name))?;
        }
    }
    let (count, channels) = (rules.rules().len(), rules.channels().len());
    writeln!(out, "{}: {count} rules, {channels} channels, no errors", args.rules.display())?;
    for name in unused {
        writeln!(out, "no rule uses {}", plain(&name))?;
    }
    for warning in
        warnings(&rules, counted.as_ref().map(|counted| &*counted.unknown_operators).unwrap_or_default())
    {
        writeln!(out, "{warning}")?;
    }
    Ok(out.flush()?)
}

/// What is probably not meant: rules that can never apply, operators that a register does not have, registers that are not
/// there.
fn warnings(rules: &ChannelRules, unknown_operators: &[UnknownOperator]) -> Vec<String> {
    let dead = rules.dead().into_iter().map(|rule| {
        format!(
            "line {}: rule {} can never apply: a rule before it always applies first, or its conditions never hold together",
            rule.line,
            plain(&rule.name)
        )
    });
    let unknown = unknown_operators.iter().map(|UnknownOperator { register, name }| {
        let register = register.as_ref().map_or(String::new(), |register| format!(" {register}"));
        format!("the register{register} has no operator {}: no condition on it holds", plain(name))
    });
    let missing = rules.registers().iter().filter(|register| !register.path.exists()).map(|register| {
        let FurtherRegister { line, name, path, .. } = register;
        format!("line {line}: register {name}: there is no file {}", path.display())
    });
    dead.chain(unknown).chain(missing).collect()
}

/// An operator of the rules that a register does not have.
#[derive(Serialize)]
struct UnknownOperator {
    /// The further register; absent for that of the job.
    #[serde(skip_serializing_if = "Option::is_none")]
    register: Option<String>,
    /// Name or id in the rules.
    name: String,
}

/// Prints the warnings about rules that a job uses.
pub(super) fn warn(ruling: &Ruling<'_>, register: &Register, file: &Path) -> CommandResult {
    for warning in warnings(ruling.rules(), &unknown_operators(ruling, register)) {
        writeln!(io::stderr(), "nabar: warning: {}: {warning}", file.display())?;
    }
    Ok(())
}

/// Operators of the rules that the register of the job, or a further one, does not have by id or name.
fn unknown_operators(ruling: &Ruling<'_>, register: &Register) -> Vec<UnknownOperator> {
    let rules = ruling.rules();
    let further = (0..rules.registers().len()).map(Some);
    let unknown = [None].into_iter().chain(further).flat_map(|further| {
        let operators = further.map_or(register.operators(), |further| ruling.operators(further));
        let has = move |name: &&String| {
            operators.iter().any(|operator| operator.id == **name || operator.name == **name)
        };
        rules.operators(further).into_iter().filter(move |name| !has(name)).map(move |name| UnknownOperator {
            register: further.map(|further| rules.registers()[further].name.clone()),
            name: name.clone(),
        })
    });
    unknown.collect()
}

/// The letters of a list by rule.
struct Counted {
    channels: ChannelsSummary,
    rows: u64,
    rejected: u64,
    unknown_operators: Vec<UnknownOperator>,
}

fn counted(
    rules: &ChannelRules,
    list: &Path,
    register: &Path,
    args: &RulesCheck,
) -> Result<Counted, Failure> {
    let register = source_of(register, &args.of)?.register();
    with_ruling(rules, &register, &args.of, list, |mailing| {
        let options = list_options(&args.reading)?;
        let max_rejected = RejectedLimit::Percent(100.0);
        let report = mailing::check(&Mailing { options, max_rejected, ..mailing.clone() })
            .map_err(|error| about(error, list, &args.rules))?;
        let channels = report.channels.ok_or_else(|| Failure::Failed("no rules".to_owned()))?;
        Ok(Counted {
            channels,
            rows: report.list.rows,
            rejected: report.outcomes["rejected"],
            unknown_operators: mailing
                .ruling
                .map(|ruling| unknown_operators(ruling, &register))
                .unwrap_or_default(),
        })
    })
}

/// An error about the list, or about the rules that do not fit it.
pub(super) fn about(error: mailing::ListError, list: &Path, rules: &Path) -> Failure {
    let about_rules = matches!(
        error,
        mailing::ListError::NoRuleColumn { .. }
            | mailing::ListError::IdList { .. }
            | mailing::ListError::IdListRejected { .. }
            | mailing::ListError::IdListEmpty { .. }
            | mailing::ListError::FurtherRegister { .. }
            | mailing::ListError::FurtherNotAsked { .. }
            | mailing::ListError::AmbiguousColumn { .. }
    );
    match error.is_about_list() || about_rules {
        true => Failure::from(error).about(if about_rules { rules } else { list }),
        false => error.into(),
    }
}

/// Runs a job with the rules, for a list with default options.
fn with_ruling<T>(
    rules: &ChannelRules,
    register: &Arc<Register>,
    of: &SenderArgs,
    list: &Path,
    job: impl FnOnce(&Mailing<'_>) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let (date, today) = day(of)?;
    let question = register.question(of.sender.as_deref(), date)?;
    let progress = JobProgress::silent();
    let mailing = Mailing { today, progress: &progress, ..Mailing::new(&question, list) };
    let ruling = Ruling::load(rules, &mailing)?;
    job(&Mailing { ruling: Some(&ruling), ..mailing })
}

fn explain(args: &RulesExplain) -> CommandResult {
    let rules = ChannelRules::read(&args.rules)?;
    listen();
    let register = InputRegister::register(&source_of(&args.question.register, &args.question.of)?);
    let (date, today) = day(&args.question.of)?;
    let list = match args.row {
        Some(_) => Path::new(&args.subject),
        None => Path::new("-"),
    };
    let letters = with_ruling(&rules, &register, &args.question.of, list, |mailing| {
        match (args.row, mailing.ruling) {
            (Some(row), _) => {
                let options = list_options(&args.reading)?;
                mailing::explain_row(&Mailing { options, ..mailing.clone() }, row)
                    .map_err(|error| about(error, list, &args.rules))
            }
            (None, Some(ruling)) => {
                let id = ruling.identity(args.subject.as_bytes(), register.kind().country(), today);
                let id = id.map_err(|rejection| match Path::new(&args.subject).is_file() {
                    true => Failure::Usage("of a list, name the row with --row N".to_owned()),
                    false => Failure::Usage(format!("it is no id: {}", rejection.name())),
                })?;
                let letter =
                    mailing::explain_letter(mailing.question, ruling, &id, date, cells(&rules, args)?)?;
                Ok(vec![letter])
            }
            (None, None) => Ok(Vec::new()),
        }
    })?;
    let mut out = io::stdout().lock();
    for (letter, whose) in letters.iter().zip(["first id", "second id"]) {
        if letters.len() > 1 {
            writeln!(out, "{whose}:")?;
        }
        print(&rules, letter, &mut out)?;
    }
    let is_given = |name: &str| args.row.is_some() || args.cells.iter().any(|(given, _)| given == name);
    let missing = rules.columns().iter().map(|column| &*column.name).filter(|name| !is_given(name));
    let missing: Vec<_> = missing.map(plain).collect();
    if !missing.is_empty() {
        writeln!(out, "taken as empty, since no --cell gives them: {}", missing.join(", "))?;
    }
    Ok(out.flush()?)
}

/// The cells that were given, by the columns of the rules.
fn cells(rules: &ChannelRules, args: &RulesExplain) -> Result<Vec<String>, Failure> {
    let mut cells = vec![String::new(); rules.columns().len()];
    for (name, text) in &args.cells {
        let column = rules.columns().iter().position(|column| column.name == *name);
        let column = column.ok_or_else(|| Failure::Usage(no_column(rules, name)))?;
        cells[column].clone_from(text);
    }
    Ok(cells)
}

fn no_column(rules: &ChannelRules, name: &str) -> String {
    let read: Vec<_> = rules.columns().iter().map(|column| plain(&column.name)).collect();
    format!("the rules read no column {}; they read: {}", plain(name), read.join(", "))
}

fn print(rules: &ChannelRules, letter: &ExplainedLetter, out: &mut impl Write) -> io::Result<()> {
    let (outcome, reason) = (letter.verdict.outcome(), letter.verdict.reason());
    let more = match (&letter.operator, reason) {
        (Some(operator), _) => format!(", operator {}", plain(operator)),
        (None, "") => String::new(),
        (None, reason) => format!(", {reason}"),
    };
    writeln!(out, "{outcome}{more}")?;
    for Explained { rule, holds, saw } in &letter.steps {
        let found = &rules.rules()[*rule];
        let holds = match holds {
            Truth::Yes => format!("applies: {}", rules.channel_of(*rule).name),
            Truth::No => "no".to_owned(),
            Truth::Unknown => "no: not known for certain".to_owned(),
        };
        writeln!(out, "  line {:>3}  {}: {holds}", found.line, plain(&found.name))?;
        for seen in saw {
            writeln!(out, "              {seen}")?;
        }
    }
    if letter.steps.is_empty() {
        writeln!(out, "  no rule is asked: the row is rejected, or the register was not asked for it")?;
    }
    Ok(())
}
