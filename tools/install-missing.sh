#!/usr/bin/env bash
# Installs Debian packages whose command is missing: install-missing.sh COMMAND=PACKAGE...
# `venv` is Python's module of that name. Services that come with a package are not left running.
set -euo pipefail

have() {
    case $1 in
    venv) python3 -c 'import ensurepip, venv' 2>/dev/null ;;
    *) PATH=$PATH:/usr/sbin command -v "$1" >/dev/null ;;
    esac
}

missing=()
for wanted in "$@"; do
    have "${wanted%%=*}" || missing+=("${wanted#*=}")
done
[ ${#missing[@]} -gt 0 ] || exit 0
if [ "$(id -u)" = 0 ]; then sudo=; else sudo=sudo; fi
$sudo apt-get update -qq
$sudo apt-get install -y -qq "${missing[@]}" >/dev/null
if [ -d /run/systemd/system ]; then
    for service in redis-server nginx nats-server; do
        case " ${missing[*]} " in
        *" $service"*) $sudo systemctl --quiet disable --now "$service" || true ;;
        esac
    done
fi
