//! SQL values as JSON, and back.
//!
//! Integers are JSON numbers without a fraction, however large: a client that reads numbers as floating point loses the last digits of
//! those beyond 2^53. Bytes are `{"base64": ".."}`, and so is text that is not UTF-8. The floating-point infinities, which JSON has no
//! numbers for, are `{"real": "inf"}` and `{"real": "-inf"}`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value as Json;
use store::{Value, ValueRef};

/// A parameter that is no SQL value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadParameter {
    /// A whole number that SQLite has no place for.
    #[error("{0} does not fit into 64 bits with a sign")]
    TooLarge(String),
    /// An object of another form.
    #[error("{0} is no SQL value: an object is {{\"base64\": \"..\"}} or {{\"real\": \"inf\"}}")]
    Object(String),
    /// Not base64.
    #[error("the bytes are not base64: {0}")]
    Base64(base64::DecodeError),
    /// A list.
    #[error("a list is no SQL value; give a text that holds the JSON, which SQLite's json_each reads")]
    List,
}

/// The SQL value that a client means.
pub fn from_json(value: Json) -> Result<Value, BadParameter> {
    Ok(match value {
        Json::Null => Value::Null,
        Json::Bool(truth) => Value::Integer(truth.into()),
        Json::String(text) => Value::Text(text),
        Json::Array(_) => return Err(BadParameter::List),
        Json::Number(number) => match (number.as_i64(), number.is_u64(), number.as_f64()) {
            (Some(integer), ..) => Value::Integer(integer),
            (None, false, Some(real)) => Value::Real(real),
            _ => return Err(BadParameter::TooLarge(number.to_string())),
        },
        Json::Object(fields) => {
            let mut all = fields.iter().map(|(key, value)| (key.as_str(), value.as_str()));
            match (all.next(), all.next()) {
                (Some(("base64", Some(text))), None) => {
                    Value::Blob(STANDARD.decode(text).map_err(BadParameter::Base64)?)
                }
                (Some(("real", Some("inf"))), None) => Value::Real(f64::INFINITY),
                (Some(("real", Some("-inf"))), None) => Value::Real(f64::NEG_INFINITY),
                _ => return Err(BadParameter::Object(Json::Object(fields).to_string())),
            }
        }
    })
}

/// Appends a value as JSON, without a line break in it.
pub(super) fn write_json(out: &mut Vec<u8>, value: ValueRef<'_>) {
    match value {
        ValueRef::Null => out.extend_from_slice(b"null"),
        ValueRef::Integer(integer) => put(out, &integer),
        ValueRef::Real(real) if real.is_infinite() => {
            out.extend_from_slice(if real > 0.0 { br#"{"real":"inf"}"# } else { br#"{"real":"-inf"}"# });
        }
        ValueRef::Real(real) => put(out, &real),
        ValueRef::Text(text) => match std::str::from_utf8(text) {
            Ok(text) => put(out, text),
            Err(_) => put_bytes(out, text),
        },
        ValueRef::Blob(bytes) => put_bytes(out, bytes),
    }
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(br#"{"base64":""#);
    out.extend_from_slice(STANDARD.encode(bytes).as_bytes());
    out.extend_from_slice(br#""}"#);
}

/// Text and finite numbers, which always have a form in JSON and a place in memory.
pub(super) fn put(out: &mut Vec<u8>, value: &(impl serde::Serialize + ?Sized)) {
    if serde_json::to_writer(&mut *out, value).is_err() {
        out.extend_from_slice(b"null");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there_and_back(value: &Value) -> Value {
        let mut json = Vec::new();
        write_json(&mut json, value.as_ref());
        assert!(!json.contains(&b'\n'));
        from_json(serde_json::from_slice(&json).unwrap()).unwrap()
    }

    #[test]
    fn values_come_back_as_they_went() {
        for value in [
            Value::Null,
            Value::Integer(i64::MIN),
            Value::Integer(i64::MAX),
            Value::Real(1.0),
            Value::Real(-0.1),
            Value::Real(f64::INFINITY),
            Value::Real(f64::NEG_INFINITY),
            Value::Text("line\nbreak \u{0} \u{2028} \"quoted\"".to_owned()),
            Value::Blob(vec![]),
            Value::Blob((0..=255).collect()),
        ] {
            assert_eq!(there_and_back(&value), value);
        }
        let mut json = Vec::new();
        write_json(&mut json, ValueRef::Text(b"\xff"));
        assert_eq!(json, br#"{"base64":"/w=="}"#);
    }

    #[test]
    fn what_is_no_value_is_refused() {
        let told = |json: &str| from_json(serde_json::from_str(json).unwrap()).map_err(|bad| bad.to_string());
        assert_eq!(told("true"), Ok(Value::Integer(1)));
        assert_eq!(told("1e3"), Ok(Value::Real(1000.0)));
        for (json, words) in [
            ("9223372036854775808", "9223372036854775808 does not fit"),
            ("[1]", "json_each"),
            (r#"{"base64": 1}"#, r#"{"base64":1} is no SQL value"#),
            (r#"{"base64": "_"}"#, "not base64"),
            (r#"{"real": "nan"}"#, "is no SQL value"),
            (r#"{"base64": "", "real": "inf"}"#, "is no SQL value"),
            ("{}", "is no SQL value"),
        ] {
            assert!(told(json).is_err_and(|told| told.contains(words)), "{json}");
        }
    }
}
