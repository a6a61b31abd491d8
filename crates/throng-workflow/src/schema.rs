//! The JSON Schema of the scenario format, for editors and for other programs.

use schemars::Schema;
use schemars::generate::SchemaSettings;

use crate::model::Scenario;

/// The schema (draft 2020-12).
pub fn schema() -> Schema {
    let mut schema = SchemaSettings::draft2020_12()
        .into_generator()
        .into_root_schema_for::<Scenario>();
    schema.insert("title".to_owned(), "throng scenario".into());
    schema
}
