//! Checking and splitting lists of every dialect: `cargo bench --bench mailing`.
//!
//! 1 million recipients (`NABAR_BENCH_RECIPIENTS`) and as many rows. The expected counts of each list are computed
//! independently: the `csv` crate finds its cells, which are looked up one by one. Every report is compared with them. The
//! files of the last split are read: each has rows of its outcome only, and together they are as long as the list.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use nabar::identities::Identity;
use nabar::mailing::{
    self, Destination, Duplicates, Language, ListError, ListOptions, Mailing, Report, RowProblem,
};
use nabar::register::Question;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Cursor, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

mod support;

/// As in the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The format of a list.
#[derive(Clone, Copy)]
struct Dialect {
    name: &'static str,
    /// Options of the generator for it.
    options: &'static [&'static str],
    delimiter: u8,
    /// The identity's column, from 0.
    column: usize,
    form: Form,
}

/// How a list is given.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    Plain,
    FixedWidth,
    Gzip,
    Zstandard,
    /// As on standard input.
    Piped,
}

const SEMICOLON: Dialect =
    Dialect { name: "semicolon", options: &[], delimiter: b';', column: 0, form: Form::Plain };
const CLEAN: Dialect = Dialect {
    name: "clean and sorted",
    options: &["--dirt", "0", "--duplicates", "0", "--spellings", "0", "--order", "id"],
    ..SEMICOLON
};

const SWEDISH: [Dialect; 11] = [
    SEMICOLON,
    CLEAN,
    Dialect {
        name: "comma, some quotes",
        options: &["--dialect", "comma", "--quotes", "some"],
        delimiter: b',',
        ..SEMICOLON
    },
    Dialect { name: "semicolon, all quoted", options: &["--quotes", "all"], ..SEMICOLON },
    Dialect {
        name: "tab, all quoted, crlf",
        options: &["--dialect", "tab", "--quotes", "all", "--line-end", "crlf"],
        delimiter: b'\t',
        ..SEMICOLON
    },
    Dialect {
        name: "pipe, latin1",
        options: &["--dialect", "pipe", "--encoding", "latin1"],
        delimiter: b'|',
        ..SEMICOLON
    },
    Dialect { name: "id in the last column", options: &["--id-column", "last"], column: 5, ..SEMICOLON },
    // Dirt would split rows: here line ends count also between quotation marks.
    Dialect { name: "fixed width", options: &["--dirt", "0"], form: Form::FixedWidth, ..SEMICOLON },
    Dialect { name: "gz", form: Form::Gzip, ..SEMICOLON },
    Dialect { name: "zst", form: Form::Zstandard, ..SEMICOLON },
    Dialect { name: "through a pipe", form: Form::Piped, ..SEMICOLON },
];
const NORWEGIAN: [Dialect; 2] =
    [Dialect { name: "KRR, semicolon", ..SEMICOLON }, Dialect { name: "KRR, clean and sorted", ..CLEAN }];

/// Bytes of the identity field in a list of fixed width: the longest spelling is `16 412000-0007`.
const WIDTH: usize = 16;

/// A list and its expected counts.
struct List<'q> {
    dialect: Dialect,
    question: &'q Question<'q>,
    /// The list as given.
    path: PathBuf,
    /// Its text, not compressed.
    text: Vec<u8>,
    /// Bytes of its header.
    prefix: usize,
    expected: Count,
}

/// Rows by outcome, by reason, and the digital ones by operator index.
#[derive(Debug, PartialEq)]
struct Count {
    outcomes: BTreeMap<&'static str, u64>,
    reasons: BTreeMap<&'static str, u64>,
    operators: Vec<u64>,
}

impl Count {
    /// Counts the rows of a text with a header, if its lists have one.
    fn of(text: &[u8], dialect: &Dialect, question: &Question<'_>) -> Count {
        let mut count = Count {
            outcomes: ["digital", "notify", "paper", "rejected"].map(|name| (name, 0)).into(),
            reasons: BTreeMap::new(),
            operators: vec![0; question.register().operators().len()],
        };
        let mut lines = text.split(|&byte| byte == b'\n');
        if dialect.form == Form::FixedWidth {
            let rows = lines.filter(|line| !line.is_empty());
            rows.for_each(|row| count.add(row.get(..WIDTH), question));
            return count;
        }
        let mut reader = csv::ReaderBuilder::new();
        reader.delimiter(dialect.delimiter).flexible(true);
        for row in reader.from_reader(text).byte_records() {
            count.add(row.expect("a row").get(dialect.column), question);
        }
        // The csv crate skips blank lines. The rest after the last line end is not a line.
        lines.next_back();
        let blank = lines.filter(|line| line.is_empty() || *line == b"\r");
        blank.for_each(|_| count.reject(RowProblem::BlankRow));
        count
    }

    fn reject(&mut self, problem: RowProblem) {
        *self.outcomes.entry("rejected").or_insert(0) += 1;
        *self.reasons.entry(problem.name()).or_insert(0) += 1;
    }

    fn add(&mut self, cell: Option<&[u8]>, question: &Question<'_>) {
        let country = question.register().kind().country();
        let read = cell
            .ok_or(RowProblem::MissingColumn)
            .and_then(|cell| Identity::parse(cell, country, support::today()).map_err(RowProblem::Identity));
        let outcome = read.map(|identity| question.ask(&identity).expect("undamaged"));
        let (name, reason) = match outcome {
            Ok(outcome) => (outcome.name(), outcome.reason()),
            Err(problem) => ("rejected", problem.name()),
        };
        *self.outcomes.entry(name).or_insert(0) += 1;
        if !reason.is_empty() {
            *self.reasons.entry(reason).or_insert(0) += 1;
        }
        if let Some(operator) = outcome.ok().and_then(|outcome| outcome.operator()) {
            self.operators[usize::from(operator)] += 1;
        }
    }
}

/// A list with the identity at a fixed offset. The rest of a row is not aligned, because it is not read.
fn fixed_width(text: &[u8]) -> Vec<u8> {
    let mut fixed = Vec::with_capacity(text.len() * 2);
    for row in text.split_inclusive(|&byte| byte == b'\n').skip(1) {
        let (identity, rest) = row.split_at(memchr::memchr(b';', row).expect("a cell"));
        fixed.extend_from_slice(identity);
        fixed.resize(fixed.len() + WIDTH - identity.len(), b' ');
        fixed.extend_from_slice(rest);
    }
    fixed
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text).and_then(|()| encoder.finish()).expect("compressed")
}

impl<'q> List<'q> {
    fn new(data: &support::Data, rows: usize, dialect: Dialect, question: &'q Question<'q>) -> List<'q> {
        let generated = match dialect.options {
            [] => data.list.clone(), // which is made without options
            options => data.with_dialect(dialect.name, rows, options),
        };
        let mut text = fs::read(&generated).expect("a list");
        if dialect.form == Form::FixedWidth {
            text = fixed_width(&text);
        }
        let of_other_form = match dialect.form {
            Form::Plain | Form::Piped => None,
            Form::FixedWidth => Some(("txt", text.clone())),
            Form::Gzip => Some(("csv.gz", gzip(&text))),
            Form::Zstandard => Some(("csv.zst", zstd::encode_all(&text[..], 0).expect("compressed"))),
        };
        let path = match of_other_form {
            None => generated,
            Some((ending, bytes)) => {
                let path = generated.with_extension(ending);
                fs::write(&path, bytes).expect("a list");
                path
            }
        };
        let has_header = dialect.form != Form::FixedWidth;
        let prefix = if has_header { memchr::memchr(b'\n', &text).expect("a header") + 1 } else { 0 };
        let expected = Count::of(&text, &dialect, question);
        assert_eq!(expected.outcomes.values().sum::<u64>(), rows as u64, "the requested number of rows");
        List { dialect, question, path, text, prefix, expected }
    }

    /// Runs a job and compares its report.
    /// The identities, of a list whose rows are lines that begin with them.
    fn ids(&self) -> Vec<&[u8]> {
        let lines = self.text[self.prefix..].split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| line.split(|byte| *byte == b';').next().unwrap_or(line)).collect()
    }

    fn run(&self, job: impl FnOnce(&Mailing<'_>) -> Result<Report, ListError>) -> Report {
        let job = |path: &Path| job(&self.mailing(path));
        let done = if self.dialect.form == Form::Piped { piped(&self.path, job) } else { job(&self.path) };
        let report = done.expect("done");
        assert_eq!((&report.outcomes, &report.reasons), (&self.expected.outcomes, &self.expected.reasons));
        assert!(report.operators.iter().map(|operator| operator.rows).eq(self.expected.operators.clone()));
        report
    }

    fn mailing<'m>(&'m self, list: &'m Path) -> Mailing<'m> {
        let id_at = (self.dialect.form == Form::FixedWidth).then_some((0, WIDTH));
        Mailing {
            question: self.question,
            list,
            options: ListOptions { id_at, ..ListOptions::default() },
            today: support::today(),
            ruling: None,
            duplicates: Duplicates::Keep,
            max_rejected: nabar::rejected::RejectedLimit::Percent(100.0),
            now: jiff::Timestamp::now(),
            groups: None,
            prices: None,
            asked: None,
            threads: rayon::current_num_threads(),
            progress: &(),
        }
    }

    /// Reads the files of a split: each begins with the header and has rows of its outcome and operator only.
    fn check_files(&self, report: &Report, directory: &Path) {
        let operators = self.question.register().operators();
        let mut bytes = self.prefix;
        for file in report.files.as_ref().expect("files") {
            let text = fs::read(directory.join(&file.path)).expect("a file");
            assert!(text.starts_with(&self.text[..self.prefix]), "{} begins with the header", file.path);
            bytes += text.len() - self.prefix;
            let count = Count::of(&text, &self.dialect, self.question);
            assert_eq!(
                count.outcomes[file.outcome.as_deref().expect("an outcome")],
                file.rows,
                "rows of {}",
                file.path
            );
            assert_eq!(count.outcomes.values().sum::<u64>(), file.rows, "only those in {}", file.path);
            let others = operators.iter().map(|operator| Some(&operator.id)).zip(count.operators);
            assert!(others.into_iter().all(|(id, rows)| rows == 0 || id == file.operator_id.as_ref()));
        }
        assert_eq!(bytes, self.text.len(), "the files are together as long as the list");
    }
}

/// Runs a job that reads its list from a pipe.
fn piped(list: &Path, job: impl FnOnce(&Path) -> Result<Report, ListError>) -> Result<Report, ListError> {
    let (reader, mut writer) = io::pipe().expect("a pipe");
    let path = PathBuf::from(format!("/dev/fd/{}", reader.as_raw_fd()));
    std::thread::scope(|scope| {
        scope.spawn(move || File::open(list).and_then(|mut list| io::copy(&mut list, &mut writer)));
        let done = job(&path);
        drop(reader); // a failed job reads no more: the writing thread must not wait
        done
    })
}

fn lists(criterion: &mut Criterion) {
    let rows = support::size(1_000_000);
    for (data, dialects) in
        [(support::Data::far(rows, rows), &SWEDISH[..]), (support::Data::krr(rows, rows), &NORWEGIAN[..])]
    {
        let register = data.open();
        let sender = register.senders().first().map(|sender| sender.id.as_str());
        let question = register.question(sender, jiff::civil::date(2026, 6, 1)).expect("a question");
        let to = data.directory.join("split");
        for dialect in dialects {
            let list = List::new(&data, rows, *dialect, &question);
            let mut group = criterion.benchmark_group(format!("list: {}", dialect.name));
            group.throughput(Throughput::Bytes(list.text.len() as u64)).sample_size(10);
            group.bench_function("check", |bencher| bencher.iter(|| list.run(mailing::check)));
            let destination = Destination {
                directory: &to,
                force: true,
                sync: false,
                language: Language::Swedish,
                csv: false,
            };
            let mut last = None;
            group.bench_function("split", |bencher| {
                bencher.iter(|| last = Some(list.run(|mailing| mailing::split(mailing, &destination))));
            });
            if let Some(report) = last {
                list.check_files(&report, &to);
            }
            let _ = fs::remove_dir_all(&to);
        }
    }
}

/// A print run with a letter for each id: how it is described, and its bytes.
fn print_runs(ids: &[&[u8]]) -> Vec<(&'static str, String, Vec<u8>)> {
    let (mut records, mut xml) = (b"00HEAD\n".to_vec(), format!("<B n=\"{}\">\n", ids.len()).into_bytes());
    let field = |kind: [u8; 3], data: &[u8]| {
        let length = (8 + data.len() as u16).to_be_bytes();
        [&[0x5A], &length[..], &kind, &[0; 3], data].concat()
    };
    let mut afp = field([0xD3, 0xA8, 0xA8], b"document");
    let page = [
        field([0xD3, 0xA8, 0xAF], b""),
        field([0xD3, 0xEE, 0x9B], &[7; 900]),
        field([0xD3, 0xA9, 0xAF], b""),
    ];
    for id in ids {
        let text = String::from_utf8_lossy(id);
        records.extend(format!("10{text:<60}\n").as_bytes());
        (0..3).for_each(|line| {
            records.extend(format!("30{line:010}a line of the invoice with some text          \n").as_bytes())
        });
        xml.extend(
            format!(
                "<L><R><I>{text}</I><N>Anna Ek</N></R><Line a=\"12.50\">a line of the invoice</Line></L>\n"
            )
            .as_bytes(),
        );
        let digits: Vec<u8> = id.iter().map(|byte| byte - b'0' + 0xF0).collect();
        // A tag of the name I.
        let value = [&[4 + digits.len() as u8, 0x36, 0, 0], &digits[..]].concat();
        afp.extend(field([0xD3, 0xA8, 0xAD], b""));
        afp.extend(field([0xD3, 0xA0, 0x90], &[&[5, 0x02, 0x0B, 0, 0xC9], &value[..]].concat()));
        afp.extend(page.concat());
        afp.extend(field([0xD3, 0xA9, 0xAD], b""));
    }
    records.extend(format!("90{:08}\n", ids.len()).as_bytes());
    xml.extend(b"</B>\n");
    afp.extend(field([0xD3, 0xA9, 0xA8], b"document"));
    let of_records = "form = \"records\"\nrecord_type = \"0:2\"\nletter_start = \"10\"\nid_in = \"10\"\nid_at = \"2:14\"\nheader = \"00\"\n\
                      records = \"30\"\ntrailer = \"90\"\n[[count]]\nin = \"90\"\nat = \"2:8\"";
    let of_xml = "form = \"xml\"\nletter_element = \"L\"\nid_path = \"R/I\"\n[[count]]\npath = \"B/@n\"";
    vec![
        ("records", of_records.to_owned(), records),
        ("xml", of_xml.to_owned(), xml),
        ("afp", "form = \"afp\"\nid_tag = \"I\"".to_owned(), afp),
        ("zip", "form = \"zip\"\nindex = \"index.csv\"\nfiles_in = \"file\"".to_owned(), archive(ids)),
    ]
}

/// A ZIP with a file of 4 KB for each id.
fn archive(ids: &[&[u8]]) -> Vec<u8> {
    let mut out = ZipWriter::new(Cursor::new(Vec::new()));
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    let mut index = b"personnummer;file\n".to_vec();
    for (number, id) in ids.iter().enumerate() {
        out.start_file(format!("{number}.pdf"), stored).expect("begun");
        out.write_all(&[b'7'; 4096]).expect("written");
        index.extend([id, format!(";{number}.pdf\n").as_bytes()].concat());
    }
    out.start_file("index.csv", stored).expect("begun");
    out.write_all(&index).expect("written");
    out.finish().expect("an archive").into_inner()
}

/// A workbook with a row of five cells for each id.
fn workbook(ids: &[&[u8]], path: &Path) {
    let mut book = rust_xlsxwriter::Workbook::new();
    let sheet = book.add_worksheet_with_low_memory().expect("a sheet");
    let titles = ["personnummer", "namn", "adress", "belopp", "antal"];
    (0..).zip(titles).for_each(|(column, title)| _ = sheet.write_string(0, column, title).expect("written"));
    for (row, id) in (1..).zip(ids) {
        sheet.write_string(row, 0, String::from_utf8_lossy(id)).expect("written");
        sheet.write_string(row, 1, format!("Anna Ek {row}")).expect("written");
        sheet.write_string(row, 2, format!("Storgatan {}", row % 1000)).expect("written");
        sheet.write_number(row, 3, f64::from(row) * 1.25).expect("written");
        sheet.write_number(row, 4, row % 7).expect("written");
    }
    book.save(path).expect("saved");
}

/// Workbooks: reading them, and splits into CSV and into workbooks.
fn workbooks(criterion: &mut Criterion) {
    let rows = (support::size(1_000_000) / 4).min(1_000_000);
    let data = support::Data::far(rows, rows);
    let register = data.open();
    let sender = register.senders().first().map(|sender| sender.id.as_str());
    let question = register.question(sender, jiff::civil::date(2026, 6, 1)).expect("a question");
    let list = List::new(&data, rows, CLEAN, &question);
    let ids = list.ids();
    let (path, to) = (data.directory.join("list.xlsx"), data.directory.join("split-workbook"));
    workbook(&ids, &path);
    let mailing = list.mailing(&path);
    let mut group = criterion.benchmark_group("workbook");
    group.throughput(Throughput::Elements(ids.len() as u64)).sample_size(10);
    group.bench_function("check", |bencher| {
        bencher.iter(|| {
            let report = mailing::check(&mailing).expect("a report");
            assert_eq!(report.outcomes, list.expected.outcomes);
        });
    });
    for (name, csv) in [("split into CSV", true), ("split", false)] {
        let destination =
            Destination { directory: &to, force: true, sync: false, language: Language::Swedish, csv };
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let report = mailing::split(&mailing, &destination).expect("split");
                assert_eq!(report.outcomes, list.expected.outcomes);
            });
        });
    }
    let _ = (fs::remove_dir_all(&to), fs::remove_file(&path));
}

/// Print runs of each form, beside a copy of the files that a split of them writes.
fn runs(criterion: &mut Criterion) {
    let rows = support::size(1_000_000) / 4;
    let data = support::Data::far(rows, rows);
    let register = data.open();
    let sender = register.senders().first().map(|sender| sender.id.as_str());
    let question = register.question(sender, jiff::civil::date(2026, 6, 1)).expect("a question");
    let list = List::new(&data, rows, CLEAN, &question);
    let ids = list.ids();
    let (to, copies) = (data.directory.join("split-run"), data.directory.join("copies"));
    for (form, description, bytes) in print_runs(&ids) {
        let path = data.directory.join(format!("run.{form}"));
        fs::write(&path, &bytes).expect("a run");
        let run = nabar::runs::RunDescription::parse(&description).expect("a description");
        let options = ListOptions { run: Some(run), ..ListOptions::default() };
        let mailing = Mailing { options, ..list.mailing(&path) };
        let mut group = criterion.benchmark_group(format!("run: {form}"));
        group.throughput(Throughput::Bytes(bytes.len() as u64)).sample_size(10);
        let destination =
            Destination { directory: &to, force: true, sync: false, language: Language::Swedish, csv: false };
        let mut last = None;
        group.bench_function("split", |bencher| {
            bencher.iter(|| last = Some(mailing::split(&mailing, &destination).expect("split")));
        });
        if let Some(report) = last {
            assert_eq!(report.outcomes, list.expected.outcomes, "{form}");
            let files: Vec<PathBuf> =
                fs::read_dir(&to).expect("files").map(|file| file.expect("a file").path()).collect();
            fs::create_dir_all(&copies).expect("made");
            group.bench_function("cp of the outputs", |bencher| {
                bencher.iter(|| {
                    for file in &files {
                        fs::copy(file, copies.join(file.file_name().expect("a name"))).expect("copied");
                    }
                });
            });
        }
        let _ = (fs::remove_dir_all(&to), fs::remove_dir_all(&copies), fs::remove_file(&path));
    }
}

criterion_group!(benches, lists, runs, workbooks);
criterion_main!(benches);
