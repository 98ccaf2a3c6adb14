-- One row for each book; a shared one can be read by everybody.
CREATE TABLE books (
    book_id     BLOB    NOT NULL PRIMARY KEY,
    owner       BLOB    NOT NULL,
    title       TEXT    NOT NULL,
    total_pages INTEGER,
    shared      INTEGER NOT NULL,
    created_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX books_by_owner ON books (owner, created_at, book_id);
CREATE INDEX books_shared ON books (created_at, book_id) WHERE shared = 1;
