//! The rules prepared for one mailing: for each answer of the register, what is left to be tested of a letter.

use super::cell::{CellTest, Limits};
use super::{AgeTest, CellForms, ChannelRules, Condition, RecipientKind, Test, Truth, first_digit};
use crate::identities::Identity;
use crate::register::{Answer, Operator, Outcome};
use jiff::civil::Date;
use wildmatch::WildMatch;

/// What a plan asks about a letter.
pub(crate) trait Letter {
    /// The recipient.
    fn identity(&self) -> Identity;
    /// Whether the recipient is in an id list.
    fn is_in(&self, list: usize) -> bool;
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
    /// Prepares rules for a register's operators.
    pub(crate) fn new(rules: &ChannelRules, operators: &[Operator], day: Date, texts: TextForms) -> Plan {
        let answers = (0..Answer::count(operators.len()) as u16).map(Answer);
        let steps = answers
            .map(|answer| {
                let outcome = answer.outcome();
                let operator = outcome.operator().and_then(|operator| operators.get(usize::from(operator)));
                let operator = operator.map(|operator| (&*operator.id, &*operator.name));
                let known = Known { outcome, operator, operators_are_known: true };
                Steps::of(rules, &known, &texts)
            })
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
    outcome: Outcome,
    operator: Option<(&'k str, &'k str)>,
    operators_are_known: bool,
}

impl Steps {
    fn of(rules: &ChannelRules, known: &Known<'_>, texts: &TextForms) -> Steps {
        let mut maybe = Vec::new();
        for (index, rule) in (0u16..).zip(&rules.rules) {
            if rules.channels[rule.channel].mailbox && known.outcome.operator().is_none() {
                continue;
            }
            match simplified(&rule.when, known, texts) {
                Expression::Constant(Truth::Yes) => return Steps { maybe, otherwise: index },
                Expression::Constant(Truth::No | Truth::Unknown) => {}
                expression => maybe.push((index, expression)),
            }
        }
        // Not reached: the last rule has no conditions.
        Steps { maybe, otherwise: rules.rules.len().saturating_sub(1) as u16 }
    }
}

/// The rules that may apply to letters with an outcome, of a register whose operators are not known.
pub(super) fn reachable(rules: &ChannelRules, outcome: Outcome) -> impl Iterator<Item = usize> {
    let texts = TextForms { decode: |_| String::new(), encode: |_| None };
    let known = Known { outcome, operator: None, operators_are_known: false };
    let Steps { maybe, otherwise } = Steps::of(rules, &known, &texts);
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
    let constant = |holds: bool| Expression::Constant(holds.into());
    match test {
        Test::Outcome(names) => constant(names.contains(&known.outcome.name())),
        Test::Reason(reasons) => {
            constant(matches!(known.outcome, Outcome::Paper(reason) if reasons.contains(&reason)))
        }
        Test::Operator(_) if !known.operators_are_known && known.outcome.operator().is_some() => {
            Expression::Test(FastTest::Open)
        }
        Test::Operator(names) => {
            let named = |(id, name): (&str, &str)| names.iter().any(|wanted| wanted == id || wanted == name);
            constant(known.operator.is_some_and(named))
        }
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
