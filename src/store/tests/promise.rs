//! What must be on a disk after any crash.

use super::disk::SimDisk;
use super::life::{Life, Step, boundaries};
use super::model::{FIRST, LAST, dump, lines, model, register_file};
use super::survivors::survivors;
use crate::register::Register;
use crate::store::init::fill;
use crate::store::{Reader, StoreError, Writer};

/// What must be on a disk after a crash.
pub(super) struct Promise<'s> {
    pub(super) steps: &'s [Step],
    /// The step that failed.
    pub(super) stopped: usize,
    /// The least sequence number; none if the register may be missing.
    pub(super) least: Option<u64>,
}

impl Promise<'_> {
    /// Checks that a register equals the model after a batch and has everything that was promised.
    fn holds(&self, register: &Register, how: &str) {
        self.has_enough(register.sequence(), how);
        let sequence = register.sequence();
        assert!(dump(register) == model(sequence), "{how}: {sequence} is not what it was");
    }

    fn has_enough(&self, sequence: u64, how: &str) {
        assert!(self.least.is_none_or(|least| sequence >= least), "{how}: {sequence} of {:?}", self.least);
        assert!(boundaries(self.steps).contains(&sequence), "{how}: {sequence} is in a batch");
    }

    /// Opens the disk as reader and as writer. A register may be missing only if none was promised.
    pub(super) fn open(&self, disk: &SimDisk, how: &str) -> Writer {
        match Reader::of(disk.directory()) {
            Ok(reader) => self.has_enough(reader.register().sequence(), how),
            Err(StoreError::NotOne(_)) if self.least.is_none() => {
                fill(&disk.directory(), (*register_file()).as_ref(), "fixture".as_ref())
                    .unwrap_or_else(|e| panic!("{how}: {e}"));
            }
            Err(error) => panic!("{how}: {error}"),
        }
        let writer = Writer::of(disk.directory()).unwrap_or_else(|error| panic!("{how}: {error}"));
        self.holds(&writer.register(), how);
        writer
    }

    /// Applies all remaining changes as one batch.
    pub(super) fn finish(&self, disk: &SimDisk, how: &str) {
        let writer = self.open(disk, how);
        let from = writer.register().sequence();
        if from < LAST {
            let batch = writer.apply(lines(from + 1..=LAST), None);
            assert_eq!(batch.unwrap_or_else(|e| panic!("{how}: {e}")).to, LAST);
        }
        assert_eq!(writer.register().sequence(), LAST);
        let reader = Reader::of(disk.after_power_cut().directory());
        assert!(dump(&reader.expect("durable").register()) == model(LAST), "{how}: the end is lost");
    }

    /// Performs the remaining steps; earlier batches are applied again, lost or not.
    pub(super) fn go_on(&self, disk: &SimDisk, how: &str) {
        drop(self.open(disk, how));
        let mut life = Life::new(disk.clone(), true);
        let again = boundaries(&self.steps[..=self.stopped]).into_iter().max().filter(|&to| to > FIRST);
        let rest = self.steps[self.stopped + 1..].iter().cloned();
        for step in again.map(|to| Step::Apply(FIRST + 1..=to)).into_iter().chain(rest) {
            life.step(&step).unwrap_or_else(|stop| panic!("{how}, {step:?}: {stop:?}"));
        }
        let reader = Reader::of(disk.after_power_cut().directory()).expect("durable");
        assert!(dump(&reader.register()) == model(LAST), "{how}: another end");
    }

    /// After the end of the process its unsynced bytes still exist: a reader that shows them has made them durable,
    /// even if the power fails later.
    pub(super) fn outlive_exit(&self, disk: &SimDisk, how: &str) {
        let how = &format!("{how}, process ended");
        let read = disk.after_exit();
        // Until `init` has returned, the register may appear and disappear.
        if let (Ok(reader), Some(_)) = (Reader::of(read.directory()), self.least) {
            let least = Some(reader.register().sequence());
            let durable = Reader::of(read.after_power_cut().directory());
            let durable = durable.unwrap_or_else(|error| panic!("{how}, after a reader: {error}"));
            Promise { least, ..*self }.holds(&durable.register(), &format!("{how}, after a reader"));
        }
        let written = disk.after_exit();
        let writer = self.open(&written, how);
        let least = Some(writer.register().sequence());
        let promise = Promise { least, ..*self };
        for survivor in survivors(&written) {
            promise.open(&survivor.disk, &format!("{how}, opened, {}", survivor.how));
        }
        drop(writer);
        self.finish(&written, how);
    }
}
