//! `bowline token add|list|revoke`.

use super::Context;
use super::args::TokenCommand;
use super::failure::Failure;
use super::output::{self, Shape, data};
use crate::human;
use crate::text::style::{Style, Tone};
use crate::text::table::{Cell, Table};
use api::control::{TokenInfo, TokenIssued, TokenRequest, TokenState};
use std::time::Duration;

pub(super) async fn run(context: &Context, command: TokenCommand) -> Result<(), Failure> {
    match command {
        TokenCommand::Add { valid, name } => add(context, valid, name).await,
        TokenCommand::List => {
            let tokens = context.client().token_list().await?;
            context.output.list(&tokens, || table(&tokens), |token| token.id.clone())
        }
        TokenCommand::Revoke { id } => {
            let token = context.client().token_revoke(&id).await?;
            let sentence = match token.state {
                TokenState::Used => format!("token {id} was used already; the machine that used it stays a member"),
                TokenState::Open | TokenState::Expired => format!("token {id} is useless now"),
            };
            context.output.outcome(&token, &token.id, &sentence)?;
            context.output.next(&format!("{} token list", context.bowline()), "shows the tokens that are left");
            Ok(())
        }
    }
}

async fn add(context: &Context, valid_s: u64, name: Option<String>) -> Result<(), Failure> {
    let request = TokenRequest { valid_s: Some(valid_s), name };
    let issued = context.client().token_add(&request).await?;
    match context.output.shape() {
        Shape::Table(_) => {
            data(&issued_text(&issued, &request, context.output.style()))?;
            output::talk("  Run that line on the machine that is to join; with sudo if Bowline runs as root there.\n");
            Ok(())
        }
        // In a pipe only the token: bowline join "$(ssh box1 bowline token add)".
        Shape::Tsv => data(&format!("{}\n", issued.token)),
        Shape::Name | Shape::Json | Shape::Yaml => context.output.outcome(&issued, &issued.id, ""),
    }
}

fn issued_text(issued: &TokenIssued, request: &TokenRequest, style: Style) -> String {
    let valid = human::duration(Duration::from_secs(request.valid_s.unwrap_or(3600)));
    let valid = valid.trim_end_matches(" 0 s").trim_end_matches(" 0 min").trim_end_matches(" 0 h");
    let machine = request.name.as_deref().map_or("one machine".to_owned(), |name| format!("only for {name}"));
    let terms = style.paint(Tone::Dim, &format!("valid {valid}, {machine}, pins this cluster's CA"));
    format!("  bowline join {}    {terms}\n", issued.token)
}

fn table(tokens: &[TokenInfo]) -> Table {
    let mut table = Table::new(&["ID", "STATE", "FOR", "EXPIRES", "USED BY", "+CREATED"]);
    for token in tokens {
        let (state, tone) = match token.state {
            TokenState::Open => ("open", Tone::Good),
            TokenState::Used => ("used", Tone::Plain),
            TokenState::Expired => ("expired", Tone::Dim),
        };
        let id = token.used_by.map(|id| id.to_string());
        let used_by = token.used_by_name.clone().or(id).unwrap_or_else(|| "-".to_owned());
        table.row([
            Cell::new(&token.id),
            Cell::new(state).tone(tone),
            Cell::new(token.name.as_deref().unwrap_or("any")),
            Cell::new(token.expires.strftime("%Y-%m-%d %H:%M:%SZ")).raw(token.expires),
            Cell::new(used_by),
            Cell::new(token.created.strftime("%Y-%m-%d %H:%M:%SZ")).raw(token.created),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::table::Shown;
    use base::NodeId;

    #[test]
    fn a_new_token_is_a_line_to_paste() {
        let issued =
            TokenIssued { id: "k3m9".into(), token: "bl1.eyJhIjoxfQ".into(), expires: jiff::Timestamp::UNIX_EPOCH };
        let mut request = TokenRequest { valid_s: Some(3600), name: None };
        assert_eq!(
            issued_text(&issued, &request, Style::Plain),
            "  bowline join bl1.eyJhIjoxfQ    valid 1 h, one machine, pins this cluster's CA\n"
        );
        request = TokenRequest { valid_s: Some(5400), name: Some("box2".into()) };
        assert_eq!(
            issued_text(&issued, &request, Style::Plain),
            "  bowline join bl1.eyJhIjoxfQ    valid 1 h 30 min, only for box2, pins this cluster's CA\n"
        );
    }

    #[test]
    fn tokens_are_listed_without_secrets() {
        let at = |second| jiff::Timestamp::from_second(second).unwrap();
        let token = |id: &str, state, used_by, name: Option<&str>| TokenInfo {
            id: id.into(),
            state,
            name: name.map(str::to_owned),
            created: at(1_790_000_000),
            expires: at(1_790_003_600),
            used_by,
            used_by_name: None,
        };
        let tokens = [
            token("k3m9", TokenState::Open, None, Some("box3")),
            token("a7c2", TokenState::Used, Some(NodeId(42)), None),
            token("zz10", TokenState::Expired, None, None),
        ];
        insta::assert_snapshot!(table(&tokens).columns(Shown::Wide, Style::Plain));
    }
}
