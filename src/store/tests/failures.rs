//! One operation fails with an error: a full disk, a bad sector, a disconnected disk.

use super::disk::{Fault, Operation, SimDisk};
use super::life::{Life, Step, filled, script};
use super::model::{FIRST, LAST, dump, lines, model};
use super::promise::Promise;
use super::survivors::survivors;
use crate::store::disk::Disk;
use crate::store::{ApplyError, Reader, StoreError, Writer, names};
use std::io::ErrorKind;

/// The error of a failed operation.
fn kind_of(operation: Operation) -> ErrorKind {
    match operation {
        Operation::Create | Operation::Write | Operation::Rename => ErrorKind::StorageFull,
        Operation::Sync | Operation::Cut | Operation::Remove | Operation::SyncNames => ErrorKind::Other,
    }
}

/// Repeats a step that has failed: with the same writer, or else with a new one.
fn get_over(life: &mut Life, step: &Step) {
    if life.step(step).is_err() {
        life.writer = None;
        let again = life.step(step);
        // A failed `init` may still have made a complete directory.
        assert!(again.is_ok() || matches!(step, Step::Fill), "{step:?}: {again:?}");
    }
}

#[test]
fn a_step_can_be_repeated_after_any_failed_operation() {
    let steps = script();
    let whole = SimDisk::default();
    let mut life = Life::new(whole.clone(), false);
    steps.iter().for_each(|step| life.step(step).expect("nothing fails"));
    for (number, operation) in (1..).zip(whole.operations()) {
        let disk = SimDisk::default();
        disk.set_fault(Fault::Error(number, kind_of(operation)));
        let mut life = Life::new(disk.clone(), false);
        let stopped = steps.iter().position(|step| life.step(step).is_err());
        let what = format!("operation {number}, {operation:?}");
        let stopped = stopped.unwrap_or_else(|| panic!("{what}: no writer got an error"));
        let (step, least) = (&steps[stopped], life.acknowledged);
        let visible = life.writer.as_ref().map(|writer| writer.register().sequence());
        assert!(visible.is_none() || visible == least, "{what}: a failed batch is visible");
        let promise = Promise { steps: &steps, stopped, least };
        for survivor in survivors(&disk).into_iter().filter(|survivor| survivor.bare || survivor.whole) {
            drop(promise.open(&survivor.disk, &format!("{what} in {step:?}, {}", survivor.how)));
        }
        get_over(&mut life, step);
        get_over(&mut life, &Step::Apply(FIRST + 1..=LAST));
        let reader = Reader::of(disk.after_power_cut().directory());
        let register = reader.unwrap_or_else(|error| panic!("{what}: {error}")).register();
        assert!(dump(&register) == model(LAST), "{what}: the end is lost");
    }
}

/// A writer on a disk whose count of operations has been reset.
fn opened() -> (SimDisk, Writer) {
    let disk = filled().after_exit();
    let writer = Writer::of(disk.directory()).expect("opens");
    writer.apply(lines(FIRST + 1..=FIRST + 3), None).expect("applied");
    (disk, writer)
}

/// Number of the operation after so many more.
fn after(disk: &SimDisk, operations: usize) -> usize {
    disk.operations().len() + operations + 1
}

fn segment_bytes(disk: &SimDisk, after: u64) -> u64 {
    disk.open(&names::segment(after)).and_then(|file| file.length()).expect("a segment")
}

#[test]
fn a_batch_fails_on_a_full_disk_and_succeeds_with_space() {
    let (disk, writer) = opened();
    let (bytes, mut reader) = (segment_bytes(&disk, FIRST), Reader::of(disk.directory()).expect("opens"));
    for _ in 0..3 {
        disk.set_fault(Fault::Error(after(&disk, 0), ErrorKind::StorageFull));
        let refused = writer.apply(lines(FIRST + 4..=FIRST + 50), None);
        let Err(ApplyError::Store(StoreError::Io { error, .. })) = refused else { panic!("{refused:?}") };
        assert_eq!(error.kind(), ErrorKind::StorageFull);
        assert_eq!(segment_bytes(&disk, FIRST), bytes, "half a batch stays in the log");
        assert_eq!(writer.register().sequence(), FIRST + 3);
        assert!(!reader.refresh().expect("reads"));
    }
    let batch = writer.apply(lines(FIRST + 4..=FIRST + 50), None).expect("space");
    assert_eq!((batch.from, batch.to, batch.applied), (FIRST + 3, FIRST + 50, 47));
    assert!(reader.refresh().expect("reads"));
    assert!(dump(&reader.register()) == model(FIRST + 50));
    assert!(dump(&writer.register()) == model(FIRST + 50));
}

/// Every call of a writer fails for the same reason, and nothing more is written.
fn refuses_everything(disk: &SimDisk, writer: &Writer, because: ErrorKind) {
    let operations = disk.operations().len();
    let failed = |error: &StoreError| matches!(error, StoreError::Failed { kind, .. } if *kind == because);
    for range in [FIRST + 1..=FIRST + 2, FIRST + 4..=FIRST + 4, FIRST + 5..=FIRST + 9] {
        let refused = writer.append(lines(range), None).err();
        assert!(matches!(&refused, Some(ApplyError::Store(error)) if failed(error)), "{refused:?}");
    }
    let refused = writer.checkpoint(false).expect_err("a checkpoint");
    assert!(failed(&refused), "{refused}");
    assert_eq!(disk.operations().len(), operations);
}

#[test]
fn after_a_failed_sync_only_a_new_writer_can_write() {
    let (disk, writer) = opened();
    disk.set_fault(Fault::Error(after(&disk, 1), ErrorKind::Other));
    let refused = writer.apply(lines(FIRST + 4..=FIRST + 4), None).expect_err("not durable");
    assert!(matches!(refused, ApplyError::Store(StoreError::Failed { .. })), "{refused}");
    assert_eq!(writer.register().sequence(), FIRST + 3, "readers of the writer do not see it");
    refuses_everything(&disk, &writer, ErrorKind::Other);
    drop(writer);
    assert_eq!(
        Reader::of(disk.after_power_cut().directory()).expect("opens").register().sequence(),
        FIRST + 3
    );
    // The page cache still has the batch, and its pages are marked clean.
    let writer = Writer::of(disk.directory()).expect("opens again");
    assert_eq!(writer.recovered().sequence, FIRST + 4);
    writer.apply(lines(FIRST + 5..=FIRST + 9), None).expect("applied");
    let reader = Reader::of(disk.after_power_cut().directory()).expect("nothing is missing in between");
    assert!(dump(&reader.register()) == model(FIRST + 9));
}

#[test]
fn a_failed_sync_is_an_error_of_every_wait_that_shares_it() {
    let (disk, writer) = opened();
    let pending = [4..=4, 5..=9, 10..=10].map(|range: std::ops::RangeInclusive<u64>| {
        let lines = lines(FIRST + range.start()..=FIRST + range.end());
        writer.append(lines, None).expect("written").1
    });
    // Repeated changes are acknowledged only once they are durable.
    let (again, repeated) = writer.append(lines(FIRST + 4..=FIRST + 10), None).expect("nothing new");
    assert_eq!((again.from, again.to, again.skipped), (FIRST + 10, FIRST + 10, 7));
    disk.set_fault(Fault::Error(after(&disk, 0), ErrorKind::Other));
    for pending in pending.into_iter().chain([repeated]) {
        assert!(matches!(writer.wait(pending), Err(StoreError::Failed { .. })));
    }
    assert_eq!(writer.register().sequence(), FIRST + 3);
}

#[test]
fn a_write_that_cannot_be_undone_ends_the_writer() {
    let (disk, writer) = opened();
    disk.set_fault(Fault::Errors(after(&disk, 0), ErrorKind::PermissionDenied));
    let refused = writer.apply(lines(FIRST + 4..=FIRST + 9), None).expect_err("no disk");
    assert!(matches!(refused, ApplyError::Store(StoreError::Io { .. })), "{refused}");
    disk.set_fault(Fault::None);
    refuses_everything(&disk, &writer, ErrorKind::PermissionDenied);
    assert!(dump(&writer.register()) == model(FIRST + 3), "it is still there for readers");
    drop(writer);
    let reader = Reader::of(disk.directory()).expect("half a batch is none");
    assert_eq!(reader.register().sequence(), FIRST + 3);
    let writer = Writer::of(disk.directory()).expect("opens again");
    assert!(writer.recovered().torn_bytes > 0);
    writer.apply(lines(FIRST + 4..=FIRST + 9), None).expect("applied");
    assert!(dump(&writer.register()) == model(FIRST + 9));
}

/// Operations of a checkpoint: for the new segment create, write, sync, rename and sync of names; then the same for
/// the register file, with three writes.
const SEGMENT: std::ops::Range<usize> = 0..5;
const REGISTER: std::ops::Range<usize> = 5..12;

#[test]
fn a_failed_checkpoint_leaves_a_working_writer_or_one_that_reports_the_failure() {
    for failing in SEGMENT.chain(REGISTER) {
        let (disk, writer) = opened();
        disk.set_fault(Fault::Error(after(&disk, failing), ErrorKind::StorageFull));
        let refused = writer.checkpoint(false).expect_err("no space");
        assert!(matches!(refused, StoreError::Io { .. }), "operation {failing}: {refused}");
        let segment_is_there = failing == SEGMENT.end - 1;
        if segment_is_there {
            refuses_everything(&disk, &writer, ErrorKind::StorageFull);
        } else {
            writer.apply(lines(FIRST + 4..=FIRST + 9), None).expect("goes on");
            let done = writer.checkpoint(false).expect("space");
            assert_eq!((done.sequence, done.changes), (FIRST + 9, 9), "operation {failing}");
        }
        drop(writer);
        let writer = Writer::of(disk.directory()).unwrap_or_else(|error| panic!("{failing}: {error}"));
        writer.apply(lines(FIRST + 1..=FIRST + 20), None).expect("applied");
        assert!(dump(&writer.register()) == model(FIRST + 20));
        assert!(!disk.names().expect("names").iter().any(|name| name.ends_with(".partial")));
    }
}

#[test]
fn a_directory_has_one_writer_at_a_time() {
    let (disk, writer) = opened();
    assert!(matches!(Writer::of(disk.directory()), Err(StoreError::Locked(_))));
    drop(writer);
    assert!(Writer::of(disk.directory()).is_ok());
    assert!(matches!(Writer::of(SimDisk::default().directory()), Err(StoreError::NotOne(_))));
    assert!(matches!(Reader::of(SimDisk::default().directory()), Err(StoreError::NotOne(_))));
}
