//! Where SQL statements end in a text, without parsing them: quotes, comments and triggers are understood.

/// What has been seen of a statement: the states of SQLite's own `sqlite3_complete`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Nothing,
    Normal,
    Explain,
    Create,
    /// Inside CREATE TRIGGER: a semicolon ends an inner statement only.
    Trigger,
    /// After an inner semicolon.
    TriggerSemicolon,
    /// After `; END`.
    TriggerEnd,
}

/// Something in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token<'a> {
    Blank,
    Semicolon,
    Word(&'a str),
    Other,
    /// A quote or comment that does not end.
    Unfinished,
}

/// The byte after the semicolon that ends the first statement; none if more text is needed.
pub(super) fn statement_end(text: &str) -> Option<usize> {
    let mut seen = Seen::Nothing;
    let mut at = 0;
    while let Some((token, length)) = token(text.get(at..)?) {
        at += length;
        seen = match (seen, token) {
            (_, Token::Unfinished) => return None,
            (seen, Token::Blank) => seen,
            (Seen::Trigger | Seen::TriggerSemicolon, Token::Semicolon) => Seen::TriggerSemicolon,
            (_, Token::Semicolon) => return Some(at),
            (Seen::TriggerSemicolon, Token::Word(word)) if word.eq_ignore_ascii_case("end") => Seen::TriggerEnd,
            (Seen::Trigger | Seen::TriggerSemicolon | Seen::TriggerEnd, _) => Seen::Trigger,
            (Seen::Nothing, Token::Word(word)) if word.eq_ignore_ascii_case("explain") => Seen::Explain,
            (Seen::Nothing | Seen::Explain, Token::Word(word)) if word.eq_ignore_ascii_case("create") => Seen::Create,
            (Seen::Explain, Token::Word(word)) if is_one_of(word, &["query", "plan"]) => Seen::Explain,
            (Seen::Create, Token::Word(word)) if is_one_of(word, &["temp", "temporary"]) => Seen::Create,
            (Seen::Create, Token::Word(word)) if word.eq_ignore_ascii_case("trigger") => Seen::Trigger,
            _ => Seen::Normal,
        };
    }
    None
}

/// Whether there is nothing but blanks, comments and semicolons.
pub(super) fn is_blank(text: &str) -> bool {
    words(text).next().is_none() && tokens(text).all(|token| matches!(token, Token::Blank | Token::Semicolon))
}

/// The bare words outside quotes and comments.
pub(super) fn words(text: &str) -> impl Iterator<Item = &str> {
    tokens(text).filter_map(|token| if let Token::Word(word) = token { Some(word) } else { None })
}

fn tokens(text: &str) -> impl Iterator<Item = Token<'_>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let (token, length) = token(text.get(at..)?)?;
        at += length;
        Some(token)
    })
}

fn is_one_of(word: &str, words: &[&str]) -> bool {
    words.iter().any(|known| word.eq_ignore_ascii_case(known))
}

/// The first token and its length in bytes; none at the end.
fn token(text: &str) -> Option<(Token<'_>, usize)> {
    let first = text.chars().next()?;
    let until = |end: &str, from: usize| {
        let found = text.get(from..).and_then(|rest| rest.find(end)).map(|i| from + i + end.len());
        found.map_or((Token::Unfinished, text.len()), |length| (Token::Other, length))
    };
    let run = |wanted: &dyn Fn(char) -> bool| text.find(|c| !wanted(c)).unwrap_or(text.len());
    Some(match first {
        ';' => (Token::Semicolon, 1),
        // A doubled quote is two quoted texts side by side: the same end.
        '\'' => until("'", 1),
        '"' => until("\"", 1),
        '`' => until("`", 1),
        '[' => until("]", 1),
        '-' if text.starts_with("--") => (Token::Blank, text.find('\n').map_or(text.len(), |i| i + 1)),
        '/' if text.starts_with("/*") => match until("*/", 2) {
            (Token::Unfinished, length) => (Token::Unfinished, length),
            (_, length) => (Token::Blank, length),
        },
        c if c.is_whitespace() => (Token::Blank, run(&char::is_whitespace)),
        c if is_word(c) => {
            let length = run(&is_word);
            (Token::Word(text.get(..length).unwrap_or_default()), length)
        }
        c => (Token::Other, c.len_utf8()),
    })
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}

/// What a statement does to the conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Gives rows and changes nothing: may be repeated.
    Read,
    /// Changes something, and may give rows (`returning`).
    Rows,
    /// Changes something and gives no rows.
    Change,
    /// Opens a transaction.
    Begin,
    /// Ends a transaction.
    End,
}

/// What kind of statement it is, by its words.
pub(super) fn kind(statement: &str) -> Kind {
    let mut words = words(statement).map(str::to_ascii_lowercase);
    let Some(first) = words.next() else { return Kind::Read };
    match first.as_str() {
        "with" if words.any(|word| is_one_of(&word, &["insert", "update", "delete", "replace"])) => Kind::Rows,
        "select" | "values" | "explain" | "with" => Kind::Read,
        "pragma" => Kind::Rows,
        "begin" | "savepoint" => Kind::Begin,
        "commit" | "end" => Kind::End,
        "rollback" if !words.any(|word| word == "to") => Kind::End,
        "insert" | "update" | "delete" | "replace" if words.any(|word| word == "returning") => Kind::Rows,
        _ => Kind::Change,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_statement_ends_at_its_semicolon_and_not_at_one_in_quotes() {
        for (text, first) in [
            ("select 1; select 2;", Some("select 1;")),
            ("select ';' || \";\" || [;] || `;`;x", Some("select ';' || \";\" || [;] || `;`;")),
            ("select 'it''s;';", Some("select 'it''s;';")),
            ("-- a; b\nselect 1;", Some("-- a; b\nselect 1;")),
            ("select /* ; */ 1;", Some("select /* ; */ 1;")),
            ("select 1", None),
            ("select 'open;", None),
            ("/* open;", None),
            ("", None),
            (
                "create temp trigger t after insert on a begin update a set x=1; select 2; end; select 3;",
                Some("create temp trigger t after insert on a begin update a set x=1; select 2; end;"),
            ),
            ("create trigger t after insert on a begin select 1;", None),
            ("create table trigger_like(x); rest", Some("create table trigger_like(x);")),
            ("explain create trigger t begin select 1; end;", Some("explain create trigger t begin select 1; end;")),
        ] {
            assert_eq!(statement_end(text).and_then(|end| text.get(..end)), first, "{text}");
        }
    }

    #[test]
    fn kinds_follow_the_first_word() {
        for (text, expected) in [
            ("/* x */ SELECT 1", Kind::Read),
            ("with a as (select 1) select * from a", Kind::Read),
            ("with a as (select 1) insert into b select * from a", Kind::Rows),
            ("insert into t values(1)", Kind::Change),
            ("insert into t values('returning')", Kind::Change),
            ("delete from t returning id", Kind::Rows),
            ("begin immediate", Kind::Begin),
            ("rollback", Kind::End),
            ("rollback to a", Kind::Change),
            ("drop table t", Kind::Change),
        ] {
            assert_eq!(kind(text), expected, "{text}");
        }
    }

    #[test]
    fn comments_alone_are_no_statement() {
        assert!(is_blank(" ; -- x\n /* y */ ;"));
        assert!(!is_blank("'x'"));
        assert!(!is_blank("/* open"));
    }

    proptest! {
        #[test]
        fn any_text_is_cut_at_a_character(text in "[a-z;'\"`\\[\\]/*\\- \n\u{e4}]{0,40}") {
            if let Some(end) = statement_end(&text) {
                prop_assert!(text.get(..end).is_some_and(|statement| statement.ends_with(';')));
            }
        }
    }
}
