-- Every change of stock, and what the changes add up to.

-- One row for each line of an event that moved stock. position and line name it; reversal_of is the position of the
-- movement it takes back; counted_at is when an article was counted whose stock is put right later. Times are microseconds since 1970-01-01 UTC.
CREATE TABLE stock_movements (
    shop_id      INTEGER NOT NULL,
    article_id   INTEGER NOT NULL,
    position     INTEGER NOT NULL,
    line         INTEGER NOT NULL,
    event_id     BLOB    NOT NULL,
    type         TEXT    NOT NULL,
    delta        INTEGER NOT NULL,
    stock_before INTEGER NOT NULL,
    stock_after  INTEGER NOT NULL,
    document     TEXT    NOT NULL,
    terminal     TEXT,
    "user"       TEXT,
    occurred_at  INTEGER NOT NULL,
    recorded_at  INTEGER NOT NULL,
    reason       TEXT,
    reversal_of  INTEGER,
    other_shop   INTEGER,
    counted_at   INTEGER,
    PRIMARY KEY (shop_id, article_id, position, line)
) STRICT, WITHOUT ROWID;

-- The present stock: that of the article's last movement.
CREATE TABLE stock (
    shop_id    INTEGER NOT NULL,
    article_id INTEGER NOT NULL,
    stock      INTEGER NOT NULL,
    position   INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (shop_id, article_id)
) STRICT, WITHOUT ROWID;

-- One row for each crossing: into low stock (at or under the threshold), or below zero.
CREATE TABLE stock_alerts (
    shop_id    INTEGER NOT NULL,
    position   INTEGER NOT NULL,
    line       INTEGER NOT NULL,
    kind       TEXT    NOT NULL,
    article_id INTEGER NOT NULL,
    stock      INTEGER NOT NULL,
    threshold  INTEGER NOT NULL,
    at         INTEGER NOT NULL,
    PRIMARY KEY (shop_id, position, line, kind)
) STRICT, WITHOUT ROWID;
