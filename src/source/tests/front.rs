//! Many clients ask through a front: a simulation with faults, in paused time.

use super::super::answer::{Answers, CallError};
use super::super::asking::{Ask, Caller, Pace, Place};
use super::super::config::SourceLimits;
use super::super::front::desk::{Desk, DeskRules};
use super::super::front::{Counted, FrontAnswer, FrontError, Question};
use super::fake::Fake;
use super::model::{self, Truth, expected, said};
use super::sender_of;
use crate::identities::Ordinal;
use crate::register::Kind;
use crate::replica::tests::random::Random;
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::sleep;

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime")
}

struct World {
    kind: Kind,
    random: Random,
    ids: Vec<Ordinal>,
    truth: Arc<BTreeMap<Ordinal, Truth>>,
    limits: SourceLimits,
    register: Fake,
    desk: Arc<Desk<Fake>>,
    questions: mpsc::Sender<Question>,
    taken: Option<mpsc::Receiver<Question>>,
}

impl World {
    fn new(seed: u64, ids: usize, ids_per_call: usize, refused: u64) -> World {
        let mut random = Random::new(seed);
        let kind = random.one_of(&[Kind::Far, Kind::Krr]);
        let ids = model::ids(kind, &mut random, ids);
        let truth = ids.iter().map(|id| (*id, Truth::random(kind, *id, &mut random, refused)));
        let truth: Arc<BTreeMap<_, _>> = Arc::new(truth.collect());
        let limits = SourceLimits {
            ids_per_call: NonZeroUsize::new(ids_per_call).expect("not 0"),
            calls_in_flight: NonZeroUsize::new(1 + random.below(4) as usize).expect("not 0"),
            ..SourceLimits::default()
        };
        let register = Fake::new(kind, Arc::clone(&truth), limits.clone(), random.next());
        let rules = DeskRules {
            kind,
            sender: sender_of(kind).map(str::to_owned),
            calls_in_flight: limits.calls_in_flight.get(),
            refused: Arc::default(),
            wait: Duration::from_secs(1 << 20),
            probe: None,
            max_age: Duration::from_secs(1 << 40),
            answers: Arc::default(),
            answers_max: usize::MAX,
        };
        let desk = Arc::new(Desk::new(Caller::new(register.clone(), &limits), rules));
        let (questions, taken) = mpsc::channel(64);
        World { kind, random, ids, truth, limits, register, desk, questions, taken: Some(taken) }
    }

    /// Some ids, ascending, each once.
    fn question(&mut self) -> Vec<Ordinal> {
        let count = 1 + self.random.below(5) as usize;
        let mut ids: Vec<Ordinal> = (0..count).map(|_| self.random.one_of(&self.ids)).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// Asks all questions, each after a time, and returns what was answered.
    fn ask(&mut self, questions: Vec<(Duration, Vec<Ordinal>)>) -> Vec<(Vec<Ordinal>, FrontAnswer)> {
        let (desk, taken) = (Arc::clone(&self.desk), self.taken.take().expect("once"));
        runtime().block_on(async {
            tokio::spawn(desk.run(taken));
            let mut clients = JoinSet::new();
            for (after, ids) in questions {
                let questions = self.questions.clone();
                clients.spawn(async move {
                    sleep(after).await;
                    let (reply, answer) = oneshot::channel();
                    questions
                        .send(Question { client: "a".into(), ids: ids.clone(), reply })
                        .await
                        .expect("the desk is open");
                    (ids, answer.await.expect("an answer"))
                });
            }
            let mut answers = Vec::new();
            while let Some(answered) = clients.join_next().await {
                answers.push(answered.expect("no client fails"));
            }
            answers
        })
    }

    fn check(&self, ids: &[Ordinal], answer: &FrontAnswer) {
        for id in ids {
            let (said, expected) = (said(&answer.register, *id), expected(Some(&self.truth[id])));
            assert_eq!((said.outcome, said.operator), (expected.outcome, expected.operator));
        }
    }
}

/// All questions are answered rightly, no id is asked twice at the same time or after it was answered.
#[test]
fn questions_of_many_clients_are_answered_together() {
    for seed in 1..200u64 {
        let seed = seed.wrapping_mul(7919);
        let mut world = World::new(seed, 60, 1 + (seed % 30) as usize, [0, 20, 300][seed as usize % 3]);
        world.register.state().faults = [0, 100][seed as usize % 2];
        let questions: Vec<_> =
            (0..100).map(|_| (Duration::from_millis(world.random.below(3000)), world.question())).collect();
        let distinct: std::collections::BTreeSet<Ordinal> =
            questions.iter().flat_map(|(_, ids)| ids).copied().collect();
        let all: usize = questions.iter().map(|(_, ids)| ids.len()).sum();
        let answers = world.ask(questions);
        assert_eq!(answers.len(), 100);
        let (whole, parts): (Vec<_>, Vec<_>) =
            answers.iter().partition(|(_, answer)| answer.missing.is_none());
        whole.iter().for_each(|(ids, answer)| world.check(ids, answer));
        let state = world.register.state();
        assert!(state.wrong.is_empty(), "seed {seed}: {:?}", state.wrong);
        if !parts.is_empty() {
            // A token that is refused twice in a row ends a call.
            assert!(state.happened["token refused"] > 1, "seed {seed}");
            continue;
        }
        let counts = world.desk.counts();
        assert_eq!(counts.asked as usize, distinct.len(), "seed {seed}");
        assert_eq!((counts.asked + counts.fresh + counts.shared) as usize, all, "seed {seed}");
        assert_eq!(counts.kept as usize, distinct.len(), "seed {seed}");
    }
}

/// Under load, calls are at least half full, but for one that is the only one.
#[test]
fn calls_are_at_least_half_full() {
    for seed in 1..20 {
        let mut world = World::new(seed, 3000, 100, 0);
        world.register.state().half_full = true;
        let questions = world.ids.clone().into_iter();
        let questions =
            (0..).zip(questions).map(|(number, id)| (Duration::from_micros(number * 700), vec![id]));
        let answers = world.ask(questions.collect());
        for (ids, answer) in &answers {
            world.check(ids, answer);
        }
        let state = world.register.state();
        assert!(state.wrong.is_empty(), "seed {seed}: {:?}", state.wrong);
        let calls = world.desk.counts().calls;
        assert!(calls <= 3000 / 50, "seed {seed}: {calls} calls");
    }
}

/// The limits of a register hold for all senders together.
#[test]
fn desks_share_the_limits_of_their_register() {
    for seed in 1..30 {
        let world = World::new(seed, 60, 10, 0);
        world.register.state().faults = 100;
        let rules = world.desk.rules().clone();
        let pace = Arc::new(Pace::new(&world.limits));
        let desk = |world: &World| {
            let caller = Caller::sharing(world.register.clone(), &world.limits, Arc::clone(&pace));
            let (questions, taken) = mpsc::channel(64);
            (Arc::new(Desk::new(caller, rules.clone())), questions, taken)
        };
        let (one, other) = (desk(&world), desk(&world));
        let halves = world.ids.split_at(30);
        let (first, second) = (halves.0.to_vec(), halves.1.to_vec());
        runtime().block_on(async {
            let mut clients = JoinSet::new();
            for ((desk, questions, taken), ids) in [(one, first), (other, second)] {
                tokio::spawn(desk.run(taken));
                for part in ids.chunks(3).map(<[Ordinal]>::to_vec) {
                    let questions = questions.clone();
                    clients.spawn(async move {
                        let (reply, answer) = oneshot::channel();
                        questions
                            .send(Question { client: "a".into(), ids: part, reply })
                            .await
                            .expect("the desk is open");
                        answer.await.expect("an answer")
                    });
                }
            }
            while let Some(answered) = clients.join_next().await {
                answered.expect("no client fails");
            }
        });
        let state = world.register.state();
        assert!(state.wrong.is_empty(), "seed {seed}: {:?}", state.wrong);
    }
}

/// A client waits no longer than it may, also if the register wants to be left alone for longer, or never answers.
#[test]
fn clients_wait_for_a_limited_time() {
    for seed in 1..20 {
        let mut world = World::new(seed, 20, 10, 0);
        world.register.state().away_after = 0;
        let mut rules = world.desk.rules().clone();
        rules.wait = Duration::from_secs(10);
        world.desk = Arc::new(Desk::new(Caller::new(world.register.clone(), &world.limits), rules));
        let ids = world.ids.clone();
        let (desk, taken, questions) =
            (Arc::clone(&world.desk), world.taken.take().expect("once"), world.questions.clone());
        runtime().block_on(async {
            tokio::spawn(desk.run(taken));
            for part in ids.chunks(5) {
                let asked = tokio::time::Instant::now();
                let (reply, answer) = oneshot::channel();
                questions
                    .send(Question { client: "a".into(), ids: part.to_vec(), reply })
                    .await
                    .expect("the desk is open");
                assert!(answer.await.expect("an answer").missing.is_some());
                assert!(asked.elapsed() < Duration::from_secs(11), "{:?}", asked.elapsed());
            }
        });
        assert!(world.desk.is_failing());
    }
}

/// A question of a client, and where its answer arrives.
fn question(client: &str, ids: &[Ordinal]) -> (Question, oneshot::Receiver<FrontAnswer>) {
    let (reply, answer) = oneshot::channel();
    (Question { client: client.into(), ids: ids.to_vec(), reply }, answer)
}

/// Calls of ten ids, one at a time, and a client that asks for three thousand ids. Another one waits for the call under way
/// and its own.
#[test]
fn a_client_with_many_ids_does_not_delay_others() {
    for seed in 1..20 {
        let mut world = World::new(seed, 3001, 10, 0);
        world.limits.calls_in_flight = NonZeroUsize::MIN;
        let register = Fake::new(world.kind, Arc::clone(&world.truth), world.limits.clone(), seed);
        let rules = DeskRules { calls_in_flight: 1, ..world.desk.rules().clone() };
        register.state().slow = Some(Duration::from_millis(100));
        let desk = Arc::new(Desk::new(Caller::new(register.clone(), &world.limits), rules));
        let taken = world.taken.take().expect("once");
        runtime().block_on(async {
            tokio::spawn(desk.run(taken));
            let (many, all) = question("many", &world.ids[1..]);
            world.questions.send(many).await.expect("the desk is open");
            // While a call is under way.
            sleep(Duration::from_millis(1050)).await;
            let before = register.state().calls;
            let (one, answer) = question("one", &world.ids[..1]);
            world.questions.send(one).await.expect("the desk is open");
            assert!(answer.await.expect("an answer").missing.is_none());
            assert!(register.state().calls <= before + 2, "seed {seed}");
            assert!(all.await.expect("an answer").missing.is_none());
        });
        assert!(register.state().wrong.is_empty(), "seed {seed}: {:?}", register.state().wrong);
    }
}

/// How a register answers bad ids.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Bad {
    /// It refuses them.
    Refused,
    /// Calls with one of them fail.
    Fail,
    /// Calls with one of them are refused as a whole.
    NoAccess,
}

/// A desk whose register takes one call at a time, for 50 ms, and whose first ids are bad. The last id is the test number.
fn with_bad_ids(world: &mut World, count: usize, bad: Bad) -> (Fake, Arc<Desk<Fake>>) {
    world.limits.calls_in_flight = NonZeroUsize::MIN;
    let (ids, test_number) = (world.ids[..count].to_vec(), *world.ids.last().expect("ids"));
    if bad == Bad::Refused {
        let mut truth = (*world.truth).clone();
        ids.iter().for_each(|id| _ = truth.insert(*id, Truth::Refused));
        world.truth = Arc::new(truth);
    }
    let seed = world.random.next();
    let register = Fake::new(world.kind, Arc::clone(&world.truth), world.limits.clone(), seed);
    {
        let mut state = register.state();
        state.slow = Some(Duration::from_millis(50));
        state.probe = Some(test_number);
        if bad != Bad::Refused {
            state.fails_for = ids.into_iter().collect();
        }
        state.refuses_access = bad == Bad::NoAccess;
    }
    let rules = DeskRules {
        calls_in_flight: 1,
        wait: Duration::from_secs(10),
        probe: Some(test_number),
        ..world.desk.rules().clone()
    };
    let desk = Arc::new(Desk::new(Caller::new(register.clone(), &world.limits), rules));
    (register, desk)
}

/// Calls of a hundred ids, one at a time: a client with five hundred ids that the register refuses, or fails for, and others
/// that ask for one id each. These are answered within a few calls, and the front is ready all the time.
#[test]
fn bad_ids_of_a_client_do_not_delay_others() {
    for seed in 1..40 {
        let mut world = World::new(seed, 600, 100, 0);
        let refuses = seed % 2 == 0;
        let (bad, good) = (world.ids[..500].to_vec(), world.ids[500..].to_vec());
        let (register, desk) = with_bad_ids(&mut world, 500, if refuses { Bad::Refused } else { Bad::Fail });
        let taken = world.taken.take().expect("once");
        runtime().block_on(async {
            tokio::spawn(Arc::clone(&desk).run(taken));
            let (many, all) = question("bad", &bad);
            world.questions.send(many).await.expect("the desk is open");
            for (number, id) in good[..99].iter().enumerate() {
                let (one, answer) = question(["good", "other"][number % 2], &[*id]);
                let before = register.state().calls;
                world.questions.send(one).await.expect("the desk is open");
                let answer = answer.await.expect("an answer");
                assert!(answer.missing.is_none(), "seed {seed}, {number}: {:?}", answer.missing);
                let calls = register.state().calls - before;
                assert!(calls <= 6, "seed {seed}, {number}: {calls} calls");
                assert!(!desk.is_failing(), "seed {seed}, {number}");
            }
            let answer = all.await.expect("an answer");
            match answer.missing {
                None => assert!(refuses && answer.has_refused),
                Some(FrontError::Away(why)) => assert!(!refuses && why.contains("fails for this id")),
                missing => assert!(refuses, "{missing:?}"),
            }
            assert!(!desk.is_failing(), "seed {seed}");
        });
        assert!(register.state().wrong.is_empty(), "seed {seed}: {:?}", register.state().wrong);
    }
}

/// Many clients whose ids all fail, beside others with one good id each, all asked in the same call: these are answered soon.
#[test]
fn good_ids_among_those_of_many_bad_clients_are_answered_soon() {
    for seed in 1..30 {
        let mut world = World::new(seed, 450, 50, 0);
        let (bad, good) = (world.ids[..400].to_vec(), world.ids[400..449].to_vec());
        let kind = [Bad::Refused, Bad::Fail, Bad::NoAccess][seed as usize % 3];
        let (_, desk) = with_bad_ids(&mut world, 400, kind);
        let taken = world.taken.take().expect("once");
        runtime().block_on(async {
            tokio::spawn(Arc::clone(&desk).run(taken));
            // It has answered before.
            let (first, answer) = question("first", &good[..1]);
            world.questions.send(first).await.expect("the desk is open");
            assert!(answer.await.expect("an answer").missing.is_none());
            for (round, good) in good[1..].chunks(6).enumerate() {
                let mut waiting = Vec::new();
                for (client, ids) in ["a", "b", "c", "d"].into_iter().zip(bad.chunks(100)) {
                    let (asked, answer) = question(client, ids);
                    world.questions.send(asked).await.expect("the desk is open");
                    waiting.push(answer);
                }
                let asked = tokio::time::Instant::now();
                let mut answers = Vec::new();
                for (number, id) in good.iter().enumerate() {
                    let (one, answer) = question(["e", "f", "g"][number % 3], &[*id]);
                    world.questions.send(one).await.expect("the desk is open");
                    answers.push(answer);
                }
                for answer in answers {
                    let missing = answer.await.expect("an answer").missing;
                    assert!(missing.is_none(), "seed {seed}, round {round}: {missing:?}");
                }
                // Two calls for each of seven clients, and as many of others between them.
                assert!(
                    asked.elapsed() < Duration::from_millis(50 * 28),
                    "seed {seed}: {:?}",
                    asked.elapsed()
                );
                assert!(!desk.is_failing(), "seed {seed}, round {round}");
            }
        });
    }
}

/// A register that takes fewer ids a call than before, and as many again later; and one that says so of an id.
#[test]
fn calls_get_fewer_ids_for_a_time_only() {
    for seed in 1..20 {
        let mut world = World::new(seed, 400, 100, 0);
        world.limits.calls_in_flight = NonZeroUsize::MIN;
        let register = Fake::new(world.kind, Arc::clone(&world.truth), world.limits.clone(), seed);
        let desk =
            Arc::new(Desk::new(Caller::new(register.clone(), &world.limits), world.desk.rules().clone()));
        let (ids, taken) = (world.ids.clone(), world.taken.take().expect("once"));
        let ask = async |ids: &[Ordinal]| {
            let before = register.state().calls;
            let (asked, answer) = question("a", ids);
            world.questions.send(asked).await.expect("the desk is open");
            let missing = answer.await.expect("an answer").missing;
            (missing, register.state().calls - before)
        };
        runtime().block_on(async {
            tokio::spawn(Arc::clone(&desk).run(taken));
            register.state().ids_max = 30;
            let (missing, calls) = ask(&ids[..100]).await;
            assert!(missing.is_none() && calls > 4, "seed {seed}: {calls}");
            sleep(Duration::from_secs(30)).await;
            register.state().ids_max = usize::MAX;
            assert!(ask(&ids[100..200]).await.1 > 1, "seed {seed}: still fewer");
            sleep(Duration::from_secs(600)).await;
            assert!(matches!(ask(&ids[200..300]).await, (None, 1)), "seed {seed}: as many again");
            register.state().too_many_for = Some(ids[300]);
            let (missing, _) = ask(&ids[300..310]).await;
            assert!(matches!(missing, Some(FrontError::Refused(_))), "{missing:?}");
            assert!(!desk.is_failing());
            assert!(
                matches!(ask(&ids[310..400]).await, (None, 1)),
                "seed {seed}: the id has changed nothing"
            );
        });
    }
}

/// Only ids for which the register fails are asked: a test number shows that it answers.
#[test]
fn a_register_that_fails_for_some_ids_is_ready() {
    for seed in 1..20 {
        let mut world = World::new(seed, 20, 10, 0);
        let rules = DeskRules {
            wait: Duration::from_secs(10),
            probe: Some(world.ids[19]),
            ..world.desk.rules().clone()
        };
        let desk = Arc::new(Desk::new(Caller::new(world.register.clone(), &world.limits), rules));
        world.register.state().slow = Some(Duration::from_millis(50));
        world.register.state().fails_for = world.ids[..10].iter().copied().collect();
        let (ids, taken) = (world.ids.clone(), world.taken.take().expect("once"));
        runtime().block_on(async {
            tokio::spawn(Arc::clone(&desk).run(taken));
            for part in ids[..10].chunks(2) {
                let (bad, mut answer) = question("a", part);
                world.questions.send(bad).await.expect("the desk is open");
                let answer = loop {
                    tokio::select! {
                        answer = &mut answer => break answer,
                        () = sleep(Duration::from_millis(20)) => assert!(!desk.is_failing(), "seed {seed}"),
                    }
                };
                let answer = answer.expect("an answer");
                assert!(matches!(answer.missing, Some(FrontError::Away(_))), "{:?}", answer.missing);
            }
            // It fails for all: one question finds it.
            world.register.state().away_after = 0;
            let (one, answer) = question("a", &ids[11..12]);
            world.questions.send(one).await.expect("the desk is open");
            assert!(answer.await.expect("an answer").missing.is_some());
            assert!(desk.is_failing(), "seed {seed}");
        });
    }
}

/// Clients that have gone, or have waited for long enough: their ids are not asked any longer.
#[test]
fn what_no_client_waits_for_is_not_asked() {
    for seed in 1..20 {
        let mut world = World::new(seed, 400, 10, 0);
        let rules = DeskRules { wait: Duration::from_secs(5), ..world.desk.rules().clone() };
        let desk = Arc::new(Desk::new(Caller::new(world.register.clone(), &world.limits), rules));
        world.register.state().slow = Some(Duration::from_millis(100));
        let taken = world.taken.take().expect("once");
        runtime().block_on(async {
            tokio::spawn(Arc::clone(&desk).run(taken));
            let (gone, answer) = question("gone", &world.ids[..200]);
            world.questions.send(gone).await.expect("the desk is open");
            tokio::task::yield_now().await;
            drop(answer);
            sleep(Duration::from_secs(60)).await;
            let asked = desk.counts().asked;
            assert!(asked <= 10 * world.limits.calls_in_flight.get() as u64, "seed {seed}: {asked}");
            // The register answers, but not for so many in the time that a client waits.
            world.register.state().slow = Some(Duration::from_secs(2));
            let (late, answer) = question("late", &world.ids[200..]);
            world.questions.send(late).await.expect("the desk is open");
            let answer = answer.await.expect("an answer");
            assert!(matches!(answer.missing, Some(FrontError::Busy)), "{:?}", answer.missing);
            assert!(answer.has_any && !desk.is_failing(), "the register answers");
            let asked = desk.counts().asked;
            sleep(Duration::from_secs(60)).await;
            assert_eq!(desk.counts().asked, asked, "seed {seed}");
        });
    }
}

/// A register that does not know the sender.
#[derive(Clone)]
struct OfOtherSenders;

impl Ask for OfOtherSenders {
    async fn call(&self, _: &[Ordinal], _place: &mut Place) -> Result<Answers, CallError> {
        Err(CallError::SenderRefused("fault 5002".to_owned()))
    }
}

/// Any client can ask for a sender that the register does not know: it answers all the same.
#[test]
fn a_sender_that_is_refused_is_no_failure_of_the_register() {
    let mut world = World::new(1, 20, 10, 0);
    let desk = Desk::new(Caller::new(OfOtherSenders, &world.limits), world.desk.rules().clone());
    let (desk, taken) = (Arc::new(desk), world.taken.take().expect("once"));
    runtime().block_on(async {
        tokio::spawn(Arc::clone(&desk).run(taken));
        for id in &world.ids {
            let (asked, answer) = question("a", &[*id]);
            world.questions.send(asked).await.expect("the desk is open");
            let answer = answer.await.expect("an answer");
            assert!(matches!(answer.missing, Some(FrontError::Refused(why)) if why.contains("5002")));
            assert!(!desk.is_failing());
        }
    });
}

/// What is said of a question is said of its own ids, though others are in the same register.
#[test]
fn the_ids_of_other_questions_change_nothing() {
    for seed in 1..30 {
        let mut world = World::new(seed, 40, 20, 500);
        let (refused, others): (Vec<_>, Vec<_>) =
            world.ids.iter().copied().partition(|id| world.truth[id].is_refused());
        assert!(!refused.is_empty() && !others.is_empty(), "seed {seed}");
        let answers = world.ask(vec![(Duration::ZERO, others.clone()), (Duration::ZERO, refused)]);
        for (ids, answer) in answers {
            assert!(answer.has_any && answer.missing.is_none());
            assert_eq!(answer.has_refused, ids != others, "seed {seed}");
            assert!(answer.register.scope().is_some_and(|scope| scope.ids >= ids.len() as u64));
        }
    }
}

/// A register that is back is noticed without a question: where the front is not ready, no client asks.
#[test]
fn a_register_that_is_back_is_noticed() {
    for seed in 1..10 {
        let mut world = World::new(seed, 20, 10, 0);
        let mut rules = world.desk.rules().clone();
        (rules.wait, rules.probe) = (Duration::from_secs(10), Some(world.ids[19]));
        let limits = SourceLimits { give_up_after: "1s".parse().expect("a time"), ..world.limits.clone() };
        world.register.state().away_after = 0;
        world.desk = Arc::new(Desk::new(Caller::new(world.register.clone(), &limits), rules));
        let (desk, taken) = (Arc::clone(&world.desk), world.taken.take().expect("once"));
        runtime().block_on(async {
            tokio::spawn(desk.run(taken));
            let (reply, answer) = oneshot::channel();
            let ids = vec![world.ids[0]];
            world
                .questions
                .send(Question { client: "a".into(), ids, reply })
                .await
                .expect("the desk is open");
            let answer = answer.await.expect("an answer");
            assert!(answer.missing.is_some() && !answer.has_any);
            assert!(world.desk.is_failing());
            world.register.state().away_after = u64::MAX;
            sleep(Duration::from_secs(20)).await;
            assert!(!world.desk.is_failing(), "seed {seed}");
        });
    }
}

/// When the register is away, questions whose answers are fresh are answered, and the others say so.
#[test]
fn fresh_answers_are_given_when_the_register_is_away() {
    for seed in 1..20 {
        let mut world = World::new(seed, 20, 10, 0);
        world.register.state().away_after = 1;
        let first = world.ids[..5].to_vec();
        let (known, unknown) = (world.ids[1..3].to_vec(), world.ids[2..8].to_vec());
        let later = Duration::from_secs(5);
        let answers = world.ask(vec![
            (Duration::ZERO, first.clone()),
            (later, known.clone()),
            (later, unknown.clone()),
            (2 * later, known.clone()),
        ]);
        for (ids, answer) in answers {
            if ids != unknown {
                assert!(answer.missing.is_none());
                world.check(&ids, &answer);
                continue;
            }
            assert!(answer.missing.is_some(), "it says that ids are missing");
            world.check(&world.ids[2..5], &answer);
            for id in &world.ids[5..8] {
                assert_eq!(said(&answer.register, *id).outcome, "not_asked");
            }
        }
        assert!(world.desk.is_failing());
    }
}
