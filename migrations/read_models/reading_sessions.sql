-- One row for each reading session. Times are microseconds since 1970-01-01 UTC; ended_at is NULL while the session
-- is active; end_position is the last reported position;
-- recorded_at is when the log took its end, or its start while it is active.
CREATE TABLE reading_sessions (
    session_id     BLOB    NOT NULL PRIMARY KEY,
    user_id        BLOB    NOT NULL,
    book_id        BLOB    NOT NULL,
    started_at     INTEGER NOT NULL,
    ended_at       INTEGER,
    last_seen_at   INTEGER NOT NULL,
    start_position INTEGER NOT NULL,
    end_position   INTEGER NOT NULL,
    device_type    TEXT,
    timezone       TEXT    NOT NULL,
    reason         TEXT,
    client_id      BLOB,
    recorded_at    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX reading_sessions_by_reader ON reading_sessions (user_id, started_at, session_id);
CREATE INDEX reading_sessions_active ON reading_sessions (user_id) WHERE ended_at IS NULL;
CREATE INDEX reading_sessions_quiet ON reading_sessions (last_seen_at) WHERE ended_at IS NULL;
