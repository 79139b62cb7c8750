//! A feed with faults and ends of the process. In every case a directory ends with the persons of the register, and readers
//! never see a part of them.

mod fake;

use super::following::run;
use super::page::FeedError;
use super::{FeedSource, FeedTerms};
use crate::register::Register;
use crate::replica::directory::Directory;
use crate::replica::tests::disk::Fault;
use crate::replica::tests::fast_directory;
use crate::replica::{Event, Follow, FollowError};
use crate::source::answer::CallError;
use crate::source::config::FeedTimes;
use crate::store::{self, Reader, Writer};
use crate::time::Time;
use fake::{Fake, KILLED, Scripted, Somebody, everybody, ids, page_text, person_of};
use jiff::SignedDuration;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

const ADDRESS: &str = "https://krr.example";

fn terms() -> FeedTerms<'static> {
    let give_up_after = Duration::from_secs(900);
    FeedTerms { address: ADDRESS, times: FeedTimes::default(), give_up_after, load_log_bytes: 200 }
}

struct Ended {
    result: Result<(), FollowError>,
    events: Vec<Event>,
}

impl Ended {
    fn count(&self, which: impl Fn(&Event) -> bool) -> usize {
        self.events.iter().filter(|event| which(event)).count()
    }
}

fn followed(fake: &Fake, once: bool) -> Ended {
    let follow = Follow { directory: fake.directory.clone(), once, checkpoint_at: 2000 };
    let mut events = Vec::new();
    let result = run(&follow, &terms(), fake, &mut |event| events.push(event));
    Ended { result, events }
}

fn stop() -> FeedError {
    FeedError::Call(CallError::Stop(KILLED.to_owned()))
}

fn gone() -> FeedError {
    FeedError::Gone("status 410".to_owned())
}

fn away() -> FeedError {
    FeedError::Call(CallError::again("away"))
}

fn is_killed(result: &Result<(), FollowError>) -> bool {
    matches!(result, Err(FollowError::FeedRefused(why)) if why == KILLED)
}

fn register(directory: &Path) -> Arc<Register> {
    Reader::open(directory).expect("a data directory").register()
}

/// A directory to follow into, and a register with some persons.
fn begun(seed: u64, changes: u64) -> (TempDir, Fake) {
    let files = fast_directory();
    let fake = Fake::new(&files.path().join("krr"), seed);
    fake.change(changes);
    (files, fake)
}

fn names(directory: &Path) -> Vec<String> {
    let names =
        std::fs::read_dir(directory).expect("readable").map(|entry| entry.expect("an entry").file_name());
    let mut names: Vec<String> = names.map(|name| name.to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn a_directory_converges_after_all_faults() {
    let mut happened = BTreeMap::new();
    for seed in 0..60 {
        let (files, fake) = begun(seed, 60);
        for round in 0..4 {
            fake.faults.set([300, 100, 500, 0][round]);
            for _ in 0..200 {
                let ended = followed(&fake, true);
                match ended.result {
                    Ok(()) => break,
                    Err(FollowError::FeedRefused(_) | FollowError::Untrusted(_)) if fake.faults.get() > 0 => {
                    }
                    Err(FollowError::Unreachable(_)) if fake.faults.get() > 0 => {}
                    Err(error) if fake.disk.get() != Fault::None => {
                        let what =
                            if error.is_full() { "disk full for long" } else { "killed while it wrote" };
                        fake.note(what);
                        fake.disk.set(Fault::None);
                    }
                    Err(error) => panic!("seed {seed}: {error}"),
                }
                if fake.below(20) == 0 {
                    fake.faults.set(0);
                }
            }
            if fake.faults.get() == 0 {
                fake.look();
                let register = register(&fake.directory);
                assert_eq!(everybody(&register), fake.truth(), "seed {seed} round {round}");
                assert_eq!(register.sequence(), fake.latest.get(), "seed {seed}");
                assert_eq!(names(files.path()), [".krr.lock", "krr"], "seed {seed}");
            }
            fake.change(30);
        }
        for (what, count) in fake.happened.into_inner() {
            *happened.entry(what).or_insert(0) += count;
        }
    }
    let expected = [
        "killed",
        "away",
        "another page",
        "cut off",
        "a bad value",
        "gone",
        "away for long",
        "doubles",
        "disk full",
        "killed while it wrote",
        "an empty page before others",
    ];
    for what in expected {
        assert!(happened.contains_key(what), "{what} did not happen: {happened:?}");
    }
}

/// A load that was ended goes on where it was, and the directory appears when it is complete.
#[test]
fn a_full_load_goes_on_and_appears_as_a_whole() {
    let (files, fake) = begun(1, 0);
    for id in ids() {
        fake.put(&id, Somebody { reserved: false, deleted: false, mobile: "+4790000001".to_owned() });
    }
    let fake = fake.with_script(&[Scripted::True, Scripted::True, Scripted::True, Scripted::Error(stop)]);
    assert!(is_killed(&followed(&fake, true).result));
    assert!(!fake.directory.exists() && fake.calls.get() == 4);
    let next = files.path().join(".krr.next");
    let loaded = register(&next).sequence();
    let file = Reader::open(&next).expect("a data directory").register_file();
    assert!(
        loaded > 0 && !file.ends_with("register-00000000000000000000.nabar"),
        "its log is folded meanwhile"
    );
    fake.calls.set(0);
    let ended = followed(&fake, true);
    ended.result.expect("followed");
    let Some(Event::Loading(first, _)) = ended.events.first() else { panic!("{:?}", ended.events) };
    assert!(*first > loaded, "it went on");
    assert_eq!(everybody(&register(&fake.directory)), fake.truth());
    assert_eq!(store::feed_of(&fake.directory).expect("readable").as_deref(), Some(ADDRESS));
    assert!(
        Writer::open(&fake.directory).expect("a writer").log_bytes() == 0,
        "it begins with a register file"
    );
}

/// A damaged directory, and a damaged load that was ended, are loaded again: once without progress.
#[test]
fn a_damaged_directory_is_loaded_again() {
    let (files, fake) = begun(4, 60);
    let damage = |directory: &Path| {
        let file = Reader::open(directory).expect("a data directory").register_file();
        std::fs::write(file, "not a register file").expect("written");
    };
    let alarms = |ended: &Ended| ended.count(|event| matches!(event, Event::Damaged(_)));
    followed(&fake, true).result.expect("loaded");
    fake.change(30);
    damage(&fake.directory);
    fake.is_damaged.set(true);
    let ended = followed(&fake, true);
    assert_eq!(alarms(&ended), 1, "{:?}", ended.events);
    ended.result.expect("loaded again");
    fake.is_damaged.set(false);
    assert_eq!(everybody(&register(&fake.directory)), fake.truth());
    // Without its register file.
    let file = Reader::open(&fake.directory).expect("a data directory").register_file();
    std::fs::remove_file(file).expect("removed");
    fake.seen.set(0);
    followed(&fake, true).result.expect("loaded again");
    assert_eq!(everybody(&register(&fake.directory)), fake.truth());
    // Without the directory, only the load beside it.
    let (_others, other) = begun(1, 60);
    let other = other.with_script(&[Scripted::True, Scripted::True, Scripted::Error(stop)]);
    assert!(is_killed(&followed(&other, true).result));
    damage(&other.directory.with_file_name(".krr.next"));
    let ended = followed(&other, true);
    assert_eq!(alarms(&ended), 1, "{:?}", ended.events);
    ended.result.expect("loaded");
    assert_eq!(everybody(&register(&other.directory)), other.truth());
    assert_eq!(names(files.path()), [".krr.lock", "krr"]);
}

/// While the disk is full, another program puts the copy of another register, or nothing, in place of the directory.
#[test]
fn what_takes_the_place_of_a_directory_on_a_full_disk_is_loaded_again() {
    for removed in [false, true] {
        let (files, fake) = begun(5, 60);
        followed(&fake, true).result.expect("loaded");
        let (_others, other) = begun(6, 90);
        followed(&other, true).result.expect("loaded");
        let beside = files.path().join("other");
        std::fs::rename(&other.directory, &beside).expect("renamed");
        if removed {
            let file = Reader::open(&beside).expect("a data directory").register_file();
            std::fs::remove_file(file).expect("removed");
        }
        fake.change(30);
        *fake.other.borrow_mut() = Some(beside);
        fake.is_damaged.set(true);
        let ended = followed(&fake, true);
        ended.result.as_ref().expect("loaded again");
        assert_eq!(ended.count(|event| matches!(event, Event::Damaged(_))), 1, "{:?}", ended.events);
        assert_eq!(everybody(&register(&fake.directory)), fake.truth());
    }
}

/// The process ends between the two renames that put a complete load in place.
#[test]
fn an_interrupted_exchange_is_completed() {
    let (files, fake) = begun(2, 50);
    followed(&fake, true).result.expect("loaded");
    let (path, next, old) =
        (fake.directory.clone(), files.path().join(".krr.next"), files.path().join(".krr.old"));
    let complete = fake.truth();
    std::fs::rename(&path, &next).expect("renamed");
    store::init(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/krr"), &old).expect("made");
    Directory::new(&path).expect("a directory").complete_exchange().expect("completed");
    assert_eq!(everybody(&register(&path)), complete);
    assert!(!next.exists() && !old.exists());
}

/// A deletion counts although an earlier entry of the page has a later date, and the reverse.
#[test]
fn the_last_entry_of_a_page_counts() {
    let ids = ids();
    for deleted in [true, false] {
        let (_files, fake) = begun(3, 0);
        let somebody =
            |deleted, mobile: &str| Somebody { reserved: false, deleted, mobile: mobile.to_owned() };
        let (first, last) = (somebody(!deleted, "+4790000001"), somebody(deleted, "+4790000002"));
        let mut list =
            vec![person_of(&ids[0], &first), person_of(&ids[1], &first), person_of(&ids[0], &last)];
        list[0]["kontaktinformasjon"]["mobiltelefonnummer_oppdatert"] = json!("2026-05-31T00:00:00Z");
        fake.latest.set(9);
        let fake = fake.with_script(&[Scripted::Text(page_text(&list, [0, 9, 9]))]);
        followed(&fake, true).result.expect("followed");
        let found = everybody(&register(&fake.directory));
        assert_eq!(found, BTreeMap::from([(ids[0].clone(), last), (ids[1].clone(), first)]));
    }
}

#[test]
fn empty_pages_advance_durably() {
    let (_files, fake) = begun(4, 20);
    followed(&fake, true).result.expect("loaded");
    let at = fake.latest.get();
    let fake = fake.with_script(&[Scripted::Empty([at, at + 5, at + 9]), Scripted::Error(stop)]);
    assert!(is_killed(&followed(&fake, true).result));
    assert_eq!(register(&fake.directory).sequence(), at + 5);
    // Nothing new is no page: nothing is written.
    fake.latest.set(at + 5);
    let before = Writer::open(&fake.directory).expect("a writer").log_bytes();
    followed(&fake, true).result.expect("level");
    assert_eq!(Writer::open(&fake.directory).expect("a writer").log_bytes(), before);
}

/// Numbers that are gone lead to a full load, and only if that is said repeatedly.
#[test]
fn gone_numbers_lead_to_a_full_load() {
    let (_files, fake) = begun(5, 60);
    followed(&fake, true).result.expect("loaded");
    let fake = fake.with_script(&[Scripted::Error(gone), Scripted::Error(gone), Scripted::True]);
    let ended = followed(&fake, true);
    assert_eq!(ended.count(|event| *event == Event::Behind), 0, "a glitch");
    // A load that got no page is none.
    let refused = [vec![Scripted::Error(gone); 3], vec![Scripted::Error(stop)]].concat();
    let fake = fake.with_script(&refused);
    assert!(is_killed(&followed(&fake, true).result));
    let ended = followed(&fake, true);
    assert_eq!(ended.count(|event| matches!(event, Event::Loading(..))), 0);
    // Persons who have left without a trace stay in no directory.
    let left = fake.persons.borrow_mut().pop_first().expect("a person").0;
    fake.left.set(1);
    let fake = fake.with_script(&[Scripted::Error(gone), Scripted::Error(gone), Scripted::Error(gone)]);
    let ended = followed(&fake, true);
    ended.result.as_ref().expect("followed");
    assert_eq!(ended.count(|event| *event == Event::Behind), 1);
    assert!(ended.count(|event| matches!(event, Event::Loading(..))) > 1);
    let found = everybody(&register(&fake.directory));
    assert!(!found.contains_key(&left) && found == fake.truth());
}

/// A register that does not know the number at the end of its own full load would be loaded forever.
#[test]
fn a_register_that_forgets_its_own_numbers_is_left() {
    let (_files, fake) = begun(6, 60);
    fake.latest.set(1000);
    fake.oldest.set(u64::MAX);
    let forgets = || [vec![Scripted::True], vec![Scripted::Error(gone); 3]].concat();
    let fake = fake.with_script(&[forgets(), forgets(), forgets()].concat());
    match followed(&fake, false).result {
        Err(FollowError::FeedRefused(why)) => assert!(why.contains("its own full load"), "{why}"),
        other => panic!("{other:?}"),
    }
    let fake =
        fake.with_script(&[vec![Scripted::Empty([0, 1000, 1000])], vec![Scripted::Error(gone); 3]].concat());
    std::fs::remove_dir_all(fake.directory.with_file_name(".krr.next")).expect("removed");
    match followed(&fake, false).result {
        Err(FollowError::FeedRefused(why)) => {
            assert!(why.contains("at which its own full load ended"), "{why}")
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn silence_is_an_alarm_once_a_day() {
    let (_files, fake) = begun(7, 20);
    followed(&fake, true).result.expect("loaded");
    let loaded = fake.now();
    // Each failure asks to be left alone for ten minutes: 49 hours.
    let long =
        || FeedError::Call(CallError::Again { why: "503".to_owned(), after: Some(Duration::from_secs(600)) });
    let failures = vec![Scripted::Error(long); 49 * 6];
    let fake = fake.with_script(
        &[failures.clone(), vec![Scripted::True], failures[..6].to_vec(), vec![Scripted::Error(stop)]]
            .concat(),
    );
    let ended = followed(&fake, false);
    assert!(is_killed(&ended.result));
    let alarms: Vec<&Event> = ended.events.iter().filter(|event| matches!(event, Event::Silent(_))).collect();
    assert_eq!(alarms, [&Event::Silent(loaded); 2]);
    assert_eq!(ended.count(|event| matches!(event, Event::Waiting(_))), 2);
    assert_eq!(ended.count(|event| *event == Event::AttemptFailed), 49 * 6 + 6);
    // A process that starts after a day's pause, and fails, says so at once.
    fake.clock.set(fake.now().checked_add(SignedDuration::from_hours(25)).expect("a time"));
    let fake = fake.with_script(&[Scripted::Error(away), Scripted::Error(stop)]);
    assert_eq!(followed(&fake, false).count(|event| matches!(event, Event::Silent(_))), 1);
}

/// Waits: the interval after the last page, none between pages, the register's own wish after a failure.
#[test]
fn the_register_is_asked_at_its_pace() {
    let (_files, fake) = begun(8, 60);
    let long =
        || FeedError::Call(CallError::Again { why: "503".to_owned(), after: Some(Duration::from_secs(77)) });
    followed(&fake, true).result.expect("loaded");
    assert!(fake.pauses.borrow().is_empty());
    let fake =
        fake.with_script(&[Scripted::True, Scripted::Error(long), Scripted::True, Scripted::Error(stop)]);
    assert!(is_killed(&followed(&fake, false).result));
    let minutes = Duration::from_secs(300);
    assert_eq!(*fake.pauses.borrow(), [minutes, Duration::from_secs(77), minutes]);
}

#[test]
fn once_gives_up_and_errors_that_do_not_pass_end() {
    for (error, attempts) in [
        (away as fn() -> FeedError, None),
        (|| FeedError::Call(CallError::BadAnswer("bad".to_owned())), Some(5)),
        (|| FeedError::Call(CallError::TokenRefused("401".to_owned())), Some(2)),
        (stop, Some(1)),
    ] {
        let (_files, fake) = begun(9, 20);
        let fake = fake.with_script(&vec![Scripted::Error(error); 1000]);
        assert!(followed(&fake, true).result.is_err());
        if let Some(attempts) = attempts {
            assert_eq!(fake.calls.get(), attempts);
        } else {
            let waited: Duration = fake.pauses.borrow().iter().sum();
            assert!((900..=960).contains(&waited.as_secs()), "{waited:?}");
        }
    }
    // A single refusal of a token is none: it had ended.
    let (_files, fake) = begun(9, 20);
    let refused = || FeedError::Call(CallError::TokenRefused("401".to_owned()));
    let script = [Scripted::Error(refused), Scripted::True, Scripted::Error(refused), Scripted::True];
    followed(&fake.with_script(&script), true).result.expect("followed");
}

/// What a directory must be to follow a feed.
#[test]
fn other_directories_are_refused_and_stay() {
    let fixture = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name);
    let refusal = |make: &dyn Fn(&Path)| {
        let (_files, fake) = begun(10, 20);
        make(&fake.directory);
        let before = names(&fake.directory);
        let error = followed(&fake, true).result.expect_err("refused").to_string();
        assert_eq!((names(&fake.directory), fake.calls.get()), (before, 0));
        error
    };
    let init = |name: &str, path: &Path| drop(store::init(fixture(name), path).expect("made"));
    assert!(refusal(&|path| init("far", path)).contains("has a register of FaR"));
    let mark = |name: &'static str| {
        refusal(&move |path: &Path| {
            init("krr", path);
            std::fs::write(path.join(name), "https://other.example\n").expect("written");
        })
    };
    assert!(mark("feed-of").contains("follows the feed of https://other.example"));
    assert!(mark("replica-of").contains("is a replica"));
    assert!(mark("notes.txt").contains("files that nabar has not made"));
    let occupied = refusal(&|path| {
        std::fs::create_dir(path).expect("made");
        std::fs::write(path.join("thesis"), "years").expect("written");
    });
    assert!(occupied.contains("not empty"), "{occupied}");
}

/// The register of an export follows the feed from its own number; an empty one is loaded beside it.
#[test]
fn a_register_of_an_export_goes_on() {
    let (_files, fake) = begun(11, 20);
    store::init(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/krr"), &fake.directory).expect("made");
    let before = everybody(&register(&fake.directory)).len();
    fake.latest.set(1000);
    let id = &ids()[0];
    fake.put(id, Somebody { reserved: true, deleted: false, mobile: "+4790000001".to_owned() });
    let ended = followed(&fake, true);
    ended.result.as_ref().expect("followed");
    assert_eq!(ended.count(|event| matches!(event, Event::Loading(..))), 0);
    let found = everybody(&register(&fake.directory));
    assert!(found[id].reserved && (before..=before + 1).contains(&found.len()));
    assert_eq!(store::feed_of(&fake.directory).expect("readable").as_deref(), Some(ADDRESS));

    let (files, fake) = begun(12, 60);
    fake.seen.set(0);
    let empty = crate::snapshot::krr::KrrDraft::default().finish(0, fake.now());
    let file = files.path().join("empty.nabar");
    empty.write(&file).expect("written");
    store::init(&file, &fake.directory).expect("made");
    let fake = fake.with_script(&[Scripted::True, Scripted::True, Scripted::Error(stop)]);
    assert!(is_killed(&followed(&fake, true).result));
    assert!(everybody(&register(&fake.directory)).is_empty(), "readers see all persons or none");
    followed(&fake, true).result.expect("followed");
    assert_eq!(everybody(&register(&fake.directory)), fake.truth());
}

/// A page that does not fit the directory is refused as a whole.
#[test]
fn nothing_of_a_bad_page_is_stored() {
    let (_files, fake) = begun(13, 20);
    followed(&fake, true).result.expect("loaded");
    let before = everybody(&register(&fake.directory));
    let (at, ids) = (fake.latest.get(), ids());
    let good =
        person_of(&ids[0], &Somebody { reserved: true, deleted: true, mobile: "+4790000009".to_owned() });
    let mut bad = good.clone();
    bad["reservasjon"] = json!("KANSKJE");
    let long = person_of(&ids[1], &Somebody { reserved: true, deleted: true, mobile: "9".repeat(70_000) });
    for second in [bad, long] {
        let text = page_text(&[good.clone(), second], [at, at + 1, at + 1]);
        let fake = Fake::new(&fake.directory, 14).with_script(&vec![Scripted::Text(text); 5]);
        fake.latest.set(at);
        assert!(matches!(followed(&fake, true).result, Err(FollowError::Untrusted(_))));
        assert_eq!(everybody(&register(&fake.directory)), before);
    }
}

#[test]
fn the_times_of_the_source_file_are_used() {
    let times = FeedTimes { max_silence: Time(SignedDuration::from_secs(1)), ..FeedTimes::default() };
    let (_files, fake) = begun(15, 20);
    followed(&fake, true).result.expect("loaded");
    let fake = fake.with_script(&[vec![Scripted::Error(away); 6], vec![Scripted::Error(stop)]].concat());
    let follow = Follow { directory: fake.directory.clone(), once: false, checkpoint_at: 2000 };
    let mut alarms = 0;
    let terms = FeedTerms { times, ..terms() };
    let result =
        run(&follow, &terms, &fake, &mut |event| alarms += usize::from(matches!(event, Event::Silent(_))));
    assert!(is_killed(&result) && alarms > 0);
}
