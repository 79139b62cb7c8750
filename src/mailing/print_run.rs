//! Jobs on print runs: opens them, and checks what is around their letters.

use super::Mailing;
use super::error::ListError;
use super::id_numbers::IdNumbers;
use super::input::Input;
use super::list_run::ListRun;
use super::run::ListResult;
use super::sniff::{CellPlace, ListForm};
use crate::identities::Rejection;
use crate::limits::SAMPLE_BYTES;
use crate::runs::{CountPlace, RunDescription, RunProblem, Totals};

/// Opens the run that an input is. Also where the texts of some columns are.
///
/// Errors: it is not as described; it has no such column.
fn opened(
    description: &RunDescription,
    input: &mut Input,
    columns: &[String],
    mailing: &Mailing<'_>,
) -> Result<(ListRun, Vec<CellPlace>), ListError> {
    let (mut wanted, most) = (SAMPLE_BYTES, input.letter_bytes());
    let run = loop {
        let (bytes, is_whole) = input.beginning(wanted, mailing.progress)?;
        match description.open(bytes, is_whole)? {
            Some(run) => break run,
            None if is_whole || wanted > most => {
                return Err(RunProblem::NoLetter.at(0).into());
            }
            None => wanted = (wanted * 2).min(most + 1),
        }
    };
    let column = |name: &String| {
        let column = run.column(name).ok_or_else(|| ListError::NoSuchColumn {
            wanted: name.clone(),
            columns: format!("texts of letters, named {}", run.column_names()),
            similar: String::new(),
        })?;
        Ok((name.clone(), column))
    };
    let columns = columns.iter().map(column).collect::<Result<Vec<_>, ListError>>()?;
    let places = (0..columns.len()).map(CellPlace::OfLetter).collect();
    Ok((ListRun::new(run, description.clone(), columns), places))
}

impl Mailing<'_> {
    /// The form of the print run that an input is, with some columns of its letters.
    ///
    /// Errors: it is not as described; it has no such column; what is before the first letter may have a letter.
    pub(super) fn form_of_run(
        &self,
        description: &RunDescription,
        input: &mut Input,
        columns: &[String],
        ids: IdNumbers,
    ) -> Result<ListForm, ListError> {
        let (run, cells) = opened(description, input, columns, self)?;
        let (bytes, _) = input.beginning(0, self.progress)?;
        let form = ListForm::of_run(run.clone(), cells, &bytes[..run.first_letter()], ids);
        match may_have_letter(&run, &form, &form.beginning) {
            // All of it is before the first letter.
            true if run.first_letter() == bytes.len() => Err(RunProblem::NoLetters.at(0).into()),
            true => Err(ListError::AroundLetters),
            false => Ok(form),
        }
    }

    /// Checks the numbers around the letters of a print run against its letters. Also where they are, and the records there.
    ///
    /// Errors: one is missing, or is not that of all letters; what is behind the last letter may have a letter.
    pub(super) fn check_run(
        &self,
        form: &ListForm,
        result: &ListResult,
    ) -> Result<([Vec<CountPlace>; 2], u64), ListError> {
        let Some(run) = &form.run else { return Ok(Default::default()) };
        let (before, after) = (&form.beginning[..], &result.after_letters[..]);
        if may_have_letter(run, form, after) {
            return Err(ListError::AroundLetters);
        }
        let around = run.records_around(before) + run.records_around(after);
        let totals = Totals { around, ..result.totals.clone() };
        Ok((run.checked_counts((before, after), result.letters_end, &totals)?, around))
    }
}

/// Whether what is around the letters, which goes to every file, may have one: the id of a person. That of an organisation may
/// be the sender's.
fn may_have_letter(run: &ListRun, form: &ListForm, around: &[u8]) -> bool {
    let (mut text, mut has_id) = (Vec::new(), false);
    // With a typing error, it is somebody's all the same.
    let may_be_id = |text: &[u8]| match form.guard.rules.identity(text) {
        Ok(_) => true,
        Err(rejection) => rejection == Rejection::BadCheckDigit,
    };
    run.ids_around(around, &mut |text| has_id |= may_be_id(text));
    !run.description().allows_ids_around()
        && (has_id || form.guard.has_person(run.searchable(around, &mut text)))
}
