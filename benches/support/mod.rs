//! Data for benchmarks: made once by the generator, with a fixed seed, under `target/bench-data`.
#![allow(dead_code)] // no benchmark uses all of it

use nabar::identities::{Identity, Ordinal, Today};
use nabar::register::Register;
use nabar::snapshot::Snapshot;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

/// A register, a list for it, and their paths.
pub(crate) struct Data {
    /// Where outputs may be written.
    pub(crate) directory: PathBuf,
    /// The extract.
    pub(crate) extract: PathBuf,
    /// The register file built from it.
    pub(crate) register: PathBuf,
    /// The list.
    pub(crate) list: PathBuf,
}

/// The number of recipients: `NABAR_BENCH_RECIPIENTS`, or the default of the benchmark.
pub(crate) fn size(default: usize) -> usize {
    from_environment("NABAR_BENCH_RECIPIENTS").unwrap_or(default)
}

/// A number from the environment.
pub(crate) fn from_environment(name: &str) -> Option<usize> {
    std::env::var(name).ok()?.parse().ok()
}

/// The address that a service prints when it listens.
pub(crate) fn address_of(child: &mut Child) -> SocketAddr {
    let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
    let address =
        lines.find_map(|line| line.expect("text").split("http://").nth(1)?.split('"').next()?.parse().ok());
    address.expect("an address")
}

/// Whether criterion only checks that everything works, decided by the same arguments.
pub(crate) fn short() -> bool {
    let has = |wanted: &str| std::env::args().any(|argument| argument == wanted);
    has("--test") || !has("--bench")
}

/// The day of all requests.
pub(crate) fn today() -> Today {
    Today::new(2026, 6, 1).expect("a day")
}

fn run(command: &mut Command) {
    let status = command.status().expect("a command that can be started");
    assert!(status.success(), "{command:?} failed");
}

fn generate(arguments: &[&str]) {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let mut command = Command::new(cargo);
    command
        .args(["run", "--quiet", "--profile", "quick", "--package", "nabar-generate", "--"])
        .args(arguments);
    run(command.current_dir(env!("CARGO_MANIFEST_DIR")));
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

impl Data {
    /// A FaR register of `recipients` and a list of `rows`; existing data is reused.
    pub(crate) fn far(recipients: usize, rows: usize) -> Data {
        let data = Data::new("far", recipients, &format!("list-{recipients}-{rows}.csv"));
        if !data.extract.join("recipients.csv").exists() {
            generate(&["far", "--recipients", &recipients.to_string(), "-o", &text(&data.extract)]);
        }
        data.with_list(rows, &[])
    }

    /// A KRR register of `persons` and a list of `rows`; existing data is reused.
    pub(crate) fn krr(persons: usize, rows: usize) -> Data {
        let data = Data::new("krr", persons, &format!("list-krr-{persons}-{rows}.csv"));
        if !data.extract.join("persons.jsonl").exists() {
            generate(&["krr", "--persons", &persons.to_string(), "-o", &text(&data.extract)]);
        }
        data.with_list(rows, &[])
    }

    /// The same with a list made with other options of the generator, under another name.
    pub(crate) fn with_dialect(&self, name: &str, rows: usize, options: &[&str]) -> PathBuf {
        let list = self.list.with_extension(format!("{}.csv", name.replace(' ', "-")));
        self.generate_list(&list, rows, options);
        list
    }

    fn new(kind: &str, recipients: usize, list: &str) -> Data {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench-data");
        std::fs::create_dir_all(&directory).expect("a directory for the data");
        Data {
            extract: directory.join(format!("{kind}-{recipients}")),
            register: directory.join(format!("{kind}-{recipients}.nabar")),
            list: directory.join(list),
            directory,
        }
    }

    fn with_list(self, rows: usize, options: &[&str]) -> Data {
        self.generate_list(&self.list, rows, options);
        // The register is always rebuilt, because its format may have changed.
        nabar::extract::build(&self.extract, &self.register, &nabar::extract::BuildOptions::strict())
            .expect("a register");
        self
    }

    fn generate_list(&self, list: &Path, rows: usize, options: &[&str]) {
        if !list.exists() {
            let (extract, rows, list) = (text(&self.extract), rows.to_string(), text(list));
            let fixed = ["list", "--extract", &extract, "--rows", &rows, "-o", &list];
            generate(&[&fixed[..], options].concat());
        }
    }

    /// A stream of `count` changes of the register, as JSON Lines.
    pub(crate) fn changes(&self, count: usize) -> Vec<u8> {
        let mut name = self.extract.file_name().expect("a name").to_owned();
        name.push(format!("-changes-{count}.jsonl"));
        let path = self.directory.join(name);
        if !path.exists() {
            let (extract, path) = (text(&self.extract), text(&path));
            generate(&["changes", &extract, "--count", &count.to_string(), "-o", &path]);
        }
        std::fs::read(&path).expect("the changes")
    }

    /// The register, opened.
    pub(crate) fn open(&self) -> Register {
        Snapshot::open(&self.register).and_then(|snapshot| snapshot.register()).expect("a register")
    }

    /// The first sender of the register.
    pub(crate) fn sender(&self) -> String {
        self.open().senders()[0].id.clone()
    }

    /// The valid identities of the list, in its order.
    pub(crate) fn identities(&self) -> Vec<Identity> {
        let (list, country) = (std::fs::read(&self.list).expect("the list"), self.open().kind().country());
        let cells = list.split(|&byte| byte == b'\n').map(|row| row.split(|&byte| byte == b';').next());
        cells.flatten().filter_map(|cell| Identity::parse(cell, country, today()).ok()).collect()
    }
}

/// The ordinals of identities.
pub(crate) fn ordinals(identities: &[Identity]) -> Vec<Ordinal> {
    identities.iter().map(Identity::ordinal).collect()
}

/// An identity as the number that a hash map would be keyed by.
pub(crate) fn number(identity: &Identity) -> u64 {
    identity.as_str().parse().expect("digits")
}

/// A hash map of every recipient and its answer, as a program without nabar would keep it.
pub(crate) fn hash_map(
    register: &Register,
    sender: Option<&str>,
) -> hashbrown::HashMap<u64, nabar::register::Answer> {
    let question = register.question(sender, jiff::civil::date(2026, 6, 1)).expect("a question");
    let mut map = hashbrown::HashMap::with_capacity(register.recipients() as usize);
    let all = register.for_each::<nabar::register::Damage>(|identity, _| {
        map.insert(number(identity), question.ask(identity)?.into());
        Ok(())
    });
    all.expect("an undamaged register");
    map
}

/// Pseudorandom numbers below a bound: SplitMix64 (Steele, Lea, Flood 2014), with a fixed seed.
pub(crate) fn draws(below: usize) -> impl FnMut() -> usize {
    let mut state = 7u64;
    move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ mixed >> 31) % below as u64) as usize
    }
}

/// The median.
pub(crate) fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_unstable_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

/// Appends a line `job;peer;rows;round;seconds;bytes` to the file that `NABAR_BENCH_OUTPUT` names, if it is set.
/// `tools/bench-all` sets it.
pub(crate) fn measurement(job: &str, peer: &str, rows: usize, round: usize, seconds: f64, bytes: u64) {
    let Some(path) = std::env::var_os("NABAR_BENCH_OUTPUT") else { return };
    let mut file = File::options().create(true).append(true).open(path).expect("a file");
    writeln!(file, "{job};{peer};{rows};{round};{seconds};{bytes}").expect("written");
}
