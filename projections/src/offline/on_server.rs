//! Rebuilds on a server that nodes share: whoever keeps the read models does them, and that is this process while no
//! node does.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use daybook_eventlog::Log;

use super::{Rebuilt, Told, rebuild_here};
use crate::{
    Projection, ReadModels, ReadModelsError,
    models::{CopyId, PostgresModels},
};

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
    // The copies that were asked for, by name.
    let mut asked: BTreeMap<&'static str, CopyId> = BTreeMap::new();
    let mut rebuilt: Vec<Rebuilt> = Vec::new();
    loop {
        if let Some(mut leadership) = server.try_lead().await? {
            let is_left = |name: &str| wanted(name) && !rebuilt.iter().any(|done| done.name == name);
            let here = tokio::select! {
                here = rebuild_here(log, models, projections.clone(), is_left, Arc::clone(&told)) => Some(here),
                () = leadership.lost() => None,
            };
            leadership.release().await;
            if let Some(here) = here {
                rebuilt.extend(here?);
                return Ok(rebuilt);
            }
        }
        let positions = server.positions().await?;
        for projection in projections.iter().filter(|projection| wanted(projection.name())) {
            let name = projection.name();
            let copies = positions.get(name);
            let building = copies.and_then(|copies| copies.building.as_ref());
            let Some(copy) = asked.get(name) else {
                match models.begin_beside(&**projection).await {
                    Ok(copy) => drop(asked.insert(name, copy)),
                    // It is known with the next look which one.
                    Err(ReadModelsError::Rebuilding(_)) => {
                        asked.extend(building.map(|building| (name, building.id.clone())));
                    }
                    Err(error) => return Err(error),
                }
                continue;
            };
            if let Some(building) = building.filter(|building| building.id == *copy) {
                told(name, building.position);
            } else if !rebuilt.iter().any(|done| done.name == name) {
                let is_served = copies.is_some_and(|copies| copies.id == *copy);
                let failure = || copies.and_then(|copies| copies.rebuild_failure.clone());
                let given_up = || Some("it was given up".to_owned());
                let failure = if is_served { None } else { failure().or_else(given_up) };
                rebuilt.push(Rebuilt { name, failure });
            }
        }
        let is_over = |projection: &Arc<dyn Projection>| rebuilt.iter().any(|done| done.name == projection.name());
        if projections.iter().filter(|projection| wanted(projection.name())).all(is_over) {
            return Ok(rebuilt);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
