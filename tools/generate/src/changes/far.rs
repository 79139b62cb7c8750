//! Changes of a FaR register.

use std::path::Path;

use super::actors::Actors;
use super::newcomers::Newcomers;
use super::recipients::{Recipient, Recipients, Rule};
use super::slots::Slot;
use super::{Options, Source};
use crate::calendar::Instant;
use crate::extract::Result;
use crate::far::{Kind, MOST_ONLY, draw_exception_count, draw_kind};
use crate::identity::{Register, is_organisation};
use crate::json::Object;
use crate::random::{Random, Stream};

/// What happens on one line of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    /// A recipient moves, completes a registration, and so on.
    Recipient,
    /// The state of a recipient is sent again as it is.
    Repetition,
    Acceptance,
    Join,
    Removal,
    Operator,
    OperatorRemoval,
    Sender,
    SenderRemoval,
    Dispatcher,
    DispatcherRemoval,
}

/// How often each happens, in millionths. Of 5000 changes one is an actor's.
const MIX: [(Event, u64); 11] = [
    (Event::Recipient, 400_000),
    (Event::Repetition, 49_800),
    (Event::Acceptance, 300_000),
    (Event::Join, 150_000),
    (Event::Removal, 100_000),
    (Event::Operator, 40),
    (Event::OperatorRemoval, 2),
    (Event::Sender, 60),
    (Event::SenderRemoval, 30),
    (Event::Dispatcher, 50),
    (Event::DispatcherRemoval, 18),
];

/// Changes at fixed positions of every long stream, so that no kind is missing. The last
/// brings back the operator that was removed.
const TOUR: [Event; 10] = [
    Event::Operator,
    Event::Sender,
    Event::Dispatcher,
    Event::Recipient,
    Event::Acceptance,
    Event::SenderRemoval,
    Event::DispatcherRemoval,
    Event::OperatorRemoval,
    Event::Removal,
    Event::Operator,
];
const TOUR_COUNT: u64 = 300;

/// Share of new recipients that are pending.
const PENDING_COMPANY_MILLIONTHS: u64 = 500_000;
const PENDING_PERSON_MILLIONTHS: u64 = 1_000;

/// A FaR register between two changes.
pub struct Far {
    recipients: Recipients,
    actors: Actors,
    newcomers: Newcomers,
    /// Changes in the stream.
    count: u64,
}

impl Far {
    pub fn read(directory: &Path, options: &Options) -> Result<Self> {
        let mut random = Random::new(options.seed, Stream::Order, 0);
        let actors = Actors::read(directory, options.test_numbers, &mut random)?;
        let recipients = Recipients::read(directory, &actors)?;
        let ids = recipients.all.iter().map(|recipient| recipient.id).collect();
        let newcomers = Newcomers::new(Register::Far, options.test_numbers, ids)?;
        Ok(Far { recipients, actors, newcomers, count: options.count })
    }

    /// Draws the kind of a change; another possible kind if there is no recipient or actor for it.
    fn draw_event(&self, index: u64, random: &mut Random) -> Event {
        let event = tour_stop(index, self.count)
            .unwrap_or_else(|| MIX[random.weighted(&MIX.map(|(_, weight)| weight))].0);
        let actors = &self.actors;
        match event {
            Event::Recipient | Event::Repetition | Event::Acceptance | Event::Removal
                if self.recipients.all.is_empty() =>
            {
                Event::Join
            }
            Event::OperatorRemoval if actors.operators.present().is_empty() => Event::Operator,
            Event::SenderRemoval if actors.senders.present().is_empty() => Event::Sender,
            Event::DispatcherRemoval if actors.dispatchers.present().is_empty() => Event::Dispatcher,
            event => event,
        }
    }

    /// Moves, completes, changes its type, or leaves its mailbox.
    fn change_recipient(&mut self, line: &mut Object<'_>, random: &mut Random, now: Instant) {
        let place = random.index(self.recipients.all.len());
        let mut recipient = self.recipients.all[place];
        let operator = recipient.operator.filter(|&slot| self.actors.operators.get(slot).is_some());
        recipient.operator = operator;
        if recipient.kind == Kind::Not || operator.is_none() {
            recipient.kind = Kind::Secure;
            recipient.operator = self.draw_operator(random, None);
        } else if recipient.pending {
            recipient.pending = false;
        } else {
            self.change_registered(&mut recipient, random);
        }
        recipient.registered = Some(now);
        self.recipients.all[place] = recipient;
        self.recipients.push_whole(line, &recipient, &self.actors);
    }

    fn change_registered(&self, recipient: &mut Recipient, random: &mut Random) {
        match random.weighted(&[84, 6, 6, 4]) {
            0 => recipient.operator = self.draw_operator(random, recipient.operator),
            1 if recipient.kind == Kind::Secure => recipient.kind = Kind::Anonymous,
            1 => recipient.kind = Kind::Secure,
            2 => recipient.pending = true,
            _ => (recipient.kind, recipient.operator) = (Kind::Not, None),
        }
    }

    fn repeat_recipient(&self, line: &mut Object<'_>, random: &mut Random) {
        let all = &self.recipients.all;
        self.recipients.push_whole(line, &all[random.index(all.len())], &self.actors);
    }

    /// A recipient that accepts all senders deselects some; one that does not mostly accepts all again.
    fn set_acceptance(&mut self, line: &mut Object<'_>, random: &mut Random, now: Instant) {
        let place = random.index(self.recipients.all.len());
        let again = self.recipients.all[place].rule != Rule::ALL && random.chance(600_000);
        let (only, count) = match random.weighted(&[900, 70, 30]) {
            _ if again => (false, 0),
            0 => (false, draw_exception_count(random)),
            1 => (true, 1 + random.below(MOST_ONLY) as usize),
            _ => (true, 0),
        };
        let rule = self.draw_rule(random, only, count);
        let recipient = &mut self.recipients.all[place];
        (recipient.rule, recipient.rule_changed) = (rule, Some(now));
        let recipient = *recipient;
        self.recipients.push_set_acceptance(line, &recipient, &self.actors);
    }

    fn draw_rule(&mut self, random: &mut Random, only: bool, count: usize) -> Rule {
        let senders = self.actors.draw_senders(random, count);
        self.recipients.rules.add(only, &senders)
    }

    fn join(&mut self, line: &mut Object<'_>, random: &mut Random, now: Instant) -> Result<()> {
        let id = self.newcomers.join(random)?;
        let kind = draw_kind(random);
        let unsigned =
            if is_organisation(id) { PENDING_COMPANY_MILLIONTHS } else { PENDING_PERSON_MILLIONTHS };
        let pending = kind != Kind::Not && random.chance(unsigned);
        let deselects = kind != Kind::Not && random.chance(30_000);
        let count = if deselects { draw_exception_count(random) } else { 0 };
        let rule = self.draw_rule(random, false, count);
        let recipient = Recipient {
            id,
            kind,
            pending,
            operator: if kind == Kind::Not { None } else { self.draw_operator(random, None) },
            registered: (kind != Kind::Not).then_some(now),
            rule,
            rule_changed: deselects.then_some(now),
        };
        self.recipients.all.push(recipient);
        self.recipients.push_whole(line, &recipient, &self.actors);
        Ok(())
    }

    fn remove_recipient(&mut self, line: &mut Object<'_>, random: &mut Random) {
        let place = random.index(self.recipients.all.len());
        let id = self.recipients.all.swap_remove(place).id;
        self.newcomers.leave(id);
        let mut object = line.object("remove_recipient");
        object.id("recipient_id", id, 12);
        object.close();
    }

    /// An operator other than `but`, where there is one: mostly that of a recipient drawn at random, so
    /// that the operators keep their shares.
    fn draw_operator(&self, random: &mut Random, but: Option<Slot>) -> Option<Slot> {
        let (all, operators) = (&self.recipients.all, &self.actors.operators);
        for _ in 0..8 {
            let slot = if all.is_empty() || random.chance(20_000) {
                operators.draw(random)
            } else {
                all[random.index(all.len())].operator
            };
            if slot != but && slot.is_some_and(|slot| operators.get(slot).is_some()) {
                return slot;
            }
        }
        let others: Vec<Slot> =
            operators.present().iter().copied().filter(|&slot| Some(slot) != but).collect();
        if others.is_empty() { but } else { Some(others[random.index(others.len())]) }
    }

    /// Any operator but the one most recipients have, so that the register stays a likely one.
    fn remove_operator(&mut self, line: &mut Object<'_>, random: &mut Random) {
        let present = self.actors.operators.present();
        let served = |slot: Slot| {
            let recipients = self.recipients.all.iter();
            recipients.filter(|recipient| recipient.operator == Some(slot)).count()
        };
        let largest = present.iter().copied().max_by_key(|&slot| served(slot));
        let others: Vec<Slot> = present.iter().copied().filter(|&slot| Some(slot) != largest).collect();
        let slot = if others.is_empty() { present[0] } else { others[random.index(others.len())] };
        self.actors.remove_operator(line, slot);
    }
}

impl Source for Far {
    fn push_change(
        &mut self,
        line: &mut Object<'_>,
        index: u64,
        now: Instant,
        random: &mut Random,
    ) -> Result<()> {
        match self.draw_event(index, random) {
            Event::Recipient => self.change_recipient(line, random, now),
            Event::Repetition => self.repeat_recipient(line, random),
            Event::Acceptance => self.set_acceptance(line, random, now),
            Event::Join => return self.join(line, random, now),
            Event::Removal => self.remove_recipient(line, random),
            Event::Operator => self.actors.put_operator(line, random),
            Event::OperatorRemoval => self.remove_operator(line, random),
            Event::Sender => self.actors.put_sender(line, random),
            Event::SenderRemoval => self.actors.remove_sender(line, random),
            Event::Dispatcher => self.actors.put_dispatcher(line, random),
            Event::DispatcherRemoval => self.actors.remove_dispatcher(line, random),
        }
        Ok(())
    }
}

/// The change of the tour at a position of a stream, if the stream has a tour.
fn tour_stop(index: u64, count: u64) -> Option<Event> {
    if count < TOUR_COUNT {
        return None;
    }
    let stops = TOUR.len() as u64;
    let place = |stop: u64| count / stops * stop + count / stops / 2;
    (0..stops).find(|&stop| place(stop) == index).map(|stop| TOUR[stop as usize])
}
