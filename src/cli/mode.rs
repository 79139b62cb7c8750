//! `--mode`: permissions of what commands create.

use super::args::{
    Build, Check, Command, Export, FollowArgs, Init, PublishArgs, RecheckArgs, ReconcileArgs, ResolveArgs,
    Split,
};
use clap::Args;
use nabar::files::FileMode;

/// Permissions of what a command creates.
#[derive(Args)]
pub(crate) struct ModeArgs {
    /// Permissions of created files, in octal, such as 0640 for a group that reads them; directories get the matching x
    #[arg(long, value_name = "MODE", default_value_t = FileMode::PRIVATE)]
    pub(crate) mode: FileMode,
}

impl Command {
    /// The permissions of what the command creates; `None` if it leaves them to the umask.
    pub(crate) fn mode(&self) -> Option<FileMode> {
        match self {
            Command::Build(Build { mode, .. })
            | Command::Export(Export { mode, .. })
            | Command::Check(Check { mode, .. })
            | Command::Split(Split { mode, .. })
            | Command::Resolve(ResolveArgs { mode, .. })
            | Command::Recheck(RecheckArgs { mode, .. })
            | Command::Reconcile(ReconcileArgs { mode, .. })
            | Command::Init(Init { mode, .. })
            | Command::Follow(FollowArgs { mode, .. })
            | Command::Publish(PublishArgs { mode, .. }) => Some(mode.mode),
            // Man pages are for everyone.
            Command::Man { .. } | Command::Completions { .. } => None,
            _ => Some(FileMode::PRIVATE),
        }
    }
}
