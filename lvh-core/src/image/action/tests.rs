use std::fs;

use super::{Op, permissions, renamed_in_hosts, to_append};

#[test]
fn permissions_are_decimal_unless_a_zero_leads() {
    let check = |text: &str, expected: Option<u32>| assert_eq!(permissions::parse(text).ok(), expected, "{text}");
    check("0755", Some(0o755));
    check("00755", Some(0o755));
    check("04755", Some(0o4755));
    check("755", Some(755));
    check("493", Some(0o755));
    check("0", Some(0));
    check("4095", Some(0o7777));
    for wrong in ["", "u+x", "0789", "4096", "010000", "-1", "+7", "0o755", " 755", "99999999999"] {
        check(wrong, None);
    }
}

#[test]
fn a_line_is_appended_with_the_files_line_breaks() {
    let check = |content: &str, expected: &str| {
        let whole = [content.as_bytes(), &to_append(content.as_bytes(), "new")].concat();
        assert_eq!(String::from_utf8(whole).unwrap(), expected, "{content:?}");
    };
    check("", "new\n");
    check("a\n", "a\nnew\n");
    check("a", "a\nnew\n");
    check("a\n\n", "a\n\nnew\n");
    check("a\r\nb\r\n", "a\r\nb\r\nnew\r\n");
    check("a\r\nb", "a\r\nb\r\nnew\r\n");
    check("a\rb\r", "a\rb\rnew\r");
    check("\n", "\nnew\n");
    check("é", "é\nnew\n");
}

#[test]
fn the_host_name_changes_in_hosts_as_a_word() {
    let check = |hosts: &str, old: &str, expected: &str| {
        assert_eq!(renamed_in_hosts(hosts, old, "new"), expected, "{hosts:?} {old}");
    };
    check("127.0.1.1\told\n", "old", "127.0.1.1\tnew\n");
    check("127.0.1.1 old.test old # old\n", "old", "127.0.1.1 old.test new # new\n");
    check("127.0.0.1 older bold old-1\n", "old", "127.0.0.1 older bold old-1\n");
    check("127.0.1.1 unassigned-hostname\n", "old", "127.0.1.1 new\n");
    check("127.0.0.1 localhost\n", "", "127.0.0.1 localhost\n");
    check("", "old", "");
    check("old", "old", "new");
}

#[test]
fn what_cannot_be_done_is_refused_first() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("k/boot")).unwrap();
    fs::create_dir_all(dir.path().join("k/lib/modules/1")).unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    let here = dir.path().display().to_string();
    let check = |op: Op, expected: &str| {
        let said = op.check(dir.path()).map_or_else(|error| error.report().replace(&here, "D"), |()| String::new());
        assert!(if expected.is_empty() { said.is_empty() } else { said.starts_with(expected) }, "{op:?}: {said}");
    };
    let text = |text: &str| text.to_owned();
    check(Op::RunCommand { command: text("exit 1") }, "");
    check(Op::Chmod { permissions: text("u+x"), file: text("/f") }, "`u+x` is no permissions");
    check(Op::AppendLine { file: text("/f"), line: text("a\nb") }, "the line has a line break");
    check(Op::SetHostname { hostname: text("") }, "`` is no host name");
    check(Op::SetHostname { hostname: text("a b") }, "`a b` is no host name");
    check(Op::CopyIn { local_path: text("k"), remote_dir: text("/") }, "");
    check(Op::CopyIn { local_path: text("no"), remote_dir: text("/") }, "failed to find `D/no`: No such file");
    check(Op::Upload { file: text("file"), dest: text("/") }, "");
    check(Op::Upload { file: text("k"), dest: text("/") }, "`D/k` is no file");
    check(Op::TarIn { tar_file: text("k"), remote_dir: text("/") }, "`D/k` is no file");
    let install = || Op::InstallKernel { kernel_install_dir: text("k") };
    check(install(), "no kernel found in `D/k/boot`");
    fs::write(dir.path().join("k/boot/vmlinuz-1"), "").unwrap();
    check(install(), "");
    fs::write(dir.path().join("k/boot/vmlinuz-2"), "").unwrap();
    check(install(), "several kernels found in `D/k/boot`: vmlinuz-1, vmlinuz-2");
}
