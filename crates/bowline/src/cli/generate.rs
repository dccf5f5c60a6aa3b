//! `bowline completions` and `bowline man`, made from the definition of the command line; and the API's own description.

use super::Context;
use super::args::Cli;
use super::failure::{self, Failure};
use super::output::bytes;
use clap::CommandFactory;
use clap_mangen::Man;
use std::path::Path;

pub(super) fn completions(_context: &Context, shell: clap_complete::Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "bowline", &mut script);
    bytes(&script)
}

pub(super) fn openapi() -> Result<(), Failure> {
    let text =
        serde_json::to_string_pretty(&api::control::openapi::document()).map_err(|e| failure::unprintable(&e))?;
    bytes((text + "\n").as_bytes())
}

pub(super) fn man(context: &Context, dir: Option<&Path>) -> Result<(), Failure> {
    let Some(dir) = dir else {
        return bytes(&page(&Cli::command())?);
    };
    let pages = pages()?;
    let trouble = |path: &Path, error| Failure::from(failure::io(&failure::FILE, &path.display().to_string(), &error));
    rt::fs::create_dir_all(dir).map_err(|error| trouble(dir, error))?;
    for (name, text) in &pages {
        let path = dir.join(name);
        rt::fs::write_atomic(&path, text).map_err(|error| trouble(&path, error))?;
    }
    let names: Vec<&String> = pages.iter().map(|(name, _)| name).collect();
    context.output.outcome(&names, &dir.display().to_string(), &format!("{} pages in {}", names.len(), dir.display()))
}

/// All manual pages: `bowline.1`, `bowline-db.1`, `bowline-db-create.1`.
fn pages() -> Result<Vec<(String, Vec<u8>)>, Failure> {
    let mut command = Cli::command();
    command.build();
    let mut pages = Vec::new();
    let mut rest = vec![("bowline".to_owned(), command)];
    while let Some((name, command)) = rest.pop() {
        let visible = command.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help");
        rest.extend(visible.map(|sub| (format!("{name}-{}", sub.get_name()), sub.clone())));
        let title: &'static str = Box::leak(name.clone().into_boxed_str());
        pages.push((format!("{name}.1"), page(&command.name(title))?));
    }
    pages.sort();
    Ok(pages)
}

fn page(command: &clap::Command) -> Result<Vec<u8>, Failure> {
    let mut text = Vec::new();
    Man::new(command.clone()).render(&mut text).map_err(|error| Failure::from_stdout(&error))?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_manual_page() {
        let names: Vec<String> = pages().unwrap().into_iter().map(|(name, _)| name).collect();
        for wanted in ["bowline.1", "bowline-init.1", "bowline-db-drop.1", "bowline-token-revoke.1"] {
            assert!(names.iter().any(|name| name == wanted), "{wanted} of {names:?}");
        }
    }
}
