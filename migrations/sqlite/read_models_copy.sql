-- How far this copy is; changes in the transaction that changes its tables. position: the last one applied.
-- fault_*: where and why it stopped, if it did.
CREATE TABLE IF NOT EXISTS checkpoint (
    one            INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    position       INTEGER NOT NULL,
    fault_position INTEGER,
    fault_reason   TEXT
) STRICT;
