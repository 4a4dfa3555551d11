use super::*;
use crate::Result;
use crate::property;

/// With every action, as the Go tool writes it.
const BY_GO: &str = r#"[
    {
        "name": "base.qcow2",
        "image_size": "10G",
        "bootable": false,
        "packages": [],
        "actions": [
            {
                "comment": "no \u003cpassword\u003e",
                "op": {
                    "Cmd": "passwd -d root \u0026\u0026 :"
                },
                "type": "run-command"
            },
            {
                "comment": "",
                "op": {
                    "LocalPath": "bootstrap",
                    "RemoteDir": "/"
                },
                "type": "copy-in"
            },
            {
                "comment": "",
                "op": {
                    "Hostname": "base"
                },
                "type": "set-hostname"
            },
            {
                "comment": "",
                "op": {
                    "Dir": "/a/b"
                },
                "type": "mkdir"
            },
            {
                "comment": "",
                "op": {
                    "File": "env.sh",
                    "Dest": "/etc/profile.d/path.sh"
                },
                "type": "upload"
            },
            {
                "comment": "",
                "op": {
                    "Permissions": "0755",
                    "File": "/etc/profile.d/path.sh"
                },
                "type": "chmod"
            },
            {
                "comment": "",
                "op": {
                    "File": "/etc/sysctl.conf",
                    "Line": "kernel.panic = 1"
                },
                "type": "append-line"
            },
            {
                "comment": "",
                "op": {
                    "Target": "/bin/true",
                    "Link": "/a/x:/a/y"
                },
                "type": "link"
            },
            {
                "comment": "",
                "op": {
                    "KernelInstallDir": "kernels/6.6/tar-install"
                },
                "type": "install-kernel"
            },
            {
                "comment": "",
                "op": {
                    "TarFile": "files.tar",
                    "RemoteDir": "/opt"
                },
                "type": "tar-in"
            }
        ]
    },
    {
        "name": "child",
        "parent": "base.qcow2",
        "packages": [
            "less"
        ]
    }
]"#;

fn parse(text: &str) -> Result<Vec<ImageEntry>> {
    ImagesFile::parse("D/images.json".into(), text).map(|file| file.images().to_vec())
}

#[test]
fn what_go_wrote_is_written_the_same() {
    assert_eq!(file::text_of(&parse(BY_GO).unwrap()), BY_GO);
    assert_eq!(file::text_of(&parse(&example()).unwrap()), example());
}

#[test]
fn files_are_read_as_go_reads_them() {
    let check = |text: &str, expected: &str| {
        let images = parse(text).unwrap_or_else(|error| panic!("{text}: {}", error.report()));
        assert_eq!(images.iter().map(shown).collect::<Vec<_>>().join("; "), expected, "{text}");
    };
    fn shown(image: &ImageEntry) -> String {
        let ImageEntry { name, parent, image_size, bootable, packages, actions, variant } = image;
        let actions: Vec<String> = actions.iter().map(|action| format!("{}={:?}", action.comment, action.op)).collect();
        format!("{name}<{parent} {image_size} {bootable:?} {packages:?} {actions:?} {variant}")
    }
    check("[]", "");
    check("null", "");
    check("[null, {}]", "<  None [] [] ; <  None [] [] ");
    check(r#"[{"NAME": "a", "packages": null, "Bootable": null, "actions": null}]"#, "a<  None [] [] ");
    check(r#"[{"name": "a", "name": "b", "Name": "c", "x": 1}]"#, "c<  None [] [] ");
    check(r#"[{"name": "a", "bootable": true, "variant": "minbase"}]"#, "a<  Some(true) [] [] minbase");
    check(
        r#"[{"name": "a", "parent": "p", "image_size": "8G", "packages": ["x", null]}]"#,
        r#"a<p 8G None ["x", ""] [] "#,
    );
    let action =
        r#"[{"actions": [{"Comment": "c", "Op": {"cmd": "x", "CMD": "y", "File": "z"}, "TYPE": "run-command"}]}]"#;
    check(action, r#"<  None [] ["c=RunCommand { command: \"y\" }"] "#);
    check(r#"[{"actions": [{"op": null, "type": "mkdir"}]}]"#, r#"<  None [] ["=Mkdir { dir: \"\" }"] "#);
}

#[test]
fn mistakes_name_their_place() {
    let check = |text: &str, expected: &str| assert_eq!(parse(text).unwrap_err().report(), expected, "{text}");
    check("", "D/images.json:1:1: expected a value, found the end of the file");
    check("[\n  {]\n", "D/images.json:2:4: expected a name in double quotes, found `]`");
    check("{}", "D/images.json: the file is an object (expected an array)");
    check(r#"["a"]"#, "D/images.json: `images[0]` is a string (expected an object)");
    check(r#"[{"name": 1}]"#, "D/images.json: `images[0].name` is a number (expected a string)");
    check(r#"[{"bootable": "yes"}]"#, "D/images.json: `images[0].bootable` is a string (expected a boolean)");
    check(r#"[{"packages": "a,b"}]"#, "D/images.json: `images[0].packages` is a string (expected an array)");
    let action = |action: &str| format!(r#"[{{"actions": [{action}]}}]"#);
    check(&action(r#"{"type": "mkdir"}"#), "D/images.json: `images[0].actions[0]` has no `op`");
    check(
        &action(r#"{"type": "nope", "op": {}}"#),
        "D/images.json: `images[0].actions[0].type`: unknown op type 'nope' (known: run-command, copy-in, set-hostname, \
         mkdir, upload, chmod, append-line, link, install-kernel, tar-in)",
    );
    check(
        &action(r#"{"type": "mkdir", "op": {"Dir": 1}}"#),
        "D/images.json: `images[0].actions[0].op.Dir` is a number (expected a string)",
    );
}

/// A member of one byte takes the room of four, twice over while an entry is made of it.
const MEMORY: (usize, usize) = (64 << 10, 256);

#[test]
fn foreign_files_are_safe() {
    property::check_reader(10_000, &[BY_GO.as_bytes(), example().as_bytes()], MEMORY, |bytes| {
        if let Ok(images) = parse(&String::from_utf8_lossy(bytes)) {
            assert_eq!(parse(&file::text_of(&images)).unwrap(), images);
        }
    });
}
