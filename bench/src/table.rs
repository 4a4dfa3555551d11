//! A table of text.

/// Lines of cells; the first line is the head. The first column is flush left, the others right.
pub(crate) fn render(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut lines: Vec<String> = rows.iter().map(|row| line(row, &widths)).collect();
    if lines.len() > 1 {
        lines.insert(1, widths.iter().map(|&width| "-".repeat(width)).collect::<Vec<_>>().join("  "));
    }
    lines.iter().map(|line| format!("{}\n", line.trim_end())).collect()
}

fn line(row: &[String], widths: &[usize]) -> String {
    let cells = row.iter().zip(widths).enumerate().map(|(column, (cell, &width))| match column {
        0 => format!("{cell:<width$}"),
        _ => format!("{cell:>width$}"),
    });
    cells.collect::<Vec<_>>().join("  ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = [vec!["what", "wall s", "×"], vec!["floor", "3.1", "1.0"], vec!["cargo test", "13.25"]];
        let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|&cell| cell.to_owned()).collect()).collect();
        let expected = "\
what        wall s    ×
----------  ------  ---
floor          3.1  1.0
cargo test   13.25
";
        assert_eq!(render(&rows), expected);
    }
}
