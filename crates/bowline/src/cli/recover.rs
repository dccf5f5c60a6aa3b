//! `bowline recover`: the databases go on with the machines that are left.

use super::args::RecoverArgs;
use super::failure::Failure;
use super::output::{Shape, talk};
use super::{Context, confirm};
use crate::human;
use api::control::{Recovery, RecoveryNode, RecoveryRequest};

pub(super) async fn run(context: &Context, args: &RecoverArgs) -> Result<(), Failure> {
    let client = context.client();
    let plan = client.recovery().await?;
    let lost = names(&plan.lost);
    if args.dry_run {
        context.output.outcome(&plan, &lost, &planned(&plan))?;
        context.output.next(&format!("{} recover", context.bowline()), "does it");
        return Ok(());
    }
    if matches!(context.output.shape(), Shape::Table(_)) {
        talk(&format!("{}\n", planned(&plan)));
    }
    if !args.yes {
        let cost = "lose what only others had acknowledged";
        match lost.as_str() {
            "" => confirm::by_name("going on with", &names(&plan.survivors), cost)?,
            lost => confirm::by_name("recovering without", lost, cost)?,
        }
    }
    let give_up = plan.lost.iter().map(|node| node.name.clone()).collect();
    let done = client.recover(&RecoveryRequest { give_up }).await?;
    context.output.outcome(&done, &lost, &recovered(&done))?;
    let bowline = context.bowline();
    context.output.next(&format!("{bowline} status"), "shows how the cluster is now");
    context.output.next(&format!("{bowline} token add"), "adds a machine in place of one that is lost");
    Ok(())
}

fn names(nodes: &[RecoveryNode]) -> String {
    nodes.iter().map(|node| node.name.as_str()).collect::<Vec<_>>().join(" ")
}

fn listed(nodes: &[RecoveryNode]) -> String {
    human::list(&nodes.iter().map(|node| node.name.clone()).collect::<Vec<_>>())
}

/// The steps, each on a line with its number.
fn planned(plan: &Recovery) -> String {
    let (survivors, lost) = (listed(&plan.survivors), listed(&plan.lost));
    let (ahead, silent): (Vec<RecoveryNode>, Vec<RecoveryNode>) =
        plan.lost.iter().cloned().partition(|node| node.is_ahead);
    let witness = match ahead.as_slice() {
        [] => String::new(),
        ahead => format!("; the witness {} has acknowledged more than is left, and goes too", listed(ahead)),
    };
    let head = match silent.as_slice() {
        [] => format!("PLAN recover    all of {survivors} answer, but databases have lost their majority{witness}"),
        silent => format!("PLAN recover    no answer from {}{witness}; left: {survivors}", listed(silent)),
    };
    let databases = plan.databases.iter().map(|database| {
        let entries = human::count(database.entries, "entry", "entries");
        let lost = match database.lost_entries {
            0 => String::new(),
            lost => format!(
                "; {} after them, which the witness had acknowledged, are lost",
                human::count(lost, "entry", "entries")
            ),
        };
        format!("go on with {} as {} has it ({entries} of its log{lost})", database.name, database.from)
    });
    let removal = (!plan.lost.is_empty()).then(|| format!("take {lost} out of the cluster"));
    let steps: Vec<String> =
        databases.chain(removal).zip(1..).map(|(step, number)| format!("\n{number:>2}  {step}")).collect();
    let warning = "\nWhat only lost machines had acknowledged is lost. One that still runs somewhere must be stopped first: with \
                   others it could go on as a second cluster.";
    head + &steps.concat() + if plan.lost.is_empty() { "" } else { warning }
}

fn recovered(done: &Recovery) -> String {
    let went_on = human::count(done.databases.len() as u64, "database goes on", "databases go on");
    let removed = match done.lost.as_slice() {
        [] => String::new(),
        lost => format!(" Out of the cluster: {}.", listed(lost)),
    };
    format!("{went_on} with {}.{removed}", listed(&done.survivors))
}
