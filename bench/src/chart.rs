//! A picture of where starts spend their time: bars of parts, in SVG.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::Context as _;

use crate::starts::{PARTS, Start};

/// What a picture is painted on.
struct Ground {
    file: &'static str,
    paper: &'static str,
    ink: &'static str,
    line: &'static str,
}

const GROUNDS: [Ground; 2] = [
    Ground { file: "starts.svg", paper: "#ffffff", ink: "#1f2328", line: "#d0d7de" },
    Ground { file: "starts-dark.svg", paper: "#0d1117", ink: "#e6edf3", line: "#30363d" },
];

/// The colour of each part: those of Tableau 10, on which black can be read.
const COLOURS: [&str; PARTS.len()] =
    ["#bab0ac", "#76b7b2", "#f28e2b", "#ff8f91", "#8cb4e0", "#76c068", "#edc948", "#c9a0c6"];

const FONT: &str = "ui-sans-serif, system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif";
const WIDTH: f64 = 860.0;
/// Where bars begin, and how long one is that fills its panel.
const LEFT: f64 = 150.0;
const ROOM: f64 = 630.0;
/// From one bar to the next, and a bar's height.
const STEP: f64 = 34.0;
const BAR: f64 = 24.0;
/// The least width that a number fits in.
const NUMBER: f64 = 26.0;

/// Writes the picture for light and for dark pages to `dir`, which is made.
pub(crate) fn write(starts: &[Start], dir: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("failed to create `{}`", dir.display()))?;
    for ground in &GROUNDS {
        let file = dir.join(ground.file);
        fs::write(&file, svg(starts, ground)).with_context(|| format!("failed to write `{}`", file.display()))?;
    }
    Ok(())
}

/// A panel with a scale of its own each for what is warm and what is cold: cold starts are several times as long.
fn svg(starts: &[Start], ground: &Ground) -> String {
    let (mut body, mut y) = (String::new(), 24.0);
    for (word, title) in [("warm", "warm: the guest resumes from a snapshot"), ("cold", "cold: the guest boots")] {
        let bars: Vec<&Start> = starts.iter().filter(|start| start.what.ends_with(word)).collect();
        y = panel(&mut body, title, &bars, y, ground);
    }
    legend(&mut body, y);
    let (height, Ground { paper, ink, .. }) = (y + 28.0, ground);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" \
         aria-label=\"Where starts spend their time\" font-family=\"{FONT}\" font-size=\"13\" fill=\"{ink}\">\n\
         <rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"{paper}\"/>\n{body}</svg>\n"
    )
}

/// Draws a panel from `y` on, and gives where it ends.
fn panel(body: &mut String, title: &str, bars: &[&Start], y: f64, ground: &Ground) -> f64 {
    let longest = bars.iter().filter_map(|start| Some(start.parts?.iter().sum())).fold(0.001, f64::max);
    let scale = ROOM / longest;
    text(body, 20.0, y, "font-weight=\"bold\"", title);
    let (top, bottom) = (y + 12.0, y + 12.0 + STEP * bars.len() as f64);
    ticks(body, scale, [top, bottom], ground.line);
    for (index, start) in bars.iter().enumerate() {
        bar(body, start, scale, top + 5.0 + STEP * index as f64);
    }
    bottom + 46.0
}

/// Lines at round numbers of seconds, between `top` and `bottom`.
fn ticks(body: &mut String, scale: f64, [top, bottom]: [f64; 2], line: &str) {
    let step = if ROOM / scale > 1.0 { 0.5 } else { 0.1 };
    let mut at = 0.0;
    while at * scale <= ROOM + 0.1 {
        let x = LEFT + at * scale;
        let _ = writeln!(body, "<path d=\"M{x:.1} {top:.1}V{bottom:.1}\" stroke=\"{line}\"/>");
        text(body, x, bottom + 15.0, "font-size=\"11\" text-anchor=\"middle\"", &format!("{at:.1} s"));
        at += step;
    }
}

fn bar(body: &mut String, start: &Start, scale: f64, y: f64) {
    let (what, _) = start.what.split_once(',').unwrap_or((start.what, ""));
    text(body, 20.0, y + 17.0, "", what);
    let (mut x, Some(parts)) = (LEFT, start.parts) else { return };
    for ((part, colour), name) in parts.iter().zip(COLOURS).zip(PARTS) {
        let (width, ms) = (part.max(0.0) * scale, part * 1e3);
        let _ = writeln!(
            body,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{BAR}\" fill=\"{colour}\"><title>{name}: {ms:.0} ms</title></rect>"
        );
        if width > NUMBER {
            let style = "font-size=\"11\" text-anchor=\"middle\" fill=\"#111\"";
            text(body, x + width / 2.0, y + 16.0, style, &format!("{ms:.0}"));
        }
        x += width;
    }
    text(body, x + 8.0, y + 17.0, "font-weight=\"bold\"", &format!("{:.2} s", parts.iter().sum::<f64>()));
}

/// The parts' names, with their colours.
fn legend(body: &mut String, y: f64) {
    let mut x = 20.0;
    for (name, colour) in PARTS.iter().zip(COLOURS) {
        let _ = writeln!(
            body,
            "<rect x=\"{x}\" y=\"{}\" width=\"12\" height=\"12\" rx=\"2\" fill=\"{colour}\"/>",
            y - 11.0
        );
        text(body, x + 18.0, y, "", name);
        x += 50.0 + 7.0 * name.len() as f64;
    }
    text(body, x, y, "", "numbers: ms");
}

fn text(body: &mut String, x: f64, y: f64, style: &str, words: &str) {
    let _ = writeln!(body, "<text x=\"{x:.1}\" y=\"{y:.1}\" {style}>{words}</text>");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_as_long_as_they_took() {
        let start = |what, parts| Start::example(what, parts);
        let starts = [
            start("lvh exec, warm", [0.0, 0.05, 0.05, 0.1, 0.1, 0.05, 0.05, 0.0]),
            start("cargo test, cold", [0.2, 0.05, 0.05, 1.5, 0.5, 0.1, 0.1, 0.0]),
        ];
        let drawn = svg(&starts, &GROUNDS[1]);
        // A quarter of 0.4 s, and three fifths of 2.5 s, of the same room.
        assert!(
            drawn.contains("width=\"157.5\" height=\"24\" fill=\"#ff8f91\"><title>resume or boot: 100 ms"),
            "{drawn}"
        );
        assert!(
            drawn.contains("width=\"378.0\" height=\"24\" fill=\"#ff8f91\"><title>resume or boot: 1500 ms"),
            "{drawn}"
        );
        assert!(drawn.contains(">0.40 s</text>") && drawn.contains(">2.50 s</text>"), "{drawn}");
        assert!(drawn.contains("fill=\"#0d1117\""), "{drawn}");
        assert_eq!(drawn.matches("<text").count(), drawn.matches("</text>").count());
    }
}
