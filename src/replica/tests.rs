//! A source, those who follow it, and the network between them, in which everything that can go wrong does, as a seed
//! says.
//!
//! Whoever reads a replica must see only what the source had, and never go back; and when nothing goes wrong any more,
//! every replica must become what the source is. `NABAR_SIMULATIONS` is how many seeds are tried, `NABAR_SEED` the only
//! one.

mod disk;
mod follower;
mod model;
mod network;
mod once;
mod random;
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

/// Seeds that are tried if nobody says how many: a minute on two cores.
const SIMULATIONS: u64 = 1000;
/// What must have happened in so many simulations, at least once.
const HAPPENS: [&str; 16] = [
    "a process ended",
    "a process ended while it wrote",
    "began anew",
    "diverged",
    "ended while directories were exchanged",
    "ended while a directory was made",
    "gone",
    "no room",
    "partial file damaged",
    "register file altered",
    "register file broke off",
    "another answer",
    "changes altered",
    "late answer",
    "source checkpoint",
    "source restored",
];

/// A directory where syncing costs nothing, if there is such a place.
fn place_for_files() -> TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.or_else(|_| tempfile::tempdir()).expect("a directory")
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is a number")))
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned())).unwrap_or_default()
}

/// What happened, by what it was, and how often. Errors: what went wrong, and what led to it.
fn simulate(seed: u64) -> Result<BTreeMap<&'static str, u64>, String> {
    let mut world = World::new(seed);
    match catch_unwind(AssertUnwindSafe(|| world.live())) {
        Ok(()) => Ok(world.happened()),
        Err(panic) => {
            let (what, story) = (message(&*panic), world.story());
            Err(format!(
                "seed {seed}: {what}; replay with NABAR_SEED={seed} cargo test --lib replica::tests\n{story}"
            ))
        }
    }
}

#[test]
fn replicas_become_what_their_source_is() {
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
        let never: Vec<_> = HAPPENS.iter().filter(|what| !happened.contains_key(*what)).collect();
        assert!(never.is_empty(), "never simulated: {never:?}");
    }
}
