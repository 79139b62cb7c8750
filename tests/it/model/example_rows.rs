//! Examples for rows, cells, rows that are no letters, further identities and second ids.

use super::examples::{Example, example};

pub(crate) fn examples() -> Vec<Example> {
    [rows(), quotes(), fixed(), cells(), no_letters(), further(), two_ids()].into_iter().flatten().collect()
}

fn rows() -> Vec<Example> {
    let mut examples = vec![
        example("LF", b"@A;x\n@B;x\n").rows("A digital, B digital"),
        example("CR LF", b"@A;x\r\n@B;x\r\n").rows("A digital, B digital"),
        example("CR", b"@A;x\r@B;x\r").rows("A digital, B digital"),
        example("CR CR LF is one line end", b"@A;x\r\r\n@B;x\r\r\n").rows("A digital, B digital"),
        example("mixed line ends", b"@A;x\r@B;x\n@C;x\r\n@A;x\r\r\n@B;x")
            .rows("A digital, B digital, C sender_declined, A digital, B digital"),
        example("CR CR is two line ends", b"@A;x\r\r@B;x\r").rows("A digital, - blank_row, B digital"),
        example("LF CR is two line ends", b"@A;x\n\r@B;x\n\r")
            .rows("A digital, - blank_row, B digital, - blank_row"),
        example("the last row ends with the list", b"@A;x\n@B;x").rows("A digital, B digital"),
        example("line ends in a quoted cell are text", b"@A;\"x\ny\rz\r\nw\"\n@B;x\n@C;x\n")
            .rows("A digital, B digital, C sender_declined"),
    ];
    let others: [(&'static str, &[u8]); 7] = [
        ("vertical tab is text", b"\x0B"),
        ("form feed is text", b"\x0C"),
        ("NEL is text", b"\xC2\x85"),
        ("U+2028 is text", b"\xE2\x80\xA8"),
        ("U+2029 is text", b"\xE2\x80\xA9"),
        ("NUL is text", b"\0"),
        ("Ctrl-Z is text", b"\x1A"),
    ];
    examples.extend(others.map(|(sentence, mark)| {
        example(sentence, &[b"@A;x", mark, b"y\n@B;z\n@C;zzzz\n"].concat())
            .rows("A digital, B digital, C sender_declined")
    }));
    examples
}

fn quotes() -> Vec<Example> {
    let quoted = |sentence: &'static str, list: &[u8]| {
        example(sentence, list).with("--delimiter ; --id-column 1 --header no")
    };
    vec![
        quoted("a quotation mark opens a cell as its first byte", b"@A;\"x;y\"\n@B;z\n")
            .rows("A digital, B digital")
            .says("list.columns", 2),
        quoted("elsewhere it is text", b"@A;x\"y\n@B;z\"\n").rows("A digital, B digital"),
        quoted("a blank before it makes it text", b"@A; \"x\n@B;y\"\n").rows("A digital, B digital"),
        quoted("two are one", b"@A;\"x\"\"\ny\"\n@B;x\n").rows("A digital, B digital"),
        quoted("the rest of the cell is text", b"@A;\"Kalle\" S\n@B;x\n").rows("A digital, B digital"),
        quoted("the rest of the cell is text, up to a delimiter", b"@A;\"Kalle\" S;\"x\ny\"\n@B;x;y\n")
            .rows("A digital, B digital"),
        quoted("not if the cell has a line end", b"@A;\"x\ny\"z\n@B;x\n")
            .rows("- bad_quoting, - bad_character, B digital"),
        quoted("a carriage return is a line end too", b"@A;\"x\ry\"z\n@B;x\n")
            .rows("- bad_quoting, - bad_character, B digital"),
        quoted("never closed: the row is its first line", b"@A;\"x\n@B;y\n@C;z\n")
            .rows("- bad_quoting, B digital, C sender_declined"),
        quoted("never closed, and only seemingly closed later", b"@A;\"x\n@B;y\n@C;z\"\n@D;w\n")
            .rows("- bad_quoting, B digital, C sender_declined, D not_registered"),
        quoted(
            "never closed, and a line within that may be a row",
            b"@A;\"x;y\nSKYDDAD;y;z\"\n@C;z;w\n@D;z;w\n",
        )
        .rows("- bad_quoting, - bad_character, C sender_declined, D not_registered"),
        quoted("a line within that has other cells", b"@A;\"x;y\nSKYDDAD\";z\n@C;z;w\n@D;z;w\n")
            .rows("A digital, C sender_declined, D not_registered"),
        quoted("the first line is no row", b"\"Anna\nc/o @C\";x;@A\n\"Eva\n1\";y;@B\n")
            .with("--id-column 3")
            .rows("- joined_rows, B digital"),
        quoted("a line in it that has no identity there", b"@A;\"x\ny;@B\nz\"\n@C;w\n")
            .rows("- joined_rows, C sender_declined"),
        quoted("the identity of the line is in quotation marks", b"@A;\"x\n\"\"@B\"\";y\"\n@C;w\n")
            .rows("- bad_quoting, B digital, C sender_declined"),
        quoted("the identity of the line has the closing mark behind it", b"@A;\"x\n@B\"\n@C;w\n")
            .rows("- bad_quoting, - bad_character, C sender_declined"),
        quoted("the marks around the identity", b"\"@A\";x\n\"@B\"\n").rows("A digital, B digital"),
        quoted(
            "a whole mebibyte in a cell",
            &[b"@A;\"", &b"x".repeat((1 << 20) - 16)[..], b"\n\"\n@B;x\n"].concat(),
        )
        .rows("A digital, B digital"),
        quoted(
            "more than a mebibyte",
            &[b"@A;\"\n", &b"x".repeat((1 << 20) - 1)[..], b"\"\n@B;x\n"].concat(),
        )
        .rows("- bad_quoting, - bad_character, B digital"),
        quoted(
            "more than a mebibyte in a line",
            &[b"@B;x\n", &b"x".repeat((1 << 20) + 1)[..], b"\n@A;x\n"].concat(),
        )
        .exits(3),
    ]
}

fn fixed() -> Vec<Example> {
    vec![
        example("fixed width: a row is a line", b"x@A\"y\r\nx@B\rx@C\n")
            .with("--id-at 1:12")
            .rows("A digital, B digital, C sender_declined")
            .says("list.delimiter", "")
            .says("list.columns", 0)
            .says("list.id_column", "1:12"),
        example("fixed width: a row that is longer by half", b"@Ax\n@Bx\n@Cx     12345\n")
            .with("--id-at 0:12")
            .rows("A digital, B digital, - extra_cells"),
        example("fixed width: blanks at the end", b"@Ax\n@Bx\n@Cx               \n")
            .with("--id-at 0:12")
            .rows("A digital, B digital, C sender_declined"),
        example("fixed width: two records in every line", b"@Ax@Bx\n@Bx@Cx\n@A\n")
            .with("--id-at 0:12")
            .exits(3),
        example("fixed width: shorter rows", b"xx900102-2384\nxx900102-23\nxx\nx\n\n   \n")
            .with("--id-at 2:12")
            .rows("A digital, - bad_length, - missing_column, - missing_column, - blank_row, - blank_row"),
        example("--id-at excludes --id-column", b"@A\n").with("--id-at 0:12 --id-column 1").exits(2),
        example("--id-at excludes --delimiter", b"@A\n").with("--id-at 0:12 --delimiter ;").exits(2),
    ]
}

fn cells() -> Vec<Example> {
    let cells = |sentence: &'static str, list: &[u8]| {
        example(sentence, list).with("--id-column 1 --header no --delimiter |")
    };
    vec![
        cells("Swedish spellings", b"900102-2384|x\n19900102-2384|\n900101+9802|\n501022388|\n412000-0007|\n").rows(
            "A digital, A digital, C sender_declined, 200501022388 not_registered, 164120000007 not_registered",
        ),
        cells("samordningsnummer with unknown parts", b"@E|x\n171160+2399|\n171160-2399|\n150072-2390|\n800060-2394|\n").rows(
            "E not_registered, E not_registered, 201711602399 not_registered, 201500722390 not_registered, \
             198000602394 not_registered",
        ),
        cells("dates that do not exist", b"199000102384|x\n199001002384|\n199000002384|\n199004912384|\n199013602384|\n")
            .rows("- bad_date, - bad_date, - bad_date, - bad_date, - bad_date"),
        cells("what spreadsheets leave", b"=\"@A\"|x\n=\"\"@A\"\"|\n'@A|\n'@A'|\n@A.0|\n@A,0|\n\"=\"\"@A\"\"\"|\n")
            .rows("A digital, A digital, A digital, A digital, A digital, A digital, A digital"),
        cells("almost what spreadsheets leave", b"=\"@A|x\n@A'|\n@A.00|\n@A.5|\n= \"@A\"|\n==@A|\n").rows(
            "- bad_character, - bad_character, - bad_character, - bad_character, - bad_character, - bad_character",
        ),
        cells("scientific notation", b"1,98501E+11|x\n1.9e11|\n=\"2E+11\"|\nE+11|\n1E+1111|\n1E-11|\n").rows(
            "- scientific_notation, - scientific_notation, - scientific_notation, - bad_character, - bad_character, \
             - bad_character",
        ),
        cells(
            "dashes, blanks and invisible marks",
            "900102\u{2011}2384|x\n900102\u{2212}2384|\n1990\u{AD}01022384\u{200B}|\n\u{FEFF}19900102\u{202F}2384|\n"
                .as_bytes(),
        )
        .rows("A digital, A digital, A digital, A digital"),
        cells("full-width digits", "１９９００１０２２３８４|x\n９００１０１＋９８０２|\n".as_bytes()).rows("A digital, C sender_declined"),
        cells("bytes of Windows-1252", b"900102\x962384|x\n900102\x972384|\n900102\xA02384|\n900102\xAD2384|\n900102\x852384|\n")
            .rows("A digital, A digital, A digital, A digital, - bad_character"),
        cells("characters, then length", b"1990010223844|x\n19900102238444x|\n-900102-2384|\n-|\n\xE2\x80\x8B|\n")
            .rows("- bad_length, - bad_character, - bad_character, - bad_character, - empty"),
        cells("Norwegian spellings", b"@A|x\n018190 12365|\n1819012365|\n41819012359|\n018190+12365|\n0181901236|\n")
            .norway()
            .rows("A digital, A digital, A digital, B notify, - bad_character, - bad_length"),
        cells("Norwegian numbers of 2032", b"02013299997|x\n30108299939|\n29020075838|\n02013299987|\n29020112345|\n")
            .norway()
            .rows(
                "02013299997 not_registered, 30108299939 not_registered, 29020075838 not_registered, \
                 - bad_check_digit, - bad_date",
            ),
        cells("no century is wrong in Norway", b"01814860031|x\n").norway().rows("01814860031 not_registered"),
    ]
}

fn no_letters() -> Vec<Example> {
    let rest = |sentence: &'static str, row: &[u8], reason: &str| {
        example(sentence, &[b"pnr;namn\n@A;x\n@B;x\n@C;x\n@A;y\n", row, b"\n"].concat())
            .rows(&format!("A digital, B digital, C sender_declined, A digital, - {reason}"))
    };
    vec![
        rest("a blank row", b"", "blank_row"),
        rest("a blank row of delimiters", b";;", "blank_row"),
        rest("a blank row of quotation marks", b"\"\";\"\"", "blank_row"),
        rest("a blank row of white space", b" \t;", "blank_row"),
        rest("no blank row", b" ;x", "empty"),
        rest("other blanks are no white space", b"\xC2\xA0", "empty"),
        rest("a repeated header", b"pnr;namn", "repeated_header"),
        rest("a repeated header behind a byte order mark", b"\xEF\xBB\xBFpnr;namn", "repeated_header"),
        rest("a header in another case", b"PNR;namn", "bad_character"),
        rest("a footer: words and numbers", b"Antal: 4711", "footer"),
        rest("a footer: in cells", b"Summa;12 345,00 kr", "footer"),
        rest("a footer: words beside the totals", b"(4711 rows affected)", "footer"),
        rest("a footer: bytes beyond ASCII are left out", b"(4711 rad(er) p\xE5verkades)", "bad_character"),
        rest("a footer: p\u{e5}verkades", b"Antal rader p\xC3\xA5verkades: 5", "footer"),
        rest("a footer: Ctrl-Z", b"\x1A", "footer"),
        rest("a footer: Ctrl-Z and white space", b" \x1A \x1A", "footer"),
        rest("no footer: no word of totals", b"4711 st", "bad_character"),
        rest("no footer: another word", b"Summa avgifter: 5", "bad_character"),
        rest("no footer: a word and digits in one", b"Antal12", "bad_character"),
        rest("a footer has at most 200 bytes", &[b"Antal: ", &b"1 ".repeat(96)[..], b"1"].concat(), "footer"),
        rest("no footer: 201 bytes", &[b"Antal: ", &b"1 ".repeat(97)[..]].concat(), "bad_character"),
        rest("no footer: a word of 21 digits", &[b"Antal: ", &b"1".repeat(21)[..]].concat(), "bad_character"),
        rest("no footer: it has an identity", b"\"199001022384\";total", "x")
            .rows("A digital, B digital, C sender_declined, A digital, A digital"),
        example("without header there is no repeated one", b"x;y\n@A;y\nx;y\n@B;y\n")
            .rows("- bad_character, A digital, - bad_character, B digital"),
    ]
}

fn further() -> Vec<Example> {
    let row = |sentence: &'static str, row: &[u8], reason: &str| {
        example(sentence, &[b"pnr;namn;ort\n", row, b"\n@B;x;y\n@B;x;y\n@B;x;y\n"].concat())
            .rows(&format!("{reason}, B digital, B digital, B digital"))
    };
    let one = |sentence, list: &[u8]| row(sentence, list, "A digital").says("more_than_one_identity", 0);
    let more = |sentence, list: &[u8]| row(sentence, list, "A digital").says("more_than_one_identity", 1);
    let strict =
        |sentence, list: &[u8]| row(sentence, list, "- more_than_one_identity").with("--strict-rows");
    let joined =
        |sentence, list: &[u8]| row(sentence, list, "- joined_rows").says("more_than_one_identity", 0);
    let norway = |sentence: &'static str, list: &[u8], count: i32| {
        example(sentence, &[b"fnr;navn;sted\n", list, b"\n@C;x;y\n@C;x;y\n"].concat())
            .norway()
            .rows("A digital, C not_registered, C not_registered")
            .says("more_than_one_identity", count)
    };
    vec![
        more("Sweden: 12 digits", b"@A;@C;y"),
        more("Sweden: in a text", b"@A;c/o @C.;y"),
        more("Sweden: 8 and 4", b"@A;18900101-9802;y"),
        more("Sweden: 6 and 4", b"@A;nr900101+9802x;y"),
        more("Sweden: 6 and 4 of an organisation", b"@A;412000-0007;y"),
        more("Sweden: 10 of a person", b"@A;0001022383;y"),
        one("Sweden: 10 of an organisation", b"@A;4120000007;y"),
        more("Sweden: 8, a blank and 4", b"@A;18900101 9802;y"),
        one("Sweden: a digit touches", b"@A;1@C;y"),
        one("Sweden: a digit touches the last four", b"@A;18900101-98021;y"),
        one("Sweden: a wrong check digit", b"@A;189001019803;y"),
        one("the same number", b"@A;@A;900102-2384"),
        one("the same last ten digits", b"@A;900102+2384;y"),
        norway("Norway: 11", b"@A;@C;y", 1),
        norway("Norway: 6, a blank and 5", b"@A;x 018100 50019 x;y", 1),
        norway("Norway: 6, a dash and 5", b"@A;018100-50019;y", 1),
        norway("Norway: 6, a plus and 5", b"@A;018100+50019;y", 0),
        norway("Norway: 10", b"@A;1810050019;y", 0),
        norway("Norway: the same", b"@A;018190 12365;y", 0),
        joined("more cells than columns", b"@A;x;y@C;z;w"),
        joined("more cells, and a longer run: 12", b"@A;x;11122@C;z;w"),
        joined("more cells, and a longer run: 10", b"@A;x;1119001019802;z;w"),
        joined("more cells, and ten digits behind two others", b"@A;x;129001019802;z;w"),
        example(
            "a row that lost cells",
            b"namn;pnr;anm;VH pnr\nx;@A;y;@B\nx;@B;y;@C\nx;@C;y;@A\ny;@D\nx;@C\n",
        )
        .rows("A digital, B digital, C sender_declined, - shifted_cells, - shifted_cells"),
        example(
            "a row that lost a cell far from others",
            b"namn;pnr;anm;VH pnr\nx;@A;y;@B\nx;@B;y;@C\nx;@C;y\n",
        )
        .rows("A digital, B digital, C sender_declined"),
        example("a row with a cell too many", b"VH pnr;pnr;anm;ort\n@B;@A;y;\n@C;@B;y;\nx;@D;SKYDDAD;y;\n")
            .rows("A digital, B digital, - shifted_cells"),
        row("more cells and no further identity", b"@A;x;y;z", "A digital"),
        row("more cells, and one seems to be withheld", b"@A;x;ySKYDDAD;z", "- extra_cells"),
        row("more cells, and one has a number that is long enough", b"@A;x;y;123456789", "- extra_cells"),
        row("as many cells as two rows", b"@A;x;y;z;w", "- extra_cells"),
        row("as many cells as two rows, the last ones empty", b"@A;x;y;;", "A digital"),
        one("a longer run without more cells", b"@A;x;11122@C"),
        joined("a line end in a quoted cell", b"@A;\"x\ny @C\";y"),
        joined("NUL", b"@A;x\0@C;y"),
        joined("vertical tab", b"@A;x\x0B@C;y"),
        joined("form feed", b"@A;x\x0C@C;y"),
        joined("Ctrl-Z", b"@A;x\x1A@C;y"),
        joined("U+001C", b"@A;x\x1C@C;y"),
        joined("U+001F", b"@A;x\x1F@C;y"),
        joined("NEL", b"@A;x\xC2\x85@C;y"),
        joined("0x85 of Windows-1252 may be NEL", b"@A;x\x85@C;y"),
        joined("U+2028", b"@A;x\xE2\x80\xA8@C;y"),
        joined("U+2029", b"@A;x\xE2\x80\xA9@C;y"),
        joined("a byte order mark", b"@A;x\xEF\xBB\xBF@C;y"),
        row("a sign, and no further identity", b"@A;x\x0By;y", "A digital"),
        row("a sign, and the same number", b"@A;x\x0B@A;y", "A digital"),
        strict("--strict-rows", b"@A;c/o @C;y"),
        row("--strict-rows, and no further identity", b"@A;c/o x;y", "A digital").with("--strict-rows"),
        row("--strict-rows, and signs of two rows", b"@A;x\x0B@C;y", "- joined_rows").with("--strict-rows"),
        one("--expected-ids by number", b"@A;@C;y").with("--strict-rows --expected-ids 2"),
        one("--expected-ids by name", b"@A;@C;y").with("--strict-rows --expected-ids namn"),
        one("--expected-ids twice", b"@A;@C;@E").with("--strict-rows --expected-ids 2 --expected-ids ORT"),
        strict("--expected-ids of another column", b"@A;@C;y").with("--expected-ids 3"),
        row("a row without identity is not searched", b";@C;@B", "- empty"),
        row("nor is its reason another", b"x;x\x0B@C;@B", "- bad_character"),
        example("fixed width is searched too", b"@A c/o @C\n@B c/o 12 34 56 78.\n@A\x0B@C\n")
            .with("--id-at 0:12")
            .rows("A digital, B digital, - joined_rows")
            .says("more_than_one_identity", 1),
        example("a duplicate is no earlier row that was rejected", b"@A;x\x0B@C\n@A;x\n@B;x\n")
            .rows("- joined_rows, A digital, B digital")
            .says("duplicates", 0),
    ]
}

fn two_ids() -> Vec<Example> {
    let two = |sentence: &'static str, row: &[u8]| {
        example(sentence, &[b"barn;malsman;namn\n", row, b"\n"].concat())
            .with("--id-column barn --id-column malsman")
    };
    let both = |sentence: &'static str, row: &[u8]| two(sentence, row).with("--two-ids both");
    vec![
        two("digital before paper", b"@C;@A;x").rows("A digital").says("second_ids", 1).says("letters", 1),
        two("of equals the first", b"@A;@B;x").rows("A digital").says("second_ids", 0),
        two("of equals the first, on paper", b"@D;@C;x").rows("D not_registered").says("second_ids", 0),
        two("a column without identity does not count", b"SKYDDAD;@C;x")
            .rows("C sender_declined")
            .says("second_ids", 1),
        two("neither has one: the first column's reason", b"x;;y").rows("- bad_character"),
        two("neither has one: a blank row", b";;").rows("- blank_row"),
        two("neither is searched", b"@A;@B;x")
            .with("--strict-rows")
            .rows("A digital")
            .says("more_than_one_identity", 0),
        two("neither is searched if it cannot be read", b"@Ax;@B;x").with("--strict-rows").rows("B digital"),
        two("the others are", b"@A;@B;@C").rows("A digital").says("more_than_one_identity", 1),
        two("by number, and named mode", b"@C;@A;x").with("--two-ids first-reachable").rows("A digital"),
        both("a letter each", b"@A;@C;x\n@B;@D;x")
            .rows("A digital, C sender_declined, B digital, D not_registered")
            .numbered(&[1, 1, 2, 2])
            .says("letters", 4)
            .says("second_ids", 2)
            .says("list.rows", 2)
            .above(b"barn;malsman;namn\n199001022384;189001019802;x\n200001022383;199001622381;x\n"),
        both("one of them", b";@C;x\n@A;;x").rows("C sender_declined, A digital").says("second_ids", 1),
        both("the same identity is one letter", b"@A;900102-2384;x")
            .rows("A digital")
            .says("letters", 1)
            .says("duplicates", 0),
        both("rejected once", b"x;;y\n@A;@C;x")
            .rows("- bad_character, A digital, C sender_declined")
            .numbered(&[1, 2, 2]),
        both("two rows in one", b"@A;@C;x\x0B@D").rows("- joined_rows").numbered(&[1]).says("second_ids", 0),
        example("notify before paper", b"barn;verge;navn\n@C;@B;x\n@B;@A;x\n@B;@C;x\n")
            .norway()
            .with("--id-column barn --id-column verge")
            .rows("B notify, A digital, B notify")
            .says("second_ids", 2),
    ]
}
