-- The log on a PostgreSQL server. Run with the log's schema as the search path. Everything in `events` is written once
-- and never again; the triggers at the end make PostgreSQL itself refuse anything else, from the owner too.

-- Every stream that has an event. The category is the name up to its first '-'. stream_id: the position of the
-- stream's first event, so that numbers need no sequence and are given out under the same lock as positions.
CREATE TABLE streams (
    stream_id bigint PRIMARY KEY,
    name      text COLLATE "C" NOT NULL UNIQUE
);

-- What happens where: one row for each event type within each category. An event points at its kind, so that filters by
-- type and by category are both a set of small integers. kind_id: the position of the first event of the kind.
CREATE TABLE kinds (
    kind_id    bigint PRIMARY KEY,
    category   text COLLATE "C" NOT NULL,
    event_type text COLLATE "C" NOT NULL,
    UNIQUE (category, event_type)
);

-- position: place in the log, from 1, gapless, in commit order. version: place in its stream, from 0, gapless.
-- occurred_at, recorded_at: microseconds since 1970-01-01 UTC. checksum: XXH3-64 of the event and of the checksum of the
-- event before it, so that a changed, missing or moved row shows. metadata, data: JSON, kept byte by byte as it came
-- (which jsonb would not do); the view below shows them as json.
CREATE TABLE events (
    position       bigint  PRIMARY KEY CHECK (position > 0),
    stream_id      bigint  NOT NULL,
    version        bigint  NOT NULL,
    kind_id        bigint  NOT NULL,
    occurred_at    bigint  NOT NULL,
    recorded_at    bigint  NOT NULL,
    checksum       bigint  NOT NULL,
    id             uuid    NOT NULL,
    schema_version integer NOT NULL,
    metadata       text    NOT NULL,
    data           text    NOT NULL
);
CREATE UNIQUE INDEX events_by_stream ON events (stream_id, version);
CREATE UNIQUE INDEX events_by_id ON events (id);
CREATE INDEX events_by_kind ON events (kind_id, position);

-- The end of the log. Whoever appends locks this row first and keeps it until the commit: positions are given out in
-- commit order, and without gaps.
CREATE TABLE head (
    one         boolean PRIMARY KEY CHECK (one),
    position    bigint NOT NULL,
    checksum    bigint NOT NULL,
    recorded_at bigint NOT NULL
) WITH (fillfactor = 10, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);
INSERT INTO head VALUES (true, 0, 0, 0);

-- The answers given to requests that carried an Idempotency-Key, committed with the events they caused.
CREATE TABLE idempotency_keys (
    caller      text COLLATE "C" NOT NULL,
    route       text COLLATE "C" NOT NULL,
    key         text COLLATE "C" NOT NULL,
    fingerprint bytea    NOT NULL,
    status      integer  NOT NULL,
    body        bytea    NOT NULL,
    position    bigint   NOT NULL,
    created_at  bigint   NOT NULL,
    PRIMARY KEY (caller, route, key)
);
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);

-- Copies of the states of long streams, so that a start need not fold them from the first event. They can be deleted at
-- any time. next: the version of the first event that is not in the copy.
CREATE TABLE snapshots (
    stream_id bigint PRIMARY KEY,
    shape     text   NOT NULL,
    next      bigint NOT NULL,
    state     bytea  NOT NULL
);

-- Microseconds as a time; NULL for what PostgreSQL's calendar does not hold.
CREATE FUNCTION moment(micros bigint) RETURNS timestamptz LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT CASE WHEN micros >= -210866803200000000
           THEN timestamptz 'epoch' + micros / 1000000 * interval '1 second' + micros % 1000000 * interval '1 microsecond'
           END
$$;

-- For people: `SELECT * FROM log WHERE stream = 'book-…' ORDER BY version`, `… WHERE position > 1000 LIMIT 20`.
CREATE VIEW log AS
SELECT e.position, s.name AS stream, e.version, e.id, k.category, k.event_type AS type, e.schema_version,
       e.data::json AS data, e.metadata::json AS metadata,
       moment(e.occurred_at) AS occurred_at, moment(e.recorded_at) AS recorded_at
FROM events e JOIN streams s USING (stream_id) JOIN kinds k USING (kind_id);

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the log is append-only: % of % is refused', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation';
END
$$;
CREATE TRIGGER events_are_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON events
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER streams_are_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON streams
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER kinds_are_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON kinds
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
-- Also for a session that says it is a replica.
ALTER TABLE events ENABLE ALWAYS TRIGGER events_are_append_only;
ALTER TABLE streams ENABLE ALWAYS TRIGGER streams_are_append_only;
ALTER TABLE kinds ENABLE ALWAYS TRIGGER kinds_are_append_only;

-- For analysts: they see events, not the answers to requests. Where this role may not be made, an administrator makes it
-- and grants the same.
DO $$
BEGIN
    BEGIN
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'daybook_reader') THEN
            CREATE ROLE daybook_reader NOLOGIN;
        END IF;
    EXCEPTION WHEN insufficient_privilege OR duplicate_object OR unique_violation THEN
        RAISE NOTICE 'the role daybook_reader was not created: %', SQLERRM;
    END;
    IF EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'daybook_reader') THEN
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO daybook_reader', current_schema());
        GRANT SELECT ON log, events, streams, kinds, head TO daybook_reader;
    END IF;
END
$$;
