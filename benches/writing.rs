//! The write side over loopback: durable registrations a second, and what they cost lookups on the same cores.
//!
//! 8 million recipients (`NABAR_BENCH_RECIPIENTS`) in a data directory. Two connections look up 1000 ids a request; 32
//! register and deregister persons, as fast as they are answered, or 2000 a second together, or store preferences, whose
//! messages name every sender. Every answer is checked, and at the end the log has as many changes as there were answers. 7
//! rounds, each with lookups alone first; medians.

#[path = "service/load.rs"]
#[allow(dead_code)] // what other benchmarks of the service use
mod load;
mod support;

use load::Connection;
use nabar::consent::Acceptance;
use nabar::identities::{Identity, Space};
use nabar::register::{Recipient, Register};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use support::{address_of, measurement, median};

const READERS: usize = 2;
const WRITERS: usize = 32;
/// Writes per second that lookups are measured beside.
const PACE: f64 = 2000.0;
/// Length of the head of a compact answer before the operators.
const HEAD: usize = 8 + 8 + 8;

fn post(path: &str, content_type: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// Persons without an account, each with two requests: to register at an operator, and to leave it again.
fn registrations(register: &Register, identities: &[Identity], most: usize) -> Vec<[Vec<u8>; 2]> {
    let operator = register.operators().iter().find(|operator| !operator.service_address.is_empty());
    let operator = &operator.expect("an operator").id;
    let request = |id: &str, operation: &str, account: &str, what: &str, more: &str| {
        let body = format!(
            "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body>\
             <{operation} xmlns=\"http://minameddelanden.gov.se/schema/Recipient/v3\" \
             xmlns:r=\"http://minameddelanden.gov.se/schema/Recipient\" xmlns:c=\"http://minameddelanden.gov.se/schema/Common\">\
             <{account}><r:Id>{id}</r:Id><r:Type>{what}</r:Type><r:AgreementText>text</r:AgreementText>\
             <r:Timestamp>2026-06-01</r:Timestamp><r:ServiceSupplier>{operator}</r:ServiceSupplier></{account}>{more}\
             <signature><c:Signature>QQ==</c:Signature><c:Certificate>{id}</c:Certificate></signature>\
             </{operation}></s:Body></s:Envelope>"
        );
        post("/Recipient/v3", "text/xml; charset=utf-8", &body)
    };
    let secure = "<accountType>Secure</accountType>";
    persons(register, identities, most, |recipient| recipient.is_none())
        .iter()
        .map(|id| {
            [
                request(id, "register", "accountRequest", "Create", secure),
                request(id, "deregister", "deregisterAccount", "Delete", ""),
            ]
        })
        .collect()
}

/// Persons with an account who accept all senders, each with two requests: to accept all but one other than `sender`, and
/// all again. A message names each sender of the register.
fn preferences(register: &Register, identities: &[Identity], sender: &str, most: usize) -> Vec<[Vec<u8>; 2]> {
    let ids = persons(register, identities, most, |recipient| match recipient {
        Some(Recipient::Far { state, rule, .. }) => {
            let is_active =
                state.account_type.name() == "Secure" && !state.pending && state.operator.is_some();
            is_active && rule.acceptance == Acceptance::AllExcept && rule.senders.is_empty()
        }
        _ => false,
    });
    let other = register.senders().iter().position(|other| other.id != sender);
    let senders = |without: Option<usize>| -> String {
        let named = register.senders().iter().enumerate().filter(|(at, _)| Some(*at) != without);
        let element = |id: &str| {
            format!("<r:AcceptedSenders><s:Id>{id}</s:Id><s:Name>Name</s:Name></r:AcceptedSenders>")
        };
        named.map(|(_, sender)| element(&sender.id)).collect()
    };
    let lists = [senders(other), senders(None)];
    let request = |id: &str, list: &str| {
        let body = format!(
            "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body>\
             <storeAccountPreferences xmlns=\"http://minameddelanden.gov.se/schema/Recipient/v2\" \
             xmlns:r=\"http://minameddelanden.gov.se/schema/Recipient\" xmlns:s=\"http://minameddelanden.gov.se/schema/Sender\" \
             xmlns:c=\"http://minameddelanden.gov.se/schema/Common\"><Id>{id}</Id><UserIdentity>{id}</UserIdentity>\
             <preferences><r:Id>{id}</r:Id>{list}</preferences><AgreementText>text</AgreementText><SignatureData>\
             <c:Signature>QQ==</c:Signature><c:Certificate>{id}</c:Certificate></SignatureData>\
             </storeAccountPreferences></s:Body></s:Envelope>"
        );
        post("/Recipient/v3", "text/xml; charset=utf-8", &body)
    };
    ids.iter().map(|id| [0, 1].map(|list: usize| request(id, &lists[list]))).collect()
}

/// Persons of the list that are as wanted, each once.
fn persons(
    register: &Register,
    identities: &[Identity],
    most: usize,
    wanted: impl Fn(Option<&Recipient>) -> bool,
) -> Vec<String> {
    let distinct: BTreeSet<&Identity> = identities.iter().collect();
    let persons = distinct.into_iter().filter(|identity| identity.space() == Space::Personnummer);
    let found = persons.filter(|identity| {
        let recipient = register.recipient(identity).expect("undamaged");
        wanted(recipient.as_ref())
    });
    found.take(most).map(|identity| identity.as_str().to_owned()).collect()
}

/// Lookups per second of two connections.
fn lookups(address: SocketAddr, asked: &[(Vec<u8>, Vec<u8>)], time: Duration) -> f64 {
    let started = Instant::now();
    let count = |first: usize| {
        let mut connection = Connection::new(address);
        let mut count = 0;
        for (request, expected) in asked.iter().cycle().skip(first * asked.len() / READERS) {
            if started.elapsed() >= time {
                break;
            }
            // The head has the sequence number and the time of the version.
            assert!(connection.ask(request)[HEAD..] == expected[HEAD..], "another answer than expected");
            count += 1;
        }
        count
    };
    let all: u64 = thread::scope(|scope| {
        let readers: Vec<_> = (0..READERS).map(|first| scope.spawn(move || count(first))).collect();
        readers.into_iter().map(|reader| reader.join().expect("a reader")).sum()
    });
    all as f64 / started.elapsed().as_secs_f64()
}

/// The writers, each with recipients of its own.
struct Writers<'w> {
    address: SocketAddr,
    requests: &'w [[Vec<u8>; 2]],
    written: AtomicU64,
}

impl Writers<'_> {
    /// Writes until `stop` is set; `pace`: writes per second of all together. Returns writes per second.
    fn run(&self, stop: &AtomicBool, pace: Option<f64>) -> f64 {
        let (started, before) = (Instant::now(), self.written.load(Ordering::Relaxed));
        thread::scope(|scope| {
            for (number, requests) in
                self.requests.chunks(self.requests.len() / WRITERS).take(WRITERS).enumerate()
            {
                scope.spawn(move || {
                    let mut connection = Connection::new(self.address);
                    let every = pace.map(|pace| Duration::from_secs_f64(WRITERS as f64 / pace));
                    let offset =
                        every.map_or(Duration::ZERO, |every| every.mul_f64(number as f64 / WRITERS as f64));
                    let mut due = started + offset;
                    // Both requests of a recipient, so that each of them changes the register.
                    for pair in requests.iter().cycle() {
                        if stop.load(Ordering::Relaxed) {
                            break;
                        }
                        for request in pair {
                            if let Some(every) = every {
                                thread::sleep(due.saturating_duration_since(Instant::now()));
                                due += every;
                            }
                            let answer = connection.ask(request);
                            let is_done = memchr::memmem::find(answer, b"<a:Status>Complete<").is_some();
                            assert!(is_done, "not stored");
                            self.written.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        (self.written.load(Ordering::Relaxed) - before) as f64 / started.elapsed().as_secs_f64()
    }

    /// As [`run`](Self::run), while something else takes its time; returns what that returns, too.
    fn beside<T: Send>(&self, pace: Option<f64>, other: impl FnOnce() -> T + Send) -> (f64, T) {
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let writers = scope.spawn(|| self.run(&stop, pace));
            let done = other();
            stop.store(true, Ordering::Relaxed);
            (writers.join().expect("the writers"), done)
        })
    }
}

fn nabar(arguments: &[&str], path: &Path, more: &[&Path]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nabar"));
    command.args(arguments).arg(path).args(more);
    command
}

fn main() {
    let (rounds, window) =
        if support::short() { (1, Duration::from_millis(100)) } else { (7, Duration::from_secs(3)) };
    let data =
        support::Data::far(support::size(8_000_000), if support::short() { 20_000 } else { 1_000_000 });
    let (register, sender) = (data.open(), data.sender());
    let directory = data.directory.join("written");
    let _ = std::fs::remove_dir_all(&directory);
    let made = nabar(&["init", "--quiet"], &data.register, &[&directory]).status().expect("nabar");
    assert!(made.success());
    let serve = ["serve", "--writable", "--log", "error", "--listen", "127.0.0.1:0", "-r"];
    let mut child = nabar(&serve, &directory, &[]).stderr(Stdio::piped()).spawn().expect("nabar");
    let address = address_of(&mut child);

    let identities = data.identities();
    // Those who register meanwhile are others.
    let is_registered = |identity: &&Identity| register.recipient(identity).expect("undamaged").is_some();
    let registered: Vec<Identity> = identities.iter().filter(is_registered).copied().collect();
    let sets = registered.chunks_exact(1000).take(if support::short() { 5 } else { 200 });
    let mut connection = Connection::new(address);
    let asked: Vec<(Vec<u8>, Vec<u8>)> = sets
        .map(|ids| {
            let body: String = ids.iter().map(Identity::as_str).collect();
            let path = format!("/v1/reachability?sender={sender}&date=2026-06-01");
            let request = post(&path, "application/vnd.nabar.ids", &body);
            let answer = connection.ask(&request).to_vec();
            (request, answer)
        })
        .collect();
    let most = if support::short() { 320 } else { 32_000 };
    let requests = registrations(&register, &identities, most);
    let lists = preferences(&register, &identities, &sender, most);
    let registering = Writers { address, requests: &requests, written: AtomicU64::new(0) };
    let storing = Writers { address, requests: &lists, written: AtomicU64::new(0) };

    let (mut alone, mut beside, mut most, mut stored) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 1..=rounds {
        let one = lookups(address, &asked, window);
        let (paced, other) = registering.beside(Some(PACE), || lookups(address, &asked, window));
        let (unpaced, ()) = registering.beside(None, || thread::sleep(window));
        let (lists, ()) = storing.beside(None, || thread::sleep(window));
        for (job, rows, rate) in [
            ("lookups of 1000 ids alone", 1000, one),
            ("lookups of 1000 ids beside 2000 registrations a second", 1000, other),
            ("registrations beside lookups", 1, paced),
            ("registrations alone", 1, unpaced),
            ("preferences alone", 1, lists),
        ] {
            measurement(job, "nabar", rows, round, 1.0 / rate, 0);
        }
        println!(
            "lookups alone {one:.0}/s, beside {paced:.0} registrations/s {other:.0}/s ({:.3}); registrations alone \
             {unpaced:.0}/s, preferences alone {lists:.0}/s",
            other / one
        );
        alone.push(one);
        beside.push(other / one);
        most.push(unpaced);
        stored.push(lists);
    }
    println!(
        "medians: lookups {:.0}/s, beside 2000 durable registrations a second {:.3} of that; at most {:.0} durable \
         registrations/s, {:.0} preferences/s",
        median(alone),
        median(beside),
        median(most),
        median(stored)
    );
    let ended = Command::new("sh").args(["-c", &format!("kill {}", child.id())]).status();
    assert!(ended.is_ok_and(|status| status.success()) && child.wait().is_ok());
    let log = nabar::store::Reader::open(&directory).expect("the data directory").register();
    let written = [&registering, &storing].map(|writers| writers.written.load(Ordering::Relaxed));
    assert_eq!(log.sequence() - register.sequence(), written.iter().sum::<u64>(), "changes in the log");
}
