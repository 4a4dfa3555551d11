use crate::{Error, ErrorKind, Result};

/// Permissions as virt-customize reads them: a number is decimal, unless a `0` stands in front of it.
pub(crate) fn parse(text: &str) -> Result<u32> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let radix = if text.starts_with('0') { 8 } else { 10 };
    let number = u32::from_str_radix(text, radix).ok().filter(|number| digits && *number <= 0o7777);
    number.ok_or_else(|| {
        Error::new(ErrorKind::Usage, format!("`{text}` is no permissions"))
            .with_hint("write them in octal, with a `0` in front: `0755`")
    })
}
