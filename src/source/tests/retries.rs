//! When calls are made again, with a register that answers as a script says.

use super::super::answer::{Answers, CallError};
use super::super::asking::{self, Ask, Asked, Place};
use super::super::config::SourceLimits;
use super::super::journal::Journal;
use super::super::{AskProgress, SourceError};
use super::{collected, model, subject_of};
use crate::changes::ChangeBody;
use crate::identities::Ordinal;
use crate::register::Kind;
use crate::replica::tests::fast_directory;
use crate::replica::tests::random::Random;
use crate::time::Time;
use jiff::{SignedDuration, Timestamp};
use std::collections::VecDeque;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::runtime::Builder;
use tokio::time::{Instant, sleep};

/// A register whose calls fail as a script says, and are answered at its end.
#[derive(Clone)]
struct Scripted {
    failures: Arc<Mutex<VecDeque<CallError>>>,
    /// When calls were made.
    calls: Arc<Mutex<Vec<Instant>>>,
}

impl Ask for Scripted {
    async fn call(&self, ids: &[Ordinal], _place: &mut Place) -> Result<Answers, CallError> {
        self.calls.lock().expect("no panic").push(Instant::now());
        // Meanwhile the other calls take their turns.
        sleep(Duration::from_millis(1)).await;
        match self.failures.lock().expect("no panic").pop_front() {
            Some(failure) => Err(failure),
            None => Ok(Answers {
                answers: ids.iter().map(|id| ChangeBody::Remove(*id)).collect(),
                operators: Vec::new(),
            }),
        }
    }
}

impl AskProgress for Scripted {}

/// Asks for ids; returns when calls were made, in seconds from the first one.
fn ask(
    ids: usize,
    limits: &SourceLimits,
    failures: Vec<CallError>,
) -> (Result<Asked, SourceError>, Vec<u64>) {
    let directory = fast_directory();
    let register = Scripted { failures: Arc::new(Mutex::new(failures.into())), calls: Arc::default() };
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    let ids = model::ids(Kind::Krr, &mut Random::new(1), ids);
    let mut job = collected(Kind::Krr, &directory.path().join("run.journal"), &ids, Timestamp::MIN);
    let asked = asking::ask(&register, job.left(), limits, &mut job, (&runtime, &register));
    let calls = register.calls.lock().expect("no panic");
    (asked, calls.iter().map(|call| call.duration_since(calls[0]).as_secs()).collect())
}

fn limits(ids_per_call: usize, calls_in_flight: usize, ids_per_second: u32) -> SourceLimits {
    SourceLimits {
        ids_per_call: NonZeroUsize::new(ids_per_call).expect("not 0"),
        calls_in_flight: NonZeroUsize::new(calls_in_flight).expect("not 0"),
        ids_per_second: NonZeroU32::new(ids_per_second),
        ..SourceLimits::default()
    }
}

/// A job that asks slowly waits for longer than a register may be silent.
#[test]
fn the_time_between_calls_is_no_silence() {
    let give_up_after = Time(SignedDuration::from_millis(500));
    let limits = SourceLimits { give_up_after, ..limits(10, 1, 1) };
    // A call has no more ids than a second.
    let (asked, calls) = ask(3, &limits, Vec::new());
    assert_eq!(asked.expect("answered"), Asked { ids: 3, calls: 3, retries: 0 });
    assert_eq!(calls, [0, 1, 2]);
    // The first call fails once, and again when it is the turn of its ids.
    let (asked, calls) = ask(1, &limits, vec![CallError::again("once")]);
    assert_eq!(asked.expect("answered"), Asked { ids: 1, calls: 2, retries: 1 });
    assert_eq!(calls, [0, 1]);
}

/// That it refuses each id is no fault of the ids.
#[test]
fn a_register_that_refuses_all_ids_is_not_asked_for_all() {
    let failures = || (0..10_000).map(|_| CallError::BadIds).collect();
    let (asked, calls) = ask(1000, &limits(100, 1, 0), failures());
    assert!(
        matches!(asked, Err(SourceError::SenderRefused(why)) if why.contains("each of the first 100 ids"))
    );
    assert!(calls.len() < 250, "{}", calls.len());
    let (asked, _) = ask(99, &limits(100, 1, 0), failures());
    assert_eq!(asked.expect("refused one by one").ids, 99);
}

#[test]
fn a_register_that_stays_away_ends_the_job() {
    let failures = (0..1000).map(|_| CallError::again("away")).collect();
    let (asked, calls) = ask(10, &limits(10, 1, 0), failures);
    match asked {
        Err(SourceError::Away { why, silence }) => {
            assert_eq!(why, "away");
            assert!((900..960).contains(&silence.as_secs()), "{silence:?}");
        }
        other => panic!("{other:?}"),
    }
    assert!(*calls.last().expect("calls") >= 900);
}

/// A register in trouble may say that it can be asked at once: the delays grow all the same.
#[test]
fn a_register_that_wants_no_delay_gets_one() {
    let at_once = || CallError::Again { why: "busy".to_owned(), after: Some(Duration::ZERO) };
    let (asked, calls) = ask(10, &limits(10, 1, 0), (0..9).map(|_| at_once()).collect());
    assert_eq!(asked.expect("answered").retries, 9);
    assert!(*calls.last().expect("calls") >= 20, "{calls:?}");
}

/// A call that waits for its turn waits longer if the register refuses another one meanwhile.
#[test]
fn a_register_that_wants_to_be_left_alone_is() {
    let later = CallError::Again { why: "later".to_owned(), after: Some(Duration::from_secs(60)) };
    let (asked, calls) = ask(30, &limits(10, 3, 10), vec![later]);
    assert_eq!(asked.expect("answered"), Asked { ids: 30, calls: 4, retries: 1 });
    assert_eq!(calls[0], 0);
    assert!(calls[1..].iter().all(|call| *call >= 60), "{calls:?}");
}

/// A token ends while a job runs, and a job runs long: only a new token that is refused at once ends it.
#[test]
fn a_token_may_end_more_than_once() {
    let refused = || CallError::TokenRefused("the token".to_owned());
    let failures = vec![refused(), CallError::again("busy"), refused()];
    let (asked, _) = ask(10, &limits(10, 1, 0), failures);
    assert_eq!(asked.expect("answered").retries, 3);
    let (asked, calls) = ask(10, &limits(10, 1, 0), vec![refused(), refused()]);
    assert!(matches!(asked, Err(SourceError::Refused(why)) if why == "the token"));
    assert_eq!(calls.len(), 2);
}

/// Answers that do not fit are asked for again five times in all, and the job ends for these ids only.
#[test]
fn answers_that_never_fit_end_the_job() {
    let failures = |count| (0..count).map(|_| CallError::BadAnswer("it does not fit".to_owned())).collect();
    let (asked, _) = ask(10, &limits(10, 1, 0), failures(4));
    assert_eq!(asked.expect("answered"), Asked { ids: 10, calls: 5, retries: 4 });
    let (asked, _) = ask(10, &limits(10, 1, 0), failures(5));
    assert!(matches!(asked, Err(SourceError::BadAnswer { attempts: 5, .. })));
}

#[test]
fn a_register_that_takes_fewer_ids_gets_fewer() {
    let (asked, _) = ask(80, &limits(40, 1, 0), vec![CallError::TooMany, CallError::TooMany]);
    // 40, 20, then the first chunk in four calls of 10, and the other one too.
    assert_eq!(asked.expect("answered"), Asked { ids: 80, calls: 10, retries: 0 });
    let (asked, _) = ask(1, &limits(40, 1, 0), vec![CallError::TooMany]);
    assert!(matches!(asked, Err(SourceError::Refused(why)) if why.contains("not even one")));
}

/// A register that answers at once, and counts the ids that it answered.
#[derive(Clone, Default)]
struct Quick(Arc<AtomicU64>);

impl Ask for Quick {
    async fn call(&self, ids: &[Ordinal], _place: &mut Place) -> Result<Answers, CallError> {
        self.0.fetch_add(ids.len() as u64, Ordering::SeqCst);
        let answers = ids.iter().map(|id| ChangeBody::Remove(*id)).collect();
        Ok(Answers { answers, operators: Vec::new() })
    }
}

/// While the job writes to its journal, the register answers as much as it may; then the job is interrupted.
impl AskProgress for Quick {
    fn answered(&self, ids: u64, _total: u64, _asked: Asked) {
        let ahead = 2;
        // It may have been given no more.
        let waits = (0..100_000).take_while(|_| self.0.load(Ordering::SeqCst) < ids + ahead);
        waits.for_each(|_| std::thread::yield_now());
        // One call more would be one whose answer has no place.
        (0..10_000).for_each(|_| std::thread::yield_now());
    }

    fn interrupted(&self) -> bool {
        self.0.load(Ordering::SeqCst) > 0
    }
}

/// An answer that was given is in the journal, also if the job ends while answers wait to be written.
#[test]
fn answers_that_wait_for_the_journal_are_not_lost() {
    let directory = fast_directory();
    let path = directory.path().join("run.journal");
    let (register, limits) = (Quick::default(), limits(1, 1, 0));
    let runtime = asking::runtime(&limits).expect("a runtime");
    let ids = model::ids(Kind::Krr, &mut Random::new(1), 1000);
    let mut job = collected(Kind::Krr, &path, &ids, Timestamp::MIN);
    let asked = asking::ask(&register, job.left(), &limits, &mut job, (&runtime, &register));
    drop(job);
    let journal = Journal::open(&path, &subject_of(Kind::Krr)).expect("a journal");
    assert!(matches!(asked, Err(SourceError::Interrupted)));
    let mut written = 0;
    journal.for_each(|_, _, _| written += 1).expect("whole");
    assert_eq!(written, register.0.load(Ordering::SeqCst));
}
