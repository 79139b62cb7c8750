//! Operators, senders and dispatchers of the Swedish extract. All names are invented.

use crate::identity::swedish;
use crate::random::{Random, Stream};
use crate::text::{push_csv_line, push_padded};

/// Name, domain and share of the recipients in thousandths. The last has lost its service address.
const OPERATORS: [(&str, &str, u64); 6] = [
    ("Brevia AB", "brevia", 746),
    ("Min samhällspost", "samhallspost", 120),
    ("Mejlo Sverige AB", "mejlo", 80),
    ("Ekonavi AB", "ekonavi", 49),
    ("Postlådan Digital AB", "postladan", 4),
    ("e-Kuvert i Norden AB", "ekuvert", 1),
];
const WITHOUT_ADDRESS: usize = 5;

const DISPATCHERS: usize = 15;

const AGENCIES: [&str; 24] = [
    "Skattemyndigheten",
    "Fordonsmyndigheten",
    "Pensionsverket",
    "Myndigheten för hav, sjöar och vattendrag",
    "Studiestödsmyndigheten",
    "Socialförsäkringsverket",
    "Arbetsverket",
    "Betalningsverket",
    "Lantmäterimyndigheten",
    "Inkomstverket",
    "Byggnadsverket",
    "Läkemedelsmyndigheten",
    "Domstolsmyndigheten",
    "Bolagsmyndigheten",
    "Jordbruksmyndigheten",
    "Skolmyndigheten",
    "Energiverket",
    "Tullmyndigheten",
    "Polisverket",
    "Migrationsmyndigheten",
    "Konsumentmyndigheten",
    "Elmyndigheten",
    "Statistikmyndigheten",
    "Myndigheten \"Rent vatten\"",
];

const PLACE_FRONTS: [&str; 20] = [
    "Björk", "Ek", "Gran", "Hav", "Kvarn", "Lind", "Mark", "Norr", "Ros", "Sjö", "Skog", "Sten", "Ström",
    "Söder", "Tall", "Vit", "Väster", "Ås", "Älv", "Öster",
];
const PLACE_ENDS: [&str; 12] =
    ["by", "berga", "bro", "fors", "hamn", "holm", "köping", "lunda", "näs", "stad", "torp", "vik"];

/// A name of a place, the same for the same index.
fn place(index: usize) -> String {
    let index = index * 7 % (PLACE_FRONTS.len() * PLACE_ENDS.len());
    format!("{}{}", PLACE_FRONTS[index / PLACE_ENDS.len()], PLACE_ENDS[index % PLACE_ENDS.len()])
}

/// The role of an actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Operator,
    Sender,
    Dispatcher,
}

/// Actors that join later are numbered from here in their series, beyond those of every extract.
const FIRST_JOINING: usize = 6_000;
const MOST_JOINING: usize = 10_000;

impl Role {
    /// The series of the role; that of the senders is the municipalities'.
    fn series(self, test_numbers: bool) -> u64 {
        let (real, test) = match self {
            Role::Operator => (559_100_000, 492_100_000),
            Role::Sender => (212_000_000, 482_100_000),
            Role::Dispatcher => (556_700_000, 472_700_000),
        };
        if test_numbers { test } else { real }
    }

    /// Number and name of an actor that joins. Another draw may give the same.
    pub fn draw_joining(self, random: &mut Random, test_numbers: bool) -> (u64, String) {
        let at = FIRST_JOINING + random.index(MOST_JOINING);
        let name = match self {
            Role::Operator => format!("{} brevlåda AB", place(at)),
            Role::Sender => format!("{} kommunalförbund", place(at)),
            Role::Dispatcher => format!("{} utskick AB", place(at)),
        };
        (number(random, self.series(test_numbers), at), name)
    }
}

struct Sender {
    id: u64,
    name: String,
    attention: &'static str,
}

struct Dispatcher {
    id: u64,
    name: String,
    senders: Vec<u64>,
}

/// All actors of the extract.
pub struct Actors {
    operators: Vec<u64>,
    senders: Vec<Sender>,
    dispatchers: Vec<Dispatcher>,
    /// Indexes of the senders, those most often deselected first.
    unpopular: Vec<usize>,
}

/// The `index`th number of a series, with small gaps. Distinct for distinct indexes.
fn number(random: &mut Random, series: u64, index: usize) -> u64 {
    swedish(16_000_000_000 + series + index as u64 * 8 + random.below(8))
}

impl Actors {
    pub fn new(seed: u64, sender_count: usize, test_numbers: bool) -> Self {
        let mut random = Random::new(seed, Stream::Actor, 0);
        let operator_series = Role::Operator.series(test_numbers);
        let operators =
            (0..OPERATORS.len()).map(|at| number(&mut random, operator_series, at * 997)).collect();
        let senders: Vec<Sender> =
            (0..sender_count).map(|at| sender(&mut random, at, test_numbers)).collect();
        let dispatcher_series = Role::Dispatcher.series(test_numbers);
        let dispatchers = (0..DISPATCHERS)
            .map(|at| Dispatcher {
                id: number(&mut random, dispatcher_series, at * 101),
                name: format!("{}utskick AB", PLACE_FRONTS[at]),
                senders: represented(&mut random, at, &senders),
            })
            .collect();
        let mut unpopular: Vec<usize> = (0..sender_count).collect();
        random.shuffle(&mut unpopular);
        Actors { operators, senders, dispatchers, unpopular }
    }

    pub fn draw_operator(&self, random: &mut Random) -> u64 {
        self.operators[random.weighted(&OPERATORS.map(|(.., share)| share))]
    }

    /// At most `count` distinct senders, ascending, mostly unpopular ones.
    pub fn draw_senders(&self, random: &mut Random, count: usize) -> Vec<u64> {
        let mut chosen = Vec::new();
        while chosen.len() < count.min(self.senders.len()) {
            let length = self.unpopular.len();
            let rank = random.index(length).min(random.index(length)).min(random.index(length));
            let id = self.senders[self.unpopular[rank]].id;
            if let Err(place) = chosen.binary_search(&id) {
                chosen.insert(place, id);
            }
        }
        chosen
    }

    pub fn operators_csv(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let header = "id,name,service_address,ui_address,internal_service_address,logo\n";
        out.extend_from_slice(header.as_bytes());
        for (at, (&id, (name, domain, _))) in self.operators.iter().zip(OPERATORS).enumerate() {
            let service = format!("https://mm.{domain}.example/service/v3");
            let service = if at == WITHOUT_ADDRESS { String::new() } else { service };
            let ui = format!("https://www.{domain}.example/");
            let internal = if at == 0 { "https://internal.brevia.example/v3" } else { "" };
            let logo = format!("https://www.{domain}.example/logo.png");
            push_csv_line(&mut out, &[&id.to_string(), name, &service, &ui, internal, &logo]);
        }
        out
    }

    pub fn senders_csv(&self) -> Vec<u8> {
        let mut out = b"id,name,attention\n".to_vec();
        for sender in &self.senders {
            push_csv_line(&mut out, &[&sender.id.to_string(), &sender.name, sender.attention]);
        }
        out
    }

    pub fn dispatchers_csv(&self) -> Vec<u8> {
        let mut out = b"id,name,senders\n".to_vec();
        for dispatcher in &self.dispatchers {
            let mut senders = Vec::new();
            for (index, &id) in dispatcher.senders.iter().enumerate() {
                if index > 0 {
                    senders.push(b' ');
                }
                push_padded(&mut senders, id, 12);
            }
            let senders = String::from_utf8_lossy(&senders);
            push_csv_line(&mut out, &[&dispatcher.id.to_string(), &dispatcher.name, &senders]);
        }
        out
    }
}

/// Of ten senders one is a state agency, until those are used up; one is a region, eight municipalities.
fn sender(random: &mut Random, at: usize, test_numbers: bool) -> Sender {
    let (series, name) = match at % 10 {
        0 if at / 10 < AGENCIES.len() => (202_100_000, AGENCIES[at / 10].to_owned()),
        5 => (232_100_000, format!("Region {}", place(at))),
        _ => (Role::Sender.series(false), format!("{} kommun", place(at))),
    };
    let series = if test_numbers { Role::Sender.series(true) } else { series };
    let attention = draw_attention(random);
    Sender { id: number(random, series, at), name, attention }
}

/// A unit within a sender.
pub fn draw_attention(random: &mut Random) -> &'static str {
    match random.below(10) {
        0..6 => "",
        6..8 => "Registrator",
        8 => "Kundtjänst, plan 3",
        _ => "Ekonomienheten",
    }
}

/// The first dispatcher acts for nearly all senders, the last few for a single one.
fn represented(random: &mut Random, at: usize, senders: &[Sender]) -> Vec<u64> {
    let count = match at {
        0 => senders.len() * 9 / 10,
        1..12 => 2 + random.index(40),
        _ => 1,
    };
    let mut ids: Vec<u64> = senders.iter().map(|sender| sender.id).collect();
    random.shuffle_front(&mut ids, count);
    ids.truncate(count.max(1));
    ids.sort_unstable();
    ids
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_names_are_distinct() {
        for test_numbers in [false, true] {
            let actors = Actors::new(1, 240, test_numbers);
            let mut ids: Vec<u64> = actors.senders.iter().map(|sender| sender.id).collect();
            ids.extend(&actors.operators);
            ids.extend(actors.dispatchers.iter().map(|dispatcher| dispatcher.id));
            let count = ids.len();
            ids.sort_unstable();
            ids.dedup();
            assert_eq!(ids.len(), count);
            assert!(ids.iter().all(|id| id / 10_000_000 % 10 >= 2), "third digit");
            assert!(!test_numbers || ids.iter().all(|id| id / 1_000_000_000 == 164));
        }
    }

    #[test]
    fn operators_have_all_the_recipients() {
        assert_eq!(OPERATORS.iter().map(|(.., share)| share).sum::<u64>(), 1000);
    }

    #[test]
    fn chosen_senders_are_distinct_and_known() {
        let actors = Actors::new(1, 40, true);
        let mut random = Random::new(1, Stream::Recipient, 1);
        let chosen = actors.draw_senders(&mut random, 30);
        assert_eq!(chosen.len(), 30);
        assert!(chosen.is_sorted_by(|left, right| left < right));
        assert_eq!(actors.draw_senders(&mut random, 100).len(), 40);
    }
}
