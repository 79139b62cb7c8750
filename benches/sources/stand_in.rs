//! A register that answers each call after a time, with made-up rows.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Time of a call.
pub(crate) const CALL_TIME: Duration = Duration::from_millis(50);

/// The register, in threads of this process.
pub(crate) struct StandIn {
    pub(crate) address: SocketAddr,
    counts: Arc<(AtomicU64, AtomicU64)>,
}

impl StandIn {
    pub(crate) fn start(is_far: bool) -> StandIn {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let (address, counts) = (listener.local_addr().expect("an address"), Arc::default());
        let shared = Arc::clone(&counts);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let counts = Arc::clone(&shared);
                thread::spawn(move || serve(stream, is_far, &counts));
            }
        });
        StandIn { address, counts }
    }

    /// The calls and the ids so far.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.counts.0.load(Ordering::Relaxed), self.counts.1.load(Ordering::Relaxed))
    }
}

/// Answers the calls of a connection until it is closed.
fn serve(stream: TcpStream, is_far: bool, counts: &(AtomicU64, AtomicU64)) {
    let _ = stream.set_nodelay(true);
    let (mut writer, mut reader) = (stream.try_clone().expect("cloned"), BufReader::new(stream));
    loop {
        let (mut length, mut line) = (0, String::new());
        while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length");
            }
            line.clear();
        }
        if length == 0 {
            return;
        }
        let started = Instant::now();
        let mut body = vec![0; length];
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        let body = String::from_utf8(body).expect("text");
        let (kind, answer, ids) = if is_far { far(&body) } else { krr(&body) };
        counts.0.fetch_add(1, Ordering::Relaxed);
        counts.1.fetch_add(ids, Ordering::Relaxed);
        let head =
            format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n", answer.len());
        thread::sleep(CALL_TIME.saturating_sub(started.elapsed()));
        if writer.write_all(&[head.as_bytes(), answer.as_bytes()].concat()).is_err() {
            return;
        }
    }
}

/// The ids in a message, and a number for each of them.
fn asked<'b>(body: &'b str, before: &'b str, after: char) -> impl Iterator<Item = (&'b str, usize)> {
    let ids = body.split(before).skip(1).filter_map(move |rest| rest.split(after).next());
    ids.map(|id| (id, id.bytes().fold(0, |sum, digit| sum * 7 + usize::from(digit & 0xF))))
}

const OPERATORS: [(&str, &str); 2] = [("164821000025", "a"), ("164921000016", "b")];

/// Rows as FaR writes them: two of three recipients have a mailbox.
fn far(body: &str) -> (&'static str, String, u64) {
    let mut out = String::with_capacity(800_000);
    out.push_str(
        "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body><isReachableResponse \
         xmlns=\"http://minameddelanden.gov.se/schema/Recipient/v3\" \
         xmlns:r=\"http://minameddelanden.gov.se/schema/Recipient\">",
    );
    let mut count = 0;
    for (id, number) in asked(body, "<recipientId>", '<') {
        count += 1;
        out.push_str("<return><r:AccountStatus><r:RecipientId>");
        out.push_str(id);
        out.push_str("</r:RecipientId>");
        if number % 3 == 0 {
            out.push_str(
                "<r:Type>Not</r:Type><r:Pending>false</r:Pending></r:AccountStatus>\
                 <r:SenderAccepted>false</r:SenderAccepted></return>",
            );
            continue;
        }
        let (operator, name) = OPERATORS[number % 2];
        out.push_str(&format!(
            "<r:Type>Secure</r:Type><r:Pending>false</r:Pending><r:ServiceSupplier><r:Id>{operator}</r:Id><r:Name>Operator \
             {name}</r:Name><r:ServiceAdress>https://mm.{name}.example/service/v3</r:ServiceAdress><r:UIAdress>https://\
             www.{name}.example/</r:UIAdress><r:InternalServiceAdress>https://internal.{name}.example/v3\
             </r:InternalServiceAdress></r:ServiceSupplier><r:LastRegistration>20{:02}-0{}-1{}T10:00:00Z\
             </r:LastRegistration></r:AccountStatus><r:SenderAccepted>{}</r:SenderAccepted></return>",
            number % 27,
            1 + number % 9,
            number % 10,
            number % 11 != 0,
        ));
    }
    out.push_str("</isReachableResponse></s:Body></s:Envelope>");
    ("text/xml; charset=utf-8", out, count)
}

/// Persons as KRR writes them: five of six are registered, and half of these have a mailbox.
fn krr(body: &str) -> (&'static str, String, u64) {
    let (mut out, mut count) = (String::with_capacity(800_000), 0);
    out.push_str("{\"personer\":[");
    let (_, list) = body.split_once('[').expect("a list");
    for (id, number) in asked(list, "\"", '"').step_by(2) {
        out.push_str(if count > 0 { "," } else { "" });
        count += 1;
        out.push_str("{\"personidentifikator\":\"");
        out.push_str(id);
        if number % 6 == 0 {
            out.push_str("\",\"reservasjon\":\"NEI\",\"status\":\"IKKE_REGISTRERT\",\"varslingsstatus\":\"KAN_IKKE_VARSLES\"}");
            continue;
        }
        out.push_str(&format!(
            "\",\"reservasjon\":\"{}\",\"status\":\"AKTIV\",\"varslingsstatus\":\"KAN_VARSLES\",\"kontaktinformasjon\":{{\
             \"epostadresse\":\"person{number}@example.no\",\"epostadresse_oppdatert\":\"2026-05-04T02:20:41.654Z\",\
             \"epostadresse_sist_verifisert\":\"2026-06-21T00:33:43Z\",\"mobiltelefonnummer\":\"+4799999{:03}\",\
             \"mobiltelefonnummer_oppdatert\":\"2026-04-22T10:17:07Z\"}},",
            if number % 20 == 0 { "JA" } else { "NEI" },
            number % 1000,
        ));
        if number % 2 == 0 {
            out.push_str(&format!(
                "\"digital_post\":{{\"postkasseadresse\":\"per.lie#{:04X}\",\"postkasseleverandoeradresse\":\"984661185\"}},",
                number % 0x1_0000
            ));
        }
        out.push_str("\"spraak\":\"nb\"}");
    }
    out.push_str("]}");
    ("application/json", out, count)
}

/// Valid ids, ascending by date: personnummer, or synthetic fødselsnummer.
pub(crate) fn ids(is_far: bool) -> impl Iterator<Item = String> {
    let dates = (1930..2005)
        .flat_map(|year| (1..=12).flat_map(move |month| (1..=28).map(move |day| (year, month, day))));
    dates.flat_map(move |(year, month, day)| {
        let serials = if is_far { 0..1000 } else { 0..500 };
        serials.filter_map(move |serial| match is_far {
            true => Some(personnummer(year, month, day, serial)),
            // Individual numbers below 500 are those of the years before 2000.
            false => foedselsnummer(year.min(1999), month, day, serial),
        })
    })
}

fn personnummer(year: u32, month: u32, day: u32, serial: u32) -> String {
    let digits = format!("{:02}{month:02}{day:02}{serial:03}", year % 100);
    let sum: u32 = (0..)
        .zip(digits.bytes())
        .map(|(place, digit)| {
            let doubled = u32::from(digit - b'0') * (2 - place % 2);
            doubled / 10 + doubled % 10
        })
        .sum();
    format!("{}{digits}{}", year / 100, (10 - sum % 10) % 10)
}

/// `None` if no control digits make it valid.
fn foedselsnummer(year: u32, month: u32, day: u32, serial: u32) -> Option<String> {
    let mut digits: Vec<u32> = format!("{day:02}{:02}{:02}{serial:03}", month + 80, year % 100)
        .bytes()
        .map(|digit| u32::from(digit - b'0'))
        .collect();
    for weights in [&[3, 7, 6, 1, 8, 9, 4, 5, 2][..], &[5, 4, 3, 2, 7, 6, 5, 4, 3, 2]] {
        let sum: u32 = weights.iter().zip(&digits).map(|(weight, digit)| weight * digit).sum();
        digits.push(Some((11 - sum % 11) % 11).filter(|digit| *digit < 10)?);
    }
    Some(digits.iter().map(u32::to_string).collect())
}
