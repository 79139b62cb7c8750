"""Authorities of client certificates: which organisation a certificate names, and whether it is revoked."""

from __future__ import annotations

import datetime
import json
import socket
import ssl
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from operating import REGISTER, metric, reachability, tls
from running import Certificates, Service, running, wait_until
from support import NABAR, SENDER, START_SECONDS, registered

Name = Sequence[x509.NameAttribute[str] | Sequence[x509.NameAttribute[str]]]

NORWEGIAN = "991825827"
PERSON = "196810199809"
NO_NAME = "the client certificate names no organisation"
STAY = "cannot reload: the credentials in this file stay as they were"
EXPIRED = "a certificate revocation list has expired: clients that it covers are refused until the file is replaced"


def serial(value: str) -> x509.NameAttribute[str]:
    return x509.NameAttribute(NameOID.SERIAL_NUMBER, value)


def identifier(value: str, kind: _ASN1Type | None = None) -> x509.NameAttribute[str]:
    return x509.NameAttribute(NameOID.ORGANIZATION_IDENTIFIER, value, _type=kind)


def now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


class Authority:
    """Another root in a directory of certificates, its clients, and its revocation lists."""

    def __init__(self, certificates: Certificates, name: str) -> None:
        self.certificates, self.name = certificates, name
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Root {name}")])
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        extensions: list[tuple[x509.ExtensionType, bool]] = [(x509.BasicConstraints(True, None), True), (usage, True)]
        self._write(name, self.key, self._sign(self.subject, self.key, extensions))

    def _sign(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        extensions: Sequence[tuple[x509.ExtensionType, bool]],
        number: int | None = None,
    ) -> x509.Certificate:
        builder = x509.CertificateBuilder(self.subject, subject, key.public_key(), number or x509.random_serial_number())
        builder = builder.not_valid_before(now() - datetime.timedelta(hours=1))
        builder = builder.not_valid_after(now() + datetime.timedelta(days=30))
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        return builder.sign(self.key, hashes.SHA256())

    def _write(self, name: str, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
        pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        self.certificates.file(f"{name}.pem").write_bytes(certificate.public_bytes(pem))
        self.certificates.file(f"{name}.key").write_bytes(
            key.private_bytes(pem, form, serialization.NoEncryption())
        )

    def client(self, name: str, subject: Name, number: int | None = None) -> str:
        """A client whose subject has each attribute, or group of them, in a relative distinguished name."""
        groups = [[part] if isinstance(part, x509.NameAttribute) else list(part) for part in subject]
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
        given = x509.Name([x509.RelativeDistinguishedName(group) for group in groups])
        key = ec.generate_private_key(ec.SECP256R1())
        self._write(name, key, self._sign(given, key, [(usage, False)], number))
        return name

    def list(self, seconds: float, *revoked: int, der: bool = False, numbered: bool = True) -> bytes:
        """A revocation list that ends some seconds from now."""
        end = now() + datetime.timedelta(seconds=seconds)
        start = min(now(), end) - datetime.timedelta(seconds=1)
        builder = x509.CertificateRevocationListBuilder(self.subject, start, end)
        if numbered:
            builder = builder.add_extension(x509.CRLNumber(1), critical=False)
        for number in revoked:
            entry = x509.RevokedCertificateBuilder(number, start).build()
            builder = builder.add_revoked_certificate(entry)
        encoding = serialization.Encoding.DER if der else serialization.Encoding.PEM
        return builder.sign(self.key, hashes.SHA256()).public_bytes(encoding)


def authority(name: str, *attributes: str, more: str = "") -> str:
    believed = f"organisation_from = {json.dumps(attributes)}\n" if attributes else ""
    return f'[[tls.client_authority]]\nca = "c/{name}.pem"\n{believed}{more}\n'


BOTH = [serial(SENDER[2:]), identifier(f"NTRSE-{SENDER[2:]}")]
DIFFERENT = [serial(SENDER), identifier(f"NTRNO-{NORWEGIAN}")]
EMPLOYEE = [serial(f"PNOSE-{PERSON}"), identifier(f"NTRSE-{SENDER[2:]}")]
REPEATED = "more than one serialNumber"
DISAGREE = "name different organisations"
MISSING = "no attribute that organisation_from lists"
NOT_ONE = "serialNumber in its subject is not the number of an organisation"

ORGANISATIONS: dict[str, tuple[str, Name, str]] = {
    # Accepted attributes; the subject; the caller.
    "serial number": ("both", [serial(SENDER)], SENDER),
    "Swedish identifier": ("both", [identifier(f"NTRSE-{SENDER[2:]}")], SENDER),
    "Swedish identifier with a hyphen": ("both", [identifier(f"NTRSE-{SENDER[2:8]}-{SENDER[8:]}")], SENDER),
    "Swedish VAT number": ("both", [identifier(f"VATSE-{SENDER[2:]}01")], SENDER),
    "Norwegian identifier": ("both", [identifier(f"NTRNO-{NORWEGIAN}")], NORWEGIAN),
    "Norwegian VAT number": ("both", [identifier(f"VATNO-{NORWEGIAN}MVA")], NORWEGIAN),
    "BMPString": ("both", [identifier(f"NTRNO-{NORWEGIAN}", _ASN1Type.BMPString)], NORWEGIAN),
    "UniversalString": ("both", [identifier(f"NTRNO-{NORWEGIAN}", _ASN1Type.UniversalString)], NORWEGIAN),
    "T61String": ("both", [identifier(f"NTRNO-{NORWEGIAN}", _ASN1Type.T61String)], NORWEGIAN),
    "both agree": ("both", BOTH, SENDER),
    "both agree in one group": ("both", [BOTH], SENDER),
    "only the serial number is believed": ("serials", DIFFERENT, SENDER),
    "only the identifier is believed": ("identifiers", DIFFERENT, NORWEGIAN),
    "an employee of an organisation": ("identifiers", EMPLOYEE, SENDER),
}
NO_ORGANISATION: dict[str, tuple[str, Name, str]] = {
    # Accepted attributes; the subject; the reason in the log.
    "disagree": ("both", DIFFERENT, DISAGREE),
    "disagree in one group": ("both", [DIFFERENT], DISAGREE),
    "two serial numbers": ("both", [serial(SENDER), serial(SENDER)], REPEATED),
    "two in one group": ("both", [[serial(SENDER), serial(NORWEGIAN)]], REPEATED),
    "two where one is believed": ("serials", [serial(SENDER), serial(SENDER)], REPEATED),
    "serial number is not believed": ("identifiers", [serial(SENDER)], MISSING),
    "identifier is not believed": ("serials", [identifier(f"NTRSE-{SENDER[2:]}")], MISSING),
    "person": ("both", [serial(PERSON)], NOT_ONE),
    "employee": ("both", EMPLOYEE, NOT_ONE),
    "sole trader": ("both", [identifier(f"NTRSE-{PERSON[2:]}")], "organizationIdentifier in its subject is not"),
    "another country": ("both", [identifier(f"NTRNO-{SENDER[2:]}")], "organizationIdentifier in its subject is not"),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    certificates = Certificates(tmp_path_factory.mktemp("authorities") / "c", SENDER, f"NTRNO-{NORWEGIAN}")
    authorities = {name: Authority(certificates, name) for name in ("both", "serials", "identifiers")}
    for name, (root, subject, _) in {**ORGANISATIONS, **NO_ORGANISATION}.items():
        authorities[root].client(name, subject)
    return certificates


@pytest.fixture(scope="module")
def service(made: Certificates) -> Iterator[Service]:
    """`client_ca` beside three authorities, and an audit log."""
    listed = authority("both") + authority("serials", "serialNumber")
    listed += authority("identifiers", "organizationIdentifier")
    with running(made.directory.parent, REGISTER + tls(True) + listed + '[audit]\npath = "audit"\n') as service:
        yield service


def callers(made: Certificates) -> list[str | None]:
    return [json.loads(line).get("caller") for line in (made.directory.parent / "audit").read_text().splitlines()]


@pytest.mark.parametrize("name", ORGANISATIONS)
def test_a_certificate_names_its_organisation(made: Certificates, service: Service, name: str) -> None:
    _, _, organisation = ORGANISATIONS[name]
    with made.client(service, name) as client:
        assert client.get("/v1/senders").status_code == 200
        assert callers(made)[-1] == organisation
        assert reachability(client, registered()[:2]).status_code == (200 if organisation == SENDER else 403)


@pytest.mark.parametrize("name", NO_ORGANISATION)
def test_a_certificate_that_names_no_organisation_is_refused(made: Certificates, service: Service, name: str) -> None:
    _, _, reason = NO_ORGANISATION[name]
    before = service.count(NO_NAME)
    with made.client(service, name) as client:
        for _ in range(2):
            assert client.get("/v1/senders").status_code == 401
            assert reachability(client, registered()[:2]).status_code == 401
        assert client.get("/healthz").status_code == 200
    (row,) = [row for row in service.logged() if row["message"] == NO_NAME][before:]
    assert reason in row["reason"] and row["level"] == "INFO", row
    log = service.log.read_text() + (made.directory.parent / "audit").read_text()
    assert PERSON[2:] not in log


@pytest.mark.parametrize(("name", "organisation"), [(SENDER, SENDER), (f"NTRNO-{NORWEGIAN}", NORWEGIAN)])
def test_client_ca_counts_beside_other_authorities(
    made: Certificates, service: Service, name: str, organisation: str
) -> None:
    with made.client(service, name) as client:
        assert client.get("/v1/senders").status_code == 200
        assert callers(made)[-1] == organisation


def test_certificates_of_other_roots_are_refused(made: Certificates, service: Service) -> None:
    """Even if the root has the name of one that is accepted."""
    stranger = Authority(Certificates(made.directory.parent / "other", SENDER), "both")
    stranger.client("stranger", [serial(SENDER)])
    context = made.context()
    context.load_cert_chain(stranger.certificates.file("stranger.pem"), stranger.certificates.file("stranger.key"))
    with httpx.Client(base_url=service.address, verify=context, trust_env=False) as client:
        with pytest.raises(httpx.TransportError):
            client.get("/healthz")


def failed_start(directory: Path, config: str) -> tuple[int, str]:
    """Exit code and messages of a service that cannot start."""
    (directory / "nabar.toml").write_text(config)
    command = [NABAR, "serve", "--config", str(directory / "nabar.toml"), "--listen", "127.0.0.1:0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=START_SECONDS)
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (tls(False) + authority("ca", "commonName"), ["commonName", "serialNumber", "organizationIdentifier"]),
        (tls(False) + '[[tls.client_authority]]\nca = "c/ca.pem"\norganisation_from = []\n', ["must list"]),
        (tls(False) + "[[tls.client_authority]]\n", ["ca"]),
        (tls(False) + authority("ca", more='crls = ["x"]'), ["crls", "crl"]),
        (tls(False) + 'client_crl = ["x"]\n', ["client_crl without tls.client_ca"]),
        (tls(False) + "client_optional = true\n", ["client_optional without"]),
    ],
)
def test_a_configuration_that_is_wrong_is_refused(tmp_path: Path, config: str, words: list[str]) -> None:
    code, text = failed_start(tmp_path, REGISTER + config)
    assert code == 2 and all(word in text for word in words), text


def test_files_of_authorities_that_cannot_be_used_are_reported(tmp_path: Path, certificates: Certificates) -> None:
    (tmp_path / "none.crl").write_bytes(b"")
    (tmp_path / "forged.crl").write_bytes(Authority(certificates, "root").list(1000))
    (tmp_path / "old.crl").write_bytes(Authority(certificates, "root").list(1000, numbered=False))
    for config, finding in [
        (authority("root", more='crl = ["none.crl"]'), "none.crl: it contains no certificate revocation list"),
        (authority("root", more='crl = ["missing.crl"]'), "missing.crl: "),
        (authority("root", more='crl = ["forged.crl"]'), "forged.crl: its signature is not by the key"),
        (authority("root", more='crl = ["old.crl"]'), "old.crl: provided CRL could not be parsed"),
        (authority("root", "serialNumber") + authority("root"), "another client authority in nabar.toml also has"),
        (authority("ca"), "another client authority in nabar.toml also has"),
    ]:
        code, text = failed_start(tmp_path, REGISTER + tls(True) + config)
        assert code == 1 and finding in text, text


def let_in(service: Service, context: ssl.SSLContext) -> bool:
    with httpx.Client(base_url=service.address, verify=context, trust_env=False) as http:
        try:
            return reachability(http, registered()[:1]).status_code == 200
        except httpx.TransportError:
            return False


@pytest.fixture
def revocation(certificates: Certificates) -> Authority:
    """An authority with the clients `first` and `second`, whose certificates have the numbers 1 and 2."""
    root = Authority(certificates, "root")
    for number, name in enumerate(("first", "second"), 1):
        root.client(name, [serial(SENDER)], number)
    return root


LIST = authority("root", more='crl = ["the.crl"]')
"""An authority with a revocation list."""


def refusals(service: Service, text: str) -> int:
    return sum(row["message"] == "no TLS handshake" and text in row["error"] for row in service.logged())


@pytest.mark.parametrize("der", [False, True])
@pytest.mark.parametrize("at_once", [False, True])
def test_a_list_that_is_replaced_takes_effect(
    tmp_path: Path, certificates: Certificates, revocation: Authority, der: bool, at_once: bool
) -> None:
    file = tmp_path / "the.crl"
    file.write_bytes(revocation.list(1000, 1, der=der))
    first, second = certificates.context("first"), certificates.context("second")
    with running(tmp_path, REGISTER + tls(True) + LIST) as service:
        assert not let_in(service, first) and let_in(service, second)
        wait_until(lambda: refusals(service, "Revoked"))
        assert let_in(service, certificates.context(SENDER)), "its authority has no list"
        file.write_bytes(revocation.list(1000, 2, der=not der))
        if at_once:
            service.hang_up()
        wait_until(lambda: not let_in(service, second))
        assert let_in(service, first)


def test_a_revoked_client_loses_its_open_connection(
    tmp_path: Path, certificates: Certificates, revocation: Authority
) -> None:
    """Although the list of another authority is broken at the same time."""
    other = Authority(certificates, "other")
    other.client("third", [serial(SENDER)], 3)
    (tmp_path / "the.crl").write_bytes(revocation.list(1000, 1))
    (tmp_path / "other.crl").write_bytes(other.list(1000, 4))
    lists = LIST + authority("other", more='crl = ["other.crl"]')
    with running(tmp_path, REGISTER + tls(True) + lists) as service:
        with certificates.client(service, "second") as http, certificates.client(service, "third") as kept:
            assert http.get("/v1/senders").status_code == 200
            assert kept.get("/v1/senders").status_code == 200
            (tmp_path / "other.crl").write_bytes(b"")
            (tmp_path / "the.crl").write_bytes(revocation.list(1000, 2))
            service.hang_up()
            replies: list[httpx.Response] = []

            def closed() -> bool:
                replies.append(http.get("/v1/senders"))
                return replies[-1].status_code == 401

            wait_until(closed)
            assert replies[-1].json()["type"] == "urn:nabar:problem:bad-certificate"
            assert replies[-1].headers["connection"] == "close"
            assert {reply.status_code for reply in replies[:-1]} <= {200}
            with pytest.raises(httpx.TransportError):
                http.get("/v1/senders")
            assert kept.get("/v1/senders").status_code == 200
            assert let_in(service, certificates.context("third")), "the old list of its authority is in force"
        (row,) = [row for row in service.logged() if row["message"] == "not authenticated"]
        assert "no longer valid" in row["reason"] and "Revoked" in row["reason"]
        # The file is seen empty, too, if it is read while the test writes it.
        errors = [row for row in service.logged() if row["level"] == "ERROR"]
        assert {row["message"] for row in errors} == {STAY}
        assert any("other.crl" in row["error"] for row in errors)


def test_client_crl_is_the_list_of_client_ca(tmp_path: Path, certificates: Certificates, revocation: Authority) -> None:
    (tmp_path / "the.crl").write_bytes(revocation.list(1000, 1))
    config = tls(True).replace("ca.pem", "root.pem") + 'client_crl = ["the.crl"]\n'
    with running(tmp_path, REGISTER + config) as service:
        assert not let_in(service, certificates.context("first"))
        assert let_in(service, certificates.context("second"))


def test_a_client_that_no_list_covers_is_refused(
    tmp_path: Path, certificates: Certificates, revocation: Authority
) -> None:
    """The list is of another authority than the clients."""
    (tmp_path / "the.crl").write_bytes(Authority(certificates, "other").list(1000))
    with running(tmp_path, REGISTER + tls(True) + LIST) as service:
        assert not let_in(service, certificates.context("second"))
        wait_until(lambda: refusals(service, "UnknownRevocationStatus"))


@pytest.mark.parametrize("broken", ["empty", "cut", "forged", "gone"])
def test_a_broken_list_leaves_the_old_one_in_force(
    tmp_path: Path, certificates: Certificates, revocation: Authority, broken: str
) -> None:
    file = tmp_path / "the.crl"
    file.write_bytes(revocation.list(1000, 1, der=True))
    first, second = certificates.context("first"), certificates.context("second")
    with running(tmp_path, REGISTER + tls(True) + LIST) as service:
        match broken:
            case "empty":
                file.write_bytes(b"")
            case "cut":
                file.write_bytes(revocation.list(1000, 2, der=True)[:-5])
            case "forged":
                file.write_bytes(Authority(Certificates(tmp_path / "other", SENDER), "root").list(1000, 2))
            case _:
                file.unlink()
        (row, *_) = wait_until(lambda: [row for row in service.logged() if row["level"] == "ERROR"])
        assert row["message"] == STAY and "the.crl" in row["error"]
        assert not let_in(service, first) and let_in(service, second)
        file.write_bytes(revocation.list(1000, 2))
        wait_until(lambda: let_in(service, first))
        assert not let_in(service, second)


def test_an_expired_list_refuses_until_it_is_replaced(
    tmp_path: Path, certificates: Certificates, revocation: Authority
) -> None:
    file = tmp_path / "the.crl"
    file.write_bytes(revocation.list(-60, 1))
    name = f'nabar_crl_next_update_seconds{{file="{file}"}}'
    second, other = certificates.context("second"), certificates.context(SENDER)
    with running(tmp_path, REGISTER + tls(True) + LIST) as service:
        assert not let_in(service, second) and let_in(service, other)
        wait_until(lambda: refusals(service, "certificate revocation list expired"))
        (row,) = [row for row in service.logged() if row["message"].startswith(EXPIRED)]
        assert row["level"] == "WARN" and row["file"] == str(file)
        file.write_bytes(revocation.list(1000, 1))
        wait_until(lambda: let_in(service, second))
        end = x509.load_pem_x509_crl(file.read_bytes()).next_update_utc
        assert end
        with certificates.client(service, "second") as http:
            assert metric(http, name) == end.timestamp()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_session_is_not_resumed_beyond_the_end_of_a_list(
    tmp_path: Path, certificates: Certificates, revocation: Authority, version: ssl.TLSVersion
) -> None:
    context = certificates.context("second")
    context.minimum_version = context.maximum_version = version
    head = b"GET /v1/senders HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    session: ssl.SSLSession | None = None

    def resume() -> bytes:
        nonlocal session
        with socket.create_connection(("127.0.0.1", service.port), 10) as raw:
            try:
                with context.wrap_socket(raw, server_hostname="localhost", session=session) as stream:
                    stream.sendall(head)
                    text = b""
                    while part := stream.recv(1 << 16):
                        text += part
                    session = stream.session
                    return text
            except OSError:
                return b""

    (tmp_path / "the.crl").write_bytes(revocation.list(6))
    with running(tmp_path, REGISTER + tls(True) + LIST) as service:
        assert resume().startswith(b"HTTP/1.1 200")
        assert resume().startswith(b"HTTP/1.1 200")
        wait_until(lambda: any(row["message"].startswith(EXPIRED) for row in service.logged()), 12)
        assert resume() == b""
        message = "the client certificate of a resumed session is no longer valid"
        (row,) = wait_until(lambda: [row for row in service.logged() if row["message"] == message])
        assert "certificate revocation list expired" in row["error"]
