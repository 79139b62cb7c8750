//! The rules prepared for one mailing: for each answer of the register, what is left to be tested of a letter.

use super::cell::{CellTest, Limits};
use super::{
    AgeTest, AnswerTest, CellForms, ChannelRules, Condition, RecipientKind, RegisterAnswer, Test, Truth,
    first_digit,
};
use crate::identities::Identity;
use crate::register::{Operator, Outcome};
use jiff::civil::Date;
use wildmatch::WildMatch;

/// What a plan asks about a letter.
pub(crate) trait Letter {
    /// The recipient.
    fn identity(&self) -> Identity;
    /// Whether the recipient is in an id list.
    fn is_in(&self, list: usize) -> bool;
    /// The answer of a further register, by its number. Asked only if [`Plan::asks`] says so.
    fn answer(&self, register: usize) -> usize;
    /// The cell of a column of the rules: its bytes, without white space around them.
    fn cell(&mut self, column: usize) -> &[u8];
}

/// The encoding of a list.
pub(crate) struct TextForms {
    /// The text of a cell.
    pub(crate) decode: fn(&[u8]) -> String,
    /// The bytes of a text, if a cell can have it.
    pub(crate) encode: fn(&str) -> Option<Vec<u8>>,
}

/// The rules for one mailing.
pub(crate) struct Plan {
    /// By the number of the answer.
    steps: Vec<Steps>,
    forms: CellForms,
    texts: TextForms,
    day: Date,
}

/// The rules that may apply to letters with one answer, up to the first one that does in any case.
struct Steps {
    maybe: Vec<(u16, Expression)>,
    otherwise: u16,
    /// The further registers that these rules ask, a bit for each.
    asked: u8,
}

/// A condition without what the answer decides.
enum Expression {
    Constant(Truth),
    All(Vec<Expression>),
    Any(Vec<Expression>),
    Not(Box<Expression>),
    Test(FastTest),
}

enum FastTest {
    /// Whether it holds depends on the register, which is not known.
    Open,
    /// By the number of a further register's answer.
    Further(usize, Vec<Truth>),
    Kind(Vec<RecipientKind>),
    FirstDigit(Vec<u8>),
    Age(AgeTest),
    List(usize),
    /// The texts in the encoding of the list, without those that it cannot have.
    Is(usize, Vec<Vec<u8>>),
    Empty(usize, bool),
    Matches(usize, Vec<WildMatch>),
    Other(usize, CellTest),
}

impl Plan {
    /// Prepares rules for the operators of the job's register, and of each further one.
    pub(crate) fn new(
        rules: &ChannelRules,
        operators: &[Operator],
        further: &[&[Operator]],
        day: Date,
        texts: TextForms,
    ) -> Plan {
        let steps = RegisterAnswer::all(operators)
            .map(|answer| Steps::of(rules, &Known { answer, further: Some(further) }, &texts))
            .collect();
        Plan { steps, forms: rules.cells.clone(), texts, day }
    }

    /// The rule for all letters with an answer, if it depends on nothing else.
    #[inline]
    pub(crate) fn rule_of(&self, answer: usize) -> Option<u16> {
        let steps = &self.steps[answer];
        steps.maybe.is_empty().then_some(steps.otherwise)
    }

    /// The rule that applies to a letter with an answer.
    pub(crate) fn decide(&self, answer: usize, letter: &mut impl Letter) -> u16 {
        let steps = &self.steps[answer];
        let mut maybe = steps.maybe.iter();
        let applies = maybe.find(|(_, expression)| self.holds(expression, letter) == Truth::Yes);
        applies.map_or(steps.otherwise, |(rule, _)| *rule)
    }

    /// Whether the rules for letters with an answer ask a further register.
    #[inline]
    pub(crate) fn asks(&self, answer: usize, register: usize) -> bool {
        self.steps[answer].asked & 1 << register != 0
    }

    fn holds(&self, expression: &Expression, letter: &mut impl Letter) -> Truth {
        match expression {
            Expression::Constant(truth) => *truth,
            Expression::All(all) => {
                let mut least = Truth::Yes;
                for one in all {
                    least = least.min(self.holds(one, letter));
                    if least == Truth::No {
                        break;
                    }
                }
                least
            }
            Expression::Any(any) => {
                let mut greatest = Truth::No;
                for one in any {
                    greatest = greatest.max(self.holds(one, letter));
                    if greatest == Truth::Yes {
                        break;
                    }
                }
                greatest
            }
            Expression::Not(one) => self.holds(one, letter).negated(),
            Expression::Test(test) => self.test(test, letter),
        }
    }

    fn test<L: Letter>(&self, test: &FastTest, letter: &mut L) -> Truth {
        match test {
            FastTest::Open => Truth::Unknown,
            FastTest::Further(register, by_answer) => by_answer[letter.answer(*register)],
            FastTest::Kind(kinds) => kinds.contains(&RecipientKind::of(letter.identity().space())).into(),
            FastTest::FirstDigit(digits) => {
                first_digit(&letter.identity()).is_some_and(|digit| digits.contains(&digit)).into()
            }
            FastTest::Age(test) => test.of(letter.identity().age_on(self.day)),
            FastTest::List(list) => letter.is_in(*list).into(),
            FastTest::Is(column, texts) => {
                let cell = letter.cell(*column);
                texts.iter().any(|text| text == cell).into()
            }
            FastTest::Empty(column, empty) => (letter.cell(*column).is_empty() == *empty).into(),
            FastTest::Matches(column, patterns) => {
                let text = (self.texts.decode)(letter.cell(*column));
                patterns.iter().any(|pattern| pattern.matches(&text)).into()
            }
            FastTest::Other(column, test) => test.of(&(self.texts.decode)(letter.cell(*column)), &self.forms),
        }
    }
}

/// What is known of the answer.
struct Known<'k> {
    answer: RegisterAnswer<'k>,
    /// The operators of the further registers; `None` if no register is known.
    further: Option<&'k [&'k [Operator]]>,
}

impl Steps {
    fn of(rules: &ChannelRules, known: &Known<'_>, texts: &TextForms) -> Steps {
        // Reached by the last rule, which has no conditions.
        let mut steps =
            Steps { maybe: Vec::new(), otherwise: rules.rules.len().saturating_sub(1) as u16, asked: 0 };
        for (index, rule) in (0u16..).zip(&rules.rules) {
            let when = simplified(&rule.when, known, texts);
            let channel = &rules.channels[rule.channel];
            let needed = channel.mailbox.then(|| match channel.register {
                None => Expression::Constant(known.answer.outcome.operator().is_some().into()),
                Some(register) => simplified_test(&Test::Further(register, has_mailbox()), known, texts),
            });
            match together(needed.into_iter().chain([when]).collect(), Truth::No, Expression::All) {
                Expression::Constant(Truth::Yes) => {
                    steps.otherwise = index;
                    break;
                }
                Expression::Constant(Truth::No | Truth::Unknown) => {}
                expression => {
                    steps.asked |= expression.asked();
                    steps.maybe.push((index, expression));
                }
            }
        }
        steps
    }
}

/// The condition of all rules of a mailbox channel.
pub(super) fn has_mailbox() -> AnswerTest {
    AnswerTest::Outcome(vec!["digital"])
}

impl Expression {
    /// The further registers that it asks, a bit for each.
    fn asked(&self) -> u8 {
        match self {
            Expression::All(all) | Expression::Any(all) => {
                all.iter().map(Expression::asked).fold(0, |one, other| one | other)
            }
            Expression::Not(one) => one.asked(),
            Expression::Test(FastTest::Further(register, _)) => 1 << register,
            Expression::Test(_) | Expression::Constant(_) => 0,
        }
    }
}

/// The rules that may apply to letters with an outcome, of a register whose operators are not known.
pub(super) fn reachable(rules: &ChannelRules, outcome: Outcome) -> impl Iterator<Item = usize> {
    let texts = TextForms { decode: |_| String::new(), encode: |_| None };
    let known = Known { answer: RegisterAnswer { outcome, operator: None }, further: None };
    let Steps { maybe, otherwise, .. } = Steps::of(rules, &known, &texts);
    maybe.into_iter().map(|(rule, _)| usize::from(rule)).chain([usize::from(otherwise)])
}

/// A condition without what is known.
fn simplified(condition: &Condition, known: &Known<'_>, texts: &TextForms) -> Expression {
    let all_of = |all: &[Condition]| -> Vec<Expression> {
        all.iter().map(|one| simplified(one, known, texts)).collect()
    };
    match condition {
        Condition::All(all) => together(all_of(all), Truth::No, Expression::All),
        Condition::Any(any) => together(all_of(any), Truth::Yes, Expression::Any),
        Condition::Not(one) => match simplified(one, known, texts) {
            Expression::Constant(truth) => Expression::Constant(truth.negated()),
            expression => Expression::Not(Box::new(expression)),
        },
        Condition::Test(test) => simplified_test(test, known, texts),
    }
}

/// Expressions of which one with the truth `deciding` decides, and all with the opposite may be left out.
fn together(all: Vec<Expression>, deciding: Truth, make: fn(Vec<Expression>) -> Expression) -> Expression {
    let is =
        |expression: &Expression, truth| matches!(expression, Expression::Constant(found) if *found == truth);
    if all.iter().any(|expression| is(expression, deciding)) {
        return Expression::Constant(deciding);
    }
    let mut left: Vec<Expression> =
        all.into_iter().filter(|expression| !is(expression, deciding.negated())).collect();
    match left.len() {
        0 => Expression::Constant(deciding.negated()),
        1 => left.remove(0),
        _ if left.iter().all(|expression| is(expression, Truth::Unknown)) => {
            Expression::Constant(Truth::Unknown)
        }
        _ => make(left),
    }
}

fn simplified_test(test: &Test, known: &Known<'_>, texts: &TextForms) -> Expression {
    match test {
        Test::Answer(AnswerTest::Operator(_))
            if known.further.is_none() && known.answer.outcome.operator().is_some() =>
        {
            Expression::Test(FastTest::Open)
        }
        Test::Answer(test) => Expression::Constant(test.of(&known.answer)),
        Test::Further(register, test) => Expression::Test(match known.further {
            None => FastTest::Open,
            Some(further) => {
                let answers = RegisterAnswer::all(further[*register]);
                FastTest::Further(*register, answers.map(|answer| test.of(&answer)).collect())
            }
        }),
        Test::Kind(kinds) => Expression::Test(FastTest::Kind(kinds.clone())),
        Test::FirstDigit(digits) => Expression::Test(FastTest::FirstDigit(digits.clone())),
        Test::Age(test) => Expression::Test(FastTest::Age(*test)),
        Test::List(list) => Expression::Test(FastTest::List(*list)),
        Test::Cell(column, test) => Expression::Test(match test {
            CellTest::Is(all) => {
                FastTest::Is(*column, all.iter().filter_map(|text| (texts.encode)(text)).collect())
            }
            CellTest::Empty(empty) => FastTest::Empty(*column, *empty),
            CellTest::Matches(patterns) => {
                FastTest::Matches(*column, patterns.iter().map(|pattern| WildMatch::new(pattern)).collect())
            }
            CellTest::Within(Limits::Numbers(_) | Limits::Dates(_))
            | CellTest::NotANumber(_)
            | CellTest::NotADate(_) => FastTest::Other(*column, test.clone()),
        }),
    }
}
