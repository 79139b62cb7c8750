//! Further registers that conditions ask, and tests of answers.

use super::Truth;
use crate::register::{Answer, Operator, Outcome, PaperReason};
use std::path::PathBuf;

/// Most further registers of a file.
pub const REGISTERS_MAX: usize = 2;

/// A register that conditions ask beside that of the job.
#[derive(Clone, Debug)]
pub struct FurtherRegister {
    /// Name in conditions, and of the columns of the feedback.
    pub name: String,
    /// The register file or data directory; relative to the current directory, or absolute.
    pub path: PathBuf,
    /// FaR: the sender, if it is not that of the job.
    pub sender: Option<String>,
    /// Hours since it was made, at most.
    pub max_age_hours: Option<u32>,
    /// Line in the file of rules.
    pub line: usize,
}

/// A test of a register's answer.
#[derive(Clone, Debug, PartialEq)]
pub enum AnswerTest {
    /// The outcome is one of these: `digital`, `notify`, `paper` or `other_country`.
    Outcome(Vec<&'static str>),
    /// It is paper for one of these reasons.
    Reason(Vec<PaperReason>),
    /// The recipient has a mailbox at one of these operators, by id or name.
    Operator(Vec<String>),
}

/// What a register says of a recipient: the outcome, and id and name of the operator.
#[derive(Clone, Copy, Debug)]
pub struct RegisterAnswer<'a> {
    /// The outcome.
    pub outcome: Outcome,
    /// Id and name of the recipient's operator.
    pub operator: Option<(&'a str, &'a str)>,
}

impl<'a> RegisterAnswer<'a> {
    /// With an operator of the register, if there is one.
    pub fn new(outcome: Outcome, operators: &'a [Operator]) -> RegisterAnswer<'a> {
        let operator = outcome.operator().and_then(|operator| operators.get(usize::from(operator)));
        RegisterAnswer { outcome, operator: operator.map(|operator| (&*operator.id, &*operator.name)) }
    }

    /// All answers of a register with some operators, in the order of their numbers.
    pub(super) fn all(operators: &'a [Operator]) -> impl Iterator<Item = RegisterAnswer<'a>> {
        (0..Answer::count(operators.len()) as u16)
            .map(|number| RegisterAnswer::new(Answer(number).outcome(), operators))
    }
}

impl AnswerTest {
    /// Whether it holds for an answer. Unknown if the register was not asked for the recipient.
    pub fn of(&self, answer: &RegisterAnswer<'_>) -> Truth {
        match (self, answer.outcome) {
            (_, Outcome::NotAsked) => Truth::Unknown,
            (AnswerTest::Outcome(names), outcome) => names.contains(&outcome.name()).into(),
            (AnswerTest::Reason(reasons), Outcome::Paper(reason)) => reasons.contains(&reason).into(),
            (AnswerTest::Reason(_), _) => Truth::No,
            (AnswerTest::Operator(names), _) => {
                let named = |(id, name)| names.iter().any(|wanted| wanted == id || wanted == name);
                answer.operator.is_some_and(named).into()
            }
        }
    }

    /// What it sees of an answer.
    pub(super) fn seen(&self, answer: &RegisterAnswer<'_>) -> String {
        match self {
            AnswerTest::Outcome(_) => format!("outcome {}", answer.outcome.name()),
            AnswerTest::Reason(_) => match answer.outcome {
                Outcome::Paper(reason) => format!("reason {}", reason.name()),
                _ => "reason none".to_owned(),
            },
            AnswerTest::Operator(_) => {
                let name = answer.operator.map_or("none".into(), |(_, name)| crate::plain_text::plain(name));
                format!("operator {name}")
            }
        }
    }
}
