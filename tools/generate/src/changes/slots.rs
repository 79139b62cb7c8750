//! Actors that are added and removed.

use std::collections::HashMap;

use crate::random::Random;

/// The index of an actor. A slot is never used twice: a reference to the slot of a removed actor stays empty, even after
/// the actor has returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(u32);

impl Slot {
    pub fn number(self) -> u32 {
        self.0
    }

    pub fn of_number(number: u32) -> Self {
        Slot(number)
    }
}

/// Something with an id.
pub trait Actor {
    fn id(&self) -> u64;
}

/// The actors of one role, present and removed.
pub struct Slots<T> {
    /// By slot; nothing where the actor was removed.
    entries: Vec<Option<T>>,
    /// In the order they came.
    present: Vec<Slot>,
    removed: Vec<T>,
}

impl<T: Actor> Slots<T> {
    pub fn new() -> Self {
        Slots { entries: Vec::new(), present: Vec::new(), removed: Vec::new() }
    }

    pub fn add(&mut self, actor: T) -> Slot {
        let slot = Slot(u32::try_from(self.entries.len()).expect("fewer actors than recipients"));
        self.entries.push(Some(actor));
        self.present.push(slot);
        slot
    }

    /// Removes the actor of a slot and returns its id.
    pub fn remove(&mut self, slot: Slot) -> Option<u64> {
        let actor = self.entries[slot.0 as usize].take()?;
        self.present.retain(|&other| other != slot);
        let id = actor.id();
        self.removed.push(actor);
        Some(id)
    }

    /// One of the removed actors, which is no longer kept as removed.
    pub fn take_removed(&mut self, random: &mut Random) -> Option<T> {
        (!self.removed.is_empty()).then(|| self.removed.swap_remove(random.index(self.removed.len())))
    }

    pub fn get(&self, slot: Slot) -> Option<&T> {
        self.entries[slot.0 as usize].as_ref()
    }

    pub fn get_mut(&mut self, slot: Slot) -> Option<&mut T> {
        self.entries[slot.0 as usize].as_mut()
    }

    /// The slots of all present actors.
    pub fn present(&self) -> &[Slot] {
        &self.present
    }

    pub fn draw(&self, random: &mut Random) -> Option<Slot> {
        (!self.present.is_empty()).then(|| self.present[random.index(self.present.len())])
    }

    pub fn shuffle(&mut self, random: &mut Random) {
        random.shuffle(&mut self.present);
    }

    /// Whether an actor, present or removed, has the id.
    pub fn knows(&self, id: u64) -> bool {
        self.entries.iter().flatten().chain(&self.removed).any(|actor| actor.id() == id)
    }

    pub fn by_id(&self) -> HashMap<u64, Slot> {
        let present = self.present.iter();
        present.filter_map(|&slot| self.get(slot).map(|actor| (actor.id(), slot))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Stream;

    impl Actor for u64 {
        fn id(&self) -> u64 {
            *self
        }
    }

    #[test]
    fn who_comes_back_has_another_slot() {
        let mut random = Random::new(1, Stream::Change, 0);
        let mut slots = Slots::new();
        let first = slots.add(7u64);
        assert_eq!((slots.draw(&mut random), slots.get(first)), (Some(first), Some(&7)));
        assert_eq!(slots.remove(first), Some(7));
        assert_eq!(slots.remove(first), None);
        assert_eq!((slots.draw(&mut random), slots.get(first)), (None, None));
        assert!(slots.knows(7));
        let back = slots.take_removed(&mut random).unwrap();
        assert!(!slots.knows(7));
        assert_ne!(slots.add(back), first);
        assert!(slots.knows(7) && !slots.knows(8));
        assert_eq!((slots.get(first), slots.present().len(), slots.by_id().len()), (None, 1, 1));
    }
}
