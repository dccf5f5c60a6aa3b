//! How this crate reads and writes `sys`.

use base::{DbName, NodeId};
use futures::FutureExt;
use futures::future::BoxFuture;
use store::{Command, Outcome, ReadLevel, Rows, Store, StoreError};

/// The cluster's own database, as far as this crate needs it.
pub trait SysSql: Send + Sync + 'static {
    /// Runs statements as one transaction, all of them or none, wherever `sys` is led. The outcome is the last one's.
    fn transact(&self, commands: Vec<Command>) -> BoxFuture<'_, Result<Outcome, StoreError>>;

    /// Reads a whole result.
    fn query(&self, level: ReadLevel, command: Command) -> BoxFuture<'_, Result<Rows, StoreError>>;

    /// Who leads, as far as this node knows.
    fn leader(&self) -> Option<NodeId>;

    /// Whether this node is a spare, as far as it knows.
    fn is_spare(&self) -> bool;
}

impl SysSql for Store {
    fn transact(&self, commands: Vec<Command>) -> BoxFuture<'_, Result<Outcome, StoreError>> {
        async move { Self::transact(self, &DbName::sys(), commands).await }.boxed()
    }

    fn query(&self, level: ReadLevel, command: Command) -> BoxFuture<'_, Result<Rows, StoreError>> {
        async move { Self::query(self, &DbName::sys(), level, command).await }.boxed()
    }

    fn leader(&self) -> Option<NodeId> {
        self.sys().leadership().borrow().leader
    }

    fn is_spare(&self) -> bool {
        Self::is_spare(self)
    }
}

/// Now, as rows keep it: seconds since the Unix epoch.
pub(crate) fn now() -> i64 {
    i64::try_from(rt::time::wall().as_secs()).unwrap_or(i64::MAX)
}

/// A node's id as a row keeps it.
pub(crate) fn to_sql(node: NodeId) -> i64 {
    node.0.cast_signed()
}

/// A node's id from a row.
pub(crate) fn from_sql(id: i64) -> NodeId {
    NodeId(id.cast_unsigned())
}
