//! One batch of recipients, answered in the process by nabar and by other data structures.
//!
//! Each contestant gets ids in its fastest form before anything is timed. Those whose advantage might be the form also get
//! the text of a list. All contestants take turns in each round, and their answers are compared before the first.

mod files;
mod lmdb;
mod memory;
mod sqlite;

use crate::data::{Data, Tools, numbers};
use crate::figures::Row;
use crate::record::{Record, locked};
use crate::{Effort, say, turns};
use jiff::civil::Date;
use nabar::identities::{Country, Identity, Ordinal, Today};
use nabar::register::{Answer, Outcome, PaperReason, Question, Register};
use nabar::snapshot::Snapshot;
use rayon::prelude::*;
use std::hint::black_box;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

/// Ids in all forms that contestants use.
#[derive(Default)]
struct Batch {
    ordinals: Vec<Ordinal>,
    numbers: Vec<u64>,
    stems: Vec<u32>,
    texts: Vec<Text>,
}

/// Twelve digits.
type Text = [u8; 12];

/// A part of a batch.
#[derive(Clone, Copy)]
struct BatchPart<'b> {
    ordinals: &'b [Ordinal],
    numbers: &'b [u64],
    stems: &'b [u32],
}

/// A contestant.
trait Store: Sync {
    /// The name in tables.
    fn name(&self) -> &'static str;

    /// Bytes that it keeps, in memory or in a file of which all may be read.
    fn bytes(&self) -> u64;

    /// Bytes of its file, if that has more.
    fn file_bytes(&self) -> u64 {
        0
    }

    /// Answers a part of a batch; `answers` is as long as it.
    fn answer(&self, part: BatchPart<'_>, answers: &mut [Answer]);

    /// Answers ids as text, if the contestant takes part in that. `false` if not.
    fn answer_texts(&self, _texts: &[Text], _answers: &mut [Answer]) -> bool {
        false
    }
}

/// Contestants that take longer per id run in fewer rounds.
const SLOW_SECONDS: f64 = 100e-9;
const ROUNDS_OF_SLOW: u64 = 3;

/// Ids that are read before they are looked up: they stay in near caches.
const READ_AHEAD: usize = 4096;

/// Answers texts as numbers, for contestants with numeric keys. Nothing is checked.
fn answer_as_numbers(texts: &[Text], answers: &mut [Answer], answer: impl Fn(&[u64], &mut [Answer])) {
    let mut numbers = Vec::with_capacity(READ_AHEAD);
    for (texts, answers) in texts.chunks(READ_AHEAD).zip(answers.chunks_mut(READ_AHEAD)) {
        numbers.clear();
        numbers.extend(texts.iter().map(number));
        answer(&numbers, answers);
    }
}

/// Twelve digits as a number, eight and four of them in a machine word.
#[inline(always)]
fn number(text: &Text) -> u64 {
    let word = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
    let eight = word(&text[..8]) & 0x0F0F_0F0F_0F0F_0F0F;
    let pairs = (eight * 10 + (eight >> 8)) & 0x00FF_00FF_00FF_00FF;
    let fours = (pairs * 100 + (pairs >> 16)) & 0x0000_FFFF_0000_FFFF;
    let head = (fours * 10_000 + (fours >> 32)) & 0xFFFF_FFFF;
    let last = word(&text[4..]) >> 32 & 0x0F0F_0F0F;
    let pairs = (last * 10 + (last >> 8)) & 0x00FF_00FF;
    head * 10_000 + ((pairs * 100 + (pairs >> 16)) & 0xFFFF)
}

/// An answer for each code. Unknown codes are never kept.
pub(crate) struct Codes([Answer; 256]);

impl Codes {
    fn new() -> Codes {
        let answer = |code: usize| {
            let outcome = match code {
                0..5 => Outcome::Paper(PaperReason::ALL[code]),
                _ => Outcome::Digital(nabar::register::OperatorIndex::new(
                    (code as u16).saturating_sub(u16::from(crate::data::FIRST_OPERATOR)),
                )),
            };
            Answer::from(outcome)
        };
        Codes(std::array::from_fn(answer))
    }

    #[inline(always)]
    fn of(&self, code: u8) -> Answer {
        self.0[usize::from(code)]
    }
}

/// The number without what follows from the rest, so that it fits 32 bits: no check digit, and counted from the
/// least century that numbers begin with. The best form for what is keyed by 32 bits.
fn stem(number: u64) -> u32 {
    u32::try_from(number / 10 - 16_000_000_000).expect("a birth before 2030")
}

impl Batch {
    fn new(numbers: Vec<u64>) -> Batch {
        let today = Today::new(2026, 6, 1).expect("a day");
        let identity =
            |number: &u64| Identity::parse(format!("{number:012}").as_bytes(), Country::Sweden, today);
        let identities: Vec<Identity> =
            numbers.par_iter().map(|number| identity(number).expect("clean")).collect();
        let ordinals = identities.iter().map(Identity::ordinal).collect();
        let stems = numbers.iter().map(|&number| stem(number)).collect();
        let text = |identity: &Identity| identity.as_bytes().try_into().expect("twelve digits");
        let texts: Vec<Text> = identities.iter().map(text).collect();
        assert!(texts.iter().map(number).eq(numbers.iter().copied()));
        Batch { ordinals, numbers, stems, texts }
    }

    fn parts(&self, length: usize) -> impl IndexedParallelIterator<Item = BatchPart<'_>> {
        let numbers = self.numbers.par_chunks(length).zip(self.stems.par_chunks(length));
        let parts = self.ordinals.par_chunks(length).zip(numbers);
        parts.map(|(ordinals, (numbers, stems))| BatchPart { ordinals, numbers, stems })
    }
}

struct Nabar<'q> {
    question: &'q Question<'q>,
    hot_bytes: u64,
    file_bytes: u64,
}

impl Store for Nabar<'_> {
    fn name(&self) -> &'static str {
        "nabar"
    }

    fn bytes(&self) -> u64 {
        self.hot_bytes
    }

    fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    fn answer(&self, part: BatchPart<'_>, answers: &mut [Answer]) {
        self.question.ask_all(part.ordinals, answers).expect("undamaged");
    }

    /// Checks dates and check digits too.
    fn answer_texts(&self, texts: &[Text], answers: &mut [Answer]) -> bool {
        let today = Today::new(2026, 6, 1).expect("a day");
        let mut ordinals = Vec::with_capacity(READ_AHEAD);
        for (texts, answers) in texts.chunks(READ_AHEAD).zip(answers.chunks_mut(READ_AHEAD)) {
            ordinals.clear();
            let read = |text: &Text| Identity::parse(text, Country::Sweden, today).expect("clean").ordinal();
            ordinals.extend(texts.iter().map(read));
            self.question.ask_all(&ordinals, answers).expect("undamaged");
        }
        true
    }
}

/// Bytes that lookups of a register may read, as `nabar inspect` counts them.
fn hot_bytes(tools: &Tools, data: &Data) -> u64 {
    let output = Command::new(&tools.nabar).args(["inspect", "--json"]).arg(&data.register).output();
    let text = String::from_utf8(output.expect("inspected").stdout).expect("text");
    let value = text.split("\"hot_bytes_per_recipient\":").nth(1).expect("a field");
    let value = value.trim_start().split([',', '}', '\n']).next().expect("a number");
    (value.trim().parse::<f64>().expect("a number") * data.recipients as f64) as u64
}

fn open(path: &Path) -> Register {
    Snapshot::open(path).and_then(|snapshot| snapshot.register()).expect("a register")
}

/// Measures all sizes.
pub(crate) fn measure(tools: &Tools, effort: &Effort, record: &mut Record) {
    let peers =
        ["hashbrown", "ptr_hash", "heed", "lmdb-master-sys", "redb", "roaring", "rusqlite", "libsqlite3-sys"];
    let mut versions: Vec<(&str, String)> = peers.iter().map(|name| (*name, locked(name))).collect();
    versions.push(("sqlite", rusqlite::version().to_owned()));
    record.begin("lookup", versions);
    for recipients in effort.recipients.iter().copied() {
        say(&format!("lookup: {recipients} recipients"));
        let data = Data::new(tools, recipients);
        of_size(tools, &data, effort, record);
        record.write();
    }
}

fn of_size(tools: &Tools, data: &Data, effort: &Effort, record: &mut Record) {
    let register = open(&data.register);
    let day: Date = crate::data::DATE.parse().expect("a day");
    let question = register.question(Some(&data.sender), day).expect("a question");
    let mut decided = data.decided();
    decided.sort_unstable();
    // LMDB does not open an environment twice, and files of an interrupted run are useless.
    let directory = tools.directory.join(format!("stores-{}", data.recipients));
    let _ = std::fs::remove_dir_all(&directory);
    std::fs::create_dir_all(&directory).expect("a directory");
    let file_bytes = std::fs::metadata(&data.register).expect("a file").len();
    let nabar = Nabar { question: &question, hot_bytes: hot_bytes(tools, data), file_bytes };
    let hash_map = memory::HashMap::new(&decided);
    let stores: Vec<Box<dyn Store + '_>> = vec![
        Box::new(nabar),
        Box::new(memory::PerfectHash::new(&decided)),
        Box::new(memory::PackedHash::new(&decided)),
        Box::new(hash_map.clone()),
        Box::new(memory::Bitmaps::new(&decided)),
        Box::new(lmdb::Lmdb::new(&decided, &directory)),
        Box::new(files::Redb::new(&decided, &directory)),
        Box::new(sqlite::Sqlite::one_by_one(&decided, &directory)),
        Box::new(sqlite::Sqlite::joined(&directory)),
    ];
    drop(decided);
    let rows = effort.ids.min(data.recipients);
    for (hit_rate, order, batch) in batches(tools, data, rows) {
        say(&format!("  {order}, {hit_rate} % hits"));
        let about = Row {
            suite: "lookup".to_owned(),
            recipients: data.recipients as u64,
            order: order.to_owned(),
            hit_rate,
            ..Row::default()
        };
        check(&stores, &batch, &hash_map);
        for threads in threads() {
            rounds(&stores, &batch, Row { threads, ..about.clone() }, effort, record);
        }
        texts(&stores, &batch, Row { threads: 1, ..about.clone() }, effort, record);
        single(&question, &hash_map, &batch, about, effort, record);
    }
    drop(stores);
    std::fs::remove_dir_all(&directory).expect("removed");
}

/// One thread, and as many as there are cores.
pub(crate) fn threads() -> Vec<u64> {
    let all = rayon::current_num_threads() as u64;
    if all == 1 { vec![1] } else { vec![1, all] }
}

/// The batches: hit rate, order, ids.
fn batches<'d>(
    tools: &Tools,
    data: &'d Data,
    rows: usize,
) -> impl Iterator<Item = (u64, &'static str, Batch)> + use<'d> {
    let listed = numbers(&data.list(tools, rows * 2, 0.5, 0.0));
    let mut known: Vec<u64> = data.decided().into_iter().map(|(number, _)| number).collect();
    known.sort_unstable();
    let (hits, misses): (Vec<u64>, Vec<u64>) =
        listed.iter().partition(|&number| known.binary_search(number).is_ok());
    assert_eq!((hits.len(), misses.len()), (rows, rows), "the generator keeps its word");
    let sets = [(0, misses), (50, listed[..rows].to_vec()), (100, hits)];
    sets.into_iter().flat_map(|(rate, set)| {
        let orders = ["list", "random", "sorted"];
        orders.map(|order| (rate, order, Batch::new(ordered(&set, order))))
    })
}

/// The ids in an order: the list's own, drawn at random so that some come more than once, or ascending.
fn ordered(set: &[u64], order: &str) -> Vec<u64> {
    let mut state = 1;
    let mut drawn = || set[(crate::floors::random(&mut state) % set.len() as u64) as usize];
    match order {
        "list" => set.to_vec(),
        "random" => set.iter().map(|_| drawn()).collect(),
        _ => {
            let mut set = set.to_vec();
            set.sort_unstable();
            set
        }
    }
}

/// All answers are what the text of the extract says.
fn check(stores: &[Box<dyn Store + '_>], batch: &Batch, decided: &memory::HashMap) {
    let expected: Vec<Answer> = batch.numbers.iter().map(|number| decided.get(*number)).collect();
    for store in stores {
        let mut answers = vec![Answer::default(); batch.numbers.len()];
        ask(store.as_ref(), batch, rayon::current_num_threads(), &mut answers);
        assert!(answers == expected, "{} answers something else", store.name());
        answers.fill(Answer::default());
        let asked = store.answer_texts(&batch.texts, &mut answers);
        assert!(!asked || answers == expected, "{} answers texts otherwise", store.name());
    }
}

fn ask(store: &dyn Store, batch: &Batch, threads: usize, answers: &mut [Answer]) {
    let part = batch.numbers.len().div_ceil(threads);
    let work = batch.parts(part).zip(answers.par_chunks_mut(part));
    work.for_each(|(part, answers)| store.answer(part, answers));
}

fn rounds(stores: &[Box<dyn Store + '_>], batch: &Batch, about: Row, effort: &Effort, record: &mut Record) {
    let threads = about.threads as usize;
    let answer = |store: &dyn Store, answers: &mut [Answer]| {
        ask(store, batch, threads, answers);
        true
    };
    timed(stores, batch, Row { job: "batch".to_owned(), ..about }, effort, record, answer);
}

/// The same from the text of the ids, for contestants that take part in it.
fn texts(stores: &[Box<dyn Store + '_>], batch: &Batch, about: Row, effort: &Effort, record: &mut Record) {
    let answer = |store: &dyn Store, answers: &mut [Answer]| store.answer_texts(&batch.texts, answers);
    timed(stores, batch, Row { job: "text".to_owned(), ..about }, effort, record, answer);
}

fn timed(
    stores: &[Box<dyn Store + '_>],
    batch: &Batch,
    about: Row,
    effort: &Effort,
    record: &mut Record,
    answer: impl Fn(&dyn Store, &mut [Answer]) -> bool,
) {
    let ids = batch.numbers.len();
    let passes = effort.ids.div_ceil(ids);
    let mut answers = vec![Answer::default(); ids];
    let mut slow = vec![false; stores.len()];
    for round in 1..=effort.rounds_for(about.recipients) {
        // An hour more for contestants that are a hundred times slower would show nothing new.
        let asked = turns(stores.len(), round).filter(|turn| round <= ROUNDS_OF_SLOW || !slow[*turn]);
        for turn in asked.collect::<Vec<_>>() {
            let store = &stores[turn];
            let started = Instant::now();
            let asked =
                (0..passes).fold(true, |asked, _| asked & answer(store.as_ref(), black_box(&mut answers)));
            let seconds = started.elapsed().as_secs_f64();
            slow[turn] = seconds > SLOW_SECONDS * (ids * passes) as f64;
            if asked {
                record.push(Row {
                    peer: store.name().to_owned(),
                    rows: (ids * passes) as u64,
                    round,
                    seconds,
                    bytes: store.bytes(),
                    memory: store.file_bytes(),
                    ..about.clone()
                });
            }
        }
    }
}

/// One id at a time, as in a program that has only one.
fn single(
    question: &Question<'_>,
    map: &memory::HashMap,
    batch: &Batch,
    about: Row,
    effort: &Effort,
    record: &mut Record,
) {
    let asked = || batch.ordinals.iter().zip(&batch.numbers);
    assert!(
        asked().all(|(ordinal, number)| question.answer(*ordinal).expect("undamaged") == map.get(*number)),
        "single lookups answer something else"
    );
    let seconds = |work: &dyn Fn()| {
        let started = Instant::now();
        work();
        started.elapsed().as_secs_f64()
    };
    let rows = batch.numbers.len() as u64;
    for round in 1..=effort.rounds_for(about.recipients) {
        for turn in turns(2, round) {
            let (peer, seconds) = match turn {
                0 => (
                    "nabar",
                    seconds(&|| {
                        for ordinal in &batch.ordinals {
                            black_box(question.answer(*ordinal).expect("undamaged"));
                        }
                    }),
                ),
                _ => (
                    "hashbrown",
                    seconds(&|| {
                        for number in &batch.numbers {
                            black_box(map.get(*number));
                        }
                    }),
                ),
            };
            let (job, peer) = ("single".to_owned(), peer.to_owned());
            record.push(Row { job, peer, rows, threads: 1, round, seconds, ..about.clone() });
        }
    }
}
