//! `bowline member`: who is alive, and what happens; and `bowline explain NODE`, which tells why somebody was declared dead.

use super::Context;
use super::args::MemberCommand;
use super::failure::Failure;
use super::output::{Shape, data, talk};
use crate::human;
use crate::text::style::Tone;
use crate::text::table::{Cell, Table};
use api::control::{ClientError, MemberEvent, MemberInfo, ProbeRequest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::Serialize;
use std::time::Duration;

/// How long a daemon may hold an answer back until something happens.
const WAIT_S: u64 = 20;
/// How often a watch that broke off is begun again before it is given up.
const ATTEMPTS_MAX: u32 = 60;
/// The pause before it is.
const ATTEMPT_PAUSE: Duration = Duration::from_millis(500);
/// As many events are asked for at once.
const EVENTS: usize = 1000;

pub(super) async fn run(context: &Context, command: MemberCommand) -> Result<(), Failure> {
    match command {
        MemberCommand::List => {
            let members = context.client().members().await?;
            context.output.list(&members, || table(&members, Timestamp::now()), |member| member.name.clone())
        }
        MemberCommand::Watch { after } => watch(context, after).await,
        MemberCommand::Payload { text } => {
            let member = context.client().member_payload(text.as_bytes()).await?;
            context.output.outcome(
                &member,
                &member.name,
                &format!("All members hear that {} says {text:?}.", member.name),
            )
        }
        MemberCommand::Probe { address } => {
            let probed = context.client().member_probe(&ProbeRequest { address }).await?;
            let line = match probed.sent_to.as_slice() {
                [] => "This machine has no network to broadcast on.".to_owned(),
                sent_to => format!("Asked {}: who answers is a member in a moment.", human::list(sent_to)),
            };
            context.output.outcome(&probed, &probed.sent_to.join("\n"), &line)?;
            context.output.next(&format!("{} member list", context.bowline()), "shows who is there");
            Ok(())
        }
    }
}

fn tone(status: &str) -> Tone {
    match status {
        "alive" => Tone::Good,
        "suspected" => Tone::Warn,
        "dead" => Tone::Bad,
        _ => Tone::Dim,
    }
}

fn table(members: &[MemberInfo], now: Timestamp) -> Table {
    let mut table = Table::new(&["NAME", "STATUS", "#FOR", "ADDRESS", "WHY", "+INCARNATION", "+PAYLOAD", "+ID"]);
    for member in members {
        let held = Duration::try_from(now.duration_since(member.since)).unwrap_or_default();
        let why = if member.is_self { "this node" } else { member.why.as_str() };
        table.row([
            Cell::new(&member.name),
            Cell::new(&member.status).tone(tone(&member.status)),
            Cell::new(human::duration(held)).raw(member.since),
            Cell::new(&member.address),
            Cell::new(why),
            Cell::new(&member.incarnation),
            Cell::new(payload(member)),
            Cell::new(&member.id),
        ]);
    }
    table
}

/// A payload as text, if it is one.
fn payload(member: &MemberInfo) -> String {
    let Some(encoded) = &member.payload else { return "?".to_owned() };
    match STANDARD.decode(encoded).map(String::from_utf8) {
        Ok(Ok(text)) if !text.chars().any(char::is_control) => text,
        _ => encoded.clone(),
    }
}

/// Prints what happens, until it is interrupted.
async fn watch(context: &Context, after: Option<u64>) -> Result<(), Failure> {
    let client = context.client();
    let mut after = match after {
        Some(after) => after,
        // From now on.
        None => client.member_events(0, EVENTS, 0).await?.last().map_or(0, |event| event.number),
    };
    let mut failed = 0;
    loop {
        match client.member_events(after, EVENTS, WAIT_S).await {
            Ok(events) => {
                failed = 0;
                // A daemon that was started again counts from 1.
                if events.first().is_some_and(|event| event.number > after + 1) && after > 0 {
                    talk("Some events were forgotten before they could be shown.\n");
                }
                for event in &events {
                    print(context, event)?;
                }
                after = events.last().map_or(after, |event| event.number);
            }
            Err(ClientError::Unreachable { .. } | ClientError::Broken { .. }) if failed < ATTEMPTS_MAX => {
                (failed, after) = (failed + 1, 0);
                rt::time::sleep(ATTEMPT_PAUSE).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn print(context: &Context, event: &MemberEvent) -> Result<(), Failure> {
    match context.output.shape() {
        Shape::Json | Shape::Yaml => data(&format!("{}\n", serde_json::to_string(event).unwrap_or_default())),
        Shape::Name => data(&format!("{}\n", event.name)),
        Shape::Table(_) | Shape::Tsv => {
            let at = event.at.strftime("%H:%M:%S%.3fZ");
            let status = context.output.style().paint(tone(&event.status), &event.status);
            data(&format!("{at}  {}  {status}  {}: {}\n", event.name, event.changes.join(","), event.why))
        }
    }
}

/// What a member knows of another, and what it has seen of it.
#[derive(Serialize)]
struct Story {
    member: MemberInfo,
    events: Vec<MemberEvent>,
}

/// Tells why a member has its status; false if there is no member of that name.
pub(super) async fn explain(context: &Context, name: &str) -> Result<bool, Failure> {
    let client = context.client();
    let Some(member) = client.members().await?.into_iter().find(|member| member.name == name || member.id == name)
    else {
        return Ok(false);
    };
    let mut events = client.member_events(0, EVENTS, 0).await?;
    events.retain(|event| event.id == member.id);
    let story = Story { member, events };
    match context.output.shape() {
        Shape::Table(_) | Shape::Tsv => data(&told(&story))?,
        _ => context.output.outcome(&story, &story.member.name, "")?,
    }
    Ok(true)
}

fn told(Story { member, events }: &Story) -> String {
    let MemberInfo { name, status, since, why, address, .. } = member;
    let head = format!("{name} is {status} since {}: {why}.\nIt is reached at {address} (UDP).\n", time(*since));
    let seen = if events.is_empty() { "" } else { "\nWhat this node has seen of it\n" };
    let line = |event: &MemberEvent| format!("  {}  {:9}  {}\n", time(event.at), event.status, event.why);
    let lines: Vec<String> = events.iter().map(line).collect();
    [&head, seen, &lines.concat()].concat()
}

fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S%.3fZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_death_is_told_from_its_suspicion_on() {
        let at = |ms: i64| Timestamp::from_millisecond(1_800_000_000_000 + ms).unwrap();
        let event = |number, ms, status: &str, why: &str| MemberEvent {
            number,
            at: at(ms),
            id: "0102".into(),
            name: "box3".into(),
            status: status.into(),
            changes: vec!["status".into()],
            mask: 2,
            why: why.into(),
        };
        let member = MemberInfo {
            id: "0102".into(),
            node: None,
            name: "box3".into(),
            status: "dead".into(),
            address: "10.0.0.3:7440".into(),
            incarnation: "1.0".into(),
            since: at(2_700),
            why: "box1 found it silent, and it did not say otherwise for 1.9 s".into(),
            payload: Some(STANDARD.encode("rack 4")),
            is_self: false,
        };
        insta::assert_snapshot!(
            "a_list_of_members",
            table(std::slice::from_ref(&member), at(12_700))
                .columns(crate::text::table::Shown::Wide, crate::text::style::Style::Plain)
        );
        let events = vec![
            event(3, 0, "alive", "it was heard itself"),
            event(7, 800, "suspected", "it answered none of 4 pings within 0.8 s, nor through 1 other member"),
            event(8, 2_700, "dead", "box1 found it silent, and it did not say otherwise for 1.9 s"),
        ];
        insta::assert_snapshot!("a_death_explained", told(&Story { member, events }));
    }
}
