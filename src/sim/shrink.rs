pub struct Shrunk;
pub fn shrink() {}
