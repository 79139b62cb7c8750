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
use super::outputs::{Outputs, Writer};
use super::parse::{Reading, Rows};
use super::rows::{RowRules, Scanner};
use super::seen::Seen;
use super::tally::{Tally, Verdicts};
use super::{Duplicates, ListError, Progress};
use crate::limits::CHUNK_BYTES;
use crossbeam_utils::CachePadded;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// What a job needs to know.
pub(super) struct Job<'a> {
    pub(super) reading: Reading<'a>,
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
    let found = run_input(job, input, outputs)?;
    // Answers of a register that was overwritten meanwhile are none.
    job.reading.question.register().intact()?;
    Ok(found)
}

fn run_input(job: &Job<'_>, input: Input, outputs: Option<&Outputs>) -> Result<Found, ListError> {
    let prefix = job.reading.form.prefix;
    match input {
        Input::Mapped(mapped) => {
            let bytes = mapped.as_ref();
            let threads = job.threads.min(bytes.len() / CHUNK_BYTES + 1);
            let cutter = Cutter { bytes, at: prefix, epoch: 0, index: 0, guessing: true };
            let shared = Shared::new(job, Chunks::Mapped(cutter), Digest::new(bytes), outputs)?;
            let found = shared.work(threads)?;
            if mapped.is_intact() { Ok(found) } else { Err(ListError::ListChanged) }
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
    fn next(&mut self, rules: &RowRules) -> Result<Option<Chunk<'a>>, ListError> {
        match self {
            Chunks::Mapped(cutter) => Ok(cutter.next(rules)),
            Chunks::Stream(chunks) => {
                let Some(bytes) = chunks.stream.chunk(rules)? else { return Ok(None) };
                let (index, length) = (chunks.index, bytes.len());
                chunks.index += 1;
                Ok(Some(Chunk { index, epoch: 0, bytes: Bytes::Owned(bytes), length }))
            }
        }
    }
}

impl<'a> Cutter<'a> {
    fn next(&mut self, rules: &RowRules) -> Option<Chunk<'a>> {
        let start = self.at;
        if start >= self.bytes.len() {
            return None;
        }
        let end = if self.guessing { guess_cut(self.bytes, start, rules) } else { self.cut(rules) };
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
    fn cut(&self, rules: &RowRules) -> usize {
        let (mut at, target) = (self.at, self.at + CHUNK_BYTES);
        let mut scanner = Scanner::new(self.bytes, rules, at, target);
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
        let register = job.reading.question.register();
        let country = register.kind().country();
        let verdicts = Verdicts::new(register.operators().len());
        let order = Order {
            epoch: 0,
            next: 0,
            rows: 0,
            bytes: job.reading.form.prefix as u64,
            tally: Tally::new(verdicts),
            digest,
            seen: Seen::new(country)?,
            writer: outputs.map(Outputs::writer),
            error: None,
        };
        Ok(Shared {
            job,
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
                // Where the system has no more threads, those that are there do the work.
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
                let Some(chunk) = lock(&self.chunks).next(&self.job.reading.form.guard.rules)? else { break };
                rows.read(&self.job.reading, chunk.bytes(), chunk.length)?;
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
        rows.number_repeats(first_row);
        order.tally.add(&rows.tally);
        order.rows += rows.tally.rows_of_list();
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
                let mut again_at = Vec::new();
                seen.insert_all(&rows.ordinals, |letter, again| again_at.extend(again.then_some(letter)));
                duplicates = again_at.len() as u64;
                for letter in again_at {
                    let bytes = rows.bytes_of(letter).len();
                    let verdict = std::mem::replace(&mut rows.verdicts[letter], self.verdicts.duplicate());
                    rows.tally.move_row(verdict, self.verdicts.duplicate(), bytes);
                }
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
