use std::fmt;

use crate::{Error, ErrorKind, Result};

/// What an option shall be set to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Setting {
    /// Built in.
    Yes,
    /// A module.
    Module,
    /// Off.
    No,
    /// A number, or another value that needs no quotes.
    Value(String),
    /// A string.
    Text(String),
    /// Whatever Kconfig takes by itself.
    Default,
}

/// One option of a kernel, and what it shall be.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KernelOption {
    /// The symbol, without `CONFIG_`.
    pub symbol: String,
    /// What it shall be set to.
    pub setting: Setting,
    /// A kernel that does not know the symbol, or cannot have it, is none the worse for it.
    pub optional: bool,
}

impl fmt::Display for KernelOption {
    /// As the line of a `.config`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let symbol = &self.symbol;
        match &self.setting {
            Setting::Yes => write!(f, "CONFIG_{symbol}=y"),
            Setting::Module => write!(f, "CONFIG_{symbol}=m"),
            Setting::No => write!(f, "# CONFIG_{symbol} is not set"),
            Setting::Value(value) => write!(f, "CONFIG_{symbol}={value}"),
            Setting::Text(text) => write!(f, "CONFIG_{symbol}=\"{}\"", text.replace('\\', r"\\").replace('"', "\\\"")),
            Setting::Default => write!(f, "# CONFIG_{symbol}: its default"),
        }
    }
}

impl KernelOption {
    /// Reads one option as `lvh.toml` has it: a line of a `.config` such as `CONFIG_BPF=y`, `USB=n` or `LSM="bpf"`, or the
    /// arguments of `scripts/config` in one string.
    ///
    /// # Errors
    /// When `text` is neither; the message names it.
    pub fn parse(text: &str) -> Result<Vec<Self>> {
        if text.starts_with('-') {
            return Self::parse_entry(&text.split_whitespace().collect::<Vec<_>>());
        }
        match text.split_once('=') {
            Some((symbol, value)) => match value.strip_prefix('"').and_then(|value| value.strip_suffix('"')) {
                Some(string) => Self::parse_entry(&["-k", "--set-str", symbol, string]),
                None if value.is_empty() => Self::parse_entry(&[text]),
                None => Self::parse_entry(&["-k", "--set-val", symbol, value]),
            },
            None => Self::parse_entry(&[text]),
        }
    }

    /// Reads one entry of a configuration: the arguments of a call of the kernel's `scripts/config`, which may set
    /// several options. Names may leave `CONFIG_` out, and become upper case unless `--keep-case` stands before them.
    ///
    /// # Errors
    /// When the entry is no such list; the message names it.
    pub fn parse_entry<S: AsRef<str>>(entry: &[S]) -> Result<Vec<Self>> {
        let mut reader = Reader { entry: entry.iter().map(AsRef::as_ref).collect(), at: 0, keep_case: false };
        let mut options = Vec::new();
        while let Some(option) = reader.option()? {
            options.push(option);
        }
        if options.is_empty() { Err(reader.wrong("it sets no option")) } else { Ok(options) }
    }
}

/// How a command of `scripts/config` says what it sets.
enum Command {
    /// The symbol follows.
    Set(Setting),
    /// Another symbol comes first: only where in the file the line shall stand.
    SetAfter(Setting),
    /// The symbol and a value follow.
    Value,
    /// The symbol and a string follow.
    Text,
}

impl Command {
    fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "--enable" | "-e" => Self::Set(Setting::Yes),
            "--disable" | "-d" => Self::Set(Setting::No),
            "--module" | "-m" => Self::Set(Setting::Module),
            "--undefine" | "-u" => Self::Set(Setting::Default),
            "--enable-after" | "-E" => Self::SetAfter(Setting::Yes),
            "--disable-after" | "-D" => Self::SetAfter(Setting::No),
            "--module-after" | "-M" => Self::SetAfter(Setting::Module),
            "--set-val" => Self::Value,
            "--set-str" => Self::Text,
            _ => return None,
        })
    }
}

/// The words of one entry, read one after the other.
struct Reader<'e> {
    entry: Vec<&'e str>,
    at: usize,
    keep_case: bool,
}

impl<'e> Reader<'e> {
    fn option(&mut self) -> Result<Option<KernelOption>> {
        while matches!(self.entry.get(self.at), Some(&("--keep-case" | "-k"))) {
            self.keep_case = true;
            self.at += 1;
        }
        let Some(&word) = self.entry.get(self.at) else { return Ok(None) };
        self.at += 1;
        let command = Command::parse(word).ok_or_else(|| self.wrong(&format!("`{word}` sets no option")))?;
        if let Command::SetAfter(_) = command {
            self.symbol(word)?;
        }
        let symbol = self.symbol(word)?;
        let setting = match command {
            Command::Set(setting) | Command::SetAfter(setting) => setting,
            Command::Value => self.value(word)?,
            Command::Text => Setting::Text(self.next(word, "string")?.to_owned()),
        };
        Ok(Some(KernelOption { symbol, setting, optional: false }))
    }

    fn symbol(&mut self, command: &str) -> Result<String> {
        let word = self.next(command, "option")?;
        let name = word.strip_prefix("CONFIG_").unwrap_or(word);
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return Err(self.wrong(&format!("`{word}` is no name of an option")));
        }
        Ok(if self.keep_case { name.to_owned() } else { name.to_ascii_uppercase() })
    }

    fn value(&mut self, command: &str) -> Result<Setting> {
        let value = self.next(command, "value")?;
        match value {
            "y" => Ok(Setting::Yes),
            "m" => Ok(Setting::Module),
            "n" => Ok(Setting::No),
            _ if value.contains(['\n', '"']) => Err(self.wrong("a string is set by `--set-str`")),
            _ => Ok(Setting::Value(value.to_owned())),
        }
    }

    fn next(&mut self, command: &str, what: &str) -> Result<&'e str> {
        let word = *self.entry.get(self.at).ok_or_else(|| self.wrong(&format!("`{command}` lacks its {what}")))?;
        self.at += 1;
        if word.contains('\n') { Err(self.wrong("it holds a line break")) } else { Ok(word) }
    }

    fn wrong(&self, why: &str) -> Error {
        let message = format!("kernel option `{}`: {why}", self.entry.join(" "));
        Error::new(ErrorKind::Usage, message)
            .with_hint("write it as for the kernel's scripts/config, such as [\"--enable\", \"CONFIG_BPF\"]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(entry: &[&str]) -> String {
        match KernelOption::parse_entry(entry) {
            Ok(options) => options.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn entries_are_the_arguments_of_scripts_config() {
        let check = |entry: &[&str], expected: &str| assert_eq!(lines(entry), expected, "{entry:?}");
        check(&["--enable", "CONFIG_BPF"], "CONFIG_BPF=y");
        check(&["-e", "bpf"], "CONFIG_BPF=y");
        check(&["--enable", "IP_MULTIPLE_TABLES"], "CONFIG_IP_MULTIPLE_TABLES=y");
        check(&["--disable", "CONFIG_AGP"], "# CONFIG_AGP is not set");
        check(&["-m", "CONFIG_TLS", "-d", "CONFIG_MD"], "CONFIG_TLS=m; # CONFIG_MD is not set");
        check(&["--set-val", "NR_CPUS", "64"], "CONFIG_NR_CPUS=64");
        check(&["--set-val", "NR_CPUS", "y"], "CONFIG_NR_CPUS=y");
        check(&["--set-str", "LSM", "a,\"b\""], "CONFIG_LSM=\"a,\\\"b\\\"\"");
        check(&["--undefine", "LSM"], "# CONFIG_LSM: its default");
        check(&["-E", "BPF", "BPF_JIT"], "CONFIG_BPF_JIT=y");
        check(&["-k", "--enable", "CONFIG_Mixed"], "CONFIG_Mixed=y");
    }

    #[test]
    fn lines_of_a_config_are_options_too() {
        let check = |text: &str, expected: &str| {
            let options = KernelOption::parse(text).map_err(|error| error.to_string());
            let lines = options.map(|options| options.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "));
            assert_eq!(lines.unwrap_or_else(|error| error), expected, "{text}");
        };
        check("CONFIG_BPF=y", "CONFIG_BPF=y");
        check("USB=n", "# CONFIG_USB is not set");
        check("NR_CPUS=8", "CONFIG_NR_CPUS=8");
        check("LSM=\"landlock,bpf\"", "CONFIG_LSM=\"landlock,bpf\"");
        check("--module TLS", "CONFIG_TLS=m");
        check("BPF", "kernel option `BPF`: `BPF` sets no option");
        check("BPF=", "kernel option `BPF=`: `BPF=` sets no option");
    }

    #[test]
    fn a_wrong_entry_is_named() {
        let check = |entry: &[&str], expected: &str| assert_eq!(lines(entry), expected, "{entry:?}");
        check(&[], "kernel option ``: it sets no option");
        check(&["-k"], "kernel option `-k`: it sets no option");
        check(&["CONFIG_BPF"], "kernel option `CONFIG_BPF`: `CONFIG_BPF` sets no option");
        check(&["--state", "BPF"], "kernel option `--state BPF`: `--state` sets no option");
        check(&["--enable"], "kernel option `--enable`: `--enable` lacks its option");
        check(&["--set-val", "A"], "kernel option `--set-val A`: `--set-val` lacks its value");
        check(&["--enable", "CONFIG_A=y"], "kernel option `--enable CONFIG_A=y`: `CONFIG_A=y` is no name of an option");
        check(&["--enable", "CONFIG_"], "kernel option `--enable CONFIG_`: `CONFIG_` is no name of an option");
        check(&["--set-val", "A", "\"x\""], "kernel option `--set-val A \"x\"`: a string is set by `--set-str`");
        check(&["--set-str", "A", "x\ny"], "kernel option `--set-str A x\ny`: it holds a line break");
    }
}
