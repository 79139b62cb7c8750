//! Outputs that would overwrite foreign files, and files that are overwritten while they are read.

use super::{DATE, FAR, KNOWN, args};
use crate::support::workspace::{Workspace, fixture};
use std::fs;
use std::os::unix::fs::symlink;

#[test]
fn outputs_replace_neither_inputs_nor_foreign_files() {
    let work = Workspace::with_register_files();
    let list = format!("pnr;namn\n{KNOWN};Asa\n");
    fs::write(work.path("list.csv"), &list).expect("written");
    symlink("list.csv", work.path("link.csv")).expect("linked");
    let check = |html: &str| {
        args(&[&["check", "list.csv", "--quiet"], &FAR, &DATE])
            .into_iter()
            .map(str::to_owned)
            .chain(["--html".to_owned(), html.to_owned()])
            .collect::<Vec<_>>()
    };
    let fails = |html: &str| {
        let given = check(html);
        work.fails(2, &given.iter().map(String::as_str).collect::<Vec<_>>())
    };
    for html in ["list.csv", "./list.csv", "link.csv", "far.nabar"] {
        assert!(fails(html).contains("is an input of this job"), "{html}");
    }
    fs::write(work.path("mine.html"), "<p>mine</p>").expect("written");
    assert!(fails("mine.html").contains("was not made by nabar"));
    let page = work.path("report.html");
    for _ in 0..2 {
        work.done(&check("report.html").iter().map(String::as_str).collect::<Vec<_>>());
        assert!(fs::read_to_string(&page).expect("page").contains("<title>nabar: "));
    }
    let forced: Vec<String> = check("mine.html").into_iter().chain(["--force".to_owned()]).collect();
    work.done(&forced.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(fs::read_to_string(work.path("list.csv")).expect("list"), list);

    // A list inside the output directory of its own split is refused.
    let split = ["split", "list.csv", "-o", "out", "-q"];
    work.done(&args(&[&split, &FAR, &DATE]));
    let again = args(&[&["split", "out/paper.csv", "-o", "out", "--force"], &FAR, &DATE]);
    assert!(work.fails(2, &again).contains("lies in the output directory"));

    let far = fixture("far");
    let senders = format!("{far}/senders.csv");
    let before = fs::read(&senders).expect("fixture");
    for force in [&[][..], &["--force"]] {
        let build = args(&[&["build", &far, "-o", &senders], force]);
        assert!(work.fails(2, &build).contains("is an input of this job"));
    }
    assert!(work.fails(2, &["build", &far, "-o", ".", "--force"]).contains("not a regular file"));
    let over_list: Vec<String> = check("link.csv").into_iter().chain(["--force".to_owned()]).collect();
    work.fails(2, &over_list.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(fs::read(&senders).expect("fixture"), before);
    assert!(work.fails(2, &["build", &far, "-o", "list.csv"]).contains("was not made by nabar"));
    fs::write(work.path("new.nabar.rejected.csv"), "my own").expect("written");
    assert!(work.fails(2, &["build", &far, "-o", "new.nabar"]).contains("new.nabar.rejected.csv"));
    work.done(&["build", &far, "-o", "new.nabar", "--force", "--quiet"]);
    work.done(&["build", &far, "-o", "new.nabar", "--quiet"]);
}

/// One misspelled column must not empty the register, which would send every letter on paper.
#[test]
fn a_register_is_not_replaced_by_one_without_its_recipients() {
    let work = Workspace::with_register_files();
    fs::create_dir(work.path("far")).expect("directory");
    for file in fs::read_dir(fixture("far")).expect("fixture").flatten() {
        fs::copy(file.path(), work.path("far").join(file.file_name())).expect("copied");
    }
    let recipients = work.path("far/recipients.csv");
    let text = fs::read_to_string(&recipients).expect("rows");
    let build = ["build", "far", "-o", "far.nabar"];
    let before = fs::read(work.path("far.nabar")).expect("register");
    fs::write(&recipients, text.replace(",false,", ",falskt,").replace(",true,", ",sant,")).expect("written");
    let error = work.fails(3, &build);
    assert!(
        error.contains("of 500 rows") && error.contains("pending") && error.contains("`falskt`"),
        "{error}"
    );
    assert_eq!(fs::read(work.path("far.nabar")).expect("register"), before, "the earlier file stays");
    fs::write(
        &recipients,
        text.replace(",false,", ",False,").replace(",true,", ",TRUE,").replace(",Secure,", ",SECURE,"),
    )
    .expect("written");
    work.done(&["build", "far", "-o", "far.nabar", "--quiet", "--strict"]);
    assert_eq!(fs::read(work.path("far.nabar")).expect("register"), before, "the same register");
}
