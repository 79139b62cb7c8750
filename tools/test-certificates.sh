#!/usr/bin/env bash
# Makes certificates for trying mutual TLS: a root, a server for localhost, and a client for each
# organisation. A number becomes serialNumber of its subject; NTRSE-5560000001 and the like become
# organizationIdentifier. For tests only: the keys are unprotected.
#   tools/test-certificates.sh DIRECTORY ORGANISATION…
set -euo pipefail
umask 077 # nabar refuses keys that others can read
if [ $# -lt 2 ]; then
    echo "usage: $0 DIRECTORY ORGANISATION…" >&2
    exit 2
fi
directory=$1
shift
mkdir -p "$directory"
cd "$directory"

key() { openssl ecparam -name prime256v1 -genkey -noout -out "$1.key"; }
sign() { # name, extensions
    openssl x509 -req -in "$1.csr" -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -extfile <(printf '%s\n' "$2") \
        -out "$1.pem" 2>/dev/null
    rm "$1.csr"
}

key ca
openssl req -x509 -new -key ca.key -subj "/CN=Test root" -days 30 -addext keyUsage=critical,keyCertSign,cRLSign -out ca.pem
key server
openssl req -new -key server.key -subj "/CN=localhost" -out server.csr
sign server "subjectAltName=DNS:localhost,IP:127.0.0.1
extendedKeyUsage=serverAuth"
for organisation; do
    case $organisation in
        NTR* | VAT*) attribute=organizationIdentifier ;;
        *) attribute=serialNumber ;;
    esac
    key "$organisation"
    openssl req -new -key "$organisation.key" -subj "/C=SE/O=Test/CN=Test/$attribute=$organisation" -out "$organisation.csr"
    sign "$organisation" "extendedKeyUsage=clientAuth"
done
echo "ca.pem, server.pem and one certificate for each of: $*"
