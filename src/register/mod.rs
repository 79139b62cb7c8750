//! A register at one sequence number: index, organisations, rules and cold columns.
//!
//! Immutable, and shared by any number of readers. It does not know where its bytes lie; see
//! [`crate::snapshot`] for files.

mod actors;
mod census;
pub(crate) mod cold;
pub(crate) mod column;
pub(crate) mod contact;
pub(crate) mod moment;
mod outcome;
pub(crate) mod person;
mod question;
pub(crate) mod state;

pub use actors::{Actors, Dispatcher, Operator, Sender};
pub use census::Census;
pub use column::DamagedSection;
pub use moment::day_number;
pub use outcome::{Answer, Outcome, PaperReason};
pub use person::{DigitalPost, Kontaktinformasjon, Person};
pub use question::{NotAsked, Question};
pub use state::{AccountType, FarState, KrrState, StateRule};

use crate::consent::{RuleSet, Rules};
use crate::identities::{Country, Identity, Ordinal, Space, Today};
use crate::index::{Block, Codes, DamagedBlock, Found, Index, Page, Slot, Trust};
use cold::{Cold, operator_id};
use column::{Column, Guarded};
use contact::Contact;
use jiff::Timestamp;
use state::State;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// Which register it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Förmedlingsadressregistret, Sweden.
    Far,
    /// Kontakt- og reservasjonsregisteret, Norway.
    Krr,
}

impl Kind {
    /// `far` or `krr`.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Far => "far",
            Kind::Krr => "krr",
        }
    }

    /// Whose identity numbers it holds.
    pub const fn country(self) -> Country {
        match self {
            Kind::Far => Country::Sweden,
            Kind::Krr => Country::Norway,
        }
    }
}

/// What a register answers with, if a part of it that was asked for is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// A block of the index.
    #[error(transparent)]
    Block(#[from] DamagedBlock),
    /// A section.
    #[error(transparent)]
    Section(#[from] DamagedSection),
}

/// Records of one of three widths.
pub(crate) enum CodeColumn {
    One(Column<u8>),
    Two(Column<u16>),
    Four(Column<u32>),
}

impl CodeColumn {
    pub(crate) fn get(&self) -> Codes<'_> {
        match self {
            CodeColumn::One(column) => Codes::One(column.get()),
            CodeColumn::Two(column) => Codes::Two(column.get()),
            CodeColumn::Four(column) => Codes::Four(column.get()),
        }
    }
}

/// The arrays of a register. Each must be what [`Index`], [`Rules`] and [`Cold`] say.
pub(crate) struct Parts {
    pub(crate) kind: Kind,
    pub(crate) sequence: u64,
    pub(crate) as_of: Timestamp,
    pub(crate) actors: Actors,
    pub(crate) states: Vec<State>,
    pub(crate) directory: Column<u32>,
    pub(crate) blocks: Column<Block>,
    pub(crate) pages: Column<Page>,
    pub(crate) codes: CodeColumn,
    pub(crate) exception_places: Column<u16>,
    pub(crate) exception_rules: Column<u32>,
    pub(crate) rule_heads: Guarded<u32>,
    pub(crate) rule_members: Guarded<u16>,
    pub(crate) cold: Cold,
}

/// A register at one sequence number.
pub struct Register {
    parts: Parts,
    trust: Trust,
    /// For each entry of the directory whether its cold columns have been checked.
    cold_checked: Box<[AtomicBool]>,
    /// Whether the heads of the rules lead through their members.
    rules_lead: OnceLock<bool>,
}

/// A recipient, with all that the register knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recipient {
    /// FaR.
    Far {
        /// What decides.
        state: FarState,
        /// The recipient's acceptance rule, by places of senders.
        rule: RuleSet,
        /// `LastRegistration`.
        last_registration: Option<Timestamp>,
        /// `LastSenderAcceptChange`.
        last_sender_accept_change: Option<Timestamp>,
    },
    /// KRR.
    Krr {
        /// What decides.
        state: KrrState,
        /// As REST writes it, without `varslingsstatus`.
        person: Box<Person>,
    },
}

impl Register {
    pub(crate) fn new(parts: Parts) -> Register {
        let trust = Trust::new(parts.kind.country());
        let cold_checked = parts.directory.get().iter().map(|_| AtomicBool::new(false)).collect();
        Register { parts, trust, cold_checked, rules_lead: OnceLock::new() }
    }

    pub(crate) fn parts(&self) -> &Parts {
        &self.parts
    }

    /// Which register it is.
    pub fn kind(&self) -> Kind {
        self.parts.kind
    }

    /// Number of the last change that is in it.
    pub fn sequence(&self) -> u64 {
        self.parts.sequence
    }

    /// The time for which it speaks.
    pub fn as_of(&self) -> Timestamp {
        self.parts.as_of
    }

    /// Number of recipients, also of those with account type `Not` or a deleted entry.
    pub fn recipients(&self) -> u32 {
        (self.parts.codes.get().len() - 1) as u32
    }

    /// Mailbox operators.
    pub fn operators(&self) -> &[Operator] {
        &self.parts.actors.operators
    }

    /// Senders.
    pub fn senders(&self) -> &[Sender] {
        &self.parts.actors.senders
    }

    /// Dispatchers.
    pub fn dispatchers(&self) -> &[Dispatcher] {
        &self.parts.actors.dispatchers
    }

    /// The place of a sender in [`senders`](Self::senders), by its 10 or 12 digits in any spelling.
    pub fn sender(&self, id: &str) -> Option<u16> {
        let id = organisation(id)?;
        self.senders().iter().position(|sender| sender.id == id).map(|place| place as u16)
    }

    pub(crate) fn index(&self) -> Index<'_> {
        let parts = &self.parts;
        Index {
            country: parts.kind.country(),
            directory: parts.directory.get(),
            blocks: parts.blocks.get(),
            pages: parts.pages.get(),
            codes: parts.codes.get(),
            exception_places: parts.exception_places.get(),
            exception_rules: parts.exception_rules.get(),
            states: parts.states.len() as u32,
        }
    }

    pub(crate) fn rules(&self) -> Result<Rules<'_>, DamagedSection> {
        let (heads, members) = (self.parts.rule_heads.get()?, self.parts.rule_members.get()?);
        let lead = *self.rules_lead.get_or_init(|| Rules::lead(heads, members));
        if lead { Ok(Rules::new(heads, members)) } else { Err(DamagedSection { name: "rule_heads" }) }
    }

    fn find(&self, ordinal: Ordinal) -> Result<Found, DamagedBlock> {
        let mut found = [Found::default()];
        self.index().look_up(&self.trust, &[ordinal], &mut found)?;
        Ok(found[0])
    }

    /// All that the register knows of a recipient, `None` if it does not know it.
    ///
    /// Errors: the recipient's part of the register is damaged.
    pub fn recipient(&self, identity: &Identity) -> Result<Option<Recipient>, Damage> {
        let ordinal = identity.ordinal();
        let found = self.find(ordinal)?;
        if found.slot == Slot(0) {
            return Ok(None);
        }
        let state = self.parts.states[found.code as usize];
        let (place, block) = self.cold_block(ordinal)?;
        self.read_recipient(identity, found.slot, state, place, &block).map(Some)
    }

    fn read_recipient(
        &self,
        identity: &Identity,
        slot: Slot,
        state: State,
        place: usize,
        block: &Block,
    ) -> Result<Recipient, Damage> {
        match self.kind() {
            Kind::Far => {
                let state = FarState::from(state);
                let number = match state.rule {
                    StateRule::AcceptsAll => 0,
                    StateRule::Shared(rule) => rule,
                    StateRule::Listed => self.index().rule(identity.ordinal(), slot),
                };
                let rule = self.rules()?.get(number).ok_or(DamagedSection { name: "rule_heads" })?;
                let (last_registration, last_sender_accept_change) = self.parts.cold.times(slot);
                Ok(Recipient::Far { state, rule, last_registration, last_sender_accept_change })
            }
            Kind::Krr => {
                let finding = "a person's contact data cannot be read";
                let damaged = DamagedBlock { block: place as u32, finding };
                let contact: Contact = self.parts.cold.contact(block, slot).ok_or(damaged)?;
                let certificate = self.parts.cold.certificate(contact.certificate)?;
                let state = KrrState::from(state);
                let operator = operator_id(&self.parts.actors, state.operator);
                let person = Person::of_parts(identity.as_str(), state, &contact, operator, certificate);
                Ok(Recipient::Krr { state, person: Box::new(person) })
            }
        }
    }

    /// The block of a present ordinal, with its cold columns checked.
    fn cold_block(&self, ordinal: Ordinal) -> Result<(usize, Block), DamagedBlock> {
        let first = self.kind().country().ordinals().start;
        let place = ((ordinal.0 - first) / crate::limits::BLOCK_ORDINALS) as usize;
        let damaged = |finding| DamagedBlock { block: place as u32, finding };
        let block = *self.index().block_of(ordinal).ok_or(damaged("no such entry"))?;
        if !self.cold_checked[place].load(Ordering::Relaxed) {
            if self.parts.cold.sum(place, &block) != Some(block.cold_sum) {
                return Err(damaged("the checksum of its cold columns does not hold"));
            }
            self.cold_checked[place].store(true, Ordering::Relaxed);
        }
        Ok((place, block))
    }

    /// Number of recipients in each space that occurs, ascending by space. The caller has checked the
    /// blocks.
    fn spaces(&self) -> Vec<(Space, u32)> {
        let index = self.index();
        let first = self.kind().country().ordinals().start;
        let mut spaces = Vec::new();
        for space in Space::ALL.into_iter().filter(|space| space.country() == self.kind().country()) {
            let range = space.ordinals();
            let places = (range.start - first) / crate::limits::BLOCK_ORDINALS
                ..(range.end - first).div_ceil(crate::limits::BLOCK_ORDINALS);
            let blocks =
                places.filter_map(|place| index.blocks.get(index.directory[place as usize] as usize));
            let recipients = blocks.map(|block| block.records).sum();
            if recipients > 0 {
                spaces.push((space, recipients));
            }
        }
        spaces
    }

    /// Calls `visit` for every recipient, in the order of their ordinals.
    ///
    /// Errors: those of the register and those of `visit`.
    pub fn for_each<E: From<Damage>>(
        &self,
        mut visit: impl FnMut(&Identity, Recipient) -> Result<(), E>,
    ) -> Result<(), E> {
        let index = self.index();
        for place in 0..index.directory.len() {
            let number = index.check_block(place).map_err(Damage::from)?;
            if number == 0 {
                continue;
            }
            let first = index.blocks[number as usize].first_record;
            for (slot, ordinal) in (first..).zip(index.ordinals_of(place)) {
                let nobody = DamagedBlock { block: place as u32, finding: "it holds an ordinal of nobody" };
                let identity = Identity::from_ordinal(ordinal).ok_or(Damage::Block(nobody))?;
                let state = self.parts.states[index.codes.get(Slot(slot)) as usize];
                let (place, block) = self.cold_block(ordinal).map_err(Damage::from)?;
                visit(&identity, self.read_recipient(&identity, Slot(slot), state, place, &block)?)?;
            }
        }
        Ok(())
    }
}

/// The `16` and ten digits of an organisation in any spelling, if it is one.
pub(crate) fn organisation(id: &str) -> Option<String> {
    // Organisations have no century, so any day will do.
    let identity = Identity::parse(id.as_bytes(), Country::Sweden, Today::CONTRACT).ok()?;
    (identity.space() == Space::Organisationsnummer).then(|| identity.as_str().to_owned())
}
