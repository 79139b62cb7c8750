//! What the fuzz targets do with an input.
//!
//! A target reads an input that a stranger may have written, and panics if nabar breaks a promise about it: nothing
//! panics, hangs or overflows, two readers of the same bytes agree, and the naive model of `tests/it/model/` gives the
//! same answers. `tools/fuzz/run` gives random inputs to the targets, `cargo test -p nabar-fuzz` those in `corpora/`.

mod changes;
mod data;
mod identity;
mod lists;
mod log;
mod model;
mod register;
mod runs;
mod service;
mod source;
mod support;
mod workbooks;

/// A fuzz target.
pub struct Target {
    /// Its name, that of its directory in `corpora/`.
    pub name: &'static str,
    /// Longest useful input in bytes.
    pub input_bytes_max: usize,
    /// Tries an input; panics if nabar breaks a promise.
    pub run: fn(&[u8]),
}

/// All targets.
pub const TARGETS: [Target; 13] = [
    Target { name: "identity", input_bytes_max: 64, run: identity::run },
    Target { name: "list", input_bytes_max: 2048, run: lists::check },
    Target { name: "split", input_bytes_max: 2048, run: lists::split },
    Target { name: "run", input_bytes_max: 1024, run: runs::run },
    Target { name: "workbook", input_bytes_max: 2048, run: workbooks::run },
    Target { name: "register", input_bytes_max: 256, run: register::run },
    Target { name: "log", input_bytes_max: 8192, run: log::run },
    Target { name: "changes", input_bytes_max: 4096, run: changes::run },
    Target { name: "pages", input_bytes_max: 4096, run: changes::pages },
    Target { name: "soap", input_bytes_max: 4096, run: service::soap },
    Target { name: "json", input_bytes_max: 4096, run: service::json },
    Target { name: "http", input_bytes_max: 4096, run: service::http },
    Target { name: "source", input_bytes_max: 2048, run: source::run },
];

/// The target of a name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

/// Sets the directory of registers and outputs, which the caller removes. Only the first call has an effect.
pub fn work_in(directory: std::path::PathBuf) {
    let _ = data::DIRECTORY.set(directory);
}
