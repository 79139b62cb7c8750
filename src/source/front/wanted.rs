//! Ids that wait to be asked, and which questions wait for them. Clients take turns.
//!
//! A call has ids of many clients, and any of these ids may be one that the register refuses, or fails for. Ids of a call that
//! has brought no answers are put back as *parts*, which are asked apart from all others: first half of the clients each, then
//! half of the ids of a client. A part is asked when it is its client's turn, so that the ids of others are asked meanwhile;
//! those of several clients have every second turn. A client whose calls have failed has its other ids asked apart, too, for a
//! minute: otherwise each of its calls would take others along.

use crate::identities::Ordinal;
use crate::source::asking::Failures;
use hashbrown::HashMap;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Ids that wait to be asked, at most.
const WANTED_MAX: usize = 200_000;
/// Of which one client may have half.
const CLIENT_WANTED_MAX: usize = WANTED_MAX / 2;
/// Has the parts with ids of several clients, and the test number. No clients have these names.
const SEVERAL: &str = "";
const TEST_NUMBER: &str = " ";
/// How long the ids of a client are asked apart after a call for it alone has failed, or one for several clients.
const APART: Duration = Duration::from_secs(60);
const APART_AFTER_ONE_OF_SEVERAL: Duration = Duration::from_secs(10);

/// An id that is wanted or being asked.
struct Waiting {
    /// The numbers of the questions that wait for it.
    questions: Vec<u64>,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// It is in the queues of its clients.
    Queued,
    /// It is in a part, and may be in the queues of other clients.
    InPart,
    Asked,
}

/// Ids of a call that are asked together.
#[derive(Default)]
pub(super) struct Part {
    /// By client.
    ids: Vec<(Arc<str>, Vec<Ordinal>)>,
    /// Whether the ids have been asked before.
    pub(super) is_repeated: bool,
    /// Those of the calls in which they were.
    pub(super) failures: Failures,
}

impl Part {
    /// The ids, ascending.
    pub(super) fn ids(&self) -> Vec<Ordinal> {
        let mut ids: Vec<Ordinal> = self.ids.iter().flat_map(|(_, ids)| ids).copied().collect();
        ids.sort_unstable();
        ids
    }

    fn len(&self) -> usize {
        self.ids.iter().map(|(_, ids)| ids.len()).sum()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Whether all ids are of one client.
    pub(super) fn is_of_one_client(&self) -> bool {
        self.ids.len() == 1
    }

    /// Halves of its clients, or of the ids of its only client.
    fn halves(mut self) -> [Part; 2] {
        let failures = self.failures.of_part();
        self.failures = failures.clone();
        let ids = match &mut self.ids[..] {
            [(client, ids)] => vec![(Arc::clone(client), ids.split_off(ids.len() / 2))],
            _ => self.ids.split_off(self.ids.len() / 2),
        };
        [self, Part { ids, is_repeated: true, failures }]
    }

    /// Adds ids of a client, which may have some already.
    fn add(&mut self, client: &Arc<str>, ids: Vec<Ordinal>) {
        match self.ids.iter_mut().find(|(other, _)| Arc::ptr_eq(other, client)) {
            Some((_, of_client)) => of_client.extend(ids),
            None if ids.is_empty() => {}
            None => self.ids.push((Arc::clone(client), ids)),
        }
    }

    fn retain(&mut self, mut keeps: impl FnMut(Ordinal) -> bool) {
        self.ids.iter_mut().for_each(|(_, ids)| ids.retain(|id| keeps(*id)));
        self.ids.retain(|(_, ids)| !ids.is_empty());
    }
}

/// What a client waits for.
#[derive(Default)]
struct Queue {
    /// Ids in the order of its questions. One that several clients wait for is in the queue of each of them; one that is being
    /// asked, or that no question waits for any longer, is left out when its turn comes.
    ids: VecDeque<Ordinal>,
    /// Parts, and when they may be asked.
    parts: VecDeque<(Instant, Part)>,
}

impl Queue {
    fn is_empty(&self) -> bool {
        self.ids.is_empty() && self.parts.is_empty()
    }

    fn len(&self) -> usize {
        self.ids.len() + self.parts.iter().map(|(_, part)| part.len()).sum::<usize>()
    }
}

/// Ids that are wanted or being asked.
#[derive(Default)]
struct Ids {
    ids: HashMap<Ordinal, Waiting>,
    /// The number of ids that are not being asked yet: those in no part, and those in parts.
    queued: usize,
    in_parts: usize,
}

impl Ids {
    fn len(&self) -> usize {
        self.queued + self.in_parts
    }

    fn count(&mut self, state: State) -> Option<&mut usize> {
        match state {
            State::Queued => Some(&mut self.queued),
            State::InPart => Some(&mut self.in_parts),
            State::Asked => None,
        }
    }

    fn remove(&mut self, id: Ordinal) -> Vec<u64> {
        let Some(waiting) = self.ids.remove(&id) else { return Vec::new() };
        self.count(waiting.state).into_iter().for_each(|count| *count -= 1);
        waiting.questions
    }

    fn set(&mut self, id: Ordinal, state: State) {
        let Some(waiting) = self.ids.get_mut(&id) else { return };
        let before = std::mem::replace(&mut waiting.state, state);
        self.count(before).into_iter().for_each(|count| *count -= 1);
        self.count(state).into_iter().for_each(|count| *count += 1);
    }

    /// The state of an id; `None` if it is not wanted any longer. One whose questions are all gone is forgotten.
    fn state(&mut self, id: Ordinal, is_waiting: &impl Fn(u64) -> bool) -> Option<State> {
        let Waiting { questions, state } = self.ids.get(&id)?;
        if *state != State::Asked && !questions.is_empty() && !questions.iter().any(|one| is_waiting(*one)) {
            self.remove(id);
            return None;
        }
        Some(*state)
    }

    /// Takes the next part of a client that may be asked; an empty one if there is none.
    fn take_part(
        &mut self,
        parts: &mut VecDeque<(Instant, Part)>,
        (most, now): (usize, Instant),
        is_waiting: &impl Fn(u64) -> bool,
    ) -> Part {
        while let Some(next) = parts.iter().position(|(at, _)| *at <= now) {
            let Some((at, mut part)) = parts.remove(next) else { break };
            while part.len() > most {
                let [first, second] = part.halves();
                parts.push_front((at, second));
                part = first;
            }
            part.retain(|id| {
                let is_asked = self.state(id, is_waiting) == Some(State::InPart);
                if is_asked {
                    self.set(id, State::Asked);
                }
                is_asked
            });
            if !part.is_empty() {
                return part;
            }
        }
        Part::default()
    }

    /// Takes ids of a client, at most `most`: those that are in no part, or those that are in parts of other clients, whichever
    /// comes first. The latter are asked apart, so that they are not taken for a call that has ids of others.
    fn take(
        &mut self,
        queue: &mut VecDeque<Ordinal>,
        (most, has_others): (usize, bool),
        is_waiting: &impl Fn(u64) -> bool,
    ) -> (Vec<Ordinal>, State) {
        let (mut taken, mut kind) = (Vec::new(), State::Queued);
        while let Some(id) = queue.pop_front_if(|_| taken.len() < most) {
            let Some(state) = self.state(id, is_waiting).filter(|state| *state != State::Asked) else {
                continue;
            };
            if taken.is_empty() {
                kind = state;
            }
            if state != kind || state == State::InPart && has_others {
                queue.push_front(id);
                break;
            }
            self.set(id, State::Asked);
            taken.push(id);
        }
        (taken, kind)
    }
}

/// Ids that wait to be asked, by client.
#[derive(Default)]
pub(super) struct Wanted {
    ids: Ids,
    /// When the next part may be asked.
    next_part: Option<Instant>,
    /// What each client waits for.
    queues: HashMap<Arc<str>, Queue>,
    /// The clients with a queue, in the order of their turns.
    turns: VecDeque<Arc<str>>,
    /// Clients whose ids are asked apart.
    suspects: HashMap<Arc<str>, Suspicion>,
    /// Whether the last call was a part of several clients.
    was_several: bool,
}

/// Why the ids of a client are asked apart.
struct Suspicion {
    until: Instant,
    /// A call for this client alone has failed.
    is_proven: bool,
}

/// What becomes of an id of a question.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Added {
    /// It is to be asked.
    New,
    /// Another question waits for it already.
    Shared,
}

impl Wanted {
    /// The number of ids that wait to be asked, and are in no part.
    pub(super) fn queued(&self) -> usize {
        self.ids.queued
    }

    /// Whether no id waits to be asked.
    pub(super) fn is_empty(&self) -> bool {
        self.ids.len() == 0
    }

    /// When the next part may be asked.
    pub(super) fn next_part(&self) -> Option<Instant> {
        self.next_part
    }

    /// Whether a client may ask for more ids.
    pub(super) fn has_room(&self, client: &str, ids: usize) -> bool {
        let of_client = self.queues.get(client).map_or(0, Queue::len);
        self.ids.len() + ids <= WANTED_MAX && of_client + ids <= CLIENT_WANTED_MAX
    }

    fn queue(&mut self, client: &Arc<str>) -> &mut Queue {
        self.queues.entry(Arc::clone(client)).or_insert_with(|| {
            self.turns.push_back(Arc::clone(client));
            Queue::default()
        })
    }

    /// Adds an id that a question of a client waits for.
    pub(super) fn add(&mut self, client: &Arc<str>, id: Ordinal, question: u64) -> Added {
        let queued = &mut self.ids.queued;
        let waiting = self.ids.ids.entry(id).or_insert_with(|| {
            *queued += 1;
            Waiting { questions: Vec::new(), state: State::Queued }
        });
        waiting.questions.push(question);
        let added = if waiting.questions.len() == 1 { Added::New } else { Added::Shared };
        if waiting.state != State::Asked {
            // Also if it is in the queue of another client, whose turns may be later.
            self.queue(client).ids.push_back(id);
        }
        added
    }

    /// Adds an id that no question waits for. It is asked next, and apart.
    pub(super) fn add_probe(&mut self, id: Ordinal, now: Instant) {
        if self.ids.ids.contains_key(&id) {
            return;
        }
        self.ids.ids.insert(id, Waiting { questions: Vec::new(), state: State::InPart });
        self.ids.in_parts += 1;
        let name = Arc::from(TEST_NUMBER);
        let part = Part { ids: vec![(Arc::clone(&name), vec![id])], ..Part::default() };
        self.queue(&name).parts.push_front((now, part));
        self.goes_first(name);
        self.next_part = Some(now);
    }

    fn goes_first(&mut self, client: Arc<str>) {
        self.turns.retain(|other| *other != client);
        self.turns.push_front(client);
    }

    /// The ids of a part have been answered: its clients need not be asked apart, unless one of them was the cause before.
    pub(super) fn trust(&mut self, part: &Part) {
        if self.suspects.is_empty() {
            return;
        }
        for (client, _) in &part.ids {
            if self.suspects.get(client).is_some_and(|suspicion| !suspicion.is_proven) {
                self.suspects.remove(client);
            }
        }
    }

    /// A call for a part has failed.
    fn suspect(&mut self, part: &Part, now: Instant) {
        let is_proven = part.is_of_one_client();
        let until = now + if is_proven { APART } else { APART_AFTER_ONE_OF_SEVERAL };
        for (client, _) in &part.ids {
            let suspicion = Suspicion { until, is_proven };
            match self.suspects.get_mut(client) {
                Some(known) if known.is_proven && !is_proven => known.until = known.until.max(until),
                Some(known) => *known = suspicion,
                None => _ = self.suspects.insert(Arc::clone(client), suspicion),
            }
        }
    }

    /// Puts back the ids of a call that has failed, which is to be made again in parts, from a time on. Ids that no question
    /// waits for are forgotten.
    pub(super) fn put_back(&mut self, mut part: Part, now: Instant, at: Instant) {
        self.suspect(&part, now);
        part.retain(|id| {
            let is_wanted = self.ids.ids.get(&id).is_some_and(|waiting| !waiting.questions.is_empty());
            match is_wanted {
                true => self.ids.set(id, State::InPart),
                false => _ = self.ids.remove(id),
            }
            is_wanted
        });
        part.is_repeated = true;
        let parts = if part.len() > 1 { part.halves() } else { [part, Part::default()] };
        for part in parts.into_iter().filter(|part| !part.is_empty()) {
            let client = if part.is_of_one_client() { Arc::clone(&part.ids[0].0) } else { SEVERAL.into() };
            self.queue(&client).parts.push_back((at, part));
            self.next_part = Some(self.next_part.map_or(at, |next| next.min(at)));
        }
    }

    /// Takes the ids of the next call, at most `most`: a part, or ids of clients, which have equal shares of it, as far as they
    /// want so many. Ids whose questions are all gone, as `is_waiting` says, are forgotten.
    pub(super) fn take(&mut self, most: usize, now: Instant, is_waiting: impl Fn(u64) -> bool) -> Part {
        let (mut taken, mut count) = (Part::default(), 0);
        self.suspects.retain(|_, suspicion| suspicion.until > now);
        let has_several =
            self.queues.get(SEVERAL).is_some_and(|queue| queue.parts.iter().any(|(at, _)| *at <= now));
        if has_several && !std::mem::take(&mut self.was_several) {
            self.goes_first(SEVERAL.into());
        }
        // The clients whose turn is the next one, because they are asked apart, or cannot be asked yet.
        let mut passed = Vec::new();
        while let Some(client) = self.turns.pop_front_if(|_| count < most) {
            let share = (most - count).div_ceil(self.turns.len() + 1);
            let is_several = &*client == SEVERAL;
            let Some(queue) = self.queues.get_mut(&client) else { continue };
            let is_apart = !queue.parts.is_empty() || self.suspects.contains_key(&client);
            if is_apart && count > 0 {
                passed.push(client);
                continue;
            }
            let part = self.ids.take_part(&mut queue.parts, (most, now), &is_waiting);
            let mut is_whole = is_apart;
            if part.is_empty() {
                let share = if is_apart { most } else { share };
                let (ids, kind) = self.ids.take(&mut queue.ids, (share, count > 0), &is_waiting);
                is_whole |= kind == State::InPart;
                taken.is_repeated = kind == State::InPart;
                taken.add(&client, ids);
            } else {
                taken = part;
            }
            let is_passed = taken.len() == count;
            count = taken.len();
            if queue.is_empty() {
                self.queues.remove(&client);
            } else if is_passed {
                passed.push(client);
            } else {
                self.turns.push_back(client);
            }
            if is_whole && !is_passed {
                self.was_several = is_several;
                break;
            }
        }
        passed.into_iter().rev().for_each(|client| self.turns.push_front(client));
        let parts = self.queues.values().flat_map(|queue| &queue.parts);
        self.next_part = match self.ids.in_parts {
            0 => None,
            _ => parts.map(|(at, _)| *at).min(),
        };
        taken
    }

    /// Removes an id that has been asked, and returns the questions that wait for it.
    pub(super) fn remove(&mut self, id: Ordinal) -> Vec<u64> {
        self.ids.remove(id)
    }

    /// The questions that wait for some ids.
    pub(super) fn questions(&self, ids: &[Ordinal]) -> impl Iterator<Item = u64> {
        let waiting = ids.iter().filter_map(|id| self.ids.ids.get(id));
        waiting.flat_map(|waiting| &waiting.questions).copied()
    }

    /// Forgets a question of a client, and the ids that no other question waits for.
    pub(super) fn forget(&mut self, client: &str, ids: &[Ordinal], question: u64) {
        for id in ids {
            let Some(waiting) = self.ids.ids.get_mut(id) else { continue };
            let before = waiting.questions.len();
            waiting.questions.retain(|other| *other != question);
            if before > 0 && waiting.questions.is_empty() && waiting.state != State::Asked {
                self.ids.remove(*id);
            }
        }
        if let Some(queue) = self.queues.get_mut(client) {
            let ids = &self.ids.ids;
            queue.ids.retain(|id| ids.get(id).is_some_and(|waiting| waiting.state != State::Asked));
        }
    }

    /// Removes all ids, and returns them.
    pub(super) fn clear(&mut self) -> Vec<(Ordinal, Vec<u64>)> {
        let all = std::mem::take(self);
        all.ids.ids.into_iter().map(|(id, waiting)| (id, waiting.questions)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replica::tests::random::Random;
    use std::collections::{BTreeMap, BTreeSet};
    use std::time::Duration;

    fn client(name: &str) -> Arc<str> {
        name.into()
    }

    fn add(wanted: &mut Wanted, name: &str, ids: impl IntoIterator<Item = u32>, question: u64) {
        ids.into_iter().for_each(|id| _ = wanted.add(&client(name), Ordinal(id), question));
    }

    fn take(wanted: &mut Wanted, most: usize) -> Part {
        wanted.take(most, Instant::now(), |_| true)
    }

    fn put_back(wanted: &mut Wanted, part: Part) {
        let now = Instant::now();
        wanted.put_back(part, now, now);
    }

    fn ordinals(ids: impl IntoIterator<Item = u32>) -> Vec<Ordinal> {
        ids.into_iter().map(Ordinal).collect()
    }

    #[test]
    fn clients_take_turns() {
        let mut wanted = Wanted::default();
        add(&mut wanted, "many", 0..1000, 1);
        add(&mut wanted, "one", [2000], 2);
        // Its turn does not depend on who has asked first.
        assert!(wanted.add(&client("same"), Ordinal(900), 3) == Added::Shared);
        let taken = take(&mut wanted, 10).ids();
        assert_eq!(taken.len(), 10);
        assert!(taken.contains(&Ordinal(2000)) && taken.contains(&Ordinal(900)));
        assert_eq!(wanted.queued(), 1001 - 10);
        assert_eq!(wanted.remove(Ordinal(900)), [1, 3]);
        let rest: Vec<_> = std::iter::from_fn(|| Some(take(&mut wanted, 300)).filter(|ids| !ids.is_empty()))
            .map(|part| part.len())
            .collect();
        assert_eq!(rest, [300, 300, 300, 91]);
    }

    #[test]
    fn a_client_has_half_of_the_places() {
        let mut wanted = Wanted::default();
        add(&mut wanted, "a", 0..CLIENT_WANTED_MAX as u32, 1);
        assert!(!wanted.has_room("a", 1) && wanted.has_room("b", 10_000));
        wanted.forget("a", &ordinals(0..10), 1);
        assert!(wanted.has_room("a", 10) && !wanted.has_room("a", 11));
        // Those in parts count, too.
        let part = take(&mut wanted, 1000);
        put_back(&mut wanted, part);
        assert!(wanted.has_room("a", 10) && !wanted.has_room("a", 11));
        add(&mut wanted, "b", 500_000..550_000, 2);
        add(&mut wanted, "c", 550_000..600_000, 2);
        add(&mut wanted, "d", 700_000..700_010, 3);
        assert!(!wanted.has_room("e", 1), "all places are taken");
    }

    #[test]
    fn what_no_client_waits_for_is_not_asked() {
        let mut wanted = Wanted::default();
        add(&mut wanted, "gone", 0..10, 1);
        add(&mut wanted, "here", 5..15, 2);
        let now = Instant::now();
        let part = wanted.take(100, now, |question| question == 2);
        assert_eq!(part.ids(), ordinals(5..15));
        assert!(wanted.is_empty());
        wanted.put_back(part, now, now);
        assert_eq!(wanted.next_part(), Some(now));
        assert!(wanted.take(100, now, |_| false).is_empty());
        assert_eq!((wanted.is_empty(), wanted.next_part()), (true, None));
        wanted.add_probe(Ordinal(99), now);
        assert_eq!(wanted.take(100, now, |_| false).ids(), [Ordinal(99)]);
    }

    /// One client's ids are put back and put back; the calls between are for the others, without an id of the former.
    #[test]
    fn parts_are_asked_apart_and_in_turns() {
        let mut wanted = Wanted::default();
        add(&mut wanted, "bad", 0..500, 1);
        add(&mut wanted, "good", 1000..1500, 2);
        add(&mut wanted, "other", 2000..2001, 3);
        let is_bad = |part: &Part| part.ids().iter().any(|id| id.0 < 1000);
        let mixed = take(&mut wanted, 1000);
        assert_eq!(mixed.len(), 1000);
        put_back(&mut wanted, mixed);
        let mut calls = 1;
        let mut calls_for = BTreeMap::new();
        while !wanted.is_empty() {
            let part = take(&mut wanted, 1000);
            calls += 1;
            let names: BTreeSet<_> = part.ids().iter().map(|id| id.0 / 1000).collect();
            match is_bad(&part) {
                true if part.len() > 1 => put_back(&mut wanted, part),
                is_bad => {
                    if !is_bad {
                        wanted.trust(&part);
                    }
                    part.ids().into_iter().for_each(|id| _ = wanted.remove(id));
                }
            }
            names.into_iter().for_each(|name| _ = calls_for.insert(name, calls));
            if calls == 5 {
                add(&mut wanted, "late", 3000..3010, 4);
            }
        }
        // The last call for each of the clients.
        assert!(calls_for[&1] <= 6 && calls_for[&2] <= 6 && calls_for[&3] <= 8, "{calls_for:?}");
        assert_eq!(calls_for[&0], calls);
    }

    #[test]
    fn a_part_waits_for_its_time_and_the_other_ids_of_its_client_do_not() {
        let mut wanted = Wanted::default();
        let now = Instant::now();
        let later = now + Duration::from_secs(1);
        add(&mut wanted, "a", 0..1, 1);
        let part = take(&mut wanted, 10);
        wanted.put_back(part, now, later);
        add(&mut wanted, "a", 5..8, 2);
        add(&mut wanted, "b", 7..9, 3);
        assert_eq!(wanted.take(10, now, |_| true).ids(), ordinals(5..8), "apart");
        assert_eq!(wanted.take(10, now, |_| true).ids(), ordinals(8..9));
        assert!(wanted.take(10, now, |_| true).is_empty());
        assert_eq!(wanted.next_part(), Some(later));
        // Another client does not wait for the time of the part.
        add(&mut wanted, "b", 0..1, 4);
        assert_eq!(wanted.take(10, now, |_| true).ids(), ordinals(0..1));
        assert!(wanted.take(10, later, |_| true).is_empty(), "it is asked once");
    }

    /// In any order of questions, calls, failures and clients that leave, each id that a question waits for is asked, once at a
    /// time, and no other.
    #[test]
    fn each_id_is_asked_once() {
        for seed in 1..1000 {
            let mut random = Random::new(seed);
            let mut wanted = Wanted::default();
            // By id: the questions that wait for it, and whether it is being asked.
            let mut model: BTreeMap<Ordinal, (BTreeSet<u64>, bool)> = BTreeMap::new();
            let mut questions: BTreeMap<u64, (Arc<str>, Vec<Ordinal>)> = BTreeMap::new();
            let mut calls: Vec<Part> = Vec::new();
            let mut now = Instant::now();
            let take = |wanted: &mut Wanted, model: &mut BTreeMap<_, (_, bool)>, most, now| {
                let part = wanted.take(most, now, |_| true);
                assert!(part.len() <= most, "seed {seed}");
                for id in part.ids() {
                    let (_, is_asked) = model.get_mut(&id).expect("it is wanted");
                    assert!(!std::mem::replace(is_asked, true), "seed {seed}: it is asked twice");
                }
                part
            };
            for question in 0..80 {
                match random.below(5) {
                    0 | 1 => {
                        let ids: BTreeSet<Ordinal> =
                            (0..5).map(|_| Ordinal(random.below(30) as u32)).collect();
                        let client = client(["a", "b", "c"][random.below(3) as usize]);
                        for id in &ids {
                            wanted.add(&client, *id, question);
                            model.entry(*id).or_default().0.insert(question);
                        }
                        questions.insert(question, (client, ids.into_iter().collect()));
                    }
                    2 => {
                        let most = 1 + random.below(12) as usize;
                        let has_free = model.values().any(|(_, is_asked)| !is_asked);
                        let part = take(&mut wanted, &mut model, most, now);
                        assert!(has_free || part.is_empty(), "seed {seed}");
                        if wanted.next_part().is_none() && !has_free {
                            assert_eq!(wanted.queued(), 0);
                        }
                        calls.extend(Some(part).filter(|part| !part.is_empty()));
                    }
                    3 if !calls.is_empty() => {
                        let call = calls.swap_remove(random.below(calls.len() as u64) as usize);
                        if random.chance(500) {
                            wanted.trust(&call);
                            for id in call.ids() {
                                let (expected, _) = model.remove(&id).expect("it is wanted");
                                assert_eq!(wanted.remove(id).into_iter().collect::<BTreeSet<_>>(), expected);
                            }
                        } else {
                            for id in call.ids() {
                                let (waiting, is_asked) = model.get_mut(&id).expect("it is wanted");
                                *is_asked = false;
                                if waiting.is_empty() {
                                    model.remove(&id);
                                }
                            }
                            wanted.put_back(call, now, now + Duration::from_secs(random.below(3)));
                            now += Duration::from_secs(random.below(2));
                        }
                    }
                    _ => {
                        if let Some((question, (client, ids))) = questions.pop_first() {
                            wanted.forget(&client, &ids, question);
                            for id in ids {
                                let Some((waiting, is_asked)) = model.get_mut(&id) else { continue };
                                if waiting.remove(&question) && waiting.is_empty() && !*is_asked {
                                    model.remove(&id);
                                }
                            }
                        }
                    }
                }
                let free = model.values().filter(|(_, is_asked)| !is_asked).count();
                assert_eq!(wanted.ids.len(), free, "seed {seed}");
            }
            // In time, all are asked.
            now += Duration::from_secs(5);
            while !take(&mut wanted, &mut model, 7, now).is_empty() {}
            assert!(model.values().all(|(_, is_asked)| *is_asked), "seed {seed}");
            assert!(wanted.is_empty() && wanted.next_part().is_none(), "seed {seed}");
        }
    }
}
