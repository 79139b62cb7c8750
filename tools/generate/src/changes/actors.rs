//! Operators, senders and dispatchers at one position in the stream.

use std::collections::HashMap;
use std::path::Path;

use super::slots::{Actor, Slot, Slots};
use crate::actors::{Role, draw_attention};
use crate::csv::{Columns, Table};
use crate::extract::Result;
use crate::json::Object;
use crate::random::Random;

pub struct Operator {
    id: u64,
    name: String,
    service_address: String,
    ui_address: String,
    internal_service_address: String,
    logo: String,
}

pub struct Sender {
    id: u64,
    name: String,
    attention: String,
}

pub struct Dispatcher {
    id: u64,
    name: String,
    /// Senders that were removed stay here and are not written.
    senders: Vec<Slot>,
}

impl Actor for Operator {
    fn id(&self) -> u64 {
        self.id
    }
}

impl Actor for Sender {
    fn id(&self) -> u64 {
        self.id
    }
}

impl Actor for Dispatcher {
    fn id(&self) -> u64 {
        self.id
    }
}

/// All actors of the register.
pub struct Actors {
    pub operators: Slots<Operator>,
    /// Those most often deselected first.
    pub senders: Slots<Sender>,
    pub dispatchers: Slots<Dispatcher>,
    test_numbers: bool,
}

/// Reads an organisation's number in its canonical form.
pub fn parse_id(text: &str) -> Result<u64> {
    let canonical = text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit());
    if !canonical {
        return Err("an id is not twelve digits".into());
    }
    Ok(text.parse()?)
}

/// Reads ids that are separated by spaces; all must be known.
pub fn parse_slots(text: &str, known: &HashMap<u64, Slot>) -> Result<Vec<Slot>> {
    let slot = |id: &str| known.get(&parse_id(id)?).copied().ok_or_else(|| "an unknown sender".into());
    text.split_ascii_whitespace().map(slot).collect()
}

impl Actors {
    pub fn read(directory: &Path, test_numbers: bool, random: &mut Random) -> Result<Self> {
        let operators = read_operators(directory)?;
        let mut senders = read_senders(directory)?;
        let dispatchers = read_dispatchers(directory, &senders.by_id())?;
        senders.shuffle(random);
        Ok(Actors { operators, senders, dispatchers, test_numbers })
    }

    /// The ids of those senders that still exist, ascending.
    pub fn sender_ids(&self, slots: impl IntoIterator<Item = Slot>) -> Vec<u64> {
        let present = slots.into_iter().filter_map(|slot| self.senders.get(slot));
        let mut ids: Vec<u64> = present.map(|sender| sender.id).collect();
        ids.sort_unstable();
        ids
    }

    /// At most `count` distinct senders, mostly those often deselected.
    pub fn draw_senders(&self, random: &mut Random, count: usize) -> Vec<Slot> {
        let present = self.senders.present();
        let mut chosen = Vec::new();
        while chosen.len() < count.min(present.len()) {
            let mut rank = || random.index(present.len());
            let slot = present[rank().min(rank()).min(rank())];
            if !chosen.contains(&slot) {
                chosen.push(slot);
            }
        }
        chosen
    }

    /// An operator comes back, joins, or moves its service.
    pub fn put_operator(&mut self, line: &mut Object<'_>, random: &mut Random) {
        let slot = match self.operators.take_removed(random) {
            Some(operator) => self.operators.add(operator),
            None => match self.operators.draw(random) {
                Some(slot) if !random.chance(125_000) => slot,
                _ => self.join_operator(random),
            },
        };
        if let Some(operator) = self.operators.get_mut(slot) {
            operator.move_service(random);
            operator.push(line);
        }
    }

    fn join_operator(&mut self, random: &mut Random) -> Slot {
        let (id, name) = draw_unknown(&self.operators, Role::Operator, self.test_numbers, random);
        self.operators.add(Operator {
            id,
            name,
            service_address: String::new(),
            ui_address: format!("https://www.operator{id}.example/"),
            internal_service_address: String::new(),
            logo: format!("https://www.operator{id}.example/logo.png"),
        })
    }

    pub fn remove_operator(&mut self, line: &mut Object<'_>, slot: Slot) {
        push_removal(line, "remove_operator", self.operators.remove(slot));
    }

    /// A sender comes back, joins, or names another unit.
    pub fn put_sender(&mut self, line: &mut Object<'_>, random: &mut Random) {
        let removed = if random.chance(500_000) { self.senders.take_removed(random) } else { None };
        let slot = match (removed, self.senders.draw(random)) {
            (Some(sender), _) => self.senders.add(sender),
            (None, Some(slot)) if random.chance(500_000) => slot,
            _ => {
                let (id, name) = draw_unknown(&self.senders, Role::Sender, self.test_numbers, random);
                self.senders.add(Sender { id, name, attention: String::new() })
            }
        };
        let Some(sender) = self.senders.get_mut(slot) else { return };
        sender.attention = draw_attention(random).to_owned();
        let mut object = line.object("put_sender");
        object.id("id", sender.id, 12);
        object.text("name", &sender.name);
        object.text("attention", &sender.attention);
        object.close();
    }

    /// Removes the sender from everywhere: rules and dispatchers no longer name it.
    pub fn remove_sender(&mut self, line: &mut Object<'_>, random: &mut Random) {
        let slot = self.senders.draw(random);
        push_removal(line, "remove_sender", slot.and_then(|slot| self.senders.remove(slot)));
    }

    /// A dispatcher comes back, joins, or begins or ceases to act for a sender.
    pub fn put_dispatcher(&mut self, line: &mut Object<'_>, random: &mut Random) {
        let removed = if random.chance(500_000) { self.dispatchers.take_removed(random) } else { None };
        let slot = match (removed, self.dispatchers.draw(random)) {
            (Some(dispatcher), _) => self.dispatchers.add(dispatcher),
            (None, Some(slot)) if !random.chance(125_000) => slot,
            _ => {
                let (id, name) = draw_unknown(&self.dispatchers, Role::Dispatcher, self.test_numbers, random);
                self.dispatchers.add(Dispatcher { id, name, senders: Vec::new() })
            }
        };
        let sender = self.senders.draw(random);
        if let (Some(dispatcher), Some(sender)) = (self.dispatchers.get_mut(slot), sender) {
            dispatcher.begin_or_cease(sender);
        }
        let Some(dispatcher) = self.dispatchers.get(slot) else { return };
        let mut object = line.object("put_dispatcher");
        object.id("id", dispatcher.id, 12);
        object.text("name", &dispatcher.name);
        object.ids("senders", &self.sender_ids(dispatcher.senders.iter().copied()), 12);
        object.close();
    }

    pub fn remove_dispatcher(&mut self, line: &mut Object<'_>, random: &mut Random) {
        let slot = self.dispatchers.draw(random);
        push_removal(line, "remove_dispatcher", slot.and_then(|slot| self.dispatchers.remove(slot)));
    }
}

impl Operator {
    /// Gives the service another address; at times none, and then the operator takes no messages.
    fn move_service(&mut self, random: &mut Random) {
        let host = self.ui_address.split('/').nth(2).and_then(|host| host.split_once('.'));
        let domain = host.map_or("operator.example", |(_, domain)| domain);
        let moved = format!("https://mm{}.{domain}/service/v3", 2 + random.below(98));
        let silent = !self.service_address.is_empty() && random.chance(100_000);
        self.service_address = if silent { String::new() } else { moved };
    }

    fn push(&self, line: &mut Object<'_>) {
        let mut object = line.object("put_operator");
        object.id("id", self.id, 12);
        object.text("name", &self.name);
        object.text("service_address", &self.service_address);
        object.text("ui_address", &self.ui_address);
        object.text("internal_service_address", &self.internal_service_address);
        object.text("logo", &self.logo);
        object.close();
    }
}

impl Dispatcher {
    fn begin_or_cease(&mut self, sender: Slot) {
        match self.senders.iter().position(|&slot| slot == sender) {
            Some(place) => _ = self.senders.swap_remove(place),
            None => self.senders.push(sender),
        }
    }
}

fn push_removal(line: &mut Object<'_>, name: &str, id: Option<u64>) {
    let mut object = line.object(name);
    object.id("id", id.expect("only who is present is removed"), 12);
    object.close();
}

/// A number and a name for a new actor.
fn draw_unknown<T: Actor>(
    known: &Slots<T>,
    role: Role,
    test_numbers: bool,
    random: &mut Random,
) -> (u64, String) {
    loop {
        let (id, name) = role.draw_joining(random, test_numbers);
        if !known.knows(id) {
            return (id, name);
        }
    }
}

fn read_operators(directory: &Path) -> Result<Slots<Operator>> {
    let optional = &["service_address", "ui_address", "internal_service_address", "logo"];
    let columns = Columns { required: &["id", "name"], optional };
    let mut operators = Slots::new();
    read_table(directory, "operators.csv", &columns, |[id, rest @ ..]: [&str; 6]| {
        let [name, service_address, ui_address, internal_service_address, logo] = rest.map(str::to_owned);
        let id = parse_id(id)?;
        operators.add(Operator { id, name, service_address, ui_address, internal_service_address, logo });
        Ok(())
    })?;
    Ok(operators)
}

fn read_senders(directory: &Path) -> Result<Slots<Sender>> {
    let columns = Columns { required: &["id", "name"], optional: &["attention"] };
    let mut senders = Slots::new();
    read_table(directory, "senders.csv", &columns, |[id, name, attention]: [&str; 3]| {
        senders.add(Sender { id: parse_id(id)?, name: name.to_owned(), attention: attention.to_owned() });
        Ok(())
    })?;
    Ok(senders)
}

fn read_dispatchers(directory: &Path, senders: &HashMap<u64, Slot>) -> Result<Slots<Dispatcher>> {
    let columns = Columns { required: &["id", "name"], optional: &["senders"] };
    let mut dispatchers = Slots::new();
    read_table(directory, "dispatchers.csv", &columns, |[id, name, list]: [&str; 3]| {
        let senders = parse_slots(list, senders)?;
        dispatchers.add(Dispatcher { id: parse_id(id)?, name: name.to_owned(), senders });
        Ok(())
    })?;
    Ok(dispatchers)
}

/// Reads all rows of a file of the extract; errors name the file.
pub fn read_table<const N: usize>(
    directory: &Path,
    name: &str,
    columns: &Columns<'_>,
    row: impl FnMut([&str; N]) -> Result<()>,
) -> Result<()> {
    let mut table = Table::open(directory, name, columns)?;
    table.for_each(row).map_err(|error| format!("{}: {error}", directory.join(name).display()).into())
}
