//! The rows of copies in files, and how far the copies are.

use std::{collections::BTreeMap, sync::Arc};

use sqlx::SqliteConnection;

use super::{CopyState, SqliteModels, connect, copy};
use crate::{
    Projection, ReadModelsError,
    models::{Checkpoint, CopyPositions, Standing},
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
                let mut connection = connect(&file).await?;
                let Some(checkpoint) = copy::checkpoint(&mut connection).await? else { continue };
                match entry.state {
                    CopyState::Served => standing.served = Some((checkpoint.position, checkpoint.fault)),
                    CopyState::Building | CopyState::Retired => standing.building = Some(checkpoint.position),
                }
            }
            standings.push(standing);
        }
        Ok(standings)
    }

    /// How far all copies are, as their files say.
    pub(crate) async fn positions(&self) -> Result<BTreeMap<String, CopyPositions>, ReadModelsError> {
        let entries = self.0.catalog.lock().await.entries().await?;
        let mut positions = BTreeMap::new();
        // Served ones first: what is built is built beside one.
        for state in [CopyState::Served, CopyState::Building] {
            for entry in entries.iter().filter(|entry| entry.state == state) {
                let file = entry.id.file(&self.0.path);
                if !file.exists() {
                    continue;
                }
                let Some(checkpoint) = copy::checkpoint(&mut connect(&file).await?).await? else { continue };
                let Checkpoint { position, fault } = checkpoint;
                if state == CopyState::Served {
                    let served = CopyPositions { version: entry.version, position, fault, building: None };
                    positions.insert(entry.id.name.clone(), served);
                } else if let Some(served) = positions.get_mut(&entry.id.name) {
                    served.building = Some(position);
                }
            }
        }
        Ok(positions)
    }
}
