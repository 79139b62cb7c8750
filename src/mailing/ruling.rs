//! Channel rules applied to the letters of a list.

use super::channel_report::IdListSummary;
use super::error::ListError;
use super::further::{ChunkAnswers, FurtherQuestions, FurtherRegisters};
use super::id_numbers::IdNumbers;
use super::options::Progress;
use super::row_cells::{CellReader, RowCells, text_forms};
use super::seen::SeenIdentities;
use super::sniff::{Encoding, ListForm};
use super::tally::{FurtherCodes, VerdictNumbers};
use super::{Mailing, list_of_ids};
use crate::channels::{ChannelRules, Letter, Plan, RegisterAnswer};
use crate::identities::{Country, Identity, Ordinal, Rejection, Today};
use crate::organisations::SenderIndex;
use crate::register::{Answer, Operator, Outcome, Register};
use jiff::civil::Date;
use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

/// Channel rules with the id lists and further registers that they name.
pub struct Ruling<'r> {
    rules: Cow<'r, ChannelRules>,
    further: FurtherRegisters,
    lists: Arc<Vec<SeenIdentities>>,
    summaries: Vec<IdListSummary>,
}

impl<'r> Ruling<'r> {
    /// Reads the id lists of some rules and opens their further registers, as for a mailing: its register, sender, day, threads
    /// and progress. The rules themselves and the list of the mailing are not used. Cost: as [`check`](super::check) of the
    /// lists.
    ///
    /// Errors: a list cannot be read, or more rows than allowed have no id; a register cannot be used.
    pub fn load(rules: &'r ChannelRules, mailing: &Mailing<'_>) -> Result<Ruling<'r>, ListError> {
        let further = FurtherRegisters::open(rules, mailing)?;
        let (mut lists, mut summaries) = (Vec::new(), Vec::new());
        let other = further.other_country(mailing.question.register().kind().country());
        for list in rules.lists() {
            let (ids, summary) = list_of_ids(mailing, list, other).map_err(|error| match error {
                ListError::Interrupted | ListError::IdListRejected { .. } | ListError::IdListEmpty { .. } => {
                    error
                }
                error => {
                    ListError::IdList { name: list.name.clone(), line: list.line, error: Box::new(error) }
                }
            })?;
            lists.push(ids);
            summaries.push(summary);
        }
        Ok(Ruling { rules: Cow::Borrowed(rules), further, lists: Arc::new(lists), summaries })
    }

    /// The same with its own rules.
    pub fn into_owned(self) -> Ruling<'static> {
        let Ruling { rules, further, lists, summaries } = self;
        Ruling { rules: Cow::Owned(rules.into_owned()), further, lists, summaries }
    }

    /// The same rules and lists for the sender of another mailing of the same day: further registers answer for a sender.
    ///
    /// Errors: a further register cannot be used for it, or any longer.
    pub(crate) fn again(&self, mailing: &Mailing<'_>) -> Result<Ruling<'r>, ListError> {
        Ok(Ruling {
            rules: self.rules.clone(),
            further: self.further.again(&self.rules, mailing)?,
            lists: Arc::clone(&self.lists),
            summaries: self.summaries.clone(),
        })
    }

    /// The rules.
    pub fn rules(&self) -> &ChannelRules {
        &self.rules
    }

    /// What was read of the id lists, in the order of the file.
    pub fn lists(&self) -> &[IdListSummary] {
        &self.summaries
    }

    /// The further registers.
    pub(super) fn further(&self) -> &FurtherRegisters {
        &self.further
    }

    /// Each further register, and the sender for whom it is asked.
    pub(crate) fn asked_registers(&self) -> impl Iterator<Item = (&Register, Option<SenderIndex>)> {
        self.further.asked()
    }

    /// The operators of a further register, by its index.
    pub fn operators(&self, register: usize) -> &[Operator] {
        self.further.operators()[register]
    }

    /// The country of the ids that a job reads beside those of its register's country.
    pub(super) fn other_country(&self, own: Country) -> Option<Country> {
        self.further.other_country(own)
    }

    /// The ids that a job with a register of a country reads.
    pub(crate) fn ids(&self, country: Country, today: Today) -> IdNumbers {
        IdNumbers { country, other: self.other_country(country), today }
    }

    /// The identity of a text in a job with a register of a country: also one of the country of a further register.
    ///
    /// Errors: it is no identity, or may be one of each country.
    pub fn identity(&self, text: &[u8], country: Country, today: Today) -> Result<Identity, Rejection> {
        self.ids(country, today).identity(text)
    }

    /// What each further register says of a recipient.
    ///
    /// Errors: one is damaged.
    pub fn further_answers(&self, identity: &Identity) -> Result<Vec<RegisterAnswer<'_>>, ListError> {
        self.further.ask(identity)
    }

    /// For each id list, whether an identity is in it.
    pub fn in_lists(&self, identity: &Identity) -> Vec<bool> {
        self.lists.iter().map(|list| list.contains(identity.ordinal())).collect()
    }
}

/// Channel rules for ids without rows.
pub(crate) struct IdRuling<'a> {
    ruling: &'a Ruling<'a>,
    questions: FurtherQuestions<'a>,
    plan: Plan,
}

impl<'a> IdRuling<'a> {
    /// Prepares rules for a register's operators and a day. The rules read no cells. Errors: a further register is damaged.
    pub(crate) fn new(
        ruling: &'a Ruling<'_>,
        operators: &[Operator],
        day: Date,
    ) -> Result<IdRuling<'a>, ListError> {
        let further = ruling.further.operators();
        let plan = Plan::new(&ruling.rules, operators, &further, day, text_forms(Encoding::Utf8));
        Ok(IdRuling { ruling, questions: ruling.further.questions()?, plan })
    }

    /// Errors: a further register was overwritten since it was opened: its answers are invalid.
    pub(crate) fn intact(&self) -> Result<(), ListError> {
        self.questions.intact()
    }

    /// The index of the rule that applies to a letter; `None` if a register was not asked for the id, or refused it. Errors: a
    /// further register is damaged.
    pub(crate) fn rule_of(&self, answer: Answer, identity: Identity) -> Result<Option<u16>, ListError> {
        let number = answer.number();
        if !Answer::decides(number) {
            return Ok(None);
        }
        let mut letter = IdLetter { ruling: self.ruling, identity, further: FurtherCodes::default() };
        for register in (0..self.questions.count()).filter(|register| self.plan.asks(number, *register)) {
            let answer = self.questions.answer(register, identity.ordinal())?;
            if answer.outcome() == Outcome::NotAsked {
                return Ok(None);
            }
            letter.further[register] = answer.number() as u16 + 1;
        }
        Ok(Some(self.plan.decide(number, &mut letter)))
    }
}

/// A letter without a row.
struct IdLetter<'l> {
    ruling: &'l Ruling<'l>,
    identity: Identity,
    further: FurtherCodes,
}

impl Letter for IdLetter<'_> {
    fn identity(&self) -> Identity {
        self.identity
    }

    fn is_in(&self, list: usize) -> bool {
        self.ruling.lists[list].contains(self.identity.ordinal())
    }

    fn answer(&self, register: usize) -> usize {
        usize::from(self.further[register]).saturating_sub(1)
    }

    fn cell(&mut self, _: usize) -> &[u8] {
        &[]
    }
}

/// Channel rules for the rows of one list.
pub(super) struct ListRuling<'a> {
    plan: Plan,
    lists: &'a [SeenIdentities],
    further: FurtherQuestions<'a>,
    cells: CellReader<'a>,
    numbers: VerdictNumbers,
    /// By verdict: the verdict with the rule that applies to all its letters, or [`Self::DEPENDS`].
    ruled: Vec<u16>,
}

impl<'a> ListRuling<'a> {
    /// No number of a verdict: the rule depends on the letter.
    const DEPENDS: u16 = u16::MAX;

    pub(super) fn new(
        ruling: &'a Ruling<'_>,
        operators: &[Operator],
        numbers: VerdictNumbers,
        day: Date,
        form: &'a ListForm,
    ) -> Result<ListRuling<'a>, ListError> {
        let further = ruling.further.operators();
        let plan = Plan::new(&ruling.rules, operators, &further, day, text_forms(form.encoding));
        let ruled = (0..numbers.count() as u16).map(|verdict| match numbers.answer_of(verdict) {
            None => verdict,
            // No rule is asked.
            Some(answer) if !Answer::decides(answer) => verdict,
            Some(answer) => plan
                .rule_of(answer)
                .map_or(Self::DEPENDS, |rule| numbers.with_rule(answer, rule, FurtherCodes::default())),
        });
        Ok(ListRuling {
            ruled: ruled.collect(),
            numbers,
            plan,
            lists: &ruling.lists,
            further: ruling.further.questions()?,
            cells: CellReader::new(form, &form.cells[..ruling.rules.columns().len()]),
        })
    }

    /// Errors: a further register was overwritten during the job.
    pub(super) fn intact(&self) -> Result<(), ListError> {
        self.further.intact()
    }

    /// Decides rules, for one thread.
    pub(super) fn ruler(&self) -> Ruler<'_> {
        Ruler { ruling: self, cells: self.cells.cells(), answers: ChunkAnswers::default() }
    }

    /// The cells of a row that conditions read, as text.
    pub(super) fn texts(&self, bytes: &[u8], row: Range<usize>) -> Vec<String> {
        self.cells.texts(bytes, &row)
    }
}

/// Decides the rules of letters, one after another.
pub(super) struct Ruler<'a> {
    ruling: &'a ListRuling<'a>,
    cells: RowCells<'a>,
    answers: ChunkAnswers,
}

impl Ruler<'_> {
    /// Asks the further registers for the letters of a chunk, before their rules are decided.
    pub(super) fn ask(&mut self, verdicts: &[u16], ordinals: &[Ordinal]) -> Result<(), ListError> {
        let ListRuling { further, ruled, numbers, plan, .. } = self.ruling;
        let asks = |letter: usize, register: usize| {
            let verdict = verdicts[letter];
            ruled[usize::from(verdict)] == ListRuling::DEPENDS
                && numbers.answer_of(verdict).is_some_and(|answer| plan.asks(answer, register))
        };
        self.answers.ask(further, ordinals, asks)
    }

    /// A verdict with the rule that applies to a letter of the chunk, of which the bytes of the row are needed.
    #[inline(always)]
    pub(super) fn ruled(
        &mut self,
        letter: usize,
        verdict: u16,
        identity: impl FnOnce() -> Identity,
        bytes: &[u8],
        row: Range<usize>,
    ) -> u16 {
        match self.ruling.ruled[usize::from(verdict)] {
            ListRuling::DEPENDS => {
                let further = self.answers.of(letter);
                self.decided(verdict, identity(), further, bytes, row)
            }
            ruled => ruled,
        }
    }

    fn decided(
        &mut self,
        verdict: u16,
        identity: Identity,
        further: FurtherCodes,
        bytes: &[u8],
        row: Range<usize>,
    ) -> u16 {
        let ListRuling { numbers, plan, .. } = self.ruling;
        let Some(answer) = numbers.answer_of(verdict) else { return verdict };
        self.cells.begin();
        let mut letter =
            RowLetter { ruling: self.ruling, cells: &mut self.cells, identity, further, bytes, row };
        numbers.with_rule(answer, plan.decide(answer, &mut letter), further)
    }
}

/// A letter, and its row.
struct RowLetter<'l, 'a> {
    ruling: &'l ListRuling<'a>,
    cells: &'l mut RowCells<'a>,
    identity: Identity,
    further: FurtherCodes,
    bytes: &'l [u8],
    row: Range<usize>,
}

impl Letter for RowLetter<'_, '_> {
    fn identity(&self) -> Identity {
        self.identity
    }

    fn is_in(&self, list: usize) -> bool {
        self.ruling.lists[list].contains(self.identity.ordinal())
    }

    fn answer(&self, register: usize) -> usize {
        usize::from(self.further[register]).saturating_sub(1)
    }

    #[inline(always)]
    fn cell(&mut self, column: usize) -> &[u8] {
        self.cells.cell(column, self.bytes, &self.row)
    }
}

/// Nothing is shown while an id list is read.
pub(super) struct Quiet<'p>(pub(super) &'p dyn Progress);

impl Progress for Quiet<'_> {
    fn interrupted(&self) -> bool {
        self.0.interrupted()
    }
}
