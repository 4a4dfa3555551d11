//! The report as Markdown, as GitHub shows it in a job's summary: it takes a mebibyte.

use super::failure::{Failure, cut};
use super::junit::Ending;
use super::matrix::{Cell, Matrix, Outcome, Row, Title};
use super::page::{escape, seconds};

/// How much of all blocks there is room for, and how much of one.
const BLOCKS: usize = 400_000;
const BLOCK: usize = 20_000;
/// Longer tables show only what did not pass.
const ROWS: usize = 200;
/// How many items a list has.
const ITEMS: usize = 200;

/// The whole summary.
pub(super) fn summary(matrix: &Matrix) -> String {
    let sign = if matrix.counts.is_good() { "✅" } else { "❌" };
    let mut text = format!("## {sign} {}\n\n", matrix.counts.sentence());
    text += &table(matrix);
    text += &failures(matrix);
    text += &list(matrix, "Not run by any shard", |cell| matches!(cell.outcome, Outcome::Missing));
    text += &list(matrix, "Run more than once", |cell| cell.times > 1);
    text + &list(matrix, "Skipped", |cell| matches!(cell.outcome, Outcome::Ran(Ending::Skipped(_))))
}

fn table(matrix: &Matrix) -> String {
    let all = matrix.rows.len() <= ROWS;
    let heads = matrix.columns.iter().map(|column| {
        let releases = column.releases.iter().map(|release| format!("<br>{}", code(release)));
        let label = column.place.as_deref().map_or_else(|| column.label().to_owned(), code);
        label + &releases.collect::<String>()
    });
    let mut text = row(std::iter::once("test".to_owned()).chain(heads));
    text += &row(std::iter::repeat_n("---".to_owned(), 1 + matrix.columns.len()));
    let mut binary = "";
    for line in matrix.rows.iter().filter(|row| all || !all_passed(row)).take(ROWS) {
        if line.binary != binary {
            binary = &line.binary;
            text +=
                &row(std::iter::once(format!("**{}**", code(binary))).chain(line.cells.iter().map(|_| String::new())));
        }
        let cells = line.cells.iter().map(|cell| cell.as_ref().map(sign).unwrap_or_default());
        text += &row(std::iter::once(code(&line.path)).chain(cells));
    }
    if all {
        text + "\n"
    } else {
        format!("{text}\nOf {} tests, up to {ROWS} that did not pass everywhere are shown.\n\n", matrix.rows.len())
    }
}

fn all_passed(row: &Row) -> bool {
    row.cells.iter().flatten().all(|cell| matches!(cell.outcome, Outcome::Ran(Ending::Passed)))
}

fn row(cells: impl Iterator<Item = String>) -> String {
    let cells: String = cells.map(|cell| format!(" {} |", cell.replace('|', "\\|"))).collect();
    format!("|{cells}\n")
}

fn sign(cell: &Cell) -> String {
    let sign = match &cell.outcome {
        Outcome::Ran(Ending::Passed) => "✅",
        Outcome::Ran(Ending::Failed(_)) => "❌",
        Outcome::Ran(Ending::Skipped(_)) => return "⏭ skipped".to_owned(),
        Outcome::Missing => return "❔ not run".to_owned(),
    };
    let retried = if cell.retries > 0 { format!(", {} retries", cell.retries) } else { String::new() };
    format!("{sign} {}{retried}", cell.seconds.map(seconds).unwrap_or_default())
}

fn failures(matrix: &Matrix) -> String {
    if matrix.counts.failed == 0 {
        return String::new();
    }
    let room = (BLOCKS / matrix.counts.failed).min(BLOCK);
    let mut text = "### Failures\n\n".to_owned();
    let failed = matrix.cells(|_| true).filter_map(|(title, cell)| Some((title, cell.failure()?)));
    text.extend(failed.take(ITEMS).map(|(title, failure)| failure_block(&title, failure, room)));
    text + &more(matrix.counts.failed)
}

fn failure_block(title: &Title<'_>, failure: &Failure, room: usize) -> String {
    let head = format!("<code>{}</code>: <code>{}</code>", escape(&title.to_string()), escape(failure.first_line()));
    let fact =
        |name: &str, value: Option<&str>| value.map(|value| format!("- {name}: {}\n", code(value))).unwrap_or_default();
    let facts = fact("kernel", failure.vm()) + &fact("logs", failure.logs()) + &fact("run it again", failure.again());
    let block = cut(&failure.block, room);
    let fence = "`".repeat(longest_run(&block).max(2) + 1);
    format!(
        "<details><summary>❌ {head}</summary>\n\n{facts}\n{fence}text\n{}\n{fence}\n\n</details>\n\n",
        block.trim_end()
    )
}

fn list(matrix: &Matrix, title: &str, wanted: impl Fn(&Cell) -> bool) -> String {
    let items: Vec<String> = matrix
        .cells(wanted)
        .map(|(title, cell)| format!("- {}: {}\n", code(&title.to_string()), code(&cell.note())))
        .collect();
    if items.is_empty() {
        return String::new();
    }
    let shown: String = items.iter().take(ITEMS).map(String::as_str).collect();
    format!("### {title}\n\n{shown}{}\n", more(items.len()))
}

fn more(count: usize) -> String {
    if count > ITEMS { format!("- and {} more\n", count - ITEMS) } else { String::new() }
}

/// A code span that shows `text` as it is; its fence is longer than any within.
fn code(text: &str) -> String {
    let longest = longest_run(text);
    let fence = "`".repeat(longest + 1);
    let gap = if longest > 0 { " " } else { "" };
    format!("{fence}{gap}{}{gap}{fence}", text.replace(['\n', '\r'], " "))
}

/// The most backquotes in a row.
fn longest_run(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or_default()
}
