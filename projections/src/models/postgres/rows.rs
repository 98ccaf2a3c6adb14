//! How far copies on a server are, and a view of one that stands still.

use std::{collections::BTreeMap, sync::Arc};

use daybook_eventlog::{
    Position,
    database::{Meaning, late, within},
};
use sqlx::{AssertSqlSafe, PgConnection};

use super::{
    PostgresModels,
    catalog::{CopyState, Entry},
    patience::LOOK_MAX,
};
use crate::{
    Projection, ReadModelsError,
    models::{Checkpoint, CopyId, Standing},
};

/// How far the copies of a projection are, as every node can see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CopyPositions {
    /// The copy that is served.
    pub(crate) id: CopyId,
    /// The version of the code that keeps the served copy.
    pub(crate) version: u32,
    /// Of the served copy.
    pub(crate) checkpoint: Checkpoint,
    /// Why the last copy that was built beside it was given up, if it was.
    pub(crate) rebuild_failure: Option<String>,
    /// The copy that is being built beside it.
    pub(crate) building: Option<BuildingCopy>,
}

/// A copy that is being built beside the served one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BuildingCopy {
    pub(crate) id: CopyId,
    /// The version of the code that builds it.
    pub(crate) version: u32,
    /// The last position that it has applied.
    pub(crate) position: Position,
}

impl PostgresModels {
    /// How far the copies are, by the projection's name.
    pub(crate) async fn positions(&self) -> Result<BTreeMap<String, CopyPositions>, ReadModelsError> {
        let mut connection = within(LOOK_MAX, self.0.pool.acquire()).await?;
        let look = Entry::all(&mut connection, &self.0.connector.schema, None);
        let entries = match tokio::time::timeout(LOOK_MAX, look).await {
            Ok(entries) => entries?,
            Err(_) => {
                drop(connection.detach());
                return Err(late(LOOK_MAX).into());
            }
        };
        let mut positions = BTreeMap::new();
        for entry in entries.iter().filter(|entry| entry.state == CopyState::Served) {
            let (id, version, checkpoint) = (entry.id.clone(), entry.version, entry.checkpoint.clone());
            let rebuild_failure = entry.rebuild_failure.clone();
            let served = CopyPositions { id, version, checkpoint, rebuild_failure, building: None };
            positions.insert(entry.id.name.clone(), served);
        }
        for entry in entries.iter().filter(|entry| entry.state == CopyState::Building) {
            if let Some(served) = positions.get_mut(&entry.id.name) {
                let (id, version, position) = (entry.id.clone(), entry.version, entry.position());
                served.building = Some(BuildingCopy { id, version, position });
            }
        }
        Ok(positions)
    }

    pub(crate) async fn standings(
        &self,
        projections: &[Arc<dyn Projection>],
    ) -> Result<Vec<Standing>, ReadModelsError> {
        let entries = self.entries().await?;
        let standing = |projection: &Arc<dyn Projection>| {
            let (name, version) = (projection.name(), projection.version());
            let find = |state| entries.iter().find(|entry| entry.is(name, state) && entry.version == version);
            let served = find(CopyState::Served).map(|entry| entry.checkpoint.clone());
            Standing {
                name,
                version,
                served: served.map(|checkpoint| (checkpoint.position, checkpoint.fault)),
                building: find(CopyState::Building).map(Entry::position),
            }
        };
        Ok(projections.iter().map(standing).collect())
    }

    /// The copy of `projection` that is served, as it is at this moment. It stays served as long as the connection is
    /// there: a copy that wants to take over waits.
    pub(crate) async fn freeze(
        &self,
        projection: &dyn Projection,
    ) -> Result<Option<(PgConnection, Checkpoint)>, ReadModelsError> {
        let settings = [("idle_in_transaction_session_timeout", "0"), ("statement_timeout", "0")];
        let mut connection = self.0.connector.connect_with("verifier", settings).await?;
        let schema = &self.0.connector.schema;
        sqlx::raw_sql("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").execute(&mut connection).await?;
        let tables = projection.tables().iter().map(|table| format!("\"{schema}\".\"{}\"", table.name));
        let lock = format!("LOCK TABLE {} IN ACCESS SHARE MODE", tables.collect::<Vec<_>>().join(", "));
        // Before the first look, which decides what all of the transaction sees.
        match sqlx::raw_sql(AssertSqlSafe(lock)).execute(&mut connection).await {
            Ok(_) => {}
            // There are no such tables yet.
            Err(error) if Meaning::of(&error) == Meaning::Missing => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        let entries = Entry::all(&mut connection, schema, Some(projection.name())).await?;
        let served = entries
            .into_iter()
            .find(|entry| entry.is(projection.name(), CopyState::Served) && entry.version == projection.version());
        Ok(served.map(|entry| (connection, entry.checkpoint)))
    }
}
