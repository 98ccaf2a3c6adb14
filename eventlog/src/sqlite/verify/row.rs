//! What rows of events hold, and what the numbers in them stand for.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Row, types::ValueRef};

use super::is_damage;
use crate::finding::{Finding, Findings};

pub(super) struct Kind {
    pub(super) id: i64,
    pub(super) category: String,
    pub(super) event_type: Vec<u8>,
    /// The block in which it was seen last, from 0.
    pub(super) block: Option<i64>,
}

/// All kinds; a table that cannot be read is a finding.
pub(super) fn kinds(connection: &Connection, findings: &mut Findings) -> rusqlite::Result<Vec<Kind>> {
    let mut select = connection.prepare("SELECT kind_id, category, event_type FROM kinds")?;
    let mut rows = select.query([])?;
    let mut kinds = Vec::new();
    loop {
        match rows.next() {
            Ok(Some(row)) => {
                let text = |column| -> rusqlite::Result<Vec<u8>> {
                    Ok(match row.get_ref(column)? {
                        ValueRef::Text(text) | ValueRef::Blob(text) => text.to_vec(),
                        _ => Vec::new(),
                    })
                };
                let category = String::from_utf8(text(1)?).unwrap_or_default();
                kinds.push(Kind { id: row.get(0)?, category, event_type: text(2)?, block: None });
            }
            Ok(None) => break,
            Err(error) if is_damage(&error) => {
                findings.add(Finding::index("kinds", format!("it cannot be read: {error}")));
                break;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(kinds)
}

/// The columns of an event that are numbers; `None` for what is none.
pub(super) struct Numbers {
    pub(super) stream: Option<i64>,
    pub(super) version: Option<i64>,
    pub(super) kind: Option<i64>,
    pub(super) schema_version: Option<u16>,
    pub(super) id: Option<[u8; 16]>,
    pub(super) occurred_at: Option<i64>,
    pub(super) recorded_at: Option<i64>,
    pub(super) checksum: Option<u64>,
    /// The columns that hold something else.
    pub(super) wrong: Vec<&'static str>,
}

impl Numbers {
    pub(super) fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        let mut wrong = Vec::new();
        let mut number = |column, name| -> rusqlite::Result<Option<i64>> {
            Ok(match row.get_ref(column)? {
                ValueRef::Integer(number) => Some(number),
                _ => {
                    wrong.push(name);
                    None
                }
            })
        };
        let (stream, version) = (number(1, "stream_id")?, number(2, "version")?);
        let (kind, schema_version) = (number(3, "kind_id")?, number(4, "schema_version")?);
        let (occurred_at, recorded_at) = (number(6, "occurred_at")?, number(7, "recorded_at")?);
        let checksum = number(8, "checksum")?.map(i64::cast_unsigned);
        let short = schema_version.and_then(|number| u16::try_from(number).ok());
        if schema_version.is_some() && short.is_none() {
            wrong.push("schema_version");
        }
        let id = match row.get_ref(5)? {
            ValueRef::Blob(id) => id.try_into().ok(),
            _ => None,
        };
        if id.is_none() {
            wrong.push("id");
        }
        Ok(Self { stream, version, kind, schema_version: short, id, occurred_at, recorded_at, checksum, wrong })
    }
}

/// The name of a stream; `None` when there is none, or it is no text.
pub(super) fn stream_name(connection: &Connection, id: i64) -> rusqlite::Result<Option<Arc<str>>> {
    let mut find = connection.prepare_cached("SELECT name FROM streams WHERE stream_id = ?1")?;
    let found = find.query_row([id], |row| {
        Ok(match row.get_ref(0)? {
            ValueRef::Text(name) => std::str::from_utf8(name).ok().map(Arc::from),
            _ => None,
        })
    });
    match found.optional() {
        Ok(name) => Ok(name.flatten()),
        Err(error) if is_damage(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// As [`StreamId::category`].
pub(super) fn category(stream: &str) -> &str {
    stream.split_once('-').map_or(stream, |(category, _)| category)
}
