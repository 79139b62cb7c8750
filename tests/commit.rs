//! The commit protocol under a model checker: the source of `src/store/commit.rs` with the primitives of Shuttle instead
//! of those of the standard library.
//!
//! Shuttle runs one thread at a time and chooses at every lock, wait and atomic which thread continues, so a test sees
//! thousands of interleavings that are rare with real threads; a deadlock is a failure too. The log is a model: a sync
//! makes durable what was appended before it began, no more.
//!
//! The model detects these faults when they are put into the protocol: publishing before the sync, durable before
//! published, publishing what was written during the sync, no second check after waiting, waking one waiter or none,
//! continuing after a failed sync.
//!
//! A separate binary, because Shuttle installs a panic hook for its process.

#[allow(dead_code)] // The store uses more of it than the model.
#[path = "../src/store/commit.rs"]
mod commit;

/// Replaces `src/store/sync.rs`: the same names, and the model checker may interrupt each step.
mod sync {
    pub(crate) use shuttle::sync::{Arc, Condvar, Mutex, MutexGuard};

    /// Taken and replaced at once, as an `ArcSwap` is.
    pub(crate) struct Published<V>(Mutex<Arc<V>>);

    impl<V> Published<V> {
        pub(crate) fn new(version: Arc<V>) -> Published<V> {
            Published(Mutex::new(version))
        }

        pub(crate) fn load(&self) -> Arc<V> {
            Arc::clone(&self.0.lock().expect("unharmed"))
        }

        pub(crate) fn store(&self, version: Arc<V>) {
            *self.0.lock().expect("unharmed") = version;
        }
    }
}

use commit::{Committer, Ticket};
use shuttle::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use shuttle::sync::mpsc::{Receiver, channel};
use shuttle::sync::{Arc, Mutex};
use shuttle::thread;
use std::io;

/// What readers see: all changes up to a number, and the register file that they were added to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Version {
    number: u64,
    base: u64,
}

/// The log on a disk that forgets, in a power cut, what was not synced.
struct Log {
    appended: AtomicU64,
    durable: AtomicU64,
    syncing: AtomicBool,
    syncs: AtomicU64,
    failed: AtomicBool,
    /// The sync that fails, counted from 1; 0 for none.
    fails_at: u64,
}

impl Log {
    fn sync(&self) -> io::Result<()> {
        assert!(!self.syncing.swap(true, SeqCst), "waiters share one sync");
        assert!(!self.failed.load(SeqCst), "after a failed sync the next one proves nothing");
        let appended = self.appended.load(SeqCst);
        let number = self.syncs.fetch_add(1, SeqCst) + 1;
        if number == self.fails_at {
            self.failed.store(true, SeqCst);
            self.syncing.store(false, SeqCst);
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.durable.store(appended, SeqCst);
        self.syncing.store(false, SeqCst);
        Ok(())
    }
}

/// As much of `Writer` as the protocol needs: appending, waiting, and checkpoints.
struct Store {
    log: Log,
    committer: Committer<Version>,
    inner: Mutex<Inner>,
}

struct Inner {
    newest: Version,
    last: Option<Ticket>,
}

impl Store {
    fn new(fails_at: u64) -> Store {
        let newest = Version { number: 0, base: 0 };
        let log = Log {
            appended: AtomicU64::new(0),
            durable: AtomicU64::new(0),
            syncing: AtomicBool::new(false),
            syncs: AtomicU64::new(0),
            failed: AtomicBool::new(false),
            fails_at,
        };
        let inner = Mutex::new(Inner { newest, last: None });
        Store { log, committer: Committer::new(Arc::new(newest)), inner }
    }

    fn append(&self) -> (Ticket, u64) {
        let mut inner = self.inner.lock().expect("unharmed");
        inner.newest.number += 1;
        let number = inner.newest.number;
        self.log.appended.store(number, SeqCst);
        let ticket = self.committer.written(Arc::new(inner.newest));
        inner.last = Some(ticket);
        (ticket, number)
    }

    /// Waits for a version and checks what it was promised. Returns whether it is durable.
    fn wait(&self, ticket: Ticket, number: u64) -> bool {
        match self.committer.wait(ticket, || self.log.sync()) {
            Ok(()) => {
                assert!(self.log.durable.load(SeqCst) >= number, "acknowledged and not durable");
                assert!(self.committer.pin().number >= number, "acknowledged and not visible");
                true
            }
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::StorageFull);
                assert!(self.log.failed.load(SeqCst), "an error without a failed sync");
                false
            }
        }
    }

    /// Replaces the newest version by one of the same content, made of a new register file: as `Writer` does it, when
    /// everything is durable, or while a sync may be in progress.
    fn checkpoint(&self, when_durable: bool) {
        let mut inner = self.inner.lock().expect("unharmed");
        let number = inner.newest.number;
        if when_durable && inner.last.is_some_and(|last| !self.wait(last, number)) {
            return;
        }
        inner.newest.base = number;
        self.committer.replace(Arc::new(inner.newest));
        if when_durable {
            assert_eq!(*self.committer.pin(), inner.newest, "the old register file is still held");
        }
    }

    /// Reads the published version, some times.
    fn read(&self, times: usize) {
        let mut before = Version { number: 0, base: 0 };
        for _ in 0..times {
            let seen = *self.committer.pin();
            assert!(seen.number <= self.log.durable.load(SeqCst), "seen and not durable");
            assert!(seen.number >= before.number && seen.base >= before.base, "{before:?}, then {seen:?}");
            before = seen;
        }
    }
}

/// The threads that run at the same time.
#[derive(Clone, Copy)]
struct Model {
    versions: u64,
    waiters: usize,
    readers: usize,
    checkpoints: usize,
    when_durable: bool,
    fails_at: u64,
}

impl Model {
    fn run(self) {
        let store = Arc::new(Store::new(self.fails_at));
        let mut threads = Vec::new();
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..self.waiters).map(|_| channel()).unzip();
        for tickets in receivers {
            let store = Arc::clone(&store);
            threads.push(thread::spawn(move || wait_for_all(&store, &tickets)));
        }
        for _ in 0..self.readers {
            let store = Arc::clone(&store);
            threads.push(thread::spawn(move || store.read(3)));
        }
        if self.checkpoints > 0 {
            let store = Arc::clone(&store);
            threads.push(thread::spawn(move || {
                (0..self.checkpoints).for_each(|_| store.checkpoint(self.when_durable));
            }));
        }
        for (_, sender) in (0..self.versions).zip(senders.iter().cycle()) {
            sender.send(store.append()).expect("somebody waits");
        }
        drop(senders);
        threads.into_iter().for_each(|thread| thread.join().expect("no promise was broken"));
        self.check_end(&store);
    }

    /// After all threads have ended.
    fn check_end(self, store: &Store) {
        let (durable, seen) = (store.log.durable.load(SeqCst), *store.committer.pin());
        assert!(store.log.syncs.load(SeqCst) <= self.versions, "a needless sync");
        if store.log.failed.load(SeqCst) {
            assert!(seen.number <= durable, "a failed sync has published something");
            let (ticket, number) = store.append();
            assert!(!store.wait(ticket, number), "after a failed sync nothing is committed");
            assert_eq!(*store.committer.pin(), seen);
        } else {
            assert_eq!(durable, self.versions);
            assert_eq!(seen, store.inner.lock().expect("unharmed").newest);
        }
    }
}

/// Waits for one version after another, and once more for the first: it is durable for good.
fn wait_for_all(store: &Store, tickets: &Receiver<(Ticket, u64)>) {
    let mut waited: Vec<(Ticket, u64, bool)> = Vec::new();
    for (ticket, number) in tickets.iter() {
        waited.push((ticket, number, store.wait(ticket, number)));
    }
    if let Some(&(ticket, number, durable)) = waited.first() {
        assert_eq!(store.wait(ticket, number), durable);
    }
    assert!(waited.is_sorted_by_key(|(_, _, durable)| !durable), "durable after one that is not");
}

/// Random interleavings, and those with few switches at the worst moments.
fn check(model: Model, iterations: usize) {
    shuttle::check_random(move || model.run(), iterations);
    shuttle::check_pct(move || model.run(), iterations, 3);
}

const EVERYTHING: Model =
    Model { versions: 4, waiters: 3, readers: 1, checkpoints: 0, when_durable: true, fails_at: 0 };

#[test]
fn exactly_the_acknowledged_versions_are_durable_and_visible() {
    check(EVERYTHING, 3000);
    check(Model { waiters: 2, readers: 2, ..EVERYTHING }, 2000);
}

/// A checkpoint as `Writer` makes it, and one that does not wait: the next sync publishes it.
#[test]
fn a_checkpoint_replaces_the_newest_version() {
    for when_durable in [true, false] {
        check(Model { checkpoints: 2, when_durable, waiters: 2, ..EVERYTHING }, 2000);
    }
}

#[test]
fn a_failed_sync_fails_all_waiters_and_publishes_nothing() {
    for (fails_at, when_durable) in [(1, true), (2, true), (2, false)] {
        check(Model { fails_at, checkpoints: 1, when_durable, ..EVERYTHING }, 1500);
    }
}

/// The smallest case with a leader and a follower, in as many interleavings as time allows.
#[test]
fn two_versions_and_two_waiters_in_every_order() {
    let smallest =
        Model { versions: 2, waiters: 2, readers: 0, checkpoints: 0, when_durable: true, fails_at: 0 };
    shuttle::check_dfs(move || smallest.run(), Some(20_000));
    shuttle::check_dfs(move || Model { fails_at: 1, ..smallest }.run(), Some(20_000));
}
