//! The load generator: many simulated users on a few threads, at a pace it keeps, with every message audited.
//!
//! [`scenario`] says what to do and [`behave`] what happens meanwhile, [`outline`] tells it beforehand, [`run`] does it:
//! [`server`] starts a throwaway server, [`worker`]s drive users (each a [`client::Core`], through [`wire`] where they speak
//! WebSocket; [`groups`] among them) of the [`targets`] by [`pace`] and seeded [`draw`]s, [`measure`], [`spread`] and [`audit`] what happens,
//! [`observe`] looks at the host and the server, [`report`] judges it and [`html`] draws it. What must stay true: what can
//! be refused is refused before any load; latency counts from the intended send time; every message is accounted for; and
//! when the generator itself was the limit, there is no verdict.
pub mod audit;
pub mod behave;
pub mod capacity;
pub mod cli;
pub mod commands;
pub mod compare;
pub mod draw;
pub mod fail;
pub mod fit;
pub mod groups;
pub mod html;
pub mod knee;
pub mod live;
pub mod measure;
pub mod observe;
pub mod outline;
pub mod pace;
pub mod plan;
pub mod probe;
pub mod recorded;
pub mod remote;
pub mod report;
pub mod run;
pub mod scenario;
pub mod secure;
pub mod server;
pub mod spread;
pub mod stats;
pub mod targets;
pub mod tokens;
pub mod wire;
pub mod words;
pub mod worker;
