//! Acceptance rules: which senders a recipient accepts.
//!
//! Millions of recipients share few rules, so each distinct one is kept once and has a number. Number
//! 0 is the rule of nearly everybody: all senders, present and future. A mass mailing has one sender;
//! what it may send is resolved to one bit for each rule, once.

use hashbrown::HashMap;
use std::sync::Arc;

/// How the senders that a rule names are meant (mottagningsregler).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Acceptance {
    /// All senders but these, also those that join later.
    AllExcept,
    /// These senders and no other.
    Only,
}

impl Acceptance {
    /// The word in extracts and changes.
    pub const fn name(self) -> &'static str {
        match self {
            Acceptance::AllExcept => "all-except",
            Acceptance::Only => "only",
        }
    }

    /// The acceptance of a word, if it is one.
    pub fn of_name(name: &[u8]) -> Option<Acceptance> {
        match name {
            b"all-except" => Some(Acceptance::AllExcept),
            b"only" => Some(Acceptance::Only),
            _ => None,
        }
    }
}

/// A rule: an acceptance and senders, by their places in the register's list, ascending.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleSet {
    /// How the senders are meant.
    pub acceptance: Acceptance,
    /// Places of senders, ascending, each once.
    pub senders: Vec<u16>,
}

impl RuleSet {
    /// The rule that `senders` in any order make.
    pub fn new(acceptance: Acceptance, mut senders: Vec<u16>) -> RuleSet {
        senders.sort_unstable();
        senders.dedup();
        RuleSet { acceptance, senders }
    }

    /// The same, without owning the senders.
    pub(crate) fn as_slice(&self) -> RuleSlice<'_> {
        RuleSlice { acceptance: self.acceptance, senders: &self.senders }
    }

    pub(crate) fn accepts_all(&self) -> bool {
        self.acceptance == Acceptance::AllExcept && self.senders.is_empty()
    }

    /// Whether the rule accepts the sender at a place.
    pub fn accepts(&self, sender: u16) -> bool {
        let named = self.senders.binary_search(&sender).is_ok();
        named == (self.acceptance == Acceptance::Only)
    }
}

/// A [`RuleSet`] whose senders lie elsewhere, for looking one up. It hashes as the rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RuleSlice<'a> {
    pub(crate) acceptance: Acceptance,
    /// Ascending, each once.
    pub(crate) senders: &'a [u16],
}

impl hashbrown::Equivalent<RuleSet> for RuleSlice<'_> {
    fn equivalent(&self, rule: &RuleSet) -> bool {
        *self == rule.as_slice()
    }
}

/// Collects rules, each distinct one once.
#[derive(Default)]
pub(crate) struct RuleBook {
    /// Rule to provisional number, in the order of their coming; "all senders" is not among them.
    numbers: HashMap<RuleSet, u32>,
}

impl RuleBook {
    /// Provisional number of a rule; 0 for "all senders".
    pub(crate) fn number(&mut self, rule: RuleSet) -> u32 {
        if rule.accepts_all() {
            return 0;
        }
        let next = self.numbers.len() as u32 + 1;
        *self.numbers.entry(rule).or_insert(next)
    }

    /// Number of provisional numbers, with 0.
    pub(crate) fn len(&self) -> usize {
        self.numbers.len() + 1
    }

    /// The rules that are used, by provisional number, in their final order, which does not depend on
    /// the order in which they came; and for every provisional number the final one.
    pub(crate) fn finish(self, used: &[bool]) -> (RuleTable, Vec<u32>) {
        let mut finals = vec![0; self.len()];
        let numbers = self.numbers.into_iter();
        let mut rules: Vec<(RuleSet, u32)> = numbers.filter(|(_, number)| used[*number as usize]).collect();
        rules.sort_unstable();
        let mut table = RuleTable::new();
        table.push(&RuleSet::new(Acceptance::AllExcept, Vec::new()));
        for (place, (rule, provisional)) in rules.iter().enumerate() {
            finals[*provisional as usize] = place as u32 + 1;
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
    pub(crate) members: Vec<u16>,
}

impl RuleTable {
    /// No rule, not even rule 0.
    fn new() -> RuleTable {
        RuleTable { heads: vec![0], members: Vec::new() }
    }

    fn push(&mut self, rule: &RuleSet) {
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

/// Rules that a table of the tail holds.
const TAIL_RULES: usize = 1024;

/// Rules that have come since the register file was made. Their numbers follow the file's. Cheap to
/// copy: only the last table is copied when a rule comes.
#[derive(Clone, Default)]
pub(crate) struct RuleTail {
    /// Tables of [`TAIL_RULES`] rules each; the last may hold fewer.
    tables: Vec<Arc<RuleTable>>,
}

impl RuleTail {
    /// Adds a rule, under the next number.
    pub(crate) fn push(&mut self, rule: &RuleSet) {
        if self.tables.last().is_none_or(|last| last.len() == TAIL_RULES) {
            self.tables.push(Arc::new(RuleTable::new()));
        }
        if let Some(last) = self.tables.last_mut() {
            Arc::make_mut(last).push(rule);
        }
    }
}

/// All rules of a register, wherever their bytes are.
///
/// `heads[r] >> 1` is the first member of rule `r`, its lowest bit says `only`; one more head closes the
/// last rule. `members` are places of senders. Rules that have come since follow in tables of the same
/// form.
#[derive(Clone, Copy)]
pub(crate) struct Rules<'a> {
    heads: &'a [u32],
    members: &'a [u16],
    tail: &'a [Arc<RuleTable>],
}

impl<'a> Rules<'a> {
    /// The rules of two arrays that [`lead`](Self::lead), and those of a tail.
    pub(crate) fn new(heads: &'a [u32], members: &'a [u16], tail: Option<&'a RuleTail>) -> Rules<'a> {
        Rules { heads, members, tail: tail.map_or(&[], |tail| &tail.tables) }
    }

    /// Whether the heads ascend and end with the members, and rule 0 accepts all. Cost: one pass.
    pub(crate) fn lead(heads: &[u32], members: &[u16]) -> bool {
        let ascending = heads.windows(2).all(|pair| pair[0] >> 1 <= pair[1] >> 1);
        let ends = heads.last().is_some_and(|&last| (last >> 1) as usize == members.len());
        let first = matches!(heads, [0, next, ..] if next >> 1 == 0);
        ascending && ends && first
    }

    /// Number of rules, with rule 0.
    pub(crate) fn len(&self) -> usize {
        self.heads.len() - 1 + self.tail.iter().map(|table| table.len()).sum::<usize>()
    }

    /// A rule by its number.
    pub(crate) fn get(&self, rule: u32) -> Option<RuleSet> {
        let (acceptance, members) = self.parts(rule as usize)?;
        Some(RuleSet { acceptance, senders: members.to_vec() })
    }

    fn parts(&self, rule: usize) -> Option<(Acceptance, &'a [u16])> {
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

    /// Whether a rule accepts the sender at a place, `None` if there is no such rule.
    pub(crate) fn accepts(&self, rule: u32, sender: u16) -> Option<bool> {
        let (acceptance, members) = self.parts(rule as usize)?;
        Some(members.contains(&sender) == (acceptance == Acceptance::Only))
    }

    /// For each rule whether it accepts the sender at a place. Cost: one pass over all rules.
    pub(crate) fn accepting(&self, sender: u16) -> Vec<bool> {
        (0..self.len() as u32).filter_map(|rule| self.accepts(rule, sender)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rule() -> impl Strategy<Value = RuleSet> {
        let acceptance = prop_oneof![Just(Acceptance::AllExcept), Just(Acceptance::Only)];
        (acceptance, proptest::collection::vec(0..6u16, 0..5))
            .prop_map(|(a, senders)| RuleSet::new(a, senders))
    }

    proptest! {
        #[test]
        fn rules_are_kept_once_and_answer_as_they_read(given in proptest::collection::vec(rule(), 0..60)) {
            let mut book = RuleBook::default();
            let provisional: Vec<u32> = given.iter().map(|rule| book.number(rule.clone())).collect();
            let used = vec![true; book.len()];
            let (table, finals) = book.finish(&used);
            prop_assert!(Rules::lead(&table.heads, &table.members));
            let rules = Rules::new(&table.heads, &table.members, None);
            let distinct: std::collections::BTreeSet<_> = given.iter().filter(|rule| !rule.accepts_all()).collect();
            prop_assert_eq!(rules.len(), distinct.len() + 1);
            for sender in 0..7 {
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
    fn who_joins_later_is_accepted_by_all_except_and_not_by_only() {
        let new = 400;
        assert!(RuleSet::new(Acceptance::AllExcept, vec![1, 2]).accepts(new));
        assert!(!RuleSet::new(Acceptance::Only, vec![1, 2]).accepts(new));
        assert!(!RuleSet::new(Acceptance::Only, vec![]).accepts(new));
    }
}
