//! The organisation that the subject of a client certificate names.
//!
//! Two attributes can name it: `serialNumber`, and `organizationIdentifier` (ETSI EN 319 412-1), which is the
//! only one in Norwegian SEID 2 certificates and in eIDAS seals. Certificates of persons have identity numbers
//! in the same attributes. Such a number never leaves this file, neither as a caller nor in an error.

use crate::register::organisation;
use crate::service::config::SubjectAttribute;
use rustls::pki_types::CertificateDer;
use x509_parser::asn1_rs::{Any, Oid, Tag, oid};
use x509_parser::x509::X509Name;

/// Why a certificate names no organisation. The texts carry names of attributes and never their content,
/// since they are logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::service) enum NoOrganisation {
    #[error("the certificate cannot be read")]
    Unreadable,
    #[error("its subject has more than one {0}")]
    Repeated(SubjectAttribute),
    #[error("its subject has no attribute that organisation_from lists for its authority")]
    Missing,
    #[error("{0} in its subject is not the number of an organisation")]
    NotAnOrganisation(SubjectAttribute),
    #[error("serialNumber and organizationIdentifier in its subject name different organisations")]
    Disagreement,
}

/// The organisation of a certificate, by the attributes that are believed.
pub(in crate::service) fn organisation_of(
    certificate: &CertificateDer<'_>,
    believed: &[SubjectAttribute],
) -> Result<String, NoOrganisation> {
    let parsed = x509_parser::parse_x509_certificate(certificate);
    let (_, certificate) = parsed.map_err(|_| NoOrganisation::Unreadable)?;
    named_by(certificate.subject(), believed)
}

/// Every attribute that is present and believed must name the same organisation. One with another content is
/// not ignored: the certificate may be that of an employee, with the employer in the other attribute.
fn named_by(subject: &X509Name<'_>, believed: &[SubjectAttribute]) -> Result<String, NoOrganisation> {
    let mut named: Option<String> = None;
    for attribute in SubjectAttribute::ALL {
        let value = only_value(subject, attribute)?;
        let Some(value) = value.filter(|_| believed.contains(&attribute)) else { continue };
        let number = number_in(attribute, value).ok_or(NoOrganisation::NotAnOrganisation(attribute))?;
        if named.as_ref().is_some_and(|other| *other != number) {
            return Err(NoOrganisation::Disagreement);
        }
        named = Some(number);
    }
    named.ok_or(NoOrganisation::Missing)
}

/// The value of an attribute, in whichever relative distinguished name it is. Errors: there are two, even if
/// the attribute is not believed.
fn only_value<'a>(
    subject: &'a X509Name<'a>,
    attribute: SubjectAttribute,
) -> Result<Option<&'a Any<'a>>, NoOrganisation> {
    let oid: Oid<'a> = match attribute {
        SubjectAttribute::SerialNumber => oid!(2.5.4.5),
        SubjectAttribute::OrganizationIdentifier => oid!(2.5.4.97),
    };
    let mut values = subject.iter_by_oid(&oid);
    match (values.next(), values.next()) {
        (value, None) => Ok(value.map(|value| value.attr_value())),
        (_, Some(_)) => Err(NoOrganisation::Repeated(attribute)),
    }
}

fn number_in(attribute: SubjectAttribute, value: &Any<'_>) -> Option<String> {
    let text = text_of(value)?;
    match attribute {
        SubjectAttribute::SerialNumber => normal(text.trim()),
        SubjectAttribute::OrganizationIdentifier => identified(text.trim()),
    }
}

/// The text of an ASN.1 string. x509-parser reads only the types whose bytes are UTF-8.
fn text_of(value: &Any<'_>) -> Option<String> {
    let bytes = value.data;
    match value.tag() {
        Tag::Utf8String => String::from_utf8(bytes.to_vec()).ok(),
        Tag::PrintableString | Tag::Ia5String | Tag::NumericString => {
            bytes.is_ascii().then(|| bytes.iter().copied().map(char::from).collect())
        }
        // Certificates with this type have Latin-1 in it, not T.61.
        Tag::T61String => Some(bytes.iter().copied().map(char::from).collect()),
        Tag::BmpString => {
            let (units, rest) = bytes.as_chunks::<2>();
            let units = units.iter().map(|unit| u16::from_be_bytes(*unit));
            rest.is_empty().then(|| char::decode_utf16(units).collect::<Result<_, _>>().ok()).flatten()
        }
        Tag::UniversalString => {
            let (units, rest) = bytes.as_chunks::<4>();
            let mut units = units.iter().map(|unit| u32::from_be_bytes(*unit));
            rest.is_empty().then(|| units.try_fold(String::new(), with_scalar)).flatten()
        }
        _ => None,
    }
}

fn with_scalar(mut text: String, scalar: u32) -> Option<String> {
    text.push(char::from_u32(scalar)?);
    Some(text)
}

/// The organisation of an `organizationIdentifier`: a number of the national trade register (`NTR`) or for
/// value added tax (`VAT`), after the country that gave it.
fn identified(identifier: &str) -> Option<String> {
    let (scheme, number) = identifier.split_once('-')?;
    match scheme {
        "NTRSE" => swedish(number),
        // The last two digits count the registrations of one organisation.
        "VATSE" => swedish(number.strip_suffix("01").filter(|ten| ten.len() == 10)?),
        "NTRNO" => norwegian(number),
        "VATNO" => norwegian(number.strip_suffix("MVA").unwrap_or(number)),
        _ => None,
    }
}

/// Ten digits, of which the last four may stand behind a hyphen.
fn swedish(number: &str) -> Option<String> {
    let (first, last) = number.split_once('-').or_else(|| number.split_at_checked(6))?;
    let digits = |part: &str, count| part.len() == count && part.bytes().all(|byte| byte.is_ascii_digit());
    if digits(first, 6) && digits(last, 4) { organisation(&format!("{first}{last}")) } else { None }
}

/// Nine digits.
fn norwegian(number: &str) -> Option<String> {
    let nine_digits = number.len() == 9 && number.bytes().all(|byte| byte.is_ascii_digit());
    nine_digits.then(|| number.to_owned())
}

/// A number of an organisation as registers have it: `16` and ten digits if it is Swedish, nine if it is
/// Norwegian. `None` for everything else: it may be the identity number of a person, which belongs in no log.
pub(in crate::service) fn normal(number: &str) -> Option<String> {
    organisation(number).or_else(|| norwegian(number))
}

#[cfg(test)]
mod tests {
    use super::SubjectAttribute::{OrganizationIdentifier, SerialNumber};
    use super::*;
    use x509_parser::prelude::FromDer;

    const BOTH: [SubjectAttribute; 2] = SubjectAttribute::ALL;
    const UTF8: u8 = 12;
    const PRINTABLE: u8 = 19;
    const SERIAL_NUMBER: u8 = 5;
    const COMMON_NAME: u8 = 3;
    const IDENTIFIER: u8 = 97;

    /// DER of at most 127 bytes.
    fn der(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = u8::try_from(content.len()).expect("short");
        assert!(length < 128);
        [&[tag, length], content].concat()
    }

    /// An attribute 2.5.4.N.
    fn attribute(n: u8, tag: u8, value: &[u8]) -> Vec<u8> {
        der(0x30, &[der(6, &[0x55, 4, n]), der(tag, value)].concat())
    }

    /// Each group is a relative distinguished name.
    fn named(groups: &[&[Vec<u8>]], believed: &[SubjectAttribute]) -> Result<String, NoOrganisation> {
        let sets: Vec<u8> = groups.iter().flat_map(|group| der(0x31, &group.concat())).collect();
        let name = der(0x30, &sets);
        named_by(&X509Name::from_der(&name).expect("a name").1, believed)
    }

    fn serial(value: &str) -> Vec<u8> {
        attribute(SERIAL_NUMBER, PRINTABLE, value.as_bytes())
    }

    fn identifier(value: &str) -> Vec<u8> {
        attribute(IDENTIFIER, UTF8, value.as_bytes())
    }

    #[test]
    fn only_organisations_are_callers() {
        for given in ["164821000025", "4821000025", "482100-0025"] {
            assert_eq!(normal(given).as_deref(), Some("164821000025"));
        }
        assert_eq!(normal("991825827").as_deref(), Some("991825827"));
        // Test numbers of persons, in the spellings that certificates have.
        for given in ["196810199809", "19681019-9809", "681019-9809", "PNOSE-196810199809", "01017012345", ""]
        {
            assert_eq!(normal(given), None);
            assert_eq!(identified(given), None);
        }
    }

    #[test]
    fn identifiers_are_read_with_scheme_and_country() {
        for (given, organisation) in [
            ("NTRSE-5560000001", "165560000001"),
            ("NTRSE-556000-0001", "165560000001"),
            ("VATSE-556000000101", "165560000001"),
            ("NTRNO-991825827", "991825827"),
            ("VATNO-991825827", "991825827"),
            ("VATNO-991825827MVA", "991825827"),
        ] {
            assert_eq!(identified(given).as_deref(), Some(organisation), "{given}");
        }
        for given in [
            "5560000001",
            "991825827",
            "NTRSE5560000001",
            "ntrse-5560000001",
            "NTRSE-",
            "NTRSE-5560000002",
            "NTRSE-55600-00001",
            "NTRSE-5560000-001",
            "NTRSE-165560000001",
            "NTRSE-556000000101",
            "NTRSE-\u{665}560000001",
            // A country and the number of another.
            "NTRSE-991825827",
            "NTRNO-5560000001",
            "VATNO-556000000101",
            "NTRNO-99182582",
            "NTRNO-9918258271",
            "NTRNO-991825827MVA",
            "VATSE-5560000001",
            "VATSE-556000000102",
            "VATSE-556000-000101",
            "VATNO-991825827mva",
            // A sole trader's number is that of a person.
            "NTRSE-6810199809",
            "NTRSE-681019-9809",
            "VATSE-681019980901",
            "PNOSE-196810199809",
            "NTRDE-5560000001",
            "LEIXG-529900T8BM49AURSDO55",
        ] {
            assert_eq!(identified(given), None, "{given}");
        }
    }

    #[test]
    fn every_string_type_is_read() {
        let text = "NTRNO-991825827";
        let wide = |bytes: usize| -> Vec<u8> {
            text.bytes().flat_map(|byte| [vec![0; bytes - 1], vec![byte]].concat()).collect()
        };
        let as_is = text.as_bytes().to_vec();
        for (tag, bytes) in [
            (12, as_is.clone()),
            (19, as_is.clone()),
            (20, as_is.clone()),
            (22, as_is),
            (28, wide(4)),
            (30, wide(2)),
        ] {
            let result = named(&[&[attribute(IDENTIFIER, tag, &bytes)]], &BOTH);
            assert_eq!(result.as_deref(), Ok("991825827"), "tag {tag}");
        }
    }

    #[test]
    fn a_string_that_does_not_match_its_type_names_no_organisation() {
        let refused = Err(NoOrganisation::NotAnOrganisation(SerialNumber));
        for (tag, bytes) in [
            (12, &b"991825827\xff"[..]),
            (19, b"991825827\xc3\xa5"),
            (20, b"991825827\xe5"),
            (30, b"\x009\x009\x001\x008\x002\x005\x008\x002\x007\0"),
            (30, b"\xd8\0"),
            (28, b"\0\0\x009\0"),
            (28, b"\0\x11\0\0"),
            (4, b"991825827"),
            (2, b"\x05"),
            (12, b""),
        ] {
            assert_eq!(named(&[&[attribute(SERIAL_NUMBER, tag, bytes)]], &BOTH), refused, "{tag} {bytes:?}");
        }
    }

    #[test]
    fn two_attributes_must_agree() {
        let result = named(&[&[serial("556000-0001")], &[identifier("VATSE-556000000101")]], &BOTH);
        assert_eq!(result.as_deref(), Ok("165560000001"));
        let together = named(&[&[serial("991825827"), identifier("NTRNO-991825827")]], &BOTH);
        assert_eq!(together.as_deref(), Ok("991825827"));
        let differ = [serial("5560000001"), identifier("NTRNO-991825827")];
        assert_eq!(named(&[&differ[..1], &differ[1..]], &BOTH), Err(NoOrganisation::Disagreement));
        // The number of an employee beside that of the employer.
        let employee = [serial("PNOSE-196810199809"), identifier("NTRSE-5560000001")];
        let refused = Err(NoOrganisation::NotAnOrganisation(SerialNumber));
        assert_eq!(named(&[&employee], &BOTH), refused);
    }

    #[test]
    fn attributes_that_are_not_believed_are_ignored() {
        let differ = [serial("5560000001"), identifier("NTRNO-991825827")];
        assert_eq!(named(&[&differ], &[SerialNumber]).as_deref(), Ok("165560000001"));
        assert_eq!(named(&[&differ], &[OrganizationIdentifier]).as_deref(), Ok("991825827"));
        let employee = [serial("PNOSE-196810199809"), identifier("NTRSE-5560000001")];
        assert_eq!(named(&[&employee], &[OrganizationIdentifier]).as_deref(), Ok("165560000001"));
        assert_eq!(named(&[&differ[..1]], &[OrganizationIdentifier]), Err(NoOrganisation::Missing));
        assert_eq!(named(&[&differ[1..]], &[SerialNumber]), Err(NoOrganisation::Missing));
        let name = attribute(COMMON_NAME, UTF8, b"5560000001");
        assert_eq!(named(&[&[name]], &BOTH), Err(NoOrganisation::Missing));
        assert_eq!(named(&[], &BOTH), Err(NoOrganisation::Missing));
    }

    #[test]
    fn a_repeated_attribute_names_no_organisation() {
        for (one, kind) in
            [(serial("5560000001"), SerialNumber), (identifier("NTRSE-5560000001"), OrganizationIdentifier)]
        {
            let twice = [one.clone(), one];
            for believed in [&BOTH[..], &[SerialNumber], &[OrganizationIdentifier]] {
                let refused = Err(NoOrganisation::Repeated(kind));
                assert_eq!(named(&[&twice[..1], &twice[1..]], believed), refused);
                assert_eq!(named(&[&twice], believed), refused);
            }
        }
    }

    #[test]
    fn no_reason_has_the_number() {
        let person = [serial("196810199809"), identifier("NTRSE-6810199809")];
        for believed in BOTH {
            let reason = named(&[&person], &[believed]).expect_err("a person");
            assert!(
                !reason.to_string().contains("6810199809") && !format!("{reason:?}").contains("6810199809")
            );
        }
    }
}
