//! File-system events of files and directories, with polling where the file system has none.

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Calls a function when one of some paths may have changed.
///
/// The owner examines the paths in a loop: it calls [`renew`](Self::renew), reads, and waits for the call. Some changes
/// cause no event (behind a symbolic link), so it should also read at long intervals without a call, and at the interval
/// of [`interval`](Self::interval) if there is one.
pub(crate) struct FileWatch {
    /// `None` if the system gives no watcher.
    watcher: Option<RecommendedWatcher>,
    directories: Vec<WatchedDirectory>,
}

struct WatchedDirectory {
    path: PathBuf,
    /// Device and inode of the directory that is watched under this path.
    watched: Option<(u64, u64)>,
}

impl FileWatch {
    /// Watches the contents of the directories among `paths`, and the entries of the directories that the paths are in.
    pub(crate) fn new(paths: &[PathBuf], wake: impl Fn() + Send + 'static) -> FileWatch {
        let absolute = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
        let paths: Vec<PathBuf> = paths.iter().map(absolute).collect();
        let mut directories: Vec<PathBuf> = paths
            .iter()
            .flat_map(|path| path.parent().map(Path::to_owned).into_iter().chain(Some(path.clone())))
            .collect();
        directories.sort();
        directories.dedup();
        let directories =
            directories.into_iter().map(|path| WatchedDirectory { path, watched: None }).collect();
        let handler = move |event: notify::Result<Event>| {
            if event.as_ref().map_or(true, |event| concerns(event, &paths)) {
                wake();
            }
        };
        let watcher = notify::recommended_watcher(handler);
        if let Err(error) = &watcher {
            tracing::warn!(%error, "no file-system events: files are polled");
        }
        FileWatch { watcher: watcher.ok(), directories }
    }

    /// Watches directories that have been created or replaced since the last call.
    pub(crate) fn renew(&mut self) {
        let Some(watcher) = &mut self.watcher else { return };
        for directory in &mut self.directories {
            let metadata = std::fs::metadata(&directory.path).ok().filter(std::fs::Metadata::is_dir);
            let current = metadata.map(|metadata| (metadata.dev(), metadata.ino()));
            if current == directory.watched {
                continue;
            }
            if directory.watched.take().is_some() {
                let _ = watcher.unwatch(&directory.path);
            }
            if current.is_some() && has_events(&directory.path).unwrap_or(false) {
                let watched = watcher.watch(&directory.path, RecursiveMode::NonRecursive);
                directory.watched = current.filter(|_| watched.is_ok());
            }
        }
    }

    /// The interval to poll at, which is `poll`; `None` if all paths have events.
    pub(crate) fn interval(&self, poll: Duration) -> Option<Duration> {
        let is_watched =
            |directory: &WatchedDirectory| directory.watched.is_some() || !directory.path.is_dir();
        let all_watched = self.watcher.is_some() && self.directories.iter().all(is_watched);
        (!all_watched).then_some(poll)
    }
}

/// Whether an event may have changed what one of the paths holds. Writes to other files beside them have not; entries
/// that appear or disappear may have, since a path may lead through symbolic links.
fn concerns(event: &Event, paths: &[PathBuf]) -> bool {
    let about_path = || {
        event.paths.iter().any(|changed| paths.iter().any(|path| changed.starts_with(path)))
            || event.need_rescan()
    };
    match event.kind {
        EventKind::Access(_) => false,
        EventKind::Modify(notify::event::ModifyKind::Name(_))
        | EventKind::Create(_)
        | EventKind::Remove(_) => true,
        _ => about_path(),
    }
}

/// Whether the kernel reports the changes of a file system: not those that other machines make.
#[cfg(target_os = "linux")]
fn has_events(path: &Path) -> io::Result<bool> {
    /// Types of network and user-space file systems, as `statfs(2)` and `linux/magic.h` name them.
    const WITHOUT_EVENTS: [u32; 13] = [
        0x6969,      // NFS
        0x517B,      // SMB
        0xFF53_4D42, // CIFS
        0xFE53_4D42, // SMB2
        0x6573_5546, // FUSE
        0x0102_1997, // 9P
        0x00C3_6400, // Ceph
        0x5346_414F, // AFS
        0x7375_7245, // Coda
        0x0BD0_0BD0, // Lustre
        0x4750_4653, // GPFS
        0x7461_636F, // OCFS2
        0x0116_1970, // GFS2
    ];
    let kind = rustix::fs::statfs(path)?.f_type as u32;
    Ok(!WITHOUT_EVENTS.contains(&kind))
}

#[cfg(not(target_os = "linux"))]
fn has_events(_: &Path) -> io::Result<bool> {
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::sync::mpsc::{Receiver, channel};

    fn watch(paths: &[PathBuf]) -> (FileWatch, Receiver<()>) {
        let (sender, woken) = channel();
        let mut watch = FileWatch::new(paths, move || _ = sender.send(()));
        watch.renew();
        (watch, woken)
    }

    #[track_caller]
    fn expect_event(woken: &Receiver<()>) {
        woken.recv_timeout(Duration::from_secs(10)).expect("an event");
        // What follows belongs to the same change.
        while woken.recv_timeout(Duration::from_millis(50)).is_ok() {}
    }

    #[test]
    fn writes_and_renames_are_reported() {
        let work = tempfile::tempdir().expect("a directory");
        let data = work.path().join("data");
        fs::create_dir(&data).expect("created");
        fs::write(data.join("log"), "1").expect("written");
        let file = work.path().join("file");
        fs::write(&file, "1").expect("written");
        let (mut watch, woken) = watch(&[data.clone(), file.clone()]);
        if watch.interval(Duration::ZERO).is_some() {
            return; // A file system without events.
        }
        fs::write(data.join("log"), "22").expect("written");
        expect_event(&woken);
        fs::write(work.path().join("new"), "3").expect("written");
        fs::rename(work.path().join("new"), &file).expect("renamed");
        expect_event(&woken);
        // The directory is replaced, and its replacement is watched.
        fs::rename(&data, work.path().join("old")).expect("renamed");
        fs::create_dir(&data).expect("created");
        expect_event(&woken);
        watch.renew();
        fs::write(data.join("log"), "4").expect("written");
        expect_event(&woken);
    }

    #[test]
    fn reading_and_writes_to_other_files_are_not_reported() {
        let work = tempfile::tempdir().expect("a directory");
        let (file, other) = (work.path().join("file"), work.path().join("other"));
        fs::write(&file, "1").expect("written");
        fs::write(&other, "1").expect("written");
        let (_watch, woken) = watch(std::slice::from_ref(&file));
        fs::read(&file).expect("read");
        fs::write(&other, "2").expect("written");
        assert!(woken.recv_timeout(Duration::from_millis(200)).is_err());
    }
}
