//! Reading a list on all cores, and keeping its order.
//!
//! Each worker takes a chunk, finds its rows, parses and looks them up; then, when it is the chunk's
//! turn, it takes part in what must happen in order: counting rows, hashing, finding duplicates, giving
//! out places in the outputs; then it writes to those places while others go on.
//!
//! Chunks of a mapped list are cut by a guess (see [`guess_cut`]). In its turn a chunk shows where its
//! last row really ended; if that is elsewhere, what was cut after it is thrown away and cut anew, from
//! then on without guessing.

use super::input::{Input, Stream, guess_cut};
use super::lines::Lines;
use super::outputs::{Outputs, Writer};
use super::rows::{Layout, RowProblem, Scanner};
use super::seen::Seen;
use super::sniff::Form;
use super::tally::{Tally, Verdicts};
use super::{Duplicates, ListError, Progress};
use crate::cpu::{self, Work};
use crate::identities::{Country, Identity, Ordinal, Today};
use crate::limits::CHUNK_BYTES;
use crate::register::{Answer, Question};
use crossbeam_utils::CachePadded;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// What a job needs to know.
pub(super) struct Job<'a> {
    pub(super) question: &'a Question<'a>,
    pub(super) form: &'a Form,
    pub(super) today: Today,
    pub(super) duplicates: Duplicates,
    pub(super) threads: usize,
    pub(super) progress: &'a dyn Progress,
}

/// What a job found.
pub(super) struct Found {
    pub(super) tally: Tally,
    pub(super) rows: u64,
    /// Length and hash of the file as it was read.
    pub(super) bytes: u64,
    pub(super) hash: blake3::Hash,
}

/// Runs a job, with or without outputs.
pub(super) fn run(job: &Job<'_>, input: Input, outputs: Option<&Outputs>) -> Result<Found, ListError> {
    let prefix = job.form.prefix;
    match input {
        Input::Mapped(mapped) => {
            let bytes = mapped.as_ref();
            let threads = job.threads.min(bytes.len() / CHUNK_BYTES + 1);
            let cutter = Cutter { bytes, at: prefix, epoch: 0, index: 0, guessing: true };
            let shared = Shared::new(job, Chunks::Mapped(cutter), Digest::new(bytes), outputs)?;
            shared.work(threads)
        }
        Input::Stream(mut stream) => {
            stream.skip(prefix);
            let mut chunks = StreamChunks { stream, index: 0 };
            let shared = Shared::new(job, Chunks::Stream(&mut chunks), Digest::new(&[]), outputs)?;
            let found = shared.work(job.threads)?;
            let (bytes, hash) = chunks.stream.finish()?;
            Ok(Found { bytes, hash, ..found })
        }
    }
}

/// Rows that one worker takes.
struct Chunk<'a> {
    index: u64,
    epoch: u64,
    bytes: Bytes<'a>,
    /// Rows that begin before it belong to the chunk.
    length: usize,
}

enum Bytes<'a> {
    /// The rest of a mapped list.
    Mapped(&'a [u8]),
    /// Whole rows of a stream.
    Owned(Vec<u8>),
}

impl Chunk<'_> {
    fn bytes(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Mapped(bytes) => bytes,
            Bytes::Owned(bytes) => bytes,
        }
    }
}

/// Where chunks come from.
enum Chunks<'a> {
    Mapped(Cutter<'a>),
    Stream(&'a mut StreamChunks),
}

struct Cutter<'a> {
    bytes: &'a [u8],
    at: usize,
    epoch: u64,
    index: u64,
    guessing: bool,
}

struct StreamChunks {
    stream: Stream,
    index: u64,
}

impl<'a> Chunks<'a> {
    fn next(&mut self, layout: &Layout) -> Result<Option<Chunk<'a>>, ListError> {
        match self {
            Chunks::Mapped(cutter) => Ok(cutter.next(layout)),
            Chunks::Stream(chunks) => {
                let Some(bytes) = chunks.stream.chunk(layout)? else { return Ok(None) };
                let (index, length) = (chunks.index, bytes.len());
                chunks.index += 1;
                Ok(Some(Chunk { index, epoch: 0, bytes: Bytes::Owned(bytes), length }))
            }
        }
    }
}

impl<'a> Cutter<'a> {
    fn next(&mut self, layout: &Layout) -> Option<Chunk<'a>> {
        let start = self.at;
        if start >= self.bytes.len() {
            return None;
        }
        let end = if self.guessing { guess_cut(self.bytes, start, layout) } else { self.cut(layout) };
        let chunk = Chunk {
            index: self.index,
            epoch: self.epoch,
            bytes: Bytes::Mapped(&self.bytes[start..]),
            length: end - start,
        };
        (self.at, self.index) = (end, self.index + 1);
        Some(chunk)
    }

    /// Where the rows from here on end for sure.
    fn cut(&self, layout: &Layout) -> usize {
        let (mut at, target) = (self.at, self.at + CHUNK_BYTES);
        let mut scanner = Scanner::new(self.bytes, layout, at, target);
        while at < target && at < self.bytes.len() {
            at = scanner.row_at(at).end;
        }
        at
    }
}

/// What happens in the order of the list.
struct Order<'a> {
    epoch: u64,
    /// The chunk whose turn it is.
    next: u64,
    rows: u64,
    bytes: u64,
    tally: Tally,
    digest: Digest<'a>,
    seen: Seen,
    /// Next free byte of each output.
    writer: Option<Writer<'a>>,
    error: Option<ListError>,
}

struct Shared<'a> {
    job: &'a Job<'a>,
    country: Country,
    verdicts: Verdicts,
    outputs: Option<&'a Outputs>,
    chunks: CachePadded<Mutex<Chunks<'a>>>,
    order: CachePadded<Mutex<Order<'a>>>,
    turn: Condvar,
    failed: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A worker that panics ends the job; what it leaves behind is not used.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<'a> Shared<'a> {
    fn new(
        job: &'a Job<'a>,
        chunks: Chunks<'a>,
        digest: Digest<'a>,
        outputs: Option<&'a Outputs>,
    ) -> Result<Shared<'a>, ListError> {
        let register = job.question.register();
        let country = register.kind().country();
        let verdicts = Verdicts::new(register.operators().len());
        let order = Order {
            epoch: 0,
            next: 0,
            rows: 0,
            bytes: job.form.prefix as u64,
            tally: Tally::new(verdicts),
            digest,
            seen: Seen::new(country)?,
            writer: outputs.map(Outputs::writer),
            error: None,
        };
        Ok(Shared {
            job,
            country,
            verdicts,
            outputs,
            chunks: CachePadded::new(Mutex::new(chunks)),
            order: CachePadded::new(Mutex::new(order)),
            turn: Condvar::new(),
            failed: AtomicBool::new(false),
        })
    }

    fn work(self, threads: usize) -> Result<Found, ListError> {
        std::thread::scope(|scope| {
            for _ in 1..threads {
                scope.spawn(|| self.worker());
            }
            self.worker();
        });
        let order = self.order.into_inner();
        let order = order.into_inner().unwrap_or_else(PoisonError::into_inner);
        match order.error {
            Some(error) => Err(error),
            None => Ok(Found {
                tally: order.tally,
                rows: order.rows,
                bytes: order.bytes,
                hash: order.digest.finish(),
            }),
        }
    }

    fn worker(&self) {
        let end = EndOfJob(self);
        let mut rows = Rows::new(self.verdicts);
        let mut buffers = self.outputs.map(Outputs::buffers);
        let result = (|| {
            while !self.failed.load(Ordering::Relaxed) {
                if self.job.progress.interrupted() {
                    return Err(ListError::Interrupted);
                }
                let Some(chunk) = lock(&self.chunks).next(&self.job.form.layout)? else { break };
                rows.read(self, &chunk)?;
                let Some(place) = self.in_order(&chunk, &mut rows) else { continue };
                if let (Some(outputs), Some(buffers)) = (self.outputs, &mut buffers) {
                    outputs.write(buffers, &place, chunk.bytes(), &rows)?;
                }
            }
            Ok(())
        })();
        match result {
            Ok(()) => std::mem::forget(end),
            Err(error) => _ = lock(&self.order).error.get_or_insert(error),
        }
    }

    /// Waits for the chunk's turn and does what must be done in order. `None` if the chunk was cut in the
    /// wrong place, or the job has failed.
    fn in_order(&self, chunk: &Chunk<'_>, rows: &mut Rows) -> Option<Place> {
        let mut order = lock(&self.order);
        loop {
            if self.failed.load(Ordering::Relaxed) || order.epoch != chunk.epoch {
                return None;
            }
            if order.next == chunk.index {
                break;
            }
            order = self.turn.wait(order).unwrap_or_else(PoisonError::into_inner);
        }
        let end = rows.end;
        if let (Bytes::Mapped(bytes), true) = (&chunk.bytes, end != chunk.length) {
            order.epoch += 1;
            if let Chunks::Mapped(cutter) = &mut *lock(&self.chunks) {
                cutter.at = cutter.bytes.len() - bytes.len() + end;
                (cutter.epoch, cutter.index, cutter.guessing) = (order.epoch, chunk.index + 1, false);
            }
        }
        self.find_duplicates(&mut order.seen, rows);
        let first_row = order.rows + 1;
        order.tally.add(&rows.tally);
        order.rows += rows.ends.len() as u64;
        order.bytes += end as u64;
        order.digest.advance();
        order.next += 1;
        let offsets = match &mut order.writer {
            Some(writer) => writer.reserve(first_row, &rows.tally),
            None => Vec::new(),
        };
        self.job.progress.advanced(order.rows, order.bytes);
        drop(order);
        self.turn.notify_all();
        Some(Place { turn: chunk.index, first_row, offsets })
    }

    fn find_duplicates(&self, seen: &mut Seen, rows: &mut Rows) {
        let mut duplicates = 0;
        match self.job.duplicates {
            Duplicates::Keep => {
                seen.insert_all(&rows.ordinals, |_, again| duplicates += u64::from(again));
            }
            Duplicates::SetAside => {
                let Rows { ordinals, ends, verdicts, tally, .. } = rows;
                seen.insert_all(ordinals, |row, again| {
                    if again {
                        duplicates += 1;
                        let start = row.checked_sub(1).map_or(0, |before| ends[before]);
                        let verdict = std::mem::replace(&mut verdicts[row], self.verdicts.duplicate());
                        tally.move_row(verdict, self.verdicts.duplicate(), ends[row] - start);
                    }
                });
            }
        }
        rows.tally.duplicates = duplicates;
    }
}

/// The hash of a mapped list, which follows the chunks. (A stream hashes what it reads.)
struct Digest<'a> {
    hasher: blake3::Hasher,
    bytes: &'a [u8],
    done: usize,
}

impl<'a> Digest<'a> {
    /// The hash of a tree is fastest over whole subtrees, so it does not end where rows do.
    const STEP: usize = CHUNK_BYTES;

    fn new(bytes: &'a [u8]) -> Digest<'a> {
        Digest { hasher: blake3::Hasher::new(), bytes, done: 0 }
    }

    /// Goes on by one step, about as much as a chunk.
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

/// Ends the job when a worker fails or panics, so that nobody waits for its turn for ever.
struct EndOfJob<'s, 'a>(&'s Shared<'a>);

impl Drop for EndOfJob<'_, '_> {
    fn drop(&mut self) {
        // Under the lock, so that nobody is between looking at the flag and beginning to wait.
        let order = lock(&self.0.order);
        self.0.failed.store(true, Ordering::Relaxed);
        drop(order);
        self.0.turn.notify_all();
    }
}

/// Where a chunk's rows belong.
pub(super) struct Place {
    /// Number of the chunk.
    pub(super) turn: u64,
    /// Number of its first row, from 1.
    pub(super) first_row: u64,
    /// For each output the byte where its part begins.
    pub(super) offsets: Vec<u64>,
}

/// The rows of a chunk, column by column. Reused from chunk to chunk.
pub(super) struct Rows {
    /// Past the last byte of each row, from the beginning of the chunk.
    pub(super) ends: Vec<usize>,
    /// Canonical digits; zeros for a rejected row, a zero at the end for a Norwegian identity.
    pub(super) identities: Vec<[u8; 12]>,
    ordinals: Vec<Ordinal>,
    pub(super) verdicts: Vec<u16>,
    answers: Vec<Answer>,
    pub(super) tally: Tally,
    end: usize,
    numbering: Verdicts,
    lines: Lines,
}

/// Finding and parsing the rows of a chunk.
struct Parse<'a, 's> {
    rows: &'a mut Rows,
    shared: &'a Shared<'s>,
    chunk: &'a Chunk<'s>,
}

impl Work for Parse<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        self.rows.parse(self.shared, self.chunk);
    }
}

/// A length that most rows have at least: rows of a chunk are made room for.
const ROW_BYTES: usize = 48;

/// Marks a row whose verdict the register gives.
const UNDECIDED: u16 = u16::MAX;

impl Rows {
    fn new(numbering: Verdicts) -> Rows {
        Rows {
            ends: Vec::new(),
            identities: Vec::new(),
            ordinals: Vec::new(),
            verdicts: Vec::new(),
            answers: Vec::new(),
            tally: Tally::new(numbering),
            end: 0,
            numbering,
            lines: Lines::new(),
        }
    }

    /// Finds, parses and looks up the rows of a chunk.
    fn read<'s>(&mut self, shared: &Shared<'s>, chunk: &Chunk<'s>) -> Result<(), ListError> {
        cpu::vectorized(Parse { rows: self, shared, chunk });
        self.answers.resize(self.ordinals.len(), Answer::default());
        shared.job.question.ask_all(&self.ordinals, &mut self.answers)?;
        self.tally.clear();
        let mut start = 0;
        for ((verdict, &answer), &end) in self.verdicts.iter_mut().zip(&self.answers).zip(&self.ends) {
            if *verdict == UNDECIDED {
                *verdict = self.numbering.answered(answer);
            }
            self.tally.count(*verdict, end - start);
            start = end;
        }
        Ok(())
    }

    #[inline(always)]
    fn parse(&mut self, shared: &Shared<'_>, chunk: &Chunk<'_>) {
        self.ends.clear();
        self.identities.clear();
        self.ordinals.clear();
        self.verdicts.clear();
        let (bytes, layout, country) = (chunk.bytes(), &shared.job.form.layout, shared.country);
        let (mut lines, mut scanner) = (std::mem::take(&mut self.lines), None);
        let rows = chunk.length / ROW_BYTES;
        self.ends.reserve(rows);
        self.identities.reserve(rows);
        self.ordinals.reserve(rows);
        self.verdicts.reserve(rows);
        let mut at = 0;
        while at < chunk.length {
            let ends = lines.find(&bytes[at..chunk.length], layout.quote());
            let window = at;
            for &end in ends {
                let end = window + end as usize;
                // No closure: it would be compiled by itself, without the newer instructions.
                if let Some(twelve) = layout.twelve(bytes, at)
                    && let Some(identity) = Identity::of_twelve(twelve, country)
                {
                    self.push(&identity, end);
                } else {
                    self.push_cell(shared, bytes, layout.plain_cell(bytes, at..end), end);
                }
                at = end;
            }
            if ends.is_empty() {
                // A quotation mark, a line longer than a window, or the end of the list.
                let scanner = scanner.get_or_insert_with(|| Scanner::new(bytes, layout, at, chunk.length));
                let row = scanner.row_at(at);
                self.push_cell(shared, bytes, row.id, row.end);
                at = row.end;
            }
        }
        self.lines = lines;
        self.end = at;
    }

    #[inline(always)]
    fn push(&mut self, identity: &Identity, end: usize) {
        self.identities.push(identity.padded());
        self.ordinals.push(identity.ordinal());
        self.verdicts.push(UNDECIDED);
        self.ends.push(end);
    }

    /// What is spelt otherwise than most, and what is no identity.
    #[inline(never)]
    fn push_cell(
        &mut self,
        shared: &Shared<'_>,
        bytes: &[u8],
        cell: Result<Range<usize>, RowProblem>,
        end: usize,
    ) {
        let parse = |cell| Identity::parse(&bytes[cell], shared.country, shared.job.today);
        match cell.and_then(|cell| parse(cell).map_err(RowProblem::Identity)) {
            Ok(identity) => self.push(&identity, end),
            Err(problem) => {
                self.identities.push([0; 12]);
                self.ordinals.push(Ordinal::NOBODY);
                self.verdicts.push(self.numbering.rejected(problem));
                self.ends.push(end);
            }
        }
    }
}
