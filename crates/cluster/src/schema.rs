//! The tables of `sys` that belong to this crate. Anybody may read them.

/// One statement each, to be run once when a cluster is founded; running them again changes nothing.
pub const SCHEMA: &[&str] = &[
    "CREATE TABLE IF NOT EXISTS cluster (
    one       INTEGER PRIMARY KEY CHECK (one = 1),
    id        TEXT NOT NULL,                        -- 32 hexadecimal digits
    created   INTEGER NOT NULL,                     -- seconds since the Unix epoch, as all times here
    voters    INTEGER NOT NULL DEFAULT 3,           -- how many should vote, from three members on
    stand_bys INTEGER NOT NULL DEFAULT 3,           -- how many should stand by
    dead_after INTEGER NOT NULL DEFAULT 10          -- seconds after which a member that is not heard loses its roles
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
    since          INTEGER NOT NULL,                -- when it came into its state
    witness        INTEGER NOT NULL DEFAULT 0 CHECK (witness IN (0, 1))  -- 1: it votes at most, and keeps no data but this database
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

/// Tables about certificates. They are made when the first member has something to say in them, so that a cluster that was founded
/// before there were any gets them too. The simulator, which has no certificates, never does.
pub(crate) const CERTIFICATES: &[&str] = &[
    "CREATE TABLE IF NOT EXISTS certificates (
    node    INTEGER PRIMARY KEY REFERENCES nodes (id), -- which says this of itself
    ends    INTEGER NOT NULL,                       -- its certificate
    issuer  TEXT NOT NULL,                          -- the fingerprint of the CA that made it
    trusted TEXT NOT NULL                           -- those of the CAs that the node trusts, divided by blanks
) STRICT",
    "CREATE TABLE IF NOT EXISTS rotations (
    id          INTEGER PRIMARY KEY,                -- the newest counts
    state       TEXT NOT NULL CHECK (state IN ('distributing', 'reissuing', 'waiting', 'retiring', 'done')),
    old         TEXT NOT NULL,                      -- the fingerprint of the CA that goes
    new         TEXT NOT NULL,                      -- that of the CA that comes
    certificate TEXT NOT NULL,                      -- of the CA that comes; its key travels between members only
    crossed     TEXT NOT NULL,                      -- how the CA that goes vouches for the one that comes
    finish      INTEGER NOT NULL,                   -- 1: tokens that pin the CA that goes are not waited for
    given_up    TEXT NOT NULL,                      -- the ids of nodes that are not waited for, divided by blanks
    begun       INTEGER NOT NULL,
    since       INTEGER NOT NULL                    -- when it came into its state
) STRICT",
    "CREATE TABLE IF NOT EXISTS pins (
    token TEXT PRIMARY KEY,                         -- of tokens or access
    ca    TEXT NOT NULL                             -- the CA that it pins; the first one of the cluster if there is no row
) STRICT",
];
