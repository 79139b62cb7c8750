//! Content digests: whether two registers have the same content, independent of their files and logs.
//!
//! The data of each recipient and each organisation has a 128-bit hash (XXH3), and the sum of a register is the sum of
//! all hashes modulo 2^128. So the digest does not depend on the order of changes, and a change subtracts some hashes
//! and adds others, which takes tens of nanoseconds. The reference from a recipient to its operator, and from its rule
//! to a sender, has a separate hash. These are summed per operator and per sender: when an organisation leaves the
//! register, its sum is omitted. The [`ContentDigest`] is the BLAKE3 hash of the sum. It detects errors of software,
//! memory and disks. It does not detect forgery, because a register with a given sum can be constructed; signatures do.
//!
//! The digest covers what queries can return: organisations by their ids, not by their numbers; of KRR's operators
//! those that recipients refer to. It does not cover the sequence number and time.

use super::actors::Actors;
use super::cold::times_of_entry;
use super::contact::Contact;
use super::state::{FarState, KrrState, State, StateRule};
use super::{Damage, DamagedSection, Kind, RecordPosition, Register, Version};
use crate::consent::{Acceptance, RuleSet};
use crate::identities::Ordinal;
use crate::index::{DamagedBlock, Index, Slot};
use crate::organisations::{OperatorNumber, OperatorNumbers, SenderNumber, SenderNumbers};
use rayon::prelude::*;
use std::fmt;
use std::sync::{Arc, PoisonError};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

/// Parts per task when a register is summed in parallel.
const GROUP_PARTS: usize = 64;

/// Digest of the content of a register; 64 hexadecimal digits as text.
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
pub(crate) struct ContentSum(u128);

impl std::ops::Add for ContentSum {
    type Output = ContentSum;

    fn add(self, other: ContentSum) -> ContentSum {
        ContentSum(self.0.wrapping_add(other.0))
    }
}

impl std::ops::Sub for ContentSum {
    type Output = ContentSum;

    fn sub(self, other: ContentSum) -> ContentSum {
        ContentSum(self.0.wrapping_sub(other.0))
    }
}

impl std::iter::Sum for ContentSum {
    fn sum<I: Iterator<Item = ContentSum>>(sums: I) -> ContentSum {
        sums.fold(ContentSum::default(), |sum, more| sum + more)
    }
}

/// What a hash covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HashSubject {
    /// The reference from a recipient to an operator.
    Operator(OperatorNumber),
    /// The reference from a recipient's rule to a sender.
    Sender(SenderNumber),
    /// All other data.
    Rest,
}

/// The sums of a register's content, or differences of such sums.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ContentSums {
    rest: ContentSum,
    /// By number of the operator.
    operators: Vec<ContentSum>,
    /// By number of the sender.
    senders: Vec<ContentSum>,
}

impl ContentSums {
    pub(crate) fn add(&mut self, of: HashSubject, sum: ContentSum) {
        let to = match of {
            HashSubject::Rest => &mut self.rest,
            HashSubject::Operator(number) => sum_at(&mut self.operators, number.get()),
            HashSubject::Sender(number) => sum_at(&mut self.senders, number.get()),
        };
        *to = *to + sum;
    }

    pub(crate) fn add_all(&mut self, other: &ContentSums) {
        self.rest = self.rest + other.rest;
        for (number, &sum) in (0..=u16::MAX).zip(&other.operators) {
            self.add(HashSubject::Operator(OperatorNumber::new(number)), sum);
        }
        for (number, &sum) in (0..=u16::MAX).zip(&other.senders) {
            self.add(HashSubject::Sender(SenderNumber::new(number)), sum);
        }
    }

    /// The total sum of a version, without organisations that have left.
    fn of(&self, version: &Version) -> ContentSum {
        let operators =
            (0..=u16::MAX).map(OperatorNumber::new).map(HashSubject::Operator).zip(&self.operators);
        let senders = (0..=u16::MAX).map(SenderNumber::new).map(HashSubject::Sender).zip(&self.senders);
        let present = operators.chain(senders).filter(|(of, _)| is_present(version, *of));
        self.rest + present.map(|(_, sum)| *sum).sum()
    }
}

fn sum_at(sums: &mut Vec<ContentSum>, number: u16) -> &mut ContentSum {
    let number = usize::from(number);
    if sums.len() <= number {
        sums.resize(number + 1, ContentSum::default());
    }
    &mut sums[number]
}

/// Whether the organisation that a hash refers to, if any, is still in the register.
fn is_present(version: &Version, of: HashSubject) -> bool {
    match of {
        HashSubject::Rest => true,
        HashSubject::Operator(number) => version.operators.index(number).is_some(),
        HashSubject::Sender(number) => version.senders.index(number).is_some(),
    }
}

/// Hashes of the organisations, rules and certificates that records refer to by number.
#[derive(Default)]
pub(crate) struct Hashes {
    /// Hashes of the ids of operators and senders, by number.
    operators: Vec<u64>,
    senders: Vec<u64>,
    /// For each rule the end of its senders in `rule_senders`, and its acceptance.
    rules: Vec<(u32, Acceptance)>,
    rule_senders: Vec<SenderNumber>,
    /// By number of the certificate.
    certificates: Vec<u128>,
}

impl Hashes {
    /// The hashes of a register. Cost: some milliseconds, as for reading its rules.
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

    /// Adds organisations that have joined.
    pub(crate) fn add_actors(
        &mut self,
        actors: &Actors,
        operators: &OperatorNumbers,
        senders: &SenderNumbers,
    ) {
        for number in self.operators.len() as u16..operators.assigned() {
            let index = operators.index(OperatorNumber::new(number));
            self.operators.push(index.map_or(0, |index| of_id(&actors.operators[usize::from(index)].id)));
        }
        for number in self.senders.len() as u16..senders.assigned() {
            let index = senders.index(SenderNumber::new(number));
            self.senders.push(index.map_or(0, |index| of_id(&actors.senders[usize::from(index)].id)));
        }
    }

    /// Adds the next rule.
    pub(crate) fn add_rule(&mut self, rule: &RuleSet<SenderNumber>) {
        self.rule_senders.extend_from_slice(&rule.senders);
        self.rules.push((self.rule_senders.len() as u32, rule.acceptance));
    }

    /// Adds the next certificate.
    pub(crate) fn add_certificate(&mut self, text: &str) {
        self.certificates.push(xxh3_128(text.as_bytes()));
    }

    /// Calls `each` with the hashes of a recipient of a register.
    pub(crate) fn record(
        &self,
        register: &Register,
        (ordinal, state): (Ordinal, State),
        at: &RecordPosition<'_>,
        each: impl FnMut(HashSubject, ContentSum),
    ) -> Result<(), Damage> {
        match register.kind() {
            Kind::Far => self.far(ordinal, state, || at.view.rule(at.record), register.times(at)?, each),
            Kind::Krr => {
                let finding = "the contact data of a recipient cannot be read";
                let damaged = DamagedBlock { block: at.block(), finding };
                self.krr(ordinal, state, register.contact(at)?, each).ok_or(damaged)?;
            }
        }
        Ok(())
    }

    /// Calls `each` with the hashes of a recipient that is being written: its state, the number of its rule if it is
    /// listed, and its cold entry.
    pub(crate) fn made(
        &self,
        kind: Kind,
        (ordinal, state): (Ordinal, State),
        (rule, cold): (u32, &[u8]),
        each: impl FnMut(HashSubject, ContentSum),
    ) {
        match kind {
            Kind::Far => self.far(ordinal, state, || rule, times_of_entry(cold), each),
            // The contact was packed by this process, so it can be read.
            Kind::Krr => drop(self.krr(ordinal, state, cold, each)),
        }
    }

    fn far(
        &self,
        ordinal: Ordinal,
        state: State,
        listed: impl FnOnce() -> u32,
        times: [i64; 2],
        mut each: impl FnMut(HashSubject, ContentSum),
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
        each(HashSubject::Rest, of_words(&[subject(ordinal, flags), registration, change]));
        self.operator(ordinal, operator, &mut each);
        for &sender in self.rule_senders.get(start as usize..end as usize).unwrap_or_default() {
            let id = self.senders.get(usize::from(sender)).copied().unwrap_or_default();
            each(HashSubject::Sender(sender), of_words(&[subject(ordinal, SENDER), id]));
        }
    }

    fn krr(
        &self,
        ordinal: Ordinal,
        state: State,
        contact: &[u8],
        mut each: impl FnMut(HashSubject, ContentSum),
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
        each(HashSubject::Rest, of_words(&words));
        self.operator(ordinal, operator, &mut each);
        Some(())
    }

    fn operator(
        &self,
        ordinal: Ordinal,
        operator: Option<OperatorNumber>,
        each: &mut impl FnMut(HashSubject, ContentSum),
    ) {
        if let Some(number) = operator {
            let id = self.operators.get(usize::from(number)).copied().unwrap_or_default();
            each(HashSubject::Operator(number), of_words(&[subject(ordinal, OPERATOR), id]));
        }
    }
}

/// Domain separation of the hashes of references to organisations, from each other and from flags.
const OPERATOR: u64 = 1 << 30;
const SENDER: u64 = 1 << 31;

fn subject(ordinal: Ordinal, flags: u64) -> u64 {
    u64::from(ordinal.0) << 32 | flags
}

fn of_id(id: &str) -> u64 {
    xxh3_64(id.as_bytes())
}

fn of_words<const N: usize>(words: &[u64; N]) -> ContentSum {
    let bytes: [[u8; 8]; N] = words.map(u64::to_le_bytes);
    ContentSum(xxh3_128(bytes.as_flattened()))
}

/// The sum of all organisations. 0 for KRR, whose operators are hashed as references from recipients.
pub(crate) fn of_actors(kind: Kind, actors: &Actors) -> ContentSum {
    if kind == Kind::Krr {
        return ContentSum::default();
    }
    let operators = actors.operators.iter().map(|operator| {
        let super::Operator { id, name, service_address, ui_address, internal_service_address, logo } =
            operator;
        of_texts(b'o', &[id, name, service_address, ui_address, internal_service_address, logo])
    });
    let senders =
        actors.senders.iter().map(|sender| of_texts(b's', &[&sender.id, &sender.name, &sender.attention]));
    let dispatchers = actors.dispatchers.iter().map(|dispatcher| {
        let senders = dispatcher.senders.iter().map(|&index| &actors.senders[usize::from(index)].id[..]);
        let texts: Vec<&str> = [&dispatcher.id[..], &dispatcher.name].into_iter().chain(senders).collect();
        of_texts(b'd', &texts)
    });
    operators.chain(senders).chain(dispatchers).sum()
}

fn of_texts(of: u8, texts: &[&str]) -> ContentSum {
    let mut bytes = vec![of];
    for text in texts {
        bytes.extend_from_slice(&(text.len() as u64).to_le_bytes());
        bytes.extend_from_slice(text.as_bytes());
    }
    ContentSum(xxh3_128(&bytes))
}

/// Calls `visit` for every recipient whose data differs between two registers of one country, ascending by ordinal.
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
            let mut sums: Vec<(Ordinal, ContentSum)> = Vec::new();
            let add = |ordinal, of, sum| {
                if of == HashSubject::Rest {
                    sums.push((ordinal, sum));
                } else if let Some((_, last)) = sums.last_mut().filter(|_| is_present(&register.version, of))
                {
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
    /// The digest of the register's content.
    ///
    /// Cost: some microseconds. The first call for a register file reads the file on all cores, which takes 0.2 seconds
    /// for 8 million recipients.
    ///
    /// Errors: a part of the register is damaged.
    pub fn content(&self) -> Result<ContentDigest, Damage> {
        let sum = self.file_sums()?.of(&self.version) + self.version.sums.of(&self.version);
        Ok(self.digest_of(sum))
    }

    /// [`content`](Self::content), computed from all records.
    #[cfg(test)]
    pub(crate) fn recompute_content(&self) -> Result<ContentDigest, Damage> {
        Ok(self.digest_of(self.compute_sums()?.of(&self.version)))
    }

    fn digest_of(&self, sum: ContentSum) -> ContentDigest {
        let ContentSum(sum) = sum + self.actors_sum();
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"nabar content 1\n").update(self.kind().name().as_bytes());
        hasher.update(&self.recipients().to_le_bytes()).update(&sum.to_le_bytes());
        ContentDigest(*hasher.finalize().as_bytes())
    }

    /// The sum of all organisations. Cached, because they stay the same for thousands of versions.
    fn actors_sum(&self) -> ContentSum {
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

    /// The sums of the register file, for tests that open the same file repeatedly.
    #[cfg(test)]
    pub(crate) fn known_sums(&self) -> ContentSums {
        self.file_sums().expect("undamaged").clone()
    }

    /// Whether the sums of the register file have been computed.
    #[cfg(test)]
    pub(crate) fn has_known_sums(&self) -> bool {
        self.base.sums.get().is_some()
    }

    /// Sets the sums of the register file, from another register of the same file.
    #[cfg(test)]
    pub(crate) fn set_known_sums(&self, sums: ContentSums) {
        let _ = self.base.sums.set(sums);
    }

    /// The sums of the register file.
    fn file_sums(&self) -> Result<&ContentSums, Damage> {
        if let Some(sums) = self.base.sums.get() {
            return Ok(sums);
        }
        // Many threads may need the sums after a checkpoint: one computes them.
        let _one = self.base.summing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sums) = self.base.sums.get() {
            return Ok(sums);
        }
        let sums = self.at(self.base.first.clone()).compute_sums()?;
        Ok(self.base.sums.get_or_init(|| sums))
    }

    fn compute_sums(&self) -> Result<ContentSums, Damage> {
        let hashes = Hashes::of(self)?;
        let index = &self.index();
        let parts = index.parts();
        let groups = (0..parts.div_ceil(GROUP_PARTS)).into_par_iter();
        let sums = groups.try_fold(ContentSums::default, |mut sums, group| {
            for part in index.present(group * GROUP_PARTS..parts.min((group + 1) * GROUP_PARTS)) {
                self.hashes_of_part(&hashes, index, part, |_, of, sum| sums.add(of, sum))?;
            }
            Ok(sums)
        });
        sums.try_reduce(ContentSums::default, |mut sums, more| {
            sums.add_all(&more);
            Ok(sums)
        })
    }

    /// Calls `visit` with the hashes of all recipients in a part. The hash of [`HashSubject::Rest`] is the first of a recipient.
    fn hashes_of_part(
        &self,
        hashes: &Hashes,
        index: &Index<'_>,
        part: usize,
        mut visit: impl FnMut(Ordinal, HashSubject, ContentSum),
    ) -> Result<(), Damage> {
        let Some(view) = index.view(self.trust(), part)? else { return Ok(()) };
        for (record, offset) in (0..).zip(view.offsets()) {
            let ordinal = Ordinal(index.first_of(part).0 + offset);
            let at = RecordPosition { index, part, offset: offset as u16, record, view };
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

    /// The content digest changes with every change of the fixtures, except those without effect. A checkpoint, and
    /// exporting and building an extract, keep it.
    #[test]
    fn the_digest_changes_with_the_content_only() {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
        for kind in ["far", "krr"] {
            let directory = tempfile::tempdir().expect("directory");
            let data = directory.path().join("data");
            store::init(fixtures.join(kind), &data).expect("a data directory");
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
            assert_eq!(built.content().expect("undamaged").to_string(), last, "built from its extract");
        }
    }
}
