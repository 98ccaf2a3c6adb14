#!/bin/sh
# Asks the running server everything that its OpenAPI document allows, and much that it does not (schemathesis from
# PyPI, in a venv under target/). Fails on a 5xx, an undocumented status or content type, a body that does not fit its
# schema, and on whatever else the checks below find.
#
#   tests/schemathesis.sh [MORE ARGUMENTS OF "schemathesis run"]
#
# DAYBOOK_BIN        the binary (target/release/daybook, else target/debug/daybook, else one is built)
# SCHEMATHESIS_SEED  another seed; EXAMPLES_MAX: examples of one operation
set -eu
cd "$(dirname "$0")/.."

version=4.32.5
venv=target/schemathesis/venv
if [ "$("$venv/bin/schemathesis" --version 2>/dev/null || true)" != "schemathesis, version $version" ]; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check "schemathesis==$version"
fi

bin=${DAYBOOK_BIN:-}
for candidate in target/release/daybook target/debug/daybook; do
    if [ -z "$bin" ] && [ -x "$candidate" ]; then bin=$candidate; fi
done
if [ -z "$bin" ]; then
    cargo build -p daybook
    bin=target/debug/daybook
fi

work=$(mktemp -d)
"$bin" serve --demo --data "$work/data" --listen 127.0.0.1:0 --rate-limit 0 >"$work/out" 2>"$work/log" &
server=$!
cleanup() {
    kill "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 1' INT TERM

tries=0
until base=$(sed -n 's/.*listening on \(http:[^, ]*\).*/\1/p' "$work/log") && [ -n "$base" ]; do
    tries=$((tries + 1))
    if [ "$tries" -gt 200 ] || ! kill -0 "$server" 2>/dev/null; then
        cat "$work/log" >&2
        exit 1
    fi
    sleep 0.05
done

# A reader who is an admin, too, and the demo shop's terminal: so that every surface lets the requests in.
token=$("$bin" token --data "$work/data" --sub 456e7890-e12b-34c5-d678-901234567890 --role admin --project 1)

# schemathesis.toml says what is checked. One worker: Python 3.11 cannot parse in two threads at once.
status=0
"$venv/bin/schemathesis" --config-file tests/schemathesis.toml run "$base/api/openapi.json" \
    --header "Authorization: Bearer $token" --header "X-Device-Serial: 0a1badae951f8473" \
    --max-examples "${EXAMPLES_MAX:-40}" --seed "${SCHEMATHESIS_SEED:-20251028}" \
    --continue-on-failure --workers 1 --request-timeout 20 --warnings off \
    "$@" || status=$?

if ! kill -0 "$server" 2>/dev/null || grep -q 'panicked' "$work/log"; then
    echo "the server panicked or is gone:" >&2
    tail -n 50 "$work/log" >&2
    exit 1
fi
if grep ' ERROR ' "$work/log" >&2; then
    echo "the server logged errors" >&2
    exit 1
fi
exit "$status"
