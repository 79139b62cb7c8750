//! `docs/data-directory.md`: logs decoded by the document's tables, and the findings after damage;
//! `docs/operations.md`: its procedures with data directories; the README's commands.

use super::changes::{Data, fixture};
use super::format::{Layout, documented_contact, documented_ordinal, flattened, unsigned};
use super::{document, first_column, number, run, section, table, tables, today};
use crate::support::workspace::{nabar, root};
use nabar::identities::{Country, Identity};
use nabar::{limits, store};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The documented tables of a log.
struct Tables {
    segment: Layout,
    frame: Layout,
    change: Layout,
    kinds: Vec<Vec<String>>,
    types: Vec<Vec<String>>,
    flags: Vec<Vec<String>>,
    contact: Vec<Vec<String>>,
}

impl Tables {
    fn new() -> Tables {
        let text = document("data-directory.md");
        let changes = tables(&section(&text, "Changes"));
        let [head, kinds, types, flags] = &changes[..] else { panic!("four tables") };
        Tables {
            segment: Layout::of(&table(&text, "Segment head"), store::SEGMENT_HEAD_BYTES),
            frame: Layout::of(&table(&text, "Frame head"), store::FRAME_HEAD_BYTES),
            change: Layout::of(head, 16),
            kinds: kinds.clone(),
            types: types.clone(),
            flags: flags.clone(),
            contact: table(&document("format.md"), "contact_places and contacts"),
        }
    }

    fn flag(&self, flags: u64, name: &str) -> u64 {
        let row = self.flags.iter().find(|row| row[2] == name).unwrap_or_else(|| panic!("no flag {name}"));
        let (low, high) = row[0].split_once('–').unwrap_or((&row[0], &row[0]));
        flags >> number(low) & ((1 << (number(high) - number(low) + 1)) - 1)
    }

    /// Flags that a change may have.
    fn flags_of(&self, change: &str) -> u64 {
        let rows = self.flags.iter().filter(|row| row[1].contains(change));
        rows.map(|row| {
            let (low, high) = row[0].split_once('–').unwrap_or((&row[0], &row[0]));
            (number(low)..=number(high)).map(|bit| 1 << bit).sum::<u64>()
        })
        .sum()
    }
}

/// Bytes that are read sequentially.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> &'a [u8] {
        let (head, rest) = self.0.split_at(count);
        self.0 = rest;
        head
    }

    fn number(&mut self, count: usize) -> u64 {
        unsigned(self.take(count))
    }

    fn text(&mut self) -> String {
        let length = self.number(4) as usize;
        String::from_utf8(self.take(length).to_vec()).expect("text")
    }
}

/// A time, null for none.
fn time(nanoseconds: i64) -> Value {
    let none = nanoseconds == i64::MIN;
    let time = jiff::Timestamp::from_nanosecond(i128::from(nanoseconds)).expect("all are");
    if none { Value::Null } else { time.to_string().into() }
}

/// A frame as documented.
struct Frame {
    at: usize,
    end: usize,
    after: u64,
    to: u64,
    durable: u64,
    changes: Vec<Value>,
}

/// A decoded segment.
struct Log<'t> {
    tables: &'t Tables,
    /// Ordinals of the identities that may occur.
    identities: &'t BTreeMap<u32, String>,
    after: u64,
    first_sum: [u8; 32],
    last_sum: [u8; 32],
    frames: Vec<Frame>,
}

impl<'t> Log<'t> {
    fn new(tables: &'t Tables, identities: &'t BTreeMap<u32, String>, kind: u64, bytes: &[u8]) -> Log<'t> {
        let head = &bytes[..96];
        assert_eq!(tables.segment.bytes(head, "magic"), store::SEGMENT_MAGIC);
        let get = |field: &str| tables.segment.get(head, field);
        let version = u64::from(store::LOG_VERSION);
        assert_eq!((get("version"), get("kind"), get("reserved_1")), (version, kind, 0));
        assert_eq!(tables.segment.bytes(head, "head_sum"), blake3::hash(&head[..64]).as_bytes());
        let first_sum: [u8; 32] = tables.segment.bytes(head, "sum").try_into().expect("32 bytes");
        let (after, last_sum) = (get("after"), first_sum);
        let mut log = Log { tables, identities, after, first_sum, last_sum, frames: Vec::new() };
        let (mut at, mut sequence) = (96, after);
        while at < bytes.len() {
            let frame = log.frame(bytes, at, sequence);
            (at, sequence) = (frame.end, frame.to);
            log.frames.push(frame);
        }
        log
    }

    fn frame(&mut self, bytes: &[u8], at: usize, sequence: u64) -> Frame {
        let (layout, head) = (&self.tables.frame, &bytes[at..at + 88]);
        assert_eq!(at % 8, 0);
        assert_eq!(layout.bytes(head, "magic"), store::FRAME_MAGIC);
        assert_eq!(layout.get(head, "head_sum"), xxhash_rust::xxh3::xxh3_64(&head[..48]));
        let length = layout.get(head, "payload_bytes") as usize;
        let payload = &bytes[at + 88..at + 88 + length];
        let end = (at + 88 + length).next_multiple_of(8);
        assert!(bytes[at + 88 + length..end].iter().all(|&byte| byte == 0));
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.last_sum).update(&head[..40]).update(payload);
        self.last_sum = *hasher.finalize().as_bytes();
        assert_eq!(layout.bytes(head, "sum"), self.last_sum);
        let (after, to) = (layout.get(head, "after"), layout.get(head, "to"));
        assert_eq!((after, layout.get(head, "reserved_2")), (sequence, 0));
        let (mut rest, mut number, mut changes) = (Bytes(payload), after, Vec::new());
        while !rest.0.is_empty() {
            let change = self.change(&mut rest, number + 1);
            number = change["sequence"].as_u64().expect("a number");
            changes.push(change);
        }
        assert_eq!((changes.len() as u64, number), (layout.get(head, "changes"), to));
        Frame { at, end, after, to, durable: layout.get(head, "durable"), changes }
    }

    fn identity(&self, ordinal: u64) -> Value {
        match ordinal as u32 {
            u32::MAX => Value::Null,
            ordinal => self.identities[&ordinal].clone().into(),
        }
    }

    /// A change with the fields that the log has, named as in its line.
    fn change(&self, rest: &mut Bytes<'_>, sequence: u64) -> Value {
        let head = rest.take(16);
        let get = |field: &str| self.tables.change.get(head, field);
        let kind = self.tables.kinds.iter().find(|row| number(&row[0]) as u64 == get("kind"));
        let kind = kind.expect("a documented kind");
        let subject = self.identity(get("subject"));
        let person = subject.as_str().is_some_and(|id| id.len() == 11);
        let either = |cell: &str| -> String {
            let (first, last) = cell.split_once(" or ").unwrap_or((cell, cell));
            if person { last } else { first }.trim_matches('`').to_owned()
        };
        let (name, subject_is) = (either(&kind[1]), either(&kind[2]));
        assert_eq!(get("flags") & !self.tables.flags_of(&name), 0, "{name}");
        assert_eq!(subject.is_null(), subject_is == "none", "{name}");
        let mut fields = Map::new();
        if subject_is != "none" {
            fields.insert(subject_is, subject);
        }
        let mut number_of = sequence;
        for part in kind[3].split(", ").filter(|part| *part != "nothing") {
            let (of_type, field) = part.split_once(" `").expect("a type and a name");
            let field = field.trim_end_matches('`');
            assert!(of_type == "u64" || self.tables.types.iter().any(|row| row[0] == of_type), "{of_type}");
            let value = match of_type {
                "id" => self.identity(rest.number(4)),
                "ids" => (0..get("count")).map(|_| self.identity(rest.number(4))).collect(),
                "time" => time(rest.number(8) as i64),
                "text" => rest.text().into(),
                "u64" => rest.number(8).into(),
                "contact" => {
                    let length = rest.number(4) as usize;
                    let mut packed = rest.take(length);
                    let fields = &self.tables.contact;
                    let contact = documented_contact(fields, &mut packed, |_| panic!("a certificate"));
                    assert!(packed.is_empty());
                    contact.into()
                }
                "persons" => {
                    let count = rest.number(4);
                    (0..count).map(|_| self.change(rest, 0)["put_person"].clone()).collect()
                }
                other => panic!("{other}"),
            };
            if ["put_persons", "others"].contains(&&name[..]) && field == "sequence" {
                number_of = value.as_u64().expect("a number");
                continue;
            }
            fields.insert(field.to_owned(), value);
        }
        let flags = get("flags");
        let flag = |name: &str| self.tables.flag(flags, name);
        if name == "put_recipient" {
            let account = ["Not", "Anonymous", "Secure"][flag("type") as usize];
            fields.insert("type".into(), account.into());
            fields.insert("pending".into(), (flag("pending") == 1).into());
        }
        if ["put_recipient", "set_acceptance"].contains(&&name[..]) {
            let acceptance = if flag("only") == 1 { "only" } else { "all-except" };
            fields.insert("acceptance".into(), acceptance.into());
        }
        if name == "put_person" {
            let words =
                [["NEI", "JA"][flag("reserved") as usize], ["AKTIV", "SLETTET"][flag("deleted") as usize]];
            fields
                .extend(["reservasjon", "status"].map(str::to_owned).into_iter().zip(words.map(Value::from)));
        }
        json!({"sequence": number_of, "time": time(get("time") as i64), name: fields})
    }
}

/// A change as `nabar changes` prints it, converted to the form of [`Log`].
fn expected(line: &str) -> Value {
    let mut change: Value = serde_json::from_str(line).expect("JSON");
    for (name, fields) in change.as_object_mut().expect("an object") {
        let absent = |fields: &mut Value, names: &[&str], value: Value| {
            let fields = fields.as_object_mut().expect("fields");
            names.iter().for_each(|name| _ = fields.entry(*name).or_insert(value.clone()));
        };
        match &name[..] {
            "put_recipient" | "set_acceptance" => {
                absent(fields, &["last_sender_accept_change"], Value::Null);
                absent(fields, &["exceptions"], json!([]));
                if name == "put_recipient" {
                    absent(fields, &["last_registration", "operator_id"], Value::Null);
                }
            }
            "put_person" => *fields = packed(fields),
            "put_persons" => {
                fields["persons"] =
                    fields["persons"].as_array().expect("a list").iter().map(packed).collect();
            }
            _ => {}
        }
    }
    change
}

/// A person, split as in the log.
fn packed(person: &Value) -> Value {
    let mut contact = flattened(person.clone());
    let certificate = contact.remove("sertifikat").unwrap_or(json!(""));
    let operator = person.pointer("/digital_post/postkasseleverandoeradresse").cloned();
    json!({
        "personidentifikator": person["personidentifikator"], "reservasjon": person["reservasjon"],
        "status": person["status"], "contact": contact, "operator": operator.unwrap_or(json!("")),
        "certificate": certificate,
    })
}

/// The identities in what was printed, by their documented ordinals.
fn identities(printed: &str, country: Country) -> BTreeMap<u32, String> {
    let format = document("format.md");
    let identity = |text: &str| Identity::parse(text.as_bytes(), country, today()).ok();
    let found = printed.split('"').filter(|text| text.len() >= 11).filter_map(identity);
    found.map(|identity| (documented_ordinal(&format, &identity), identity.as_str().to_owned())).collect()
}

fn segment(directory: &Path, after: u64) -> PathBuf {
    directory.join(format!("changes-{after:020}.log"))
}

fn register(directory: &Path, sequence: u64) -> PathBuf {
    directory.join(format!("register-{sequence:020}.nabar"))
}

fn names(directory: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(directory).expect("directory").flatten();
    entries.map(|entry| entry.file_name().into_string().expect("a name")).collect()
}

/// Applies the changes of the fixtures in batches of 50, each by a separate process, so that each batch records that those
/// before it are durable.
fn in_batches(data: &Data, kind: &str) {
    for batch in fixture(kind).chunks(50) {
        data.apply(kind, batch, &["-q"]).expect("applied");
    }
}

#[test]
fn logs_are_as_documented() {
    let (text, tables_of_log) = (document("data-directory.md"), Tables::new());
    assert!(text.contains(&format!("described here is **{}**", store::LOG_VERSION)));
    for (heading, magic) in [("Segment head", store::SEGMENT_MAGIC), ("Frame head", store::FRAME_MAGIC)] {
        let documented = table(&text, heading)[0][4].split('`').next().map(str::to_owned);
        let bytes: Vec<String> = magic.iter().map(|byte| format!("{byte:02X}")).collect();
        assert_eq!(documented, Some(bytes.join(" ")));
    }
    let mut kinds = BTreeSet::new();
    for (kind, number_of_kind, country) in [("far", 1, Country::Sweden), ("krr", 2, Country::Norway)] {
        let data = Data::new(&[kind]);
        in_batches(&data, kind);
        let last = data.sequence(kind);
        let more = match kind {
            "far" => vec!["rubbish".to_owned()],
            _ => vec![format!(
                r#"{{"list":[{{"personidentifikator":"01819012365","sertifikat":"MIIC","kontaktinformasjon":{{"epostadresse_sist_validert":"2026-05-01T00:00:00Z","mobiltelefonnummer_sist_validert":"2026-05-02T00:00:00Z"}}}}],"fraEndringsId":{last},"tilEndringsId":{}}}"#,
                last + 500
            )],
        };
        let more = [
            more,
            vec![format!(
                r#"{{"sequence":{},"time":"2026-06-02T00:00:00Z","set_aside":{{"reason":"bad_time"}}}}"#,
                last + 2
            )],
            vec![format!(
                r#"{{"sequence":{},"time":"2026-06-02T00:00:00Z","others":{{"previous":{}}}}}"#,
                last + 9,
                last + 2
            )],
        ]
        .concat();
        match kind {
            "far" => data.apply(kind, &more, &["--skip-bad", "-q"]),
            _ => data.apply(kind, &more[..1], &["-q"]),
        }
        .expect("applied");
        let printed = data.done(0, &["changes", kind, "--from", "1000"]);
        let directory = data.path().join(kind);
        let bytes = fs::read(segment(&directory, 1000)).expect("the log");
        let identities = identities(&printed, country);
        let log = Log::new(&tables_of_log, &identities, number_of_kind, &bytes);
        assert_eq!(log.after, 1000);
        let mut root_sum = blake3::Hasher::new();
        root_sum.update(&store::SEGMENT_MAGIC);
        root_sum.update(&fs::read(register(&directory, 1000)).expect("the register file")[..128]);
        assert_eq!(log.first_sum, *root_sum.finalize().as_bytes());
        let changes: Vec<&Value> = log.frames.iter().flat_map(|frame| &frame.changes).collect();
        assert_eq!(changes.len(), printed.lines().count());
        for (change, line) in changes.iter().zip(printed.lines()) {
            assert_eq!(**change, expected(line));
            let name = change
                .as_object()
                .expect("an object")
                .keys()
                .find(|name| !["sequence", "time"].contains(&&name[..]));
            kinds.extend(name.cloned());
        }
        // Each batch came from a separate process: all before it were durable.
        for frame in &log.frames {
            assert_eq!(frame.durable, frame.at as u64, "after {}", frame.after);
        }
        assert_eq!(log.frames.last().map(|frame| frame.end), Some(bytes.len()));

        // The next segment begins where this one ends, and the names are as documented.
        data.done(0, &["checkpoint", kind, "--keep", "-q"]);
        let last = data.sequence(kind);
        let next = fs::read(segment(&directory, last)).expect("the next segment");
        let next = Log::new(&tables_of_log, &identities, number_of_kind, &next);
        assert_eq!((next.after, next.first_sum, next.frames.len()), (last, log.last_sum, 0));
        let files = table(&text, "Files");
        let there = |sequence: u64| {
            let name = move |row: &Vec<String>| row[0].replace('N', &format!("{sequence:020}"));
            files.iter().filter(|row| !row[0].contains("NAME")).map(name).collect::<Vec<_>>()
        };
        assert_eq!(names(&directory), [there(1000), there(last)].concat().into_iter().collect());
    }
    let documented = tables_of_log.kinds.iter().flat_map(|row| row[1].split(" or "));
    assert_eq!(kinds, documented.map(|name| name.trim_matches('`').to_owned()).collect());
}

#[test]
fn limits_are_as_documented() {
    let text = document("data-directory.md");
    let expected = [
        ("BATCH_BYTES_MAX", limits::BATCH_BYTES_MAX as usize),
        ("SEQUENCE_MAX", limits::SEQUENCE_MAX as usize),
        ("OPERATORS_MAX", limits::OPERATORS_MAX),
        ("SENDERS_MAX", limits::SENDERS_MAX),
        ("DISPATCHERS_MAX", limits::DISPATCHERS_MAX),
        ("RECIPIENTS_MAX", limits::RECIPIENTS_MAX),
        ("CONTACT_BYTES_MAX", limits::CONTACT_BYTES_MAX),
        ("STATES_SPARE", limits::STATES_SPARE),
    ];
    let documented = table(&text, "Limits");
    let documented: Vec<_> = documented.iter().map(|row| (&row[1][..], number(&row[2]))).collect();
    assert_eq!(documented, expected);
    assert!(document("changes.md").contains(&format!("{} bytes in the log", limits::BATCH_BYTES_MAX)));
}

#[test]
fn limits_of_replicas_are_as_documented() {
    let expected = [
        ("REPLICA_FILE_BYTES_MAX", limits::REPLICA_FILE_BYTES_MAX),
        ("REPLICA_CHANGES_BYTES_MAX", limits::REPLICA_CHANGES_BYTES_MAX),
        ("REPLICA_CHANGES_MAX", limits::REPLICA_CHANGES_MAX as u64),
        ("REPLICA_SEQUENCE_AHEAD_MAX", limits::REPLICA_SEQUENCE_AHEAD_MAX),
        ("REPLICA_SEQUENCE_FIRST_MAX", limits::REPLICA_SEQUENCE_FIRST_MAX),
        ("REPLICA_TIME_AHEAD_SECONDS_MAX", limits::REPLICA_TIME_AHEAD_SECONDS_MAX.unsigned_abs()),
        ("REPLICA_RATE_MIN", limits::REPLICA_RATE_MIN),
        ("REPLICA_GRACE_SECONDS", limits::REPLICA_GRACE_SECONDS),
    ];
    let documented = table(&document("replicas.md"), "Limits");
    let documented: Vec<_> = documented.iter().map(|row| (&row[1][..], number(&row[2]) as u64)).collect();
    assert_eq!(documented, expected);
    for name in ["security.md", "replicas.md"] {
        assert!(document(name).contains(&limits::REPLICA_SEQUENCE_AHEAD_MAX.to_string()), "{name}");
        assert!(document("security.md").contains(&limits::SEQUENCE_MAX.to_string()));
    }
}

#[test]
fn faults_are_found_as_documented() {
    let data = Data::new(&["far", "krr"]);
    in_batches(&data, "far");
    let directory = data.path().join("far");
    let path = segment(&directory, 1000);
    let whole = fs::read(&path).expect("the log");
    let (tables, printed) = (Tables::new(), data.done(0, &["changes", "far", "--from", "1000"]));
    let identities = identities(&printed, Country::Sweden);
    let frames = Log::new(&tables, &identities, 1, &whole).frames;
    let (second, last) = (&frames[1], frames.last().expect("a frame"));
    let stderr_of = |args: &[&str], code: i32| {
        let output = run(data.path(), args);
        let error = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(code), "{args:?}: {error}");
        error
    };
    let flipped = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        fs::write(&path, bytes).expect("written");
    };
    fs::write(data.path().join("none.jsonl"), "").expect("written");
    let writer = ["apply", "far", "none.jsonl", "-q"];
    // A torn end, and damage that looks like one: readers pass over it, the next writer cuts it off.
    for damage in 0..3 {
        match damage {
            0 => fs::write(&path, &whole[..whole.len() - 5]).expect("written"),
            1 => flipped(last.at + 100),
            _ => flipped(last.at + 3),
        }
        assert_eq!(data.sequence("far"), 1250);
        assert_ne!(fs::read(&path).expect("the log").len(), last.at);
        let message = stderr_of(&writer, 0);
        assert!(message.contains("of a batch that a crash had cut short; the register is at sequence 1250"));
        assert_eq!(fs::read(&path).expect("the log"), whole[..last.at]);
        data.apply("far", &fixture("far"), &["-q"]).expect("sent again");
        assert!(fs::read(&path).expect("the log") == whole, "the same batch behind the same batches");
    }
    // Damage in batches that a later one confirms: nothing is cut.
    for at in [second.at, second.at + 60, second.at + 100, second.end - 1] {
        flipped(at);
        for args in [&["verify", "far"][..], &writer] {
            let message = stderr_of(args, 1);
            let place = format!("changes-{:020}.log, byte {}: a durable batch is damaged", 1000, second.at);
            assert!(message.contains(&place), "{message}");
        }
        assert_eq!(fs::read(&path).expect("the log").len(), whole.len());
    }
    for at in [0, 9, 20, 40, 70] {
        flipped(at);
        stderr_of(&["inspect", "far"], 1);
    }
    let mut newer = whole.clone();
    newer[8] = 3;
    fs::write(&path, newer).expect("written");
    assert!(
        stderr_of(&["inspect", "far"], 1)
            .contains("format version 3, this nabar reads up to 2: use a newer nabar")
    );
    // Another register's segment, and a missing one.
    fs::copy(segment(&data.path().join("krr"), 1000), &path).expect("copied");
    stderr_of(&["inspect", "far"], 1);
    fs::remove_file(&path).expect("removed");
    assert!(stderr_of(&["inspect", "far"], 1).contains("the log after sequence 1000 is missing"));
    fs::write(&path, &whole).expect("written");
    assert_eq!(data.sequence("far"), 1300);
    // A newer register file needs no older segment.
    data.done(0, &["checkpoint", "far", "--keep", "-q"]);
    fs::remove_file(&path).expect("removed");
    fs::remove_file(register(&directory, 1000)).expect("removed");
    assert_eq!(data.sequence("far"), 1300);
    data.done(0, &["verify", "far", "-q"]);
}

#[test]
fn leftovers_of_a_crash_are_handled() {
    let data = Data::new(&["far"]);
    let (directory, again) = (data.path().join("far"), data.path().join("again"));
    // Before the register file was renamed.
    fs::create_dir(&again).expect("directory");
    for name in ["lock", ".init.partial", ".register-00000000000000001000.nabar.partial", "rejected.csv"] {
        fs::write(again.join(name), "half").expect("written");
    }
    fs::copy(segment(&directory, 1000), segment(&again, 1000)).expect("copied");
    data.done(2, &["inspect", "again"]);
    let extract = root().join("fixtures/far");
    data.done(0, &["init", extract.to_str().expect("text"), "again", "-q"]);
    data.apply("again", &fixture("far"), &["-q"]).expect("applied");
    assert!(names(&again).iter().all(|name| !name.ends_with(".partial")), "the writer removes them");
    assert!(names(&again) == names(&directory) && data.sequence("again") == 1300);
    // An empty segment behind the log; an older register file and segment beside the newer.
    let old = register(&again, 1000);
    let kept = fs::read(&old).expect("the old one");
    let log = fs::read(segment(&again, 1000)).expect("the log");
    data.done(0, &["checkpoint", "again", "-q"]);
    fs::write(&old, kept).expect("written");
    fs::write(segment(&again, 1000), log).expect("written");
    let newer = fs::read(register(&again, 1300)).expect("the newer");
    fs::remove_file(register(&again, 1300)).expect("removed");
    assert_eq!(data.sequence("again"), 1300, "as after step 1");
    fs::write(register(&again, 1300), newer).expect("written");
    data.done(0, &["checkpoint", "again", "-q"]);
    assert_eq!(names(&again).len(), 5, "register file, segment, lock, mode, rejected.csv");
    // One process writes.
    let mut writer = nabar(&["apply", "again", "-", "-q"])
        .current_dir(data.path())
        .stdin(std::process::Stdio::piped())
        .spawn()
        .expect("a writer");
    let refused = (0..500).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        let output = run(data.path(), &["checkpoint", "again", "-q"]);
        output.status.code() == Some(1)
            && String::from_utf8_lossy(&output.stderr).contains("another process is writing to again")
    });
    data.done(0, &["verify", "again", "-q"]);
    drop(writer.stdin.take());
    assert!(refused && writer.wait().expect("it ends").success());
}

// --- docs/operations.md and README.md ------------------------------------------------------------------

/// Runs commands of a document in a directory.
fn shell(directory: &Path, commands: &str) -> String {
    let program = Path::new(env!("CARGO_BIN_EXE_nabar")).parent().expect("a directory");
    let path = format!("{}:{}", program.display(), std::env::var("PATH").expect("a path"));
    let output =
        Command::new("sh").args(["-euc", commands]).current_dir(directory).env("PATH", path).output();
    let output = output.expect("sh");
    assert!(output.status.success(), "{commands}\n{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// The blocks of commands in a text.
pub(super) fn commands(text: &str) -> impl Iterator<Item = &str> {
    text.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next())
}

#[test]
fn backup_and_restore_work_as_documented() {
    let text = document("operations.md");
    let data = Data::new(&[]);
    let extract = root().join("fixtures/far");
    data.done(0, &["init", extract.to_str().expect("text"), "data/far", "-q"]);
    data.apply("data/far", &fixture("far")[..200], &["-q"]).expect("applied");
    data.done(0, &["checkpoint", "data/far", "--keep", "-q"]);
    data.apply("data/far", &fixture("far"), &["-q"]).expect("applied");
    for heading in ["Backup", "Restoring an earlier version"] {
        let section = section(&text, heading);
        for block in commands(&section) {
            shell(data.path(), block);
        }
    }
    assert_eq!([data.sequence("backup"), data.sequence("data/back")], [1300, 1100]);
    // The documented safe order is the reverse order of names.
    let listed = shell(data.path(), "ls -r data/far");
    let position = |name: &str| listed.lines().position(|line| line == name).expect("listed");
    let positions = [
        format!("register-{:020}.nabar", 1200),
        format!("register-{:020}.nabar", 1000),
        format!("changes-{:020}.log", 1200),
        format!("changes-{:020}.log", 1000),
    ]
    .map(|name| position(&name));
    assert!(positions.is_sorted(), "{listed}");
}

#[test]
fn documented_messages_and_metrics_exist() {
    let text = document("operations.md");
    let files = [
        "src/store/error.rs",
        "src/store/directory.rs",
        "src/store/batch.rs",
        "src/store/load.rs",
        "src/store/log.rs",
        "src/store/writer.rs",
        "src/store/init.rs",
        "src/cli/changes.rs",
        "src/extract/error.rs",
        "src/files/folder.rs",
        "src/files/mod.rs",
        "src/files/owner.rs",
        "src/files/secret.rs",
        "src/register/mod.rs",
    ];
    let source = files.map(|name| fs::read_to_string(root().join(name)).expect(name)).concat();
    // A text in the source may continue in the next line.
    let mut parts = source.split("\\\n");
    let first = parts.next().expect("a part").to_owned();
    let source = parts.fold(first, |text, part| text + part.trim_start());
    for message in first_column(&table(&text, "Messages")) {
        assert!(source.contains(message), "{message}");
    }
    let data = Data::new(&["far"]);
    let inspected: Value = serde_json::from_str(&data.done(0, &["inspect", "far", "--json"])).expect("JSON");
    for name in first_column(&table(&text, "Monitoring")).iter().flat_map(|names| names.split("`, `")) {
        assert!(inspected.get(name).is_some(), "{name}");
    }
}

/// All commands of the README that do not build anything, in order.
#[test]
fn commands_of_the_readme_run() {
    let readme = fs::read_to_string(root().join("README.md")).expect("README.md");
    let directory = tempfile::tempdir().expect("directory");
    std::os::unix::fs::symlink(root().join("fixtures"), directory.path().join("fixtures")).expect("a link");
    let (mut run, mut shown) = (0, 0);
    // A service does not end; `tests/it/serve` and `tools/interop` start it. A live register is asked in `sources.rs`.
    let ends = |block: &&str| {
        block.starts_with("nabar ") && !["nabar serve", "--source"].iter().any(|word| block.contains(word))
    };
    for block in commands(&readme).filter(ends) {
        let printed = shell(directory.path(), block);
        run += block.lines().filter(|line| line.starts_with("nabar ")).count();
        let after = readme.split(block).nth(1).expect("what follows");
        if let Some(text) = after.strip_prefix("```\n\n```text\n").and_then(|rest| rest.split("```").next()) {
            assert!(printed.starts_with(text), "{printed}");
            shown += 1;
        }
    }
    assert!(run >= 14 && shown == 1, "{run} commands");
}
