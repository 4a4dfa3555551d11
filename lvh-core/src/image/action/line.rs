/// What is to be written behind `content`, all of a file, so that `line` is its last line. The file keeps its kind of line
/// breaks.
pub(crate) fn to_append(content: &[u8], line: &str) -> Vec<u8> {
    let line_break = line_break(content);
    let between = if content.is_empty() || content.ends_with(line_break) { &b""[..] } else { line_break };
    [between, line.as_bytes(), line_break].concat()
}

/// The kind of the first one: of Unix, of Windows, or of the old Macintosh.
fn line_break(content: &[u8]) -> &'static [u8] {
    match content.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
        Some(at) if content[at..].starts_with(b"\r\n") => b"\r\n",
        Some(at) if content[at] == b'\r' => b"\r",
        _ => b"\n",
    }
}
