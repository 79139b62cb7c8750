#!/bin/sh
# Checks that the commands in fixtures/README.md make the committed fixtures.
set -eu
cd "$(dirname "$0")/.."
cargo build --quiet --profile quick --package nabar-generate
fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
mkdir -p "$fresh/fixtures/changes"
sed -n 's/^| .*| `\(\(far\|krr\|list\|changes\) .*\)` |$/\1/p' fixtures/README.md | while read -r arguments; do
    # The paths of the arguments are relative to the repository; here they are made in another directory.
    (cd "$fresh" && "$OLDPWD/target/quick/nabar-generate" $arguments >/dev/null)
done
for made in far krr krr-xml far-list.csv krr-list.csv changes; do
    diff -r "$fresh/fixtures/$made" "fixtures/$made"
done
echo "fixtures: as fixtures/README.md says"
