//! OpenAPI documents of both dialects.

use serde_json::{Value, json};
use throng_fuzz::{Document, openapi::plain};

#[test]
fn a_document_of_3_0_in_yaml_is_taken_apart() {
    let source = r##"
openapi: 3.0.3
servers: [{ url: "https://{host}/base/", variables: { host: { default: example.com } } }]
security: [{ token: [] }]
paths:
  /things/{id}:
    parameters: [{ $ref: "#/components/parameters/Id" }]
    get:
      operationId: readThing
      responses:
        "200": { description: ok, content: { "Application/JSON; charset=utf-8": { schema: { $ref: "#/components/schemas/Thing" } } } }
        4XX: { description: no }
        default: { description: whatever }
    post:
      security: []
      requestBody: { required: true, content: { application/json: { schema: { $ref: "#/components/schemas/Thing" } } } }
      responses: { "201": { description: made } }
components:
  parameters: { Id: { name: id, in: path, required: true, schema: { type: integer } } }
  schemas:
    Thing:
      type: object
      required: [id, name, size]
      properties:
        id: { type: integer, readOnly: true }
        name: { type: string, pattern: "^[a-z]{3}$" }
        size: { type: integer, minimum: 5, exclusiveMinimum: true }
        note: { type: string, nullable: true }
"##;
    let document = Document::load(source.as_bytes(), "/base").expect("a document");
    let names: Vec<&str> = document
        .operations()
        .iter()
        .map(|o| o.name.as_str())
        .collect();
    assert_eq!(names, ["GET /things/{id}", "POST /things/{id}"]);
    let read = document.operation("readThing").expect("by its id");
    assert_eq!(read.path, "/base/things/{id}");
    assert!(document.operation("get /base/things/{id}").is_some());
    assert!(read.secured && document.knows_logins());
    assert!(document.has_path("PATCH /things/{id}") && !document.has_path("GET /things"));
    assert_eq!(read.parameters[0].schema, json!({ "type": "integer" }));
    let status = |status| read.response(status).expect("documented").0;
    assert_eq!((status(200), status(404), status(500)), (0, 1, 2));
    assert!(read.responses[0].content[0].is_json());
    let create = &document.operations()[1];
    assert!(!create.secured && create.response(404).is_none());
    let schema = create.bodies[0].schema.as_ref().expect("a schema");
    let body = throng_fuzz::openapi::plain(&document, schema);
    assert_eq!(body["size"], 6);
    assert!(body.get("id").is_none() && body.get("note").is_none());
    assert_eq!(body["name"].as_str().map(str::len), Some(3), "{body}");
}

#[test]
fn what_is_no_openapi_3_is_said() {
    for (source, expected) in [
        ("{", "neither JSON nor YAML"),
        ("{}", "no `openapi` key"),
        (r#"{"swagger":"2.0"}"#, "Swagger 2.0"),
        (r#"{"openapi":"3.1.0","paths":{}}"#, "no operations"),
        ("openapi: 4.0.0\npaths: {}", "its version is 4.0.0"),
    ] {
        let error = Document::load(source.as_bytes(), "").expect_err(source);
        assert!(error.to_string().contains(expected), "{source}: {error}");
    }
}

/// Whoever is given a document has not written it: what it asks for may be without end.
#[test]
fn schemas_that_ask_for_too_much_end() {
    let reference = json!({ "$ref": "#/components/schemas/N" });
    let names: Vec<String> = (0..10).map(|n| format!("m{n}")).collect();
    let members: serde_json::Map<String, Value> = names
        .iter()
        .map(|name| (name.clone(), reference.clone()))
        .collect();
    for schema in [
        json!({ "allOf": vec![reference.clone(); 8] }),
        json!({ "type": "object", "required": names, "properties": members }),
        json!({ "type": "array", "minItems": 16, "items": reference }),
    ] {
        let source = json!({
            "openapi": "3.1.0",
            "paths": { "/n": { "post": {
                "requestBody": { "content": { "application/json": { "schema": reference } } },
                "responses": { "200": { "description": "ok" } },
            } } },
            "components": { "schemas": { "N": schema } },
        });
        let document = Document::load(source.to_string().as_bytes(), "").expect("a document");
        let value = plain(&document, &reference);
        let length = value.to_string().len();
        assert!(length < 200_000, "{length}");
        assert!(document.properties(&reference).len() <= 10);
    }
}
