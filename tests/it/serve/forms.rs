//! Every form of a request has the same answer.

use super::ids::{DATE, far_ids, joined, krr_ids, lookup, row, words};
use crate::support::client::{Client, Server, chunk, request};
use crate::support::workspace::{SENDER, Workspace};
use nabar::register::PaperReason;
use serde_json::{Value, json};

const FAR: &str = "/far/v1/reachability?sender=164821000025&date=2026-06-01";
const KRR: &str = "/krr/v1/reachability?date=2026-06-01";

/// Lines of a list: ids in many spellings, and invalid ones.
fn lines_of(ids: &[String]) -> Vec<Vec<u8>> {
    let mut lines: Vec<Vec<u8>> = ids.iter().map(|id| id.clone().into_bytes()).collect();
    for id in ids.iter().step_by(7) {
        let split = id.len() - if id.len() == 12 { 4 } else { 5 };
        let (head, tail) = id.split_at(split);
        for line in [
            id.clone(),
            format!("{head}-{tail}"),
            format!("{}-{tail}", head.get(2..).expect("digits")),
            format!("{}{tail}", head.get(2..).expect("digits")),
            format!(" {head} {tail}\t"),
            format!("{head}\u{a0}{tail}"),
            format!("{id}\r"),
            format!("{id},more"),
            format!("\"{id}\""),
            format!("\"{head}\",\"{tail}\""),
            format!("{head}+{tail}"),
            format!("{id}{id}"),
        ] {
            lines.push(line.into_bytes());
        }
    }
    for line in
        ["", " ", "id", "personnummer", "æøå", "1", "000000000000", "00000000000", "199913319999", "\\", "\0"]
    {
        lines.push(line.as_bytes().to_vec());
    }
    for length in [11, 12, 13, 1023, 1024, 1025, 1026, 1027, 1028, 5000, 100_000] {
        lines.push(vec![b'x'; length]);
        lines.push(vec![b'1'; length]);
        lines.push([vec![b'9'; length], b",\"\"".to_vec()].concat());
    }
    lines.push(ids[0].clone().into_bytes());
    lines
}

/// The lines that are valid text, which JSON needs.
fn texts(lines: &[Vec<u8>]) -> Vec<&str> {
    lines.iter().map(|line| std::str::from_utf8(line).expect("text")).collect()
}

/// A service with the registers of both countries.
struct BothRegisters {
    work: Workspace,
    server: Server,
}

/// Target, register, sender, and lines.
type FormCase = (&'static str, &'static str, Option<&'static str>, Vec<Vec<u8>>);

impl BothRegisters {
    fn new() -> BothRegisters {
        let work = Workspace::with_register_files();
        let server = Server::start(&work, &["far=far.nabar", "krr=krr.nabar"]);
        BothRegisters { work, server }
    }

    /// Both registers: target, file, sender, lines.
    fn both(&self) -> [FormCase; 2] {
        [
            (FAR, "far.nabar", Some(SENDER), lines_of(&far_ids())),
            (KRR, "krr.nabar", None, lines_of(&krr_ids())),
        ]
    }
}

fn slices(lines: &[Vec<u8>]) -> Vec<&[u8]> {
    lines.iter().map(Vec::as_slice).collect()
}

#[test]
fn json_csv_and_text_agree_with_each_other_and_with_lookup() {
    let registers = BothRegisters::new();
    for (target, register, sender, lines) in registers.both() {
        let expected = lookup(&registers.work, register, sender, &slices(&lines));
        let outcomes: std::collections::BTreeSet<_> = expected.iter().map(words).collect();
        assert!(outcomes.len() > 8, "the lines have answers of many kinds: {outcomes:?}");
        let reply = registers.server.post(
            target,
            "application/json; charset=utf-8",
            json!({ "recipients": texts(&lines) }).to_string(),
        );
        assert_eq!(reply.status, 200, "{}", reply.text());
        let report = reply.json();
        let head = json!({"kind": &register[..3], "sequence": 1000, "as_of": "2026-06-01T04:00:00Z"});
        assert_eq!((&report["register"], &report["date"]), (&head, &json!(DATE)));
        assert_eq!(report["sender"].as_str(), sender);
        let results: Vec<_> = report["results"].as_array().expect("a list").iter().map(words).collect();
        assert_eq!(results, expected.iter().map(words).collect::<Vec<_>>(), "{register}");
        let rows: Vec<u8> = lines
            .iter()
            .zip(&expected)
            .flat_map(|(line, answer)| row(line.strip_suffix(b"\r").unwrap_or(line), answer))
            .collect();
        let whole = joined(&slices(&lines), "\n");
        for body in [&whole[..], &whole[..whole.len() - 1]] {
            for kind in ["text/csv", "text/plain", "Text/CSV ;charset=utf-8"] {
                let reply = registers.server.post(target, kind, body);
                assert_eq!(reply.status, 200);
                assert_eq!(reply.header("nabar-sequence"), Some("1000"));
                assert_eq!(reply.header("nabar-as-of"), Some("2026-06-01T04:00:00Z"));
                assert_eq!(reply.header("content-type"), Some("text/csv; charset=utf-8"));
                assert_rows(&reply.body, &rows);
            }
        }
        // A JSON request with all parameters in its body.
        let mut question = json!({ "recipients": [texts(&lines)[0]], "date": DATE });
        sender.inspect(|sender| question["sender"] = json!(sender));
        let bare = target.split('?').next().expect("a path");
        let reply = registers.server.post(bare, "application/json", question.to_string()).json();
        assert_eq!(reply["results"][0], report["results"][0]);
    }
    registers.server.is_well("all forms");
}

fn assert_rows(found: &[u8], expected: &[u8]) {
    if found != expected {
        let lines = |text: &[u8]| -> Vec<String> {
            text.split(|byte| *byte == b'\n').map(|line| String::from_utf8_lossy(line).into_owned()).collect()
        };
        let (found, expected) = (lines(found), lines(expected));
        let at = found.iter().zip(&expected).position(|(found, expected)| found != expected);
        let show = |lines: &[String], at: usize| {
            lines.get(at).map(|line| line.chars().take(100).collect::<String>())
        };
        let at = at.unwrap_or(found.len().min(expected.len()));
        panic!(
            "line {}: {:?} instead of {:?}; {} lines instead of {}",
            at + 1,
            show(&found, at),
            show(&expected, at),
            found.len(),
            expected.len()
        );
    }
}

/// Answers of the compact form, as outcome, reason and operator, and the sequence number in it.
pub(crate) fn unpacked(body: &[u8]) -> (u64, Vec<(String, String, String)>) {
    let number = |at: usize, width: usize| {
        body[at..at + width].iter().rev().fold(0u64, |number, byte| number << 8 | u64::from(*byte))
    };
    assert_eq!(&body[..8], b"NABAANS\x01");
    let (sequence, count, operators) = (number(8, 8), number(24, 4) as usize, number(28, 2));
    let (mut at, mut names) = (30, Vec::new());
    for _ in 0..operators {
        let length = usize::from(body[at]);
        names.push(String::from_utf8(body[at + 1..at + 1 + length].to_vec()).expect("text"));
        at += 1 + length;
    }
    assert_eq!(body.len() - at, count);
    let paper = PaperReason::ALL;
    let answer = |&byte: &u8| match usize::from(byte) {
        255 => ("rejected".to_owned(), String::new(), String::new()),
        place if place < paper.len() => ("paper".to_owned(), paper[place].name().to_owned(), String::new()),
        place if place == paper.len() => ("notify".to_owned(), String::new(), String::new()),
        place => ("digital".to_owned(), String::new(), names[place - paper.len() - 1].clone()),
    };
    (sequence, body[at..].iter().map(answer).collect())
}

#[test]
fn the_compact_form_agrees_with_lookup() {
    let registers = BothRegisters::new();
    for (target, register, sender, lines) in registers.both() {
        let width = if sender.is_some() { 12 } else { 11 };
        let lines: Vec<Vec<u8>> = lines.into_iter().filter(|line| line.len() == width).collect();
        let expected = lookup(&registers.work, register, sender, &slices(&lines));
        // A rejection has no reason in this form.
        let expected: Vec<_> = expected
            .iter()
            .map(words)
            .map(|(outcome, reason, operator)| {
                let reason = if outcome == "rejected" { String::new() } else { reason };
                (outcome, reason, operator)
            })
            .collect();
        assert!(expected.iter().any(|words| words.0 == "rejected"));
        let reply = registers.server.post(target, "application/vnd.nabar.ids", lines.concat());
        assert_eq!((reply.status, reply.sequence()), (200, 1000));
        assert_eq!(reply.header("content-type"), Some("application/vnd.nabar.answers"));
        assert_eq!(unpacked(&reply.body), (1000, expected));
        for cut in [1, width - 1, width + 1] {
            let reply = registers.server.post(target, "application/vnd.nabar.ids", &lines.concat()[cut..]);
            assert_eq!(reply.status, 400);
            assert_eq!(reply.json()["type"], "urn:nabar:problem:bad-length");
        }
    }
    registers.server.is_well("the compact form");
}

#[test]
fn a_request_without_ids_has_an_empty_answer() {
    let registers = BothRegisters::new();
    for target in [FAR, KRR] {
        for kind in ["text/csv", "text/plain"] {
            let reply = registers.server.post(target, kind, "");
            assert_eq!((reply.status, reply.sequence(), reply.body), (200, 1000, Vec::new()));
        }
        let reply = registers.server.post(target, "application/json", r#"{"recipients":[]}"#);
        assert_eq!(reply.json()["results"], json!([]));
        let reply = registers.server.post(target, "application/vnd.nabar.ids", "");
        assert_eq!(unpacked(&reply.body), (1000, Vec::new()));
        let mut client = registers.server.connect();
        client.send(&streaming(target));
        client.send(b"0\r\n\r\n");
        let reply = client.reply();
        assert_eq!((reply.status, reply.sequence(), reply.body), (200, 1000, Vec::new()));
    }
}

#[test]
fn lines_that_are_not_utf8_are_returned_unchanged() {
    let registers = BothRegisters::new();
    let lines: Vec<Vec<u8>> = vec![
        b"\xff\xfe".to_vec(),
        b"19681019\xa09809".to_vec(),
        b"\xc2".to_vec(),
        b"196810199809\x00".to_vec(),
        b"\xed\xa0\x80,\"".to_vec(),
        (128..=255).collect(),
    ];
    let expected = lookup(&registers.work, "far.nabar", Some(SENDER), &slices(&lines));
    let rows: Vec<u8> = lines.iter().zip(&expected).flat_map(|(line, answer)| row(line, answer)).collect();
    let reply = registers.server.post(FAR, "text/plain", joined(&slices(&lines), "\n"));
    assert_eq!(reply.status, 200);
    assert_rows(&reply.body, &rows);
    let no_text = [b"{\"recipients\":[\"", &lines[0][..], b"\"]}"].concat();
    let reply = registers.server.post(FAR, "application/json", no_text);
    assert_eq!((reply.status, &reply.json()["type"]), (400, &json!("urn:nabar:problem:bad-json")));
    registers.server.is_well("no text");
}

/// The head of a request with a chunked body.
fn streaming(target: &str) -> Vec<u8> {
    format!(
        "POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/csv\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    .into_bytes()
}

/// The answer to a body in chunks of these sizes, repeated.
fn streamed(client: &mut Client, target: &str, body: &[u8], sizes: &[usize]) -> Vec<u8> {
    let mut writer = client.writer();
    let mut pieces = streaming(target);
    let (mut rest, mut sizes) = (body, sizes.iter().cycle());
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(rest.len().min(*sizes.next().expect("a size")));
        pieces.extend_from_slice(&chunk(piece));
        rest = after;
    }
    pieces.extend_from_slice(b"0\r\n\r\n");
    std::thread::scope(|scope| {
        scope.spawn(move || std::io::Write::write_all(&mut writer, &pieces).expect("sent"));
        let reply = client.reply();
        assert_eq!((reply.status, reply.sequence()), (200, 1000));
        reply.body
    })
}

#[test]
fn answers_do_not_depend_on_where_chunks_end() {
    let registers = BothRegisters::new();
    for (target, register, sender, lines) in registers.both() {
        // Blank and long lines have separate tests; \r before \r\n differs from \r before \n.
        let lines: Vec<Vec<u8>> = lines
            .into_iter()
            .filter(|line| (2..200).contains(&line.len()) && !line.ends_with(b"\r"))
            .collect();
        let lines = slices(&lines);
        let expected = lookup(&registers.work, register, sender, &lines);
        let once: Vec<u8> = lines
            .iter()
            .zip(&expected)
            .flat_map(|(line, answer)| row(line.strip_suffix(b"\r").unwrap_or(line), answer))
            .collect();
        let times = 100_000usize.div_ceil(lines.len());
        let rows = once.repeat(times);
        let mut client = registers.server.connect();
        for (end, sizes) in [
            ("\n", &[1, 2, 3, 5, 7, 11, 13, 17, 8191, 65_537][..]),
            ("\r\n", &[13, 14, 15, 1, 4096, 300_001][..]),
            ("\n", &[1 << 20][..]),
        ] {
            let body = joined(&lines, end).repeat(times);
            // One connection for all: each answer must end at the right byte.
            assert_rows(&streamed(&mut client, target, &body, sizes), &rows);
        }
        // Each byte by itself, and an end without a line end.
        let body = joined(&lines, "\r\n");
        assert_rows(&streamed(&mut client, target, &body, &[1]), &once);
        assert_rows(&streamed(&mut client, target, &body[..body.len() - 2], &[5]), &once);
    }
    registers.server.is_well("streams");
}

#[test]
fn a_stream_is_answered_while_it_arrives() {
    let registers = BothRegisters::new();
    let mut client = registers.server.connect();
    client.send(&streaming(FAR));
    for id in far_ids().iter().take(50) {
        client.send(&chunk(format!("{id}\n").as_bytes()));
        if id == &far_ids()[0] {
            assert_eq!(client.head().expect("a head").0, 200);
        }
        let answer = client.chunk().expect("a piece").expect("before the end");
        assert!(answer.starts_with(format!("{id},").as_bytes()));
    }
    client.send(b"0\r\n\r\n");
    assert_eq!(client.chunk().expect("the end"), None);
}

#[test]
fn a_body_too_large_to_buffer_is_streamed() {
    let registers = BothRegisters::new();
    let line = format!("{}\n", far_ids()[0]).into_bytes();
    let expected = lookup(&registers.work, "far.nabar", Some(SENDER), &[&line[..12]]);
    let answer = row(&line[..12], &expected[0]);
    let times = (64 << 20) / line.len() + 1;
    let mut client = registers.server.connect();
    let mut writer = client.writer();
    let body = line.repeat(times);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let request = request("POST", FAR, "Content-Type: text/plain\r\n", &body);
            std::io::Write::write_all(&mut writer, &request).expect("sent");
        });
        assert_eq!(client.head().expect("a head").0, 200);
        let (mut length, mut rest) = (0, Vec::new());
        while let Some(data) = client.chunk().expect("a piece") {
            length += data.len();
            rest.extend_from_slice(&data);
            let whole = rest.len() / answer.len() * answer.len();
            assert!(rest[..whole].chunks(answer.len()).all(|found| found == answer));
            rest.drain(..whole);
        }
        assert_eq!((length, rest.len()), (times * answer.len(), 0));
    });
    registers.server.is_well("a body that is streamed");
}

#[test]
fn lists_are_checked_as_by_the_command() {
    let registers = BothRegisters::new();
    for (kind, sender) in [("far", Some(SENDER)), ("krr", None)] {
        let list = format!("{}-list.csv", kind);
        let content = std::fs::read(crate::support::workspace::fixture(&list)).expect("fixture");
        registers.work.write(&list, &content);
        let register = format!("{kind}.nabar");
        let mut arguments = vec!["check", "-r", &register, "--date", DATE, "--json", &list];
        let place = if kind == "far" { "ort" } else { "poststed" };
        arguments.extend(["--group-by", place, "--group-by", "age", "--smallest-group", "15"]);
        arguments.extend(sender.iter().flat_map(|sender| ["--sender", sender]));
        let output = registers.work.run(&arguments);
        assert!(output.status.success());
        let expected: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let query = sender.map_or(String::new(), |sender| format!("&sender={sender}"));
        let target = format!("/{kind}/v1/check?date={DATE}{query}&group_by={place},age&smallest_group=15");
        let reply = registers.server.post(&target, "text/csv", &content);
        assert_eq!((reply.status, reply.sequence()), (200, 1000), "{}", reply.text());
        let report = reply.json();
        for name in ["outcomes", "reasons", "operators", "duplicates", "sender", "groups"] {
            assert_eq!(report[name], expected[name], "{name}");
        }
        assert_eq!(report["list"]["rows"], expected["list"]["rows"]);
        assert_eq!(report["list"]["digest"], expected["list"]["digest"]);
        assert!(report["groups"][1]["groups"].as_array().is_some_and(|groups| !groups.is_empty()));
        for (bad, word) in [
            ("group_by=a,b,c,d,e", "bad-query"),
            ("group_by=x,,y", "bad-query"),
            ("smallest_group=0", "bad-query"),
            ("group_by=1", "bad-list"),
            ("group_by=none", "bad-list"),
        ] {
            let reply = registers.server.post(
                &format!("/{kind}/v1/check?date={DATE}{query}&{bad}&id_column=1"),
                "text/csv",
                &content,
            );
            assert!(reply.text().contains(word), "{bad}: {}", reply.text());
        }
    }
    registers.server.is_well("lists");
}
