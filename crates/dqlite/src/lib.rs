//! dqlite
