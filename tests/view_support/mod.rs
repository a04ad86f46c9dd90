//! For the tests of the timeline page: histories to show, and a browser to show them in.

pub mod browser;
pub mod samples;
