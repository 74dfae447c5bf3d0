//! The `shardwire` binary. See [`shardwire::cli`].

use std::process::ExitCode;

use clap::Parser as _;
use shardwire::cli::{Cli, Command};
use shardwire::commands;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> miette::Result<ExitCode> {
    let cli = Cli::parse();
    match cli.command {
        None => commands::serve::run(&cli.serve),
        Some(Command::Serve(args)) => commands::serve::run(&args),
        Some(Command::Token(args)) => commands::token::run(&args),
        Some(Command::Chat(args)) => commands::chat::run(&args),
        Some(Command::Config) => commands::config::run(),
        Some(Command::Status(args)) => commands::status::run(&args),
        Some(Command::Reload(args)) => commands::reload::run(&args),
        Some(Command::DeadLetters(args)) => commands::dead_letters::run(&args),
        Some(Command::Revoke(args)) => commands::revoke::run(&args),
        Some(Command::Partitions(args)) => commands::partitions::run(&args),
        Some(Command::Chats(args)) => commands::chats::run(&args),
        Some(Command::Backup(args)) => commands::backup::run(&args),
        Some(Command::Restore(args)) => commands::restore::run(&args),
        Some(Command::Completions(args)) => commands::manual::completions(&args),
        Some(Command::Man(args)) => commands::manual::man(&args),
        Some(Command::Migrate(args)) => return commands::migrate::run(&args),
        Some(Command::Doctor(args)) => return commands::doctor::run(&args),
    }
    .map(|()| ExitCode::SUCCESS)
}
