//! The commands of the shell that are not SQL: they start with a dot.

use super::super::args::Mode;
use super::super::failure::{self, Failure};
use super::rows::Form;
use super::{Talk, Timer, say, schema};
use crate::text::style::Style;
use crate::text::table::{Cell, Shown, Table};
use clap::ValueEnum;
use std::path::Path;

/// Whether the conversation goes on after a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    Continue,
    Quit,
}

/// The commands: name, arguments, what it does.
pub(super) const COMMANDS: &[(&str, &str, &str)] = &[
    (".cluster", "", "list the members, as the dqlite protocol has them"),
    (".databases", "", "list the databases of the cluster"),
    (".dump", "[TABLE]", "print the database, or one table, as SQL"),
    (".help", "", "print this"),
    (".import", "FILE TABLE", "insert the records of a CSV file; makes the table if need be"),
    (".leader", "", "print who leads, and where this shell is connected"),
    (".mode", "[MODE]", "print rows as table, csv, json, line, tsv or list"),
    (".open", "NAME", "open another database; made if it is not there"),
    (".quit", "", "leave; so does Ctrl-D"),
    (".read", "FILE", "run the statements of a file"),
    (".schema", "[TABLE]", "print definitions"),
    (".tables", "[PATTERN]", "list tables and views"),
    (".timer", "on|off", "tell how long each statement takes"),
];

/// Runs one command line. `.quit` is the only one that ends the conversation.
pub(super) async fn run(talk: &mut Talk, line: &str) -> Result<After, Failure> {
    let words = split_words(line);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        [".quit" | ".exit" | ".q"] => return Ok(After::Quit),
        [".help" | ".h"] => say(&help())?,
        [".databases"] => {
            let databases = talk.client.databases().await?;
            let names: Vec<String> = databases.iter().map(|database| database.name.to_string()).collect();
            talk.names("database", &names)?;
        }
        [".tables"] => tables(talk, "%").await?,
        [".tables", pattern] => tables(talk, pattern).await?,
        [".schema"] => definitions(talk, "%").await?,
        [".schema", table] => definitions(talk, table).await?,
        [".dump"] => dump(talk, "%").await?,
        [".dump", table] => dump(talk, table).await?,
        [".mode"] => {
            let Form::Mode(mode) = talk.form else { return Ok(After::Continue) };
            say(&format!("{}\n", name_of(mode)))?;
        }
        [".mode", mode] => match Mode::from_str(mode, true) {
            Ok(mode) => talk.form = Form::Mode(mode),
            Err(_) => return Err(misuse(format!("there is no mode {mode}"), ".mode table|csv|json|line|tsv|list")),
        },
        [".timer", "on"] => talk.timer = Timer::On,
        [".timer", "off"] => talk.timer = Timer::Off,
        [".open", name] => {
            super::super::db::parse(name.split('?').next().unwrap_or_default())?;
            talk.session.open(name).await.map_err(Talk::failure)?;
        }
        [".import", file, table] => {
            let text = read(Path::new(file))?;
            let rows = schema::import(&mut talk.session, &text, table).await.map_err(Talk::failure)?;
            super::super::output::talk(&format!("{} into {table}\n", crate::human::count(rows, "row", "rows")));
        }
        [".read", file] => {
            let text = read(Path::new(file))?;
            // The script may hold dot commands, which come back here.
            Box::pin(talk.script(&text, file)).await?;
        }
        [".leader"] => leader(talk).await?,
        [".cluster"] => cluster(talk).await?,
        _ => return Err(unknown(words.first().copied().unwrap_or_default())),
    }
    Ok(After::Continue)
}

fn misuse(message: impl Into<String>, next: impl Into<String>) -> Failure {
    let problem = api::control::Problem::new(&failure::MISUSE, api::control::ProblemKind::Refused, message);
    problem.because(failure::MISUSE.cause).next(next).into()
}

fn unknown(command: &str) -> Failure {
    match COMMANDS.iter().find(|(name, _, _)| *name == command) {
        Some((name, arguments, _)) => misuse(format!("{name} is used another way"), format!("{name} {arguments}")),
        None => misuse(format!("there is no command {command}"), "`.help` lists the commands"),
    }
}

fn help() -> String {
    let mut table = Table::new(&["COMMAND", ""]);
    for (name, arguments, what) in COMMANDS {
        table.row([Cell::new(format!("{name} {arguments}")), Cell::new(what)]);
    }
    let lines = table.columns(Shown::Always, Style::Plain);
    let lines = lines.split_once('\n').map_or("", |(_, rest)| rest);
    format!("{lines}\nEverything else is SQL and ends with a semicolon. Ctrl-C stops a statement that runs.\n")
}

fn name_of(mode: Mode) -> String {
    mode.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

fn lines(items: &[String]) -> String {
    items.iter().flat_map(|item| [item.as_str(), "\n"]).collect()
}

async fn tables(talk: &mut Talk, pattern: &str) -> Result<(), Failure> {
    let names = schema::tables(&mut talk.session, pattern).await.map_err(Talk::failure)?;
    if names.is_empty() {
        super::super::output::talk("no tables\n");
    }
    say(&lines(&names))
}

async fn definitions(talk: &mut Talk, pattern: &str) -> Result<(), Failure> {
    let definitions = schema::definitions(&mut talk.session, pattern).await.map_err(Talk::failure)?;
    if definitions.is_empty() {
        super::super::output::talk(&format!("nothing is named {pattern}\n").replace("named %", "defined yet"));
    }
    say(&lines(&definitions))
}

async fn dump(talk: &mut Talk, pattern: &str) -> Result<(), Failure> {
    let mut out = std::io::BufWriter::new(std::io::stdout());
    schema::dump(&mut talk.session, pattern, &mut out).await.map_err(Talk::failure)?;
    std::io::Write::flush(&mut out).map_err(|error| Failure::from_stdout(&error))
}

async fn leader(talk: &mut Talk) -> Result<(), Failure> {
    let leader = talk.session.leader().await.map_err(Talk::failure)?;
    let leader = leader.map_or("nobody leads now".to_owned(), |(id, address)| format!("node {id} at {address} leads"));
    let here =
        talk.session.endpoint().map_or("not connected".to_owned(), |endpoint| format!("connected to {endpoint}"));
    say(&format!("{leader}; {here}\n"))
}

async fn cluster(talk: &mut Talk) -> Result<(), Failure> {
    let mut table = Table::new(&["ID", "ADDRESS", "ROLE"]);
    for member in talk.session.members().await.map_err(Talk::failure)? {
        let role = member.role.map_or_else(|| "-".to_owned(), |role| role.to_string());
        table.row([Cell::new(member.id), Cell::new(member.address), Cell::new(role)]);
    }
    say(&table.columns(Shown::Always, talk.style))
}

fn read(path: &Path) -> Result<String, Failure> {
    let trouble = |error| Failure::from(failure::io(&failure::FILE, &path.display().to_string(), &error));
    let bytes = rt::fs::read(path).map_err(trouble)?;
    String::from_utf8(bytes).map_err(|_| trouble(std::io::Error::other("the file is not UTF-8 text")))
}

/// Words divided by blanks; quotes, single or double, hold blanks.
fn split_words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in line.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_hold_words_together() {
        assert_eq!(split_words(".import 'my file.csv'  \"a b\" x"), [".import", "my file.csv", "a b", "x"]);
        assert_eq!(split_words(".open ''"), [".open", ""]);
        assert!(split_words("  ").is_empty());
    }

    #[test]
    fn the_help_lists_every_command() {
        insta::assert_snapshot!(help());
    }
}
