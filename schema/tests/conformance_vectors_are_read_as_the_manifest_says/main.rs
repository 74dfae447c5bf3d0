//! The frames in `schema/vectors` are what `manifest.json` there says: valid ones have these fields, the others are refused
//! for this reason. `tests/python/conformance.py` reads the same files with another FlatBuffers runtime.
//!
//! `SHARDWIRE_WRITE_VECTORS=1 cargo test -p shardwire-schema --test conformance_vectors_are_read_as_the_manifest_says` writes
//! them anew; the same code gives the same bytes.
#![allow(missing_docs)]

mod amendments;
mod fields;
mod groups;
mod hostile;
mod valid;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Once;

use schema::frame::{FrameError, FrameRef};
use serde_json::{Value, json};

/// A frame and what a reader must make of it.
struct Vector {
    name: String,
    bytes: Vec<u8>,
    /// Whether it comes from a server: history pages may have many tables.
    from_server: bool,
    /// `None`: valid.
    refused: Option<Reason>,
}

/// Why a frame is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Reason {
    /// Shorter or longer than its prefix says, or than any frame is.
    Length,
    /// Not `SWC1`.
    Identifier,
    /// Offsets, lengths or counts of its tables.
    Tables,
}

impl Reason {
    const fn name(self) -> &'static str {
        match self {
            Self::Length => "length",
            Self::Identifier => "identifier",
            Self::Tables => "tables",
        }
    }

    fn of(error: &FrameError) -> Self {
        match error {
            FrameError::Truncated { .. } | FrameError::TooLarge { .. } => Self::Length,
            FrameError::WrongIdentifier => Self::Identifier,
            FrameError::Malformed(_) => Self::Tables,
        }
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors")
}

fn read(bytes: &[u8], from_server: bool) -> Result<FrameRef<'_>, FrameError> {
    if from_server { FrameRef::verify_from_server(bytes) } else { FrameRef::verify(bytes) }
}

fn entry(vector: &Vector) -> Value {
    let mut entry = json!({
        "file": format!("{}.bin", vector.name),
        "from": if vector.from_server { "server" } else { "client" },
        "verdict": if vector.refused.is_none() { "valid" } else { "refused" },
    });
    if let Some(reason) = vector.refused {
        entry["reason"] = reason.name().into();
        return entry;
    }
    let frame = read(&vector.bytes, vector.from_server).unwrap_or_else(|error| panic!("{}: {error}", vector.name));
    let (body, fields) = fields::of(frame.root());
    entry["body"] = body.into();
    entry["fields"] = fields;
    entry
}

fn all() -> Vec<Vector> {
    let mut vectors = valid::vectors();
    vectors.extend(hostile::vectors());
    vectors
}

fn manifest(vectors: &[Vector]) -> String {
    let entries: Vec<Value> = vectors.iter().map(entry).collect();
    let about = "What a reader must make of each file: see README.md here.";
    let text = serde_json::to_string_pretty(&json!({ "about": about, "identifier": "SWC1", "frames": entries }));
    text.unwrap() + "\n"
}

fn write(vectors: &[Vector]) {
    fs::create_dir_all(folder()).unwrap();
    for file in fs::read_dir(folder()).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "bin") {
            fs::remove_file(path).unwrap();
        }
    }
    for vector in vectors {
        fs::write(folder().join(format!("{}.bin", vector.name)), &vector.bytes).unwrap();
    }
    fs::write(folder().join("manifest.json"), manifest(vectors)).unwrap();
}

/// The files as they are; written first when that is asked for.
fn committed() -> Vec<(Value, Vec<u8>)> {
    static WRITTEN: Once = Once::new();
    if std::env::var_os("SHARDWIRE_WRITE_VECTORS").is_some() {
        WRITTEN.call_once(|| write(&all()));
    }
    let text = fs::read_to_string(folder().join("manifest.json")).expect("schema/vectors/manifest.json is there");
    let manifest: Value = serde_json::from_str(&text).unwrap();
    let entries = manifest["frames"].as_array().unwrap().clone();
    let bytes = |entry: &Value| fs::read(folder().join(entry["file"].as_str().unwrap())).unwrap();
    entries.into_iter().map(|entry| (entry.clone(), bytes(&entry))).collect()
}

#[test]
fn every_committed_vector_is_read_as_its_manifest_says() {
    let committed = committed();
    for (entry, bytes) in &committed {
        let file = &entry["file"];
        match read(bytes, entry["from"] == "server") {
            Ok(frame) => {
                assert_eq!(entry["verdict"], "valid", "{file} was taken");
                let (body, fields) = fields::of(frame.root());
                assert_eq!((&entry["body"], &entry["fields"]), (&body.into(), &fields), "{file}");
            }
            Err(error) => {
                assert_eq!(entry["verdict"], "refused", "{file} was refused: {error}");
                assert_eq!(entry["reason"], Reason::of(&error).name(), "{file}: {error}");
            }
        }
    }
    let files = fs::read_dir(folder())
        .unwrap()
        .filter(|file| file.as_ref().unwrap().path().extension().is_some_and(|extension| extension == "bin"));
    assert_eq!(files.count(), committed.len(), "every file is in the manifest once");
}

#[test]
fn the_committed_vectors_are_what_the_code_makes() {
    let (made, committed) = (all(), committed());
    assert_eq!(made.len(), committed.len());
    for (vector, (entry, bytes)) in made.iter().zip(&committed) {
        assert_eq!(entry["file"], format!("{}.bin", vector.name));
        assert!(vector.bytes == *bytes, "{} differs; write the vectors anew", vector.name);
    }
    let text = fs::read_to_string(folder().join("manifest.json")).unwrap();
    assert!(text == manifest(&made), "manifest.json differs; write the vectors anew");
}

#[test]
fn every_body_kind_and_every_reason_has_vectors() {
    let committed = committed();
    for body in
        schema::wire::Body::ENUM_VALUES.iter().filter_map(|body| body.variant_name()).filter(|&name| name != "NONE")
    {
        let kinds = committed.iter().filter(|(entry, _)| entry["body"] == body).count();
        assert!(kinds >= 2, "{body}: minimal and full");
    }
    for reason in ["length", "identifier", "tables"] {
        let count = committed.iter().filter(|(entry, _)| entry["reason"] == reason).count();
        assert!(count >= 2, "{reason}");
    }
}
