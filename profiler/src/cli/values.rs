//! Values of options: durations, bytes, shares.

use std::time::Duration;

use profiler_common::sample::{MOST_STACK_BYTES, PAGE_BYTES};

/// Bytes of stack, plain or in KiB, rounded up to whole pages.
pub fn stack_bytes(text: &str) -> Result<u32, String> {
    let number = bytes(text).ok_or("not a number of bytes; try: 16384, 16k or 64k")?;
    let bytes = u32::try_from(number).ok().filter(|bytes| (1..=MOST_STACK_BYTES).contains(bytes));
    let bytes = bytes.ok_or_else(|| format!("must be between 1 and {MOST_STACK_BYTES} (64k)"))?;
    Ok(bytes.next_multiple_of(PAGE_BYTES as u32))
}

/// Bytes of memory in the kernel.
pub fn kernel_bytes(text: &str) -> Result<u64, String> {
    let number = bytes(text).ok_or("not a number of bytes; try: 16m or 64m")?;
    let allowed = (2 << 20..=1 << 30).contains(&number);
    allowed.then_some(number).ok_or_else(|| "must be from 2m to 1g".to_owned())
}

/// A number of bytes: plain, or in KiB, MiB or GiB.
fn bytes(text: &str) -> Option<u64> {
    let units = [('k', 10), ('m', 20), ('g', 30)];
    let unit = units.into_iter().find(|(letter, _)| text.ends_with([*letter, letter.to_ascii_uppercase()]));
    let (number, shift) = unit.map_or((text, 0), |(_, shift)| (&text[..text.len() - 1], shift));
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// A percentage, with its sign or without, as a share.
pub fn share(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').unwrap_or(text).trim_end();
    let percent: f64 = number.parse().map_err(|_| "not a percentage; try: 1%, 0.5% or 100%".to_owned())?;
    if percent > 0.0 && percent <= 100.0 {
        Ok(percent / 100.0)
    } else {
        Err("must be more than 0 % and at most 100 %".to_owned())
    }
}

/// A moment of a recording: as a duration, or its start.
pub fn moment(text: &str) -> Result<Duration, String> {
    if text.trim_end_matches(['s', 'm', 'h']) == "0" { Ok(Duration::ZERO) } else { duration(text) }
}

/// A number with a unit: ms, s (the default), m or h.
pub fn duration(text: &str) -> Result<Duration, String> {
    /// A timer of a year is beyond doubt, and far from overflow.
    const MOST_SECONDS: f64 = 366.0 * 86_400.0;
    let number_end =
        text.find(|character: char| !character.is_ascii_digit() && character != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(number_end);
    let seconds_a_unit = match unit {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(format!("`{unit}` is not a unit of time; try: 10, 10s, 500ms, 2m or 1h")),
    };
    let seconds =
        number.parse::<f64>().map_err(|_| "not a number with a unit; try: 10, 10s, 2m".to_owned())?;
    let seconds = seconds * seconds_a_unit;
    if seconds <= 0.0 || seconds > MOST_SECONDS {
        return Err("must be more than zero and at most a year".to_owned());
    }
    Ok(Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected_ms: Option<u128>) {
        assert_eq!(duration(text).ok().map(|duration| duration.as_millis()), expected_ms, "{text}");
    }

    #[test]
    fn durations_have_units() {
        check("10", Some(10_000));
        check("10s", Some(10_000));
        check("2m", Some(120_000));
        check("1h", Some(3_600_000));
        check("500ms", Some(500));
        check("1.5", Some(1500));
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in ["", "0", "-1", "x", "10 s", "5d", "1e9", "99999h", "1.2.3"] {
            check(text, None);
        }
    }

    #[track_caller]
    fn check_stack_bytes(text: &str, expected: Option<u32>) {
        assert_eq!(stack_bytes(text).ok(), expected, "{text}");
    }

    #[test]
    fn stack_bytes_are_whole_pages_up_to_the_most() {
        check_stack_bytes("16k", Some(16_384));
        check_stack_bytes("64K", Some(65_536));
        check_stack_bytes("65536", Some(65_536));
        check_stack_bytes("5000", Some(8192));
        check_stack_bytes("1", Some(4096));
        for text in ["0", "65537", "65k", "", "k", "-1", "16m", "99999999k", "99999999999g"] {
            check_stack_bytes(text, None);
        }
    }

    #[test]
    fn memory_in_the_kernel_has_its_bounds() {
        assert_eq!(
            ["2m", "64M", "1g", "4194304"].map(kernel_bytes),
            [2 << 20, 64 << 20, 1 << 30, 4 << 20].map(Ok)
        );
        for text in ["", "1m", "2g", "x", "-1", "64"] {
            assert!(kernel_bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn shares_are_percentages() {
        assert_eq!([share("1%"), share("0.5"), share("100 %")], [Ok(0.01), Ok(0.005), Ok(1.0)]);
        for text in ["0", "-1%", "101%", "x", "", "%", "NaN", "inf"] {
            assert!(share(text).is_err(), "{text}");
        }
    }
}
