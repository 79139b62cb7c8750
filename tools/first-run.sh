#!/bin/sh
# Builds nabar and runs the main jobs on the fixtures, end to end: register, list, split; changes, check.
set -eu
cd "$(dirname "$0")/.."
cargo build --profile quick
nabar=target/quick/nabar
out=target/first-run
rm -rf "$out"
mkdir -p "$out"

"$nabar" build fixtures/far -o "$out/far.nabar"
"$nabar" verify "$out/far.nabar"
"$nabar" split -r "$out/far.nabar" --sender 164821000025 --date 2026-06-01 \
    --postage 8.50 --digital-cost 0.90 fixtures/far-list.csv -o "$out/split"

# The same register as a data directory with changes.
"$nabar" init "$out/far.nabar" "$out/far"
"$nabar" apply "$out/far" fixtures/changes/far.jsonl
"$nabar" check -r "$out/far" --sender 164821000025 --date 2026-06-01 fixtures/far-list.csv

echo
echo "The files, in $out/split:"
ls "$out/split"
