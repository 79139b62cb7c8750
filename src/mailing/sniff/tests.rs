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
        ("", "sökande;vem;hur;när\n", Ground::Types),
    ] {
        let list = format!("{above}{header}{A};Asa;1;1\n{B};Bo;2;2\n");
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
    let list = format!("Titel\nkod;vem;hur\n{A};1;1\n{B};2;2\n");
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
    let named = ListOptions { id_columns: vec!["KOD".to_owned()], ..ListOptions::default() };
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
    assert_eq!(form(&list, &ListOptions::default()).expect("decided").guard.columns, 3);
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
