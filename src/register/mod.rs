//! A register at one sequence number: index, organisations, rules and cold columns.
//!
//! Immutable, and shared by any number of readers. It does not know where its bytes lie; see
//! [`crate::snapshot`] for files.

mod account;
mod actors;
mod census;
pub(crate) mod cold;
pub(crate) mod column;
pub(crate) mod contact;
pub(crate) mod content;
pub(crate) mod moment;
pub(crate) mod numbers;
mod outcome;
pub(crate) mod person;
mod question;
pub(crate) mod state;

pub use actors::{Actors, Dispatcher, Operator, Sender};
pub use census::Census;
pub use column::DamagedSection;
pub use content::ContentDigest;
pub use moment::day_number;
pub use outcome::{Answer, Outcome, PaperReason};
pub use person::{DigitalPost, Kontaktinformasjon, Person};
pub(crate) use question::Decided;
pub use question::{NotAsked, Question};
pub use state::{AccountType, FarState, KrrState, StateRule};

use crate::consent::{RuleSet, RuleTail, Rules};
use crate::identities::{Country, Identity, Ordinal, Space, Today};
use crate::index::{
    Block, Codes, DamagedBlock, Found, Index, Overlay, Page, PartView, Slot, Trust, directory_length,
};
use crate::limits::{BLOCK_PARTS, PART_ORDINALS};
use cold::{Cold, operator_id};
use column::{Column, Guarded};
use contact::Contact;
use content::{Sum, Sums};
use jiff::Timestamp;
use numbers::Numbers;
use state::State;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};

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
    /// The file was written to after it was opened.
    #[error(
        "the register file was truncated or overwritten after it was opened: replace register files by renaming"
    )]
    Changed,
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

/// The arrays of a register file. Each must be what [`Index`], [`Rules`] and [`Cold`] say.
pub(crate) struct Parts {
    pub(crate) kind: Kind,
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

/// What all versions of a register that come from one file share.
struct Base {
    parts: Parts,
    /// The directory at its full length, if the file's is shorter: recipients of later spaces may be added.
    long_directory: Option<Box<[u32]>>,
    trust: Trust,
    /// For each entry of the directory whether its cold columns have been checked.
    cold_checked: Box<[AtomicBool]>,
    /// Whether the heads of the rules lead through their members.
    rules_lead: OnceLock<bool>,
    /// The version in the file, and the sums of its content.
    first: Version,
    sums: OnceLock<Sums>,
    /// Held by the one that reads the file for its sums.
    summing: Mutex<()>,
    /// The sum of the organisations that were asked for last.
    actors_sum: Mutex<Option<(Weak<Actors>, Sum)>>,
}

/// What tells one version of a register from another: its small parts, and the parts that have changed
/// since the file was made. Cheap to copy: everything is shared until it changes.
#[derive(Clone)]
pub(crate) struct Version {
    pub(crate) sequence: u64,
    pub(crate) as_of: Timestamp,
    /// Number of recipients.
    pub(crate) recipients: u32,
    pub(crate) actors: Arc<Actors>,
    /// What states name operators by, and rules senders.
    pub(crate) operators: Arc<Numbers>,
    pub(crate) senders: Arc<Numbers>,
    pub(crate) states: Arc<Vec<State>>,
    /// By how much the sums of the content differ from the file's.
    pub(crate) sums: Arc<Sums>,
    pub(crate) changes: Option<Changes>,
}

/// What has changed since the file was made.
#[derive(Clone)]
pub(crate) struct Changes {
    pub(crate) overlay: Overlay,
    pub(crate) rules: RuleTail,
    /// Certificates that the file does not have; their numbers follow the file's.
    pub(crate) certificates: Arc<Vec<Arc<str>>>,
}

/// A register at one sequence number.
pub struct Register {
    base: Arc<Base>,
    version: Version,
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
    /// The register in a file.
    pub(crate) fn new(parts: Parts, version: Version) -> Register {
        let trust = Trust::new(parts.kind.country());
        let length = directory_length(parts.kind.country());
        let long_directory = (parts.directory.get().len() < length).then(|| {
            // What lies behind the file's directory is never touched, and takes no memory.
            let mut directory = vec![0; length];
            directory[..parts.directory.get().len()].copy_from_slice(parts.directory.get());
            directory.into_boxed_slice()
        });
        let cold_checked = (0..length).map(|_| AtomicBool::new(false)).collect();
        let (rules_lead, sums) = (OnceLock::new(), OnceLock::new());
        let base = Base {
            parts,
            long_directory,
            trust,
            cold_checked,
            rules_lead,
            first: version.clone(),
            sums,
            summing: Mutex::default(),
            actors_sum: Mutex::default(),
        };
        Register { base: Arc::new(base), version }
    }

    /// Another version of the register.
    pub(crate) fn at(&self, version: Version) -> Register {
        Register { base: Arc::clone(&self.base), version }
    }

    pub(crate) fn parts(&self) -> &Parts {
        &self.base.parts
    }

    pub(crate) fn version(&self) -> &Version {
        &self.version
    }

    /// The states of all codes, with the numbers of operators.
    pub(crate) fn states(&self) -> &[State] {
        &self.version.states
    }

    /// Which register it is.
    pub fn kind(&self) -> Kind {
        self.base.parts.kind
    }

    /// Number of the last change that is in it.
    pub fn sequence(&self) -> u64 {
        self.version.sequence
    }

    /// The time for which it speaks.
    pub fn as_of(&self) -> Timestamp {
        self.version.as_of
    }

    /// Number of recipients, also of those with account type `Not` or a deleted entry.
    pub fn recipients(&self) -> u32 {
        self.version.recipients
    }

    /// Parts of the index (4 pages, 1792 ordinals) that have changed since the register file was made, and the bytes of
    /// memory that they take.
    pub fn changed(&self) -> (usize, usize) {
        self.version.changes.as_ref().map_or((0, 0), |changes| changes.overlay.size())
    }

    pub(crate) fn actors(&self) -> &Actors {
        &self.version.actors
    }

    /// Mailbox operators.
    pub fn operators(&self) -> &[Operator] {
        &self.version.actors.operators
    }

    /// Senders.
    pub fn senders(&self) -> &[Sender] {
        &self.version.actors.senders
    }

    /// Dispatchers.
    pub fn dispatchers(&self) -> &[Dispatcher] {
        &self.version.actors.dispatchers
    }

    /// The place of a sender in [`senders`](Self::senders), by its 10 or 12 digits in any spelling.
    pub fn sender(&self, id: &str) -> Option<u16> {
        let id = organisation(id)?;
        self.senders().iter().position(|sender| sender.id == id).map(|place| place as u16)
    }

    pub(crate) fn index(&self) -> Index<'_> {
        let parts = &self.base.parts;
        Index {
            country: parts.kind.country(),
            directory: self.base.long_directory.as_deref().unwrap_or_else(|| parts.directory.get()),
            blocks: parts.blocks.get(),
            pages: parts.pages.get(),
            codes: parts.codes.get(),
            exception_places: parts.exception_places.get(),
            exception_rules: parts.exception_rules.get(),
            states: self.version.states.len() as u32,
            overlay: self.version.changes.as_ref().map(|changes| &changes.overlay),
        }
    }

    pub(crate) fn rules(&self) -> Result<Rules<'_>, DamagedSection> {
        let tail = self.version.changes.as_ref().map(|changes| &changes.rules);
        let parts = &self.base.parts;
        let (heads, members) = (parts.rule_heads.get()?, parts.rule_members.get()?);
        let lead = *self.base.rules_lead.get_or_init(|| Rules::lead(heads, members));
        if lead { Ok(Rules::new(heads, members, tail)) } else { Err(DamagedSection { name: "rule_heads" }) }
    }

    /// Looks up any number of ordinals.
    pub(crate) fn look_up(&self, ordinals: &[Ordinal], found: &mut [Found]) -> Result<(), DamagedBlock> {
        self.index().look_up(&self.base.trust, ordinals, found)
    }

    /// The content of a part.
    pub(crate) fn view(&self, part: usize) -> Result<Option<PartView<'_>>, DamagedBlock> {
        self.index().view(&self.base.trust, part)
    }

    /// The bytes of the register file that it is made of. Changes since are not in them.
    pub(crate) fn file(&self) -> &column::Storage {
        self.base.parts.directory.storage()
    }

    /// Whether the register file is what it was when it was opened. If not, no answer of this register that was
    /// given since the last time is to be believed. Cost: one system call.
    pub fn is_intact(&self) -> bool {
        self.file().is_intact()
    }

    /// The same as an error.
    pub(crate) fn intact(&self) -> Result<(), Damage> {
        if self.is_intact() { Ok(()) } else { Err(Damage::Changed) }
    }

    /// The blocks of the file that have been checked.
    pub(crate) fn trust(&self) -> &Trust {
        &self.base.trust
    }

    /// All that the register knows of a recipient, `None` if it does not know it.
    ///
    /// Errors: the recipient's part of the register is damaged.
    pub fn recipient(&self, identity: &Identity) -> Result<Option<Recipient>, Damage> {
        let at = self.locate(&self.index(), identity.ordinal())?.map(|at| self.read(identity, &at));
        at.transpose()
    }

    /// Where a recipient is, `None` if the register does not know it. `index` is the register's.
    fn locate<'a>(&self, index: &'a Index<'a>, ordinal: Ordinal) -> Result<Option<At<'a>>, DamagedBlock> {
        let part = index.part_of(ordinal);
        if part >= index.parts() {
            return Ok(None);
        }
        let Some(view) = index.view(&self.base.trust, part)? else { return Ok(None) };
        let offset = (ordinal.0 - index.first_of(part).0) as u16;
        let (present, record) = view.rank(offset);
        Ok((present == 1).then_some(At { index, part, offset, record, view }))
    }

    fn read(&self, identity: &Identity, at: &At<'_>) -> Result<Recipient, Damage> {
        let state = self.state(at.view.codes.get(Slot(at.record)));
        match self.kind() {
            Kind::Far => {
                let state = FarState::from(state);
                let rule = self.rule(at.rule(state))?;
                let [last_registration, last_sender_accept_change] = self.times(at)?.map(moment::time);
                Ok(Recipient::Far { state, rule, last_registration, last_sender_accept_change })
            }
            Kind::Krr => {
                let finding = "a person's contact data cannot be read";
                let damaged = DamagedBlock { block: at.block(), finding };
                let contact = Contact::unpack(self.contact(at)?).ok_or(damaged)?;
                let certificate = self.certificate(contact.certificate)?;
                let state = KrrState::from(state);
                let operator = operator_id(&self.version.actors, state.operator);
                let person = Person::of_parts(identity.as_str(), state, &contact, operator, certificate);
                Ok(Recipient::Krr { state, person: Box::new(person) })
            }
        }
    }

    /// The state of a code, with the operator's place in the list; that of nobody if there is none.
    pub(crate) fn state(&self, code: u32) -> State {
        let state = self.version.states.get(code as usize).copied().unwrap_or_default();
        state.with_operator(state.operator().and_then(|number| self.version.operators.place(number)))
    }

    /// A rule by its number, with the places of senders in the list.
    pub(crate) fn rule(&self, number: u32) -> Result<RuleSet, DamagedSection> {
        let rule = self.rules()?.get(number).ok_or(DamagedSection { name: "rule_heads" })?;
        let places = rule.senders.iter().filter_map(|&sender| self.version.senders.place(sender));
        Ok(RuleSet::new(rule.acceptance, places.collect()))
    }

    /// `LastRegistration` and `LastSenderAcceptChange` of a FaR recipient, nanoseconds since 1970.
    pub(crate) fn times(&self, at: &At<'_>) -> Result<[i64; 2], DamagedBlock> {
        match at.view.cold(at.offset) {
            Some(entry) => Ok(cold::times_of_entry(entry)),
            None => {
                let (_, slot) = self.base_cold(at)?;
                Ok(self.base.parts.cold.times(slot))
            }
        }
    }

    /// Packed contact of a KRR person, and what may lie behind it.
    pub(crate) fn contact<'r>(&'r self, at: &At<'r>) -> Result<&'r [u8], DamagedBlock> {
        match at.view.cold(at.offset) {
            Some(entry) => Ok(entry),
            None => {
                let (block, slot) = self.base_cold(at)?;
                let finding = "a person's contact data lies outside of it";
                let damaged = DamagedBlock { block: at.block(), finding };
                self.base.parts.cold.contact(block, slot).ok_or(damaged)
            }
        }
    }

    /// A certificate by its number, empty if there is none.
    pub(crate) fn certificate(&self, number: Option<u32>) -> Result<&str, DamagedSection> {
        let Some(number) = number else { return Ok("") };
        let cold = &self.base.parts.cold;
        match (number as usize).checked_sub(cold.certificates()?) {
            None => cold.certificate(number),
            Some(later) => {
                let changes = self.version.changes.as_ref();
                let found = changes.and_then(|changes| changes.certificates.get(later));
                found.map(|text| &**text).ok_or(DamagedSection { name: "certificates" })
            }
        }
    }

    /// Number of certificates.
    pub(crate) fn certificates(&self) -> Result<u32, DamagedSection> {
        let later = self.version.changes.as_ref().map_or(0, |changes| changes.certificates.len());
        Ok((self.base.parts.cold.certificates()? + later) as u32)
    }

    /// Asks for the memory of a recipient's times in the file.
    pub(crate) fn ask_for_times(&self, index: &Index<'_>, ordinal: Ordinal) {
        if let Ok((_, slot)) = index.of_file(&self.base.trust, ordinal) {
            self.base.parts.cold.ask_for_times(slot);
        }
    }

    /// The same of a recipient that has been looked up.
    fn ask_for_times_of(&self, index: &Index<'_>, ordinal: Ordinal, found: Found) {
        match index.has_changed(ordinal) {
            true => index.ask_for(index.part_of(ordinal)),
            false => self.base.parts.cold.ask_for_times(found.slot),
        }
    }

    /// FaR: `LastRegistration` and `LastSenderAcceptChange` of a recipient that has been looked up, as
    /// [`times`](Self::times) has them.
    fn times_of(&self, index: &Index<'_>, ordinal: Ordinal, found: Found) -> Result<[i64; 2], DamagedBlock> {
        let checked = self.base.cold_checked[index.place_of(ordinal)].load(Ordering::Relaxed);
        if checked && !index.has_changed(ordinal) {
            return Ok(self.base.parts.cold.times(found.slot));
        }
        self.locate(index, ordinal)?.map_or(Ok([moment::NO_NANOSECONDS; 2]), |at| self.times(&at))
    }

    /// Where the file has the cold columns of a recipient that has not changed, which are checked.
    fn base_cold<'a>(&self, at: &At<'a>) -> Result<(&'a Block, Slot), DamagedBlock> {
        let place = at.block() as usize;
        let ordinal = Ordinal(at.index.first_of(at.part).0 + u32::from(at.offset));
        let (block, slot) = at.index.of_file(&self.base.trust, ordinal)?;
        if !self.base.cold_checked[place].load(Ordering::Relaxed) {
            if self.base.parts.cold.sum(place, block) != Some(block.cold_sum) {
                let finding = "the checksum of its cold columns does not hold";
                return Err(DamagedBlock { block: at.block(), finding });
            }
            self.base.cold_checked[place].store(true, Ordering::Relaxed);
        }
        Ok((block, slot))
    }

    /// Number of recipients in each space that occurs, ascending by space.
    fn spaces(&self) -> Result<Vec<(Space, u32)>, DamagedBlock> {
        let first = self.kind().country().ordinals().start;
        let mut spaces = Vec::new();
        for space in Space::ALL.into_iter().filter(|space| space.country() == self.kind().country()) {
            let range = space.ordinals();
            let mut recipients = 0;
            for part in (range.start - first) / PART_ORDINALS..(range.end - first).div_ceil(PART_ORDINALS) {
                recipients += self.view(part as usize)?.map_or(0, |view| view.records());
            }
            if recipients > 0 {
                spaces.push((space, recipients));
            }
        }
        Ok(spaces)
    }

    /// Calls `visit` for every recipient, in the order of their ordinals, with its ordinal and where it
    /// is.
    pub(crate) fn for_each_record<E: From<Damage>>(
        &self,
        mut visit: impl FnMut(Ordinal, &At<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.records_from(Ordinal(0), |ordinal, at| visit(ordinal, at).map(ControlFlow::Continue))
    }

    /// The same from an ordinal on, until `visit` breaks.
    fn records_from<E: From<Damage>>(
        &self,
        first: Ordinal,
        mut visit: impl FnMut(Ordinal, &At<'_>) -> Result<ControlFlow<()>, E>,
    ) -> Result<(), E> {
        let index = &self.index();
        let first_part = if first <= index.first_of(0) { 0 } else { index.part_of(first) };
        for part in index.present(first_part..index.parts()) {
            let Some(view) = index.view(&self.base.trust, part).map_err(Damage::from)? else { continue };
            for (record, offset) in (0..).zip(view.offsets()) {
                let ordinal = Ordinal(index.first_of(part).0 + offset);
                let at = At { index, part, offset: offset as u16, record, view };
                if ordinal >= first && visit(ordinal, &at)?.is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Calls `visit` for every recipient, in the order of their ordinals.
    ///
    /// Errors: those of the register and those of `visit`.
    pub fn for_each<E: From<Damage>>(
        &self,
        mut visit: impl FnMut(&Identity, Recipient) -> Result<(), E>,
    ) -> Result<(), E> {
        self.for_each_from(Ordinal(0), |identity, recipient| {
            visit(identity, recipient).map(ControlFlow::Continue)
        })
    }

    /// The same from an ordinal on, until `visit` breaks.
    pub(crate) fn for_each_from<E: From<Damage>>(
        &self,
        first: Ordinal,
        mut visit: impl FnMut(&Identity, Recipient) -> Result<ControlFlow<()>, E>,
    ) -> Result<(), E> {
        self.records_from(first, |ordinal, at| {
            let nobody = DamagedBlock { block: at.block(), finding: "it holds an ordinal of nobody" };
            let identity = Identity::from_ordinal(ordinal).ok_or(Damage::Block(nobody))?;
            visit(&identity, self.read(&identity, at)?)
        })
    }
}

/// Where a recipient of a register is.
pub(crate) struct At<'a> {
    /// The register's index.
    pub(crate) index: &'a Index<'a>,
    /// Number of its part.
    pub(crate) part: usize,
    /// Its ordinal in the part.
    pub(crate) offset: u16,
    /// Its record in the part.
    pub(crate) record: u32,
    /// The part.
    pub(crate) view: PartView<'a>,
}

impl At<'_> {
    /// Place of its block in the directory.
    pub(crate) fn block(&self) -> u32 {
        self.part as u32 / BLOCK_PARTS
    }

    /// Number of the rule of a recipient in a state.
    pub(crate) fn rule(&self, state: FarState) -> u32 {
        match state.rule {
            StateRule::AcceptsAll => 0,
            StateRule::Shared(rule) => rule,
            StateRule::Listed => self.view.rule(self.record),
        }
    }
}

/// The `16` and ten digits of an organisation in any spelling, if it is one.
pub(crate) fn organisation(id: &str) -> Option<String> {
    // Organisations have no century, so any day will do.
    let identity = Identity::parse(id.as_bytes(), Country::Sweden, Today::CONTRACT).ok()?;
    (identity.space() == Space::Organisationsnummer).then(|| identity.as_str().to_owned())
}
