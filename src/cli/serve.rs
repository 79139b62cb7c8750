//! `serve`.

use super::args::Serve;
use super::{Done, Failure};
use nabar::service::{self, Limits, OpenFailed, Registers, Service};
use std::io::{self, Write};
use tracing_subscriber::EnvFilter;

pub(super) fn serve(args: &Serve) -> Done {
    let registers = args.registers.iter().map(|given| (given.name.clone(), given.path.clone()));
    let registers = Registers::open(registers.collect(), args.max_age).map_err(|error| match error {
        OpenFailed::Name(_) | OpenFailed::Twice(_) => Failure::Usage(error.to_string()),
        _ => Failure::Failed(error.to_string()),
    })?;
    if !args.listen.ip().is_loopback() {
        let text = "nobody is asked who they are, so only this machine may ask: listen on 127.0.0.1 or [::1], \
                    and put a proxy that checks certificates before it";
        return Err(Failure::Usage(text.to_owned()));
    }
    log(&args.log)?;
    let service = Service::new(registers, Limits::default());
    let served = service::serve(service, args.listen, |at| {
        // If nobody reads it, it is served all the same.
        let _ = writeln!(
            io::stderr(),
            "listening on http://{at} for this machine only: nobody is asked who they are"
        );
    });
    served.map_err(|error| Failure::Failed(format!("cannot serve at {}: {error}", args.listen)))
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
