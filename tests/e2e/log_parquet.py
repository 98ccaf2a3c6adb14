"""Compares an export in lines with the same export in columns: log_parquet.py LINES COLUMNS. Prints how many events."""
import datetime
import json
import sys

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

lines_file, columns_file = sys.argv[1:]
with open(lines_file, encoding="utf-8", newline="\n") as file:
    raw = file.read().split("\n")
assert raw.pop() == ""
lines = [json.loads(line) for line in raw]


def instant(text):
    return datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=datetime.timezone.utc)


def stored(line, name):
    """The JSON as it stands in the line, to the letter."""
    start = line.index(f'"{name}":') + len(name) + 3
    _, length = json.JSONDecoder().raw_decode(line[start:])
    return line[start : start + length]


# pyarrow: the schema, then every value.
parquet = pq.ParquetFile(columns_file)
schema = parquet.schema
shown = {schema.column(place).name: schema.column(place) for place in range(len(schema))}
names = "position stream category version id type schema_version data metadata occurred_at recorded_at".split()
assert list(shown) == names, list(shown)
for name, column in shown.items():
    logical, physical = column.logical_type.type, column.physical_type
    wanted = {"schema_version": ("NONE", "INT32")}
    wanted |= dict.fromkeys(("position", "version"), ("NONE", "INT64"))
    texts = ("stream", "category", "id", "type", "data", "metadata")
    wanted |= dict.fromkeys(texts, ("STRING", "BYTE_ARRAY"))
    wanted |= dict.fromkeys(("occurred_at", "recorded_at"), ("TIMESTAMP", "INT64"))
    assert (logical, physical) == wanted[name], (name, logical, physical)
    assert column.max_definition_level == 0, f"{name} may be missing"
about = {name.decode(): value.decode() for name, value in (parquet.metadata.metadata or {}).items()}
assert about["daybook.format"] == "2" and int(about["daybook.head"]) >= len(lines), about
for place in range(parquet.metadata.num_row_groups):
    group = parquet.metadata.row_group(place)
    assert group.num_rows <= 131_072
    position = group.column(0).statistics
    assert position.has_min_max and position.max - position.min + 1 >= group.num_rows and position.null_count == 0
table = parquet.read()
table.validate(full=True)
for name in ("occurred_at", "recorded_at"):
    assert table.schema.field(name).type == pa.timestamp("us", tz="UTC")
for name in texts:
    assert table.schema.field(name).type == pa.string(), table.schema
columns = {name: table.column(name).to_pylist() for name in names}
assert len(columns["position"]) == len(lines), (len(columns["position"]), len(lines))


for place, (line, text) in enumerate(zip(lines, raw)):
    row = {name: columns[name][place] for name in names}
    for name in ("position", "stream", "version", "type", "schema_version"):
        assert row[name] == line[name], (name, row, line)
    assert row["category"] == line["stream"].split("-")[0]
    assert row["id"] == line["id"]
    for name in ("data", "metadata"):
        if len(text) < 100_000:
            assert row[name] == stored(text, name), (name, row, text)
        assert json.loads(row[name]) == line[name]
    for name in ("occurred_at", "recorded_at"):
        assert row[name] == instant(line[name]), (name, row, line)

# DuckDB: types as people meet them, and the same values by another reader.
database = duckdb.connect()
database.execute("SET TimeZone = 'UTC'")
log = f"read_parquet('{columns_file}')"
types = {row[0]: row[1] for row in database.execute(f"DESCRIBE SELECT * FROM {log}").fetchall()}
assert types == {
    "position": "BIGINT", "stream": "VARCHAR", "category": "VARCHAR", "version": "BIGINT", "id": "VARCHAR",
    "type": "VARCHAR", "schema_version": "INTEGER", "data": "VARCHAR", "metadata": "VARCHAR",
    "occurred_at": "TIMESTAMP WITH TIME ZONE", "recorded_at": "TIMESTAMP WITH TIME ZONE",
}, types  # fmt: skip
rows = database.execute(
    f"SELECT position, id::VARCHAR, type, schema_version, data::VARCHAR, metadata->>'$.actor', "
    f"epoch_us(occurred_at), epoch_us(recorded_at), stream, version FROM {log} ORDER BY position"
).fetchall()
assert len(rows) == len(lines)
epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
for row, line in zip(rows, lines):
    micros = [(instant(line[name]) - epoch) // datetime.timedelta(microseconds=1) for name in ("occurred_at", "recorded_at")]
    expected = [line["position"], line["id"], line["type"], line["schema_version"], json.dumps(line["data"])]
    expected += [line["metadata"].get("actor"), *micros, line["stream"], line["version"]]
    shown_row = [*row[:4], json.dumps(json.loads(row[4])), *row[5:]]
    assert shown_row == expected, (shown_row, expected)
if lines:
    middle = lines[len(lines) // 2]["position"]
    counted = database.execute(f"SELECT count(*) FROM {log} WHERE position > {middle}").fetchone()[0]
    assert counted == sum(line["position"] > middle for line in lines)
    kind = lines[-1]["type"]
    counted = database.execute(f"SELECT count(*) FROM {log} WHERE type = '{kind}'").fetchone()[0]
    assert counted == sum(line["type"] == kind for line in lines)

    # The same filters in all three: by id, by type, by time, by what is in the JSON.
    one, since = lines[len(lines) // 2], instant(lines[len(lines) // 2]["recorded_at"])
    expected = sum(line["type"] == kind and instant(line["recorded_at"]) >= since for line in lines)
    found = database.execute(f"SELECT position FROM {log} WHERE id = '{one['id']}'").fetchall()
    assert found == [(one["position"],)], found
    query = f"SELECT count(*) FROM {log} WHERE type = ? AND recorded_at >= ?"
    assert database.execute(query, [kind, since]).fetchone()[0] == expected
    found = pq.read_table(columns_file, filters=[("id", "==", one["id"])]).column("position").to_pylist()
    assert found == [one["position"]], found
    wanted = (pc.field("type") == kind) & (pc.field("recorded_at") >= pa.scalar(since, pa.timestamp("us", tz="UTC")))
    assert pq.read_table(columns_file, filters=wanted).num_rows == expected
    frame = pl.scan_parquet(columns_file)
    found = frame.filter(pl.col("id") == one["id"]).select("position").collect()["position"].to_list()
    assert found == [one["position"]], found
    assert frame.filter((pl.col("type") == kind) & (pl.col("recorded_at") >= since)).collect().height == expected

# polars: types, and the same values by a third reader.
frame = pl.read_parquet(columns_file)
times = dict.fromkeys(("occurred_at", "recorded_at"), pl.Datetime("us", "UTC"))
numbers = {"position": pl.Int64, "version": pl.Int64, "schema_version": pl.Int32}
assert dict(frame.schema) == {name: (times | numbers | dict.fromkeys(texts, pl.String))[name] for name in names}, frame.schema
assert frame.height == len(lines)
for name in names:
    assert frame[name].to_list() == columns[name], name
if lines:
    actors = frame.select(pl.col("metadata").str.json_path_match("$.actor")).to_series().to_list()
    assert actors == [line["metadata"].get("actor") for line in lines]
print(len(lines))
