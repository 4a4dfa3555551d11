//! Which kernel a test's name tells of, and the order of kernels.

use std::collections::BTreeSet;

/// The kernels that are known of a run, by which the names of tests are understood.
#[derive(Debug, Default)]
pub(super) struct Places(BTreeSet<String>);

impl Places {
    /// Those of the reports, and those that `names` show without doubt: what is no identifier is no function.
    pub(super) fn of<'t>(told: impl Iterator<Item = &'t str>, names: impl Iterator<Item = &'t str>) -> Self {
        let shown = names.filter_map(|name| name.rsplit_once("::")).map(|(_, last)| last);
        let shown = shown.filter(|last| !is_identifier(last) && !last.is_empty());
        Self(told.chain(shown).map(str::to_owned).collect())
    }

    /// The test without its place, and the place, where `name` has one: `f::6.12` or, under Rust's own harness, `f::v6_12`.
    pub(super) fn split<'t>(&self, name: &'t str) -> (&'t str, Option<String>) {
        let Some((path, last)) = name.rsplit_once("::") else { return (name, None) };
        match self.place(last) {
            Some(place) => (path, Some(place)),
            None => (name, None),
        }
    }

    fn place(&self, last: &str) -> Option<String> {
        if self.0.contains(last) {
            return Some(last.to_owned());
        }
        let known = self.0.iter().find(|place| shadow(place) == last);
        let of_image = |place: &&String| {
            let image = place.split_once('+').map(|(_, image)| word(image));
            image.is_some() && last.strip_prefix("on_") == image.as_deref()
        };
        known.or_else(|| self.0.iter().find(of_image)).cloned().or_else(|| guess(last))
    }
}

/// A version as an identifier, of a kernel that nothing else tells of.
fn guess(last: &str) -> Option<String> {
    let (major, minor) = last.strip_prefix('v')?.split_once('_')?;
    let is_number = |text: &str| text.starts_with(|c: char| c.is_ascii_digit());
    let is_version =
        is_number(major) && major.chars().all(|c| c.is_ascii_digit()) && (is_number(minor) || minor == "x");
    is_version.then(|| format!("{major}.{minor}"))
}

fn is_identifier(text: &str) -> bool {
    !text.starts_with(|c: char| c.is_ascii_digit()) && text.chars().all(|c| c.is_alphanumeric() || c == '_')
}

/// What the attribute calls its `#[test]` for that place.
fn shadow(place: &str) -> String {
    let digit = place.starts_with(|c: char| c.is_ascii_digit());
    format!("{}{}", if digit { "v" } else { "" }, word(place))
}

fn word(text: &str) -> String {
    text.replace(|c: char| !c.is_ascii_alphanumeric(), "_")
}

#[cfg(test)]
mod tests {
    use super::Places;

    #[track_caller]
    fn check(name: &str, expected: (&str, Option<&str>)) {
        let places = Places::of(["mainline", "6.12+base", "7.x"].into_iter(), ["m::f::bpf-next", "m::g"].into_iter());
        let (path, place) = places.split(name);
        assert_eq!((path, place.as_deref()), expected, "{name}");
    }

    #[test]
    fn names_have_places() {
        check("f", ("f", None));
        check("m::f", ("m::f", None));
        check("m::f::mainline", ("m::f", Some("mainline")));
        check("m::f::bpf-next", ("m::f", Some("bpf-next")));
        check("f::6.12+base", ("f", Some("6.12+base")));
        check("f::v6_12_base", ("f", Some("6.12+base")));
        check("f::on_base", ("f", Some("6.12+base")));
        check("f::v7_x", ("f", Some("7.x")));
        check("f::bpf_next", ("f", Some("bpf-next")));
        check("f::v5_10", ("f", Some("5.10")));
        check("protocol::v2", ("protocol::v2", None));
        check("protocol::v2_is_read", ("protocol::v2_is_read", None));
        check("f::on_other", ("f::on_other", None));
    }
}
