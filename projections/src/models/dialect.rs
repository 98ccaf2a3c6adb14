//! The tables' SQL is written once, for SQLite; here it becomes PostgreSQL's.
//!
//! What differs is the words for types, and what SQLite says after a table's last bracket. Everything else in these
//! files (keys, indexes with a condition, names in quotes) both engines read alike.

/// The statements in `sql`, for PostgreSQL. Text is kept in the order of its bytes, as SQLite keeps it.
pub(crate) fn postgres(sql: &str) -> String {
    let mut translated = String::with_capacity(sql.len() + sql.len() / 4);
    let mut left = sql;
    while let Some(first) = left.chars().next() {
        let length = match first {
            '-' if left.starts_with("--") => left.find('\n').unwrap_or(left.len()),
            '\'' | '"' => left[1..].find(first).map_or(left.len(), |end| end + 2),
            c if is_word(c) => left.find(|c| !is_word(c)).unwrap_or(left.len()),
            // What is said of the whole table does not concern PostgreSQL.
            ')' => {
                translated.push(')');
                left = without_table_options(&left[1..]);
                continue;
            }
            c => c.len_utf8(),
        };
        let (token, rest) = left.split_at(length);
        translated.push_str(match token {
            "INTEGER" => "BIGINT",
            "BLOB" => "UUID",
            "TEXT" => "TEXT COLLATE \"C\"",
            other => other,
        });
        left = rest;
    }
    translated
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// What comes after a closing bracket, without ` STRICT, WITHOUT ROWID`.
fn without_table_options(after: &str) -> &str {
    [" STRICT, WITHOUT ROWID;", " STRICT;", " WITHOUT ROWID;"]
        .iter()
        .find(|options| after.starts_with(**options))
        .map_or(after, |options| &after[options.len() - 1..])
}

#[cfg(test)]
mod tests {
    use super::postgres;

    #[test]
    fn types_and_what_is_said_of_a_table_are_translated() {
        let sql = "CREATE TABLE t (\n    id BLOB NOT NULL PRIMARY KEY,\n    n INTEGER NOT NULL,\n    \"user\" TEXT\n) STRICT, WITHOUT ROWID;\n\
                   CREATE INDEX t_n ON t (n, id) WHERE n = 1;\nCREATE TABLE s (n INTEGER) STRICT;";
        assert_eq!(
            postgres(sql),
            "CREATE TABLE t (\n    id UUID NOT NULL PRIMARY KEY,\n    n BIGINT NOT NULL,\n    \"user\" TEXT COLLATE \"C\"\n);\n\
             CREATE INDEX t_n ON t (n, id) WHERE n = 1;\nCREATE TABLE s (n BIGINT);"
        );
    }

    #[test]
    fn comments_names_and_texts_stay_as_they_are() {
        let sql = "-- INTEGER, the shop's (STRICT) TEXT\nCREATE TABLE t (\"TEXT\" INTEGER CHECK (x IN ('BLOB', 'é')), INTEGERS INTEGER);";
        assert_eq!(
            postgres(sql),
            "-- INTEGER, the shop's (STRICT) TEXT\nCREATE TABLE t (\"TEXT\" BIGINT CHECK (x IN ('BLOB', 'é')), INTEGERS BIGINT);"
        );
    }

    #[test]
    fn no_schema_of_this_build_keeps_a_word_that_only_sqlite_knows() {
        for projection in crate::all() {
            let sql = postgres(projection.schema());
            let code: String = sql.lines().filter_map(|line| line.split("--").next()).collect();
            for word in ["STRICT", "ROWID", "INTEGER", "BLOB"] {
                assert!(!code.contains(word), "{}: {word}", projection.name());
            }
            assert_eq!(code.matches("CREATE TABLE").count(), projection.tables().len());
        }
    }
}
