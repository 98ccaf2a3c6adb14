//! Rebuilds on a server that nodes share: whoever keeps the read models does them, and that is this process while no
//! node does.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use daybook_eventlog::Log;

use super::{Rebuilt, Told, rebuild_here};
use crate::{Projection, ReadModels, ReadModelsError, models::PostgresModels};

/// How often it is looked how far the node is that builds.
const LOOK_EVERY: Duration = Duration::from_millis(300);

/// Asks for rebuilds of those that are `wanted`, and waits until they have taken over.
pub(super) async fn rebuild(
    log: &Log,
    models: &ReadModels,
    server: &PostgresModels,
    projections: Vec<Arc<dyn Projection>>,
    wanted: impl Fn(&str) -> bool,
    told: Told,
) -> Result<Vec<Rebuilt>, ReadModelsError> {
    let mut asked = BTreeSet::new();
    let mut rebuilt = Vec::new();
    loop {
        if let Some(leadership) = server.try_lead().await? {
            let is_left = |name: &str| wanted(name) && !rebuilt.iter().any(|done: &Rebuilt| done.name == name);
            let here = rebuild_here(log, models, projections, is_left, told).await;
            leadership.release().await;
            rebuilt.extend(here?);
            return Ok(rebuilt);
        }
        let positions = server.positions().await?;
        for projection in projections.iter().filter(|projection| wanted(projection.name())) {
            let name = projection.name();
            let copies = positions.get(name);
            if asked.insert(name) {
                match models.begin_beside(&**projection).await {
                    Ok(_) | Err(ReadModelsError::Rebuilding(_)) => {}
                    Err(error) => return Err(error),
                }
            } else if let Some(building) = copies.and_then(|copies| copies.building.as_ref()) {
                told(name, building.position);
            } else if !rebuilt.iter().any(|done| done.name == name) {
                let failure = copies.and_then(|copies| copies.rebuild_failure.clone());
                rebuilt.push(Rebuilt { name, failure });
            }
        }
        if rebuilt.len() == asked.len() {
            return Ok(rebuilt);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
