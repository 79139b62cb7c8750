//! What each rule sees of a letter: the plain reading of the rules, to which the fast one is compared.

use super::plan::has_mailbox;
use super::{ChannelRules, Condition, RecipientKind, RegisterAnswer, Test, Truth, first_digit};
use crate::identities::Identity;
use crate::plain_text::plain;
use jiff::civil::Date;

/// What is known of a letter.
#[derive(Clone, Debug)]
pub struct Facts<'f> {
    /// What the register says.
    pub answer: RegisterAnswer<'f>,
    /// What each further register says.
    pub further: Vec<RegisterAnswer<'f>>,
    /// The recipient.
    pub identity: Identity,
    /// The day on which ages are counted.
    pub day: Date,
    /// For each id list, whether the recipient is in it.
    pub in_lists: Vec<bool>,
    /// The cell of each column that conditions read, without white space around it.
    pub cells: Vec<String>,
}

/// A rule, and what it saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    /// Index of the rule.
    pub rule: usize,
    /// Whether its conditions hold.
    pub holds: Truth,
    /// A line for each test: what was seen, and whether it holds.
    pub saw: Vec<String>,
}

impl ChannelRules {
    /// Each rule in turn, up to the first one that applies.
    pub fn explain(&self, facts: &Facts<'_>) -> Vec<Explained> {
        let mut all = Vec::new();
        for (rule, found) in self.rules.iter().enumerate() {
            let mut saw = Vec::new();
            let mut holds = self.holds(&found.when, facts, &mut saw);
            let channel = &self.channels[found.channel];
            let answer = channel.register.map_or(&facts.answer, |register| &facts.further[register]);
            if channel.mailbox && has_mailbox().of(answer) != Truth::Yes {
                saw.push("the channel needs a mailbox, and there is none".to_owned());
                holds = Truth::No;
            }
            all.push(Explained { rule, holds, saw });
            if holds == Truth::Yes {
                break;
            }
        }
        all
    }

    /// The rule that applies.
    pub fn decide(&self, facts: &Facts<'_>) -> usize {
        self.explain(facts).last().map_or(0, |last| last.rule)
    }

    fn holds(&self, condition: &Condition, facts: &Facts<'_>, saw: &mut Vec<String>) -> Truth {
        let of = |condition, saw: &mut Vec<String>| self.holds(condition, facts, saw);
        match condition {
            Condition::All(all) => all.iter().map(|one| of(one, saw)).min().unwrap_or(Truth::Yes),
            Condition::Any(any) => any.iter().map(|one| of(one, saw)).max().unwrap_or(Truth::No),
            Condition::Not(one) => of(one, saw).negated(),
            Condition::Test(test) => {
                let (seen, holds) = self.test(test, facts);
                let holds_text = match holds {
                    Truth::Yes => "yes",
                    Truth::No => "no",
                    Truth::Unknown => "unknown",
                };
                saw.push(format!("{seen}: {holds_text}"));
                holds
            }
        }
    }

    /// What a test sees, and whether it holds.
    fn test(&self, test: &Test, facts: &Facts<'_>) -> (String, Truth) {
        let age = facts.identity.age_on(facts.day);
        let kind = RecipientKind::of(facts.identity.space());
        match test {
            Test::Answer(test) => (test.seen(&facts.answer), test.of(&facts.answer)),
            Test::Further(register, test) => {
                let (name, answer) = (&self.registers[*register].name, &facts.further[*register]);
                (format!("{} {}", plain(name), test.seen(answer)), test.of(answer))
            }
            Test::Kind(kinds) => (format!("recipient {}", kind.name()), kinds.contains(&kind).into()),
            Test::FirstDigit(digits) => {
                let digit = first_digit(&facts.identity);
                let shown = digit.map_or("none".to_owned(), |digit| digit.to_string());
                (format!("first digit {shown}"), digit.is_some_and(|digit| digits.contains(&digit)).into())
            }
            Test::Age(test) => {
                let shown = age.map_or("unknown".to_owned(), |age| age.to_string());
                (format!("age {shown}"), test.of(age))
            }
            Test::List(list) => {
                let is_in = facts.in_lists[*list];
                (format!("in list {}", plain(&self.lists[*list].name)), is_in.into())
            }
            Test::Cell(column, test) => {
                let (name, text) = (&self.columns[*column].name, &facts.cells[*column]);
                (format!("{} \"{}\"", plain(name), plain(text)), test.of(text, &self.cells))
            }
        }
    }
}
