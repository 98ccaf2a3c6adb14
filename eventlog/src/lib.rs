//! The append-only log: one contract ([`Log`]), an engine behind it (an
//! embedded SQLite file, or a PostgreSQL server that several nodes share), and the way every decision takes through it
//! ([`Repository`]).
//!
//! What a log promises is written at [`Log`] and shown by the conformance suite in `eventlog/tests`, which knows no
//! engine. There is no update, no delete and no transaction to hold open: only [`Log::append`].

mod anchor;
mod append;
mod checksum;
pub mod database;
mod engine;
mod event;
mod filter;
mod finding;
mod import;
mod line;
mod log;
mod position;
mod postgres;
mod queue;
mod read;
mod repository;
mod rules;
mod sqlite;
mod stream;
mod subscription;
pub mod transfer;
mod tries;
mod verification;

use self::read::{Snapshot, StreamRead};
pub use self::{
    anchor::{Anchor, NoAnchor},
    append::{
        APPEND_EVENTS_MAX, Answer, Append, AppendError, AppendOutcome, Appended, EVENT_BYTES_MAX, EVENT_TYPE_BYTES_MAX,
        Remember, RequestKey, StoredAnswer, StreamAppend,
    },
    database::is_away,
    event::{EventRef, Metadata, NewEvent, RecordedEvent, from_micros},
    filter::Filter,
    finding::{Damage, Finding},
    import::{ImportError, ImportRefusal},
    line::{LineEncoder, LineError},
    log::Log,
    position::{Beyond, ExpectedVersion, Position, Version, reached},
    postgres::{Migrated, PostgresOptions, ServerError, migrate},
    read::{Direction, KeyLookup, Page, READ_BYTES_MAX, READ_EVENTS_MAX, ReadError, Scan},
    repository::{
        Cause, DecideError, Decided, ExecuteError, Executed, LockedStream, LookUp, Render, Repository, settle,
    },
    sqlite::{
        BackupError, FolderInUse, FolderLock, LOG_FILE, OpenError, RestoreError, Restoring, Verified, VerifyError,
        backup, check_folder, lock_folder, make_data_folder, make_private_file, restore, verify, verify_file,
    },
    stream::{STREAM_NAME_BYTES_MAX, StreamId},
};
