//! How each test ended, by what cargo-nextest and lvh wrote down.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use roxmltree::{Document, Node};

/// Words of all tests, by name, which has the kernel.
pub(crate) type Outcomes = BTreeMap<String, String>;

/// Those of the machines with these results. Each test is in the report of one, and lvh and nextest agree on it.
#[track_caller]
pub(crate) fn outcomes(results: &[PathBuf]) -> Outcomes {
    let (mut by_nextest, mut by_lvh) = (Outcomes::new(), Outcomes::new());
    for dir in results {
        add(&mut by_nextest, &dir.join("nextest/default/junit.xml"));
        for file in fs::read_dir(dir.join("lvh")).unwrap().map(|entry| entry.unwrap().path()) {
            if file.extension().is_some_and(|extension| extension == "xml") {
                add(&mut by_lvh, &file);
            }
        }
    }
    // nextest knows no tests that skip themselves.
    let as_nextest = |word: &String| if word.starts_with("skipped") { "passed".to_owned() } else { word.clone() };
    let seen: Outcomes = by_lvh.iter().map(|(name, word)| (name.clone(), as_nextest(word))).collect();
    assert_eq!(seen, by_nextest);
    by_lvh
}

#[track_caller]
fn add(outcomes: &mut Outcomes, file: &Path) {
    let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let document = Document::parse(&text).unwrap();
    for case in document.descendants().filter(|node| node.has_tag_name("testcase")) {
        let name = case.attribute("name").unwrap().to_owned();
        let earlier = outcomes.insert(name, word(case));
        assert_eq!(earlier, None, "a test ran twice: {}", case.attribute("name").unwrap());
    }
}

fn word(case: Node<'_, '_>) -> String {
    let child = |names: &[&str]| case.children().find(|node| names.iter().any(|name| node.has_tag_name(*name)));
    match (child(&["failure", "error"]), child(&["skipped"])) {
        (Some(_), _) => "failed".to_owned(),
        (None, Some(skipped)) => format!("skipped: {}", skipped.attribute("message").unwrap_or_default()),
        (None, None) => "passed".to_owned(),
    }
}
