//! The raw limit's echo-and-forward on monoio; takes `shardwire serve`'s options so that the load generator can start it.

fn main() {
    shardwire_runtimes::echo::main(shardwire_runtimes::echo::monoio::serve);
}
