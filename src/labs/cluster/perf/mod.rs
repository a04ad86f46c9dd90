//! What a cluster can do: four phases of load, from one client to as many as help.
//!
//! | file | holds |
//! |---|---|
//! | `load.rs` | the phases: what a client does, when it stops, what is counted |
//! | `steps.rs` | the same load with more and more clients, until it levels out |
//! | `table.rs` | the cluster's client as what the load goes to |
//! | `tables.rs` | the figures as tables, CSV, JSON and a picture |
//! | `sweep.rs` | three clusters started for the purpose, side by side |
//! | `floor.rs`, `large.rs` | the figures next to what the machine itself charges, and of a large table |
//!
//! *Closed loop*: a client sends its next request when the last one is answered, so throughput is the
//! number of clients over the mean latency, and what limits it is found by adding clients. Each client is a
//! thread with connections of its own. A process a client would measure the same: the threads share
//! nothing but the common start and one counter, and no lock of this process is taken on the way.
//!
//! Caveat: where clients and servers share a machine, they share its processors; what levels out then is the
//! machine, not the server.

pub mod floor;
mod large;
mod load;
mod steps;
pub mod sweep;
mod table;
mod tables;

pub use load::{
    ClientFigures, Load, Part, Phase, PhaseResult, Sample, Table, TableError, run_load, run_phases,
};
pub use steps::{Clients, MAX_CLIENTS, Step, StepsError, run_steps};
pub use tables::{
    Series, client_table, clients_columns, picture, series_json, step_table, steps_columns,
    troubles,
};
