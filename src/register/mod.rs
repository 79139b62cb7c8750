//! A register at one sequence number: index, organisations, rules and cold columns.
//!
//! Immutable, and shared by any number of readers. A register does not depend on how its bytes are stored; see
//! [`crate::snapshot`] for files.

mod account;
mod actors;
mod census;
pub(crate) mod cold;
pub(crate) mod column;
pub(crate) mod contact;
pub(crate) mod content;
pub(crate) mod moment;
mod outcome;
pub(crate) mod person;
mod person_json;
mod question;
mod scope;
pub(crate) mod state;

pub use crate::organisations::{OperatorIndex, OperatorNumber, SenderIndex, SenderNumber};
pub use actors::{Actors, Dispatcher, Operator, Sender};
pub use census::Census;
pub use column::DamagedSection;
pub use content::ContentDigest;
pub use moment::{date_of, day_number};
pub use outcome::{Answer, Outcome, PaperReason};
pub use person::{DigitalPost, Kontaktinformasjon, Person};
pub(crate) use question::DecidedStates;
pub use question::{Question, QuestionError};
pub use scope::{Scope, ScopeError};
pub use state::{AccountType, FarState, KrrState, StateRule};

use crate::consent::{RuleSet, RuleTail, Rules};
use crate::identities::{Country, Identity, Ordinal, Space, Today};
use crate::index::{
    Block, Codes, DamagedBlock, Hit, Index, Overlay, Page, PartView, Slot, Trust, directory_length,
};
use crate::limits::{BLOCK_PARTS, PART_ORDINALS};
use crate::organisations::{OperatorNumbers, SenderNumbers};
use cold::{Cold, operator_id};
use column::{Column, Guarded};
use contact::Contact;
use content::{ContentSum, ContentSums};
use jiff::Timestamp;
use state::State;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};

/// The kinds of register.
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

    /// The country of its identity numbers.
    pub const fn country(self) -> Country {
        match self {
            Kind::Far => Country::Sweden,
            Kind::Krr => Country::Norway,
        }
    }
}

/// A damaged part of a register, found when it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Damage {
    /// A block of the index is damaged.
    #[error(transparent)]
    Block(#[from] DamagedBlock),
    /// A section is damaged.
    #[error(transparent)]
    Section(#[from] DamagedSection),
    /// The file was written to after it was opened.
    #[error(
        "the register file was truncated or overwritten after it was opened: replace register files by renaming"
    )]
    Changed,
}

/// The records of a register file, in one of three widths.
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

/// The arrays of a register file, as specified by [`Index`], [`Rules`] and [`Cold`].
pub(crate) struct Parts {
    pub(crate) kind: Kind,
    pub(crate) directory: Column<u32>,
    pub(crate) blocks: Column<Block>,
    pub(crate) pages: Column<Page>,
    pub(crate) codes: CodeColumn,
    pub(crate) exception_places: Column<u16>,
    pub(crate) exception_rules: Column<u32>,
    pub(crate) rule_heads: Guarded<u32>,
    pub(crate) rule_members: Guarded<SenderNumber>,
    pub(crate) cold: Cold,
    /// Of a register that has the answers of an official one for some ids: what was asked.
    pub(crate) scope: Option<Scope>,
    /// With a scope: when each record was answered, in seconds since 1970.
    pub(crate) answered: Option<Guarded<u32>>,
}

/// Data shared by all versions of a register that are derived from one file.
struct Base {
    parts: Parts,
    /// The directory at its full length, if the file's is shorter: recipients of later identity spaces may be added.
    long_directory: Option<Box<[u32]>>,
    trust: Trust,
    /// For each entry of the directory, whether its cold columns have been checked.
    cold_checked: Box<[AtomicBool]>,
    /// Whether damage was found.
    damaged: AtomicBool,
    /// Whether the arrays of rules are valid.
    rules_are_valid: OnceLock<bool>,
    /// The version in the file, and the sums of its content.
    first: Version,
    sums: OnceLock<ContentSums>,
    /// Held by the thread that computes `sums`.
    summing: Mutex<()>,
    /// The sum of the organisations of the version last queried.
    actors_sum: Mutex<Option<(Weak<Actors>, ContentSum)>>,
}

/// The data of one version of a register: its small parts, and the parts of the index that have changed since the file
/// was made. Cheap to clone: everything is shared until it changes.
#[derive(Clone)]
pub(crate) struct Version {
    pub(crate) sequence: u64,
    pub(crate) as_of: Timestamp,
    /// Number of recipients.
    pub(crate) recipients: u32,
    pub(crate) actors: Arc<Actors>,
    /// The numbers by which states refer to operators, and rules to senders.
    pub(crate) operators: Arc<OperatorNumbers>,
    pub(crate) senders: Arc<SenderNumbers>,
    pub(crate) states: Arc<Vec<State>>,
    /// Difference between the sums of the content and those of the file.
    pub(crate) sums: Arc<ContentSums>,
    pub(crate) changes: Option<Changes>,
}

/// Changes since the file was made.
#[derive(Clone)]
pub(crate) struct Changes {
    pub(crate) overlay: Overlay,
    pub(crate) rules: RuleTail,
    /// Certificates that the file does not have; their numbers follow those of the file.
    pub(crate) certificates: Arc<Vec<Arc<str>>>,
}

/// A register at one sequence number.
pub struct Register {
    base: Arc<Base>,
    version: Version,
}

/// A recipient with all data of the register.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recipient {
    /// FaR.
    Far {
        /// The properties that decide the outcome.
        state: FarState,
        /// The recipient's acceptance rule.
        rule: RuleSet,
        /// `LastRegistration`.
        last_registration: Option<Timestamp>,
        /// `LastSenderAcceptChange`.
        last_sender_accept_change: Option<Timestamp>,
    },
    /// KRR.
    Krr {
        /// The properties that decide the outcome.
        state: KrrState,
        /// The recipient as in the REST contract, without `varslingsstatus`.
        person: Box<Person>,
    },
}

impl Register {
    /// The register in a file.
    pub(crate) fn new(parts: Parts, version: Version) -> Register {
        let trust = Trust::new(parts.kind.country());
        let length = directory_length(parts.kind.country());
        let long_directory = (parts.directory.get().len() < length).then(|| {
            // The zeroed pages after the file's directory are not touched and take no memory.
            let mut directory = vec![0; length];
            directory[..parts.directory.get().len()].copy_from_slice(parts.directory.get());
            directory.into_boxed_slice()
        });
        let cold_checked = (0..length).map(|_| AtomicBool::new(false)).collect();
        let (rules_are_valid, sums) = (OnceLock::new(), OnceLock::new());
        let base = Base {
            parts,
            long_directory,
            trust,
            cold_checked,
            damaged: AtomicBool::new(false),
            rules_are_valid,
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

    /// The states of all codes.
    pub(crate) fn states(&self) -> &[State] {
        &self.version.states
    }

    /// The kind of the register.
    pub fn kind(&self) -> Kind {
        self.base.parts.kind
    }

    /// Sequence number of the last change in the register.
    pub fn sequence(&self) -> u64 {
        self.version.sequence
    }

    /// The time at which the register was current.
    pub fn as_of(&self) -> Timestamp {
        self.version.as_of
    }

    /// Of a register that has the answers of an official one for some ids only: what was asked. `None` for a complete
    /// register.
    pub fn scope(&self) -> Option<&Scope> {
        self.base.parts.scope.as_ref()
    }

    /// Whether it has answers of Kivra: for one tenant, which is the sender and is no sender of FaR.
    pub(crate) fn is_of_tenant(&self) -> bool {
        self.kind() == Kind::Far && self.scope().is_some_and(|scope| scope.tenant().is_some())
    }

    /// Whose answers it has: `far`, `krr`, or `kivra`, whose answers are kept as those of FaR.
    pub fn source_name(&self) -> &'static str {
        match self.is_of_tenant() {
            true => "kivra",
            false => self.kind().name(),
        }
    }

    /// When the official register was asked for a recipient. `None` if it was not, or for a complete register.
    pub fn answered(&self, identity: &Identity) -> Result<Option<Timestamp>, Damage> {
        let Some(answered) = &self.base.parts.answered else { return Ok(None) };
        let hit = self.index().look_up_one(&self.base.trust, identity.ordinal())?;
        let seconds = answered.get()?.get(hit.slot.0 as usize).copied().filter(|_| hit.slot.0 != 0);
        Ok(seconds.and_then(|seconds| Timestamp::from_second(seconds.into()).ok()))
    }

    /// Number of recipients, including those with account type `Not` or a deleted entry.
    pub fn recipients(&self) -> u32 {
        self.version.recipients
    }

    /// Number of parts of the index (4 pages, 1792 ordinals) that have changed since the register file was made, and
    /// the bytes of memory that they take.
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

    /// The mailbox operator of an outcome.
    ///
    /// Panics: if the index is one of another register.
    pub fn operator(&self, index: OperatorIndex) -> &Operator {
        &self.operators()[usize::from(index)]
    }

    /// Senders.
    pub fn senders(&self) -> &[Sender] {
        &self.version.actors.senders
    }

    /// Dispatchers.
    pub fn dispatchers(&self) -> &[Dispatcher] {
        &self.version.actors.dispatchers
    }

    /// The index of a sender by its organisationsnummer of 10 or 12 digits, in any spelling.
    pub fn sender(&self, id: &str) -> Option<SenderIndex> {
        let id = organisation(id)?;
        let index = self.senders().iter().position(|sender| sender.id == id)?;
        Some(SenderIndex::new(index as u16))
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
        let senders = self.base.first.actors.senders.len();
        let are_valid = *self.base.rules_are_valid.get_or_init(|| Rules::are_valid(heads, members, senders));
        are_valid.then(|| Rules::new(heads, members, tail)).ok_or(DamagedSection { name: "rule_heads" })
    }

    /// Looks up any number of ordinals.
    pub(crate) fn look_up(&self, ordinals: &[Ordinal], hits: &mut [Hit]) -> Result<(), DamagedBlock> {
        self.index().look_up(&self.base.trust, ordinals, hits)
    }

    /// The content of a part.
    pub(crate) fn view(&self, part: usize) -> Result<Option<PartView<'_>>, DamagedBlock> {
        self.index().view(&self.base.trust, part)
    }

    /// The bytes of the register file, which do not include later changes.
    pub(crate) fn file(&self) -> &column::Storage {
        self.base.parts.directory.storage()
    }

    /// Whether the register file is unchanged since it was opened. If not, answers given since the last successful
    /// check may be wrong. Cost: one system call.
    pub fn is_intact(&self) -> bool {
        self.file().is_intact()
    }

    /// Whether damage was found in its file. Versions with the same register file share this.
    pub fn is_damaged(&self) -> bool {
        self.base.damaged.load(Ordering::Relaxed)
    }

    /// Notes that damage was found. Returns whether that is new.
    #[cfg(feature = "service")]
    pub(crate) fn note_damage(&self) -> bool {
        !self.base.damaged.swap(true, Ordering::Relaxed)
    }

    /// [`is_intact`](Self::is_intact) as a result.
    pub(crate) fn intact(&self) -> Result<(), Damage> {
        if self.is_intact() { Ok(()) } else { Err(Damage::Changed) }
    }

    /// The blocks of the file that have been checked.
    pub(crate) fn trust(&self) -> &Trust {
        &self.base.trust
    }

    /// A recipient, `None` if the register does not have it.
    ///
    /// Errors: the recipient's part of the register is damaged.
    pub fn recipient(&self, identity: &Identity) -> Result<Option<Recipient>, Damage> {
        let index = self.index();
        let Some(at) = self.locate(&index, identity.ordinal())? else { return Ok(None) };
        match self.state(at.view.codes.get(Slot(at.record))).is_answer_only() {
            true => Ok(None),
            false => self.read(identity, &at).map(Some),
        }
    }

    /// The position of a recipient, `None` if the register does not have it. `index` is the register's.
    fn locate<'a>(
        &self,
        index: &'a Index<'a>,
        ordinal: Ordinal,
    ) -> Result<Option<RecordPosition<'a>>, DamagedBlock> {
        let part = index.part_of(ordinal);
        if part >= index.parts() {
            return Ok(None);
        }
        let Some(view) = index.view(&self.base.trust, part)? else { return Ok(None) };
        let offset = (ordinal.0 - index.first_of(part).0) as u16;
        let (present, record) = view.rank(offset);
        Ok((present == 1).then_some(RecordPosition { index, part, offset, record, view }))
    }

    fn read(&self, identity: &Identity, at: &RecordPosition<'_>) -> Result<Recipient, Damage> {
        let code = at.view.codes.get(Slot(at.record));
        match self.kind() {
            Kind::Far => {
                let state = self.far_state(code);
                let rule = self.rule(at.rule(state))?;
                let [last_registration, last_sender_accept_change] = self.times(at)?.map(moment::time);
                Ok(Recipient::Far { state, rule, last_registration, last_sender_accept_change })
            }
            Kind::Krr => {
                let finding = "the contact data of a recipient cannot be read";
                let damaged = DamagedBlock { block: at.block(), finding };
                let contact = Contact::unpack(self.contact(at)?).ok_or(damaged)?;
                let certificate = self.certificate(contact.certificate)?;
                let state = self.krr_state(code);
                let operator = operator_id(&self.version.actors, state.operator);
                let person = Person::of_parts(identity.as_str(), state, &contact, operator, certificate);
                Ok(Recipient::Krr { state, person: Box::new(person) })
            }
        }
    }

    /// The state of a code; the default state if the code is undefined.
    pub(crate) fn state(&self, code: u32) -> State {
        self.version.states.get(code as usize).copied().unwrap_or_default()
    }

    /// FaR: the state of a code, with the operator's index.
    pub(crate) fn far_state(&self, code: u32) -> FarState {
        let state = FarState::from(self.state(code));
        state.with_operator(self.operator_index(state.operator))
    }

    /// KRR: the state of a code, with the operator's index.
    pub(crate) fn krr_state(&self, code: u32) -> KrrState {
        let state = KrrState::from(self.state(code));
        state.with_operator(self.operator_index(state.operator))
    }

    /// The index of an operator, `None` if it has left.
    pub(crate) fn operator_index(&self, number: Option<OperatorNumber>) -> Option<OperatorIndex> {
        number.and_then(|number| self.version.operators.index(number))
    }

    /// A rule by its number. Senders that have left are omitted.
    pub(crate) fn rule(&self, number: u32) -> Result<RuleSet, DamagedSection> {
        let rule = self.rules()?.get(number).ok_or(DamagedSection { name: "rule_heads" })?;
        let senders = rule.senders.iter().filter_map(|&sender| self.version.senders.index(sender));
        Ok(RuleSet::new(rule.acceptance, senders.collect()))
    }

    /// `LastRegistration` and `LastSenderAcceptChange` of a FaR recipient, nanoseconds since 1970.
    pub(crate) fn times(&self, at: &RecordPosition<'_>) -> Result<[i64; 2], DamagedBlock> {
        match at.view.cold(at.offset) {
            Some(entry) => Ok(cold::times_of_entry(entry)),
            None => {
                let (_, slot) = self.base_cold(at)?;
                Ok(self.base.parts.cold.times(slot))
            }
        }
    }

    /// Bytes that start with the packed contact of a KRR recipient.
    pub(crate) fn contact<'r>(&'r self, at: &RecordPosition<'r>) -> Result<&'r [u8], DamagedBlock> {
        match at.view.cold(at.offset) {
            Some(entry) => Ok(entry),
            None => {
                let (block, slot) = self.base_cold(at)?;
                let finding = "the contact data of a recipient is out of bounds, or of another format";
                let damaged = DamagedBlock { block: at.block(), finding };
                self.base.parts.cold.contact(block, slot).ok_or(damaged)
            }
        }
    }

    /// A certificate by its number; empty without a number.
    pub(crate) fn certificate(&self, number: Option<u32>) -> Result<&str, DamagedSection> {
        let Some(number) = number else { return Ok("") };
        let cold = &self.base.parts.cold;
        match (number as usize).checked_sub(cold.certificates()?) {
            None => cold.certificate(number),
            Some(later) => {
                let changes = self.version.changes.as_ref();
                let text = changes.and_then(|changes| changes.certificates.get(later));
                text.map(|text| &**text).ok_or(DamagedSection { name: "certificates" })
            }
        }
    }

    /// Number of certificates.
    pub(crate) fn certificates(&self) -> Result<u32, DamagedSection> {
        let later = self.version.changes.as_ref().map_or(0, |changes| changes.certificates.len());
        Ok((self.base.parts.cold.certificates()? + later) as u32)
    }

    /// Prefetches the times of a recipient in the file.
    pub(crate) fn prefetch_times(&self, index: &Index<'_>, ordinal: Ordinal) {
        if let Ok((_, slot)) = index.in_file(&self.base.trust, ordinal) {
            self.base.parts.cold.prefetch_times(slot);
        }
    }

    /// Prefetches the times of a recipient that has been looked up.
    fn prefetch_times_of(&self, index: &Index<'_>, ordinal: Ordinal, hit: Hit) {
        match index.has_changed(ordinal) {
            true => index.prefetch_part(index.part_of(ordinal)),
            false => self.base.parts.cold.prefetch_times(hit.slot),
        }
    }

    /// FaR: the [`times`](Self::times) of a recipient that has been looked up.
    fn times_of(&self, index: &Index<'_>, ordinal: Ordinal, hit: Hit) -> Result<[i64; 2], DamagedBlock> {
        let checked = self.base.cold_checked[index.entry_of(ordinal)].load(Ordering::Relaxed);
        if checked && !index.has_changed(ordinal) {
            return Ok(self.base.parts.cold.times(hit.slot));
        }
        self.locate(index, ordinal)?.map_or(Ok([moment::NO_NANOSECONDS; 2]), |at| self.times(&at))
    }

    /// The block and slot in the file of a recipient that has not changed. Checks the block's cold columns.
    fn base_cold<'a>(&self, at: &RecordPosition<'a>) -> Result<(&'a Block, Slot), DamagedBlock> {
        let entry = at.block() as usize;
        let ordinal = Ordinal(at.index.first_of(at.part).0 + u32::from(at.offset));
        let (block, slot) = at.index.in_file(&self.base.trust, ordinal)?;
        if !self.base.cold_checked[entry].load(Ordering::Relaxed) {
            if self.base.parts.cold.sum(entry, block) != Some(block.cold_sum) {
                let finding = "the checksum of its cold columns does not match";
                return Err(DamagedBlock { block: at.block(), finding });
            }
            self.base.cold_checked[entry].store(true, Ordering::Relaxed);
        }
        Ok((block, slot))
    }

    /// Number of recipients in each identity space that has any, ascending by space.
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

    /// Calls `visit` with the ordinal and position of every recipient, ascending by ordinal.
    pub(crate) fn for_each_record<E: From<Damage>>(
        &self,
        mut visit: impl FnMut(Ordinal, &RecordPosition<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.records_from(Ordinal(0), |ordinal, at| visit(ordinal, at).map(ControlFlow::Continue))
    }

    /// [`for_each_record`](Self::for_each_record) from an ordinal on, until `visit` breaks.
    fn records_from<E: From<Damage>>(
        &self,
        first: Ordinal,
        mut visit: impl FnMut(Ordinal, &RecordPosition<'_>) -> Result<ControlFlow<()>, E>,
    ) -> Result<(), E> {
        let index = &self.index();
        let first_part = if first <= index.first_of(0) { 0 } else { index.part_of(first) };
        for part in index.present(first_part..index.parts()) {
            let Some(view) = index.view(&self.base.trust, part).map_err(Damage::from)? else { continue };
            for (record, offset) in (0..).zip(view.offsets()) {
                let ordinal = Ordinal(index.first_of(part).0 + offset);
                let at = RecordPosition { index, part, offset: offset as u16, record, view };
                if ordinal >= first && visit(ordinal, &at)?.is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Calls `visit` for every recipient, ascending by ordinal.
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

    /// [`for_each`](Self::for_each) from an ordinal on, until `visit` breaks.
    pub(crate) fn for_each_from<E: From<Damage>>(
        &self,
        first: Ordinal,
        mut visit: impl FnMut(&Identity, Recipient) -> Result<ControlFlow<()>, E>,
    ) -> Result<(), E> {
        self.records_from(first, |ordinal, at| {
            let damaged =
                DamagedBlock { block: at.block(), finding: "it has an ordinal without an identity" };
            let identity = Identity::from_ordinal(ordinal).ok_or(Damage::Block(damaged))?;
            visit(&identity, self.read(&identity, at)?)
        })
    }
}

/// Position of a recipient's record in a register.
pub(crate) struct RecordPosition<'a> {
    /// The register's index.
    pub(crate) index: &'a Index<'a>,
    /// Number of the part.
    pub(crate) part: usize,
    /// Offset of the recipient's ordinal in the part.
    pub(crate) offset: u16,
    /// Index of the record in the part.
    pub(crate) record: u32,
    /// The content of the part.
    pub(crate) view: PartView<'a>,
}

impl RecordPosition<'_> {
    /// Index of its block in the directory.
    pub(crate) fn block(&self) -> u32 {
        self.part as u32 / BLOCK_PARTS
    }

    /// Number of the rule of a recipient in a state.
    pub(crate) fn rule<Operator>(&self, state: FarState<Operator>) -> u32 {
        match state.rule {
            StateRule::AcceptsAll => 0,
            StateRule::Shared(rule) => rule,
            StateRule::Listed => self.view.rule(self.record),
        }
    }
}

/// The canonical 12 digits of an organisationsnummer in any spelling.
pub(crate) fn organisation(id: &str) -> Option<String> {
    // An organisationsnummer has no century, so any day will do.
    let identity = Identity::parse(id.as_bytes(), Country::Sweden, Today::CONTRACT).ok()?;
    (identity.space() == Space::Organisationsnummer).then(|| identity.as_str().to_owned())
}
