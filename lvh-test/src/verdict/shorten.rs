//! What of a kernel's words fits a screen; the rest is in a file.

/// How many lines stay at the beginning, where the kernel says what happened, and at the end.
const FIRST: usize = 50;
const LAST: usize = 15;

/// Registers and code, which say something to few; and where the instruction pointer was, once.
const REGISTERS: &[&str] = &[
    "RSP: ",
    "RAX: ",
    "RDX: ",
    "RBP: ",
    "R10: ",
    "R13: ",
    "FS:  ",
    "CS:  ",
    "CR2: ",
    "DR0: ",
    "DR3: ",
    "PKRU: ",
    "Code: ",
    "Hardware name: ",
    "Modules linked in: ",
];

/// `lines` without registers, and without what is in the middle of very many. `repeated` ones and `more` of them are not there.
/// Where something is left out it says so, and names the `file` that has it.
pub(super) fn shorten(lines: Vec<String>, repeated: usize, more: usize, file: Option<&str>) -> Vec<String> {
    shorten_around(lines, &[], repeated, more, file)
}

/// As [`shorten`]; lines that say one of `causes` stay, wherever they are.
pub(super) fn shorten_around(
    mut lines: Vec<String>,
    causes: &[&str],
    repeated: usize,
    more: usize,
    file: Option<&str>,
) -> Vec<String> {
    let all = lines.len();
    let mut seen: Vec<String> = Vec::new();
    lines.retain(|line| {
        let text = without_time(line);
        let pointer = text.starts_with("RIP: ");
        let again = pointer && seen.iter().any(|known| known == text);
        seen.extend((pointer && !again).then(|| text.to_owned()));
        !again && !REGISTERS.iter().any(|register| text.starts_with(register))
    });
    let registers = all - lines.len();
    let place = file.map(|file| format!(": {file}")).unwrap_or_default();
    if lines.len() > FIRST + LAST {
        let middle = lines.len() - FIRST - LAST;
        let is_cause = |line: &String| causes.contains(&without_time(line).trim_end());
        let kept: Vec<String> = lines[FIRST..FIRST + middle].iter().filter(|line| is_cause(line)).cloned().collect();
        let note = format!("[lvh: {} lines left out{place}]", middle - kept.len());
        lines.splice(FIRST..FIRST + middle, [note].into_iter().chain(kept));
    }
    let kinds = ["lines of registers and the like", "lines that tell it again", "more lines"];
    for (count, what) in [registers, repeated, more].into_iter().zip(kinds) {
        if count > 0 {
            let what =
                if count == 1 { what.replacen("lines", "line", 1).replace("tell", "tells") } else { what.to_owned() };
            lines.push(format!("[lvh: {count} {what} left out{place}]"));
        }
    }
    lines
}

/// What the kernel says behind its time.
fn without_time(line: &str) -> &str {
    line.strip_prefix('[').and_then(|line| line.split_once("] ")).map_or(line, |(_, text)| text)
}

#[cfg(test)]
mod tests {
    use super::{shorten, shorten_around};

    #[track_caller]
    fn check(lines: &[&str], more: usize, expected: &[&str]) {
        let lines = lines.iter().map(|&line| line.to_owned()).collect();
        assert_eq!(shorten(lines, 0, more, Some("/k.log")), expected);
    }

    #[test]
    fn an_oops_keeps_what_people_read() {
        check(
            &["[+0.1] BUG: x", "[+0.1] RIP: 0010:f+0x1", "[+0.2] RAX: 0", "[+0.2]  f+0x1", "[+0.2] RIP: 0010:f+0x1"],
            0,
            &[
                "[+0.1] BUG: x",
                "[+0.1] RIP: 0010:f+0x1",
                "[+0.2]  f+0x1",
                "[lvh: 2 lines of registers and the like left out: /k.log]",
            ],
        );
    }

    #[test]
    fn a_flood_is_cut_in_the_middle() {
        let lines: Vec<String> = (0..100).map(|number| format!("line {number}")).collect();
        let short = shorten(lines, 3, 7, None);
        assert_eq!(short[..2], ["line 0", "line 1"]);
        assert_eq!(short[50..52], ["[lvh: 35 lines left out]", "line 85"]);
        let notes = ["line 99", "[lvh: 3 lines that tell it again left out]", "[lvh: 7 more lines left out]"];
        assert_eq!(short[65..], notes);
    }

    #[test]
    fn what_it_is_about_stays_in_the_middle_of_a_flood() {
        let mut lines: Vec<String> = (0..100).map(|number| format!("[+0.1] line {number}")).collect();
        lines[60] = "[+0.2] watchdog: BUG".to_owned();
        let short = shorten_around(lines, &["watchdog: BUG", "line 3"], 0, 0, None);
        let middle = ["[+0.1] line 49", "[lvh: 34 lines left out]", "[+0.2] watchdog: BUG", "[+0.1] line 85"];
        assert_eq!(short[49..53], middle);
    }

    #[test]
    fn what_fits_is_left_alone() {
        check(&["a", "[1] b"], 0, &["a", "[1] b"]);
        check(&[], 0, &[]);
    }
}
