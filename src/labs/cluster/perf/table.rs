//! The cluster's client as what load goes to.

use serde_json::value::RawValue;

use super::{Table, TableError};
use crate::client::cluster::{ClusterClient, ClusterError};

impl From<ClusterError> for TableError {
    fn from(error: ClusterError) -> Self {
        Self(error.to_string())
    }
}

impl Table for ClusterClient {
    fn insert(&mut self, key: &str, value: &RawValue) -> Result<(), TableError> {
        Ok(ClusterClient::insert(self, key, value)?)
    }

    fn lookup(&mut self, key: &str, value: &RawValue) -> Result<Option<bool>, TableError> {
        let found = ClusterClient::lookup(self, key)?;
        Ok(found.map(|found| found.get() == value.get()))
    }

    fn scan(&mut self, regex: &str) -> Result<usize, TableError> {
        Ok(ClusterClient::scan(self, regex)?.len())
    }

    fn remove(&mut self, key: &str) -> Result<bool, TableError> {
        Ok(ClusterClient::remove(self, key)?.is_some())
    }

    fn primary(&self, key: &str) -> usize {
        self.copies_of(key).first().copied().unwrap_or(0)
    }
}
