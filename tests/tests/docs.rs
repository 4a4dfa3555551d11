//! The README and the guide: links lead somewhere, configurations are read, commands exist.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use lvh_core::Config;
use lvh_tests::lvh;

fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The README and all pages of the guide.
fn pages() -> Vec<(PathBuf, String)> {
    let guide = fs::read_dir(workspace().join("docs/src")).unwrap().map(|page| page.unwrap().path());
    let others = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"].map(|page| workspace().join(page));
    let is_page = |file: &PathBuf| file.extension().is_some_and(|extension| extension == "md");
    guide.filter(is_page).chain(others).map(|page| (page.clone(), fs::read_to_string(page).unwrap())).collect()
}

/// The text without what stands in code blocks and in code.
fn prose(text: &str) -> String {
    let mut in_block = false;
    let lines = text.lines().filter(|line| {
        let fence = line.trim_start().starts_with("```");
        in_block ^= fence;
        !in_block && !fence
    });
    lines.map(|line| line.split('`').step_by(2).collect::<Vec<_>>().join("code") + "\n").collect()
}

/// What GitHub and mdBook make of a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase().chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c)).collect::<String>();
    kept.trim().replace(' ', "-")
}

fn anchors(text: &str) -> HashSet<String> {
    text.lines().filter(|line| line.starts_with('#')).map(|line| anchor(line.trim_start_matches('#'))).collect()
}

/// The targets of `[text](target)`.
fn links(text: &str) -> Vec<String> {
    prose(text).split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0.to_owned())).collect()
}

#[test]
fn links_lead_somewhere() {
    let mut seen = 0;
    for (page, text) in pages() {
        for link in links(&text).iter().filter(|link| !link.starts_with("http")) {
            let (file, part) = link.split_once('#').map_or((link.as_str(), None), |(file, part)| (file, Some(part)));
            let target = if file.is_empty() { page.clone() } else { page.parent().unwrap().join(file) };
            assert!(target.exists(), "{}: `{link}` leads nowhere", page.display());
            if let Some(part) = part {
                let known = anchors(&fs::read_to_string(&target).unwrap());
                assert!(known.contains(part), "{}: `{link}`: {known:?}", page.display());
            }
            seen += 1;
        }
    }
    assert!(seen > 40, "{seen} links");
}

/// All files of the workspace that are written by hand, as paths from its root.
fn files() -> Vec<String> {
    let hidden = |name: &str| name.starts_with('.') || name == "target";
    let (mut found, mut left) = (Vec::new(), vec![workspace().to_owned()]);
    while let Some(dir) = left.pop() {
        for entry in fs::read_dir(dir).unwrap().flatten().filter(|entry| !hidden(&entry.file_name().to_string_lossy()))
        {
            let path = entry.path();
            let name = path.strip_prefix(workspace()).unwrap().display().to_string();
            if entry.file_type().unwrap().is_dir() {
                found.push(format!("/{name}/"));
                left.push(path);
            } else {
                found.push(format!("/{name}"));
            }
        }
    }
    found
}

#[test]
fn the_files_that_the_architecture_names_are_there() {
    let (files, text) = (files(), fs::read_to_string(workspace().join("ARCHITECTURE.md")).unwrap());
    let code = text.lines().flat_map(|line| line.split('`').skip(1).step_by(2));
    let names = code.map(|code| code.split("::").next().unwrap());
    let is_path = |name: &&str| name.chars().all(|c| c.is_ascii_alphanumeric() || "/_.-".contains(c));
    let names: Vec<_> = names
        .filter(is_path)
        .filter(|name| name.ends_with(".rs") || name.ends_with('/') && !name.starts_with('/'))
        .collect();
    for name in &names {
        let end = format!("/{name}");
        assert!(files.iter().any(|file| file.ends_with(&end)), "ARCHITECTURE.md: there is no `{name}`");
    }
    assert!(names.len() > 100, "{names:?}");
}

#[test]
fn every_page_is_in_the_summary() {
    let summary = fs::read_to_string(workspace().join("docs/src/SUMMARY.md")).unwrap();
    let listed: HashSet<String> = links(&summary).into_iter().collect();
    for page in fs::read_dir(workspace().join("docs/src")).unwrap() {
        let name = page.unwrap().file_name().into_string().unwrap();
        assert!(name == "SUMMARY.md" || !name.ends_with(".md") || listed.contains(&name), "{name}");
    }
}

/// The blocks of a language.
fn blocks<'t>(text: &'t str, language: &str) -> Vec<&'t str> {
    let fence = format!("```{language}\n");
    text.split(&fence).skip(1).filter_map(|rest| Some(rest.split_once("\n```")?.0)).collect()
}

#[test]
fn configurations_are_read() {
    let mut seen = 0;
    for (page, text) in pages() {
        for block in blocks(&text, "toml") {
            Config::parse(&page, block).unwrap_or_else(|error| panic!("{}", error.report()));
            seen += 1;
        }
    }
    assert!(seen >= 2, "{seen} blocks");
}

/// Each `lvh COMMAND` of a console block, with its options, is known to the command line.
#[test]
fn commands_exist() {
    let mut seen = HashSet::new();
    for (page, text) in pages() {
        for line in blocks(&text, "console").iter().flat_map(|block| block.lines()) {
            let Some(call) = line.strip_prefix("$ lvh ") else { continue };
            let call = call.split(" -- ").next().unwrap().split('#').next().unwrap();
            let mut words = call.split_whitespace();
            let command = words.next().unwrap();
            let has_commands = ["cache", "ci", "kernels"].contains(&command);
            let sub_command = words.clone().find(|word| has_commands && !word.starts_with('-'));
            let help = lvh().arg(command).args(sub_command).arg("--help").output().unwrap();
            assert!(help.status.success(), "{}: {line}", page.display());
            let help = String::from_utf8(help.stdout).unwrap();
            for option in words.filter(|word| word.starts_with('-')) {
                assert!(help.contains(option), "{}: {line}: no `{option}` in\n{help}", page.display());
            }
            seen.insert(command.to_owned());
        }
    }
    assert!(seen.len() >= 5, "{seen:?}");
}

#[test]
fn the_readme_shows_the_output_that_was_kept() {
    let readme = fs::read_to_string(workspace().join("README.md")).unwrap();
    let kept = fs::read_to_string(workspace().join("docs/picture/failure.txt")).unwrap();
    assert_eq!(blocks(&readme, "text"), [kept.trim_end()]);
    let test = fs::read_to_string(workspace().join("docs/picture/maps/tests/cgroups.rs")).unwrap();
    let body = test.split_once("#[lvh::test").unwrap().1;
    assert!(readme.contains(body.trim_end()), "the README's test is not the one that ran");
    assert!(readme.lines().count() <= 150);
}

/// Where mdBook is installed, as in CI.
#[test]
#[expect(clippy::print_stderr, reason = "a test that skips itself says so")]
fn the_book_is_built() {
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("book");
    let built = Command::new("mdbook").arg("build").arg(workspace().join("docs")).arg("-d").arg(&out).status();
    match built {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && std::env::var_os("CI").is_none() => {
            eprintln!("skipped: mdbook is not installed (cargo install mdbook)");
        }
        built => {
            assert!(built.expect("mdbook runs").success());
            assert!(out.join("first-test.html").is_file());
        }
    }
}
