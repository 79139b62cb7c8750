//! The journal of a job: what was answered so far, so that a job that ended early goes on where it was.
//!
//! Its framing and its checks are those of the change log ([`crate::store::format`]): one segment, whose first sum is
//! that of the source and the sender, and a frame for each answered call. An answer is a change that puts the recipient;
//! an id that the register does not have is removed, one that it refused is set aside. A journal that an earlier version
//! began keeps the format version of its head: what was answered stays, and no earlier version need read what follows.

use super::answer::{Answer, Answers, subject as subject_of_change};
use crate::changes::encoding::{self, ChangeDecoder};
use crate::changes::{Change, ChangeBody};
use crate::files::{FileMode, Folder};
use crate::identities::Ordinal;
use crate::limits::OPERATORS_MAX;
use crate::memory;
use crate::register::{Kind, Operator, moment};
use crate::store::format::{
    self, BadSegment, FRAME_HEAD_BYTES, LOG_VERSION, SEGMENT_HEAD_BYTES, SegmentHead, Sum,
    encode_segment_head, frame_at, seal_frame, was_durable,
};
use jiff::Timestamp;
use rustix::fs::FlockOperation;
use std::fs::File;
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Bytes of a journal that are read at a time, unless a frame is longer.
const WINDOW_BYTES: u64 = 1 << 20;

/// What the answers of a journal hold for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Subject {
    pub(super) kind: Kind,
    /// The address of the register.
    pub(super) address: String,
    /// The sender, or the organisation on whose behalf a supplier asks; empty without one.
    pub(super) asker: String,
}

impl Subject {
    fn sum(&self) -> Sum {
        format::root_sum([self.address.as_bytes(), b"\0", self.asker.as_bytes()].concat().as_slice())
    }
}

/// Why a journal cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// It cannot be read or written.
    #[error("{}: {error}", path.display())]
    Io {
        /// The journal.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
    /// Another job writes to it.
    #[error("{}: another job is asking for the same output", .0.display())]
    Busy(PathBuf),
    /// It is not a journal, or one of another job.
    #[error(
        "{}: this is the journal of another source or sender: remove it with `nabar purge`, or name another output",
        .0.display()
    )]
    Foreign(PathBuf),
    /// The register names more mailbox operators than a register file can have.
    #[error(
        "{}: the register names more than {OPERATORS_MAX} mailbox operators, which is no register of this kind",
        .0.display()
    )]
    Operators(PathBuf),
    /// It is damaged.
    #[error("{}: it is damaged: remove it with `nabar purge`, and ask again", .0.display())]
    Damaged(PathBuf),
}

/// An open journal, locked against other jobs.
pub(super) struct Journal {
    file: File,
    path: PathBuf,
    /// Bytes with whole frames.
    length: u64,
    /// Bytes that are durable. A frame that follows states them: what is missing before them is damage, what is missing
    /// behind them a crash may have left out.
    durable: u64,
    sequence: u64,
    sum: Sum,
    /// The operators that it has, as they were last answered.
    operators: Vec<Operator>,
    /// The frames with answers.
    frames: Vec<FrameSpan>,
}

/// Where a frame with answers is.
#[derive(Clone, Copy)]
pub(super) struct FrameSpan {
    /// The least of the ids that it answers.
    pub(super) least: Ordinal,
    pub(super) offset: u64,
    pub(super) bytes: u64,
}

impl Journal {
    /// Opens the journal of a job, or begins it. What a crash left of a frame is removed.
    pub(super) fn open(path: &Path, subject: &Subject) -> Result<Journal, JournalError> {
        let failed = |error| JournalError::Io { path: path.to_owned(), error };
        let (folder, name) = Folder::of(path).map_err(failed)?;
        let file = match folder.entry(name).map_err(failed)? {
            None => folder.create_file(name, FileMode::PRIVATE).map_err(failed)?,
            Some(_) => folder.open_own(name).map_err(failed)?,
        };
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Err(error) if io::Error::from(error).kind() == io::ErrorKind::WouldBlock => {
                return Err(JournalError::Busy(path.to_owned()));
            }
            locked => locked.map_err(|error| failed(error.into()))?,
        }
        if file.metadata().map_err(failed)?.nlink() == 0 {
            // The job before has just removed it.
            return Journal::open(path, subject);
        }
        let mut journal = Journal {
            file,
            path: path.to_owned(),
            length: 0,
            durable: 0,
            sequence: 0,
            sum: subject.sum(),
            operators: Vec::new(),
            frames: Vec::new(),
        };
        journal.recover(subject)?;
        // What an earlier job wrote last may not have reached the disk yet, nor the name of the file.
        journal.sync()?;
        folder.sync().map_err(failed)?;
        Ok(journal)
    }

    fn failed(&self) -> impl Fn(io::Error) -> JournalError + use<> {
        let path = self.path.clone();
        move |error| JournalError::Io { path: path.clone(), error }
    }

    fn recover(&mut self, subject: &Subject) -> Result<(), JournalError> {
        let head_of = |version| SegmentHead { version, kind: subject.kind, after: 0, sum: self.sum };
        let head = head_of(LOG_VERSION);
        let is_begun_head = |bytes| {
            (1..=LOG_VERSION).any(|version| encode_segment_head(&head_of(version)).starts_with(bytes))
        };
        let bytes = self.map()?;
        let bytes = bytes.as_ref();
        let is_begun = match format::decode_segment_head(bytes) {
            // Nothing was answered, so it may become the journal of another job, or of another format.
            Ok(found) if bytes.len() == SEGMENT_HEAD_BYTES => found == head,
            Ok(found) if found == head_of(found.version) => true,
            Ok(_) | Err(BadSegment::Version(_)) => return Err(JournalError::Foreign(self.path.clone())),
            // A crash may have left part of the head, in which no byte is another, or zeros in its place.
            Err(BadSegment::Head) if is_begun_head(bytes) => false,
            Err(BadSegment::Head) if is_blank(bytes) => false,
            Err(BadSegment::Head) => return Err(JournalError::Foreign(self.path.clone())),
        };
        if !is_begun {
            self.file.set_len(0).map_err(self.failed())?;
            self.file.write_all(&encode_segment_head(&head)).map_err(self.failed())?;
            self.length = SEGMENT_HEAD_BYTES as u64;
            return Ok(());
        }
        let mut at = SEGMENT_HEAD_BYTES;
        while let Some(frame) = frame_at(bytes, at, self.sequence, &self.sum) {
            let mut least = None;
            for change in ChangeDecoder::new(&bytes[frame.payload.clone()], frame.after) {
                let change = change.ok_or_else(|| JournalError::Damaged(self.path.clone()))?;
                least = [least, subject_of_change(&change.what)].into_iter().flatten().min();
                if let ChangeBody::PutOperator(operator) = change.what {
                    self.keep(&operator);
                }
            }
            self.note_frame(least, at as u64, (frame.end() - at) as u64);
            (self.sequence, self.sum, at) = (frame.to, frame.sum, frame.end());
        }
        if was_durable(&bytes[at..], at as u64) {
            return Err(JournalError::Damaged(self.path.clone()));
        }
        self.length = at as u64;
        if at < bytes.len() {
            self.file.set_len(self.length).map_err(self.failed())?;
        }
        Ok(())
    }

    fn map(&self) -> Result<impl AsRef<[u8]> + use<>, JournalError> {
        memory::map(&self.file).map_err(self.failed())
    }

    /// Notes an operator; whether it is new or has changed.
    fn keep(&mut self, operator: &Operator) -> bool {
        match self.operators.iter_mut().find(|known| known.id == operator.id) {
            Some(known) if known == operator => false,
            Some(known) => {
                known.clone_from(operator);
                true
            }
            None => {
                self.operators.push(operator.clone());
                true
            }
        }
    }

    /// Appends what was answered at a time. It is durable after [`sync`](Self::sync).
    pub(super) fn append(&mut self, time: Timestamp, answers: Answers) -> Result<(), JournalError> {
        let nanoseconds = moment::nanoseconds(time).unwrap_or_default();
        let Answers { answers, operators } = answers;
        let changed: Vec<Operator> = operators.into_iter().filter(|operator| self.keep(operator)).collect();
        if self.operators.len() > OPERATORS_MAX {
            return Err(JournalError::Operators(self.path.clone()));
        }
        let operators = changed.into_iter().map(|operator| ChangeBody::PutOperator(Box::new(operator)));
        let least = answers.iter().filter_map(subject_of_change).min();
        let mut frame = vec![0; FRAME_HEAD_BYTES];
        let (after, mut sequence) = (self.sequence, self.sequence);
        for what in operators.chain(answers) {
            sequence += 1;
            encoding::encode(&Change { sequence, time: nanoseconds, what }, &mut frame);
        }
        let changes = u32::try_from(sequence - after).unwrap_or(u32::MAX);
        let sum = seal_frame(&mut frame, after, sequence, changes, self.durable, &self.sum);
        if let Err(error) = self.file.write_all(&frame) {
            // The next frame must not follow part of this one.
            let _ = self.file.set_len(self.length);
            return Err(self.failed()(error));
        }
        self.note_frame(least, self.length, frame.len() as u64);
        (self.sequence, self.sum, self.length) = (sequence, sum, self.length + frame.len() as u64);
        Ok(())
    }

    fn note_frame(&mut self, least: Option<Ordinal>, offset: u64, bytes: u64) {
        self.frames.extend(least.map(|least| FrameSpan { least, offset, bytes }));
    }

    /// The frames with answers, in the order of the journal.
    pub(super) fn frames(&self) -> &[FrameSpan] {
        &self.frames
    }

    /// Reads a frame. Returns where its changes are.
    pub(super) fn read(&self, span: &FrameSpan, bytes: &mut Vec<u8>) -> Result<Range<usize>, JournalError> {
        bytes.resize(span.bytes as usize, 0);
        self.file.read_exact_at(bytes, span.offset).map_err(self.failed())?;
        let frame = format::frame_of(bytes, 0).ok_or_else(|| self.damaged())?;
        Ok(frame.payload)
    }

    pub(super) fn damaged(&self) -> JournalError {
        JournalError::Damaged(self.path.clone())
    }

    /// Makes all frames durable.
    pub(super) fn sync(&mut self) -> Result<(), JournalError> {
        self.file.sync_data().map_err(self.failed())?;
        self.durable = self.length;
        Ok(())
    }

    /// The operators of the answers.
    pub(super) fn operators(&self) -> &[Operator] {
        &self.operators
    }

    /// Calls `each` with every answer, its id and its time, in the order of the journal.
    pub(super) fn for_each(
        &self,
        mut each: impl FnMut(Ordinal, Timestamp, Answer),
    ) -> Result<(), JournalError> {
        let damaged = || self.damaged();
        // Not mapped: it may be larger than the memory that is left, and is read once.
        let (mut window, mut from) = (Vec::new(), SEGMENT_HEAD_BYTES as u64);
        let mut bytes_max = WINDOW_BYTES;
        while from < self.length {
            window.resize(bytes_max.min(self.length - from) as usize, 0);
            self.file.read_exact_at(&mut window, from).map_err(self.failed())?;
            let mut at = 0;
            while let Some(frame) = format::frame_of(&window, at) {
                for change in ChangeDecoder::new(&window[frame.payload.clone()], frame.after) {
                    let change = change.ok_or_else(damaged)?;
                    let time = change.time();
                    if let Some(ordinal) = subject_of_change(&change.what) {
                        each(ordinal, time, change.what);
                    }
                }
                at = frame.end();
            }
            match at {
                0 if window.len() < bytes_max as usize => return Err(damaged()),
                // A frame is longer.
                0 => bytes_max *= 2,
                read => from += read as u64,
            }
        }
        Ok(())
    }

    /// Whether there are no answers.
    pub(super) fn is_empty(&self) -> bool {
        self.sequence == 0
    }

    /// Removes the journal: its answers are in the register file.
    pub(super) fn remove(self) -> Result<(), JournalError> {
        std::fs::remove_file(&self.path).map_err(self.failed())
    }
}

/// Whether there are no more bytes than those of a head, all zero: the head is durable before anything follows it.
fn is_blank(bytes: &[u8]) -> bool {
    bytes.len() <= SEGMENT_HEAD_BYTES && bytes.iter().all(|&byte| byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::answer::canonical;
    use std::fs;

    fn subject_of(asker: &str) -> Subject {
        Subject { kind: Kind::Far, address: "https://far.example/".to_owned(), asker: asker.to_owned() }
    }

    fn answers(id: &str) -> Answers {
        let answer = ChangeBody::Remove(canonical(id).expect("an id"));
        Answers { answers: vec![answer], operators: Vec::new() }
    }

    fn read(journal: &Journal) -> Vec<(Ordinal, i64)> {
        let mut all = Vec::new();
        journal.for_each(|ordinal, time, _| all.push((ordinal, time.as_second()))).expect("whole");
        all
    }

    const IDS: [&str; 3] = ["196810199809", "195904109807", "199001022384"];

    /// A journal of three frames, which are made durable one by one, or all at once.
    fn made(path: &Path, one_by_one: bool) -> Vec<u8> {
        let mut journal = Journal::open(path, &subject_of("a")).expect("a journal");
        for (id, second) in IDS.iter().zip(1000..) {
            journal.append(Timestamp::from_second(second).expect("a time"), answers(id)).expect("appended");
            if one_by_one {
                journal.sync().expect("synced");
            }
        }
        journal.sync().expect("synced");
        fs::read(path).expect("a file")
    }

    /// Cut off anywhere, a journal has the whole frames before, and goes on.
    #[test]
    fn a_journal_goes_on_after_a_crash_at_any_byte() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("run.journal");
        let whole = made(&path, true);
        let frame = (whole.len() - SEGMENT_HEAD_BYTES) / 3;
        for end in 0..=whole.len() {
            fs::write(&path, &whole[..end]).expect("written");
            let mut journal = Journal::open(&path, &subject_of("a")).expect("a journal");
            let frames = end.saturating_sub(SEGMENT_HEAD_BYTES) / frame;
            assert_eq!(read(&journal).len(), frames, "cut off at {end}");
            journal.append(Timestamp::UNIX_EPOCH, answers(IDS[2])).expect("appended");
            assert_eq!(read(&journal).len(), frames + 1);
            drop(journal);
            assert_eq!(read(&Journal::open(&path, &subject_of("a")).expect("a journal")).len(), frames + 1);
        }
    }

    /// Frames that are written without a sync in between may reach the disk in any order, and so may a head and its file's
    /// length. A frame that is missing there is no damage, but one that was durable is.
    #[test]
    fn a_crash_may_leave_out_what_was_not_synced() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("run.journal");
        let whole = made(&path, false);
        let frame = (whole.len() - SEGMENT_HEAD_BYTES) / 3;
        let second = SEGMENT_HEAD_BYTES + frame..SEGMENT_HEAD_BYTES + 2 * frame;
        let mut torn = whole.clone();
        torn[second.clone()].fill(0);
        fs::write(&path, &torn).expect("written");
        let journal = Journal::open(&path, &subject_of("a")).expect("what was not synced may be missing");
        assert_eq!(read(&journal).len(), 1);
        drop(journal);
        // What a job finds was written by an earlier one, whose last bytes may not be durable until it opens it.
        fs::write(&path, &whole).expect("written");
        let mut journal = Journal::open(&path, &subject_of("a")).expect("a journal");
        journal.append(Timestamp::UNIX_EPOCH, answers(IDS[0])).expect("appended");
        drop(journal);
        let mut damaged = fs::read(&path).expect("a file");
        damaged[second].fill(0);
        fs::write(&path, &damaged).expect("written");
        assert!(matches!(Journal::open(&path, &subject_of("a")), Err(JournalError::Damaged(_))));
        for length in [0, 1, SEGMENT_HEAD_BYTES] {
            fs::write(&path, vec![0; length]).expect("written");
            let journal = Journal::open(&path, &subject_of("a")).expect("a head that was not written");
            assert_eq!(read(&journal).len(), 0);
        }
        fs::write(&path, vec![0; SEGMENT_HEAD_BYTES + 1]).expect("written");
        assert!(matches!(Journal::open(&path, &subject_of("a")), Err(JournalError::Foreign(_))));
    }

    /// A journal that an earlier version began is taken up where it is.
    #[test]
    fn a_journal_of_format_1_goes_on() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("run.journal");
        let mut older = made(&path, true);
        let head = format::decode_segment_head(&older).expect("a head");
        assert_eq!(head.version, LOG_VERSION);
        older[..SEGMENT_HEAD_BYTES]
            .copy_from_slice(&encode_segment_head(&SegmentHead { version: 1, ..head }));
        for end in 0..=older.len() {
            fs::write(&path, &older[..end]).expect("written");
            let mut journal = Journal::open(&path, &subject_of("a")).expect("a journal");
            let frames = read(&journal).len();
            journal.append(Timestamp::UNIX_EPOCH, answers(IDS[2])).expect("appended");
            drop(journal);
            let version =
                format::decode_segment_head(&fs::read(&path).expect("a file")).expect("a head").version;
            assert_eq!(version, if end > SEGMENT_HEAD_BYTES { 1 } else { LOG_VERSION }, "cut off at {end}");
            let again = Journal::open(&path, &subject_of("a")).expect("a journal");
            assert_eq!(read(&again).len(), frames + 1, "cut off at {end}");
        }
        fs::write(&path, &older).expect("written");
        assert_eq!(read(&Journal::open(&path, &subject_of("a")).expect("a journal")).len(), IDS.len());
        assert!(matches!(Journal::open(&path, &subject_of("b")), Err(JournalError::Foreign(_))));
    }

    #[test]
    fn more_operators_than_a_register_can_have_are_refused() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("run.journal");
        let mut journal = Journal::open(&path, &subject_of("a")).expect("a journal");
        let operators = |count: usize| {
            let of = |number| Operator { id: format!("{number}"), ..Operator::default() };
            Answers { answers: Vec::new(), operators: (0..count).map(of).collect() }
        };
        journal.append(Timestamp::UNIX_EPOCH, operators(OPERATORS_MAX)).expect("as many as allowed");
        let refused = journal.append(Timestamp::UNIX_EPOCH, operators(OPERATORS_MAX + 1));
        assert!(matches!(refused, Err(JournalError::Operators(_))));
    }

    #[test]
    fn purging_leaves_the_journal_of_a_running_job() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("run.journal");
        made(&path, true);
        let open = Journal::open(&path, &subject_of("a")).expect("a journal");
        let journals = || crate::source::purge(directory.path(), true).expect("purged").journals;
        assert_eq!((journals(), path.exists()), (0, true));
        drop(open);
        assert_eq!((journals(), path.exists()), (1, false));
    }

    #[test]
    fn damage_and_other_jobs_are_refused() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("run.journal");
        let whole = made(&path, true);
        assert!(matches!(Journal::open(&path, &subject_of("b")), Err(JournalError::Foreign(_))));
        let open = Journal::open(&path, &subject_of("a")).expect("a journal");
        assert!(matches!(Journal::open(&path, &subject_of("a")), Err(JournalError::Busy(_))));
        drop(open);
        let mut flipped = whole.clone();
        flipped[SEGMENT_HEAD_BYTES + FRAME_HEAD_BYTES + 3] ^= 1;
        fs::write(&path, &flipped).expect("written");
        assert!(matches!(Journal::open(&path, &subject_of("a")), Err(JournalError::Damaged(_))));
        fs::write(&path, "another file").expect("written");
        assert!(matches!(Journal::open(&path, &subject_of("a")), Err(JournalError::Foreign(_))));
        assert_eq!(fs::read(&path).expect("kept"), b"another file");
    }
}
