//! Verdicts on letters, their numbers, and how many letters have each.

use super::rows::RowProblem;
use crate::channels::REGISTERS_MAX;
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

/// A verdict, and the channel rule that applied, if the job has rules and the register decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ruled {
    pub(super) verdict: Verdict,
    pub(super) rule: Option<u16>,
    /// The answer of each further register that was asked for the rules.
    pub(super) further: [Option<Answer>; REGISTERS_MAX],
    /// Whether its identity is one of another country than the job's register.
    pub(super) is_foreign: bool,
}

impl Ruled {
    /// Without a rule.
    fn verdict(verdict: Verdict) -> Ruled {
        Ruled { verdict, rule: None, further: [None; REGISTERS_MAX], is_foreign: false }
    }
}

/// The answers of further registers for one letter, each as 1 + its number; 0 if the register was not asked.
pub(super) type FurtherCodes = [u16; REGISTERS_MAX];

/// The numbers of all verdicts for the registers of a job: first the answers, each with every channel rule and all answers of
/// further registers, then the problems, then duplicates: of the register's country, and of another one.
#[derive(Clone, Copy)]
pub(super) struct VerdictNumbers {
    answers: u16,
    /// 0 if the job has no channel rules.
    rules: u16,
    /// Codes of each further register; 1 for those that the rules do not have.
    further: FurtherCodes,
}

impl VerdictNumbers {
    /// `None` if there are more verdicts than numbers.
    pub(super) fn new(operators: usize, rules: usize, further: &[usize]) -> Option<VerdictNumbers> {
        let (answers, rules) = (Answer::count(operators).try_into().ok()?, rules.try_into().ok()?);
        let mut codes = [1; REGISTERS_MAX];
        for (codes, operators) in codes.iter_mut().zip(further) {
            *codes = (Answer::count(*operators) + 1).try_into().ok()?;
        }
        let numbers = VerdictNumbers { answers, rules, further: codes };
        let count = usize::from(answers) * numbers.per_answer() + RowProblem::COUNT + 2;
        // One more number marks a row that the register decides.
        (count < usize::from(u16::MAX)).then_some(numbers)
    }

    /// Combinations of the codes of further registers.
    fn per_rule(self) -> usize {
        self.further.into_iter().map(usize::from).product()
    }

    fn per_answer(self) -> usize {
        usize::from(self.rules.max(1)) * self.per_rule()
    }

    /// Number of numbers of answers.
    fn answered(self) -> u16 {
        self.answers * self.per_answer() as u16
    }

    pub(super) fn count(self) -> usize {
        usize::from(self.duplicate(true)) + 1
    }

    /// The answer with the first rule.
    pub(super) fn of_answer(self, answer: Answer) -> u16 {
        answer.0 * self.per_answer() as u16
    }

    /// The number of the answer that a verdict is, without its rule.
    pub(super) fn answer_of(self, verdict: u16) -> Option<usize> {
        (verdict < self.answered()).then(|| usize::from(verdict) / self.per_answer())
    }

    /// The number of an answer with a rule and the answers of further registers.
    pub(super) fn with_rule(self, answer: usize, rule: u16, further: FurtherCodes) -> u16 {
        let codes = self.further.iter().zip(further);
        let further = codes.fold(0, |number, (codes, code)| number * usize::from(*codes) + usize::from(code));
        (answer * self.per_answer() + usize::from(rule) * self.per_rule() + further) as u16
    }

    /// The answers of further registers of a combination.
    fn further_of(self, mut combination: usize) -> [Option<Answer>; REGISTERS_MAX] {
        let mut further = [None; REGISTERS_MAX];
        for (answer, codes) in further.iter_mut().zip(self.further).rev() {
            let code = combination % usize::from(codes);
            combination /= usize::from(codes);
            *answer = code.checked_sub(1).map(|number| Answer(number as u16));
        }
        further
    }

    pub(super) fn of_rejected(self, problem: RowProblem) -> u16 {
        self.answered() + problem.number()
    }

    pub(super) fn duplicate(self, is_foreign: bool) -> u16 {
        self.answered() + RowProblem::COUNT as u16 + u16::from(is_foreign)
    }

    /// All verdicts, in the order of their numbers.
    pub(super) fn all(self) -> impl Iterator<Item = Ruled> {
        let answers = (0..usize::from(self.answers) * self.per_answer()).map(move |number| {
            let (answer, number) = (number / self.per_answer(), number % self.per_answer());
            match Answer(answer as u16).outcome() {
                Outcome::Refused => Ruled::verdict(Verdict::Rejected(RowProblem::RefusedByRegister)),
                outcome => Ruled {
                    verdict: Verdict::Decided(outcome),
                    rule: (self.rules > 0).then_some((number / self.per_rule()) as u16),
                    further: self.further_of(number % self.per_rule()),
                    is_foreign: outcome == Outcome::OtherCountry,
                },
            }
        });
        let problems = RowProblem::shown().map(|problem| Ruled::verdict(Verdict::Rejected(problem)));
        let duplicates =
            [false, true].map(|is_foreign| Ruled { is_foreign, ..Ruled::verdict(Verdict::Duplicate) });
        answers.chain(problems).chain(duplicates)
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
    /// Digits of what the feedback says of where the letters of a print run are.
    pub(super) place_digits: u64,
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
            &mut self.place_digits,
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
        self.place_digits += other.place_digits;
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
        for (rules, further) in [(0, &[][..]), (1, &[]), (3, &[]), (3, &[2]), (2, &[1, 3])] {
            let numbers = VerdictNumbers::new(5, rules, further).expect("few");
            let all: Vec<Ruled> = numbers.all().collect();
            assert_eq!(all.len(), numbers.count());
            for (number, Ruled { verdict, rule, further, is_foreign }) in (0u16..).zip(all) {
                let codes = further.map(|answer| answer.map_or(0, |answer| answer.0 + 1));
                let of_answer = |outcome: Outcome| {
                    let answer = Answer::from(outcome);
                    assert_eq!(numbers.answer_of(number), Some(answer.number()));
                    assert_eq!(numbers.of_answer(answer), numbers.with_rule(answer.number(), 0, [0; 2]));
                    numbers.with_rule(answer.number(), rule.unwrap_or(0), codes)
                };
                match verdict {
                    Verdict::Decided(outcome) => {
                        assert_eq!((of_answer(outcome), rule.is_some()), (number, rules > 0));
                    }
                    Verdict::Rejected(RowProblem::RefusedByRegister) => {
                        let refused = of_answer(Outcome::Refused);
                        let refused = refused..refused + numbers.per_answer() as u16;
                        assert!(refused.contains(&number) && rule.is_none());
                    }
                    Verdict::Rejected(problem) => assert_eq!(numbers.of_rejected(problem), number),
                    Verdict::Duplicate => assert_eq!(numbers.duplicate(is_foreign), number),
                }
            }
        }
        let fits = |rules, further: &[usize]| VerdictNumbers::new(4096, rules, further).is_some();
        assert!(fits(15, &[]) && !fits(16, &[]) && fits(1, &[2]) && !fits(1, &[10]) && !fits(1, &[4096; 2]));
    }
}
