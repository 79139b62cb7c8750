//! Register files that are refused, with recorded instead of real delays.

use super::fast_directory;
use crate::register::Register;
use crate::replica::following::run;
use crate::replica::{ChangeBatch, Event, Follow, FollowError, Offer, Source};
use std::cell::{Cell, RefCell};
use std::io::Read;
use std::time::Duration;

/// Offers a file that is not a register file a number of times, and then refuses.
struct BadSource {
    digest: String,
    offers: Cell<u32>,
    downloads: Cell<u32>,
    events: RefCell<Vec<Event>>,
}

const FILE: &[u8] = b"not a register file";

impl Source for BadSource {
    fn offer(&self) -> Result<Offer, FollowError> {
        let left = self.offers.get().checked_sub(1);
        self.offers.set(left.ok_or_else(|| FollowError::Refused { status: 403, detail: "no".to_owned() })?);
        let (register, digest, bytes) = ("far".to_owned(), self.digest.clone(), FILE.len() as u64);
        Ok(Offer { register, digest, bytes, sequence: 1000, latest: 1000 })
    }

    fn snapshot(&self, _: &Offer, from: u64) -> Result<Option<Box<dyn Read + '_>>, FollowError> {
        self.downloads.set(self.downloads.get() + 1);
        Ok(Some(Box::new(&FILE[from as usize..])))
    }

    fn changes(&self, _: &Register, _: usize, _: Duration) -> Result<ChangeBatch, FollowError> {
        panic!("there is no replica")
    }

    fn pause(&self, _: Duration) {}
}

/// Result and number of downloads.
fn followed(digest: &str, offers: u32, once: bool) -> (Result<(), FollowError>, u32) {
    let files = fast_directory();
    let source = BadSource {
        digest: digest.to_owned(),
        offers: Cell::new(offers),
        downloads: Cell::new(0),
        events: RefCell::default(),
    };
    let follow = Follow { directory: files.path().join("replica"), once, checkpoint_at: u64::MAX };
    let result = run(&follow, &source, &mut |event| source.events.borrow_mut().push(event));
    let events = source.events.into_inner();
    let reported = events.iter().filter(|event| matches!(event, Event::BadFile(_))).count();
    assert_eq!(reported, usize::from(!once), "{events:?}");
    assert!(!follow.directory.exists(), "nothing was created");
    (result, source.downloads.get())
}

/// A file that is the one on offer is not downloaded again soon; one that differs is, with the delays of all attempts.
#[test]
fn refused_files_are_downloaded_again_now_and_then() {
    let own = blake3::hash(FILE).to_hex().to_string();
    for (offers, downloads) in [(1, 1), (2, 1), (121, 1), (122, 2), (242, 2), (243, 3)] {
        let (ended, downloaded) = followed(&own, offers, false);
        assert!(matches!(ended, Err(FollowError::Refused { .. })), "{ended:?}");
        assert_eq!(downloaded, downloads, "{offers} offers");
    }
    let (ended, downloaded) = followed(&"0".repeat(64), 50, false);
    assert!(matches!(ended, Err(FollowError::Refused { .. })), "{ended:?}");
    assert_eq!(downloaded, 50);
    // A scheduled job ends.
    let (ended, downloaded) = followed(&own, 50, true);
    assert!(matches!(ended, Err(FollowError::BadFile(_))), "{ended:?}");
    assert_eq!(downloaded, 1);
    let (ended, downloaded) = followed(&"0".repeat(64), 50, true);
    assert!(matches!(ended, Err(FollowError::Altered)), "{ended:?}");
    assert_eq!(downloaded, 2, "a partial download may have been damaged");
}
