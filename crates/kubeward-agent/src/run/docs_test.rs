//! `docs/events.md` names exactly the notices that the agent writes.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const PAGE: &str = include_str!("../../../../docs/events.md");
const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src");

/// Level and code, as a line has them.
type Codes = BTreeSet<(String, String)>;

/// The page's rows of three columns that begin with a level.
fn documented() -> Codes {
    let cells = |row: &'static str| row.split('|').map(str::trim).collect::<Vec<_>>();
    let rows = PAGE.lines().map(cells).filter(|cells| matches!(cells.get(1), Some(&("info" | "warning" | "error"))));
    rows.map(|cells| (cells[1].to_owned(), cells[2].trim_matches('`').to_owned())).collect()
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the crate's sources are there") {
        let path = entry.expect("a folder's entry").path();
        let name = path.file_name().expect("an entry has a name").to_string_lossy().into_owned();
        if path.is_dir() && name != "tests" {
            sources(&path, found);
        } else if name.ends_with(".rs") && !name.ends_with("tests.rs") && !name.ends_with("_test.rs") {
            found.push(path);
        }
    }
}

/// Every level in `text` that does not stand for itself in a `match` has its code behind it.
fn written(text: &str, file: &Path, found: &mut Codes) {
    for after in text.split("NoticeLevel::").skip(1) {
        let (level, rest) = after.split_at(after.find(|c: char| !c.is_alphanumeric()).unwrap_or(after.len()));
        if rest.starts_with(" =>") {
            continue;
        }
        let code = rest.strip_prefix(',').and_then(|rest| rest.trim_start().strip_prefix('"'));
        let code = code.and_then(|rest| rest.split('"').next());
        let code = code.unwrap_or_else(|| panic!("{}: NoticeLevel::{level} without a literal code", file.display()));
        found.insert((level.to_lowercase(), code.to_owned()));
    }
}

#[test]
fn page_names_exactly_the_notices_that_are_written() {
    let (mut files, mut found) = (Vec::new(), Codes::new());
    sources(Path::new(SOURCES), &mut files);
    for file in &files {
        written(&fs::read_to_string(file).expect("a source is text"), file, &mut found);
    }
    assert!(found.contains(&("warning".to_owned(), "policy_refused".to_owned())), "no notice was found: {found:?}");
    let documented = documented();
    assert_eq!(found.difference(&documented).collect::<Vec<_>>(), Vec::<&_>::new(), "written, not on the page");
    assert_eq!(documented.difference(&found).collect::<Vec<_>>(), Vec::<&_>::new(), "on the page, not written");
}
