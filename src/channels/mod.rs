//! Channel rules: how each letter goes.
//!
//! A sender's rules are a file ([`ChannelRules::parse`]): channels, and rules in order, each with conditions and a channel.
//! The first rule that applies to a letter decides its channel; the last one has no conditions. `docs/channels.md` describes
//! the file.
//!
//! A condition is certain to hold, certain not to hold, or [unknown](Truth::Unknown): the age of a person whose number does
//! not tell it, or a number in a cell that has none. A rule applies only if its conditions are certain to hold, so that
//! neither a condition nor its negation decides on what is not known.

mod cell;
mod explain;
mod file;
mod naming;
mod plan;
mod read;
mod registers;
#[cfg(test)]
mod tests;

pub use cell::{CellTest, Limit, Limits};
pub use explain::{Explained, Facts};
pub use file::ChannelRulesError;
pub(crate) use file::is_channel_name;
pub(crate) use naming::suggestion;
pub(crate) use plan::{Letter, Plan, TextForms};
pub use registers::{AnswerTest, FurtherRegister, REGISTERS_MAX, RegisterAnswer};

use crate::identities::{Identity, Space};
use crate::register::{Outcome, PaperReason};
use crate::rejected::RejectedLimit;
use std::path::PathBuf;

/// Most rules of a file.
pub const RULES_MAX: usize = 500;

/// The channels and rules of a sender.
#[derive(Clone, Debug)]
pub struct ChannelRules {
    channels: Vec<Channel>,
    lists: Vec<IdList>,
    registers: Vec<FurtherRegister>,
    rules: Vec<ChannelRule>,
    /// The columns that conditions read, by the names in the file; each once.
    columns: Vec<RuleColumn>,
    cells: CellForms,
    compare_with: Option<usize>,
    currency: String,
    digest: blake3::Hash,
}

/// A way that letters go.
#[derive(Clone, Debug, PartialEq)]
pub struct Channel {
    /// Lower-case letters, digits and hyphens: also the name of its file.
    pub name: String,
    /// Whether the letters go to the mailbox operators, with a file for each. Its rules apply only to digital letters.
    pub mailbox: bool,
    /// The further register whose operators these are, by its index; that of the job if `None`.
    pub register: Option<usize>,
    /// Price of a letter.
    pub cost: Option<f64>,
}

/// A list of ids that conditions name.
#[derive(Clone, Debug)]
pub struct IdList {
    /// Name in conditions.
    pub name: String,
    /// The file; relative to the current directory, or absolute.
    pub path: PathBuf,
    /// The column of the ids; found by itself if `None`.
    pub id_column: Option<String>,
    /// Rows that may be without an id. By default none may: a letter could go the wrong way.
    pub max_rejected: RejectedLimit,
    /// Whether it may have no id at all.
    pub may_be_empty: bool,
    /// Line in the file of rules.
    pub line: usize,
}

/// A rule.
#[derive(Clone, Debug)]
pub struct ChannelRule {
    /// Name, unique in the file.
    pub name: String,
    /// Index of the channel.
    pub channel: usize,
    /// When it applies.
    pub when: Condition,
    /// Price of a letter to which it applies, if that is not the one of the channel.
    pub cost: Option<f64>,
    /// What such a letter would cost in the channel of the comparison, if not what others do.
    pub compared_cost: Option<f64>,
    /// Line in the file of rules.
    pub line: usize,
}

/// A column that conditions read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleColumn {
    /// Name in the header, number from 1, or `OFFSET:LENGTH` in a list of fixed width.
    pub name: String,
    /// The first line in the file of rules that names it.
    pub line: usize,
}

/// How numbers and dates are written in cells.
#[derive(Clone, Debug)]
pub struct CellForms {
    /// `.` or `,`.
    pub decimal_sign: char,
    /// As `strftime` writes it.
    pub date_form: String,
}

/// Whether a condition holds. The order is that of [`Condition::All`] (the least) and [`Condition::Any`] (the greatest).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Truth {
    /// Certainly not.
    No,
    /// Not known.
    Unknown,
    /// Certainly.
    Yes,
}

impl Truth {
    /// The truth of the opposite.
    pub fn negated(self) -> Truth {
        match self {
            Truth::No => Truth::Yes,
            Truth::Unknown => Truth::Unknown,
            Truth::Yes => Truth::No,
        }
    }
}

impl From<bool> for Truth {
    fn from(holds: bool) -> Truth {
        if holds { Truth::Yes } else { Truth::No }
    }
}

/// When a rule applies.
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    /// All hold; also if there is none.
    All(Vec<Condition>),
    /// One holds.
    Any(Vec<Condition>),
    /// It does not hold.
    Not(Box<Condition>),
    /// A single test.
    Test(Test),
}

/// A single test of a letter.
#[derive(Clone, Debug, PartialEq)]
pub enum Test {
    /// What the register of the job says.
    Answer(AnswerTest),
    /// What the further register of this index says.
    Further(usize, AnswerTest),
    /// The recipient is of one of these kinds.
    Kind(Vec<RecipientKind>),
    /// The recipient is an organisation whose number begins with one of these digits, after `16`.
    FirstDigit(Vec<u8>),
    /// The age of the person in whole years.
    Age(AgeTest),
    /// The recipient is in the id list of this index.
    List(usize),
    /// The cell of the column of this index.
    Cell(usize, CellTest),
}

/// A test of an age.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgeTest {
    /// The number does not tell it. Always so for organisations.
    Unknown,
    /// At least `0`, below `1`.
    Between(u32, u32),
}

/// A kind of recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecipientKind {
    /// With a personnummer, or a fødselsnummer.
    Person,
    /// With a samordningsnummer.
    Samordningsnummer,
    /// With a D-nummer.
    DNummer,
    /// An organisation.
    Organisation,
}

impl RecipientKind {
    /// All kinds.
    pub const ALL: [RecipientKind; 4] = [
        RecipientKind::Person,
        RecipientKind::Samordningsnummer,
        RecipientKind::DNummer,
        RecipientKind::Organisation,
    ];

    /// The name in files of rules.
    pub const fn name(self) -> &'static str {
        match self {
            RecipientKind::Person => "person",
            RecipientKind::Samordningsnummer => "samordningsnummer",
            RecipientKind::DNummer => "d_nummer",
            RecipientKind::Organisation => "organisation",
        }
    }

    /// The kind of an identity.
    pub const fn of(space: Space) -> RecipientKind {
        match space {
            Space::Personnummer
            | Space::Fodselsnummer
            | Space::Fodselsnummer40
            | Space::Fodselsnummer65
            | Space::Fodselsnummer80 => RecipientKind::Person,
            Space::Samordningsnummer | Space::SamordningsnummerUnknownDate => {
                RecipientKind::Samordningsnummer
            }
            Space::DNummer | Space::DNummer40 | Space::DNummer65 | Space::DNummer80 => RecipientKind::DNummer,
            Space::Organisationsnummer => RecipientKind::Organisation,
        }
    }
}

/// The first digit of an organisation's number, after `16`; `None` for people.
pub(crate) fn first_digit(identity: &Identity) -> Option<u8> {
    match identity.space() {
        Space::Organisationsnummer => identity.as_bytes().get(2).map(|digit| digit & 15),
        _ => None,
    }
}

impl AgeTest {
    /// Whether it holds for an age.
    pub fn of(self, age: Option<u32>) -> Truth {
        match (self, age) {
            (AgeTest::Unknown, age) => age.is_none().into(),
            (AgeTest::Between(..), None) => Truth::Unknown,
            (AgeTest::Between(from, below), Some(age)) => (from..below).contains(&age).into(),
        }
    }
}

impl ChannelRules {
    /// The channels, in the order of the file.
    pub fn channels(&self) -> &[Channel] {
        &self.channels
    }

    /// The rules, in the order of the file; at least one, and the last one applies to every letter.
    pub fn rules(&self) -> &[ChannelRule] {
        &self.rules
    }

    /// The id lists.
    pub fn lists(&self) -> &[IdList] {
        &self.lists
    }

    /// The further registers.
    pub fn registers(&self) -> &[FurtherRegister] {
        &self.registers
    }

    /// The columns that conditions read.
    pub fn columns(&self) -> &[RuleColumn] {
        &self.columns
    }

    /// How numbers and dates are written in cells.
    pub fn cell_forms(&self) -> &CellForms {
        &self.cells
    }

    /// The channel with whose cost that of the mailing is compared.
    pub fn compare_with(&self) -> Option<&Channel> {
        self.compare_with.map(|channel| &self.channels[channel])
    }

    /// The currency of costs; empty if the file does not name it.
    pub fn currency(&self) -> &str {
        &self.currency
    }

    /// BLAKE3 of the file.
    pub fn digest(&self) -> &blake3::Hash {
        &self.digest
    }

    /// The id lists, further registers and channels that no rule uses: perhaps a rule was forgotten.
    pub fn unused(&self) -> Vec<String> {
        let uses = |list: usize| self.tests().iter().any(|test| **test == Test::List(list));
        let lists = self.lists.iter().enumerate().filter(|(index, _)| !uses(*index));
        let lists = lists.map(|(_, list)| format!("list {}", list.name));
        let asks = |register: usize| {
            let of_channel = |rule: usize| self.channel_of(rule).register == Some(register);
            (0..self.rules.len()).any(of_channel)
                || self
                    .tests()
                    .iter()
                    .any(|test| matches!(test, Test::Further(asked, _) if *asked == register))
        };
        let registers = self.registers.iter().enumerate().filter(|(index, _)| !asks(*index));
        let registers = registers.map(|(_, register)| format!("register {}", register.name));
        let uses = |channel: usize| self.rules.iter().any(|rule| rule.channel == channel);
        let channels = self.channels.iter().enumerate().filter(|(index, _)| !uses(*index));
        lists
            .chain(registers)
            .chain(channels.map(|(_, channel)| format!("channel {}", channel.name)))
            .collect()
    }

    /// The tests of all rules.
    fn tests(&self) -> Vec<&Test> {
        fn add<'c>(condition: &'c Condition, tests: &mut Vec<&'c Test>) {
            match condition {
                Condition::All(all) | Condition::Any(all) => all.iter().for_each(|one| add(one, tests)),
                Condition::Not(one) => add(one, tests),
                Condition::Test(test) => tests.push(test),
            }
        }
        let mut tests = Vec::new();
        self.rules.iter().for_each(|rule| add(&rule.when, &mut tests));
        tests
    }

    /// The operators that conditions name, each once: on the register of the job, or on a further one.
    pub fn operators(&self, register: Option<usize>) -> Vec<&String> {
        let mut names: Vec<&String> = Vec::new();
        self.tests().into_iter().for_each(|test| match test {
            Test::Answer(AnswerTest::Operator(all)) if register.is_none() => names.extend(all),
            Test::Further(asked, AnswerTest::Operator(all)) if register == Some(*asked) => names.extend(all),
            _ => {}
        });
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The channel of a rule.
    pub fn channel_of(&self, rule: usize) -> &Channel {
        &self.channels[self.rules[rule].channel]
    }

    /// Price of a letter to which a rule applies: its own, or that of its channel.
    pub fn cost_of(&self, rule: usize) -> Option<f64> {
        self.rules[rule].cost.or(self.channel_of(rule).cost)
    }

    /// The rules that apply to no letter of any register, because a rule before them always applies first or their own
    /// conditions never hold. Conditions on operators, recipients, lists, further registers and cells may hold or not.
    pub fn dead(&self) -> Vec<&ChannelRule> {
        let outcomes = [Outcome::Digital(crate::organisations::OperatorIndex::new(0)), Outcome::Notify];
        let foreign = (!self.registers.is_empty()).then_some(Outcome::OtherCountry);
        let outcomes = outcomes.into_iter().chain(PaperReason::ALL.map(Outcome::Paper)).chain(foreign);
        let mut reached = vec![false; self.rules.len()];
        outcomes.for_each(|outcome| plan::reachable(self, outcome).for_each(|rule| reached[rule] = true));
        self.rules.iter().zip(reached).filter(|(_, reached)| !reached).map(|(rule, _)| rule).collect()
    }
}
