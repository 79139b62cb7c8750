//! The service over loopback, beside Redis and nginx on the same machine: `tools/bench-service`.
//!
//! 8 million recipients (`NABAR_BENCH_RECIPIENTS`). Two connections ask, on the cores that also answer. Every
//! round asks all contestants one after another; the table has medians of 7 rounds, and ratios of the rounds'
//! medians. Every byte of every answer is compared; what is expected was made by the library, or looked
//! through once. Prints tables in Markdown, and fails if an answer is wrong or memory grows.

mod load;
mod servers;
#[path = "../support/mod.rs"]
mod support;

use load::{Connection, Questions, Wire};
use nabar::identities::Identity;
use nabar::register::{Damage, Outcome, Recipient, Register};
use servers::{Server, resp};
use std::fs;
use std::path::Path;
use std::time::Duration;

const DATE: &str = "2026-06-01";

/// How much is measured.
struct Effort {
    rounds: usize,
    window: Duration,
    /// Questions of 1000 ids, and fewer of greater ones.
    questions: usize,
    /// Requests during which memory must not grow.
    requests: f64,
}

fn main() {
    let short = std::env::args().any(|argument| argument == "--test");
    let effort = if short {
        Effort { rounds: 1, window: Duration::from_millis(50), questions: 10, requests: 400.0 }
    } else {
        Effort { rounds: 7, window: Duration::from_secs(2), questions: 500, requests: 2e6 }
    };
    let data = support::Data::far(support::size(8_000_000), if short { 20_000 } else { 1_000_000 });
    let (register, sender) = (data.open(), data.sender());
    let mut identities = data.identities();
    identities.dedup();
    let sets =
        |size: usize, most: usize| -> Vec<&[Identity]> { identities.chunks_exact(size).take(most).collect() };
    let thousands = sets(1000, effort.questions);

    let nabar = Server::nabar(&data.register);
    let directory = data.directory.join("nginx");
    fs::create_dir_all(&directory).expect("a directory");
    let soap = soap_questions(&nabar, &register, &sender, &thousands[..thousands.len().min(40)]);
    let mut contestants = vec![
        ("compact, 1000 ids", compact_questions(&nabar, &register, &sender, &thousands)),
        (
            "compact, 10 000 ids",
            compact_questions(&nabar, &register, &sender, &sets(10_000, effort.questions / 10)),
        ),
        ("JSON, 1000 ids", json_questions(&nabar, &register, &sender, &thousands)),
        ("SOAP `isReachable`, 1000 ids", soap),
    ];
    let nginx = Server::nginx(&directory);
    if let Some(nginx) = &nginx {
        for (name, file, of) in [
            ("nginx: the same answer from a file", "answer.xml", 3),
            ("nginx: compact, 1000 ids from a file", "answer.1000", 0),
            ("nginx: compact, 10 000 ids from a file", "answer.10000", 1),
        ] {
            contestants.push((name, nginx_file(nginx, &directory, file, &contestants[of].1)));
        }
    }
    let redis = Server::redis();
    if let Some(redis) = &redis {
        contestants.push(("Redis `MGET`, 1000 keys", redis_questions(redis, &register, &sender, &thousands)));
        contestants
            .push(("Redis pipelined `GET`, 1000 keys", pipelined(&contestants[contestants.len() - 1].1)));
    }

    let mut rates: Vec<Vec<f64>> = vec![Vec::new(); contestants.len()];
    for _ in 0..effort.rounds {
        for (rates, (_, questions)) in rates.iter_mut().zip(&contestants) {
            rates.push(questions.rate(effort.window));
        }
    }
    write_rates(&contestants, &rates);
    let rates: Vec<[f64; 3]> = rates.into_iter().map(spread).collect();
    print_rates(&contestants, &rates, register.recipients());
    latency(&contestants[0].1, rates[0][1] / 2.0, &effort);
    memory(&nabar, &contestants, &rates, &effort);
}

/// Every round's rates as `asked;ids;round;requests a second`, into the file that `NABAR_BENCH_RATES` names.
fn write_rates(contestants: &[(&str, Questions)], rates: &[Vec<f64>]) {
    let Some(path) = std::env::var_os("NABAR_BENCH_RATES") else { return };
    let mut text = String::new();
    for ((name, questions), rates) in contestants.iter().zip(rates) {
        for (round, rate) in (1..).zip(rates) {
            text += &format!("{name};{};{round};{rate}\n", questions.ids);
        }
    }
    fs::write(path, text).expect("written");
}

/// The least, the middle and the greatest of some numbers.
fn spread(mut numbers: Vec<f64>) -> [f64; 3] {
    numbers.sort_by(f64::total_cmp);
    [numbers[0], numbers[numbers.len() / 2], numbers[numbers.len() - 1]]
}

fn print_rates(contestants: &[(&str, Questions)], rates: &[[f64; 3]], recipients: u32) {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    println!("\n{recipients} recipients, {cores} cores\n");
    println!("| asked | requests/s (least to most) | million ids/s | to Redis | to nginx | goal |");
    println!("|---|---|---|---|---|---|");
    let of = |name: &str| contestants.iter().position(|(other, _)| other.starts_with(name));
    let ids = |at: usize| rates[at][1] * contestants[at].1.ids as f64;
    let goals = ["40 x Redis", "60 x Redis", "8 x Redis", "1/3 of nginx"];
    for (at, (name, _)) in contestants.iter().enumerate() {
        let [least, median, most] = rates[at];
        let to_redis = of("Redis").map_or("-".to_owned(), |redis| format!("{:.1} x", ids(at) / ids(redis)));
        let to_nginx =
            of("nginx").map_or("-".to_owned(), |nginx| format!("1/{:.1}", rates[nginx][1] / median));
        let goal = goals.get(at).unwrap_or(&"");
        println!(
            "| {name} | {median:.0} ({least:.0} to {most:.0}) | {:.2} | {to_redis} | {to_nginx} | {goal} |",
            ids(at) / 1e6
        );
    }
}

/// Under half of the load that can be borne: medians of the rounds.
fn latency(questions: &Questions, rate: f64, effort: &Effort) {
    let rounds: Vec<Vec<Duration>> =
        (0..effort.rounds).map(|_| questions.latencies(rate, effort.window)).collect();
    let at = |part: f64| {
        let of_round =
            |round: &Vec<Duration>| round[((round.len() - 1) as f64 * part) as usize].as_secs_f64() * 1e3;
        spread(rounds.iter().map(of_round).collect())[1]
    };
    println!(
        "\ncompact, 1000 ids, {rate:.0} requests/s: median {:.3} ms, 99 % {:.3} ms (goal 2), 99.9 % {:.3} ms, longest {:.3} ms",
        at(0.5),
        at(0.99),
        at(0.999),
        at(1.0)
    );
}

/// Memory that the service takes does not grow with the requests that it has answered.
fn memory(nabar: &Server, contestants: &[(&str, Questions)], rates: &[[f64; 3]], effort: &Effort) {
    let (mut kib, mut requests) = (vec![nabar.memory()], 0.0);
    while requests < effort.requests {
        for ((_, questions), rates) in contestants.iter().zip(rates).take(4) {
            questions.rate(effort.window);
            requests += rates[1] * effort.window.as_secs_f64();
        }
        kib.push(nabar.memory());
    }
    let mib: Vec<String> = kib.iter().map(|kib| format!("{:.1}", *kib as f64 / 1024.0)).collect();
    println!("\nmemory beyond files during some {requests:.0} more requests, MiB: {}", mib.join(", "));
    assert!(kib[kib.len() - 1] < kib[1] + (64 << 10), "memory grows");
}

fn post(address: &str, kind: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST {address} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

fn reachability(sender: &str) -> String {
    format!("/v1/reachability?sender={sender}&date={DATE}")
}

fn text(ids: &[Identity], before: &str, between: &str, after: &str) -> String {
    let ids: Vec<&str> = ids.iter().map(Identity::as_str).collect();
    [before, &ids.join(between), after].concat()
}

/// The byte of an outcome, as docs/service.md has it.
fn byte(outcome: Outcome) -> u8 {
    const REASONS: [&str; 8] = [
        "not_registered",
        "sender_declined",
        "pending",
        "anonymous_account",
        "operator_without_address",
        "reserved",
        "not_notifiable",
        "deleted",
    ];
    match outcome {
        Outcome::Paper(reason) => {
            REASONS.iter().position(|name| *name == reason.name()).expect("a reason") as u8
        }
        Outcome::Notify => 8,
        Outcome::Digital(operator) => 9 + operator as u8,
    }
}

/// The byte of each answer in the compact form, by the library.
fn answers(register: &Register, sender: &str, ids: &[Identity]) -> Vec<u8> {
    let question = register.question(Some(sender), DATE.parse().expect("a day")).expect("a question");
    let answer = |id: &Identity| byte(question.ask(id).expect("undamaged"));
    ids.iter().map(answer).collect()
}

fn compact_questions(server: &Server, register: &Register, sender: &str, sets: &[&[Identity]]) -> Questions {
    let mut head = b"NABAANS\x01".to_vec();
    head.extend_from_slice(&register.sequence().to_le_bytes());
    head.extend_from_slice(&(register.as_of().as_nanosecond() as i64).to_le_bytes());
    let asked = sets.iter().map(|ids| {
        let mut answer = head.clone();
        answer.extend_from_slice(&(ids.len() as u32).to_le_bytes());
        answer.extend_from_slice(&(register.operators().len() as u16).to_le_bytes());
        for operator in register.operators() {
            answer.push(operator.id.len() as u8);
            answer.extend_from_slice(operator.id.as_bytes());
        }
        answer.extend(answers(register, sender, ids));
        let body = text(ids, "", "", "");
        (post(&reachability(sender), "application/vnd.nabar.ids", body.as_bytes()), answer)
    });
    Questions { address: server.address, wire: Wire::Http, asked: asked.collect(), ids: sets[0].len() }
}

fn json_questions(server: &Server, register: &Register, sender: &str, sets: &[&[Identity]]) -> Questions {
    let mut connection = Connection::new(server.address);
    let question = register.question(Some(sender), DATE.parse().expect("a day")).expect("a question");
    let asked = sets.iter().map(|ids| {
        let body = text(ids, "{\"recipients\":[\"", "\",\"", "\"]}");
        let request = post(&reachability(sender), "application/json", body.as_bytes());
        let answer = connection.ask(&request).to_vec();
        let told: serde_json::Value = serde_json::from_slice(&answer).expect("JSON");
        let results = told["results"].as_array().expect("results");
        assert_eq!(results.len(), ids.len());
        for (result, id) in results.iter().zip(*ids) {
            let outcome = question.ask(id).expect("undamaged");
            assert_eq!(result["outcome"], outcome.name());
            assert_eq!(result["reason"].as_str().unwrap_or_default(), outcome.reason());
        }
        (request, answer)
    });
    Questions { address: server.address, wire: Wire::Http, asked: asked.collect(), ids: sets[0].len() }
}

fn soap_questions(server: &Server, register: &Register, sender: &str, sets: &[&[Identity]]) -> Questions {
    let mut connection = Connection::new(server.address);
    let place = register.senders().iter().position(|other| other.id == sender).expect("a sender") as u16;
    let before = format!(
        "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body>\
         <isReachable xmlns=\"http://minameddelanden.gov.se/schema/Recipient/v3\"><senderOrgNr>{sender}</senderOrgNr><recipientId>"
    );
    let after = "</recipientId></isReachable></s:Body></s:Envelope>";
    let asked = sets.iter().map(|ids| {
        let body = text(ids, &before, "</recipientId><recipientId>", after);
        let request = post("/Recipient/v3", "text/xml", body.as_bytes());
        let answer = connection.ask(&request).to_vec();
        let told = std::str::from_utf8(&answer).expect("text");
        let rows: Vec<&str> = told.split("<return>").skip(1).collect();
        assert_eq!(rows.len(), ids.len());
        for (row, id) in rows.iter().zip(*ids) {
            let accepted = match register.recipient(id).expect("undamaged") {
                Some(Recipient::Far { rule, .. }) => rule.accepts(place),
                _ => false,
            };
            assert!(row.contains(id.as_str()));
            assert!(row.contains(&format!("<r:SenderAccepted>{accepted}</r:SenderAccepted>")));
        }
        (request, answer)
    });
    Questions { address: server.address, wire: Wire::Http, asked: asked.collect(), ids: sets[0].len() }
}

/// The first answer to somebody's questions, as a file that nginx sends.
fn nginx_file(nginx: &Server, directory: &Path, name: &str, of: &Questions) -> Questions {
    fs::write(directory.join(name), &of.asked[0].1).expect("written");
    let request = format!("GET /{name} HTTP/1.1\r\nHost: localhost\r\n\r\n").into_bytes();
    let asked = vec![(request, of.asked[0].1.clone())];
    Questions { address: nginx.address, wire: Wire::Http, asked, ids: of.ids }
}

/// The same keys of Redis, with a command for each: all sent before the first reply is read.
fn pipelined(multiple: &Questions) -> Questions {
    let single = |(request, reply): &(Vec<u8>, Vec<u8>)| {
        let keys = request.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii_end);
        let mut commands = Vec::new();
        // After the number of words each second line is a word, the first of them the command.
        for key in keys.skip(4).step_by(2) {
            resp(&mut commands, &[&b"GET"[..], key]);
        }
        let values = reply.iter().position(|&byte| byte == b'\n').expect("a line") + 1;
        (commands, reply[values..].to_vec())
    };
    let asked = multiple.asked.iter().map(single).collect();
    Questions { address: multiple.address, wire: Wire::Redis, asked, ids: multiple.ids }
}

/// Each key has the byte of its answer, as somebody would keep it who decides beforehand.
fn redis_questions(server: &Server, register: &Register, sender: &str, sets: &[&[Identity]]) -> Questions {
    let question = register.question(Some(sender), DATE.parse().expect("a day")).expect("a question");
    let mut keys = Vec::with_capacity(register.recipients() as usize);
    let all = register.for_each::<Damage>(|identity, _| {
        keys.push((identity.as_str().to_owned(), byte(question.ask(identity)?)));
        Ok(())
    });
    all.expect("undamaged");
    server.set(keys.into_iter());
    let asked = sets.iter().map(|ids| {
        let mut words: Vec<&[u8]> = vec![b"MGET"];
        words.extend(ids.iter().map(|id| id.as_bytes()));
        let (mut request, mut reply) = (Vec::new(), format!("*{}\r\n", ids.len()).into_bytes());
        resp(&mut request, &words);
        for (id, answer) in ids.iter().zip(answers(register, sender, ids)) {
            match register.recipient(id).expect("undamaged") {
                None => reply.extend_from_slice(b"$-1\r\n"),
                Some(_) => reply.extend_from_slice(&[b'$', b'1', b'\r', b'\n', answer, b'\r', b'\n']),
            }
        }
        (request, reply)
    });
    Questions { address: server.address, wire: Wire::Redis, asked: asked.collect(), ids: sets[0].len() }
}
