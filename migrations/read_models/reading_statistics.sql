-- What ended sessions add up to. Dates and hours are those of the zone on the event; times are microseconds since
-- 1970-01-01 UTC.

-- One row for each reader and day on which a session counts. progress: of sessions that ended on the day.
CREATE TABLE reading_days (
    user_id  BLOB    NOT NULL,
    date     TEXT    NOT NULL,
    sessions INTEGER NOT NULL,
    progress INTEGER NOT NULL,
    PRIMARY KEY (user_id, date)
) STRICT, WITHOUT ROWID;

-- The counted time of each session, cut at the hours of the local clock. Sessions may overlap: queries count a time
-- that several rows of a date cover once, for the first of them in the order of the key.
CREATE TABLE reading_spans (
    user_id    BLOB    NOT NULL,
    date       TEXT    NOT NULL,
    from_at    INTEGER NOT NULL,
    started_at INTEGER NOT NULL,
    session_id BLOB    NOT NULL,
    to_at      INTEGER NOT NULL,
    hour       INTEGER NOT NULL,
    device     TEXT    NOT NULL,
    book_id    BLOB    NOT NULL,
    PRIMARY KEY (user_id, date, from_at, started_at, session_id)
) STRICT, WITHOUT ROWID;

-- One row for each reader and book. finished: a session ended at 100.
CREATE TABLE reading_books (
    user_id  BLOB    NOT NULL,
    book_id  BLOB    NOT NULL,
    sessions INTEGER NOT NULL,
    progress INTEGER NOT NULL,
    finished INTEGER NOT NULL,
    PRIMARY KEY (user_id, book_id)
) STRICT, WITHOUT ROWID;

-- One row for each reader.
CREATE TABLE reading_totals (
    user_id          BLOB    NOT NULL PRIMARY KEY,
    sessions         INTEGER NOT NULL,
    progress         INTEGER NOT NULL,
    first_started_at INTEGER NOT NULL,
    last_started_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
