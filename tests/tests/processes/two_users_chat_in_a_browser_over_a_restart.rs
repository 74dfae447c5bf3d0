//! The pages in a headless Chromium: two users in two tabs over a killed server, keyboard, phone, dark; a group; what is done to messages; the console.

use std::path::{Path, PathBuf};
use std::time::Duration;

use shardwire_tests::process::{Deadline, Options, Server, chromium, node, output};

/// Where the screenshots go, for people to look at.
fn shots() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("browser");
    std::fs::create_dir_all(&folder).expect("a folder for screenshots");
    folder
}

#[test]
fn from_signing_in_to_read_ticks_over_a_killed_server() {
    let mut server = Server::start(Options { same_ports: true, ..Options::default() });
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (kill, alive) = (folder.path().join("kill"), folder.path().join("alive"));
    let mut command = node(&["tests/browser/chat.mjs"], &[("BASE", &format!("http://{}", server.http()))]);
    command.env("CHROMIUM", chromium()).env("SHOTS", shots()).env("TOKEN", server.token(12, 1));
    command.env("KILL", &kill).env("ALIVE", &alive);
    let child = std::thread::spawn(move || output(command, 170));
    let come = |path: &Path| Deadline::after_s(90).wait_until(|| path.exists() || child.is_finished());
    assert!(come(&kill), "the script did not come to the server's end");
    server.kill9();
    // The page shows what it does meanwhile.
    assert!(come(&kill.with_extension("seen")), "the page did not notice");
    std::thread::sleep(Duration::from_millis(500));
    server.start_again();
    std::fs::write(&alive, "").expect("a file in a temporary folder");
    let output = child.join().expect("it was awaited");
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{stdout}\n{stderr}");
    assert!(stdout.ends_with("ok\n"), "{stdout}");
}

#[test]
fn a_group_from_its_making_to_the_last_two() {
    let server = Server::start(Options::default());
    let mut command = node(&["tests/browser/groups.mjs"], &[("BASE", &format!("http://{}", server.http()))]);
    command.env("CHROMIUM", chromium()).env("SHOTS", shots());
    let output = output(command, 120);
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{stdout}\n{stderr}");
    assert!(stdout.ends_with("ok\n"), "{stdout}");
}

#[test]
fn messages_are_answered_amended_and_disappear_on_every_device() {
    let server = Server::start(Options::default());
    let mut command = node(&["tests/browser/messages.mjs"], &[("BASE", &format!("http://{}", server.http()))]);
    command.env("CHROMIUM", chromium()).env("SHOTS", shots());
    let output = output(command, 120);
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{stdout}\n{stderr}");
    assert!(stdout.ends_with("ok\n"), "{stdout}");
}

#[test]
fn the_console_draws_what_the_server_does_for_operators_only() {
    let server = Server::start(Options::default());
    let admin = server.cli("token", &["--admin", "--user", "1", "--device", "1"].map(str::to_owned));
    let admin = String::from_utf8_lossy(&admin.stdout).trim_end().to_owned();
    let base = format!("http://{}", server.http());
    let mut command = node(&["tests/browser/console.mjs"], &[("BASE", &base), ("ADMIN", &admin)]);
    command.env("CHROMIUM", chromium()).env("SHOTS", shots()).env("OTHER", server.token(7, 1));
    let output = output(command, 120);
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{stdout}\n{stderr}");
    assert!(stdout.ends_with("ok\n"), "{stdout}");
}
