mod json;
mod replay;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{Options, time, write};
use crate::calendar::Moment;
use crate::extract::Header;
use crate::identity::Register;
use crate::text::checksum;
use crate::{far, krr};
use replay::{FarModel, KrrModel, Line};

const KINDS: [&str; 9] = [
    "put_dispatcher",
    "put_operator",
    "put_recipient",
    "put_sender",
    "remove_dispatcher",
    "remove_operator",
    "remove_recipient",
    "remove_sender",
    "set_acceptance",
];

/// A new extract for a test.
struct Extract(PathBuf);

impl Extract {
    fn far(name: &str, recipients: u64, test_numbers: bool) -> Extract {
        let options = far::Options { recipients, senders: 40, seed: 5, ordered: false, test_numbers };
        let extract = Extract::named(name);
        far::write(&extract.0, &header(Register::Far), &options).unwrap();
        extract
    }

    fn krr(name: &str, persons: u64, xml: bool) -> Extract {
        let options = krr::Options { persons, seed: 5, ordered: false, test_numbers: true, xml };
        let extract = Extract::named(name);
        krr::write(&extract.0, &header(Register::Krr), &options).unwrap();
        extract
    }

    fn named(name: &str) -> Extract {
        let process = std::process::id();
        Extract(std::env::temp_dir().join(format!("nabar-generate-{process}-{name}")))
    }

    fn changes(&self, count: u64, seed: u64) -> String {
        changes(&self.0, count, seed, true)
    }
}

impl Drop for Extract {
    fn drop(&mut self) {
        // A failure leaves only a temporary directory.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn header(register: Register) -> Header {
    Header { register, sequence: 77, as_of: Moment::parse("2026-12-31T23:59:00Z").unwrap() }
}

fn changes(extract: &Path, count: u64, seed: u64, test_numbers: bool) -> String {
    let mut out = Vec::new();
    write(extract, &mut out, &Options { count, seed, test_numbers }).unwrap();
    String::from_utf8(out).unwrap()
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").join(name)
}

/// How often each kind of change occurs.
fn census(text: &str) -> BTreeMap<String, u64> {
    let mut census = BTreeMap::new();
    for line in text.lines() {
        *census.entry(Line::parse(line).kind).or_default() += 1;
    }
    census
}

#[test]
fn same_seed_same_bytes() {
    for extract in [Extract::far("same-far", 300, true), Extract::krr("same-krr", 300, false)] {
        assert_eq!(extract.changes(500, 1), extract.changes(500, 1));
        assert_ne!(extract.changes(500, 1), extract.changes(500, 2));
    }
}

/// Pins the output itself: a change here changes every fixture and every benchmark's data.
#[test]
fn the_output_never_changes() {
    let far = Extract::far("pinned-far", 300, true).changes(2000, 1);
    assert_eq!(checksum(far.as_bytes()), 776_825_975_007_443_053);
    let krr = Extract::krr("pinned-krr", 300, false).changes(2000, 1);
    assert_eq!(checksum(krr.as_bytes()), 806_975_146_675_318_315);
}

#[test]
fn numbers_are_contiguous_and_times_ascend() {
    for extract in [Extract::far("order-far", 50, true), Extract::krr("order-krr", 50, false)] {
        let text = extract.changes(7000, 1);
        let lines: Vec<Line> = text.lines().map(Line::parse).collect();
        assert!(lines.iter().map(|line| line.sequence).eq(78..7078));
        assert_eq!(lines[0].time, "2026-12-31T23:59:01Z");
        assert_eq!(lines[1].time, "2026-12-31T23:59:01.010Z");
        assert_eq!(lines[6999].time, "2027-01-01T00:00:10.990Z");
        // Spelt alike, but that whole seconds have no decimals.
        let spelt = |line: &Line| line.time.replace('Z', if line.time.len() == 20 { ".000Z" } else { "Z" });
        assert!(lines.iter().map(spelt).is_sorted_by(|left, right| left < right));
    }
}

#[test]
fn there_is_no_time_after_2261() {
    assert!(time(Moment::parse("2099-12-31T23:59:59Z").unwrap(), u64::MAX).is_none());
    assert!(time(Moment::parse("2099-12-31T23:59:59Z").unwrap(), u64::MAX / 10).is_none());
}

#[test]
fn far_changes_fit_the_register() {
    let mut seen = BTreeMap::new();
    for seed in 0..20 {
        let mut model = FarModel::read(&fixture("far"));
        for line in changes(&fixture("far"), 3000, seed, true).lines() {
            model.apply(&Line::parse(line));
        }
        for (what, count) in model.seen {
            *seen.entry(what).or_insert(0) += count;
        }
    }
    assert_eq!(seen.len(), 7);
    assert!(seen.values().all(|&count| count > 20), "{seen:?}");
}

#[test]
fn far_changes_of_a_larger_register_fit_too() {
    let extract = Extract::far("larger-far", 20_000, false);
    let mut model = FarModel::read(&extract.0);
    for line in changes(&extract.0, 60_000, 1, false).lines() {
        model.apply(&Line::parse(line));
    }
    assert!((22_500..23_500).contains(&model.recipients.len()), "{}", model.recipients.len());
}

#[test]
fn every_kind_occurs_in_300_changes() {
    for count in [300, 301, 337, 2000] {
        for seed in 0..30 {
            let census = census(&changes(&fixture("far"), count, seed, true));
            assert!(census.keys().eq(KINDS.iter()), "{count} changes of seed {seed}: {census:?}");
            assert!(census["put_operator"] >= 2, "the operator that was removed comes back");
        }
    }
    let empty = Extract::far("empty-far", 0, true);
    assert!(census(&empty.changes(300, 1)).keys().eq(KINDS.iter()));
}

#[test]
fn far_changes_have_the_documented_mix() {
    let extract = Extract::far("mix-far", 2000, true);
    let census = census(&extract.changes(100_000, 1));
    let share = |kind: &str| census[kind] / 1000;
    assert!((58..62).contains(&share("put_recipient")), "{census:?}");
    assert!((29..31).contains(&share("set_acceptance")), "{census:?}");
    assert!((9..11).contains(&share("remove_recipient")), "{census:?}");
    let actors: u64 = census.iter().filter(|(kind, _)| !kind.contains("recip")).map(|(_, count)| count).sum();
    assert!((10..50).contains(&(actors - census["set_acceptance"])), "{census:?}");
}

/// Every tenth of the file is chosen as often.
#[test]
fn recipients_are_chosen_evenly() {
    let extract = Extract::far("even-far", 10_000, true);
    let text = std::fs::read_to_string(extract.0.join("recipients.csv")).unwrap();
    let ids = text.lines().skip(1).map(|line| &line[..12]);
    let tenth: BTreeMap<&str, usize> = ids.enumerate().map(|(at, id)| (id, at / 1000)).collect();
    let mut chosen = [0; 10];
    for line in extract.changes(20_000, 1).lines().map(Line::parse) {
        if let Some(id) = line.value.get("recipient_id")
            && let Some(&tenth) = tenth.get(id.text())
        {
            chosen[tenth] += 1;
        }
    }
    let average = chosen.iter().sum::<u32>() / 10;
    assert!(chosen.iter().all(|&count| count.abs_diff(average) < average / 10), "{chosen:?}");
}

#[test]
fn test_numbers_are_all_that_joins() {
    let extract = Extract::far("test-far", 100, true);
    for line in extract.changes(5000, 1).lines().map(Line::parse) {
        if let Some(id) = line.value.get("recipient_id") {
            let id = id.text();
            let person = ["238", "239", "980", "981"].contains(&&id[8..11]);
            assert!(person || id.starts_with("164"), "{id}");
        }
        assert!(line.value.get("id").is_none_or(|id| id.text().starts_with("164")));
    }
    let extract = Extract::krr("test-krr", 100, false);
    for line in extract.changes(2000, 1).lines().map(Line::parse) {
        let month: u64 = line.text("personidentifikator")[2..4].parse().unwrap();
        assert!((81..=92).contains(&month));
    }
}

#[test]
fn krr_changes_fit_the_register() {
    let extract = Extract::krr("fit-krr", 5000, false);
    let mut model = KrrModel::read(&extract.0);
    let text = extract.changes(10_000, 1);
    for line in text.lines() {
        model.apply(&Line::parse(line));
    }
    let removed = census(&text)["remove_person"];
    assert!((900..1100).contains(&removed), "{removed}");
    assert!((1400..1600).contains(&model.joined), "{}", model.joined);
    assert_eq!(model.ids.len() as u64, 5000 + model.joined - removed);
}

/// Only the ids count, so the XML export gives the same changes.
#[test]
fn both_forms_of_krr_have_the_same_changes() {
    let (jsonl, xml) = (Extract::krr("form-jsonl", 100, false), Extract::krr("form-xml", 100, true));
    assert_eq!(jsonl.changes(200, 1), xml.changes(200, 1));
}

#[test]
fn what_cannot_be_read_is_named_by_file_and_line() {
    let extract = Extract::far("damaged-far", 3, true);
    let path = extract.0.join("recipients.csv");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("Secure", "secure")).unwrap();
    let options = Options { count: 1, seed: 1, test_numbers: true };
    let error = write(&extract.0, &mut Vec::new(), &options).unwrap_err().to_string();
    assert!(error.ends_with("recipients.csv: line 2: an unknown type"), "{error}");
    std::fs::rename(&path, extract.0.join("recipients.csv.zst")).unwrap();
    let error = write(&extract.0, &mut Vec::new(), &options).unwrap_err().to_string();
    assert!(error.ends_with("compressed files must be unpacked first"), "{error}");
}
