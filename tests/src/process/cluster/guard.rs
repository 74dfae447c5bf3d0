//! A process that ends with the one that started it, whatever ends that.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::process::{Signal, getppid, set_parent_process_death_signal};

/// In the new process, before it is the node: it is to be killed when the thread of `parent` that started it ends; then it
/// becomes `program`.
///
/// Returns only when the program cannot be run, with the reason.
pub fn become_server(parent: u32, program: &[OsString]) -> std::io::Error {
    if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
        return error.into();
    }
    // It may have ended before it was asked for.
    if getppid().map(|pid| pid.as_raw_nonzero().get().cast_unsigned()) != Some(parent) {
        return std::io::Error::other("who started it has ended");
    }
    let Some((program, arguments)) = program.split_first() else {
        return std::io::Error::other("no program is named");
    };
    Command::new(program).args(arguments).exec()
}
