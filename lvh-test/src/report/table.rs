//! A run as a table: a row per test, a column per kernel, and image.

use std::fmt::Write;

use lvh_core::natural::natural;

use crate::job::{TestResult, Verdict, readable};

/// The results by test and place.
#[derive(Debug)]
pub(crate) struct Table<'r> {
    /// The kernels, oldest version first, each with its image behind it; `None`, in front, is the host.
    pub(crate) places: Vec<Option<&'r str>>,
    /// Each test with its result at each of the places, if it ran there.
    pub(crate) rows: Vec<(&'r str, Vec<Option<&'r TestResult>>)>,
}

impl<'r> Table<'r> {
    /// All `results`, rows in their order.
    pub(crate) fn of(results: impl IntoIterator<Item = &'r TestResult>) -> Self {
        let results: Vec<&TestResult> = results.into_iter().collect();
        let mut places: Vec<Option<&str>> = results.iter().map(|result| result.place()).collect();
        places.sort_by_cached_key(|place| place.map(natural));
        places.dedup();
        let mut rows: Vec<(&str, Vec<Option<&TestResult>>)> = Vec::new();
        for result in results {
            let path = result.instance.path.as_str();
            if rows.last().is_none_or(|(last, _)| *last != path) {
                rows.push((path, vec![None; places.len()]));
            }
            let column = places.iter().position(|place| *place == result.place());
            let (row, column) = (rows.last_mut().expect("one was pushed"), column.expect("every place is there"));
            row.1[column] = Some(result);
        }
        Self { places, rows }
    }

    /// The table for a terminal of the tests that ran at several places; empty where there is none.
    pub(crate) fn compact(results: &'r [TestResult]) -> String {
        let runs = |path: &str| results.iter().filter(|result| result.instance.path == path).count();
        let table = Self::of(results.iter().filter(|result| runs(&result.instance.path) > 1));
        if table.rows.is_empty() { String::new() } else { table.to_text() + &causes(results) }
    }

    fn to_text(&self) -> String {
        let head = self.places.iter().map(|place| place.unwrap_or("host").to_owned());
        let mut lines = vec![std::iter::once("test".to_owned()).chain(head).collect::<Vec<_>>()];
        for (path, results) in &self.rows {
            let words = results.iter().map(|result| result.map_or("-", word).to_owned());
            lines.push(std::iter::once((*path).to_owned()).chain(words).collect());
        }
        align(&lines)
    }
}

/// How many failures are told below the table.
const CAUSES: usize = 10;

/// Why tests failed, a line each, with a blank line before.
fn causes(results: &[TestResult]) -> String {
    let causes: Vec<String> = results.iter().filter_map(cause).collect();
    let mut text: String = causes.iter().take(CAUSES).map(|cause| format!("{cause}\n")).collect();
    if let more @ 1.. = causes.len().saturating_sub(CAUSES) {
        let _ = writeln!(text, "and {more} more");
    }
    if text.is_empty() { text } else { format!("\n{text}") }
}

fn cause(result: &TestResult) -> Option<String> {
    let cause = result.failure()?;
    let first = cause.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    Some(format!("{}: {}", result.title(), readable(first.as_bytes())))
}

fn word(result: &TestResult) -> &'static str {
    match result.outcome.verdict {
        Verdict::Passed => "ok",
        Verdict::Failed { .. } => "FAILED",
        Verdict::Ignored { .. } => "skip",
    }
}

/// Columns two spaces apart, nothing behind the last word of a line.
fn align(lines: &[Vec<String>]) -> String {
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..lines.first().map_or(0, Vec::len)).map(width).collect();
    let mut text = String::new();
    for line in lines {
        let cells: String = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}  ")).collect();
        let _ = writeln!(text, "{}", cells.trim_end());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::Table;
    use crate::job::TestResult;
    use crate::job::Verdict::Passed;
    use crate::job::examples::{failed, ignored, result};

    #[track_caller]
    fn check(results: &[TestResult], expected: &[&str]) {
        let text = Table::compact(results);
        assert_eq!(text.lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn tests_by_kernels() {
        let results = [
            result("a_long::name", Some("6.12"), Passed),
            result("a_long::name", Some("6.2"), failed("x", "")),
            result("a_long::name", Some("bpf-next"), ignored("y")),
            result("alone", Some("5.10"), Passed),
            result("short", Some("6.12"), Passed),
            result("short", Some("bpf-next"), Passed),
        ];
        let expected = [
            "test          6.2     6.12  bpf-next",
            "a_long::name  FAILED  ok    skip",
            "short         -       ok    ok",
            "",
            "a_long::name on 6.2: x",
        ];
        check(&results, &expected);
    }

    #[test]
    fn causes_leave_the_terminal_alone() {
        let results = [result("a", Some("6.1"), failed("\x1b[2Jx\0", "")), result("a", Some("6.2"), Passed)];
        assert!(Table::compact(&results).ends_with("\na on 6.1: \\u{1b}[2Jx\\u{0}\n"));
    }

    #[test]
    fn one_kernel_makes_no_table() {
        check(&[result("a", Some("6.1"), Passed), result("b", Some("6.12"), Passed), result("c", None, Passed)], &[]);
        check(&[], &[]);
    }

    #[test]
    fn the_host_is_a_column_of_its_own() {
        let results = [result("a", Some("host"), Passed), result("b", None, Passed)];
        let table = Table::of(&results);
        assert_eq!(table.places, [None, Some("host")]);
        let known: Vec<Vec<bool>> =
            table.rows.iter().map(|(_, row)| row.iter().map(Option::is_some).collect()).collect();
        assert_eq!(known, [[false, true], [true, false]]);
    }
}
