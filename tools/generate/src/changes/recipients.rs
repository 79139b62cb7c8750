//! The recipients of a FaR register at one position in the stream.

use std::collections::HashMap;
use std::path::Path;

use super::actors::{Actors, parse_id, parse_slots, read_table};
use super::slots::{Actor, Slot};
use crate::calendar::Instant;
use crate::csv::Columns;
use crate::extract::Result;
use crate::far::Kind;
use crate::json::Object;

/// All fields of a recipient.
#[derive(Clone, Copy)]
pub struct Recipient {
    pub id: u64,
    pub kind: Kind,
    pub pending: bool,
    /// May have been removed; then there is no operator.
    pub operator: Option<Slot>,
    pub registered: Option<Instant>,
    pub rule: Rule,
    pub rule_changed: Option<Instant>,
}

/// Which senders a recipient accepts: an index into [`Rules`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Rule(u32);

impl Rule {
    /// All senders are accepted.
    pub const ALL: Rule = Rule(0);
}

/// The rules of all recipients, one after another: a head, then the senders it is about.
pub struct Rules {
    words: Vec<u32>,
}

/// The last bit of a head distinguishes `only` from `all-except`; the others are the number of senders that follow.
const ONLY: u32 = 1;

impl Rules {
    fn new() -> Self {
        Rules { words: vec![0] }
    }

    pub fn add(&mut self, only: bool, senders: &[Slot]) -> Rule {
        if !only && senders.is_empty() {
            return Rule::ALL;
        }
        let rule = Rule(u32::try_from(self.words.len()).expect("rules fit 16 GB"));
        self.words.push((senders.len() as u32) << 1 | u32::from(only));
        self.words.extend(senders.iter().map(|slot| slot.number()));
        rule
    }

    /// Whether it is `only`, and the senders, of whom some may have been removed.
    fn get(&self, rule: Rule) -> (bool, impl Iterator<Item = Slot>) {
        let place = rule.0 as usize;
        let head = self.words[place];
        let senders = &self.words[place + 1..][..(head >> 1) as usize];
        (head & ONLY == ONLY, senders.iter().map(|&number| Slot::of_number(number)))
    }
}

/// The recipients, in no order.
pub struct Recipients {
    pub all: Vec<Recipient>,
    pub rules: Rules,
}

const COLUMNS: Columns<'_> = Columns {
    required: &["recipient_id", "type", "pending", "operator_id"],
    optional: &["last_registration", "acceptance", "exceptions", "last_sender_accept_change"],
};

impl Recipients {
    pub fn read(directory: &Path, actors: &Actors) -> Result<Self> {
        let (operators, senders) = (actors.operators.by_id(), actors.senders.by_id());
        let mut recipients = Recipients { all: Vec::new(), rules: Rules::new() };
        read_table(directory, "recipients.csv", &COLUMNS, |cells: [&str; 8]| {
            let recipient = recipients.parse(cells, &operators, &senders)?;
            recipients.all.push(recipient);
            Ok(())
        })?;
        Ok(recipients)
    }

    fn parse(
        &mut self,
        [id, kind, pending, operator, registered, acceptance, exceptions, rule_changed]: [&str; 8],
        operators: &HashMap<u64, Slot>,
        senders: &HashMap<u64, Slot>,
    ) -> Result<Recipient> {
        let kind = Kind::ALL.into_iter().find(|known| known.name() == kind).ok_or("an unknown type")?;
        let pending = match pending {
            "true" => true,
            "false" | "" => false,
            _ => return Err("pending is neither true nor false".into()),
        };
        let operator = match operator {
            "" => None,
            id => Some(*operators.get(&parse_id(id)?).ok_or("an unknown operator")?),
        };
        let only = match acceptance {
            "only" => true,
            "all-except" | "" => false,
            _ => return Err("an unknown acceptance".into()),
        };
        let rule = self.rules.add(only, &parse_slots(exceptions, senders)?);
        let (registered, rule_changed) = (parse_time(registered)?, parse_time(rule_changed)?);
        Ok(Recipient { id: parse_id(id)?, kind, pending, operator, registered, rule, rule_changed })
    }

    /// Appends the whole state of a recipient.
    pub fn push_whole(&self, line: &mut Object<'_>, recipient: &Recipient, actors: &Actors) {
        let mut object = line.object("put_recipient");
        object.id("recipient_id", recipient.id, 12);
        object.text("type", recipient.kind.name());
        object.boolean("pending", recipient.pending);
        if let Some(operator) = recipient.operator.and_then(|slot| actors.operators.get(slot)) {
            object.id("operator_id", operator.id(), 12);
        }
        push_time(&mut object, "last_registration", recipient.registered);
        self.push_acceptance(&mut object, recipient, actors);
        object.close();
    }

    /// Appends the accepted senders of a recipient.
    pub fn push_set_acceptance(&self, line: &mut Object<'_>, recipient: &Recipient, actors: &Actors) {
        let mut object = line.object("set_acceptance");
        object.id("recipient_id", recipient.id, 12);
        self.push_acceptance(&mut object, recipient, actors);
        object.close();
    }

    fn push_acceptance(&self, object: &mut Object<'_>, recipient: &Recipient, actors: &Actors) {
        let (only, senders) = self.rules.get(recipient.rule);
        object.text("acceptance", if only { "only" } else { "all-except" });
        object.ids("exceptions", &actors.sender_ids(senders), 12);
        push_time(object, "last_sender_accept_change", recipient.rule_changed);
    }
}

fn parse_time(text: &str) -> Result<Option<Instant>> {
    Ok(if text.is_empty() { None } else { Some(Instant::parse(text)?) })
}

fn push_time(object: &mut Object<'_>, name: &str, time: Option<Instant>) {
    if let Some(time) = time {
        object.text_with(name, |out| time.push_utc(out));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_kept_as_they_were_added() {
        let mut rules = Rules::new();
        let slots: Vec<Slot> = (5..8).map(Slot::of_number).collect();
        let added = [(false, &slots[..0]), (true, &slots[..0]), (true, &slots[..]), (false, &slots[1..2])];
        let kept = added.map(|(only, senders)| rules.add(only, senders));
        assert!(kept[0] == Rule::ALL);
        for (rule, (only, senders)) in kept.into_iter().zip(added) {
            let (kept_only, kept_senders) = rules.get(rule);
            assert_eq!((kept_only, &kept_senders.collect::<Vec<_>>()[..]), (only, senders));
        }
    }
}
