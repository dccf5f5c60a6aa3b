//! Why somebody has its status, in words.

use std::fmt::Write as _;
use std::time::Duration;
use swim::{MemberId, Reason, Status};

/// Says why a member has this status. `name` is how people call a member.
pub fn why(status: Status, reason: &Reason, name: &dyn Fn(&MemberId) -> String) -> String {
    match reason {
        Reason::Asked => "this node was told so".to_owned(),
        Reason::Direct => match status {
            Status::Left => "it said goodbye".to_owned(),
            _ => "it was heard itself".to_owned(),
        },
        Reason::Told { by } => format!("{} said so", name(by)),
        Reason::Silent { pings, proxies, nacks, waited } => {
            let mut text = format!("it did not answer {} within {}", count(*pings, "ping"), time(*waited));
            if *proxies > 0 {
                write!(text, ", nor through {}", count(*proxies, "other member")).ok();
            }
            if *nacks > 0 {
                write!(text, ", of which {nacks} said that they hear nothing from it either").ok();
            }
            text
        }
        Reason::Accused { by, accusers } => match accusers.as_slice() {
            [] => format!("{} suspects it", name(by)),
            accusers => format!("{} found it silent, says {}", all(accusers, name), name(by)),
        },
        Reason::Unrefuted { accusers, suspected } => {
            format!("{} found it silent, and it did not say otherwise for {}", all(accusers, name), time(*suspected))
        }
        Reason::Refuted { rumour } => format!("it was believed to be {rumour}, and said that it is not"),
        Reason::Forgotten => "nothing was heard of it for long".to_owned(),
    }
}

fn all(members: &[MemberId], name: &dyn Fn(&MemberId) -> String) -> String {
    let names: Vec<String> =
        members.iter().map(|member| if member.is_nil() { "somebody".to_owned() } else { name(member) }).collect();
    match names.as_slice() {
        [] => "somebody".to_owned(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}

fn count(n: u32, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

fn time(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_sentence() {
        let name = |member: &MemberId| format!("box{}", member.0[0]);
        let (one, two) = (MemberId([1; 16]), MemberId([2; 16]));
        let waited = Duration::from_millis(812);
        let all = [
            (Status::Alive, Reason::Asked),
            (Status::Alive, Reason::Direct),
            (Status::Left, Reason::Direct),
            (Status::Dead, Reason::Told { by: one }),
            (Status::Suspected, Reason::Silent { pings: 4, proxies: 1, nacks: 1, waited }),
            (Status::Suspected, Reason::Silent { pings: 1, proxies: 0, nacks: 0, waited }),
            (Status::Suspected, Reason::Accused { by: one, accusers: vec![] }),
            (Status::Suspected, Reason::Accused { by: one, accusers: vec![one, two] }),
            (Status::Dead, Reason::Unrefuted { accusers: vec![one, two, MemberId::NIL], suspected: waited }),
            (Status::Dead, Reason::Unrefuted { accusers: vec![], suspected: waited }),
            (Status::Alive, Reason::Refuted { rumour: Status::Dead }),
            (Status::Dead, Reason::Forgotten),
        ];
        let said: Vec<String> =
            all.iter().map(|(status, reason)| format!("{status}: {}", why(*status, reason, &name))).collect();
        insta::assert_snapshot!(said.join("\n"));
    }
}
