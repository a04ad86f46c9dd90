//! What a replica says of itself: memcached `stats`, RESP `INFO`.

use std::sync::atomic::Ordering;

use super::replica::Replica;
use crate::wire::request::Form;
use crate::wire::{memcached, resp};

/// Writes the answer to `stats ARGUMENT`.
pub(super) fn write(replica: &Replica, argument: &[u8], form: Form, out: &mut Vec<u8>) {
    match argument {
        b"" => form.stats(out, gather(replica).into_iter()),
        b"reset" => form.stats_reset(out),
        // Known to memcached, and empty here: there are no slabs and no settings to change.
        b"settings" | b"items" | b"slabs" | b"sizes" | b"conns" => {
            form.stats(out, std::iter::empty::<(&str, &str)>());
        }
        _ => form.no_such_stats(out),
    }
}

/// Writes the answer to RESP's `INFO [SECTION]...`: redis's usual lines, then the same as `stats`.
///
/// Whatever section is asked for, all of them come: there is little to leave out.
pub(super) fn write_info(replica: &Replica, form: Form, out: &mut Vec<u8>) {
    let own = gather(replica);
    let find = |name| own.iter().find(|(n, _)| *n == name).map_or("", |(_, value)| value);
    let keyspace = format!("keys={},expires=0,avg_ttl=0", find("curr_items"));
    let redis = [
        ("# Server", ""),
        ("redis_version", resp::VERSION),
        ("redis_mode", "standalone"),
        ("os", std::env::consts::OS),
        ("arch_bits", find("pointer_size")),
        ("process_id", find("pid")),
        ("uptime_in_seconds", find("uptime")),
        ("# Clients", ""),
        ("connected_clients", find("curr_connections")),
        ("maxclients", find("max_connections")),
        ("# Persistence", ""),
        ("loading", "0"),
        ("# Replication", ""),
        ("role", "master"),
        ("# Keyspace", ""),
        ("db0", &keyspace),
    ];
    let own = own.iter().map(|(name, value)| (*name, value.as_str()));
    form.stats(out, redis.into_iter().chain(own));
}

fn gather(replica: &Replica) -> Vec<(&'static str, String)> {
    let now = replica.clock.now();
    let settings = &replica.settings;
    let mut stats: Vec<(&'static str, String)> = vec![
        ("# Process", String::new()),
        ("pid", std::process::id().to_string()),
        ("uptime", now.since_start.as_secs().to_string()),
        ("time", (now.unix_ms / 1000).to_string()),
        ("version", memcached::VERSION.to_owned()),
        ("pointer_size", usize::BITS.to_string()),
        ("max_connections", settings.max_connections.to_string()),
        ("curr_connections", replica.sessions.len().to_string()),
        ("total_connections", replica.sessions.total().to_string()),
        ("# Replica", String::new()),
        ("consistency", settings.mode.name.to_owned()),
        ("replica", replica.id.to_string()),
        ("replicas", settings.replicas.to_string()),
    ];
    replica.look(|node, now| {
        let status = node.status();
        let store = node.store();
        let linked: Vec<String> = node.linked().map(|peer| peer.to_string()).collect();
        stats.extend([
            ("live", u8::from(status.live).to_string()),
            (
                "linked_replicas",
                if linked.is_empty() { "none".to_owned() } else { linked.join(",") },
            ),
            ("incarnation", status.incarnation.to_string()),
        ]);
        if let Some(role) = &status.role {
            let leader = role.leader.map_or("none".to_owned(), |leader| leader.to_string());
            stats.extend([
                ("raft_role", role.name.to_owned()),
                ("raft_term", role.term.to_string()),
                ("raft_leader", leader),
            ]);
        }
        stats.extend([
            ("lamport_time", status.clock.to_string()),
            ("delivered_writes", store.position().to_string()),
            ("last_delivered", store.last().to_string()),
            ("pending_messages", status.pending.to_string()),
            ("pending_own_messages", status.own_pending.to_string()),
            ("waiting_clients", node.waiting().to_string()),
            ("curr_items", store.table().len(now.unix_ms).to_string()),
            ("bytes", store.table().live_bytes().to_string()),
        ]);
    });
    stats.extend([
        ("sync", settings.sync.to_string()),
        ("storage_written_bytes", replica.disk.written().to_string()),
        ("storage_syncs", replica.disk.syncs.load(Ordering::Relaxed).to_string()),
    ]);
    stats
}
