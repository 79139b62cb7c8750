//! Data for benchmarks: made once by the generator, with a fixed seed, under `target/bench-data`.
#![allow(dead_code)] // no benchmark uses all of it

use nabar::identities::{Country, Identity, Ordinal, Today};
use nabar::register::Register;
use nabar::snapshot::Snapshot;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A register, a list for it, and where they lie.
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

/// The number of recipients: `NABAR_BENCH_RECIPIENTS`, or what the benchmark has as its own.
pub(crate) fn size(default: usize) -> usize {
    std::env::var("NABAR_BENCH_RECIPIENTS").ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// The day that all benchmarks ask for.
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
    command.args(["run", "--quiet", "--release", "--package", "nabar-generate", "--"]).args(arguments);
    run(command.current_dir(env!("CARGO_MANIFEST_DIR")));
}

impl Data {
    /// A FaR register of `recipients` and a list of `rows`; what is there already is taken.
    pub(crate) fn far(recipients: usize, rows: usize) -> Data {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench-data");
        let data = Data {
            extract: directory.join(format!("far-{recipients}")),
            register: directory.join(format!("far-{recipients}.nabar")),
            list: directory.join(format!("list-{recipients}-{rows}.csv")),
            directory,
        };
        let text = |path: &Path| path.display().to_string();
        std::fs::create_dir_all(&data.directory).expect("a directory for the data");
        if !data.extract.join("recipients.csv").exists() {
            generate(&["far", "--recipients", &recipients.to_string(), "-o", &text(&data.extract)]);
        }
        if !data.list.exists() {
            let (extract, list) = (text(&data.extract), text(&data.list));
            generate(&["list", "--extract", &extract, "--rows", &rows.to_string(), "-o", &list]);
        }
        // The register is always built anew: its format is what is being worked on.
        nabar::extract::build(&data.extract, &data.register, true).expect("a register");
        data
    }

    /// A stream of so many changes of the register, as JSON Lines.
    pub(crate) fn changes(&self, count: usize) -> Vec<u8> {
        let mut name = self.extract.file_name().expect("a name").to_owned();
        name.push(format!("-changes-{count}.jsonl"));
        let path = self.directory.join(name);
        if !path.exists() {
            let text = |path: &Path| path.display().to_string();
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
        let list = std::fs::read(&self.list).expect("the list");
        let cells = list.split(|&byte| byte == b'\n').map(|row| row.split(|&byte| byte == b';').next());
        cells.flatten().filter_map(|cell| Identity::parse(cell, Country::Sweden, today()).ok()).collect()
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
    sender: &str,
) -> hashbrown::HashMap<u64, nabar::register::Answer> {
    let question = register.question(Some(sender), jiff::civil::date(2026, 6, 1)).expect("a question");
    let mut map = hashbrown::HashMap::with_capacity(register.recipients() as usize);
    let all = register.for_each::<nabar::register::Damage>(|identity, _| {
        map.insert(number(identity), question.ask(identity)?.into());
        Ok(())
    });
    all.expect("an undamaged register");
    map
}
