//! Follows the changes of a data directory: `cargo run --example follow -- data/far [SECONDS]`
//!
//! Another process may write to the directory meanwhile (`nabar apply`): each version is complete, and a reader keeps
//! the one it has until it refreshes.

use nabar::{Error, Reader};
use std::path::Path;
use std::time::{Duration, Instant};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().ok_or("usage: follow DIRECTORY [SECONDS]")?;
    let seconds = arguments.next().map_or(Ok(10), |seconds| seconds.parse())?;
    Ok(follow(directory.as_ref(), Duration::from_secs(seconds))?)
}

fn follow(directory: &Path, duration: Duration) -> Result<(), Error> {
    let started = Instant::now();
    let mut reader = Reader::open(directory)?;
    loop {
        let register = reader.register();
        println!("sequence {}: {} recipients", register.sequence(), register.recipients());
        while !reader.refresh()? {
            if started.elapsed() >= duration {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}
