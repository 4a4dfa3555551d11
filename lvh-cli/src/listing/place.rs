use std::fmt;

/// What a test runs on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// The kernel's name.
    pub(crate) kernel: String,
    /// The image's name; none for the host's root.
    pub(crate) image: Option<String>,
}

impl Place {
    /// What the end of a test's name says of it: lvh writes `::6.12` and `::6.12+base`, the attribute `::v6_12`.
    pub(crate) fn of_name(name: &str) -> Option<Self> {
        let (_, last) = name.rsplit_once("::")?;
        if last.starts_with(|c: char| c.is_ascii_digit()) && last.contains('.') {
            let (kernel, image) = last.split_once('+').map_or((last, None), |(kernel, image)| (kernel, Some(image)));
            return Some(Self { kernel: kernel.to_owned(), image: image.map(str::to_owned) });
        }
        let version = last.strip_prefix('v')?.split('_').collect::<Vec<_>>();
        let is_number = |part: &&&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        let numbers = version.iter().take_while(is_number).count();
        let image = version[numbers..].join("_");
        (numbers >= 2)
            .then(|| Self { kernel: version[..numbers].join("."), image: (!image.is_empty()).then_some(image) })
    }
}

/// As in the names of tests: `6.12`, `6.12+base`.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.kernel)?;
        self.image.iter().try_for_each(|image| write!(f, "+{image}"))
    }
}

#[cfg(test)]
mod tests {
    use super::Place;

    #[test]
    fn names_end_in_places() {
        let check = |name: &str, expected: Option<&str>| {
            assert_eq!(Place::of_name(name).map(|place| place.to_string()).as_deref(), expected, "{name}");
        };
        check("maps::t::6.12", Some("6.12"));
        check("maps::t::6.12+base", Some("6.12+base"));
        check("maps::t::v6_12", Some("6.12"));
        check("t::v6_1_30_base", Some("6.1.30+base"));
        check("t::bpf_next", None);
        check("t::v6", None);
        check("t::value_1", None);
        check("6.12", None);
        check("t", None);
    }
}
