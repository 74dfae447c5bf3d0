//! A plan as text, JSON and HTML.

pub mod json;
pub mod page;
pub mod text;

/// Four significant digits, grouped below a million, with k, M, G … above.
pub fn number(value: f64) -> String {
    let size = value.abs();
    if size == 0.0 {
        return "0".to_owned();
    }
    let units = [(1e15, " P"), (1e12, " T"), (1e9, " G"), (1e6, " M")];
    if let Some((unit, name)) = units.iter().find(|(unit, _)| size >= *unit * 0.999_95) {
        return format!("{}{name}", digits(value / unit));
    }
    digits(value)
}

fn digits(value: f64) -> String {
    let places = (3 - value.abs().log10().floor() as i32).clamp(0, 9) as usize;
    let text = format!("{value:.places$}");
    let (whole, rest) = text.split_once('.').map_or((text.as_str(), ""), |(w, r)| (w, r.trim_end_matches('0')));
    let (sign, figures) = whole.strip_prefix('-').map_or(("", whole), |figures| ("−", figures));
    let mut grouped = String::new();
    for (at, digit) in figures.chars().enumerate() {
        if at > 0 && (figures.len() - at) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if rest.is_empty() { format!("{sign}{grouped}") } else { format!("{sign}{grouped}.{rest}") }
}

/// A constant of a formula, with all its digits.
pub fn constant(value: f64) -> String {
    if value == 1_073_741_824.0 {
        return "2^30".to_owned();
    }
    if value >= 1e6 { number(value) } else { group(value) }
}

/// All digits of a number below a million.
fn group(value: f64) -> String {
    let text = value.to_string();
    let (whole, rest) = text.split_once('.').map_or((text.as_str(), String::new()), |(w, r)| (w, format!(".{r}")));
    let grouped = match whole.len() {
        4..=6 => format!("{},{}", &whole[..whole.len() - 3], &whole[whole.len() - 3..]),
        _ => whole.to_owned(),
    };
    grouped + &rest
}

/// A value with its unit.
pub fn with_unit(value: f64, unit: &str) -> String {
    let text = number(value);
    match unit {
        "" => text,
        // "1.157 M/s", but "12 cores".
        unit if unit.starts_with('/') => format!("{text}{unit}"),
        unit => format!("{text} {unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        for (value, text) in [
            (0.0, "0"),
            (2.2, "2.2"),
            (0.15, "0.15"),
            (24.38, "24.38"),
            (86_400.0, "86,400"),
            (999_999.0, "1 M"),
            (1_157_407.4, "1.157 M"),
            (1e11, "100 G"),
            (1.826_25e14, "182.6 T"),
            (123_456.7, "123,457"),
            (-1_234.0, "−1,234"),
        ] {
            assert_eq!(number(value), text);
        }
        assert_eq!(
            (with_unit(3.0, "/s"), with_unit(3.0, "cores"), with_unit(3.0, "")),
            ("3/s".into(), "3 cores".into(), "3".into())
        );
    }
}
