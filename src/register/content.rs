//! Content digests: whether two registers say the same, whatever files and logs they come from.
//!
//! Whatever a register says of a recipient or an organisation has a hash of 128 bits (XXH3), and a register's sum is the
//! sum of them all modulo 2^128. So the order in which they came does not matter, and a change takes some hashes away
//! and adds some: tens of nanoseconds. That a recipient has an operator, or that its rule names a sender, is a hash of its
//! own, and these are summed up for each operator and sender: when one leaves the register, its sum is left out. The
//! [`ContentDigest`] is BLAKE3 of the sum. It finds what went wrong, in a program, a memory or a disk; somebody who forges
//! registers could make one of the same sum, so whoever must be sure of whom a register comes checks a signature.
//!
//! What counts is what can be asked for: organisations by their ids, not by their numbers; of KRR's operators those that
//! persons name. Sequence number and time do not count.

use super::actors::Actors;
use super::cold::times_of_entry;
use super::contact::Contact;
use super::numbers::Numbers;
use super::state::{FarState, KrrState, State, StateRule};
use super::{At, Damage, DamagedSection, Kind, Register, Version};
use crate::consent::{Acceptance, RuleSet};
use crate::identities::Ordinal;
use crate::index::{DamagedBlock, Index, Slot};
use rayon::prelude::*;
use std::fmt;
use std::sync::{Arc, PoisonError};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

/// Parts that one thread sums up at a time.
const GROUP_PARTS: usize = 64;

/// What tells the content of a register from that of another; 64 hexadecimal digits as text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ContentDigest([u8; 32]);

impl fmt::Display for ContentDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl fmt::Debug for ContentDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A sum of hashes, or a difference of two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sum(u128);

impl std::ops::Add for Sum {
    type Output = Sum;

    fn add(self, other: Sum) -> Sum {
        Sum(self.0.wrapping_add(other.0))
    }
}

impl std::ops::Sub for Sum {
    type Output = Sum;

    fn sub(self, other: Sum) -> Sum {
        Sum(self.0.wrapping_sub(other.0))
    }
}

impl std::iter::Sum for Sum {
    fn sum<I: Iterator<Item = Sum>>(sums: I) -> Sum {
        sums.fold(Sum::default(), |sum, more| sum + more)
    }
}

/// What a hash is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Of {
    /// That somebody has the operator with a number.
    Operator(u16),
    /// That somebody's rule names the sender with a number.
    Sender(u16),
    /// All else.
    Rest,
}

/// Sums of what a register says, or differences of such.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    rest: Sum,
    /// By number of the operator.
    operators: Vec<Sum>,
    /// By number of the sender.
    senders: Vec<Sum>,
}

impl Sums {
    pub(crate) fn add(&mut self, of: Of, sum: Sum) {
        let to = match of {
            Of::Rest => &mut self.rest,
            Of::Operator(number) => at(&mut self.operators, number),
            Of::Sender(number) => at(&mut self.senders, number),
        };
        *to = *to + sum;
    }

    pub(crate) fn add_all(&mut self, other: &Sums) {
        self.rest = self.rest + other.rest;
        for (number, &sum) in (0..).zip(&other.operators) {
            self.add(Of::Operator(number), sum);
        }
        for (number, &sum) in (0..).zip(&other.senders) {
            self.add(Of::Sender(number), sum);
        }
    }

    /// The sum of what counts in a version: organisations that have left do not.
    fn of(&self, version: &Version) -> Sum {
        let operators =
            (0..).zip(&self.operators).filter(|(number, _)| counts(version, Of::Operator(*number)));
        let senders = (0..).zip(&self.senders).filter(|(number, _)| counts(version, Of::Sender(*number)));
        self.rest + operators.chain(senders).map(|(_, sum)| *sum).sum()
    }
}

fn at(sums: &mut Vec<Sum>, number: u16) -> &mut Sum {
    let number = usize::from(number);
    if sums.len() <= number {
        sums.resize(number + 1, Sum::default());
    }
    &mut sums[number]
}

/// Whether what is said of an organisation counts: it has not left.
fn counts(version: &Version, of: Of) -> bool {
    match of {
        Of::Rest => true,
        Of::Operator(number) => version.operators.place(number).is_some(),
        Of::Sender(number) => version.senders.place(number).is_some(),
    }
}

/// What records name by numbers, hashed.
#[derive(Default)]
pub(crate) struct Hashes {
    /// Of the ids of operators and senders, by number.
    operators: Vec<u64>,
    senders: Vec<u64>,
    /// For each rule where its senders end, and its acceptance.
    rules: Vec<(u32, Acceptance)>,
    rule_senders: Vec<u16>,
    /// By number of the certificate.
    certificates: Vec<u128>,
}

impl Hashes {
    /// Of all that a register has. Cost: some milliseconds, as for reading its rules.
    pub(crate) fn of(register: &Register) -> Result<Hashes, Damage> {
        let mut hashes = Hashes::default();
        let version = register.version();
        hashes.add_actors(&version.actors, &version.operators, &version.senders);
        let rules = register.rules()?;
        for number in 0..rules.len() as u32 {
            hashes.add_rule(&rules.get(number).ok_or(DamagedSection { name: "rule_heads" })?);
        }
        for number in 0..register.certificates()? {
            hashes.add_certificate(register.certificate(Some(number))?);
        }
        Ok(hashes)
    }

    /// Adds organisations that are new in their lists.
    pub(crate) fn add_actors(&mut self, actors: &Actors, operators: &Numbers, senders: &Numbers) {
        let id = |place| of_id(&actors.operators[usize::from(place)].id);
        for number in self.operators.len() as u16..operators.given() {
            self.operators.push(operators.place(number).map_or(0, id));
        }
        let id = |place| of_id(&actors.senders[usize::from(place)].id);
        for number in self.senders.len() as u16..senders.given() {
            self.senders.push(senders.place(number).map_or(0, id));
        }
    }

    /// Adds the next rule, whose senders have numbers.
    pub(crate) fn add_rule(&mut self, rule: &RuleSet) {
        self.rule_senders.extend_from_slice(&rule.senders);
        self.rules.push((self.rule_senders.len() as u32, rule.acceptance));
    }

    /// Adds the next certificate.
    pub(crate) fn add_certificate(&mut self, text: &str) {
        self.certificates.push(xxh3_128(text.as_bytes()));
    }

    /// Hashes of what a register says of somebody.
    pub(crate) fn record(
        &self,
        register: &Register,
        (ordinal, state): (Ordinal, State),
        at: &At<'_>,
        each: impl FnMut(Of, Sum),
    ) -> Result<(), Damage> {
        match register.kind() {
            Kind::Far => self.far(ordinal, state, || at.view.rule(at.record), register.times(at)?, each),
            Kind::Krr => {
                let finding = "a person's contact data cannot be read";
                let damaged = DamagedBlock { block: at.block(), finding };
                self.krr(ordinal, state, register.contact(at)?, each).ok_or(damaged)?;
            }
        }
        Ok(())
    }

    /// Hashes of what is said of somebody in a state: the number of the rule if it is listed, and the cold entry.
    pub(crate) fn made(
        &self,
        kind: Kind,
        (ordinal, state): (Ordinal, State),
        (rule, cold): (u32, &[u8]),
        each: impl FnMut(Of, Sum),
    ) {
        match kind {
            Kind::Far => self.far(ordinal, state, || rule, times_of_entry(cold), each),
            // It has been packed here.
            Kind::Krr => drop(self.krr(ordinal, state, cold, each)),
        }
    }

    fn far(
        &self,
        ordinal: Ordinal,
        state: State,
        listed: impl FnOnce() -> u32,
        times: [i64; 2],
        mut each: impl FnMut(Of, Sum),
    ) {
        let FarState { account_type, pending, operator, rule } = state.into();
        let rule = match rule {
            StateRule::AcceptsAll => 0,
            StateRule::Shared(number) => number,
            StateRule::Listed => listed(),
        } as usize;
        let (end, acceptance) = self.rules.get(rule).copied().unwrap_or((0, Acceptance::AllExcept));
        let start = rule.checked_sub(1).and_then(|before| self.rules.get(before)).map_or(0, |(end, _)| *end);
        let only = u64::from(acceptance == Acceptance::Only);
        let flags = account_type as u64 | u64::from(pending) << 8 | only << 16;
        let [registration, change] = times.map(i64::cast_unsigned);
        each(Of::Rest, of_words(&[subject(ordinal, flags), registration, change]));
        self.operator(ordinal, operator, &mut each);
        for &sender in self.rule_senders.get(start as usize..end as usize).unwrap_or_default() {
            let id = self.senders.get(usize::from(sender)).copied().unwrap_or_default();
            each(Of::Sender(sender), of_words(&[subject(ordinal, SENDER), id]));
        }
    }

    fn krr(
        &self,
        ordinal: Ordinal,
        state: State,
        contact: &[u8],
        mut each: impl FnMut(Of, Sum),
    ) -> Option<()> {
        let KrrState { reserved, deleted, operator, .. } = state.into();
        let contact = Contact::packed(contact)?;
        let (contact, certificate) = match Contact::certificate_of(contact) {
            Some(number) => (&contact[..contact.len() - 4], *self.certificates.get(number as usize)?),
            None => (contact, 0),
        };
        let flags = u64::from(reserved) | u64::from(deleted) << 8;
        let [contact, certificate] =
            [xxh3_128(contact), certificate].map(|hash| [hash as u64, (hash >> 64) as u64]);
        let words = [subject(ordinal, flags), contact[0], contact[1], certificate[0], certificate[1]];
        each(Of::Rest, of_words(&words));
        self.operator(ordinal, operator, &mut each);
        Some(())
    }

    fn operator(&self, ordinal: Ordinal, operator: Option<u16>, each: &mut impl FnMut(Of, Sum)) {
        if let Some(number) = operator {
            let id = self.operators.get(usize::from(number)).copied().unwrap_or_default();
            each(Of::Operator(number), of_words(&[subject(ordinal, OPERATOR), id]));
        }
    }
}

/// What tells hashes of organisations that somebody names from each other, and from flags.
const OPERATOR: u64 = 1 << 30;
const SENDER: u64 = 1 << 31;

fn subject(ordinal: Ordinal, flags: u64) -> u64 {
    u64::from(ordinal.0) << 32 | flags
}

fn of_id(id: &str) -> u64 {
    xxh3_64(id.as_bytes())
}

fn of_words<const N: usize>(words: &[u64; N]) -> Sum {
    let bytes: [[u8; 8]; N] = words.map(u64::to_le_bytes);
    Sum(xxh3_128(bytes.as_flattened()))
}

/// Of all organisations. Those of KRR are what persons name.
pub(crate) fn of_actors(kind: Kind, actors: &Actors) -> Sum {
    if kind == Kind::Krr {
        return Sum::default();
    }
    let operators = actors.operators.iter().map(|operator| {
        let super::Operator { id, name, service_address, ui_address, internal_service_address, logo } =
            operator;
        of_texts(b'o', &[id, name, service_address, ui_address, internal_service_address, logo])
    });
    let senders =
        actors.senders.iter().map(|sender| of_texts(b's', &[&sender.id, &sender.name, &sender.attention]));
    let dispatchers = actors.dispatchers.iter().map(|dispatcher| {
        let senders = dispatcher.senders.iter().map(|&place| &actors.senders[usize::from(place)].id[..]);
        let texts: Vec<&str> = [&dispatcher.id[..], &dispatcher.name].into_iter().chain(senders).collect();
        of_texts(b'd', &texts)
    });
    operators.chain(senders).chain(dispatchers).sum()
}

fn of_texts(of: u8, texts: &[&str]) -> Sum {
    let mut bytes = vec![of];
    for text in texts {
        bytes.extend_from_slice(&(text.len() as u64).to_le_bytes());
        bytes.extend_from_slice(text.as_bytes());
    }
    Sum(xxh3_128(&bytes))
}

/// Calls `visit` for everybody whom two registers of one country do not have in the same way, in the order of their
/// ordinals.
///
/// Errors: a register is damaged; those of `visit`.
pub(crate) fn differing<E: From<Damage>>(
    one: &Register,
    other: &Register,
    mut visit: impl FnMut(Ordinal) -> Result<(), E>,
) -> Result<(), E> {
    let hashes = [Hashes::of(one)?, Hashes::of(other)?];
    let [of_one, of_other] = [one.index(), other.index()];
    for part in 0..of_one.parts() {
        let sides = [(one, &of_one, &hashes[0]), (other, &of_other, &hashes[1])];
        let [ours, theirs] = sides.map(|(register, index, hashes)| {
            let mut sums: Vec<(Ordinal, Sum)> = Vec::new();
            let add = |ordinal, of, sum| {
                if of == Of::Rest {
                    sums.push((ordinal, sum));
                } else if let Some((_, last)) = sums.last_mut().filter(|_| counts(&register.version, of)) {
                    *last = *last + sum;
                }
            };
            register.hashes_of_part(hashes, index, part, add).map(|()| sums.into_iter().peekable())
        });
        let (mut ours, mut theirs) = (ours?, theirs?);
        while let Some(next) = ours.peek().into_iter().chain(theirs.peek()).map(|(ordinal, _)| *ordinal).min()
        {
            let sum = ours.next_if(|(ordinal, _)| *ordinal == next);
            if sum != theirs.next_if(|(ordinal, _)| *ordinal == next) {
                visit(next)?;
            }
        }
    }
    Ok(())
}

impl Register {
    /// What tells its content from that of others.
    ///
    /// Cost: some microseconds, except for the first version of each register file that is asked: then all of the file
    /// is read, on all cores, which takes a fifth of a second for 8 million recipients.
    ///
    /// Errors: a part of the register is damaged.
    pub fn content(&self) -> Result<ContentDigest, Damage> {
        let sum = self.file_sums()?.of(&self.version) + self.version.sums.of(&self.version);
        Ok(self.digest_of(sum))
    }

    /// The same by reading all that the register has.
    #[cfg(test)]
    pub(crate) fn content_anew(&self) -> Result<ContentDigest, Damage> {
        Ok(self.digest_of(self.sums_anew()?.of(&self.version)))
    }

    fn digest_of(&self, sum: Sum) -> ContentDigest {
        let Sum(sum) = sum + self.actors_sum();
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"nabar content 1\n").update(self.kind().name().as_bytes());
        hasher.update(&self.recipients().to_le_bytes()).update(&sum.to_le_bytes());
        ContentDigest(*hasher.finalize().as_bytes())
    }

    /// Of all organisations, which stay the same for thousands of versions.
    fn actors_sum(&self) -> Sum {
        let actors = &self.version.actors;
        let mut kept = self.base.actors_sum.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, sum)) = kept.as_ref()
            && std::ptr::eq(of.as_ptr(), Arc::as_ptr(actors))
        {
            return *sum;
        }
        let sum = of_actors(self.kind(), actors);
        *kept = Some((Arc::downgrade(actors), sum));
        sum
    }

    /// The sums of the register file, for tests that read the same file again and again.
    #[cfg(test)]
    pub(crate) fn known_sums(&self) -> Sums {
        self.file_sums().expect("undamaged").clone()
    }

    /// Whether it is known already.
    #[cfg(test)]
    pub(crate) fn has_known_sums(&self) -> bool {
        self.base.sums.get().is_some()
    }

    /// Takes over the sums of the register file from another register of the same file.
    #[cfg(test)]
    pub(crate) fn set_known_sums(&self, sums: Sums) {
        let _ = self.base.sums.set(sums);
    }

    /// The sums of the register file.
    fn file_sums(&self) -> Result<&Sums, Damage> {
        if let Some(sums) = self.base.sums.get() {
            return Ok(sums);
        }
        // Many may ask at once after a checkpoint: one reads the file for all.
        let _one = self.base.summing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sums) = self.base.sums.get() {
            return Ok(sums);
        }
        let sums = self.at(self.base.first.clone()).sums_anew()?;
        Ok(self.base.sums.get_or_init(|| sums))
    }

    fn sums_anew(&self) -> Result<Sums, Damage> {
        let hashes = Hashes::of(self)?;
        let index = &self.index();
        let parts = index.parts();
        let groups = (0..parts.div_ceil(GROUP_PARTS)).into_par_iter();
        let sums = groups.try_fold(Sums::default, |mut sums, group| {
            for part in index.present(group * GROUP_PARTS..parts.min((group + 1) * GROUP_PARTS)) {
                self.hashes_of_part(&hashes, index, part, |_, of, sum| sums.add(of, sum))?;
            }
            Ok(sums)
        });
        sums.try_reduce(Sums::default, |mut sums, more| {
            sums.add_all(&more);
            Ok(sums)
        })
    }

    /// Calls `visit` with the hashes of everybody in a part, of each first with that of [`Of::Rest`].
    fn hashes_of_part(
        &self,
        hashes: &Hashes,
        index: &Index<'_>,
        part: usize,
        mut visit: impl FnMut(Ordinal, Of, Sum),
    ) -> Result<(), Damage> {
        let Some(view) = index.view(self.trust(), part)? else { return Ok(()) };
        for (record, offset) in (0..).zip(view.offsets()) {
            let ordinal = Ordinal(index.first_of(part).0 + offset);
            let at = At { index, part, offset: offset as u16, record, view };
            let code = view.codes.get(Slot(record)) as usize;
            let state = self.version.states.get(code).copied().unwrap_or_default();
            hashes.record(self, (ordinal, state), &at, |of, sum| visit(ordinal, of, sum))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::store::{self, Lines, Reader, Writer};
    use std::collections::HashSet;
    use std::fs;
    use std::path::Path;

    /// Every change of the fixtures makes another content of it, except those that are made to change nothing; and
    /// neither a checkpoint nor the way through an extract does.
    #[test]
    fn content_is_what_counts() {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
        for kind in ["far", "krr"] {
            let directory = tempfile::tempdir().expect("directory");
            let data = directory.path().join("data");
            store::init(&fixtures.join(kind), &data).expect("a data directory");
            let writer = Writer::open(&data).expect("a writer");
            let content = || writer.register().content().expect("undamaged").to_string();
            let text = fs::read(fixtures.join("changes").join(format!("{kind}.jsonl"))).expect("changes");
            let mut seen = HashSet::from([content()]);
            let lines: Vec<&[u8]> = text.split_inclusive(|&byte| byte == b'\n').collect();
            for line in &lines {
                writer.apply(Lines::parse(line, writer.kind()), None).expect("applied");
                seen.insert(content());
            }
            assert!(seen.len() > lines.len() * 9 / 10, "{} of {}", seen.len(), lines.len());

            let last = content();
            writer.checkpoint(false).expect("a checkpoint");
            assert_eq!(content(), last);
            let reader = Reader::open(&data).expect("a reader").register();
            assert_eq!(reader.content().expect("undamaged").to_string(), last, "read from the new file");
            let extract = directory.path().join("extract");
            crate::extract::export(&reader, &extract).expect("exported");
            let built = directory.path().join("built.nabar");
            crate::extract::build(&extract, &built, &crate::extract::BuildOptions::lenient()).expect("built");
            let built =
                crate::snapshot::Snapshot::open(&built).and_then(|file| file.register()).expect("open");
            assert_eq!(built.content().expect("undamaged").to_string(), last, "built of its extract");
        }
    }
}
