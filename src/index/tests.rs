//! The index against a `BTreeMap`.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn build(country: Country, recipients: &BTreeMap<u32, (u32, u32)>, states: u32) -> BuiltIndex {
    let mut builder = IndexBuilder::new(country, states, recipients.len());
    for (&ordinal, &(code, rule)) in recipients {
        builder.push(Ordinal(ordinal), code, rule);
    }
    let mut built = builder.finish();
    built.seal();
    built
}

/// Ordinals that cluster in a few blocks, as years of birth do, and some at random.
fn ordinals(country: Country) -> impl Strategy<Value = u32> {
    let (all, span) = (country.ordinals(), country.span());
    let first = all.start;
    prop_oneof![
        4 => (0..4u32, 0..3 * BLOCK_ORDINALS).prop_map(move |(cluster, offset)| first + cluster * 70_000_000 + offset),
        1 => all,
        1 => (0..3 * BLOCK_ORDINALS).prop_map(move |before| span.end - 1 - before),
    ]
}

fn agrees(country: Country, states: u32, map: BTreeMap<u32, (u32, u32)>, queried: Vec<u32>) {
    let built = build(country, &map, states);
    let (index, trust) = (built.as_index(), Trust::new(country));
    let mut ordinals: Vec<Ordinal> = queried.into_iter().chain(map.keys().copied()).map(Ordinal).collect();
    ordinals.extend([Ordinal::ABSENT, Ordinal(0), Ordinal(u32::MAX - 1), Ordinal(country.span().end)]);
    let mut hits = vec![Hit::default(); ordinals.len()];
    index.look_up(&trust, &ordinals, &mut hits[..]).expect("undamaged");
    for (&ordinal, &hit) in ordinals.iter().zip(&hits) {
        let expected = map.get(&ordinal.0).copied().unwrap_or_default();
        let rule = if hit.slot == Slot(0) { 0 } else { index.rule_of(ordinal, hit.slot) };
        assert_eq!((hit.code, rule), expected);
        let mut alone = [Hit::default()];
        index.look_up(&trust, &[ordinal], &mut alone[..]).expect("undamaged");
        assert_eq!(alone[0], hit);
        assert_eq!(index.look_up_one(&trust, ordinal), Ok(hit));
        assert_eq!(index.single(&trust).and_then(|single| single.look_up(ordinal)), Some(hit));
    }
    let listed = index.present(0..index.parts()).flat_map(|part| {
        let view = index.view(&trust, part).expect("undamaged");
        let offsets = view.into_iter().flat_map(|view| view.offsets());
        offsets.map(move |offset| index.first_of(part).0 + offset)
    });
    assert!(listed.eq(map.keys().copied()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn swedish_lookups_agree_with_a_map(
        map in proptest::collection::btree_map(ordinals(Country::Sweden), (1..5u32, 0..3u32), 0..3000),
        queried in proptest::collection::vec(ordinals(Country::Sweden), 0..1000),
    ) {
        agrees(Country::Sweden, 5, map, queried);
    }

    #[test]
    fn lookups_agree_in_every_record_width(
        map in proptest::collection::btree_map(ordinals(Country::Norway), (1..70_000u32, 0..2u32), 0..2000),
        width in 0..3usize,
    ) {
        let states = [256, 65_536, 70_000][width];
        let map = map.into_iter().map(|(o, (code, rule))| (o, (1 + code % (states - 1), rule))).collect();
        agrees(Country::Norway, states, map, vec![]);
    }
}

#[test]
fn a_lookup_in_a_damaged_block_is_an_error() {
    let first = Country::Sweden.ordinals().start;
    let map: BTreeMap<u32, (u32, u32)> = (0..2000).map(|n| (first + n * 7, (1 + n % 3, n % 2))).collect();
    let ordinals: Vec<Ordinal> = map.keys().map(|&ordinal| Ordinal(ordinal)).collect();
    type Damage = fn(&mut BuiltIndex);
    let damage: [(&str, Damage); 9] = [
        ("presence", |built| built.pages[33].set(1, true)),
        ("count", |built| _ = built.pages[40].close(3)),
        ("code", |built| {
            let OwnedCodes::One(codes) = &mut built.codes else { panic!("few states") };
            codes[900] ^= 1;
        }),
        ("exception", |built| built.exception_places[0] ^= 1),
        ("rule", |built| built.exception_rules[0] ^= 1),
        ("first record", |built| built.blocks[1].first_record += 1),
        ("records", |built| built.blocks[1].records = u32::MAX),
        ("first exception", |built| built.blocks[1].first_exception = u32::MAX),
        ("directory", |built| built.directory[0] = 77),
    ];
    for (what, damage) in damage {
        let mut built = build(Country::Sweden, &map, 4);
        damage(&mut built);
        let mut hits = vec![Hit::default(); ordinals.len()];
        let result = built.as_index().look_up(&Trust::new(Country::Sweden), &ordinals, &mut hits[..]);
        assert!(result.is_err(), "{what}");
    }
}

/// In a file with forged checksums, the kernel must not read out of bounds.
#[test]
fn a_forged_block_with_valid_checksums_is_rejected() {
    let first = Country::Sweden.ordinals().start;
    let map: BTreeMap<u32, (u32, u32)> = (0..500).map(|n| (first + n * 3, (1, 0))).collect();
    let forgeries: [fn(&mut BuiltIndex); 4] = [
        |built| built.blocks[1].first_record = 0,
        |built| _ = built.pages[32].close(13_000),
        |built| built.states = 1,
        |built| built.blocks[1].records -= 1,
    ];
    for forge in forgeries {
        let mut built = build(Country::Sweden, &map, 4);
        forge(&mut built);
        built.seal();
        assert!(built.as_index().check_block(0).is_err());
    }
}
