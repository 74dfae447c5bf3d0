//! Gateways that are routers too, and the storage-writer, are restarted in order one after the other, under native clients,
//! WebSocket clients and REST: none of them sees an error.

use shardwire_tests::faults::{self, Extent, Options};
use shardwire_tests::process::binary;
use shardwire_tests::process::cluster::Shape;
use shardwire_tests::process::engines::EngineShape;

#[test]
fn gateways_that_are_routers_too_restart_unnoticed() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        folder: folder.path().to_owned(),
        programs: (binary("shardwire"), binary("loadgen")),
        guard: binary("loadgen"),
        shape: Shape { gateways: 2, routers: 0, writers: 1 },
        engines: EngineShape::NONE,
        extent: Extent::All,
        seed: 1,
        only: Some("restart each in turn".to_owned()),
        part: (1, None),
    };
    let clean = faults::run(&options).unwrap_or_else(|error| panic!("{error}"));
    if !clean {
        panic!("the table above says what clients saw; logs and reports are in {}", folder.keep().display());
    }
}
