//! What became of each row, as one number, and how often.

use super::rows::RowProblem;
use crate::register::{Answer, Outcome};

/// What became of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The register answered.
    Answered(Outcome),
    /// The row has no identity.
    Rejected(RowProblem),
    /// Set aside, because an earlier row has the same identity.
    Duplicate,
}

impl Verdict {
    /// `digital`, `notify`, `paper`, `rejected` or `duplicate`.
    pub const fn outcome(self) -> &'static str {
        match self {
            Verdict::Answered(outcome) => outcome.name(),
            Verdict::Rejected(_) => "rejected",
            Verdict::Duplicate => "duplicate",
        }
    }

    /// Why it is not digital, empty if there is no reason.
    pub const fn reason(self) -> &'static str {
        match self {
            Verdict::Answered(outcome) => outcome.reason(),
            Verdict::Rejected(problem) => problem.name(),
            Verdict::Duplicate => "",
        }
    }
}

/// The numbers of all verdicts of a register: first the answers, then the problems, then duplicate.
#[derive(Clone, Copy)]
pub(super) struct Verdicts {
    answers: u16,
}

impl Verdicts {
    pub(super) fn new(operators: usize) -> Verdicts {
        Verdicts { answers: Answer::count(operators) as u16 }
    }

    pub(super) fn count(self) -> usize {
        usize::from(self.duplicate()) + 1
    }

    pub(super) fn answered(self, answer: Answer) -> u16 {
        answer.0
    }

    pub(super) fn rejected(self, problem: RowProblem) -> u16 {
        self.answers + problem.number()
    }

    pub(super) fn duplicate(self) -> u16 {
        self.answers + RowProblem::COUNT as u16
    }

    /// All verdicts, in the order of their numbers.
    pub(super) fn all(self) -> impl Iterator<Item = Verdict> {
        let answers = (0..self.answers).map(|number| Verdict::Answered(Answer(number).outcome()));
        answers.chain(RowProblem::all().map(Verdict::Rejected)).chain([Verdict::Duplicate])
    }
}

/// Rows and their bytes by verdict.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) rows: Vec<u64>,
    pub(super) bytes: Vec<u64>,
    /// Rows whose identity stood in an earlier row.
    pub(super) duplicates: u64,
    /// Rows with another identity that were let through.
    pub(super) further: u64,
    /// Letters to the identity of the second column.
    pub(super) second_ids: u64,
    /// Those of them whose rows are letters to the first column's too, and digits of the numbers of these rows.
    pub(super) repeats: u64,
    pub(super) repeat_digits: u64,
}

impl Tally {
    pub(super) fn new(verdicts: Verdicts) -> Tally {
        Tally { rows: vec![0; verdicts.count()], bytes: vec![0; verdicts.count()], ..Tally::default() }
    }

    pub(super) fn clear(&mut self) {
        self.rows.fill(0);
        self.bytes.fill(0);
        for count in [
            &mut self.duplicates,
            &mut self.further,
            &mut self.second_ids,
            &mut self.repeats,
            &mut self.repeat_digits,
        ] {
            *count = 0;
        }
    }

    #[inline(always)]
    pub(super) fn count(&mut self, verdict: u16, bytes: usize) {
        self.rows[usize::from(verdict)] += 1;
        self.bytes[usize::from(verdict)] += bytes as u64;
    }

    /// Counts a row under another verdict than before.
    pub(super) fn move_row(&mut self, from: u16, to: u16, bytes: usize) {
        self.rows[usize::from(from)] -= 1;
        self.bytes[usize::from(from)] -= bytes as u64;
        self.count(to, bytes);
    }

    pub(super) fn add(&mut self, other: &Tally) {
        for (mine, others) in [(&mut self.rows, &other.rows), (&mut self.bytes, &other.bytes)] {
            mine.iter_mut().zip(others).for_each(|(mine, others)| *mine += others);
        }
        self.duplicates += other.duplicates;
        self.further += other.further;
        self.second_ids += other.second_ids;
        self.repeats += other.repeats;
        self.repeat_digits += other.repeat_digits;
    }

    /// Rows of the list: letters less the second ones of their rows.
    pub(super) fn rows_of_list(&self) -> u64 {
        self.total_rows() - self.repeats
    }

    /// Letters: what has been counted under a verdict.
    pub(super) fn total_rows(&self) -> u64 {
        self.rows.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_places_in_the_list_of_all() {
        let verdicts = Verdicts::new(5);
        let all: Vec<Verdict> = verdicts.all().collect();
        assert_eq!(all.len(), verdicts.count());
        for (number, verdict) in (0u16..).zip(all) {
            assert_eq!(
                number,
                match verdict {
                    Verdict::Answered(outcome) => verdicts.answered(outcome.into()),
                    Verdict::Rejected(problem) => verdicts.rejected(problem),
                    Verdict::Duplicate => verdicts.duplicate(),
                }
            );
        }
    }
}
