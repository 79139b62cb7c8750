//! Requests to a running service with a FaR and a KRR register, on a loopback socket.

use crate::data::{FAR, KRR, head, with_ids};
use nabar::service::{Config, FollowRules, Registers, Replicas, Service, serve};
use quick_xml::events::Event;
use serde_json::Value;
use std::cell::RefCell;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::LazyLock;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

/// A response that takes longer is a hang.
const HANGS: Duration = Duration::from_secs(20);

static ADDRESS: LazyLock<SocketAddr> = LazyLock::new(|| {
    let registers = vec![("se".to_owned(), FAR.file.clone()), ("no".to_owned(), KRR.file.clone())];
    let registers =
        Registers::open(registers, Vec::new(), FollowRules::default(), &Replicas::default(), None)
            .expect("opened");
    let service = Service::new(registers, &Config::default()).expect("a service");
    let (ready, address) = channel();
    thread::spawn(move || {
        let served = serve(service, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), None, |address, _| {
            ready.send(address).expect("awaited");
        });
        panic!("the service ended: {served:?}");
    });
    address.recv().expect("listening")
});

fn connect() -> TcpStream {
    let stream = TcpStream::connect(*ADDRESS).expect("connected");
    stream.set_read_timeout(Some(HANGS)).expect("set");
    stream.set_nodelay(true).expect("set");
    stream
}

struct Response {
    status: u16,
    content_type: String,
    body: Vec<u8>,
}

/// Reads a response; `None` at the end of the connection.
fn response(stream: &mut impl BufRead) -> Option<Response> {
    let mut line = String::new();
    stream.read_line(&mut line).expect("a response in time, in text");
    if line.is_empty() {
        return None;
    }
    let status =
        line.strip_prefix("HTTP/1.1 ").or(line.strip_prefix("HTTP/1.0 ")).and_then(|rest| rest.get(..3));
    let status =
        status.and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("no status: {line:?}"));
    let (mut length, mut chunked, mut content_type) = (None, false, String::new());
    loop {
        line.clear();
        stream.read_line(&mut line).expect("a head in time, in text");
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            assert_eq!(line, "\r\n", "the end of the head");
            break;
        };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = Some(value.parse::<u64>().expect("a length")),
            "transfer-encoding" => chunked = value == "chunked",
            "content-type" => content_type = value.to_owned(),
            _ => {}
        }
    }
    let mut body = Vec::new();
    match (length, chunked) {
        (Some(length), _) => _ = stream.take(length).read_to_end(&mut body).expect("a body in time"),
        (None, true) => loop {
            line.clear();
            stream.read_line(&mut line).expect("a chunk in time");
            let size = u64::from_str_radix(line.trim_end(), 16).expect("a size");
            stream.take(size).read_to_end(&mut body).expect("a chunk in time");
            line.clear();
            stream.read_line(&mut line).expect("the end of a chunk");
            if size == 0 {
                break;
            }
        },
        (None, false) => {}
    }
    Some(Response { status, content_type, body })
}

thread_local! {
    /// The connection of the last request, for the next one.
    static CONNECTION: RefCell<Option<BufReader<TcpStream>>> = const { RefCell::new(None) };
}

/// Sends a body. The connection is kept for the next request if the service keeps it.
fn post(path: &str, content_type: &str, body: &[u8]) -> Response {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let request = [head.as_bytes(), body].concat();
    CONNECTION.with_borrow_mut(|kept| {
        if let Some(mut stream) = kept.take()
            && stream.get_mut().write_all(&request).is_ok()
            && matches!(stream.fill_buf(), Ok(bytes) if !bytes.is_empty())
        {
            let response = response(&mut stream).expect("a response");
            *kept = Some(stream);
            return response;
        }
        let mut stream = BufReader::new(connect());
        stream.get_mut().write_all(&request).expect("sent");
        let response = response(&mut stream).expect("a response");
        *kept = Some(stream);
        response
    })
}

/// A body in the format that its content type names.
fn is_well_formed(response: &Response) {
    let text = || String::from_utf8_lossy(&response.body);
    if response.content_type.contains("json") {
        let value: Result<Value, _> = serde_json::from_slice(&response.body);
        assert!(value.is_ok(), "no JSON: {}", text());
    } else if response.content_type.contains("xml") {
        let mut reader = quick_xml::Reader::from_reader(&response.body[..]);
        let mut depth = 0;
        loop {
            match reader.read_event().unwrap_or_else(|error| panic!("no XML, {error}: {}", text())) {
                Event::Start(_) => depth += 1,
                Event::End(_) => depth -= 1,
                Event::Eof => break,
                _ => {}
            }
        }
        assert_eq!(depth, 0, "elements are closed: {}", text());
    }
}

/// SOAP messages. The first byte chooses the service and the content type; the rest is the message, in which `@` and a
/// byte stand for an id of the register.
pub(crate) fn soap(data: &[u8]) {
    let ([choice], text) = head::<1>(data);
    let (path, known) = match choice & 3 {
        0 | 1 => ("/se/Recipient/v3", &*FAR),
        2 => ("/se/Authority", &*FAR),
        _ => ("/no/kontaktinfo-external/ws-v5", &*KRR),
    };
    let content_type = match choice >> 2 & 3 {
        0 if choice & 3 == 3 => "application/soap+xml; charset=utf-8",
        0 => "text/xml; charset=utf-8",
        1 => "application/soap+xml",
        2 => "text/xml",
        _ => "text/xml; charset=iso-8859-1",
    };
    let response = post(path, content_type, &with_ids(text, &known.model.ids));
    match response.status {
        200 | 400 | 413 | 415 | 429 | 503 => {}
        // A fault of the client is 500 by the contract.
        500 => assert!(contains(&response.body, b"Fault>"), "500 without a fault"),
        status => panic!("{path}: {status}"),
    }
    is_well_formed(&response);
}

/// JSON bodies. The first byte chooses the route.
pub(crate) fn json(data: &[u8]) {
    let ([choice], text) = head::<1>(data);
    let (path, known) = match choice & 7 {
        0 | 1 => ("/se/v1/reachability", &*FAR),
        2 => ("/no/v1/reachability?date=2026-06-01", &*KRR),
        3 => ("/no/v1/reachability", &*KRR),
        4 => ("/no/rest/v2/personer", &*KRR),
        5 => ("/no/rest/v1/personer", &*KRR),
        6 => ("/no/rest/v2/krr/hentEndringer", &*KRR),
        _ => ("/se/v1/reachability?date=2026-06-01&sender=164900000001", &*FAR),
    };
    let mut body = with_ids(text, &known.model.ids);
    if let Some((sender, _)) = known.model.senders.first() {
        body = replaced(&body, b"SENDER", sender.as_bytes());
    }
    let response = post(path, "application/json", &body);
    assert!(
        matches!(response.status, 200 | 400 | 404 | 409 | 410 | 413 | 415 | 422 | 429 | 503),
        "{path}: {}: {}",
        response.status,
        String::from_utf8_lossy(&response.body)
    );
    is_well_formed(&response);
    if response.status == 200 && path.contains("reachability") {
        let (asked, answered): (Value, Value) = (
            serde_json::from_slice(&body).expect("what was answered is JSON"),
            serde_json::from_slice(&response.body).expect("JSON"),
        );
        let count = |value: &Value, name: &str| value[name].as_array().map(Vec::len);
        assert_eq!(count(&asked, "recipients"), count(&answered, "results"), "a result for each id");
    }
}

/// Bytes on a connection: heads, bodies, several requests one after another.
pub(crate) fn http(data: &[u8]) {
    let mut stream = connect();
    // The service may close the connection before it has read everything.
    let sent = stream.write_all(data).and_then(|()| stream.shutdown(Shutdown::Write));
    let mut answered = Vec::new();
    match stream.read_to_end(&mut answered) {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
            panic!("no answer and no end: a hang")
        }
        // Reset, because something sent was not read.
        Err(_) => return,
    }
    if sent.is_ok() && answered.starts_with(b"HTTP/1.") {
        let status = std::str::from_utf8(&answered[9..12]).ok().and_then(|status| status.parse::<u16>().ok());
        assert!(status.is_some_and(|status| status != 500), "{status:?}");
    } else {
        assert!(answered.is_empty(), "an answer that is not HTTP");
    }
}

fn replaced(text: &[u8], word: &[u8], by: &[u8]) -> Vec<u8> {
    match text.windows(word.len()).position(|window| window == word) {
        Some(at) => [&text[..at], by, &text[at + word.len()..]].concat(),
        None => text.to_vec(),
    }
}

fn contains(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|window| window == word)
}
