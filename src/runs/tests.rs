//! All forms: letters do not depend on where a run is cut, and errors say where.

use super::*;
use proptest::prelude::*;

fn description(text: &str) -> RunDescription {
    RunDescription::parse(text).expect("a description")
}

fn opened(description: &RunDescription, bytes: &[u8]) -> Box<dyn Run> {
    description.open(bytes, true).expect("as described").expect("whole")
}

/// Letters of a run in one go: end, records and id of each; and where what is behind them begins.
type Found = (Vec<(usize, u32, Result<Vec<u8>, LetterProblem>)>, usize);

fn listed(letters: &Letters, at: usize) -> Vec<(usize, u32, Result<Vec<u8>, LetterProblem>)> {
    let each = letters.all().iter();
    each.map(|letter| (at + letter.end, letter.records, letters.id(letter).map(<[u8]>::to_vec))).collect()
}

fn all(run: &dyn Run, bytes: &[u8]) -> Result<Found, RunError> {
    let (first, mut letters) = (run.first_letter(), Letters::default());
    run.letters(&bytes[first..], usize::MAX, BytesEnd::Run, &mut letters)?;
    assert!(letters.is_last);
    Ok((listed(&letters, first), first + letters.end))
}

/// The same in chunks of about so many bytes.
fn in_chunks(run: &dyn Run, bytes: &[u8], until: usize) -> Found {
    let (mut at, mut found, mut letters) = (run.first_letter(), Vec::new(), Letters::default());
    loop {
        letters.clear();
        run.letters(&bytes[at..], until, BytesEnd::Run, &mut letters).expect("as described");
        found.extend(listed(&letters, at));
        // A chunk by itself has the same letters.
        if !letters.is_last {
            let mut alone = Letters::default();
            run.letters(&bytes[at..at + letters.end], usize::MAX, BytesEnd::Letter, &mut alone)
                .expect("a chunk");
            assert_eq!(listed(&alone, at), listed(&letters, at));
        }
        at += letters.end;
        if letters.is_last {
            return (found, at);
        }
        assert!(letters.end > 0, "a chunk has a letter");
    }
}

/// Bytes that arrive one after another give the first letters, and none that the whole run does not have.
fn check_arriving(run: &dyn Run, bytes: &[u8], expected: &Found) {
    let first = run.first_letter();
    for end in first..bytes.len() {
        let mut letters = Letters::default();
        run.letters(&bytes[first..end], usize::MAX, BytesEnd::Anywhere, &mut letters).expect("as described");
        let found = listed(&letters, first);
        assert!(expected.0.starts_with(&found), "at {end}");
        // At most one letter is undecided, or several of one id.
        assert!(letters.is_last || found.last().is_none_or(|(at, ..)| *at <= end));
    }
}

fn check_cuts(run: &dyn Run, bytes: &[u8], is_exact: bool) -> Found {
    let whole = all(run, bytes).expect("as described");
    for until in [1, 7, 64, 300] {
        assert_eq!(in_chunks(run, bytes, until), whole, "chunks of {until} bytes");
    }
    check_arriving(run, bytes, &whole);
    let first = run.first_letter();
    let mut starts: Vec<usize> = whole.0.iter().map(|(end, ..)| *end).collect();
    starts.extend([first, whole.1, bytes.len()]);
    for from in 0..if is_exact { bytes.len() - first } else { 0 } {
        let guessed = first + run.likely_start(&bytes[first..], from);
        assert!(starts.contains(&guessed) && guessed >= first + from, "{from}: {guessed}");
    }
    whole
}

/// A structured field of AFP.
fn afp_field(kind: [u8; 3], flags: u8, data: &[u8]) -> Vec<u8> {
    let length = (8 + data.len() as u16).to_be_bytes();
    [&[0x5A], &length[..], &kind, &[flags, 0, 0], data].concat()
}

const RECORDS: &str = r#"
form = "records"
record_type = "0:2"
letter_start = "10"
id_in = ["10", "20"]
id_at = "3:4"
header = "00"
trailer = "99"
records = ["20", "30"]
[[count]]
in = "99"
at = "2:4"
"#;

/// The naive model: line by line.
fn records_by_line(text: &str) -> Vec<(usize, u32, Result<Vec<u8>, LetterProblem>)> {
    let mut letters: Vec<(usize, u32, Vec<&str>, bool)> = Vec::new();
    let (mut at, mut is_within, mut has_blank) = (0, false, false);
    for line in text.split_inclusive('\n') {
        at += line.len();
        let bare = line.trim_end_matches(['\r', '\n']);
        let kind = bare.get(..2).unwrap_or(bare);
        match kind {
            "99" => break,
            "10" => {
                (is_within, has_blank) = (true, false);
                letters.push((at, 0, Vec::new(), false));
            }
            _ => {}
        }
        if is_within && let Some((end, records, ids, is_unknown)) = letters.last_mut() {
            let is_blank = bare.trim().is_empty();
            *is_unknown |= has_blank && !is_blank;
            has_blank |= is_blank;
            (*end, *records) = (at, *records + 1);
            match kind {
                "10" | "20" => ids.push(bare.get(3..).map_or("?", |rest| rest[..rest.len().min(4)].trim())),
                "30" => {}
                _ => *is_unknown |= !bare.trim().is_empty(),
            }
        }
    }
    let id = |ids: &[&str], is_unknown: bool| {
        let mut given: Vec<&str> = ids.iter().copied().filter(|id| !id.is_empty() && *id != "?").collect();
        given.dedup_by_key(|id| id.bytes().filter(u8::is_ascii_digit).collect::<Vec<u8>>());
        match (given.first(), given.len(), is_unknown) {
            (.., true) => Err(LetterProblem::UnknownRecord),
            (_, 2.., _) => Err(LetterProblem::SeveralIds),
            (Some(id), ..) => Ok(id.as_bytes().to_vec()),
            (None, ..) if ids.contains(&"") => Ok(Vec::new()),
            (None, ..) => Err(LetterProblem::MissingColumn),
        }
    };
    letters.iter().map(|(end, records, ids, unknown)| (*end, *records, id(ids, *unknown))).collect()
}

proptest! {
    #[test]
    fn records_are_those_of_the_naive_model(
        lines in proptest::collection::vec(
            prop_oneof![6 => "10 [1-3]{1}[0-9]{3}", 1 => "10", 2 => "20 [1-3]{0,1}", 6 => "30[a-z0-9 ]{0,40}", 1 => "40x", 1 => ""],
            0..40,
        ),
        is_dos in any::<bool>(),
    ) {
        let end = if is_dos { "\r\n" } else { "\n" };
        let first = lines.iter().position(|line| line.starts_with("10")).unwrap_or(lines.len());
        let text = format!("00 head{end}{}99{:04}{end}", lines[first..].iter().map(|line| format!("{line}{end}")).collect::<String>(), 7);
        let run = opened(&description(RECORDS), text.as_bytes());
        let (letters, _) = check_cuts(&*run, text.as_bytes(), true);
        prop_assert_eq!(letters, records_by_line(&text));
    }

    #[test]
    fn records_by_key_and_of_fixed_length(keys in proptest::collection::vec(0u8..4, 1..40)) {
        let text: String = keys.iter().map(|key| format!("{key}k|{key}{key}{key}{key}|x\n")).collect();
        let groups = keys.chunk_by(|one, other| one == other);
        let expected: Vec<(u32, Vec<u8>)> =
            groups.map(|group| (group.len() as u32, format!("{0}{0}{0}{0}", group[0]).into_bytes())).collect();
        for (bytes, said) in [
            (text.clone(), "letter_key = \"1\"\nid_at = \"2\"\ndelimiter = \"|\""),
            (text.replace('\n', ""), "letter_key = \"0:2\"\nid_at = \"3:4\"\nrecord_length = 9"),
            (text.clone(), "letter_key = \"0:2\"\nid_at = \"3:4\""),
        ] {
            let run = opened(&description(&format!("form = \"records\"\n{said}")), bytes.as_bytes());
            let (letters, _) = check_cuts(&*run, bytes.as_bytes(), false);
            let found: Vec<(u32, Vec<u8>)> =
                letters.into_iter().map(|(_, records, id)| (records, id.expect("an id"))).collect();
            prop_assert_eq!(&found, &expected);
        }
    }

    #[test]
    fn letters_in_xml_do_not_depend_on_cuts(
        letters in proptest::collection::vec(
            (prop_oneof!["[0-9]{4}", "<!\\[CDATA\\[[0-9]{4}\\]\\]>", "&#4[89];[0-9]{3}", "", "&unknown;"],
             prop_oneof!["", "<!-- <L><I>1</I></L> -->", "<!\\[CDATA\\[<L>\\]\\]>", "<x><I>7</I></x>", "<L>1</L>", "a &lt; b"]),
            0..12,
        ),
        between in prop_oneof!["", "\n", "<!-- <L> -->", "<\\?L <L>\\?>"],
    ) {
        let body: String =
            letters.iter().map(|(id, more)| format!("<p:L><p:R><I>{id}</I></p:R>{more}</p:L>{between}")).collect();
        let text = format!("<?xml version='1.0'?><B n='{0}'>{between}<C/>{body}<End/></B>\n", letters.len());
        let said = "form = \"xml\"\nletter_element = \"L\"\nid_path = \"R/I\"";
        // A letter in what is behind the letters is one that was not found.
        if letters.is_empty() {
            return Ok(());
        }
        let run = opened(&description(said), text.as_bytes());
        let (found, _) = check_cuts(&*run, text.as_bytes(), false);
        prop_assert_eq!(found.len(), letters.len());
        for ((.., id), (expected, _)) in found.iter().zip(&letters) {
            let bare = expected.replace("<![CDATA[", "").replace("]]>", "").replace("&#48;", "0").replace("&#49;", "1").replace("&unknown;", "?");
            let expected = if bare == "?" { Err(LetterProblem::BadText) } else { Ok(bare.as_bytes()) };
            prop_assert_eq!(id.as_deref().map_err(|problem| *problem), expected);
        }
    }

    #[test]
    fn groups_in_afp_do_not_depend_on_cuts(ids in proptest::collection::vec(0u8..3, 0..12), joins in any::<bool>()) {
        let field = |kind: [u8; 3], data: &[u8]| afp_field(kind, 0, data);
        let tag = |id: u8| vec![5, 2, 0x0B, 0, 0xC9, 6, 0x36, 0, 0, 0xF1, 0xF0 + id];
        let mut bytes = field([0xD3, 0xA8, 0xA8], b"document");
        for id in &ids {
            bytes.extend(field([0xD3, 0xA8, 0xAD], &[]));
            bytes.extend(field([0xD3, 0xA0, 0x90], &tag(*id)));
            // What looks like a group in a page.
            bytes.extend(field([0xD3, 0xEE, 0x9B], &field([0xD3, 0xA8, 0xAD], &[])));
            bytes.extend(field([0xD3, 0xA9, 0xAD], &[]));
        }
        bytes.extend(field([0xD3, 0xA9, 0xA8], b"document"));
        let run = opened(&description(&format!("form = \"afp\"\nid_tag = \"I\"\njoin_groups = {joins}")), &bytes);
        let (found, _) = check_cuts(&*run, &bytes, !joins);
        let expected: Vec<(u32, Vec<u8>)> = match joins {
            true => ids.chunk_by(|one, other| one == other).map(|group| (4 * group.len() as u32, vec![b'1', b'0' + group[0]])).collect(),
            false => ids.iter().map(|id| (4, vec![b'1', b'0' + id])).collect(),
        };
        let found: Vec<(u32, Vec<u8>)> = found.into_iter().map(|(_, fields, id)| (fields, id.expect("an id"))).collect();
        prop_assert_eq!(found, expected);
    }

    /// Bytes of any kind are an error or letters, in all forms.
    #[test]
    fn anything_is_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), text in "[<>/a-cL \"'=!\\[\\]?-]{0,200}") {
        for said in [
            "form = \"xml\"\nletter_element = \"L\"\nid_path = \"a\"",
            "form = \"afp\"\nid_tag = \"I\"",
            "form = \"records\"\nletter_key = \"0:1\"\nid_at = \"1:4\"",
            "form = \"records\"\nletter_key = \"0:1\"\nid_at = \"1:4\"\nrecord_length = 10",
            "form = \"records\"\nletter_key = \"1\"\nid_at = \"2\"\ndelimiter = \"=\"",
        ] {
            for bytes in [&bytes[..], text.as_bytes()] {
                let description = description(said);
                let _ = propose(bytes, &|text: &[u8]| text.len() > 9);
                for is_whole in [true, false] {
                    if let Ok(Some(run)) = description.open(bytes, is_whole) {
                        let rest = &bytes[run.first_letter()..];
                        for ends in [BytesEnd::Run, BytesEnd::Letter, BytesEnd::Anywhere] {
                            let mut letters = Letters::default();
                            let _ = run.letters(rest, 50, ends, &mut letters);
                            prop_assert!(letters.end <= rest.len());
                        }
                        let _ = (run.likely_start(rest, rest.len() / 2), run.lines(rest, 3), run.records_around(rest), run.counts(rest, true));
                    }
                }
            }
        }
    }
}

#[test]
fn what_is_not_as_described_says_where() {
    let records = description(RECORDS);
    let error = |description: &RunDescription, text: &str| -> String {
        let run = match description.open(text.as_bytes(), true) {
            Ok(run) => run.expect("whole"),
            Err(error) => return error.to_string(),
        };
        let error = all(&*run, text.as_bytes()).expect_err("refused");
        error.moved(run.first_letter() as u64).to_string()
    };
    for (text, expected) in [
        ("30x\n10 1\n990001\n", "at byte 0: a record before the first letter"),
        ("00\n10 1\n00\n990001\n", "at byte 8: a header record follows letters"),
        ("00\n10 1\n990001\n10 2\n", "at byte 15: a record of another type follows a trailer record"),
        ("00\n10 1\n", "at byte 8: the run has no trailer record"),
    ] {
        assert!(error(&records, text).starts_with(expected), "{}", error(&records, text));
    }
    let xml = description("form = \"xml\"\nletter_element = \"L\"\nid_path = \"I\"");
    for (text, expected) in [
        ("<B><L><I>1</I></L><x/><L/></B>", "at byte 22: a letter follows something that is not one"),
        ("<B><L><I>1</J></L></B>", "at byte 10: what ends here has not begun"),
        ("<B><L></L>", "at byte 10: the run ends here"),
        ("<B><L></L></B><C/>", "at byte 14: this is not well-formed XML"),
        ("<B><L></L></C>", "at byte 10: what ends here has not begun"),
        ("<L/>", "at byte 0: the element of letters is the whole document"),
        ("<!DOCTYPE B [<!ENTITY a 'b'>]><B><L/></B>", "at byte 0: the document declares entities"),
        ("<?xml version='1.0' encoding='UTF-16'?><B><L/></B>", "at byte 0: the encoding is not supported"),
    ] {
        assert!(error(&xml, text).starts_with(expected), "{text}: {}", error(&xml, text));
    }
    let deep = format!("<B><L>{}", "<a>".repeat(2000));
    assert!(error(&xml, &deep).contains("more than 1000 elements"));
    let fixed = description("form = \"records\"\nrecord_length = 5\nletter_key = \"0:1\"\nid_at = \"1:4\"");
    assert!(error(&fixed, "a1234b12").starts_with("at byte 5: the run does not end with a whole record"));
}

#[test]
fn descriptions_that_make_no_sense_are_refused() {
    for (said, expected) in [
        ("form = \"pdf\"", "form: write"),
        ("id_at = \"0:2\"", "missing field `form`"),
        ("form = \"records\"\nid_at = \"0:2\"", "say how a letter begins"),
        ("form = \"records\"\nid_at = \"0:2\"\nletter_start = \"1\"", "record_type: say where"),
        ("form = \"records\"\nid_at = \"0:2\"\nletter_key = \"2\"", "OFFSET:LENGTH, or name the delimiter"),
        ("form = \"records\"\nid_at = \"2\"\nletter_key = \"0:2\"\ndelimiter = \";\"", "number of a column"),
        ("form = \"records\"\nid_at = \"0:2\"\nletter_match = \"(\"", "letter_match"),
        ("form = \"records\"\nid_at = \"0:x\"\nletter_key = \"0:2\"", "write OFFSET:LENGTH"),
        ("form = \"records\"\nid_at = \"0:2\"\nletter_key = \"0:2\"\ntypo = 1", "unknown field `typo`"),
        (
            "form = \"records\"\nid_at = \"0:2\"\nrecord_type = \"0:1\"\nletter_start = \"1\"\nheader = \"1\"",
            "header or trailer",
        ),
        (
            "form = \"records\"\nid_at = \"0:2\"\nrecord_type = \"0:1\"\nletter_start = \"1\"\n[[count]]\nin = \"9\"\nat = \"0:2\"",
            "`in` is a type of header",
        ),
        ("form = \"records\"\nid_at = \"0:2\"\nletter_key = \"0:1\"\ncharset = \"utf-7\"", "unknown variant"),
        ("form = \"xml\"\nletter_element = \"a:b\"\nid_path = \"c\"", "letter_element"),
        ("form = \"xml\"\nletter_element = \"b\"\nid_path = \"c//d\"", "id_path"),
        ("form = \"afp\"", "id_tag"),
    ] {
        let error = RunDescription::parse(said).expect_err("refused").to_string();
        assert!(error.contains(expected), "{said}: {error}");
    }
}

#[test]
fn a_description_is_the_same_after_it_is_written() {
    for said in [
        RECORDS,
        "form = \"xml\"\nletter_element = \"{urn:a/b}L\"\nid_path = \"R/@id\"",
        "form = \"afp\"\nid_tag = \"I\"",
    ] {
        let description = description(said);
        assert_eq!(
            RunDescription::parse(&description.to_toml()).expect("written").to_toml(),
            description.to_toml()
        );
    }
}

#[test]
fn namespaces_count_where_they_are_named() {
    let text =
        "<B xmlns='urn:a' xmlns:p='urn:b'><p:L><I>1</I></p:L><p:L xmlns:q='urn:c'><q:I>2</q:I></p:L></B>";
    for (letter, path, expected) in [
        ("L", "I", vec!["1", "2"]),
        ("{urn:b}L", "{urn:a}I", vec!["1", "-"]),
        ("{urn:b}L", "{urn:c}I", vec!["-", "2"]),
    ] {
        let said = format!("form = \"xml\"\nletter_element = \"{letter}\"\nid_path = \"{path}\"");
        let run = opened(&description(&said), text.as_bytes());
        let (found, _) = all(&*run, text.as_bytes()).expect("as described");
        let ids: Vec<String> = found
            .into_iter()
            .map(|(.., id)| id.map_or("-".to_owned(), |id| String::from_utf8(id).expect("text")))
            .collect();
        assert_eq!(ids, expected);
    }
}

#[test]
fn texts_of_letters_are_read_by_name() {
    let text_of = |said: &str, bytes: &[u8], name: &str| -> Option<String> {
        let run = opened(&description(said), bytes);
        let column = run.column(name)?;
        let mut text = Vec::new();
        column.read(&bytes[run.first_letter()..], &mut text);
        Some(String::from_utf8(text).expect("UTF-8"))
    };
    let records = "00\n10 1234\n30\u{e5}b\n99\n";
    assert_eq!(text_of(RECORDS, records.as_bytes(), "30@2:3").as_deref(), Some("åb"));
    assert_eq!(text_of(RECORDS, records.as_bytes(), "40@2:3").as_deref(), Some(""));
    assert_eq!(text_of(RECORDS, records.as_bytes(), "3"), None, "no column of bytes");
    let xml = "form = \"xml\"\nletter_element = \"L\"\nid_path = \"I\"";
    let bundle = b"<B><L c='a&amp;b'><I>1</I><A><S u='2'>x</S></A></L></B>";
    assert_eq!(text_of(xml, bundle, "A/S").as_deref(), Some("x"));
    assert_eq!(text_of(xml, bundle, "A/S/@u").as_deref(), Some("2"));
    assert_eq!(text_of(xml, bundle, "@c").as_deref(), Some("a&b"));
}

/// Ids as proposals take them: twelve digits that begin with 19.
fn is_test_id(text: &[u8]) -> bool {
    let digits: Vec<u8> = text.iter().copied().filter(u8::is_ascii_digit).collect();
    digits.len() == 12 && digits.starts_with(b"19") && text.trim_ascii().len() < 14
}

fn id(number: usize) -> String {
    format!("19{:010}", 6_810_199_809 + number * 7)
}

#[test]
fn proposals_of_line_data() {
    let letters = |letter: &dyn Fn(usize) -> String| (1..40).map(letter).collect::<String>();
    let three = format!(
        "HDR20260601RUN00042\r\n{}TRL000000039\r\n",
        letters(&|n| format!(
            "INV{n:07}20260519SE OCR42803{n:05}\r\nADR{} Anna Ek\r\nROW001fee  0618,64+\r\n",
            id(n)
        ))
    );
    let two = format!("00H\n{}90T\n", letters(&|n| format!("10{n:06}\n15{}    \n20Anna\n", id(n))));
    let columns = format!("S|1\n{}", letters(&|n| format!("L|{n}\nA|\"a|b\"|{}\nR|x\n", id(n))));
    let keys = letters(&|n| format!("{} fee {n}\n{} tax\n", id(n), id(n)));
    for (run, expected) in [
        (
            &three,
            "record_type = \"0:3\"\nletter_start = [\"INV\"]\nid_in = [\"ADR\"]\nid_at = \"3:13\"\nheader = [\"HDR\"]\ntrailer = [\"TRL\"]\nrecords = [\"ROW\"]",
        ),
        (
            &two,
            "record_type = \"0:2\"\nletter_start = [\"10\"]\nid_in = [\"15\"]\nid_at = \"2:12\"\nheader = [\"00\"]\ntrailer = [\"90\"]\nrecords = [\"20\"]",
        ),
        (
            &columns,
            "delimiter = \"|\"\nrecord_type = \"1\"\nletter_start = [\"L\"]\nid_in = [\"A\"]\nid_at = \"3\"\nheader = [\"S\"]\nrecords = [\"R\"]",
        ),
        (&keys, "letter_key = \"0:13\"\nid_at = \"0:13\""),
    ] {
        let proposed = propose(run.as_bytes(), &is_test_id).map(|description| description.to_toml());
        let expected = format!("form = \"records\"\ncharset = \"utf-8\"\n{expected}\n");
        assert_eq!(proposed.as_deref(), Ok(&*expected), "{run:.200}");
    }
}

#[test]
fn what_is_uncertain_is_not_proposed() {
    let letters = |letter: &dyn Fn(usize) -> String| (1..40).map(letter).collect::<String>();
    for (run, expected) in [
        (letters(&|n| format!("10x\n20{}\n30{}\n", id(n), id(n + 100))), "which of them is the recipient's"),
        (letters(&|n| format!("{};Anna {n}\n", id(n))), "each record has an id"),
        (letters(&|n| format!("10{n}\n20text\n")), "no ids were found"),
        (
            letters(&|n| format!("<L><I>{}</I><G>{}</G></L>", id(n), id(n + 100)))
                .replacen("<L>", "<B><L>", 1)
                + "</B>",
            "which of them",
        ),
    ] {
        let error = propose(run.as_bytes(), &is_test_id).expect_err("uncertain").to_string();
        assert!(error.contains(expected), "{run:.100}: {error}");
    }
}

#[test]
fn letters_that_no_other_program_could_read_have_no_id() {
    let said = "form = \"xml\"\nletter_element = \"L\"\nid_path = \"@i\"";
    let of = |text: &[u8]| -> Vec<Result<Vec<u8>, LetterProblem>> {
        let bytes = [b"<B><L i='1'>\xC3\xA5 &amp; &#229;</L><L i='2'>", text, b"</L><L i='3'/></B>"].concat();
        let run = opened(&description(said), &bytes);
        all(&*run, &bytes).expect("as described").0.into_iter().map(|(.., id)| id).collect()
    };
    let ok = |id: &str| Ok(id.as_bytes().to_vec());
    for text in [&b"a & b"[..], b"&auml;", b"&#;", b"&#xg;", b"\x02", b"\xE5", b"<!-- \xFF -->"] {
        assert_eq!(of(text), [ok("1"), Err(LetterProblem::BadText), ok("3")], "{text:?}");
    }
    assert_eq!(of(b"<![CDATA[a & b]]>")[1], ok("2"));
}

#[test]
fn several_values_in_one_place_are_no_id() {
    let said = "form = \"xml\"\nletter_element = \"L\"\nid_path = \"@i\"";
    for (letter, expected) in [("<L i='1' p:i='2'/>", "?"), ("<L i='1' j='2'/>", "1")] {
        let text = format!("<B>{letter}</B>");
        let run = opened(&description(said), text.as_bytes());
        let (found, _) = all(&*run, text.as_bytes()).expect("as described");
        assert_eq!(found[0].2.as_deref(), Ok(expected.as_bytes()), "{letter}");
    }
}

#[test]
fn damaged_afp_is_refused_where_it_is_damaged() {
    let description = description("form = \"afp\"\nid_tag = \"I\"");
    let field = |kind: u8, of: u8| afp_field([0xD3, kind, of], 0, &[]);
    let (begin, end) = (field(0xA8, 0xA8), field(0xA9, 0xA8));
    let (group, group_end, page) = (field(0xA8, 0xAD), field(0xA9, 0xAD), field(0xA8, 0xAF));
    let text = field(0xEE, 0x9B);
    // A tag of the name I and the value 1 in several segments.
    let segmented = afp_field([0xD3, 0xA0, 0x90], 0x20, &[5, 2, 0x0B, 0, 0xC9, 5, 0x36, 0, 0, 0xF1]);
    let all_of = |parts: &[&Vec<u8>]| parts.iter().flat_map(|part| part.iter().copied()).collect::<Vec<u8>>();
    let mut short = begin.clone();
    short[2] = 3;
    for (bytes, expected) in [
        (all_of(&[&begin, &group, &group_end]), RunProblem::CutOff.at(27)),
        (all_of(&[&begin, &group]), RunProblem::CutOff.at(18)),
        (all_of(&[&begin, &group, &group_end, &end])[..34].to_vec(), RunProblem::CutOff.at(27)),
        (all_of(&[&begin, &page]), RunProblem::PageOutside.at(9)),
        (all_of(&[&begin, &group, &group_end, &text, &end]), RunProblem::PageOutside.at(27)),
        (all_of(&[&begin, &group, &group_end, &end, &begin, &group]), RunProblem::PageOutside.at(36)),
        (all_of(&[&begin, &group_end]), RunProblem::EndTag.at(9)),
        (all_of(&[&begin, &group, &segmented, &group_end, &end]), RunProblem::SegmentedTag.at(18)),
        (all_of(&[&begin, &group, &group_end, &vec![b'x'], &end]), RunProblem::NotAField.at(27)),
        (short, RunProblem::NotAField.at(0)),
    ] {
        let found = match description.open(&bytes, true) {
            Ok(run) => {
                let run = run.expect("whole");
                let first = run.first_letter() as u64;
                all(&*run, &bytes).map_err(|error| error.moved(first)).expect_err("damaged")
            }
            Err(error) => error,
        };
        assert_eq!(found, expected);
    }
}

#[test]
fn records_have_limits_and_sums_are_numbers() {
    let said = "form = \"records\"\nrecord_type = \"0:1\"\nletter_start = \"1\"\nid_at = \"1:4\"\ntrailer = \"9\"\n\
                [[count]]\nin = \"9\"\nat = \"1:4\"\nof = \"sum\"\nsum_in = \"1\"\nsum_at = \"5:4\"";
    let problem = |text: &str| {
        let run = opened(&description(said), text.as_bytes());
        all(&*run, text.as_bytes()).map(|_| ()).map_err(|error| (error.at, error.problem))
    };
    assert_eq!(problem("11234  12\n11235\n9\n"), Ok(()));
    assert_eq!(problem("11234  1x\n9\n"), Err((0, RunProblem::NotSummable("5:4".to_owned()))));
    let long = format!("11234\n1{}\n9\n", " ".repeat(crate::limits::ROW_BYTES_MAX + 2));
    assert_eq!(problem(&long), Err((6, RunProblem::RecordTooLong)));
}
