//! The labs: what each starts, in one file or folder a lab.

pub mod replicas;
