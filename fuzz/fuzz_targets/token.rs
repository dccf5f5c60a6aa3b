//! What somebody pastes as a join token: no panic, and what is accepted survives its text.
#![no_main]

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cluster::Token;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    take(text);
    // No fuzzer gets far through base64: what is inside is its input as well.
    take(&format!("bl1.{}", URL_SAFE_NO_PAD.encode(text)));
});

fn take(text: &str) {
    if let Ok(token) = text.parse::<Token>() {
        let again = token.to_string().parse::<Token>().expect("our own token");
        assert_eq!(again, token);
    }
}
