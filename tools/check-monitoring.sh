#!/bin/sh
# Checks the alert rules in docs/monitoring with promtool: their expressions, and what raises an alarm.
set -eu
cd "$(dirname "$0")/.."
tools/install-missing.sh promtool=prometheus
promtool check rules docs/monitoring/alerts.yml
promtool test rules docs/monitoring/alerts.test.yml
