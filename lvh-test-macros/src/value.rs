//! Values of options: from tokens to checked values.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote};
use syn::parse::{Parse, ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Error, LitBool, LitInt, LitStr, Path, Result, Token};

use crate::keyword::{self, Keyword};

/// What stands behind an option: its name's place and, after a `=`, its tokens.
pub(crate) struct Raw {
    pub(crate) key: Span,
    pub(crate) tokens: Option<TokenStream>,
}

/// A checked value.
pub(crate) enum Value {
    /// A flag.
    Flag(bool),
    /// An expression of the type of its field in `Options`.
    Expr(TokenStream),
    /// One keyword.
    Keyword(Keyword),
    /// A list of keywords; it may be empty.
    Keywords(Vec<Keyword>),
    /// A list of names.
    Names(Vec<LitStr>),
    /// A path that generated code uses.
    Path(Path),
}

/// Reads and checks the value of one option.
pub(crate) type Reader = fn(&Raw) -> Result<Value>;

impl Value {
    /// The expression that generated code sets a field to, where it finds the crate at `lvh`.
    pub(crate) fn expression(&self, lvh: &Path) -> TokenStream {
        match self {
            Self::Flag(flag) => flag.to_token_stream(),
            Self::Expr(expr) => expr.clone(),
            Self::Keyword(keyword) => {
                let variant = keyword.variant(lvh);
                quote!(::core::option::Option::Some(#variant))
            }
            Self::Keywords(keywords) => {
                let variants = keywords.iter().map(|keyword| keyword.variant(lvh));
                quote!(::core::option::Option::Some(&[#(#variants),*]))
            }
            Self::Names(names) => quote!(&[#(#names),*]),
            Self::Path(path) => path.to_token_stream(),
        }
    }
}

/// `fresh_vm`, `fresh_vm = true`.
pub(crate) fn flag(raw: &Raw) -> Result<Value> {
    match raw.tokens {
        None => Ok(Value::Flag(true)),
        Some(_) => Ok(Value::Flag(raw.parse::<LitBool>("`true` or `false`")?.value)),
    }
}

/// `network`, `network = false`: a flag that `lvh.toml` may set too.
pub(crate) fn choice(raw: &Raw) -> Result<Value> {
    match flag(raw)? {
        Value::Flag(flag) => Ok(some(flag)),
        other => Ok(other),
    }
}

/// `kernels = ["5.10", "6.12"]`, `kernel = "6.12"`.
pub(crate) fn kernels(raw: &Raw) -> Result<Value> {
    names(raw, "kernel", r#"expected a kernel such as `"6.12"`, or a list such as `["5.10", "6.12"]`"#)
}

/// `modules = ["nf_tables"]`.
pub(crate) fn modules(raw: &Raw) -> Result<Value> {
    names(raw, "module", r#"expected a list of modules such as `["nf_tables"]`"#)
}

/// `fail_on = ["oops", "warn"]`, `fail_on = []`.
pub(crate) fn fail_on(raw: &Raw) -> Result<Value> {
    let names: Vec<LitStr> = raw.parse_with(one_or_many, r#"a list such as `["oops", "warn"]`"#)?;
    names.iter().map(keyword::kernel_event).collect::<Result<_>>().map(Value::Keywords)
}

/// `images = ["base", "kind"]`, `image = "base"`.
pub(crate) fn images(raw: &Raw) -> Result<Value> {
    names(raw, "image", r#"expected an image such as `"base"`, or a list such as `["base", "kind"]`"#)
}

/// `kernel_args = "lsm=bpf"`.
pub(crate) fn kernel_args(raw: &Raw) -> Result<Value> {
    let args: LitStr = raw.parse(r#"a string such as `"lsm=bpf"`"#)?;
    if args.value().contains(char::is_control) {
        return Err(Error::new(args.span(), "kernel arguments stand on one line, separated by spaces"));
    }
    Ok(Value::Expr(args.to_token_stream()))
}

/// `cpus = 2`.
pub(crate) fn cpus(raw: &Raw) -> Result<Value> {
    let literal: LitInt = raw.parse("a number such as `2`")?;
    match literal.base10_parse::<u32>()? {
        0 => Err(Error::new(literal.span(), "a VM has at least one CPU")),
        count => Ok(some(count)),
    }
}

/// `accel = "kvm"`.
pub(crate) fn accel(raw: &Raw) -> Result<Value> {
    keyword::accel(&raw.parse(keyword::EXPECTED_ACCEL)?).map(Value::Keyword)
}

/// `init = "systemd"`.
pub(crate) fn init(raw: &Raw) -> Result<Value> {
    keyword::init(&raw.parse(keyword::EXPECTED_INIT)?).map(Value::Keyword)
}

/// `memory = "512M"`.
pub(crate) fn memory(raw: &Raw) -> Result<Value> {
    let literal: LitStr = raw.parse(r#"a string such as `"512M"`"#)?;
    mebibytes(&literal.value()).map(some).map_err(|message| Error::new(literal.span(), message))
}

/// `timeout = "30s"`.
pub(crate) fn duration(raw: &Raw) -> Result<Value> {
    let literal: LitStr = raw.parse(r#"a string such as `"30s"`"#)?;
    milliseconds(&literal.value()).map(some).map_err(|message| Error::new(literal.span(), message))
}

/// `crate = some::path`, `crate = "some::path"`.
pub(crate) fn path(raw: &Raw) -> Result<Value> {
    match raw.parse::<LitStr>("") {
        Ok(literal) => literal.parse_with(Path::parse_mod_style),
        Err(_) => raw.parse_with(Path::parse_mod_style, "a path such as `my_crate::lvh`"),
    }
    .map(Value::Path)
}

impl Raw {
    /// Parses the whole value as one `T`; `expected` says what that looks like.
    fn parse<T: Parse>(&self, expected: &str) -> Result<T> {
        self.parse_with(T::parse, expected)
    }

    fn parse_with<T>(&self, parser: fn(ParseStream<'_>) -> Result<T>, expected: &str) -> Result<T> {
        let tokens = self.tokens.clone().filter(|tokens| !tokens.is_empty());
        let tokens = tokens.ok_or_else(|| Error::new(self.key, format!("expected a value: {expected}")))?;
        parser.parse2(tokens).map_err(|error| Error::new(error.span(), format!("expected {expected}")))
    }
}

/// One string or a list of strings, each a name, none twice.
fn names(raw: &Raw, what: &str, expected: &str) -> Result<Value> {
    let names: Vec<LitStr> = raw.parse_with(one_or_many, expected.trim_start_matches("expected "))?;
    if names.is_empty() {
        return Err(Error::new(raw.tokens.span(), format!("the list names no {what}")));
    }
    for (index, name) in names.iter().enumerate() {
        check_name(name, what)?;
        if names[..index].iter().any(|earlier| earlier.value() == name.value()) {
            return Err(Error::new(name.span(), format!("{what} `{}` is listed twice", name.value())));
        }
    }
    Ok(Value::Names(names))
}

fn one_or_many(input: ParseStream<'_>) -> Result<Vec<LitStr>> {
    if input.peek(LitStr) {
        return Ok(vec![input.parse()?]);
    }
    let list;
    syn::bracketed!(list in input);
    Ok(Punctuated::<LitStr, Token![,]>::parse_terminated(&list)?.into_iter().collect())
}

fn check_name(name: &LitStr, what: &str) -> Result<()> {
    let text = name.value();
    if text.trim().is_empty() {
        return Err(Error::new(name.span(), format!("the name of the {what} is empty")));
    }
    if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(Error::new(name.span(), format!("the name of the {what} has a space in it")));
    }
    Ok(())
}

fn some(value: impl ToTokens) -> Value {
    Value::Expr(quote!(::core::option::Option::Some(#value)))
}

/// Guests need this much to unpack their initramfs.
const MIN_MEMORY_MIB: u64 = 64;

/// `512M`, `1G`, `65536K` → MiB.
fn mebibytes(text: &str) -> std::result::Result<u32, String> {
    let (number, unit) = split_unit(text).ok_or_else(|| bad("memory size", text, "512M"))?;
    let mib = match unit {
        "M" => Some(number),
        "G" => number.checked_mul(1 << 10),
        "" => return Err(format!("memory size `{text}` has no unit (M, G)")),
        _ => return Err(format!("unknown unit `{unit}` in memory size `{text}` (M, G)")),
    };
    let mib = mib.and_then(|mib| u32::try_from(mib).ok());
    let mib = mib.ok_or_else(|| format!("memory size `{text}` is too large"))?;
    match u64::from(mib) < MIN_MEMORY_MIB {
        true => Err(format!("memory size `{text}` is too small for a guest (at least {MIN_MEMORY_MIB}M)")),
        false => Ok(mib),
    }
}

/// `30s`, `500ms`, `2m`, `1h` → ms.
fn milliseconds(text: &str) -> std::result::Result<u64, String> {
    let (number, unit) = split_unit(text).ok_or_else(|| bad("duration", text, "30s"))?;
    let milliseconds = match unit {
        "ms" => Some(number),
        "s" => number.checked_mul(1000),
        "m" => number.checked_mul(60_000),
        "h" => number.checked_mul(3_600_000),
        "" => return Err(format!("duration `{text}` has no unit (ms, s, m, h)")),
        _ => return Err(format!("unknown unit `{unit}` in duration `{text}` (ms, s, m, h)")),
    };
    match milliseconds {
        Some(0) => Err(format!("duration `{text}` leaves no time at all")),
        Some(milliseconds) => Ok(milliseconds),
        None => Err(format!("duration `{text}` is too long")),
    }
}

fn split_unit(text: &str) -> Option<(u64, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    Some((number.parse().ok()?, unit.trim_start()))
}

fn bad(what: &str, text: &str, example: &str) -> String {
    format!("`{text}` is not a {what} such as `{example}`")
}

#[cfg(test)]
mod tests {
    use super::{mebibytes, milliseconds};

    #[test]
    fn memory_sizes() {
        for (text, expected) in [
            ("512M", Ok(512)),
            ("1G", Ok(1024)),
            ("2 G", Ok(2048)),
            ("64M", Ok(64)),
            ("63M", Err("memory size `63M` is too small for a guest (at least 64M)")),
            ("63M", Err("memory size `63M` is too small for a guest (at least 64M)")),
            ("512", Err("memory size `512` has no unit (M, G)")),
            ("1T", Err("unknown unit `T` in memory size `1T` (M, G)")),
            ("1.5G", Err("unknown unit `.5G` in memory size `1.5G` (M, G)")),
            ("99999999999G", Err("memory size `99999999999G` is too large")),
            ("lots", Err("`lots` is not a memory size such as `512M`")),
            ("", Err("`` is not a memory size such as `512M`")),
        ] {
            assert_eq!(mebibytes(text), expected.map_err(str::to_owned), "{text}");
        }
    }

    #[test]
    fn durations() {
        for (text, expected) in [
            ("500ms", Ok(500)),
            ("30s", Ok(30_000)),
            ("2m", Ok(120_000)),
            ("1h", Ok(3_600_000)),
            ("0s", Err("duration `0s` leaves no time at all")),
            ("30", Err("duration `30` has no unit (ms, s, m, h)")),
            ("30 sec", Err("unknown unit `sec` in duration `30 sec` (ms, s, m, h)")),
            ("-1s", Err("`-1s` is not a duration such as `30s`")),
            ("99999999999999999h", Err("duration `99999999999999999h` is too long")),
        ] {
            assert_eq!(milliseconds(text), expected.map_err(str::to_owned), "{text}");
        }
    }
}
