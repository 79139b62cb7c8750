//! `serve`.

use super::args::Serve;
use super::{Done, Failure};
use nabar::service::{self, CannotServe, Config, OpenFailed, Registers, Service};
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use tracing_subscriber::EnvFilter;

/// Where it listens if nobody says.
const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

pub(super) fn serve(args: &Serve) -> Done {
    let config = args.config.as_deref().map(Config::read).transpose();
    let config = config.map_err(|error| Failure::Usage(error.to_string()))?.unwrap_or_default();
    let mut registers: Vec<_> =
        args.registers.iter().map(|given| (given.name.clone(), given.path.clone())).collect();
    if registers.is_empty() {
        registers = config.registers.iter().map(|given| (given.name.clone(), given.path.clone())).collect();
    }
    if registers.is_empty() {
        let text = "no register: name one with --register, or as [[register]] in the configuration";
        return Err(Failure::Usage(text.to_owned()));
    }
    log(&args.log)?;
    let max_age = args.max_age.or(config.max_age.map(|age| age.0));
    let registers = Registers::open(registers, max_age).map_err(|error| match error {
        OpenFailed::Name(_) | OpenFailed::Twice(_) => Failure::Usage(error.to_string()),
        _ => Failure::Failed(error.to_string()),
    })?;
    let service = Service::new(registers, &config)?;
    let listen = args.listen.or(config.listen).unwrap_or(LISTEN);
    let open = !config.authenticates();
    service::serve(service, listen, |at, tls| {
        let scheme = if tls { "https" } else { "http" };
        let who = if open { " for this machine only: nobody is asked who they are" } else { "" };
        // If nobody reads it, it is served all the same.
        let _ = writeln!(io::stderr(), "listening on {scheme}://{at}{who}");
    })?;
    Ok(())
}

impl From<CannotServe> for Failure {
    fn from(error: CannotServe) -> Failure {
        match error {
            CannotServe::Open => Failure::Usage(error.to_string()),
            _ => Failure::Failed(error.to_string()),
        }
    }
}

fn log(level: &str) -> Done {
    let filter = EnvFilter::builder().parse(level);
    let filter = filter.map_err(|_| Failure::Usage("--log is error, warn, info, debug or off".to_owned()))?;
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .init();
    Ok(())
}
