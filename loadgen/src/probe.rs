//! One look at the server before any load: is it there, what does it allow, does the scenario fit.

use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use fabric::entropy::OsEntropy;
use schema::encode::Encoder;
use schema::frame::{FrameRef, frame_len};
use schema::limits::FRAME_LIMIT_BYTES;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::fail::Failure;
use crate::scenario::{Encoding, Load, Mode};
use crate::secure::{self, Secure};
use crate::wire::{Scratch, Speech, Tools, WebSocket, WireError};

/// A server that does not answer for so long is not there.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// A device no user of a load has.
const PROBE_DEVICE: u32 = u32::MAX;
/// What a Send frame has besides its body, bytes, at most.
const SEND_OVERHEAD_BYTES: usize = 256;

/// What a server allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Allowed {
    /// Bytes of a frame.
    pub frame_bytes: u32,
    /// Unanswered sends of a session; 0 = unlimited.
    pub in_flight_per_session: u32,
    /// Sends of a user a second; 0 = unlimited.
    pub sends_per_second_per_user: u32,
    /// Sends of a user at once; 0 = unlimited.
    pub burst_per_user: u32,
    /// How often clients ping, ms.
    pub ping_interval_ms: u32,
    /// A silent session is closed after so long, ms.
    pub idle_timeout_ms: u32,
}

/// The device a probe uses.
pub const fn device() -> u32 {
    PROBE_DEVICE
}

/// An address from text.
///
/// # Errors
/// [`Failure::Unreachable`] when it names no address.
pub fn resolve(target: &str) -> Result<SocketAddr, Failure> {
    let unreachable = |reason: String| Failure::Unreachable { target: target.to_owned(), reason };
    let mut addresses = target.to_socket_addrs().map_err(|e| unreachable(format!("expected HOST:PORT: {e}")))?;
    addresses.next().ok_or_else(|| unreachable("no address".to_owned()))
}

/// Connects, says Hello, reads Welcome. `host`: the listener is a WebSocket one, known by that name; its subprotocol
/// `flatbuffers` has a Welcome too.
///
/// # Errors
/// [`Failure::Unreachable`] with the reason, the server's own where it gave one.
pub fn ask(target: SocketAddr, host: Option<&str>, secure: Option<&Secure>, token: &str) -> Result<Allowed, Failure> {
    converse(target, host, secure, token).map_err(|reason| Failure::Unreachable { target: target.to_string(), reason })
}

fn converse(target: SocketAddr, host: Option<&str>, secure: Option<&Secure>, token: &str) -> Result<Allowed, String> {
    let stream = TcpStream::connect_timeout(&target, ANSWER_WITHIN).map_err(|e| e.to_string())?;
    stream.set_read_timeout(Some(ANSWER_WITHIN)).map_err(|e| e.to_string())?;
    let mut stream = secure::stream(secure, stream).map_err(|e| e.to_string())?;
    let hello = Encoder::new().hello(token.as_bytes(), b"shardwire-loadgen probe", 0);
    let speech = Speech { encoding: Encoding::FlatBuffers, allowed: Allowed::default() };
    let (mut encoder, mut scratch) = (Encoder::new(), Scratch::default());
    let mut tools = Tools {
        speech: &speech,
        host: host.unwrap_or_default(),
        encoder: &mut encoder,
        entropy: &mut OsEntropy,
        scratch: &mut scratch,
    };
    let (mut websocket, mut first, mut answers) = (WebSocket::default(), Vec::new(), Vec::new());
    match host {
        Some(_) => websocket.say(&mut tools, &hello, &mut first).map_err(|e| e.to_string())?,
        None => first.extend_from_slice(&hello),
    }
    stream.write_all(&first).map_err(|e| e.to_string())?;
    let (mut bytes, mut heard) = (Vec::new(), Ok::<(), WireError>(()));
    loop {
        let whole = frame_len(&bytes, 4 * FRAME_LIMIT_BYTES).map_err(|e| format!("not a Shardwire server: {e}"))?;
        if let Some(len) = whole.filter(|len| bytes.len() >= *len) {
            let frame =
                FrameRef::verify_from_server(&bytes[..len]).map_err(|e| format!("not a Shardwire server: {e}"))?;
            return answer(frame);
        }
        if let Err(error) = heard {
            return Err(error.to_string());
        }
        let mut part = [0; 4_096];
        match stream.read(&mut part) {
            Ok(0) => return Err("it closed the connection without an answer".to_owned()),
            Ok(read) if host.is_some() => heard = websocket.hear(&mut tools, &part[..read], &mut bytes, &mut answers),
            Ok(read) => bytes.extend_from_slice(&part[..read]),
            Err(error) => return Err(format!("no answer to Hello: {error}")),
        }
    }
}

fn answer(frame: FrameRef<'_>) -> Result<Allowed, String> {
    let root = frame.root();
    if let Some(welcome) = root.body_as_welcome() {
        return Ok(Allowed {
            frame_bytes: welcome.frame_limit_bytes(),
            in_flight_per_session: welcome.window(),
            sends_per_second_per_user: welcome.sends_per_second(),
            burst_per_user: welcome.burst(),
            ping_interval_ms: welcome.ping_interval_ms(),
            idle_timeout_ms: welcome.idle_timeout_ms(),
        });
    }
    let (code, text) = match (root.body_as_goodbye(), root.body_as_error()) {
        (Some(goodbye), _) => (goodbye.code(), goodbye.text()),
        (_, Some(error)) => (error.code(), error.text()),
        _ => return Err("its first answer is no Welcome".to_owned()),
    };
    let text = text.map_or_else(Default::default, |text| String::from_utf8_lossy(text.bytes()));
    Err(format!("refused with {code}: {text}"))
}

/// Whether the scenario fits what the server allows.
///
/// # Errors
/// [`Failure::Limits`]: which key exceeds which limit.
pub fn fits(load: &Load, allowed: &Allowed) -> Result<(), Failure> {
    let refuse = |text: String| Err(Failure::Limits(text));
    if !load.sends() {
        return Ok(());
    }
    let frame = load.size_bytes + SEND_OVERHEAD_BYTES;
    if frame > allowed.frame_bytes as usize {
        return refuse(format!(
            "load.size_bytes = {} needs frames of {frame} bytes, limits.frame_bytes is {}",
            load.size_bytes, allowed.frame_bytes
        ));
    }
    let window = load.in_flight.unwrap_or(1);
    if allowed.in_flight_per_session > 0 && window > allowed.in_flight_per_session {
        return refuse(format!(
            "load.in_flight = {window}, limits.in_flight_per_session is {}",
            allowed.in_flight_per_session
        ));
    }
    let rate = allowed.sends_per_second_per_user;
    if rate > 0 && load.mode == Mode::Closed && load.think.is_none() {
        return refuse(format!(
            "load.mode = \"closed\" sends as fast as it is answered, limits.sends_per_second_per_user is {rate}: set it to 0 for this run, use load.think, or load.mode = \"open\""
        ));
    }
    if rate > 0 && load.rate_per_user() > f64::from(rate) {
        return refuse(format!(
            "load.rate = {} over {} users is {:.1} a second each, limits.sends_per_second_per_user is {rate}",
            load.peak_rate(),
            load.users,
            load.rate_per_user()
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::scenario::Scenario;

    fn refusal(keys: &str, allowed: Allowed) -> String {
        let text = format!("[load]\nusers = 10\nsteady_s = 1.0\n{keys}");
        fits(&Scenario::parse(&text).unwrap().load, &allowed).err().map(|e| e.to_string()).unwrap_or_default()
    }

    const DEFAULTS: Allowed = Allowed {
        frame_bytes: 65_536,
        in_flight_per_session: 4_096,
        sends_per_second_per_user: 1_000,
        burst_per_user: 5_000,
        ping_interval_ms: 20_000,
        idle_timeout_ms: 75_000,
    };

    #[test]
    fn what_exceeds_a_limit_is_refused_by_both_names() {
        let text = refusal("mode = \"open\"\nrate = 20000.0", DEFAULTS);
        assert!(text.contains("load.rate = 20000") && text.contains("sends_per_second_per_user is 1000"), "{text}");
        let text = refusal("mode = \"open\"\nrate = 1.0\nsize_bytes = 65536", DEFAULTS);
        assert!(text.contains("load.size_bytes = 65536") && text.contains("limits.frame_bytes is 65536"), "{text}");
        let unlimited = Allowed { sends_per_second_per_user: 0, ..DEFAULTS };
        let text = refusal("mode = \"closed\"\nin_flight = 5000", unlimited);
        assert!(text.contains("load.in_flight = 5000") && text.contains("4096"), "{text}");
        assert!(refusal("mode = \"closed\"\nin_flight = 16", DEFAULTS).contains("set it to 0"));
        assert_eq!(refusal("mode = \"closed\"\nin_flight = 16", unlimited), "");
        assert_eq!(refusal("mode = \"open\"\nrate = 10000.0", DEFAULTS), "");
    }

    #[test]
    fn an_unreachable_target_says_why() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        drop(listener);
        let text = ask(addr, None, None, "token").unwrap_err().to_string();
        assert!(text.contains(&addr.to_string()) && text.contains("refused"), "{text}");
        assert!(resolve("nowhere").unwrap_err().to_string().contains("HOST:PORT"));
    }

    #[test]
    fn something_else_that_listens_is_told_apart() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        });
        assert!(ask(addr, None, None, "token").unwrap_err().to_string().contains("not a Shardwire server"));
        server.join().unwrap();
    }
}
