//! All ordinals of all spaces, and the parsers against a naive implementation of the rules.

use super::*;
use proptest::prelude::*;
use rayon::prelude::*;

fn today() -> Today {
    Today::new(2026, 6, 1).expect("a day")
}

/// Converts every ordinal of a country's spaces to an identity and back. Returns the number of identities.
fn walk(country: Country) -> u64 {
    let all = country.span();
    let step = 1 << 20;
    (all.start..all.end)
        .into_par_iter()
        .step_by(step)
        .map(|start| {
            let mut identities = 0;
            for ordinal in start..all.end.min(start + step as u32) {
                if country.has(Ordinal(ordinal))
                    && let Some(identity) = Identity::from_ordinal(Ordinal(ordinal))
                {
                    let again = Identity::parse(identity.as_bytes(), country, today());
                    assert_eq!(again, Ok(identity), "ordinal {ordinal}");
                    assert_eq!(identity.ordinal.0, ordinal);
                    identities += 1;
                }
            }
            identities
        })
        .sum()
}

#[test]
fn every_swedish_ordinal_converts_to_an_identity_and_back() {
    // 109 573 days of 1000 birth numbers, twice; 100 · 8 · 10⁶ organisations; 300 years of 32 days without a month and
    // 12 months without a day.
    assert_eq!(walk(Country::Sweden), 2 * 109_573_000 + 800_000_000 + 300 * 44 * 1000);
}

#[test]
fn every_norwegian_ordinal_converts_to_an_identity_and_back_or_has_none() {
    let identities = walk(Country::Norway);
    // For each of the eight spaces: existing days times individual numbers times four remainders. Each of the two
    // control digits would be 10 for one in 11 of them.
    let numbers = 1000 * (100 * 365 + 25);
    let expected = (8 * 4 * numbers) as f64 * (10.0 / 11.0) * (10.0 / 11.0);
    assert!((identities as f64 / expected - 1.0).abs() < 1e-3, "{identities} of about {expected}");
}

fn read(text: &[u8], country: Country) -> Result<String, Rejection> {
    Identity::parse(text, country, today()).map(|identity| identity.as_str().to_owned())
}

#[test]
fn spellings_of_swedish_lists() {
    for (text, canonical) in [
        ("199001022384", "199001022384"),
        ("19900102-2384", "199001022384"),
        ("900102-2384", "199001022384"),
        ("9001022384", "199001022384"),
        (" 900102 2384 ", "199001022384"),
        ("19900102 2384", "199001022384"),
        ("90 01 02 - 2384", "199001022384"),
        ("900102\u{a0}2384", "199001022384"),
        ("900101+9802", "189001019802"),
        ("19900101+9802", "199001019802"),
        ("900162-2381", "199001622381"),
        ("199001622381", "199001622381"),
        ("000102-2383", "200001022383"),
        ("000229-2381", "200002292381"),
        ("050102-2388", "200501022388"),
        ("501022388", "200501022388"),
        ("260601-2389", "202606012389"), // born today
        ("260602-2388", "192606022388"), // turns 100 tomorrow
        ("260601+2389", "192606012389"),
        ("260602+2388", "192606022388"), // turns 100 tomorrow: the plus is used from the beginning of the year
        ("164120000007", "164120000007"),
        ("16412000-0007", "164120000007"),
        ("412000-0007", "164120000007"),
        ("4120000007", "164120000007"),
        ("16 442345-6781", "164423456781"),
        // Dates of birth that are not fully known. The first three are test numbers of Skatteverket.
        ("191711602399", "191711602399"),
        ("191500722390", "191500722390"),
        ("198000602394", "198000602394"),
        ("19171160-2399", "191711602399"),
        ("171160-2399", "201711602399"),
        ("171160+2399", "191711602399"),
        ("150072-2390", "201500722390"),
        ("800060-2394", "198000602394"),
        // The characters of spreadsheets, word processors and web pages.
        ("=\"199001022384\"", "199001022384"),
        ("=\"\"199001022384\"\"", "199001022384"),
        ("'199001022384", "199001022384"),
        ("'199001022384'", "199001022384"),
        ("\t199001022384", "199001022384"),
        ("199001022384.0", "199001022384"),
        ("9001022384,0", "199001022384"),
        ("501022388.0", "200501022388"),
        ("\u{FEFF}19900102\u{2011}2384\u{200B}", "199001022384"),
        ("\u{202A}900102\u{2212}2384\u{202C}", "199001022384"),
        ("900102\u{2010}2384", "199001022384"),
        ("900102\u{2014}2384", "199001022384"),
        ("19900102\u{2007}2384", "199001022384"),
        ("19900102\u{202F}2384", "199001022384"),
        ("1990\u{AD}01022384\u{2060}", "199001022384"),
        ("１９９００１０２２３８４", "199001022384"),
        ("９００１０２＋２３８４", "189001022384"),
    ] {
        assert_eq!(read(text.as_bytes(), Country::Sweden), Ok(canonical.to_owned()), "{text}");
    }
    for text in [b"900102\xA02384", b"900102\x962384", b"900102\x972384"] {
        assert_eq!(read(text, Country::Sweden).as_deref(), Ok("199001022384"), "Windows-1252");
    }
}

#[test]
fn rejections_of_swedish_lists() {
    use Rejection::*;
    for (text, reason) in [
        ("", Empty),
        ("   ", Empty),
        ("\u{a0}", Empty),
        ("1,98501E+11", ScientificNotation),
        ("1.985E11", ScientificNotation),
        ("=\"1,98501E+11\"", ScientificNotation),
        ("1 E 11", BadCharacter),
        ("1\rE\r11", BadCharacter),
        ("E+11", BadCharacter),
        ("'", Empty),
        ("'okänd'", BadCharacter),
        ("=\"199001022384", BadCharacter),
        ("199001022384.5", BadCharacter),
        ("199001022384.00", BadCharacter),
        ("\u{200B}\u{FEFF}", Empty),
        ("900102\u{2013}\u{2013}2384", BadCharacter),
        ("199000602385", BadCheckDigit),
        ("199013602384", BadDate),
        ("199000922384", BadDate),
        ("199000002384", BadDate),
        ("199001002384", BadDate),
        ("okänd", BadCharacter),
        ("19900102/2384", BadCharacter),
        ("900102--2384", BadCharacter),
        ("9001-022384", BadCharacter),
        ("412000+0007", BadCharacter),
        ("16412000+0007", BadCharacter),
        ("-9001022384", BadCharacter),
        ("900102-238", BadLength),
        ("19900102238", BadLength),
        ("1990010223844", BadLength),
        ("12345", BadLength),
        ("850101123", BadLength),
        ("219001022384", BadCentury),
        ("179001022384", BadCentury),
        ("199002302384", BadDate),
        ("199000102384", BadDate), // a samordningsnummer only has month 00
        ("199013012384", BadDate),
        ("199001922384", BadDate),
        ("199001602384", BadCheckDigit), // day 00 of a samordningsnummer
        ("000229+2381", BadDate),
        ("164010000007", BadOrganisationNumber),
        ("199001022385", BadCheckDigit),
        ("164120000008", BadCheckDigit),
        ("1012384", Ambiguous),  // 000101-2384 without its zeros, or cut short
        ("12312385", Ambiguous), // 001231-2385 likewise
    ] {
        assert_eq!(read(text.as_bytes(), Country::Sweden), Err(reason), "{text}");
    }
}

#[test]
fn spellings_and_rejections_of_norwegian_lists() {
    for (text, canonical) in [
        ("01819012365", "01819012365"),
        ("018190 12365", "01819012365"),
        ("018190-12365", "01819012365"),
        ("1819012365", "01819012365"),  // a lost zero
        ("01819012373", "01819012373"), // remainder 1: accepted from 2032
        ("01819012381", "01819012381"),
        ("41819012359", "41819012359"),
        ("01810050019", "01810050019"), // 2000
        // Published by Skatteetaten and NAV: numbers of 2032, and 29 February of 00.
        ("02013299997", "02013299997"),
        ("02013299903", "02013299903"),
        ("02013299806", "02013299806"),
        ("30108299920", "30108299920"),
        ("30108299939", "30108299939"),
        ("70108299914", "70108299914"),
        ("29020075838", "29020075838"),
        ("01814860031", "01814860031"), // 600 with 48: given out from 2032
        ("01819012\u{200B}365\u{FEFF}", "01819012365"),
        ("018190\u{2013}12365", "01819012365"),
    ] {
        assert_eq!(read(text.as_bytes(), Country::Norway).as_deref(), Ok(canonical), "{text}");
    }
    use Rejection::*;
    for (text, reason) in [
        ("02013299987", BadCheckDigit),
        ("02013299996", BadCheckDigit),
        ("29020112345", BadDate),
        ("01819012364", BadCheckDigit),
        ("01819012465", BadCheckDigit),
        ("32819012365", BadDate),
        ("01639012365", BadDate),
        ("018190+12365", BadCharacter),
        ("0181901-2365", BadCharacter),
        ("181901236", BadLength),
        ("1819012364", BadLength),
        ("199001022384", BadLength),
    ] {
        assert_eq!(read(text.as_bytes(), Country::Norway), Err(reason), "{text}");
    }
}

#[test]
fn years_of_birth() {
    let year = |text: &str, country| {
        Identity::parse(text.as_bytes(), country, today()).expect("an identity").year_of_birth()
    };
    for (text, expected) in [
        ("199001022384", Some(1990)),
        ("199001622381", Some(1990)),
        ("191500722390", Some(1915)),
        ("164120000007", None),
    ] {
        assert_eq!(year(text, Country::Sweden), expected, "{text}");
    }
    for (text, expected) in [
        ("01819012365", Some(1990)),
        ("41819012359", Some(1990)),
        ("01810050019", Some(2000)),
        ("70108299914", Some(1982)),
        ("42811030044", None),       // a D-number of 1910, or of 2010
        ("29020075838", Some(2000)), // 29 February
        ("29029648784", Some(1996)),
        ("01819012373", None), // remainder 1: given out from 2032
        ("01814860031", None), // 600 with 48
    ] {
        assert_eq!(year(text, Country::Norway), expected, "{text}");
    }
}

#[test]
fn debug_output_does_not_show_the_number() {
    let identity = Identity::parse(b"199001022384", Country::Sweden, today()).expect("valid");
    assert_eq!(format!("{identity:?}"), "Identity(personnummer)");
    assert_eq!(identity.space().name(), "personnummer");
}

/// Naive implementation of the rules, digit by digit, with the calendar of a library.
mod naive {
    pub(super) fn swedish(text: &str) -> bool {
        let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(10)).collect();
        if digits.len() != 12 || text.len() != 12 {
            return false;
        }
        let mut sum = 0;
        for (index, digit) in digits[2..].iter().enumerate() {
            let product = digit * if index % 2 == 0 { 2 } else { 1 };
            sum += product / 10 + product % 10;
        }
        let number = |from: usize, to: usize| text[from..to].parse::<i16>().expect("digits");
        let day = number(6, 8) - if number(6, 8) > 60 { 60 } else { 0 };
        let unknown = match (number(4, 6), number(6, 8)) {
            (0, day) => (60..=91).contains(&day),
            (month, day) => month <= 12 && day == 60,
        };
        let exists = || jiff::civil::Date::new(number(0, 4), number(4, 6) as i8, day as i8).is_ok();
        let valid = match &text[..2] {
            "16" => digits[4] >= 2,
            "18" | "19" | "20" => unknown || exists(),
            _ => false,
        };
        valid && sum % 10 == 0
    }

    pub(super) fn norwegian(text: &str) -> bool {
        let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(10)).collect();
        if digits.len() != 11 || text.len() != 11 {
            return false;
        }
        let number = |from: usize, to: usize| text[from..to].parse::<i16>().expect("digits");
        let month = match number(2, 4) {
            month @ 1..=12 => month,
            month @ 41..=52 => month - 40,
            month @ 66..=77 => month - 65,
            month @ 81..=92 => month - 80,
            _ => return false,
        };
        let day = if number(0, 2) > 40 { number(0, 2) - 40 } else { number(0, 2) };
        let sum = |weights: &[u32]| digits.iter().zip(weights).map(|(d, w)| d * w).sum::<u32>() % 11;
        let day_of = |century| jiff::civil::Date::new(century + number(4, 6), month as i8, day as i8).is_ok();
        (day_of(1900) || day_of(2000))
            && sum(&[3, 7, 6, 1, 8, 9, 4, 5, 2, 1]) <= 3
            && sum(&[5, 4, 3, 2, 7, 6, 5, 4, 3, 2, 1]) == 0
    }
}

/// Digits that resemble Swedish numbers, so that every rule applies to some of them.
fn swedish_like() -> impl Strategy<Value = String> {
    let person = (17..22u32, 0..100u32, 0..14u32, 0..95u32, 0..10_000u32)
        .prop_map(|(c, y, m, d, n)| format!("{c:02}{y:02}{m:02}{d:02}{n:04}"));
    prop_oneof![person, "16[0-9]{10}", "[0-9]{12}", "[0-9:/ -]{12}"]
}

fn norwegian_like() -> impl Strategy<Value = String> {
    let person = (0..75u32, 0..95u32, 0..100u32, 0..100_000u32)
        .prop_map(|(d, m, y, n)| format!("{d:02}{m:02}{y:02}{n:05}"));
    prop_oneof![person, "[0-9]{11}"]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn twelve_digits_agree_with_the_naive_implementation(text in swedish_like()) {
        // All ten last digits, one of which satisfies Luhn.
        for last in 0..10 {
            let mut text = text.clone();
            text.replace_range(11.., &last.to_string());
            let fast = <&[u8; 12]>::try_from(text.as_bytes()).map(swedish::from_canonical).expect("12 bytes");
            prop_assert_eq!(fast.is_ok(), naive::swedish(&text));
            if let Ok(identity) = fast {
                prop_assert_eq!(Identity::from_ordinal(identity.ordinal()), Some(identity));
                prop_assert_eq!(identity.as_str(), &text);
                prop_assert!(identity.is_canonical_text(text.as_bytes()) && !identity.is_canonical_text(&text.as_bytes()[1..]));
                // The slow path, forced by a separator, gives the same result.
                let separated = format!("{}-{}", &text[..8], &text[8..]);
                prop_assert_eq!(Identity::parse(separated.as_bytes(), Country::Sweden, today()), Ok(identity));
            }
        }
    }

    #[test]
    fn eleven_digits_agree_with_the_naive_implementation(text in norwegian_like()) {
        for last in 0..100 {
            let mut text = text.clone();
            text.replace_range(9.., &format!("{last:02}"));
            let read = Identity::parse(text.as_bytes(), Country::Norway, today());
            prop_assert_eq!(read.is_ok(), naive::norwegian(&text));
            if let Ok(identity) = read {
                prop_assert!(identity.is_canonical_text(text.as_bytes()) && !identity.is_canonical_text(b"01819012365x"));
                prop_assert_eq!(Identity::from_ordinal(identity.ordinal()), Some(identity));
                prop_assert_eq!(identity.as_str(), &text);
                // The slow path, forced by a separator, gives the same result.
                let separated = format!("{}-{}", &text[..6], &text[6..]);
                prop_assert_eq!(Identity::parse(separated.as_bytes(), Country::Norway, today()), Ok(identity));
            }
        }
    }

    #[test]
    fn arbitrary_bytes_do_not_panic(text in proptest::collection::vec(any::<u8>(), 0..40)) {
        for country in [Country::Sweden, Country::Norway] {
            let _ = Identity::parse(&text, country, today());
        }
    }

    #[test]
    fn ten_digits_mean_ages_0_to_99_and_plus_means_100_or_more(
        offset in 0..Space::Samordningsnummer.size(), space in prop_oneof![Just(Space::Personnummer), Just(Space::Samordningsnummer)]
    ) {
        let identity = Identity::from_ordinal(Ordinal(space.ordinals().start + offset)).expect("Swedish");
        let text = identity.as_str();
        let born = jiff::civil::Date::new(
            text[..4].parse().expect("year"),
            text[4..6].parse().expect("month"),
            text[6..8].parse::<i8>().expect("day") - if space == Space::Samordningsnummer { 60 } else { 0 },
        ).expect("date");
        let age = born.until((jiff::Unit::Year, jiff::civil::date(2026, 6, 1))).expect("age").get_years();
        let sign = match (age, 2026 - born.year()) {
            (0..=99, _) => "-",
            (_, 100..=199) => "+",
            _ => return Ok(()),
        };
        if born > jiff::civil::date(2026, 6, 1) { return Ok(()); }
        let short = format!("{}{sign}{}", &text[2..8], &text[8..]);
        prop_assert_eq!(Identity::parse(short.as_bytes(), Country::Sweden, today()), Ok(identity));
    }
}
