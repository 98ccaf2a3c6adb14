//! One of several nodes that share their read models on a server. One at a time keeps them, whoever holds the lock;
//! the others look how far it is, and are ready to go on where it ends.
//!
//! What is asked of the projections stands in the catalog, so that it can be asked on any node: a copy to be built, one
//! that is not wanted any more, one that is to try again.

use std::{collections::BTreeMap, convert::Infallible, sync::Arc, time::Duration};

use daybook_eventlog::Log;
use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    Progress, Projection, ReadModels, ReadModelsError,
    control::{Command, Commands},
    followers::Observer as _,
    keeper::Keeper,
    models::{CopyPositions, Leadership, PostgresModels},
};

/// How often a node asks to be the one that keeps the read models.
const STAND_EVERY: Duration = Duration::from_secs(1);
/// How often it looks how far they are: when somebody waits for that, and when nobody does.
const LOOK_EVERY_AWAITED: Duration = Duration::from_millis(4);
const LOOK_EVERY_IDLE: Duration = Duration::from_millis(500);
/// How often the one that keeps them looks for what is asked of it.
const ATTEND_EVERY: Duration = Duration::from_millis(250);
/// How long a node lets others go first that could not keep the read models: it may be of an older build than they are.
const UNFIT_FOR: Duration = Duration::from_secs(10);
/// How long a server that does not answer is left alone.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(500);

/// Whether this process keeps the read models.
pub(crate) fn gauge_of_lead(leads: bool) {
    metrics::gauge!("daybook_node_leads").set(f64::from(u8::from(leads)));
}

type Positions = BTreeMap<String, CopyPositions>;

#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) server: PostgresModels,
    pub(crate) log: Log,
    pub(crate) models: ReadModels,
    pub(crate) projections: Vec<Arc<dyn Projection>>,
    pub(crate) progress: Progress,
    /// Whether it is this node's turn.
    pub(crate) leading: watch::Sender<bool>,
}

/// How a node's turn ended.
enum Turn {
    /// It is to stop altogether.
    Stopped,
    /// Another one may go on.
    Over,
    /// It could not begin.
    Unfit,
}

impl Node {
    /// Takes its turns until `stopped`.
    pub(crate) async fn run(self, stopped: &mut mpsc::Receiver<()>) {
        // After a panic, it may still be told that this node leads.
        self.tell(false);
        // Until somebody leads, nobody has looked whether what is there is of this log, and whole.
        let (mut stand_in, mut is_answering, mut is_led) = (Duration::ZERO, true, false);
        loop {
            let stand = async {
                tokio::time::sleep(stand_in).await;
                self.server.try_lead().await
            };
            let tried = tokio::select! {
                _ = stopped.recv() => return,
                tried = stand => tried,
                never = self.look(), if is_led => match never {},
            };
            stand_in = STAND_EVERY;
            is_led |= tried.is_ok();
            match tried {
                Ok(Some(leadership)) => {
                    is_answering = true;
                    match self.lead(leadership, stopped).await {
                        Turn::Stopped => return,
                        Turn::Over => {}
                        Turn::Unfit => stand_in = UNFIT_FOR,
                    }
                }
                Ok(None) => is_answering = true,
                // Said once for each time that it is away.
                Err(error) if is_answering => {
                    is_answering = false;
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "the read models' database does not answer; trying again"
                    );
                }
                Err(_) => {}
            }
        }
    }

    /// Keeps the read models as long as it is this node's turn.
    async fn lead(&self, mut leadership: Leadership, stopped: &mut mpsc::Receiver<()>) -> Turn {
        let mut keeper = match Keeper::start(&self.log, &self.models, &self.projections, &self.progress).await {
            Ok(keeper) => keeper,
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "this node cannot keep the read models; trying again"
                );
                leadership.release().await;
                return if error.may_pass() { Turn::Over } else { Turn::Unfit };
            }
        };
        tracing::info!("this node keeps the read models from now on");
        self.tell(true);
        let commands = keeper.commands().clone();
        let turn = tokio::select! {
            () = leadership.lost() => Turn::Over,
            _ = keeper.ended() => Turn::Over,
            _ = stopped.recv() => Turn::Stopped,
            never = self.attend(&commands) => match never {},
        };
        self.tell(false);
        keeper.stop().await;
        leadership.release().await;
        tracing::info!("this node does not keep the read models any more");
        turn
    }

    fn tell(&self, leads: bool) {
        self.leading.send_replace(leads);
        gauge_of_lead(leads);
    }

    /// Does what any node was asked, for ever.
    async fn attend(&self, commands: &Commands) -> Infallible {
        loop {
            tokio::time::sleep(ATTEND_EVERY).await;
            if let Err(error) = self.attend_once(commands).await {
                tracing::debug!(%error, "what is asked of the projections could not be looked at");
                tokio::time::sleep(PAUSE_AFTER_ERROR).await;
            }
        }
    }

    async fn attend_once(&self, commands: &Commands) -> Result<(), ReadModelsError> {
        // Before the look: what has stopped since then is not told to try again.
        let stopped: Vec<&str> =
            self.projections.iter().map(|one| one.name()).filter(|name| self.progress.has_stopped(name)).collect();
        let positions = self.server.positions().await?;
        for projection in &self.projections {
            let name = projection.name();
            let Some(copies) = positions.get(name) else { continue };
            let wanted = copies.building.as_ref().filter(|building| building.version == projection.version());
            match wanted {
                Some(building) if commands.rebuilds.begin(projection) => {
                    self.progress.rebuild_waits(name);
                    commands.rebuilds.ready(name, building.id.clone());
                }
                wanted => {
                    let wanted = wanted.map(|building| &building.id);
                    if let Some((copy, is_gone)) = commands.rebuilds.keep_only(name, wanted) {
                        self.progress.rebuild_ended(name);
                        if is_gone {
                            self.models.give_up(&copy).await;
                        }
                    } else if !commands.rebuilds.has(name) {
                        // What another node had begun, or was asked, has ended.
                        self.note_rebuild(name, copies);
                    }
                }
            }
            if copies.version != projection.version() {
                self.progress.has_none(name);
            }
            if stopped.contains(&name) && copies.version == projection.version() && copies.checkpoint.fault.is_none() {
                let (reply, _) = oneshot::channel();
                // When it has ended, the next one tries again by itself.
                let _ = commands.live.send(Command::Resume(name, reply)).await;
            }
        }
        Ok(())
    }

    /// Notes how far the node is that keeps the read models, for ever.
    async fn look(&self) -> Infallible {
        loop {
            let pause = match self.server.positions().await {
                Ok(positions) => {
                    self.note(&positions);
                    if self.progress.is_awaited() { LOOK_EVERY_AWAITED } else { LOOK_EVERY_IDLE }
                }
                Err(error) => {
                    tracing::debug!(%error, "how far the read models are could not be looked at");
                    PAUSE_AFTER_ERROR
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.progress.awaited(), if pause == LOOK_EVERY_IDLE => {}
            }
        }
    }

    fn note(&self, positions: &Positions) {
        for projection in &self.projections {
            let name = projection.name();
            let Some(copies) = positions.get(name) else { continue };
            // One of another version is not what this build's queries are for.
            if copies.version != projection.version() {
                self.progress.has_none(name);
            } else if copies.checkpoint.fault.is_some() {
                self.progress.stopped(name, &copies.checkpoint);
            } else {
                self.progress.applied(name, copies.checkpoint.position, self.log.head());
            }
            self.note_rebuild(name, copies);
        }
    }

    fn note_rebuild(&self, name: &str, copies: &CopyPositions) {
        match (&copies.building, &copies.rebuild_failure) {
            (Some(building), _) => self.progress.rebuilding_elsewhere(name, building.position),
            (None, Some(reason)) => self.progress.rebuild_failed(name, reason.clone()),
            (None, None) => self.progress.rebuild_ended(name),
        }
    }
}
