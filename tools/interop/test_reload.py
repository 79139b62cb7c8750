"""Certificates and keys that change while a service runs, and their metrics."""

from __future__ import annotations

import json
import socket
import ssl
from pathlib import Path

import httpx
import pytest
from cryptography import x509

from operating import (
    REGISTER,
    metric,
    reachability,
    tls,
)
from running import Certificates, Service, running, wait_until
from support import SENDER, registered

RELOADED = "certificates and keys were reloaded"
STAY = "cannot reload: the credentials in this file stay as they were"


def shown(certificates: Certificates, service: Service) -> bytes:
    """The certificate that a new connection is shown."""
    with socket.create_connection(("127.0.0.1", service.port), 10) as raw:
        with certificates.context().wrap_socket(raw, server_hostname="localhost") as stream:
            return stream.getpeercert(True) or b""


def der(certificates: Certificates, name: str) -> bytes:
    return ssl.PEM_cert_to_DER_cert(certificates.file(f"{name}.pem").read_text())


def reload(service: Service) -> None:
    """Reloads now, so that the next periodic check is as late as possible."""
    before = service.count(RELOADED)
    service.hang_up()
    wait_until(lambda: service.count(RELOADED) > before)


@pytest.mark.parametrize("at_once", [False, True])
def test_a_new_certificate_is_shown_to_new_connections(
    tmp_path: Path, certificates: Certificates, at_once: bool
) -> None:
    certificates.make_server("new", days=10)
    with running(tmp_path, REGISTER + tls(False)) as service, certificates.client(service) as http:
        port = connection(http)
        assert shown(certificates, service) == der(certificates, "server")
        new = der(certificates, "new")
        if at_once:
            reload(service)
        certificates.replace("server", "new")
        if at_once:
            service.hang_up()
        wait_until(lambda: shown(certificates, service) == new, 1.5 if at_once else 8)
        assert connection(http) == port, "the open connection goes on"
        assert service.process.poll() is None


def connection(http: httpx.Client) -> int:
    """The client's port of the connection that answers."""
    with http.stream("GET", "/healthz") as response:
        assert response.read() == b"ok\n"
        stream = response.extensions["network_stream"]
        return int(stream.get_extra_info("client_addr")[1])


@pytest.mark.parametrize("text", [b"", b"no certificate", None])
@pytest.mark.parametrize("file", ["server.pem", "server.key", "ca.pem"])
def test_a_broken_file_keeps_the_earlier_certificate(
    tmp_path: Path, certificates: Certificates, file: str, text: bytes | None
) -> None:
    certificates.make_server("new")
    good = der(certificates, "server")
    with running(tmp_path, REGISTER + tls(True)) as service:
        kept, path = certificates.context(SENDER), certificates.file(file)
        whole = path.read_bytes()
        path.unlink() if text is None else path.write_bytes(text)
        (row, *_) = wait_until(lambda: [row for row in service.logged() if row["level"] == "ERROR"])
        assert row["message"] == STAY and file in row["error"]
        with httpx.Client(base_url=service.address, verify=kept, trust_env=False) as http:
            assert reachability(http, registered()[:2]).status_code == 200
        path.write_bytes(whole)
        wait_until(lambda: service.count(RELOADED))
        certificates.replace("server", "new")
        new = der(certificates, "server")
        assert new != good
        context = certificates.context(SENDER)

        def now_shown() -> bytes | None:
            with socket.create_connection(("127.0.0.1", service.port), 10) as raw:
                with context.wrap_socket(raw, server_hostname="localhost") as stream:
                    return stream.getpeercert(True)

        wait_until(lambda: now_shown() == new)


def test_a_key_of_another_certificate_keeps_the_earlier_one(tmp_path: Path, certificates: Certificates) -> None:
    certificates.make_server("new")
    with running(tmp_path, REGISTER + tls(False)) as service:
        good = der(certificates, "server")
        certificates.file("new.key").rename(certificates.file("server.key"))
        wait_until(lambda: service.count(STAY))
        assert shown(certificates, service) == good
        certificates.file("new.pem").rename(certificates.file("server.pem"))
        new = der(certificates, "server")
        wait_until(lambda: shown(certificates, service) == new)


def test_a_removed_root_admits_no_client(tmp_path: Path, certificates: Certificates) -> None:
    other = Certificates(tmp_path / "other", SENDER)
    with running(tmp_path, REGISTER + tls(True)) as service:
        old = certificates.context(SENDER)
        new = certificates.context()
        new.load_cert_chain(other.file(f"{SENDER}.pem"), other.file(f"{SENDER}.key"))

        def let_in(context: ssl.SSLContext) -> bool:
            with httpx.Client(base_url=service.address, verify=context, trust_env=False) as http:
                try:
                    return reachability(http, registered()[:1]).status_code == 200
                except httpx.TransportError:
                    return False

        assert let_in(old) and not let_in(new)
        certificates.file("ca.pem").write_bytes(other.file("ca.pem").read_bytes())
        service.hang_up()
        wait_until(lambda: let_in(new))
        assert not let_in(old)


def test_broken_keys_for_tokens_do_not_keep_an_old_certificate(tmp_path: Path, certificates: Certificates) -> None:
    """The issuer of tokens may be unreachable when a certificate is renewed."""
    keys = tmp_path / "jwks.json"
    keys.write_text(json.dumps({"keys": [{"kty": "EC", "crv": "P-256", "kid": "a", "x": "A" * 43, "y": "A" * 43}]}))
    certificates.make_server("new")
    tokens = '[tokens]\nissuer = "i"\naudience = "a"\nalgorithms = ["ES256"]\njwks = "jwks.json"\n'
    with running(tmp_path, REGISTER + tls(False) + tokens) as service:
        keys.write_text("{")
        wait_until(lambda: service.count(STAY))
        certificates.replace("server", "new")
        new = der(certificates, "server")
        wait_until(lambda: shown(certificates, service) == new, 6)


def test_metrics_have_the_expiry_of_certificates(tmp_path: Path, certificates: Certificates) -> None:
    def end(name: str) -> float:
        return x509.load_der_x509_certificate(der(certificates, name)).not_valid_after_utc.timestamp()

    certificates.make_server("new", days=300)

    def name(file: str) -> str:
        return f'nabar_certificate_expiry_seconds{{file="{certificates.file(file)}"}}'

    with running(tmp_path, REGISTER + tls(True)) as service:
        with certificates.client(service, SENDER) as http:
            assert metric(http, name("server.pem")) == end("server")
            assert metric(http, name("ca.pem")) == end("ca")
            certificates.replace("server", "new")
            service.hang_up()
            wait_until(lambda: metric(http, name("server.pem")) == end("server"))


def test_metrics_distinguish_two_files_with_the_same_name(tmp_path: Path, certificates: Certificates) -> None:
    (tmp_path / "ca").mkdir()
    (tmp_path / "ca/server.pem").write_bytes(certificates.file("ca.pem").read_bytes())
    with running(tmp_path, REGISTER + tls(True).replace("c/ca.pem", "ca/server.pem")) as service:
        with certificates.client(service, SENDER) as http:
            assert http.get("/metrics").text.count("\nnabar_certificate_expiry_seconds{") == 2
