//! The number of packages that the engine depends on.

use std::collections::BTreeSet;
use std::process::Command;

/// Most packages of the library without features, itself included.
const ENGINE_PACKAGES_MAX: usize = 90;

#[test]
fn the_engine_has_few_dependencies() {
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--no-default-features", "-e", "normal", "--prefix", "none"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo");
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let text = String::from_utf8(tree.stdout).expect("UTF-8");
    let packages: BTreeSet<&str> = text.lines().map(|line| line.trim_end_matches(" (*)")).collect();
    assert!(packages.iter().any(|package| package.starts_with("rkyv ")), "{packages:?}");
    assert!(packages.len() <= ENGINE_PACKAGES_MAX, "{} packages: {packages:?}", packages.len());
}
