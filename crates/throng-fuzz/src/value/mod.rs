//! Values from schemas: what a JSON Schema allows, what it just doesn't, and garbage.
//!
//! All of it are [`proptest`] strategies, so that what a target stumbles over can be shrunk. Which values come out depends
//! on the schema and the seed alone ([`runner`]). Nothing here knows a target or sends anything.

/// One of several strategies by weight, the first being the simplest. Unlike `prop_oneof!` it can be sent to another thread.
macro_rules! weighted {
    ($($weight:expr => $strategy:expr),+ $(,)?) => {
        proptest::strategy::Union::new_weighted(vec![
            $(($weight, proptest::strategy::Strategy::sboxed($strategy))),+
        ])
    };
}

mod broken;
mod build;
mod flat;
mod format;
mod garbage;
mod normal;
mod number;
mod text;

use std::sync::Arc;

use proptest::strategy::{SBoxedStrategy, Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::Value;

pub use garbage::{garbage, garbage_body};
pub use text::{odd_text, text};

/// A strategy for JSON values. It can be cloned cheaply and sent to another thread.
pub type Values = SBoxedStrategy<Value>;

/// Why no values can be made from a schema.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// A `$ref` that leads nowhere in the document.
    #[error("`$ref: {0}` leads nowhere in the document")]
    Reference(String),
    /// A `pattern` for which no texts can be generated.
    #[error("no texts can be generated for the pattern {pattern:?}: {reason}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Nothing fits the schema.
    #[error("no value fits the schema: {0}")]
    Impossible(String),
    /// The schema itself is wrong.
    #[error("not a JSON Schema: {0}")]
    Invalid(String),
}

/// The document that schemas stand in and that their `$ref`s lead through, such as an OpenAPI document.
#[derive(Clone, Debug)]
pub struct Schemas {
    root: Arc<Value>,
}

impl Schemas {
    /// Takes a document; what OpenAPI 3.0 writes in its own way (`nullable`, boolean `exclusiveMinimum`) is understood.
    pub fn new(root: &Value) -> Self {
        Self {
            root: Arc::new(normal::normalised(root)),
        }
    }

    /// No document: every schema stands for itself, its `$ref`s lead into itself.
    pub fn alone(schema: &Value) -> Self {
        Self::new(schema)
    }

    /// Values that fit a schema: often at the edges of what it allows, and with odd Unicode where it allows any text.
    /// Optional properties that are `readOnly` are left out, since requests are what is made.
    ///
    /// # Errors
    ///
    /// When no values can be made from the schema.
    pub fn valid(&self, schema: &Value) -> Result<Values, SchemaError> {
        build::valid(&self.root, &normal::normalised(schema), self)
    }

    /// Values with one rule of the schema broken, such as a missing property, a number beyond its edge or another type.
    /// Most don't fit the schema; where it has no rules, anything.
    ///
    /// # Errors
    ///
    /// When no values can be made from the schema.
    pub fn near_valid(&self, schema: &Value) -> Result<Values, SchemaError> {
        broken::near_valid(&self.root, &normal::normalised(schema))
    }

    /// A validator of a schema, with formats checked as far as they are known.
    ///
    /// # Errors
    ///
    /// When the schema is none.
    pub fn validator(&self, schema: &Value) -> Result<jsonschema::Validator, SchemaError> {
        let mut whole = serde_json::Map::new();
        if let Value::Object(root) = &*self.root {
            for place in ["components", "$defs", "definitions"] {
                if let Some(part) = root.get(place) {
                    whole.insert(place.to_owned(), part.clone());
                }
            }
        }
        let schema = normal::normalised(schema);
        whole.insert("allOf".to_owned(), Value::Array(vec![schema]));
        jsonschema::options()
            .with_draft(jsonschema::Draft::Draft202012)
            .should_validate_formats(true)
            .build(&Value::Object(whole))
            .map_err(|error| SchemaError::Invalid(error.to_string()))
    }
}

/// Where generated values come from: the same seed and stream give the same values, on every machine.
pub fn runner(seed: u64, stream: u64) -> TestRunner {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes[8..16].copy_from_slice(&stream.to_le_bytes());
    let config = Config {
        failure_persistence: None,
        ..Config::default()
    };
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
}

/// One value of a strategy, without the means to shrink it; `None` when its filters refused too many.
pub fn draw<S: Strategy>(strategy: &S, runner: &mut TestRunner) -> Option<S::Value> {
    let tree = strategy.new_tree(runner).ok()?;
    Some(tree.current())
}
