//! SOAP: WSDLs, and messages with any namespace prefixes.

use super::body::RequestBody;
use super::context::RequestContext;
use super::request::content_type;
use super::response::{Body, respond};
use crate::limits::CALL_IDS_MAX;
use encoding_rs::Encoding;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Request, Response, StatusCode};
use quick_xml::XmlVersion;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::attributes::Attribute;
use quick_xml::events::{BytesStart, Event};
use quick_xml::name::ResolveResult;
use quick_xml::reader::NsReader;
use std::borrow::Cow;

/// Content type of SOAP 1.1 and of WSDLs.
pub(super) const XML: &str = "text/xml; charset=utf-8";

/// A version of SOAP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    /// 1.1.
    V11,
    /// 1.2.
    V12,
}

impl Version {
    /// The namespace of its envelope.
    pub(super) fn namespace(self) -> &'static str {
        match self {
            Version::V11 => "http://schemas.xmlsoap.org/soap/envelope/",
            Version::V12 => "http://www.w3.org/2003/05/soap-envelope",
        }
    }

    /// The beginning of a message, which the body and [`CLOSE`] follow.
    pub(super) fn open(self) -> String {
        ["<s:Envelope xmlns:s=\"", self.namespace(), "\"><s:Body>"].concat()
    }
}

/// The end of a message.
pub(super) const CLOSE: &str = "</s:Body></s:Envelope>";

/// Deepest nesting of elements.
const DEPTH_MAX: usize = 32;

/// The element in the body of a message, and its children.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) namespace: String,
    pub(super) operation: String,
    /// Local names and values of the attributes of the operation.
    pub(super) attributes: Vec<(String, String)>,
    /// Local names and texts in their order. Adjacent elements with the same name are one entry.
    pub(super) arguments: Vec<(String, Vec<String>)>,
    /// Paths and texts of the elements within arguments, in their order: the local names from the argument on, with `/`
    /// between them.
    pub(super) nested: Vec<(String, String)>,
}

impl Call {
    /// Whether there is an argument with another name.
    pub(super) fn has_others(&self, names: &[&str]) -> bool {
        self.arguments.iter().any(|(name, _)| !names.contains(&name.as_str()))
    }

    /// The texts of all arguments with a name.
    pub(super) fn all<'c, 'n>(&'c self, name: &'n str) -> impl Iterator<Item = &'c str> + use<'c, 'n> {
        let of_name = self.arguments.iter().filter(move |(other, _)| other == name);
        of_name.flat_map(|(_, texts)| texts).map(|text| text.trim())
    }

    /// The texts of all elements within arguments at a path.
    pub(super) fn nested<'c, 'p>(&'c self, path: &'p str) -> impl Iterator<Item = &'c str> + use<'c, 'p> {
        let at_path = self.nested.iter().filter(move |(other, _)| other == path);
        at_path.map(|(_, text)| text.trim())
    }
}

/// A WSDL, with the address of the request in place of `{address}`.
pub(super) fn wsdl(
    context: &RequestContext<'_>,
    request: &Request<RequestBody>,
    text: &str,
) -> Response<Body> {
    respond(XML, text.replace("{address}", &address(context, request)))
}

/// The address that the client has used.
fn address(context: &RequestContext<'_>, request: &Request<RequestBody>) -> String {
    let host = request.headers().get(HOST).and_then(|value| value.to_str().ok()).unwrap_or("localhost");
    let scheme = if context.service.credentials.tls().is_some() { "https" } else { "http" };
    quick_xml::escape::escape(format!("{scheme}://{host}{}", request.uri().path())).into_owned()
}

/// Why a request contains no call.
pub(super) enum CallError {
    /// The client may retry.
    Busy(String),
    /// Longer than a call with the maximum number of ids.
    TooLong,
    /// Not a valid message.
    Malformed(String),
}

/// Reads the call of a request.
pub(super) async fn call(
    context: &RequestContext<'_>,
    request: Request<RequestBody>,
    version: Version,
) -> Result<Call, CallError> {
    let kinds: &[&str] = match version {
        Version::V11 => &["text/xml", "application/xml", ""],
        Version::V12 => &["application/soap+xml", "text/xml", "application/xml", ""],
    };
    if !kinds.contains(&&*content_type(request.headers())) {
        return Err(CallError::Malformed(format!("send the message as {}", kinds[0])));
    }
    let header = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let header = header.unwrap_or_default().to_owned();
    let message = context.read_body(request, context.service.limits.message_bytes, MESSAGE_WEIGHT).await;
    let message = message.map_err(|problem| match problem.status() {
        StatusCode::PAYLOAD_TOO_LARGE => CallError::TooLong,
        status if status.is_server_error() => CallError::Busy(problem.detail().to_owned()),
        _ => CallError::Malformed(problem.detail().to_owned()),
    })?;
    read(&message.bytes, &header, version).map_err(|error| CallError::Malformed(error.to_owned()))
}

/// Bytes of memory per byte of a message: decoded, and its arguments.
const MESSAGE_WEIGHT: usize = 4;
/// Arguments of a call, more than any call may have.
const ARGUMENTS_MAX: usize = 4 * CALL_IDS_MAX;

/// Why a message is not valid.
type MessageError = &'static str;

const ILL_FORMED: MessageError = "the message is not well-formed XML";
const NOT_SOAP: MessageError =
    "the message is not an envelope of this SOAP version with one element in its body";

/// Parses a message. Its encoding is that of the content type, or of its XML declaration.
pub(super) fn read(message: &[u8], content_type: &str, version: Version) -> Result<Call, MessageError> {
    let envelope = version.namespace();
    let text = decode(message, content_type)?;
    if !is_xml(&text) {
        return Err(ILL_FORMED);
    }
    let mut reader = NsReader::from_str(&text);
    let mut call = Call::default();
    let (mut depth, mut has_root, mut in_body, mut has_operation) = (0, false, false, false);
    let mut arguments = 0;
    // The path of the last element within an argument, where the elements that it is in end, and the depth inside of it.
    let (mut path, mut ends, mut nested_depth) = (String::new(), Vec::<usize>::new(), 0);
    loop {
        let (namespace, event) = reader.read_resolved_event().map_err(|_| ILL_FORMED)?;
        match event {
            Event::Start(_) | Event::Empty(_) if depth >= DEPTH_MAX => {
                return Err("the message is nested too deeply");
            }
            Event::Start(_) | Event::Empty(_) if depth == 0 && std::mem::replace(&mut has_root, true) => {
                return Err(ILL_FORMED);
            }
            Event::Start(ref element) | Event::Empty(ref element) => {
                let namespace = match namespace {
                    ResolveResult::Bound(namespace) => namespace.into_inner(),
                    ResolveResult::Unbound => "",
                    ResolveResult::Unknown(_) => return Err(ILL_FORMED),
                };
                let name = element.local_name().into_inner();
                match depth {
                    0 if (namespace, name) != (envelope, "Envelope") => return Err(NOT_SOAP),
                    1 => in_body = (namespace, name) == (envelope, "Body"),
                    2 if in_body && has_operation => return Err(NOT_SOAP),
                    2 if in_body => {
                        has_operation = true;
                        (call.namespace, call.operation) = (namespace.to_owned(), name.to_owned());
                        call.attributes = attributes(element)?;
                    }
                    3 if in_body => {
                        // A call with 1000 ids has 1000 adjacent elements with one name.
                        arguments += 1;
                        if arguments > ARGUMENTS_MAX {
                            return Err("the message has too many elements");
                        }
                        match call.arguments.last_mut().filter(|(before, _)| before == name) {
                            Some((_, texts)) => texts.push(String::new()),
                            None => call.arguments.push((name.to_owned(), vec![String::new()])),
                        }
                    }
                    4.. if in_body => {
                        arguments += 1;
                        if arguments > ARGUMENTS_MAX {
                            return Err("the message has too many elements");
                        }
                        // Cut to the path of the parent, which is that of the argument, or of an element in it.
                        ends.truncate(depth - 4);
                        path.truncate(ends.last().copied().unwrap_or_default());
                        if path.is_empty() {
                            path.push_str(call.arguments.last().map_or("", |(argument, _)| argument));
                        }
                        path.extend(["/", name]);
                        ends.push(path.len());
                        call.nested.push((path.clone(), String::new()));
                        nested_depth = depth + 1;
                    }
                    _ => {}
                }
                depth += usize::from(matches!(event, Event::Start(_)));
            }
            Event::End(_) => depth -= 1,
            Event::DocType(_) => return Err("a document type declaration is not allowed"),
            Event::Eof if depth == 0 && has_operation => return Ok(call),
            Event::Eof => return Err(if depth == 0 { NOT_SOAP } else { ILL_FORMED }),
            _ => {
                let text = text_of(&event)?;
                if in_body && depth > 4 {
                    // Text after a child is white space between elements.
                    let nested = call.nested.last_mut().filter(|_| depth == nested_depth);
                    if let Some((_, value)) = nested {
                        value.push_str(&text);
                    }
                    continue;
                }
                let texts = call.arguments.last_mut().filter(|_| in_body && depth == 4);
                match texts.and_then(|(_, texts)| texts.last_mut()) {
                    Some(value) => value.push_str(&text),
                    None if depth == 0 && !text.trim().is_empty() => return Err(ILL_FORMED),
                    None => {}
                }
            }
        }
    }
}

fn attributes(element: &BytesStart<'_>) -> Result<Vec<(String, String)>, MessageError> {
    // Namespace declarations and attributes of other namespaces are ignored.
    let foreign = |attribute: &Attribute<'_>| {
        attribute.key.prefix().is_some() || attribute.key.as_namespace_binding().is_some()
    };
    let attributes = element.attributes().filter(|attribute| !attribute.as_ref().is_ok_and(foreign));
    let attributes = attributes.map(|attribute| {
        let attribute = attribute.map_err(|_| ILL_FORMED)?;
        let value = attribute.normalized_value(XmlVersion::Implicit1_0).map_err(|_| ILL_FORMED)?;
        Ok((attribute.key.local_name().into_inner().to_owned(), value.into_owned()))
    });
    attributes.collect()
}

/// The text of an event that is neither an element nor a declaration.
fn text_of<'e>(event: &'e Event<'_>) -> Result<Cow<'e, str>, MessageError> {
    Ok(match event {
        Event::Text(text) => Cow::Borrowed(text.as_ref()),
        Event::CData(text) => Cow::Borrowed(text.as_ref()),
        Event::GeneralRef(reference) => match reference.resolve_char_ref() {
            Ok(Some(character)) if is_xml_character(character) => Cow::Owned(character.to_string()),
            Ok(Some(_)) => return Err(ILL_FORMED),
            Ok(None) => {
                let entity = resolve_predefined_entity(reference.as_ref());
                Cow::Borrowed(entity.ok_or("the message uses an entity that XML does not define")?)
            }
            Err(_) => return Err(ILL_FORMED),
        },
        _ => Cow::Borrowed(""),
    })
}

/// Decodes a message: by its byte order mark, the content type, the XML declaration, or as UTF-8.
fn decode<'m>(message: &'m [u8], content_type: &str) -> Result<Cow<'m, str>, MessageError> {
    let (marked, skip) =
        Encoding::for_bom(message).map_or((None, 0), |(encoding, skip)| (Some(encoding), skip));
    let named = || {
        let charset = content_type.split(';').skip(1).find_map(|part| {
            let (name, value) = part.split_once('=')?;
            name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"').to_owned())
        });
        charset.or_else(|| declared(message)).unwrap_or_else(|| "utf-8".to_owned())
    };
    let encoding = match marked {
        Some(encoding) => encoding,
        None => Encoding::for_label(named().as_bytes()).ok_or("the encoding of the message is unknown")?,
    };
    let message = &message[skip..];
    let text = encoding.decode_without_bom_handling_and_without_replacement(message);
    text.ok_or("the message is not valid in its declared encoding")
}

/// The encoding in an XML declaration.
fn declared(message: &[u8]) -> Option<String> {
    let head = message.get(..message.len().min(200))?;
    let head = head.strip_prefix(b"<?xml")?;
    let head = String::from_utf8_lossy(&head[..memchr::memmem::find(head, b"?>")?]).into_owned();
    let value = head.split_once("encoding")?.1.trim_start().strip_prefix('=')?.trim_start();
    let quote = value.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
    value[1..].split(quote).next().map(str::to_owned)
}

/// Whether XML 1.0 can contain a text.
pub(super) fn is_xml(text: &str) -> bool {
    // Control characters first, over all bytes without a branch, so that the loop is vectorized.
    let control = |byte: u8| (byte < b' ') & (byte != b'\t') & (byte != b'\n') & (byte != b'\r');
    let controls = text.bytes().fold(false, |any, byte| any | control(byte));
    // The other two invalid characters begin with this byte.
    !controls && (memchr::memchr(0xEF, text.as_bytes()).is_none() || text.chars().all(is_xml_character))
}

fn is_xml_character(character: char) -> bool {
    matches!(character, ' '..|'\t'| '\n' | '\r') && !matches!(character, '\u{FFFE}' | '\u{FFFF}')
}

/// Escapes a text for XML. Invalid characters are replaced.
pub(super) fn escaped(text: &str) -> Cow<'_, str> {
    if is_xml(text) {
        return quick_xml::escape::escape(text);
    }
    let replaced: String =
        text.chars().map(|c| if is_xml_character(c) { c } else { char::REPLACEMENT_CHARACTER }).collect();
    Cow::Owned(quick_xml::escape::escape(&replaced).into_owned())
}

/// Writes an element that contains a text.
pub(super) fn element(out: &mut String, name: &str, text: &str) {
    for part in ["<", name, ">", &escaped(text), "</", name, ">"] {
        out.push_str(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(message: &str) -> Result<Call, MessageError> {
        read(message.as_bytes(), "text/xml", Version::V11)
    }

    fn call(arguments: &[(&str, &str)]) -> Call {
        let mut of_name: Vec<(String, Vec<String>)> = Vec::new();
        for (name, text) in arguments {
            match of_name.last_mut().filter(|(before, _)| before == name) {
                Some((_, texts)) => texts.push((*text).to_owned()),
                None => of_name.push(((*name).to_owned(), vec![(*text).to_owned()])),
            }
        }
        Call {
            namespace: "urn:r".to_owned(),
            operation: "ask".to_owned(),
            attributes: Vec::new(),
            arguments: of_name,
            nested: Vec::new(),
        }
    }

    #[test]
    fn prefixes_headers_comments_and_cdata_make_no_difference() {
        let expected = call(&[("id", "1&2"), ("id", ""), ("x", "A")]);
        for message in [
            r#"<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><ask xmlns="urn:r"><id>1&amp;2</id><id/><x>A</x></ask></s:Body></s:Envelope>"#,
            "<?xml version='1.0' encoding='utf-8'?>\n<Envelope xmlns='http://schemas.xmlsoap.org/soap/envelope/'>\n <Header><a><b>c</b></a></Header>\n \
             <Body xmlns:q='urn:r'><q:ask>\n<q:id><![CDATA[1&2]]></q:id><!-- no -->\n<q:id></q:id><x>&#65;</x>\n</q:ask></Body>\n</Envelope>\n",
        ] {
            assert_eq!(
                read_text(message),
                Ok(call(&[("id", "1&2"), ("id", ""), ("x", "A")])),
                "{expected:?}"
            );
            let wide: Vec<u8> =
                [0xFF, 0xFE].into_iter().chain(message.encode_utf16().flat_map(u16::to_le_bytes)).collect();
            assert_eq!(read(&wide, "text/xml", Version::V11).as_ref(), Ok(&expected));
        }
    }

    #[test]
    fn attributes_of_the_operation_are_read() {
        let message = r#"<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Body><a:ask xmlns:a="urn:r" from="1&amp;2" a:to='x'/></s:Body></s:Envelope>"#;
        let call = read(message.as_bytes(), "application/soap+xml", Version::V12).expect("a call");
        let expected = [("from", "1&2")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!((call.namespace.as_str(), call.attributes), ("urn:r", expected.to_vec()));
        let other = message.replace("http://www.w3.org/2003/05/soap-envelope", Version::V11.namespace());
        assert_eq!(read(other.as_bytes(), "text/xml", Version::V12), Err(NOT_SOAP));
    }

    #[test]
    fn elements_within_arguments_have_paths() {
        let message = r#"<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><ask xmlns="urn:r">
            <a> <b>1</b> x <c><d>2</d>y<d/></c> </a> <a><b>3&amp;<!-- -->4</b></a><e>5</e></ask></s:Body></s:Envelope>"#;
        let call = read_text(message).expect("a call");
        let nested: Vec<_> = call.nested.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
        assert_eq!(nested, [("a/b", "1"), ("a/c", ""), ("a/c/d", "2"), ("a/c/d", ""), ("a/b", "3&4")]);
        assert_eq!(call.nested("a/b").collect::<Vec<_>>(), ["1", "3&4"]);
        assert_eq!(call.all("e").collect::<Vec<_>>(), ["5"]);
        let many = format!("<a>{}</a>", "<b/>".repeat(ARGUMENTS_MAX));
        let many = message.replace("<e>5</e>", &many);
        assert_eq!(read_text(&many), Err("the message has too many elements"));
    }

    #[test]
    fn invalid_messages_are_errors() {
        let open = r#"<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>"#;
        let close = "</s:Body></s:Envelope>";
        for (message, finding) in [
            (String::new(), NOT_SOAP),
            ("hello".to_owned(), ILL_FORMED),
            ("<a/>".to_owned(), NOT_SOAP),
            (format!("{open}{close}"), NOT_SOAP),
            (format!("{open}<a/><b/>{close}"), NOT_SOAP),
            (format!("{open}<p:a/>{close}"), ILL_FORMED),
            (format!("{open}<a>"), ILL_FORMED),
            (format!("{open}<a></b>{close}"), ILL_FORMED),
            (format!("{open}<a>\u{1}</a>{close}"), ILL_FORMED),
            (format!("{open}<a>&#xFFFF;</a>{close}"), ILL_FORMED),
            (
                format!("{open}<a><b>&boom;</b></a>{close}"),
                "the message uses an entity that XML does not define",
            ),
            (
                format!("<!DOCTYPE a [<!ENTITY b 'c'>]>{open}<a/>{close}"),
                "a document type declaration is not allowed",
            ),
            (format!("{open}{}{close}", "<a>".repeat(100_000)), "the message is nested too deeply"),
            ("<Envelope xmlns='http://www.w3.org/2003/05/soap-envelope'/>".to_owned(), NOT_SOAP),
        ] {
            assert_eq!(read_text(&message), Err(finding), "{}", &message[..message.len().min(200)]);
        }
        assert!(read(b"\xFF<a/>", "text/xml", Version::V11).is_err());
        assert!(read(b"<a/>", "text/xml; charset=nonsense", Version::V11).is_err());
    }

    #[test]
    fn declared_encodings_are_used() {
        let message = "<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body>\
                       <ask xmlns=\"urn:r\"><id>\u{e5}</id></ask></s:Body></s:Envelope>";
        let latin: Vec<u8> = message.chars().map(|c| c as u8).collect();
        assert_eq!(read(&latin, "text/xml", Version::V11), Ok(call(&[("id", "å")])));
        assert_eq!(
            read(message.as_bytes(), "text/xml; charset=\"UTF-8\"", Version::V11),
            Ok(call(&[("id", "å")]))
        );
    }
}
