-- What a reader told about themselves.
CREATE TABLE reader_profiles (
    user_id      BLOB NOT NULL PRIMARY KEY,
    timezone     TEXT,
    display_name TEXT
) STRICT, WITHOUT ROWID;
