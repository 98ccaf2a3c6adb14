-- The log that the read models were built from: the id of its first event.
CREATE TABLE IF NOT EXISTS source (
    one         INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    first_event BLOB    NOT NULL
) STRICT;

-- What each projection has applied. A row changes in the transaction that changes its projection's tables.
-- checkpoint: the last position applied. fault_*: where and why it stopped, if it did.
CREATE TABLE IF NOT EXISTS projections (
    name           TEXT    NOT NULL PRIMARY KEY,
    version        INTEGER NOT NULL,
    checkpoint     INTEGER NOT NULL,
    fault_position INTEGER,
    fault_reason   TEXT
) STRICT;
