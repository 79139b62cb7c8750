//! Memory of versions of a register: a reader that keeps one version keeps that one only, and nothing of the thousands
//! that follow.
//!
//! A separate binary with one test, because it counts the bytes that its process has from the allocator. Mapped memory
//! (register files, untouched zeros) is not counted.
#![allow(unsafe_code)]

#[path = "it/support/recipients.rs"]
mod recipients;

use jiff::civil::date;
use nabar::identities::Ordinal;
use nabar::register::{Answer, Kind, Register};
use nabar::store::{Lines, Reader, Writer};
use recipients::{init, recipients};
use std::alloc::{GlobalAlloc, Layout, System};
use std::fmt::Write;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The system's allocator, and how much of it is in use.
struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator as it came, and counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise about the layout is the required one.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the pointer came from `alloc` with this layout, so from the system's allocator.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn live() -> usize {
    LIVE.load(Ordering::Relaxed)
}

/// Recipients that change repeatedly, in turn. They are in some 1900 blocks.
const RECIPIENTS: usize = 4000;
const BATCH: usize = 1000;
const CHANGES: usize = 1_000_000;
const FIRST: usize = 1000;
/// Tolerance: capacities of buffers, thread locals, values that are made once and kept.
const SLACK: usize = 512 << 10;

/// Changes of batch `number`, from 0: varied states, rules and times, but no new ones after a while.
fn batch(ids: &[String], number: usize) -> Lines {
    let mut text = String::with_capacity(BATCH * 300);
    for change in number * BATCH..(number + 1) * BATCH {
        let (id, round) = (&ids[change % RECIPIENTS], change / RECIPIENTS);
        let sort = change % RECIPIENTS + 7 * round;
        let (account, pending) = (["Secure", "Not"][sort % 2], sort.is_multiple_of(3));
        let operator = ["164921000016", "164921079770", "164921159564", "164921239341"][sort % 4];
        let exceptions =
            ["", "\"164821000025\"", "\"164821000108\"", "\"164821000181\",\"164821000306\""][sort % 11 % 4];
        let second = change % 86_400;
        let time = format!("2026-06-02T{:02}:{:02}:{:02}Z", second / 3600, second / 60 % 60, second % 60);
        writeln!(
            text,
            "{{\"sequence\":{},\"time\":\"{time}\",\"put_recipient\":{{\"recipient_id\":\"{id}\",\"type\":\"{account}\",\
             \"pending\":{pending},\"operator_id\":\"{operator}\",\"last_registration\":\"{time}\",\
             \"exceptions\":[{exceptions}]}}}}",
            FIRST + change + 1
        )
        .expect("written");
    }
    Lines::parse(text.as_bytes(), Kind::Far)
}

/// All answers of a version.
fn answers(register: &Register, ordinals: &[Ordinal]) -> Vec<Answer> {
    let mut answers = vec![Answer::default(); ordinals.len()];
    let question = register.question(Some("164821000025"), date(2026, 6, 1)).expect("asked");
    question.ask_all(ordinals, &mut answers).expect("undamaged");
    answers
}

#[test]
fn a_kept_version_holds_no_memory_of_other_versions() {
    let work = tempfile::tempdir().expect("directory");
    let recipients = recipients(RECIPIENTS);
    let ordinals: Vec<Ordinal> = recipients.iter().map(|(_, identity)| identity.ordinal()).collect();
    let ids: Vec<String> = recipients.iter().map(|(id, _)| id.clone()).collect();
    // A first run for allocations made once per process: threads, tables.
    for name in ["warm", "far"] {
        init(&recipients, &work.path().join(name));
    }
    let warm = Writer::open(work.path().join("warm")).expect("opened");
    (0..4).for_each(|number| _ = warm.apply(batch(&ids, number), None).expect("applied"));
    warm.checkpoint(false).expect("made");
    answers(&warm.register(), &ordinals);
    drop(warm);

    let start = live();
    let directory = work.path().join("far");
    let writer = Writer::open(&directory).expect("opened");
    let opened = live() - start;
    // Every recipient has changed, and all states and rules have occurred.
    let warmed = 12 * RECIPIENTS / BATCH;
    (0..warmed).for_each(|number| _ = writer.apply(batch(&ids, number), None).expect("applied"));
    let version = live() - start - opened;
    let (blocks, bytes) = writer.register().changed();
    assert!(
        bytes <= version && version <= 2 * bytes + SLACK,
        "{blocks} blocks of {bytes} bytes, {version} in use"
    );

    let kept = writer.register();
    let message = answers(&kept, &ordinals);
    let mut reader = Reader::open(&directory).expect("opened");
    let following = live() - start - opened - version;
    let mut highest = 0;
    for number in warmed..CHANGES / BATCH {
        writer.apply(batch(&ids, number), None).expect("applied");
        if number % 50 == 0 {
            assert!(reader.refresh().expect("read"));
        }
        let newest = writer.register().changed();
        assert!(
            newest.0 == blocks && newest.1 <= bytes + bytes / 10,
            "batch {number}: {newest:?}, {bytes} before"
        );
        highest = highest.max(live() - start);
    }
    // The kept version, the newest, and the reader's.
    let most = opened + following + 2 * version + version / 4 + SLACK;
    println!("opened {opened}, a version {version}, a reader {following}, most {highest} of {most} bytes");
    assert!(highest <= most, "{highest} bytes, {most} expected");
    assert!(answers(&kept, &ordinals) == message, "it has not changed");
    assert!(answers(&writer.register(), &ordinals) != message);

    drop(message);
    drop(reader);
    drop(kept);
    let left = live() - start;
    assert!(left <= opened + version + version / 4 + SLACK, "{left} bytes after the readers have left");
    writer.checkpoint(false).expect("made");
    assert_eq!(writer.register().changed(), (0, 0));
    let left = live() - start;
    assert!(left <= opened + SLACK, "{left} bytes after a checkpoint, {opened} when it was opened");
    drop(writer);
    let left = live().saturating_sub(start);
    assert!(left <= SLACK, "{left} bytes after all have left");
}
