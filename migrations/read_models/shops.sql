-- Shops, their terminals, and what they sell. Money is in hundredths of the shop's currency.
CREATE TABLE shops (
    shop_id               INTEGER NOT NULL PRIMARY KEY,
    name                  TEXT    NOT NULL,
    currency              TEXT    NOT NULL,
    timezone              TEXT    NOT NULL,
    allow_negative_stock  INTEGER NOT NULL,
    low_stock_threshold   INTEGER NOT NULL,
    require_terminal_keys INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE terminals (
    shop_id INTEGER NOT NULL,
    serial  TEXT    NOT NULL,
    name    TEXT    NOT NULL,
    active  INTEGER NOT NULL,
    has_key INTEGER NOT NULL,
    PRIMARY KEY (shop_id, serial)
) STRICT, WITHOUT ROWID;

CREATE TABLE articles (
    shop_id    INTEGER NOT NULL,
    article_id INTEGER NOT NULL,
    name       TEXT    NOT NULL,
    code       TEXT,
    category   TEXT,
    price      INTEGER NOT NULL,
    active     INTEGER NOT NULL,
    PRIMARY KEY (shop_id, article_id)
) STRICT, WITHOUT ROWID;
