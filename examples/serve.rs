//! Embeds the service: `cargo run --example serve -- far.nabar [127.0.0.1:8080]`
//!
//! Serves a register file or data directory on loopback until SIGINT or SIGTERM. Authentication is off; `Config` sets
//! certificates, tokens and limits, as `nabar.toml` does.

use nabar::Error;
use nabar::service::{Config, FollowRules, Registers, Service, serve};
use std::net::SocketAddr;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let register = arguments.next().ok_or("usage: serve REGISTER [ADDRESS]")?;
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:8080".to_owned()).parse()?;
    Ok(run(register.into(), address)?)
}

fn run(register: PathBuf, address: SocketAddr) -> Result<(), Error> {
    let config = Config::default();
    let registers = Registers::open(
        vec![(String::new(), register)],
        Vec::new(),
        FollowRules::default(),
        &config.replicas,
        None,
    )?;
    let service = Service::new(registers, &config)?;
    serve(service, address, None, |address, _tls| eprintln!("listening on http://{address}"))?;
    Ok(())
}
