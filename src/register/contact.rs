//! Contact information of KRR recipients, in packed form.
//!
//! Layout, little-endian, without padding: a 32-bit mask of the present fields; for each time
//! 64 bits of nanoseconds since 1970; for each text a 16-bit length and its bytes; 32 bits for the number
//! of the certificate. Bits of the mask in the order of the fields below: 0 to 6 and 20 to 21 times, 8 to 11 texts,
//! 12 certificate, 16 and 17 e-mail shared (known, yes), 18 and 19 mobile number shared (known, yes). Bits 20 and 21
//! are newer than the others: register files of versions 1 and 2 and logs of version 1 do not have them.

use super::moment;
use crate::limits::CONTACT_BYTES_MAX;
use jiff::Timestamp;

/// Contact information of a KRR recipient, with texts of type `S`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Contact<S = String> {
    pub(crate) reserved_at: Option<Timestamp>,
    pub(crate) reservation_updated: Option<Timestamp>,
    pub(crate) email_updated: Option<Timestamp>,
    pub(crate) email_verified: Option<Timestamp>,
    pub(crate) mobile_updated: Option<Timestamp>,
    pub(crate) mobile_verified: Option<Timestamp>,
    pub(crate) language_updated: Option<Timestamp>,
    /// When the register last found that mail to the address arrives. Does not count for the 18-month rule.
    pub(crate) email_validated: Option<Timestamp>,
    /// As `email_validated`, of the mobile number.
    pub(crate) mobile_validated: Option<Timestamp>,
    pub(crate) email: Option<S>,
    pub(crate) mobile: Option<S>,
    pub(crate) mailbox: Option<S>,
    pub(crate) language: Option<S>,
    /// Number of the certificate in the register's table.
    pub(crate) certificate: Option<u32>,
    pub(crate) email_shared: Option<bool>,
    pub(crate) mobile_shared: Option<bool>,
}

/// Bits of the times, in the order of the fields.
const TIMES: [u32; 9] = [0, 1, 2, 3, 4, 5, 6, 20, 21];
/// The bits of the times of validation.
const VALIDATED: u32 = 0b11 << 20;
const TEXTS: u32 = 8;
const CERTIFICATE: u32 = 1 << 12;
const EMAIL_SHARED: u32 = 16;
const MOBILE_SHARED: u32 = 18;

impl<S> Contact<S> {
    /// First day on which no channel is fresh: a channel is fresh for 18 months after it was updated or verified, the
    /// later of the two (eForvaltningsforskriften § 32). 0 without a dated channel.
    pub(crate) fn expires(&self) -> u32 {
        let email = self.email.as_ref().and(self.email_updated.max(self.email_verified));
        let mobile = self.mobile.as_ref().and(self.mobile_updated.max(self.mobile_verified));
        // The later time never expires earlier, although months differ in length.
        email.max(mobile).map_or(0, moment::eighteen_months_after)
    }
}

impl<S: AsRef<str>> Contact<S> {
    fn times(&self) -> [Option<Timestamp>; TIMES.len()] {
        [
            self.reserved_at,
            self.reservation_updated,
            self.email_updated,
            self.email_verified,
            self.mobile_updated,
            self.mobile_verified,
            self.language_updated,
            self.email_validated,
            self.mobile_validated,
        ]
    }

    fn texts(&self) -> [Option<&str>; 4] {
        [&self.email, &self.mobile, &self.mailbox, &self.language]
            .map(|text| text.as_ref().map(AsRef::as_ref))
    }

    /// Length of the packed form in bytes.
    fn packed_length(&self) -> usize {
        let times = self.times().into_iter().flatten().count();
        let texts: usize = self.texts().into_iter().flatten().map(|text| 2 + text.len()).sum();
        4 + 8 * times + texts + if self.certificate.is_some() { 4 } else { 0 }
    }

    /// Appends the packed form. Returns `None` and appends nothing if it is longer than [`CONTACT_BYTES_MAX`].
    pub(crate) fn pack(&self, bytes: &mut Vec<u8>) -> Option<()> {
        let (start, length) = (bytes.len(), self.packed_length());
        if length > CONTACT_BYTES_MAX {
            return None;
        }
        bytes.reserve(length);
        bytes.extend_from_slice(&self.mask().to_le_bytes());
        for time in self.times().into_iter().flatten() {
            let Some(nanoseconds) = moment::nanoseconds(time) else {
                bytes.truncate(start);
                return None;
            };
            bytes.extend_from_slice(&nanoseconds.to_le_bytes());
        }
        for text in self.texts().into_iter().flatten() {
            bytes.extend_from_slice(&(text.len() as u16).to_le_bytes());
            bytes.extend_from_slice(text.as_bytes());
        }
        bytes.extend(self.certificate.into_iter().flat_map(u32::to_le_bytes));
        Some(())
    }

    fn packed_alone(&self, capacity: usize) -> Option<Box<[u8]>> {
        let mut bytes = Vec::with_capacity(capacity);
        self.pack(&mut bytes)?;
        Some(bytes.into_boxed_slice())
    }

    fn mask(&self) -> u32 {
        let mut mask = 0;
        for (bit, time) in TIMES.into_iter().zip(self.times()) {
            mask |= u32::from(time.is_some()) << bit;
        }
        for (bit, text) in self.texts().iter().enumerate() {
            mask |= u32::from(text.is_some()) << (TEXTS + bit as u32);
        }
        for (bit, shared) in [(EMAIL_SHARED, self.email_shared), (MOBILE_SHARED, self.mobile_shared)] {
            mask |= (u32::from(shared.is_some()) | u32::from(shared == Some(true)) << 1) << bit;
        }
        mask | if self.certificate.is_some() { CERTIFICATE } else { 0 }
    }
}

impl Contact {
    /// The packed form of a contact without any field.
    pub(crate) const EMPTY: [u8; 4] = [0; 4];

    /// The packed form at the beginning of `bytes`, without the bytes after it. `None` if it is malformed.
    pub(crate) fn packed(bytes: &[u8]) -> Option<&[u8]> {
        let mask = u32::from_le_bytes(*bytes.first_chunk()?);
        let times = TIMES.iter().filter(|&bit| mask >> bit & 1 == 1).count();
        let mut end = 4 + 8 * times;
        for _ in 0..(mask >> TEXTS & 0b1111).count_ones() {
            end += 2 + usize::from(u16::from_le_bytes(*bytes.get(end..)?.first_chunk()?));
        }
        end += if mask & CERTIFICATE != 0 { 4 } else { 0 };
        bytes.get(..end)
    }

    /// Whether a packed form has a time of validation.
    pub(crate) fn has_validated(packed: &[u8]) -> bool {
        packed.first_chunk().is_some_and(|mask| u32::from_le_bytes(*mask) & VALIDATED != 0)
    }

    /// A packed form without the times of validation. `None` if it is malformed.
    pub(crate) fn without_validated(packed: &[u8]) -> Option<Box<[u8]>> {
        let contact = Contact { email_validated: None, mobile_validated: None, ..Contact::unpack(packed)? };
        contact.packed_alone(packed.len())
    }

    /// The number of the certificate, which is the last field of the packed form.
    pub(crate) fn certificate_of(packed: &[u8]) -> Option<u32> {
        let mask = u32::from_le_bytes(*packed.first_chunk()?);
        let last = packed.last_chunk::<4>().filter(|_| mask & CERTIFICATE != 0)?;
        Some(u32::from_le_bytes(*last))
    }

    /// Adds the number of a certificate to the packed form, from `start` to the end of `bytes`, of a contact without a
    /// certificate.
    pub(crate) fn add_certificate(bytes: &mut Vec<u8>, start: usize, number: u32) {
        if let Some(mask) = bytes.get_mut(start..).and_then(|packed| packed.first_chunk_mut()) {
            *mask = (u32::from_le_bytes(*mask) | CERTIFICATE).to_le_bytes();
            bytes.extend_from_slice(&number.to_le_bytes());
        }
    }

    /// A packed form without the dates of its channels that count for the 18-month rule, which makes a recipient not
    /// notifiable. `None` if it is malformed.
    pub(crate) fn without_dates(packed: &[u8]) -> Option<Box<[u8]>> {
        let contact = Contact {
            email_updated: None,
            email_verified: None,
            mobile_updated: None,
            mobile_verified: None,
            ..Contact::unpack(packed)?
        };
        contact.packed_alone(packed.len())
    }

    /// Removes the number of the certificate from a packed form, and returns it.
    pub(crate) fn remove_certificate(packed: &mut Vec<u8>) -> Option<u32> {
        let number = Self::certificate_of(packed)?;
        packed.truncate(packed.len() - 4);
        let mask = packed.first_chunk_mut()?;
        *mask = (u32::from_le_bytes(*mask) & !CERTIFICATE).to_le_bytes();
        Some(number)
    }

    /// Replaces the number of the certificate in a packed form.
    pub(crate) fn renumber_certificate(packed: &mut [u8], numbers: &[u32]) {
        if let (Some(number), Some(last)) = (Self::certificate_of(packed), packed.last_chunk_mut::<4>()) {
            *last = numbers[number as usize].to_le_bytes();
        }
    }

    /// Reads the packed form at the beginning of `bytes`. `None` if it is malformed.
    pub(crate) fn unpack(mut bytes: &[u8]) -> Option<Contact<&str>> {
        let mask = u32::from_le_bytes(take(&mut bytes)?);
        let mut contact = Contact::default();
        let Contact {
            reserved_at,
            reservation_updated,
            email_updated,
            email_verified,
            mobile_updated,
            mobile_verified,
            language_updated,
            email_validated,
            mobile_validated,
            email,
            mobile,
            mailbox,
            language,
            certificate,
            email_shared,
            mobile_shared,
        } = &mut contact;
        let times = [
            reserved_at,
            reservation_updated,
            email_updated,
            email_verified,
            mobile_updated,
            mobile_verified,
            language_updated,
            email_validated,
            mobile_validated,
        ];
        for (bit, time) in TIMES.into_iter().zip(times) {
            if mask >> bit & 1 == 1 {
                *time = Some(moment::of_nanoseconds(i64::from_le_bytes(take(&mut bytes)?)));
            }
        }
        for (bit, text) in [email, mobile, mailbox, language].into_iter().enumerate() {
            if mask >> (TEXTS + bit as u32) & 1 == 1 {
                let length = usize::from(u16::from_le_bytes(take(&mut bytes)?));
                let (head, rest) = bytes.split_at_checked(length)?;
                *text = Some(std::str::from_utf8(head).ok()?);
                bytes = rest;
            }
        }
        if mask & CERTIFICATE != 0 {
            *certificate = Some(u32::from_le_bytes(take(&mut bytes)?));
        }
        for (bit, shared) in [(EMAIL_SHARED, email_shared), (MOBILE_SHARED, mobile_shared)] {
            *shared = (mask >> bit & 1 == 1).then_some(mask >> (bit + 1) & 1 == 1);
        }
        Some(contact)
    }
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*head)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn time() -> impl Strategy<Value = Option<Timestamp>> {
        proptest::option::of((i64::MIN + 1..=i64::MAX).prop_map(moment::of_nanoseconds))
    }

    fn text() -> impl Strategy<Value = Option<String>> {
        proptest::option::of(".{0,20}")
    }

    proptest! {
        #[test]
        fn packed_contacts_unpack(
            times in (time(), time(), time(), time(), time(), time(), time(), time(), time()),
            texts in (text(), text(), text(), text()),
            certificate in proptest::option::of(any::<u32>()),
            shared in (proptest::option::of(any::<bool>()), proptest::option::of(any::<bool>())),
            cut in 0..200usize,
        ) {
            let contact = Contact {
                reserved_at: times.0, reservation_updated: times.1, email_updated: times.2,
                email_verified: times.3, mobile_updated: times.4, mobile_verified: times.5,
                language_updated: times.6, email_validated: times.7, mobile_validated: times.8, email: texts.0.as_deref(), mobile: texts.1.as_deref(),
                mailbox: texts.2.as_deref(), language: texts.3.as_deref(), certificate, email_shared: shared.0, mobile_shared: shared.1,
            };
            let mut bytes = Vec::new();
            contact.pack(&mut bytes).expect("short");
            let with_more = [&bytes[..], b"more"].concat();
            prop_assert_eq!(Contact::packed(&with_more), Some(&bytes[..]));
            prop_assert_eq!(Contact::has_validated(&bytes), times.7.or(times.8).is_some());
            let without = Contact { email_validated: None, mobile_validated: None, ..contact.clone() };
            let stripped = Contact::without_validated(&bytes).expect("whole");
            prop_assert!(!Contact::has_validated(&stripped));
            prop_assert_eq!(Contact::unpack(&stripped), Some(without));
            prop_assert_eq!(Contact::unpack(&bytes), Some(contact));
            let _ = Contact::unpack(&bytes[..cut.min(bytes.len())]);
        }

        #[test]
        fn arbitrary_bytes_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = Contact::unpack(&bytes);
        }
    }

    #[test]
    fn contacts_over_the_limit_are_not_packed() {
        let contact = Contact { mailbox: Some("x".repeat(CONTACT_BYTES_MAX)), ..Contact::default() };
        let mut bytes = vec![7];
        assert_eq!(contact.pack(&mut bytes), None);
        assert_eq!(bytes, [7]);
    }

    /// A contact without times of validation is packed as before there were any; their times follow the others.
    #[test]
    fn times_of_validation_follow_the_other_times() {
        let time = |second: u8| Timestamp::from_second(i64::from(second)).expect("a time");
        let nanoseconds = |second: u8| (i64::from(second) * 1_000_000_000).to_le_bytes();
        let packed = |contact: &Contact| {
            let mut bytes = Vec::new();
            contact.pack(&mut bytes).expect("short");
            bytes
        };
        let (email, updated) = (Some("a@b".to_owned()), Some(time(1)));
        let mut contact =
            Contact { email, email_updated: updated, language_updated: Some(time(2)), ..Contact::default() };
        let [mask, text] = [&[0b0100_0100, 1, 0, 0][..], b"\x03\0a@b"];
        assert_eq!(packed(&contact), [mask, &nanoseconds(1), &nanoseconds(2), text].concat());
        (contact.email_validated, contact.mobile_validated) = (Some(time(3)), Some(time(4)));
        let mask = &[0b0100_0100, 1, 0b11 << 4, 0][..];
        let times = [1, 2, 3, 4].map(nanoseconds).concat();
        assert_eq!(packed(&contact), [mask, &times, text].concat());
    }

    /// The 18-month rule applies to each channel, by the later of its two times.
    #[test]
    fn a_channel_is_fresh_if_either_time_is() {
        let time = |text: &str| moment::parse(text);
        let (old, new) = (time("2020-01-01T00:00:00Z"), time("2026-01-01T00:00:00Z"));
        let day = |text: &str| moment::day_number(text.parse().expect("date"));
        let email = Some("a@example.com".to_owned());
        let contact =
            Contact { email: email.clone(), email_updated: old, email_verified: new, ..Contact::default() };
        assert_eq!(contact.expires(), day("2027-07-01"));
        let validated = Contact { email_validated: time("2026-05-01T00:00:00Z"), ..contact.clone() };
        assert_eq!(validated.expires(), contact.expires(), "a validation does not count");
        let without_address = Contact { email: None, ..contact.clone() };
        assert_eq!(without_address.expires(), 0, "times of a removed address");
        let undated = Contact { email, email_validated: new, ..Contact::default() };
        assert_eq!(undated.expires(), 0);
        let mobile = Contact { mobile: Some("+4799999999".into()), mobile_updated: old, ..contact };
        assert_eq!(mobile.expires(), day("2027-07-01"));
    }
}
