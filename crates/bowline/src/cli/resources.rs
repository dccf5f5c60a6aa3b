//! `bowline resource` and `bowline event`: what there is, what happened, and what happens.

use super::Context;
use super::args::{EventCommand, ResourceCommand};
use super::failure::{self, Failure};
use super::output::{Shape, data};
use crate::text::style::Tone;
use crate::text::table::{Cell, Table};
use api::control::resources::{ChangeInfo, ColumnInfo, KindInfo, ResourceInfo, ResourcePatch, WatchLine};
use api::control::{ClientError, ProblemKind};
use base::Fault;
use serde_json::{Map, Value};
use std::ops::ControlFlow;
use std::time::Duration;

/// So many are asked for at once.
const PAGE: u32 = 1000;
/// How often a watch that broke off is begun again before it is given up.
const ATTEMPTS_MAX: u32 = 60;
/// The pause before it is.
const ATTEMPT_PAUSE: Duration = Duration::from_millis(500);

pub(super) async fn run(context: &Context, command: ResourceCommand) -> Result<(), Failure> {
    match command {
        ResourceCommand::Kinds { kind } => kinds(context, kind.as_deref()).await,
        ResourceCommand::List { kind } => list(context, &kind).await,
        ResourceCommand::Get { kind, name } => {
            let resource = context.client().resource(&kind, &name).await?;
            show(context, &resource)
        }
        ResourceCommand::Set { kind, name, fields, revision } => {
            let spec = fields.iter().map(|field| assignment(field)).collect::<Result<Map<_, _>, _>>()?;
            let resource = context.client().resource_update(&kind, &name, &ResourcePatch { revision, spec }).await?;
            show(context, &resource)
        }
        ResourceCommand::Watch { kinds, after } => watch(context, &kinds, after, change_line).await,
    }
}

pub(super) async fn events(context: &Context, command: EventCommand) -> Result<(), Failure> {
    match command {
        EventCommand::List { limit } => {
            let events = newest(context, limit).await?;
            context.output.list(&events, || event_table(&events), |event| event.name.clone())
        }
        EventCommand::Watch { after } => watch(context, &["events".to_owned()], after, event_line).await,
    }
}

/// `FIELD=VALUE`; a value that is no JSON is text.
fn assignment(field: &str) -> Result<(String, Value), Failure> {
    let Some((name, value)) = field.split_once('=') else {
        return Err(failure::misuse(
            format!("`{field}` sets nothing"),
            "what is to be set stands as FIELD=VALUE",
            "such as weight=10; `bowline resource kinds KIND` shows the fields",
        ));
    };
    let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
    Ok((name.to_owned(), value))
}

async fn kinds(context: &Context, kind: Option<&str>) -> Result<(), Failure> {
    let kinds = context.client().kinds().await?;
    let Some(kind) = kind else {
        let table = || {
            let mut table = Table::new(&["KIND", "WHAT IT IS", "+VIEW"]);
            for KindInfo { name, does, view, .. } in &kinds {
                table.row([Cell::new(name), Cell::new(does), Cell::new(view)]);
            }
            table
        };
        return context.output.list(&kinds, table, |kind| kind.name.clone());
    };
    let Some(info) = kinds.iter().find(|info| info.name == kind) else {
        // The node says what is wrong and which kinds there are.
        return context.client().resources(kind, None, 1).await.map(drop).map_err(Into::into);
    };
    let table = || {
        let mut table = Table::new(&["FIELD", "PART", "FORM", "WHAT IT IS", "+WRITTEN BY"]);
        for ColumnInfo { name, part, form, settable, writer, does } in &info.columns {
            let part = if *settable { format!("{part}, can be set") } else { part.clone() };
            let writer = writer.as_deref().unwrap_or("who asks for it");
            table.row([Cell::new(name), Cell::new(part), Cell::new(form), Cell::new(does), Cell::new(writer)]);
        }
        table
    };
    context.output.list(&info.columns, table, |column| column.name.clone())
}

async fn list(context: &Context, kind: &str) -> Result<(), Failure> {
    let client = context.client();
    let (mut items, mut after): (Vec<ResourceInfo>, Option<String>) = (Vec::new(), None);
    loop {
        let page = client.resources(kind, after.as_deref(), PAGE).await?;
        items.extend(page.items);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let table = || {
        let mut table = Table::new(&["NAME", "GENERATION", "REVISION", "SPEC", "+STATUS"]);
        for item in &items {
            table.row([
                Cell::new(&item.name),
                Cell::new(item.generation),
                Cell::new(item.revision),
                Cell::new(fields(&item.spec)),
                Cell::new(fields(&item.status)),
            ]);
        }
        table
    };
    context.output.list(&items, table, |item| item.name.clone())
}

fn word(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// `weight=0 state=member`.
fn fields(part: &Map<String, Value>) -> String {
    let set = part.iter().filter(|(_, value)| !value.is_null());
    set.map(|(name, value)| format!("{name}={}", word(value))).collect::<Vec<_>>().join(" ")
}

fn show(context: &Context, resource: &ResourceInfo) -> Result<(), Failure> {
    let part = |name: &str, part: &Map<String, Value>| {
        let line = |(field, value): (&String, &Value)| format!("  {name:<8} {field:<16} {}\n", word(value));
        part.iter().filter(|(_, value)| !value.is_null()).map(line).collect::<String>()
    };
    let ResourceInfo { kind, name, generation, revision, finalizers, spec, status } = resource;
    let waits = if finalizers.is_empty() {
        String::new()
    } else {
        format!("  it is to be removed, and waits for: {}\n", finalizers.join(", "))
    };
    let text = format!(
        "{kind} {name}, revision {revision}, generation {generation}\n{waits}{}{}",
        part("spec", spec),
        part("status", status)
    );
    context.output.outcome(resource, name, text.trim_end())
}

/// Prints what changes until it is interrupted. A watch that broke off goes on where it was.
async fn watch(
    context: &Context,
    kinds: &[String],
    after: Option<u64>,
    line: fn(&ChangeInfo) -> String,
) -> Result<(), Failure> {
    let shape = context.output.shape();
    let mut last = after;
    let mut attempts = 0;
    loop {
        let mut printed = Ok(());
        let client = context.client();
        let watched = client.watch(last, kinds, |told| {
            let text = match &told {
                WatchLine::Bookmark { bookmark } => {
                    (last, attempts) = (Some(*bookmark), 0);
                    return ControlFlow::Continue(());
                }
                WatchLine::Change(change) => {
                    last = Some(change.revision);
                    match shape {
                        Shape::Json => serde_json::to_string(change).unwrap_or_default(),
                        Shape::Yaml => format!("---\n{}", serde_yaml(change)),
                        Shape::Name => change.name.clone(),
                        Shape::Table(_) | Shape::Tsv => line(change),
                    }
                }
                WatchLine::Ended { .. } => return ControlFlow::Break(()),
            };
            printed = data(&format!("{}\n", text.trim_end()));
            if printed.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        let ended = watched.await;
        printed?;
        match ended {
            Ok(()) => return Ok(()),
            // The member stops, or has fallen: it goes on where it was, here or at another one.
            Err(error) if last.is_some() && is_passing(&error) && attempts < ATTEMPTS_MAX => {
                attempts += 1;
                rt::time::sleep(ATTEMPT_PAUSE).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Whether the same may work in a moment.
fn is_passing(error: &ClientError) -> bool {
    match error {
        ClientError::Problem(problem) => problem.kind == ProblemKind::NotReady,
        other => other.disposition().is_passing(),
    }
}

fn serde_yaml(change: &ChangeInfo) -> String {
    serde_json::to_value(change).map(|value| crate::text::yaml::to_string(&value)).unwrap_or_default()
}

fn change_line(change: &ChangeInfo) -> String {
    let ChangeInfo { revision, verb, kind, name, spec, status, .. } = change;
    format!("{revision}\t{verb}\t{kind}\t{name}\t{} {}", fields(spec), fields(status))
}

fn event_line(change: &ChangeInfo) -> String {
    let field = |name: &str| change.status.get(name).map(word).unwrap_or_default();
    let (at, kind, about) = (field("at"), field("about_kind"), field("about"));
    format!("{at}\t{}\t{kind}/{about}\t{}\t{}", field("severity"), field("reason"), field("message"))
}

/// The newest events, the oldest of them first.
async fn newest(context: &Context, limit: u32) -> Result<Vec<ResourceInfo>, Failure> {
    let client = context.client();
    let mut events: Vec<ResourceInfo> = Vec::new();
    let mut after = None;
    loop {
        let page = client.resources("events", after.as_deref(), PAGE).await?;
        events.extend(page.items);
        let surplus = events.len().saturating_sub(limit as usize);
        drop(events.drain(..surplus));
        after = page.next;
        if after.is_none() {
            return Ok(events);
        }
    }
}

fn event_table(events: &[ResourceInfo]) -> Table {
    let mut table = Table::new(&["TIME", "ABOUT", "REASON", "MESSAGE", "+SEVERITY", "+ID"]);
    for event in events {
        let field = |name: &str| event.status.get(name).map(word).unwrap_or_default();
        let tone = if field("severity") == "warning" { Tone::Warn } else { Tone::Good };
        table.row([
            Cell::new(field("at").get(..19).unwrap_or_default().replace('T', " ") + "Z").raw(field("at")),
            Cell::new(format!("{}/{}", field("about_kind"), field("about"))),
            Cell::new(field("reason")).tone(tone),
            Cell::new(field("message")),
            Cell::new(field("severity")),
            Cell::new(&event.name),
        ]);
    }
    table
}
