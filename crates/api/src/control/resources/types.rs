//! Resources as JSON.

use crate::control::problem::Problem;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use store::resources::{Form, Kind, Part};

/// A kind of resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KindInfo {
    /// Its name, in the plural, as it stands in paths.
    pub name: String,
    /// What it is.
    pub does: String,
    /// The view of `sys` that shows its resources to SQL.
    pub view: String,
    /// The fields of its resources, and the columns of its view.
    pub columns: Vec<ColumnInfo>,
}

/// A field of a resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ColumnInfo {
    /// Its name.
    pub name: String,
    /// `spec` if it is wanted, `status` if it is observed.
    pub part: String,
    /// `integer`, `text`, `time` or `id`.
    pub form: String,
    /// Whether it can be changed.
    pub settable: bool,
    /// Which part of the product writes it, if it is observed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub writer: Option<String>,
    /// What it is.
    pub does: String,
}

impl From<&Kind> for KindInfo {
    fn from(kind: &Kind) -> Self {
        let columns = kind.columns.iter().map(|column| ColumnInfo {
            name: column.name.to_owned(),
            part: if column.part.is_spec() { "spec" } else { "status" }.to_owned(),
            form: match column.form {
                Form::Integer => "integer",
                Form::Text => "text",
                Form::Seconds | Form::Millis => "time",
                Form::Id => "id",
            }
            .to_owned(),
            settable: matches!(column.part, Part::Settable { .. }),
            writer: match column.part {
                Part::Status { writer } => Some(writer.to_owned()),
                _ => None,
            },
            does: column.does.to_owned(),
        });
        Self {
            name: kind.name.to_owned(),
            does: kind.does.to_owned(),
            view: format!("resource_{}", kind.name),
            columns: columns.collect(),
        }
    }
}

/// One resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ResourceInfo {
    /// Its kind.
    pub kind: String,
    /// What names it among those of its kind; the number, if they are numbered.
    pub name: String,
    /// How often what is wanted of it was changed, from 1.
    pub generation: u64,
    /// The number of its last change. Changes of all resources are numbered together, without a gap.
    pub revision: u64,
    /// What has to be done before it is gone, if somebody has asked for its end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub finalizers: Vec<String>,
    /// What is wanted.
    pub spec: Map<String, Value>,
    /// What is observed.
    pub status: Map<String, Value>,
}

/// Some resources of a kind, in the order of their names or numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ResourcePage {
    /// The resources.
    pub items: Vec<ResourceInfo>,
    /// The last change that this page shows: watching from it on misses nothing.
    pub revision: u64,
    /// What to ask the next page `after`; none if this was the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A resource to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ResourceRequest {
    /// Its name.
    pub name: String,
    /// What is wanted.
    #[serde(default)]
    pub spec: Map<String, Value>,
}

/// What of a resource is to be otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ResourcePatch {
    /// The revision on which the change rests: with another one it is refused. None: whatever it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// The fields to set; the others stay.
    pub spec: Map<String, Value>,
}

/// One change of one resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChangeInfo {
    /// Its number.
    pub revision: u64,
    /// When it was made, by the clock of the member that led then.
    pub at: Timestamp,
    /// `created`, `updated` or `deleted`.
    pub verb: String,
    /// The kind of the resource.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// How often what is wanted of it was changed.
    pub generation: u64,
    /// What is wanted after the change; before it if the resource is gone.
    pub spec: Map<String, Value>,
    /// What is observed, likewise.
    pub status: Map<String, Value>,
}

/// A line of a watch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum WatchLine {
    /// A change.
    Change(ChangeInfo),
    /// All changes up to this one were told, or are of kinds that are not watched: the first line, and one now and then.
    Bookmark {
        /// The number of the change.
        bookmark: u64,
    },
    /// The watch has ended, and why. The last line.
    Ended {
        /// Why.
        problem: Problem,
    },
}
