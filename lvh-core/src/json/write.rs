use std::fmt;

use super::Value;

/// On one line, without spaces.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(f, self, None)
    }
}

impl Value {
    /// Over several lines, each level four spaces further in; the last one does not end.
    pub(crate) fn indented(&self) -> String {
        let mut text = String::new();
        write(&mut text, self, Some(0)).expect("a string takes all text");
        text
    }
}

/// `level`: how far in the value stands, where its items get lines of their own.
fn write(out: &mut dyn fmt::Write, value: &Value, level: Option<usize>) -> fmt::Result {
    match value {
        Value::Null => out.write_str("null"),
        Value::Bool(value) => write!(out, "{value}"),
        Value::Number(number) => out.write_str(number),
        Value::String(text) => quote(out, text),
        Value::Array(items) => list(out, ['[', ']'], items, level, |out, item, level| write(out, item, level)),
        Value::Object(members) => list(out, ['{', '}'], members, level, |out, (name, value), level| {
            quote(out, name)?;
            out.write_str(if level.is_some() { ": " } else { ":" })?;
            write(out, value, level)
        }),
    }
}

fn list<T>(
    out: &mut dyn fmt::Write,
    [open, close]: [char; 2],
    items: &[T],
    level: Option<usize>,
    item: fn(&mut dyn fmt::Write, &T, Option<usize>) -> fmt::Result,
) -> fmt::Result {
    let within = level.map(|level| level + 1);
    out.write_char(open)?;
    for (index, value) in items.iter().enumerate() {
        if index > 0 {
            out.write_char(',')?;
        }
        new_line(out, within)?;
        item(out, value, within)?;
    }
    if !items.is_empty() {
        new_line(out, level)?;
    }
    out.write_char(close)
}

fn new_line(out: &mut dyn fmt::Write, level: Option<usize>) -> fmt::Result {
    level.map_or(Ok(()), |level| write!(out, "\n{:width$}", "", width = 4 * level))
}

/// Go's `encoding/json` escapes what would end a script in a page of HTML, or a line of JavaScript.
fn quote(out: &mut dyn fmt::Write, text: &str) -> fmt::Result {
    out.write_char('"')?;
    for c in text.chars() {
        match c {
            '"' | '\\' => write!(out, "\\{c}")?,
            '\n' => out.write_str("\\n")?,
            '\r' => out.write_str("\\r")?,
            '\t' => out.write_str("\\t")?,
            '\u{8}' => out.write_str("\\b")?,
            '\u{c}' => out.write_str("\\f")?,
            '\0'..' ' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => write!(out, "\\u{:04x}", u32::from(c))?,
            _ => out.write_char(c)?,
        }
    }
    out.write_char('"')
}
