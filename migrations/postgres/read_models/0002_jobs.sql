-- What is known of the jobs that the leading node runs, so that every node can show it. Times are microseconds since
-- 1970-01-01 UTC.
CREATE TABLE jobs (
    name                 text COLLATE "C" NOT NULL PRIMARY KEY,
    running_since        bigint,
    last_started_at      bigint,
    last_ended_at        bigint,
    last_succeeded_at    bigint,
    next_run_at          bigint,
    last_outcome         text,
    last_error           text,
    consecutive_failures bigint NOT NULL
) WITH (fillfactor = 50);
