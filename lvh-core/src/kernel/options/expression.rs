//! Conditions of Kconfig files: Documentation/kbuild/kconfig-language.rst, "Menu dependencies".

use std::cmp::Ordering;

use crate::kernel::{KernelConfig, Value};

/// A condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Expression {
    Word(String),
    /// Such as `$(cc-option,-mfoo)`: only `make` knows.
    Unknown,
    Not(Box<Self>),
    And(Box<Self>, Box<Self>),
    Or(Box<Self>, Box<Self>),
    Compare(String, &'static str, String),
}

/// Kconfig's three truths, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Truth {
    No,
    Module,
    Yes,
}

impl Expression {
    /// Reads a condition; `None` where it is none.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parser = Parser { tokens: tokens(text)?, at: 0 };
        let expression = parser.or()?;
        (parser.at == parser.tokens.len()).then_some(expression)
    }

    /// What it comes to with `config`. What only `make` knows counts as true.
    pub(super) fn eval(&self, config: &KernelConfig) -> Truth {
        match self {
            Self::Word(word) => truth_of(word, config),
            Self::Unknown => Truth::Yes,
            Self::Not(inner) => match inner.eval(config) {
                Truth::No => Truth::Yes,
                Truth::Module => Truth::Module,
                Truth::Yes => Truth::No,
            },
            Self::And(a, b) => a.eval(config).min(b.eval(config)),
            Self::Or(a, b) => a.eval(config).max(b.eval(config)),
            Self::Compare(a, operator, b) => {
                let order = compare(&text_of(a, config), &text_of(b, config));
                let holds = match *operator {
                    "=" => order == Ordering::Equal,
                    "!=" => order != Ordering::Equal,
                    "<" => order == Ordering::Less,
                    "<=" => order != Ordering::Greater,
                    ">" => order == Ordering::Greater,
                    _ => order != Ordering::Less,
                };
                if holds { Truth::Yes } else { Truth::No }
            }
        }
    }

    /// What of it is below `wanted`, in words: each has to change.
    pub(super) fn lacks(&self, config: &KernelConfig, wanted: Truth) -> Vec<String> {
        if self.eval(config) >= wanted {
            return Vec::new();
        }
        match self {
            Self::And(a, b) => [a.lacks(config, wanted), b.lacks(config, wanted)].concat(),
            Self::Or(a, b) => {
                let sides = [a, b].map(|side| side.lacks(config, wanted).join(" and "));
                vec![sides.join(" or ")]
            }
            Self::Not(inner) => vec![format!("{inner} off")],
            Self::Word(word) if wanted == Truth::Yes && self.eval(config) == Truth::Module => {
                vec![format!("{word}=y (it is m)")]
            }
            Self::Word(_) | Self::Compare(..) | Self::Unknown => vec![self.to_string()],
        }
    }
}

impl std::fmt::Display for Expression {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Word(word) => f.write_str(word),
            Self::Unknown => f.write_str("what the compiler can do"),
            Self::Not(inner) => write!(f, "!{inner}"),
            Self::And(a, b) => write!(f, "({a} && {b})"),
            Self::Or(a, b) => write!(f, "({a} || {b})"),
            Self::Compare(a, operator, b) => write!(f, "{a} {operator} {b}"),
        }
    }
}

fn truth_of(word: &str, config: &KernelConfig) -> Truth {
    match (word, config.get(word)) {
        ("y", _) | (_, Some(Value::Yes)) => Truth::Yes,
        ("m", _) | (_, Some(Value::Module)) => Truth::Module,
        _ => Truth::No,
    }
}

/// The value of a symbol, or a constant's own text.
fn text_of(word: &str, config: &KernelConfig) -> String {
    match config.get(word) {
        Some(Value::Yes) => "y".to_owned(),
        Some(Value::Module) => "m".to_owned(),
        Some(Value::Text(text)) => text.clone(),
        None if word.starts_with('"') => word.trim_matches('"').to_owned(),
        None if word.starts_with(|c: char| c.is_ascii_uppercase()) => "n".to_owned(),
        None => word.to_owned(),
    }
}

/// By number where both are numbers.
fn compare(a: &str, b: &str) -> Ordering {
    let number = |text: &str| match text.strip_prefix("0x") {
        Some(hex) => i64::from_str_radix(hex, 16).ok(),
        None => text.parse::<i64>().ok(),
    };
    match (number(a), number(b)) {
        (Some(a), Some(b)) => a.cmp(&b),
        _ => a.cmp(b),
    }
}

/// The symbols, constants and signs of a condition; `None` where something else stands in it.
fn tokens(text: &str) -> Option<Vec<String>> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let length = token_length(rest)?;
        tokens.push(rest[..length].to_owned());
        rest = rest[length..].trim_start();
        // What follows is a comment.
        if rest.starts_with('#') {
            break;
        }
    }
    Some(tokens)
}

fn token_length(text: &str) -> Option<usize> {
    let signs = ["&&", "||", "!=", "<=", ">=", "<", ">", "=", "!", "(", ")"];
    if let Some(sign) = signs.iter().find(|sign| text.starts_with(**sign)) {
        return Some(sign.len());
    }
    if text.starts_with("$(") {
        return macro_length(text);
    }
    if let Some(quote) = text.chars().next().filter(|c| matches!(c, '"' | '\'')) {
        return text[1..].find(quote).map(|end| end + 2);
    }
    let end =
        text.find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '_' | '-' | '.' | '/')).unwrap_or(text.len());
    (end > 0).then_some(end)
}

/// The length of a call such as `$(cc-option,$(x))`.
fn macro_length(text: &str) -> Option<usize> {
    let mut depth = 0;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            '(' => depth += 1,
            ')' if depth == 1 => return Some(at + 1),
            ')' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// Reads conditions, the weakest operator first.
struct Parser {
    tokens: Vec<String>,
    at: usize,
}

impl Parser {
    fn or(&mut self) -> Option<Expression> {
        let mut left = self.and()?;
        while self.take(&["||"]).is_some() {
            left = Expression::Or(Box::new(left), Box::new(self.and()?));
        }
        Some(left)
    }

    fn and(&mut self) -> Option<Expression> {
        let mut left = self.unary()?;
        while self.take(&["&&"]).is_some() {
            left = Expression::And(Box::new(left), Box::new(self.unary()?));
        }
        Some(left)
    }

    fn unary(&mut self) -> Option<Expression> {
        if self.take(&["!"]).is_some() {
            return Some(Expression::Not(Box::new(self.unary()?)));
        }
        if self.take(&["("]).is_some() {
            let inner = self.or()?;
            return self.take(&[")"]).map(|_| inner);
        }
        let word = self.word()?;
        match self.take(&["=", "!=", "<", "<=", ">", ">="]) {
            Some(operator) => Some(Expression::Compare(word, operator, self.word()?)),
            None if word.starts_with('$') => Some(Expression::Unknown),
            None => Some(Expression::Word(word)),
        }
    }

    fn word(&mut self) -> Option<String> {
        let word = self.tokens.get(self.at)?;
        let is_word =
            word.starts_with(|c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '"' | '\'' | '$' | '-'));
        self.at += 1;
        is_word.then(|| word.clone())
    }

    fn take(&mut self, signs: &[&'static str]) -> Option<&'static str> {
        let token = self.tokens.get(self.at)?;
        let sign = signs.iter().find(|sign| *sign == token)?;
        self.at += 1;
        Some(sign)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = "CONFIG_A=y\nCONFIG_M=m\nCONFIG_N=64\nCONFIG_S=\"x\"\n";

    #[test]
    fn conditions_have_three_values() {
        let config = KernelConfig::parse(CONFIG);
        let check = |text: &str, expected: Truth| {
            let expression = Expression::parse(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(expression.eval(&config), expected, "{text}");
        };
        check("A", Truth::Yes);
        check("M", Truth::Module);
        check("B", Truth::No);
        check("!M", Truth::Module);
        check("A && M", Truth::Module);
        check("B || A && !B", Truth::Yes);
        check("(B || A) && B", Truth::No);
        check("M=y || A!=n", Truth::Yes);
        check("M = m", Truth::Yes);
        check("N >= 9 && N < 0x80", Truth::Yes);
        check("S=\"x\"", Truth::Yes);
        check("A && $(cc-option,-fx=$(y))", Truth::Yes);
        check("B=n # a comment", Truth::Yes);
    }

    #[test]
    fn what_lacks_is_named() {
        let config = KernelConfig::parse(CONFIG);
        let check = |text: &str, expected: &[&str]| {
            assert_eq!(Expression::parse(text).unwrap().lacks(&config, Truth::Yes), expected, "{text}");
        };
        check("A", &[]);
        check("A && B && C", &["B", "C"]);
        check("B || C && D", &["B or C and D"]);
        check("!A && M", &["A off", "M=y (it is m)"]);
        check("S=\"y\"", &["S = \"y\""]);
    }

    #[test]
    fn what_is_no_condition_is_none() {
        for text in ["", "A &&", "(A", "A B", "A = ", "&& A", "\"A", "$(x", "A ? B"] {
            assert_eq!(Expression::parse(text), None, "{text}");
        }
    }
}
