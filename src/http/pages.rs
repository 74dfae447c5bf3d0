//! The pages: `web/`, embedded, with what browsers need to keep them safe.

use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use xxhash_rust::xxh3::xxh3_128;

use super::App;
use super::guard::nothing_here;
use super::info::ws_origin;

/// One file of the folder.
struct File {
    /// Its path below `web/`.
    name: &'static str,
    bytes: &'static [u8],
}

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        /// Every file of `web/` but the scripts' sources (`web/src`).
        const FILES: &[File] = &[
            $(File { name: $name, bytes: include_bytes!(concat!("../../web/", $name)) },)*
        ];
    };
}

files! {
    "assets/api.js",
    "assets/base.css",
    "assets/bubbles.js",
    "assets/chart.js",
    "assets/chat.css",
    "assets/chat.js",
    "assets/console.css",
    "assets/console.js",
    "assets/device.js",
    "assets/dom.js",
    "assets/ends.js",
    "assets/groups.js",
    "assets/history.js",
    "assets/icon.svg",
    "assets/lines.js",
    "assets/loader.js",
    "assets/members.js",
    "assets/menu.js",
    "assets/messages.js",
    "assets/model.js",
    "assets/numbers.js",
    "assets/own.js",
    "assets/settings.js",
    "assets/shardwire/acts.js",
    "assets/shardwire/bytes.js",
    "assets/shardwire/client.js",
    "assets/shardwire/core/acts.js",
    "assets/shardwire/core/asks.js",
    "assets/shardwire/core/chats.js",
    "assets/shardwire/core/closes.js",
    "assets/shardwire/core/core.js",
    "assets/shardwire/core/outbox.js",
    "assets/shardwire/core/outcomes.js",
    "assets/shardwire/core/position.js",
    "assets/shardwire/core/sends.js",
    "assets/shardwire/core/types.js",
    "assets/shardwire/fold.js",
    "assets/shardwire/generated/errors.js",
    "assets/shardwire/ids.js",
    "assets/shardwire/index.js",
    "assets/shardwire/json/answers.js",
    "assets/shardwire/json/entry.js",
    "assets/shardwire/json/fields.js",
    "assets/shardwire/json/index.js",
    "assets/shardwire/sha256.js",
    "assets/shardwire/store/indexeddb.js",
    "assets/shardwire/store/memory.js",
    "assets/shardwire/store/store.js",
    "assets/shardwire/wire.js",
    "assets/signin.js",
    "assets/starting.js",
    "assets/states.js",
    "assets/talk.css",
    "assets/talk.js",
    "assets/view.js",
    "assets/words.js",
    "assets/writing.js",
    "console.html",
    "index.html",
}

impl File {
    fn of(name: &str) -> Option<&'static Self> {
        FILES.iter().find(|file| file.name == name)
    }

    fn kind(&self) -> &'static str {
        match self.name.rsplit_once('.').map_or("", |(_, extension)| extension) {
            "html" => "text/html; charset=utf-8",
            "css" => "text/css; charset=utf-8",
            "js" | "mjs" => "text/javascript; charset=utf-8",
            "svg" => "image/svg+xml",
            "png" => "image/png",
            "json" => "application/json",
            "webmanifest" => "application/manifest+json",
            "woff2" => "font/woff2",
            _ => "application/octet-stream",
        }
    }
}

/// `GET /`: the chat.
pub async fn index(State(app): State<App>, headers: HeaderMap) -> Response {
    file(&app, &headers, "index.html")
}

/// `GET /console`: the live page for operators.
pub async fn console(State(app): State<App>, headers: HeaderMap) -> Response {
    file(&app, &headers, "console.html")
}

/// `GET /assets/…`: what the pages need.
pub async fn asset(State(app): State<App>, Path(name): Path<String>, headers: HeaderMap) -> Response {
    file(&app, &headers, &format!("assets/{name}"))
}

fn file(app: &App, request: &HeaderMap, name: &str) -> Response {
    let Some(file) = File::of(name) else { return nothing_here().into_response() };
    let tag = format!("\"{:032x}\"", xxh3_128(file.bytes));
    let known = request.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let same = known
        .is_some_and(|known| known == "*" || known.split(',').any(|one| one.trim().trim_start_matches("W/") == tag));
    let mut response = if same { StatusCode::NOT_MODIFIED.into_response() } else { file.bytes.into_response() };
    // A page may talk to this server and its WebSocket, run its own scripts, and be framed by nobody.
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; manifest-src 'self'; \
         connect-src 'self' {}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ws_origin(app, request)
    );
    let headers = response.headers_mut();
    let mut set = |name: HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    };
    if !same {
        set(header::CONTENT_TYPE, file.kind());
    }
    set(header::ETAG, &tag);
    // Asked for again each time, and answered with 304 while it is the same: a new server's pages count at once.
    set(header::CACHE_CONTROL, "no-cache");
    set(header::CONTENT_SECURITY_POLICY, &policy);
    set(HeaderName::from_static("cross-origin-opener-policy"), "same-origin");
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_folder_is_served_with_its_type() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("web");
        let (mut names, mut folders) = (Vec::new(), vec![root.clone()]);
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_file() {
                    names.push(path.strip_prefix(&root).unwrap().to_string_lossy().into_owned());
                } else if path != root.join("src") {
                    folders.push(path);
                }
            }
        }
        names.sort();
        let mut served: Vec<&str> = FILES.iter().map(|file| file.name).collect();
        served.sort_unstable();
        assert_eq!(served, names, "web/ and the table in src/http/pages.rs");
        for file in FILES {
            assert_ne!(file.kind(), "application/octet-stream", "{} has a type", file.name);
        }
    }
}
