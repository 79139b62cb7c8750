//! Register files that are not the one on offer, or that are damaged: a replica goes on trying.

use super::attacks::forged_file;
use super::logged::metric;
use super::proxy::{ProxiedResponse, Proxy};
use super::{apply, same, served};
use crate::support::client::Server;
use crate::support::workspace::{lines_of, register_file};
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

type Does = Box<dyn FnMut(ProxiedResponse) -> Option<ProxiedResponse> + Send>;

/// Following does not end, and begins when the file is good. What is refused is reported once. A file that differs from
/// its offer is downloaded again; a damaged one that is the one on offer is not.
#[test]
fn refused_register_files_are_waited_for() {
    for (why, is_downloaded_again) in [("the digests differ", true), ("its checksum does not match", false)] {
        let (work, server) = served("far");
        let proxy = Proxy::to(server.address());
        let mut does: Does = match is_downloaded_again {
            true => Box::new(|mut answer| {
                if let Some(byte) = answer.body.get_mut(5000) {
                    *byte ^= 1;
                }
                Some(answer)
            }),
            false => {
                let file = fs::read(work.path("source").join(register_file(1000))).expect("a register file");
                Box::new(forged_file(file))
            }
        };
        let downloads = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&downloads);
        proxy.does(move |answer| {
            counted.fetch_add(usize::from(answer.body.len() > 5000), Ordering::Relaxed);
            does(answer)
        });
        let follow = ["follow", &proxy.address(), "replica", "--metrics-listen", "127.0.0.1:0"];
        let mut replica = Server::of(work.spawn(&follow));
        work.until("it tries again", || metric(&replica, "transfers_failed_total") >= 4.0);
        assert_eq!(metric(&replica, "connected"), 0.0, "{why}");
        let metrics = replica.get("/metrics");
        let sequence = metrics.text().lines().find(|line| line.starts_with("nabar_follow_source_sequence"));
        assert_eq!(sequence, None, "the source has not stated one that is believed");
        assert_eq!(downloads.load(Ordering::Relaxed) > 3, is_downloaded_again, "{why}");
        assert!(!work.path("replica").exists() && !replica.is_over(), "{why}");
        let log = replica.errors();
        assert_eq!(log.matches(" WARN trying again: ").count(), 1, "{log}");
        assert!(log.contains(why), "{log}");
        proxy.does(Some);
        work.until("it follows", || metric(&replica, "connected") == 1.0);
        apply(&work, &server, &lines_of("changes/far.jsonl")[..10]);
        work.until("it has the changes", || metric(&replica, "sequence") == 1010.0);
        assert_eq!(replica.errors().matches(" INFO the source is back").count(), 1);
        drop(replica);
        same(&work);
    }
}
