//! The operations of Recipient that change the register.

use super::elements::{SENDER, is_organisation, is_recipient, put_sender};
use super::fault::FarFault;
use super::recipient::{TIMES, put_supplier};
use crate::register::Register;
use crate::registration::{
    Acting, Authorization, AuthorizationStatus, PendingKind, PendingRequest, Person, RegistrationError,
    Registrations, Requested, Submission,
};
use crate::service::caller::Caller;
use crate::service::registers::WrittenRegister;
use crate::service::soap::{self, Call};
use crate::service::writing;
use jiff::Timestamp;
use jiff::civil::Date;
use x509_parser::oid_registry::OID_X509_SERIALNUMBER;
use x509_parser::prelude::{FromDer, X509Certificate};

const AUTHORITY_TYPES: &str = "http://minameddelanden.gov.se/schema/Authority";
const TYPES: &str = "http://minameddelanden.gov.se/schema/Recipient";

/// Most ids of `getPendingAccountRequest`.
const PENDING_IDS_MAX: usize = 1000;

/// Runs an operation that changes the register, or reads what is pending. Returns the element of the response. Waits for the
/// disk.
pub(super) fn run(
    written: &WrittenRegister,
    caller: &Caller,
    namespace: &str,
    operation: &str,
    call: &Call,
) -> Result<String, FarFault> {
    let registrations = written.registrations().ok_or_else(FarFault::read_only)?;
    let acting = match caller {
        Caller::Unrestricted => Acting::Anybody,
        // With its certificate, the operator vouches for the signatures; a token is not enough.
        Caller::Certificate { organisation, .. } => Acting::Operator(organisation),
        Caller::Token { .. } | Caller::Unauthenticated => {
            return Err(FarFault::not_authorised(
                "the operation requires the client certificate of a mailbox operator",
            ));
        }
    };
    let mut out = format!(
        "<{operation}Response xmlns=\"{namespace}\" xmlns:r=\"{TYPES}\" xmlns:s=\"{SENDER}\" xmlns:a=\"{AUTHORITY_TYPES}\">"
    );
    let run = Run { registrations, register: &written.writer().register(), acting, call };
    run.operation(operation, &mut out).map_err(|refused| refused.into_fault(written))?;
    out.push_str(&format!("</{operation}Response>"));
    Ok(out)
}

/// Why an operation is refused: by its message, or by the register.
enum Refused {
    Message(FarFault),
    Registration(RegistrationError),
}

impl From<FarFault> for Refused {
    fn from(fault: FarFault) -> Refused {
        Refused::Message(fault)
    }
}

impl From<RegistrationError> for Refused {
    fn from(error: RegistrationError) -> Refused {
        Refused::Registration(error)
    }
}

impl Refused {
    fn into_fault(self, written: &WrittenRegister) -> FarFault {
        let error = match self {
            Refused::Message(fault) => return fault,
            Refused::Registration(error) => error,
        };
        match error {
            RegistrationError::BadInput(why) => FarFault::bad_input(why),
            RegistrationError::NotAuthorised(why) => FarFault::not_authorised(why),
            RegistrationError::Missing(why) => FarFault::missing(why),
            RegistrationError::NoSuchPerson => FarFault::no_such_person(),
            RegistrationError::NoSupplier => FarFault::no_supplier(),
            RegistrationError::Busy(why) => FarFault::busy(why),
            RegistrationError::Damage(damage) => {
                writing::log_found(written, &damage);
                FarFault::technical()
            }
            RegistrationError::Apply(error) => FarFault::busy(writing::not_written(&error).detail()),
            RegistrationError::Pending(error) => FarFault::busy(writing::not_written(&error).detail()),
        }
    }
}

struct Run<'r> {
    registrations: &'r Registrations,
    /// For the names of operators and senders in answers.
    register: &'r Register,
    acting: Acting<'r>,
    call: &'r Call,
}

impl Run<'_> {
    fn operation(&self, operation: &str, out: &mut String) -> Result<(), Refused> {
        match operation {
            "register" => self.register_account("accountRequest", "Create", out),
            "deregister" => self.register_account("deregisterAccount", "Delete", out),
            "changeServiceSupplier" => self.change_supplier(out),
            "storeAccountPreferences" => self.store_preferences(out),
            "getPendingAccountRequest" => self.pending_accounts(out),
            "getPendingAccountPreferences" => self.pending_preferences(out),
            "getPendingChangeServiceSupplier" => self.pending_supplier(out),
            "deletePendingAccountRequest" => {
                let (id, user) = (self.only("recipientId")?, self.user("userIdentity")?);
                self.registrations.delete_pending(self.acting, id, user, PendingKind::Account)?;
                Ok(())
            }
            "deletePendingAccountPreferences" => {
                let (id, user) = self.organisation_identity()?;
                self.registrations.delete_pending(self.acting, id, user, PendingKind::Preferences)?;
                out.push_str("<return>");
                soap::element(out, "Id", id);
                soap::element(out, "UserIdentity", user);
                out.push_str("</return>");
                Ok(())
            }
            "deletePendingChangeServiceSupplier" => {
                let (id, user) = self.organisation_identity()?;
                let deleted =
                    self.registrations.delete_pending(self.acting, id, user, PendingKind::Operator)?;
                let operators = self.register.operators();
                let operator = operators.iter().find(|operator| operator.id == deleted.operator);
                put_supplier(out, "serviceSupplier", operator.ok_or_else(FarFault::no_supplier)?);
                Ok(())
            }
            "isAuthorizedSigner" => self.authorized_signer(out),
            _ => Err(FarFault::read_only().into()),
        }
    }

    /// `register` and `deregister`.
    fn register_account(&self, element: &str, request_type: &str, out: &mut String) -> Result<(), Refused> {
        let field = |name: &str| self.nested(&format!("{element}/{name}"));
        if field("Type")? != request_type {
            return Err(FarFault::bad_input(format!("Type of {element} is {request_type}")).into());
        }
        let date = field("Timestamp")?;
        if !is_date(date) {
            return Err(FarFault::bad_input("Timestamp is not a date, such as 2026-06-01").into());
        }
        let requested = match request_type {
            "Create" => Requested::Create(self.only("accountType")?.to_owned()),
            _ => Requested::Delete,
        };
        let signers = self.signers("signature")?;
        let (recipient, supplier) = (self.recipient(field("Id")?)?, field("ServiceSupplier")?);
        let agreement = field("AgreementText")?;
        let submission =
            Submission { recipient, supplier: Some(supplier), agreement, date, signers: &signers };
        let authorization = self.registrations.submit(self.acting, &requested, &submission)?;
        put_authorization(out, "return", &authorization);
        Ok(())
    }

    fn change_supplier(&self, out: &mut String) -> Result<(), Refused> {
        let (recipient, user) = (self.recipient(self.only("Id")?)?, self.user("UserIdentity")?);
        self.registrations.check_user(&crate::registration::recipient(recipient)?, user)?;
        let (supplier, signers) = (self.only("ServiceSupplier")?, self.signers("SignatureData")?);
        let agreement = self.only("AgreementText")?;
        let submission =
            Submission { recipient, supplier: Some(supplier), agreement, date: "", signers: &signers };
        let authorization = self.registrations.submit(self.acting, &Requested::Operator, &submission)?;
        put_authorization(out, "signatureAuthorizationResult", &authorization);
        Ok(())
    }

    fn store_preferences(&self, out: &mut String) -> Result<(), Refused> {
        let (recipient, user) = (self.recipient(self.only("Id")?)?, self.user("UserIdentity")?);
        self.registrations.check_user(&crate::registration::recipient(recipient)?, user)?;
        if self.nested("preferences/Id")? != recipient {
            return Err(FarFault::bad_input("Id of preferences is another than that of the call").into());
        }
        let mut accepted: Vec<String> =
            self.call.nested("preferences/AcceptedSenders/Id").map(str::to_owned).collect();
        if !accepted.iter().all(|id| is_organisation(id)) {
            return Err(FarFault::bad_input("Id of an accepted sender is 16 and ten digits").into());
        }
        accepted.sort_unstable();
        accepted.dedup();
        let (agreement, signers) = (self.only("AgreementText")?, self.signers("SignatureData")?);
        let submission = Submission { recipient, supplier: None, agreement, date: "", signers: &signers };
        let requested = Requested::Preferences(accepted);
        let authorization = self.registrations.submit(self.acting, &requested, &submission)?;
        put_authorization(out, "return", &authorization);
        Ok(())
    }

    fn pending_accounts(&self, out: &mut String) -> Result<(), Refused> {
        let ids: Vec<&str> = self.call.all("recipientId").collect();
        if ids.len() > PENDING_IDS_MAX {
            return Err(FarFault::too_much(format!("a call has at most {PENDING_IDS_MAX} ids")).into());
        }
        ids.iter().try_for_each(|id| self.recipient(id).map(drop))?;
        let user = self.user("userIdentity")?;
        let found = self.registrations.pending_accounts(self.acting, &ids, user)?;
        for (request, authorization) in found {
            out.push_str("<return><r:AccountRequest>");
            soap::element(out, "r:Id", &request.recipient);
            let request_type = if request.requested == Requested::Delete { "Delete" } else { "Create" };
            soap::element(out, "r:Type", request_type);
            soap::element(out, "r:AgreementText", &request.agreement);
            soap::element(out, "r:Timestamp", &request.date);
            soap::element(out, "r:ServiceSupplier", &request.supplier);
            out.push_str("</r:AccountRequest>");
            put_authorization(out, "r:SignatureStatus", &authorization);
            out.push_str("</return>");
        }
        Ok(())
    }

    fn pending_preferences(&self, out: &mut String) -> Result<(), Refused> {
        let found = self.pending(PendingKind::Preferences)?;
        let Some((request, authorization)) = found else {
            return Err(FarFault::missing("the recipient has no pending preferences here").into());
        };
        let Requested::Preferences(accepted) = &request.requested else {
            return Err(FarFault::technical().into());
        };
        out.push_str("<return><AccountPreferences>");
        soap::element(out, "r:Id", &request.recipient);
        for sender in self.register.senders().iter().filter(|sender| accepted.contains(&sender.id)) {
            out.push_str("<r:AcceptedSenders>");
            put_sender(out, sender);
            out.push_str("</r:AcceptedSenders>");
        }
        out.push_str("</AccountPreferences>");
        put_authorization(out, "PendingSignatures", &authorization);
        out.push_str("</return>");
        Ok(())
    }

    fn pending_supplier(&self, out: &mut String) -> Result<(), Refused> {
        out.push_str("<return>");
        match self.pending(PendingKind::Operator)? {
            Some((request, authorization)) => {
                let operators = self.register.operators();
                if let Some(operator) = operators.iter().find(|operator| operator.id == request.operator) {
                    put_supplier(out, "serviceSupplier", operator);
                }
                put_authorization(out, "pendingSignatures", &authorization);
            }
            // All its elements may be absent.
            None => out.push_str("<pendingSignatures/>"),
        }
        out.push_str("</return>");
        Ok(())
    }

    fn pending(&self, kind: PendingKind) -> Result<Option<(PendingRequest, Authorization)>, Refused> {
        let (recipient, user) = (self.recipient(self.only("Id")?)?, self.user("UserIdentity")?);
        Ok(self.registrations.pending_of(self.acting, recipient, user, kind)?)
    }

    fn authorized_signer(&self, out: &mut String) -> Result<(), Refused> {
        let (id, user) = (self.recipient(self.only("CompanyId")?)?, self.user("UserIdentity")?);
        let company = self.registrations.company(id);
        let company =
            company.ok_or_else(|| FarFault::missing("the signatories of this company are not known"))?;
        out.push_str("<return>");
        let may_sign = if company.has(user) { "true" } else { "false" };
        soap::element(out, "isAccountAuthorizedSigner", may_sign);
        soap::element(out, "UserIdentity", user);
        soap::element(out, "CompanyId", id);
        soap::element(out, "CompanyName", &company.name);
        soap::element(out, "CompanySignatureRuleText", &company.rule);
        company.signers.iter().for_each(|signer| put_person(out, "PossibleSigners", signer));
        let account = self.registrations.account(id)?;
        if let Some(account) = account {
            out.push_str("<AccountInformation>");
            soap::element(out, "AccountStatus", if account.is_pending { "Pending" } else { "Active" });
            account.signed_by.iter().for_each(|signer| put_person(out, "SignedBy", signer));
            let status = match account.is_pending {
                true => AuthorizationStatus::Incomplete,
                false => AuthorizationStatus::Complete,
            };
            soap::element(out, "SignatureStatus", status.name());
            soap::element(out, "serviceSupplier", &account.operator);
            if let Some(agreement) = &account.agreement {
                soap::element(out, "AgreementText", agreement);
            }
            out.push_str("</AccountInformation>");
        }
        out.push_str("</return>");
        Ok(())
    }

    /// The text of an argument that the call has once.
    fn only<'s>(&'s self, name: &str) -> Result<&'s str, FarFault> {
        one(self.call.all(name), name)
    }

    /// The text of an element within an argument, which the call has once.
    fn nested<'s>(&'s self, path: &str) -> Result<&'s str, FarFault> {
        one(self.call.nested(path), path)
    }

    fn organisation_identity(&self) -> Result<(&str, &str), FarFault> {
        let (id, user) =
            (self.nested("organizationIdentity/Id")?, self.nested("organizationIdentity/UserIdentity")?);
        Ok((self.recipient(id)?, valid_user(user)?))
    }

    fn recipient<'i>(&self, id: &'i str) -> Result<&'i str, FarFault> {
        match is_recipient(id) {
            true => Ok(id),
            false => Err(FarFault::bad_input("the id is not 12 digits of a recipient")),
        }
    }

    fn user<'s>(&'s self, name: &str) -> Result<&'s str, FarFault> {
        self.only(name).and_then(valid_user)
    }

    /// Those who have signed, each once.
    fn signers(&self, element: &str) -> Result<Vec<Person>, FarFault> {
        let mut signers: Vec<Person> = Vec::new();
        for certificate in self.call.nested(&format!("{element}/Certificate")) {
            let signer = signer(certificate).ok_or_else(|| {
                FarFault::bad_input(
                    "Certificate of a signature is neither a certificate with a personal number as the serialNumber of its \
                     subject, nor 12 digits",
                )
            })?;
            if signers.iter().all(|other| other.id != signer.id) {
                signers.push(signer);
            }
        }
        match signers.is_empty() {
            true => Err(FarFault::bad_input(format!("the message has no {element} with a Certificate"))),
            false => Ok(signers),
        }
    }
}

fn one<'c>(mut texts: impl Iterator<Item = &'c str>, name: &str) -> Result<&'c str, FarFault> {
    match (texts.next(), texts.next()) {
        (Some(text), None) => Ok(text),
        _ => Err(FarFault::bad_input(format!("the message needs exactly one {name}"))),
    }
}

/// `UserIdentity`: a personal number, or an identity of another country. Here only the first can sign.
fn valid_user(user: &str) -> Result<&str, FarFault> {
    match is_person(user) {
        true => Ok(user),
        false => Err(FarFault::bad_input("UserIdentity is 12 digits of a person")),
    }
}

fn is_person(id: &str) -> bool {
    is_recipient(id) && !id.starts_with("16")
}

/// `xs:date`: ten characters, and perhaps an offset.
fn is_date(text: &str) -> bool {
    let Some((date, offset)) = text.split_at_checked(10) else { return false };
    let is_offset = |offset: &str| {
        let bytes = offset.as_bytes();
        bytes.len() == 6
            && matches!(bytes[0], b'+' | b'-')
            && bytes[3] == b':'
            && [1, 2, 4, 5].iter().all(|at| bytes[*at].is_ascii_digit())
    };
    date.parse::<Date>().is_ok()
        && date.len() == 10
        && (offset.is_empty() || offset == "Z" || is_offset(offset))
}

/// Who has signed: the subject of a certificate (PEM, or DER as Base64), or 12 digits.
fn signer(certificate: &str) -> Option<Person> {
    use base64::Engine;
    if is_person(certificate) {
        return Some(Person { id: certificate.to_owned(), name: String::new() });
    }
    let lines = certificate.lines().filter(|line| !line.starts_with("-----"));
    let base64: String = lines.flat_map(str::split_whitespace).collect();
    let der = base64::engine::general_purpose::STANDARD.decode(base64).ok()?;
    let (_, certificate) = X509Certificate::from_der(&der).ok()?;
    let subject = certificate.subject();
    let id = subject.iter_by_oid(&OID_X509_SERIALNUMBER).next()?.as_str().ok()?.trim();
    let name = subject.iter_common_name().next().and_then(|name| name.as_str().ok()).unwrap_or_default();
    // A common name must not make an answer long.
    let name = name.chars().take(256).collect();
    is_person(id).then(|| Person { id: id.to_owned(), name })
}

fn put_person(out: &mut String, name: &str, person: &Person) {
    out.push_str(&format!("<{name}>"));
    soap::element(out, "a:Id", &person.id);
    soap::element(out, "a:Name", &person.name);
    out.push_str(&format!("</{name}>"));
}

fn put_authorization(out: &mut String, name: &str, authorization: &Authorization) {
    let Authorization { recipient, status, signed_by, possible_signers, time } = authorization;
    out.push_str(&format!("<{name}>"));
    soap::element(out, "a:Id", recipient);
    signed_by.iter().for_each(|signer| put_person(out, "a:SignedBy", signer));
    soap::element(out, "a:Status", status.name());
    put_timestamp(out, *time);
    possible_signers.iter().for_each(|signer| put_person(out, "a:PossibleSigners", signer));
    out.push_str(&format!("</{name}>"));
}

fn put_timestamp(out: &mut String, time: Timestamp) {
    out.push_str("<a:Timestamp>");
    // Writing to a string does not fail.
    let _ = TIMES.print_timestamp(&time, &mut *out);
    out.push_str("</a:Timestamp>");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_the_schema() {
        for date in ["2026-06-01", "2026-06-01Z", "2024-02-29+02:00", "2026-06-01-11:30"] {
            assert!(is_date(date), "{date}");
        }
        for other in
            ["", "2026-06-31", "26-06-01", "2026-06-01T00:00:00", "2026-06-01+02", "2026-06-0å1", "20260601"]
        {
            assert!(!is_date(other), "{other}");
        }
    }

    #[test]
    fn a_certificate_names_its_signer() {
        let mut parameters = rcgen::CertificateParams::new(Vec::new()).expect("parameters");
        let name = &mut parameters.distinguished_name;
        name.push(rcgen::DnType::CommonName, "Anna Ek");
        name.push(rcgen::DnType::CustomDnType(vec![2, 5, 4, 5]), "197509029810");
        let key = rcgen::KeyPair::generate().expect("a key");
        let certificate = parameters.self_signed(&key).expect("a certificate");
        let expected = Some(Person { id: "197509029810".to_owned(), name: "Anna Ek".to_owned() });
        assert_eq!(signer(&certificate.pem()), expected);
        assert_eq!(
            signer("197509029810"),
            Some(Person { id: "197509029810".to_owned(), name: String::new() })
        );
        for none in ["", "162021000027", "7509029810", "AAAA", "-----BEGIN CERTIFICATE-----"] {
            assert_eq!(signer(none), None, "{none}");
        }
    }
}
