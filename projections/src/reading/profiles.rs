//! Readers' profiles.

use std::collections::BTreeMap;

use daybook_domain::{
    event::{Event, Stored},
    reading::{ReaderEvent, ReaderProfileChanged},
};
use uuid::Uuid;

use crate::{
    Changes, Decoded, FoldError, Projection, ReadModels, ReadModelsError,
    models::StoredText,
    table::{Column, Table, Value},
};

/// `reader_profiles`.
pub struct ReaderProfiles;

/// The projection's name.
pub const NAME: &str = "reader_profiles";

const PROFILES: Table = Table {
    name: "reader_profiles",
    key: 1,
    columns: &[Column::new("user_id"), Column::new("timezone"), Column::new("display_name")],
};

impl Projection for ReaderProfiles {
    fn name(&self) -> &'static str {
        NAME
    }

    fn version(&self) -> u32 {
        1
    }

    fn tables(&self) -> &'static [&'static Table] {
        &[&PROFILES]
    }

    fn schema(&self) -> &'static str {
        include_str!("../../../migrations/read_models/reader_profiles.sql")
    }

    fn takes(&self, event_type: &str) -> bool {
        event_type == ReaderProfileChanged::TYPE
    }

    fn fold(&self, events: &[Decoded]) -> Result<Changes, FoldError> {
        let mut rows = BTreeMap::new();
        for decoded in events {
            if let Some(Event::Reader(ReaderEvent::ReaderProfileChanged(changed))) = &decoded.event {
                rows.insert(changed.user_id, changed);
            }
        }
        let mut changes = Changes::default();
        let values = |(id, profile): (Uuid, &ReaderProfileChanged)| {
            [
                Value::Id(id),
                profile.timezone.map(|zone| Value::Word(zone.name())).into(),
                profile.display_name.clone().map(Value::Text).into(),
            ]
        };
        changes.upsert(&PROFILES, rows.into_iter().map(values));
        Ok(changes)
    }
}

/// What a reader told about themselves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Profile {
    /// IANA zone.
    pub timezone: Option<String>,
    /// How the reader wants to be called.
    pub display_name: Option<String>,
}

/// A reader's profile; empty when nothing was told.
///
/// # Errors
/// [`ReadModelsError`]
pub async fn profile(models: &ReadModels, user: Uuid) -> Result<Profile, ReadModelsError> {
    let sql = "SELECT timezone, display_name FROM reader_profiles WHERE user_id = $1";
    let row: Option<(Option<String>, Option<StoredText>)> = models.query(sql).bind(user).fetch_optional().await?;
    let profile =
        |(timezone, name): (_, Option<StoredText>)| Profile { timezone, display_name: name.map(String::from) };
    Ok(row.map(profile).unwrap_or_default())
}
