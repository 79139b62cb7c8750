//! Finds, parses and looks up the rows of a chunk.

use super::error::ListError;
use super::guard::{Guard, GuardFinding};
use super::lines::{LineFinder, LineWindow, runs_in};
use super::list_run::ListRun;
use super::options::TwoIds;
use super::rows::{RowProblem, RowScanner, cell_of_row, twelve_before};
use super::ruling::Ruler;
use super::sniff::ListForm;
use super::tally::{Tally, VerdictNumbers};
use crate::cpu::{self, BaselineScan, BlockScan, ScanWork};
use crate::identities::{Identity, Ordinal};
use crate::register::{Answer, Damage, Outcome, Question};
use crate::runs::{BytesEnd, LETTER_BYTES_MAX, Letters, RunError, RunProblem};
use std::ops::Range;

/// Most rows are at least this long; determines the memory that is reserved for rows.
const ROW_BYTES: usize = 48;

/// Runs of digits of rows that are read one by one are counted for this many bytes together.
const RUN_BATCH_BYTES: usize = 1 << 13;

/// A letter of a print run with ids of more other recipients is rejected: its records may be those of several letters.
const OTHER_IDS_MAX: usize = 3;

/// Marks a row that the register decides.
const UNDECIDED: u16 = u16::MAX;

/// What all chunks are parsed with.
pub(super) struct ParseContext<'a> {
    pub(super) question: &'a Question<'a>,
    pub(super) form: &'a ListForm,
    /// Whether rows with another identity are rejected.
    pub(super) strict_rows: bool,
}

impl ParseContext<'_> {
    /// The answers of the register of the job, which says of ids of another country only that they are.
    fn ask(&self, ordinals: &[Ordinal], answers: &mut [Answer]) -> Result<(), Damage> {
        self.question.ask_all(ordinals, answers)?;
        let ids = self.form.guard.rules.ids;
        if ids.other.is_some() {
            for (answer, _) in
                answers.iter_mut().zip(ordinals).filter(|(_, ordinal)| ids.is_foreign(**ordinal))
            {
                *answer = Outcome::OtherCountry.into();
            }
        }
        Ok(())
    }
}

/// The letters of a chunk, field by field. Reused from chunk to chunk.
///
/// A row that is a letter to each of two identities has two elements, with the same end.
pub(super) struct ChunkRows {
    /// The end of each row, from the beginning of the chunk.
    pub(super) ends: Vec<usize>,
    /// Canonical digits; zeros for a rejected row, a zero at the end for a Norwegian identity.
    pub(super) identities: Vec<[u8; 12]>,
    pub(super) ordinals: Vec<Ordinal>,
    pub(super) verdicts: Vec<u16>,
    answers: Vec<Answer>,
    pub(super) tally: Tally,
    /// The end of the last row.
    pub(super) end: usize,
    numbers: VerdictNumbers,
    lines: LineFinder,
    /// Rows with two columns of identities that have one: index, and the identity of each column.
    pairs: Vec<(usize, [Option<Identity>; 2])>,
    /// Rows with another identity that were not rejected.
    other_identities: u64,
    /// Of the rows since the last search, the indexes of those with an identity and other cells than usual.
    uneven: Vec<usize>,
    /// Of a print run, what its form found.
    pub(super) letters: Letters,
    /// Where the run is not as its description says.
    pub(super) problem: Option<RunError>,
}

/// Finds and parses the rows of a chunk.
struct ParseRows<'a, 's> {
    rows: &'a mut ChunkRows,
    context: &'a ParseContext<'s>,
    bytes: &'a [u8],
    length: usize,
}

impl ScanWork for ParseRows<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<S: BlockScan>(self, scan: S) {
        self.rows.parse(scan, self.context, self.bytes, self.length);
    }
}

impl ChunkRows {
    pub(super) fn new(numbers: VerdictNumbers) -> ChunkRows {
        ChunkRows {
            ends: Vec::new(),
            identities: Vec::new(),
            ordinals: Vec::new(),
            verdicts: Vec::new(),
            answers: Vec::new(),
            tally: Tally::new(numbers),
            end: 0,
            numbers,
            lines: LineFinder::new(),
            pairs: Vec::new(),
            other_identities: 0,
            uneven: Vec::new(),
            letters: Letters::default(),
            problem: None,
        }
    }

    /// Finds, parses and looks up the rows of a chunk: those that begin in the first `length` of `bytes`. If there are
    /// channel rules, `ruler` decides those of the letters. Of a print run, `bytes` end as `ends` says.
    pub(super) fn read(
        &mut self,
        context: &ParseContext<'_>,
        (bytes, ends): (&[u8], BytesEnd),
        length: usize,
        ruler: Option<&mut Ruler<'_>>,
    ) -> Result<(), ListError> {
        self.ends.clear();
        self.identities.clear();
        self.ordinals.clear();
        self.verdicts.clear();
        self.other_identities = 0;
        self.tally.clear();
        if let Some(run) = &context.form.run {
            self.read_letters(context, run, (bytes, ends), length)?;
            return self.rule_and_count(ruler, bytes);
        }
        if let Some((column, two_ids)) = context.form.second {
            self.parse_two(context, bytes, length, column);
            self.choose(context, two_ids)?;
            self.tally.other_identities = self.other_identities;
            return self.rule_and_count(ruler, bytes);
        }
        cpu::scanned(ParseRows { rows: self, context, bytes, length });
        self.answers.resize(self.ordinals.len(), Answer::default());
        context.ask(&self.ordinals, &mut self.answers)?;
        self.tally.other_identities = self.other_identities;
        let mut start = 0;
        let is_ruled = ruler.is_some();
        for ((verdict, &answer), &end) in self.verdicts.iter_mut().zip(&self.answers).zip(&self.ends) {
            if *verdict == UNDECIDED {
                *verdict = self.numbers.of_answer(answer);
            }
            if !is_ruled {
                self.tally.count(*verdict, end - start);
            }
            start = end;
        }
        if is_ruled {
            self.rule_and_count(ruler, bytes)?;
        }
        Ok(())
    }

    /// Finds the letters of a print run that begin in the first `length` of `bytes`, and looks them up.
    fn read_letters(
        &mut self,
        context: &ParseContext<'_>,
        run: &ListRun,
        (bytes, ends): (&[u8], BytesEnd),
        length: usize,
    ) -> Result<(), ListError> {
        let mut letters = std::mem::take(&mut self.letters);
        letters.clear();
        self.problem = run.letters(bytes, length, ends, &mut letters).err();
        let (guard, mut text, mut start) = (&context.form.guard, Vec::new(), 0);
        for letter in letters.all() {
            if letter.end - start > LETTER_BYTES_MAX {
                self.problem = Some(RunProblem::LetterTooLong.at(start));
            }
            let found = letters.id(letter).map_err(RowProblem::from);
            let found = found.and_then(|id| guard.rules.identity(id).map_err(RowProblem::Identity));
            let most = if context.strict_rows { 0 } else { OTHER_IDS_MAX };
            let found = found.map(|identity| {
                let searched = run.searchable(&bytes[start..letter.end], &mut text);
                (identity, guard.other_identities(searched, &[identity], most + 1))
            });
            match found {
                Ok((_, others)) if others > most => {
                    self.push_rejected(RowProblem::MoreThanOneIdentity, letter.end);
                }
                Ok((identity, others)) => {
                    self.other_identities += u64::from(others > 0);
                    let (identity, ordinal) = (identity.padded(), identity.ordinal());
                    self.push(Letter { identity, ordinal, verdict: UNDECIDED }, letter.end);
                }
                Err(problem) => self.push_rejected(problem, letter.end),
            }
            start = letter.end;
        }
        (self.end, self.letters) = (letters.end, letters);
        self.answers.resize(self.ordinals.len(), Answer::default());
        context.ask(&self.ordinals, &mut self.answers)?;
        for (verdict, &answer) in self.verdicts.iter_mut().zip(&self.answers) {
            if *verdict == UNDECIDED {
                *verdict = self.numbers.of_answer(answer);
            }
        }
        self.tally.other_identities = self.other_identities;
        Ok(())
    }

    /// Where a letter of a print run is: the number of its first record, records and bytes. `first` is the number of the first
    /// record of the chunk.
    pub(super) fn places(&self, first: u64) -> impl Iterator<Item = [u64; 3]> {
        let mut at = (first, 0);
        self.letters.all().iter().map(move |letter| {
            let (first, start) = at;
            at = (first + u64::from(letter.records), letter.end);
            [first, letter.records.into(), (letter.end - start) as u64]
        })
    }

    /// Counts the digits of the places of letters.
    pub(super) fn number_places(&mut self, first: u64) {
        let digits = |number: u64| u64::from(number.checked_ilog10().unwrap_or(0)) + 1;
        self.tally.place_digits = self.places(first).flatten().map(digits).sum();
    }

    /// Decides the channel rules of the letters, and counts them.
    fn rule_and_count(&mut self, mut ruler: Option<&mut Ruler<'_>>, bytes: &[u8]) -> Result<(), ListError> {
        if let Some(ruler) = &mut ruler {
            ruler.ask(&self.verdicts, &self.ordinals)?;
        }
        let (mut start, mut last) = (0, 0);
        let letters =
            self.ends.iter().zip(&mut self.verdicts).zip(self.ordinals.iter().zip(&self.identities));
        for (letter, ((&end, verdict), (&ordinal, &digits))) in letters.enumerate() {
            // The second letter of a row begins where the first one does.
            if end != last {
                start = last;
            }
            last = end;
            if let Some(ruler) = &mut ruler {
                let identity = || Identity::of_parts(ordinal, digits);
                *verdict = ruler.ruled(letter, *verdict, identity, bytes, start..end);
            }
            self.tally.count(*verdict, end - start);
        }
        Ok(())
    }

    /// The recipient of a letter; `None` if its row was rejected.
    pub(super) fn identity(&self, letter: usize) -> Option<Identity> {
        let ordinal = self.ordinals[letter];
        (ordinal != Ordinal::ABSENT).then(|| Identity::of_parts(ordinal, self.identities[letter]))
    }

    /// Whether a letter is the second letter of its row.
    #[inline(always)]
    pub(super) fn is_repeated(&self, letter: usize) -> bool {
        letter > 0 && self.ends[letter] == self.ends[letter - 1]
    }

    /// Counts the digits of the row numbers of second letters, once the number of the chunk's first row is known.
    pub(super) fn number_repeats(&mut self, first_row: u64) {
        let (mut row, mut digits) = (first_row, 0);
        for letter in 0..if self.tally.repeats > 0 { self.ends.len() } else { 0 } {
            if self.is_repeated(letter) {
                digits += u64::from((row - 1).checked_ilog10().unwrap_or(0)) + 1;
            } else {
                row += 1;
            }
        }
        self.tally.repeat_digits = digits;
    }

    /// The bytes of a letter's row.
    pub(super) fn bytes_of(&self, letter: usize) -> Range<usize> {
        let end = self.ends[letter];
        let mut before = letter;
        while before > 0 && self.ends[before - 1] == end {
            before -= 1;
        }
        before.checked_sub(1).map_or(0, |before| self.ends[before])..end
    }

    #[inline(always)]
    fn parse<S: BlockScan>(&mut self, scan: S, context: &ParseContext<'_>, bytes: &[u8], length: usize) {
        let guard = &context.form.guard;
        let (rules, is_guarded) = (&guard.rules, guard.is_needed());
        let (layout, country) = (&rules.layout, rules.ids.country);
        let ((delimiter, usual_delimiters), longest) = (guard.delimiters(), guard.longest());
        let every_row = guard.compares_every_row();
        let first_cell_end = layout.first_cell_end();
        let (mut lines, mut scanner) = (std::mem::take(&mut self.lines), None);
        let rows = length / ROW_BYTES;
        self.ends.reserve(rows);
        self.identities.reserve(rows);
        self.ordinals.reserve(rows);
        self.verdicts.reserve(rows);
        let mut at = 0;
        // Of the rows since the last window, which were read one by one: offset and index of the first one, and the
        // runs of digits that their identities have.
        let (mut first, mut first_row, mut own_runs) = (0, 0, 0);
        while at < length {
            // A row that begins with a quotation mark is never a line of a window.
            let window = match layout.quote() == Some(bytes[at]) {
                true => LineWindow::EMPTY,
                false => lines.find(scan, &bytes[at..], length - at, layout.quote(), delimiter),
            };
            if window.ends.is_empty() {
                // The next line has a quotation mark or a lone CR, or is longer than a window, or is the last one
                // without line end.
                let scanner = scanner.get_or_insert_with(|| RowScanner::new(bytes, rules, at, length));
                let row = scanner.row_at(at);
                let mut letter = Letter::default();
                if let Ok(cell) = &row.id
                    && let Ok(twelve) = bytes[cell.clone()].try_into()
                    && let Some(identity) = Identity::from_canonical_12(twelve, country)
                {
                    (letter.identity, letter.ordinal) = (identity.padded(), identity.ordinal());
                    own_runs += usize::from(!guard.may_touch_another(bytes, &(at..row.end), cell));
                } else {
                    own_runs += letter.read(guard, self.numbers, bytes, at..row.end, row.id);
                }
                if is_guarded && letter.verdict == UNDECIDED {
                    let row_bytes = &bytes[at..row.end];
                    let count = |delimiter| memchr::memchr_iter(delimiter, row_bytes).count() + 1;
                    let cells = row.cells.or_else(|| delimiter.map(count)).unwrap_or(1);
                    if cells != usual_delimiters + 1 || row_bytes.len() > longest {
                        self.uneven.push(self.ends.len());
                    }
                }
                self.push(letter, row.end);
                at = row.end;
                if at - first < RUN_BATCH_BYTES && at < length {
                    continue;
                }
            }
            if is_guarded && at > first {
                let all = every_row || runs_in(scan, bytes, first..at) != own_runs;
                self.search_rows(context, bytes, first..at, first_row, all);
            }
            (first, first_row) = (at, self.ends.len());
            let rows = first_row..first_row + window.ends.len();
            self.ends.extend(window.ends.iter().map(|&end| first + end as usize));
            self.identities.resize(rows.end, [0; 12]);
            self.ordinals.resize(rows.end, Ordinal::ABSENT);
            self.verdicts.resize(rows.end, UNDECIDED);
            own_runs = rows.len();
            let is_uneven = |delimiters: u32, bytes: u32| {
                delimiters as usize != usual_delimiters || bytes as usize > longest
            };
            if any_row(&window, is_uneven) {
                let (mut last, mut last_end) = (0, 0);
                for (index, (&count, &end)) in rows.clone().zip(window.delimiters.iter().zip(window.ends)) {
                    if is_uneven(count - last, end - last_end) {
                        self.uneven.push(index);
                    }
                    (last, last_end) = (count, end);
                }
            }
            let letters = self.identities[rows.clone()].iter_mut().zip(&mut self.ordinals[rows.clone()]);
            let letters = letters.zip(&mut self.verdicts[rows.clone()]).zip(&self.ends[rows]);
            for (((padded, ordinal), verdict), &end) in letters {
                // Not a closure: it would be compiled separately, without the newer instructions.
                if let Some(end) = first_cell_end
                    && let Some(twelve) = twelve_before(end, bytes, at)
                    && let Some(identity) = Identity::from_canonical_12(twelve, country)
                {
                    (*padded, *ordinal) = (identity.padded(), identity.ordinal());
                } else {
                    let cell = layout.plain_cell(bytes, at..end);
                    if let Ok(within) = &cell
                        && let Ok(twelve) = bytes[within.clone()].try_into()
                        && let Some(identity) = Identity::from_canonical_12(twelve, country)
                    {
                        (*padded, *ordinal) = (identity.padded(), identity.ordinal());
                        own_runs -= usize::from(guard.may_touch_another(bytes, &(at..end), within));
                    } else {
                        let mut letter = Letter::default();
                        own_runs = own_runs + letter.read(guard, self.numbers, bytes, at..end, cell) - 1;
                        (*padded, *ordinal, *verdict) = (letter.identity, letter.ordinal, letter.verdict);
                    }
                }
                at = end;
            }
            // No row holds another identity if the window has only the runs that its identities account for. Miscounts
            // of two rows cannot cancel out: a row never has fewer runs than its own identity accounts for, because
            // each run within the identity's cell lies in a run of the row, and a byte that is not a digit separates
            // two runs of the cell. A rejected row counts all its runs, and no run crosses a line end. So the sums of a
            // window are equal only if they are equal in every row. A run that may have another identity beside the
            // row's own is not accounted for.
            if is_guarded {
                let all = every_row || window.runs != own_runs;
                self.search_rows(context, bytes, first..at, first_row, all);
            }
            (first, first_row, own_runs) = (at, self.ends.len(), 0);
        }
        self.lines = lines;
        self.end = at;
    }

    #[inline(always)]
    fn push(&mut self, letter: Letter, end: usize) {
        self.identities.push(letter.identity);
        self.ordinals.push(letter.ordinal);
        self.verdicts.push(letter.verdict);
        self.ends.push(end);
    }

    fn push_rejected(&mut self, problem: RowProblem, end: usize) {
        self.push_letter(None, self.numbers.of_rejected(problem), end);
    }

    /// Searches parsed rows, from index `first_row` on, for other identities and other cells than usual: `all` of them, or
    /// those with other cells.
    #[inline(always)]
    fn search_rows(
        &mut self,
        context: &ParseContext<'_>,
        bytes: &[u8],
        part: Range<usize>,
        first_row: usize,
        all: bool,
    ) {
        if all || !self.uneven.is_empty() {
            let uneven = std::mem::take(&mut self.uneven);
            match all {
                true => self.search_each(context, bytes, &part, first_row..self.ends.len()),
                false => self.search_each(context, bytes, &part, uneven.iter().copied()),
            }
            self.uneven = uneven;
            self.uneven.clear();
        }
    }

    /// Searches some rows of a part, in ascending order.
    #[inline(never)]
    fn search_each(
        &mut self,
        context: &ParseContext<'_>,
        bytes: &[u8],
        part: &Range<usize>,
        rows: impl Iterator<Item = usize>,
    ) {
        let mut scanner = RowScanner::new(bytes, &context.form.guard.rules, part.start, part.end);
        for row in rows {
            let start = row.checked_sub(1).map_or(0, |before| self.ends[before]);
            // The end of a rejected row may have taken a long search.
            if self.verdicts[row] == UNDECIDED
                && let Ok(cell) = scanner.row_at(start).id
            {
                self.search_row(context, bytes, start..self.ends[row], row, cell);
            }
        }
    }

    /// Searches a row for identities other than that of its cell.
    fn search_row(
        &mut self,
        context: &ParseContext<'_>,
        bytes: &[u8],
        row: Range<usize>,
        index: usize,
        cell: Range<usize>,
    ) {
        if let Ok((own, cell)) = identity_of(&context.form.guard, bytes, cell)
            && let Some(problem) = self.search(context, bytes, row, &[own], &[cell])
        {
            self.identities[index] = [0; 12];
            self.ordinals[index] = Ordinal::ABSENT;
            self.verdicts[index] = self.numbers.of_rejected(problem);
        }
    }

    /// Why a row is rejected because of other identities than its own, if it is. Counts rows with other identities that
    /// are not rejected.
    fn search(
        &mut self,
        context: &ParseContext<'_>,
        bytes: &[u8],
        row: Range<usize>,
        own: &[Identity],
        known: &[Range<usize>],
    ) -> Option<RowProblem> {
        match context.form.guard.search(bytes, row, own, known) {
            GuardFinding::Clean => None,
            GuardFinding::OtherIdentity if context.strict_rows => Some(RowProblem::MoreThanOneIdentity),
            GuardFinding::OtherIdentity => {
                self.other_identities += 1;
                None
            }
            GuardFinding::JoinedRows => Some(RowProblem::JoinedRows),
            GuardFinding::ExtraCells => Some(RowProblem::ExtraCells),
            GuardFinding::ShiftedCells => Some(RowProblem::ShiftedCells),
        }
    }

    /// Finds and parses rows with two columns of identities.
    fn parse_two(&mut self, context: &ParseContext<'_>, bytes: &[u8], length: usize, column: usize) {
        let guard = &context.form.guard;
        let mut scanner = RowScanner::new(bytes, &guard.rules, 0, length);
        let mut at = 0;
        while at < length {
            let scanned = scanner.row_at(at);
            let row = at..scanned.end;
            at = row.end;
            let second_cell = match scanned.id {
                Err(RowProblem::BadQuoting) => None,
                _ => cell_of_row(bytes, row.clone(), &guard.rules.layout, column).ok(),
            };
            let cells: Vec<_> = scanned.id.iter().chain(&second_cell).cloned().collect();
            let first =
                scanned.id.and_then(|cell| identity_of(guard, bytes, cell)).map(|(identity, _)| identity);
            let second = second_cell.and_then(|cell| identity_of(guard, bytes, cell).ok());
            let second = second.map(|(identity, _)| identity);
            let own: Vec<Identity> = first.iter().chain(&second).copied().collect();
            let search = |rows: &mut ChunkRows| rows.search(context, bytes, row.clone(), &own, &cells);
            let rejected = if own.is_empty() { None } else { search(self) };
            match (first, second, rejected) {
                (_, _, Some(problem)) => self.push_rejected(problem, row.end),
                (Err(problem), None, None) => {
                    self.push_rejected(problem_of(guard, problem, bytes, &row), row.end);
                }
                (first, second, None) => {
                    self.pairs.push((self.ends.len(), [first.ok(), second]));
                    // Replaced by `choose`.
                    self.push_rejected(RowProblem::MissingColumn, row.end);
                }
            }
        }
        self.end = at;
    }

    /// Decides the letter or letters of each row with two columns of identities.
    fn choose(&mut self, context: &ParseContext<'_>, two_ids: TwoIds) -> Result<(), ListError> {
        let pairs = std::mem::take(&mut self.pairs);
        let mut answers = [Vec::new(), Vec::new()];
        for (column, answers) in answers.iter_mut().enumerate() {
            let ordinal =
                |pair: &[Option<Identity>; 2]| pair[column].map_or(Ordinal::ABSENT, |id| id.ordinal());
            let ordinals: Vec<Ordinal> = pairs.iter().map(|(_, pair)| ordinal(pair)).collect();
            answers.resize(ordinals.len(), Answer::default());
            context.ask(&ordinals, answers)?;
        }
        let (ends, verdicts) = (std::mem::take(&mut self.ends), std::mem::take(&mut self.verdicts));
        self.identities.clear();
        self.ordinals.clear();
        let mut next = pairs.iter().zip(answers[0].iter().zip(&answers[1])).peekable();
        for (row, (end, verdict)) in ends.into_iter().zip(verdicts).enumerate() {
            let Some(((_, pair), answers)) = next.next_if(|((index, _), _)| *index == row) else {
                self.push_letter(None, verdict, end);
                continue;
            };
            let (first, second) = (self.numbers.of_answer(*answers.0), self.numbers.of_answer(*answers.1));
            let takes_second = match pair {
                [None, _] => true,
                [Some(_), None] => false,
                [Some(one), Some(other)] if one == other => false,
                _ if two_ids == TwoIds::Both => {
                    self.push_letter(pair[0], first, end);
                    self.tally.repeats += 1;
                    true
                }
                _ => takes_second(*answers.0, *answers.1),
            };
            let verdict = if takes_second { second } else { first };
            self.push_letter(pair[usize::from(takes_second)], verdict, end);
            self.tally.second_ids += u64::from(takes_second);
        }
        Ok(())
    }

    fn push_letter(&mut self, identity: Option<Identity>, verdict: u16, end: usize) {
        self.identities.push(identity.map_or([0; 12], |identity| identity.padded()));
        self.ordinals.push(identity.map_or(Ordinal::ABSENT, |identity| identity.ordinal()));
        self.verdicts.push(verdict);
        self.ends.push(end);
    }
}

/// Whether a row of a window has some number of delimiters or of bytes. Without a branch for each row.
#[inline(always)]
fn any_row(window: &LineWindow<'_>, is: impl Fn(u32, u32) -> bool) -> bool {
    let (mut last, mut last_end, mut any) = (0, 0, false);
    for (&count, &end) in window.delimiters.iter().zip(window.ends) {
        any |= is(count - last, end - last_end);
        (last, last_end) = (count, end);
    }
    any
}

/// Whether the letter of a row goes to the second of its identities: that one is reached in a better way. (If one was not
/// asked, that is what the job must say.)
fn takes_second(first: Answer, second: Answer) -> bool {
    let not_asked = Answer::from(Outcome::NotAsked);
    first != not_asked && (second == not_asked || second.kind() > first.kind())
}

/// The identity of a cell, and the cell.
#[inline(always)]
fn identity_of(
    guard: &Guard,
    bytes: &[u8],
    cell: Range<usize>,
) -> Result<(Identity, Range<usize>), RowProblem> {
    match guard.rules.identity(&bytes[cell.clone()]) {
        Ok(identity) => Ok((identity, cell)),
        Err(rejection) => Err(RowProblem::Identity(rejection)),
    }
}

/// What is known of a letter after its row was read.
struct Letter {
    identity: [u8; 12],
    ordinal: Ordinal,
    verdict: u16,
}

impl Default for Letter {
    fn default() -> Letter {
        Letter { identity: [0; 12], ordinal: Ordinal::ABSENT, verdict: UNDECIDED }
    }
}

impl Letter {
    /// Reads a row whose identity has another spelling than twelve digits in the first cell, or that has none. Returns the
    /// number of digit runs in the identity; of a rejected row, of all its runs.
    ///
    /// Its fields are written where the caller reads them: a returned identity would be copied twice, with loads that
    /// wait for several narrower stores.
    #[inline(never)]
    fn read(
        &mut self,
        guard: &Guard,
        numbers: VerdictNumbers,
        bytes: &[u8],
        row: Range<usize>,
        cell: Result<Range<usize>, RowProblem>,
    ) -> usize {
        match cell.and_then(|cell| identity_of(guard, bytes, cell)) {
            Ok((identity, cell)) => {
                (self.identity, self.ordinal) = (identity.padded(), identity.ordinal());
                let touches = guard.may_touch_another(bytes, &row, &cell);
                let runs = match identity.is_canonical_text(&bytes[cell.clone()]) {
                    true => 1,
                    false => runs_in(BaselineScan, bytes, cell),
                };
                runs.saturating_sub(usize::from(touches))
            }
            Err(problem) => {
                self.verdict = numbers.of_rejected(problem_of(guard, problem, bytes, &row));
                runs_in(BaselineScan, bytes, row)
            }
        }
    }
}

/// Why a row without identity is rejected. Rows that are not letters have specific reasons.
fn problem_of(guard: &Guard, problem: RowProblem, bytes: &[u8], row: &Range<usize>) -> RowProblem {
    match problem {
        RowProblem::BadQuoting => problem,
        _ => guard.not_a_letter(&bytes[row.clone()]).unwrap_or(problem),
    }
}
