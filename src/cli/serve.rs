//! `serve`.

use super::args::Serve;
use super::follow::{Said, is_alarm};
use super::{Done, Failure};
use nabar::replica::{self, Event, Follow};
use nabar::service::{self, CannotServe, Config, OpenFailed, Registers, Service};
use nabar::signing::Keys;
use nabar::store::CHECKPOINT_AT;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::mpsc::channel;
use std::thread;
use tracing_subscriber::EnvFilter;

/// Where it listens if nobody says.
const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

pub(super) fn serve(args: &Serve) -> Done {
    let config = args.config.as_deref().map(Config::read).transpose();
    let mut config = config.map_err(|error| Failure::Usage(error.to_string()))?.unwrap_or_default();
    config.replicas.keys.extend(args.sign.iter().cloned());
    Keys::read(&config.replicas.keys)?;
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
    match &args.follow {
        Some(address) => follow_beside(args, address, &registers)?,
        None => args.connection.only(&[], "without --follow")?,
    }
    let max_age = args.max_age.or(config.max_age.map(|age| age.0));
    let registers = Registers::open(registers, max_age, &config.replicas).map_err(|error| match error {
        OpenFailed::Name(_) | OpenFailed::Twice(_) | OpenFailed::NoParts(_) => {
            Failure::Usage(error.to_string())
        }
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

/// Follows the register of another service in a thread of its own; returns when there is something to serve.
fn follow_beside(args: &Serve, address: &str, registers: &[(String, PathBuf)]) -> Done {
    let [(_, directory)] = registers else {
        let text = "--follow follows one register: name one data directory with --register";
        return Err(Failure::Usage(text.to_owned()));
    };
    let source = args.connection.to(address);
    let follow = Follow { directory: directory.clone(), once: false, checkpoint_at: CHECKPOINT_AT };
    let (opened, is_open) = channel();
    thread::spawn(move || {
        let mut said = Said::default();
        let ended = replica::follow(&source, &follow, |event| {
            if matches!(event, Event::Open(_)) {
                // Whoever waited for the first has gone.
                let _ = opened.send(Ok(()));
            }
            match said.line(&event) {
                Some(what) if is_alarm(&event) => tracing::error!(what, "replica"),
                Some(what) => tracing::info!(what, "replica"),
                None => {}
            }
        });
        if let Err(error) = ended {
            tracing::error!(%error, "the replica follows no more; what it has is served on");
            let _ = opened.send(Err(error));
        }
    });
    // Only a thread that panicked tells nothing.
    let gone = || Failure::Failed("the replica cannot be followed".to_owned());
    Ok(is_open.recv().map_err(|_| gone())??)
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
