//! Acceptance rules: which senders a recipient accepts.
//!
//! Millions of recipients share few rules, so each distinct rule is stored once under a number. Rule 0, which nearly
//! all recipients have, accepts all senders, present and future. A mass mailing has one sender, so each rule is
//! evaluated once for the whole mailing.

use crate::organisations::{SenderIndex, SenderNumber};
use hashbrown::HashMap;
use std::sync::Arc;

/// Whether the senders listed in a rule are the accepted or the declined ones (mottagningsregler).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Acceptance {
    /// All senders are accepted except these, including senders that join later.
    AllExcept,
    /// Only these senders are accepted.
    Only,
}

impl Acceptance {
    /// The name in extracts and changes.
    pub const fn name(self) -> &'static str {
        match self {
            Acceptance::AllExcept => "all-except",
            Acceptance::Only => "only",
        }
    }

    /// Parses a [`name`](Self::name).
    pub fn of_name(name: &[u8]) -> Option<Acceptance> {
        match name {
            b"all-except" => Some(Acceptance::AllExcept),
            b"only" => Some(Acceptance::Only),
            _ => None,
        }
    }
}

/// A rule: an acceptance and senders. The senders are indices, or numbers inside the crate.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleSet<Sender = SenderIndex> {
    /// Whether the senders are the accepted or the declined ones.
    pub acceptance: Acceptance,
    /// Senders, ascending and distinct.
    pub senders: Vec<Sender>,
}

impl<Sender: Ord> RuleSet<Sender> {
    /// A rule of `senders` in any order.
    pub fn new(acceptance: Acceptance, mut senders: Vec<Sender>) -> Self {
        senders.sort_unstable();
        senders.dedup();
        RuleSet { acceptance, senders }
    }

    pub(crate) fn accepts_all(&self) -> bool {
        self.acceptance == Acceptance::AllExcept && self.senders.is_empty()
    }

    /// Whether the rule accepts a sender.
    pub fn accepts(&self, sender: Sender) -> bool {
        let listed = self.senders.binary_search(&sender).is_ok();
        listed == (self.acceptance == Acceptance::Only)
    }
}

impl RuleSet {
    /// The rule in a register file, where the indices and numbers of senders are equal.
    pub(crate) fn in_file(self) -> RuleSet<SenderNumber> {
        let senders = self.senders.into_iter().map(SenderIndex::in_file).collect();
        RuleSet { acceptance: self.acceptance, senders }
    }
}

impl RuleSet<SenderNumber> {
    /// The rule with its senders borrowed.
    pub(crate) fn as_slice(&self) -> RuleSlice<'_> {
        RuleSlice { acceptance: self.acceptance, senders: &self.senders }
    }
}

/// A [`RuleSet`] that borrows its senders, for hash table lookups. It has the same hash as the rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RuleSlice<'a> {
    pub(crate) acceptance: Acceptance,
    /// Ascending and distinct.
    pub(crate) senders: &'a [SenderNumber],
}

impl hashbrown::Equivalent<RuleSet<SenderNumber>> for RuleSlice<'_> {
    fn equivalent(&self, rule: &RuleSet<SenderNumber>) -> bool {
        let RuleSlice { acceptance, senders } = rule.as_slice();
        self.acceptance == acceptance && SenderNumber::values(self.senders) == SenderNumber::values(senders)
    }
}

/// Assigns provisional numbers to distinct rules while a register is built.
#[derive(Default)]
pub(crate) struct RuleNumbering {
    /// Provisional numbers, in order of first occurrence. The rule "all senders" is not included.
    numbers: HashMap<RuleSet<SenderNumber>, u32>,
}

impl RuleNumbering {
    /// The provisional number of a rule; 0 for "all senders".
    pub(crate) fn number(&mut self, rule: RuleSet<SenderNumber>) -> u32 {
        if rule.accepts_all() {
            return 0;
        }
        let next = self.numbers.len() as u32 + 1;
        *self.numbers.entry(rule).or_insert(next)
    }

    /// How many provisional numbers there are, including 0.
    pub(crate) fn len(&self) -> usize {
        self.numbers.len() + 1
    }

    /// The table of the used rules, and the final number of every provisional number. `used` is indexed by provisional
    /// number. The final order does not depend on the order in which rules were added.
    pub(crate) fn finish(self, used: &[bool]) -> (RuleTable, Vec<u32>) {
        let mut finals = vec![0; self.len()];
        let numbers = self.numbers.into_iter();
        let mut rules: Vec<(RuleSet<_>, u32)> =
            numbers.filter(|(_, number)| used[*number as usize]).collect();
        rules.sort_unstable();
        let mut table = RuleTable::new();
        table.push(&RuleSet::new(Acceptance::AllExcept, Vec::new()));
        for (index, (rule, provisional)) in rules.iter().enumerate() {
            finals[*provisional as usize] = index as u32 + 1;
            table.push(rule);
        }
        (table, finals)
    }
}

fn head(first: usize, acceptance: Acceptance) -> u32 {
    (first as u32) << 1 | u32::from(acceptance == Acceptance::Only)
}

/// The two arrays that hold rules; see [`Rules`].
#[derive(Clone)]
pub(crate) struct RuleTable {
    pub(crate) heads: Vec<u32>,
    pub(crate) members: Vec<SenderNumber>,
}

impl RuleTable {
    /// A table without rules, not even rule 0.
    fn new() -> RuleTable {
        RuleTable { heads: vec![0], members: Vec::new() }
    }

    fn push(&mut self, rule: &RuleSet<SenderNumber>) {
        if let Some(last) = self.heads.last_mut() {
            *last = head(self.members.len(), rule.acceptance);
        }
        self.members.extend_from_slice(&rule.senders);
        self.heads.push(head(self.members.len(), Acceptance::AllExcept));
    }

    fn len(&self) -> usize {
        self.heads.len() - 1
    }
}

/// Rules per table of a [`RuleTail`].
const TAIL_RULES: usize = 1024;

/// Rules added since the register file was made. Their numbers follow those of the file. Cheap to clone: adding a rule
/// copies the last table only.
#[derive(Clone, Default)]
pub(crate) struct RuleTail {
    /// Tables of [`TAIL_RULES`] rules each; the last may have fewer.
    tables: Vec<Arc<RuleTable>>,
}

impl RuleTail {
    /// Adds a rule, under the next number.
    pub(crate) fn push(&mut self, rule: &RuleSet<SenderNumber>) {
        if self.tables.last().is_none_or(|last| last.len() == TAIL_RULES) {
            self.tables.push(Arc::new(RuleTable::new()));
        }
        if let Some(last) = self.tables.last_mut() {
            Arc::make_mut(last).push(rule);
        }
    }
}

/// All rules of a register: those of the file, then those added since.
///
/// `heads[r] >> 1` is the index in `members` of the first sender of rule `r`. The lowest bit of the head is set for
/// [`Acceptance::Only`]. One more head ends the last rule. The tables of the tail have the same layout.
#[derive(Clone, Copy)]
pub(crate) struct Rules<'a> {
    heads: &'a [u32],
    members: &'a [SenderNumber],
    tail: &'a [Arc<RuleTable>],
}

impl<'a> Rules<'a> {
    /// The rules of two arrays that [are valid](Self::are_valid), and those of a tail.
    pub(crate) fn new(
        heads: &'a [u32],
        members: &'a [SenderNumber],
        tail: Option<&'a RuleTail>,
    ) -> Rules<'a> {
        Rules { heads, members, tail: tail.map_or(&[], |tail| &tail.tables) }
    }

    /// Whether the heads ascend, the last head is the number of members, all members are below the number of `senders`,
    /// and rule 0 accepts all. Cost: one pass.
    pub(crate) fn are_valid(heads: &[u32], members: &[SenderNumber], senders: usize) -> bool {
        let ascending = heads.windows(2).all(|pair| pair[0] >> 1 <= pair[1] >> 1);
        let ends = heads.last().is_some_and(|&last| (last >> 1) as usize == members.len());
        let first = matches!(heads, [0, next, ..] if next >> 1 == 0);
        // A fold, because the compiler does not vectorize `Iterator::max`.
        let last = SenderNumber::values(members).iter().fold(0, |most, &number| most.max(number));
        let exist = members.is_empty() || usize::from(last) < senders;
        ascending && ends && first && exist
    }

    /// Number of rules, including rule 0.
    pub(crate) fn len(&self) -> usize {
        self.heads.len() - 1 + self.tail.iter().map(|table| table.len()).sum::<usize>()
    }

    /// A rule by its number.
    pub(crate) fn get(&self, rule: u32) -> Option<RuleSet<SenderNumber>> {
        let (acceptance, members) = self.parts(rule as usize)?;
        Some(RuleSet { acceptance, senders: members.to_vec() })
    }

    fn parts(&self, rule: usize) -> Option<(Acceptance, &'a [SenderNumber])> {
        let (heads, members, rule) = match rule.checked_sub(self.heads.len() - 1) {
            None => (self.heads, self.members, rule),
            Some(later) => {
                let table = self.tail.get(later / TAIL_RULES)?;
                (&table.heads[..], &table.members[..], later % TAIL_RULES)
            }
        };
        let (head, next) = (*heads.get(rule)?, *heads.get(rule + 1)?);
        let acceptance = if head & 1 == 1 { Acceptance::Only } else { Acceptance::AllExcept };
        Some((acceptance, &members[(head >> 1) as usize..(next >> 1) as usize]))
    }

    /// Whether a rule accepts a sender; `None` if the rule does not exist.
    pub(crate) fn accepts(&self, rule: u32, sender: SenderNumber) -> Option<bool> {
        let (acceptance, members) = self.parts(rule as usize)?;
        let listed = SenderNumber::values(members).contains(&sender.get());
        Some(listed == (acceptance == Acceptance::Only))
    }

    /// For each rule, whether it accepts a sender. Cost: one pass over all rules.
    pub(crate) fn accepting(&self, sender: SenderNumber) -> Vec<bool> {
        (0..self.len() as u32).filter_map(|rule| self.accepts(rule, sender)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rule() -> impl Strategy<Value = RuleSet<SenderNumber>> {
        let acceptance = prop_oneof![Just(Acceptance::AllExcept), Just(Acceptance::Only)];
        let senders = proptest::collection::vec((0..6u16).prop_map(SenderNumber::new), 0..5);
        (acceptance, senders).prop_map(|(acceptance, senders)| RuleSet::new(acceptance, senders))
    }

    proptest! {
        #[test]
        fn distinct_rules_are_stored_once_and_give_the_same_answers(given in proptest::collection::vec(rule(), 0..60)) {
            let mut book = RuleNumbering::default();
            let provisional: Vec<u32> = given.iter().map(|rule| book.number(rule.clone())).collect();
            let used = vec![true; book.len()];
            let (table, finals) = book.finish(&used);
            prop_assert!(Rules::are_valid(&table.heads, &table.members, 6));
            let rules = Rules::new(&table.heads, &table.members, None);
            let distinct: std::collections::BTreeSet<_> = given.iter().filter(|rule| !rule.accepts_all()).collect();
            prop_assert_eq!(rules.len(), distinct.len() + 1);
            for sender in (0..7).map(SenderNumber::new) {
                let accepting = rules.accepting(sender);
                for (rule, &number) in given.iter().zip(&provisional) {
                    let number = finals[number as usize];
                    prop_assert_eq!(rules.get(number), Some(rule.clone()));
                    prop_assert_eq!(accepting[number as usize], rule.accepts(sender));
                    prop_assert_eq!(rules.accepts(number, sender), Some(rule.accepts(sender)));
                }
            }
        }
    }

    #[test]
    fn later_senders_are_accepted_by_all_except_and_declined_by_only() {
        let (listed, new) = ([1, 2].map(SenderIndex::new).to_vec(), SenderIndex::new(400));
        assert!(RuleSet::new(Acceptance::AllExcept, listed.clone()).accepts(new));
        assert!(!RuleSet::new(Acceptance::Only, listed).accepts(new));
        assert!(!RuleSet::new(Acceptance::Only, vec![]).accepts(new));
    }
}
