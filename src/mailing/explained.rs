//! Why a letter goes as it does: each channel rule in turn.

use super::error::ListError;
use super::file_kind::FileKind;
use super::input::{self, Input};
use super::parse::ChunkRows;
use super::ruling::{ListRuling, Ruling};
use super::run::Job;
use super::tally::Verdict;
use super::{Mailing, archive};
use crate::channels::{Explained, Facts, RegisterAnswer};
use crate::identities::Identity;
use crate::limits::CHUNK_BYTES;
use crate::register::{Answer, Outcome, Question};
use crate::runs::BytesEnd;
use jiff::civil::Date;

/// A letter, and what each rule saw of it.
#[derive(Clone, Debug, PartialEq)]
pub struct ExplainedLetter {
    /// What the register, or the row, says.
    pub verdict: Verdict,
    /// Name of the operator of a digital letter.
    pub operator: Option<String>,
    /// The rules up to the one that applies; none if the row is rejected.
    pub steps: Vec<Explained>,
}

/// Explains a letter to an identity. `cells` are those of the [columns](crate::channels::ChannelRules::columns) of the rules.
///
/// Errors: the register is damaged.
pub fn explain_letter(
    question: &Question<'_>,
    ruling: &Ruling<'_>,
    identity: &Identity,
    day: Date,
    cells: Vec<String>,
) -> Result<ExplainedLetter, ListError> {
    let register = question.register();
    let outcome = match register.kind().country().has(identity.ordinal()) {
        true => question.ask(identity)?,
        false => Outcome::OtherCountry,
    };
    let answer = RegisterAnswer::new(outcome, register.operators());
    let facts = Facts {
        answer,
        further: ruling.further_answers(identity)?,
        identity: *identity,
        day,
        in_lists: ruling.in_lists(identity),
        cells,
    };
    Ok(ExplainedLetter {
        verdict: Verdict::Decided(outcome),
        operator: answer.operator.map(|(_, name)| name.to_owned()),
        steps: ruling.rules().explain(&facts),
    })
}

/// Explains the letters of a row of the list, counted from 1 as in the feedback: two, if the row is a letter to each of two
/// identities. Cost: reads the list up to the row.
///
/// Errors: as [`check`](super::check); the list has fewer rows; the mailing has no rules.
pub fn explain_row(mailing: &Mailing<'_>, row: u64) -> Result<Vec<ExplainedLetter>, ListError> {
    let Some(ruling) = mailing.ruling else { return Ok(Vec::new()) };
    mailing.check_age()?;
    match archive::description_of(&mailing.options) {
        None => explain_input(mailing, ruling, input::open(mailing.list)?, row),
        Some(zip) => {
            archive::with_index(mailing, zip, |mailing, index, _| explain_input(mailing, ruling, index, row))
        }
    }
}

fn explain_input(
    mailing: &Mailing<'_>,
    ruling: &Ruling<'_>,
    mut input: Input,
    row: u64,
) -> Result<Vec<ExplainedLetter>, ListError> {
    let form = mailing.form_of(&mut input)?;
    let job = mailing.job(&form)?;
    let mut search =
        RowSearch { mailing, ruling, job: &job, wanted: row, before: 0, rows: ChunkRows::new(job.numbers) };
    match input {
        // A sheet is a stream of rows.
        Input::Workbook(_) => return Err(ListError::NotAList(FileKind::Workbook)),
        Input::Mapped(mapped) => {
            let (bytes, mut at) = (mapped.as_ref(), form.prefix);
            while at < bytes.len() {
                let chunk = (&bytes[at..], BytesEnd::Run);
                if let Some(found) = search.chunk(chunk, CHUNK_BYTES.min(bytes.len() - at))? {
                    return Ok(found);
                }
                at += search.rows.end;
                if search.rows.letters.is_last {
                    break;
                }
            }
        }
        Input::Stream(mut stream) => {
            stream.skip(form.prefix);
            let mut next = || match &form.run {
                Some(run) => stream.letters(run, &mut Vec::new(), mailing.progress),
                None => stream.chunk(&form.guard.rules, mailing.progress),
            };
            while let Some(bytes) = next()? {
                if let Some(found) = search.chunk((&bytes, BytesEnd::Letter), bytes.len())? {
                    return Ok(found);
                }
            }
        }
    }
    Err(ListError::NoSuchRow { rows: search.before })
}

struct RowSearch<'s> {
    mailing: &'s Mailing<'s>,
    ruling: &'s Ruling<'s>,
    job: &'s Job<'s>,
    wanted: u64,
    /// Rows before the chunk.
    before: u64,
    rows: ChunkRows,
}

impl RowSearch<'_> {
    /// The letters of the wanted row, if it begins in the first `length` of `bytes`.
    fn chunk(
        &mut self,
        (bytes, ends): (&[u8], BytesEnd),
        length: usize,
    ) -> Result<Option<Vec<ExplainedLetter>>, ListError> {
        if self.mailing.progress.interrupted() {
            return Err(ListError::Interrupted);
        }
        let mut ruler = self.job.ruling.as_ref().map(ListRuling::ruler);
        self.rows.read(&self.job.context, (bytes, ends), length, ruler.as_mut())?;
        if let Some(error) = self.rows.problem.take() {
            return Err(error.into());
        }
        let mut row = self.before;
        let mut found = Vec::new();
        for letter in 0..self.rows.ends.len() {
            row += u64::from(!self.rows.is_repeated(letter));
            if row == self.wanted {
                found.push(self.explained(letter, bytes)?);
            }
        }
        self.before = row;
        Ok((!found.is_empty()).then_some(found))
    }

    fn explained(&self, letter: usize, bytes: &[u8]) -> Result<ExplainedLetter, ListError> {
        let (rows, question) = (&self.rows, self.mailing.question);
        let identity = Identity::of_parts(rows.ordinals[letter], rows.identities[letter]);
        let cells = |ruling: &ListRuling<'_>| ruling.texts(bytes, rows.bytes_of(letter));
        match (self.job.numbers.answer_of(rows.verdicts[letter]), &self.job.ruling) {
            (Some(answer), Some(ruling)) if Answer::decides(answer) => {
                explain_letter(question, self.ruling, &identity, self.mailing.today.date(), cells(ruling))
            }
            _ => {
                let mut all = self.job.numbers.all();
                let ruled = all.nth(usize::from(rows.verdicts[letter]));
                let verdict = ruled.map_or(Verdict::Duplicate, |ruled| ruled.verdict);
                Ok(ExplainedLetter { verdict, operator: None, steps: Vec::new() })
            }
        }
    }
}
