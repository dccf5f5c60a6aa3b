//! What cannot be undone is confirmed: with `--yes`, or by typing a name at a terminal.

use super::failure::{self, Failure};
use super::output::talk;
use api::control::{Problem, ProblemKind};
use std::io::{BufRead, IsTerminal};

/// Says what `doing` it costs, and asks for the name. Refused where nobody can be asked, or with another answer.
pub(super) fn by_name(doing: &str, name: &str, cost: &str) -> Result<(), Failure> {
    let refused = || {
        Problem::new(&failure::NOT_CONFIRMED, ProblemKind::Unsafe, format!("{doing} {name} was not confirmed"))
            .because(format!("it would {cost}, and there is no undo"))
    };
    if !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
        return Err(refused().into());
    }
    let mut doing_so = doing.to_owned();
    if let Some(first) = doing_so.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    talk(&format!("{doing_so} {name} would {cost}. There is no undo.\nType its name to go on: "));
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    if !answer.ends_with('\n') {
        talk("\n");
    }
    if read.is_err() || answer.trim() != name { Err(refused().into()) } else { Ok(()) }
}
