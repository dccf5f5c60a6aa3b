//! The kinds of the store's own tables.

use super::Severity;
use super::kind::{Column, EventRule, Form, Key, Kind, Part, When};

const CATALOG: Part = Part::Status { writer: "the store, when the database is made" };
const RECORDER: Part = Part::Status { writer: "who tells of it" };

/// What the store keeps in `sys`.
pub const KINDS: &[&Kind] = &[
    &Kind {
        name: "databases",
        does: "The databases that the cluster keeps",
        table: "databases",
        key: Key::Text("name"),
        exists: "1",
        columns: &[
            Column {
                name: "group_id",
                sql: "ROW.group_id",
                form: Form::Integer,
                part: CATALOG,
                does: "The number of its Raft group",
            },
            Column {
                name: "state",
                sql: "ROW.state",
                form: Form::Text,
                part: CATALOG,
                does: "`new` while it is started, `importing` while it is filled from a file, then `ready`",
            },
            Column {
                name: "created",
                sql: "ROW.created",
                form: Form::Seconds,
                part: CATALOG,
                does: "When somebody asked for it",
            },
        ],
        events: &[
            EventRule {
                when: When::Inserted,
                condition: "NEW.state = 'importing'",
                severity: Severity::Normal,
                reason: "Importing",
                message: "'it is filled from a file'",
            },
            EventRule {
                when: When::Updated,
                condition: "OLD.state <> NEW.state AND NEW.state = 'ready'",
                severity: Severity::Normal,
                reason: "Ready",
                message: "'it can be used, as Raft group ' || NEW.group_id",
            },
            EventRule {
                when: When::Deleted,
                condition: "OLD.state <> 'importing'",
                severity: Severity::Normal,
                reason: "Dropped",
                message: "'it was dropped with all that was in it'",
            },
            EventRule {
                when: When::Deleted,
                condition: "OLD.state = 'importing'",
                severity: Severity::Warning,
                reason: "ImportFailed",
                message: "'it could not be filled from the file; nothing of it is left'",
            },
        ],
    },
    &Kind {
        name: "events",
        does: "What happened, in sentences; the newest 10,000",
        table: "events",
        key: Key::Number("id"),
        exists: "1",
        columns: &[
            Column { name: "at", sql: "ROW.at_ms", form: Form::Millis, part: RECORDER, does: "When it happened" },
            Column {
                name: "about_kind",
                sql: "ROW.kind",
                form: Form::Text,
                part: RECORDER,
                does: "The kind of what it happened to",
            },
            Column { name: "about", sql: "ROW.name", form: Form::Text, part: RECORDER, does: "What it happened to" },
            Column {
                name: "severity",
                sql: "ROW.severity",
                form: Form::Text,
                part: RECORDER,
                does: "`normal`, or `warning` if somebody should look",
            },
            Column {
                name: "reason",
                sql: "ROW.reason",
                form: Form::Text,
                part: RECORDER,
                does: "One word, for programs",
            },
            Column { name: "message", sql: "ROW.message", form: Form::Text, part: RECORDER, does: "A sentence" },
        ],
        events: &[],
    },
];
