//! What operations mean: the sequential specifications, one file each.

/// A sequential specification. (Its transition function is added beside it.)
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// Its name on the command line.
    pub name: &'static str,
}

/// The one list of specifications; the first is the default.
pub const SPECS: &[Spec] =
    &[Spec { name: "register" }, Spec { name: "cas-register" }, Spec { name: "append" }];
