//! The colour of a frame: a hue for what its time is spent on, a shade by its name.

use inferno::flamegraph::color::Color;
use profiler_common::state::Group;

use crate::analyze::flame::{Kind, Layer};

/// The frame's colour. Red is the strongest part of a colour if and only if the time is spent on a CPU.
pub fn colour(kind: Kind, name: &str) -> Color {
    match kind {
        Kind::Owner => Color::new(222, 226, 230),
        Kind::Residual => Color::new(205, 215, 190),
        Kind::State(group) => hue(group),
        Kind::Missing(group) => lighter(hue(group)),
        Kind::Code(Group::Cpu, Layer::Kernel) => shade(Color::new(240, 105, 70), name),
        Kind::Code(group, Layer::Kernel) => shade(scaled(hue(group), 82), name),
        Kind::Code(Group::Cpu, Layer::User | Layer::Inlined) => shade(Color::new(245, 170, 75), name),
        Kind::Code(group, Layer::User | Layer::Inlined) => shade(hue(group), name),
    }
}

fn hue(group: Group) -> Color {
    let (red, green, blue) = match group {
        Group::Cpu => (235, 135, 60),
        Group::RunQueue => (200, 165, 230),
        Group::Disk => (110, 165, 235),
        Group::Lock => (182, 146, 232),
        Group::Net => (120, 195, 130),
        Group::Ipc => (95, 190, 185),
        Group::Memory => (170, 190, 95),
        Group::Idle => (185, 200, 220),
        Group::Unknown => (165, 170, 176),
    };
    Color::new(red, green, blue)
}

/// One of a few neighbouring shades, the same for the same name, so that neighbours can be distinguished.
fn shade(colour: Color, name: &str) -> Color {
    scaled(colour, 90 + crc32fast::hash(name.as_bytes()) % 14)
}

fn scaled(colour: Color, percent: u32) -> Color {
    let scale = |part: u8| (u32::from(part) * percent / 100).min(255) as u8;
    Color::new(scale(colour.r), scale(colour.g), scale(colour.b))
}

fn lighter(colour: Color) -> Color {
    let lighten = |part: u8| part + (255 - part) / 2;
    Color::new(lighten(colour.r), lighten(colour.g), lighten(colour.b))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUPS: [Group; 9] = [
        Group::Cpu,
        Group::RunQueue,
        Group::Disk,
        Group::Lock,
        Group::Net,
        Group::Ipc,
        Group::Memory,
        Group::Idle,
        Group::Unknown,
    ];

    fn is_warm(colour: Color) -> bool {
        colour.r > colour.g && colour.r > colour.b
    }

    #[test]
    fn frames_are_warm_on_the_cpu_and_nowhere_else() {
        for group in GROUPS {
            for kind in [
                Kind::State(group),
                Kind::Missing(group),
                Kind::Code(group, Layer::User),
                Kind::Code(group, Layer::Inlined),
                Kind::Code(group, Layer::Kernel),
            ] {
                for name in ["main", "memcpy", "schedule", "x"] {
                    assert_eq!(is_warm(colour(kind, name)), group == Group::Cpu, "{kind:?} {name}");
                }
            }
        }
    }

    #[test]
    fn black_text_is_readable_on_every_colour() {
        for group in GROUPS {
            for kind in [Kind::State(group), Kind::Code(group, Layer::User), Kind::Code(group, Layer::Kernel)]
            {
                for name in ["main", "memcpy", "schedule", "x"] {
                    assert!(contrast_with_black(colour(kind, name)) >= 4.5, "{kind:?} {name}");
                }
            }
        }
    }

    /// The ratio of WCAG 2, which asks for 4.5 at least.
    fn contrast_with_black(colour: Color) -> f64 {
        let linear = |part: u8| {
            let part = f64::from(part) / 255.0;
            if part <= 0.04045 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
        };
        let luminance = 0.2126 * linear(colour.r) + 0.7152 * linear(colour.g) + 0.0722 * linear(colour.b);
        (luminance + 0.05) / 0.05
    }
}
