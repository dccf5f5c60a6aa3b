//! Looking at resources, a page at a time, and changing what is wanted of one.

use super::{Key, Kind, Part, Revision};
use crate::{Command, ReadLevel, Rows, Store, StoreError, Value};
use base::DbName;

/// The most objects on one page.
pub const PAGE_MAX: u32 = 1000;

/// One object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// What names it among those of its kind.
    pub key: ResourceKey,
    /// How often what is wanted of it was changed, from 1.
    pub generation: u64,
    /// Its last change.
    pub revision: Revision,
    /// What is wanted, as JSON.
    pub spec: String,
    /// What is observed, as JSON.
    pub status: String,
    /// What has to be done before it is gone, if somebody has asked for its end.
    pub finalizers: Vec<String>,
}

/// What names an object among those of its kind: a name, or a number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum ResourceKey {
    /// A number.
    Number(i64),
    /// A name.
    Text(String),
}

impl std::fmt::Display for ResourceKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

impl ResourceKey {
    /// The key that `text` writes, if a kind's keys look so.
    pub fn parse(kind: &Kind, text: &str) -> Option<Self> {
        match kind.key {
            Key::Text(_) => Some(Self::Text(text.to_owned())),
            Key::Number(_) => text.parse().ok().map(Self::Number),
        }
    }

    pub(super) fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Integer(number) => Some(Self::Number(*number)),
            Value::Text(text) => Some(Self::Text(text.clone())),
            _ => None,
        }
    }

    fn value(&self) -> Value {
        match self {
            Self::Number(number) => (*number).into(),
            Self::Text(text) => text.as_str().into(),
        }
    }
}

/// Some objects of a kind, in the order of their keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The objects.
    pub items: Vec<Resource>,
    /// The last change of any resource that this page shows: watching from here on misses nothing.
    pub revision: Revision,
    /// Where the next page begins, if there is one.
    pub next: Option<ResourceKey>,
}

/// What became of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Updated {
    /// It is done, or there was nothing to do.
    Done,
    /// There is no such object.
    Absent,
    /// Somebody else has changed it meanwhile.
    Conflict {
        /// The revision that it has now.
        revision: Revision,
    },
}

const FIELDS: &str = "r.key, r.generation, r.revision, r.spec, r.status, \
    (SELECT group_concat(f.name, char(10)) FROM finalizers f WHERE f.kind = r.kind AND f.key = r.key)";

impl Store {
    /// The objects of a kind after one of them, `limit` or [`PAGE_MAX`] at most. Cancel-safe.
    pub async fn resources(
        &self,
        kind: &Kind,
        level: ReadLevel,
        after: Option<&ResourceKey>,
        limit: u32,
    ) -> Result<Page, StoreError> {
        let limit = limit.clamp(1, PAGE_MAX);
        // One statement, so that the objects and the revision are of one state.
        let sql = format!(
            "SELECT (SELECT coalesce(max(revision), 0) FROM changes), {FIELDS} FROM (SELECT 1) LEFT JOIN \
             (SELECT * FROM resources WHERE kind = ?1 AND (?2 IS NULL OR key > ?2) ORDER BY key LIMIT ?3) r ON 1 ORDER BY r.key"
        );
        let from = after.map_or(Value::Null, ResourceKey::value);
        let command = Command::new(sql, [kind.name.into(), from, i64::from(limit + 1).into()]);
        let rows = self.query(&DbName::sys(), level, command).await?;
        let revision =
            rows.rows.first().and_then(|row| row.first()).map_or(Ok(Revision(0)), |value| number(value, &rows))?;
        let mut items = Vec::with_capacity(rows.rows.len());
        for row in &rows.rows {
            match row.get(1..) {
                Some([Value::Null, ..]) => {}
                Some(fields) => items.push(parse(fields)?),
                None => return Err(unexpected(row)),
            }
        }
        let more = items.len() > limit as usize;
        items.truncate(limit as usize);
        let next = items.last().filter(|_| more).map(|last| last.key.clone());
        Ok(Page { items, revision, next })
    }

    /// One object.
    pub async fn resource(
        &self,
        kind: &Kind,
        level: ReadLevel,
        key: &ResourceKey,
    ) -> Result<Option<Resource>, StoreError> {
        let sql = format!("SELECT {FIELDS} FROM resources r WHERE r.kind = ?1 AND r.key = ?2");
        let rows = self.query(&DbName::sys(), level, Command::new(sql, [kind.name.into(), key.value()])).await?;
        rows.rows.first().map(|row| parse(row)).transpose()
    }

    /// Changes what is wanted of an object, all of it or nothing, if its last change is the one that the caller has seen; whatever that
    /// is, if `seen` is none. `columns` are such as may be set, with values that they accept. Not cancel-safe: it may be done or not.
    pub async fn update_resource(
        &self,
        kind: &Kind,
        key: &ResourceKey,
        seen: Option<Revision>,
        columns: &[(&'static str, Value)],
    ) -> Result<Updated, StoreError> {
        let settable = |name: &str| {
            kind.columns.iter().find_map(|column| match column.part {
                Part::Settable { column: set, .. } if column.name == name => Some(set),
                _ => None,
            })
        };
        let seen = seen.filter(|_| !rt::mutant!("store.update-unseen"));
        let mut params = vec![key.value(), seen.map_or(Value::Null, |seen| Value::Integer(seen.0.cast_signed()))];
        let mut sets = Vec::new();
        for (name, value) in columns {
            let Some(set) = settable(name) else {
                return Err(StoreError::Internal(format!("{}.{name} cannot be set", kind.name)));
            };
            params.push(value.clone());
            sets.push(format!("{set} = ?{}", params.len()));
        }
        let current = format!("(SELECT revision FROM resource_{} WHERE key = ?1)", kind.name);
        if !sets.is_empty() {
            let sql = format!(
                "UPDATE {} SET {} WHERE {} = ?1 AND {} AND (?2 IS NULL OR {current} = ?2)",
                kind.table,
                sets.join(", "),
                kind.key.column(),
                kind.exists.replace("ROW.", ""),
            );
            if self.transact(&DbName::sys(), vec![Command::new(sql, params)]).await?.rows_affected > 0 {
                return Ok(Updated::Done);
            }
        }
        Ok(match self.resource(kind, ReadLevel::Linearizable, key).await? {
            None => Updated::Absent,
            Some(now) if seen.is_some_and(|seen| seen != now.revision) => Updated::Conflict { revision: now.revision },
            Some(_) => Updated::Done,
        })
    }
}

fn unexpected(row: &[Value]) -> StoreError {
    StoreError::Internal(format!("a row of sys.resources is not of its form: {row:?}"))
}

fn number(value: &Value, rows: &Rows) -> Result<Revision, StoreError> {
    let number = value.integer().map(i64::cast_unsigned);
    number.map(Revision).ok_or_else(|| unexpected(rows.rows.first().map_or(&[], Vec::as_slice)))
}

fn parse(row: &[Value]) -> Result<Resource, StoreError> {
    let [key, Value::Integer(generation), Value::Integer(revision), Value::Text(spec), Value::Text(status), finalizers] =
        row
    else {
        return Err(unexpected(row));
    };
    Ok(Resource {
        key: ResourceKey::of(key).ok_or_else(|| unexpected(row))?,
        generation: generation.cast_unsigned(),
        revision: Revision(revision.cast_unsigned()),
        spec: spec.clone(),
        status: status.clone(),
        finalizers: finalizers.text().map(|names| names.lines().map(str::to_owned).collect()).unwrap_or_default(),
    })
}
