//! What a disk must have after a crash, whatever the crash has left.

use super::disk::SimDisk;
use super::life::{Life, Step, boundaries};
use super::model::{FIRST, LAST, dump, lines, model, register_file};
use super::survivors::survivors;
use crate::register::Register;
use crate::store::init::fill;
use crate::store::{Reader, StoreError, Writer};

/// What a disk must have after a crash.
pub(super) struct Promise<'s> {
    pub(super) steps: &'s [Step],
    /// The step that was not done.
    pub(super) stopped: usize,
    /// The least sequence number; none if there may be no register.
    pub(super) least: Option<u64>,
}

impl Promise<'_> {
    /// A register is what the model was after a batch, and has all that was promised.
    fn holds(&self, register: &Register, how: &str) {
        self.has_enough(register.sequence(), how);
        let sequence = register.sequence();
        assert!(dump(register) == model(sequence), "{how}: {sequence} is not what it was");
    }

    fn has_enough(&self, sequence: u64, how: &str) {
        assert!(self.least.is_none_or(|least| sequence >= least), "{how}: {sequence} of {:?}", self.least);
        assert!(boundaries(self.steps).contains(&sequence), "{how}: {sequence} is in a batch");
    }

    /// Opens what is left, as reader and as writer. Nobody may be there if nobody was promised.
    pub(super) fn open(&self, disk: &SimDisk, how: &str) -> Writer {
        match Reader::of(disk.place()) {
            Ok(reader) => self.has_enough(reader.register().sequence(), how),
            Err(StoreError::NotOne(_)) if self.least.is_none() => {
                fill(&disk.place(), (*register_file()).as_ref()).unwrap_or_else(|e| panic!("{how}: {e}"));
            }
            Err(error) => panic!("{how}: {error}"),
        }
        let writer = Writer::of(disk.place()).unwrap_or_else(|error| panic!("{how}: {error}"));
        self.holds(&writer.register(), how);
        writer
    }

    /// Everything that is still to come, as one batch.
    pub(super) fn finish(&self, disk: &SimDisk, how: &str) {
        let writer = self.open(disk, how);
        let from = writer.register().sequence();
        if from < LAST {
            let batch = writer.apply(lines(from + 1..=LAST), None);
            assert_eq!(batch.unwrap_or_else(|e| panic!("{how}: {e}")).to, LAST);
        }
        assert_eq!(writer.register().sequence(), LAST);
        let reader = Reader::of(disk.after_power_cut().place());
        assert!(dump(&reader.expect("durable").register()) == model(LAST), "{how}: the end is lost");
    }

    /// The steps that are still to come, as they are; what was lost of the batches before is applied
    /// again, along with what was not.
    pub(super) fn go_on(&self, disk: &SimDisk, how: &str) {
        drop(self.open(disk, how));
        let mut life = Life::new(disk.clone(), true);
        let again = boundaries(&self.steps[..=self.stopped]).into_iter().max().filter(|&to| to > FIRST);
        let rest = self.steps[self.stopped + 1..].iter().cloned();
        for step in again.map(|to| Step::Apply(FIRST + 1..=to)).into_iter().chain(rest) {
            life.step(&step).unwrap_or_else(|stop| panic!("{how}, {step:?}: {stop:?}"));
        }
        let reader = Reader::of(disk.after_power_cut().place()).expect("durable");
        assert!(dump(&reader.register()) == model(LAST), "{how}: another end");
    }

    /// The process has ended, and what it had not synced is still there: whoever shows that has made it
    /// durable, also if the power fails later.
    pub(super) fn outlive_exit(&self, disk: &SimDisk, how: &str) {
        let how = &format!("{how}, process ended");
        let read = disk.after_exit();
        // Until `init` has returned, the register may come and go.
        if let (Ok(reader), Some(_)) = (Reader::of(read.place()), self.least) {
            let least = Some(reader.register().sequence());
            let durable = Reader::of(read.after_power_cut().place());
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
