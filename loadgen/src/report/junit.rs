//! A report as JUnit XML: a test case for the audit, for each threshold and for the verdict.

use core::fmt::Write as _;

use super::{Judged, Report, Verdict};
use crate::words;

/// The whole document.
pub fn text(report: &Report) -> String {
    let mut cases = vec![case("audit", report.audit.failure().map(|reason| Bad { tag: "failure", reason }))];
    cases.extend(report.thresholds.iter().map(|threshold| case(&threshold.key, of_threshold(threshold))));
    cases.push(case("verdict", of_verdict(report)));
    let count = |tag: &str| cases.iter().filter(|case| case.tag == Some(tag)).count();
    let (name, time) = (escape(&format!("loadgen {}", report.name)), format!("{:.3}", report.took_s));
    let counts = format!(
        "tests=\"{}\" failures=\"{}\" errors=\"{}\" time=\"{time}\"",
        cases.len(),
        count("failure"),
        count("error")
    );
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"loadgen\" {counts}>\n  <testsuite name=\"{name}\" {counts} timestamp=\"{}\">\n",
        words::timestamp(report.started_ms)
    );
    for case in &cases {
        let _ = writeln!(text, "    <testcase classname=\"{name}\" name=\"{}\" time=\"0\"{}", case.name, case.end);
    }
    text.push_str("  </testsuite>\n</testsuites>\n");
    text
}

struct Bad {
    tag: &'static str,
    reason: String,
}

struct Case {
    name: String,
    tag: Option<&'static str>,
    end: String,
}

fn case(name: &str, bad: Option<Bad>) -> Case {
    let end = bad.as_ref().map_or_else(
        || "/>".to_owned(),
        |bad| format!("><{0} message=\"{1}\">{1}</{0}></testcase>", bad.tag, escape(&bad.reason)),
    );
    Case { name: escape(name), tag: bad.map(|bad| bad.tag), end }
}

fn of_threshold(threshold: &Judged) -> Option<Bad> {
    (!threshold.holds).then(|| Bad { tag: "failure", reason: threshold.to_string() })
}

/// Without a verdict on the server the test is broken, not failed.
fn of_verdict(report: &Report) -> Option<Bad> {
    let tag = match report.verdict {
        Verdict::Pass => return None,
        Verdict::Threshold | Verdict::Audit => "failure",
        Verdict::Saturated | Verdict::Interrupted => "error",
    };
    Some(Bad { tag, reason: report.reason.clone() })
}

/// Text for XML 1.0, in an element or a quoted attribute; characters that it cannot hold become U+FFFD.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&apos;"),
            '\t' | '\n' | '\r' => {
                let _ = write!(escaped, "&#{};", char as u32);
            }
            '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::super::tests::{OPEN, report};
    use super::*;

    #[test]
    fn every_threshold_the_audit_and_the_verdict_are_cases() {
        let mut failed = report(OPEN, "p50_us = 300\nerrors = 0");
        failed.name = "a <b> & \"c\" \u{1}".to_owned();
        failed.judge();
        let text = text(&failed);
        assert!(text.starts_with("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"loadgen\" tests=\"4\" failures=\"2\" errors=\"0\""), "{text}");
        assert!(text.contains("<testsuite name=\"loadgen a &lt;b&gt; &amp; &quot;c&quot; \u{fffd}\""), "{text}");
        assert!(
            text.contains("name=\"audit\" time=\"0\"/>") && text.contains("name=\"errors\" time=\"0\"/>"),
            "{text}"
        );
        assert!(
            text.contains("name=\"p50_us\" time=\"0\"><failure message=\"p50_us is 400, threshold 300\">"),
            "{text}"
        );
        assert!(text.contains("name=\"verdict\" time=\"0\"><failure message="), "{text}");
        assert_eq!(text.matches("<testcase").count(), 4);
    }

    #[test]
    fn no_verdict_is_an_error_and_a_pass_is_neither() {
        let mut late = report(OPEN, "");
        late.generator.pacing_lag_us.p99 = 1_000_000;
        late.judge();
        assert!(text(&late).contains("<error message=\"the load generator was the limit"));
        let mut passed = report(OPEN, "p50_us = 500");
        passed.judge();
        assert!(text(&passed).contains("tests=\"3\" failures=\"0\" errors=\"0\""));
    }
}
