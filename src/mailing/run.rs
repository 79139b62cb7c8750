//! Reads a list on all cores, and keeps its order.
//!
//! Each worker takes a chunk, finds its rows, parses them and looks them up. In the chunk's turn, it does what must be
//! done in order: it counts rows, hashes, finds duplicates and allocates offsets in the outputs. Then it writes at
//! those offsets while others continue.
//!
//! Chunks of a mapped list are cut at guessed positions (see [`guess_cut`]). In its turn, a chunk knows where its last
//! row ended. If the guess was wrong, the chunks after it are discarded and cut again, from then on without guessing.

use super::cells::without_line_end;
use super::error::ListError;
use super::file_kind::FileKind;
use super::groups::{GroupTable, ListGroups};
use super::input::{Input, ListStream, check_line, guess_cut};
use super::list_run::ListRun;
use super::options::{Duplicates, Progress};
use super::outputs::{ChunkOffsets, OffsetAllocator, Outputs};
use super::parse::{ChunkRows, ParseContext};
use super::report::GroupsSummary;
use super::rows::{RowRules, RowScanner};
use super::ruling::ListRuling;
use super::seen::SeenIdentities;
use super::tally::{Tally, VerdictNumbers};
use crate::limits::{CHUNK_BYTES, ROW_BYTES_MAX};
use crate::runs::{BytesEnd, Letters, Totals};
use crossbeam_utils::CachePadded;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// A job on one list.
pub(super) struct Job<'a> {
    pub(super) context: ParseContext<'a>,
    /// The channel rules for this list, if there are any.
    pub(super) ruling: Option<ListRuling<'a>>,
    /// What letters are grouped by, if they are.
    pub(super) groups: Option<ListGroups<'a>>,
    pub(super) numbers: VerdictNumbers,
    pub(super) duplicates: Duplicates,
    pub(super) threads: usize,
    pub(super) progress: &'a dyn Progress,
}

/// The result of a job.
pub(super) struct ListResult {
    pub(super) tally: Tally,
    pub(super) rows: u64,
    /// Length and hash of the file, before decompression.
    pub(super) bytes: u64,
    pub(super) hash: blake3::Hash,
    /// The identities of all letters.
    pub(super) seen: SeenIdentities,
    /// Letters by group.
    pub(super) groups: Vec<GroupsSummary>,
    /// Of a print run, what is counted of its letters, and what is after the last one.
    pub(super) totals: Totals,
    pub(super) after_letters: Vec<u8>,
    /// Where that begins, after decompression.
    pub(super) letters_end: u64,
}

/// Runs a job, with or without outputs.
pub(super) fn run(job: &Job<'_>, input: Input, outputs: Option<&Outputs>) -> Result<ListResult, ListError> {
    let result = run_input(job, input, outputs)?;
    // If the register was overwritten during the job, its answers are invalid.
    job.context.question.register().intact()?;
    job.ruling.as_ref().map_or(Ok(()), ListRuling::intact)?;
    Ok(result)
}

fn run_input(job: &Job<'_>, input: Input, outputs: Option<&Outputs>) -> Result<ListResult, ListError> {
    let prefix = job.context.form.prefix;
    let is_run = job.context.form.run.is_some();
    match input {
        Input::Mapped(mapped) => {
            let bytes = mapped.as_ref();
            let threads = job.threads.min(bytes.len() / CHUNK_BYTES + 1);
            let cutter = ChunkCutter { bytes, at: prefix, epoch: 0, index: 0, guessing: true };
            let shared = SharedState::new(job, ChunkSource::Mapped(cutter), ListDigest::new(bytes), outputs)?;
            match shared.work(threads) {
                // The end of a truncated file reads as zeros.
                Ok(_) | Err(ListError::RowTooLong(_) | ListError::Run(_)) if !mapped.is_intact() => {
                    Err(ListError::ListChanged)
                }
                Ok(result) if is_run => {
                    let after_letters = bytes.get(result.letters_end as usize..).unwrap_or_default().to_vec();
                    Ok(ListResult { after_letters, bytes: bytes.len() as u64, ..result })
                }
                result => result,
            }
        }
        // A sheet is a stream of rows.
        Input::Workbook(_) => Err(ListError::NotAList(FileKind::Workbook)),
        Input::Stream(mut stream) => {
            stream.skip(prefix);
            let mut chunks = StreamChunks { stream, index: 0, after_letters: Vec::new() };
            let shared =
                SharedState::new(job, ChunkSource::Stream(&mut chunks), ListDigest::new(&[]), outputs)?;
            let result = shared.work(job.threads)?;
            let after_letters = chunks.after_letters;
            let (bytes, hash) = chunks.stream.finish()?;
            Ok(ListResult { bytes, hash, after_letters, ..result })
        }
    }
}

/// Rows for one worker.
struct ListChunk<'a> {
    index: u64,
    epoch: u64,
    bytes: ChunkBytes<'a>,
    /// Rows that begin below this offset belong to the chunk.
    length: usize,
}

enum ChunkBytes<'a> {
    /// The rest of a mapped list.
    Mapped(&'a [u8]),
    /// Whole rows of a stream.
    Owned(Vec<u8>),
}

impl ListChunk<'_> {
    fn bytes(&self) -> &[u8] {
        match &self.bytes {
            ChunkBytes::Mapped(bytes) => bytes,
            ChunkBytes::Owned(bytes) => bytes,
        }
    }

    fn ends(&self) -> BytesEnd {
        match &self.bytes {
            ChunkBytes::Mapped(_) => BytesEnd::Run,
            ChunkBytes::Owned(_) => BytesEnd::Letter,
        }
    }
}

/// The source of chunks.
enum ChunkSource<'a> {
    Mapped(ChunkCutter<'a>),
    Stream(&'a mut StreamChunks),
}

struct ChunkCutter<'a> {
    bytes: &'a [u8],
    at: usize,
    epoch: u64,
    index: u64,
    guessing: bool,
}

struct StreamChunks {
    stream: ListStream,
    index: u64,
    /// Of a print run.
    after_letters: Vec<u8>,
}

impl<'a> ChunkSource<'a> {
    fn next(&mut self, job: &Job<'_>) -> Result<Option<ListChunk<'a>>, ListError> {
        let form = job.context.form;
        let rules = &form.guard.rules;
        match (self, &form.run) {
            (ChunkSource::Mapped(cutter), None) => cutter.next(rules),
            (ChunkSource::Mapped(cutter), Some(run)) => cutter.next_letters(run),
            (ChunkSource::Stream(chunks), run) => {
                let bytes = match run {
                    Some(run) => chunks.stream.letters(run, &mut chunks.after_letters, job.progress)?,
                    None => chunks.stream.chunk(rules, job.progress)?,
                };
                let Some(bytes) = bytes else { return Ok(None) };
                let (index, length) = (chunks.index, bytes.len());
                chunks.index += 1;
                Ok(Some(ListChunk { index, epoch: 0, bytes: ChunkBytes::Owned(bytes), length }))
            }
        }
    }
}

impl<'a> ChunkCutter<'a> {
    fn next(&mut self, rules: &RowRules) -> Result<Option<ListChunk<'a>>, ListError> {
        let start = self.at;
        if start >= self.bytes.len() {
            return Ok(None);
        }
        let end = if self.guessing { guess_cut(self.bytes, start, rules)? } else { self.cut(rules)? };
        Ok(Some(self.chunk_to(end)))
    }

    /// Letters of a print run.
    fn next_letters(&mut self, run: &ListRun) -> Result<Option<ListChunk<'a>>, ListError> {
        let rest = &self.bytes[self.at..];
        if rest.is_empty() {
            return Ok(None);
        }
        let length = if self.guessing {
            run.likely_start(rest, CHUNK_BYTES.min(rest.len()))
        } else {
            let mut found = Letters::default();
            // An error is that of the chunk, when it is its turn.
            let _ = run.letters(rest, CHUNK_BYTES, BytesEnd::Run, &mut found);
            if found.end == 0 || found.is_last { rest.len() } else { found.end }
        };
        Ok(Some(self.chunk_to(self.at + length)))
    }

    fn chunk_to(&mut self, end: usize) -> ListChunk<'a> {
        let start = self.at;
        let chunk = ListChunk {
            index: self.index,
            epoch: self.epoch,
            bytes: ChunkBytes::Mapped(&self.bytes[start..]),
            length: end - start,
        };
        (self.at, self.index) = (end, self.index + 1);
        chunk
    }

    /// The end of the next chunk's last row, without a guess.
    fn cut(&self, rules: &RowRules) -> Result<usize, ListError> {
        let (mut at, target) = (self.at, self.at + CHUNK_BYTES);
        check_line(self.bytes, at, target)?;
        let mut scanner = RowScanner::new(self.bytes, rules, at, target);
        while at < target && at < self.bytes.len() {
            at = scanner.row_at(at).end;
        }
        Ok(at)
    }
}

/// State that advances in the order of the list.
struct OrderedState<'a> {
    epoch: u64,
    /// The chunk whose turn it is.
    next: u64,
    rows: u64,
    bytes: u64,
    tally: Tally,
    digest: ListDigest<'a>,
    seen: SeenIdentities,
    /// Of the workers that are done.
    groups: Vec<GroupTable>,
    /// Of a print run: number of the next record, and what is counted of its letters so far.
    next_record: u64,
    totals: Totals,
    offsets: Option<OffsetAllocator<'a>>,
    error: Option<ListError>,
}

/// State shared by all workers.
struct SharedState<'a> {
    job: &'a Job<'a>,
    outputs: Option<&'a Outputs>,
    chunks: CachePadded<Mutex<ChunkSource<'a>>>,
    order: CachePadded<Mutex<OrderedState<'a>>>,
    turn: Condvar,
    failed: AtomicBool,
}

impl OrderedState<'_> {
    /// Counts the letters of a print run.
    fn count_letters(&mut self, letters: &Letters) {
        let records: u64 = letters.all().iter().map(|letter| u64::from(letter.records)).sum();
        self.next_record += records;
        self.totals.add(letters.all().len() as u64, records, letters.sums());
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A worker that panics ends the job, and its state is not used.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<'a> SharedState<'a> {
    fn new(
        job: &'a Job<'a>,
        chunks: ChunkSource<'a>,
        digest: ListDigest<'a>,
        outputs: Option<&'a Outputs>,
    ) -> Result<SharedState<'a>, ListError> {
        let (numbers, form) = (job.numbers, job.context.form);
        let sums = form.run.as_ref().map_or(0, |run| run.sums());
        let before = form.run.as_ref().map_or(0, |run| run.records_around(&form.beginning));
        let order = OrderedState {
            epoch: 0,
            next: 0,
            rows: 0,
            bytes: job.context.form.prefix as u64,
            tally: Tally::new(numbers),
            digest,
            seen: SeenIdentities::new(&job.context.form.guard.rules.ids)?,
            groups: Vec::new(),
            next_record: before + 1,
            totals: Totals { sums: vec![0; sums], ..Totals::default() },
            offsets: outputs.map(Outputs::offset_allocator),
            error: None,
        };
        Ok(SharedState {
            job,
            outputs,
            chunks: CachePadded::new(Mutex::new(chunks)),
            order: CachePadded::new(Mutex::new(order)),
            turn: Condvar::new(),
            failed: AtomicBool::new(false),
        })
    }

    fn work(self, threads: usize) -> Result<ListResult, ListError> {
        std::thread::scope(|scope| {
            for _ in 1..threads {
                // If no more threads can be started, the existing ones do the work.
                if std::thread::Builder::new().spawn_scoped(scope, || self.worker()).is_err() {
                    break;
                }
            }
            self.worker();
        });
        let order = self.order.into_inner();
        let order = order.into_inner().unwrap_or_else(PoisonError::into_inner);
        match order.error {
            Some(error) => Err(error),
            None => Ok(ListResult {
                tally: order.tally,
                rows: order.rows,
                bytes: order.bytes,
                hash: order.digest.finish(),
                seen: order.seen,
                groups: self.job.groups.as_ref().map_or(Vec::new(), |groups| groups.summaries(&order.groups)),
                totals: order.totals,
                after_letters: Vec::new(),
                letters_end: order.bytes,
            }),
        }
    }

    fn worker(&self) {
        let end = EndJobOnDrop(self);
        let mut rows = ChunkRows::new(self.job.numbers);
        let mut ruler = self.job.ruling.as_ref().map(ListRuling::ruler);
        let mut groups = self.job.groups.as_ref().map(ListGroups::counter);
        let mut buffers = self.outputs.map(Outputs::buffers);
        let result = (|| {
            while !self.failed.load(Ordering::Relaxed) {
                if self.job.progress.interrupted() {
                    return Err(ListError::Interrupted);
                }
                let Some(chunk) = lock(&self.chunks).next(self.job)? else { break };
                let bytes = (chunk.bytes(), chunk.ends());
                rows.read(&self.job.context, bytes, chunk.length, ruler.as_mut())?;
                let Some(offsets) = self.in_order(&chunk, &mut rows)? else { continue };
                if let Some(groups) = &mut groups {
                    groups.count(&rows, chunk.bytes())?;
                }
                if let (Some(outputs), Some(buffers)) = (self.outputs, &mut buffers) {
                    outputs.write(buffers, &offsets, chunk.bytes(), &rows)?;
                }
            }
            groups.map_or(Ok(()), |groups| groups.add_to(&mut lock(&self.order).groups))
        })();
        match result {
            Ok(()) => std::mem::forget(end),
            Err(error) => _ = lock(&self.order).error.get_or_insert(error),
        }
    }

    /// Waits for the chunk's turn, and does what must be done in order. `None` if the chunk was discarded, or the job
    /// has failed. Errors: its last row is too long (a row before the last one is shorter than a
    /// chunk), or the job may not use more memory.
    fn in_order(
        &self,
        chunk: &ListChunk<'_>,
        rows: &mut ChunkRows,
    ) -> Result<Option<ChunkOffsets>, ListError> {
        let mut order = lock(&self.order);
        loop {
            if self.failed.load(Ordering::Relaxed) || order.epoch != chunk.epoch {
                return Ok(None);
            }
            if order.next == chunk.index {
                break;
            }
            order = self.turn.wait(order).unwrap_or_else(PoisonError::into_inner);
        }
        let end = rows.end;
        if let Some(error) = rows.problem.take() {
            return Err(error.moved(order.bytes).into());
        }
        let is_run = self.job.context.form.run.is_some();
        let last = rows.ends.len().checked_sub(1).map(|last| rows.bytes_of(last));
        let is_too_long =
            |last: &Range<usize>| without_line_end(&chunk.bytes()[last.clone()]).len() > ROW_BYTES_MAX;
        if let Some(last) = last.filter(|last| !is_run && is_too_long(last)) {
            return Err(ListError::RowTooLong(order.bytes + last.start as u64));
        }
        let is_last = is_run && rows.letters.is_last;
        if let (ChunkBytes::Mapped(bytes), true) = (&chunk.bytes, end != chunk.length || is_last) {
            order.epoch += 1;
            if let ChunkSource::Mapped(cutter) = &mut *lock(&self.chunks) {
                cutter.at = if is_last { cutter.bytes.len() } else { cutter.bytes.len() - bytes.len() + end };
                (cutter.epoch, cutter.index, cutter.guessing) = (order.epoch, chunk.index + 1, false);
            }
        }
        let progress = self.job.progress;
        if progress.limits_memory() && !progress.may_use(order.seen.bytes_with(&rows.ordinals)) {
            return Err(ListError::Interrupted);
        }
        self.find_duplicates(&mut order.seen, rows);
        let first_row = order.rows + 1;
        rows.number_repeats(first_row);
        let first_record = order.next_record;
        if is_run {
            rows.number_places(first_record);
            order.count_letters(&rows.letters);
        }
        order.tally.add(&rows.tally);
        order.rows += rows.tally.rows_of_list();
        order.bytes += end as u64;
        order.digest.advance();
        order.next += 1;
        let offsets = match &mut order.offsets {
            Some(allocator) => allocator.allocate(first_row, &rows.tally),
            None => Vec::new(),
        };
        self.job.progress.advanced(order.rows, order.bytes);
        drop(order);
        self.turn.notify_all();
        Ok(Some(ChunkOffsets { chunk: chunk.index, first_row, first_record, offsets }))
    }

    fn find_duplicates(&self, seen: &mut SeenIdentities, rows: &mut ChunkRows) {
        let mut duplicates = 0;
        match self.job.duplicates {
            Duplicates::Keep => {
                seen.insert_all(&rows.ordinals, |_, repeated| duplicates += u64::from(repeated));
            }
            Duplicates::SetAside => {
                let mut repeated_letters = Vec::new();
                seen.insert_all(&rows.ordinals, |letter, repeated| {
                    repeated_letters.extend(repeated.then_some(letter));
                });
                duplicates = repeated_letters.len() as u64;
                for letter in repeated_letters {
                    let bytes = rows.bytes_of(letter).len();
                    let is_foreign = self.job.context.form.guard.rules.ids.is_foreign(rows.ordinals[letter]);
                    let duplicate = self.job.numbers.duplicate(is_foreign);
                    let verdict = std::mem::replace(&mut rows.verdicts[letter], duplicate);
                    rows.tally.move_letter(verdict, duplicate, bytes);
                }
            }
        }
        rows.tally.duplicates = duplicates;
    }
}

/// The hash of a mapped list, which advances with the chunks. (A stream hashes what it reads.)
struct ListDigest<'a> {
    hasher: blake3::Hasher,
    bytes: &'a [u8],
    done: usize,
}

impl<'a> ListDigest<'a> {
    /// BLAKE3 is fastest over whole subtrees, so steps do not end where rows do.
    const STEP: usize = CHUNK_BYTES;

    fn new(bytes: &'a [u8]) -> ListDigest<'a> {
        ListDigest { hasher: blake3::Hasher::new(), bytes, done: 0 }
    }

    /// Hashes one step, about as much as a chunk.
    fn advance(&mut self) {
        if let Some(step) = self.bytes.get(self.done..self.done + Self::STEP) {
            self.hasher.update(step);
            self.done += Self::STEP;
        }
    }

    fn finish(mut self) -> blake3::Hash {
        self.hasher.update(self.bytes.get(self.done..).unwrap_or_default());
        self.hasher.finalize()
    }
}

/// Ends the job when a worker fails or panics, so that no other worker waits for ever.
struct EndJobOnDrop<'s, 'a>(&'s SharedState<'a>);

impl Drop for EndJobOnDrop<'_, '_> {
    fn drop(&mut self) {
        // Under the lock, so that no worker is between its check of the flag and its wait.
        let order = lock(&self.0.order);
        self.0.failed.store(true, Ordering::Relaxed);
        drop(order);
        self.0.turn.notify_all();
    }
}
