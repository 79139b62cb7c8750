//! The outputs of a tool, compared independently of the order of rows.

use rayon::prelude::*;
use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

/// Number of rows and sum of their hashes, of each file that has rows.
#[derive(Clone)]
pub(super) struct Outputs {
    files: BTreeMap<String, (u64, u64)>,
    /// Length of all files.
    pub(super) bytes: u64,
}

impl PartialEq for Outputs {
    fn eq(&self, other: &Outputs) -> bool {
        self.files == other.files
    }
}

/// Rows of a file without its header.
fn rows(path: &Path) -> (u64, u64) {
    let bytes = fs::read(path).expect("a file");
    let hash = |line: &[u8]| {
        let mut hasher = DefaultHasher::new();
        line.hash(&mut hasher);
        (1, hasher.finish())
    };
    let body = bytes.iter().position(|&byte| byte == b'\n').map_or(bytes.len(), |end| end + 1);
    let lines = bytes[body..].par_split_inclusive(|&byte| byte == b'\n');
    lines.map(|line| hash(line.trim_ascii_end())).reduce(|| (0, 0), added)
}

fn added(one: (u64, u64), other: (u64, u64)) -> (u64, u64) {
    (one.0 + other.0, one.1.wrapping_add(other.1))
}

/// The CSV files of a directory, with the name of what they hold: their own, or that of their partition.
fn files(directory: &Path) -> Vec<(String, PathBuf)> {
    let mut found = Vec::new();
    for path in fs::read_dir(directory).expect("a directory").flatten().map(|entry| entry.path()) {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            let partition = name.split('=').next_back().unwrap_or_default().to_owned();
            found.extend(files(&path).into_iter().map(|(_, path)| (partition.clone(), path)));
        } else if path.extension().is_some_and(|ending| ending == "csv") {
            found.push((name, path));
        }
    }
    found
}

impl Outputs {
    /// Reads all outputs.
    pub(super) fn read(directory: &Path) -> Outputs {
        let mut outputs = Outputs { files: BTreeMap::new(), bytes: 0 };
        for (name, path) in files(directory) {
            let sum = outputs.files.entry(name).or_default();
            *sum = added(*sum, rows(&path));
            outputs.bytes += fs::metadata(&path).expect("a file").len();
        }
        outputs.files.retain(|_, (count, _)| *count > 0);
        outputs
    }

    /// All files but the feedback hold the rows of the list, and the feedback has as many.
    pub(super) fn check_total(&self, list: &Path, count: usize) {
        let all = self.files.iter().filter(|(name, _)| *name != "feedback").map(|(_, sum)| *sum);
        assert_eq!(all.reduce(added), Some(rows(list)), "the rows of the outputs are the rows of the list");
        assert_eq!(self.files["feedback"].0, count as u64);
    }
}
