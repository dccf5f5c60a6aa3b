//! `bowline access add|list|revoke`.

use super::Context;
use super::args::{Access, AccessCommand};
use super::failure::Failure;
use super::output::{self, Shape, data};
use crate::text::style::Tone;
use crate::text::table::{Cell, Table};
use api::control::access::AccessRole;
use api::control::{AccessInfo, AccessRequest};

pub(super) async fn run(context: &Context, command: AccessCommand) -> Result<(), Failure> {
    match command {
        AccessCommand::Add { name, role, valid } => {
            let role = match role {
                Access::Viewer => AccessRole::Viewer,
                Access::Operator => AccessRole::Operator,
                Access::Admin => AccessRole::Admin,
            };
            add(context, &AccessRequest { name, role, valid_s: Some(valid) }).await
        }
        AccessCommand::List => {
            let all = context.client().access_list().await?;
            context.output.list(&all, || table(&all), |access| access.name.clone())
        }
        AccessCommand::Revoke { name } => {
            let gone = context.client().access_revoke(&name).await?;
            context.output.outcome(&gone, &name, &format!("{name} has no access any more"))?;
            context.output.next(&format!("{} access list", context.bowline()), "shows who has access");
            Ok(())
        }
    }
}

async fn add(context: &Context, request: &AccessRequest) -> Result<(), Failure> {
    let issued = context.client().access_add(request).await?;
    match context.output.shape() {
        Shape::Table(_) => {
            let until = issued.expires.strftime("%Y-%m-%d");
            data(&format!("{}\n", issued.token))?;
            output::talk(&format!(
                "{} has the role {} until {until}. The token is a secret, and is not shown again.\n",
                issued.name, issued.role
            ));
            context.output.next("bowline context add NAME TOKEN", "on the machine of its holder");
            Ok(())
        }
        // In a pipe only the token.
        Shape::Tsv => data(&format!("{}\n", issued.token)),
        Shape::Name | Shape::Json | Shape::Yaml => context.output.outcome(&issued, &issued.name, ""),
    }
}

fn table(all: &[AccessInfo]) -> Table {
    let mut table = Table::new(&["NAME", "ROLE", "STATE", "EXPIRES", "+CREATED"]);
    for access in all {
        let (state, tone) = if access.is_expired { ("expired", Tone::Dim) } else { ("valid", Tone::Good) };
        table.row([
            Cell::new(&access.name),
            Cell::new(access.role),
            Cell::new(state).tone(tone),
            Cell::new(access.expires.strftime("%Y-%m-%d %H:%M:%SZ")).raw(access.expires),
            Cell::new(access.created.strftime("%Y-%m-%d %H:%M:%SZ")).raw(access.created),
        ]);
    }
    table
}
