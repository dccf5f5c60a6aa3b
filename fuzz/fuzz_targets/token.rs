//! What somebody pastes as a join token: no panic, and what is accepted survives its text.
#![no_main]

use cluster::Token;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(token) = text.parse::<Token>() {
        let again = token.to_string().parse::<Token>().expect("our own token");
        assert_eq!(again, token);
    }
});
