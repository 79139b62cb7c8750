//! Ids that wait to be asked, and which questions wait for them. Clients take turns.

use crate::identities::Ordinal;
use hashbrown::HashMap;
use std::collections::VecDeque;
use std::sync::Arc;

/// Ids that wait to be asked, at most.
const WANTED_MAX: usize = 200_000;
/// Of which one client may have half.
const CLIENT_WANTED_MAX: usize = WANTED_MAX / 2;

/// An id that is wanted or being asked.
struct Waiting {
    /// The numbers of the questions that wait for it.
    questions: Vec<u64>,
    is_asked: bool,
}

/// Ids that are wanted or being asked.
#[derive(Default)]
pub(super) struct Wanted {
    ids: HashMap<Ordinal, Waiting>,
    /// The number of ids that are not being asked yet.
    count: usize,
    /// The ids that each client waits for, in the order of its questions. One that several clients wait for is in the queue
    /// of each of them; one that is being asked, or that no question waits for any longer, is left out when its turn comes.
    queues: HashMap<Arc<str>, VecDeque<Ordinal>>,
    /// The clients with a queue, in the order of their turns.
    turns: VecDeque<Arc<str>>,
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
    /// The number of ids that wait to be asked.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// Whether a client may ask for more ids.
    pub(super) fn has_room(&self, client: &str, ids: usize) -> bool {
        let of_client = self.queues.get(client).map_or(0, VecDeque::len);
        self.count + ids <= WANTED_MAX && of_client + ids <= CLIENT_WANTED_MAX
    }

    /// Adds an id that a question of a client waits for.
    pub(super) fn add(&mut self, client: &Arc<str>, id: Ordinal, question: u64) -> Added {
        let next = self.count + 1;
        let waiting = self.ids.entry(id).or_insert_with(|| {
            self.count = next;
            Waiting { questions: Vec::new(), is_asked: false }
        });
        waiting.questions.push(question);
        let added = if waiting.questions.len() == 1 { Added::New } else { Added::Shared };
        if !waiting.is_asked {
            // Also if it is in the queue of another client, whose turns may be later.
            self.enqueue(client, id);
        }
        added
    }

    /// Adds an id that no question waits for.
    pub(super) fn add_probe(&mut self, id: Ordinal) {
        if self.ids.insert(id, Waiting { questions: Vec::new(), is_asked: false }).is_none() {
            self.count += 1;
            self.enqueue(&Arc::from(""), id);
        }
    }

    fn enqueue(&mut self, client: &Arc<str>, id: Ordinal) {
        let queue = self.queues.entry(Arc::clone(client)).or_insert_with(|| {
            self.turns.push_back(Arc::clone(client));
            VecDeque::new()
        });
        queue.push_back(id);
    }

    /// Takes the ids of the next call, at most `most`, which ascend. The clients have equal shares of it, as far as they
    /// want so many. Ids whose questions are all gone, as `is_waiting` says, are forgotten.
    pub(super) fn take(&mut self, most: usize, is_waiting: impl Fn(u64) -> bool) -> Vec<Ordinal> {
        let mut taken = Vec::with_capacity(most.min(self.count));
        while let Some(client) = self.turns.pop_front_if(|_| taken.len() < most) {
            let share = (most - taken.len()).div_ceil(self.turns.len() + 1);
            let Some(queue) = self.queues.get_mut(&client) else { continue };
            let end = taken.len() + share;
            while let Some(id) = queue.pop_front_if(|_| taken.len() < end) {
                let Some(waiting) = self.ids.get_mut(&id).filter(|waiting| !waiting.is_asked) else {
                    continue;
                };
                self.count -= 1;
                let questions = &waiting.questions;
                if questions.is_empty() || questions.iter().any(|question| is_waiting(*question)) {
                    waiting.is_asked = true;
                    taken.push(id);
                } else {
                    self.ids.remove(&id);
                }
            }
            if queue.is_empty() {
                self.queues.remove(&client);
            } else {
                self.turns.push_back(client);
            }
        }
        taken.sort_unstable();
        taken
    }

    /// Removes an id that has been asked, and returns the questions that wait for it.
    pub(super) fn remove(&mut self, id: Ordinal) -> Vec<u64> {
        let Some(waiting) = self.ids.remove(&id) else { return Vec::new() };
        self.count -= usize::from(!waiting.is_asked);
        waiting.questions
    }

    /// Forgets a question of a client, and the ids that no other question waits for.
    pub(super) fn forget(&mut self, client: &str, ids: &[Ordinal], question: u64) {
        for id in ids {
            let Some(waiting) = self.ids.get_mut(id) else { continue };
            let before = waiting.questions.len();
            waiting.questions.retain(|other| *other != question);
            if before > 0 && waiting.questions.is_empty() && !waiting.is_asked {
                self.ids.remove(id);
                self.count -= 1;
            }
        }
        if let Some(queue) = self.queues.get_mut(client) {
            queue.retain(|id| self.ids.get(id).is_some_and(|waiting| !waiting.is_asked));
        }
    }

    /// Removes all ids, and returns them.
    pub(super) fn clear(&mut self) -> Vec<(Ordinal, Vec<u64>)> {
        (self.count, self.queues, self.turns) = (0, HashMap::new(), VecDeque::new());
        self.ids.drain().map(|(id, waiting)| (id, waiting.questions)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replica::tests::random::Random;
    use std::collections::{BTreeMap, BTreeSet};

    fn client(name: &str) -> Arc<str> {
        name.into()
    }

    #[test]
    fn clients_take_turns() {
        let mut wanted = Wanted::default();
        (0..1000).for_each(|id| assert!(wanted.add(&client("many"), Ordinal(id), 1) == Added::New));
        assert!(wanted.add(&client("one"), Ordinal(2000), 2) == Added::New);
        // Its turn does not depend on who has asked first.
        assert!(wanted.add(&client("same"), Ordinal(900), 3) == Added::Shared);
        let taken = wanted.take(10, |_| true);
        assert_eq!(taken.len(), 10);
        assert!(taken.contains(&Ordinal(2000)) && taken.contains(&Ordinal(900)));
        assert_eq!(wanted.len(), 1001 - 10);
        assert_eq!(wanted.remove(Ordinal(900)), [1, 3]);
        let rest: Vec<_> =
            std::iter::from_fn(|| Some(wanted.take(300, |_| true)).filter(|ids| !ids.is_empty())).collect();
        assert_eq!(rest.iter().map(Vec::len).collect::<Vec<_>>(), [300, 300, 300, 91]);
    }

    #[test]
    fn a_client_has_half_of_the_places() {
        let mut wanted = Wanted::default();
        (0..CLIENT_WANTED_MAX as u32).for_each(|id| _ = wanted.add(&client("a"), Ordinal(id), 1));
        assert!(!wanted.has_room("a", 1) && wanted.has_room("b", 10_000));
        wanted.forget("a", &(0..10).map(Ordinal).collect::<Vec<_>>(), 1);
        assert!(wanted.has_room("a", 10) && !wanted.has_room("a", 11));
        for other in ["b", "c"] {
            (0..50_000).for_each(|id| _ = wanted.add(&client(other), Ordinal(500_000 + id), 2));
        }
        (0..50_010).for_each(|id| _ = wanted.add(&client("d"), Ordinal(700_000 + id), 3));
        assert!(!wanted.has_room("e", 1), "all places are taken");
    }

    #[test]
    fn what_no_client_waits_for_is_not_asked() {
        let mut wanted = Wanted::default();
        (0..10).for_each(|id| _ = wanted.add(&client("gone"), Ordinal(id), 1));
        (5..15).for_each(|id| _ = wanted.add(&client("here"), Ordinal(id), 2));
        assert_eq!(wanted.take(100, |question| question == 2), (5..15).map(Ordinal).collect::<Vec<_>>());
        assert_eq!(wanted.len(), 0);
        wanted.add_probe(Ordinal(99));
        assert_eq!(wanted.take(100, |_| false), [Ordinal(99)]);
    }

    /// In any order of questions, calls and clients that leave, each id that a question waits for is asked once, and no other.
    #[test]
    fn each_id_is_asked_once() {
        for seed in 1..300 {
            let mut random = Random::new(seed);
            let mut wanted = Wanted::default();
            // By id: the questions that wait for it, and whether it is being asked.
            let mut model: BTreeMap<Ordinal, (BTreeSet<u64>, bool)> = BTreeMap::new();
            let mut questions: BTreeMap<u64, (Arc<str>, Vec<Ordinal>)> = BTreeMap::new();
            for question in 0..60 {
                match random.below(4) {
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
                        let free = model.values().filter(|(_, is_asked)| !is_asked).count();
                        let taken = wanted.take(most, |_| true);
                        assert_eq!(taken.len(), most.min(free), "seed {seed}");
                        for id in taken {
                            let (_, is_asked) = model.get_mut(&id).expect("it is wanted");
                            assert!(!std::mem::replace(is_asked, true), "seed {seed}: it is asked twice");
                        }
                    }
                    _ if random.chance(500) => {
                        let asked = model.iter().find(|(_, (_, is_asked))| *is_asked).map(|(id, _)| *id);
                        if let Some(id) = asked {
                            let (expected, _) = model.remove(&id).expect("it is wanted");
                            assert_eq!(wanted.remove(id).into_iter().collect::<BTreeSet<_>>(), expected);
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
                assert_eq!(wanted.len(), model.values().filter(|(_, is_asked)| !is_asked).count());
            }
        }
    }
}
