//! JUnit's XML, as cargo-nextest and lvh write it.

use anyhow::Context as _;
use roxmltree::{Document, Node};

use super::failure::Failure;

/// A test's run, as one report tells it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct TestRun {
    /// The test binary, as cargo-nextest calls it: `PACKAGE::BINARY`.
    pub(super) binary: String,
    /// The test, with its kernel where it has several.
    pub(super) name: String,
    /// The kernel, with the image behind it; `None` where the report does not say.
    pub(super) place: Option<String>,
    /// The kernel's release, where that is known.
    pub(super) release: Option<String>,
    /// How it ended.
    pub(super) ending: Ending,
    /// How long it took.
    pub(super) seconds: Option<f64>,
    /// How often it failed before it passed, or failed for good.
    pub(super) retries: usize,
    /// Who wrote the report.
    pub(super) writer: Writer,
}

/// How a test ended; what counts most is last.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Ending {
    Passed,
    /// Why; may be empty.
    Skipped(String),
    Failed(Failure),
}

impl Ending {
    /// Why it failed.
    pub(super) fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Failed(failure) => Some(failure),
            Self::Passed | Self::Skipped(_) => None,
        }
    }
}

/// Whose report it is: cargo-nextest tells of a run, and lvh beside it of the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Writer {
    Lvh,
    Other,
}

/// Where lvh's own suites have a test that ran on no kernel of ours.
pub(super) const HOST: &str = "host";

/// The tests of a report; `None` where the XML is something else.
///
/// # Errors
/// It is no XML.
pub(super) fn read(text: &str) -> anyhow::Result<Option<Vec<TestRun>>> {
    let document = Document::parse(text).context("it is no XML that can be read, or was cut")?;
    let root = document.root_element();
    if !["testsuites", "testsuite"].contains(&root.tag_name().name()) {
        return Ok(None);
    }
    let writer = if root.attribute("name").is_none() { Writer::Lvh } else { Writer::Other };
    let cases = root.descendants().filter(|node| node.has_tag_name("testcase"));
    Ok(Some(cases.map(|case| test_run(case, writer)).collect()))
}

fn test_run(case: Node<'_, '_>, writer: Writer) -> TestRun {
    let suite = case.parent_element();
    let suite_name = suite.and_then(|suite| suite.attribute("name")).unwrap_or_default();
    let attribute = |name| case.attribute(name).map(str::to_owned);
    let ending = ending(case, writer);
    let failure = ending.failure();
    let on_host = || (writer == Writer::Lvh).then(|| HOST.to_owned());
    let place = suite.and_then(|suite| property(suite, "kernel")).or_else(on_host);
    TestRun {
        binary: attribute("classname").unwrap_or_else(|| suite_name.to_owned()),
        name: attribute("name").unwrap_or_default(),
        place: place.or_else(|| failure?.place()),
        release: suite.and_then(|suite| property(suite, "release")).or_else(|| failure?.release().map(str::to_owned)),
        seconds: case.attribute("time").and_then(|time| time.parse().ok()),
        retries: ["flakyFailure", "flakyError", "rerunFailure", "rerunError"]
            .iter()
            .map(|tag| children(case, tag).count())
            .sum(),
        ending,
        writer,
    }
}

fn children<'d>(node: Node<'d, 'd>, tag: &str) -> impl Iterator<Item = Node<'d, 'd>> {
    node.children().filter(move |child| child.has_tag_name(tag))
}

fn property(suite: Node<'_, '_>, name: &str) -> Option<String> {
    let properties = suite.children().filter(|node| node.has_tag_name("properties")).flat_map(|node| node.children());
    let mut known = properties.filter(|node| node.attribute("name") == Some(name));
    known.find_map(|node| node.attribute("value")).map(str::to_owned)
}

fn ending(case: Node<'_, '_>, writer: Writer) -> Ending {
    let child = |tags: &[&str]| case.children().find(|node| tags.contains(&node.tag_name().name()));
    let text = |tag: &str| child(&[tag]).and_then(|node| node.text()).unwrap_or_default();
    if let Some(failure) = child(&["failure", "error"]) {
        let message = failure.attribute("message").or(failure.attribute("type")).unwrap_or_default();
        let own = failure.text().unwrap_or_default();
        return Ending::Failed(match writer {
            Writer::Lvh => Failure { message: message.to_owned(), block: own.to_owned() },
            Writer::Other => {
                let name = case.attribute("name").unwrap_or_default();
                Failure::of_streams(name, message, own, text("system-out"), text("system-err"))
            }
        });
    }
    match child(&["skipped"]) {
        Some(skipped) => Ending::Skipped(skipped.attribute("message").unwrap_or_default().to_owned()),
        None => Ending::Passed,
    }
}
