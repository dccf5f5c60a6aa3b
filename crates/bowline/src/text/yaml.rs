//! Writing a JSON value as YAML. Only writing: a dependency for that would be larger than these lines.

use serde_json::Value;

/// Block-style YAML 1.2 that any parser reads back to the same value. Ends with a newline.
pub(crate) fn to_string(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Array(items) if !items.is_empty() => sequence(items, 0, &mut out),
        Value::Object(fields) if !fields.is_empty() => mapping(fields, 0, &mut out),
        scalar => {
            out.push_str(&flow(scalar));
            out.push('\n');
        }
    }
    out
}

/// The first field continues the current line, which is padded already.
fn mapping(fields: &serde_json::Map<String, Value>, indent: usize, out: &mut String) {
    for (i, (key, value)) in fields.iter().enumerate() {
        if i > 0 {
            pad(indent, out);
        }
        out.push_str(&text(key));
        out.push(':');
        match value {
            Value::Array(items) if !items.is_empty() => {
                out.push('\n');
                pad(indent, out);
                sequence(items, indent, out);
            }
            Value::Object(fields) if !fields.is_empty() => {
                out.push('\n');
                pad(indent + 2, out);
                mapping(fields, indent + 2, out);
            }
            scalar => out.extend([" ", &flow(scalar), "\n"]),
        }
    }
}

/// The first item continues the current line, which is padded already.
fn sequence(items: &[Value], indent: usize, out: &mut String) {
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            pad(indent, out);
        }
        out.push('-');
        match item {
            Value::Array(items) if !items.is_empty() => {
                out.push(' ');
                sequence(items, indent + 2, out);
            }
            Value::Object(fields) if !fields.is_empty() => {
                out.push(' ');
                mapping(fields, indent + 2, out);
            }
            scalar => out.extend([" ", &flow(scalar), "\n"]),
        }
    }
}

fn pad(indent: usize, out: &mut String) {
    out.extend(std::iter::repeat_n(' ', indent));
}

fn flow(value: &Value) -> String {
    match value {
        Value::String(s) => text(s),
        // Numbers, true, false, null, [] and {} are the same in both languages.
        other => other.to_string(),
    }
}

/// Plain if no parser could take it for anything else, otherwise quoted as JSON, which YAML 1.2 contains.
fn text(s: &str) -> String {
    let plain = s.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && s.chars().all(|c| c.is_ascii_alphanumeric() || "/_.-+ ".contains(c))
        && !s.ends_with(' ')
        && !["true", "false", "null", "yes", "no", "on", "off", "y", "n"].contains(&s.to_ascii_lowercase().as_str());
    if plain { s.to_owned() } else { Value::from(s).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn nested_values_are_indented_and_doubtful_text_is_quoted() {
        let value = json!({
            "name": "box1", "answer": "no", "empty": {}, "list": [], "port": "9000", "line": "a\nb: c",
            "nodes": [{"id": 1, "tags": ["a", "b"]}, {"id": 2, "inner": {"x": null}}],
            "matrix": [[1, 2], [3]],
        });
        insta::assert_snapshot!(to_string(&value));
    }
}
