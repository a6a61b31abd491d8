//! Why a document cannot be used.

/// A document that cannot be used at all. What is only odd in one operation is a note and no error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DocumentError {
    /// Neither JSON nor YAML.
    #[error("the OpenAPI document is neither JSON nor YAML: {0}")]
    Syntax(String),
    /// Another version of the specification, or another document altogether.
    #[error("this is no OpenAPI 3 document: {0}")]
    Version(String),
    /// There is nothing to do.
    #[error("the OpenAPI document has no operations")]
    Empty,
}
