//! `sandbox`.

use super::args::SandboxArgs;
use super::serve::start_log;
use super::{CommandResult, Failure, check_open_files, log};
use nabar::sandbox::{self, SandboxError, SandboxOptions};

pub(super) fn sandbox(args: &SandboxArgs) -> CommandResult {
    check_open_files()?;
    let _written = start_log(&args.log)?;
    let SandboxArgs { listen, listen_plain, state, seed, names, faults, .. } = args.clone();
    let options = SandboxOptions { listen, listen_plain, state, seed, names, faults };
    sandbox::run(&options, |ready| {
        let directory = ready.directory.display();
        // Scripts wait for the last line. If standard error is closed, the sandbox runs all the same.
        for line in [
            format!("FaR           {}/far/Recipient/v3", ready.address),
            format!("KRR           {}/krr", ready.address),
            format!("Maskinporten  {}/", ready.address),
            format!("Kivra         {}/kivra", ready.address),
            format!(
                "files         {directory}: certificates, keys, far.toml, krr.toml, kivra.toml, recipients.csv"
            ),
            format!("ready         {}/sandbox says which id is in which state", ready.plain_address),
        ] {
            log::write_line(&line);
        }
    })?;
    Ok(())
}

impl From<SandboxError> for Failure {
    fn from(error: SandboxError) -> Failure {
        Failure::Failed(error.to_string())
    }
}
