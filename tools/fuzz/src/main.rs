//! The entry of libFuzzer. The environment variable `NABAR_FUZZ_TARGET` names the target; without it the targets are
//! listed, with the length of their longest inputs. `NABAR_FUZZ_DIRECTORY` names the directory that they write to.

#![no_main]

use nabar_fuzz::{TARGETS, Target, target, work_in};
use std::sync::OnceLock;

static TARGET: OnceLock<&'static Target> = OnceLock::new();

libfuzzer_sys::fuzz_target!(
    init: {
        let Ok(name) = std::env::var("NABAR_FUZZ_TARGET") else {
            for target in &TARGETS {
                println!("{} {}", target.name, target.input_bytes_max);
            }
            std::process::exit(0);
        };
        let target = target(&name).unwrap_or_else(|| panic!("no target has the name {name}"));
        if let Some(directory) = std::env::var_os("NABAR_FUZZ_DIRECTORY") {
            work_in(directory.into());
        }
        // Called once.
        let _ = TARGET.set(target);
    },
    |data: &[u8]| {
        if let Some(target) = TARGET.get() {
            (target.run)(data);
        }
    }
);
