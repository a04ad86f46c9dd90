//! All nodes of some settings in this process, on free ports of loopback: for experiments and tests.

use std::net::SocketAddr;

use super::server::{ServerError, ShardServer, bind};
use super::settings::Settings;

/// Nodes that can be stopped and started again, each at its place.
#[derive(Debug)]
pub struct LocalNodes {
    settings: Settings,
    running: Vec<Option<ShardServer>>,
}

impl LocalNodes {
    /// Starts all nodes; where they listen replaces what the settings say.
    ///
    /// # Errors
    /// The system has no port or no thread left.
    pub fn start(settings: &Settings) -> Result<Self, ServerError> {
        let mut settings = settings.clone();
        let mut ports = Vec::new();
        for (number, node) in settings.nodes.iter_mut().enumerate() {
            // Outgoing connections begin at 127.0.0.1: on other addresses none of them takes the port of a node
            // that is down. Where loopback is that one address only, it has to do.
            let own = format!("127.0.1.{}", number % 250 + 1);
            let port = bind(&own, 0).or_else(|_| bind("127.0.0.1", 0))?;
            node.host = port.address().ip().to_string();
            node.port = port.address().port();
            ports.push(port);
        }
        let mut nodes = Self { settings, running: Vec::new() };
        for (number, port) in ports.into_iter().enumerate() {
            nodes.running.push(Some(ShardServer::start(&nodes.settings, Some(number), port)?));
        }
        Ok(nodes)
    }

    /// The settings with the places where the nodes listen; a [`super::ShardClient`] takes them.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Where a node listens, if it runs.
    pub fn address(&self, node: usize) -> Option<SocketAddr> {
        self.running.get(node)?.as_ref().map(ShardServer::address)
    }

    /// Whether a node runs.
    pub fn is_up(&self, node: usize) -> bool {
        self.running.get(node).is_some_and(Option::is_some)
    }

    /// Stops a node; what it held is gone. Nothing happens where it does not run.
    pub fn stop(&mut self, node: usize) {
        if let Some(server) = self.running.get_mut(node).and_then(Option::take) {
            server.stop();
        }
    }

    /// Starts a node again, at its old place and empty. Nothing happens where it runs.
    ///
    /// # Errors
    /// Its port is taken, or the system has no thread left.
    pub fn restart(&mut self, node: usize) -> Result<(), ServerError> {
        if self.is_up(node) || node >= self.running.len() {
            return Ok(());
        }
        let place = &self.settings.nodes[node];
        let port = bind(&place.host, place.port)?;
        self.running[node] = Some(ShardServer::start(&self.settings, Some(node), port)?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Options;
    use crate::labs::shard::ShardClient;
    use crate::labs::shard::settings::loopback_nodes;
    use crate::wire::lines::shard::Kind;

    #[test]
    fn a_pair_is_found_where_the_client_put_it() {
        let mut nodes = LocalNodes::start(&Settings::new(loopback_nodes(4))).unwrap();
        let settings = nodes.settings().clone();
        let mut client = ShardClient::new(&settings, Options::default());
        for key in 0..10 {
            assert!(client.update(&key.to_string(), "some:thing").unwrap().is_success());
        }
        let answer = client.read("7").unwrap();
        assert_eq!((answer.kind, &*answer.body), (Kind::ReadReply, "some:thing"));
        assert_eq!(client.send_to("scutter04", Kind::Read, "7").unwrap(), answer);
        assert_eq!(client.send_to("scutter03", Kind::Read, "7").unwrap().kind, Kind::Error);
        nodes.stop(3);
        let down = client.read("7").unwrap_err().to_string();
        assert!(down.contains("scutter04 is down"), "{down}");
        nodes.restart(3).unwrap();
        assert_eq!(client.read("7").unwrap().kind, Kind::Error, "it is empty");
    }
}
