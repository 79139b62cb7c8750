//! Examples for the form of the file and for what is decided from the first rows.

use super::examples::{Example, example};

pub(crate) fn examples() -> Vec<Example> {
    [form(), separators(), columns(), names(), headers(), skipped()].into_iter().flatten().collect()
}

fn form() -> Vec<Example> {
    let zeros: Vec<u8> = b"pnr;namn\n199001022384;Anna\n".iter().flat_map(|&byte| [byte, 0]).collect();
    let mut examples = vec![
        example("utf-8-bom: the byte order mark", b"\xEF\xBB\xBFpnr;f\xC3\xB6rnamn\n@A;x\n")
            .rows("A digital")
            .says("list.encoding", "utf-8-bom")
            .says("list.id_column", "pnr")
            .above(b"\xEF\xBB\xBFpnr;f\xC3\xB6rnamn\n"),
        example("windows-1252: more broken places than characters", b"F\xF6dd;personnr (f\xF6dd)\nx;@A\n")
            .rows("A digital")
            .says("list.encoding", "windows-1252")
            .says("list.id_column", "personnr (f\u{f6}dd)"),
        example("utf-8: no more broken places than characters", b"F\xC3\xB6dd;pnr\n\xF6x;@A\n")
            .rows("A digital")
            .says("list.encoding", "utf-8"),
        example("not a list: UTF-16 without byte order mark", &zeros).exits(3),
    ];
    let others: [(&'static str, &[u8]); 14] = [
        ("not a list: UTF-16", b"\xFF\xFEp\0n\0r\0\n\0"),
        ("not a list: UTF-16, big-endian", b"\xFE\xFF\0p\0n\0r\0\n"),
        ("not a list: ZIP", b"PK\x03\x04 and so on, and so on, and so on"),
        ("not a list: .xls", b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1 and so on"),
        ("not a list: PDF", b"%PDF-1.7\n and so on"),
        ("not a list: Parquet", b"PAR1 and so on PAR1"),
        ("not a list: Arrow", b"ARROW1\0\0 and so on"),
        ("not a list: Avro", b"Obj\x01 and so on"),
        ("not a list: SQLite", b"SQLite format 3\0 and so on"),
        ("not a list: 7-Zip", b"7z\xBC\xAF\x27\x1C\0\x04 and so on"),
        ("not a list: xz", b"\xFD7zXZ\0 and so on"),
        ("not a list: bzip2", b"BZh91AY&SY\0 and so on"),
        ("not a list: a register file", b"nabar\r\n\x1A and so on"),
        ("not a list: UTF-16 with one line", b"\xFF\xFE1\x009\0"),
    ];
    examples.extend(others.map(|(sentence, bytes)| example(sentence, bytes).exits(3)));
    examples
}

fn separators() -> Vec<Example> {
    vec![
        example("sep= says the delimiter and is no row", b"sep=|\npnr|namn;ort\n@A|x;y\n@B|x;y\n")
            .rows("A digital, B digital")
            .says("list.delimiter", "|")
            .says("list.skipped_rows", 1)
            .says("list.header_row", 2)
            .above(b"sep=|\npnr|namn;ort\n"),
        example("sep= in any case and with quotation marks", b"\"SEP=;\"\r\n@A;x\r\n@B;x\r\n")
            .rows("A digital, B digital")
            .says("list.delimiter", ";")
            .says("list.header_row", serde_json::Value::Null)
            .above(b"\"SEP=;\"\r\n"),
        example("sep= in any case, and a tab", b"Sep=\t\n@A\tx\n@B\tx\n")
            .rows("A digital, B digital")
            .says("list.skipped_rows", 1),
        example("sep= says any byte", b"sep=~\n@A~x\n@B~x\n")
            .rows("A digital, B digital")
            .says("list.delimiter", "~"),
        example("sep= says no letter", b"sep=x\n@A;y\n@B;y\n@A;z\n@B;z\n")
            .rows("- bad_character, A digital, B digital, A digital, B digital")
            .says("list.delimiter", ";"),
        example("sep= only in the first line", b"@A;x\nsep=;\n@B;x\n")
            .rows("A digital, - bad_character, B digital"),
        example("the command line overrules sep=", b"sep=|\n@A;x|y\n@B;x|y\n")
            .with("--delimiter ;")
            .rows("A digital, B digital")
            .says("list.delimiter", ";"),
        example("most identities win over most alike", b"@A;1,5\n@B;2,5,0\n@A;3\n@B;4\n@A;5,5\n")
            .rows("A digital, B digital, A digital, B digital, A digital")
            .says("list.delimiter", ";"),
        example("decimal commas never win", b"pnr;a;b\n@A;1,5;2,5\n@B;1,5;2,5\n@C;1,5;2,5\n")
            .rows("A digital, B digital, C sender_declined")
            .says("list.delimiter", ";")
            .says("list.columns", 3),
        example("of equal identities most alike", b"@A;x,y\n@A;x,y\n@B;x\n@B;x\n")
            .says("list.delimiter", ";"),
        example("then more cells", b"a;b|x|y\nc;d|x|y\n").with("--id-column 1").says("list.delimiter", "|"),
        example("then the first", b"a;b|x\nc;d|x\n").with("--id-column 1").says("list.delimiter", ";"),
        example("half of the rows must be alike, else one column", b"@A\n@B\n@C;x\n@A\n@B;y\n")
            .rows("A digital, B digital, - bad_character, A digital, - bad_character")
            .says("list.delimiter", "")
            .says("list.columns", 1),
    ]
}

fn columns() -> Vec<Example> {
    vec![
        example(
            "columns: what most rows with an identity have",
            b"@A;x;y\n@B;x;y\nz;x\nz;x\nz;x\nz;x\n@A;x\n",
        )
        .with("--id-column 1")
        .with("--header no")
        .says("list.columns", 3),
        example("columns: of equals the smaller", b"@A;x;y\n@B;x\n").says("list.columns", 2),
        example("columns: of equals the smaller, with a delimiter that is said", b"@A;x\n@B;x;y;z\n")
            .with("--delimiter ; --id-column 1 --header no")
            .says("list.columns", 2),
        example(
            "line ends in quoted cells before the identity",
            b"namn;adress;pnr\nAnna;\"Gata 1\n111 22 Ort\";@A\nBo;\"Gata 2\n111 22 Ort\";@B\nEva;\"Gata 3\n1\";@C\n",
        )
        .rows("A digital, B digital, C sender_declined")
        .says("list.id_column", "pnr")
        .says("list.columns", 3),
        example("columns: most rows if none has an identity", b"a;b\nc;d\ne;f;g\n")
            .with("--id-column 1 --header no")
            .says("list.columns", 2),
        example("one column that holds identities", b"x;@A;y\nz;@B;w\n")
            .rows("A digital, B digital")
            .says("list.id_column", "2"),
        example("half of the rows are enough", b"x;@A\nz;\n")
            .rows("A digital, - empty")
            .says("list.id_column", "2"),
        example("several: the best known name", b"m\xC3\xA5lsman;pnr\n@A;@B\n@B;@A\n")
            .rows("B digital, A digital")
            .says("list.id_column", "pnr"),
        example("several: the best kind of name", b"M\xC3\xA5lsmans personnummer;pnr_1\n@A;@B\n@B;@A\n")
            .rows("B digital, A digital")
            .says("list.id_column", "pnr_1"),
        example("several: none known", b"zink;koppar\n@A;@B\n@B;@A\n").exits(2),
        example("several: without header", b"@A;@B\n@B;@A\n").exits(2),
        example("several: more than one is known", b"pnr;personnummer\n@A;@B\n@B;@A\n").exits(2),
        example("none: the one with a known name", b"namn;pnr\nx;\ny;\nz;@A\n")
            .rows("- empty, - empty, A digital")
            .says("list.id_column", "pnr"),
        example("none: more than one is known", b"personnr;pnr\nx;\ny;\nz;@A\nw;\n").exits(2),
        example("none: no header", b"x;1\ny;2\nz;3\n").exits(2),
        example("one column is taken as it is", b"x\ny\n@A\n")
            .rows("- bad_character, - bad_character, A digital"),
        example("a number is a number", b"pnr;x\n@A;@B\n").with("--id-column 2").rows("B digital"),
        example("a name as it is before one without case", b"PNR;pnr\n@A;@B\n")
            .with("--id-column pnr")
            .rows("B digital"),
        example("a name without case, marks and accents", b"namn;F\xC3\xB6rsta-id\nx;@B\n")
            .with("--id-column forstaid")
            .rows("B digital")
            .says("list.id_column", "F\u{f6}rsta-id"),
        example("a name that is not there", b"pnr;x\n@A;@B\n").with("--id-column zink").exits(2),
    ]
}

/// Known names; the other column holds identities too, so that the name alone decides.
fn names() -> Vec<Example> {
    let known = |sentence: &'static str, title: &[u8]| {
        example(sentence, &[b"VH;", title, b";ort\n@A;@B;x\n@B;@A;x\n"].concat()).rows("B digital, A digital")
    };
    let unknown = |sentence: &'static str, title: &[u8]| {
        example(sentence, &[b"namn;", title, b"\n@A;@B\n@B;@A\n"].concat()).with("--header yes").exits(2)
    };
    vec![
        known("a known name: in any case", b"PERSONNUMMER"),
        known("a known name: with marks and spaces", b"Person- / org.nr"),
        unknown("a known name: only for Norway", b"F\xC3\xB8dselsnummer"),
        known("a known name: digits at the end", b"pnr_1"),
        known("a known name: mottagare", b"Mottagare"),
        known("a title: one word of it", b"Personnummer (12 siffror)"),
        known("a title: at the end", b"Elevens personnummer"),
        known("a title: two words that follow one another", b"kundens person nr nu"),
        unknown("a title: mottagare is not enough", b"Mottagare av brev"),
        unknown("a title: identitet is not enough", b"skyddad identitet ja"),
        known("a title: six words", b"ett tv\xC3\xA5 tre fyra fem pnr"),
        unknown("a title: seven words", b"ett tv\xC3\xA5 tre fyra fem sex pnr"),
        unknown("no known name", b"kundnummer"),
    ]
}

fn headers() -> Vec<Example> {
    vec![
        example(
            "first rule: a known name",
            b"Utskick april\n2026-04-01\n\npnr;namn;ort\n@A;x;y\n@B;x;y\n@C;x;y\n@A;y;y\n",
        )
        .rows("A digital, B digital, C sender_declined, A digital")
        .says("list.header_row", 4)
        .says("list.skipped_rows", 3)
        .above(b"Utskick april\n2026-04-01\n\npnr;namn;ort\n"),
        example("first rule: cells for half of the columns", b"pnr\nx;y;z\n@A;x;y\n@B;x;y\n@C;x;y\n")
            .rows("- bad_character, - bad_character, A digital, B digital, C sender_declined")
            .says("list.header_row", serde_json::Value::Null),
        example("the first rule comes before the second", b"namn;adress;\npnr;x;y\n@A;y;z\n@B;y;z\n")
            .rows("A digital, B digital")
            .says("list.header_row", 2),
        example("second rule: usual words", b"kund;namn;adress\n@A;x;y\n@B;x;y\n")
            .rows("A digital, B digital")
            .says("list.header_row", 1),
        example("second rule: at least half of them", b"zink;namn;adress;z;w\n@A;x;y;z;w\n@B;x;y;z;w\n")
            .says("list.header_row", serde_json::Value::Null),
        example("second rule: one word in a list of one column", b"namn\n@A\n@B\n")
            .says("list.header_row", 1),
        example("third rule: unlike the rows", b"elev;koppar;ort\n@A;1;111 22\n@B;2;111 22\n@C;3;1\n")
            .rows("A digital, B digital, C sender_declined")
            .says("list.header_row", 1),
        example("a kind of recipient alone is no header", b"Elev;Anna;Lund\n@A;1;111 22\n@B;2;111 22\n")
            .rows("- bad_character, A digital, B digital")
            .says("list.header_row", serde_json::Value::Null),
        example("a kind of number alone is no header", b"Samordningsnummer;Anna;Lund\n@A;x;y\n@B;x;y\n")
            .rows("- bad_character, A digital, B digital")
            .says("list.header_row", serde_json::Value::Null),
        example("no titles, and identities in another column", b"@A;@B\n@B;@C\nx;@A\ny;@B\nz;@C\n").exits(2),
        example("third rule: no title of identities", b"zink;koppar;tenn\n@A;1;111 22\n@B;2;111 22\n")
            .rows("- bad_character, A digital, B digital")
            .says("list.header_row", serde_json::Value::Null),
        example("third rule: no other column has digits", b"zink;koppar\n@A;x\n@B;x\n")
            .rows("- bad_character, A digital, B digital")
            .says("list.header_row", serde_json::Value::Null),
        example("third rule: as many cells as columns", b"zink;koppar\n@A;x;1\n@B;x;1\n@C;x;1\n")
            .says("list.header_row", serde_json::Value::Null),
        example("third rule: all different", b"zink;zink;bly\n@A;1;1\n@B;1;1\n@C;1;1\n")
            .says("list.header_row", serde_json::Value::Null),
        example("third rule: all different, blanks aside", b" zink;zink;bly\n@A;1;1\n@B;1;1\n@C;1;1\n")
            .says("list.header_row", serde_json::Value::Null),
        example("third rule: none empty", b"zink;;bly\n@A;1;1\n@B;1;1\n@C;1;1\n")
            .says("list.header_row", serde_json::Value::Null),
        example("third rule: none with a digit", b"zink;tenn 1;bly\n@A;1;1\n@B;1;1\n@C;1;1\n")
            .says("list.header_row", serde_json::Value::Null),
        example("third rule: no word for a withheld identity", b"SKYDDAD;Anna;Ort\n@A;1;1\n@B;1;1\n@C;1;1\n")
            .rows("- bad_character, A digital, B digital, C sender_declined")
            .says("list.header_row", serde_json::Value::Null),
        example("third rule: four of five rows", b"elev;ort;bly\n@A;1;1\n@B;1;1\n@C;1;1\n@A;1;1\n@B;x;1\n")
            .says("list.header_row", 1),
        example(
            "third rule: fewer than four of five rows",
            b"zink;tenn;bly\n@A;1;1\n@B;1;1\n@C;1;1\n@A;x;1\n@B;x;1\n",
        )
        .says("list.header_row", serde_json::Value::Null),
        example(
            "no row is lost if the first identity is withheld",
            b";Anna;111 22\n@A;x;111 22\n@B;x;111 22\n",
        )
        .rows("- empty, A digital, B digital"),
        example("--header no", b"pnr;namn\n@A;x\n@B;x\n")
            .with("--header no")
            .rows("- bad_character, A digital, B digital")
            .says("list.id_column", "1")
            .above(b""),
        example("--header yes takes what auto takes", b"x\npnr;namn\n@A;x\n@B;x\n")
            .with("--header yes")
            .rows("A digital, B digital")
            .says("list.header_row", 2),
        example(
            "--header yes takes what auto takes by the third rule",
            b"titel\nort;elev;zink\n1;@A;1\n2;@B;1\n",
        )
        .with("--header yes")
        .rows("A digital, B digital")
        .says("list.header_row", 2),
        example("--header yes takes the first row otherwise", b"zink;koppar\n@A;x\n@B;x\n")
            .with("--header yes")
            .rows("A digital, B digital")
            .says("list.header_row", 1)
            .says("list.id_column", "zink"),
        example("--id-column NAME finds the header", b"x;\nzink;koppar\n@A;x\n@B;x\n")
            .with("--id-column zink --header no")
            .rows("A digital, B digital")
            .says("list.header_row", 2)
            .above(b"x;\nzink;koppar\n"),
        example(
            "--id-column NAME finds it in the 30th row",
            &[&b"x;\n".repeat(29)[..], b"zink;koppar\n@A;x\n"].concat(),
        )
        .with("--id-column zink")
        .rows("A digital"),
        example(
            "--id-column NAME not in the 31st row",
            &[&b"x;y\n".repeat(30)[..], b"zink;koppar\n@A;x\n"].concat(),
        )
        .with("--id-column zink")
        .exits(2),
        example("a header that holds an identity", b"@A;x\n@B;x\n").with("--header yes").exits(2),
        example("a header that holds an identity beside its name", b"zink;@C\n@A;x\n@B;x\n")
            .with("--id-column zink")
            .exits(2),
        example("no row has an identity: the first 30 rows", b"x;\nz;\npnr;koppar\nx;y\n")
            .rows("- bad_character")
            .says("list.header_row", 3),
    ]
}

fn skipped() -> Vec<Example> {
    vec![
        example("--skip-rows", b"x\ny;z;w;v\n@A;x\n@B;x\n")
            .with("--skip-rows 2")
            .rows("A digital, B digital")
            .says("list.skipped_rows", 2)
            .says("list.header_row", serde_json::Value::Null)
            .above(b"x\ny;z;w;v\n"),
        example("--skip-rows, and a title before the header", b"x\ntitel\npnr;namn\n@A;x\n@B;x\n")
            .with("--skip-rows 1")
            .rows("A digital, B digital")
            .says("list.skipped_rows", 2)
            .says("list.header_row", 3),
        example("--skipped drop leaves the header", b"titel\npnr;namn\n@C;x\n@B;x\n")
            .with("--skipped drop")
            .rows("C sender_declined, B digital")
            .above(b"pnr;namn\n189001019802;x\n"),
        example("a list without header has nothing above it", b"titel\n\n@A;x\n@B;x\n@C;x\n@A;x\n")
            .rows("- bad_character, - blank_row, A digital, B digital, C sender_declined, A digital")
            .says("list.skipped_rows", 0),
        example("a skipped row that holds an identity", b"@C;x\n@A;x\n@B;x\n").with("--skip-rows 1").exits(2),
        example("a row above the named header that holds an identity", b"@C;x\nzink;y\n@A;x\n@B;x\n")
            .with("--id-column zink")
            .exits(2),
        example("fixed width has no header", b"personnummer\n@C\n")
            .with("--id-at 0:12")
            .rows("- bad_character, C sender_declined"),
        example("fixed width with a header", b"personnummer\n@C\n")
            .with("--id-at 0:12 --header yes")
            .rows("C sender_declined")
            .above(b"personnummer\n189001019802\n"),
    ]
}
