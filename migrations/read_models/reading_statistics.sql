-- What ended sessions add up to. Minutes are whole; dates and hours are those of the zone on the event.

-- One row for each reader and day on which a session counts.
CREATE TABLE reading_days (
    user_id  BLOB    NOT NULL,
    date     TEXT    NOT NULL,
    minutes  INTEGER NOT NULL,
    sessions INTEGER NOT NULL,
    progress INTEGER NOT NULL,
    PRIMARY KEY (user_id, date)
) STRICT, WITHOUT ROWID;

-- One row for each reader and book. finished: a session ended at 100.
CREATE TABLE reading_books (
    user_id  BLOB    NOT NULL,
    book_id  BLOB    NOT NULL,
    minutes  INTEGER NOT NULL,
    sessions INTEGER NOT NULL,
    progress INTEGER NOT NULL,
    finished INTEGER NOT NULL,
    PRIMARY KEY (user_id, book_id)
) STRICT, WITHOUT ROWID;

-- One row for each reader. hour_NN: minutes read between NN:00 and the next hour, by the local clock.
CREATE TABLE reading_totals (
    user_id          BLOB    NOT NULL PRIMARY KEY,
    minutes          INTEGER NOT NULL,
    sessions         INTEGER NOT NULL,
    progress         INTEGER NOT NULL,
    first_started_at INTEGER NOT NULL,
    last_started_at  INTEGER NOT NULL,
    mobile           INTEGER NOT NULL,
    tablet           INTEGER NOT NULL,
    desktop          INTEGER NOT NULL,
    unknown          INTEGER NOT NULL,
    hour_00          INTEGER NOT NULL,
    hour_01          INTEGER NOT NULL,
    hour_02          INTEGER NOT NULL,
    hour_03          INTEGER NOT NULL,
    hour_04          INTEGER NOT NULL,
    hour_05          INTEGER NOT NULL,
    hour_06          INTEGER NOT NULL,
    hour_07          INTEGER NOT NULL,
    hour_08          INTEGER NOT NULL,
    hour_09          INTEGER NOT NULL,
    hour_10          INTEGER NOT NULL,
    hour_11          INTEGER NOT NULL,
    hour_12          INTEGER NOT NULL,
    hour_13          INTEGER NOT NULL,
    hour_14          INTEGER NOT NULL,
    hour_15          INTEGER NOT NULL,
    hour_16          INTEGER NOT NULL,
    hour_17          INTEGER NOT NULL,
    hour_18          INTEGER NOT NULL,
    hour_19          INTEGER NOT NULL,
    hour_20          INTEGER NOT NULL,
    hour_21          INTEGER NOT NULL,
    hour_22          INTEGER NOT NULL,
    hour_23          INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
