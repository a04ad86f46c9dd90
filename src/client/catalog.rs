//! Placeholder
#[derive(Debug, Clone)]
pub struct Catalog;
impl Catalog {
    pub fn new(_: &str) -> Self {
        Catalog
    }
    pub fn query(&self) -> Result<Vec<Registration>, CatalogError> {
        Ok(vec![])
    }
}
pub struct Registration {
    pub address: String,
    pub port: u16,
}
#[derive(Debug, thiserror::Error)]
#[error("x")]
pub struct CatalogError;
impl Catalog {
    pub fn find(&self, _: &str, _: &str) -> Result<Vec<Registration>, CatalogError> {
        Ok(vec![])
    }
}
