//! `bowline sql`: a shell, one statement, or a script from standard input, over the dqlite protocol.

mod csv;
mod dot;
mod rows;
mod schema;
mod session;
mod shell;
mod split;
pub(super) mod trouble;
mod wire;

use super::Context;
use super::args::{Format, Mode, SqlArgs};
use super::failure::{self, Failure};
use super::output::{Shape, data};
use crate::config::dqlite_socket;
use crate::text::style::{Style, Tone};
use api::control::sql::SessionAt;
use rows::{Form, Writer};
use session::{Done, Session};
use std::io::{IsTerminal, Read};
use std::time::Duration;
use trouble::Trouble;
use wire::Endpoint;

pub(super) async fn run(context: &Context, args: SqlArgs) -> Result<(), Failure> {
    let home = match (&args.address, &context.elsewhere) {
        (Some(address), _) => Endpoint::Remote { address: address.clone(), id: None },
        (None, Some(_)) => Endpoint::Cluster { client: context.client(), at: SessionAt::Leader, node: None },
        (None, None) => Endpoint::Local(dqlite_socket(&context.socket)),
    };
    let session = Session::new(home, context.state_dir.join("identity"), context.timeout);
    let mut talk = Talk::new(context, args.mode, session);
    if let Some(database) = &args.database {
        // `shop?read=local`: the part after the question mark is for the server.
        let name = database.split('?').next().unwrap_or_default();
        if name.contains(char::is_whitespace) && args.statement.is_none() {
            return Err(failure::misuse(
                format!("{database:?} is not the name of a database"),
                "the first word after `sql` is the database, the second the statement",
                format!("{} sql NAME {}", context.bowline(), super::output::shell_word(database)),
            ));
        }
        super::db::parse(name)?;
        talk.session.open(database).await.map_err(Talk::failure)?;
    }
    if let Some(statement) = args.statement {
        return talk.script(&statement, "").await;
    }
    if std::io::stdin().is_terminal() {
        return shell::run(&mut talk).await;
    }
    let mut script = String::new();
    std::io::stdin()
        .read_to_string(&mut script)
        .map_err(|error| Failure::from(failure::io(&failure::FILE, "standard input", &error)))?;
    talk.script(&script, "standard input").await
}

/// A conversation and how its results are shown.
struct Talk {
    session: Session,
    form: Form,
    style: Style,
    timer: Timer,
    client: api::control::Client,
}

/// Whether each statement's time is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Timer {
    Off,
    On,
}

impl Talk {
    fn new(context: &Context, mode: Option<Mode>, session: Session) -> Self {
        let shape = context.output.shape();
        let form = match (mode, context.output.asked(), shape) {
            (Some(mode), _, _) => Form::Mode(mode),
            (None, Some(Format::Json), _) => Form::Mode(Mode::Json),
            (None, Some(Format::Yaml), _) => Form::Yaml,
            (None, Some(Format::Name), _) => Form::Mode(Mode::List),
            (None, _, Shape::Table(_)) => Form::Mode(Mode::Table),
            _ => Form::Mode(Mode::Tsv),
        };
        Self { session, form, style: context.output.style(), timer: Timer::Off, client: context.client() }
    }

    fn failure(trouble: Trouble) -> Failure {
        match trouble {
            Trouble::Sink { source } => Failure::from_stdout(&source),
            other => other.to_problem().into(),
        }
    }

    /// Runs a text statement by statement and ends at the first that fails. `source` is named in the error, if not empty.
    async fn script(&mut self, text: &str, source: &str) -> Result<(), Failure> {
        let mut rest = text;
        while !split::is_blank(rest) {
            let line = rest.trim_start();
            let is_command = line.starts_with('.');
            let end = if is_command {
                rest.len() - line.len() + line.find('\n').map_or(line.len(), |end| end + 1)
            } else {
                split::statement_end(rest).unwrap_or(rest.len())
            };
            let (statement, after) = rest.split_at_checked(end).unwrap_or((rest, ""));
            let outcome = if is_command {
                dot::run(self, statement.trim()).await.map(drop)
            } else {
                self.statement(statement).await.map_err(Self::failure)
            };
            if let Err(failure) = outcome {
                let line = 1 + text
                    .len()
                    .checked_sub(rest.trim_start().len())
                    .map_or(0, |start| text.get(..start).unwrap_or_default().matches('\n').count());
                return Err(if source.is_empty() { failure } else { failure.at(&format!("{source}, line {line}")) });
            }
            rest = after;
        }
        Ok(())
    }

    /// Runs one statement and shows what it gives.
    async fn statement(&mut self, sql: &str) -> Result<(), Trouble> {
        if split::is_blank(sql) {
            return Ok(());
        }
        let started = rt::time::Instant::now();
        let out = std::io::BufWriter::new(std::io::stdout().lock());
        let mut writer = Writer::new(out, self.form, self.style);
        let done = self.session.run(sql.trim(), &[], &mut writer).await;
        let finished = writer.finish().map_err(|source| Trouble::Sink { source });
        let done = done?;
        finished?;
        if self.form == Form::Mode(Mode::Table) {
            self.note(done, split::kind(sql), started.elapsed());
        } else if self.timer == Timer::On {
            super::output::talk(&format!("{} ms\n", started.elapsed().as_millis()));
        }
        Ok(())
    }

    /// The line under a table: how many rows, and how long it took if that is wanted.
    fn note(&self, done: Done, kind: split::Kind, elapsed: Duration) {
        let text = match (done, kind) {
            (Done::Rows(rows), split::Kind::Read) => crate::human::count(rows, "row", "rows"),
            (Done::Rows(_) | Done::Changed(0), _) | (_, split::Kind::Begin | split::Kind::End) => "done".to_owned(),
            (Done::Changed(rows), _) => format!("{} changed", crate::human::count(rows, "row", "rows")),
        };
        let time = if self.timer == Timer::On { format!(", {} ms", elapsed.as_millis()) } else { String::new() };
        super::output::talk(&(self.style.paint(Tone::Dim, &format!("({text}{time})")) + "\n"));
    }

    /// Names, one a line, in the form of the conversation.
    fn names(&self, heading: &'static str, names: &[String]) -> Result<(), Failure> {
        let mut out = Vec::new();
        let mut writer = Writer::new(&mut out, self.form, self.style);
        let written = (|| {
            session::Sink::columns(&mut writer, &[heading])?;
            for name in names {
                session::Sink::row(&mut writer, &[dqlite::ValueRef::Text(name.as_bytes())])?;
            }
            writer.finish()
        })();
        written.map_err(|error| Failure::from_stdout(&error))?;
        super::output::bytes(&out)
    }
}

/// Writes to standard output.
fn say(text: &str) -> Result<(), Failure> {
    data(text)
}
