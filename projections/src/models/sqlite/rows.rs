//! The rows of copies in files, and how far the copies are.

use std::sync::Arc;

use daybook_eventlog::Position;
use sqlx::SqliteConnection;

use super::{CopyState, SqliteModels, connect, copy};
use crate::{
    Projection, ReadModelsError,
    models::{Checkpoint, Standing},
};

impl SqliteModels {
    /// The copy of `projection` that the catalog says is served, as it is at this moment, if there is one of its
    /// version.
    pub(crate) async fn freeze(
        &self,
        projection: &dyn Projection,
    ) -> Result<Option<(SqliteConnection, Checkpoint)>, ReadModelsError> {
        let entries = self.0.catalog.lock().await.entries().await?;
        let served = entries.into_iter().find(|entry| {
            entry.id.name == projection.name()
                && entry.version == projection.version()
                && entry.state == CopyState::Served
        });
        let Some(served) = served else { return Ok(None) };
        let mut connection = connect(&served.id.file(&self.0.path)).await?;
        // The first read of a transaction decides what all of it sees.
        sqlx::raw_sql("BEGIN").execute(&mut connection).await?;
        let checkpoint = copy::checkpoint(&mut connection).await?;
        Ok(checkpoint.map(|checkpoint| (connection, checkpoint)))
    }

    /// How far the copies of `projections` are, as their files say.
    pub(crate) async fn standings(
        &self,
        projections: &[Arc<dyn Projection>],
    ) -> Result<Vec<Standing>, ReadModelsError> {
        let entries = self.0.catalog.lock().await.entries().await?;
        let mut standings = Vec::with_capacity(projections.len());
        for projection in projections {
            let (name, version) = (projection.name(), projection.version());
            let mut standing = Standing { name, version, served: None, building: None };
            for entry in entries.iter().filter(|entry| entry.id.name == name && entry.version == version) {
                let file = entry.id.file(&self.0.path);
                if entry.state == CopyState::Retired || !file.exists() {
                    continue;
                }
                // A copy that has just begun, or is just being taken away, has no tables.
                let mut connection = connect(&file).await?;
                let stored = copy::checkpoint(&mut connection).await.unwrap_or_default();
                let checkpoint = stored.unwrap_or(Checkpoint { position: Position::START, fault: None });
                match entry.state {
                    CopyState::Served => standing.served = Some((checkpoint.position, checkpoint.fault)),
                    CopyState::Building | CopyState::Retired => standing.building = Some(checkpoint.position),
                }
            }
            standings.push(standing);
        }
        Ok(standings)
    }
}
