//! A script of steps on a data directory, and the invariants that hold throughout.

use super::disk::{Fault, SimDisk};
use super::model::{FIRST, dump, lines, model, register_file};
use crate::register::Register;
use crate::store::init::fill;
use crate::store::{Pending, Reader, Writer};
use std::ops::RangeInclusive;

/// A step of the script. Changes are named by their sequence numbers.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Fill,
    /// Makes the last segment one of the older format.
    Age,
    Apply(RangeInclusive<u64>),
    Append(RangeInclusive<u64>),
    Wait,
    Checkpoint {
        keep: bool,
    },
    Reopen,
}

use Step::*;

/// Batches of one and of many changes, shared syncs, checkpoints of both kinds, and a restart.
pub(super) fn script() -> Vec<Step> {
    type Length = (u64, fn(RangeInclusive<u64>) -> Step);
    let lengths: [Length; 17] = [
        (1, Apply),
        (40, Apply),
        (1, Append),
        (30, Append),
        (1, Append),
        (3, Apply),
        (2, Apply),
        (60, Apply),
        (2, Append),
        (1, Append),
        (5, Apply),
        (45, Apply),
        (1, Apply),
        (20, Append),
        (1, Append),
        (16, Apply),
        (71, Apply),
    ];
    let mut last = FIRST;
    let mut changes = lengths.into_iter().map(|(length, step)| {
        last += length;
        step(last + 1 - length..=last)
    });
    let mut steps = vec![Fill, Age];
    let mut then = |count: usize, more: &[Step]| {
        steps.extend(changes.by_ref().take(count));
        steps.extend_from_slice(more);
    };
    then(5, &[Wait]);
    then(1, &[Checkpoint { keep: false }]);
    then(4, &[Wait, Checkpoint { keep: true }]);
    then(2, &[Age, Reopen]);
    then(3, &[Wait, Checkpoint { keep: true }]);
    then(1, &[Checkpoint { keep: false }, Age, Reopen]);
    then(1, &[]);
    steps
}

/// The first sequence number, and those at which the batches of the steps end.
pub(super) fn boundaries(steps: &[Step]) -> Vec<u64> {
    let ends = steps.iter().filter_map(|step| match step {
        Apply(range) | Append(range) => Some(*range.end()),
        _ => None,
    });
    std::iter::once(FIRST).chain(ends).collect()
}

/// Why a step failed.
pub(super) type Stop = Box<dyn std::error::Error>;

/// A data directory in use.
pub(super) struct Life {
    pub(super) disk: SimDisk,
    pub(super) writer: Option<Writer>,
    reader: Option<Reader>,
    /// Whether another process is reading.
    watched: bool,
    pending: Vec<(u64, Option<Pending>)>,
    /// The last acknowledged sequence number; none without a register.
    pub(super) acknowledged: Option<u64>,
    /// The last sequence number that a reader showed.
    pub(super) shown: Option<u64>,
}

impl Life {
    pub(super) fn new(disk: SimDisk, watched: bool) -> Life {
        let (writer, reader) = (None, None);
        Life { disk, writer, reader, watched, pending: Vec::new(), acknowledged: None, shown: None }
    }

    /// Performs a step, after opening the directory if necessary.
    pub(super) fn step(&mut self, step: &Step) -> Result<(), Stop> {
        if !matches!(step, Fill | Age | Reopen) && self.writer.is_none() {
            self.open()?;
        }
        match step {
            Fill => {
                fill(&self.disk.directory(), (*register_file()).as_ref(), "fixture".as_ref())?;
                self.acknowledged = Some(FIRST);
            }
            Age => self.disk.age(),
            Apply(range) => {
                let batch = self.writer().apply(lines(range.clone()), None)?;
                assert_eq!(batch.to, *range.end());
                self.acknowledge(batch.to);
            }
            Append(range) => {
                let (batch, pending) = self.writer().append(lines(range.clone()), None)?;
                self.pending.push((batch.to, pending));
            }
            Wait => {
                // The last one first: the others share its sync.
                for (to, pending) in std::mem::take(&mut self.pending).into_iter().rev() {
                    self.writer().wait(pending)?;
                    self.acknowledge(to);
                }
            }
            Checkpoint { keep } => {
                self.writer().checkpoint(*keep)?;
                let sequence = self.writer().register().sequence();
                self.acknowledge(sequence);
            }
            Reopen => {
                self.writer = None;
                self.open()?;
            }
        }
        self.look()
    }

    fn writer(&self) -> &Writer {
        self.writer.as_ref().expect("open")
    }

    fn acknowledge(&mut self, sequence: u64) {
        self.acknowledged = self.acknowledged.max(Some(sequence));
    }

    fn open(&mut self) -> Result<(), Stop> {
        let writer = Writer::of(self.disk.directory())?;
        let sequence = writer.register().sequence();
        assert_eq!(writer.recovered().sequence, sequence);
        self.acknowledge(sequence);
        self.writer = Some(writer);
        Ok(())
    }

    /// Readers see the state at the end of a batch: at least the last acknowledged one, and never an older one than
    /// before.
    fn look(&mut self) -> Result<(), Stop> {
        if let Some(writer) = &self.writer {
            let register = writer.register();
            assert!(Some(register.sequence()) >= self.acknowledged);
            self.compare(&register);
        }
        if !self.watched {
            return Ok(());
        }
        match &mut self.reader {
            Some(reader) => drop(reader.refresh()?),
            none => *none = Some(Reader::of(self.disk.directory())?),
        }
        let register = self.reader.as_ref().expect("just opened").register();
        assert!(Some(register.sequence()) >= self.shown.max(self.acknowledged));
        self.compare(&register);
        self.shown = Some(register.sequence());
        Ok(())
    }

    /// Compares the registers with the model. Skipped when a life is repeated up to a crash.
    fn compare(&self, register: &Register) {
        if self.disk.fault() == Fault::None {
            assert!(dump(register) == model(register.sequence()), "sequence {}", register.sequence());
        }
    }
}

/// A disk with the register of the fixture only.
pub(super) fn filled() -> SimDisk {
    let disk = SimDisk::default();
    fill(&disk.directory(), (*register_file()).as_ref(), "fixture".as_ref()).expect("filled");
    disk
}
