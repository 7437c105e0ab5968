//! Numbers for people: sensible precision, and always a unit.

/// A number of things, in groups of three digits: `1 204`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(' ');
        }
        grouped.push(digit);
    }
    grouped
}

/// `1 204 waits`, `1 wait`: adds an s but for one.
pub fn plural(number: u64, thing: &str) -> String {
    format!("{} {thing}{}", count(number), if number == 1 { "" } else { "s" })
}

/// The unit of a column of times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    Seconds,
    Milliseconds,
}

impl Scale {
    /// The unit for parts of `total_ns`.
    pub fn for_total(total_ns: u64) -> Self {
        if total_ns < 1_000_000_000 { Self::Milliseconds } else { Self::Seconds }
    }

    /// With two decimals: `12.41 s`. What would be shown as nothing takes the unit that suits it.
    pub fn show(self, ns: u64) -> String {
        let (size, unit) = match self {
            Self::Seconds => (1e9, "s"),
            Self::Milliseconds => (1e6, "ms"),
        };
        match ns as f64 / size {
            _ if ns == 0 => format!("0 {unit}"),
            number if number < 0.005 => duration(ns as f64),
            number => format!("{number:.2} {unit}"),
        }
    }
}

/// A time in the unit that suits it, with two or three digits: `2.6 ms`, `210 µs`.
pub fn duration(ns: f64) -> String {
    let units = [(1e9, "s"), (1e6, "ms"), (1e3, "µs")];
    // What would be rounded to 1000 of a unit is one of the next.
    let (size, unit) = units.into_iter().find(|(size, _)| ns >= 0.9995 * size).unwrap_or((1.0, "ns"));
    let number = ns / size;
    match number {
        _ if unit == "ns" => format!("{number:.0} ns"),
        number if number < 9.95 => format!("{number:.1} {unit}"),
        number => format!("{number:.0} {unit}"),
    }
}

/// A time of a recording.
pub fn seconds(ns: u64) -> String {
    duration(ns as f64)
}

/// The length of a recording: as [`duration`], but from a second on with one decimal, `10.0 s`.
pub fn length(ns: u64) -> String {
    if ns < 1_000_000_000 { duration(ns as f64) } else { format!("{:.1} s", ns as f64 / 1e9) }
}

/// A ratio with one decimal: `15.5 %`; `<0.1 %` where that would be nothing.
pub fn percent(ratio: f64) -> String {
    if ratio > 0.0 && ratio < 0.0005 {
        return "<0.1 %".to_owned();
    }
    format!("{:.1} %", 100.0 * ratio)
}

/// A ratio that is expected to be small, with two decimals: `0.02 %`.
pub fn small_percent(ratio: f64) -> String {
    format!("{:.2} %", 100.0 * ratio)
}

/// Memory: `31 MiB`.
pub fn bytes(bytes: u64) -> String {
    match bytes as f64 / 1024.0 {
        kib if kib < 1023.5 => format!("{kib:.0} KiB"),
        kib if kib < 1023.5 * 1024.0 => format!("{:.0} MiB", kib / 1024.0),
        kib => format!("{:.1} GiB", kib / 1024.0 / 1024.0),
    }
}

/// A bar of up to `width` blocks, in eighths of one.
pub fn bar(ratio: f64, width: usize) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = (ratio.clamp(0.0, 1.0) * width as f64 * 8.0).round() as usize;
    format!("{}{}", "█".repeat(eighths / 8), EIGHTHS[eighths % 8])
}

/// Nanoseconds since 1970 as `2026-11-22 06:40:00 UTC`.
pub fn utc(unix_ns: u64) -> String {
    let seconds = unix_ns / 1_000_000_000;
    let (year, month, day) = civil_date(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

/// Year, month and day of a day counted from 1970-01-01, in the proleptic Gregorian calendar: the algorithm
/// `civil_from_days` of <https://howardhinnant.github.io/date_algorithms.html>, for days after 1970. Its years begin in
/// March, so that the leap day comes last.
fn civil_date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468; // from 0000-03-01
    let (era, day_of_era) = (days / 146_097, days % 146_097); // an era has 400 years
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(shown: &str, expected: &str) {
        assert_eq!(shown, expected);
    }

    #[test]
    fn digits_stand_in_groups() {
        check(&count(0), "0");
        check(&count(999), "999");
        check(&count(1_234_567), "1 234 567");
        check(&plural(1, "wait"), "1 wait");
        check(&plural(1_204, "wait"), "1 204 waits");
    }

    #[test]
    fn a_duration_takes_the_unit_that_suits_it() {
        check(&duration(0.0), "0 ns");
        check(&duration(210.0), "210 ns");
        check(&duration(999.4), "999 ns");
        check(&duration(999.9), "1.0 µs");
        check(&duration(2_583_000.0), "2.6 ms");
        check(&duration(9_960_000.0), "10 ms");
        check(&duration(61e9), "61 s");
    }

    #[test]
    fn a_recording_of_seconds_has_a_decimal() {
        check(&length(10_040_000_000), "10.0 s");
        check(&length(250_000_000), "250 ms");
    }

    #[test]
    fn a_column_has_one_unit() {
        check(&Scale::for_total(25_000_000_000).show(12_414_000_000), "12.41 s");
        check(&Scale::for_total(999_999_999).show(2_500_000), "2.50 ms");
    }

    #[test]
    fn little_is_not_shown_as_nothing() {
        check(&Scale::Seconds.show(2_600_000), "2.6 ms");
        check(&Scale::Seconds.show(0), "0 s");
        check(&percent(0.0004), "<0.1 %");
        check(&percent(0.0), "0.0 %");
    }

    #[test]
    fn memory_is_in_binary_units() {
        check(&bytes(31 << 20), "31 MiB");
        check(&bytes(1536), "2 KiB");
        check(&bytes(3 << 30), "3.0 GiB");
    }

    #[test]
    fn bars_have_eighths() {
        check(&bar(0.5, 4), "██");
        check(&bar(0.03, 20), "▋");
        check(&bar(0.0, 20), "");
        check(&bar(7.0, 2), "██");
    }

    #[test]
    fn dates_are_those_of_date_u() {
        // date -u -d @N '+%F %T'
        check(&utc(0), "1970-01-01 00:00:00 UTC");
        check(&utc(951_827_696_000_000_000), "2000-02-29 12:34:56 UTC");
        check(&utc(1_795_329_600_000_000_000), "2026-11-22 06:40:00 UTC");
        check(&utc(4_107_542_399_000_000_000), "2100-02-28 23:59:59 UTC");
        check(&utc(u64::MAX), "2554-07-21 23:34:33 UTC");
    }
}
