//! JUnit's XML, as Jenkins, GitLab and GitHub's actions read it: a `testsuite` per kernel.

use std::fmt::Write;
use std::time::Duration;

use super::table::Table;
use crate::job::{TestResult, Verdict};

/// The suites of one test binary, whole lines of XML.
pub(crate) fn suites(binary: &str, results: &[TestResult]) -> String {
    let kernels = Table::of(results).places;
    kernels.into_iter().map(|kernel| suite(binary, kernel, results)).collect()
}

fn suite(binary: &str, kernel: Option<&str>, results: &[TestResult]) -> String {
    let results: Vec<&TestResult> = results.iter().filter(|result| result.place() == kernel).collect();
    let name = kernel.map_or_else(|| binary.to_owned(), |kernel| format!("{binary}@{kernel}"));
    let failures = results.iter().filter(|result| result.failure().is_some()).count();
    let skipped = results.iter().filter(|result| result.skipped().is_some()).count();
    let mut text = format!(
        "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{failures}\" errors=\"0\" skipped=\"{skipped}\" time=\"{}\">\n",
        attribute(&name),
        results.len(),
        seconds(results.iter().map(|result| result.outcome.duration).sum()),
    );
    if let Some(kernel) = kernel {
        let release = results.iter().find_map(|result| result.release());
        let known = [("kernel", Some(kernel)), ("release", release)];
        let properties: String = known.into_iter().filter_map(|(name, value)| Some(property(name, value?))).collect();
        let _ = writeln!(text, "    <properties>{properties}</properties>");
    }
    text.extend(results.iter().map(|result| case(binary, result)));
    text + "  </testsuite>\n"
}

fn property(name: &str, value: &str) -> String {
    format!("<property name=\"{name}\" value=\"{}\"/>", attribute(value))
}

fn case(binary: &str, result: &TestResult) -> String {
    let (name, time) = (attribute(&result.instance.name), seconds(result.outcome.duration));
    let head = format!("    <testcase classname=\"{}\" name=\"{name}\" time=\"{time}\"", attribute(binary));
    let body = match &result.outcome.verdict {
        Verdict::Passed => String::new(),
        Verdict::Ignored { reason } if reason.is_empty() => "      <skipped/>\n".to_owned(),
        Verdict::Ignored { reason } => format!("      <skipped message=\"{}\"/>\n", attribute(reason)),
        Verdict::Failed { .. } => failure(result),
    };
    if body.is_empty() { format!("{head}/>\n") } else { format!("{head}>\n{body}    </testcase>\n") }
}

fn failure(result: &TestResult) -> String {
    let message = attribute(&result.failure().unwrap_or_default());
    let mut xml = format!("      <failure message=\"{message}\">{}</failure>\n", text(&result.outcome.block()));
    if !result.outcome.output.is_empty() {
        let output = text(&String::from_utf8_lossy(&result.outcome.output));
        let _ = writeln!(xml, "      <system-out>{output}</system-out>");
    }
    xml
}

fn seconds(duration: Duration) -> String {
    format!("{:.3}", duration.as_secs_f64())
}

fn text(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut xml, c| {
        match c {
            '&' => xml.push_str("&amp;"),
            '<' => xml.push_str("&lt;"),
            '>' => xml.push_str("&gt;"),
            // A parser would make a line end of a bare one.
            '\r' => xml.push_str("&#13;"),
            c if is_legal(c) => xml.push(c),
            _ => xml.push(char::REPLACEMENT_CHARACTER),
        }
        xml
    })
}

/// A parser would make blanks of line ends and tabs.
fn attribute(value: &str) -> String {
    text(value).replace('"', "&quot;").replace('\n', "&#10;").replace('\t', "&#9;")
}

/// Whether XML 1.0 has the character at all, even as a reference: production `Char`, section 2.2.
fn is_legal(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..)
}

#[cfg(test)]
mod tests {
    use super::{attribute, suites, text};
    use crate::job::Verdict::Passed;
    use crate::job::examples::{failed, ignored, panicked, result};

    #[test]
    fn a_suite_per_kernel() {
        let mut boom = panicked(
            result("maps::b", Some("6.12"), failed("", "\nkernel: 6.12.1\n")),
            "so <far>\n",
            "a \"b\"\nc",
            ("f.rs", 1),
        );
        boom.outcome.vm = Some("6.12.1-amd64 (6.12, tcg)".into());
        let results = [
            result("alone", None, Passed),
            result("maps::b", Some("5.10"), ignored("needs kernel >= 5.14")),
            boom,
            result("maps::c", Some("5.10"), ignored("")),
        ];
        let expected = r#"  <testsuite name="p::it" tests="1" failures="0" errors="0" skipped="0" time="1.500">
    <testcase classname="p::it" name="alone" time="1.500"/>
  </testsuite>
  <testsuite name="p::it@5.10" tests="2" failures="0" errors="0" skipped="2" time="3.000">
    <properties><property name="kernel" value="5.10"/></properties>
    <testcase classname="p::it" name="maps::b::5.10" time="1.500">
      <skipped message="needs kernel &gt;= 5.14"/>
    </testcase>
    <testcase classname="p::it" name="maps::c::5.10" time="1.500">
      <skipped/>
    </testcase>
  </testsuite>
  <testsuite name="p::it@6.12" tests="1" failures="1" errors="0" skipped="0" time="1.500">
    <properties><property name="kernel" value="6.12"/><property name="release" value="6.12.1-amd64"/></properties>
    <testcase classname="p::it" name="maps::b::6.12" time="1.500">
      <failure message="a &quot;b&quot;&#10;c">so &lt;far&gt;

kernel: 6.12.1
</failure>
      <system-out>so &lt;far&gt;
</system-out>
    </testcase>
  </testsuite>
"#;
        assert_eq!(suites("p::it", &results), expected);
    }

    #[test]
    fn what_xml_cannot_hold_is_replaced() {
        assert_eq!(text("a\0b\x1b[31m\u{ffff}\u{fffe}\u{7f}ä\u{10ffff}"), "a�b�[31m��\u{7f}ä\u{10ffff}");
        assert_eq!(text("]]>&amp;\r\n\t"), "]]&gt;&amp;amp;&#13;\n\t");
        assert_eq!(attribute("\"<\n\t\r'"), "&quot;&lt;&#10;&#9;&#13;'");
    }
}
