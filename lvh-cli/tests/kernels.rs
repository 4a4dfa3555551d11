//! `lvh kernels`, in scripts: each command, what it prints and its exit code, all as the lvh that was written in Go had it.

#[expect(dead_code, reason = "scripts call `lvh` through a shell")]
mod project;
mod script;

#[track_caller]
fn check(name: &str) {
    script::check(&format!("kernels/{name}"));
}

#[test]
fn command_line() {
    check("command-line.txt");
}

#[test]
fn init() {
    check("init.txt");
}

#[test]
fn add() {
    check("add.txt");
}

#[test]
fn files() {
    check("files.txt");
}

#[test]
fn remove() {
    check("remove.txt");
}

#[test]
fn work() {
    check("work.txt");
}

#[test]
fn the_long_list_tells_what_kernels_cost_and_gc_makes_room() {
    let project = project::Project::new("data-dir = 'D'");
    let path = |name: &str| project.dir().join("D").join(name);
    let entry = format!("store/deb-kernel/{}", "ab".repeat(32));
    for (file, text) in [
        ("kernels.json", r#"{"kernels": [{"name": "6.6", "url": "git://h/l.git"}]}"#),
        ("kernels/6.6/Makefile", "all:"),
        ("kernels/.lvh/6.6/built", "0123456789abcdef\n1 2.3"),
        (&format!("{entry}/identity"), "linux-image-6.1 6.1-1 sha256:ab"),
        (&format!("{entry}/release"), "6.1-amd64"),
        ("images/mine.qcow2", "of people's"),
        ("store/state/images/ab/images/base.raw", "disk"),
        ("store/state/images/ab/images/.base.raw.made", "{}"),
        (&format!("store/state/oci/blobs/sha256/{}", "cd".repeat(32)), "left by a killed pull"),
    ] {
        std::fs::create_dir_all(path(file).parent().unwrap()).unwrap();
        std::fs::write(path(file), text).unwrap();
    }
    let lvh = |args: &[&str]| {
        let output = project.lvh(args, &[]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(lvh(&["kernels", "list", "--dir", "D"]), "6.6           git://h/l.git\n");
    let long = lvh(&["kernels", "--dir", "D", "list", "--long"]);
    let words: Vec<Vec<&str>> = long.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(words[0], ["NAME", "SIZE", "AGE", "DIGEST", "FROM"]);
    assert_eq!((words[1][0], words[1][4], words[1][5]), ("6.6", "0123456789ab", "git://h/l.git"), "{long}");
    assert_eq!((words[2][0], words[2][4], words[2][5]), ("6.1-amd64", "abababababab", "linux-image-6.1"), "{long}");

    let first = lvh(&["gc"]);
    assert!(
        first.contains("freed 21 B in 0 entries, 21 B of them left by killed processes; 1 entries stay"),
        "{first}"
    );
    let all = ["gc", "--older-than", "0d"];
    let told = lvh(&[all.as_slice(), &["--dry-run"]].concat());
    assert!(
        told.contains("linux-image-6.1 6.1-1") && told.contains("\nwould free ") && path(&entry).exists(),
        "{told}"
    );
    assert!(told.lines().any(|line| line.starts_with("image ") && line.ends_with("  base.raw")), "{told}");
    assert!(lvh(&all).contains("in 2 entries; 0 entries stay, 0 B"));
    assert!(!path(&entry).exists() && path("kernels/6.6/Makefile").exists());
    assert!(!path("store/state/images/ab/images/base.raw").exists() && path("images/mine.qcow2").exists());
}
