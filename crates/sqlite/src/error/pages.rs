//! The pages that `bowline explain` prints for the codes of this crate.

use base::{Code, ErrorPage};

const fn page(code: &'static str, title: &'static str, cause: &'static str, next: &'static str) -> ErrorPage {
    ErrorPage { code: Code(code), title, cause, next }
}

/// The pages of all codes `BL-SQL-nnn`.
pub const PAGES: &[ErrorPage] = &[
    page(
        "BL-SQL-001",
        "SQLite refused the statement",
        "A syntax error, a constraint, a missing table or column, or a value SQLite does not take. The message is SQLite's.",
        "Correct the statement. `bowline sql DB .schema` shows tables and columns.",
    ),
    page(
        "BL-SQL-002",
        "The statement is not allowed on a replicated database",
        "Statements that attach files, load extensions, or change how SQLite stores, locks or syncs its file would act on \
         one machine only, or would break replication.",
        "Leave the statement out: journal mode, synchronous and page size are managed by Bowline.",
    ),
    page(
        "BL-SQL-003",
        "This node does not lead the database",
        "Only the leader writes. Leadership moves when a node stops or cannot be reached.",
        "Try again; clients that know the cluster find the leader. `bowline status` shows it.",
    ),
    page(
        "BL-SQL-004",
        "Leadership was lost before the transaction was on a majority of disks",
        "The node stepped down while the transaction was in flight. Whether the new leader has it is not known here.",
        "Connect again and look whether the change is there before repeating it.",
    ),
    page(
        "BL-SQL-005",
        "Another connection is writing",
        "One transaction writes at a time; writers wait in a queue, and this one was not its turn.",
        "Try again. Keep write transactions short; `bowline status` shows who holds the slot.",
    ),
    page(
        "BL-SQL-006",
        "The transaction read data that has changed since",
        "It began by reading, and another transaction committed before its first write.",
        "Roll back and repeat it, or begin with BEGIN IMMEDIATE.",
    ),
    page(
        "BL-SQL-007",
        "The transaction was open too long",
        "Its old page versions took more memory than the limit for old readers allows.",
        "Repeat it in smaller parts, or read at a quieter time.",
    ),
    page("BL-SQL-008", "The statement was interrupted", "The client asked for it.", "Nothing, or repeat it."),
    page(
        "BL-SQL-009",
        "The statement's deadline passed",
        "It took longer than its session allows.",
        "Add an index, read less, or raise the statement's time limit.",
    ),
    page(
        "BL-SQL-010",
        "The statement used up its steps",
        "It did more work than its session allows.",
        "Add an index, read less, or raise the limit.",
    ),
    page(
        "BL-SQL-011",
        "A page of the database file is corrupt",
        "The disk gave back other bytes than were written. The page was not used; this copy is repaired from a peer.",
        "`bowline doctor` shows the state of the repair. Check the disk (smartctl, dmesg).",
    ),
    page(
        "BL-SQL-012",
        "The transaction is too large",
        "It changes more pages than one record of the log may hold.",
        "Split it into several transactions.",
    ),
    page(
        "BL-SQL-013",
        "The database has reached its size limit",
        "The transaction would make it larger than its limit.",
        "Delete rows and VACUUM, or raise the limit of the database.",
    ),
    page(
        "BL-SQL-014",
        "There is no such statement",
        "The number does not belong to a prepared statement of this connection, or it was finalized.",
        "Prepare it again.",
    ),
    page(
        "BL-SQL-015",
        "The number of values does not fit the statement",
        "Each parameter of the statement needs one value.",
        "Give as many values as the statement has parameters.",
    ),
    page(
        "BL-SQL-016",
        "Reading the database file failed",
        "The operating system reported an error.",
        "Check the disk (dmesg); `bowline doctor` says whether this copy is still whole.",
    ),
    page(
        "BL-SQL-017",
        "The database is being replayed after a crash",
        "The node stopped in the middle of a checkpoint. The log repairs the file, which takes a moment.",
        "Try again in a second.",
    ),
    page(
        "BL-SQL-019",
        "Internal error",
        "The program broke one of its own rules.",
        "Please report it, with the output of `bowline debug bundle`.",
    ),
    page(
        "BL-SQL-030",
        "The database's files cannot be opened",
        "The operating system reported an error.",
        "Check the permissions and the free space of the state directory.",
    ),
    page(
        "BL-SQL-031",
        "The database is in use by another process",
        "Two daemons were started on one state directory, or an old one has not ended yet.",
        "Stop the other one: `systemctl status bowline`.",
    ),
    page(
        "BL-SQL-032",
        "A file beside the database is damaged",
        "Its checksum does not match, so this copy cannot be trusted.",
        "Remove this database's directory while the daemon is stopped; the copy comes back from a peer.",
    ),
    page(
        "BL-SQL-033",
        "The database file was changed by another program",
        "The file is a plain SQLite file and can be read by others, but what they write is not replicated.",
        "Stop the daemon, keep the file if you need its contents, and remove the database's directory; the copy comes back \
         from a peer. `bowline db import` takes the file's contents over.",
    ),
    page(
        "BL-SQL-040",
        "A checkpoint failed",
        "The disk is full or failing. Nothing is lost: the log still holds everything, and grows until a checkpoint works.",
        "Make space in the state directory; the next attempt comes by itself.",
    ),
    page(
        "BL-SQL-041",
        "A checkpoint went backwards",
        "The program broke one of its own rules.",
        "Please report it, with the output of `bowline debug bundle`.",
    ),
    page(
        "BL-SQL-042",
        "A checkpoint has to wait for a snapshot",
        "A snapshot was put in place only half, because the disk is full or failing.",
        "Make space in the state directory; the snapshot is tried again by itself, or at the next start.",
    ),
    page(
        "BL-SQL-050",
        "An entry of the log is not a record",
        "It is damaged, or a newer version of the program made it.",
        "Upgrade this node to the version of the others; `bowline node list` shows versions.",
    ),
    page(
        "BL-SQL-051",
        "A snapshot transfer went wrong",
        "The peer sent something that does not fit the request, or a page that does not match its hash.",
        "Nothing: it is tried again, with another peer if there is one. If it lasts, check the peer with `bowline doctor`.",
    ),
    page(
        "BL-SQL-052",
        "A snapshot could not be stored",
        "The disk is full or failing. What was fetched is kept.",
        "Make space in the state directory; the next attempt goes on from there.",
    ),
    page(
        "BL-SQL-053",
        "A snapshot does not fit this copy",
        "The copy went on while the snapshot was under way.",
        "Nothing: it is tried again if it is still needed.",
    ),
    page(
        "BL-SQL-060",
        "The file to import cannot be read",
        "The operating system reported an error.",
        "Check that the file exists and that you may read it.",
    ),
    page(
        "BL-SQL-061",
        "The file cannot be imported",
        "It is not a SQLite database with pages of 4096 bytes that is whole in one file.",
        "Open it with sqlite3 and run: PRAGMA journal_mode=DELETE; PRAGMA page_size=4096; VACUUM; then import again.",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_in_order_and_none_is_there_twice() {
        assert!(PAGES.is_sorted_by(|a, b| a.code < b.code));
    }
}
