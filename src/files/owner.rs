//! Owners of files and directories: who may write where, and what a message about a refusal says.

use super::folder::Folder;
use rustix::fs::Stat;
use rustix::process::{getegid, geteuid, getgroups};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The user that files are created for.
pub(super) fn this_user() -> u32 {
    geteuid().as_raw()
}

fn is_member(group: u32) -> bool {
    let others = getgroups().unwrap_or_default();
    getegid().as_raw() == group || others.iter().any(|other| other.as_raw() == group)
}

/// The name of a user, or its number if `/etc/passwd` does not have it.
fn name_of(user: u32) -> String {
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(user)).then(|| name.to_owned())
    });
    name.unwrap_or_else(|| format!("user {user}"))
}

/// The error of the system with who owns the file or directory that refused, and what to do, if it is a refusal of
/// permission.
pub(crate) fn explained(path: &Path, error: io::Error) -> io::Error {
    if error.kind() != io::ErrorKind::PermissionDenied || error.raw_os_error().is_none() || this_user() == 0 {
        return error;
    }
    // What refused: the file, or the nearest directory above it that can be seen.
    let here =
        |path: &Path| if path.as_os_str().is_empty() { Path::new(".").to_owned() } else { path.to_owned() };
    let found = path.ancestors().map(here).find_map(|path| Some((fs::metadata(&path).ok()?, path)));
    let Some((entry, path)) = found else { return error };
    let (path, owner, mode) = (path.display(), name_of(entry.uid()), entry.mode() & 0o7777);
    let user = name_of(this_user());
    let text = match entry.uid() == this_user() {
        true => {
            format!("permission denied: {path} has the mode {mode:04o}: allow its owner to use it with chmod")
        }
        false => format!(
            "permission denied: {path} belongs to {owner} with the mode {mode:04o}, and this command runs as {user}: run \
             it as {owner}, or let a group in (--mode 0640 when the files are made, chmod g+r or g+rx afterwards)"
        ),
    };
    io::Error::new(io::ErrorKind::PermissionDenied, text)
}

impl Folder {
    /// Checks that this user may write to a directory that several may use: it belongs to this user or to root, this user is
    /// root, or it is writable by a group of this user.
    ///
    /// Errors: `PermissionDenied`.
    pub(crate) fn check_writer(&self) -> io::Result<()> {
        let entry = self.stat()?;
        let of_group = entry.st_mode & 0o020 != 0 && is_member(entry.st_gid);
        if [0, this_user()].contains(&entry.st_uid) || this_user() == 0 || of_group {
            return Ok(());
        }
        let (path, owner) = (self.path().display(), name_of(entry.st_uid));
        Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!(
                "{path} belongs to {owner}, and only {owner}, root, and the group of a group-writable directory (--mode 0660) \
                 write to it: run the command as {owner}"
            ),
        ))
    }

    /// Checks that a file in the directory is the kind of file that a writer may write to. Another user could have linked
    /// a file of a third one, or of root, into its own directory.
    pub(crate) fn check_writable(&self, entry: &Stat) -> io::Result<()> {
        let is_here_only = entry.st_nlink == 1 || entry.st_uid == self.stat()?.st_uid;
        match super::is_regular(entry) && is_here_only {
            true => Ok(()),
            false => Err(super::folder::foreign(self.path(), "a directory with a file")),
        }
    }

    /// Gives a file that was created in the directory the directory's group, and its owner if this user is root, so that
    /// all who use the directory can use the file.
    pub(crate) fn adopt(&self, file: &File) -> io::Result<()> {
        let (directory, entry) = (self.stat()?, rustix::fs::fstat(file)?);
        if (directory.st_uid, directory.st_gid) == (entry.st_uid, entry.st_gid) {
            return Ok(());
        }
        let owner = (this_user() == 0).then(|| rustix::fs::Uid::from_raw(directory.st_uid));
        let group = Some(rustix::fs::Gid::from_raw(directory.st_gid));
        match rustix::fs::fchown(file, owner, group) {
            // The owner of a directory need not be a member of its group.
            Err(rustix::io::Errno::PERM) => Ok(()),
            changed => Ok(changed?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, chown};

    #[test]
    fn names_of_users_are_those_of_the_system() {
        assert_eq!(name_of(0), "root");
        assert_eq!(name_of(4_000_000_123), "user 4000000123");
    }

    #[test]
    fn other_errors_are_not_explained() {
        let missing = explained(Path::new("none"), io::Error::from_raw_os_error(2));
        assert_eq!(missing.raw_os_error(), Some(2));
        let own = explained(Path::new("none"), io::Error::new(io::ErrorKind::PermissionDenied, "ours"));
        assert_eq!(own.to_string(), "ours");
    }

    #[test]
    fn created_files_get_owner_and_group_of_the_directory() {
        let directory = tempfile::tempdir().expect("directory");
        let folder = Folder::open(directory.path()).expect("opened");
        let file = folder.create_file("own", super::super::FileMode::PRIVATE).expect("created");
        folder.adopt(&file).expect("nothing to change");
        if chown(directory.path(), Some(65534), Some(65533)).is_err() {
            eprintln!("skipped: only root gives files away");
            return;
        }
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o770)).expect("set");
        folder.check_writer().expect("root");
        folder.adopt(&file).expect("changed");
        let found = file.metadata().expect("there");
        assert_eq!((found.uid(), found.gid()), (65534, 65533));
        // A file of a third user that was linked into the directory.
        fs::write(directory.path().join("third"), "").expect("written");
        fs::hard_link(directory.path().join("third"), directory.path().join("linked")).expect("linked");
        let entry = folder.entry("linked").expect("read").expect("there");
        assert!(folder.check_writable(&entry).is_err());
        chown(directory.path().join("third"), Some(65534), None).expect("given");
        let entry = folder.entry("linked").expect("read").expect("there");
        assert!(folder.check_writable(&entry).is_ok());
    }
}
