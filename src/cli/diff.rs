//! `diff`.

use super::args::DiffArgs;
use super::{CommandResult, Failure, InputRegister};
use nabar::changes::difference;
use nabar::files::WorkDirectory;
use nabar::register::Register;
use nabar::replica::{self, Follow};
use nabar::store::Reader;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

pub(super) fn diff(args: &DiffArgs) -> CommandResult {
    let (a, b) = (register(&args.a, &args.b, args)?, register(&args.b, &args.a, args)?);
    if a.kind() != b.kind() {
        let (a, b) = (a.kind().name(), b.kind().name());
        return Err(Failure::Usage(format!("these are registers of two countries: {a} and {b}")));
    }
    let different = a.content()? != b.content()?;
    if different && !args.quiet {
        let mut out = BufWriter::with_capacity(1 << 18, io::stdout().lock());
        difference::<Failure>(&a, &b, |change| Ok(writeln!(out, "{}", change.to_json())?))?;
        out.flush()?;
    }
    match different {
        true => Err(Failure::Refused("the registers have different content".to_owned())),
        false => Ok(()),
    }
}

/// The address of a service, if it is one.
fn address(given: &Path) -> Option<&str> {
    given.to_str().filter(|text| text.starts_with("http://") || text.starts_with("https://"))
}

/// The register in a file or a data directory, or the current one of a service, which is kept beside the `other` one
/// meanwhile.
fn register(given: &Path, other: &Path, args: &DiffArgs) -> Result<Arc<Register>, Failure> {
    let Some(address) = address(given) else {
        return Ok(InputRegister::open(given)?.register());
    };
    let beside = match self::address(other) {
        None => other.parent().unwrap_or(Path::new("")),
        Some(_) => Path::new(""),
    };
    let beside = args.work.as_deref().unwrap_or(beside);
    let failed = |error| {
        let named = if beside.as_os_str().is_empty() { Path::new(".") } else { beside }.display();
        Failure::Failed(format!(
            "cannot keep a register in {named} meanwhile: {error}; --work names another directory"
        ))
    };
    let work = WorkDirectory::create(beside).map_err(failed)?;
    let directory = work.path().join("register");
    let source = args.connection.to(address);
    let follow = Follow { directory: directory.clone(), once: true, checkpoint_at: u64::MAX };
    replica::follow(&source, &follow, |_| {})?;
    // The files stay mapped after the directory is removed.
    Ok(Reader::open(&directory)?.register())
}
