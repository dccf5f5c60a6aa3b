//! How many members vote and stand by, and when one is given up: columns of `sys.cluster`.

use crate::ClusterError;
use crate::roles::Targets;
use crate::sys::SysSql;
use std::time::Duration;
use store::{Command, ReadLevel, Value};

/// More voters cost every write more than they save.
const VOTERS_MAX: usize = 9;
/// As many as there may be members.
const STAND_BYS_MAX: usize = 63;

/// In seconds. A shorter time is that of a restart or a lost packet, a longer one is never.
const DEAD_AFTER_MIN: u64 = 2;
const DEAD_AFTER_MAX: u64 = 24 * 60 * 60;

/// Whether so many may vote: an even number is as fragile as one less.
pub(crate) fn is_voters(voters: usize) -> bool {
    !voters.is_multiple_of(2) && voters <= VOTERS_MAX
}

/// Whether so many may stand by.
pub(crate) fn is_stand_bys(stand_bys: usize) -> bool {
    stand_bys <= STAND_BYS_MAX
}

/// Whether a member may be given up after so many seconds.
pub(crate) fn is_dead_after(seconds: u64) -> bool {
    (DEAD_AFTER_MIN..=DEAD_AFTER_MAX).contains(&seconds)
}

/// What there should be.
pub(crate) async fn read(sys: &dyn SysSql, level: ReadLevel) -> Result<Targets, ClusterError> {
    let rows = sys.query(level, Command::new("SELECT voters, stand_bys, dead_after FROM cluster", [])).await?.rows;
    let number = |value: &Value| value.integer().and_then(|n| usize::try_from(n).ok());
    let seconds = |value: &Value| value.integer().and_then(|n| u64::try_from(n).ok()).map(Duration::from_secs);
    match rows.first().map(Vec::as_slice) {
        // The cluster is being founded.
        None => Ok(Targets::default()),
        Some([voters, stand_bys, dead_after]) => match (number(voters), number(stand_bys), seconds(dead_after)) {
            (Some(voters), Some(stand_bys), Some(dead_after)) => Ok(Targets { voters, stand_bys, dead_after }),
            _ => Err(ClusterError::Row { table: "cluster", why: format!("{rows:?}") }),
        },
        Some(_) => Err(ClusterError::Row { table: "cluster", why: format!("{rows:?}") }),
    }
}

/// From now on there should be so many.
pub(crate) async fn write(sys: &dyn SysSql, targets: Targets) -> Result<(), ClusterError> {
    let Targets { voters, stand_bys, dead_after } = targets;
    if !is_voters(voters) {
        let why = format!("{voters} voters: it must be an odd number up to {VOTERS_MAX}");
        return Err(ClusterError::Targets { why });
    }
    if !is_stand_bys(stand_bys) {
        return Err(ClusterError::Targets { why: format!("{stand_bys} stand-bys: at most {STAND_BYS_MAX}") });
    }
    if !is_dead_after(dead_after.as_secs()) {
        let why = format!("dead after {dead_after:?}: it is from {DEAD_AFTER_MIN} s to a day");
        return Err(ClusterError::Targets { why });
    }
    let number = |n: usize| Value::from(i64::try_from(n).unwrap_or(i64::MAX));
    let update = Command::new(
        "UPDATE cluster SET voters = ?1, stand_bys = ?2, dead_after = ?3",
        [number(voters), number(stand_bys), Value::from(i64::try_from(dead_after.as_secs()).unwrap_or(i64::MAX))],
    );
    sys.transact(vec![update]).await.map(drop).map_err(Into::into)
}
