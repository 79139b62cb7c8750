//! Registers and directories that the targets use.

use crate::model::identities::Day;
use crate::model::registers::{Register as Model, far, krr};
use crate::support::random::Random;
use nabar::store::init;
use nabar::{BuildOptions, Register, Snapshot};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, OnceLock};

/// The day of the registers.
pub(crate) const DAY: Day = Day { year: 2026, month: 6, day: 1 };

/// The same day for questions.
pub(crate) const DATE: jiff::civil::Date = jiff::civil::date(2026, 6, 1);

/// A register, as nabar and as the model have it.
pub(crate) struct Known {
    pub(crate) model: Model,
    pub(crate) register: Register,
    pub(crate) file: PathBuf,
    /// A data directory of the same register.
    pub(crate) data: PathBuf,
}

/// The directory that holds everything; the system's directory of temporary files if none was set.
pub(crate) static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();

/// A directory that does not exist yet.
pub(crate) fn new_directory() -> PathBuf {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let parent =
        DIRECTORY.get_or_init(|| std::env::temp_dir().join(format!("nabar-fuzz-{}", std::process::id())));
    parent.join(NUMBER.fetch_add(1, Ordering::Relaxed).to_string())
}

/// Builds the register of a random extract.
fn known(seed: u64, make: impl FnOnce(&mut Random, &Path) -> Model) -> Known {
    let directory = new_directory();
    let extract = directory.join("extract");
    fs::create_dir_all(&extract).expect("created");
    let model = make(&mut Random::new(seed), &extract);
    let file = directory.join("register.nabar");
    nabar::build(&extract, &file, &BuildOptions::lenient()).expect("built");
    let data = directory.join("data");
    init(&file, &data).expect("a data directory");
    let register = Snapshot::open(&file).and_then(|file| file.register()).expect("opened");
    Known { model, register, file, data }
}

/// A FaR register.
pub(crate) static FAR: LazyLock<Known> =
    LazyLock::new(|| known(1, |random, extract| far(random, extract, 5, 60)));

/// A KRR register.
pub(crate) static KRR: LazyLock<Known> =
    LazyLock::new(|| known(2, |random, extract| krr(random, extract, DAY, 60)));

/// One of the two registers.
pub(crate) fn of(is_krr: bool) -> &'static Known {
    if is_krr { &KRR } else { &FAR }
}

/// Splits the first bytes off an input; zeros if it is shorter.
pub(crate) fn head<const BYTES: usize>(data: &[u8]) -> ([u8; BYTES], &[u8]) {
    let mut head = [0; BYTES];
    let length = data.len().min(BYTES);
    head[..length].copy_from_slice(&data[..length]);
    (head, &data[length..])
}

/// A copy of a data directory, which is removed when this is dropped. Register files are never changed, so they are
/// links.
pub(crate) struct Copy(pub(crate) PathBuf);

impl Copy {
    pub(crate) fn of(data: &Path) -> Copy {
        let copy = Copy(new_directory());
        fs::create_dir(&copy.0).expect("created");
        for entry in fs::read_dir(data).expect("listed") {
            let from = entry.expect("read").path();
            let to = copy.0.join(from.file_name().expect("a name"));
            match from.extension().is_some_and(|ending| ending == "nabar") {
                true => fs::hard_link(&from, &to).expect("linked"),
                // `fs::copy` fails when libFuzzer's clock interrupts it.
                false => fs::write(&to, fs::read(&from).expect("read")).expect("written"),
            }
        }
        copy
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The text, with an id for each `@` and the byte that follows.
pub(crate) fn with_ids(text: &[u8], ids: &[String]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.iter();
    while let Some(&byte) = bytes.next() {
        match (byte, byte == b'@') {
            (_, true) => {
                let number = usize::from(*bytes.next().unwrap_or(&b'0'));
                out.extend_from_slice(ids[number % ids.len()].as_bytes());
            }
            (byte, false) => out.push(byte),
        }
    }
    out
}
