//! The source: a data directory that changes, and that may be restored from an old copy.

use super::model::{FIRST, FORKS, History, LAST, begin, content};
use crate::register::Register;
use crate::store::Writer;
use std::fs;
use std::path::{Path, PathBuf};

/// The directory and its writer.
pub(super) struct Origin {
    pub(super) path: PathBuf,
    writer: Option<Writer>,
    history: &'static History,
    /// Highest sequence number it ever had.
    most: u64,
}

impl Origin {
    pub(super) fn new(path: &Path) -> Origin {
        begin(path);
        Origin { path: path.to_owned(), writer: None, history: History::main(), most: FIRST }
    }

    pub(super) fn writer(&mut self) -> &Writer {
        self.writer.get_or_insert_with(|| Writer::open(&self.path).expect("the source"))
    }

    pub(super) fn sequence(&mut self) -> u64 {
        self.writer().register().sequence()
    }

    pub(super) fn restart(&mut self) {
        self.writer = None;
    }

    /// Applies up to `count` changes as one batch.
    pub(super) fn apply(&mut self, count: u64) -> u64 {
        let from = self.sequence();
        let to = (from + count).min(LAST);
        if from < to {
            let lines = self.history.lines(from, to);
            self.writer().apply(lines, None).expect("applied");
            self.most = self.most.max(to);
        }
        to
    }

    pub(super) fn is_restored(&self) -> bool {
        self.history.fork < LAST
    }

    /// Restores the state at a fork, after which other changes follow, if the source is past it and not near the end.
    pub(super) fn restore(&mut self, fork: usize) -> bool {
        let sequence = self.sequence();
        if self.is_restored() || sequence <= FORKS[fork] || sequence > LAST - 50 {
            return false;
        }
        self.writer = None;
        fs::remove_dir_all(&self.path).expect("removed");
        begin(&self.path);
        self.history = History::forked(fork);
        self.apply(FORKS[fork] - FIRST);
        true
    }

    /// Continues until it is past its highest sequence number.
    pub(super) fn pass(&mut self) {
        let missing = (self.most + 1).saturating_sub(self.sequence());
        if self.is_restored() && missing > 0 {
            self.apply(missing);
        }
    }

    /// Whether a register is a former state of the source. After a restore any state counts, because a replica detects
    /// the other history only when it has caught up.
    pub(super) fn had(&self, register: &Register) -> bool {
        let sequence = register.sequence();
        self.is_restored()
            || sequence <= self.most && self.history.content(sequence) == Some(&content(register))
    }
}
