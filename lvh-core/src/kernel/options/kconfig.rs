//! The symbols of a kernel tree, as its Kconfig files define them: only read to say why an option was not honoured.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::expression::{Expression, Truth};
use crate::kernel::KernelConfig;
use crate::nearest::edit_distance;

/// The most files that are followed: Linux has 1 700.
const MOST_FILES: usize = 10_000;

/// All symbols of a tree.
#[derive(Debug, Default)]
pub(in crate::kernel) struct Kconfig {
    symbols: HashMap<String, Vec<Definition>>,
}

/// One place that defines a symbol.
#[derive(Debug, Default, Clone)]
struct Definition {
    /// Everything that must hold around and in it.
    depends: Vec<Expression>,
    /// Users can set it, where its prompt's own condition holds.
    prompt: Option<Option<Expression>>,
}

impl Kconfig {
    /// Reads the files of the tree at `root` for the architecture whose folder in `arch` is `srcarch`. A file that
    /// cannot be read is left out: this is for explanations.
    pub(in crate::kernel) fn load(root: &Path, srcarch: &str) -> Self {
        let mut reader = Reader { root, srcarch, files: 0, kconfig: Self::default(), around: Vec::new() };
        reader.file(Path::new("Kconfig"));
        reader.kconfig
    }

    /// Whether any file defines `symbol`.
    pub(super) fn knows(&self, symbol: &str) -> bool {
        self.symbols.contains_key(symbol)
    }

    /// Whether users can set `symbol` at all: without a prompt, only other options do.
    pub(super) fn has_prompt(&self, symbol: &str) -> bool {
        self.symbols.get(symbol).is_some_and(|places| places.iter().any(|place| place.prompt.is_some()))
    }

    /// What must change in `config` so that `symbol` can be `wanted`; empty where nothing is in its way.
    pub(super) fn lacks(&self, symbol: &str, config: &KernelConfig, wanted: Truth) -> Vec<String> {
        let places = self.symbols.get(symbol).into_iter().flatten();
        let settable = places.clone().filter(|place| place.prompt.is_some());
        let all = settable.clone().chain(places.filter(|_| settable.clone().next().is_none()));
        let lacks = all.map(|place| {
            let conditions = place.depends.iter().chain(place.prompt.iter().flatten());
            let mut lacks: Vec<String> = Vec::new();
            for lack in conditions.flat_map(|condition| condition.lacks(config, wanted)) {
                if !lacks.contains(&lack) {
                    lacks.push(lack);
                }
            }
            lacks
        });
        lacks.min_by_key(Vec::len).unwrap_or_default()
    }

    /// The symbol that was perhaps meant by `unknown`.
    pub(super) fn nearest(&self, unknown: &str) -> Option<&str> {
        // Such as X86_X32, which became X86_X32_ABI.
        let longer = self.symbols.keys().filter(|name| name.starts_with(&format!("{unknown}_")));
        let longer = longer.min_by_key(|name| (name.len(), *name));
        let slip = 2.min(unknown.len() / 4);
        let similar = self.symbols.keys().filter(|name| name.len().abs_diff(unknown.len()) <= slip);
        let misspelt =
            similar.map(|name| (edit_distance(unknown, name), name)).filter(|(distance, _)| *distance <= slip);
        longer.or_else(|| misspelt.min().map(|(_, name)| name)).map(String::as_str)
    }
}

/// What the line that was read last belongs to.
enum Block {
    Symbol(String),
    /// A `menu` or `choice`: its conditions are those of what stands in it.
    Around,
    Other,
}

struct Reader<'r> {
    root: &'r Path,
    srcarch: &'r str,
    files: usize,
    kconfig: Kconfig,
    /// The conditions of each `if`, `menu` and `choice` that is open.
    around: Vec<Vec<Expression>>,
}

impl Reader<'_> {
    fn file(&mut self, path: &Path) {
        self.files += 1;
        let Ok(bytes) = fs::read(self.root.join(path)) else { return };
        if self.files > MOST_FILES {
            return;
        }
        let text = String::from_utf8_lossy(&bytes).replace("\\\n", " ");
        let (mut block, mut help) = (Block::Other, None::<usize>);
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let indent = line.len() - line.trim_start().len();
            // A help text goes on until a line is less indented than its first.
            match help {
                Some(0) if indent > 0 => {
                    help = Some(indent);
                    continue;
                }
                Some(first) if first > 0 && indent >= first => continue,
                _ => help = None,
            }
            if matches!(line.trim(), "help" | "---help---") {
                help = Some(0);
                continue;
            }
            self.line(line.trim(), &mut block);
        }
    }

    fn line(&mut self, line: &str, block: &mut Block) {
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let rest = rest.trim();
        match word {
            "config" | "menuconfig" => {
                let depends = self.around.concat();
                let places = self.kconfig.symbols.entry(rest.to_owned()).or_default();
                places.push(Definition { depends, prompt: None });
                *block = Block::Symbol(rest.to_owned());
            }
            "menu" | "choice" => {
                self.around.push(Vec::new());
                *block = Block::Around;
            }
            "if" => {
                self.around.push(Expression::parse(rest).into_iter().collect());
                *block = Block::Other;
            }
            "endif" | "endmenu" | "endchoice" => {
                self.around.pop();
                *block = Block::Other;
            }
            "comment" | "mainmenu" => *block = Block::Other,
            "source" => {
                let path = rest.trim_matches('"').replace("$(SRCARCH)", self.srcarch).replace("$SRCARCH", self.srcarch);
                let path = path.replace("$(srctree)/", "");
                self.file(&PathBuf::from(path));
                *block = Block::Other;
            }
            _ => self.attribute(word, rest, block),
        }
    }

    fn attribute(&mut self, word: &str, rest: &str, block: &Block) {
        let depends = || rest.strip_prefix("on").and_then(Expression::parse);
        match (word, block) {
            ("depends", Block::Symbol(symbol)) => {
                let condition = depends();
                if let Some(place) = self.place(symbol) {
                    place.depends.extend(condition);
                }
            }
            ("depends", Block::Around) => {
                let condition = depends();
                if let Some(conditions) = self.around.last_mut() {
                    conditions.extend(condition);
                }
            }
            ("bool" | "tristate" | "int" | "hex" | "string" | "prompt", Block::Symbol(symbol)) if !rest.is_empty() => {
                let condition = prompt_condition(rest);
                if let Some(place) = self.place(symbol) {
                    place.prompt = Some(condition);
                }
            }
            _ => {}
        }
    }

    fn place(&mut self, symbol: &str) -> Option<&mut Definition> {
        self.kconfig.symbols.get_mut(symbol)?.last_mut()
    }
}

/// The condition after `if` behind the quoted text of a prompt.
fn prompt_condition(rest: &str) -> Option<Expression> {
    let quote = rest.chars().next()?;
    let end = rest[1..].find(quote)? + 2;
    Expression::parse(rest.get(end..)?.trim().strip_prefix("if ")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In the shape of the kernel's own files, each with what made reading hard.
    const TOP: &str = r#"
mainmenu "Linux/$(ARCH) $(KERNELVERSION) Kernel Configuration"
source "scripts/Kconfig.include"
source "arch/$(SRCARCH)/Kconfig"

menuconfig NET
	bool "Networking support"
	help
	  Say Y, if you want
	  config NOT_A_SYMBOL

	  here.

if NET
menu "Queueing"
	depends on INET && \
		!QUIET
config NET_CLS_BPF
	tristate "BPF classifier" if EXPERT
	depends on NET_CLS
	select NET_CLS_X
config NET_CLS_X
	bool
endmenu
endif

config AFTER
	int "Number"
	range 1 9
choice
	prompt "Compression"
	depends on HAVE_COMPRESSION
config GZIP
	bool "gzip"
endchoice
config TWICE
	bool "Twice"
	depends on NEVER && EVER
config TWICE
	bool "Twice"
	depends on INET
"#;

    fn tree(dir: &Path) -> Kconfig {
        fs::create_dir_all(dir.join("arch/x86")).unwrap();
        fs::write(dir.join("Kconfig"), TOP).unwrap();
        fs::write(
            dir.join("arch/x86/Kconfig"),
            "config X86_32\n\tbool \"32\"\nconfig X86_X32_ABI\n\tbool \"x32\"\nconfig ISO9660_FS\n\tbool \"x\"\n",
        )
        .unwrap();
        Kconfig::load(dir, "x86")
    }

    #[test]
    fn what_an_option_lacks() {
        let dir = tempfile::tempdir().unwrap();
        let kconfig = tree(dir.path());
        let check = |symbol: &str, config: &str, expected: &[&str]| {
            let config = KernelConfig::parse(config);
            assert_eq!(kconfig.lacks(symbol, &config, Truth::Yes), expected, "{symbol}");
        };
        check("NET_CLS_BPF", "CONFIG_NET=y\nCONFIG_QUIET=y\n", &["INET", "QUIET off", "NET_CLS", "EXPERT"]);
        check(
            "NET_CLS_BPF",
            "CONFIG_NET=y\nCONFIG_INET=y\nCONFIG_NET_CLS=m\nCONFIG_EXPERT=y\n",
            &["NET_CLS=y (it is m)"],
        );
        check("NET", "", &[]);
        check("AFTER", "", &[]);
        check("GZIP", "", &["HAVE_COMPRESSION"]);
        check("TWICE", "", &["INET"]);
    }

    #[test]
    fn prompts_and_names() {
        let dir = tempfile::tempdir().unwrap();
        let kconfig = tree(dir.path());
        assert!(kconfig.has_prompt("NET_CLS_BPF") && !kconfig.has_prompt("NET_CLS_X"));
        assert!(kconfig.knows("AFTER") && !kconfig.knows("NOT_A_SYMBOL"));
        for (unknown, nearest) in [("ISO9669_FS", Some("ISO9660_FS")), ("X86_X32", Some("X86_X32_ABI")), ("FOO", None)]
        {
            assert_eq!(kconfig.nearest(unknown), nearest, "{unknown}");
        }
    }
}
