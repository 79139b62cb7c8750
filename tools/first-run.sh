#!/bin/sh
# Builds nabar and runs the main job on the fixtures, end to end: register, list, split.
set -eu
cd "$(dirname "$0")/.."
cargo build --release
nabar=target/release/nabar
out=target/first-run
rm -rf "$out"
mkdir -p "$out"

"$nabar" build fixtures/far -o "$out/far.nabar"
"$nabar" verify "$out/far.nabar"
"$nabar" split -r "$out/far.nabar" --sender 164821000025 --date 2026-06-01 \
    --postage 8.50 --digital-cost 0.90 fixtures/far-list.csv -o "$out/split"

echo
echo "The files, in $out/split:"
ls "$out/split"
