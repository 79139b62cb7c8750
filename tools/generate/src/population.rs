//! The Swedish and Norwegian universes: who is born when, and which series organisations come from.

use crate::calendar::{Date, month_length};
use crate::identity::Register;
use crate::universe::{Group, Stratum, Universe};

const FIRST_BIRTH_YEAR: i64 = 1920;
const LAST_BIRTH_YEAR: i64 = 2010;

/// Population by year of birth, in thousands; between the years listed the curve is straight.
/// The shape is Sweden's: large cohorts of the 1940s, 1960s and around 1990.
const COHORTS: [(i64, u64); 16] = [
    (1920, 1),
    (1925, 8),
    (1930, 28),
    (1935, 50),
    (1940, 72),
    (1946, 104),
    (1955, 90),
    (1960, 98),
    (1966, 126),
    (1975, 112),
    (1983, 106),
    (1990, 146),
    (1995, 122),
    (2000, 104),
    (2005, 114),
    (2010, 126),
];

/// Coordination numbers are given to adults who arrive, so their births are later.
const ARRIVALS: [(i64, u64); 5] = [(1920, 0), (1945, 5), (1970, 60), (1995, 100), (2010, 10)];

/// A series of organisationsnummer: first nine-digit stem, how many, and weight.
type Series = (u64, u64, u64);

/// The dense ranges of the Swedish series.
const ORGANISATIONS: [Series; 12] = [
    (202_100_000, 900, 4),         // state agencies
    (212_000_000, 350, 6),         // municipalities
    (232_100_000, 300, 2),         // regions
    (556_000_000, 1_000_000, 400), // limited companies
    (559_000_000, 620_000, 320),   // limited companies since 2014
    (716_400_000, 45_000, 22),     // housing co-operatives, older
    (769_600_000, 46_000, 36),     // housing co-operatives
    (802_000_000, 20_000, 12),     // foundations
    (802_400_000, 160_000, 62),    // non-profit associations
    (857_200_000, 10_000, 5),      // non-profit associations, older
    (916_400_000, 220_000, 41),    // partnerships, older
    (969_600_000, 210_000, 90),    // partnerships
];

/// Series that are never assigned: first digit four.
const TEST_ORGANISATIONS: [Series; 3] =
    [(402_000_000, 4000, 1), (456_000_000, 40_000, 20), (469_600_000, 4000, 2)];

/// Birth numbers of the Tax Agency's test series, as runs (first, how many, weight).
const TEST_BIRTH_NUMBERS: [Series; 2] = [(238, 2, 1), (980, 2, 1)];

/// The Swedish universe: personnummer, samordningsnummer and organisationsnummer.
pub fn swedish(test_numbers: bool) -> Universe {
    let organisations = if test_numbers { &TEST_ORGANISATIONS[..] } else { &ORGANISATIONS[..] };
    let organisations = organisations.iter().map(|&(first, span, weight)| Stratum {
        first_stem: 16_000_000_000 + first,
        span,
        weight,
    });
    Universe::new(
        Register::Far,
        vec![
            Group { share: 8500, strata: swedish_persons(&COHORTS, 0, test_numbers) },
            Group { share: 250, strata: swedish_persons(&ARRIVALS, 60, test_numbers) },
            Group { share: 1250, strata: organisations.collect() },
        ],
    )
}

fn swedish_persons(cohorts: &[(i64, u64)], day_shift: i64, test_numbers: bool) -> Vec<Stratum> {
    birth_dates(cohorts)
        .flat_map(|(date, weight)| {
            let stem = date.year * 10_000 + date.month * 100 + date.day + day_shift;
            let runs = if test_numbers { TEST_BIRTH_NUMBERS } else { birth_numbers(date.year) };
            runs.map(|(first, span, run_weight)| Stratum {
                first_stem: stem as u64 * 1000 + first,
                span,
                weight: weight * run_weight,
            })
        })
        .collect()
}

/// Until 1990 the birth number gave the county, and 930 upwards meant born abroad.
fn birth_numbers(year: i64) -> [Series; 2] {
    let abroad = if year < 1990 { 13 } else { 7 };
    [(0, 930, 100 - abroad), (930, 70, abroad)]
}

/// The Norwegian universe: fødselsnummer, D-nummer and the synthetic series of both.
pub fn norwegian(test_numbers: bool) -> Universe {
    // Share, added to the day, added to the month.
    let series: &[(u64, i64, i64)] = if test_numbers {
        &[(8500, 0, 80), (1500, 40, 80)]
    } else {
        &[(8800, 0, 0), (600, 40, 0), (300, 0, 80), (100, 40, 80), (100, 0, 65), (100, 0, 40)]
    };
    let groups = series.iter().map(|&(share, day_shift, month_shift)| Group {
        share,
        strata: norwegian_persons(day_shift, month_shift),
    });
    Universe::new(Register::Krr, groups.collect())
}

fn norwegian_persons(day_shift: i64, month_shift: i64) -> Vec<Stratum> {
    birth_dates(&COHORTS)
        .flat_map(|(date, weight)| {
            let (day, month) = (date.day + day_shift, date.month + month_shift);
            let stem = (day * 10_000 + month * 100 + date.year % 100) as u64 * 1000;
            individual_numbers(date.year).iter().map(move |&(first, span, run_weight)| Stratum {
                first_stem: stem + first,
                span,
                weight: weight * run_weight,
            })
        })
        .collect()
}

/// The individual numbers that give the century of a birth year from 1900 to 2039.
fn individual_numbers(year: i64) -> &'static [Series] {
    match year {
        ..1940 => &[(0, 500, 100)],
        1940..2000 => &[(0, 500, 97), (900, 100, 3)],
        _ => &[(500, 500, 100)],
    }
}

/// Every birth date with a weight above zero.
fn birth_dates(cohorts: &[(i64, u64)]) -> impl Iterator<Item = (Date, u64)> {
    (FIRST_BIRTH_YEAR..=LAST_BIRTH_YEAR)
        .map(|year| (year, interpolated(cohorts, year)))
        .filter(|&(_, weight)| weight > 0)
        .flat_map(|(year, weight)| (1..=12).map(move |month| (year, month, weight)))
        .flat_map(|(year, month, weight)| {
            (1..=month_length(year, month)).map(move |day| (Date::new(year, month, day), weight))
        })
}

/// A thousand times the value of the curve at `year`.
fn interpolated(curve: &[(i64, u64)], year: i64) -> u64 {
    let after = curve.partition_point(|&(at, _)| at < year).max(1);
    let ((left, low), (right, high)) = (curve[after - 1], curve[after]);
    let (passed, ahead) = ((year - left) as u64, (right - year) as u64);
    1000 * (low * ahead + high * passed) / (right - left) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::is_organisation;

    #[test]
    fn shares_of_the_kinds_of_numbers() {
        let ids = swedish(false).select(100_000, 1).unwrap();
        let organisations = ids.iter().filter(|&&id| is_organisation(id)).count();
        let day = |id: u64| id / 10_000 % 100;
        let coordination = ids.iter().filter(|&&id| !is_organisation(id) && day(id) > 60).count();
        assert!((12_300..12_700).contains(&organisations), "{organisations}");
        assert!((2_400..2_600).contains(&coordination), "{coordination}");
    }

    #[test]
    fn organisations_are_never_dates() {
        for &(first, span, _) in ORGANISATIONS.iter().chain(&TEST_ORGANISATIONS) {
            assert_eq!(first.to_string().len(), 9);
            assert!(first / 1_000_000 % 10 >= 2);
            assert_eq!(first / 1_000_000, (first + span - 1) / 1_000_000);
        }
        assert!(TEST_ORGANISATIONS.iter().all(|&(first, ..)| first / 100_000_000 == 4));
    }

    #[test]
    fn test_numbers_stay_within_the_test_series() {
        for id in swedish(true).select(20_000, 3).unwrap() {
            if is_organisation(id) {
                assert_eq!(id / 1_000_000_000 % 10, 4, "first digit");
                assert!(id / 10_000_000 % 10 >= 2, "third digit");
            } else {
                assert!([238, 239, 980, 981].contains(&(id / 10 % 1000)));
            }
        }
        for id in norwegian(true).select(20_000, 3).unwrap() {
            assert!((81..=92).contains(&(id / 10_000_000 % 100)));
        }
    }

    #[test]
    fn both_universes_hold_their_countries() {
        for universe in [swedish(false), norwegian(false)] {
            let ids = universe.select(200_000, 9).unwrap();
            assert!(ids.is_sorted_by(|left, right| left < right));
        }
    }

    #[test]
    fn the_curve_is_straight_between_its_points() {
        assert_eq!(interpolated(&COHORTS, 1920), 1000);
        assert_eq!(interpolated(&COHORTS, 1943), 88_000);
        assert_eq!(interpolated(&COHORTS, 2010), 126_000);
    }
}
