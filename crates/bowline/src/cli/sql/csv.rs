//! Reading comma-separated values (RFC 4180): quotes, doubled quotes, newlines in fields, either line end.

/// The records of a text. Total: any text is some list of records.
pub(super) fn records(text: &str) -> impl Iterator<Item = Vec<String>> {
    let mut chars = text.strip_prefix('\u{feff}').unwrap_or(text).chars().peekable();
    std::iter::from_fn(move || {
        chars.peek()?;
        let mut record = Vec::new();
        let mut field = String::new();
        let mut quoted = false;
        loop {
            match chars.next() {
                Some('"') if quoted && chars.peek() == Some(&'"') => {
                    chars.next();
                    field.push('"');
                }
                Some('"') if quoted || field.is_empty() => quoted = !quoted,
                Some(c) if quoted => field.push(c),
                Some(',') => record.push(std::mem::take(&mut field)),
                Some('\r') if chars.peek() == Some(&'\n') => {}
                Some('\n') | None => {
                    record.push(field);
                    return Some(record);
                }
                Some(c) => field.push(c),
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn quotes_hold_commas_newlines_and_quotes() {
        let text = "id,item\r\n1,\"rope, \"\"10\"\" m\"\r\n2,\"two\nlines\"\n3,\n\n";
        let expected: Vec<Vec<&str>> =
            vec![vec!["id", "item"], vec!["1", "rope, \"10\" m"], vec!["2", "two\nlines"], vec!["3", ""], vec![""]];
        assert_eq!(records(text).collect::<Vec<_>>(), expected);
        assert_eq!(records("").count(), 0);
        assert_eq!(records("\u{feff}a").collect::<Vec<_>>(), [["a"]]);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(fields in proptest::collection::vec("[a,\"\r\n\u{e4} ]{1,6}", 1..5)) {
            let line = fields.iter().map(|f| format!("\"{}\"", f.replace('"', "\"\""))).collect::<Vec<_>>().join(",");
            prop_assert_eq!(records(&line).collect::<Vec<_>>(), [fields]);
        }
    }
}
