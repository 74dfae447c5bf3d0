//! A message's spans come from every process it went through, with one trace id, and hang together; a collector that is away
//! or refuses hurts nobody.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use schema::ids::UserId;
use serde_json::Value;
use shardwire_tests::process::cluster::{Cluster, Options as ClusterOptions, SMALL_JOURNAL, Shape};
use shardwire_tests::process::{Deadline, Native, Options, Server};

const CONTENT: &str = "for nobody else's eyes";

/// An OTLP collector that keeps what it gets.
struct Collector {
    address: SocketAddr,
    bodies: Arc<Mutex<Vec<String>>>,
}

impl Collector {
    /// Answers everything with this status.
    fn start(status: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, bodies) = (listener.local_addr().unwrap(), Arc::<Mutex<Vec<String>>>::default());
        let kept = Arc::clone(&bodies);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if let Some(body) = take(stream, status) {
                    kept.lock().unwrap().push(body);
                }
            }
        });
        Self { address, bodies }
    }

    fn config(&self) -> String {
        format!("[traces]\nendpoint = \"http://{}\"\nsample = 1.0\n", self.address)
    }

    /// The spans of each trace, each with the node that told of it.
    fn traces(&self) -> BTreeMap<String, Vec<(String, Value)>> {
        let mut traces = BTreeMap::<String, Vec<(String, Value)>>::new();
        for body in &*self.bodies.lock().unwrap() {
            let body: Value = serde_json::from_str(body).expect("JSON");
            for resource in body["resourceSpans"].as_array().unwrap() {
                let attributes = resource["resource"]["attributes"].as_array().unwrap();
                let value =
                    |key| attributes.iter().find(|one| one["key"] == key).map(|one| &one["value"]["stringValue"]);
                assert_eq!(value("service.name").unwrap(), "shardwire");
                let node = value("shardwire.node").unwrap().as_str().unwrap().to_owned();
                for span in resource["scopeSpans"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .flat_map(|scope| scope["spans"].as_array().unwrap())
                {
                    let trace = span["traceId"].as_str().unwrap().to_owned();
                    traces.entry(trace).or_default().push((node.clone(), span.clone()));
                }
            }
        }
        traces
    }
}

/// One request's body.
fn take(mut stream: TcpStream, status: &str) -> Option<String> {
    let (mut bytes, mut chunk) = (Vec::new(), [0; 4_096]);
    let (head, length) = loop {
        let text = String::from_utf8_lossy(&bytes);
        if let Some(head) = text.find("\r\n\r\n") {
            let line = text.lines().find(|line| line.to_ascii_lowercase().starts_with("content-length:"))?;
            break (head + 4, line.split_once(':')?.1.trim().parse::<usize>().ok()?);
        }
        let read = stream.read(&mut chunk).ok().filter(|read| *read > 0)?;
        bytes.extend_from_slice(&chunk[..read]);
    };
    while bytes.len() < head + length {
        let read = stream.read(&mut chunk).ok().filter(|read| *read > 0)?;
        bytes.extend_from_slice(&chunk[..read]);
    }
    let request = String::from_utf8(bytes).ok()?;
    assert!(request.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{request}");
    let _ = write!(stream, "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}");
    Some(request[head..].to_owned())
}

#[test]
fn a_message_is_traced_across_roles() {
    let collector = Collector::start("200 OK");
    let folder = tempfile::tempdir().unwrap();
    let options = ClusterOptions::of_test(Shape { gateways: 2, routers: 1, writers: 1 }, folder.path());
    let config = format!("{SMALL_JOURNAL}{}", collector.config());
    let mut cluster = Cluster::new(&ClusterOptions { config, ..options }).unwrap();
    cluster.start().unwrap_or_else(|error| panic!("{error}"));
    let natives = cluster.natives();
    let (from, to) = (4_102_444_800_001, UserId::new(4_102_444_800_002).unwrap());
    let mut receiver = Native::login(natives[1], &cluster.token(to.get(), 1).unwrap()).unwrap();
    let mut sender = Native::login(natives[0], &cluster.token(from, 1).unwrap()).unwrap();
    for number in 0..5 {
        sender.send(&format!("id-{number}"), to, CONTENT.as_bytes()).unwrap();
    }
    let whole = || {
        let all = ["gw-1", "gw-2", "rt-1", "sw-1"];
        collector.traces().into_values().find(|spans| all.iter().all(|node| spans.iter().any(|(of, _)| of == node)))
    };
    let mut found = None;
    let deadline = Deadline::after_s(60);
    assert!(
        deadline.wait_until(|| {
            let _ = receiver.next_within(std::time::Duration::from_millis(20));
            found = whole();
            found.is_some()
        }),
        "{:?}",
        collector.traces()
    );
    let spans = found.unwrap();
    let one = |node: &str, name: &str| {
        let span = spans.iter().find(|(of, span)| of == node && span["name"] == name);
        &span.unwrap_or_else(|| panic!("no {name:?} of {node}: {spans:?}")).1
    };
    let (send, commit) = (one("gw-1", "gateway send"), one("sw-1", "storage-writer commit"));
    let (route, deliver) = (one("rt-1", "router route"), one("gw-2", "gateway deliver"));
    assert!(send["parentSpanId"].is_null() && commit["parentSpanId"] == send["spanId"], "{spans:?}");
    assert!(route["parentSpanId"] == commit["spanId"] && deliver["parentSpanId"] == commit["spanId"], "{spans:?}");
    let time = |span: &Value, key: &str| span[key].as_str().unwrap().parse::<u64>().unwrap();
    for span in [send, commit, route, deliver] {
        assert!(time(span, "startTimeUnixNano") <= time(span, "endTimeUnixNano"), "{span}");
        assert!(time(span, "startTimeUnixNano") > 1_700_000_000_000_000_000, "{span}");
    }
    for body in &*collector.bodies.lock().unwrap() {
        for secret in [CONTENT, "4102444800001", "4102444800002", "id-0"] {
            assert!(!body.contains(secret), "{secret:?} is in {body}");
        }
    }
    cluster.stop().unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn a_collector_that_is_away_or_refuses_hurts_nobody() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let away = format!("[traces]\nendpoint = \"http://{nobody}\"\nsample = 1.0\n");
    let refusing = Collector::start("503 Service Unavailable").config();
    for config in [away, refusing] {
        let mut server = Server::start(Options { config, ..Options::default() });
        let mut sender = Native::login(server.native(), &server.token(7, 1)).unwrap();
        for number in 0..20 {
            sender.send(&number.to_string(), UserId::new(9).unwrap(), b"hello").unwrap();
        }
        let dropped = || server.metric("trace_spans_dropped_total") > 0;
        assert!(Deadline::after_s(30).wait_until(dropped), "{}", server.log());
        assert!(server.metric("trace_spans_total") >= 20 && server.log().contains("spans are not taken"));
        sender.send("still", UserId::new(9).unwrap(), b"hello").unwrap();
        server.terminate();
    }
}
