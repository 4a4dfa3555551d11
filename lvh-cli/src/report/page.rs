//! The report as one HTML page, which refers to nothing outside itself and is read without its script.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use super::failure::{Failure, cut};
use super::input::read_logs;
use super::junit::Ending;
use super::matrix::{Cell, Column, Matrix, Outcome, Row, Title};
use crate::sizes::size;

/// How much of all blocks there is room for, and how much of one, in bytes.
const BLOCKS: usize = 2_000_000;
const BLOCK: usize = 64_000;
/// The same of the logs, whose ends are shown.
const ALL_LOGS: u64 = 1_000_000;
const LOG: u64 = 64_000;
/// Blocks that are open from the start.
const OPEN: usize = 3;

/// The whole page.
pub(super) fn page(matrix: &Matrix) -> String {
    let title = matrix.counts.sentence();
    let sign = if matrix.counts.is_good() { "✓" } else { "✗" };
    let logs = Logs::of(matrix);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'\">\n\
         <title>{sign} {title}</title>\n<style>\n{}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n{}{}{}{}{}</main>\n\
         <script>\n{}</script>\n</body>\n</html>\n",
        include_str!("page.css"),
        FILTER,
        table(matrix),
        failures(matrix, &logs),
        lists(matrix),
        logs.section(),
        include_str!("page.js"),
    )
}

/// Hidden where there is no script.
const FILTER: &str = "<form id=\"filter\" role=\"search\" hidden>\n\
    <label>Filter <input name=\"q\" type=\"search\" placeholder=\"words of a test's name\"></label>\n\
    <label>Show <select name=\"show\"><option value=\"\">all tests</option><option value=\"failed\">failed</option>\
    <option value=\"missing\">not run</option><option value=\"skipped\">skipped</option><option value=\"passed\">passed</option></select></label>\n\
    <output id=\"told\" aria-live=\"polite\"></output>\n</form>\n";

fn table(matrix: &Matrix) -> String {
    let heads: String = matrix.columns.iter().map(head).collect();
    let mut html = format!(
        "<div class=\"scroll\" role=\"region\" aria-label=\"Tests by kernel\" tabindex=\"0\">\n<table>\n<caption>Each test on each kernel, with its \
         time; what failed or was skipped leads to more below</caption>\n<thead><tr><th scope=\"col\">Test</th>{heads}</tr></thead>\n"
    );
    let mut numbers = Numbers::default();
    for rows in matrix.rows.chunk_by(|a, b| a.binary == b.binary) {
        let (binary, span) = (escape(&rows[0].binary), 1 + matrix.columns.len());
        let _ = writeln!(html, "<tbody>\n<tr><th scope=\"rowgroup\" colspan=\"{span}\">{binary}</th></tr>");
        html.extend(rows.iter().map(|row| table_row(row, &mut numbers)));
        html += "</tbody>\n";
    }
    html + "</table>\n</div>\n"
}

fn head(column: &Column) -> String {
    let releases: String =
        column.releases.iter().map(|release| format!("<small>{}</small>", escape(release))).collect();
    format!("<th scope=\"col\">{}{releases}</th>", escape(column.label()))
}

/// Numbers of blocks, in the order of the table.
#[derive(Default)]
struct Numbers {
    failed: usize,
    listed: usize,
}

fn table_row(row: &Row, numbers: &mut Numbers) -> String {
    let endings: Vec<&str> = row.cells.iter().flatten().map(class).collect();
    let cells: String = row.cells.iter().map(|cell| table_cell(cell.as_ref(), numbers)).collect();
    let (path, name) = (escape(&row.path), escape(&format!("{} {}", row.binary, row.path)));
    format!("<tr data-is=\"{}\" data-name=\"{name}\"><th scope=\"row\">{path}</th>{cells}</tr>\n", endings.join(" "))
}

fn table_cell(cell: Option<&Cell>, numbers: &mut Numbers) -> String {
    let Some(cell) = cell else { return "<td class=\"none\">–</td>".to_owned() };
    let (class, word) = (class(cell), cell.word());
    let word = match &cell.outcome {
        Outcome::Ran(Ending::Passed) => format!("✓ {word}"),
        Outcome::Ran(Ending::Failed(_)) => {
            numbers.failed += 1;
            format!("✗ <a href=\"#f{}\">{word}</a>", numbers.failed)
        }
        Outcome::Ran(Ending::Skipped(_)) | Outcome::Missing => {
            numbers.listed += 1;
            let sign = if matches!(cell.outcome, Outcome::Missing) { "?" } else { "»" };
            format!("{sign} <a href=\"#n{}\">{word}</a>", numbers.listed)
        }
    };
    let time = match (&cell.outcome, cell.seconds) {
        (Outcome::Ran(Ending::Passed | Ending::Failed(_)), Some(time)) => format!(" <i>{}</i>", seconds(time)),
        _ => String::new(),
    };
    format!("<td class=\"{class}\">{word}{time}{}</td>", remarks(cell))
}

fn remarks(cell: &Cell) -> String {
    let retries = if cell.retries > 0 { format!(" <i>tried {} times</i>", cell.retries + 1) } else { String::new() };
    if cell.times > 1 { format!("{retries} <i>ran {} times</i>", cell.times) } else { retries }
}

fn class(cell: &Cell) -> &'static str {
    match cell.outcome {
        Outcome::Ran(Ending::Passed) => "passed",
        Outcome::Ran(Ending::Skipped(_)) => "skipped",
        Outcome::Ran(Ending::Failed(_)) => "failed",
        Outcome::Missing => "missing",
    }
}

fn failures(matrix: &Matrix, logs: &Logs) -> String {
    if matrix.counts.failed == 0 {
        return String::new();
    }
    let room = (BLOCKS / matrix.counts.failed).min(BLOCK);
    let failed = matrix.cells(|_| true).filter_map(|(title, cell)| Some((title, cell, cell.failure()?)));
    let blocks = failed.enumerate().map(|(index, (title, cell, failure))| {
        failure_block(index + 1, &title, failure, &logs.links(matrix, cell, failure), room)
    });
    format!("<h2>Failures</h2>\n{}", blocks.collect::<String>())
}

fn failure_block(number: usize, title: &Title<'_>, failure: &Failure, logs: &str, room: usize) -> String {
    let fact = |name: &str, value: Option<&str>| {
        value.map(|value| format!("<dt>{name}</dt><dd><code>{}</code></dd>", escape(value))).unwrap_or_default()
    };
    let facts =
        fact("Kernel", failure.vm()) + &fact("Logs", failure.logs()) + logs + &fact("Run it again", failure.again());
    let name = escape(&title.to_string());
    let open = if number <= OPEN { " open" } else { "" };
    format!(
        "<article data-is=\"failed\" data-name=\"{name}\"><details{open}><summary><h3>{name}</h3>: {}</summary>\n<div id=\"f{number}\">\n\
         <dl>{facts}</dl>\n<pre tabindex=\"0\" aria-label=\"What {name} showed\">{}</pre>\n</div></details></article>\n",
        escape(failure.first_line()),
        escape(cut(&failure.block, room).trim_end()),
    )
}

/// The cells that have a line below the table, under the numbers that the table gave them.
fn lists(matrix: &Matrix) -> String {
    let listed = |cell: &Cell| matches!(cell.outcome, Outcome::Missing | Outcome::Ran(Ending::Skipped(_)));
    let (mut missing, mut skipped, mut repeated) = (String::new(), String::new(), String::new());
    for (index, (title, cell)) in matrix.cells(listed).enumerate() {
        let list = if matches!(cell.outcome, Outcome::Missing) { &mut missing } else { &mut skipped };
        *list += &item(&title, cell, &format!(" id=\"n{}\"", index + 1));
    }
    repeated.extend(matrix.cells(|cell| cell.times > 1).map(|(title, cell)| item(&title, cell, "")));
    section("Not run by any shard", &missing)
        + &section("Run more than once", &repeated)
        + &section("Skipped", &skipped)
}

fn item(title: &Title<'_>, cell: &Cell, id: &str) -> String {
    let (name, class) = (escape(&title.to_string()), class(cell));
    format!("<li{id} data-is=\"{class}\" data-name=\"{name}\"><code>{name}</code>: {}</li>\n", escape(&cell.note()))
}

fn section(title: &str, items: &str) -> String {
    if items.is_empty() { String::new() } else { format!("<h2>{title}</h2>\n<ul>\n{items}</ul>\n") }
}

/// The logs of the VMs in which tests failed, each once, under a number.
struct Logs<'m>(BTreeMap<&'m Path, usize>);

impl<'m> Logs<'m> {
    fn of(matrix: &'m Matrix) -> Self {
        let failed = matrix.cells(|_| true).filter_map(|(_, cell)| Some((cell, cell.failure()?)));
        let dirs = failed.filter_map(|(cell, failure)| matrix.inputs.log_dir(failure.logs()?, &cell.report));
        let mut numbers = BTreeMap::new();
        for dir in dirs {
            let next = numbers.len() + 1;
            numbers.entry(dir).or_insert(next);
        }
        Self(numbers)
    }

    /// Where the page has the logs of a failure.
    fn links(&self, matrix: &Matrix, cell: &Cell, failure: &Failure) -> String {
        let dir = failure.logs().and_then(|logs| matrix.inputs.log_dir(logs, &cell.report));
        let number = dir.and_then(|dir| self.0.get(dir));
        number
            .map(|number| format!("<dt>On this page</dt><dd><a href=\"#l{number}\">kernel log and console</a></dd>"))
            .unwrap_or_default()
    }

    fn section(&self) -> String {
        let limit = ALL_LOGS.checked_div(2 * self.0.len() as u64).unwrap_or_default().min(LOG);
        let mut logs: Vec<_> = self.0.iter().collect();
        logs.sort_by_key(|(_, number)| **number);
        let logs: String = logs.into_iter().map(|(dir, number)| log(dir, *number, limit)).collect();
        if logs.is_empty() { logs } else { format!("<h2>Logs of VMs</h2>\n{logs}") }
    }
}

fn log(dir: &Path, number: usize, limit: u64) -> String {
    let name = escape(&dir.display().to_string());
    let files = read_logs(dir, limit).into_iter().map(|(file, cut, text)| {
        let cut = if cut > 0 { format!("[lvh: {} are left out here]\n", size(cut)) } else { String::new() };
        format!(
            "<h4>{file}</h4>\n<pre tabindex=\"0\" aria-label=\"{file} of {name}\">{cut}{}</pre>\n",
            escape(text.trim_end())
        )
    });
    let files: String = files.collect();
    format!("<details><summary><h3>{name}</h3></summary>\n<div id=\"l{number}\">\n{files}</div></details>\n")
}

/// Such as `1.23 s`.
pub(super) fn seconds(seconds: f64) -> String {
    if seconds < 10.0 { format!("{seconds:.2} s") } else { format!("{seconds:.0} s") }
}

/// `text` as HTML shows it; what is no text, or turns the text around it, becomes a visible sign.
pub(super) fn escape(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut html, c| {
        match c {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            '\n' | '\t' => html.push(c),
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => html.push(char::REPLACEMENT_CHARACTER),
            c if c.is_control() => html.push(char::REPLACEMENT_CHARACTER),
            c => html.push(c),
        }
        html
    })
}
