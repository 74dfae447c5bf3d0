//! Objects in an S3 bucket, as far as backups need them: put a file, get one, list.
//!
//! Signed URLs (AWS Signature Version 4, by `rusty-s3`) over HTTP/1.1. Blocks; for commands, never on a shard thread. What must stay
//! true: credentials come from the environment alone, and no error or log line holds a signed URL.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use rusty_s3::actions::{ListObjectsV2, ListObjectsV2Response};
use rusty_s3::{Bucket, Credentials, S3Action, UrlStyle};
use ureq::{Agent, SendBody};
use url::Url;

use super::files::Progress;
use crate::outbound::{self, NoRoots};

/// How a place in a bucket begins.
pub const SCHEME: &str = "s3://";
/// A signed URL is good for so long: a slow transfer of one file must end in it.
const SIGNED_FOR: Duration = Duration::from_secs(3_600);
/// One file in one request; S3 takes no more (Amazon S3 User Guide, "Uploading objects").
const OBJECT_BYTES_MAX: u64 = 5_000_000_000;
/// Tries of a request, and the pause behind the first; each later one is four times as long.
const ATTEMPTS: u32 = 4;
const PAUSE: Duration = Duration::from_millis(250);
/// Without an answer, or without a byte, for so long a try ends.
const SILENCE: Duration = Duration::from_secs(30);
/// Longest list or error that is read, bytes; a list of 1,000 keys has less.
const TEXT_BYTES_MAX: u64 = 8 << 20;
const REGION: &str = "us-east-1";

/// Where and how the bucket is reached; what is missing comes from the environment.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// URL of the service; `None`: AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, else Amazon's of the region.
    pub endpoint: Option<String>,
    /// `None`: AWS_REGION, AWS_DEFAULT_REGION, else us-east-1.
    pub region: Option<String>,
}

/// Why something was not done with an object.
#[derive(Debug, thiserror::Error)]
pub enum S3Error {
    /// The place is not written as one.
    #[error("{place:?} is no place in a bucket: {why}; write s3://BUCKET/PREFIX")]
    Place {
        /// What was given.
        place: String,
        /// What is wrong with it.
        why: String,
    },
    /// There are no credentials.
    #[error(
        "no credentials for {place}: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_SESSION_TOKEN where they are temporary)"
    )]
    Credentials {
        /// The place.
        place: String,
    },
    /// This host trusts nobody.
    #[error("{endpoint} speaks TLS: {source}")]
    Roots {
        /// The service.
        endpoint: String,
        /// What is missing.
        source: NoRoots,
    },
    /// The service said no.
    #[error("{object}: {doing}: the service at {endpoint} answered {status}{space}{code}{hint}", space = if code.is_empty() { "" } else { " " })]
    Refused {
        /// s3:// and the key.
        object: String,
        /// What was being done.
        doing: &'static str,
        /// The service.
        endpoint: String,
        /// HTTP's.
        status: u16,
        /// S3's word for it; empty if it said none.
        code: String,
        /// What to do about it.
        hint: &'static str,
    },
    /// No answer came.
    #[error("{object}: {doing}: no answer of the service at {endpoint}: {source}")]
    Unreachable {
        /// s3:// and the key.
        object: String,
        /// What was being done.
        doing: &'static str,
        /// The service.
        endpoint: String,
        /// Why not.
        source: Box<ureq::Error>,
    },
    /// The answer cannot be read.
    #[error("{object}: the service at {endpoint} answered what is no S3 list: {what}")]
    Answer {
        /// s3:// and the key.
        object: String,
        /// The service.
        endpoint: String,
        /// What is wrong.
        what: String,
    },
    /// A file here.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: String,
        /// Why not.
        source: io::Error,
    },
    /// A file that one request cannot hold.
    #[error(
        "{path} has {bytes} bytes, more than the {OBJECT_BYTES_MAX} that S3 takes at once; back up to a folder, or set storage.journal_segment_bytes lower"
    )]
    TooLarge {
        /// The file.
        path: String,
        /// Its length.
        bytes: u64,
    },
}

impl S3Error {
    /// Whether the same may go well a moment later.
    const fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused { status, .. } => *status >= 500 || *status == 429 || *status == 408,
            _ => false,
        }
    }
}

/// Objects whose keys begin with a prefix.
pub struct Place {
    bucket: Bucket,
    credentials: Credentials,
    agent: Agent,
    endpoint: String,
    /// Empty, or with a slash at its end.
    prefix: String,
}

/// What is directly below a place.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Names of folders, without the slash.
    pub folders: Vec<String>,
    /// Names of objects.
    pub objects: Vec<String>,
}

impl Place {
    /// Reads `s3://BUCKET/PREFIX`. Asks nobody yet.
    ///
    /// # Errors
    /// [`S3Error`]: the text, the endpoint, credentials or certificates.
    pub fn new(place: &str, access: &Access) -> Result<Self, S3Error> {
        let bad = |why: &str| S3Error::Place { place: place.to_owned(), why: why.to_owned() };
        let rest = place.strip_prefix(SCHEME).ok_or_else(|| bad("it does not begin with s3://"))?;
        let (name, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let prefix = prefix.trim_matches('/');
        if name.is_empty() {
            return Err(bad("it names no bucket"));
        }
        if prefix.split('/').any(|part| matches!(part, "." | "..")) || prefix.contains(['\n', '\r']) {
            return Err(bad("its prefix is no plain path"));
        }
        let credentials = Credentials::from_env().ok_or_else(|| S3Error::Credentials { place: place.to_owned() })?;
        let env =
            |names: &[&str]| names.iter().find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
        let region = access.region.clone().or_else(|| env(&["AWS_REGION", "AWS_DEFAULT_REGION"]));
        let region = region.unwrap_or_else(|| REGION.to_owned());
        let given = access.endpoint.clone().or_else(|| env(&["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]));
        let style = if given.is_some() { UrlStyle::Path } else { UrlStyle::VirtualHost };
        let endpoint = given.unwrap_or_else(|| format!("https://s3.{region}.amazonaws.com"));
        let url = Url::parse(&endpoint).map_err(|error| bad(&format!("the endpoint {endpoint:?}: {error}")))?;
        let agent = outbound::agent(url.as_str(), SILENCE)
            .map_err(|source| S3Error::Roots { endpoint: endpoint.clone(), source })?;
        let bucket = Bucket::new(url, style, name.to_owned(), region)
            .map_err(|error| bad(&format!("with the endpoint {endpoint:?}: {error}")))?;
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        Ok(Self { bucket, credentials, agent, endpoint, prefix })
    }

    /// As people write it; `name` is below it.
    pub fn show(&self, name: &str) -> String {
        format!("{SCHEME}{}/{}{name}", self.bucket.name(), self.prefix)
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Writes a file to the object `name`.
    ///
    /// # Errors
    /// [`S3Error`]; the object is as it was.
    pub fn put(&self, name: &str, from: &Path, progress: &Progress) -> Result<(), S3Error> {
        let file_error = |source| S3Error::File { path: from.display().to_string(), source };
        let bytes = fs::metadata(from).map_err(file_error)?.len();
        if bytes > OBJECT_BYTES_MAX {
            return Err(S3Error::TooLarge { path: from.display().to_string(), bytes });
        }
        let key = self.key(name);
        self.attempts(|| {
            let url = self.bucket.put_object(Some(&self.credentials), &key).sign(SIGNED_FOR);
            let mut file = File::open(from).map_err(file_error)?;
            // With its length in the head: S3 takes no chunks of unknown number.
            let request = self.agent.put(url.as_str()).header("content-length", bytes.to_string());
            let answer = request.send(SendBody::from_reader(&mut file));
            self.judged(name, "writing it", answer).map(drop)
        })?;
        progress.advance(bytes);
        Ok(())
    }

    /// Reads the object `name` into a new file.
    ///
    /// # Errors
    /// [`S3Error`].
    pub fn get(&self, name: &str, to: &Path, progress: &Progress) -> Result<(), S3Error> {
        let key = self.key(name);
        let bytes = self.attempts(|| {
            let url = self.bucket.get_object(Some(&self.credentials), &key).sign(SIGNED_FOR);
            let mut answer = self.judged(name, "reading it", self.agent.get(url.as_str()).call())?;
            let mut file =
                File::create(to).map_err(|source| S3Error::File { path: to.display().to_string(), source })?;
            let mut body = answer.body_mut().with_config().limit(OBJECT_BYTES_MAX).reader();
            io::copy(&mut body, &mut file).map_err(|error| self.unreachable(name, "reading it", error.into()))
        })?;
        progress.advance(bytes);
        Ok(())
    }

    /// What is directly below.
    ///
    /// # Errors
    /// [`S3Error`].
    pub fn list(&self) -> Result<Listing, S3Error> {
        let mut listing = Listing::default();
        let mut more: Option<String> = None;
        loop {
            let page = self.attempts(|| self.page(more.as_deref()))?;
            let inner = |key: &str| key.strip_prefix(&self.prefix).unwrap_or_default().trim_end_matches('/').to_owned();
            listing.folders.extend(page.common_prefixes.iter().map(|folder| inner(&folder.prefix)));
            listing.objects.extend(page.contents.iter().map(|object| inner(&object.key)));
            match page.next_continuation_token {
                Some(token) => more = Some(token),
                None => return Ok(listing),
            }
        }
    }

    fn page(&self, more: Option<&str>) -> Result<ListObjectsV2Response, S3Error> {
        let mut action = self.bucket.list_objects_v2(Some(&self.credentials));
        action.with_prefix(self.prefix.as_str());
        action.with_delimiter("/");
        if let Some(token) = more {
            action.with_continuation_token(token);
        }
        let url = action.sign(SIGNED_FOR);
        let mut answer = self.judged("", "listing it", self.agent.get(url.as_str()).call())?;
        let text = answer.body_mut().with_config().limit(TEXT_BYTES_MAX).read_to_string();
        let text = text.map_err(|error| self.unreachable("", "listing it", error))?;
        ListObjectsV2::parse_response(&text).map_err(|error| S3Error::Answer {
            object: self.show(""),
            endpoint: self.endpoint.clone(),
            what: error.to_string(),
        })
    }

    fn attempts<T>(&self, mut attempt: impl FnMut() -> Result<T, S3Error>) -> Result<T, S3Error> {
        let mut pause = PAUSE;
        for _ in 1..ATTEMPTS {
            match attempt() {
                Err(error) if error.is_passing() => tracing::info!(%error, "trying again"),
                done => return done,
            }
            sleep(pause);
            pause *= 4;
        }
        attempt()
    }

    fn unreachable(&self, name: &str, doing: &'static str, source: ureq::Error) -> S3Error {
        S3Error::Unreachable {
            object: self.show(name),
            doing,
            endpoint: self.endpoint.clone(),
            source: Box::new(source),
        }
    }

    fn judged(
        &self,
        name: &str,
        doing: &'static str,
        answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<ureq::http::Response<ureq::Body>, S3Error> {
        let mut answer = answer.map_err(|source| self.unreachable(name, doing, source))?;
        let status = answer.status().as_u16();
        if answer.status().is_success() {
            return Ok(answer);
        }
        let text = answer.body_mut().with_config().limit(TEXT_BYTES_MAX).read_to_string().unwrap_or_default();
        let code = error_code(&text).unwrap_or_default().to_owned();
        let hint = match (status, code.as_str()) {
            (_, "NoSuchBucket") => "; make the bucket first",
            (_, "RequestTimeTooSkewed") => "; set this host's clock",
            (301 | 307 | 400, _) => "; is it the bucket's region (--s3-region)?",
            (401 | 403, _) => "; may these credentials do that?",
            _ => "",
        };
        Err(S3Error::Refused { object: self.show(name), doing, endpoint: self.endpoint.clone(), status, code, hint })
    }
}

/// What S3 calls an error, out of its XML: one word.
fn error_code(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("<Code>")?;
    let (code, _) = rest.split_once("</Code>")?;
    (code.len() <= 64 && code.bytes().all(|byte| byte.is_ascii_alphanumeric())).then_some(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_place_is_named() {
        for (place, why) in [
            ("/tmp/x", "does not begin"),
            ("s3://", "names no bucket"),
            ("s3:///x", "names no bucket"),
            ("s3://b/../x", "no plain path"),
            ("s3://b/x\ny", "no plain path"),
        ] {
            let Err(error) = Place::new(place, &Access::default()) else { panic!("{place:?} was taken") };
            assert!(error.to_string().contains(why), "{place:?}: {error}");
        }
    }

    #[test]
    fn an_error_code_is_one_word_or_none() {
        assert_eq!(error_code("<Error><Code>NoSuchBucket</Code><Message>x</Message></Error>"), Some("NoSuchBucket"));
        for text in ["", "<Code>", "<Code></b>", "<Code>a b</Code>", "<Code>x\u{1b}[0m</Code>"] {
            assert_eq!(error_code(text), None, "{text:?}");
        }
    }
}
