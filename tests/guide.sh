#!/usr/bin/env bash
# Does what a guide of docs/ says, and compares what it prints with what the guide shows.
#
#   tests/guide.sh docs/write-a-projection.md …
#
# A block headed by ```LANGUAGE file=PATH is a new file, one headed by ```diff changes files: both are applied to a
# copy of the tree, which is then built. ```bash server is the server; it is started with the demo's world. All other
# ```bash blocks are run, one after the other, in one shell; a ```text block after one is what it has to print, with …
# for whatever differs from run to run. Other blocks are there to be read.
#
# DAYBOOK_BIN  the binary for guides that change nothing; one is built otherwise
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD
bin=$(realpath -m "${DAYBOOK_BIN:-target/debug/daybook}")
patience_s=60

work=$(mktemp -d)
copy=$root/target/guide/tree
server=
# Nothing of the environment that the product would read, and no way round by a proxy.
for name in "${!DAYBOOK_@}"; do [ "$name" = DAYBOOK_BIN ] || unset "$name"; done
unset RUST_LOG
export no_proxy=127.0.0.1 NO_COLOR=1
stop_server() {
    if [ -n "$server" ]; then
        kill "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
        server=
    fi
}
clean_up() {
    stop_server
    rm -rf "$work" "$root/target/guide"
}
trap clean_up EXIT
trap 'exit 1' INT TERM

fail() {
    printf '%s\n' "$@" >&2
    exit 1
}

# Every block as a file NUMBER.body, with what stands behind its ``` in NUMBER.head.
take_blocks_out() {
    mkdir "$2"
    awk -v folder="$2" '
        /^```/ && !inside { inside = 1; name = sprintf("%s/%03d", folder, ++blocks); head = name ".head"
                            print substr($0, 4) >head; close(head); printf "" >(name ".body"); next }
        /^```$/ && inside { inside = 0; close(name ".body"); next }
        inside { print >(name ".body") }
        END { exit inside }' "$1" || fail "$1: a block does not end"
}

# As git sees the tree, with what is not committed yet.
copy_tree() {
    rm -rf "$copy"
    mkdir -p "$copy"
    git ls-files -z --cached --others --exclude-standard | while IFS= read -r -d '' file; do
        if [ -e "$file" ]; then printf '%s\0' "$file"; fi
    done | tar --null --no-recursion -T - -cf - | tar -xf - -C "$copy"
}

# Changes the copy as the guide says. What has been formatted by hand only stands out here.
apply() {
    local head body path
    for head in "$1"/*.head; do
        body=${head%.head}.body
        case $(cat "$head") in
            *" file="*)
                path=$(sed 's/.* file=//' "$head")
                [ ! -e "$copy/$path" ] || fail "$path is there already"
                mkdir -p "$(dirname "$copy/$path")"
                cp "$body" "$copy/$path"
                ;;
            diff)
                # Told that no repository is above: it would take the paths for those of its root.
                (cd "$copy" && GIT_CEILING_DIRECTORIES=$root/target/guide git apply --whitespace=error "$body") ||
                    fail "this does not apply:" "$(cat "$body")"
                ;;
        esac
    done
    (cd "$copy" && cargo fmt --all --check) || fail "the guide's code is not formatted"
}

# The dependencies that are built for this tree serve the copy, too: as links, which take no time and no room. Nothing
# of the workspace itself is among them: what is compiled of the copy must not get into this tree's files.
lend_dependencies() {
    local from=$root/target/debug into=$root/target/guide/debug
    export CARGO_TARGET_DIR=$root/target/guide
    bin=$into/daybook
    rm -rf "$into"
    if [ ! -d "$from/deps" ]; then return; fi
    mkdir -p "$into/deps"
    cp -al "$from/.fingerprint" "$from/build" "$into/"
    find "$from/deps" -name 'lib*' ! -name 'libdaybook*' -exec cp -l -t "$into/deps" {} +
    rm -rf "$into"/.fingerprint/daybook* "$into"/build/daybook*
}

# In the way in which the tests are built: another choice of crates would build their dependencies with other features.
build() {
    (cd "$1" && cargo test --workspace --test crash --no-run 2>&1) | tee "$work/build.log"
    if grep -q '^warning' "$work/build.log"; then fail "it is built with warnings"; fi
}

start_server() {
    local tries=0
    : >"$work/log"
    "$bin" serve --demo --listen 127.0.0.1:0 >"$work/out" 2>"$work/log" &
    server=$!
    until base=$(sed -n 's/.*listening on \(http:[^, ]*\).*/\1/p' "$work/log") && [ -n "$base" ]; do
        tries=$((tries + 1))
        if [ "$tries" -gt $((patience_s * 20)) ] || ! kill -0 "$server" 2>/dev/null; then
            fail "the server did not start:" "$(cat "$work/log")"
        fi
        sleep 0.05
    done
}

# Whether $1 is what $2 shows; … stands for anything.
is_as_shown() {
    local pattern
    pattern=$(sed 's/[][\\*?+@!()|]/\\&/g; s/…/*/g' <<<"$2")
    # shellcheck disable=SC2053 # it is a pattern
    [[ $1 == $pattern ]]
}

# Runs the commands in one shell; after each block it says where the next one's output begins.
run_blocks() {
    local head body next script=$work/script.sh
    local -a ran=()
    printf 'set -eu\n' >"$script"
    for head in "$1"/*.head; do
        body=${head%.head}.body
        case $(cat "$head") in
            "bash server")
                grep -q 'serve --demo' "$body" || fail "the server of a guide is that of the demo"
                start_server
                ;;
            bash)
                ran+=("$body")
                {
                    printf 'exec >%q\n' "$body.said"
                    sed "s|http://127.0.0.1:8080|${base:-}|g" "$body"
                } >>"$script"
                ;;
        esac
    done
    echo "--- running ${#ran[@]} blocks"
    bash "$script" || fail "a command failed; what was said last:" "$(cd "$1" && tail -n 5 ./*.said)"
    for body in "${ran[@]}"; do
        sed 's/^/$ /' "$body"
        cat "$body.said"
        next=$(printf '%s/%03d' "$1" $((10#$(basename "$body" .body) + 1)))
        if [ -e "$next.head" ] && [ "$(cat "$next.head")" = text ]; then
            is_as_shown "$(cat "$body.said")" "$(cat "$next.body")" ||
                fail "--- this was printed, and the guide shows:" "$(cat "$next.body")"
        fi
    done
    if grep ' ERROR ' "$work/log" >&2; then fail "the server logged errors"; fi
}

follow() {
    local guide=$1 blocks folder
    blocks=$work/$(basename "$guide" .md)
    echo "=== $guide"
    take_blocks_out "$guide" "$blocks"
    if grep -qE '^diff$| file=' "$blocks"/*.head; then
        copy_tree
        apply "$blocks"
        lend_dependencies
        build "$copy"
        folder=$copy
    else
        if [ -z "${DAYBOOK_BIN:-}" ]; then build "$root"; fi
        folder=$blocks.place
        mkdir "$folder"
    fi
    (
        cd "$folder"
        PATH=$(dirname "$bin"):$PATH
        trap stop_server EXIT
        trap 'exit 1' INT TERM
        run_blocks "$blocks"
    )
}

for guide in "$@"; do
    # One after the other, each with an environment of its own.
    (trap - EXIT && follow "$guide")
done
