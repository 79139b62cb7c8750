//! What the project promises of its own shape.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(directory: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in fs::read_dir(directory).expect("a directory").flatten().map(|entry| entry.path()) {
        match path.is_dir() {
            true => found.extend(files(&path, ending)),
            false if path.extension().is_some_and(|e| e == ending) => found.push(path),
            false => {}
        }
    }
    found
}

fn sources() -> Vec<(PathBuf, String)> {
    let directories = ["src", "tests", "benches", "tools"].map(|name| files(&root().join(name), "rs"));
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).expect("source");
        (path.strip_prefix(root()).expect("inside").to_owned(), text)
    };
    directories.into_iter().flatten().map(read).collect()
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
const LAYERS: [&str; 18] = [
    "limits",
    "cpu",
    "memory",
    "files",
    "rejected",
    "signing",
    "identities",
    "index",
    "consent",
    "register",
    "snapshot",
    "extract",
    "changes",
    "store",
    "replica",
    "fleet",
    "mailing",
    "service",
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

#[test]
fn every_dependency_says_why_it_is_there() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("manifest");
    let mut in_dependencies = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            in_dependencies = line.contains("dependencies");
        } else if in_dependencies && line.contains('=') {
            assert!(line.contains('#'), "{line}");
        }
    }
}
