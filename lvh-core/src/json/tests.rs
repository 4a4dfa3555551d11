use arbtest::arbitrary::{Result, Unstructured};

use super::Value;
use crate::property;

/// What is read of `text`, written on one line.
fn check(text: &str, expected: &str) {
    let value = Value::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    assert_eq!(value.to_string(), expected, "{text}");
    assert_eq!(Value::parse(&value.to_string()), Ok(value.clone()), "{text}");
    assert_eq!(Value::parse(&value.indented()), Ok(value), "{text}");
}

#[test]
fn values_are_read_and_written() {
    check(r#"{"event": "STOP", "at": {"seconds": 1, "µs": 20}}"#, r#"{"event":"STOP","at":{"seconds":1,"µs":20}}"#);
    check(
        " [ 1 , -2.50 , 1e3,1E-3 , true , false , null , {} , [] ]\r\n\t",
        "[1,-2.50,1e3,1E-3,true,false,null,{},[]]",
    );
    check("18446744073709551616", "18446744073709551616");
    check(r#"{"b": 1, "a": 2, "b": 3}"#, r#"{"b":1,"a":2,"b":3}"#);
    check(r#""a\"b\\c\/d\n\r\t\b\f\u0001""#, r#""a\"b\\c/d\n\r\t\b\f\u0001""#);
    check(r#""\u00e9\ud83d\ude00""#, "\"é😀\"");
    check("\"a&b<c>\u{7f}\u{2028}\u{2029}\"", "\"a\\u0026b\\u003cc\\u003e\u{7f}\\u2028\\u2029\"");
    // Half a pair, as Go reads it.
    check(r#""\ud83d""#, "\"\u{fffd}\"");
    check(r#""\ud83d\u0041\udc00x""#, "\"\u{fffd}A\u{fffd}x\"");
}

#[test]
fn lines_are_indented() {
    let value = Value::parse(r#"{"a":[],"b":{},"c":[[1,{"d":null}],"x"]}"#).unwrap();
    let expected = r#"{
    "a": [],
    "b": {},
    "c": [
        [
            1,
            {
                "d": null
            }
        ],
        "x"
    ]
}"#;
    assert_eq!(value.indented(), expected);
}

#[test]
fn errors_name_their_place() {
    let check = |text: &str, line: usize, column: usize, expected: &str| {
        let error = Value::parse(text).expect_err(text);
        assert_eq!((error.line, error.column, &*error.to_string()), (line, column, expected), "{text}");
    };
    check("", 1, 1, "expected a value, found the end of the file");
    check(" \n", 2, 1, "expected a value, found the end of the file");
    check("{", 1, 2, "expected a name in double quotes, found the end of the file");
    check("{\n  \"é\": 1,\n}", 3, 1, "expected a name in double quotes, found `}`");
    check("{\"é\" 1}", 1, 6, "expected `:`, found `1`");
    check("{\"é\": 1 2}", 1, 9, "expected `,` or `}`, found `2`");
    check("{a: 1}", 1, 2, "expected a name in double quotes, found `a`");
    check("[1,]", 1, 4, "expected a value, found `]`");
    check("[1 2]", 1, 4, "expected `,` or `]`, found `2`");
    check("[1]\nx", 2, 1, "expected the end of the file, found `x`");
    check("nulls", 1, 5, "expected the end of the file, found `s`");
    check("\u{feff}{}", 1, 1, "expected a value, found a byte order mark");
    check("\"a\nb\"", 1, 3, "expected the string to end with a double quote, found `\\n`");
    check("\"a", 1, 3, "expected the string to end with a double quote, found the end of the file");
    check(r#""\x""#, 1, 2, r"expected an escape such as `\n` or `\u0026`, found `\\`");
    check(r#""\u+123""#, 1, 2, r"expected four hexadecimal digits after `\u`, found `\\`");
    check("\u{a0}1", 1, 1, "expected a value, found `\\u{a0}`");
    for number in ["-", "01", "1.", ".5", "1e", "1e+", "--1", "1.2.3", "1e2e3", "-01"] {
        assert!(Value::parse(number).is_err(), "{number}");
    }
    for word in ["nan", "+1", "inf", "True", "'a'", "// x\n1"] {
        assert!(Value::parse(word).is_err(), "{word}");
    }
}

#[test]
fn depth_is_bounded() {
    assert!(Value::parse(&("[".repeat(128) + &"]".repeat(128))).is_ok());
    let error = Value::parse(&"[".repeat(1_000_000)).unwrap_err();
    assert_eq!(
        (error.column, &*error.to_string()),
        (129, "expected no more than 128 values within each other, found `[`")
    );
}

#[test]
fn strings_are_found() {
    let value = Value::parse(r#"{"error": {"desc": "no such thing", "code": 7}}"#).unwrap();
    assert_eq!(value.str_at(&["error", "desc"]), Some("no such thing"));
    assert_eq!(value.str_at(&["error", "code"]), None);
    assert_eq!(value.str_at(&["return", "desc"]), None);
}

/// What a reader may hold: a level of depth takes the room of four members, a member twice what it takes itself.
const MEMORY: (usize, usize) = (32 << 10, 128);

#[test]
fn foreign_texts_are_safe() {
    let sample = br#"{"kernels": [{"name": "6.6", "url": "git://a/b?depth=1\u0026x#l", "opts": [["--enable", "CONFIG_X"]]}, null],
        "n": [-1.5e3, 0, true, false, "\ud83d\ude00\n"], "e": {}}"#;
    property::check_reader(30_000, &[sample, &[b'['; 300]], MEMORY, |bytes| {
        // What is refused is written nowhere.
        drop(Value::parse(&String::from_utf8_lossy(bytes)));
    });
}

#[test]
fn what_is_written_is_read_again() {
    property::check(20_000, |random| {
        let value = any(random, 0)?;
        assert_eq!(Value::parse(&value.to_string()), Ok(value.clone()));
        assert_eq!(Value::parse(&value.indented()), Ok(value));
        Ok(())
    });
}

fn any(random: &mut Unstructured<'_>, depth: usize) -> Result<Value> {
    let many = if depth < 4 { 4 } else { 0 };
    Ok(match random.int_in_range(0..=6)? {
        0 => Value::Null,
        1 => Value::Bool(random.arbitrary()?),
        2 => Value::Number(random.arbitrary::<i64>()?.to_string().into()),
        3 => Value::Number(
            format!("{}.{}e{}", random.arbitrary::<i8>()?, random.arbitrary::<u8>()?, random.arbitrary::<i8>()?).into(),
        ),
        4 => Value::String(random.arbitrary()?),
        5 => Value::Array((0..random.int_in_range(0..=many)?).map(|_| any(random, depth + 1)).collect::<Result<_>>()?),
        _ => {
            let member = |_| Ok((random.arbitrary()?, any(random, depth + 1)?));
            Value::Object((0..many).map(member).collect::<Result<_>>()?)
        }
    })
}
