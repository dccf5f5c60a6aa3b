//! The API as an OpenAPI document, made from the types that it sends and from one table of what it does.
//!
//! The table is held to the router, and the committed document and the page of the guide to the table, by tests.

mod operations;

pub(super) use operations::OPERATIONS;

use super::access::AccessRole;
use super::problem::Problem;
use schemars::generate::SchemaSettings;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

/// What the API can be asked for.
pub(super) struct Operation {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    /// The least role that it takes over HTTPS; none if it is for everybody.
    pub(super) role: Option<AccessRole>,
    /// What it does, in some words.
    pub(super) does: &'static str,
    /// What may stand after the question mark: name, and meaning.
    pub(super) query: &'static [(&'static str, &'static str)],
    pub(super) takes: Content,
    pub(super) gives: Content,
}

/// What a request or an answer carries.
pub(super) enum Content {
    Nothing,
    /// JSON of this type.
    Json(fn(&mut SchemaGenerator) -> Schema),
    /// JSON of this type, or the same as lines of JSON.
    Lines(fn(&mut SchemaGenerator) -> Schema),
    /// Lines of JSON of this type.
    Stream(fn(&mut SchemaGenerator) -> Schema),
    /// Something else.
    Other(&'static str),
}

/// A node's role: it belongs to a crate that knows nothing of schemas.
pub(super) fn role(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "enum": ["voter", "stand-by", "spare"]})
}

impl Content {
    /// The media types and their schemas; none if there is nothing.
    fn describe(&self, types: &mut SchemaGenerator) -> Option<Value> {
        match self {
            Self::Nothing => None,
            Self::Json(of) => Some(json!({"application/json": {"schema": of(types)}})),
            Self::Lines(of) => Some(json!({
                "application/json": {"schema": of(types)},
                "application/x-ndjson": {"schema": {"type": "string"}},
            })),
            Self::Stream(of) => Some(json!({"application/x-ndjson": {"schema": of(types)}})),
            Self::Other(media) => Some(json!({ *media: {"schema": {"type": "string", "format": "binary"}} })),
        }
    }
}

impl Operation {
    /// `list nodes` is `get_nodes`, with the parameters of the path left out.
    fn id(&self) -> String {
        let parts = self.path.split('/').filter(|part| !part.is_empty() && *part != "v1");
        let named = parts.map(|part| part.trim_matches(['{', '}']).replace('.', "_"));
        std::iter::once(self.method.to_lowercase()).chain(named).collect::<Vec<_>>().join("_")
    }

    fn describe(&self, types: &mut SchemaGenerator) -> Value {
        let in_path = self.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
        let in_path =
            in_path.map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}));
        let in_query = self.query.iter().map(
            |(name, meaning)| json!({"name": name, "in": "query", "description": meaning, "schema": {"type": "string"}}),
        );
        let mut answer = json!({"description": "Done"});
        if let (Some(content), Some(answer)) = (self.gives.describe(types), answer.as_object_mut()) {
            answer.insert("content".to_owned(), content);
        }
        let problem = json!({"application/json": {"schema": types.subschema_for::<Problem>()}});
        let mut operation = json!({
            "operationId": self.id(),
            "summary": self.does,
            "parameters": in_path.chain(in_query).collect::<Vec<_>>(),
            "responses": {"200": answer, "default": {"description": "What was not done, and why", "content": problem}},
        });
        if let Some(operation) = operation.as_object_mut() {
            match self.role {
                Some(role) => {
                    operation.insert("x-role".to_owned(), json!(role));
                }
                None => {
                    operation.insert("security".to_owned(), json!([]));
                }
            }
            if let Some(content) = self.takes.describe(types) {
                operation.insert("requestBody".to_owned(), json!({"required": true, "content": content}));
            }
        }
        operation
    }
}

/// The document.
pub fn document() -> Value {
    let mut types = SchemaSettings::draft2020_12()
        .with(|settings| "/components/schemas".clone_into(settings.definitions_path.to_mut()))
        .into_generator();
    let mut paths = Map::new();
    for operation in OPERATIONS {
        let described = operation.describe(&mut types);
        let path = paths.entry(operation.path).or_insert_with(|| json!({}));
        if let Some(path) = path.as_object_mut() {
            path.insert(operation.method.to_lowercase(), described);
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Bowline",
            "version": "v1",
            "description": "What a node answers on its Unix socket and over HTTPS. Fields are added, never renamed or used for something else.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": types.take_definitions(true),
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "`bowline access add NAME` prints one"},
            },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_document_and_the_page_are_those_of_the_table() {
        let committed: Value =
            serde_json::from_str(include_str!("../../../../docs/guide/reference/openapi.json")).unwrap();
        assert!(committed == document(), "to write it anew: cargo xtask gen");
        let rows = OPERATIONS.iter().map(|operation| {
            let role = operation.role.map_or_else(|| "everybody".to_owned(), |role| role.to_string());
            format!("| {} | `{}` | {role} | {} |\n", operation.method, operation.path, operation.does)
        });
        let table: String = rows.collect::<Vec<_>>().concat();
        let page = include_str!("../../../../docs/guide/reference/api.md");
        assert!(page.contains(&table), "docs/guide/reference/api.md needs this table:\n{table}");
    }

    #[test]
    fn every_reference_in_the_document_leads_somewhere_and_every_id_is_its_own() {
        let document = document();
        let text = document.to_string();
        let schemas = document["components"]["schemas"].as_object().unwrap();
        let mut references = 0;
        for reference in text.split(r##""$ref":"#"##).skip(1) {
            let path = reference.split('"').next().unwrap();
            assert!(schemas.contains_key(path.strip_prefix("/components/schemas/").unwrap()), "{path}");
            references += 1;
        }
        assert!(references > 30, "{references}");
        let ids: std::collections::BTreeSet<String> = OPERATIONS.iter().map(Operation::id).collect();
        assert_eq!(ids.len(), OPERATIONS.len());
    }
}
