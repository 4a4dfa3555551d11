use std::fmt;

use super::Value;

/// As deep as a value may nest: QMP's answers take five levels, `kernels.json` four.
const MAX_DEPTH: usize = 128;

/// Where a text is not JSON, and why.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SyntaxError {
    /// Counted from 1, as is the column, in characters.
    pub(crate) line: usize,
    pub(crate) column: usize,
    message: String,
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// What was expected where the rest begins.
type Expected = &'static str;

impl Value {
    /// Reads the whole of `text` as one value.
    pub(crate) fn parse(text: &str) -> Result<Self, SyntaxError> {
        let mut reader = Reader { rest: text, depth: 0 };
        let value = reader.value().and_then(|value| reader.end().map(|()| value));
        value.map_err(|expected| reader.error(text, expected))
    }
}

struct Reader<'a> {
    rest: &'a str,
    depth: usize,
}

impl<'a> Reader<'a> {
    fn value(&mut self) -> Result<Value, Expected> {
        self.skip_space();
        match self.rest.as_bytes().first() {
            Some(b'{') => self.nested('}', "`,` or `}`", Self::member).map(Value::Object),
            Some(b'[') => self.nested(']', "`,` or `]`", Self::value).map(Value::Array),
            Some(b'"') => self.string().map(Value::String),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => self.word(),
        }
    }

    fn end(&mut self) -> Result<(), Expected> {
        self.skip_space();
        if self.rest.is_empty() { Ok(()) } else { Err("the end of the file") }
    }

    /// Items between a bracket and `end`, with commas between them.
    fn nested<T>(
        &mut self,
        end: char,
        expected: Expected,
        item: fn(&mut Self) -> Result<T, Expected>,
    ) -> Result<Vec<T>, Expected> {
        if self.depth == MAX_DEPTH {
            return Err("no more than 128 values within each other");
        }
        self.rest = &self.rest[1..];
        self.depth += 1;
        let mut items = Vec::new();
        let mut more = !self.takes(end);
        while more {
            items.push(item(self)?);
            more = self.takes(',');
            if !more && !self.takes(end) {
                return Err(expected);
            }
        }
        self.depth -= 1;
        Ok(items)
    }

    fn member(&mut self) -> Result<(String, Value), Expected> {
        self.skip_space();
        if !self.rest.starts_with('"') {
            return Err("a name in double quotes");
        }
        let name = self.string()?;
        if self.takes(':') { Ok((name, self.value()?)) } else { Err("`:`") }
    }

    /// What follows a double quote up to the next.
    fn string(&mut self) -> Result<String, Expected> {
        self.rest = &self.rest[1..];
        let mut text = String::new();
        loop {
            let plain = self.rest.find(|c| matches!(c, '"' | '\\' | '\0'..' ')).unwrap_or(self.rest.len());
            text.push_str(self.advance(plain));
            match self.rest.as_bytes().first() {
                Some(b'"') => {
                    self.advance(1);
                    return Ok(text);
                }
                Some(b'\\') => text.push(self.escape()?),
                _ => return Err("the string to end with a double quote"),
            }
        }
    }

    fn escape(&mut self) -> Result<char, Expected> {
        let escaped = match self.rest.as_bytes().get(1) {
            Some(b'n') => '\n',
            Some(b't') => '\t',
            Some(b'r') => '\r',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(plain @ (b'"' | b'\\' | b'/')) => char::from(*plain),
            Some(b'u') => return self.code_point(),
            _ => return Err("an escape such as `\\n` or `\\u0026`"),
        };
        self.advance(2);
        Ok(escaped)
    }

    /// One unit of UTF-16 or two; half a pair becomes what stands for the unknown, as in Go.
    fn code_point(&mut self) -> Result<char, Expected> {
        let first = self.unit().ok_or("four hexadecimal digits after `\\u`")?;
        self.advance(6);
        if let Some(character) = char::from_u32(first.into()) {
            return Ok(character);
        }
        let pair = self.unit().and_then(|second| char::decode_utf16([first, second]).next()?.ok());
        if pair.is_some() {
            self.advance(6);
        }
        Ok(pair.unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    /// The unit that `\uXXXX` at the rest's start means.
    fn unit(&self) -> Option<u16> {
        let digits = self.rest.strip_prefix("\\u")?.get(..4)?;
        // `from_str_radix` takes a sign too.
        digits.bytes().all(|digit| digit.is_ascii_hexdigit()).then(|| u16::from_str_radix(digits, 16).ok())?
    }

    fn number(&mut self) -> Result<Value, Expected> {
        let end =
            self.rest.find(|c: char| !matches!(c, '0'..='9' | '+' | '-' | '.' | 'e' | 'E')).unwrap_or(self.rest.len());
        if !is_number(&self.rest[..end]) {
            return Err("a number");
        }
        Ok(Value::Number(self.advance(end).into()))
    }

    fn word(&mut self) -> Result<Value, Expected> {
        let words = [("null", Value::Null), ("true", Value::Bool(true)), ("false", Value::Bool(false))];
        let found = words.into_iter().find(|(word, _)| self.rest.starts_with(word)).ok_or("a value")?;
        self.advance(found.0.len());
        Ok(found.1)
    }

    /// Takes `expected` if it comes next, after any space.
    fn takes(&mut self, expected: char) -> bool {
        self.skip_space();
        let taken = self.rest.strip_prefix(expected);
        self.rest = taken.unwrap_or(self.rest);
        taken.is_some()
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\r', '\n']);
    }

    fn advance(&mut self, bytes: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(bytes);
        self.rest = rest;
        taken
    }

    fn error(&self, text: &str, expected: Expected) -> SyntaxError {
        let before = &text[..text.len() - self.rest.len()];
        let found = match self.rest.chars().next() {
            None => "the end of the file".to_owned(),
            Some('\u{feff}') => "a byte order mark".to_owned(),
            Some(c) => format!("`{}`", c.escape_debug()),
        };
        SyntaxError {
            line: 1 + before.bytes().filter(|byte| *byte == b'\n').count(),
            column: 1 + before.rsplit('\n').next().unwrap_or_default().chars().count(),
            message: format!("expected {expected}, found {found}"),
        }
    }
}

/// Whether `text` is a number in the grammar of RFC 8259, §6, which is stricter than Rust's.
fn is_number(text: &str) -> bool {
    let text = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let whole_fits = digits(whole) && (whole == "0" || !whole.starts_with('0'));
    whole_fits && digits(fraction) && digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))
}
