-- Which copies of read models there are. The tables of served ones are beside this one; those of a copy that is built
-- beside a served one have a schema of their own, until they take the others' place.

-- The log that the copies were built from: the id of its first event.
CREATE TABLE source (
    one         bigint NOT NULL PRIMARY KEY CHECK (one = 1),
    first_event uuid   NOT NULL
);

-- generation: tells a copy from every other one there ever was. version: of the code that keeps it. tables: what is
-- dropped with it. position: the last one applied; it changes in the transaction that changes the tables. fault_*:
-- where and why it stopped, if it did. rebuild_failure: of a served one, why the last copy beside it was given up.
CREATE TABLE copies (
    name            text COLLATE "C" NOT NULL,
    state           text COLLATE "C" NOT NULL CHECK (state IN ('served', 'building')),
    generation      bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    version         bigint NOT NULL,
    tables          text[] NOT NULL,
    position        bigint NOT NULL DEFAULT 0,
    fault_position  bigint,
    fault_reason    text,
    rebuild_failure text,
    PRIMARY KEY (name, state)
) WITH (fillfactor = 50);
