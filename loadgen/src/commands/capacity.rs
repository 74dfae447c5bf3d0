//! `loadgen capacity`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command, FromArgMatches};

use crate::capacity::costs::{self, Costs, Entry};
use crate::capacity::model::Model;
use crate::capacity::plan::{self, Plan};
use crate::capacity::{Refused, check, docs, show};
use crate::recorded::Recorded;

/// Turns unit costs into numbers of gateways, routers, writers, Scylla and Redis nodes, storage, network and money.
///
/// Every formula is shown with its numbers, every input with its origin: measured (by a run of this load generator), given or
/// assumed. Each tier is sized by its tightest resource. The model's inputs are options below; any unit cost is replaced by
/// --set NAME=VALUE. Numbers may be written as 2e9.
///
/// Exit codes: 0 done, 2 wrong use, 3 a checked prediction is further off than --tolerance.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Takes what this run measured (a report.json) in place of the kept unit costs.
    #[arg(long, value_name = "REPORT")]
    costs: Option<PathBuf>,
    /// Unit costs of your own, in the format of loadgen/unit-costs.toml; those kept with this version otherwise.
    #[arg(long, value_name = "FILE")]
    unit_costs: Option<PathBuf>,
    /// Replaces a unit cost or an input; may be given again.
    #[arg(long, value_name = "NAME=VALUE", value_parser = setting)]
    set: Vec<(String, f64)>,
    /// How the plan is written.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Writes to a file in place of standard output.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Predicts the second run's CPU and memory from the first's unit costs, and says how far off that is.
    #[arg(long, num_args = 2, value_names = ["REPORT_HALF", "REPORT_FULL"], conflicts_with_all = ["costs", "update_costs"])]
    check: Option<Vec<PathBuf>>,
    /// With --check: how far off a prediction may be, percent.
    #[arg(long, requires = "check", value_name = "PERCENT")]
    tolerance: Option<f64>,
    /// Rewrites the measured figures of --unit-costs (loadgen/unit-costs.toml) from an entry of the history; of a folder the
    /// newest.
    #[arg(long, value_name = "ENTRY", conflicts_with = "costs")]
    update_costs: Option<PathBuf>,
    /// Runs the `loadgen capacity` commands of a Markdown file again and puts their output in place.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["costs", "check", "update_costs"])]
    update_docs: Option<PathBuf>,
    #[command(flatten)]
    inputs: Inputs,
}

/// How a plan is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// For machines.
    Json,
    /// One page that needs nothing else.
    Html,
}

/// The model's inputs as options: the model's file is the only place that names them.
#[derive(Debug, Default)]
struct Inputs(BTreeMap<String, f64>);

impl FromArgMatches for Inputs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut inputs = Self::default();
        inputs.update_from_arg_matches(matches)?;
        Ok(inputs)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for input in &model()?.input {
            if matches.value_source(&input.name) == Some(ValueSource::CommandLine)
                && let Some(value) = matches.get_one::<f64>(&input.name)
            {
                self.0.insert(input.name.clone(), *value);
            }
        }
        Ok(())
    }
}

impl clap::Args for Inputs {
    fn augment_args(command: Command) -> Command {
        // A model that cannot be read is told when the options are.
        let inputs = Model::get().map(|m| m.input.as_slice()).unwrap_or_default();
        inputs.iter().fold(command, |command, input| {
            let default = input.default.map_or_else(String::new, |d| format!(" [default: {d}, assumed]"));
            let unit = if input.unit.is_empty() { String::new() } else { format!(", {}", input.unit) };
            let arg = Arg::new(input.name.as_str())
                .long(input.long.as_str())
                .value_name("N")
                .value_parser(clap::value_parser!(f64))
                .allow_negative_numbers(true)
                .help_heading("The load, the nodes, the prices")
                .help(format!("{}{unit}{default}", input.says));
            command.arg(arg)
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

fn model() -> Result<&'static Model, clap::Error> {
    Model::get().map_err(|refused| clap::Error::raw(clap::error::ErrorKind::Io, refused.to_string()))
}

fn setting(text: &str) -> Result<(String, f64), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| format!("`{text}`: expected NAME=VALUE"))?;
    let value = value.trim().parse().map_err(|_| format!("`{text}`: `{value}` is no number"))?;
    Ok((name.trim().replace('-', "_"), value))
}

/// Runs the command.
pub fn run(args: &Args) -> ExitCode {
    match done(args) {
        Ok(code) => code,
        Err(refused) => {
            eprintln!("loadgen: {refused}");
            ExitCode::from(2)
        }
    }
}

fn done(args: &Args) -> Result<ExitCode, Refused> {
    if let Some(entry) = &args.update_costs {
        return update(args, entry);
    }
    if let Some(file) = &args.update_docs {
        return update_docs(file);
    }
    let mut costs = Costs::load(args.unit_costs.as_deref())?;
    if let Some(reports) = &args.check {
        return checked(args, &costs, reports);
    }
    if let Some(report) = &args.costs {
        costs.take_report(&read(report)?)?;
    }
    let plan = plan::plan(&costs, &given(args))?;
    put(args, &written(&plan, args.format))?;
    Ok(ExitCode::SUCCESS)
}

fn read(path: &Path) -> Result<Recorded, Refused> {
    Recorded::read(path).map_err(|unread| Refused::Input(unread.to_string()))
}

fn given(args: &Args) -> BTreeMap<String, f64> {
    let mut given = args.inputs.0.clone();
    given.extend(args.set.iter().cloned());
    given
}

fn written(plan: &Plan, format: Format) -> String {
    match format {
        Format::Text => show::text::text(plan),
        Format::Json => format!("{:#}", show::json::json(plan)),
        Format::Html => show::page::page(plan),
    }
}

fn put(args: &Args, text: &str) -> Result<(), Refused> {
    let Some(out) = &args.out else {
        println!("{text}");
        return Ok(());
    };
    let wrong =
        |error: std::io::Error| Refused::File { path: out.clone(), what: format!("cannot be written: {error}") };
    std::fs::write(out, format!("{text}\n")).map_err(wrong)
}

fn checked(args: &Args, costs: &Costs, reports: &[PathBuf]) -> Result<ExitCode, Refused> {
    let [half, full] = reports else { return Err(Refused::Input("--check takes two reports".to_owned())) };
    let outcome = check::check(costs, &read(half)?, &read(full)?)?;
    let text = if args.format == Format::Json { format!("{:#}", outcome.json()) } else { outcome.text() };
    put(args, &text)?;
    let allowed = args.tolerance.unwrap_or(f64::INFINITY);
    Ok(ExitCode::from(if outcome.worst_percent() > allowed { 3 } else { 0 }))
}

fn update(args: &Args, entry: &Path) -> Result<ExitCode, Refused> {
    let file = args.unit_costs.clone().unwrap_or_else(|| PathBuf::from("loadgen/unit-costs.toml"));
    let changed = costs::update(&file, &Entry::read(entry)?)?;
    for line in &changed {
        println!("{line}");
    }
    println!("{}: {} measured figures changed", file.display(), changed.len());
    Ok(ExitCode::SUCCESS)
}

fn update_docs(file: &Path) -> Result<ExitCode, Refused> {
    let wrong = |what: String| Refused::File { path: file.to_owned(), what };
    let text = std::fs::read_to_string(file).map_err(|error| wrong(format!("cannot be read: {error}")))?;
    let after = docs::rewrite(&text, &output)?;
    std::fs::write(file, after).map_err(|error| wrong(format!("cannot be written: {error}")))?;
    Ok(ExitCode::SUCCESS)
}

/// What `loadgen capacity WORDS` would print.
///
/// # Errors
/// The words are no plan's.
pub fn output(words: &[&str]) -> Result<String, Refused> {
    #[derive(clap::Parser)]
    struct Only {
        #[command(flatten)]
        args: Args,
    }
    let parsed = <Only as clap::Parser>::try_parse_from(["capacity"].iter().chain(words));
    let args = parsed.map_err(|error| Refused::Input(error.to_string()))?.args;
    let costs = Costs::load(args.unit_costs.as_deref())?;
    Ok(written(&plan::plan(&costs, &given(&args))?, args.format))
}
