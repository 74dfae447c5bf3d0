//! Prometheus' text format, as far as samples go: names, labels, values.

/// One sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The metric, with a histogram's `_bucket`, `_sum`, `_count`.
    pub name: String,
    /// Label and value, unescaped.
    pub labels: Vec<(String, String)>,
    /// Its value.
    pub value: f64,
}

impl Sample {
    /// A label's value.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|label| label.0 == name).map(|label| label.1.as_str())
    }
}

/// The samples whose name begins with `prefix`; comments and lines that are no samples are passed over.
pub fn samples<'a>(text: &'a str, prefix: &'a str) -> impl Iterator<Item = Sample> + 'a {
    text.lines().filter(move |line| line.starts_with(prefix)).filter_map(sample)
}

fn sample(line: &str) -> Option<Sample> {
    let end = line.find(['{', ' ', '\t'])?;
    let (name, rest) = line.split_at(end);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (Vec::new(), rest),
    };
    // Rust's numbers know Prometheus' +Inf, -Inf and NaN.
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some(Sample { name: name.to_owned(), labels, value })
}

/// Labels up to their closing brace, and what follows it.
fn labels(mut rest: &str) -> Option<(Vec<(String, String)>, &str)> {
    let mut labels = Vec::new();
    loop {
        rest = rest.trim_start_matches([',', ' ']);
        if let Some(rest) = rest.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (name, after) = rest.split_once('=')?;
        let (value, after) = quoted(after.trim_start().strip_prefix('"')?)?;
        labels.push((name.trim().to_owned(), value));
        rest = after;
    }
}

/// Text up to its closing quote, unescaped, and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(match chars.next()?.1 {
                'n' => '\n',
                other => other,
            }),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_read_with_their_labels() {
        let text = "# TYPE a histogram\na_bucket{le=\"+Inf\",stage=\"x\\\"y\\\\z,}\"} 3 1700000000\na_sum 1.5e-3\nb 2\na_count{} 7\nacross{\n";
        let read: Vec<Sample> = samples(text, "a").collect();
        let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let expected = [
            ("a_bucket", vec![label("le", "+Inf"), label("stage", "x\"y\\z,}")], 3.0),
            ("a_sum", vec![], 0.0015),
            ("a_count", vec![], 7.0),
        ];
        assert_eq!(read, expected.map(|(name, labels, value)| Sample { name: name.to_owned(), labels, value }));
        assert_eq!(read[0].label("stage"), Some("x\"y\\z,}"));
        assert_eq!("+Inf".parse::<f64>().ok(), Some(f64::INFINITY));
    }
}
