//! The slowest operations, and whether compaction is what made them slow.
//!
//! | file | holds |
//! |---|---|
//! | `find.rs` | the slow operations of a phase, set against compactions and against chance |
//! | `measure.rs` | the load, and when the servers say that they compacted |
//! | `show.rs` | text, CSV and a picture |

mod find;
mod measure;
mod show;

pub use find::{Compaction, NAMED, Outliers, Shape, Slow, find};
pub use measure::{OutliersError, Run, measure};
pub use show::{exercise, text};
