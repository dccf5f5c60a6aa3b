//! Clusters that this user asks from afar, each under a name; and `bowline context add|list|use|remove`.
//!
//! They are kept in `contexts.toml` in the user's configuration directory, which nobody else may read: a token is a secret.

use super::Context;
use super::args::{ContextCommand, Global};
use super::failure::{self, Failure};
use super::output;
use crate::config::HTTPS_PORT;
use crate::text::table::{Cell, Table};
use api::control::{Client, ClientError, Problem, ProblemKind, Remote};
use cluster::{Token, TokenKind};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The name that means the node of this machine.
pub(super) const LOCAL: &str = "local";

/// A cluster elsewhere that a command is to ask.
#[derive(Debug, Clone)]
pub(super) struct Elsewhere {
    pub(super) remote: Remote,
    /// The flag that leads there, if one was given: for lines to paste.
    pub(super) flag: Option<String>,
}

/// What the file holds.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Contexts {
    /// The one that commands use if nothing else is said.
    current: Option<String>,
    #[serde(default)]
    contexts: BTreeMap<String, Entry>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    token: String,
}

/// `$XDG_CONFIG_HOME/bowline/contexts.toml`, usually in `~/.config`.
fn path() -> PathBuf {
    let environment = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let config = environment("XDG_CONFIG_HOME").or_else(|| Some(environment("HOME")?.join(".config")));
    config.unwrap_or_default().join("bowline/contexts.toml")
}

impl Contexts {
    fn load() -> Result<Self, Failure> {
        let path = path();
        let text = match rt::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(failure::io(&failure::FILE, &path.display().to_string(), &error).into()),
        };
        toml::from_slice(&text).map_err(|error| {
            Problem::new(&failure::FILE, ProblemKind::Refused, format!("{} makes no sense", path.display()))
                .because(error.message().to_owned())
                .next("mend the file, or remove it and add the contexts again")
                .into()
        })
    }

    fn save(&self) -> Result<(), Failure> {
        let path = path();
        let write = || {
            rt::fs::create_dir_all(path.parent().unwrap_or(&path))?;
            let text = toml::to_string(self).map_err(std::io::Error::other)?;
            rt::fs::write_atomic(&path, text.as_bytes())
        };
        write().map_err(|error| failure::io(&failure::FILE, &path.display().to_string(), &error).into())
    }

    fn token(&self, name: &str) -> Result<Token, Failure> {
        let entry = self.contexts.get(name).ok_or_else(|| unknown(name))?;
        parse(&entry.token)
    }
}

fn unknown(name: &str) -> Failure {
    Problem::new(&failure::NO_CONTEXT, ProblemKind::NotFound, format!("there is no context {name}")).into()
}

fn parse(token: &str) -> Result<Token, Failure> {
    let token = token.parse::<Token>().and_then(|token| token.expect(TokenKind::Access));
    token.map_err(|error| Problem::from_fault(&error, cluster::PAGES).into())
}

fn remote(token: &Token, addresses: Vec<String>) -> Result<Remote, Failure> {
    Ok(Remote::new(addresses, token.ca, &token.to_string())?)
}

/// The cluster that the flags, the environment or the current context name; none if it is the node of this machine.
///
/// `--host` names a member, and the token is that of the environment or of a context; a token in the environment is enough by itself.
pub(super) fn chosen(global: &Global) -> Result<Option<Elsewhere>, Failure> {
    if global.socket.is_some() || global.state_dir.is_some() {
        return Ok(None);
    }
    let given = std::env::var("BOWLINE_TOKEN").ok().filter(|token| !token.is_empty());
    let (token, flag) = match (&global.context, given) {
        (Some(name), _) if name == LOCAL => return Ok(None),
        (Some(name), _) => (Contexts::load()?.token(name)?, Some(format!("--context {}", output::shell_word(name)))),
        (None, Some(token)) => (parse(&token)?, None),
        (None, None) => {
            let contexts = Contexts::load()?;
            match (&contexts.current, &global.host) {
                (Some(current), _) => (contexts.token(current)?, None),
                (None, None) => return Ok(None),
                (None, Some(host)) => {
                    return Err(Problem::new(&failure::NO_CONTEXT, ProblemKind::Refused, format!("no token for {host}"))
                        .because("over HTTPS a cluster answers those who show an access token")
                        .next("set BOWLINE_TOKEN, or keep the token: bowline context add NAME TOKEN; bowline context use NAME")
                        .into());
                }
            }
        }
    };
    let (addresses, flag) = match &global.host {
        Some(host) => (vec![with_port(host)], Some(format!("--host {}", output::shell_word(host)))),
        None => (token.addresses.clone(), flag),
    };
    Ok(Some(Elsewhere { remote: remote(&token, addresses)?, flag }))
}

/// `host:port`, with the usual port if none was given.
fn with_port(host: &str) -> String {
    let is_bare_v6 = host.matches(':').count() > 1 && !host.starts_with('[');
    if is_bare_v6 {
        return format!("[{host}]:{HTTPS_PORT}");
    }
    match host.rsplit_once(':') {
        Some((_, port)) if port.parse::<u16>().is_ok() => host.to_owned(),
        _ => format!("{host}:{HTTPS_PORT}"),
    }
}

pub(super) async fn run(context: &Context, command: ContextCommand) -> Result<(), Failure> {
    match command {
        ContextCommand::Add { name, token } => add(context, name, token).await,
        ContextCommand::List => list(context),
        ContextCommand::Use { name } => {
            let mut contexts = Contexts::load()?;
            if name != LOCAL && !contexts.contexts.contains_key(&name) {
                return Err(unknown(&name));
            }
            contexts.current = (name != LOCAL).then(|| name.clone());
            contexts.save()?;
            let what =
                if name == LOCAL { "the node of this machine".to_owned() } else { format!("the cluster {name}") };
            output::talk(&format!("commands ask {what} from now on\n"));
            context.output.next("bowline status", "shows it");
            Ok(())
        }
        ContextCommand::Remove { name } => {
            let mut contexts = Contexts::load()?;
            contexts.contexts.remove(&name).ok_or_else(|| unknown(&name))?;
            if contexts.current.as_deref() == Some(&name) {
                contexts.current = None;
            }
            contexts.save()?;
            output::talk(&format!("{name} is forgotten here; its access goes on until it is revoked there\n"));
            context.output.next(&format!("bowline access revoke {name}"), "on a member, takes it away");
            Ok(())
        }
    }
}

async fn add(context: &Context, name: String, token: String) -> Result<(), Failure> {
    let token = if token == "-" { super::form::read_token()? } else { token };
    let token = parse(&token)?;
    if name == LOCAL {
        return Err(failure::misuse(
            "local is the node of this machine",
            "a context needs a name of its own",
            "choose another name",
        ));
    }
    let mut contexts = Contexts::load()?;
    if contexts.contexts.contains_key(&name) {
        return Err(Problem::new(
            &failure::NO_CONTEXT,
            ProblemKind::Conflict,
            format!("there is a context {name} already"),
        )
        .because("its token would be lost")
        .next(format!("bowline context remove {name}"))
        .into());
    }
    let client = Client::remote(remote(&token, token.addresses.clone())?, context.timeout);
    match client.whoami().await {
        Ok(grant) => output::talk(&format!("you are {} there, with the role {}\n", grant.name, grant.role)),
        // It may be of use later.
        Err(error @ ClientError::NoHost { .. }) => output::talk(&format!("it is kept, but now {error}\n")),
        Err(error) => return Err(error.into()),
    }
    contexts.contexts.insert(name.clone(), Entry { token: token.to_string() });
    contexts.save()?;
    context.output.next(&format!("bowline status --context {name}"), "shows the cluster");
    context.output.next(&format!("bowline context use {name}"), "lets all commands ask it");
    Ok(())
}

/// A context as `context list` shows it.
#[derive(Serialize)]
struct Listed {
    name: String,
    current: bool,
    addresses: Vec<String>,
}

fn list(context: &Context) -> Result<(), Failure> {
    let contexts = Contexts::load()?;
    let mut all = vec![Listed { name: LOCAL.to_owned(), current: contexts.current.is_none(), addresses: Vec::new() }];
    for name in contexts.contexts.keys() {
        let current = contexts.current.as_ref() == Some(name);
        all.push(Listed { name: name.clone(), current, addresses: contexts.token(name)?.addresses });
    }
    let table = || {
        let mut table = Table::new(&["CONTEXT", "USED", "ADDRESSES"]);
        for one in &all {
            let addresses = match one.addresses.as_slice() {
                [] => context.socket.display().to_string(),
                some => some.join(" "),
            };
            table.row([Cell::new(&one.name), Cell::new(if one.current { "yes" } else { "-" }), Cell::new(addresses)]);
        }
        table
    };
    context.output.list(&all, table, |one| one.name.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_without_a_port_gets_the_usual_one() {
        assert_eq!(with_port("box1"), "box1:7443");
        assert_eq!(with_port("box1:8443"), "box1:8443");
        assert_eq!(with_port("10.0.0.1"), "10.0.0.1:7443");
        assert_eq!(with_port("fd00::1"), "[fd00::1]:7443");
        assert_eq!(with_port("[fd00::1]"), "[fd00::1]:7443");
        assert_eq!(with_port("[fd00::1]:8443"), "[fd00::1]:8443");
    }

    #[test]
    fn the_file_survives_its_text() {
        let mut contexts = Contexts { current: Some("shop".to_owned()), contexts: BTreeMap::new() };
        contexts.contexts.insert("shop".to_owned(), Entry { token: "ba1.x".to_owned() });
        let text = toml::to_string(&contexts).unwrap();
        assert_eq!(toml::from_str::<Contexts>(&text).unwrap(), contexts);
        assert_eq!(toml::from_str::<Contexts>("").unwrap(), Contexts::default());
    }
}
