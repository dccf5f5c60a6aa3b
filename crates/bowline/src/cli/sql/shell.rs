//! The interactive shell: a line editor with history, statements over several lines, completion of names.

use super::super::failure::{Failure, render};
use super::super::output::talk;
use super::dot::{self, After};
use super::{Talk, schema, split};
use crate::config::default_state_dir;
use crate::text::style::Style;
use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{CompletionType, Config, Editor, Helper};

/// How many lines the history keeps.
const HISTORY_LINES: usize = 10_000;

/// What can be completed without asking the database.
const KEYWORDS: &[&str] = &[
    "select",
    "from",
    "where",
    "group by",
    "order by",
    "limit",
    "insert into",
    "values",
    "update",
    "set",
    "delete from",
    "create table",
    "create index",
    "drop table",
    "alter table",
    "begin",
    "commit",
    "rollback",
    "pragma",
    "explain query plan",
    "join",
    "left join",
    "returning",
    "on conflict",
    "primary key",
    "references",
    "not null",
    "unique",
    "integer",
    "text",
];

/// Knows when a statement is whole, and what a word may become.
struct Assistant {
    names: Vec<String>,
}

impl Helper for Assistant {}
impl Highlighter for Assistant {}
impl Hinter for Assistant {
    type Hint = String;
}

impl Validator for Assistant {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        let text = context.input();
        let whole = text.trim_start().starts_with('.') || split::is_blank(text) || ends_whole(text);
        Ok(if whole { ValidationResult::Valid(None) } else { ValidationResult::Incomplete })
    }
}

/// Whether the last statement of the text has its semicolon.
fn ends_whole(text: &str) -> bool {
    let mut rest = text;
    while let Some(end) = split::statement_end(rest) {
        rest = rest.get(end..).unwrap_or_default();
    }
    split::is_blank(rest)
}

impl Completer for Assistant {
    type Candidate = String;

    fn complete(&self, line: &str, at: usize, _: &rustyline::Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        let before = line.get(..at).unwrap_or_default();
        let start = before
            .rfind(|c: char| !(c.is_alphanumeric() || c == '_' || c == '.'))
            .map_or(0, |i| i + before.get(i..).and_then(|rest| rest.chars().next()).map_or(1, char::len_utf8));
        let word = before.get(start..).unwrap_or_default().to_lowercase();
        if word.is_empty() {
            return Ok((start, Vec::new()));
        }
        let commands = dot::COMMANDS.iter().map(|(name, _, _)| *name).filter(|_| start == 0);
        let known = self.names.iter().map(String::as_str).chain(KEYWORDS.iter().copied()).chain(commands);
        let mut fitting: Vec<String> =
            known.filter(|name| name.to_lowercase().starts_with(&word)).map(str::to_owned).collect();
        fitting.sort();
        fitting.dedup();
        Ok((start, fitting))
    }
}

/// Reads and runs until the end of input or `.quit`.
pub(super) async fn run(conversation: &mut Talk) -> Result<(), Failure> {
    let config = Config::builder()
        .auto_add_history(true)
        .completion_type(CompletionType::List)
        .max_history_size(HISTORY_LINES)
        .and_then(|builder| builder.history_ignore_dups(true))
        .map_err(|error| no_editor(&error))?
        .build();
    let mut editor: Editor<Assistant, FileHistory> = Editor::with_config(config).map_err(|error| no_editor(&error))?;
    editor.set_helper(Some(Assistant { names: Vec::new() }));
    let history = default_state_dir().join("sql_history");
    if let Err(error) = editor.load_history(&history) {
        tracing::debug!(%error, "no history yet");
    }
    talk(&greeting(conversation));
    let style = Style::of(&std::io::stderr());
    loop {
        learn_names(&mut editor, conversation).await;
        let text = match editor.readline(&prompt(conversation)) {
            Ok(text) => text,
            // Ctrl-C at the prompt drops the line, Ctrl-D on an empty one leaves.
            Err(ReadlineError::Interrupted) => continue,
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(no_editor(&error)),
        };
        let outcome = if text.trim_start().starts_with('.') {
            dot::run(conversation, text.trim()).await
        } else {
            conversation.script(&text, "").await.map(|()| After::Continue)
        };
        match outcome {
            Err(Failure::Problem(problem)) => talk(&render(&problem, style)),
            // The command has said what was wrong; only a closed terminal ends the shell.
            Ok(After::Quit) | Err(Failure::Said(0)) => break,
            Ok(After::Continue) | Err(Failure::Said(_)) => {}
        }
    }
    let saved = rt::fs::create_dir_all(&default_state_dir()).map_err(ReadlineError::Io);
    if let Err(error) = saved.and_then(|()| editor.save_history(&history)) {
        talk(&format!("the history was not saved to {}: {error}\n", history.display()));
    }
    if conversation.session.is_in_transaction() {
        talk("The open transaction was rolled back.\n");
    }
    Ok(())
}

fn greeting(conversation: &Talk) -> String {
    let place = match (conversation.session.database(), conversation.session.endpoint()) {
        (Some(database), Some(endpoint)) => format!("{database}, at its leader {endpoint}"),
        _ => "no database is open; .open NAME opens one".to_owned(),
    };
    format!("Bowline {}: {place}\n.help lists the commands, Ctrl-D leaves.\n", env!("CARGO_PKG_VERSION"))
}

/// `shop> `, and `shop*> ` in a transaction.
fn prompt(conversation: &Talk) -> String {
    let name = conversation.session.database().and_then(|name| name.split('?').next()).unwrap_or("bowline");
    let mark = if conversation.session.is_in_transaction() { "*" } else { "" };
    format!("{name}{mark}> ")
}

/// Tables and views become completions. A database that cannot be asked has none.
async fn learn_names(editor: &mut Editor<Assistant, FileHistory>, conversation: &mut Talk) {
    if conversation.session.endpoint().is_none() || !conversation.session.is_quiet() {
        return;
    }
    let names = schema::tables(&mut conversation.session, "%").await;
    if let (Some(assistant), Ok(names)) = (editor.helper_mut(), names) {
        assistant.names = names;
    }
}

fn no_editor(error: &ReadlineError) -> Failure {
    use super::super::failure::{FILE, io};
    io(&FILE, "the terminal", &std::io::Error::other(error.to_string())).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_goes_on_until_its_semicolon() {
        for (text, whole) in [
            ("select 1;", true),
            ("select 1; select 2", false),
            ("select 1; -- done", true),
            ("select ';", false),
            ("select 1", false),
        ] {
            assert_eq!(ends_whole(text), whole, "{text}");
        }
    }

    #[test]
    fn words_are_completed_from_names_keywords_and_commands() {
        let assistant = Assistant { names: vec!["orders".to_owned()] };
        let history = FileHistory::new();
        let context = rustyline::Context::new(&history);
        let complete = |line: &str| assistant.complete(line, line.len(), &context).unwrap();
        assert_eq!(complete("select * from ord"), (14, vec!["order by".to_owned(), "orders".to_owned()]));
        assert_eq!(complete(".sch"), (0, vec![".schema".to_owned()]));
        assert_eq!(complete("select .sch").1, Vec::<String>::new());
    }
}
