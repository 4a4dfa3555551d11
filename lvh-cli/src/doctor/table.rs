//! How checks look: a line each, its cost and fix below it.

use std::fmt::Write as _;

use lvh_core::doctor::{Check, State};

/// Lists of names are broken behind so many characters; what may be copied, such as commands, never is.
const WIDTH: usize = 118;

/// One line of a table, and what belongs to it.
#[derive(Debug)]
pub(super) struct Row<'a> {
    /// How it stands, in a word.
    pub(super) word: &'a str,
    /// What stands so.
    pub(super) name: String,
    /// What was found.
    pub(super) found: String,
    /// What its lack costs.
    pub(super) cost: Option<&'a str>,
    /// What mends it.
    pub(super) fix: Option<&'a str>,
}

impl<'a> Row<'a> {
    /// A line to which nothing is to be added.
    pub(super) fn new(word: &'a str, name: impl Into<String>, found: impl Into<String>) -> Self {
        Self { word, name: name.into(), found: found.into(), cost: None, fix: None }
    }

    /// A line that names all of `names`.
    pub(super) fn list(word: &'a str, name: &str, names: &[&str]) -> Self {
        Self::new(word, name, names.join(", "))
    }
}

impl<'a> From<&'a Check> for Row<'a> {
    fn from(check: &'a Check) -> Self {
        let Check { name, state, found, cost, fix } = check;
        Self { cost: *cost, fix: fix.as_deref(), ..Self::new(word(*state), *name, found) }
    }
}

fn word(state: State) -> &'static str {
    match state {
        State::Ok => "ok",
        State::Optional => "optional",
        State::Degraded => "warning",
        State::Missing => "MISSING",
    }
}

/// The rows, lined up.
pub(super) fn table(rows: &[Row<'_>]) -> String {
    let width = rows.iter().map(|row| row.name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for row in rows {
        add(&mut text, row, width).expect("writing to a string does not fail");
    }
    text
}

fn add(text: &mut String, row: &Row<'_>, width: usize) -> std::fmt::Result {
    let found = match row.fix {
        None => broken(&row.found, WIDTH.saturating_sub(8 + 1 + width + 2)),
        Some(_) => vec![row.found.clone()],
    };
    writeln!(text, "{:<8} {:<width$}  {}", row.word, row.name, found[0])?;
    for line in &found[1..] {
        writeln!(text, "{:<8} {:<width$}  {line}", "", "")?;
    }
    let notes = [("cost", row.cost), ("fix", row.fix)];
    for (label, note) in notes.into_iter().filter_map(|(label, note)| Some((label, note?))) {
        writeln!(text, "{:<8} {:<width$}  {:<5} {note}", "", "", format!("{label}:"))?;
    }
    Ok(())
}

/// `list` in lines of at most `width` characters, broken behind commas.
fn broken(list: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for item in list.split_inclusive(", ") {
        let line = lines.last_mut().expect("there is always one");
        if !line.is_empty() && line.len() + item.trim_end().len() > width {
            line.truncate(line.trim_end().len());
            lines.push(item.to_owned());
        } else {
            line.push_str(item);
        }
    }
    lines
}

/// Such as `2 warnings`.
pub(super) fn count(number: usize, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_line_up() {
        let check = |name, state| {
            let lacks = state != State::Ok;
            let fix = lacks.then(|| "sudo mend it".to_owned());
            Check { name, state, found: "found".into(), cost: lacks.then_some("time"), fix }
        };
        let checks = [check("QEMU", State::Missing), check("/dev/kvm", State::Degraded), check("x", State::Ok)];
        let expected = "\
MISSING  QEMU      found
                   cost: time
                   fix:  sudo mend it
warning  /dev/kvm  found
                   cost: time
                   fix:  sudo mend it
ok       x         found
";
        assert_eq!(table(&checks.each_ref().map(Row::from)), expected);
    }

    #[test]
    fn long_lists_are_broken_behind_commas() {
        assert_eq!(broken("a, b", 10), ["a, b"]);
        assert_eq!(broken("one, two, three", 8), ["one,", "two,", "three"]);
        assert_eq!(broken("one, two, three", 9), ["one, two,", "three"]);
        assert_eq!(broken("longer-than-that", 5), ["longer-than-that"]);
    }
}
