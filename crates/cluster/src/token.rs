//! Tokens: one word that lets a machine join, or a client in.

use crate::ClusterError;
use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rpc::Fingerprint;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The longest token: room for dozens of addresses.
const LEN_MAX: usize = 8 << 10;

/// What a token is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// One machine may join with it, once. `bowline token add` prints it and `bowline join` takes it.
    Join,
    /// A client may come in with it, again and again. `bowline access add` prints it; it is sent as a bearer token.
    Access,
}

impl TokenKind {
    const fn prefix(self) -> &'static str {
        match self {
            Self::Join => "bl1.",
            Self::Access => "ba1.",
        }
    }
}

/// A token's text is a prefix that tells its kind, and base64url of a JSON object. The text holds the secret; [`Debug`] does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// What it is good for.
    pub kind: TokenKind,
    /// Where members were when it was issued, the leader first: for other nodes if it is to join, else for clients of the API.
    pub addresses: Vec<String>,
    /// The fingerprint of the key of the cluster's CA.
    pub ca: Fingerprint,
    /// Which token it is.
    pub id: TokenId,
    /// What only its holder knows.
    pub secret: Secret,
}

/// A token's id: eight hexadecimal digits. Not a secret.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TokenId(String);

/// 32 random bytes. The cluster keeps only their hash.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret([u8; 32]);

#[derive(Serialize, Deserialize)]
struct Fields {
    addrs: Vec<String>,
    ca: String,
    id: String,
    secret: String,
}

impl TokenId {
    pub(crate) fn random() -> Self {
        Self(format!("{:08x}", rt::entropy::u64() >> 32))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Token {
    /// The most addresses that a token carries.
    pub const ADDRESSES_MAX: usize = 64;

    /// Refuses a token of another kind.
    pub fn expect(self, kind: TokenKind) -> Result<Self, ClusterError> {
        let why = match (kind, self.kind) {
            (TokenKind::Join, TokenKind::Access) => "it lets a client in, not a machine",
            (TokenKind::Access, TokenKind::Join) => "it lets a machine join, not a client in",
            _ => return Ok(self),
        };
        Err(ClusterError::TokenForm { why: why.to_owned() })
    }
}

impl FromStr for TokenId {
    type Err = ClusterError;

    fn from_str(text: &str) -> Result<Self, ClusterError> {
        if text.len() == 8 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ClusterError::TokenUnknown { id: text.chars().take(32).collect() })
        }
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Secret {
    pub(crate) fn random() -> Self {
        let mut bytes = [0; 32];
        rt::entropy::fill(&mut bytes);
        Self(bytes)
    }

    /// What is kept of it: SHA-256 in hexadecimal. The secret is random and long, so that this needs no salt.
    pub fn hash(&self) -> String {
        hex(digest::digest(&digest::SHA256, &self.0).as_ref())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields = Fields {
            addrs: self.addresses.clone(),
            ca: self.ca.to_string(),
            id: self.id.0.clone(),
            secret: URL_SAFE_NO_PAD.encode(self.secret.0),
        };
        let json = serde_json::to_vec(&fields).map_err(|_| fmt::Error)?;
        write!(f, "{}{}", self.kind.prefix(), URL_SAFE_NO_PAD.encode(json))
    }
}

impl FromStr for Token {
    type Err = ClusterError;

    /// Total: any text gives a token or says what is wrong with it. White space around it is ignored.
    fn from_str(text: &str) -> Result<Self, ClusterError> {
        let text = text.trim();
        let wrong = |why: &str| ClusterError::TokenForm { why: why.to_owned() };
        let kinds = [TokenKind::Join, TokenKind::Access];
        let Some((kind, rest)) = kinds.iter().find_map(|kind| Some((*kind, text.strip_prefix(kind.prefix())?))) else {
            return Err(not_ours(text));
        };
        if rest.len() > LEN_MAX {
            return Err(wrong("it is too long"));
        }
        let json = URL_SAFE_NO_PAD
            .decode(rest)
            .map_err(|error| ClusterError::TokenForm { why: format!("it was not copied whole ({error})") })?;
        let fields: Fields = serde_json::from_slice(&json)
            .map_err(|error| ClusterError::TokenForm { why: format!("it was not copied whole ({error})") })?;
        if fields.addrs.is_empty() || fields.addrs.len() > Token::ADDRESSES_MAX {
            return Err(wrong("it has no addresses, or too many"));
        }
        for address in &fields.addrs {
            crate::names::check_address(address)?;
        }
        let ca = unhex(&fields.ca).ok_or_else(|| wrong("its fingerprint is not one"))?;
        let secret = URL_SAFE_NO_PAD.decode(&fields.secret).ok().and_then(|bytes| bytes.try_into().ok());
        Ok(Self {
            kind,
            addresses: fields.addrs,
            ca: Fingerprint(ca),
            id: fields.id.parse().map_err(|_| wrong("its id is not one"))?,
            secret: Secret(secret.ok_or_else(|| wrong("its secret is not one"))?),
        })
    }
}

/// What to say of a word with another prefix.
fn not_ours(text: &str) -> ClusterError {
    let form: String = text.chars().take_while(|c| *c != '.').take(8).collect();
    let number = form.strip_prefix("bl").or_else(|| form.strip_prefix("ba"));
    let is_newer = number.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
    if is_newer && text.contains('.') {
        ClusterError::TokenVersion { form }
    } else {
        ClusterError::TokenForm { why: "it starts with neither `bl1.` nor `ba1.`".to_owned() }
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |n: u8| char::from_digit(u32::from(n), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

pub(crate) fn unhex(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    if digits.len() != 64 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn token() -> Token {
        Token {
            kind: TokenKind::Join,
            addresses: vec!["10.0.0.1:7440".to_owned(), "[fe80::1]:7440".to_owned()],
            ca: Fingerprint([7; 32]),
            id: "00c0ffee".parse().unwrap(),
            secret: Secret([9; 32]),
        }
    }

    #[test]
    fn a_token_survives_its_text() {
        let text = token().to_string();
        assert!(text.starts_with("bl1.eyJhZGRycyI6"));
        assert_eq!(format!(" {text}\n").parse::<Token>().unwrap(), token());
        assert!(!format!("{:?}", token()).contains("9, 9"));
        let access = Token { kind: TokenKind::Access, ..token() };
        let text = access.to_string();
        assert!(text.starts_with("ba1.eyJhZGRycyI6"));
        assert_eq!(text.parse::<Token>().unwrap(), access);
        assert!(access.clone().expect(TokenKind::Access).is_ok() && access.expect(TokenKind::Join).is_err());
    }

    #[test]
    fn a_token_that_was_cut_short_says_so_wherever_it_was_cut() {
        let text = token().to_string();
        for end in 0..text.len() {
            let error = text.get(..end).unwrap().parse::<Token>().unwrap_err();
            assert!(matches!(error, ClusterError::TokenForm { .. }), "{end}: {error}");
        }
    }

    #[test]
    fn other_words_are_told_apart_from_newer_tokens() {
        assert!(matches!("bl2.abc".parse::<Token>(), Err(ClusterError::TokenVersion { form }) if form == "bl2"));
        assert!(matches!("ba2.abc".parse::<Token>(), Err(ClusterError::TokenVersion { form }) if form == "ba2"));
        for word in ["", "bl1", "blx.abc", "hello.world", "eyJhbGciOiJIUzI1NiJ9.e30.x", "bl1.", "bl1.!!"] {
            assert!(matches!(word.parse::<Token>(), Err(ClusterError::TokenForm { .. })), "{word}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic_and_what_it_takes_means_the_same_again(text in ".{0,80}", json in "\\{.{0,60}\\}") {
            for word in [text.clone(), format!("bl1.{text}"), format!("bl1.{}", URL_SAFE_NO_PAD.encode(json))] {
                if let Ok(token) = word.parse::<Token>() {
                    prop_assert_eq!(token.to_string().parse::<Token>().unwrap(), token);
                }
            }
        }
    }
}
