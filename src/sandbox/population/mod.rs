//! The synthetic recipients of a sandbox: some of every state, which `recipients.csv` lists.

mod far;
mod krr;

pub(super) use far::{DISPATCHER, OPERATOR, OTHER_OPERATOR, SENDER};
pub(super) use krr::{CUSTOMER, SUPPLIER};

use super::error::SandboxError;
use super::place::Place;
use super::random::Random;
use crate::identities::{Country, Identity, Today};
use crate::store;
use jiff::Timestamp;
use std::collections::BTreeSet;

/// A state that recipients are in.
pub(super) struct State {
    /// Its name in `recipients.csv`.
    pub(super) name: &'static str,
    /// What it means, for the page.
    pub(super) meaning: &'static str,
    /// How many of a hundred recipients are in it.
    pub(super) percent: usize,
}

const fn state(name: &'static str, percent: usize, meaning: &'static str) -> State {
    State { name, meaning, percent }
}

/// A recipient and its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Resident {
    pub(super) register: &'static str,
    pub(super) state: &'static str,
    pub(super) id: String,
}

/// The states of a register.
pub(super) fn states(register: &str) -> &'static [State] {
    if register == "far" { &far::STATES } else { &krr::STATES }
}

/// Makes the registers of a sandbox and the list of their recipients, unless they are there.
pub(super) fn make(place: &Place, seed: u64) -> Result<Vec<Resident>, SandboxError> {
    const LIST: &str = "recipients.csv";
    if let Some(text) = place.read(LIST)? {
        return read(&text);
    }
    let mut random = Random::new(seed, "recipients");
    let now = Timestamp::now();
    let mut residents = far::make(place, &mut random, now)?;
    store::init(place.join("extract/far"), place.join("data/far"))?;
    far::make_pending(place, &residents, now)?;
    residents.extend(krr::make(place, &mut random, now)?);
    store::init(place.join("extract/krr"), place.join("data/krr"))?;
    let mut text = "register,state,id\n".to_owned();
    for Resident { register, state, id } in &residents {
        text.push_str(&format!("{register},{state},{id}\n"));
    }
    // The last file: what a crash has left without it is refused.
    place.write(LIST, text.as_bytes())?;
    Ok(residents)
}

fn read(text: &str) -> Result<Vec<Resident>, SandboxError> {
    let read = |line: &str| {
        let mut cells = line.split(',');
        let (register, state, id) = (cells.next()?, cells.next()?, cells.next()?);
        let register = ["far", "krr"].into_iter().find(|known| *known == register)?;
        let state = states(register).iter().find(|known| known.name == state)?.name;
        Some(Resident { register, state, id: id.to_owned() })
    };
    let residents: Option<Vec<Resident>> = text.lines().skip(1).map(read).collect();
    residents.ok_or_else(|| SandboxError::State("recipients.csv is not that of this version".to_owned()))
}

/// The states of so many recipients, in random order.
fn drawn(states: &'static [State], count: usize, random: &mut Random) -> Vec<&'static str> {
    let mut drawn: Vec<&'static str> = states
        .iter()
        .flat_map(|state| std::iter::repeat_n(state.name, (count * state.percent).div_ceil(100)))
        .collect();
    drawn.truncate(count);
    random.shuffle(&mut drawn);
    drawn
}

/// The valid identity that begins with some digits, and check digits that are tried.
fn completed(digits: &str, country: Country) -> Option<Identity> {
    let places = if country == Country::Norway { 2 } else { 1 };
    (0..10_usize.pow(places)).find_map(|check| {
        let text = format!("{digits}{check:0places$}", places = places as usize);
        Identity::parse(text.as_bytes(), country, Today::CONTRACT).ok()
    })
}

/// Identities that none of the earlier ones is.
struct Drawn<'r> {
    random: &'r mut Random,
    taken: BTreeSet<String>,
}

impl Drawn<'_> {
    fn next(&mut self, country: Country, digits: impl Fn(&mut Random) -> String) -> String {
        loop {
            let text = digits(self.random);
            let Some(identity) = completed(&text, country) else { continue };
            if self.taken.insert(identity.as_str().to_owned()) {
                return identity.as_str().to_owned();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::Snapshot;

    /// A seed determines recipients and states; each state is there.
    #[test]
    fn a_seed_determines_the_recipients() {
        let made = |seed| {
            let directory = tempfile::tempdir().expect("a directory");
            let place = Place::new(Some(directory.path())).expect("a place");
            let made = make(&place, seed).expect("made");
            assert_eq!(make(&place, seed + 1).expect("read again"), made, "what is there is kept");
            let reader = store::Reader::open(place.join("data/far")).expect("opened");
            assert!(reader.register().recipients() > 9_500);
            drop(Snapshot::open(place.join("data/far/register-00000000000000001000.nabar")).expect("a file"));
            made
        };
        let first = made(1);
        assert_eq!(made(1), first);
        assert_ne!(made(2), first);
        for register in ["far", "krr"] {
            for state in states(register) {
                let count =
                    first.iter().filter(|one| one.register == register && one.state == state.name).count();
                assert!(count >= 10, "{register} {}: {count}", state.name);
            }
        }
    }
}
