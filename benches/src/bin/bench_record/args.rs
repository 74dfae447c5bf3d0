//! The command line.

use std::path::PathBuf;

/// Said after a wrong use.
pub const USAGE: &str =
    "usage: bench-record --label WORD [--runs N] --history DIR [--scenarios DIR] [--only SHAPE[,SHAPE…]]";

/// What to run and where to keep it.
#[derive(Debug)]
pub struct Args {
    /// Part of the entry's file name.
    pub label: String,
    /// Runs of each shape, at least 1.
    pub runs: u32,
    /// Where entries are kept.
    pub history: PathBuf,
    /// Where the scenarios are.
    pub scenarios: PathBuf,
    /// These shapes only; empty = all.
    pub only: Vec<String>,
}

impl Args {
    /// Reads the words after the program's name.
    pub fn parse(words: impl Iterator<Item = String>) -> Result<Self, String> {
        let (mut label, mut history) = (None, None);
        let mut args = Self {
            label: String::new(),
            runs: 3,
            history: PathBuf::new(),
            scenarios: PathBuf::from("loadgen/scenarios"),
            only: Vec::new(),
        };
        let mut words = words;
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
            match word.as_str() {
                "--label" => label = Some(value()?),
                "--runs" => args.runs = value()?.parse().map_err(|_| "--runs: expected a number".to_owned())?,
                "--history" => history = Some(value()?),
                "--scenarios" => args.scenarios = value()?.into(),
                "--only" => args.only = value()?.split(',').map(str::to_owned).collect(),
                _ => return Err(format!("unknown option {word}")),
            }
        }
        args.label = label.ok_or("--label is missing")?;
        args.history = history.ok_or("--history is missing")?.into();
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if args.label.is_empty() || !args.label.chars().all(plain) {
            return Err(format!("--label {}: letters, digits, - and _ only", args.label));
        }
        if args.runs == 0 {
            return Err("--runs: at least 1".to_owned());
        }
        Ok(args)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &str) -> Result<Args, String> {
        Args::parse(words.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn a_label_and_a_folder_are_enough() {
        let args = parse("--label spine --history h").unwrap();
        assert_eq!((args.label.as_str(), args.runs, args.history), ("spine", 3, PathBuf::from("h")));
        assert_eq!(parse("--label a --history h --runs 1 --only idle,open").unwrap().only, ["idle", "open"]);
    }

    #[test]
    fn wrong_words_are_named() {
        for (words, said) in [
            ("--history h", "--label"),
            ("--label a", "--history"),
            ("--label a/b --history h", "a/b"),
            ("--label a --history h --runs 0", "--runs"),
            ("--label a --history h --runs", "--runs"),
            ("--label a --history h --fast", "--fast"),
        ] {
            assert!(parse(words).unwrap_err().contains(said), "{words}");
        }
    }
}
