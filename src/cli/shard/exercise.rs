//! What the exercises' commands share: their functions, and what all labs' commands share.

pub(super) use crate::cli::exercise::{progress, save};

use crate::client::routing::{self, FUNCTIONS, Function, function_names};

/// Parses the name of a function.
pub(super) fn function(text: &str) -> Result<&'static Function, String> {
    routing::function(text).ok_or_else(|| format!("expected one of {}", function_names()))
}

/// The functions that were asked for, each once; all where none was.
pub(super) fn functions(asked: &[&'static Function]) -> Vec<&'static Function> {
    let all = FUNCTIONS.iter();
    let is_asked = |function: &&Function| {
        asked.is_empty() || asked.iter().any(|asked| asked.name == function.name)
    };
    all.filter(is_asked).collect()
}
