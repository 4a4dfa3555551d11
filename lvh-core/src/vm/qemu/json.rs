//! JSON, as much as QEMU's monitor speaks.
//!
//! No crate's: those implement `PartialEq` and `From` of their value for integers and strings. A test crate that links us would have
//! these implementations too, and `1 == x.into()` would no longer compile there.

use std::fmt::{self, Write as _};
use std::iter::Peekable;
use std::str::Chars;

/// A JSON value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Number(f64),
    String(String),
    Array(Vec<Self>),
    Object(Vec<(String, Self)>),
}

/// As deep as a value may nest: QMP's answers take five levels.
const MAX_DEPTH: usize = 64;

impl Value {
    /// An object of these members.
    pub(crate) fn object<const N: usize>(members: [(&str, Self); N]) -> Self {
        Self::Object(members.map(|(name, value)| (name.to_owned(), value)).into())
    }

    /// A string.
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::String(text.into())
    }

    /// The whole of `text` as one value; `None` if it is not JSON.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut reader = Reader { rest: text.chars().peekable(), depth: 0 };
        let value = reader.value()?;
        reader.skip_space();
        reader.rest.next().is_none().then_some(value)
    }

    /// The member `name` of an object.
    pub(crate) fn get(&self, name: &str) -> Option<&Self> {
        let Self::Object(members) = self else { return None };
        members.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// The string at the end of `path`, member by member.
    pub(crate) fn str_at(&self, path: &[&str]) -> Option<&str> {
        match path.iter().try_fold(self, |value, name| value.get(name))? {
            Self::String(text) => Some(text),
            _ => None,
        }
    }
}

struct Reader<'a> {
    rest: Peekable<Chars<'a>>,
    depth: usize,
}

impl Reader<'_> {
    fn value(&mut self) -> Option<Value> {
        self.skip_space();
        match self.rest.peek()? {
            '{' => self.nested('}', Self::member).map(Value::Object),
            '[' => self.nested(']', Self::value).map(Value::Array),
            '"' => self.string().map(Value::String),
            _ => self.word(),
        }
    }

    /// Items between a bracket and `end`, with commas between them.
    fn nested<T>(&mut self, end: char, item: fn(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        self.rest.next();
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return None;
        }
        let mut items = Vec::new();
        let mut more = !self.takes(end);
        while more {
            items.push(item(self)?);
            more = self.takes(',');
            if !more && !self.takes(end) {
                return None;
            }
        }
        self.depth -= 1;
        Some(items)
    }

    fn member(&mut self) -> Option<(String, Value)> {
        self.skip_space();
        let name = self.string()?;
        self.takes(':').then_some(())?;
        Some((name, self.value()?))
    }

    fn string(&mut self) -> Option<String> {
        self.rest.next_if_eq(&'"')?;
        let mut text = String::new();
        loop {
            match self.rest.next()? {
                '"' => return Some(text),
                '\\' => text.push(self.escape()?),
                '\0'..' ' => return None,
                plain => text.push(plain),
            }
        }
    }

    fn escape(&mut self) -> Option<char> {
        Some(match self.rest.next()? {
            'n' => '\n',
            't' => '\t',
            'r' => '\r',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'u' => return self.code_point(),
            plain @ ('"' | '\\' | '/') => plain,
            _ => return None,
        })
    }

    /// After `\u`: four digits, or two such units that are one character in UTF-16.
    fn code_point(&mut self) -> Option<char> {
        let first = self.unit()?;
        let mut units = vec![first];
        if (0xd800..0xdc00).contains(&first) {
            self.rest.next_if_eq(&'\\')?;
            self.rest.next_if_eq(&'u')?;
            units.push(self.unit()?);
        }
        char::decode_utf16(units).next()?.ok()
    }

    fn unit(&mut self) -> Option<u16> {
        (0..4).try_fold(0, |unit, _| Some(unit << 4 | u16::try_from(self.rest.next()?.to_digit(16)?).ok()?))
    }

    /// A number, or one of the three words.
    fn word(&mut self) -> Option<Value> {
        let mut word = String::new();
        while let Some(c) = self.rest.next_if(|c| c.is_ascii_alphanumeric() || "+-.".contains(*c)) {
            word.push(c);
        }
        Some(match &*word {
            "null" => Value::Null,
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            // Rust reads `inf`, `nan` and `+1` too.
            number if number.starts_with(|c: char| c == '-' || c.is_ascii_digit()) => {
                Value::Number(number.parse().ok()?)
            }
            _ => return None,
        })
    }

    /// Takes `expected` if it comes next, after any space.
    fn takes(&mut self, expected: char) -> bool {
        self.skip_space();
        self.rest.next_if_eq(&expected).is_some()
    }

    fn skip_space(&mut self) {
        while self.rest.next_if(|c| matches!(c, ' ' | '\t' | '\r' | '\n')).is_some() {}
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Number(value) => write!(f, "{value}"),
            Self::String(text) => quote(f, text),
            Self::Array(items) => list(f, "[", items, "]", |f, item| write!(f, "{item}")),
            Self::Object(members) => list(f, "{", members, "}", |f, (name, value)| {
                quote(f, name)?;
                write!(f, ":{value}")
            }),
        }
    }
}

fn list<T>(
    f: &mut fmt::Formatter<'_>,
    open: &str,
    items: &[T],
    close: &str,
    write: fn(&mut fmt::Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    f.write_str(open)?;
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            f.write_char(',')?;
        }
        write(f, item)?;
    }
    f.write_str(close)
}

fn quote(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_char('"')?;
    for c in text.chars() {
        match c {
            '"' | '\\' => write!(f, "\\{c}")?,
            '\0'..' ' => write!(f, "\\u{:04x}", u32::from(c))?,
            _ => f.write_char(c)?,
        }
    }
    f.write_char('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is read of `text`, as it is written; `None`: refused.
    fn check(text: &str, expected: Option<&str>) {
        let value = Value::parse(text);
        assert_eq!(value.as_ref().map(Value::to_string).as_deref(), expected, "{text}");
        if let Some(value) = value {
            assert_eq!(Value::parse(&value.to_string()), Some(value), "{text}");
        }
    }

    #[test]
    fn values() {
        check(
            r#"{"event": "STOP", "timestamp": {"seconds": 1, "microseconds": 20}}"#,
            Some(r#"{"event":"STOP","timestamp":{"seconds":1,"microseconds":20}}"#),
        );
        check(" [ 1 , -2.5 , 1e3 , true , false , null , {} , [] ]\r\n", Some("[1,-2.5,1000,true,false,null,{},[]]"));
        check(r#""a\"b\\c\/d\n\u00e9\ud83d\ude00""#, Some(r#""a\"b\\c/d\u000aé😀""#));
        check("", None);
        check("{", None);
        check("[1,]", None);
        check("[1 2]", None);
        check(r#"{"a" 1}"#, None);
        check(r#"{a: 1}"#, None);
        check("[1] x", None);
        check(r#""\ud83d""#, None);
        check(r#""\udc00""#, None);
        check(r#""\x""#, None);
        check("\"a\nb\"", None);
        check("\"a", None);
        check("nan", None);
        check("+1", None);
        check("-", None);
    }

    #[test]
    fn depth_is_bounded() {
        assert!(Value::parse(&("[".repeat(64) + &"]".repeat(64))).is_some());
        assert!(Value::parse(&"[".repeat(1_000_000)).is_none());
    }

    #[test]
    fn strings_are_found() {
        let value = Value::parse(r#"{"error": {"desc": "no such thing", "code": 7}}"#).unwrap();
        assert_eq!(value.str_at(&["error", "desc"]), Some("no such thing"));
        assert_eq!(value.str_at(&["error", "code"]), None);
        assert_eq!(value.str_at(&["return", "desc"]), None);
    }
}
