//! The files of a split.
//!
//! They are written to a temporary directory, and get their final names when all are complete
//! ([`OutputDirectory`]).

use super::buffers::Buffers;
use super::error::ListError;
use super::feedback::{Feedback, RowCounter, decimal_digits};
use super::options::Duplicates;
use super::output_directory::{OutputDirectory, write_error};
use super::parse::ChunkRows;
use super::report::{FEEDBACK, FeedbackSummary, REJECTED};
use super::ruling::Ruling;
use super::sniff::ListForm;
use super::tally::{Ruled, Tally, Verdict, VerdictNumbers};
use crate::channels::Channel;
use crate::cpu::{self, Work};
use crate::files::with_suffix;
use crate::register::{Kind, Operator, Register};
use crate::runs::{CountPlace, Totals};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// A finished file of rows.
pub(super) struct OutputFile {
    pub(super) path: String,
    /// `None` if its rows may have several.
    pub(super) outcome: Option<&'static str>,
    pub(super) channel: Option<String>,
    pub(super) operator: Option<u16>,
    /// The further register of the rules whose operator it is.
    pub(super) register: Option<usize>,
    pub(super) rows: u64,
    /// Of a print run.
    pub(super) records: Option<u64>,
    pub(super) bytes: u64,
    pub(super) digest: String,
}

/// The finished files of a split.
pub(super) struct WrittenFiles {
    pub(super) of_rows: Vec<OutputFile>,
    pub(super) feedback: FeedbackSummary,
}

/// What a chunk gets when it is its turn.
pub(super) struct ChunkOffsets {
    /// Number of the chunk, from 0.
    pub(super) chunk: u64,
    /// Number of its first row, from 1.
    pub(super) first_row: u64,
    /// Number of its first record in a print run, from 1.
    pub(super) first_record: u64,
    /// For each file the offset of the chunk's part, the feedback last.
    pub(super) offsets: Vec<u64>,
}

/// An open file of rows.
struct RowFile {
    of: FileRows,
    name: String,
    file: File,
}

/// The letters that go to a file.
#[derive(Clone, Copy, PartialEq)]
struct FileRows {
    /// `None` in a file of a channel that may have letters of several outcomes.
    outcome: Option<&'static str>,
    /// With channel rules, the index of the channel; `None` in a file of rejected rows or duplicates.
    channel: Option<usize>,
    operator: Option<u16>,
}

impl FileRows {
    fn outcome(outcome: &'static str) -> FileRows {
        FileRows { outcome: Some(outcome), channel: None, operator: None }
    }

    /// Where letters with a verdict go.
    fn of(Ruled { verdict, rule, further, .. }: Ruled, ruling: Option<&Ruling<'_>>) -> FileRows {
        let own = match verdict {
            Verdict::Decided(outcome) => outcome.operator(),
            _ => None,
        };
        let rule = ruling.zip(rule).map(|(ruling, rule)| {
            let index = ruling.rules().rules()[usize::from(rule)].channel;
            (index, &ruling.rules().channels()[index])
        });
        match rule {
            Some((channel, Channel { mailbox: false, .. })) => {
                FileRows { outcome: None, channel: Some(channel), operator: None }
            }
            Some((channel, Channel { register: None, .. })) => {
                FileRows::of_operator(Some(channel), own.map(|operator| operator.get()))
            }
            Some((channel, Channel { register: Some(register), .. })) => {
                let operator = further[*register].and_then(|answer| answer.outcome().operator());
                FileRows::of_operator(Some(channel), operator.map(|operator| operator.get()))
            }
            None => FileRows {
                outcome: Some(verdict.outcome()),
                channel: None,
                operator: own.map(|operator| operator.get()),
            },
        }
    }

    /// Digital letters to an operator.
    fn of_operator(channel: Option<usize>, operator: Option<u16>) -> FileRows {
        FileRows { outcome: Some("digital"), channel, operator }
    }
}

/// All files of a split, open for writing.
pub(super) struct Outputs {
    directory: OutputDirectory,
    files: Vec<RowFile>,
    feedback_file: File,
    /// For each verdict its index in `files`.
    file_of: Vec<usize>,
    feedback: Feedback,
    /// Of the channel rules, if there are any.
    channels: Vec<Channel>,
    /// Byte order mark and header of the list, with which every file but the feedback begins.
    prefix: Vec<u8>,
    /// Of a print run, what is counted of the letters in each file, and the bytes behind them.
    totals: Option<Mutex<Vec<Totals>>>,
    suffix_bytes: u64,
}

impl Outputs {
    pub(super) fn create(
        directory: OutputDirectory,
        register: &Register,
        (ruling, numbers): (Option<&Ruling<'_>>, VerdictNumbers),
        duplicates: Duplicates,
        form: &ListForm,
        ending: &str,
    ) -> Result<Outputs, ListError> {
        let prefix = &form.beginning[..];
        let feedback = Feedback::new(register, ruling, numbers, form.run.is_some());
        let open = |name: &str| {
            let file = directory.create_file(name)?;
            let beginning = if name == FEEDBACK { feedback.header() } else { prefix };
            let written = file.write_all_at(beginning, 0);
            written.map_err(write_error(&directory.partial_path(name))).map(|()| file)
        };
        let mut files = Vec::new();
        for (name, of) in names(register, ruling, duplicates, ending) {
            files.push(RowFile { file: open(&name)?, name, of });
        }
        // What is impossible in this job (notify in FaR, paper to a mailbox) has no file and gets no rows.
        let index = |ruled: Ruled| {
            let rows = FileRows::of(ruled, ruling);
            files.iter().position(|file| file.of == rows).unwrap_or(0)
        };
        let file_of = numbers.all().map(index).collect();
        let channels = ruling.map(|ruling| ruling.rules().channels().to_vec()).unwrap_or_default();
        let totals = form.run.as_ref().map(|run| {
            let none = Totals { sums: vec![0; run.sums()], ..Totals::default() };
            Mutex::new(vec![none; files.len()])
        });
        let prefix = prefix.to_vec();
        let (feedback_file, suffix_bytes) = (open(FEEDBACK)?, 0);
        Ok(Outputs {
            directory,
            files,
            feedback_file,
            file_of,
            feedback,
            channels,
            prefix,
            totals,
            suffix_bytes,
        })
    }

    pub(super) fn offset_allocator(&self) -> OffsetAllocator<'_> {
        let mut next = vec![self.prefix.len() as u64; self.files.len()];
        next.push(self.feedback.header().len() as u64);
        OffsetAllocator { outputs: self, next }
    }

    /// Buffers for the parts of a chunk, the feedback last.
    pub(super) fn buffers(&self) -> Buffers {
        Buffers::new(self.files.len() + 1)
    }

    /// Writes the rows of a chunk, with which `bytes` begin, to their files.
    pub(super) fn write(
        &self,
        buffers: &mut Buffers,
        chunk: &ChunkOffsets,
        bytes: &[u8],
        rows: &ChunkRows,
    ) -> Result<(), ListError> {
        let mut lengths = vec![0; self.files.len() + 1];
        self.add_lengths(chunk.first_row, &rows.tally, &mut lengths);
        buffers.lay_out(&lengths);
        let first_row = chunk.first_row;
        if self.totals.is_some() {
            self.render_letters(buffers, chunk, bytes, rows);
        } else if rows.tally.repeats == 0 {
            cpu::vectorized(RenderRows::<false> { outputs: self, buffers, first_row, bytes, rows });
        } else {
            cpu::vectorized(RenderRows::<true> { outputs: self, buffers, first_row, bytes, rows });
        }
        // The kernel lets one thread at a time write to a file, so every other chunk begins with the feedback, the
        // largest file.
        let feedback = self.files.len();
        if chunk.chunk % 2 == 1 {
            self.write_buffer(feedback, buffers, chunk)?;
        }
        for file in 0..feedback {
            self.write_buffer(file, buffers, chunk)?;
        }
        if chunk.chunk.is_multiple_of(2) {
            self.write_buffer(feedback, buffers, chunk)?;
        }
        Ok(())
    }

    /// Copies the letters of a print run to the buffers of their files, appends their feedback, and counts them.
    fn render_letters(&self, buffers: &mut Buffers, chunk: &ChunkOffsets, bytes: &[u8], rows: &ChunkRows) {
        let (mut buffers, feedback) = (buffers.filling(), self.files.len());
        let mut counter = RowCounter::new(chunk.first_row);
        let mut totals =
            self.totals.as_ref().map(|totals| totals.lock().unwrap_or_else(PoisonError::into_inner));
        let sums = rows.letters.sums();
        let sums_each = sums.len() / rows.ends.len().max(1);
        let (mut start, letters) =
            (0, rows.verdicts.iter().zip(&rows.identities).zip(rows.places(chunk.first_record)));
        for (letter, ((&verdict, identity), place)) in letters.enumerate() {
            let (end, verdict) = (rows.ends[letter], usize::from(verdict));
            let file = self.file_of[verdict];
            buffers.push(file, &bytes[start..], end - start);
            self.feedback.push(&mut buffers, feedback, &mut counter, identity, verdict);
            self.feedback.push_place(&mut buffers, feedback, place);
            if let Some(totals) = &mut totals {
                totals[file].add(1, place[1], &sums[letter * sums_each..][..sums_each]);
            }
            start = end;
        }
    }

    /// Writes what is after the last letter of a print run to each file, with the numbers of its own letters there and before
    /// the first letter. `counts` are those numbers, `around` the records there.
    ///
    /// Errors: a number does not fit; a file cannot be written.
    pub(super) fn finish_run(
        &mut self,
        suffix: &[u8],
        ([before, after], around): (&[Vec<CountPlace>; 2], u64),
        letters_end: u64,
        tally: &Tally,
    ) -> Result<(), ListError> {
        let Some(totals) = &self.totals else { return Ok(()) };
        let mut totals = totals.lock().unwrap_or_else(PoisonError::into_inner);
        for (index, (file, totals)) in self.files.iter().zip(&mut *totals).enumerate() {
            totals.around = around;
            let failed = write_error(&self.directory.partial_path(&file.name));
            let (mut beginning, mut end) = (self.prefix.clone(), suffix.to_vec());
            before.iter().try_for_each(|count| count.write(&mut beginning, totals))?;
            let written = after.iter().try_for_each(|count| count.write(&mut end, totals));
            written.map_err(|error| error.moved(letters_end))?;
            if !before.is_empty() {
                file.file.write_all_at(&beginning, 0).map_err(&failed)?;
            }
            file.file.write_all_at(&end, self.bytes_of(index, tally)).map_err(&failed)?;
        }
        drop(totals);
        self.suffix_bytes = suffix.len() as u64;
        Ok(())
    }

    /// Bytes of a file with the counted rows.
    fn bytes_of(&self, file: usize, tally: &Tally) -> u64 {
        let mine = (0..self.file_of.len()).filter(|&verdict| self.file_of[verdict] == file);
        self.prefix.len() as u64 + mine.map(|verdict| tally.bytes[verdict]).sum::<u64>() + self.suffix_bytes
    }

    /// Writes the buffer of one file; the feedback has the index after all others.
    fn write_buffer(&self, file: usize, buffers: &Buffers, chunk: &ChunkOffsets) -> Result<(), ListError> {
        let bytes = buffers.filled(file);
        if bytes.is_empty() {
            return Ok(());
        }
        let (name, file_handle) = match self.files.get(file) {
            Some(file) => (&file.name[..], &file.file),
            None => (FEEDBACK, &self.feedback_file),
        };
        let written = file_handle.write_all_at(bytes, chunk.offsets[file]);
        written.map_err(write_error(&self.directory.partial_path(name)))
    }

    /// Adds the bytes of the counted rows, the first of which is row `first_row`, to the length of each file, the
    /// feedback last.
    fn add_lengths(&self, first_row: u64, tally: &Tally, lengths: &mut [u64]) {
        for (&file, &bytes) in self.file_of.iter().zip(&tally.bytes) {
            lengths[file] += bytes;
        }
        lengths[self.files.len()] += self.feedback_bytes(first_row, tally);
    }

    /// Checks that every file has the counted rows and bytes, and lists them. Cost: reads the files.
    pub(super) fn check(&self, tally: &Tally, rows: u64, threads: usize) -> Result<WrittenFiles, ListError> {
        let feedback_bytes = self.feedback.header().len() as u64 + self.feedback_bytes(1, tally);
        let totals = self.totals.as_ref().map(|totals| totals.lock().unwrap_or_else(PoisonError::into_inner));
        let bytes_of = |index: usize| self.bytes_of(index, tally);
        let names = self.files.iter().enumerate().map(|(index, file)| (&*file.name, bytes_of(index)));
        let mut digests = self.digests(names.chain([(FEEDBACK, feedback_bytes)]).collect(), threads)?;
        let feedback = FeedbackSummary { bytes: feedback_bytes, digest: digests.pop().unwrap_or_default() };
        let mut of_rows = Vec::new();
        for ((index, file), digest) in self.files.iter().enumerate().zip(digests) {
            let mine = (0..self.file_of.len()).filter(|&verdict| self.file_of[verdict] == index);
            of_rows.push(OutputFile {
                path: file.name.clone(),
                outcome: file.of.outcome,
                channel: file.of.channel.map(|channel| self.channels[channel].name.clone()),
                operator: file.of.operator,
                register: file.of.channel.and_then(|channel| self.channels[channel].register),
                rows: mine.map(|verdict| tally.letters[verdict]).sum(),
                records: totals.as_ref().map(|totals| totals[index].records),
                bytes: bytes_of(index),
                digest,
            });
        }
        let listed_rows: u64 = of_rows.iter().map(|file| file.rows).sum();
        match tally.rows_of_list() == rows && listed_rows == tally.total_letters() {
            true => Ok(WrittenFiles { of_rows, feedback }),
            false => Err(ListError::Sums),
        }
    }

    /// The digests of files, of which the lengths are known, in their order.
    fn digests(&self, files: Vec<(&str, u64)>, threads: usize) -> Result<Vec<String>, ListError> {
        // Long files first, so that the threads end at the same time.
        let mut order: Vec<usize> = (0..files.len()).collect();
        order.sort_by_key(|&index| std::cmp::Reverse(files[index].1));
        let digests = in_parallel(threads, order.len(), |number| {
            let (name, bytes) = files[order[number]];
            Ok((order[number], self.directory.digest(name, bytes)?))
        });
        let mut digests = digests?;
        digests.sort_unstable();
        Ok(digests.into_iter().map(|(_, digest)| digest).collect())
    }

    /// Bytes of the feedback on the counted rows, the first of which is row `first_row`.
    fn feedback_bytes(&self, first_row: u64, tally: &Tally) -> u64 {
        let tails = tally.letters.iter().enumerate();
        let tails = tails.map(|(verdict, letters)| letters * self.feedback.bytes_without_number(verdict));
        let numbers = decimal_digits(first_row, tally.rows_of_list()) + tally.repeat_digits;
        numbers + tally.place_digits + tails.sum::<u64>()
    }

    /// Syncs all files to the disk.
    pub(super) fn sync(&self) -> Result<(), ListError> {
        let mut files = self.files.iter().map(|file| &file.file).chain([&self.feedback_file]);
        files.try_for_each(File::sync_data).map_err(write_error(&self.directory.partial_path("")))
    }

    pub(super) fn into_directory(self) -> OutputDirectory {
        self.directory
    }
}

/// Copies the rows of a chunk to the buffers of their files, and appends their feedback. `TWICE` if a row may be two
/// letters.
struct RenderRows<'a, const TWICE: bool> {
    outputs: &'a Outputs,
    buffers: &'a mut Buffers,
    first_row: u64,
    bytes: &'a [u8],
    rows: &'a ChunkRows,
}

impl<const TWICE: bool> Work for RenderRows<'_, TWICE> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let RenderRows { outputs, buffers, first_row, bytes, rows } = self;
        let (mut buffers, feedback) = (buffers.filling(), outputs.files.len());
        let mut counter = RowCounter::new(first_row);
        let (mut start, mut last) = (0, 0);
        for ((&end, &verdict), identity) in rows.ends.iter().zip(&rows.verdicts).zip(&rows.identities) {
            let verdict = usize::from(verdict);
            if TWICE && end == last {
                counter.go_back();
            } else {
                start = last;
            }
            buffers.push(outputs.file_of[verdict], &bytes[start..], end - start);
            outputs.feedback.push(&mut buffers, feedback, &mut counter, identity, verdict);
            last = end;
        }
    }
}

/// Does some pieces of work, by their numbers, in several threads: their results in this order.
pub(super) fn in_parallel<T: Send>(
    threads: usize,
    count: usize,
    work: impl Fn(usize) -> Result<T, ListError> + Sync,
) -> Result<Vec<T>, ListError> {
    let next = AtomicUsize::new(0);
    let worker = || -> Result<Vec<(usize, T)>, ListError> {
        let mut done = Vec::new();
        loop {
            match next.fetch_add(1, Ordering::Relaxed) {
                number if number < count => done.push((number, work(number)?)),
                _ => return Ok(done),
            }
        }
    };
    let mut all = std::thread::scope(|scope| {
        let others = 1..threads.min(count);
        let others: Vec<_> =
            others.filter_map(|_| std::thread::Builder::new().spawn_scoped(scope, worker).ok()).collect();
        let mut all = worker()?;
        for other in others {
            // A thread that panics has done a part of the work that no other thread does.
            all.extend(other.join().map_err(|_| ListError::Sums)??);
        }
        Ok::<_, ListError>(all)
    })?;
    all.sort_unstable_by_key(|(number, _)| *number);
    Ok(all.into_iter().map(|(_, done)| done).collect())
}

/// The files of rows: their names, and which letters go to them.
fn names(
    register: &Register,
    ruling: Option<&Ruling<'_>>,
    duplicates: Duplicates,
    ending: &str,
) -> Vec<(String, FileRows)> {
    let mut files = Vec::new();
    match ruling {
        None => {
            add_operators(register.operators(), "digital", None, &mut files, ending);
            match register.kind() {
                Kind::Krr => files.push((format!("notify{ending}"), FileRows::outcome("notify"))),
                Kind::Far => {}
            }
            files.push((format!("paper{ending}"), FileRows::outcome("paper")));
        }
        Some(ruling) => {
            let rules = ruling.rules();
            // First the channels whose names are known, then the operators, whose names may be those of channels.
            for (index, channel) in
                rules.channels().iter().enumerate().filter(|(_, channel)| !channel.mailbox)
            {
                let rows = FileRows { outcome: None, channel: Some(index), operator: None };
                files.push((format!("{}{ending}", channel.name), rows));
            }
            for (index, channel) in rules.channels().iter().enumerate().filter(|(_, channel)| channel.mailbox)
            {
                let operators =
                    channel.register.map_or(register.operators(), |register| ruling.operators(register));
                add_operators(operators, &channel.name, Some(index), &mut files, ending);
            }
        }
    }
    files.push((format!("{REJECTED}{ending}"), FileRows::outcome("rejected")));
    if duplicates == Duplicates::SetAside {
        files.push((format!("duplicates{ending}"), FileRows::outcome("duplicate")));
    }
    files
}

/// Adds a file for each operator, whose name begins with `prefix`.
fn add_operators(
    operators: &[Operator],
    prefix: &str,
    channel: Option<usize>,
    files: &mut Vec<(String, FileRows)>,
    ending: &str,
) {
    let slugs: Vec<String> = operators.iter().map(slug).collect();
    for ((index, operator), slug) in (0u16..).zip(operators).zip(&slugs) {
        let shared = slugs.iter().filter(|other| *other == slug).count() > 1;
        let name = match shared {
            true => format!("{prefix}-{slug}-{}", slug_of(&operator.id)),
            false => format!("{prefix}-{slug}"),
        };
        // Equal file names are numbered.
        let taken = |name: &str| files.iter().any(|(other, ..)| other == name);
        let fitting = |suffix: String| with_suffix(&name, &suffix).to_string_lossy().into_owned();
        let numbered = (2..).map(|number| fitting(format!("-{number}{ending}")));
        let name = std::iter::once(fitting(ending.to_owned())).chain(numbered).find(|name| !taken(name));
        files.push((name.unwrap_or_default(), FileRows::of_operator(channel, Some(index))));
    }
}

fn slug(operator: &Operator) -> String {
    let slug = slug_of(&operator.name);
    if slug.is_empty() { slug_of(&operator.id) } else { slug }
}

/// A name reduced to lower-case ASCII letters, digits and single hyphens.
fn slug_of(name: &str) -> String {
    let mut slug = String::new();
    for character in name.to_lowercase().chars() {
        match character {
            'a'..='z' | '0'..='9' => slug.push(character),
            'å' | 'ä' => slug.push('a'),
            'ö' | 'ø' => slug.push('o'),
            'æ' => slug.push_str("ae"),
            'é' => slug.push('e'),
            _ if !slug.is_empty() && !slug.ends_with('-') => slug.push('-'),
            _ => {}
        }
    }
    slug.trim_end_matches('-').to_owned()
}

/// Allocates offsets in the files, in the order of the list.
pub(super) struct OffsetAllocator<'a> {
    outputs: &'a Outputs,
    /// Next free byte of each file, the feedback last.
    next: Vec<u64>,
}

impl OffsetAllocator<'_> {
    /// Allocates the offsets of a chunk's parts.
    pub(super) fn allocate(&mut self, first_row: u64, tally: &Tally) -> Vec<u64> {
        let offsets = self.next.clone();
        self.outputs.add_lengths(first_row, tally, &mut self.next);
        offsets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs() {
        for (name, slug) in [
            ("Kivra", "kivra"),
            ("Min myndighetspost", "min-myndighetspost"),
            ("e-Boks (gamla)", "e-boks-gamla"),
            ("Åkes Östra Brevlåda AB", "akes-ostra-brevlada-ab"),
            ("../../etc", "etc"),
            ("📮", ""),
        ] {
            assert_eq!(slug_of(name), slug);
        }
    }
}
