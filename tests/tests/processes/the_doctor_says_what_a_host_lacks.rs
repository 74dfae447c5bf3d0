//! `shardwire doctor` and `loadgen run` on a host with too few descriptors: exit codes, the same words, nothing left behind.

use std::process::{Command, Output};

use shardwire_tests::process::{binary, output};

/// Descriptors a crippled process may have.
const FEW: u32 = 300;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs a program with few descriptors; the shell that lowers the limit becomes the program.
fn crippled(program: &str, args: &[&str]) -> Output {
    let mut command = Command::new("sh");
    command
        .args(["-c", &format!("ulimit -Sn {FEW}; ulimit -Hn {FEW}; exec \"$0\" \"$@\"")])
        .arg(binary(program))
        .args(args);
    output(command, 60)
}

fn doctor(args: &[&str]) -> Output {
    let mut command = Command::new(binary("shardwire"));
    command.arg("doctor").args(args);
    output(command, 60)
}

#[test]
fn a_host_that_is_fit_and_one_that_is_not_differ_in_exit_code_and_words() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let data = data.to_str().unwrap();
    let fit = doctor(&["--connections", "10", "--data", data]);
    let shown = text(&fit.stdout);
    assert_eq!(fit.status.code(), Some(0), "{shown}\n{}", text(&fit.stderr));
    assert!(shown.lines().last().is_some_and(|line| line.starts_with("fit for 10 connections")), "{shown}");
    assert!(!shown.contains('\x1b'), "no colour but on a terminal");

    let args = ["doctor", "--connections", "1000", "--shards", "2", "--data", data];
    let unfit = crippled("shardwire", &args);
    let shown = text(&unfit.stdout);
    assert_eq!(unfit.status.code(), Some(1), "{shown}");
    for word in
        ["fatal     limits.nofile", "730 a shard (1,000 connections over 2)", "ulimit -Hn 730", "serve --shards 11"]
    {
        assert!(shown.contains(word), "says {word}:\n{shown}");
    }
    let more_shards = ["doctor", "--connections", "1000", "--shards", "11", "--data", data];
    assert_eq!(crippled("shardwire", &more_shards).status.code(), Some(0), "what it advised is enough");
    assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none(), "it made nothing");
}

#[test]
fn a_wrong_use_is_told_apart() {
    for (args, word) in [
        (vec!["--connections", "0"], "1..=100000000"),
        (vec!["--conections", "5"], "--connections"),
        (vec!["--config", "/nowhere/shardwire.toml"], "/nowhere/shardwire.toml"),
        (vec!["--shards", "5000"], "server.shards"),
    ] {
        let wrong = doctor(&args);
        let error = text(&wrong.stderr);
        assert_eq!(wrong.status.code(), Some(2), "{args:?}: {error}");
        assert!(wrong.stdout.is_empty() && error.contains(word), "{args:?} names {word}: {error}");
    }
}

#[test]
fn programs_read_json() {
    let folder = tempfile::tempdir().unwrap();
    let args = ["doctor", "--json", "--connections", "100000", "--data", folder.path().to_str().unwrap()];
    let unfit = crippled("shardwire", &args);
    let json: serde_json::Value = serde_json::from_slice(&unfit.stdout).unwrap();
    assert_eq!((unfit.status.code(), &json["fit"]), (Some(1), &false.into()));
    let finding = &json["findings"][0];
    assert_eq!((&finding["key"], &finding["severity"]), (&"limits.nofile".into(), &"fatal".into()), "{finding}");
    assert_eq!(json["host"]["limits"]["open_files"], FEW);
}

#[test]
fn the_load_generator_refuses_before_any_load_in_the_same_words() {
    let folder = tempfile::tempdir().unwrap();
    let scenario = folder.path().join("many.toml");
    std::fs::write(&scenario, "[load]\nusers = 1000\nworkers = 2\nmode = \"idle\"\nsteady_s = 1.0\n").unwrap();
    let out = folder.path().join("out");
    let server = binary("shardwire");
    let args =
        ["run", scenario.to_str().unwrap(), "--out", out.to_str().unwrap(), "--server", server.to_str().unwrap()];
    let refused = crippled("loadgen", &args);
    let error = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2), "{error}");
    for word in ["limits.nofile", "every connection is a descriptor", "load.workers = 4"] {
        assert!(error.contains(word), "says {word}:\n{error}");
    }
    assert!(!out.join("server.log").exists(), "no server was started");
}
