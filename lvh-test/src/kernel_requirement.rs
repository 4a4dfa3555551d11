//! Requirements on the kernel's release, such as `>= 5.8` or `>= 5.15, < 6.12`.

use std::cmp::Ordering;
use std::fmt;

/// A parsed requirement: all its comparisons must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KernelRequirement(Vec<Comparison>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Comparison {
    operator: Operator,
    version: Vec<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    AtLeast,
    AtMost,
    Above,
    Below,
    Equal,
}

/// The longer ones first: `>` also begins `>=`.
const OPERATORS: [(&str, Operator); 5] = [
    (">=", Operator::AtLeast),
    ("<=", Operator::AtMost),
    ("==", Operator::Equal),
    (">", Operator::Above),
    ("<", Operator::Below),
];

impl KernelRequirement {
    /// Reads comparisons apart by commas.
    pub(crate) fn parse(text: &str) -> Result<Self, MalformedRequirement> {
        let comparisons: Option<Vec<Comparison>> = text.split(',').map(|part| Comparison::parse(part.trim())).collect();
        comparisons.map(Self).ok_or_else(|| MalformedRequirement(text.to_owned()))
    }

    /// Whether a kernel of this `uname -r` meets the requirement. What follows the numbers (`-rc4`, `-amd64`) does not
    /// count: distributions mean too many things by it.
    pub(crate) fn allows(&self, release: &str) -> bool {
        let release = leading_numbers(release);
        self.0.iter().all(|comparison| comparison.allows(release))
    }
}

impl Comparison {
    fn parse(text: &str) -> Option<Self> {
        let (operator, rest) =
            OPERATORS.iter().find_map(|(sign, operator)| Some((*operator, text.strip_prefix(sign)?)))?;
        let version: Option<Vec<u32>> = rest.trim().split('.').map(parse_number).collect();
        version.filter(|version| version.len() <= 3).map(|version| Self { operator, version })
    }

    fn allows(&self, release: [u32; 3]) -> bool {
        let mut version = [0; 3];
        version[..self.version.len()].copy_from_slice(&self.version);
        let order = release.cmp(&version);
        match self.operator {
            Operator::AtLeast => order != Ordering::Less,
            Operator::AtMost => order != Ordering::Greater,
            Operator::Above => order == Ordering::Greater,
            Operator::Below => order == Ordering::Less,
            // `== 5.15` means the series.
            Operator::Equal => release.starts_with(&self.version),
        }
    }
}

/// A number as a release writes it; `str::parse` would also take `+5`.
fn parse_number(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// `5.15.189-generic` as `[5, 15, 189]`; what is missing is 0.
fn leading_numbers(release: &str) -> [u32; 3] {
    let end = release.find(|c: char| c != '.' && !c.is_ascii_digit()).unwrap_or(release.len());
    let mut numbers = release[..end].split('.').map(|number| number.parse().unwrap_or(0));
    std::array::from_fn(|_| numbers.next().unwrap_or(0))
}

/// A requirement that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MalformedRequirement(String);

impl fmt::Display for MalformedRequirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(text) = self;
        write!(
            f,
            "malformed kernel requirement `{text}`: expected an operator (`>=`, `>`, `<=`, `<` or `==`) and a version, \
             for example `>= 5.8` or `>= 5.15, < 6.12`"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::KernelRequirement;

    #[track_caller]
    fn check(requirement: &str, release: &str, expected: bool) {
        let parsed = KernelRequirement::parse(requirement).unwrap();
        assert_eq!(parsed.allows(release), expected, "`{requirement}` on {release}");
    }

    #[test]
    fn compares_by_number_not_by_text() {
        check(">= 5.8", "5.15.189", true);
        check(">=5.8", "5.8.0-rc1", true);
        check(">= 5.8", "5.4.302-generic", false);
        check("> 5.8", "5.8.0", false);
        check("> 5.8", "5.8.1", true);
        check("< 6.10", "6.9.12", true);
        check("<= 6.1.5", "6.1.5-22-amd64", true);
        check("<= 6.1", "6.1.1", false);
    }

    #[test]
    fn equal_means_the_series() {
        check("== 5.15", "5.15.189", true);
        check("== 5.15", "5.1.5", false);
        check("== 6", "6.12.0", true);
        check("== 6.12.3", "6.12.4", false);
    }

    #[test]
    fn all_comparisons_must_hold() {
        check(">= 5.15, < 6.12", "6.1.0", true);
        check(">= 5.15, < 6.12", "6.12.0", false);
        check(">= 5.15, < 6.12", "5.10.0", false);
    }

    #[test]
    fn anything_else_is_malformed() {
        for text in ["", "5.8", ">=", ">= x", ">= 5.", ">= 5.8.1.2", "=> 5.8", ">= 5.8,", ">= 5.8-rc1", ">= +5", "~5.8"]
        {
            let error = KernelRequirement::parse(text).unwrap_err().to_string();
            assert!(error.starts_with(&format!("malformed kernel requirement `{text}`: expected")), "{error}");
        }
    }
}
