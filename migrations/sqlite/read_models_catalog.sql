-- Which copies of read models there are, and which one of each is served. The copies are files beside this one,
-- called name.generation.sqlite3.

-- The log that the copies were built from: the id of its first event.
CREATE TABLE IF NOT EXISTS source (
    one         INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    first_event BLOB    NOT NULL
) STRICT;

-- version: of the code that the copy was built by. state: 'served'; 'building', beside the served one; 'retired',
-- kept until the copy that took over has everything.
CREATE TABLE IF NOT EXISTS copies (
    name       TEXT    NOT NULL,
    generation INTEGER NOT NULL,
    version    INTEGER NOT NULL,
    state      TEXT    NOT NULL CHECK (state IN ('served', 'building', 'retired')),
    PRIMARY KEY (name, generation)
) STRICT, WITHOUT ROWID;

-- Copies that are being built do without syncs. What the system had not written yet is lost when it goes down, and
-- such a copy is then begun anew. boot: the start of the system since which the copy has been built.
CREATE TABLE IF NOT EXISTS builds (
    name       TEXT    NOT NULL,
    generation INTEGER NOT NULL,
    boot       TEXT    NOT NULL,
    PRIMARY KEY (name, generation)
) STRICT, WITHOUT ROWID;
