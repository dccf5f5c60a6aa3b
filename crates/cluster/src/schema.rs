//! The tables of `sys` that belong to this crate. Anybody may read them.

/// One statement each, to be run once when a cluster is founded; running them again changes nothing.
pub const SCHEMA: &[&str] = &[
    "CREATE TABLE IF NOT EXISTS cluster (
    one       INTEGER PRIMARY KEY CHECK (one = 1),
    id        TEXT NOT NULL,                        -- 32 hexadecimal digits
    created   INTEGER NOT NULL,                     -- seconds since the Unix epoch, as all times here
    voters    INTEGER NOT NULL DEFAULT 3,           -- how many should vote, from three members on
    stand_bys INTEGER NOT NULL DEFAULT 3            -- how many should stand by
) STRICT",
    "CREATE TABLE IF NOT EXISTS nodes (
    id             INTEGER PRIMARY KEY,             -- never used again
    name           TEXT NOT NULL,
    address        TEXT NOT NULL,                   -- host:port for other nodes
    dqlite_address TEXT NOT NULL,                   -- host:port for clients of the databases
    https_address  TEXT NOT NULL,                   -- host:port for clients of the API
    state          TEXT NOT NULL CHECK (state IN ('joining', 'member', 'leaving', 'removed')),
    fingerprint    TEXT NOT NULL UNIQUE,            -- SHA-256 of the node's public key
    token          TEXT,                            -- the join token that let it in
    version        TEXT NOT NULL,                   -- of its daemon, when it last said so
    failure_domain INTEGER NOT NULL,                -- nodes with the same number fail together
    weight         INTEGER NOT NULL,                -- between equals the lighter gets the role
    since          INTEGER NOT NULL                 -- when it came into its state
) STRICT",
    "CREATE UNIQUE INDEX IF NOT EXISTS nodes_by_name ON nodes (name) WHERE state <> 'removed'",
    "CREATE UNIQUE INDEX IF NOT EXISTS nodes_by_address ON nodes (address) WHERE state <> 'removed'",
    "CREATE TABLE IF NOT EXISTS tokens (
    id          TEXT PRIMARY KEY,
    secret_hash TEXT NOT NULL,                      -- SHA-256 of the secret, which is kept nowhere
    name        TEXT,                               -- the only node name that may use it
    created     INTEGER NOT NULL,
    expires     INTEGER NOT NULL,
    used_by     INTEGER REFERENCES nodes (id),      -- who was let in
    used        INTEGER
) STRICT",
    "CREATE TABLE IF NOT EXISTS access (
    name        TEXT PRIMARY KEY,                   -- of a person or a program
    token       TEXT NOT NULL UNIQUE,
    secret_hash TEXT NOT NULL,                      -- SHA-256 of the secret, which is kept nowhere
    role        TEXT NOT NULL CHECK (role IN ('viewer', 'operator', 'admin')),
    created     INTEGER NOT NULL,
    expires     INTEGER NOT NULL
) STRICT",
    "CREATE TABLE IF NOT EXISTS audit (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,      -- the newest 10,000 are kept
    at_ms   INTEGER NOT NULL,                       -- when it was asked, in milliseconds
    who     TEXT NOT NULL,                          -- 'local' is whoever may open a member's control socket
    role    TEXT NOT NULL,
    node    INTEGER NOT NULL,                       -- which was asked
    request TEXT NOT NULL,                          -- method and path
    status  INTEGER,                                -- of the answer, as HTTP has it; NULL until it is known
    code    TEXT                                    -- of the error, if it failed
) STRICT",
];
