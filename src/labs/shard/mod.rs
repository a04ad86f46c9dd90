//! The shard lab: a database spread over nodes by the client, and copies on adjacent nodes.
