//! When a replica gives up a source that does not answer, told without waiting: the times that it would have waited for.

use super::model::{FIRST, begin};
use super::place_for_files;
use crate::register::Register;
use crate::replica::following::run;
use crate::replica::{Event, Follow, FollowError, Offer, Source, Told};
use std::cell::RefCell;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

/// A source that says one thing after another, and then always the last.
struct Script {
    says: RefCell<Vec<Says>>,
    pauses: RefCell<Vec<Duration>>,
}

#[derive(Clone, Copy)]
enum Says {
    /// It does not answer.
    Away,
    /// What is not signed.
    Unsigned,
    /// That there is more to come, and nothing of it.
    NoMore,
    /// That it does not want to.
    No,
}

impl Script {
    fn of(says: &[Says]) -> Script {
        let says = says.iter().rev().copied().collect();
        Script { says: RefCell::new(says), pauses: RefCell::default() }
    }

    fn says(&self) -> Result<(), FollowError> {
        let mut says = self.says.borrow_mut();
        let now = if says.len() > 1 { says.pop() } else { says.last().copied() };
        match now.expect("something") {
            Says::Away => Err(FollowError::Away("nothing comes".to_owned())),
            Says::Unsigned => Err(FollowError::Untrusted("it is not signed".to_owned())),
            Says::NoMore => Ok(()),
            Says::No => Err(FollowError::Refused { status: 403, detail: "no".to_owned() }),
        }
    }
}

impl Source for Script {
    fn offer(&self) -> Result<Offer, FollowError> {
        self.says().map(|()| panic!("it has no register file"))
    }

    fn snapshot(&self, _: &Offer, _: u64) -> Result<Option<Box<dyn Read + '_>>, FollowError> {
        panic!("nothing is offered")
    }

    fn changes(&self, here: &Register, _: usize, _: Duration) -> Result<Told, FollowError> {
        let (to, latest) = (here.sequence(), here.sequence() + 1);
        self.says()?;
        Ok(Told { register: "far".to_owned(), changes: Vec::new(), to, latest, content: None })
    }

    fn pause(&self, time: Duration) {
        self.pauses.borrow_mut().push(time);
    }
}

/// How following ended, what was told, and for how long it was waited.
struct Ended {
    result: Result<(), FollowError>,
    told: Vec<Event>,
    pauses: Vec<Duration>,
}

fn followed(directory: &Path, once: bool, says: &[Says]) -> Ended {
    let (source, mut told) = (Script::of(says), Vec::new());
    let follow = Follow { directory: directory.to_owned(), once, checkpoint_at: u64::MAX };
    let result = run(&follow, &source, &mut |event| told.push(event));
    Ended { result, told, pauses: source.pauses.into_inner() }
}

/// A replica that is there, and a place where there is none.
fn places() -> (TempDir, [PathBuf; 2]) {
    let files = place_for_files();
    let places = ["replica", "new"].map(|name| files.path().join(name));
    begin(&places[0]);
    std::fs::write(places[0].join("replica-of"), "far\n").expect("written");
    (files, places)
}

fn count(told: &[Event], which: impl Fn(&Event) -> bool) -> usize {
    told.iter().filter(|event| which(event)).count()
}

fn away(event: &Event) -> bool {
    matches!(event, Event::Away(_))
}

fn untrusted(event: &Event) -> bool {
    matches!(event, Event::Untrusted(_))
}

/// A job that runs by the clock ends by itself, after a minute or so, and not before the source has had time to start.
#[test]
fn who_is_to_end_gives_up_who_does_not_answer() {
    let (_files, [replica, new]) = places();
    for place in [&replica, &new] {
        let ended = followed(place, true, &[Says::Away]);
        assert!(matches!(ended.result, Err(FollowError::Away(_))), "{:?}", ended.result);
        let waited: Duration = ended.pauses.iter().sum();
        assert!((20..=60).contains(&waited.as_secs()), "{:?}", ended.pauses);
        assert_eq!(count(&ended.told, away), 1, "{:?}", ended.told);
    }
    assert!(!new.exists(), "nothing was begun");
}

/// Each time twice as long, up to 30 s, less up to a half by chance.
#[test]
fn who_follows_on_asks_again_for_ever() {
    let (_files, [replica, new]) = places();
    for place in [&replica, &new] {
        let ended = followed(place, false, &[[Says::Away; 100].as_slice(), &[Says::No]].concat());
        assert!(matches!(ended.result, Err(FollowError::Refused { .. })), "{:?}", ended.result);
        assert_eq!(ended.pauses.len(), 100);
        for (place, &pause) in ended.pauses.iter().enumerate() {
            let longest = Duration::from_millis(100 << place.min(20)).min(Duration::from_secs(30));
            assert!((longest / 2..=longest).contains(&pause), "{place}: {pause:?}");
        }
        assert_eq!(count(&ended.told, away), 1, "{:?}", ended.told);
    }
}

/// Whatever goes well makes an end of what has failed before: it is told again, and tried as often again.
#[test]
fn what_goes_well_is_a_new_beginning() {
    let (_files, [replica, _]) = places();
    let says = [[Says::Away; 8].as_slice(), &[Says::NoMore], &[Says::Away]].concat();
    let once = followed(&replica, true, &[Says::Away]).pauses.len();
    let ended = followed(&replica, true, &says);
    assert!(matches!(ended.result, Err(FollowError::Away(_))), "{:?}", ended.result);
    assert_eq!(ended.pauses.len(), 8 + once);
    assert_eq!(count(&ended.told, away), 2, "{:?}", ended.told);
    assert!(ended.told.contains(&Event::At(FIRST, FIRST + 1)), "{:?}", ended.told);
}

/// What is not signed will not be the next time: who is to end does so at once, who follows on asks again, and says so
/// once.
#[test]
fn what_is_not_signed_is_an_alarm() {
    let (_files, [replica, new]) = places();
    for place in [&replica, &new] {
        let ended = followed(place, true, &[Says::Unsigned]);
        assert!(matches!(ended.result, Err(FollowError::Untrusted(_))), "{:?}", ended.result);
        assert_eq!(ended.pauses, [Duration::ZERO; 0]);
        let ended = followed(place, false, &[[Says::Unsigned; 20].as_slice(), &[Says::No]].concat());
        assert_eq!((ended.pauses.len(), count(&ended.told, untrusted)), (20, 1), "{:?}", ended.told);
    }
}

/// It is an alarm as well when the source was away just before.
#[test]
fn what_is_not_signed_is_an_alarm_after_whatever_failed() {
    let (_files, [replica, new]) = places();
    for place in [&replica, &new] {
        let ended = followed(place, false, &[Says::Away, Says::Unsigned, Says::No]);
        assert_eq!(count(&ended.told, untrusted), 1, "{:?}", ended.told);
    }
}
