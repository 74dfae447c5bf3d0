//! A Redis that is away, asks for another password, holds another cluster's directory or cannot hold one: the start says what
//! to do, and nothing is changed there.

use shardwire_tests::process::{Authority, Deadline, Native, Options, Redis, Server};

fn options(directory: &str) -> Options {
    Options { config: format!("{}{directory}", Options::default().config), ..Options::default() }
}

fn refusal(directory: &str) -> String {
    let refused = Server::new(options(directory)).start_in_vain();
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success(), "{text}");
    // Words, not lines.
    text.split_whitespace().filter(|word| *word != "│").collect::<Vec<_>>().join(" ")
}

/// Every metric that the manual or an alert names.
fn what_is_documented_is_counted(exposed: &str) {
    let manual = include_str!("../../../docs/OPERATIONS.md");
    let alerts = include_str!("../../../deploy/monitoring/alerts.yml");
    let words = [manual, alerts].into_iter().flat_map(|text| text.split(|c: char| !c.is_alphanumeric() && c != '_'));
    let named: Vec<&str> = words.filter(|word| word.starts_with("shardwire_directory_")).collect();
    assert!(named.len() > 8, "{named:?}");
    for name in named {
        assert!(exposed.contains(&format!("\n{name} ")), "{name} is not in\n{exposed}");
    }
}

#[test]
fn the_start_says_what_is_wrong_with_redis() {
    // Port 1 of loopback is nobody's.
    let text = refusal("[directory]\nurls = [\"redis://127.0.0.1:1\"]\n");
    assert!(text.contains("no Redis answers at 127.0.0.1:1") && text.contains("directory.urls"), "{text}");

    let redis = Redis::single();
    redis.say(&["SET", "shardwire:directory", "somebody else"]);
    let text = refusal(&redis.config());
    assert!(text.contains("somebody else") && text.contains("delete the key shardwire:directory"), "{text}");
    assert_eq!(redis.say(&["GET", "shardwire:directory"]), "somebody else");

    let other = Redis::single();
    let both = [redis.urls(), other.urls()].concat();
    let text = refusal(&format!("[directory]\nurls = {both:?}\n"));
    assert!(text.contains("names 2 addresses") && text.contains("no node of a Redis Cluster"), "{text}");

    redis.say(&["DEL", "shardwire:directory"]);
    redis.say(&["REPLICAOF", "127.0.0.1", &other.addresses()[0].port().to_string()]);
    let text = refusal(&redis.config());
    assert!(text.contains("READONLY") || text.contains("read only"), "{text}");
    assert!(text.contains("a primary"), "{text}");
}

#[test]
fn a_password_is_taken_from_its_file() {
    let redis = Redis::with_password("open sesame");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    let with_file = format!("{}password_file = {:?}\n", redis.config(), file.display().to_string());
    let text = refusal(&redis.config());
    assert!(text.contains("does not take this user or password") && text.contains("directory.password_file"), "{text}");
    std::fs::write(&file, "hunter2\n").unwrap();
    let text = refusal(&with_file);
    assert!(text.contains("does not take this user or password") && !text.contains("hunter2"), "{text}");

    std::fs::write(&file, "open sesame\n").unwrap();
    let mut server = Server::start(options(&with_file));
    let session = Native::login(server.native(), &server.token(7, 1)).expect("a session");
    let noted = || redis.say(&["EXISTS", "user:{7}:online"]) == "1";
    assert!(Deadline::after_s(20).wait_until(noted), "the session is noted\n{}", server.log());
    assert_eq!((server.metric("directory_away"), server.metric("directory_write_failures_total")), (0, 0));
    what_is_documented_is_counted(&server.get("/metrics").body);
    drop(session);
    let gone = || redis.say(&["EXISTS", "user:{7}:online", "user:{7}:connection"]) == "0";
    assert!(Deadline::after_s(20).wait_until(gone), "its end is noted\n{}", server.log());
    server.terminate();
    // Another data folder is another cluster.
    let text = refusal(&with_file);
    assert!(text.contains("holds the directory of cluster"), "{text}");
}

#[test]
fn a_redis_behind_tls_is_written_to_where_its_certificate_is_trusted() {
    let authority = Authority::new("the test's");
    let redis = Redis::with_tls(&authority);
    let text = refusal(&redis.config());
    assert!(text.contains("no Redis answers") && text.to_lowercase().contains("certificate"), "{text}");
    let trusted = format!("SSL_CERT_FILE={}", authority.file().display());
    let server = Server::start(Options { through: vec!["env".to_owned(), trusted], ..options(&redis.config()) });
    let _session = Native::login(server.native(), &server.token(7, 1)).expect("a session");
    let noted = || redis.say(&["EXISTS", "user:{7}:online"]) == "1";
    assert!(Deadline::after_s(20).wait_until(noted), "the session is noted\n{}", server.log());
}
