//! `loadgen compare A B`.

use std::process::ExitCode;

use crate::compare::{self, Asked, show};
use crate::recorded::Recorded;

/// Says whether the second set of runs is worse than the first, beyond chance and tolerance.
///
/// Each figure is tested over the repeated runs (Welch's t-test on logarithms, corrected by Holm for the number of figures;
/// errors as counts) and is worse only if its medians differ by more than the tolerance too. Fewer than 3 runs a side give no
/// verdict. A fault of the audit in B and none in A is a regression always.
///
/// Exit codes: 0 no significant regression, 2 wrong use, 3 regression, 5 no verdict.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The runs to compare with: a report.json, a folder with one, a folder of such folders, or several with commas between.
    a: String,
    /// The runs in question.
    b: String,
    /// Only this figure (may be given again); all that both sides have otherwise.
    #[arg(long, value_name = "NAME")]
    metric: Vec<String>,
    /// Chance of a false alarm, over all figures together.
    #[arg(long, default_value_t = 0.05)]
    alpha: f64,
    /// Differences up to this do not matter: `5%` or `0.05`.
    #[arg(long, default_value = "5%", value_parser = share)]
    tolerance: f64,
    /// The whole comparison as JSON.
    #[arg(long)]
    json: bool,
}

fn share(text: &str) -> Result<f64, String> {
    let (number, scale) = text.strip_suffix('%').map_or((text, 1.0), |percent| (percent.trim_end(), 100.0));
    number.parse::<f64>().map(|v| v / scale).map_err(|_| format!("`{text}`: expected a share as `5%` or `0.05`"))
}

/// Runs the command.
pub fn run(args: &Args) -> ExitCode {
    let refuse = |why: String| {
        eprintln!("loadgen: {why}");
        ExitCode::from(2)
    };
    let (a, b) = match (Recorded::all(&args.a), Recorded::all(&args.b)) {
        (Ok(a), Ok(b)) => (a, b),
        (Err(error), _) | (_, Err(error)) => return refuse(error.to_string()),
    };
    let asked = Asked { metrics: args.metric.clone(), alpha: args.alpha, tolerance: args.tolerance };
    let comparison = match compare::compare(&a, &b, &asked) {
        Ok(comparison) => comparison,
        Err(refused) => return refuse(refused.to_string()),
    };
    let text = if args.json { serde_json::to_string_pretty(&comparison) } else { Ok(show::text(&comparison)) };
    match text {
        Ok(text) => println!("{text}"),
        Err(error) => return refuse(error.to_string()),
    }
    ExitCode::from(comparison.exit_code)
}
