//! Channel rules applied to the letters of a list.

use super::channel_report::IdListSummary;
use super::error::ListError;
use super::options::Progress;
use super::row_cells::{CellReader, RowCells, text_forms};
use super::seen::SeenIdentities;
use super::sniff::{Encoding, ListForm};
use super::tally::VerdictNumbers;
use super::{Mailing, list_of_ids};
use crate::channels::{ChannelRules, Letter, Plan};
use crate::identities::Identity;
use crate::register::{Answer, Operator};
use jiff::civil::Date;
use std::borrow::Cow;
use std::ops::Range;

/// Channel rules with the id lists that they name.
pub struct Ruling<'r> {
    rules: Cow<'r, ChannelRules>,
    lists: Vec<SeenIdentities>,
    summaries: Vec<IdListSummary>,
}

impl<'r> Ruling<'r> {
    /// Reads the id lists of some rules, as for a mailing: its register, day, threads and progress. The rules themselves and
    /// the list of the mailing are not used. Cost: as [`check`](super::check) of the lists.
    ///
    /// Errors: a list cannot be read, or more rows than allowed have no id.
    pub fn load(rules: &'r ChannelRules, mailing: &Mailing<'_>) -> Result<Ruling<'r>, ListError> {
        let (mut lists, mut summaries) = (Vec::new(), Vec::new());
        for list in rules.lists() {
            let (ids, summary) = list_of_ids(mailing, list).map_err(|error| match error {
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
        Ok(Ruling { rules: Cow::Borrowed(rules), lists, summaries })
    }

    /// The same with its own rules.
    pub fn into_owned(self) -> Ruling<'static> {
        Ruling { rules: Cow::Owned(self.rules.into_owned()), lists: self.lists, summaries: self.summaries }
    }

    /// The rules.
    pub fn rules(&self) -> &ChannelRules {
        &self.rules
    }

    /// What was read of the id lists, in the order of the file.
    pub fn lists(&self) -> &[IdListSummary] {
        &self.summaries
    }

    /// For each id list, whether an identity is in it.
    pub fn in_lists(&self, identity: &Identity) -> Vec<bool> {
        self.lists.iter().map(|list| list.contains(identity.ordinal())).collect()
    }
}

/// Channel rules for ids without rows.
pub(crate) struct IdRuling<'a> {
    ruling: &'a Ruling<'a>,
    plan: Plan,
}

impl<'a> IdRuling<'a> {
    /// Prepares rules for a register's operators and a day. The rules read no cells.
    pub(crate) fn new(ruling: &'a Ruling<'_>, operators: &[Operator], day: Date) -> IdRuling<'a> {
        IdRuling { ruling, plan: Plan::new(&ruling.rules, operators, day, text_forms(Encoding::Utf8)) }
    }

    /// The index of the rule that applies to a letter; `None` if the register was not asked for the id, or refused it.
    pub(crate) fn rule_of(&self, answer: Answer, identity: Identity) -> Option<u16> {
        let decide = || self.plan.decide(answer.number(), &mut IdLetter { ruling: self.ruling, identity });
        Answer::decides(answer.number()).then(decide)
    }
}

/// A letter without a row.
struct IdLetter<'l> {
    ruling: &'l Ruling<'l>,
    identity: Identity,
}

impl Letter for IdLetter<'_> {
    fn identity(&self) -> Identity {
        self.identity
    }

    fn is_in(&self, list: usize) -> bool {
        self.ruling.lists[list].contains(self.identity.ordinal())
    }

    fn cell(&mut self, _: usize) -> &[u8] {
        &[]
    }
}

/// Channel rules for the rows of one list.
pub(super) struct ListRuling<'a> {
    plan: Plan,
    lists: &'a [SeenIdentities],
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
    ) -> ListRuling<'a> {
        let plan = Plan::new(&ruling.rules, operators, day, text_forms(form.encoding));
        let ruled = (0..numbers.count() as u16).map(|verdict| match numbers.answer_of(verdict) {
            None => verdict,
            Some(answer) => {
                plan.rule_of(answer).map_or(Self::DEPENDS, |rule| numbers.with_rule(answer, rule))
            }
        });
        ListRuling {
            ruled: ruled.collect(),
            numbers,
            plan,
            lists: &ruling.lists,
            cells: CellReader::new(form, &form.cells[..ruling.rules.columns().len()]),
        }
    }

    /// Decides rules, for one thread.
    pub(super) fn ruler(&self) -> Ruler<'_> {
        Ruler { ruling: self, cells: self.cells.cells() }
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
}

impl Ruler<'_> {
    /// A verdict with the rule that applies to a letter, of which the bytes of the row are needed.
    #[inline(always)]
    pub(super) fn ruled(
        &mut self,
        verdict: u16,
        identity: impl FnOnce() -> Identity,
        bytes: &[u8],
        row: Range<usize>,
    ) -> u16 {
        match self.ruling.ruled[usize::from(verdict)] {
            ListRuling::DEPENDS => self.decided(verdict, identity(), bytes, row),
            ruled => ruled,
        }
    }

    fn decided(&mut self, verdict: u16, identity: Identity, bytes: &[u8], row: Range<usize>) -> u16 {
        let ListRuling { numbers, plan, .. } = self.ruling;
        let Some(answer) = numbers.answer_of(verdict) else { return verdict };
        self.cells.begin();
        let mut letter = RowLetter { ruling: self.ruling, cells: &mut self.cells, identity, bytes, row };
        numbers.with_rule(answer, plan.decide(answer, &mut letter))
    }
}

/// A letter, and its row.
struct RowLetter<'l, 'a> {
    ruling: &'l ListRuling<'a>,
    cells: &'l mut RowCells<'a>,
    identity: Identity,
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
