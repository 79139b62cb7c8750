//! KRR's SOAP service of contract 16-02, Oppslagstjenesten: SOAP 1.2, without message-level security.

use super::feed::{self, NoPage};
use super::{KAN_VARSLES, Scopes, find, known_or_gone};
use crate::limits::CALL_IDS_MAX;
use crate::register::{Kontaktinformasjon, Person, Register};
use crate::service::body::Unread;
use crate::service::exchange::{Body, Day, Noted, Problem, respond, with_note, with_version};
use crate::service::registers::Live;
use crate::service::routes::Exchange;
use crate::service::soap::{self, Call, NoCall, Version};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::{Request, Response, StatusCode};

const WSDL: &str = include_str!("oppslagstjeneste.wsdl");
const MESSAGES: &str = "http://kontaktinfo.difi.no/xsd/oppslagstjeneste/16-02";
const TERMS: &str = "http://begrep.difi.no";
/// Content type of SOAP 1.2.
const SOAP: &str = "application/soap+xml; charset=utf-8";

/// Why a call has no answer.
struct Fault {
    /// Whether the caller can mend it.
    sender: bool,
    reason: String,
}

impl Fault {
    fn sender(reason: impl Into<String>) -> Fault {
        Fault { sender: true, reason: reason.into() }
    }

    fn receiver(reason: impl Into<String>) -> Fault {
        Fault { sender: false, reason: reason.into() }
    }

    fn into_response(self) -> Response<Body> {
        let mut out = Version::V12.open();
        out.push_str("<s:Fault><s:Code>");
        soap::element(&mut out, "s:Value", if self.sender { "s:Sender" } else { "s:Receiver" });
        out.push_str("</s:Code><s:Reason><s:Text xml:lang=\"en\">");
        out.push_str(&soap::escaped(&self.reason));
        out.push_str("</s:Text></s:Reason></s:Fault>");
        out.push_str(soap::CLOSE);
        let mut response = respond(SOAP, out);
        // SOAP 1.2, part 2, 7.5.2.2.
        *response.status_mut() =
            if self.sender { StatusCode::BAD_REQUEST } else { StatusCode::INTERNAL_SERVER_ERROR };
        response
    }
}

impl From<NoCall> for Fault {
    fn from(refused: NoCall) -> Fault {
        match refused {
            NoCall::Busy(why) => Fault::receiver(why),
            NoCall::TooLong => Fault::sender("the message is longer than one with 1000 ids"),
            NoCall::Malformed(why) => Fault::sender(why),
        }
    }
}

impl From<Problem> for Fault {
    fn from(problem: Problem) -> Fault {
        let sender = problem.status().is_client_error() && problem.status() != StatusCode::TOO_MANY_REQUESTS;
        Fault { sender, reason: problem.detail().to_owned() }
    }
}

/// Answers at the address of the service.
pub(in crate::service) async fn oppslagstjeneste(
    exchange: &Exchange<'_>,
    live: &Live,
    request: Request<Unread>,
) -> Response<Body> {
    if let Some(response) = soap::described(exchange, &request, WSDL) {
        return response;
    }
    let register = live.register();
    let answered = match soap::call(exchange, request, Version::V12).await {
        Err(refused) => Err(refused.into()),
        Ok(call) => answer(exchange, live, &register, &call),
    };
    match answered {
        Ok((answer, ids)) => {
            let noted = Noted::of(&register, None, ids);
            with_note(with_version(respond(SOAP, answer), &register), noted)
        }
        Err(fault) => {
            let (request_id, sender) = (&exchange.id, fault.sender);
            tracing::info!(request_id, sender, "fault");
            fault.into_response()
        }
    }
}

/// An answer, and how many persons are in it.
fn answer(
    exchange: &Exchange<'_>,
    live: &Live,
    register: &Register,
    call: &Call,
) -> Result<(String, usize), Fault> {
    match (&*call.namespace, &*call.operation) {
        (MESSAGES, "HentPersonerForespoersel") => persons(exchange, register, call),
        (MESSAGES, "HentEndringerForespoersel") => changes(exchange, live, register, call),
        (MESSAGES, "HentPrintSertifikatForespoersel") => {
            Err(Fault::sender("this is a replica, which has no certificate of a print service"))
        }
        _ => Err(Fault::sender("the service has no such operation")),
    }
}

/// What a caller wants to know of persons, and may.
struct Wanted {
    scopes: Scopes,
    contact: bool,
    mailbox: bool,
    certificate: bool,
    notifiable: bool,
}

impl Wanted {
    fn of(exchange: &Exchange<'_>, call: &Call, others: &[&str]) -> Result<Wanted, Fault> {
        let scopes = Scopes::of(exchange)?;
        if call.has_others(&[&["informasjonsbehov"], others].concat()) {
            return Err(Fault::sender("the operation has no such argument"));
        }
        let mut wanted =
            Wanted { scopes, contact: false, mailbox: false, certificate: false, notifiable: false };
        let mut any = false;
        for need in call.all("informasjonsbehov") {
            any = true;
            match need {
                "Person" => {}
                "Kontaktinfo" => wanted.contact = true,
                "SikkerDigitalPost" => wanted.mailbox = true,
                "Sertifikat" => wanted.certificate = true,
                "VarslingsStatus" => wanted.notifiable = true,
                _ => return Err(Fault::sender("informasjonsbehov is none that the contract has")),
            }
        }
        // Who may not read it is not told by what is withheld.
        wanted.notifiable &= scopes.contact;
        match any {
            true => Ok(wanted),
            false => Err(Fault::sender("informasjonsbehov is missing")),
        }
    }

    /// Writes a person. What the schema has no room for is left out.
    fn put(&self, out: &mut String, person: Person, withhold: bool) {
        let person = self.scopes.allowed(person);
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

/// Whether the schema has room for a text of so many characters.
fn fits(text: &str, least: usize, most: usize) -> bool {
    (least..=most).contains(&text.chars().count()) && soap::is_xml(text)
}

/// Whether a text is `xs:base64Binary`, which may have white space in it.
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

fn persons(exchange: &Exchange<'_>, register: &Register, call: &Call) -> Result<(String, usize), Fault> {
    let wanted = Wanted::of(exchange, call, &["personidentifikator"])?;
    let ids: Vec<&str> = call.all("personidentifikator").collect();
    if !(1..=CALL_IDS_MAX).contains(&ids.len()) {
        return Err(Fault::sender(format!("a call has 1 to {CALL_IDS_MAX} persons, not {}", ids.len())));
    }
    if let Some(place) = ids.iter().position(|id| id.chars().count() != 11) {
        return Err(Fault::sender(format!("personidentifikator number {} is not 11 digits", place + 1)));
    }
    exchange.count_ids(ids.len())?;
    let day = Day::of(None)?;
    let mut out = Version::V12.open();
    out.push_str(&format!("<o:HentPersonerRespons xmlns:o=\"{MESSAGES}\" xmlns:m=\"{TERMS}\">"));
    for id in &ids {
        let person = find(register, id, day).map_err(|damage| Problem::damaged(&damage))?;
        // Who asks whether somebody can be notified is not given what must not be used.
        let withhold = wanted.notifiable && person.varslingsstatus != KAN_VARSLES;
        wanted.put(&mut out, person, withhold);
    }
    out.push_str("</o:HentPersonerRespons>");
    out.push_str(soap::CLOSE);
    Ok((out, ids.len()))
}

/// Never withholds: who keeps a copy needs all of it.
fn changes(
    exchange: &Exchange<'_>,
    live: &Live,
    register: &Register,
    call: &Call,
) -> Result<(String, usize), Fault> {
    let wanted = Wanted::of(exchange, call, &[])?;
    let from = call.attributes.iter().find(|(name, _)| name == "fraEndringsNummer");
    let from = from.and_then(|(_, number)| number.trim().parse::<u64>().ok());
    let from = from.ok_or_else(|| Fault::sender("fraEndringsNummer is missing, or no number from 0"))?;
    let page = tokio::task::block_in_place(|| feed::page(register, live.log().as_ref(), from, CALL_IDS_MAX));
    let page = page.map_err(|error| match error {
        NoPage::Unknown | NoPage::TooHigh => Fault::sender(error.to_string()),
        NoPage::Damaged(_) | NoPage::Log(_) => Problem::damaged(&error).into(),
    })?;
    exchange.count_ids(page.persons.len())?;
    let day = Day::of(None)?;
    let mut out = Version::V12.open();
    out.push_str(&format!(
        "<o:HentEndringerRespons xmlns:o=\"{MESSAGES}\" xmlns:m=\"{TERMS}\" fraEndringsNummer=\"{}\" \
         tilEndringsNummer=\"{}\" senesteEndringsNummer=\"{}\">",
        page.from, page.to, page.latest
    ));
    let persons = page.persons.len();
    for (identity, recipient) in page.persons {
        wanted.put(&mut out, known_or_gone(&identity, recipient, day), false);
    }
    out.push_str("</o:HentEndringerRespons>");
    out.push_str(soap::CLOSE);
    Ok((out, persons))
}
