//! The flamegraph as an interactive picture, drawn by inferno.
//!
//! Time on the CPU is warm (yellow to red), waiting is cold, with one hue for each group of states; kernel functions
//! are darker than user ones. inferno chooses a colour by a frame's name alone, but the same function may run and wait.
//! So each name is given a mark, a control character (which no name holds any more once it is escaped), that tells its
//! colour; the marks are taken out again on the way to the file.

mod colour;

use std::io::{self, BufWriter, Write};

use inferno::flamegraph::color::{BackgroundColor, Color, PaletteMap};
use inferno::flamegraph::{Options, TextTruncateDirection, from_lines};

use self::colour::colour;
use super::frame_text;
use crate::analyze::flame::{Flame, FlameFrame, Kind, Layer, View};

/// Most characters of the target's description in the title, which has one line.
const TARGET_CHARS: usize = 80;

/// What stands above the picture, besides its total.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Header {
    /// What was recorded.
    pub target: String,
    /// Share of the events that were lost.
    pub lost_ratio: f64,
    /// Share of the sampled stacks that reach their thread's first function; none without samples.
    pub stacks_complete_ratio: Option<f64>,
    /// Share of them that were not unwound by tables alone.
    pub stacks_by_frame_pointers_ratio: Option<f64>,
}

/// Draws one view. A view without any time gives a picture that says so.
pub fn render(flame: &Flame, header: &Header, out: &mut dyn Write) -> io::Result<()> {
    if flame.microseconds().next().is_none() {
        return out.write_all(NOTHING.as_bytes());
    }
    let names: Vec<String> = flame.frames.iter().map(marked_name).collect();
    let lines: Vec<String> = flame
        .microseconds()
        .map(|(path, microseconds)| {
            let path: Vec<&str> = path.iter().map(|&id| names[id as usize].as_str()).collect();
            format!("{} {microseconds}", path.join(";"))
        })
        .collect();
    let mut palette = palette(flame, &names);
    let mut options = options(flame, header, &mut palette);
    let mut out = WithoutMarks(BufWriter::new(out));
    from_lines(&mut options, lines.iter().map(String::as_str), &mut out)?;
    out.flush()
}

/// The picture of a view without any time.
const NOTHING: &str = concat!(
    r#"<?xml version="1.0" standalone="no"?>"#,
    r#"<svg version="1.1" width="1200" height="60" xmlns="http://www.w3.org/2000/svg">"#,
    r#"<text x="20" y="35" font-family="monospace" font-size="14">No time in this view.</text></svg>"#,
    "\n"
);

fn options<'a>(flame: &Flame, header: &Header, palette: &'a mut PaletteMap) -> Options<'a> {
    let mut options = Options::default();
    options.title = format!("{} of {}", title(flame.view), shortened(&frame_text::plain(&header.target)));
    options.subtitle = Some(subtitle(flame, header));
    options.count_name = String::from("µs of thread time");
    options.name_type = String::from("Frame:");
    options.palette_map = Some(palette);
    options.bgcolors = Some(BackgroundColor::Flat(Color::new(255, 255, 255)));
    options.text_truncate_direction = TextTruncateDirection::Right;
    options
}

/// Only where it is worth a word.
fn guessed(header: &Header) -> String {
    let ratio = header.stacks_by_frame_pointers_ratio.filter(|ratio| *ratio >= 0.001);
    ratio.map_or(String::new(), |ratio| format!(", {:.1} % by frame pointers", ratio * 100.0))
}

fn title(view: View) -> &'static str {
    match view {
        View::Wall => "Wall-clock time",
        View::Cpu => "Time on the CPU",
        View::OffCpu => "Time off the CPU",
    }
}

fn subtitle(flame: &Flame, header: &Header) -> String {
    let seconds = flame.total_ns() as f64 / 1e9;
    let lost = header.lost_ratio * 100.0;
    let stacks = match header.stacks_complete_ratio {
        Some(ratio) => format!("{:.1} % of stacks complete{}", ratio * 100.0, guessed(header)),
        None => "no stack sampled".to_owned(),
    };
    let colours = match flame.view {
        View::Wall => " · warm: on the CPU, cold: waiting",
        View::Cpu | View::OffCpu => "",
    };
    format!("{} view: {seconds:.3} thread-seconds · {lost:.1} % lost · {stacks}{colours}", flame.view.name())
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(TARGET_CHARS) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

/// Marks are the control characters from here on; before it are those that count as white space.
const FIRST_MARK: u8 = 0x0e;
const LAST_MARK: u8 = 0x1f;

/// The name by which inferno knows the frame. The mark stands before the suffix, which inferno takes off.
fn marked_name(frame: &FlameFrame) -> String {
    // The suffix itself is not shown.
    let inlined = if matches!(frame.kind, Kind::Code(_, Layer::Inlined)) { " [inlined]" } else { "" };
    format!("{}{inlined}{}{}", frame_text::escaped(&frame.text), mark(frame.kind), frame.suffix())
}

/// The same for frames that may have the same colour, and different for those that must not.
fn mark(kind: Kind) -> char {
    let index = match kind {
        Kind::Owner => 0,
        Kind::Residual => 1,
        Kind::State(group) | Kind::Code(group, _) | Kind::Missing(group) => 2 + group as u8,
    };
    char::from(FIRST_MARK + index)
}

fn palette(flame: &Flame, names: &[String]) -> PaletteMap {
    let mut palette = PaletteMap::default();
    // inferno's own frame at the root of all.
    palette.insert("", colour(Kind::Owner, ""));
    for (frame, name) in flame.frames.iter().zip(names) {
        palette.insert(name, colour(frame.kind, &frame.text));
    }
    palette
}

/// Passes on all bytes but the marks.
struct WithoutMarks<W>(W);

impl<W: Write> Write for WithoutMarks<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for part in bytes.split(|byte| (FIRST_MARK..=LAST_MARK).contains(byte)) {
            self.0.write_all(part)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests;
