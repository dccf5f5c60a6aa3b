//! `sys.rotations`: the plans, the newest of which counts; `sys.pins`: which tokens pin a CA that came by one.

use super::{Rotation, RotationState};
use crate::schema::CERTIFICATES;
use crate::sys::{SysSql, from_sql, now, to_sql};
use crate::{ClusterError, TokenId, certificate_rows};
use base::NodeId;
use store::{Command, ReadLevel, Value};

/// Who still uses tokens that pin the CA that goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokensOnOld {
    /// Whose access it is, by name.
    pub access: Vec<String>,
    /// How many join tokens that nobody has used yet.
    pub join: u64,
}

impl TokensOnOld {
    /// All of them.
    pub fn count(&self) -> u64 {
        self.access.len() as u64 + self.join
    }
}

fn parse(row: &[Value]) -> Result<Rotation, ClusterError> {
    let parsed = match row {
        [
            Value::Integer(id),
            Value::Text(state),
            Value::Text(old),
            Value::Text(new),
            Value::Text(certificate),
            Value::Text(cross),
            Value::Integer(finish),
            Value::Text(without),
            Value::Integer(begun),
            Value::Integer(since),
        ] => RotationState::from_sql(state).map(|state| Rotation {
            id: *id,
            state,
            old: old.clone(),
            new: new.clone(),
            certificate: certificate.clone(),
            cross: cross.clone(),
            is_finishing: *finish != 0,
            without: without.split_whitespace().filter_map(|id| id.parse().ok().map(from_sql)).collect(),
            begun: *begun,
            since: *since,
        }),
        _ => None,
    };
    parsed.ok_or_else(|| ClusterError::Row { table: "rotations", why: format!("{row:?}") })
}

/// The newest rotation, done or not. None if there never was one.
pub(crate) async fn newest(sys: &dyn SysSql, level: ReadLevel) -> Result<Option<Rotation>, ClusterError> {
    if !certificate_rows::are_there(sys, level).await? {
        return Ok(None);
    }
    let select = "SELECT id, state, old, new, certificate, crossed, finish, given_up, begun, since FROM rotations \
                  ORDER BY id DESC LIMIT 1";
    sys.query(level, Command::new(select, [])).await?.rows.first().map(|row| parse(row)).transpose()
}

/// Begins a rotation, unless one is under way: false then.
pub(crate) async fn begin(sys: &dyn SysSql, rotation: &Rotation) -> Result<bool, ClusterError> {
    let mut commands: Vec<Command> = CERTIFICATES.iter().map(|sql| Command::new(*sql, [])).collect();
    commands.push(Command::new(
        "INSERT INTO rotations (state, old, new, certificate, crossed, finish, given_up, begun, since) \
         SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8 WHERE NOT EXISTS (SELECT 1 FROM rotations WHERE state <> 'done')",
        [
            RotationState::Distributing.as_str().into(),
            rotation.old.as_str().into(),
            rotation.new.as_str().into(),
            rotation.certificate.as_str().into(),
            rotation.cross.as_str().into(),
            i64::from(rotation.is_finishing).into(),
            ids(&rotation.without).into(),
            now().into(),
        ],
    ));
    Ok(sys.transact(commands).await?.rows_affected > 0)
}

fn ids(nodes: &[NodeId]) -> String {
    nodes.iter().map(|node| to_sql(*node).to_string()).collect::<Vec<_>>().join(" ")
}

/// Moves a rotation on, if it still is where it was seen.
pub(crate) async fn move_on(sys: &dyn SysSql, rotation: &Rotation, to: RotationState) -> Result<(), ClusterError> {
    let update = Command::new(
        "UPDATE rotations SET state = ?3, since = ?4 WHERE id = ?1 AND state = ?2",
        [rotation.id.into(), rotation.state.as_str().into(), to.as_str().into(), now().into()],
    );
    sys.transact(vec![update]).await.map(drop).map_err(Into::into)
}

/// Puts another CA in the place of one whose key nobody has: nothing was made by it yet.
pub(crate) async fn replace_new(sys: &dyn SysSql, lost: &Rotation, by: &Rotation) -> Result<(), ClusterError> {
    let update = Command::new(
        "UPDATE rotations SET new = ?3, certificate = ?4, crossed = ?5 \
         WHERE id = ?1 AND new = ?2 AND state = 'distributing'",
        [
            lost.id.into(),
            lost.new.as_str().into(),
            by.new.as_str().into(),
            by.certificate.as_str().into(),
            by.cross.as_str().into(),
        ],
    );
    sys.transact(vec![update]).await.map(drop).map_err(Into::into)
}

/// Says whom a rotation does not wait for.
pub(crate) async fn hurry(
    sys: &dyn SysSql,
    rotation: &Rotation,
    finish: bool,
    without: &[NodeId],
) -> Result<(), ClusterError> {
    let mut all = rotation.without.clone();
    all.extend(without.iter().filter(|node| !rotation.without.contains(node)));
    let finish = finish || rotation.is_finishing;
    if all == rotation.without && finish == rotation.is_finishing {
        return Ok(());
    }
    let update = Command::new(
        "UPDATE rotations SET finish = ?2, given_up = ?3 WHERE id = ?1 AND state <> 'done'",
        [rotation.id.into(), i64::from(finish).into(), ids(&all).into()],
    );
    sys.transact(vec![update]).await.map(drop).map_err(Into::into)
}

/// Notes that a token pins a CA that came by a rotation. What is not noted counts as pinning the one before.
pub(crate) async fn pin(sys: &dyn SysSql, token: &TokenId, ca: &str) -> Result<(), ClusterError> {
    let insert =
        Command::new("INSERT OR REPLACE INTO pins (token, ca) VALUES (?1, ?2)", [token.as_str().into(), ca.into()]);
    let sweep = Command::new(
        "DELETE FROM pins WHERE token NOT IN (SELECT id FROM tokens) AND token NOT IN (SELECT token FROM access)",
        [],
    );
    sys.transact(vec![sweep, insert]).await.map(drop).map_err(Into::into)
}

/// The tokens that still work and pin another CA than `new`.
pub(crate) async fn tokens_on_old(sys: &dyn SysSql, level: ReadLevel, new: &str) -> Result<TokensOnOld, ClusterError> {
    const NOT_PINNED: &str = "NOT EXISTS (SELECT 1 FROM pins WHERE pins.ca = ?1 AND pins.token =";
    let access = format!("SELECT name FROM access WHERE expires > ?2 AND {NOT_PINNED} access.token) ORDER BY name");
    let join =
        format!("SELECT count(*) FROM tokens WHERE used_by IS NULL AND expires > ?2 AND {NOT_PINNED} tokens.id)");
    let query = |sql: String| sys.query(level, Command::new(sql, [new.into(), now().into()]));
    let access = query(access).await?.rows;
    let join = query(join).await?.rows;
    Ok(TokensOnOld {
        access: access.iter().filter_map(|row| row.first()?.text().map(str::to_owned)).collect(),
        join: join
            .first()
            .and_then(|row| row.first()?.integer())
            .and_then(|n| u64::try_from(n).ok())
            .unwrap_or_default(),
    })
}
