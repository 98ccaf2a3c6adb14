"""Compares an export in lines with the same export in columns: log_parquet.py LINES COLUMNS. Prints how many events."""
import datetime
import json
import sys
import uuid

import duckdb
import pyarrow as pa
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
    wanted = {"id": ("UUID", "FIXED_LEN_BYTE_ARRAY"), "schema_version": ("NONE", "INT32")}
    wanted |= dict.fromkeys(("position", "version"), ("NONE", "INT64"))
    wanted |= dict.fromkeys(("stream", "category", "type"), ("STRING", "BYTE_ARRAY"))
    wanted |= dict.fromkeys(("data", "metadata"), ("JSON", "BYTE_ARRAY"))
    wanted |= dict.fromkeys(("occurred_at", "recorded_at"), ("TIMESTAMP", "INT64"))
    assert (logical, physical) == wanted[name], (name, logical, physical)
    assert column.max_definition_level == 0, f"{name} may be missing"
about = {name.decode(): value.decode() for name, value in (parquet.metadata.metadata or {}).items()}
assert about["daybook.format"] == "1" and int(about["daybook.head"]) >= len(lines), about
for place in range(parquet.metadata.num_row_groups):
    group = parquet.metadata.row_group(place)
    assert group.num_rows <= 131_072
    position = group.column(0).statistics
    assert position.has_min_max and position.max - position.min + 1 >= group.num_rows and position.null_count == 0
table = parquet.read()
table.validate(full=True)
assert table.schema.field("occurred_at").type == pa.timestamp("us", tz="UTC")
columns = {name: table.column(name).to_pylist() for name in names}
assert len(columns["position"]) == len(lines), (len(columns["position"]), len(lines))


def as_uuid(value):
    return value if isinstance(value, uuid.UUID) else uuid.UUID(bytes=value)


def as_text(value):
    return value.decode() if isinstance(value, bytes) else value


for place, (line, text) in enumerate(zip(lines, raw)):
    row = {name: columns[name][place] for name in names}
    for name in ("position", "stream", "version", "type", "schema_version"):
        assert row[name] == line[name], (name, row, line)
    assert row["category"] == line["stream"].split("-")[0]
    assert as_uuid(row["id"]) == uuid.UUID(line["id"])
    for name in ("data", "metadata"):
        if len(text) < 100_000:
            assert as_text(row[name]) == stored(text, name), (name, row, text)
        assert json.loads(row[name]) == line[name]
    for name in ("occurred_at", "recorded_at"):
        assert row[name] == instant(line[name]), (name, row, line)

# DuckDB: types as people meet them, and the same values by another reader.
database = duckdb.connect()
database.execute("SET TimeZone = 'UTC'")
log = f"read_parquet('{columns_file}')"
types = {row[0]: row[1] for row in database.execute(f"DESCRIBE SELECT * FROM {log}").fetchall()}
assert types == {
    "position": "BIGINT", "stream": "VARCHAR", "category": "VARCHAR", "version": "BIGINT", "id": "UUID",
    "type": "VARCHAR", "schema_version": "INTEGER", "data": "JSON", "metadata": "JSON",
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
print(len(lines))
