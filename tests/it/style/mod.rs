//! Rules for the source itself: length, layers, unsafe code, wording, manifests.

mod cycles;
mod wording;

use crate::support::workspace::root;
use std::fs;
use std::path::{Path, PathBuf};

/// All files of some directories, and single files, in the order of their names.
fn text_files(paths: &[PathBuf]) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            let is_built = |path: &PathBuf| path.ends_with("target") || path.ends_with("__pycache__");
            let entries = fs::read_dir(path).expect("a directory").flatten().map(|entry| entry.path());
            let mut entries: Vec<PathBuf> = entries.filter(|path| !is_built(path)).collect();
            entries.sort();
            files.extend(text_files(&entries));
        } else {
            files.push(path.clone());
        }
    }
    files
}

/// The content of a text file; `None` if it is binary.
fn read(path: &Path) -> Option<String> {
    String::from_utf8(fs::read(path).expect("a file")).ok()
}

fn sources() -> Vec<(PathBuf, String)> {
    let directories = ["src", "tests", "benches", "tools"].map(|name| root().join(name));
    let files =
        text_files(&directories).into_iter().filter(|path| path.extension().is_some_and(|e| e == "rs"));
    let with_text = |path: PathBuf| {
        let text = read(&path).expect("source");
        (path.strip_prefix(root()).expect("inside").to_owned(), text)
    };
    files.map(with_text).collect()
}

#[test]
fn files_stay_short() {
    for (path, text) in sources() {
        let lines = text.lines().count();
        assert!(lines <= 700, "{} has {lines} lines", path.display());
    }
}

#[test]
fn unsafe_code_is_in_four_files_and_each_block_says_why() {
    let mut allowed = Vec::new();
    for (path, text) in sources().into_iter().filter(|(path, _)| path.starts_with("src")) {
        if text.contains("allow(unsafe_code)") {
            allowed.push(path.display().to_string());
            let blocks = text.matches("unsafe {").count();
            let reasons = text.matches("// SAFETY: ").count();
            assert_eq!(blocks, reasons, "{}", path.display());
        }
    }
    allowed.sort();
    assert_eq!(allowed, ["src/cpu.rs", "src/index/kernel.rs", "src/main.rs", "src/memory.rs"]);
}

/// Modules from the lowest to the highest: each may use those before it.
const LAYERS: [&str; 31] = [
    "limits",
    "time",
    "line_reader",
    "plain_text",
    "recurring",
    "cpu",
    "memory",
    "files",
    "rejected",
    "signing",
    "identities",
    "index",
    "organisations",
    "consent",
    "register",
    "decode",
    "snapshot",
    "extract",
    "changes",
    "store",
    "registration",
    "replica",
    "fleet",
    "source",
    "channels",
    "runs",
    "sheets",
    "mailing",
    "service",
    "sandbox",
    "error",
];

#[test]
fn modules_depend_downwards_only() {
    let place = |name: &str| LAYERS.iter().position(|layer| *layer == name);
    for (path, text) in sources() {
        let Ok(inside) = path.strip_prefix("src") else { continue };
        let module = inside.iter().next().and_then(|name| name.to_str()).unwrap_or_default();
        let module = module.trim_end_matches(".rs");
        if ["lib", "main", "cli"].contains(&module) || inside.ends_with("tests.rs") {
            continue;
        }
        let own = place(module).unwrap_or_else(|| panic!("{module} has no layer: add it to LAYERS"));
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        for used in code
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
            .flat_map(|line| line.split("crate::").skip(1))
        {
            let name = used.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
            if let Some(other) = place(name) {
                assert!(other <= own, "{}: {module} uses {name}, which is above it", path.display());
            }
        }
    }
}

/// What creates files and directories, or removes whole trees. `src/files` does so without following links, exclusively,
/// and with private permissions.
const CREATING: [&str; 12] = [
    "File::create",
    "File::options().write(true).create",
    "OpenOptions",
    "generate_to(",
    "create_dir(",
    "create_dir_all(",
    "create_new(true)",
    "fs::copy(",
    "fs::write(",
    "remove_dir_all(",
    "temp_dir()",
    "tempfile::",
];

#[test]
fn files_are_created_in_one_place() {
    for (path, text) in sources() {
        let is_test = path.components().any(|part| part.as_os_str() == "tests") || path.ends_with("tests.rs");
        if !path.starts_with("src") || path.starts_with("src/files") || is_test {
            continue;
        }
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        for line in code.lines().map(str::trim).filter(|line| !line.starts_with("//")) {
            let is_creating = CREATING.iter().any(|creating| line.contains(creating));
            assert!(!is_creating, "{}: {line}", path.display());
        }
    }
}

#[test]
fn every_dependency_has_a_comment() {
    for line in dependencies("Cargo.toml").lines().filter(|line| line.contains('=')) {
        assert!(line.contains('#'), "{line}");
    }
}

/// Groups end at blank lines, comment lines and headings.
#[test]
fn dependencies_are_in_alphabetical_order_within_their_group() {
    for manifest in ["Cargo.toml", "tools/generate/Cargo.toml", "benches/peers/Cargo.toml"] {
        let (mut before, mut unordered) = ("", Vec::new());
        let text = dependencies(manifest);
        for line in text.lines() {
            if line.is_empty() || line.starts_with(['#', '[']) {
                before = "";
            } else if line.starts_with(|first: char| first.is_ascii_alphabetic()) {
                let name = line.split([' ', '=', '.']).next().unwrap_or_default();
                if name <= before {
                    unordered.push(format!("{name} after {before}"));
                }
                before = name;
            }
        }
        assert!(unordered.is_empty(), "{manifest}: {}", unordered.join(", "));
    }
}

/// The sections of a manifest that list dependencies.
fn dependencies(manifest: &str) -> String {
    let text = read(&root().join(manifest)).expect("manifest");
    let mut in_dependencies = false;
    let kept = text.lines().filter(|line| {
        if line.starts_with('[') {
            in_dependencies = line.contains("dependencies");
        }
        in_dependencies
    });
    kept.collect::<Vec<_>>().join("\n")
}
