//! A crate means the same with lvh as without: what the compiler infers there by itself, it still infers.
//!
//! `1_i32 == value.into()` compiles because `i32` compares with nothing but `i32`. The implementations of every crate that is linked
//! count, used or not: with serde_json's `PartialEq<Value> for i32` the line is ambiguous.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use lvh_tests::{Finished, cargo, empty_directory};

/// Traits with a type parameter.
const TRAITS: &[&str] = &[
    "PartialEq",
    "PartialOrd",
    "AsRef",
    "AsMut",
    "Borrow",
    "BorrowMut",
    "From",
    "TryFrom",
    "Into",
    "TryInto",
    "Add",
    "Sub",
    "Mul",
    "Div",
    "Rem",
    "BitAnd",
    "BitOr",
    "BitXor",
    "Shl",
    "Shr",
    "AddAssign",
    "SubAssign",
    "MulAssign",
    "DivAssign",
    "RemAssign",
    "BitAndAssign",
    "BitOrAssign",
    "BitXorAssign",
    "ShlAssign",
    "ShrAssign",
    "Sum",
    "Product",
    "Extend",
    "FromIterator",
    "Index",
    "IndexMut",
];

/// Types of std, as tests have them.
const TYPES: &[&str] = &[
    "i8",
    "i16",
    "i32",
    "i64",
    "i128",
    "isize",
    "u8",
    "u16",
    "u32",
    "u64",
    "u128",
    "usize",
    "f32",
    "f64",
    "bool",
    "char",
    "()",
    "str",
    "String",
    "&'static str",
    "&'static String",
    "Box<str>",
    "Arc<str>",
    "Cow<'static, str>",
    "[u8]",
    "[u32]",
    "[String]",
    "&'static [u8]",
    "&'static mut [u8]",
    "&'static [u8; 4]",
    "[u8; 4]",
    "[u8; 32]",
    "[u32; 4]",
    "[String; 2]",
    "Vec<u8>",
    "Vec<i32>",
    "Vec<String>",
    "VecDeque<u8>",
    "Box<[u8]>",
    "Path",
    "PathBuf",
    "&'static Path",
    "OsStr",
    "OsString",
    "&'static OsStr",
    "CStr",
    "CString",
    "&'static CStr",
    "Option<u32>",
    "Option<String>",
    "Result<u32, String>",
    "Duration",
    "Instant",
    "SystemTime",
    "IpAddr",
    "Ipv4Addr",
    "Ipv6Addr",
    "SocketAddr",
    "io::Error",
    "io::ErrorKind",
    "fmt::Error",
    "Utf8Error",
    "ParseIntError",
    "Box<dyn Error>",
    "ExitStatus",
    "Stdio",
    "OwnedFd",
    "BorrowedFd<'static>",
    "File",
    "TcpStream",
    "UnixStream",
    "Permissions",
    "NonZeroU32",
    "Wrapping<u32>",
    "Ordering",
    "Range<usize>",
    "(u32, u32)",
    "Box<u32>",
    "Arc<u32>",
    "Rc<str>",
    "&'static u32",
    "Cell<u32>",
    "AtomicU32",
    "HashMap<String, u32>",
    "BTreeMap<String, u32>",
    "HashSet<String>",
    "BTreeSet<u32>",
    "*const u8",
    "Layout",
    "ThreadId",
];

/// What is not as it should be, and by whom. An entry that is right again must go.
const KNOWN: &[(&str, &[&str])] = &[
    // bytes, of tokio's `io-util` and `process`; winnow, of toml.
    ("PartialOrd", &["str", "String", "&'static str", "&'static String", "[u8]", "&'static [u8]", "&'static mut [u8]"]),
    // winnow
    ("AsRef", &["[u8]", "&'static [u8]", "&'static mut [u8]"]),
    // From itself, which nobody converts from: winnow, hybrid-array (of sha2), nix, tokio.
    ("From", &["&'static [u8]", "&'static [u8; 4]", "Duration", "Instant"]),
];

const IMPORTS: &str = "
    use std::alloc::Layout; use std::borrow::{Borrow, BorrowMut, Cow}; use std::cell::Cell; use std::cmp::Ordering; use std::collections::*;
    use std::error::Error; use std::ffi::*; use std::fmt; use std::fs::{File, Permissions}; use std::io; use std::iter::{Product, Sum};
    use std::net::*; use std::num::*; use std::ops::*; use std::os::fd::*; use std::os::unix::net::UnixStream; use std::path::*;
    use std::process::*; use std::rc::Rc; use std::str::Utf8Error; use std::sync::{Arc, atomic::AtomicU32}; use std::thread::ThreadId;
    use std::time::*;";

/// Function bodies that compile without lvh. `T` is a type of the crate that converts into everything; `t` is one.
const BODIES: &[&str] = &[
    "1_i32 == t.into()",
    "-1_i64 == t.into()",
    "1_u8 == t.into()",
    "1_u16 == t.into()",
    "1_u32 == t.into()",
    "1_u64 == t.into()",
    "1_usize == t.into()",
    "0.5_f64 == t.into()",
    "true == t.into()",
    "1_i32 < t.into()",
    "'a' == t.into()",
    "vec![1_i32].contains(&t.into())",
    "vec![1_i32, 2] == [t.into(), 2]",
    "Some(1_i32) == Some(t.into())",
    "(1_i32, true) == (t.into(), true)",
    "assert_eq!(1_i32, t.into()); true",
    "assert_ne!(2_i64, \"1\".parse().unwrap()); true",
    "let a = [1_u8; 4]; a.as_ref().len() == 4",
    "let mut text = String::new(); text += t.text().as_ref(); text.is_empty()",
    "\"1\".parse::<i32>() == Ok(t.into())",
    "Duration::from_secs(1) * t.into() > Duration::ZERO",
    "Duration::from_secs(1) < t.into()",
    "SystemTime::now() + t.into() > SystemTime::UNIX_EPOCH",
    "let total = [1_i32, 2].iter().map(|n| n * 2).sum::<i32>(); total == t.into()",
    "IpAddr::V4(Ipv4Addr::LOCALHOST).to_string() == t.text().to_string()",
    "HashMap::from([(\"a\", 1_i32)])[\"a\"] == t.into()",
];

const T: &str = "
    struct T;
    macro_rules! into { ($($type:ty: $value:expr),* $(,)?) => { $(impl From<T> for $type { fn from(_: T) -> Self { $value } })* } }
    into!(i32: 1, i64: 1, u8: 1, u16: 1, u32: 1, u64: 1, usize: 1, f64: 0.5, bool: true, char: 'a', Duration: Duration::ZERO, String: String::new());
    impl T { fn text(&self) -> &str { \"\" } }";

#[test]
fn what_std_alone_decides_stays_decided() {
    let mut source = String::from(IMPORTS).replace('\n', " ") + "\n";
    let pairs: Vec<(&str, &str)> = TRAITS.iter().flat_map(|name| TYPES.iter().map(move |of| (*name, *of))).collect();
    for (line, (name, of)) in pairs.iter().enumerate() {
        // `AsRef<str> for _` and the like may be of an unsized type; the parameter of the others may not.
        let sized = if ["PartialEq", "PartialOrd", "AsRef", "AsMut", "Borrow", "BorrowMut"].contains(name) {
            ": ?Sized"
        } else {
            ""
        };
        let infers = format!("fn infers<A: {name}<B> + ?Sized, B{sized}>() {{}}");
        writeln!(source, "fn f{line}() {{ {infers} infers::<{of}, _>() }}").unwrap();
    }
    let pair = |line: &usize| pairs[line - 2];
    let (without, with) = refused("pairs", &source);
    assert!(without.len() < pairs.len(), "std decides something");
    let known: BTreeSet<_> = KNOWN.iter().flat_map(|(name, of)| of.iter().map(move |of| (*name, *of))).collect();
    let lost: BTreeSet<_> = with.difference(&without).map(pair).collect();
    let (new, healed): (Vec<_>, Vec<_>) = (lost.difference(&known).collect(), known.difference(&lost).collect());
    assert!(new.is_empty() && healed.is_empty(), "no longer decided: {new:?}; decided again: {healed:?}");
}

#[test]
fn lines_of_a_test_compile_as_before() {
    let mut source = (IMPORTS.to_owned() + T).replace('\n', " ") + "\n";
    for (line, body) in BODIES.iter().enumerate() {
        writeln!(source, "fn f{line}(t: T) -> bool {{ {body} }}").unwrap();
    }
    let body = |line: &usize| BODIES[line - 2];
    let (without, with) = refused("lines", &source);
    assert!(without.is_empty(), "wrong without lvh already: {:?}", without.iter().map(body).collect::<Vec<_>>());
    assert!(with.is_empty(), "{:?}", with.iter().map(body).collect::<Vec<_>>());
}

/// The lines of `source` that do not compile in a crate without lvh, and in one with it. Its imports are on the first.
fn refused(name: &str, source: &str) -> (BTreeSet<usize>, BTreeSet<usize>) {
    let dir = empty_directory(Path::new(env!("CARGO_TARGET_TMPDIR")), &format!("inference-{name}"));
    let lines = |lvh: &str, arguments: &[&str]| {
        let file = dir.join("lib.rs");
        std::fs::write(&file, format!("#![allow(warnings)] {lvh} {source}")).unwrap();
        let mut rustc = Command::new("rustc");
        rustc.args(["--edition=2024", "--crate-type=lib", "--emit=metadata", "--error-format=short"]);
        let finished = Finished::of(rustc.arg("--out-dir").arg(&dir).arg(&file).args(arguments));
        finished
            .stderr
            .lines()
            .filter_map(|line| error_line(line.strip_prefix(file.to_str()?)?))
            .collect::<BTreeSet<usize>>()
    };
    let lvh = LVH.to_str().expect("UTF-8");
    let dependencies = format!("dependency={}", LVH.parent().expect("a file").display());
    let found = (lines("", &[]), lines("use lvh as _;", &["--extern", &format!("lvh={lvh}"), "-L", &dependencies]));
    assert!(!found.0.contains(&1) && !found.1.contains(&1), "the frame compiles: {found:?}");
    found
}

/// The line in `:7:12: error[E0283]: type annotations needed`.
fn error_line(rest: &str) -> Option<usize> {
    let mut parts = rest.splitn(4, ':').skip(1);
    let line = parts.next()?.parse().ok()?;
    parts.nth(1)?.trim_start().starts_with("error").then_some(line)
}

/// The library as who adds `lvh-test` to their crate gets it: with its own features and no one else's.
static LVH: LazyLock<PathBuf> = LazyLock::new(|| {
    let finished =
        Finished::of(cargo().args(["check", "--offline", "--package=lvh-test", "--lib", "--message-format=json"]));
    let quoted = |message: &str| Some(message.split_once("\"filenames\":[\"")?.1.split('"').next()?.to_owned());
    let message = finished.stdout.lines().find(|line| line.contains("\"name\":\"lvh\""));
    message.and_then(quoted).unwrap_or_else(|| panic!("lvh-test does not build: {}", finished.stderr)).into()
});
