//! Verdicts on letters, their numbers, and how many letters have each.

use super::rows::RowProblem;
use crate::register::{Answer, Outcome};

/// The outcome of a letter, or why it has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// The register decided.
    Decided(Outcome),
    /// The row was rejected.
    Rejected(RowProblem),
    /// Set aside because an earlier row has the same identity.
    Duplicate,
}

impl Verdict {
    /// `digital`, `notify`, `paper`, `rejected` or `duplicate`.
    pub const fn outcome(self) -> &'static str {
        match self {
            Verdict::Decided(outcome) => outcome.name(),
            Verdict::Rejected(_) => "rejected",
            Verdict::Duplicate => "duplicate",
        }
    }

    /// Why it is not digital, empty if there is no reason.
    pub const fn reason(self) -> &'static str {
        match self {
            Verdict::Decided(outcome) => outcome.reason(),
            Verdict::Rejected(problem) => problem.name(),
            Verdict::Duplicate => "",
        }
    }
}

/// The numbers of all verdicts for one register: first the answers, then the problems, then duplicate.
#[derive(Clone, Copy)]
pub(super) struct VerdictNumbers {
    answers: u16,
}

impl VerdictNumbers {
    pub(super) fn new(operators: usize) -> VerdictNumbers {
        VerdictNumbers { answers: Answer::count(operators) as u16 }
    }

    pub(super) fn count(self) -> usize {
        usize::from(self.duplicate()) + 1
    }

    pub(super) fn of_answer(self, answer: Answer) -> u16 {
        answer.0
    }

    pub(super) fn of_rejected(self, problem: RowProblem) -> u16 {
        self.answers + problem.number()
    }

    pub(super) fn duplicate(self) -> u16 {
        self.answers + RowProblem::COUNT as u16
    }

    /// All verdicts, in the order of their numbers.
    pub(super) fn all(self) -> impl Iterator<Item = Verdict> {
        let answers = (0..self.answers).map(|number| match Answer(number).outcome() {
            Outcome::Refused => Verdict::Rejected(RowProblem::RefusedByRegister),
            outcome => Verdict::Decided(outcome),
        });
        answers.chain(RowProblem::shown().map(Verdict::Rejected)).chain([Verdict::Duplicate])
    }
}

/// Letters and their bytes by verdict, and other counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) letters: Vec<u64>,
    pub(super) bytes: Vec<u64>,
    /// Letters whose identity occurs in an earlier letter.
    pub(super) duplicates: u64,
    /// Rows with another identity that were not rejected.
    pub(super) other_identities: u64,
    /// Letters to the identity of the second column.
    pub(super) second_ids: u64,
    /// Those of them whose row is also a letter to the identity of the first column.
    pub(super) repeats: u64,
    /// Digits of the row numbers of `repeats`.
    pub(super) repeat_digits: u64,
}

impl Tally {
    pub(super) fn new(numbers: VerdictNumbers) -> Tally {
        Tally { letters: vec![0; numbers.count()], bytes: vec![0; numbers.count()], ..Tally::default() }
    }

    pub(super) fn clear(&mut self) {
        self.letters.fill(0);
        self.bytes.fill(0);
        for count in [
            &mut self.duplicates,
            &mut self.other_identities,
            &mut self.second_ids,
            &mut self.repeats,
            &mut self.repeat_digits,
        ] {
            *count = 0;
        }
    }

    #[inline(always)]
    pub(super) fn count(&mut self, verdict: u16, bytes: usize) {
        self.letters[usize::from(verdict)] += 1;
        self.bytes[usize::from(verdict)] += bytes as u64;
    }

    /// Moves a letter to another verdict.
    pub(super) fn move_letter(&mut self, from: u16, to: u16, bytes: usize) {
        self.letters[usize::from(from)] -= 1;
        self.bytes[usize::from(from)] -= bytes as u64;
        self.count(to, bytes);
    }

    pub(super) fn add(&mut self, other: &Tally) {
        for (mine, others) in [(&mut self.letters, &other.letters), (&mut self.bytes, &other.bytes)] {
            mine.iter_mut().zip(others).for_each(|(mine, others)| *mine += others);
        }
        self.duplicates += other.duplicates;
        self.other_identities += other.other_identities;
        self.second_ids += other.second_ids;
        self.repeats += other.repeats;
        self.repeat_digits += other.repeat_digits;
    }

    /// Rows of the list: each counts once, also if it is two letters.
    pub(super) fn rows_of_list(&self) -> u64 {
        self.total_letters() - self.repeats
    }

    /// All letters.
    pub(super) fn total_letters(&self) -> u64 {
        self.letters.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_positions_among_all_verdicts() {
        let numbers = VerdictNumbers::new(5);
        let all: Vec<Verdict> = numbers.all().collect();
        assert_eq!(all.len(), numbers.count());
        for (number, verdict) in (0u16..).zip(all) {
            assert_eq!(
                number,
                match verdict {
                    Verdict::Decided(outcome) => numbers.of_answer(outcome.into()),
                    Verdict::Rejected(RowProblem::RefusedByRegister) => {
                        numbers.of_answer(Outcome::Refused.into())
                    }
                    Verdict::Rejected(problem) => numbers.of_rejected(problem),
                    Verdict::Duplicate => numbers.duplicate(),
                }
            );
        }
    }
}
