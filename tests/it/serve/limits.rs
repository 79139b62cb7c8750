//! What one client can take: connections, places for lists, ids, lines of the audit log.

use super::ids::far_ids;
use crate::support::client::{Client, Server, chunk, request};
use crate::support::workspace::{SENDER, Workspace};
use serde_json::Value;
use std::io::Read;

const TARGET: &str = "/v1/reachability?sender=164821000025";
const CHECK: &str = "/v1/check?sender=164821000025";

fn configured(toml: &str) -> (Workspace, Server) {
    let work = Workspace::with_register_files();
    work.write("nabar.toml", toml);
    let config = work.path("nabar.toml").display().to_string();
    let server = Server::with(&work, &["far.nabar"], &["--config", &config]);
    (work, server)
}

fn metric(server: &Server, name: &str) -> String {
    let metrics = server.get("/metrics");
    let value = metrics.text().lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("{name}: {}", metrics.text())).to_owned()
}

/// Gigabytes of one byte, packed.
fn bomb() -> Vec<u8> {
    zstd::encode_all(std::io::repeat(b'\n').take(4 << 30), 1).expect("packed")
}

#[test]
fn lists_without_line_ends_and_bombs_are_refused() {
    let (_work, server) = configured("");
    let row = zstd::encode_all(std::io::repeat(b'x').take(1 << 30), 1).expect("packed");
    for (body, why) in [
        (vec![b'x'; 8 << 20], "longer than 1 MiB"),
        (row, "longer than 1 MiB"),
        (bomb(), "200 times as many bytes"),
    ] {
        let list = [b"personnummer;name\n199001022384;\n".as_slice(), &body].concat();
        let list = if body.starts_with(b"x") { list } else { body };
        let reply = server.post(CHECK, "application/octet-stream", list);
        assert_eq!(reply.status, 422, "{}", reply.text());
        assert!(reply.text().contains(why) || reply.text().contains("bad-list"), "{}", reply.text());
        server.is_well(why);
    }
}

/// A client that resets its connection takes no place any more, and its list is not read to the end.
#[test]
fn the_work_of_clients_that_have_gone_ends() {
    let (work, server) = configured("[limits]\njobs = 2\nlist_expansion = 1_000_000_000\n");
    let list = bomb();
    let clients: Vec<Client> = (0..2)
        .map(|number| {
            let mut client = Client::new(server.connect_from(2 + number).expect("connected"));
            client.send(&request("POST", CHECK, "", &list));
            client
        })
        .collect();
    work.until("both are read", || metric(&server, "nabar_jobs") == "2");
    drop(clients);
    work.until("they have ended", || metric(&server, "nabar_jobs") == "0");
    work.until("their memory is free", || metric(&server, "nabar_memory_bytes") == "0");
}

/// One client's lists that do not arrive leave places to others; its own further ones are refused after some time.
#[test]
fn one_client_has_half_of_the_places() {
    let (work, server) = configured("[limits]\njobs = 4\nwait_time = \"1s\"\n");
    let head = format!(
        "POST {CHECK} HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/csv\r\nContent-Length: 1000\r\n\r\n"
    );
    let slow: Vec<Client> = (0..2)
        .map(|_| {
            let mut client = Client::new(server.connect_from(2).expect("connected"));
            client.send(head.as_bytes());
            client
        })
        .collect();
    work.until("they have begun", || metric(&server, "nabar_jobs") == "2");
    let list = far_ids().join("\n");
    let mut same = Client::new(server.connect_from(2).expect("connected"));
    same.send(&request("POST", CHECK, "", list.as_bytes()));
    let reply = same.reply();
    assert_eq!((reply.status, reply.header("retry-after")), (503, Some("1")), "{}", reply.text());
    assert_eq!(server.post(CHECK, "text/csv", &list).status, 200, "another client");
    drop(slow);
}

#[test]
fn slow_bodies_are_refused() {
    let (_work, server) = configured("[limits]\nstall_time = \"1s\"\nbytes_per_second_min = 1_000_000\n");
    for kind in ["application/json", "application/vnd.nabar.ids"] {
        let mut client = server.connect();
        let head = format!(
            "POST {TARGET} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: 1000\r\n\r\n"
        );
        client.send(head.as_bytes());
        client.send(b"1");
        assert_eq!(client.reply().status, 408, "{kind}");
    }
    // It never stalls for a second, but a byte of a chunk each time is too slow.
    let mut client = server.connect();
    client.send(format!("POST {TARGET} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n").as_bytes());
    let mut writer = client.writer();
    let over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            use std::io::Write;
            // Each round trip of another client is a pause.
            while !over.load(std::sync::atomic::Ordering::Relaxed) && writer.write_all(&chunk(b" ")).is_ok() {
                (0..20).for_each(|_| assert_eq!(server.get("/healthz").status, 200));
            }
        });
        let reply = client.reply();
        over.store(true, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(reply.status, 408, "{}", reply.text());
    });
}

#[test]
fn all_ids_count_in_every_form() {
    let (_work, server) = configured("[limits]\nids_per_second = 10\n");
    let ids = &far_ids()[..20];
    let in_json = serde_json::json!({"recipients": ids}).to_string();
    let forms = [
        (TARGET, "application/json", in_json),
        (TARGET, "application/vnd.nabar.ids", ids.concat()),
        (TARGET, "text/csv", ids.join("\n")),
        (CHECK, "text/csv", ids.join("\n")),
        ("/Recipient/v3", "text/xml", super::soap::is_reachable(SENDER, ids)),
    ];
    for (number, (target, kind, body)) in forms.iter().enumerate() {
        let ask = || {
            let mut client = Client::new(server.connect_from(10 + number as u8).expect("connected"));
            client.send(&request("POST", target, &format!("Content-Type: {kind}\r\n"), body.as_bytes()));
            client.reply()
        };
        assert_eq!(ask().status, 200, "{target} {kind}: more than a second's ids, when none are due");
        let reply = ask();
        let refused = reply.status == 429 && reply.header("retry-after").is_some_and(|s| s >= "2");
        let fault = reply.status == 500 && reply.text().contains("limit of ids");
        assert!(refused || fault, "{target} {kind}: {reply:?}");
    }
}

/// Requests without credentials are limited by address, and have few lines in the audit log; their sum is right.
#[test]
fn refusals_do_not_fill_the_audit_log() {
    let jwks =
        r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
    let work = Workspace::with_register_files();
    work.write("jwks.json", jwks);
    work.write(
        "nabar.toml",
        "[tokens]\nissuer = \"i\"\naudience = \"a\"\njwks = \"jwks.json\"\nalgorithms = [\"EdDSA\"]\n\
         [audit]\npath = \"audit.log\"\n",
    );
    let config = work.path("nabar.toml").display().to_string();
    let server = Server::with(&work, &["far.nabar"], &["--config", &config]);
    let mut client = server.connect();
    let mut statuses = std::collections::BTreeMap::<u16, u64>::new();
    for _ in 0..2000 {
        client.send(&request("POST", TARGET, "Authorization: Bearer x\r\n", b""));
        *statuses.entry(client.reply().status).or_default() += 1;
    }
    assert_eq!(statuses.values().sum::<u64>(), 2000);
    assert!(statuses[&401] >= 20 && statuses[&429] > 0, "{statuses:?}");
    drop(client);
    server.terminate();
    assert_eq!(server.ended().0.code(), Some(0));
    let log = work.read("audit.log");
    let entries: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert!(entries.len() < 100, "{} lines", entries.len());
    for (status, count) in statuses {
        let of_status = entries.iter().filter(|entry| entry["status"] == status);
        let counted: u64 = of_status.map(|entry| entry["repeated"].as_u64().unwrap_or(1)).sum();
        assert_eq!(counted, count, "{status}");
    }
}

/// One address gets a quarter of the connections, and others the rest.
#[test]
fn one_address_cannot_take_all_connections() {
    let (work, server) = configured("[limits]\nconnections = 40\n");
    let connect = |client: u8, count: usize| -> Vec<Client> {
        (0..count).map(|_| Client::new(server.connect_from(client).expect("connected"))).collect()
    };
    let idle = connect(2, 30);
    work.until("those beyond are closed", || metric(&server, "nabar_connections_refused_total") == "20");
    for mut client in connect(3, 9) {
        client.send(&request("GET", "/healthz", "", b""));
        assert_eq!(client.reply().status, 200);
    }
    drop(idle);
}

/// The usual limit of open files does not lock clients out, nor keep the service from reading what is new.
#[test]
fn descriptors_are_kept_for_files() {
    let work = Workspace::with_data_directories("far", &["far"]);
    let nabar = env!("CARGO_BIN_EXE_nabar");
    let script = format!("ulimit -n 400; exec {nabar} serve -r far --listen 127.0.0.1:0");
    let child = std::process::Command::new("sh")
        .args(["-c", &script])
        .current_dir(work.path(""))
        .stderr(std::process::Stdio::piped())
        .spawn();
    let server = Server::of(child.expect("spawned"));
    assert!(server.errors().contains("fewer connections"), "{}", server.errors());
    let held: Vec<_> = (2..5).flat_map(|client| (0..70).map(move |_| client)).collect();
    let held: Vec<_> =
        held.into_iter().map(|client| server.connect_from(client).expect("connected")).collect();
    let changes = crate::support::workspace::lines_of("changes/far.jsonl").join("\n") + "\n";
    work.write("changes.jsonl", changes);
    work.done(&["apply", "far", "changes.jsonl", "--quiet"]);
    let sequence = work.sequence("far");
    drop(held.into_iter().take(80).collect::<Vec<_>>());
    work.until("it is served", || {
        let Some(reply) = server.try_get("/readyz") else { return false };
        let reply = reply.json();
        reply["ready"] == true && reply["registers"][0]["sequence"] == sequence
    });
}

#[test]
fn a_second_signal_ends_the_service_at_once() {
    let work = Workspace::with_register_files();
    let server = Server::start(&work, &["far.nabar"]);
    // A response that is never read: lines without end.
    let mut client = server.connect();
    client.send(format!("POST {TARGET} HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/csv\r\nTransfer-Encoding: chunked\r\n\r\n").as_bytes());
    client.send(&chunk(format!("{}\n", far_ids()[0]).as_bytes()));
    assert_eq!(client.head().expect("a head").0, 200);
    server.terminate();
    work.until("it stops", || server.errors().contains("waiting for requests"));
    server.terminate();
    let (status, log) = server.ended();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("the signal was repeated"), "{log}");
}

/// A body that is half sent does not hold the end up.
#[test]
fn half_of_a_body_does_not_delay_the_end() {
    let work = Workspace::with_register_files();
    let server = Server::start(&work, &["far.nabar"]);
    let clients = ["application/json", "text/csv"].map(|kind| {
        let mut client = server.connect();
        let head = format!("POST {TARGET} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nExpect: 100-continue\r\nContent-Length: 1000\r\n\r\n");
        client.send(head.as_bytes());
        assert_eq!(client.reply().status, 100);
        client.send(b"1");
        client
    });
    server.terminate();
    for mut client in clients {
        assert_eq!(client.reply().status, 503);
    }
    let (status, log) = server.ended();
    assert!(status.success() && !log.contains("did not finish in time"), "{log}");
}

/// Large answers are written while they are sent, with a known length, and are whole.
#[test]
fn large_answers_are_whole() {
    let (_work, server) = configured("");
    let known = far_ids();
    let ids: Vec<&str> = (0..5000).map(|n| if n % 7 == 3 { "x" } else { &*known[n % known.len()] }).collect();
    let reply = server.post(TARGET, "application/json", serde_json::json!({"recipients": ids}).to_string());
    assert_eq!(reply.header("content-length"), Some(&*reply.body.len().to_string()));
    let results = reply.json()["results"].as_array().expect("results").clone();
    assert_eq!(results.len(), ids.len());
    for (part, ids) in results.chunks(1000).zip(ids.chunks(1000)) {
        let small =
            server.post(TARGET, "application/json", serde_json::json!({"recipients": ids}).to_string());
        assert_eq!(small.json()["results"].as_array().expect("results"), part);
    }
}

#[test]
fn limits_that_would_break_the_service_are_refused_at_its_start() {
    let work = Workspace::with_register_files();
    for limit in [
        "head_bytes = 4096",
        "headers = 9_223_372_036_854_775_807",
        "jobs = 0",
        "jobs = 9_223_372_036_854_775_807",
        "connections = 0",
        "connections_per_client = 0",
        "memory_bytes = 1_000_000",
        "memory_bytes = 9_223_372_036_854_775_807",
    ] {
        work.write("nabar.toml", format!("[limits]\n{limit}\n"));
        let refused = work.run(&["serve", "-r", "far.nabar", "--config", "nabar.toml"]);
        let message = String::from_utf8_lossy(&refused.stderr);
        let name = limit.split(' ').next().expect("a name");
        assert!(refused.status.code() == Some(2) && message.contains(name), "{limit}: {message}");
    }
}

/// Lists of many organisations, and of many rejected rows, fit what one client may hold.
#[test]
fn ordinary_lists_are_checked_within_the_memory_of_a_client() {
    let (_work, server) = configured("");
    let known = &far_ids()[0];
    let organisations = (0..60_000).map(|n| {
        let digits = format!("{:09}", 556_000_000 + n * 7);
        let sum: u32 = digits
            .bytes()
            .enumerate()
            .map(|(at, digit)| {
                let digit = u32::from(digit - b'0') * if at % 2 == 0 { 2 } else { 1 };
                digit / 10 + digit % 10
            })
            .sum();
        format!("16{digits}{}\n", (10 - sum % 10) % 10)
    });
    let organisations: String = organisations.collect();
    let rejected = format!("{known};x\n;y\n").repeat(150_000);
    for list in [organisations, rejected] {
        let reply = server.post(CHECK, "text/csv", &list);
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
}

/// Four addresses may hold all connections between them. Idle ones give way, and those of clients with few stay.
#[test]
fn idle_connections_give_way() {
    let (work, server) = configured("[limits]\nconnections = 40\n");
    let connect = |client: u8| Client::new(server.connect_from(client).expect("connected"));
    let answered = |client: &mut Client| {
        client.send(&request("GET", "/v1/register", "", b""));
        client.reply().status
    };
    let mut kept = connect(9);
    assert_eq!(answered(&mut kept), 200);
    let idle: Vec<Client> = (2..6).flat_map(|client| [client; 10]).map(connect).collect();
    work.until("some give way", || {
        let gave_way = metric(&server, "nabar_connections_gave_way_total");
        gave_way.parse::<u32>().expect("a number") > 0
    });
    for client in 10..30 {
        assert_eq!(answered(&mut connect(client)), 200, "{client}");
    }
    assert_eq!(answered(&mut kept), 200, "its client has one connection");
    drop(idle);
}

/// Clients that hold all connections with what never ends.
#[test]
fn clients_that_hold_all_connections_with_requests_give_way() {
    let unread = request("GET", "/openapi.json", "", b"").repeat(150);
    let unfinished =
        b"POST /v1/check HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/csv\r\nContent-Length: 15000\r\n\r\nx";
    for (what, message) in [("unread answers", &unread[..]), ("unfinished bodies", unfinished)] {
        let (_work, server) = configured("[limits]\nconnections = 40\n");
        let held: Vec<_> = (2..7)
            .flat_map(|client| [client; 10])
            .filter_map(|client| {
                let mut stream = server.connect_from(client).ok()?;
                stream.set_write_timeout(Some(std::time::Duration::from_millis(200))).ok()?;
                // The service does not read all of it.
                let _ = std::io::Write::write_all(&mut stream, message);
                Some(stream)
            })
            .collect();
        let close = request("GET", "/v1/register", "Connection: close\r\n", b"");
        for client in 10..30 {
            let mut stream = server.connect_from(client).expect("connected");
            let mut reply = String::new();
            let answered = std::io::Write::write_all(&mut stream, &close)
                .and_then(|()| std::io::Read::read_to_string(&mut stream, &mut reply));
            assert!(
                answered.is_ok() && reply.starts_with("HTTP/1.1 200"),
                "{what}, client {client}: {answered:?} {reply}; {}",
                server.get("/metrics").text()
            );
        }
        drop(held);
    }
}

/// Also those of paths that do not exist; not those of probes.
#[test]
fn requests_of_every_path_count() {
    let (_work, server) = configured("[limits]\nrequests_per_second = 5\n");
    for (method, target, status) in
        [("GET", "/none", 404), ("PUT", "/v1/check", 405), ("GET", "/openapi.json", 200)]
    {
        let statuses: Vec<u16> = (0..100).map(|_| server.ask(method, target, "", b"").status).collect();
        assert!(statuses.contains(&429), "{target}: {statuses:?}");
        assert!(statuses.iter().all(|found| [status, 429].contains(found)), "{target}: {statuses:?}");
    }
    assert!((0..100).all(|_| server.get("/healthz").status == 200));
}

#[test]
fn heads_have_a_limit_and_bodies_one_coding() {
    let (_work, server) = configured("");
    let padded =
        |bytes: usize| server.ask("GET", "/v1/register", &format!("X-Pad: {}\r\n", "x".repeat(bytes)), b"");
    assert_eq!(padded(60_000).status, 200);
    // hyper's buffer would hold it.
    assert_eq!(padded(70_000).status, 431);
    for (coding, status) in [
        ("chunked", 200),
        ("Chunked", 200),
        ("gzip, chunked", 501),
        ("identity, chunked", 501),
        ("chunked, chunked", 501),
        ("gzip\r\nTransfer-Encoding: chunked", 501),
    ] {
        let mut client = server.connect();
        let head = format!("POST {TARGET} HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/csv\r\n");
        client.send(format!("{head}Transfer-Encoding: {coding}\r\n\r\n").as_bytes());
        // The connection may be closed before the body has been sent.
        let _ = client.try_send(&[chunk(far_ids()[0].as_bytes()), b"0\r\n\r\n".to_vec()].concat());
        let found = client.head().map(|head| head.0).expect("a head");
        // Of codings that hyper refuses, it says 400.
        assert!(found == status || status == 501 && found == 400, "{coding}: {found}");
    }
}
