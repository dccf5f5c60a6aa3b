//! `bowline explain CODE`: the page of an error; `bowline explain NODE`: why it has its status.

use super::Context;
use super::failure::{self, Failure};
use super::member;
use super::output::data;
use crate::text::style::{Style, Tone};
use crate::text::table::{Cell, Table};
use api::control::{Problem, ProblemKind};
use base::ErrorPage;
use serde::Serialize;
use unicode_width::UnicodeWidthStr;

/// The pages of every crate of the product, by code.
pub fn all_pages() -> Vec<ErrorPage> {
    let mut pages: Vec<ErrorPage> = [
        failure::PAGES,
        super::sql::trouble::PAGES,
        api::control::PAGES,
        crate::daemon::PAGES,
        cluster::PAGES,
        store::PAGES,
        raft::PAGES,
        rpc::PAGES,
        sqlite::PAGES,
        swim::PAGES,
        gossip::PAGES,
    ]
    .concat();
    pages.sort_by_key(|page| page.code);
    pages
}

/// A page as programs get it.
#[derive(Serialize)]
struct Page {
    code: &'static str,
    title: &'static str,
    cause: &'static str,
    next: &'static str,
}

impl From<&ErrorPage> for Page {
    fn from(page: &ErrorPage) -> Self {
        Self { code: page.code.0, title: page.title, cause: page.cause, next: page.next }
    }
}

pub(super) async fn run(context: &Context, subject: Option<&str>) -> Result<(), Failure> {
    let pages = all_pages();
    let Some(subject) = subject else {
        let listed: Vec<Page> = pages.iter().map(Page::from).collect();
        return context.output.list(&listed, || table(&pages), |page| page.code.to_owned());
    };
    let wanted = subject.trim().to_ascii_uppercase();
    let Some(page) = pages.iter().find(|page| page.code.0 == wanted) else {
        // What is no code is a node.
        if !wanted.starts_with("BL-") && member::explain(context, subject.trim()).await? {
            return Ok(());
        }
        let message = format!("there is no error code {subject}, and no node of that name");
        let near: Vec<&str> = pages.iter().map(|page| page.code.0).filter(|known| near(known, &wanted)).collect();
        let mut problem = Problem::new(&failure::UNKNOWN_CODE, ProblemKind::NotFound, message);
        if !near.is_empty() {
            problem = problem.because(format!("did you mean {}?", near.join(" or ")));
        }
        return Err(problem.into());
    };
    match context.output.shape() {
        super::output::Shape::Table(_) | super::output::Shape::Tsv => data(&render(page, context.output.style())),
        _ => context.output.outcome(&Page::from(page), page.code.0, ""),
    }
}

fn table(pages: &[ErrorPage]) -> Table {
    let mut table = Table::new(&["CODE", "WHAT HAPPENED"]);
    for page in pages {
        table.row([Cell::new(page.code), Cell::new(page.title)]);
    }
    table
}

fn render(page: &ErrorPage, style: Style) -> String {
    let head = style.paint(Tone::Strong, &format!("{}  {}", page.code, page.title));
    format!("{head}\n\nCause\n{}\nWhat to do\n{}", paragraph(page.cause), paragraph(page.next))
}

/// Text in lines of at most 78 columns, indented by two. Text that is laid out already, with wide gaps, stays as it is.
fn paragraph(text: &str) -> String {
    let mut lines = vec![String::from(" ")];
    for word in text.split(' ') {
        let fits = lines.last().is_some_and(|line| line.width() + 1 + word.width() <= 78);
        match lines.last_mut() {
            Some(line) if fits => line.extend([" ", word]),
            _ => lines.push(format!("  {word}")),
        }
    }
    lines.join("\n") + "\n"
}

/// Whether one character was mistyped, or the family is right and the number short.
fn near(known: &str, wanted: &str) -> bool {
    known.len() == wanted.len() && known.bytes().zip(wanted.bytes()).filter(|(a, b)| a != b).count() == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_one_page_and_every_page_says_what_to_do() {
        let pages = all_pages();
        for pair in pages.windows(2) {
            assert_ne!(pair[0].code, pair[1].code, "two pages for one code");
        }
        for page in pages {
            let parts: Vec<&str> = page.code.0.split('-').collect();
            assert!(matches!(parts.as_slice(), ["BL", _, number] if number.len() == 3), "{}", page.code);
            assert!(!page.title.is_empty() && !page.cause.is_empty() && !page.next.is_empty(), "{}", page.code);
            assert!(!page.title.ends_with('.'), "a title is a line, not a sentence: {}", page.code);
        }
    }
}
