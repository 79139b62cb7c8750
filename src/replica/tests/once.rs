//! When a replica gives up an unreachable source, tested with recorded instead of real delays.

use super::fast_directory;
use super::model::{FIRST, begin};
use crate::changes::{Change, json};
use crate::register::{Kind, Register};
use crate::replica::following::run;
use crate::replica::{ChangeBatch, Event, Follow, FollowError, Offer, Source};
use std::cell::RefCell;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

/// A source that gives scripted responses, and then repeats the last one.
struct Script {
    says: RefCell<Vec<Scripted>>,
    pauses: RefCell<Vec<Duration>>,
}

#[derive(Clone, Copy)]
enum Scripted {
    /// It is unreachable.
    Unreachable,
    /// A response without signature.
    Unsigned,
    /// Later changes exist, but none are sent.
    NoChanges,
    /// Later changes exist, and the next one is sent.
    OneChange,
    /// It refuses.
    Refuses,
}

impl Script {
    fn of(says: &[Scripted]) -> Script {
        let says = says.iter().rev().copied().collect();
        Script { says: RefCell::new(says), pauses: RefCell::default() }
    }

    fn says(&self) -> Result<Scripted, FollowError> {
        let mut says = self.says.borrow_mut();
        let now = if says.len() > 1 { says.pop() } else { says.last().copied() };
        let now = now.expect("something");
        match now {
            Scripted::Unreachable => Err(FollowError::Unreachable("no response".to_owned())),
            Scripted::Unsigned => Err(FollowError::Untrusted("it is not signed".to_owned())),
            Scripted::NoChanges | Scripted::OneChange => Ok(now),
            Scripted::Refuses => Err(FollowError::Refused { status: 403, detail: "no".to_owned() }),
        }
    }
}

impl Source for Script {
    fn offer(&self) -> Result<Offer, FollowError> {
        self.says().map(|_| panic!("it has no register file"))
    }

    fn snapshot(&self, _: &Offer, _: u64) -> Result<Option<Box<dyn Read + '_>>, FollowError> {
        panic!("nothing is offered")
    }

    fn changes(&self, here: &Register, _: usize, _: Duration) -> Result<ChangeBatch, FollowError> {
        let (from, to) = (here.sequence(), here.sequence() + 1);
        let (changes, to) = match self.says()? {
            Scripted::OneChange => (vec![change(from, to)], to),
            _ => (Vec::new(), from),
        };
        let latest = from + 2;
        Ok(ChangeBatch { register: "far".to_owned(), changes, to, latest, content: None })
    }

    fn pause(&self, time: Duration) {
        self.pauses.borrow_mut().push(time);
    }
}

/// Result, events and delays of following.
struct Ended {
    result: Result<(), FollowError>,
    events: Vec<Event>,
    pauses: Vec<Duration>,
}

fn followed(directory: &Path, once: bool, says: &[Scripted]) -> Ended {
    let (source, mut events) = (Script::of(says), Vec::new());
    let follow = Follow { directory: directory.to_owned(), once, checkpoint_at: u64::MAX };
    let result = run(&follow, &source, &mut |event| events.push(event));
    Ended { result, events, pauses: source.pauses.into_inner() }
}

/// A change that uses up the number after `from`.
fn change(from: u64, to: u64) -> Change {
    let line = format!(r#"{{"sequence":{to},"time":"2026-06-01T05:00:00Z","others":{{"previous":{from}}}}}"#);
    json::parse(line.as_bytes(), Kind::Far).expect("a change")
}

/// Paths of an existing replica and of a missing one.
fn paths() -> (TempDir, [PathBuf; 2]) {
    let files = fast_directory();
    let paths = ["replica", "new"].map(|name| files.path().join(name));
    begin(&paths[0]);
    std::fs::write(paths[0].join("replica-of"), "far\n").expect("written");
    (files, paths)
}

fn count(events: &[Event], which: impl Fn(&Event) -> bool) -> usize {
    events.iter().filter(|event| which(event)).count()
}

fn away(event: &Event) -> bool {
    matches!(event, Event::Waiting(_))
}

fn untrusted(event: &Event) -> bool {
    matches!(event, Event::Untrusted(_))
}

/// A scheduled job ends after about a minute, so that the source has time to start.
#[test]
fn once_gives_up_an_unreachable_source() {
    let (_files, [replica, new]) = paths();
    for path in [&replica, &new] {
        let ended = followed(path, true, &[Scripted::Unreachable]);
        assert!(matches!(ended.result, Err(FollowError::Unreachable(_))), "{:?}", ended.result);
        let waited: Duration = ended.pauses.iter().sum();
        assert!((20..=60).contains(&waited.as_secs()), "{:?}", ended.pauses);
        assert_eq!(count(&ended.events, away), 1, "{:?}", ended.events);
    }
    assert!(!new.exists(), "nothing was created");
}

/// The delay doubles up to 30 s, less up to a half at random.
#[test]
fn without_once_an_unreachable_source_is_retried_forever() {
    let (_files, [replica, new]) = paths();
    for path in [&replica, &new] {
        let ended =
            followed(path, false, &[[Scripted::Unreachable; 100].as_slice(), &[Scripted::Refuses]].concat());
        assert!(matches!(ended.result, Err(FollowError::Refused { .. })), "{:?}", ended.result);
        assert_eq!(ended.pauses.len(), 100);
        for (attempt, &pause) in ended.pauses.iter().enumerate() {
            let longest = Duration::from_millis(100 << attempt.min(20)).min(Duration::from_secs(30));
            assert!((longest / 2..=longest).contains(&pause), "{attempt}: {pause:?}");
        }
        assert_eq!(count(&ended.events, away), 1, "{:?}", ended.events);
    }
}

/// After a success, failures are reported again and retried as often as at first.
#[test]
fn a_success_resets_the_backoff() {
    let (_files, [replica, _]) = paths();
    let says =
        [[Scripted::Unreachable; 8].as_slice(), &[Scripted::OneChange], &[Scripted::Unreachable]].concat();
    let once = followed(&replica, true, &[Scripted::Unreachable]).pauses.len();
    let ended = followed(&replica, true, &says);
    assert!(matches!(ended.result, Err(FollowError::Unreachable(_))), "{:?}", ended.result);
    assert_eq!(ended.pauses.len(), 8 + once);
    assert_eq!(count(&ended.events, away), 2, "{:?}", ended.events);
    assert!(ended.events.contains(&Event::Progress(FIRST + 1, FIRST + 2)), "{:?}", ended.events);
    // Reported once when it is away, each failure counted, and once when it is back.
    assert_eq!(count(&ended.events, |event| *event == Event::Reconnected), 1, "{:?}", ended.events);
    assert_eq!(count(&ended.events, |event| *event == Event::AttemptFailed), 8 + once, "{:?}", ended.events);
}

/// A source that says that it has changes, and sends none, is not asked again at once for ever.
#[test]
fn a_source_that_sends_no_changes_is_lost() {
    let (_files, [replica, _]) = paths();
    let ended =
        followed(&replica, false, &[[Scripted::NoChanges; 20].as_slice(), &[Scripted::Refuses]].concat());
    assert_eq!((ended.pauses.len(), count(&ended.events, away)), (20, 1), "{:?}", ended.events);
    let ended = followed(&replica, true, &[Scripted::NoChanges]);
    assert!(matches!(ended.result, Err(FollowError::Unreachable(_))), "{:?}", ended.result);
}

/// An unsigned response is unlikely to be signed later: with `once` following ends at once, otherwise it retries and
/// reports once.
#[test]
fn unsigned_responses_are_an_alarm() {
    let (_files, [replica, new]) = paths();
    for path in [&replica, &new] {
        let ended = followed(path, true, &[Scripted::Unsigned]);
        assert!(matches!(ended.result, Err(FollowError::Untrusted(_))), "{:?}", ended.result);
        assert_eq!(ended.pauses, [Duration::ZERO; 0]);
        let ended =
            followed(path, false, &[[Scripted::Unsigned; 20].as_slice(), &[Scripted::Refuses]].concat());
        assert_eq!((ended.pauses.len(), count(&ended.events, untrusted)), (20, 1), "{:?}", ended.events);
    }
}

/// Also when the source was unreachable just before.
#[test]
fn unsigned_responses_are_an_alarm_after_other_failures() {
    let (_files, [replica, new]) = paths();
    for path in [&replica, &new] {
        let ended = followed(path, false, &[Scripted::Unreachable, Scripted::Unsigned, Scripted::Refuses]);
        assert_eq!(count(&ended.events, untrusted), 1, "{:?}", ended.events);
    }
}
