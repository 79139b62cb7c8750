//! The answers of a desk.

use crate::changes::ChangeBody;
use crate::identities::Ordinal;
use crate::source::answer::Answer;
use hashbrown::HashMap;
use jiff::Timestamp;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Memory of an answer in bytes, without the texts of a person.
const ANSWER_BYTES: usize = 240;

struct Kept {
    time: Timestamp,
    answer: Answer,
}

/// The last answer of each id, in the order of their times.
pub(super) struct AnswerCache {
    answers: HashMap<Ordinal, Kept>,
    /// The oldest first. What was answered again has an entry for each time.
    order: VecDeque<(Timestamp, Ordinal)>,
    /// Memory of the answers of all desks in bytes.
    total: Arc<AtomicUsize>,
    bytes_max: usize,
}

impl AnswerCache {
    pub(super) fn new(total: Arc<AtomicUsize>, bytes_max: usize) -> AnswerCache {
        AnswerCache { answers: HashMap::new(), order: VecDeque::new(), total, bytes_max }
    }

    pub(super) fn len(&self) -> usize {
        self.answers.len()
    }

    /// The answer of an id, if it is not older than `since`.
    pub(super) fn get(&self, id: Ordinal, since: Timestamp) -> Option<(Timestamp, &Answer)> {
        self.answers.get(&id).filter(|kept| kept.time >= since).map(|kept| (kept.time, &kept.answer))
    }

    pub(super) fn put(&mut self, id: Ordinal, time: Timestamp, answer: Answer) {
        self.total.fetch_add(bytes_of(&answer), Ordering::Relaxed);
        if let Some(before) = self.answers.insert(id, Kept { time, answer }) {
            self.total.fetch_sub(bytes_of(&before.answer), Ordering::Relaxed);
        }
        self.order.push_back((time, id));
    }

    /// Removes what is older than `since`, and the oldest answers while all desks together have too many.
    pub(super) fn evict(&mut self, since: Timestamp) {
        while let Some(&(time, id)) = self.order.front() {
            // What was answered again may be young, but its earlier entries take memory too.
            let is_over = self.total.load(Ordering::Relaxed) > self.bytes_max
                || self.order.len() > 2 * self.answers.len() + 1;
            if time >= since && !is_over {
                return;
            }
            self.order.pop_front();
            if self.answers.get(&id).is_some_and(|kept| kept.time == time)
                && let Some(removed) = self.answers.remove(&id)
            {
                self.total.fetch_sub(bytes_of(&removed.answer), Ordering::Relaxed);
            }
        }
    }
}

impl Drop for AnswerCache {
    fn drop(&mut self) {
        let bytes: usize = self.answers.values().map(|kept| bytes_of(&kept.answer)).sum();
        self.total.fetch_sub(bytes, Ordering::Relaxed);
    }
}

fn bytes_of(answer: &Answer) -> usize {
    let texts = match answer {
        ChangeBody::PutPerson(put) => put.contact.len() + put.operator.len() + put.certificate.len(),
        _ => 0,
    };
    ANSWER_BYTES + texts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::answer::canonical;

    #[test]
    fn answers_leave_by_age_and_by_memory() {
        let total = Arc::new(AtomicUsize::new(0));
        let first = canonical("199001022384").expect("an id");
        let at = |second| Timestamp::from_second(second).expect("a time");
        let mut cache = AnswerCache::new(Arc::clone(&total), 10 * ANSWER_BYTES);
        for number in 0..5 {
            let id = Ordinal(first.0 + number);
            cache.put(id, at(i64::from(number)), ChangeBody::Remove(id));
        }
        cache.put(first, at(9), ChangeBody::Remove(first));
        assert!(cache.get(first, at(9)).is_some() && cache.get(first, at(10)).is_none());
        cache.evict(at(3));
        let kept = |cache: &AnswerCache| {
            (0..20).filter(|n| cache.get(Ordinal(first.0 + n), Timestamp::MIN).is_some()).collect::<Vec<_>>()
        };
        assert_eq!(kept(&cache), [0, 3, 4], "what was answered again is young");
        assert_eq!(total.load(Ordering::Relaxed), 3 * ANSWER_BYTES);
        for number in 5..20 {
            let id = Ordinal(first.0 + number);
            cache.put(id, at(20), ChangeBody::Remove(id));
        }
        cache.evict(at(3));
        assert_eq!(kept(&cache), (10..20).collect::<Vec<_>>(), "the oldest ones leave");
        drop(cache);
        assert_eq!(total.load(Ordering::Relaxed), 0);
    }
}
