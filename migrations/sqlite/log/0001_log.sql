-- The log of the embedded engine. Everything in `events` is written once and never again; the triggers at the
-- end make SQLite itself refuse anything else.

-- Every stream that has an event. The category is the name up to its first '-'.
CREATE TABLE streams (
    stream_id INTEGER PRIMARY KEY,
    name      TEXT NOT NULL UNIQUE
) STRICT;

-- What happens where: one row for each event type within each category. An event points at its kind, so that
-- filters by type and by category are both a set of small integers.
CREATE TABLE kinds (
    kind_id    INTEGER PRIMARY KEY,
    category   TEXT NOT NULL,
    event_type TEXT NOT NULL,
    UNIQUE (category, event_type)
) STRICT;

-- position: place in the log, from 1, gapless, in commit order. version: place in its stream, from 0, gapless.
-- occurred_at, recorded_at: microseconds since 1970-01-01 UTC. checksum: XXH3-64 of the row and of the checksum
-- of the row before it, so that a changed, missing or moved row shows. What one cause brought about shares its
-- metadata: the first event has them, the others point at it (metadata_at, a position).
CREATE TABLE events (
    position       INTEGER PRIMARY KEY,
    stream_id      INTEGER NOT NULL,
    version        INTEGER NOT NULL,
    kind_id        INTEGER NOT NULL,
    schema_version INTEGER NOT NULL,
    id             BLOB    NOT NULL,
    occurred_at    INTEGER NOT NULL,
    recorded_at    INTEGER NOT NULL,
    checksum       INTEGER NOT NULL,
    metadata       TEXT,
    metadata_at    INTEGER,
    data           TEXT    NOT NULL,
    CHECK ((metadata IS NULL) <> (metadata_at IS NULL))
) STRICT;

-- The index of a stream, one row for a run of consecutive versions at consecutive positions: an append of a
-- thousand events costs one row here.
CREATE TABLE stream_runs (
    stream_id INTEGER NOT NULL,
    version   INTEGER NOT NULL,
    position  INTEGER NOT NULL,
    count     INTEGER NOT NULL,
    PRIMARY KEY (stream_id, version)
) STRICT, WITHOUT ROWID;

-- The index of event ids, likewise in runs: consecutive ids (as 128-bit numbers) at consecutive positions.
CREATE TABLE id_runs (
    id       BLOB    NOT NULL PRIMARY KEY,
    position INTEGER NOT NULL,
    count    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Which kinds occur in which block of 1,024 positions (block 0 holds positions 1 to 1,024): a filtered read
-- skips the blocks that hold nothing for it.
CREATE TABLE kind_blocks (
    kind_id INTEGER NOT NULL,
    block   INTEGER NOT NULL,
    PRIMARY KEY (kind_id, block)
) STRICT, WITHOUT ROWID;

-- The last position and its checksum, written with every commit: a log that lost its tail does not fit it.
CREATE TABLE head (
    one      INTEGER PRIMARY KEY CHECK (one = 1),
    position INTEGER NOT NULL,
    checksum INTEGER NOT NULL
) STRICT;
INSERT INTO head VALUES (1, 0, 0);

-- The answers given to requests that carried an Idempotency-Key, committed with the events they caused.
CREATE TABLE idempotency_keys (
    caller      TEXT    NOT NULL,
    route       TEXT    NOT NULL,
    key         TEXT    NOT NULL,
    fingerprint BLOB    NOT NULL,
    status      INTEGER NOT NULL,
    body        BLOB    NOT NULL,
    position    INTEGER NOT NULL,
    created_at  INTEGER NOT NULL,
    PRIMARY KEY (caller, route, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);

-- Copies of the states of long streams, so that a start need not fold them from the first event. They can be deleted
-- at any time. next: the version of the first event that is not in the copy. checksum: XXH3-64 of shape, next and state;
-- a copy that does not fit it is not used.
CREATE TABLE snapshots (
    stream_id INTEGER NOT NULL PRIMARY KEY,
    shape     TEXT    NOT NULL,
    next      INTEGER NOT NULL,
    state     BLOB    NOT NULL,
    checksum  INTEGER NOT NULL
) STRICT;

-- For people: `SELECT * FROM log WHERE position > 1000 LIMIT 20`.
CREATE VIEW log AS
SELECT e.position, s.name AS stream, e.version, lower(hex(e.id)) AS id, k.category, k.event_type AS type,
       e.schema_version, e.data,
       coalesce(e.metadata, (SELECT m.metadata FROM events m WHERE m.position = e.metadata_at)) AS metadata,
       strftime('%Y-%m-%dT%H:%M:%fZ', e.occurred_at / 1000000.0, 'unixepoch') AS occurred_at,
       strftime('%Y-%m-%dT%H:%M:%fZ', e.recorded_at / 1000000.0, 'unixepoch') AS recorded_at
FROM events e JOIN streams s USING (stream_id) JOIN kinds k USING (kind_id);

-- For people: one stream by its index, `SELECT * FROM stream_log WHERE stream = 'book-…' ORDER BY version`.
CREATE VIEW stream_log AS
SELECT s.name AS stream, e.version, e.position, lower(hex(e.id)) AS id, k.event_type AS type,
       e.schema_version, e.data,
       coalesce(e.metadata, (SELECT m.metadata FROM events m WHERE m.position = e.metadata_at)) AS metadata,
       strftime('%Y-%m-%dT%H:%M:%fZ', e.occurred_at / 1000000.0, 'unixepoch') AS occurred_at,
       strftime('%Y-%m-%dT%H:%M:%fZ', e.recorded_at / 1000000.0, 'unixepoch') AS recorded_at
FROM streams s JOIN stream_runs r USING (stream_id)
     JOIN events e ON e.position BETWEEN r.position AND r.position + r.count - 1
     JOIN kinds k USING (kind_id);

CREATE TRIGGER events_are_never_changed BEFORE UPDATE ON events
BEGIN SELECT RAISE(ABORT, 'the log is append-only: events are never changed'); END;
CREATE TRIGGER events_are_never_deleted BEFORE DELETE ON events
BEGIN SELECT RAISE(ABORT, 'the log is append-only: events are never deleted'); END;
CREATE TRIGGER streams_are_never_changed BEFORE UPDATE ON streams
BEGIN SELECT RAISE(ABORT, 'the log is append-only: streams are never renamed'); END;
CREATE TRIGGER streams_are_never_deleted BEFORE DELETE ON streams
BEGIN SELECT RAISE(ABORT, 'the log is append-only: streams are never deleted'); END;
CREATE TRIGGER kinds_are_never_changed BEFORE UPDATE ON kinds
BEGIN SELECT RAISE(ABORT, 'the log is append-only: event types are never renamed'); END;
CREATE TRIGGER kinds_are_never_deleted BEFORE DELETE ON kinds
BEGIN SELECT RAISE(ABORT, 'the log is append-only: event types are never deleted'); END;
