//! The result of a mass mailing to Digipost: `masseutsendelse-resultat`, of the schemas `avsender`.
//!
//! A letter (`brev-resultater/resultat`) has the `brev-id` that the sender gave it, which is the row number or the id,
//! `SENDT` or `IKKE_SENDT`, the channel, and perhaps errors.

use super::{Answer, ReadReceipt, Receipt, ReceiptReader, Unusable};
use crate::decode::BoundedInput;
use quick_xml::NsReader;
use quick_xml::events::Event;
use quick_xml::name::ResolveResult;

/// What the namespace of the schemas begins with; the version follows.
const NAMESPACE: &str = "http://www.digipost.no/xsd/avsender";
const ROOT: &str = "masseutsendelse-resultat";
/// Elements within elements, at most.
const DEPTH_MAX: usize = 16;

/// A letter as it is read.
#[derive(Default)]
struct Letter {
    line: u64,
    id: String,
    result: String,
    channel: String,
    errors: Vec<String>,
}

pub(super) fn read(
    reader: &ReceiptReader<'_>,
    input: BoundedInput,
    visit: &mut dyn FnMut(ReadReceipt),
) -> Result<(), String> {
    let mut xml = NsReader::from_reader(input);
    xml.config_mut().expand_empty_elements = true;
    let (mut buffer, mut path, mut text) = (Vec::new(), Vec::<String>::new(), String::new());
    let (mut letter, mut status, mut letters) = (Letter::default(), String::new(), 0u64);
    loop {
        let at =
            |xml: &NsReader<BoundedInput>, finding: &str| format!("line {}: {finding}", xml.get_ref().line);
        buffer.clear();
        xml.get_mut().begin_record();
        let event = match xml.read_event_into(&mut buffer) {
            Ok(event) => event.into_owned(),
            Err(_) if xml.get_ref().is_exceeded => return Err(at(&xml, "a text is longer than 1 MiB")),
            Err(_) => return Err(at(&xml, "it is not well-formed XML, or it is truncated")),
        };
        match event {
            Event::Start(element) => {
                let name = element.local_name().into_inner().to_owned();
                if path.is_empty() {
                    let (namespace, _) = xml.resolver().resolve_element(element.name());
                    let is_ours =
                        matches!(namespace, ResolveResult::Bound(found) if found.0.starts_with(NAMESPACE));
                    if name != ROOT || !is_ours {
                        return Err("it is XML, and not Digipost's masseutsendelse-resultat".to_owned());
                    }
                }
                if path.len() == DEPTH_MAX {
                    return Err(at(&xml, "elements are nested more deeply than in any result"));
                }
                path.push(name);
                text.clear();
                if is(&path, &["brev-resultater", "resultat"]) {
                    letter = Letter { line: xml.get_ref().line, ..Letter::default() };
                }
            }
            Event::Text(part) => text.push_str(&part),
            Event::CData(part) => text.push_str(&part),
            Event::GeneralRef(entity) => {
                text.push_str(resolved(&entity).ok_or_else(|| at(&xml, "an unknown entity"))?.as_str())
            }
            Event::End(_) => {
                let value = std::mem::take(&mut text).trim().to_owned();
                match path.get(1..).map(|path| path.iter().map(String::as_str).collect::<Vec<_>>()).as_deref()
                {
                    Some(["status"]) => status = value,
                    Some(["brev-resultater", "resultat", "brev-id"]) => letter.id = value,
                    Some(["brev-resultater", "resultat", "resultat"]) => letter.result = value,
                    Some(["brev-resultater", "resultat", "kanal"]) => letter.channel = value,
                    Some(["brev-resultater", "resultat", "feilinformasjon", "feil", "type" | "melding"]) => {
                        letter.errors.push(value);
                    }
                    Some(["brev-resultater", "resultat"]) => {
                        letters += 1;
                        visit(std::mem::take(&mut letter).receipt(reader));
                    }
                    _ => {}
                }
                path.pop();
            }
            Event::DocType(_) => return Err(at(&xml, "a document type declaration is not allowed")),
            Event::Eof if path.is_empty() && letters == 0 && status != "SUKSESS" && !status.is_empty() => {
                return Err("the whole job failed at Digipost, and has results of no letter".to_owned());
            }
            Event::Eof if path.is_empty() => return Ok(()),
            Event::Eof => return Err(at(&xml, "the file is truncated")),
            Event::Comment(_) | Event::PI(_) | Event::Decl(_) | Event::Empty(_) => {}
        }
    }
}

/// Whether a path has these elements below the outermost one.
fn is(path: &[String], wanted: &[&str]) -> bool {
    path.get(1..).is_some_and(|path| path.iter().map(String::as_str).eq(wanted.iter().copied()))
}

/// The text of an entity or character reference.
fn resolved(entity: &quick_xml::events::BytesRef<'_>) -> Option<String> {
    match entity.resolve_char_ref() {
        Ok(Some(character)) => Some(character.to_string()),
        _ => quick_xml::escape::resolve_predefined_entity(entity).map(str::to_owned),
    }
}

impl Letter {
    fn receipt(self, reader: &ReceiptReader<'_>) -> ReadReceipt {
        let answer = match &*self.result {
            "SENDT" => Ok(Answer::Delivered),
            "IKKE_SENDT" => Ok(Answer::Failed),
            _ => Err(Unusable::UnknownStatus),
        };
        let receipt = reader.key(&self.id).and_then(|key| {
            let errors = self.errors.iter().filter(|error| !error.is_empty());
            let said: Vec<&str> = [&self.channel]
                .into_iter()
                .filter(|channel| !channel.is_empty())
                .chain(errors)
                .map(|text| &**text)
                .collect();
            Ok(Receipt { key, check: None, answer: answer?, reason: said.join("; ") })
        });
        (self.line, receipt)
    }
}
