//! Resources that the control API is asked for.

use super::{Node, problem};
use api::control::resources::{
    ChangeInfo, ChangeStream, Changes, ResourceInfo, ResourcePage, ResourcePatch, changed, not_settable,
};
use api::control::{Problem, ProblemKind};
use futures::StreamExt;
use jiff::Timestamp;
use serde_json::{Map, Value};
use store::resources::{Change, Form, Kind, Part, Resource, ResourceKey, Revision, Updated};
use store::{ReadLevel, StoreError};

pub(super) async fn page(
    node: &Node,
    kind: &'static Kind,
    after: Option<String>,
    limit: u32,
) -> Result<ResourcePage, Problem> {
    let after = match after {
        None => None,
        Some(after) => Some(ResourceKey::parse(kind, &after).ok_or_else(|| {
            not_settable(format!("`after` is {after:?}")).because(format!("{} are numbered", kind.name))
        })?),
    };
    let page = node.store()?.resources(kind, ReadLevel::Linearizable, after.as_ref(), limit).await;
    let page = page.map_err(|error| refused(&error))?;
    let items = page.items.into_iter().map(|resource| info(kind, resource)).collect::<Result<_, _>>()?;
    Ok(ResourcePage { items, revision: page.revision.0, next: page.next.map(|key| key.to_string()) })
}

pub(super) async fn one(node: &Node, kind: &'static Kind, name: &str) -> Result<Option<ResourceInfo>, Problem> {
    let Some(key) = ResourceKey::parse(kind, name) else { return Ok(None) };
    let found = node.store()?.resource(kind, ReadLevel::Linearizable, &key).await.map_err(|error| refused(&error))?;
    found.map(|resource| info(kind, resource)).transpose()
}

pub(super) async fn update(
    node: &Node,
    kind: &'static Kind,
    name: &str,
    patch: ResourcePatch,
) -> Result<Option<ResourceInfo>, Problem> {
    let Some(key) = ResourceKey::parse(kind, name) else { return Ok(None) };
    let columns = patch.spec.iter().map(|(field, value)| set(kind, field, value)).collect::<Result<Vec<_>, _>>()?;
    let updated = node.store()?.update_resource(kind, &key, patch.revision.map(Revision), &columns).await;
    match updated.map_err(|error| problem(&error))? {
        Updated::Absent => Ok(None),
        Updated::Done => one(node, kind, name).await,
        Updated::Conflict { revision } => Err(changed(format!("{name} has revision {revision} by now"))),
    }
}

pub(super) async fn watch(node: &Node, after: Option<u64>) -> Result<ChangeStream, Problem> {
    let watch = node.store()?.watch(after.map(Revision)).await.map_err(|error| refused(&error))?;
    let revision = watch.revision().0;
    let changes = futures::stream::try_unfold(watch, async |mut watch| {
        let changes = watch.next().await.map_err(|error| refused(&error))?;
        let changes = changes.into_iter().map(change).collect::<Result<Vec<_>, _>>()?;
        Ok(Some((Changes { changes, revision: watch.revision().0 }, watch)))
    });
    Ok(ChangeStream { revision, changes: changes.boxed() })
}

fn refused(error: &StoreError) -> Problem {
    match error {
        // No majority was there: nothing was done.
        StoreError::ReadTimeout { .. } => problem(error).kind(ProblemKind::NotReady),
        StoreError::WatchLost { .. } => problem(error).kind(ProblemKind::Gone),
        _ => problem(error),
    }
}

/// A field that is to be set, as the table has it.
fn set(kind: &Kind, field: &str, value: &Value) -> Result<(&'static str, store::Value), Problem> {
    let refused = |why: &str| not_settable(format!("{field} of {} cannot be set to {value}", kind.name)).because(why);
    let column = kind.columns.iter().find(|column| column.name == field).ok_or_else(|| {
        let names: Vec<&str> =
            kind.columns.iter().filter(|c| matches!(c.part, Part::Settable { .. })).map(|c| c.name).collect();
        let settable = if names.is_empty() { "none of its fields can be set".to_owned() } else { names.join(", ") };
        refused(&format!("there is no such field; to be set: {settable}"))
    })?;
    let Part::Settable { accepts, .. } = column.part else {
        return Err(refused("it is not for you to set: it is fixed, or observed"));
    };
    let value = match (column.form, value) {
        (Form::Integer, Value::Number(number)) => number.as_i64().map(store::Value::Integer),
        (Form::Text, Value::String(text)) => Some(text.as_str().into()),
        (Form::Seconds, Value::String(text)) => text.parse().ok().map(|at: Timestamp| at.as_second().into()),
        (Form::Millis, Value::String(text)) => text.parse().ok().map(|at: Timestamp| at.as_millisecond().into()),
        _ => None,
    };
    let form = match column.form {
        Form::Integer => "it takes a whole number",
        Form::Text | Form::Id => "it takes text",
        Form::Seconds | Form::Millis => "it takes a time such as 2026-01-31T12:00:00Z",
    };
    let value = value.ok_or_else(|| refused(form))?;
    accepts(&value).map_err(refused)?;
    Ok((column.name, value))
}

fn object(text: &str) -> Result<Map<String, Value>, Problem> {
    serde_json::from_str(text)
        .map_err(|error| problem(&StoreError::Internal(format!("a resource is not JSON: {error}"))))
}

fn info(kind: &Kind, resource: Resource) -> Result<ResourceInfo, Problem> {
    Ok(ResourceInfo {
        kind: kind.name.to_owned(),
        name: resource.key.to_string(),
        generation: resource.generation,
        revision: resource.revision.0,
        finalizers: resource.finalizers,
        spec: object(&resource.spec)?,
        status: object(&resource.status)?,
    })
}

fn change(change: Change) -> Result<ChangeInfo, Problem> {
    Ok(ChangeInfo {
        revision: change.revision.0,
        at: Timestamp::from_millisecond(change.at_ms).unwrap_or(Timestamp::MAX),
        verb: change.verb.as_str().to_owned(),
        name: change.key.to_string(),
        generation: change.generation,
        spec: object(&change.spec)?,
        status: object(&change.status)?,
        kind: change.kind,
    })
}
