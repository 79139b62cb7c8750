//! Numbers of organisations: what states and rules name them by.
//!
//! In a register file an organisation's number is its place in the list. When one leaves the list while
//! the register lives, the others keep their numbers, and its own is never given again: states and rules
//! that name it need not be touched to forget it.

/// The numbers of the organisations of a list.
#[derive(Clone, Debug, Default)]
pub(crate) struct Numbers {
    /// For each place its number.
    numbers: Vec<u16>,
    /// For each number its place, if it is still there.
    places: Vec<Option<u16>>,
}

impl Numbers {
    /// Of a list in a register file.
    pub(crate) fn in_order(count: usize) -> Numbers {
        let places = 0..count as u16;
        Numbers { numbers: places.clone().collect(), places: places.map(Some).collect() }
    }

    /// How many numbers have been given.
    pub(crate) fn given(&self) -> u16 {
        self.places.len() as u16
    }

    /// The place of a number, `None` if that organisation has left.
    pub(crate) fn place(&self, number: u16) -> Option<u16> {
        self.places.get(usize::from(number)).copied().flatten()
    }

    /// The number of the organisation at a place.
    pub(crate) fn number(&self, place: u16) -> u16 {
        self.numbers.get(usize::from(place)).copied().unwrap_or(u16::MAX)
    }

    /// Gives a number to an organisation that joins at the end of the list. `None` if none is left: a new
    /// register file begins anew.
    pub(crate) fn push(&mut self) -> Option<u16> {
        let number = u16::try_from(self.places.len()).ok().filter(|&number| number < u16::MAX)?;
        self.places.push(Some(self.numbers.len() as u16));
        self.numbers.push(number);
        Some(number)
    }

    /// Takes out the organisation at a place; those behind it move up.
    pub(crate) fn remove(&mut self, place: u16) {
        let gone = self.numbers.remove(usize::from(place));
        self.places[usize::from(gone)] = None;
        for later in self.places.iter_mut().flatten().filter(|later| **later > place) {
            *later -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_and_are_not_given_again() {
        let mut numbers = Numbers::in_order(3);
        numbers.remove(1);
        assert_eq!([0, 1, 2].map(|number| numbers.place(number)), [Some(0), None, Some(1)]);
        assert_eq!(numbers.push(), Some(3));
        assert_eq!([0, 1, 2].map(|place| numbers.number(place)), [0, 2, 3]);
        assert_eq!(numbers.place(3), Some(2));
        assert_eq!(numbers.place(9), None);
    }
}
