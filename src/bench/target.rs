//! What the load goes to: a server, or a floor, or a mock in a test.

use crate::{
    client::{Ask, Client, ClientError, EtcdClient, Reply, Request, SimpleRespClient},
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

/// The clients of every protocol have the same four methods.
macro_rules! target {
    ($client:ty) => {
        impl Target for $client {
            fn queue(&mut self, operation: &Operation<'_>) {
                <$client>::queue(self, operation.request());
            }

            fn send(&mut self) -> Result<(), ClientError> {
                <$client>::send(self)
            }

            fn receive(&mut self, kind: Kind) -> Result<Answer<'_>, ClientError> {
                <$client>::receive(self, ask(kind)).map(Answer::from)
            }

            fn reconnect(&mut self) -> Result<(), ClientError> {
                <$client>::reconnect(self)
            }
        }
    };
}

target!(Client);
target!(SimpleRespClient);
target!(EtcdClient);

impl<'a> Operation<'a> {
    fn request(&self) -> Request<'a> {
        match self.kind {
            Kind::Read => Request::Get(self.key),
            Kind::Write => Request::Set(self.key, self.value),
        }
    }
}

fn ask(kind: Kind) -> Ask {
    match kind {
        Kind::Read => Ask::Get,
        Kind::Write => Ask::Set,
    }
}

impl<'a> From<Reply<'a>> for Answer<'a> {
    fn from(reply: Reply<'a>) -> Self {
        match reply {
            Reply::Missing => Self::Missing,
            Reply::Value(value) => Self::Value(value),
            Reply::Done => Self::Done,
        }
    }
}
