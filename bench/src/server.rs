//! The whole server in this process, on a port of its own.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use axum::serve::ListenerExt;
use daybook_eventlog::Log;
use daybook_projections::{ReadModels, Runner};
use tempfile::TempDir;
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};

use super::Failed;
use daybook::{
    app::App,
    auth::{Role, TokenVerifier},
    observability::{self, Metrics},
    serve,
    settings::{Settings, Sources},
};

/// What a server logs unless told otherwise, without what it says of its start.
const LOGGED: &str = "info,daybook_projections=warn,daybook_eventlog=warn";
const TOKEN_VALID: Duration = Duration::from_hours(12);
/// How long the read models may take to catch up.
const CAUGHT_UP_MAX: Duration = Duration::from_hours(1);

/// The parts of a process that there is one of, however many servers it has had.
pub(super) struct Process(Metrics);

impl Process {
    pub(super) fn start() -> Result<Self, Failed> {
        let logged = Settings::load(&Sources { flags: [("log", LOGGED.to_owned())].into(), ..Sources::default() })?;
        observability::start_logging(&logged)?;
        Ok(Self(Metrics::start()?))
    }
}

/// A server that answers over HTTP, with everything a real one has but a rate limit.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    pub(super) app: App,
    verifier: TokenVerifier,
    runner: Runner,
    serving: JoinHandle<std::io::Result<()>>,
    stop: oneshot::Sender<()>,
    /// Goes away last.
    _folder: TempDir,
}

impl Server {
    pub(super) async fn start(process: &Process, folder: TempDir) -> Result<Self, Failed> {
        let data = folder.path().to_str().ok_or("the temporary folder's name is no text")?;
        let flags = BTreeMap::from([("data", data.to_owned()), ("rate_limit", "0".to_owned())]);
        let settings = Settings::load(&Sources { flags, ..Sources::default() })?;
        let log = Log::open(folder.path()).await?;
        let verifier = TokenVerifier::open(&settings, daybook::surfaces::reserved_prefixes())?;
        let models = ReadModels::open(folder.path()).await?;
        let runner = Runner::start(log.clone(), models.clone(), daybook_projections::all()).await?;
        let app = App::new(&settings, log, models, runner.control());
        let router = serve::router(&settings, verifier.clone(), app.clone(), process.0.clone());
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let listener = listener.tap_io(|connection| {
            // Without it the connection is slower, and the figures say so.
            let _ = connection.set_nodelay(true);
        });
        let (stop, stopped) = oneshot::channel::<()>();
        let asked = async {
            // A sender that is gone asks as well.
            let _ = stopped.await;
        };
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        let serving = tokio::spawn(axum::serve(listener, service).with_graceful_shutdown(asked).into_future());
        Ok(Self { address, app, verifier, runner, serving, stop, _folder: folder })
    }

    /// A token for `subject`.
    pub(super) fn token(&self, subject: &str, roles: &[Role]) -> Result<String, Failed> {
        Ok(self.verifier.mint(subject, roles.iter().copied().collect(), &[], TOKEN_VALID)?)
    }

    /// Waits until the read models show everything that is in the log.
    pub(super) async fn caught_up(&self) -> Result<(), Failed> {
        let names: Vec<&'static str> = daybook_projections::all().iter().map(|projection| projection.name()).collect();
        Ok(self.app.progress.reached(&names, self.app.log.head(), CAUGHT_UP_MAX).await?)
    }

    /// Ends it; its folder is removed.
    pub(super) async fn stop(self) -> Result<(), Failed> {
        // It does not mind whether it is asked or has ended by itself.
        let _ = self.stop.send(());
        self.app.streams.stop();
        self.serving.await??;
        self.runner.stop().await;
        self.app.models.close().await;
        self.app.log.close().await;
        Ok(())
    }
}
