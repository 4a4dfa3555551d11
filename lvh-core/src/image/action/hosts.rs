/// What an installer calls a machine before it has a name.
const UNASSIGNED: &str = "unassigned-hostname";

/// `/etc/hosts` after the host name changed from `old` to `new`.
pub(crate) fn renamed(hosts: &str, old: &str, new: &str) -> String {
    let word = |word: &str| {
        if word == UNASSIGNED || !old.is_empty() && word == old { new.to_owned() } else { word.to_owned() }
    };
    let separates = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_'));
    let mut text = String::new();
    let mut rest = hosts;
    while let Some(start) = rest.find(|c| !separates(c)) {
        text.push_str(&rest[..start]);
        rest = &rest[start..];
        let end = rest.find(separates).unwrap_or(rest.len());
        text.push_str(&word(&rest[..end]));
        rest = &rest[end..];
    }
    text + rest
}
