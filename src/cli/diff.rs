//! `diff`.

use super::args::{Connection, DiffArgs};
use super::{CommandResult, Failure, InputRegister};
use nabar::changes::difference;
use nabar::register::Register;
use nabar::replica::{self, Follow};
use nabar::store::Reader;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

pub(super) fn diff(args: &DiffArgs) -> CommandResult {
    let (a, b) = (register(&args.a, &args.connection)?, register(&args.b, &args.connection)?);
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

/// The register in a file or a data directory, or the current one of a service.
fn register(given: &Path, connection: &Connection) -> Result<Arc<Register>, Failure> {
    let address = given.to_str().filter(|text| text.starts_with("http://") || text.starts_with("https://"));
    let Some(address) = address else {
        return Ok(InputRegister::open(given)?.register());
    };
    let failed =
        |error| Failure::Failed(format!("cannot write to the directory for temporary files: {error}"));
    let work = tempfile::tempdir().map_err(failed)?;
    let directory = work.path().join("register");
    let source = connection.to(address);
    let follow = Follow { directory: directory.clone(), once: true, checkpoint_at: u64::MAX };
    replica::follow(&source, &follow, |_| {})?;
    // The files stay mapped after the directory is removed.
    Ok(Reader::open(&directory)?.register())
}
