//! The load shapes of the budgets and what of their reports is kept.

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};

use serde_json::Value;

use crate::args::Args;
use crate::entry::{Shape, Side, Spread};
use crate::run::{Programs, Target};

/// A figure's name and where a report has it.
type Figure = (&'static str, &'static str);

const CPU: Figure = ("cpu_s_per_million", "/server/cpu_s_per_million");
const CPU_WITHOUT_APPLY: Figure = ("cpu_s_per_million_without_apply", "/server/cpu_s_per_million_without_apply");
const RATE: Figure = ("delivered_per_second", "/throughput/delivered_per_second");
const P50: Figure = ("latency_p50_us", "/latency_us/p50");
const P99: Figure = ("latency_p99_us", "/latency_us/p99");
const GROUP_ACK_P50: Figure = ("group_ack_p50_us", "/groups/ack_us/p50");
const GROUP_ACK_P99: Figure = ("group_ack_p99_us", "/groups/ack_us/p99");
const GROUP_LAST_P50: Figure = ("group_last_p50_us", "/groups/last_us/p50");
const GROUP_LAST_P99: Figure = ("group_last_p99_us", "/groups/last_us/p99");
const GENERATOR: Figure = ("generator_busy", "/generator/busy/0");
/// Derived: CPU of the engine's threads for one message, µs.
const APPLY: &str = "apply_us_per_message";

/// Scenario, and what of it is kept.
const SHAPES: [(&str, &[Figure]); 6] = [
    ("closed", &[CPU, CPU_WITHOUT_APPLY, RATE, P50, P99, GENERATOR]),
    ("one-in-flight", &[CPU, CPU_WITHOUT_APPLY, RATE, P50, P99, GENERATOR]),
    ("open", &[CPU, CPU_WITHOUT_APPLY, RATE, P50, P99, GENERATOR]),
    (
        "group-500",
        &[CPU, CPU_WITHOUT_APPLY, RATE, GROUP_ACK_P50, GROUP_ACK_P99, GROUP_LAST_P50, GROUP_LAST_P99, GENERATOR],
    ),
    ("idle", &[("bytes_per_connection", "/server/rss_bytes_per_connection"), ("cores_used", "/server/cores_used")]),
    (
        "connects",
        &[
            ("connects_per_second", "/connections/connects_per_second"),
            ("cpu_s_per_thousand_connects", "/server/cpu_s_per_thousand_connects"),
            GENERATOR,
        ],
    ),
];

/// What one run of one server gave.
struct Run {
    verdict: String,
    figures: BTreeMap<&'static str, f64>,
}

impl Run {
    fn of(report: &Value, kept: &[Figure]) -> Self {
        let number = |path: &str| report.pointer(path).and_then(Value::as_f64);
        let mut figures: BTreeMap<_, _> = kept.iter().filter_map(|&(name, path)| Some((name, number(path)?))).collect();
        if let (Some(all), Some(rest)) = (figures.get(CPU.0), figures.get(CPU_WITHOUT_APPLY.0))
            && all > rest
        {
            // CPU seconds a million messages are µs a message.
            figures.insert(APPLY, all - rest);
        }
        let verdict = report["verdict"].as_str().unwrap_or("unknown");
        let reason = report["reason"].as_str().unwrap_or_default();
        let verdict = if verdict == "pass" { verdict.to_owned() } else { format!("{verdict}: {reason}") };
        Self { verdict, figures }
    }
}

/// Runs every shape, the product and the limit in turn, and says what goes on.
///
/// # Errors
/// A shape that there is not, or a run that failed.
pub fn measure(args: &Args, programs: &Programs) -> Result<BTreeMap<String, Shape>, String> {
    if let Some(unknown) = args.only.iter().find(|name| SHAPES.iter().all(|(shape, _)| shape != name)) {
        let known: Vec<&str> = SHAPES.iter().map(|(shape, _)| *shape).collect();
        return Err(format!("--only {unknown}: there are {}", known.join(", ")));
    }
    let wanted: Vec<_> =
        SHAPES.iter().filter(|(name, _)| args.only.is_empty() || args.only.iter().any(|o| o == name)).collect();
    let total = wanted.len() * 2 * args.runs as usize;
    let mut done = 0;
    let mut shapes = BTreeMap::new();
    for (name, kept) in wanted {
        let scenario = args.scenarios.join(format!("{name}.toml"));
        let (mut server, mut limit) = (Vec::new(), Vec::new());
        for number in 1..=args.runs {
            for (target, runs) in [(Target::Limit, &mut limit), (Target::Shardwire, &mut server)] {
                done += 1;
                begin(&format!("[{done}/{total}] {name}, run {number}, {} … ", target.name()));
                let run = Run::of(&programs.run(&scenario, target)?, kept);
                end(&run);
                runs.push(run);
            }
        }
        shapes.insert((*name).to_owned(), shape(&server, &limit));
    }
    Ok(shapes)
}

fn shape(server: &[Run], limit: &[Run]) -> Shape {
    let ratio = |name: &str| {
        let each = server.iter().zip(limit);
        let each = each.filter_map(|(server, limit)| Some(server.figures.get(name)? / limit.figures.get(CPU.0)?));
        Spread::of(&each.collect::<Vec<_>>())
    };
    Shape {
        cpu_ratio_without_apply: ratio(CPU_WITHOUT_APPLY.0),
        cpu_ratio: ratio(CPU.0),
        server: side(server),
        limit: side(limit),
    }
}

fn side(runs: &[Run]) -> Side {
    let mut values: BTreeMap<&'static str, Vec<f64>> = BTreeMap::new();
    for (&name, &value) in runs.iter().flat_map(|run| &run.figures) {
        values.entry(name).or_default().push(value);
    }
    Side {
        verdicts: runs.iter().map(|run| run.verdict.clone()).collect(),
        figures: values.into_iter().filter_map(|(name, values)| Some((name, Spread::of(&values)?))).collect(),
    }
}

fn begin(text: &str) {
    print!("{text}");
    if std::io::stdout().is_terminal() {
        // A line that is late is no failure.
        let _ = std::io::stdout().flush();
    }
}

fn end(run: &Run) {
    let figures: Vec<String> =
        run.figures.iter().map(|(name, value)| format!("{name} {}", crate::entry::round(*value))).collect();
    println!("{} · {}", run.verdict, figures.join(" · "));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(all: f64, rest: f64) -> Value {
        serde_json::json!({
            "verdict": "pass",
            "server": { "cpu_s_per_million": all, "cpu_s_per_million_without_apply": rest },
            "latency_us": { "p50": 300 },
            "groups": { "ack_us": { "p50": 900, "p99": 4000 }, "last_us": { "p50": 2000, "p99": 7000 } },
        })
    }

    #[test]
    fn ratios_are_of_runs_made_together() {
        let kept = &[CPU, CPU_WITHOUT_APPLY, P50];
        let run = |all, rest| Run::of(&report(all, rest), kept);
        let shape = shape(&[run(4.0, 2.0), run(9.0, 6.0)], &[run(1.0, 1.0), run(2.0, 2.0)]);
        assert_eq!(shape.cpu_ratio_without_apply, Some(Spread { median: 2.5, min: 2.0, max: 3.0 }));
        assert_eq!(shape.cpu_ratio.unwrap().max, 4.5);
        assert_eq!(shape.server.figures[APPLY], Spread { median: 2.5, min: 2.0, max: 3.0 });
        assert_eq!(shape.server.figures[P50.0].median, 300.0);
    }

    #[test]
    fn a_groups_figures_are_kept() {
        let (_, kept) = SHAPES.iter().find(|(name, _)| *name == "group-500").unwrap();
        let run = Run::of(&report(2.0, 1.5), kept);
        let figure = |name: &str| run.figures.get(name).copied();
        assert_eq!((figure("group_ack_p99_us"), figure("group_last_p99_us")), (Some(4_000.0), Some(7_000.0)));
        assert_eq!((figure(CPU.0), figure(GENERATOR.0)), (Some(2.0), None));
    }

    #[test]
    fn what_a_report_does_not_have_is_left_out() {
        let run = Run::of(&serde_json::json!({ "verdict": "saturated", "reason": "busy" }), &[CPU, RATE]);
        assert_eq!((run.verdict.as_str(), run.figures.len()), ("saturated: busy", 0));
    }
}
