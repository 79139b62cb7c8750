//! Regressions of the service. Each comment describes the earlier fault, in the present tense.

use super::ids::{far_ids, lookup, row};
use crate::support::client::{Client, Server, chunk, request};
use crate::support::workspace::{SENDER, Workspace, fixture};

const TARGET: &str = "/v1/reachability?sender=164821000025&date=2026-06-01";

fn served() -> (Workspace, Server) {
    let work = Workspace::with_register_files();
    let server = Server::start(&work, &["far.nabar"]);
    (work, server)
}

fn streamed(server: &Server, pieces: &[&[u8]]) -> Vec<u8> {
    let mut client = server.connect();
    client.send(format!("POST {TARGET} HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/csv\r\nTransfer-Encoding: chunked\r\n\r\n").as_bytes());
    pieces.iter().for_each(|piece| client.send(&chunk(piece)));
    client.send(b"0\r\n\r\n");
    client.reply().body
}

/// A blank line whose line end is a chunk by itself (or the rest of a chunk after the end of an earlier line) has no
/// answer: from there on answers no longer match their lines.
#[test]
fn blank_lines_of_streams_are_answered_wherever_chunks_end() {
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

#[test]
fn a_body_of_one_blank_line_has_one_answer() {
    let (_work, server) = served();
    for lines in 1..4 {
        let reply = server.post(TARGET, "text/csv", "\n".repeat(lines));
        assert_eq!(reply.text(), ",rejected,empty,\n".repeat(lines));
    }
}

/// A line longer than 1026 bytes is cut before it is read, but only if it comes in two chunks: its answer depends on where
/// they end. In the worst case garbage is answered as a recipient.
#[test]
fn answers_to_long_lines_do_not_depend_on_where_chunks_end() {
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

/// The memory budget of a body is released when the answer is made, but the answer (up to five times the body) stays
/// until its client has read it: every connection may hold one.
#[test]
fn unread_answers_do_not_take_all_memory() {
    let work = Workspace::with_register_files();
    work.write("nabar.toml", "[limits]\nwait_time = \"1s\"\n");
    let config = work.path("nabar.toml").display().to_string();
    let server = Server::with(&work, &["far.nabar"], &["--config", &config]);
    let body = format!("{}\n", far_ids()[0]).repeat((24 << 20) / 13);
    let mut deaf = Vec::new();
    // Some ten of them fit what one address may hold.
    for number in 0..14 {
        let mut client = server.connect();
        client.send(&request("POST", TARGET, "Content-Type: text/plain\r\n", body.as_bytes()));
        let status = client.head().expect("a head").0;
        assert!(if number < 8 { status == 200 } else { number < 12 || status == 503 }, "{number}: {status}");
        deaf.push(client);
    }
    server.is_well("clients that do not read");
}

/// Whether an answer arrives within the time that a test has.
fn answered(client: &mut Client) -> bool {
    client.writer().set_read_timeout(Some(std::time::Duration::from_secs(20))).expect("set");
    client.try_reply("GET").is_ok_and(|reply| reply.status == 200)
}

/// The memory budget is given to clients that announce a body, before it arrives: eight clients that announce 64 MiB and
/// send nothing (or a byte per minute) block all others, also those with short bodies, and SOAP.
#[test]
fn announced_bodies_do_not_block_others() {
    let (_work, server) = served();
    let mut holding = Vec::new();
    for _ in 0..8 {
        let mut client = server.connect();
        let length = 16 << 20;
        client.send(format!("POST {TARGET} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n").as_bytes());
        assert_eq!(client.reply().status, 100);
        holding.push(client);
    }
    let mut client = server.connect();
    client.send(&request("POST", TARGET, "Content-Type: text/plain\r\n", far_ids()[0].as_bytes()));
    assert!(answered(&mut client), "12 bytes wait behind bodies that do not come");
}

/// The same with chunked bodies, each of which is expected to reach 64 MiB: the ninth client waits for the first eight,
/// even if those are small.
#[test]
fn small_chunked_bodies_do_not_block_others() {
    let (_work, server) = served();
    let mut holding = Vec::new();
    for _ in 0..8 {
        let mut client = server.connect();
        client.send(format!("POST {TARGET} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n").as_bytes());
        assert_eq!(client.reply().status, 100);
        client.send(&chunk(b"{"));
        holding.push(client);
    }
    let mut client = server.connect();
    client.send(&request("POST", TARGET, "Content-Type: text/plain\r\n", far_ids()[0].as_bytes()));
    assert!(answered(&mut client), "12 bytes wait behind eight bodies of one byte");
}

/// Two lists that do not arrive block all others.
#[test]
fn lists_that_do_not_arrive_do_not_block_others() {
    let (_work, server) = served();
    let target = "/v1/check?sender=164821000025";
    let mut holding = Vec::new();
    for _ in 0..2 {
        let mut client = server.connect();
        client.send(
            format!(
                "POST {target} HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 1000\r\n\r\n"
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

/// A client may close its sending side and wait for the answer (`nc -N`, `shutdown(SHUT_WR)`). The connection is closed
/// instead, sometimes for short requests and always for long ones.
#[test]
fn half_closed_connections_are_answered() {
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

/// A list that is refused by its first rows is read no further; but the response is sent only after more of the list.
#[test]
fn a_list_is_refused_before_its_end() {
    let (_work, server) = served();
    let mut client = server.connect();
    client.send(b"POST /v1/check?sender=164821000025&id_column=none HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/csv\r\nTransfer-Encoding: chunked\r\n\r\n");
    // More than the sample that decides the columns, and less than what is read ahead.
    let list = format!("id;name\n{}", format!("{};x\n", far_ids()[0]).repeat(200_000));
    client.send(&chunk(&list.as_bytes()[..(1 << 20) + 200_000]));
    client.writer().set_read_timeout(Some(std::time::Duration::from_secs(20))).expect("set");
    let reply = client.try_reply("POST");
    assert!(reply.as_ref().is_ok_and(|reply| reply.status == 422), "{reply:?}");
}

/// A client's name for its request is logged, with an identity number in it.
#[test]
fn request_names_are_logged_without_identity_numbers() {
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

/// Two envelopes are accepted as one message.
#[test]
fn a_message_has_one_envelope() {
    let (_work, server) = served();
    let message = super::soap::is_reachable(SENDER, &far_ids()[..1]);
    let second = "<Envelope xmlns=\"http://schemas.xmlsoap.org/soap/envelope/\"/>";
    for message in [format!("{message}{second}"), format!("{second}{message}")] {
        assert_eq!(server.post("/Recipient/v3", "text/xml", message).status, 500);
    }
}

/// A data directory that another one replaces (restored from a backup, made again) is no longer followed, without any
/// report: `/readyz` stays ready, with the version of the removed directory, for ever.
#[test]
fn a_replaced_data_directory_is_loaded_or_reported() {
    let work = Workspace::with_data_directories("far", &["data", "next"]);
    work.apply(&["next", &fixture("changes/far.jsonl")]);
    let server = Server::start(&work, &["data"]);
    assert_eq!(server.get("/v1/register").sequence(), 1000);
    std::fs::rename(work.path("data"), work.path("gone")).expect("renamed");
    std::fs::rename(work.path("next"), work.path("data")).expect("renamed");
    let mut polls = 0;
    work.until("it is loaded or reported", || {
        polls += 1;
        let message = server.get("/readyz").json()["registers"][0]["following"] == false;
        message || server.get("/v1/register").sequence() == 1300 || polls > 1000
    });
    assert!(polls <= 1000, "{}", server.get("/readyz").text());
}

/// RFC 9112, 3.2. The host distinguishes intended clients from a web page in a local browser whose name resolves to
/// 127.0.0.1 (DNS rebinding).
#[test]
fn requests_name_their_host() {
    let (_work, server) = served();
    for host in ["", "Host: a\r\nHost: b\r\n"] {
        let mut client = server.connect();
        client.send(format!("GET /healthz HTTP/1.1\r\n{host}\r\n").as_bytes());
        assert_eq!(client.reply().status, 400, "{host:?}");
    }
}

/// Bodies that grow at the same time, each holding memory that the others need, wait for each other until all are refused.
#[test]
fn concurrent_large_bodies_are_all_answered() {
    let work = Workspace::with_data_directories("far", &["far.nabar"]);
    // Less than one of them may take.
    work.write("nabar.toml", "[limits]\nmemory_bytes = 872_415_232\n");
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
        // A body of unknown length gets memory if there is some left.
        assert!([200, 503].contains(&statuses[3]), "{statuses:?}");
    });
    // Alone it fits, although it grows step by step to the maximum of a client.
    let mut client = server.connect();
    client.send(&chunked_in(&body, 10_007));
    assert_eq!(client.reply().status, 200);
}

/// A JSON body in chunks of `bytes` bytes.
fn chunked_in(body: &str, bytes: usize) -> Vec<u8> {
    let head = format!(
        "POST {TARGET} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    let pieces = body.as_bytes().chunks(bytes).flat_map(chunk);
    head.into_bytes().into_iter().chain(pieces).chain(*b"0\r\n\r\n").collect()
}
