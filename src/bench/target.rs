//! What the load goes to: a server, or a floor, or a mock in a test.

use crate::{
    client::{Ask, Client, ClientError, Reply, Request},
    report::Kind,
};

/// One operation of the workload.
#[derive(Clone, Copy, Debug)]
pub struct Operation<'a> {
    /// Read or write.
    pub kind: Kind,
    /// The key.
    pub key: &'a [u8],
    /// The value to write; for a read, a value of the size that is expected back.
    pub value: &'a [u8],
}

/// How an operation succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer<'a> {
    /// Written; or read from something that has no values.
    Done,
    /// Read: this value.
    Value(&'a [u8]),
    /// Read: there is no such key.
    Missing,
}

/// Something that operations can be sent to in batches.
pub trait Target {
    /// Queues one operation.
    fn queue(&mut self, operation: &Operation<'_>);
    /// Sends all that is queued in one write.
    fn send(&mut self) -> Result<(), ClientError>;
    /// Receives the reply to the oldest operation sent and not yet answered.
    fn receive(&mut self, kind: Kind) -> Result<Answer<'_>, ClientError>;
    /// Opens the connection again after it failed.
    fn reconnect(&mut self) -> Result<(), ClientError>;
}

impl Target for Client {
    fn queue(&mut self, operation: &Operation<'_>) {
        Client::queue(
            self,
            match operation.kind {
                Kind::Read => Request::Get(operation.key),
                Kind::Write => Request::Set(operation.key, operation.value),
            },
        );
    }

    fn send(&mut self) -> Result<(), ClientError> {
        Client::send(self)
    }

    fn receive(&mut self, kind: Kind) -> Result<Answer<'_>, ClientError> {
        let ask = match kind {
            Kind::Read => Ask::Get,
            Kind::Write => Ask::Set,
        };
        Client::receive(self, ask).map(|reply| match reply {
            Reply::Missing => Answer::Missing,
            Reply::Value(value) => Answer::Value(value),
            Reply::Done => Answer::Done,
        })
    }

    fn reconnect(&mut self) -> Result<(), ClientError> {
        Client::reconnect(self)
    }
}
