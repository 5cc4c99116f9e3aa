#!/usr/bin/env bash
# Write requirements.lock from pyproject.toml, for pip users; --check fails if it is out of date.
set -euo pipefail
cd "$(dirname "$0")/.."
compile() {
    uv pip compile -q --universal --generate-hashes --no-annotate --no-header --python-version 3.11 pyproject.toml "$@"
}
if [ "${1:-}" = --check ]; then
    fresh=$(mktemp)
    trap 'rm -f "$fresh"' EXIT
    cp requirements.lock "$fresh" # the compiler keeps what is pinned and still fits
    compile -o "$fresh"
    diff -q requirements.lock "$fresh" >/dev/null || { echo "requirements.lock is out of date: run scripts/lock.sh"; exit 1; }
else
    compile -o requirements.lock
fi
