//! The registers' published contracts, where available (`../shared/contracts` or `NABAR_CONTRACTS`).

use crate::support::workspace::{fixture, root};
use nabar::identities::{Country, Identity, Space, Today};
use std::path::PathBuf;
use std::process::Command;

/// The directory of the contracts; tests are skipped, with a message, without it.
fn contracts() -> Option<PathBuf> {
    let given = std::env::var_os("NABAR_CONTRACTS").map(PathBuf::from);
    let directory = given.unwrap_or_else(|| root().join("../shared/contracts"));
    if !directory.is_dir() {
        eprintln!("skipped: no contracts at {} (set NABAR_CONTRACTS)", directory.display());
        return None;
    }
    Some(directory)
}

#[test]
fn the_xml_fixture_is_an_export_of_the_register() {
    let Some(contracts) = contracts() else { return };
    let schema = contracts.join("krr/kontaktregister-export-14-05.xsd");
    let fixture = fixture("krr-xml/kontaktregister.xml");
    let xmllint =
        Command::new("xmllint").args(["--noout", "--nonet", "--schema"]).arg(schema).arg(fixture).output();
    match xmllint {
        Err(_) => eprintln!("skipped: no xmllint (install libxml2-utils)"),
        Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr)),
    }
}

/// Every canonical Swedish identity matches the pattern of `RecipientId`. The pattern is read from the
/// schema, so that a change shows, and its three alternatives are written out here.
#[test]
fn canonical_identities_match_the_pattern_of_the_contract() {
    let Some(contracts) = contracts() else { return };
    let schema =
        std::fs::read_to_string(contracts.join("minameddelanden/schema/Recipient.xsd")).expect("schema");
    let pattern = r"(16\d{10})|((18|19|20)\d{2}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])\d{4})|((18|19|20)\d{2}(0[1-9]|1[0-2])(\d{2})\d{4})";
    assert!(schema.contains(pattern), "the pattern has changed");
    let mut seen = 0;
    let today = Today::new(2026, 6, 1).expect("a day");
    for (number, luhn) in (0..400_000u64).flat_map(|n| (0..10).map(move |luhn| (n, luhn))) {
        // Spread over years, months and days 00 to 99, and over organisations.
        let spread = number * 2_654_435_761 % 1_000_000_000;
        let text = match number % 4 {
            0 => format!("16{spread:09}{luhn}"),
            _ => format!(
                "{}{:02}{:02}{:02}238{luhn}",
                18 + number % 3,
                spread % 100,
                spread / 100 % 14,
                spread / 2000 % 100
            ),
        };
        let Ok(identity) = Identity::parse(text.as_bytes(), Country::Sweden, today) else { continue };
        seen += 1;
        let digits = identity.as_str();
        let month: u32 = digits[4..6].parse().expect("digits");
        let matches = match identity.space() {
            Space::Organisationsnummer => digits.starts_with("16"),
            // The contract's pattern lacks month 00, which Skatteverket assigns if the month is unknown.
            Space::SamordningsnummerUnknownDate => month <= 12,
            _ => ["18", "19", "20"].contains(&&digits[..2]) && (1..=12).contains(&month),
        };
        assert!(matches && digits.len() == 12);
    }
    assert!(seen > 10_000);
}
