//! `shardwire completions` and `shardwire man`: made from the command line's own definition, so they cannot disagree with it.

use std::path::Path;

use clap::{Command, CommandFactory as _};
use clap_mangen::Man;
use miette::{IntoDiagnostic, Result, WrapErr};

use super::print;
use crate::cli::{Cli, CompletionsArgs, ManArgs};

/// Prints a shell's completions on stdout.
///
/// # Errors
/// When stdout is closed.
pub fn completions(args: &CompletionsArgs) -> Result<()> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "shardwire", &mut text);
    print(&String::from_utf8_lossy(&text))
}

/// Prints the manual page on stdout, or writes all pages into a folder.
///
/// # Errors
/// When stdout is closed or the folder cannot be written.
pub fn man(args: &ManArgs) -> Result<()> {
    let mut command = Cli::command();
    command.build();
    match &args.out {
        None => print(&page(&command)?),
        Some(folder) => {
            std::fs::create_dir_all(folder).into_diagnostic().wrap_err_with(|| folder.display().to_string())?;
            write(folder, &command)
        }
    }
}

fn page(command: &Command) -> Result<String> {
    let mut text = Vec::new();
    Man::new(command.clone()).render(&mut text).into_diagnostic()?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

fn write(folder: &Path, command: &Command) -> Result<()> {
    let name = command.get_display_name().unwrap_or(command.get_name()).to_owned();
    let path = folder.join(format!("{name}.1"));
    std::fs::write(&path, page(command)?).into_diagnostic().wrap_err_with(|| path.display().to_string())?;
    let mut subcommands = command.get_subcommands().filter(|sub| sub.get_name() != "help");
    subcommands.try_for_each(|sub| write(folder, sub))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_page_for_every_subcommand() {
        let folder = tempfile::tempdir().expect("a folder");
        man(&ManArgs { out: Some(folder.path().join("man1")) }).expect("written");
        let text = |name: &str| std::fs::read_to_string(folder.path().join("man1").join(name)).expect(name);
        assert!(text("shardwire.1").contains("sharded, durable messaging"));
        for sub in Cli::command().get_subcommands() {
            let page = text(&format!("shardwire-{}.1", sub.get_name()));
            assert!(page.contains(".SH SYNOPSIS"), "{}", sub.get_name());
        }
    }
}
