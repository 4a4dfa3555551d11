use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::sync::Mutex;

use tempfile::TempDir;

use super::{KernelEntry, KernelsFile, Previous};
use crate::kernel::options::group_entries;
use crate::{Event, Events, Result, property};

fn parse(text: &str) -> Result<KernelsFile> {
    KernelsFile::parse("D/kernels.json".into(), text)
}

fn read(text: &str) -> KernelsFile {
    parse(text).unwrap_or_else(|error| panic!("{text}: {}", error.report()))
}

/// A kernel on one line.
fn shown(kernel: &KernelEntry) -> String {
    let options: Vec<String> = kernel.options.iter().map(|option| option.join(" ")).collect();
    format!("{}|{}|{}|{}", kernel.name, kernel.url, options.join(","), kernel.extra_make_args.join(","))
}

/// As people write it: tabs, spaces anywhere, kernels without URL.
const BY_HAND: &str = r#"{
    "kernels": [
	{
            "name": "bpf-next",
            "url": "git://git.test/bpf-next.git?depth=1",
            "opts": [
                 [ "--enable",  "CONFIG_NETKIT"],
                 [ "--module",  "TLS" ]
            ]
	},
        { "name": "rhel8", "opts": [ [ "--disable", "CONFIG_MODULE_SIG" ] ], "extra_make_args": ["LLVM=1"] }
    ],
    "common_opts": [ ["--enable", "CONFIG_BPF"] ]
}
"#;

/// As the Go tool writes it.
const BY_GO: &str = r#"{
    "kernels": [
        {
            "name": "a\u003cb\u003e",
            "url": "git://git.test/linux.git?depth=1\u0026x=2#l",
            "opts": [
                [
                    "--enable",
                    "CONFIG_X"
                ],
                [],
                null
            ],
            "extra_make_args": [
                "é\u2028\t\u0001\\\""
            ]
        },
        {
            "name": "5.18",
            "url": ""
        }
    ],
    "common_opts": [
        [
            "--disable",
            "CONFIG_WERROR"
        ]
    ]
}"#;

#[test]
fn files_are_read_as_go_reads_them() {
    let check = |text: &str, kernels: &[&str], common: &[&str]| {
        let file = read(text);
        assert_eq!(file.kernels().iter().map(shown).collect::<Vec<_>>(), kernels, "{text}");
        assert_eq!(file.common_options().iter().map(|option| option.join(" ")).collect::<Vec<_>>(), common, "{text}");
    };
    let bpf_next = "bpf-next|git://git.test/bpf-next.git?depth=1|--enable CONFIG_NETKIT,--module TLS|";
    check(BY_HAND, &[bpf_next, "rhel8||--disable CONFIG_MODULE_SIG|LLVM=1"], &["--enable CONFIG_BPF"]);
    check("{}", &[], &[]);
    check("null", &[], &[]);
    check(r#"{"kernels": null, "common_opts": null, "other": [1, {"x": null}]}"#, &[], &[]);
    check(r#"{"Kernels": [{"NAME": "a", "Url": "u"}], "COMMON_OPTS": [["x"]]}"#, &["a|u||"], &["x"]);
    check("{\"\u{212a}ernel\u{17f}\": [{\"name\": \"a\"}]}", &["a|||"], &[]);
    check(r#"{"kernels": [{"name": "a", "NAME": "b", "nAme": "c"}]}"#, &["c|||"], &[]);
    check(r#"{"kernels": [{"name": "a"}], "kernels": [{"name": "b"}]}"#, &["b|||"], &[]);
    check(r#"{"kernels": [{"name": null, "url": null, "opts": null}, null]}"#, &["|||", "|||"], &[]);
    check(r#"{"kernels": [{"name": "a", "opts": [null, ["--enable", null]]}]}"#, &["a||,--enable |"], &[]);
    check(r#"{"kernels": [{"name": "\u00e4", "url": "a\u0026b"}]}"#, &["ä|a&b||"], &[]);
}

#[test]
fn mistakes_name_their_place() {
    let check = |text: &str, expected: &str| assert_eq!(parse(text).unwrap_err().report(), expected, "{text}");
    check("", "D/kernels.json:1:1: expected a value, found the end of the file");
    check("{\n  \"kernels\": [,]\n}", "D/kernels.json:2:15: expected a value, found `,`");
    check("{}\n{}", "D/kernels.json:2:1: expected the end of the file, found `{`");
    check("\u{feff}{}", "D/kernels.json:1:1: expected a value, found a byte order mark");
    check("[]", "D/kernels.json: the file is an array (expected an object)");
    check(r#"{"kernels": {}}"#, "D/kernels.json: `kernels` is an object (expected an array)");
    check(r#"{"kernels": ["6.6"]}"#, "D/kernels.json: `kernels[0]` is a string (expected an object)");
    check(r#"{"kernels": [{}, {"name": 6.6}]}"#, "D/kernels.json: `kernels[1].name` is a number (expected a string)");
    check(
        r#"{"kernels": [{"opts": ["--enable CONFIG_X"]}]}"#,
        "D/kernels.json: `kernels[0].opts[0]` is a string (expected an array)",
    );
    check(
        r#"{"common_opts": [["--enable", true]]}"#,
        "D/kernels.json: `common_opts[0][1]` is a boolean (expected a string)",
    );
}

#[test]
fn what_go_wrote_is_written_the_same() {
    assert_eq!(read(BY_GO).document.indented(), BY_GO);
    let empty = "{\n    \"kernels\": []\n}";
    assert_eq!(read(empty).document.indented(), empty);
}

#[test]
fn changes_keep_what_is_not_known() {
    let check = |text: &str, change: &dyn Fn(&mut KernelsFile) -> Result<()>, expected: &str| {
        let mut file = read(text);
        change(&mut file).unwrap();
        assert_eq!(file.document.to_string(), expected);
        let again = read(&file.document.indented());
        assert_eq!(again.decoded, file.decoded, "{text}");
    };
    let add = |file: &mut KernelsFile| file.add(KernelEntry::new("n", "git://h/r#b&c", &[])?);
    let remove = |file: &mut KernelsFile| file.remove("a").map(drop);
    let added = r#"{"name":"n","url":"git://h/r#b\u0026c"}"#;
    check("{}", &add, &format!(r#"{{"kernels":[{added}]}}"#));
    check("null", &add, &format!(r#"{{"kernels":[{added}]}}"#));
    check(r#"{"x": 1.50, "kernels": null}"#, &add, &format!(r#"{{"kernels":[{added}],"x":1.50}}"#));
    check(
        r#"{"//": "mine", "KERNELS": [{"NAME": "a", "tag": {"z": 1, "a": [2e3]}, "opts": []}], "x": 1, "x": 2}"#,
        &add,
        &format!(
            r#"{{"//":"mine","kernels":[{{"name":"a","tag":{{"z":1,"a":[2e3]}},"opts":[]}},{added}],"x":1,"x":2}}"#
        ),
    );
    check(
        r#"{"kernels": [null, {"name": "b"}, {"name": "a"}, {"name": "a", "url": "second"}, {"name": "c", "x": 1}]}"#,
        &remove,
        r#"{"kernels":[null,{"name":"b"},{"name":"a","url":"second"},{"name":"c","x":1}]}"#,
    );
}

/// What is built: the options of all kernels, then the kernel's own.
#[test]
fn a_kernel_is_built_with_all_options() {
    let file = read(BY_HAND);
    let check = |name: &str, options: &str, make_args: &[&str]| {
        let spec = file.build_spec(file.kernel(name).unwrap(), crate::Arch::Aarch64).unwrap();
        let found: Vec<String> = spec.options.iter().map(ToString::to_string).collect();
        assert_eq!(
            (found.join("; "), spec.make_args),
            (options.to_owned(), make_args.iter().map(ToString::to_string).collect())
        );
        assert_eq!(spec.arch, crate::Arch::Aarch64);
    };
    check("bpf-next", "CONFIG_BPF=y; CONFIG_NETKIT=y; CONFIG_TLS=m", &[]);
    check("rhel8", "CONFIG_BPF=y; # CONFIG_MODULE_SIG is not set", &["LLVM=1"]);
    let wrong = read(r#"{"kernels": [{"name": "a"}], "common_opts": [[], ["--enable"]]}"#);
    let error = wrong.build_spec(wrong.kernel("a").unwrap(), crate::Arch::HOST).unwrap_err().report();
    assert!(error.starts_with("an option in `D/kernels.json` is wrong: kernel option `--enable`: "), "{error}");
}

/// What `remove` gives back is the kernel that it took out, not the one behind it.
#[test]
fn removing_gives_the_removed_kernel() {
    let mut file = read(r#"{"kernels": [{"name": "a", "url": "u1"}, {"name": "b", "url": "u2"}]}"#);
    assert_eq!(shown(&file.remove("a").unwrap()), "a|u1||");
    assert_eq!(file.kernels().iter().map(shown).collect::<Vec<_>>(), ["b|u2||"]);
    let error = file.remove("a").unwrap_err();
    assert_eq!(error.report(), "kernel `a` not found in `D/kernels.json` (known: b)");
    let twice = file.add(KernelEntry::new("b", "git://h/r", &[]).unwrap()).unwrap_err();
    assert_eq!(twice.report(), "kernel `b` already exists in `D/kernels.json`");
}

#[test]
fn an_entry_has_a_url_a_name_and_groups() {
    let check = |name: &str, url: &str, groups: &[&str], expected: &str| {
        let groups: Vec<String> = groups.iter().map(ToString::to_string).collect();
        let found = KernelEntry::new(name, url, &groups).map_or_else(|error| error.to_string(), |entry| shown(&entry));
        assert_eq!(found, expected, "{name} {url}");
    };
    check("a", "git://h/r", &[], "a|git://h/r||");
    check("a", "https://h/r?depth=1#b", &[], "a|https://h/r?depth=1#b||");
    check("a", "ssh://git@h/r", &[], "a|ssh://git@h/r||");
    check("a", "file:///srv/linux.git?x=1#b", &[], "a|file:///srv/linux.git?x=1#b||");
    check("a", "/srv/linux?depth=1#b", &[], "a|/srv/linux?depth=1#b||");
    let here = std::env::current_dir().unwrap().display().to_string();
    check("a", "../linux?depth=1#b", &[], &format!("a|{here}/../linux?depth=1#b||"));
    check("a", "", &[], "Unsupported URL: ''");
    check("a", "ftp://h/r", &[], "Unsupported URL: 'ftp://h/r'");
    check("a", "http://h/l.tar.xz", &[], "`http://h/l.tar.xz` is an archive, and no git repository");
    check("a", "https://h/r?depth=x#b", &[], "invalid depth value: x");
    check("a", "git://h/r?depth=1&depth=2", &[], "invalid depth value: 1, 2");
    check("", "git://h/r", &[], "the kernel name `` cannot be the name of a directory");
    for name in ["..", ".", "/", "a/b", "a/", "./a", "../a"] {
        check(name, "git://h/r", &[], &format!("the kernel name `{name}` cannot be the name of a directory"));
    }
    check("-x", "git://h/r", &[], "the kernel name `-x` looks like an option");
    for name in ["my kernel", "6.1~rc1", "ü", ".hidden", "a..b", "6.1."] {
        let allowed = "may hold letters, digits, `.`, `_`, `-` and `+` only, starts with one of the first two, \
                       and has neither `..` nor `.` or `.lock` at its end";
        check(name, "git://h/r", &[], &format!("the kernel name `{name}` {allowed}"));
    }
    check("git", "git://h/r", &[], "the kernel name `git` is not allowed: kernels share the repository of that name");
    let basic = "--enable CONFIG_LOCALVERSION_AUTO,--enable CONFIG_DEBUG_INFO,\
                 --enable CONFIG_DEBUG_INFO_DWARF_TOOLCHAIN_DEFAULT,--disable CONFIG_WERROR";
    check("a", "git://h/r", &["basic"], &format!("a|git://h/r|{basic}|"));
    assert!(KernelEntry::new("a", "git://h/r", &["bsc".to_owned()]).is_err());
}

fn add(dir: &Path, name: &str, previous: Previous) -> Result<()> {
    KernelsFile::edit(dir, previous, &Events::silent(), |file| file.add(KernelEntry::new(name, "git://h/r", &[])?))
}

/// The names in a directory, sorted.
fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_directory_is_made_once() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("a/b");
    let create = |options: &[Vec<String>], force, previous| {
        KernelsFile::create(&dir, options, force, previous, &Events::silent())
    };
    create(&group_entries("basic").unwrap(), false, Previous::Replaced).unwrap();
    assert_eq!(KernelsFile::load(&dir).unwrap().common_options().len(), 4);
    let refused = create(&[], false, Previous::Replaced).unwrap_err().to_string();
    assert_eq!(refused, format!("config file `{}/kernels.json` already exists", dir.display()));
    create(&[], true, Previous::Replaced).unwrap();
    assert_eq!(fs::read_to_string(dir.join("kernels.json")).unwrap(), "{\n    \"kernels\": []\n}");
    assert_eq!(names(&dir), ["kernels.json"]);
}

#[test]
fn a_missing_file_says_how_to_make_one() {
    let scratch = TempDir::new().unwrap();
    let dir = scratch.path().display().to_string();
    let expected = format!("`{dir}/kernels.json` does not exist\n\nhint: `lvh kernels init --dir {dir}` makes one");
    assert_eq!(KernelsFile::load(scratch.path()).unwrap_err().report(), expected);
    assert_eq!(add(scratch.path(), "a", Previous::Replaced).unwrap_err().report(), expected);
    assert!(KernelsFile::find(scratch.path()).unwrap().is_none());
}

#[test]
fn old_files_keep_their_bytes_under_a_name_with_the_date() {
    let scratch = TempDir::new().unwrap();
    let (dir, path) = (scratch.path(), scratch.path().join("kernels.json"));
    fs::write(&path, BY_HAND).unwrap();
    let notes = std::sync::Arc::new(Mutex::new(Vec::new()));
    let noted = notes.clone();
    let events = Events::new(move |event| {
        if let Event::Note(line) = event {
            noted.lock().unwrap().push(line);
        }
    });
    for name in ["x", "y"] {
        KernelsFile::edit(dir, Previous::Renamed, &events, |file| file.add(KernelEntry::new(name, "git://h/r", &[])?))
            .unwrap();
    }
    let names = names(dir);
    assert_eq!(names.len(), 3, "{names:?}");
    let date = |name: &str| name.strip_prefix("kernels.json.").unwrap().replace(|c: char| c.is_ascii_digit(), "0");
    assert_eq!(
        (date(&names[1]), date(&names[2])),
        ("00000000.000000000000".to_owned(), "00000000.000000000000".to_owned())
    );
    assert_eq!(fs::read_to_string(dir.join(&names[1])).unwrap(), BY_HAND);
    assert_eq!(KernelsFile::load(dir).unwrap().kernels().len(), 4);
    let notes = notes.lock().unwrap();
    assert_eq!(notes[0], format!("renamed {} to {}", path.display(), dir.join(&names[1]).display()));
}

#[test]
fn links_and_modes_stay() {
    let scratch = TempDir::new().unwrap();
    let (dir, real) = (scratch.path(), scratch.path().join("real/mine.json"));
    fs::create_dir(dir.join("real")).unwrap();
    fs::write(&real, "{}").unwrap();
    fs::set_permissions(&real, fs::Permissions::from_mode(0o600)).unwrap();
    symlink("real/mine.json", dir.join("kernels.json")).unwrap();
    add(dir, "a", Previous::Replaced).unwrap();
    assert!(dir.join("kernels.json").is_symlink());
    assert_eq!(fs::metadata(&real).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(KernelsFile::load(dir).unwrap().kernels().len(), 1);
    assert_eq!(names(&dir.join("real")), ["mine.json"]);
}

/// Without the lock, some would write what they had read before the others wrote.
#[test]
fn changes_at_the_same_time_are_all_kept() {
    let scratch = TempDir::new().unwrap();
    fs::write(scratch.path().join("kernels.json"), "{}").unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let dir = scratch.path();
            scope.spawn(move || {
                (0..5).for_each(|count| add(dir, &format!("{thread}-{count}"), Previous::Replaced).unwrap());
            });
        }
    });
    assert_eq!(KernelsFile::load(scratch.path()).unwrap().kernels().len(), 40);
}

#[test]
fn a_refused_change_leaves_the_file() {
    let scratch = TempDir::new().unwrap();
    let path = scratch.path().join("kernels.json");
    fs::write(&path, BY_HAND).unwrap();
    add(scratch.path(), "rhel8", Previous::Renamed).unwrap_err();
    assert_eq!(fs::read_to_string(&path).unwrap(), BY_HAND);
    assert_eq!(names(scratch.path()), ["kernels.json"]);
}

/// A member of one byte takes the room of four, twice over while an entry is made of it.
const MEMORY: (usize, usize) = (64 << 10, 256);

#[test]
fn foreign_files_are_safe() {
    property::check_reader(20_000, &[BY_HAND.as_bytes(), BY_GO.as_bytes()], MEMORY, |bytes| {
        if let Ok(file) = parse(&String::from_utf8_lossy(bytes)) {
            assert_eq!(read(&file.document.indented()).decoded, file.decoded);
        }
    });
}
