//! Faulty and malicious clients. After each the service answers the next one.

use super::ids::far_ids;
use crate::support::client::{Client, Server, chunk, request};
use crate::support::workspace::{Workspace, fixture, lines_of};
use serde_json::{Value, json};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;

const TARGET: &str = "/v1/reachability?sender=164821000025&date=2026-06-01";

fn served() -> (Workspace, Server) {
    let work = Workspace::with_register_files();
    let server = Server::start(&work, &["far.nabar"]);
    (work, server)
}

/// The status of the response to these bytes before the service closes, or `None` without response.
fn refusal_status(server: &Server, bytes: &[u8]) -> Option<u16> {
    let mut client = server.connect();
    let _ = client.try_send(bytes);
    client.sends_no_more();
    let rest = client.rest();
    let status = rest.strip_prefix(b"HTTP/1.")?.get(2..5)?;
    std::str::from_utf8(status).ok()?.parse().ok()
}

/// Statuses of all answers on a connection.
fn statuses(bytes: &[u8]) -> Vec<u16> {
    let text = String::from_utf8_lossy(bytes);
    let status = |part: &str| part.get(2..5).and_then(|status| status.parse().ok());
    text.split("HTTP/1.").skip(1).filter_map(status).collect()
}

#[test]
fn bytes_that_are_not_http_are_refused() {
    let (_work, server) = served();
    let mut random = 1u64;
    let mut garbage = || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 56) as u8
    };
    for length in [1, 2, 16, 100, 1000, 70_000] {
        let bytes: Vec<u8> = (0..length).map(|_| garbage()).collect();
        assert!(refusal_status(&server, &bytes).is_none_or(|status| status >= 400));
        server.is_well("garbage");
    }
    for bytes in [
        &b"\r\n\r\n\r\n"[..],
        b"\0",
        b"GET",
        b"GET /healthz",
        b"GET /healthz HTTP/1.1\r\nHost",
        b"GET /healthz HTTP/9.9\r\n\r\n",
        b"GET /heal\0thz HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: t\0\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHo st: t\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost : t\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\n: t\r\n\r\n",
        b"GET  /healthz HTTP/1.1\r\n\r\n",
        b"G\xe5T /healthz HTTP/1.1\r\n\r\n",
        b"GET healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"CONNECT t:443 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET http://other.test/none HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ] {
        let status = refusal_status(&server, bytes);
        assert!(status.is_none_or(|status| status >= 400), "{status:?}: {}", bytes.escape_ascii());
        server.is_well("what is no HTTP");
    }
}

#[test]
fn too_large_heads_are_refused() {
    let (_work, server) = served();
    let many: String = (0..65).map(|number| format!("X-{number}: y\r\n")).collect();
    let fits: String = (0..60).map(|number| format!("X-{number}: y\r\n")).collect();
    assert_eq!(server.ask("GET", "/healthz", &fits, b"").status, 200);
    for (headers, allowed) in [
        (many, &[431][..]),
        (format!("X-Long: {}\r\n", "y".repeat(1 << 17)), &[431]),
        ("X: y\r\n".repeat(10_000), &[431]),
        (format!("{}: y\r\n", "x".repeat(1 << 17)), &[431, 400]),
    ] {
        let status = refusal_status(&server, &request("GET", "/healthz", &headers, b""));
        assert!(status.is_none_or(|status| allowed.contains(&status)), "{status:?}");
        server.is_well("a great head");
    }
    for length in [10_000, 60_000] {
        let reply = server.get(&format!("/healthz?{}", "q".repeat(length)));
        assert_eq!(reply.status, 200, "{length}");
        let reply = server.post(&format!("{TARGET}&x={}", "%41".repeat(length / 3)), "text/csv", "");
        assert_eq!(reply.status, 400, "{length}");
    }
    for length in [70_000, 1 << 20] {
        let status =
            refusal_status(&server, &request("GET", &format!("/healthz?{}", "q".repeat(length)), "", b""));
        assert!(status.is_none_or(|status| [414, 431].contains(&status)), "{status:?}");
        server.is_well("a great query");
    }
    // A head without an end.
    let mut client = server.connect();
    client.send(b"GET /healthz HTTP/1.1\r\n");
    while client
        .try_send(&b"X: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n".repeat(100))
        .is_ok()
    {}
    server.is_well("a head without an end");
}

#[test]
fn truncated_bodies_have_no_answer() {
    let (_work, server) = served();
    let line = format!("{}\n", far_ids()[0]);
    for kind in ["application/json", "text/csv", "text/plain", "application/vnd.nabar.ids"] {
        for length in ["100", "1000000", "67108864", "67108865", "18446744073709551615"] {
            let head = format!(
                "POST {TARGET} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{line}"
            );
            let mut client = server.connect();
            let _ = client.try_send(head.as_bytes());
            client.sends_no_more();
            let rest = client.rest();
            // The response to a stream may have begun; then it is truncated.
            let begun = rest.starts_with(b"HTTP/1.1 200") && !rest.ends_with(b"\r\n0\r\n\r\n");
            assert!(begun || statuses(&rest).iter().all(|status| *status >= 400), "{}", rest.escape_ascii());
            server.is_well("a body that breaks off");
        }
        for rest in [
            "5\r\n12345",
            "5\r\n12345\r\n",
            "fffffffffffffffff\r\n",
            "x\r\n",
            "-1\r\n",
            "5\r\n1234567\r\n0\r\n\r\n",
            "5;a=b",
            "0\r\n",
            "0\r\nX",
        ] {
            let head = format!(
                "POST {TARGET} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n{rest}"
            );
            let mut client = server.connect();
            let _ = client.try_send(head.as_bytes());
            client.sends_no_more();
            let answer = client.rest();
            let begun = answer.starts_with(b"HTTP/1.1 200") && !answer.ends_with(b"0\r\n\r\n");
            assert!(
                begun || statuses(&answer).iter().all(|status| *status >= 400),
                "{rest}: {}",
                answer.escape_ascii()
            );
            server.is_well("pieces that break off");
        }
    }
    for path in ["/v1/check?sender=164821000025", "/Recipient/v3", "/Authority"] {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/xml\r\nContent-Length: 1000\r\n\r\n<a"
        );
        assert!(refusal_status(&server, head.as_bytes()).is_none_or(|status| status >= 400));
        server.is_well(path);
    }
}

/// Request smuggling: a proxy that reads the same bytes otherwise than the service must not let one request hide another.
#[test]
fn requests_cannot_be_smuggled() {
    let (_work, server) = served();
    let hidden = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let post = |headers: &str, body: &str| {
        format!("POST {TARGET} HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/csv\r\n{headers}\r\n{body}")
            .into_bytes()
    };
    let answers = |bytes: &[u8]| {
        let mut client = server.connect();
        let _ = client.try_send(bytes);
        client.sends_no_more();
        statuses(&client.rest())
    };
    let length = format!("Content-Length: {}\r\n", hidden.len() + 5);
    let pieces = format!("0\r\n\r\n{hidden}");
    let chunked = "Transfer-Encoding: chunked\r\n";
    // Both lengths: refused, or the chunks count and the connection is closed after them.
    for headers in [format!("{length}{chunked}"), format!("{chunked}{length}")] {
        let found = answers(&post(&headers, &pieces));
        assert!(found.is_empty() || found == [400] || found[0] == 200, "{found:?}");
        server.is_well("both lengths");
    }
    for headers in [
        format!("Content-Length: 5\r\n{length}"),
        "Content-Length: 5, 6\r\n".to_owned(),
        "Content-Length: +5\r\n".to_owned(),
        "Content-Length: -5\r\n".to_owned(),
        "Content-Length: 0x5\r\n".to_owned(),
        "Content-Length: 5 5\r\n".to_owned(),
        "Content-Length: 99999999999999999999999\r\n".to_owned(),
        "Content-Length: \r\n".to_owned(),
        "Transfer-Encoding: identity\r\n".to_owned(),
        "Transfer-Encoding: chunked, identity\r\n".to_owned(),
        "Transfer-Encoding: xchunked\r\n".to_owned(),
        "Transfer-Encoding: \u{b}chunked\r\n".to_owned(),
        format!("{chunked}Transfer-Encoding: identity\r\n"),
        "Content-Length: 5\r\n Transfer-Encoding: chunked\r\n".to_owned(),
        "X: y\r\n\tTransfer-Encoding: chunked\r\n".to_owned(),
        "Transfer-Encoding : chunked\r\n".to_owned(),
    ] {
        let found = answers(&post(&headers, &pieces));
        assert!(found.is_empty() || found == [400], "{headers}: {found:?}");
        server.is_well("an unclear length");
    }
    for body in [
        "0\n\n",
        "00000000000000000000\r\n\r\n",
        "0\rX\n\r\n",
        "1\r\n10\r\n\r\n",
        " 0\r\n\r\n",
        "0x0\r\n\r\n",
        "1;\n\r\n1\r\n0\r\n\r\n",
    ] {
        let found = answers(&post(chunked, &format!("{body}{hidden}")));
        let hidden = found.len() > 1 && body.contains('X');
        assert!(!hidden, "{body:?}: {found:?}");
        server.is_well("odd pieces");
    }
    // HTTP/1.0 has no chunks.
    let old = String::from_utf8(post(chunked, &pieces))
        .expect("text")
        .replace("HTTP/1.1\r\nHost: localhost", "HTTP/1.0\r\nHost: localhost");
    assert!(!answers(old.as_bytes()).contains(&200), "HTTP/1.0");
    server.is_well("HTTP/1.0");
}

/// RFC 9112, 6.1: after a request with both lengths the connection is closed, for every response.
#[test]
fn both_lengths_end_the_connection() {
    let (_work, server) = served();
    let hidden = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for both in [
        "Content-Length: 50\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 50",
    ] {
        let mut client = server.connect();
        let head = format!(
            "POST {TARGET} HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/csv\r\n{both}\r\n\r\n0\r\n\r\n{hidden}"
        );
        client.send(head.as_bytes());
        let first = client.try_reply("POST").map(|reply| reply.status).ok();
        let second = client.try_reply("GET").map(|reply| reply.status).ok();
        assert_eq!(second, None, "{both}: {first:?}");
    }
}

#[test]
fn requests_on_one_connection_are_answered_in_their_order() {
    let (_work, server) = served();
    let ids = far_ids();
    let mut bytes = Vec::new();
    for (number, id) in (0..1000).zip(ids.iter().cycle()) {
        let name = "X-Note: none\r\n";
        bytes.extend_from_slice(&match number % 5 {
            0 => request("GET", "/healthz", name, b""),
            1 => request("POST", TARGET, &format!("{name}Content-Type: text/plain\r\n"), id.as_bytes()),
            2 => request("GET", "/none", name, b""),
            3 => [
                format!("POST {TARGET} HTTP/1.1\r\nHost: localhost\r\n{name}Content-Type: text/csv\r\nTransfer-Encoding: chunked\r\n\r\n").as_bytes(),
                &chunk(id.as_bytes()),
                b"0\r\n\r\n",
            ]
            .concat(),
            // Slow requests and unread bodies do not let the next request overtake.
            _ if number % 100 == 4 => request("POST", TARGET, &format!("{name}Content-Type: text/plain\r\n"), &format!("{id}\n").repeat(40_000).into_bytes()),
            _ => request("POST", "/healthz", name, b"1234"),
        });
    }
    let mut client = server.connect();
    let mut writer = client.writer();
    std::thread::scope(|scope| {
        scope.spawn(move || writer.write_all(&bytes).expect("sent"));
        for (number, id) in (0..1000).zip(ids.iter().cycle()) {
            let reply = client.reply();
            let status = [200, 200, 404, 200, if number % 100 == 4 { 200 } else { 405 }][number % 5];
            assert_eq!(reply.status, status, "{number}");
            if status == 200 && number % 5 > 0 {
                assert!(reply.text().starts_with(&**id), "{number}");
            }
        }
    });
    server.is_well("a thousand requests");
}

/// Other clients are served beside a slow one.
fn others_are_served(server: &Server) {
    for id in far_ids().iter().take(50) {
        let reply = server.post(TARGET, "text/plain", id);
        assert!(reply.status == 200 && reply.text().starts_with(&**id));
    }
    let large = far_ids().join("\n").repeat(100);
    assert_eq!(server.post(TARGET, "text/plain", large).status, 200);
    assert_eq!(server.get("/metrics").status, 200);
}

#[test]
fn slow_clients_do_not_delay_others() {
    let (_work, server) = served();
    // Heads that come byte by byte.
    let ids = far_ids();
    let bytes = request("POST", TARGET, "Content-Type: text/plain\r\n", ids[0].as_bytes());
    let mut slow: Vec<Client> = (0..20).map(|_| server.connect()).collect();
    for (at, byte) in bytes.iter().enumerate() {
        slow.iter_mut().for_each(|client| client.send(&[*byte]));
        if at % 40 == 0 {
            others_are_served(&server);
        }
    }
    for client in &mut slow {
        let reply = client.reply();
        assert!(reply.status == 200 && reply.text().starts_with(&*ids[0]));
    }
    server.is_well("slow heads");
    // Clients that connect and send nothing.
    let silent: Vec<Client> = (0..200).map(|_| server.connect()).collect();
    others_are_served(&server);
    drop(silent);
    server.is_well("silent clients");
}

#[test]
fn clients_that_do_not_read_do_not_delay_others() {
    let (_work, server) = served();
    let body = format!("{}\n", far_ids()[0]).repeat(100_000).into_bytes();
    let mut deaf = Vec::new();
    for _ in 0..8 {
        // An answer that does not fit into any buffer.
        let mut client = server.connect();
        client.send(&request("POST", TARGET, "Content-Type: text/plain\r\n", &body));
        deaf.push(client);
        others_are_served(&server);
    }
    // Streams that are not read: the service stops reading too.
    for _ in 0..8 {
        let mut client = server.connect();
        let head = format!(
            "POST {TARGET} HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/csv\r\nTransfer-Encoding: chunked\r\n\r\n"
        );
        client.send(head.as_bytes());
        let piece = chunk(&body);
        let stream = client.writer();
        stream.set_nonblocking(true).expect("set");
        let mut stream: &TcpStream = &stream;
        let mut sent = 0u64;
        while let Ok(length) = stream.write(&piece) {
            sent += length as u64;
            assert!(sent < 1 << 30, "the service takes in what it cannot get rid of");
        }
        deaf.push(client);
        others_are_served(&server);
    }
    // A thousand requests, and no response is read.
    let mut client = server.connect();
    let stream = client.writer();
    stream.set_nonblocking(true).expect("set");
    let _ = client.try_send(&request("GET", "/openapi.json", "", b"").repeat(1000));
    others_are_served(&server);
    server.is_well("deaf clients");
    drop((deaf, client));
    others_are_served(&server);
    server.is_well("deaf clients that are gone");
}

#[test]
fn clients_may_disconnect_at_any_time() {
    let (_work, server) = served();
    let body = format!("{}\n", far_ids()[0]).repeat(30_000).into_bytes();
    let whole = request("POST", TARGET, "Content-Type: text/plain\r\n", &body);
    let check = request("POST", "/v1/check?sender=164821000025", "Content-Type: text/csv\r\n", &body);
    for bytes in [&whole, &check] {
        for cut in [1, 30, 100, 200, 1000, 100_000, bytes.len() - 1, bytes.len()] {
            for read in [0, 1, 1000] {
                let mut client = server.connect();
                client.send(&bytes[..cut]);
                let mut stream = client.writer();
                if cut == bytes.len() {
                    stream.read_exact(&mut vec![0; read.min(100)]).expect("the beginning of an answer");
                }
                drop((client, stream));
            }
            server.is_well("a client that went");
        }
    }
    others_are_served(&server);
}

#[test]
fn more_connections_than_allowed_are_closed() {
    let (_work, server) = served();
    let silent: Vec<Client> = (0..4096).map(|_| server.connect()).collect();
    for _ in 0..10 {
        assert_eq!(server.connect().rest(), b"");
    }
    drop(silent);
    let reply = std::iter::repeat(()).find_map(|()| server.try_get("/metrics")).expect("endless");
    assert!(reply.text().contains("nabar_connections_refused_total"), "{}", reply.text());
    server.is_well("too many connections");
}

#[test]
fn the_service_survives_running_out_of_file_descriptors() {
    let work = Workspace::with_register_files();
    let nabar = env!("CARGO_BIN_EXE_nabar");
    let limited = |files: usize| {
        let script =
            format!("ulimit -n {files}; exec {nabar} serve -r far.nabar --listen 127.0.0.1:0 --log warn");
        let mut command = std::process::Command::new("sh");
        command.args(["-c", &script]).current_dir(work.path(""));
        command.stdin(std::process::Stdio::null()).stderr(std::process::Stdio::piped());
        command
    };
    let refused = limited(40).output().expect("run");
    let message = String::from_utf8_lossy(&refused.stderr);
    assert!(refused.status.code() == Some(1) && message.contains("ulimit -n"), "{message}");
    let server = Server::of(limited(160).spawn().expect("spawned"));
    let mut first = server.connect();
    first.send(&request("GET", "/healthz", "", b""));
    assert_eq!(first.reply().status, 200);
    let more: Vec<Client> = (0..60).map(|_| server.connect()).collect();
    // Open connections are served meanwhile.
    for _ in 0..10 {
        first.send(&request("POST", TARGET, "Content-Type: text/plain\r\n", far_ids()[0].as_bytes()));
        assert_eq!(first.reply().status, 200);
    }
    drop(more);
    work.until("their connections are free", || {
        first.send(&request("GET", "/metrics", "", b""));
        first.reply().text().lines().any(|line| line == "nabar_connections 1")
    });
    server.is_well("too many connections");
}

/// A directory with a copy of an extract, in which a text of a record is another.
fn extract(work: &Workspace, kind: &str, file: &str, from: &str, to: &str) {
    fs::create_dir(work.path(kind)).expect("made");
    for entry in fs::read_dir(fixture(kind)).expect("listed").flatten() {
        fs::copy(entry.path(), work.path(kind).join(entry.file_name())).expect("copied");
    }
    let path = work.path(kind).join(file);
    let text = fs::read_to_string(&path).expect("text");
    assert!(text.contains(from));
    fs::write(path, text.replacen(from, to, 1)).expect("written");
    work.done(&["build", kind, "-o", &format!("{kind}.nabar"), "--force", "--quiet"]);
}

/// A long text in a record, and a call that names the record a thousand times, make no answer of a gigabyte.
#[test]
fn long_texts_of_a_register_make_no_long_answers() {
    let work = Workspace::new();
    let long = "x".repeat(900_000);
    extract(&work, "far", "operators.csv", "https://www.brevia.example/logo.png", &long);
    extract(
        &work,
        "krr",
        "personer.jsonl",
        "\"sertifikat\":\"",
        &format!("\"sertifikat\":\"{}", "A".repeat(900_000)),
    );
    let server = Server::start(&work, &["far=far.nabar", "krr=krr.nabar"]);
    let far = format!("/far{TARGET}");
    let digital = far_ids().into_iter().find(|id| {
        let reply = server.post(&far, "text/csv", format!("{id}\n"));
        id.len() == 12 && reply.text().contains(",digital,,164921000016")
    });
    let id = digital.expect("somebody with a mailbox at this operator");
    let message = |operation: &str, ids: usize| {
        let sender = if operation == "isReachable" { "<senderOrgNr>164821000025</senderOrgNr>" } else { "" };
        let ids = format!("<recipientId>{id}</recipientId>").repeat(ids);
        format!(
            "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body>\
             <{operation} xmlns=\"http://minameddelanden.gov.se/schema/Recipient/v3\">{sender}{ids}</{operation}></s:Body></s:Envelope>"
        )
    };
    for operation in ["isReachable", "isRegistered"] {
        let call = |ids| server.post("/far/Recipient/v3", "text/xml", message(operation, ids));
        assert_eq!(call(1).status, 200);
        let refused = call(1000);
        assert!(refused.text().contains("<f:ErrorCode>5005</f:ErrorCode>"), "{}", refused.status);
    }
    let persons = lines_of("krr/personer.jsonl");
    let person = persons.iter().find(|line| line.contains("\"sertifikat\":\"M")).expect("a person");
    let person: Value = serde_json::from_str(person).expect("JSON");
    let body = |ids: usize| {
        json!({ "personidentifikatorer": vec![&person["personidentifikator"]; ids] }).to_string()
    };
    let ask = |ids| server.post("/krr/rest/v2/personer", "application/json", body(ids));
    assert_eq!(ask(1).status, 200);
    assert_eq!(ask(1000).status, 413);
    // The size of the process has stayed far below that of such an answer.
    let peak = server.status_field("VmHWM:");
    assert!(peak < 700 << 10, "{peak} KB");
}
