//! Power cuts and ends of the process during each operation of a life.

use super::disk::{Fault, SimDisk};
use super::life::{Life, Step, script};
use super::model::LAST;
use super::promise::Promise;
use super::survivors::{Survivor, survivors};

/// Performs steps until one fails. Returns the life and the failed step.
fn live(disk: &SimDisk, steps: &[Step], watched: bool) -> (Life, Option<usize>) {
    let mut life = Life::new(disk.clone(), watched);
    for (number, step) in steps.iter().enumerate() {
        if let Err(stop) = life.step(step) {
            assert!(disk.crashed(), "{step:?}: {stop:?}");
            return (life, Some(number));
        }
    }
    (life, None)
}

/// Repeats the life with a crash at each operation in turn. `check` gets what was promised, the disk, and a
/// description of the operation.
fn crash_everywhere(watched: bool, check: impl Fn(&Promise<'_>, &SimDisk, usize, &str)) {
    let steps = script();
    let disk = SimDisk::default();
    let (life, stopped) = live(&disk, &steps, watched);
    assert_eq!((stopped, life.acknowledged), (None, Some(LAST)));
    drop(life);
    for (number, operation) in (1..).zip(disk.operations()) {
        let disk = SimDisk::default();
        disk.set_fault(Fault::Crash(number));
        let (life, stopped) = live(&disk, &steps, watched);
        let stopped = stopped.expect("crashed");
        let what = format!("operation {number}, {operation:?} in {:?}", steps[stopped]);
        let promise = Promise { steps: &steps, stopped, least: life.acknowledged.max(life.shown) };
        drop(life);
        check(&promise, &disk, number, &what);
    }
}

#[test]
fn a_crash_at_any_operation_loses_nothing_that_was_acknowledged() {
    crash_everywhere(false, |promise, disk, number, what| {
        for Survivor { disk, how, bare, whole } in survivors(disk) {
            let how = format!("{what}: {how}");
            match number % 2 {
                0 if bare => promise.go_on(&disk, &how),
                1 if whole => promise.go_on(&disk, &how),
                _ => promise.finish(&disk, &how),
            }
        }
        promise.outlive_exit(disk, what);
    });
}

#[test]
fn a_crash_at_any_operation_loses_nothing_that_a_reader_showed() {
    crash_everywhere(true, |promise, disk, _, what| {
        for survivor in survivors(disk).into_iter().filter(|survivor| survivor.bare || survivor.whole) {
            drop(promise.open(&survivor.disk, &format!("{what}: {}", survivor.how)));
        }
    });
}
