//! KRR's XML: its export `kontaktregister.xml` (export-14-05, metadata-14-05), and pages of `HentEndringer`.

use super::bounded_input::BoundedInput;
use crate::limits::LINE_BYTES_MAX;
use crate::register::{DigitalPost, Kontaktinformasjon, Person, moment};
use jiff::Timestamp;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};
use std::io::{self, BufRead};
use std::path::{Path, PathBuf};

/// File name of an export.
pub(crate) const KRR_XML_FILE: &str = "kontaktregister.xml";
const TOO_LONG: &str = "an element is longer than 1 MiB, or never ends";
const SEVERAL_PAGES: &str = "it holds more than one page of changes: apply the pages one by one";

/// Why XML of KRR cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum XmlError {
    #[error("cannot read {}: {error}", path.display())]
    Read { path: PathBuf, error: io::Error },
    /// `line` is where reading ended, from 1.
    #[error("{}, line {line}: {finding}", path.display())]
    Malformed { path: PathBuf, line: u64, finding: String },
}

/// Reads an export or a page, person by person. Elements are matched by their local names, with any prefix.
pub(crate) struct KrrXmlReader {
    reader: Reader<BoundedInput>,
    buffer: Vec<u8>,
    path: PathBuf,
    sequence: u64,
    as_of: Timestamp,
    closed: bool,
}

impl KrrXmlReader {
    /// Begins to read an export: its root element.
    pub(crate) fn of_export(reader: Box<dyn BufRead + Send>, path: PathBuf) -> Result<Self, XmlError> {
        let mut xml = Self::new(reader, path);
        xml.read_root()?;
        Ok(xml)
    }

    fn new(reader: Box<dyn BufRead + Send>, path: PathBuf) -> Self {
        let mut reader = Reader::from_reader(BoundedInput::new(reader));
        reader.config_mut().expand_empty_elements = true;
        let (buffer, as_of) = (Vec::new(), Timestamp::UNIX_EPOCH);
        KrrXmlReader { reader, buffer, path, sequence: 0, as_of, closed: false }
    }

    /// `senesteEndringsNummer`.
    pub(crate) fn sequence(&self) -> u64 {
        self.sequence
    }

    /// `eksportTidspunkt`.
    pub(crate) fn as_of(&self) -> Timestamp {
        self.as_of
    }

    fn malformed(&self, finding: impl ToString) -> XmlError {
        XmlError::Malformed {
            path: self.path.clone(),
            line: self.reader.get_ref().line,
            finding: finding.to_string(),
        }
    }

    fn next(&mut self) -> Result<Event<'static>, XmlError> {
        self.buffer.clear();
        match self.reader.read_event_into(&mut self.buffer) {
            Ok(Event::Eof) => Err(self.malformed("the file is truncated")),
            Ok(Event::DocType(_)) => Err(self.malformed("a document type declaration is not allowed")),
            Ok(event) => Ok(event.into_owned()),
            Err(_) if self.reader.get_ref().is_exceeded => Err(self.malformed(TOO_LONG)),
            // The error may quote the content, so only its kind is kept.
            Err(quick_xml::Error::Io(error)) => {
                Err(XmlError::Read { path: self.path.clone(), error: io::Error::from(error.kind()) })
            }
            Err(_) => Err(self.malformed("it is not well-formed XML, or it is truncated")),
        }
    }

    /// Begins an element, with all that it holds, or what is between elements: it may be as long as the limit.
    fn begin_record(&mut self) {
        self.reader.get_mut().begin_record();
    }

    fn start(&mut self) -> Result<BytesStart<'static>, XmlError> {
        loop {
            self.begin_record();
            if let Event::Start(element) = self.next()? {
                return Ok(element);
            }
        }
    }

    /// Reads the end of an element; only white space may precede it.
    fn end(&mut self) -> Result<(), XmlError> {
        loop {
            self.begin_record();
            match self.next()? {
                Event::End(_) => return Ok(()),
                Event::Text(text) if text.trim().is_empty() => {}
                Event::Comment(_) | Event::PI(_) => {}
                _ => return Err(self.malformed(SEVERAL_PAGES)),
            }
        }
    }

    fn end_of_file(&mut self) -> Result<(), XmlError> {
        loop {
            self.begin_record();
            self.buffer.clear();
            match self.reader.read_event_into(&mut self.buffer) {
                Ok(Event::Eof) => return Ok(()),
                Ok(Event::Text(text)) if text.trim().is_empty() => {}
                Ok(Event::Comment(_) | Event::PI(_)) => {}
                _ => return Err(self.malformed(SEVERAL_PAGES)),
            }
        }
    }

    /// An attribute that is a change number (xs:long).
    fn change_number(&self, element: &BytesStart<'_>, name: &str) -> Result<u64, XmlError> {
        let number = attribute(element, name).parse::<i64>();
        let number = number.ok().and_then(|number| number.try_into().ok());
        number.ok_or_else(|| self.malformed(format!("{name} is missing or not a number")))
    }

    fn read_root(&mut self) -> Result<(), XmlError> {
        let root = self.start()?;
        if root.local_name().into_inner() != "Kontaktregister" {
            return Err(self.malformed("the outermost element is not Kontaktregister"));
        }
        self.sequence = self.change_number(&root, "senesteEndringsNummer")?;
        let as_of = moment::parse(&attribute(&root, "eksportTidspunkt"));
        self.as_of = as_of.ok_or_else(|| self.malformed("eksportTidspunkt is missing or not a time"))?;
        Ok(())
    }

    /// The next persons, at most `count` and little more than `bytes` of text, each with the line on which it begins.
    /// `None` at the end.
    pub(crate) fn persons(
        &mut self,
        count: usize,
        bytes: usize,
    ) -> Result<Option<Vec<(u64, Person)>>, XmlError> {
        let (mut persons, mut read) = (Vec::new(), 0);
        while persons.len() < count && read < bytes && !self.closed {
            self.begin_record();
            match self.next()? {
                Event::Start(element) if element.local_name().into_inner() == "Person" => {
                    let line = self.reader.get_ref().line;
                    persons.push((line, self.person()?));
                    read += LINE_BYTES_MAX - self.reader.get_ref().left;
                }
                Event::Start(_) => self.skip()?,
                Event::End(_) => self.closed = true,
                _ => {}
            }
        }
        Ok((!persons.is_empty()).then_some(persons))
    }

    /// Reads the person whose start tag has just been read.
    fn person(&mut self) -> Result<Person, XmlError> {
        let mut person = Person::default();
        let mut channels = Kontaktinformasjon::default();
        let mut post = DigitalPost::default();
        let mut depth = 0;
        loop {
            match self.next()? {
                Event::End(_) if depth == 0 => break,
                Event::End(_) => depth -= 1,
                Event::Start(element) => {
                    match element.local_name().into_inner() {
                        "Kontaktinformasjon" | "SikkerDigitalPostAdresse" => {
                            depth += 1;
                            continue;
                        }
                        "Mobiltelefonnummer" => {
                            channels.mobiltelefonnummer_oppdatert = attribute(&element, "sistOppdatert");
                            channels.mobiltelefonnummer_sist_verifisert =
                                attribute(&element, "sistVerifisert");
                        }
                        "Epostadresse" => {
                            channels.epostadresse_oppdatert = attribute(&element, "sistOppdatert");
                            channels.epostadresse_sist_verifisert = attribute(&element, "sistVerifisert");
                        }
                        _ => {}
                    }
                    let field = match element.local_name().into_inner() {
                        "personidentifikator" => &mut person.personidentifikator,
                        "reservasjon" => &mut person.reservasjon,
                        "status" => &mut person.status,
                        "X509Sertifikat" => &mut person.sertifikat,
                        "Mobiltelefonnummer" => &mut channels.mobiltelefonnummer,
                        "Epostadresse" => &mut channels.epostadresse,
                        "postkasseadresse" => &mut post.postkasseadresse,
                        "postkasseleverandoerAdresse" => &mut post.postkasseleverandoeradresse,
                        _ => {
                            self.skip()?;
                            continue;
                        }
                    };
                    *field = self.text()?;
                }
                _ => {}
            }
        }
        // Base64 may be broken into lines.
        person.sertifikat.retain(|character| !character.is_ascii_whitespace());
        person.kontaktinformasjon = Some(channels);
        person.digital_post = Some(post);
        Ok(person)
    }

    /// The text of the element whose start tag has just been read.
    fn text(&mut self) -> Result<String, XmlError> {
        let mut text = String::new();
        loop {
            match self.next()? {
                Event::End(_) => return Ok(text.trim().to_owned()),
                Event::Start(_) => self.skip()?,
                Event::Text(piece) => text.push_str(&piece),
                Event::CData(piece) => text.push_str(&piece),
                Event::GeneralRef(reference) => match reference.resolve_char_ref() {
                    Ok(Some(character)) => text.push(character),
                    _ => {
                        let known = resolve_predefined_entity(&reference);
                        text.push_str(known.ok_or_else(|| self.malformed("an unknown entity"))?);
                    }
                },
                _ => {}
            }
        }
    }

    /// Skips the element whose start tag has just been read.
    fn skip(&mut self) -> Result<(), XmlError> {
        let mut depth = 0u32;
        loop {
            match self.next()? {
                Event::Start(_) => depth += 1,
                Event::End(_) if depth == 0 => return Ok(()),
                Event::End(_) => depth -= 1,
                _ => {}
            }
        }
    }
}

/// A page of changes: the response of `HentEndringer` (oppslagstjeneste-ws-16-02), with or without its SOAP
/// envelope.
pub(crate) struct ChangesPage {
    /// `fraEndringsNummer`.
    pub(crate) from: u64,
    /// `tilEndringsNummer`.
    pub(crate) to: u64,
    /// Each with the line on which it begins.
    pub(crate) persons: Vec<(u64, Person)>,
}

impl ChangesPage {
    pub(crate) fn read(text: &[u8], path: &Path) -> Result<ChangesPage, XmlError> {
        let mut xml = KrrXmlReader::new(Box::new(io::Cursor::new(text.to_vec())), path.to_owned());
        let mut wrappers = 0;
        let root = loop {
            let element = xml.start()?;
            match element.local_name().into_inner() {
                "HentEndringerRespons" => break element,
                "Envelope" | "Body" => wrappers += 1,
                "Header" => xml.skip()?,
                "Fault" => return Err(xml.malformed("it is a fault of the service, not a page of changes")),
                _ => return Err(xml.malformed("it has no HentEndringerRespons")),
            }
        };
        let from = xml.change_number(&root, "fraEndringsNummer")?;
        let to = xml.change_number(&root, "tilEndringsNummer")?;
        let persons = xml.persons(usize::MAX, usize::MAX)?.unwrap_or_default();
        for _ in 0..wrappers {
            xml.end()?;
        }
        xml.end_of_file()?;
        Ok(ChangesPage { from, to, persons })
    }
}

/// An attribute by its local name, empty if absent.
fn attribute(element: &BytesStart<'_>, name: &str) -> String {
    let found =
        element.attributes().flatten().find(|attribute| attribute.key.local_name().into_inner() == name);
    found
        .and_then(|attribute| attribute.normalized_value(XmlVersion::Explicit1_0).ok())
        .map(|value| value.into_owned())
        .unwrap_or_default()
}
