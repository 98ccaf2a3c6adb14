-- Sales, and what paid ones that were not cancelled add up to. Money is in hundredths of the shop's currency; days
-- and months are those of the shop's zone on the event.

-- position: of the event that recorded the sale; it is the sale's id. lignes: JSON, as the till's API shows it.
-- timezone: the shop's when it was recorded; date: the day of the sale in that zone, which stays its day when the
-- shop's zone changes. fingerprint: of the content as the till sent it.
CREATE TABLE sales (
    position       INTEGER NOT NULL PRIMARY KEY,
    shop_id        INTEGER NOT NULL,
    numero_facture TEXT    NOT NULL,
    sold_at        INTEGER NOT NULL,
    timezone       TEXT    NOT NULL,
    montant_total  INTEGER NOT NULL,
    mode_paiement  TEXT    NOT NULL,
    paye           INTEGER NOT NULL,
    annulee        INTEGER NOT NULL,
    terminal       TEXT    NOT NULL,
    lignes         TEXT    NOT NULL,
    fingerprint    TEXT    NOT NULL,
    date           TEXT    NOT NULL
) STRICT;
CREATE UNIQUE INDEX sales_by_number ON sales (shop_id, numero_facture);
CREATE INDEX sales_by_date ON sales (shop_id, sold_at, position);

CREATE TABLE sales_days (
    shop_id INTEGER NOT NULL,
    date    TEXT    NOT NULL,
    nombre  INTEGER NOT NULL,
    montant INTEGER NOT NULL,
    PRIMARY KEY (shop_id, date)
) STRICT, WITHOUT ROWID;

CREATE TABLE sales_modes (
    shop_id       INTEGER NOT NULL,
    month         TEXT    NOT NULL,
    mode_paiement TEXT    NOT NULL,
    nombre        INTEGER NOT NULL,
    montant       INTEGER NOT NULL,
    PRIMARY KEY (shop_id, month, mode_paiement)
) STRICT, WITHOUT ROWID;

CREATE TABLE sales_articles (
    shop_id    INTEGER NOT NULL,
    month      TEXT    NOT NULL,
    article_id INTEGER NOT NULL,
    quantite   INTEGER NOT NULL,
    montant    INTEGER NOT NULL,
    PRIMARY KEY (shop_id, month, article_id)
) STRICT, WITHOUT ROWID;
