//! KRR's SOAP service of contract 16-02, Oppslagstjenesten: SOAP 1.2, without message-level security.

use super::feed::{self, FeedError};
use super::person::{KAN_VARSLES, find, registered_or_deleted};
use super::scopes::KrrScopes;
use crate::limits::{ANSWER_BYTES_MAX, CALL_IDS_MAX};
use crate::register::{Kontaktinformasjon, Person, Register};
use crate::service::body::RequestBody;
use crate::service::context::RequestContext;
use crate::service::memory::PoolPermit;
use crate::service::print_certificate::PrintCertificate;
use crate::service::problem::Problem;
use crate::service::record::RequestRecord;
use crate::service::registers::ServedRegister;
use crate::service::request::RequestDate;
use crate::service::response::{Body, respond, with_extension, with_version};
use crate::service::soap::{self, Call, CallError, Version};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::{Request, Response, StatusCode};

pub(in crate::service) const WSDL: &str = include_str!("oppslagstjeneste.wsdl");
const MESSAGES: &str = "http://kontaktinfo.difi.no/xsd/oppslagstjeneste/16-02";
const TERMS: &str = "http://begrep.difi.no";
/// Content type of SOAP 1.2.
const SOAP: &str = "application/soap+xml; charset=utf-8";

/// A fault: status 400 if the message is at fault (`Sender`), 500 if the client may retry (`Receiver`).
struct KrrFault {
    sender: bool,
    reason: String,
}

impl KrrFault {
    fn sender(reason: impl Into<String>) -> KrrFault {
        KrrFault { sender: true, reason: reason.into() }
    }

    fn receiver(reason: impl Into<String>) -> KrrFault {
        KrrFault { sender: false, reason: reason.into() }
    }

    fn log(self, context: &RequestContext<'_>) -> KrrFault {
        if context.service.refusal_log.admits() {
            tracing::info!(request_id = context.id, sender = self.sender, "fault");
        }
        self
    }

    fn into_response(self) -> Response<Body> {
        let code = if self.sender { "Sender" } else { "Receiver" };
        let mut out = Version::V12.open();
        out.push_str("<s:Fault><s:Code>");
        soap::element(&mut out, "s:Value", &format!("s:{code}"));
        out.push_str("</s:Code><s:Reason><s:Text xml:lang=\"en\">");
        out.push_str(&soap::escaped(&self.reason));
        out.push_str("</s:Text></s:Reason></s:Fault>");
        out.push_str(soap::CLOSE);
        let mut response = respond(SOAP, out);
        // SOAP 1.2, part 2, 7.5.2.2.
        *response.status_mut() =
            if self.sender { StatusCode::BAD_REQUEST } else { StatusCode::INTERNAL_SERVER_ERROR };
        with_extension(response, RequestRecord::of_refusal(code, None))
    }
}

impl From<CallError> for KrrFault {
    fn from(refused: CallError) -> KrrFault {
        match refused {
            CallError::Busy(why) => KrrFault::receiver(why),
            CallError::TooLong => KrrFault::sender("the message is longer than a call with 1000 ids"),
            CallError::Malformed(why) => KrrFault::sender(why),
        }
    }
}

impl From<&Problem> for KrrFault {
    fn from(problem: &Problem) -> KrrFault {
        let sender = problem.status().is_client_error() && problem.status() != StatusCode::TOO_MANY_REQUESTS;
        KrrFault { sender, reason: problem.detail().to_owned() }
    }
}

impl From<Problem> for KrrFault {
    fn from(problem: Problem) -> KrrFault {
        KrrFault::from(&problem)
    }
}

/// Turns a refusal of the route into a fault.
pub(in crate::service) fn refuse(context: &RequestContext<'_>, problem: &Problem) -> Response<Body> {
    KrrFault::from(problem).log(context).into_response()
}

/// Waits for a place, if the operation is one that takes long.
async fn place(context: &RequestContext<'_>, call: &Call) -> Result<Option<PoolPermit>, Problem> {
    let persons = match &*call.operation {
        "HentEndringerForespoersel" => CALL_IDS_MAX,
        _ => call.arguments.iter().map(|(_, texts)| texts.len()).sum(),
    };
    context.place_for_persons(persons).await
}

/// `POST` at the address of the service.
pub(in crate::service) async fn oppslagstjeneste(
    context: &RequestContext<'_>,
    served: &ServedRegister,
    request: Request<RequestBody>,
) -> Result<Response<Body>, Problem> {
    let register = served.register();
    let result = match soap::call(context, request, Version::V12).await {
        Err(error) => Err(error.into()),
        Ok(call) => match place(context, &call).await {
            Ok(_place) => run_operation(context, served, &register, &call),
            Err(busy) => Err(busy.into()),
        },
    };
    Ok(match result {
        Ok((message, ids)) => {
            let record = RequestRecord::of(&register, None, ids);
            with_extension(with_version(respond(SOAP, message), &register), record)
        }
        Err(fault) => fault.log(context).into_response(),
    })
}

/// The message of the response, and the number of persons in it.
fn run_operation(
    context: &RequestContext<'_>,
    served: &ServedRegister,
    register: &Register,
    call: &Call,
) -> Result<(String, usize), KrrFault> {
    match (&*call.namespace, &*call.operation) {
        (MESSAGES, "HentPersonerForespoersel") => persons(context, register, call),
        (MESSAGES, "HentEndringerForespoersel") => changes(context, served, register, call),
        (MESSAGES, "HentPrintSertifikatForespoersel") => {
            let print = context.service.print.as_ref().ok_or_else(|| {
                KrrFault::sender("this is a replica, which has no certificate of a print service")
            })?;
            Ok((print_certificate(print), 0))
        }
        _ => Err(KrrFault::sender("the service has no such operation")),
    }
}

fn print_certificate(print: &PrintCertificate) -> String {
    let mut out = Version::V12.open();
    out.push_str(&format!("<o:HentPrintSertifikatRespons xmlns:o=\"{MESSAGES}\">"));
    soap::element(&mut out, "o:postkasseleverandoerAdresse", &print.postkasseleverandoer_adresse);
    soap::element(&mut out, "o:X509Sertifikat", &print.x509_sertifikat);
    out.push_str("</o:HentPrintSertifikatRespons>");
    out.push_str(soap::CLOSE);
    out
}

/// The fields that `informasjonsbehov` requests, and the caller's scopes.
struct RequestedFields {
    scopes: KrrScopes,
    contact: bool,
    mailbox: bool,
    certificate: bool,
    notifiable: bool,
}

impl RequestedFields {
    fn of(context: &RequestContext<'_>, call: &Call, others: &[&str]) -> Result<RequestedFields, KrrFault> {
        let scopes = KrrScopes::of(&context.caller);
        if call.has_others(&[&["informasjonsbehov"], others].concat()) {
            return Err(KrrFault::sender("the operation has no such argument"));
        }
        let mut fields =
            RequestedFields { scopes, contact: false, mailbox: false, certificate: false, notifiable: false };
        let mut any = false;
        for need in call.all("informasjonsbehov") {
            any = true;
            match need {
                "Person" => {}
                "Kontaktinfo" => fields.contact = true,
                "SikkerDigitalPost" => fields.mailbox = true,
                "Sertifikat" => fields.certificate = true,
                "VarslingsStatus" => fields.notifiable = true,
                _ => {
                    return Err(KrrFault::sender(
                        "informasjonsbehov has a value that the contract does not define",
                    ));
                }
            }
        }
        // Without the scope, withheld fields would reveal the status.
        fields.notifiable &= scopes.contact;
        match any {
            true => Ok(fields),
            false => Err(KrrFault::sender("informasjonsbehov is missing")),
        }
    }

    /// Writes a person. Values that the schema does not allow are omitted.
    fn put(&self, out: &mut String, person: Person, withhold: bool) {
        let person = self.scopes.limit(person);
        out.push_str("<m:Person>");
        soap::element(out, "m:personidentifikator", &person.personidentifikator);
        soap::element(out, "m:reservasjon", &person.reservasjon);
        soap::element(out, "m:status", &person.status);
        if self.notifiable && !person.varslingsstatus.is_empty() {
            soap::element(out, "m:varslingsstatus", &person.varslingsstatus);
        }
        if !withhold {
            if let Some(contact) = person.kontaktinformasjon.filter(|_| self.contact) {
                put_contact(out, &contact);
            }
            let post = person.digital_post.filter(|post| {
                fits(&post.postkasseadresse, 8, 100) && fits(&post.postkasseleverandoeradresse, 8, 20)
            });
            if let Some(post) = post.filter(|_| self.mailbox) {
                out.push_str("<m:SikkerDigitalPostAdresse>");
                soap::element(out, "m:postkasseadresse", &post.postkasseadresse);
                soap::element(out, "m:postkasseleverandoerAdresse", &post.postkasseleverandoeradresse);
                out.push_str("</m:SikkerDigitalPostAdresse>");
            }
            if self.certificate && is_base64(&person.sertifikat) {
                soap::element(out, "m:X509Sertifikat", &person.sertifikat);
            }
        }
        out.push_str("</m:Person>");
    }
}

/// Whether the schema allows a text: its number of characters, and its characters.
fn fits(text: &str, least: usize, most: usize) -> bool {
    (least..=most).contains(&text.chars().count()) && soap::is_xml(text)
}

/// Whether a text is `xs:base64Binary`, which may contain white space.
fn is_base64(text: &str) -> bool {
    let bytes: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    !bytes.is_empty() && STANDARD.decode(bytes).is_ok()
}

fn put_contact(out: &mut String, contact: &Kontaktinformasjon) {
    out.push_str("<m:Kontaktinformasjon>");
    let channels = [
        (
            "Mobiltelefonnummer",
            &contact.mobiltelefonnummer,
            (8, 20),
            &contact.mobiltelefonnummer_oppdatert,
            &contact.mobiltelefonnummer_sist_verifisert,
        ),
        (
            "Epostadresse",
            &contact.epostadresse,
            (3, 50),
            &contact.epostadresse_oppdatert,
            &contact.epostadresse_sist_verifisert,
        ),
    ];
    for (name, text, (least, most), updated, verified) in channels {
        if !fits(text, least, most) {
            continue;
        }
        out.push_str(&format!("<m:{name}"));
        for (attribute, time) in [("sistOppdatert", updated), ("sistVerifisert", verified)] {
            if !time.is_empty() {
                out.push_str(&format!(" {attribute}=\"{time}\""));
            }
        }
        out.push_str(&format!(">{}</m:{name}>", soap::escaped(text)));
    }
    out.push_str("</m:Kontaktinformasjon>");
}

fn persons(
    context: &RequestContext<'_>,
    register: &Register,
    call: &Call,
) -> Result<(String, usize), KrrFault> {
    let fields = RequestedFields::of(context, call, &["personidentifikator"])?;
    let ids: Vec<&str> = call.all("personidentifikator").collect();
    if !(1..=CALL_IDS_MAX).contains(&ids.len()) {
        return Err(KrrFault::sender(format!("a call has 1 to {CALL_IDS_MAX} persons, not {}", ids.len())));
    }
    if let Some(index) = ids.iter().position(|id| id.chars().count() != 11) {
        return Err(KrrFault::sender(format!("personidentifikator number {} is not 11 digits", index + 1)));
    }
    context.count_ids(ids.len())?;
    let day = RequestDate::today()?;
    let mut out = Version::V12.open();
    out.push_str(&format!("<o:HentPersonerRespons xmlns:o=\"{MESSAGES}\" xmlns:m=\"{TERMS}\">"));
    for id in &ids {
        let person = find(register, id, day).map_err(|damage| Problem::damaged(register, &damage))?;
        // With VarslingsStatus, the contract withholds the addresses of persons who cannot be notified.
        let withhold = fields.notifiable && person.varslingsstatus != KAN_VARSLES;
        fields.put(&mut out, person, withhold);
        if out.len() > ANSWER_BYTES_MAX {
            return Err(KrrFault::sender(
                "the texts of these persons are too long for one answer: ask for fewer".to_owned(),
            ));
        }
    }
    out.push_str("</o:HentPersonerRespons>");
    out.push_str(soap::CLOSE);
    Ok((out, ids.len()))
}

/// Never withholds addresses: a client that keeps a copy needs them.
fn changes(
    context: &RequestContext<'_>,
    served: &ServedRegister,
    register: &Register,
    call: &Call,
) -> Result<(String, usize), KrrFault> {
    let fields = RequestedFields::of(context, call, &[])?;
    let from = call.attributes.iter().find(|(name, _)| name == "fraEndringsNummer");
    let from = from.and_then(|(_, number)| number.trim().parse::<u64>().ok());
    let from = from.ok_or_else(|| KrrFault::sender("fraEndringsNummer is missing or not a number from 0"))?;
    let page =
        tokio::task::block_in_place(|| served.read_log(|log| feed::page(register, log, from, CALL_IDS_MAX)));
    let page = page.map_err(|error| match error {
        FeedError::Unknown | FeedError::TooHigh | FeedError::TooLarge => KrrFault::sender(error.to_string()),
        FeedError::Damaged(_) => Problem::damaged(register, &error).into(),
        FeedError::Log(_) => served.unreadable_log(&error).into(),
    })?;
    context.count_ids(page.persons.len())?;
    let day = RequestDate::today()?;
    let mut out = Version::V12.open();
    out.push_str(&format!(
        "<o:HentEndringerRespons xmlns:o=\"{MESSAGES}\" xmlns:m=\"{TERMS}\" fraEndringsNummer=\"{}\" \
         tilEndringsNummer=\"{}\" senesteEndringsNummer=\"{}\">",
        page.from, page.to, page.latest
    ));
    let persons = page.persons.len();
    for (identity, recipient) in page.persons {
        fields.put(&mut out, registered_or_deleted(&identity, recipient, day), false);
    }
    out.push_str("</o:HentEndringerRespons>");
    out.push_str(soap::CLOSE);
    Ok((out, persons))
}
