//! Recorded histories: every format there and back, and what is no history.

mod docs;
mod history_support;
mod hostile;
mod messages;
mod round_trip;
