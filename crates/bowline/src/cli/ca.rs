//! `bowline ca show|rotate`.

use super::Context;
use super::args::CaCommand;
use super::failure::Failure;
use super::output::{Shape, data, talk};
use crate::human;
use crate::text::table::{Cell, Table};
use api::control::{Authority, AuthorityInfo, AuthorityPart, ClientError, RotateRequest, Rotation, RotationState};
use std::time::Duration;

/// How often it is looked how far a rotation is.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Members that are waited for so long without a step being done are most likely down.
const STUCK_AFTER: Duration = Duration::from_secs(10);

pub(super) async fn run(context: &Context, command: CaCommand) -> Result<(), Failure> {
    match command {
        CaCommand::Show => show(context).await,
        CaCommand::Rotate { finish, without } => rotate(context, RotateRequest { finish, without }).await,
    }
}

async fn show(context: &Context) -> Result<(), Failure> {
    let authority = context.client().authority().await?;
    match context.output.shape() {
        Shape::Table(shown) => {
            data(&told(&authority))?;
            data(&format!("\n{}", table(&authority).columns(shown, context.output.style())))?;
        }
        Shape::Tsv => data(&table(&authority).tsv())?,
        Shape::Name | Shape::Json | Shape::Yaml => {
            let names: Vec<&str> = authority.authorities.iter().map(|ca| ca.fingerprint.as_str()).collect();
            context.output.outcome(&authority, &names.join("\n"), "")?;
        }
    }
    if let Some(rotation) = &authority.rotation {
        next(context, rotation);
    }
    Ok(())
}

/// Begins, or hurries what is under way, and looks on until it is done or has to wait.
async fn rotate(context: &Context, request: RotateRequest) -> Result<(), Failure> {
    let client = context.client();
    let began = rt::time::Instant::now();
    let mut authority = client.authority_rotate(&request).await?;
    let (mut state, mut since) = (None, began);
    while let Some(rotation) = &authority.rotation {
        if state != Some(rotation.state) {
            (state, since) = (Some(rotation.state), rt::time::Instant::now());
            talk(&format!("  {}\n", step(rotation.state)));
        }
        let waits = rotation.state == RotationState::Waiting && !rotation.finishing && rotation.waits_for.is_empty();
        let tokens = !rotation.access.is_empty() || rotation.join_tokens > 0;
        if (waits && tokens) || since.elapsed() >= STUCK_AFTER || began.elapsed() >= context.timeout {
            break;
        }
        rt::time::sleep(LOOK_EVERY).await;
        authority = match client.authority().await {
            Ok(authority) => authority,
            // A token that pinned the old CA has done its last service.
            Err(ClientError::NoHost { .. }) if rotation.state >= RotationState::Waiting => break,
            Err(error) => return Err(error.into()),
        };
    }
    context.output.outcome(&authority, "rotation", told(&authority).trim_end())?;
    match &authority.rotation {
        Some(rotation) => next(context, rotation),
        None => context.output.next(&format!("{} ca show", context.bowline()), "shows the CA and the certificates"),
    }
    Ok(())
}

const fn step(state: RotationState) -> &'static str {
    match state {
        RotationState::Distributing => "the new CA is made known; all trust both",
        RotationState::Reissuing => "every member gets a certificate by the new CA",
        RotationState::Waiting => "tokens pin the new CA from now on",
        RotationState::Retiring => "the old CA is trusted no more",
    }
}

/// The first eight digits tell CAs apart.
fn short(fingerprint: &str) -> String {
    fingerprint.chars().take(8).collect()
}

/// The CAs, and what a rotation waits for, in sentences.
fn told(authority: &Authority) -> String {
    let line = |ca: &AuthorityInfo| {
        let part = match ca.part {
            AuthorityPart::Current => "",
            AuthorityPart::Coming => ", takes the place of the other",
            AuthorityPart::Going => ", goes",
        };
        format!("CA {}{part}, ends {}.\n", short(&ca.fingerprint), ca.ends.strftime("%Y-%m-%d"))
    };
    let lines: Vec<String> = authority.authorities.iter().map(line).collect();
    lines.concat() + &authority.rotation.as_ref().map(waiting).unwrap_or_default()
}

fn waiting(rotation: &Rotation) -> String {
    let mut sentences = vec![format!("The CA is being replaced: {}.", step(rotation.state))];
    if !rotation.waits_for.is_empty() {
        let verb = if rotation.waits_for.len() == 1 { "has" } else { "have" };
        sentences.push(format!("{} {verb} not done it yet.", human::list(&rotation.waits_for)));
    }
    if !rotation.access.is_empty() {
        let count = rotation.access.len() as u64;
        let tokens = human::count(count, "access token still pins", "access tokens still pin");
        sentences.push(format!("{tokens} the old CA, of {}.", human::list(&rotation.access)));
    }
    if rotation.join_tokens > 0 {
        let tokens = human::count(rotation.join_tokens, "unused join token still pins", "unused join tokens still pin");
        sentences.push(format!("{tokens} it."));
    }
    if !rotation.without.is_empty() {
        sentences.push(format!("Not waited for: {}.", human::list(&rotation.without)));
    }
    sentences.join(" ") + "\n"
}

fn next(context: &Context, rotation: &Rotation) {
    let bowline = context.bowline();
    if let Some(name) = rotation.waits_for.first() {
        context.output.next("bowline start", &format!("on {name}, if it is down; the rotation goes on by itself"));
        context.output.next(&format!("{bowline} ca rotate --without {name}"), "does not wait for it");
    } else if !rotation.access.is_empty() || rotation.join_tokens > 0 {
        context
            .output
            .next(&format!("{bowline} access revoke NAME"), "and `access add NAME` gives a token that pins the new CA");
        context
            .output
            .next(&format!("{bowline} ca rotate --finish"), "ends it; tokens that pin the old CA stop working");
    }
}

/// The members' certificates.
fn table(authority: &Authority) -> Table {
    let mut table = Table::new(&["NODE", "CERTIFICATE UNTIL", "BY CA", "TRUSTS"]);
    for member in &authority.members {
        let trusts: Vec<String> = member.trusts.iter().map(|ca| short(ca)).collect();
        table.row([
            Cell::new(&member.name),
            match member.ends {
                Some(ends) => Cell::new(ends.strftime("%Y-%m-%d %H:%M:%SZ")).raw(ends),
                None => Cell::new("-"),
            },
            Cell::new(member.issuer.as_deref().map_or_else(|| "-".to_owned(), short)),
            Cell::new(if trusts.is_empty() { "-".to_owned() } else { trusts.join(" ") }),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::style::Style;
    use crate::text::table::Shown;
    use api::control::MemberCertificate;
    use base::NodeId;
    use jiff::Timestamp;

    #[test]
    fn a_rotation_says_whom_it_waits_for() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let ca = |digit: char, part| AuthorityInfo {
            fingerprint: digit.to_string().repeat(64),
            part,
            ends: at(2_100_000_000),
        };
        let member = |id: u64, issuer: Option<char>, trusts: &str| MemberCertificate {
            node: NodeId(id),
            name: format!("box{id}"),
            ends: issuer.map(|_| at(1_800_000_000)),
            issuer: issuer.map(|digit| digit.to_string().repeat(64)),
            trusts: trusts.chars().map(|digit| digit.to_string().repeat(64)).collect(),
        };
        let rotation = |state| Rotation {
            state,
            begun: at(1_790_000_000),
            waits_for: vec![],
            without: vec![],
            access: vec![],
            join_tokens: 0,
            finishing: false,
        };
        let quiet = Authority {
            authorities: vec![ca('a', AuthorityPart::Current)],
            rotation: None,
            members: vec![member(1, Some('a'), "a"), member(2, None, "")],
        };
        let reissuing = Authority {
            authorities: vec![ca('a', AuthorityPart::Going), ca('b', AuthorityPart::Coming)],
            rotation: Some(Rotation {
                waits_for: vec!["box2".to_owned()],
                without: vec!["box3".to_owned()],
                ..rotation(RotationState::Reissuing)
            }),
            members: vec![member(1, Some('b'), "ab"), member(2, Some('a'), "ab")],
        };
        let waiting = Authority {
            rotation: Some(Rotation {
                access: vec!["anna".to_owned(), "grafana".to_owned()],
                join_tokens: 1,
                ..rotation(RotationState::Waiting)
            }),
            ..reissuing.clone()
        };
        let text = [&quiet, &reissuing, &waiting]
            .map(|authority| told(authority) + "\n" + &table(authority).columns(Shown::Always, Style::Plain));
        insta::assert_snapshot!(text.join("\n"));
    }
}
