-- Receipts, adjustments and transfers sent, each as the JSON that it is answered with. position is that of its event,
-- and the document's id. The rows may be large, so they lie apart from the key that lists and counts go by.
CREATE TABLE stock_documents (
    shop_id  INTEGER NOT NULL,
    kind     TEXT    NOT NULL,
    position INTEGER NOT NULL,
    body     TEXT    NOT NULL,
    PRIMARY KEY (shop_id, kind, position)
) STRICT;
