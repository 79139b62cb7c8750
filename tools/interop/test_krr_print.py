"""The print service of KRR's contract, which is configured, and the newer names of scopes."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from norwegian import CONTENT_TYPE, MESSAGES, REST, SOAP_PATH
from operating import problem
from running import Certificates, running
from soap import SOAP12, envelope, payload
from support import KRR, NABAR
from tokens import ALWAYS, BOTH, CONTACT, MAILBOX, OF_CONTACT, OF_MAILBOX, RSA, bearer, config, jwk, token, write_keys

PATH = "/rest/v2/printSertifikat"
OPERATOR = "987464291"
SUPPLIERS = {CONTACT: "krr:global/kontaktinfo.read", MAILBOX: "krr:global/postkasse.read"}
FEED = "krr:global/hentendring.read"


@pytest.fixture
def certificate(certificates: Certificates) -> Path:
    return certificates.directory / "server.pem"


@contextmanager
def configured(directory: Path, certificate: Path) -> Iterator[httpx.Client]:
    write_keys(directory / "jwks.json", jwk(RSA, "rsa"))
    table = f'[krr]\nprint_mailbox_operator = "{OPERATOR}"\nprint_certificate = "{certificate}"\n'
    with running(directory, config(directory / "jwks.json", None, table)) as service:
        with httpx.Client(base_url=service.address, trust_env=False, timeout=30) as client:
            yield client


def test_the_print_service_is_that_of_the_configuration(tmp_path: Path, certificate: Path) -> None:
    expected = x509.load_pem_x509_certificate(certificate.read_bytes()).public_bytes(Encoding.DER)
    with configured(tmp_path, certificate) as http:
        for scope in (CONTACT, MAILBOX, BOTH, *SUPPLIERS.values()):
            answer = http.get(f"/no{PATH}", headers=bearer(token(scope=scope)))
            assert answer.status_code == 200
            found = answer.json()
            assert found.keys() == {"postkasseleverandoerAdresse", "x509Sertifikat"}
            assert found["postkasseleverandoerAdresse"] == OPERATOR
            assert base64.b64decode(found["x509Sertifikat"], validate=True) == expected
        problem(http.get(f"/no{PATH}"), 401)
        for scope in ("openid", FEED):
            problem(http.get(f"/no{PATH}", headers=bearer(token(scope=scope))), 403)
        problem(http.get(f"/se{PATH}", headers=bearer(token(scope=BOTH))), 404)
        asked = envelope(f'<HentPrintSertifikatForespoersel xmlns="{MESSAGES}"/>', soap=SOAP12)
        headers = {"Content-Type": CONTENT_TYPE, **bearer(token(scope=BOTH))}
        answer = http.post(f"/no{SOAP_PATH}", content=asked, headers=headers)
        assert answer.status_code == 200, answer.text
        parts = {node.tag.rpartition("}")[2]: node.text for node in payload(answer.content, SOAP12)}
        assert parts == {"postkasseleverandoerAdresse": OPERATOR, "X509Sertifikat": found["x509Sertifikat"]}


def test_without_a_print_service_the_answer_says_so(krr: str, http: httpx.Client) -> None:
    answer = http.get(f"{krr}{PATH}")
    problem(answer, 404)
    assert "print_certificate" in answer.json()["detail"]


def test_a_bad_certificate_is_reported_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "print.pem").write_text("no certificate")
    (tmp_path / "nabar.toml").write_text(
        f'[[register]]\npath = "{KRR}"\n'
        f'[krr]\nprint_mailbox_operator = "{OPERATOR}"\nprint_certificate = "print.pem"\n'
    )
    command = [NABAR, "serve", "--config", str(tmp_path / "nabar.toml"), "--listen", "127.0.0.1:0"]
    ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30)
    assert ended.returncode != 0 and "print_certificate" in ended.stderr and "print.pem" in ended.stderr


def test_the_scopes_of_suppliers_open_the_same_fields(tmp_path: Path, certificate: Path) -> None:
    with configured(tmp_path, certificate) as http:

        def feed(scope: str) -> list[dict[str, object]]:
            answer = http.post(f"/no{REST}", json={"fraEndringsId": 0}, headers=bearer(token(scope=scope)))
            assert answer.status_code == 200, answer.text
            found: list[dict[str, object]] = answer.json()["list"]
            return found

        for scope, newer in SUPPLIERS.items():
            assert feed(newer) == feed(scope)
        everything = feed(" ".join(SUPPLIERS.values()))
        assert everything == feed(BOTH)
        assert any(person.keys() & OF_CONTACT for person in everything)
        assert any(person.keys() & OF_MAILBOX for person in everything)
        # The scope of the feed opens no field.
        alone = feed(FEED)
        assert alone == [{name: row[name] for name in row if name in ALWAYS} for row in everything]
        ids = {"personidentifikatorer": [everything[0]["personidentifikator"]]}
        problem(http.post("/no/rest/v2/personer", json=ids, headers=bearer(token(scope=FEED))), 403)
