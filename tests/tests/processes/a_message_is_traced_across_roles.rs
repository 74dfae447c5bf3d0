//! A message's spans come from every process it went through, with one trace id, and hang together; a collector that is away
//! or refuses hurts nobody.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use schema::ids::UserId;
use serde_json::Value;
use shardwire_tests::process::cluster::{Cluster, Options as ClusterOptions, SMALL_JOURNAL, Shape};
use shardwire_tests::process::{Answer, Authority, Deadline, Native, Options, Server};

const CONTENT: &str = "for nobody else's eyes";

/// An OTLP collector that keeps what it gets.
struct Collector {
    endpoint: String,
    bodies: Arc<Mutex<Vec<String>>>,
}

impl Collector {
    /// Answers everything with this status.
    fn start(status: &'static str) -> Self {
        Self::over("http", move |stream| take(stream, status))
    }

    /// One behind TLS, as `authority` says.
    fn start_tls(authority: &Authority) -> Self {
        let [chain, key] = authority.issue("collector", |_| ());
        let chain = CertificateDer::pem_file_iter(chain).unwrap().collect::<Result<_, _>>().unwrap();
        let key = PrivateKeyDer::from_pem_file(key).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = Arc::new(config.with_no_client_auth().with_single_cert(chain, key).unwrap());
        Self::over("https", move |stream| {
            let session = ServerConnection::new(Arc::clone(&config)).unwrap();
            take(StreamOwned::new(session, stream), "200 OK")
        })
    }

    fn over(scheme: &str, take: impl Fn(TcpStream) -> Option<String> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("{scheme}://{}", listener.local_addr().unwrap());
        let bodies = Arc::<Mutex<Vec<String>>>::default();
        let kept = Arc::clone(&bodies);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if let Some(body) = take(stream) {
                    kept.lock().unwrap().push(body);
                }
            }
        });
        Self { endpoint, bodies }
    }

    fn config(&self) -> String {
        self.sampling("1.0")
    }

    fn sampling(&self, share: &str) -> String {
        format!("[traces]\nendpoint = \"{}\"\nsample = {share}\n", self.endpoint)
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
fn take(mut stream: impl Read + Write, status: &str) -> Option<String> {
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

/// What a REST client says of its own trace.
const CALLER: (&str, &str) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");

/// Sends by REST with this traceparent.
fn post(http: SocketAddr, token: &str, id: &str, traceparent: &str) {
    let body = format!(r#"{{"senderId":"7","receiverId":"9","message":"{CONTENT}","client_msg_id":"{id}"}}"#);
    let authorization = format!("Bearer {token}");
    let headers =
        [("Authorization", authorization.as_str()), ("Content-Type", "application/json"), ("traceparent", traceparent)];
    let answer = Answer::request(http, ("POST", "/api/v1/messages"), &headers, body.as_bytes()).unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[test]
fn a_rest_send_is_part_of_its_callers_trace_if_the_caller_records_it() {
    let collector = Collector::start("200 OK");
    let config = collector.sampling("0.000001");
    let server = Server::start(Options { config, ..Options::default() });
    let (http, token) = (server.http(), server.token(7, 1));
    let (trace, span) = CALLER;
    let other = trace.replace("0af7", "ffff");
    post(http, &token, "recorded", &format!("00-{trace}-{span}-01"));
    post(http, &token, "not-recorded", &format!("00-{other}-{span}-00"));
    post(http, &token, "nothing", "nothing of the kind");
    post(http, &token, "recorded-too", &format!("00-{trace}-{span}-01"));
    let named = |name: &str| {
        let spans = collector.traces().remove(trace).unwrap_or_default();
        let spans = spans.into_iter().map(|(_, span)| span).filter(|span| span["name"] == name);
        spans.collect::<Vec<Value>>()
    };
    let both = || named("gateway send").len() >= 2 && named("storage-writer commit").len() >= 2;
    assert!(Deadline::after_s(30).wait_until(both), "{:?}\n{}", collector.traces(), server.log());
    let (sends, commits) = (named("gateway send"), named("storage-writer commit"));
    assert!(sends.iter().all(|send| send["parentSpanId"] == span), "{sends:?}");
    let ids = |spans: &[Value], key: &str| {
        let mut ids: Vec<String> = spans.iter().map(|span| span[key].as_str().unwrap().to_owned()).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    };
    assert_eq!((ids(&sends, "spanId").len(), ids(&sends, "spanId")), (2, ids(&commits, "parentSpanId")));
    let traces: Vec<String> = collector.traces().into_keys().collect();
    assert_eq!(traces, [trace], "what its caller does not record is not told of");
}

#[test]
fn a_collector_behind_tls_is_one_that_this_host_trusts() {
    let authority = Authority::new("a collector's");
    let collector = Collector::start_tls(&authority);
    let trusting = vec!["env".to_owned(), format!("SSL_CERT_FILE={}", authority.file().display())];
    let other = Authority::new("nobody's");
    let trusting_another = vec!["env".to_owned(), format!("SSL_CERT_FILE={}", other.file().display())];
    for (through, is_trusted) in [(trusting, true), (trusting_another, false)] {
        let server = Server::start(Options { config: collector.config(), through, ..Options::default() });
        let mut sender = Native::login(server.native(), &server.token(7, 1)).unwrap();
        sender.send("1", UserId::new(9).unwrap(), b"hello").unwrap();
        let taken = || !collector.traces().is_empty();
        let dropped = || server.metric("trace_spans_dropped_total") > 0;
        let told = || if is_trusted { taken() } else { dropped() };
        assert!(Deadline::after_s(30).wait_until(told), "{}", server.log());
        assert_eq!(server.log().contains("spans are not taken"), !is_trusted, "{}", server.log());
    }
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
