//! The command line as golden files: what it prints and how it exits when there is no daemon to talk to.

#[test]
fn messages_and_exit_codes_are_as_reviewed() {
    trycmd::TestCases::new()
        .env("BOWLINE_STATE_DIR", "/nonexistent/bowline")
        .env("NO_COLOR", "1")
        .case("tests/cmd/*.trycmd");
}
