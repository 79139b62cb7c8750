//! What the service once did otherwise. Where a comment says what happens, it is what happened.

use crate::client::{Client, Server, chunk, request};
use crate::ids::{far_ids, lookup, registers, row};
use crate::workspace::{SENDER, Workspace, fixture};

const TARGET: &str = "/v1/reachability?sender=164821000025&date=2026-06-01";

fn served() -> (Workspace, Server) {
    let work = registers();
    let server = Server::start(&work, &["far.nabar"]);
    (work, server)
}

fn streamed(server: &Server, pieces: &[&[u8]]) -> Vec<u8> {
    let mut client = server.connect();
    client.send(format!("POST {TARGET} HTTP/1.1\r\nHost: t\r\nContent-Type: text/csv\r\nTransfer-Encoding: chunked\r\n\r\n").as_bytes());
    pieces.iter().for_each(|piece| client.send(&chunk(piece)));
    client.send(b"0\r\n\r\n");
    client.reply().body
}

/// A blank line whose line end is a piece by itself (or is all that is left of a piece after the end of an
/// earlier line) has no answer: from there on answers no longer stand beside their lines.
#[test]
fn blank_lines_of_streams_are_answered_wherever_pieces_end() {
    let (_work, server) = served();
    let body = b"196810199809\n\n195904109807\n";
    let whole = server.post(TARGET, "text/csv", body).body;
    assert_eq!(whole.iter().filter(|byte| **byte == b'\n').count(), 3);
    for first in 1..body.len() {
        for second in first + 1..body.len() {
            let found = streamed(&server, &[&body[..first], &body[first..second], &body[second..]]);
            assert_eq!(
                found.escape_ascii().to_string(),
                whole.escape_ascii().to_string(),
                "{first}, {second}"
            );
        }
    }
}

/// One blank line is a line if two of them are two.
#[test]
fn a_body_of_one_blank_line_has_one_answer() {
    let (_work, server) = served();
    for lines in 1..4 {
        let reply = server.post(TARGET, "text/csv", "\n".repeat(lines));
        assert_eq!(reply.text(), ",rejected,empty,\n".repeat(lines));
    }
}

/// A line that is longer than 1026 bytes is cut before it is read, but only if it comes in two pieces: its
/// answer depends on where they end. In the worst case garbage is answered as a recipient.
#[test]
fn long_lines_of_streams_are_answered_alike_wherever_pieces_end() {
    let (work, server) = served();
    let (id, spaces) = (&far_ids()[0], " ".repeat(2000));
    for line in
        [format!("{spaces}{id}"), format!("{id}{spaces}x"), format!("{id}{spaces}1"), "1".repeat(2000) + "x"]
    {
        let answer = &lookup(&work, "far.nabar", Some(SENDER), &[line.as_bytes()])[0];
        let expected = String::from_utf8(row(line.as_bytes(), answer)).expect("text");
        let line = format!("{line}\n").into_bytes();
        for cut in [1, 500, 1030, line.len() - 1] {
            let found = streamed(&server, &[&line[..cut], &line[cut..]]);
            assert_eq!(String::from_utf8_lossy(&found), expected, "{cut}");
        }
    }
}

/// A body takes some 85 times its length: one of 64 MiB, which is allowed, takes 5.6 GiB, and eight of
/// them at a time are allowed.
#[test]
fn short_lines_do_not_take_all_memory() {
    let (_work, server) = served();
    let mut client = server.connect();
    client.send(&request("POST", TARGET, "Content-Type: text/plain\r\n", &vec![b'\n'; 16 << 20]));
    assert_eq!(client.head().expect("a head").0, 200);
    drop(client);
    server.is_well("16 MiB of blank lines");
}

/// The share of the memory for bodies is given back when the answer is made, and the answer (up to five times
/// the body) stays for as long as its client does not read it: every connection may hold one.
#[test]
fn answers_that_nobody_reads_do_not_take_all_memory() {
    let (_work, server) = served();
    let body = format!("{}\n", far_ids()[0]).repeat((24 << 20) / 13);
    let mut deaf = Vec::new();
    // 21 of them have room.
    for _ in 0..21 {
        let mut client = server.connect();
        client.send(&request("POST", TARGET, "Content-Type: text/plain\r\n", body.as_bytes()));
        assert_eq!(client.head().expect("a head").0, 200);
        deaf.push(client);
    }
    server.is_well("21 clients that do not read");
}

/// Nobody may be asked for more time than a test has: an answer that does not come within it is none.
fn answered(client: &mut Client) -> bool {
    client.writer().set_read_timeout(Some(std::time::Duration::from_secs(20))).expect("set");
    client.try_reply("GET").is_ok_and(|reply| reply.status == 200)
}

/// The memory for bodies is given to whoever announces a body, before it comes: eight clients that announce
/// 64 MiB and send nothing (or a byte a minute) keep all others waiting, also those with the shortest of
/// bodies, and SOAP.
#[test]
fn announced_bodies_keep_nobody_waiting() {
    let (_work, server) = served();
    let mut holding = Vec::new();
    for _ in 0..8 {
        let mut client = server.connect();
        let length = 16 << 20;
        client.send(format!("POST {TARGET} HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n").as_bytes());
        assert_eq!(client.reply().status, 100);
        holding.push(client);
    }
    let mut client = server.connect();
    client.send(&request("POST", TARGET, "Content-Type: text/plain\r\n", far_ids()[0].as_bytes()));
    assert!(answered(&mut client), "12 bytes wait behind bodies that do not come");
}

/// The same with bodies in pieces, of which each is taken to become 64 MiB: the ninth client waits for the
/// first eight, whatever they send.
#[test]
fn small_bodies_in_pieces_keep_nobody_waiting() {
    let (_work, server) = served();
    let mut holding = Vec::new();
    for _ in 0..8 {
        let mut client = server.connect();
        client.send(format!("POST {TARGET} HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n").as_bytes());
        assert_eq!(client.reply().status, 100);
        client.send(&chunk(b"{"));
        holding.push(client);
    }
    let mut client = server.connect();
    client.send(&request("POST", TARGET, "Content-Type: text/plain\r\n", far_ids()[0].as_bytes()));
    assert!(answered(&mut client), "12 bytes wait behind eight bodies of one byte");
}

/// Two lists that do not come keep all others waiting.
#[test]
fn lists_that_do_not_come_keep_nobody_waiting() {
    let (_work, server) = served();
    let target = "/v1/check?sender=164821000025";
    let mut holding = Vec::new();
    for _ in 0..2 {
        let mut client = server.connect();
        client.send(
            format!(
                "POST {target} HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nContent-Length: 1000\r\n\r\n"
            )
            .as_bytes(),
        );
        assert_eq!(client.reply().status, 100);
        holding.push(client);
    }
    let mut client = server.connect();
    client.send(&request("POST", target, "Content-Type: text/csv\r\n", far_ids().join("\n").as_bytes()));
    assert!(answered(&mut client), "a list waits behind two that do not come");
}

/// A client may say that it sends no more, and wait for the answer (`nc -N`, `shutdown(SHUT_WR)`). The
/// connection is closed instead, now and then for short questions and always for long ones.
#[test]
fn who_sends_no_more_is_answered() {
    let (_work, server) = served();
    for times in [1, 40_000] {
        let mut client = server.connect();
        let body = format!("{}\n", far_ids()[0]).repeat(times);
        client.send(&request("POST", TARGET, "Content-Type: text/plain\r\n", body.as_bytes()));
        client.sends_no_more();
        let reply = client.try_reply("POST");
        assert!(reply.as_ref().is_ok_and(|reply| reply.status == 200), "{times} ids: {reply:?}");
    }
}

/// A list that is refused by its beginning is not read on; but its client is told only when it has sent more.
#[test]
fn a_refused_list_is_told_before_its_end() {
    let (_work, server) = served();
    let mut client = server.connect();
    client.send(b"POST /v1/check?sender=164821000025&id_column=none HTTP/1.1\r\nHost: t\r\nContent-Type: text/csv\r\nTransfer-Encoding: chunked\r\n\r\n");
    // More than is looked at to tell the columns, and less than what is read ahead.
    let list = format!("id;name\n{}", format!("{};x\n", far_ids()[0]).repeat(200_000));
    client.send(&chunk(&list.as_bytes()[..(1 << 20) + 200_000]));
    client.writer().set_read_timeout(Some(std::time::Duration::from_secs(20))).expect("set");
    let reply = client.try_reply("POST");
    assert!(reply.as_ref().is_ok_and(|reply| reply.status == 422), "{reply:?}");
}

/// What a client calls its request is logged: a number in it too.
#[test]
fn names_of_requests_are_not_logged_with_numbers_in_them() {
    let (_work, server) = served();
    let id = &far_ids()[0];
    server.ask("GET", "/healthz", &format!("X-Request-Id: letter-{id}-1\r\n"), b"");
    server.terminate();
    let (_, log) = server.ended();
    assert!(!log.contains(&**id), "{log}");
}

/// The year of a date may have a sign, which is dropped for the check and kept for the answer.
#[test]
fn a_day_before_our_era_is_no_date() {
    let (_work, server) = served();
    let reply = server.post(
        "/v1/reachability?sender=164821000025&date=-002026-06-01",
        "application/json",
        "{\"recipients\":[]}",
    );
    assert_eq!(reply.status, 400, "{}", reply.text());
}

/// Two envelopes are no message.
#[test]
fn a_message_has_one_envelope() {
    let (_work, server) = served();
    let message = crate::soap::is_reachable(SENDER, &far_ids()[..1]);
    let second = "<Envelope xmlns=\"http://schemas.xmlsoap.org/soap/envelope/\"/>";
    for message in [format!("{message}{second}"), format!("{second}{message}")] {
        assert_eq!(server.post("/Recipient/v3", "text/xml", message).status, 500);
    }
}

/// A data directory that another takes the place of (restored from a backup, made anew) is not followed, and
/// nobody is told: `/readyz` says that it is, with the version of the directory that is gone, for ever.
#[test]
fn a_data_directory_in_anothers_place_is_taken_in_or_missed() {
    let work = Workspace::with("far", &["data", "next"]);
    work.apply(&["next", &fixture("changes/far.jsonl")]);
    let server = Server::start(&work, &["data"]);
    assert_eq!(server.get("/v1/register").sequence(), 1000);
    std::fs::rename(work.path("data"), work.path("gone")).expect("renamed");
    std::fs::rename(work.path("next"), work.path("data")).expect("renamed");
    let mut polls = 0;
    work.until("it is seen, or told", || {
        polls += 1;
        let told = server.get("/readyz").json()["registers"][0]["following"] == false;
        told || server.get("/v1/register").sequence() == 1300 || polls > 1000
    });
    assert!(polls <= 1000, "{}", server.get("/readyz").text());
}

/// RFC 9112, 3.2. It is what tells a page in a browser on this machine (whose name has been made to lead to
/// 127.0.0.1) from a client that is meant to ask.
#[test]
fn requests_name_their_host() {
    let (_work, server) = served();
    for host in ["", "Host: a\r\nHost: b\r\n"] {
        let mut client = server.connect();
        client.send(format!("GET /healthz HTTP/1.1\r\n{host}\r\n").as_bytes());
        assert_eq!(client.reply().status, 400, "{host:?}");
    }
}

/// Bodies that grow side by side, each with a part of the memory that all of them need to end, would wait for
/// each other until all are refused.
#[test]
fn great_bodies_at_once_are_all_answered() {
    let work = Workspace::with("far", &["far.nabar"]);
    // Less than one of them may take.
    work.write("nabar.toml", "[limits]\nbodies_bytes = 200_000_000\n");
    let config = work.path("nabar.toml");
    let server = Server::with(&work, &["far.nabar"], &["--config", &config.display().to_string()]);
    let recipients = format!("\"{}\",", far_ids()[0]).repeat(1_000_000);
    let body = format!("{{\"recipients\":[{}]}}", recipients.trim_end_matches(','));
    let mut clients: Vec<_> = (0..4).map(|_| server.connect()).collect();
    let whole = request("POST", TARGET, "Content-Type: application/json\r\n", body.as_bytes());
    let chunked = chunked_in(&body, body.len());
    std::thread::scope(|scope| {
        let answered: Vec<_> = clients
            .iter_mut()
            .enumerate()
            .map(|(at, client)| {
                let message = if at == 3 { &chunked } else { &whole };
                scope.spawn(move || {
                    client.send(message);
                    client.reply().status
                })
            })
            .collect();
        let statuses: Vec<u16> = answered.into_iter().map(|answer| answer.join().expect("asked")).collect();
        assert_eq!(statuses[..3], [200; 3]);
        // Who does not say how much will come gets it if there is room.
        assert!([200, 503].contains(&statuses[3]), "{statuses:?}");
    });
    // Alone it has room, although it comes in parts that add up to all that a client may have.
    let mut client = server.connect();
    client.send(&chunked_in(&body, 10_007));
    assert_eq!(client.reply().status, 200);
}

/// A question in JSON, in pieces of so many bytes.
fn chunked_in(body: &str, bytes: usize) -> Vec<u8> {
    let head = format!(
        "POST {TARGET} HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    let pieces = body.as_bytes().chunks(bytes).flat_map(chunk);
    head.into_bytes().into_iter().chain(pieces).chain(*b"0\r\n\r\n").collect()
}
