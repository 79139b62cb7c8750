//! Simulation of a source, its followers and the network between them, with faults of every kind derived from a seed.
//!
//! Readers of a replica must see only states of the source, and never go back. Once the faults end, every replica must
//! become equal to the source. `NABAR_SIMULATIONS` sets the number of seeds, `NABAR_SEED` a single seed.

mod bad_files;
pub(crate) mod disk;
mod displaced;
mod follower;
mod model;
mod network;
mod once;
pub(crate) mod random;
mod served;
mod source;
mod world;

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use tempfile::TempDir;
use world::World;

/// Default number of seeds: a minute on two cores.
const SIMULATIONS: u64 = 1000;
/// Faults of which each must occur at least once in [`SIMULATIONS`] seeds.
const EXPECTED_FAULTS: [&str; 16] = [
    "a process ended",
    "a process ended while it wrote",
    "started over",
    "diverged",
    "ended while directories were exchanged",
    "ended while a directory was made",
    "gone",
    "disk full",
    "partial file damaged",
    "register file altered",
    "register file truncated",
    "response to another request",
    "changes altered",
    "late response",
    "source checkpoint",
    "source restored",
];

/// A directory in memory if possible, where syncing costs nothing.
pub(crate) fn fast_directory() -> TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.or_else(|_| tempfile::tempdir()).expect("a directory")
}

pub(crate) fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is a number")))
}

pub(crate) fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned())).unwrap_or_default()
}

/// Number of occurrences by fault. Errors: the failure and the events before it.
fn simulate(seed: u64) -> Result<BTreeMap<&'static str, u64>, String> {
    let mut world = World::new(seed);
    match catch_unwind(AssertUnwindSafe(|| world.run())) {
        Ok(()) => Ok(world.happened()),
        Err(panic) => {
            let (what, log) = (message(&*panic), world.log());
            Err(format!(
                "seed {seed}: {what}; replay with NABAR_SEED={seed} cargo test --lib replica::tests\n{log}"
            ))
        }
    }
}

#[test]
fn replicas_converge_to_their_source() {
    let seeds = match number("NABAR_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("NABAR_SIMULATIONS").unwrap_or(SIMULATIONS),
    };
    let next = AtomicU64::new(seeds.start);
    let (happened, wrong) = (Mutex::new(BTreeMap::new()), Mutex::new(None));
    let work = || {
        while wrong.lock().expect("no panic").is_none() {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if !seeds.contains(&seed) {
                break;
            }
            match simulate(seed) {
                Ok(more) => {
                    let mut happened = happened.lock().expect("no panic");
                    more.into_iter().for_each(|(what, times)| *happened.entry(what).or_insert(0) += times);
                }
                Err(what) => *wrong.lock().expect("no panic") = Some(what),
            }
        }
    };
    let threads = thread::available_parallelism().map_or(1, |threads| threads.get().min(4));
    thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    if let Some(wrong) = wrong.into_inner().expect("no panic") {
        panic!("{wrong}");
    }
    let happened = happened.into_inner().expect("no panic");
    println!("{happened:#?}");
    if seeds.end - seeds.start >= SIMULATIONS {
        let never: Vec<_> = EXPECTED_FAULTS.iter().filter(|what| !happened.contains_key(*what)).collect();
        assert!(never.is_empty(), "never simulated: {never:?}");
    }
}
