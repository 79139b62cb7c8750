//! The forms of lists, and the grounds of the decisions.

use super::*;
use crate::identities::Identity;
use crate::mailing::MAX_REJECTED;
use proptest::prelude::*;

const A: &str = "196810199809";
const B: &str = "195904109807";

fn form(list: &str, options: &ListOptions) -> Result<ListForm, ListError> {
    let today = Today::new(2026, 6, 1).expect("a day");
    sniff(list.as_bytes(), true, Country::Sweden, today, options)
}

/// Delimiter, row of the header, its ground, column, and the beginning of files.
fn decided(list: &str) -> (Option<u8>, Option<u64>, Ground, usize, String) {
    let form = form(list, &ListOptions::default()).unwrap_or_else(|error| panic!("{list}: {error}"));
    let Layout::Delimited { delimiter, column } = form.guard.rules.layout else { panic!("delimited") };
    let beginning = String::from_utf8(form.beginning).expect("text");
    (delimiter, form.decided.header_row, form.decided.header, column, beginning)
}

#[test]
fn headers_and_lines_above_them() {
    for (above, header, ground) in [
        ("", "Personnummer;Namn;Nr\n", Ground::KnownName),
        ("sep=;\r\n", "Personnummer;Namn;Nr\r\n", Ground::KnownName),
        ("\"sep=;\"\n", "Personnummer (12 siffror);Namn;Nr\n", Ground::KnownName),
        ("Utskick juni 2026\n\n", "pnr_1;Namn;Nr\n", Ground::KnownName),
        ("Rapport;;;\nDatum:;2026-06-01;;\n", "\"Person-\nnummer\";Namn;Nr\n", Ground::KnownName),
        ("", "kund;namn;nr\n", Ground::UsualWords),
        ("Titel\n\n\n", "Kund-ID;Namn;Postnr 5\n", Ground::UsualWords),
        ("", "sökande;vem;nr;när;hur\n", Ground::Types),
    ] {
        let five = if header.matches(';').count() == 4 { ";3" } else { "" };
        let list = format!("{above}{header}{A};Asa;1;1{five}\n{B};Bo;2;2{five}\n");
        let rows = above.matches('\n').count() as u64 + 1;
        assert_eq!(decided(&list), (Some(b';'), Some(rows), ground, 0, format!("{above}{header}")), "{list}");
        let dropping = ListOptions { drop_skipped: true, ..ListOptions::default() };
        let dropped = form(&list, &dropping).expect("decided");
        assert_eq!(dropped.beginning, header.as_bytes());
    }
}

/// A recipient whose identity is missing is not a header.
#[test]
fn the_first_recipient_is_not_a_header() {
    for first in [
        "SKYDDAD;Anna;11111\n",
        "okänd;Anna;11111\n",
        ";Anna;11111\n",
        "Saknas;Anna;\n",
        "SKYDDAD;Anna;Ort\n",
        "Elev;Anna;Lund\n",
        "Samordningsnummer;Anna;Lund\n",
        "Mottagare;Anna;Lund\n",
        ";;\n",
        "196810199808;Anna;11111\n",
        "1,99001E+11;Anna;1\n",
    ] {
        let list = format!("{first}{A};Asa;22222\n{B};Bo;33333\n");
        assert_eq!(decided(&list), (Some(b';'), None, Ground::NoSign, 0, String::new()), "{list}");
    }
    for first in ["SKYDDAD\n", "okänd\n", "\n", "Anna\n"] {
        let list = format!("{first}{A}\n{B}\n");
        assert_eq!(decided(&list), (None, None, Ground::NoSign, 0, String::new()), "{list}");
    }
    // A quotation mark that is never closed would join the header and the first recipient.
    let list = format!("pnr;\"namn;nr\n{A};\"Asa\";1\n{B};Bo;2\n");
    assert!(!decided(&list).4.contains(A));
}

#[test]
fn decimal_commas_are_not_delimiters() {
    let row = |id: &str| format!("{id};12,50;1 000,00;3,5;4,25\n");
    assert_eq!(decided(&format!("{}{}", row(A), row(B))).0, Some(b';'));
    assert_eq!(decided(&format!("{A}\t1;2;3\n{B}\t1;2;3\n")).0, Some(b'\t'));
    assert_eq!(decided(&format!("x,y\n{A},1;2\n{B},3;4\n")).0, Some(b','));
    let sep = format!("sep=#\npnr#namn\n{A}#Asa, Bo\n");
    assert_eq!(decided(&sep).0, Some(b'#'));
}

#[test]
fn options_override_detection() {
    let list = format!("Titel\nkund;vem;nr\n{A};1;1\n{B};2;2\n");
    let options = |header, skip_rows| ListOptions { header, skip_rows, ..ListOptions::default() };
    let row = |options: &ListOptions| {
        form(&list, options).map(|form| (form.decided.header_row, form.decided.skipped_rows))
    };
    assert_eq!(row(&options(None, 0)).expect("decided"), (Some(2), 1));
    assert_eq!(row(&options(Some(true), 1)).expect("decided"), (Some(2), 1));
    assert_eq!(row(&options(Some(false), 2)).expect("decided"), (None, 2));
    assert_eq!(row(&options(Some(true), 0)).expect("decided"), (Some(2), 1));
    for skipped in [3, 4] {
        assert!(
            matches!(row(&options(None, skipped)), Err(ListError::HeaderIsRow)),
            "a recipient is not skipped"
        );
    }
    assert!(matches!(row(&options(Some(true), 2)), Err(ListError::HeaderIsRow)));
    let named = ListOptions { id_columns: vec!["KUND".to_owned()], ..ListOptions::default() };
    assert_eq!(row(&named).expect("decided"), (Some(2), 1));
    assert!(MAX_REJECTED.is_exceeded(6, 10));
}

#[test]
fn the_best_name_of_several_columns() {
    let rows = format!("{A};{B};1\n{B};{A};2\n");
    assert_eq!(decided(&format!("Personnummer;Vårdnadshavares personnummer;nr\n{rows}")).3, 0);
    assert_eq!(decided(&format!("Målsmans personnr;pnr;nr\n{rows}")).3, 1);
    for header in ["sökande;granne;nr\n", "pnr;orgnr;nr\n", ""] {
        let error = form(&format!("{header}{rows}"), &ListOptions::default()).expect_err("two columns");
        assert!(
            matches!(&error, ListError::UnknownIdColumn { columns } if !columns.contains(A)),
            "{header}{error}"
        );
    }
}

/// A single long row adds no column to the message, with or without a header, wherever it is.
#[test]
fn candidate_columns_are_those_of_most_rows() {
    let (row, long) = (format!("{A};{B};1\n"), format!("{A};{B};1;2;3;4\n"));
    for header in ["sökande;granne;nr\n", ""] {
        for rows in [[&row, &row, &long], [&long, &row, &row], [&row, &long, &row]] {
            let list = format!("{header}{}{}{}", rows[0], rows[1], rows[2]);
            let error = form(&list, &ListOptions::default()).expect_err("two columns");
            let ListError::UnknownIdColumn { columns } = error else { panic!("{list}: {error}") };
            assert!(columns.contains("3 ") && !columns.contains("4 ("), "{columns}");
            let options = ListOptions { id_columns: vec!["9".to_owned()], ..ListOptions::default() };
            let error = form(&list, &options).expect_err("no such column");
            let ListError::NoSuchColumn { columns, .. } = error else { panic!("{list}: {error}") };
            assert!(columns.contains("3 ") && !columns.contains("4 ("), "{columns}");
        }
    }
}

/// A quoted cell with a line end before the identity is one cell.
#[test]
fn quoted_line_ends_before_the_identity() {
    let list = format!(
        "namn;adress;pnr\nAnna;\"Gata 1\n111 22 Ort\";{A}\nBo;\"Gata 2\n111 22 Ort\";{B}\nEva;\"Gata 3\n1\";{A}\n"
    );
    assert_eq!(decided(&list).3, 2);
    assert_eq!(form(&list, &ListOptions::default()).expect("decided").guard.rules.columns, 3);
}

#[test]
fn sep_lines() {
    for (line, delimiter) in [
        ("sep=;\n", Some(b';')),
        ("SEP=,\r\n", Some(b',')),
        ("Sep=\t\n", Some(b'\t')),
        ("\"sep=|\"\r", Some(b'|')),
        ("sep= \n", Some(b' ')),
        ("sep=;  \n", Some(b';')),
        ("sep=a\n", None),
        ("sep=\n", None),
        ("sep=;;\n", None),
        ("separator\n", None),
    ] {
        assert_eq!(sep_line(line.as_bytes(), 0).0, delimiter, "{line:?}");
    }
}

proptest! {
    #[test]
    fn every_identity_has_the_digits_that_are_counted_first(
        text in "(=\"|'|\t)?[0-9０-９]{6,8}[-+ –]?[0-9０-９]{0,5}(\"|\\.0)?",
        country in prop_oneof![Just(Country::Sweden), Just(Country::Norway)],
    ) {
        let today = Today::new(2026, 6, 1).expect("a day");
        let is_identity = Identity::parse(text.as_bytes(), country, today).is_ok();
        prop_assert!(!is_identity || table::may_be_identity(text.as_bytes()), "{text}");
    }
}

/// A recipient whose identity cannot be read is not a header either, with any word in its place and in other columns.
#[test]
fn a_recipient_whose_identity_cannot_be_read_is_not_a_header() {
    let missing = [
        "-",
        "--",
        "?",
        "*",
        ".",
        "#REF!",
        "#VÄRDEFEL!",
        "NaN",
        "(blank)",
        "XXXXXX-XXXX",
        "UTLAND",
        "ej",
        "nyfödd",
        "spärrad",
        "dold",
        "reservnummer",
        "under utredning",
        "utan personnummer",
        "19900102",
        "900102-XXXX",
        "196810199808",
        "Anna",
    ];
    for id in missing {
        let title = format!(
            "{id};Personnummer;Eva;Gatan 1;Ort\n{A};Personnummer;Asa;Gatan 2;Lund\n{B};Personnummer;Bo;Gatan 3;Lund\n"
        );
        assert_eq!(decided(&title).1, None, "{title}");
        let abroad = format!("{id};Eva;Rose Cottage;Oxford\n{A};Asa;Gatan 1;11 22\n{B};Bo;Gatan 2;33 44\n");
        assert_eq!(decided(&abroad).1, None, "{abroad}");
        let below = format!(
            "id;idtyp;namn;adress;\n{id};Mottagare;Eva;Gatan 1;Ort\n{A};Mottagare;Asa;Gatan 2;Lund\n{B};Mottagare;Bo;Gatan 3;Lund\n"
        );
        assert_eq!(decided(&below).1, Some(1), "{below}");
    }
    // A recipient above the header.
    let above = format!("196810199808;Eva;Gatan;;Lund\npnr;namn;gata;nr;ort\n{A};Asa;Gatan;1;Lund\n");
    assert_eq!(decided(&above).1, None);
}

/// A header that lost its line end is not one: its first recipient would go to every operator.
#[test]
fn a_header_that_holds_the_first_row_is_refused() {
    for first in
        ["501022388", "196810199808", "90 01 02 - 2384", "900102  2384", "9001022384", "19900102-0000"]
    {
        for header in ["pnr;namn;nr;ort", "Kund-ID;namn;postnr;ort"] {
            let list = format!("{header}{first};Eva;1;Lund\n{A};Asa;2;Lund\n{B};Bo;3;Lund\n");
            let refused = form(&list, &ListOptions::default())
                .is_err_and(|error| matches!(error, ListError::HeaderIsRow));
            let is_row = || decided(&list).1.is_none();
            assert!(refused || is_row(), "{list}");
        }
    }
    for header in [
        "pnr;Saldo 2025-12-31;ort",
        "pnr;Saldo 20251231;ort",
        "pnr;Belopp 2025/2026;ort",
        "Personnummer (12 siffror);a;b",
    ] {
        assert_eq!(decided(&format!("{header}\n{A};1;2\n{B};1;2\n")).1, Some(1), "{header}");
    }
    let fixed = ListOptions { id_at: Some((0, 12)), header: Some(true), ..ListOptions::default() };
    assert!(matches!(form(&format!("19900102-000 Eva\n{A}\n"), &fixed), Err(ListError::HeaderIsRow)));
    assert!(form(&format!("personnummer Namn\n{A} Asa\n"), &fixed).is_ok());
}

/// Identities in another column are those of other people, if the column that the header names cannot be read.
#[test]
fn a_named_column_is_not_passed_over() {
    for id in ["1,98501E+11", "SKYDDAD", "", "19900102", "196810199808"] {
        let rows: String = (0..9).map(|_| format!("{id};Namn;{A}\n")).collect();
        let undecided = |header: &str| {
            let found = form(&format!("{header}\n{rows}"), &ListOptions::default());
            matches!(found, Err(ListError::UnknownIdColumn { .. }))
        };
        assert!(undecided("personnummer;namn;kontaktperson"), "{id}");
        assert_eq!(decided(&format!("personnummer;namn;Kund\n{rows}")).3, 0, "{id}");
        let far = form(&format!("Elevens personnummer;namn;VH\n{rows}"), &ListOptions::default());
        assert!(far.is_err() || far.is_ok_and(|form| form.id_column == "Elevens personnummer"), "{id}");
        // Another column with a known name is taken only if the first one is empty.
        let other = form(&format!("personnummer;namn;orgnr\n{rows}"), &ListOptions::default());
        match id {
            "" => assert_eq!(other.expect("decided").id_column, "orgnr"),
            _ => assert!(matches!(other, Err(ListError::UnknownIdColumn { .. })), "{id}"),
        }
    }
    // Names under a title that may be one of identities.
    let rows: String = (0..9).map(|_| format!("Eva;{A}\n")).collect();
    assert_eq!(decided(&format!("Mottagare;Kod\n{rows}")).3, 1);
    let rounded: String = (0..9).map(|_| format!("1,98501E+11;Namn;{A}\n")).collect();
    assert!(matches!(form(&rounded, &ListOptions::default()), Err(ListError::UnknownIdColumn { .. })));
    let pupils: String = (0..9).map(|_| format!("20010101-XXXX;Anna;Gatan;{B}\n")).collect();
    let guardians = form(&format!("Elev;Namn;Adress;Vårdnadshavare\n{pupils}"), &ListOptions::default());
    assert!(matches!(guardians, Err(ListError::UnknownIdColumn { .. })));
    // Partly readable: what is not is rejected.
    let some: String =
        (0..9).map(|row| format!("{};Namn;{B}\n", if row < 4 { A } else { "skyddad" })).collect();
    let handled = form(&format!("personnummer;namn;handläggare\n{some}"), &ListOptions::default());
    assert!(matches!(handled, Err(ListError::UnknownIdColumn { .. })));
}

/// An identity that cannot be read does not give the list another delimiter, and with it other recipients.
#[test]
fn another_delimiter_does_not_win_by_other_people() {
    let row = |id: &str| format!("{id};Namn;Bo Ek, {B}, Lund\n");
    let rows: String = (0..50).map(|number| row(if number == 7 { "skyddad" } else { A })).collect();
    let form_of = |list: &str| form(list, &ListOptions::default());
    assert_eq!(decided(&format!("personnummer;namn;avser\n{rows}")).0, Some(b';'));
    let unknown =
        |list: &str| matches!(form_of(list), Err(ListError::UnknownDelimiter { one: b',', other: b';' }));
    assert!(unknown(&rows));
    let given = ListOptions { delimiter: Some(b';'), ..ListOptions::default() };
    assert_eq!(form(&rows, &given).expect("given").id_column, "1");
}

/// Lists of which every row is several, because line ends were lost.
#[test]
fn rows_that_are_all_joined_are_noticed() {
    let record = |id: &str| format!("{id};Namn;Gatan 1;111 22;Lund");
    for between in ["", "\t", "|", "\u{85}"] {
        let two: String = (0..9).map(|_| format!("{}{between}{}\n", record(A), record(B))).collect();
        assert!(matches!(form(&two, &ListOptions::default()), Err(ListError::LineEndsLost)), "{between:?}");
        let four = [record(A), record(B), record(A), record(B)].join(between);
        let list = format!("personnummer;namn;adress;postnr;ort\n{four}\n{four}\n");
        assert_eq!(
            form(&list, &ListOptions::default()).expect("decided").guard.rules.columns,
            5,
            "{between:?}"
        );
    }
    // The row's own number in other columns is not another one.
    let own: String = (0..9).map(|_| format!("{A};brev{A};x{}\n", &A[2..])).collect();
    assert!(form(&own, &ListOptions::default()).is_ok());
}

/// Titles above the header, and titles of several columns of identities.
#[test]
fn the_column_that_is_meant_is_taken_or_asked_for() {
    let rows = |row: &str| (0..6).map(|_| format!("{row}\n")).collect::<String>();
    let column = |list: &str| form(list, &ListOptions::default()).map(|form| form.id_column);
    let two = rows(&format!("{A};{B};Anna"));
    assert_eq!(
        column(&format!("Sorterat på;Personnummer;\nPersonnummer;VH personnummer;Namn\n{two}"))
            .expect("decided"),
        "Personnummer"
    );
    for (header, expected) in [
        ("pnr;Målsmans personnummer;Namn", Some("pnr")),
        ("Personnummer;VH personnummer;Namn", Some("Personnummer")),
        ("Personnummer;Kontaktperson;Namn", Some("Personnummer")),
        ("Vårdnadshavare personnummer;Elev;Namn", None),
        ("Personnummer;Organisationsnummer (kund);Namn", None),
        ("Ombud pnr;Kund-id;Namn", None),
        ("Personnummer;Barnets personnummer;Namn", None),
        ("Personnummer;Personnummer;Namn", None),
    ] {
        let found = column(&format!("{header}\n{two}"));
        assert_eq!(found.ok().as_deref(), expected, "{header}");
    }
    let named = ListOptions { id_columns: vec!["Personnummer".to_owned()], ..ListOptions::default() };
    assert!(
        form(&format!("Personnummer;VH;Namn;Personnummer\n{}", rows(&format!("{A};x;y;{B}"))), &named)
            .is_err()
    );
    // Internal numbers, empty and short ones, are not identities that cannot be read.
    for other in ["10023", "", "0", "NULL", "-"] {
        let list = format!("PersonID;Personnummer;Namn\n{}", rows(&format!("{other};{A};Anna")));
        assert_eq!(column(&list).expect("decided"), "Personnummer", "{other}");
    }
    for title in
        ["Personnummer (utan bindestreck)", "Personnummer utan sekel", "Fødselsnummer (uten mellomrom)"]
    {
        let country = if title.starts_with('F') { Country::Norway } else { Country::Sweden };
        assert_eq!(names::rank(title, Some(country)), 1, "{title}");
    }
    // Free text with commas and a word that is a known name, under a header without one.
    let free = rows(&format!("{A};Anna;Bo Ek, {B}, 070-1"));
    let delimiter = |header: &str| form(&format!("{header}\n{free}"), &ListOptions::default());
    for header in [
        "Elevens personnummer;Namn;Kontakt (namn, personnummer, telefon)",
        "Kund;Namn;God man: namn, pnr, telefon",
    ] {
        assert!(matches!(delimiter(header), Err(ListError::UnknownDelimiter { .. })), "{header}");
    }
    assert!(delimiter("Personnummer;Namn;Kontakt").is_ok());
}

/// Of several rows that may be the header, the last one below no row that may be a recipient's.
#[test]
fn repeated_headers_above_the_first_identity() {
    let rows = format!("{A};Asa;Lund\n{B};Bo;Lund\n");
    let twice = format!("pnr;namn;ort\npnr;namn;ort\n{rows}");
    assert_eq!(decided(&twice).1, Some(1));
    let unreadable: String = (0..40).map(|_| "skyddad;Namn;Ort\n").collect();
    assert_eq!(decided(&format!("pnr;namn;ort\n{unreadable}{rows}{}", rows.repeat(40))).1, Some(1));
}

/// Rows above a header that was named, or that is the first row because the user says so.
#[test]
fn recipients_above_a_given_header_are_not_copied() {
    let rows = format!("Personnummer;Namn;Ort\n{A};Asa;Lund\n{B};Bo;Lund\n");
    let refused =
        |list: &str, options: &ListOptions| matches!(form(list, options), Err(ListError::HeaderIsRow));
    let named = ListOptions { id_columns: vec!["Personnummer".to_owned()], ..ListOptions::default() };
    let yes = ListOptions { header: Some(true), ..ListOptions::default() };
    for above in ["SKYDDAD;Anna Berg;Lund", "20010801-2387;Anna Berg;Lund", ";Anna Berg;Lund"] {
        let list = format!("{above}\n{rows}");
        assert!(refused(&list, &named), "{above}");
        assert!(refused(&list, &yes), "{above}");
        assert_eq!(decided(&list).1, None, "{above}");
    }
    // A line that holds an identity with a wrong check digit.
    assert!(refused(&format!("196810199808 Anna;;\n{rows}"), &ListOptions::default()));
    assert!(!refused(&format!("Frågor: 08-123 456 78;;\n{rows}"), &ListOptions::default()));
    // A header that was joined with a protected recipient's row.
    let joined = format!("Personnummer;Namn;OrtSKYDDAD;Anna;Lund\n{A};Asa;Lund\n{B};Bo;Lund\n");
    assert!(refused(&joined, &ListOptions::default()));
    let last: String = (0..6).map(|_| format!("Anna;{A}Bo;{B}\n")).collect();
    assert!(matches!(form(&last, &ListOptions::default()), Err(ListError::LineEndsLost)));
}
