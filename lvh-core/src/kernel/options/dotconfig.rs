//! The text of a `.config`.

use std::collections::{HashMap, HashSet};

use super::{KernelOption, Setting};

/// `text` with `options` set, in one pass; where one is named twice, the last counts.
pub(in crate::kernel) fn edit(text: &str, options: &[KernelOption]) -> String {
    let wanted: HashMap<&str, &KernelOption> = options.iter().map(|option| (option.symbol.as_str(), option)).collect();
    let mut placed = HashSet::new();
    let mut edited = String::with_capacity(text.len());
    for line in text.lines() {
        match symbol_of(line).and_then(|symbol| wanted.get(symbol)) {
            None => push_line(&mut edited, line),
            Some(option) => place(&mut edited, &mut placed, option),
        }
    }
    for option in options {
        place(&mut edited, &mut placed, wanted[option.symbol.as_str()]);
    }
    edited
}

/// What `KCONFIG_ALLCONFIG` takes: all `options`, and nothing else.
pub(in crate::kernel) fn fragment(options: &[KernelOption]) -> String {
    edit("", options)
}

fn place<'o>(text: &mut String, placed: &mut HashSet<&'o str>, option: &'o KernelOption) {
    if placed.insert(&option.symbol) && option.setting != Setting::Default {
        push_line(text, &option.to_string());
    }
}

fn push_line(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

/// The symbol that a line sets, without `CONFIG_`.
fn symbol_of(line: &str) -> Option<&str> {
    match line.strip_prefix("# CONFIG_") {
        Some(rest) => rest.strip_suffix(" is not set"),
        None => line.strip_prefix("CONFIG_")?.split_once('=').map(|(symbol, _)| symbol),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, entries: &[&[&str]], expected: &str) {
        let options: Vec<_> = entries.iter().flat_map(|entry| KernelOption::parse_entry(entry).unwrap()).collect();
        assert_eq!(edit(text, &options), expected, "{entries:?}");
    }

    #[test]
    fn a_line_is_replaced_where_it_stands() {
        let text = "# Automatically generated\nCONFIG_A=m\n# CONFIG_B is not set\nCONFIG_AB=y\nCONFIG_S=\"x\"\n";
        check(text, &[], text);
        check(
            text,
            &[&["-e", "A"], &["-m", "B"], &["--set-str", "S", "y"], &["-e", "NEW"]],
            "# Automatically generated\nCONFIG_A=y\nCONFIG_B=m\nCONFIG_AB=y\nCONFIG_S=\"y\"\nCONFIG_NEW=y\n",
        );
    }

    #[test]
    fn the_last_of_a_name_counts_and_stands_once() {
        check("CONFIG_A=y\nCONFIG_A=m\n", &[&["-m", "A"], &["-d", "A"]], "# CONFIG_A is not set\n");
        check("", &[&["-e", "A"], &["-e", "B"], &["-m", "A"]], "CONFIG_A=m\nCONFIG_B=y\n");
    }

    #[test]
    fn an_undefined_option_has_no_line() {
        check("CONFIG_A=y\nCONFIG_B=y\n", &[&["-u", "A"], &["-u", "C"]], "CONFIG_B=y\n");
        check("# CONFIG_A is not set\n", &[&["-u", "A"]], "");
    }
}
