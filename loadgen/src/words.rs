//! Numbers, durations and sizes as people read them.

/// Wall time as RFC 3339, UTC, whole seconds.
pub fn timestamp(ms: u64) -> String {
    let seconds = ms / 1_000;
    let (year, month, day) = civil(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Year, month and day of a day since 1970 (Howard Hinnant's `civil_from_days`).
const fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (era * 400 + year_of_era + if month <= 2 { 1 } else { 0 }, month, day)
}

/// A whole number with separators: 1,234,567.
pub fn count(count: u64) -> String {
    let digits = count.to_string();
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A number in at most three or four figures: 0.0312, 4.57, 83.1, 12,345.
pub fn number(value: f64) -> String {
    match value.abs() {
        size if !size.is_finite() => value.to_string(),
        0.0 => "0".to_owned(),
        size if size >= 100.0 => format!("{}{}", if value < 0.0 { "−" } else { "" }, count(size.round() as u64)),
        size => {
            let places = (2 - size.log10().floor() as i32).clamp(0, 9) as usize;
            trim(&format!("{value:.places$}")).replace('-', "−")
        }
    }
}

/// Microseconds in the unit that suits them.
pub fn us(us: f64) -> String {
    match us.abs() {
        size if size < 1e3 => format!("{} µs", number(us)),
        size if size < 1e6 => format!("{} ms", number(us / 1e3)),
        size if size < 60e6 => format!("{} s", number(us / 1e6)),
        _ => seconds(us / 1e6),
    }
}

/// Seconds as a length of time: 4.2 s, 3 min 20 s, 2 h 5 min.
pub fn seconds(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        0..60 => format!("{} s", number(seconds)),
        60..3_600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3_600, whole / 60 % 60),
    }
}

/// Bytes in the binary unit that suits them.
pub fn bytes(bytes: f64) -> String {
    let mut value = bytes;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value.abs() < 1_024.0 {
            return format!("{} {unit}", number(value));
        }
        value /= 1_024.0;
    }
    format!("{} TiB", number(value))
}

/// A number for an axis or a live line: 950, 1.5k, 20k, 3M.
pub fn short(value: f64) -> String {
    let (scaled, suffix) = match value.abs() {
        size if size >= 1e9 => (value / 1e9, "G"),
        size if size >= 1e6 => (value / 1e6, "M"),
        size if size >= 1e3 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let places = if scaled.abs() >= 100.0 { 0 } else { 2 };
    format!("{}{suffix}", trim(&format!("{scaled:.places$}")))
}

/// A share (0 to 1) in percent.
pub fn percent(share: f64) -> String {
    format!("{} %", trim(&format!("{:.1}", share * 100.0)))
}

/// Without zeros behind the point.
fn trim(number: &str) -> &str {
    if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { number }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_utc() {
        assert_eq!(timestamp(0), "1970-01-01T00:00:00Z");
        assert_eq!(timestamp(951_782_400_000), "2000-02-29T00:00:00Z");
        assert_eq!(timestamp(1_767_225_599_999), "2025-12-31T23:59:59Z");
    }

    #[test]
    fn numbers_are_short_and_keep_three_figures() {
        let numbers = [0.0, 0.031_24, 4.567, 83.14, 950.4, 1_234_567.0, -4.5].map(number);
        assert_eq!(numbers, ["0", "0.0312", "4.57", "83.1", "950", "1,234,567", "−4.5"]);
        assert_eq!([0, 999, 1_000, 12_345_678].map(count), ["0", "999", "1,000", "12,345,678"]);
        assert_eq!([0.5, 950.0, 1_500.0, 20_000.0, 3e6].map(short), ["0.5", "950", "1.5k", "20k", "3M"]);
    }

    #[test]
    fn units_suit_the_size() {
        let times = [312.0, 1_234.0, 2_100_000.0, 200_000_000.0].map(us);
        assert_eq!(times, ["312 µs", "1.23 ms", "2.1 s", "3 min 20 s"]);
        assert_eq!(seconds(7_500.0), "2 h 5 min");
        assert_eq!([12.0, 4_000.0, 1.5e9].map(bytes), ["12 B", "3.91 KiB", "1.4 GiB"]);
        assert_eq!([0.0, 0.123, 1.0].map(percent), ["0 %", "12.3 %", "100 %"]);
    }
}
