//! `cargo xtask bench-page`: draws `benches/history/index.html` from the history's entries: each budget's figure over the
//! entries, against the budget. One file that needs no other and no network; light and dark as the reader has it.

mod budgets;
mod chart;
mod entries;

use std::fmt::Write as _;
use std::path::Path;

use miette::{IntoDiagnostic, Result, WrapErr, miette};

use crate::shell;
use budgets::{BUDGETS, Budget};
use chart::{Chart, Point};
use entries::Entry;

/// Draw benches/history/index.html from the history's entries.
#[derive(clap::Args)]
pub struct Args {
    /// Draw nothing; fail when the page is not what the entries say.
    #[arg(long)]
    pub check: bool,
}

const PAGE: &str = "index.html";
const STYLE: &str = include_str!("style.css");

/// Runs the task.
///
/// # Errors
/// When an entry cannot be read or the page cannot be written; with `check`, when it is not current.
pub fn run(args: &Args) -> Result<()> {
    let folder = shell::root().join("benches/history");
    let page = draw(&folder)?;
    let path = folder.join(PAGE);
    if args.check {
        return match std::fs::read_to_string(&path) {
            Ok(text) if text == page => Ok(()),
            _ => Err(miette!("{} is not what the entries say: run `cargo xtask bench-page`", path.display())),
        };
    }
    std::fs::write(&path, page).into_diagnostic().wrap_err_with(|| format!("cannot write {}", path.display()))?;
    println!("{}", path.display());
    Ok(())
}

/// The page of a folder of entries.
fn draw(folder: &Path) -> Result<String> {
    let entries = entries::read(folder)?;
    let mut out = String::from("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    out.push_str("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>Shardwire: figures against budgets</title>\n<style>\n");
    out.push_str(STYLE);
    out.push_str("</style>\n</head>\n<body>\n<main>\n<h1>Figures against budgets</h1>\n");
    let _ = writeln!(
        out,
        "<p>Entries: {}, oldest first; drawn by <code>cargo xtask bench-page</code> from the files beside this page. A dot is the \
         median of an entry's runs, the bar its least and most, the dashed line the budget. CPU is a ratio to the raw limit in the \
         same run, so that machines compare; other figures are the machine's own.</p>",
        entries.len()
    );
    out.push_str("<section class=\"charts\">\n");
    for budget in BUDGETS {
        out.push_str(&budget_chart(budget, &entries).draw());
    }
    out.push_str("</section>\n");
    instructions(&entries, &mut out);
    table(&entries, &mut out);
    out.push_str("</main>\n</body>\n</html>\n");
    Ok(out)
}

fn budget_chart(budget: &Budget, entries: &[Entry]) -> Chart {
    let point = |entry: &Entry| {
        let (median, min, max) = entry.spread(budget.path)?;
        Some(Point { name: entry.name(), median, min, max })
    };
    Chart {
        title: budget.title.to_owned(),
        unit: budget.unit,
        budget: Some(budget.most),
        points: entries.iter().map(point).collect(),
        names: entries.iter().map(Entry::name).collect(),
    }
}

/// Instruction counts have no budget; they are drawn as they went.
fn instructions(entries: &[Entry], out: &mut String) {
    let names: std::collections::BTreeSet<&str> = entries.iter().flat_map(Entry::instruction_names).collect();
    if names.is_empty() {
        return;
    }
    out.push_str("<h2>Instructions</h2>\n<p>Counted by valgrind; the same on every machine with the same compiler.</p>\n<section class=\"charts\">\n");
    for name in names {
        let point = |entry: &Entry| {
            let count = entry.instructions(name)?;
            Some(Point { name: entry.name(), median: count, min: count, max: count })
        };
        let chart = Chart {
            title: name.to_owned(),
            unit: "instructions",
            budget: None,
            points: entries.iter().map(point).collect(),
            names: entries.iter().map(Entry::name).collect(),
        };
        out.push_str(&chart.draw());
    }
    out.push_str("</section>\n");
}

/// The same figures as text.
fn table(entries: &[Entry], out: &mut String) {
    out.push_str(
        "<h2>The same in numbers</h2>\n<div class=\"scroll\"><table>\n<thead><tr><th>entry</th><th>cores</th>",
    );
    for budget in BUDGETS {
        let _ = write!(out, "<th>{}, {}</th>", chart::escape(budget.title), chart::escape(budget.unit));
    }
    out.push_str("</tr></thead>\n<tbody>\n<tr class=\"budget\"><td>budget</td><td></td>");
    for budget in BUDGETS {
        let _ = write!(out, "<td>≤ {}</td>", chart::number(budget.most));
    }
    out.push_str("</tr>\n");
    for entry in entries {
        let _ = write!(out, "<tr><td>{}</td><td>{}</td>", chart::escape(&entry.name()), entry.cores());
        for budget in BUDGETS {
            match entry.spread(budget.path) {
                Some((median, ..)) if median > budget.most => {
                    let _ = write!(out, "<td class=\"over\">{} ▲</td>", chart::number(median));
                }
                Some((median, ..)) => {
                    let _ = write!(out, "<td>{}</td>", chart::number(median));
                }
                None => out.push_str("<td>–</td>"),
            }
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table></div>\n<p>▲ above its budget.</p>\n");
}

#[cfg(test)]
mod tests;
