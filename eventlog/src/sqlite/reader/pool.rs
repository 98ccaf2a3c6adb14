//! A few connections that read at the same time.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::Semaphore;

use super::{ReadConnection, names::Names};
use crate::{Position, ReadError, sqlite::schema};

/// Connections that read at the same time.
const CONNECTIONS_MAX: usize = 4;

/// The connections, and what they know together.
pub(crate) struct ReadPool {
    path: PathBuf,
    free: Arc<Mutex<Vec<ReadConnection>>>,
    permits: Arc<Semaphore>,
    names: Arc<Names>,
}

impl ReadPool {
    pub(in crate::sqlite) fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            free: Arc::default(),
            permits: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
            names: Arc::default(),
        }
    }

    /// The log's head as the file has it, asked on this thread.
    pub(in crate::sqlite) fn head(&self) -> rusqlite::Result<Position> {
        let connection = schema::open_for_reading(&self.path)?;
        let head = connection.query_row("SELECT position FROM head", [], |row| row.get(0))?;
        Ok(Position::from_sql(head))
    }

    /// Runs `read` on a free connection, on a thread that may block.
    pub(crate) async fn with<R: Send + 'static>(
        &self,
        read: impl FnOnce(&ReadConnection) -> Result<R, ReadError> + Send + 'static,
    ) -> Result<R, ReadError> {
        let permits = Arc::clone(&self.permits);
        let permit = Arc::clone(&permits).acquire_owned().await.map_err(|_| ReadError::Closed)?;
        let (path, free, names) = (self.path.clone(), Arc::clone(&self.free), Arc::clone(&self.names));
        let run = move || {
            let pooled = free.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let connection = match pooled {
                Some(connection) => connection,
                None => ReadConnection { connection: schema::open_for_reading(&path)?, names },
            };
            let result = read(&connection);
            // After the log was closed the connection ends here.
            if !permits.is_closed() {
                free.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            }
            drop(permit);
            result
        };
        match tokio::task::spawn_blocking(run).await {
            Ok(result) => result,
            Err(error) => match error.try_into_panic() {
                // A bug in what the caller does with an event is the caller's.
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_cancelled) => Err(ReadError::Closed),
            },
        }
    }

    /// Refuses to read from now on; reads under way come to their end.
    pub(in crate::sqlite) fn close(&self) {
        self.permits.close();
        self.free.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
