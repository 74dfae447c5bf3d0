//! `shardwire chat` as people and scripts use it: lines in, lines and ticks out, over a broken connection.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};

use fabric::mutex::lock;
use shardwire_tests::process::{Deadline, Dice, Options, Proxy, Server, binary};

/// A chat whose output is collected. Dropping it kills the process.
struct Chat {
    child: Child,
    input: Option<ChildStdin>,
    printed: Arc<Mutex<String>>,
}

impl Chat {
    fn start(server: &Server, address: &str, user: &str, to: &str, store: &std::path::Path) -> Self {
        let mut command = Command::new(binary("shardwire"));
        command.args(["chat", "--user", user, "--to", to, "--address", address, "--plain"]);
        command.arg("--data").arg(server.data()).arg("--store").arg(store);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the chat starts");
        let printed = Arc::new(Mutex::new(String::new()));
        let streams: [Box<dyn std::io::Read + Send>; 2] =
            [Box::new(child.stdout.take().expect("piped")), Box::new(child.stderr.take().expect("piped"))];
        for stream in streams {
            let printed = printed.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    lock(&printed).push_str(&format!("{line}\n"));
                }
            });
        }
        let input = child.stdin.take();
        Self { child, input, printed }
    }

    fn say(&mut self, line: &str) {
        writeln!(self.input.as_mut().expect("still open"), "{line}").expect("the chat reads");
    }

    fn printed(&self) -> String {
        lock(&self.printed).clone()
    }

    fn wait_for(&self, what: &str) {
        assert!(
            Deadline::after_s(60).wait_until(|| self.printed().contains(what)),
            "no {what:?} in\n{}",
            self.printed()
        );
    }

    /// Ends its input and waits; the exit code.
    fn end(mut self) -> Option<i32> {
        drop(self.input.take());
        let mut code = None;
        Deadline::after_s(30).wait_until(|| {
            code = self.child.try_wait().ok().flatten();
            code.is_some()
        });
        code.and_then(|status| status.code())
    }
}

impl Drop for Chat {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn two_people_chat_with_ticks_over_breaking_connections() {
    let server = Server::start(Options::default());
    let folder = tempfile::tempdir().expect("a folder");
    let proxy = Proxy::start(server.native(), 8_192, Dice::seeded());
    let (direct, breaking) = (server.native().to_string(), proxy.address().to_string());
    let (seven_store, nine_store) = (folder.path().join("7"), folder.path().join("9"));
    let mut seven = Chat::start(&server, &breaking, "7", "9", &seven_store);
    let mut nine = Chat::start(&server, &direct, "9", "7", &nine_store);
    for number in 0..40 {
        seven.say(&format!("question {number}."));
        nine.say(&format!("answer {number}.\u{1b}[31m"));
    }
    nine.wait_for("7: question 39.");
    seven.wait_for("9: answer 39.\u{fffd}[31m");
    proxy.stop_breaking();
    seven.say("bye");
    nine.wait_for("7: bye");
    seven.wait_for(" read");
    for (printed, other) in [(nine.printed(), "7: question"), (seven.printed(), "9: answer")] {
        let got: Vec<&str> = printed.lines().filter_map(|line| line.split_once(other)).map(|(_, rest)| rest).collect();
        let numbers: Vec<&str> = got.iter().filter_map(|rest| rest.trim().split('.').next()).collect();
        let expected: Vec<String> = (0..40).map(|number| number.to_string()).collect();
        assert_eq!(numbers, expected, "each once and in order: {printed}");
    }
    assert!(proxy.cuts() > 0, "the connection never broke");
    assert_eq!(nine.end(), Some(0));
    assert_eq!(seven.end(), Some(0));

    let again = Chat::start(&server, &direct, "7", "9", &seven_store);
    again.wait_for("you: bye");
    let printed = again.printed();
    assert_eq!(printed.matches(": question ").count(), 40, "history: {printed}");
    assert_eq!(again.end(), Some(0));
}

#[test]
fn a_chat_that_cannot_begin_says_why_and_what_to_do() {
    let server = Server::start(Options::default());
    let folder = tempfile::tempdir().expect("a folder");
    let token = folder.path().join("token");
    std::fs::write(&token, "not a token").expect("written");
    let run = |arguments: &[&str]| {
        let mut command = Command::new(binary("shardwire"));
        command.arg("chat").args(arguments).arg("--address").arg(server.native().to_string());
        command.arg("--data").arg(server.data()).env("XDG_STATE_HOME", folder.path());
        shardwire_tests::process::output(command, 60)
    };
    let token = token.to_str().expect("a plain path");
    for (arguments, code, words) in [
        (&["--to", "9"][..], 2, "--user"),
        (&["--user", "0", "--to", "9"], 2, "1 to 18446744073709551615"),
        (&["--to", "9", "--token-file", token], 1, "bad_token"),
        (&["--to", "9", "--token-file", "/absent"], 1, "/absent"),
    ] {
        let output = run(arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stderr}");
        assert!(stderr.contains(words), "{arguments:?}: {stderr}");
    }
}
