//! Backups in S3, by a real service: taken while the server serves, restored whole and to a point in time; what goes wrong is named.

use std::path::Path;
use std::process::{Command, Output};

use schema::ids::{ChatId, MessageId, UserId};
use schema::timeuuid::unix_ms;
use shardwire_tests::process::{Native, Options, S3, Server, binary, output, unwrapped};
use tempfile::TempDir;

const BUCKET: &str = "backups";

/// Runs `shardwire SUBCOMMAND`, with the service's credentials or others.
fn run(s3: &S3, credentials: &[(&str, &str)], arguments: &[&str]) -> Output {
    let mut command = Command::new(binary("shardwire"));
    for variable in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION"] {
        command.env_remove(variable);
    }
    command.envs(credentials.iter().copied()).args(arguments).args(["--json", "--s3-endpoint", &s3.endpoint()]);
    output(command, 60)
}

fn said(output: &Output) -> String {
    unwrapped(&format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)))
}

fn json(output: &Output) -> serde_json::Value {
    assert!(output.status.success(), "{}", said(output));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn backup(s3: &S3, server: &Server, to: &str) -> Output {
    run(s3, &s3.credentials(), &["backup", "--data", &server.data().display().to_string(), "--to", to])
}

fn restore(s3: &S3, from: &str, data: &Path, more: &[&str]) -> Output {
    let data = data.display().to_string();
    run(s3, &s3.credentials(), &[&["restore", "--from", from, "--data", &data], more].concat())
}

fn send(server: &Server, ids: std::ops::Range<u32>) -> MessageId {
    let mut native = Native::login(server.native(), &server.token(1, 1)).expect("a session");
    let to = UserId::new(2).expect("not 0");
    let sent = ids.map(|id| native.send(&format!("m{id}"), to, &[7; 20_000]).expect("acknowledged").0);
    sent.last().expect("some")
}

fn messages(data: &Path) -> usize {
    let server = Server::start(Options { data: Some(data.to_owned()), ..Options::default() });
    let mut native = Native::login(server.native(), &server.token(2, 9)).expect("a session");
    let chat = ChatId::direct(UserId::new(1).expect("not 0"), UserId::new(2).expect("not 0"));
    native.history(chat).expect("its log").len()
}

#[test]
fn a_backup_in_a_bucket_is_restored_whole_by_name_or_to_a_point_in_time() {
    let (s3, server, room) =
        (S3::start(&[BUCKET]), Server::start(Options::default()), TempDir::new().expect("a folder"));
    let place = format!("s3://{BUCKET}/prod/node-1");
    let last = unix_ms(send(&server, 0..30));
    let first = json(&backup(&s3, &server, &place));
    send(&server, 30..50);
    let second = json(&backup(&s3, &server, &format!("{place}/")));
    assert!(!server.data().with_extension("backup-staging").exists(), "what was on its way is gone");
    let names: Vec<&str> = [&first, &second].map(|taken| taken["path"].as_str().expect("a path")).into();
    assert!(names.iter().all(|name| name.starts_with(&place)) && names[0] < names[1], "{names:?}");
    let newest = room.path().join("newest");
    let report = json(&restore(&s3, &place, &newest, &[]));
    assert_eq!((report["backup"].as_str(), report["entries"].as_u64()), (Some(names[1]), Some(50)));
    assert_eq!(messages(&newest), 50);
    let named = room.path().join("named");
    assert_eq!(json(&restore(&s3, names[0], &named, &[]))["entries"].as_u64(), Some(30));
    let then = room.path().join("then");
    let report = json(&restore(&s3, &place, &then, &["--until", &last.to_string()]));
    assert_eq!(report["entries"].as_u64(), Some(30), "{report}");
    assert_eq!(messages(&then), 30);
    let left: Vec<_> =
        std::fs::read_dir(room.path()).expect("readable").flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left.len(), 3, "no staging folder stays: {left:?}");
}

#[test]
fn what_goes_wrong_with_a_bucket_is_named_and_leaves_nothing() {
    let (s3, server, room) =
        (S3::start(&[BUCKET]), Server::start(Options::default()), TempDir::new().expect("a folder"));
    send(&server, 0..5);
    let place = format!("s3://{BUCKET}/node");
    let refused = |output: Output, why: &[&str]| {
        let said = said(&output);
        assert!(!output.status.success() && why.iter().all(|why| said.contains(why)), "{why:?}: {said}");
    };
    let data = server.data().display().to_string();
    let arguments = ["backup", "--data", &data, "--to", &place];
    refused(run(&s3, &[], &arguments), &["no credentials", "AWS_ACCESS_KEY_ID"]);
    let wrong = [("AWS_ACCESS_KEY_ID", "shardwire-tests"), ("AWS_SECRET_ACCESS_KEY", "wrong")];
    refused(run(&s3, &wrong, &arguments), &["403", "SignatureDoesNotMatch", "may these credentials do that?"]);
    refused(backup(&s3, &server, "s3://nowhere/node"), &["NoSuchBucket", "make the bucket first"]);
    refused(backup(&s3, &server, "s3:///node"), &["names no bucket"]);
    let target = room.path().join("data");
    refused(restore(&s3, &place, &target, &[]), &["there is no backup below", &place]);
    let taken = json(&backup(&s3, &server, &place));
    // Without its manifest it is none; with a changed or missing object it is a damaged one.
    let folder =
        s3.bucket(BUCKET).join(taken["path"].as_str().expect("a path").split_once("backups/").expect("ours").1);
    let manifest = std::fs::read(folder.join("MANIFEST")).expect("there");
    std::fs::remove_file(folder.join("MANIFEST")).expect("removed");
    refused(restore(&s3, &place, &target, &[]), &["there is no backup below"]);
    std::fs::write(folder.join("MANIFEST"), manifest).expect("written");
    let segment =
        std::fs::read_dir(folder.join("journal")).expect("a folder").next().expect("one").expect("one").path();
    let whole = std::fs::read(&segment).expect("readable");
    std::fs::write(&segment, &whole[1..]).expect("written");
    refused(restore(&s3, &place, &target, &[]), &["damaged"]);
    std::fs::remove_file(&segment).expect("removed");
    refused(restore(&s3, &place, &target, &[]), &["damaged", "is missing"]);
    let left = |folder: &Path| std::fs::read_dir(folder).map_or(0, Iterator::count);
    assert_eq!((left(room.path()), left(&target)), (1, 0), "nothing is left but an empty folder");
    std::fs::write(&segment, whole).expect("written");
    assert_eq!(json(&restore(&s3, &place, &target, &[]))["entries"].as_u64(), Some(5));
    let unreachable = ["backup", "--data", &data, "--to", &place];
    let endpoint = s3.endpoint();
    drop(s3);
    let mut command = Command::new(binary("shardwire"));
    command.env("AWS_ACCESS_KEY_ID", "k").env("AWS_SECRET_ACCESS_KEY", "s").args(unreachable);
    command.args(["--s3-endpoint", &endpoint]);
    refused(output(command, 60), &["no answer of the service", "refused"]);
}
