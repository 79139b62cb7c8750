"""Mutual TLS: accepted certificates, and the permissions of each."""

from __future__ import annotations

import json
import socket
import ssl
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests
import zeep

from running import Certificates, Service, openssl, running
from soap import Schemas, envelope, is_reachable, post
from support import DATE, FAR, FIXTURES, KRR, NABAR, SENDER, answer, lookup, nabar, persons, registered, table

DISPATCHER = "164727000046"
"""Registered for `SENDER`."""
OTHER_DISPATCHER = "164727096994"
"""Registered for `OTHER_SENDER` alone."""
OTHER_SENDER = "164821000108"
OPERATOR = "164921000016"
OTHER_OPERATOR = "164921079770"
STRANGER = "165560000001"
NORWEGIAN = "991825827"
AUTHORISED = "the caller is neither the sender nor a dispatcher that is registered for it"
LISTED = "the caller may not copy this: replicas.organisations in nabar.toml lists who may copy whole registers"


def spellings(organisation: str) -> list[str]:
    ten = organisation[2:]
    return [organisation, ten, f"{ten[:6]}-{ten[6:]}"]


ALLOWED = [*spellings(SENDER), *spellings(DISPATCHER)]
DENIED = [*spellings(OTHER_DISPATCHER), OTHER_SENDER, OPERATOR, STRANGER, NORWEGIAN]
KEPT_OUT = ["foreign", "expired", "server-only"]
"""Invalid certificates with the number of the sender."""


def config(certificates: Certificates, more: str = "", register: str = str(FAR)) -> str:
    directory = certificates.directory
    return f"""
[[register]]
path = "{register}"
[tls]
certificate = "{directory}/server.pem"
key = "{directory}/server.key"
client_ca = "{directory}/ca.pem"
{more}"""


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    made = Certificates(tmp_path_factory.mktemp("certificates"), *ALLOWED, *DENIED)
    other = Certificates(tmp_path_factory.mktemp("foreign"), SENDER)
    for kind in ("pem", "key"):
        made.file(f"foreign.{kind}").write_bytes(other.file(f"{SENDER}.{kind}").read_bytes())
    subject = f"/C=SE/O=Test/serialNumber={SENDER}"
    made.make("expired", subject, days=-1)
    made.make("server-only", subject, "extendedKeyUsage=serverAuth")
    made.make("numberless", f"/C=SE/O=Test/CN={SENDER}")
    made.make("between", "/CN=Between", "basicConstraints=critical,CA:true\nkeyUsage=critical,keyCertSign")
    made.make("below", subject, issuer="between")
    with made.file("below.pem").open("ab") as file:
        file.write(made.file("between.pem").read_bytes())
    return made


@pytest.fixture(scope="module")
def service(certificates: Certificates, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running(tmp_path_factory.mktemp("tls"), config(certificates)) as service:
        yield service


@pytest.fixture(scope="module")
def lenient(certificates: Certificates, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Accepts clients without certificate, and no tokens."""
    with running(tmp_path_factory.mktemp("lenient"), config(certificates, "client_optional = true")) as service:
        yield service


def reachability(client: httpx.Client, form: str = "json", sender: str = SENDER) -> httpx.Response:
    ids, asked = registered()[:5], {"sender": sender, "date": DATE}
    match form:
        case "json":
            return client.post("/v1/reachability", params=asked, json={"recipients": ids})
        case "json body":
            return client.post("/v1/reachability", json={**asked, "recipients": ids})
        case "csv":
            body: Any = "\n".join(ids).encode()
        case "streamed csv":
            body = iter(["\n".join(ids).encode()])
        case "compact":
            type = "application/vnd.nabar.ids"
            return client.post(
                "/v1/reachability", params=asked, content="".join(ids).encode(), headers={"Content-Type": type}
            )
        case "check":
            text = "id\n" + "\n".join(ids)
            return client.post("/v1/check", params=asked, content=text, headers={"Content-Type": "text/csv"})
    return client.post("/v1/reachability", params=asked, content=body, headers={"Content-Type": "text/csv"})


FORMS = ["json", "json body", "csv", "streamed csv", "compact", "check"]


def problem(response: httpx.Response, status: int, word: str) -> str:
    assert response.status_code == status, response.text
    assert response.headers["content-type"].startswith("application/problem+json")
    assert response.json()["type"] == f"urn:nabar:problem:{word}"
    return str(response.json()["detail"])


def soap(certificates: Certificates, service: Service, client: str, path: str = "Recipient/v3") -> Any:
    session = requests.Session()
    session.trust_env = False
    session.verify = str(certificates.file("ca.pem"))
    session.cert = (str(certificates.file(f"{client}.pem")), str(certificates.file(f"{client}.key")))
    return zeep.Client(f"{service.address}/{path}?wsdl", transport=zeep.Transport(session=session, timeout=30))


def code(fault: zeep.exceptions.Fault) -> str:
    return str(fault.detail.findtext(".//{*}ErrorCode"))


@pytest.mark.parametrize("name", ALLOWED)
def test_the_sender_and_its_dispatcher_are_answered(certificates: Certificates, service: Service, name: str) -> None:
    with certificates.client(service, name) as client:
        results = reachability(client).json()["results"]
        assert results == [answer(row) for row in lookup(FAR, registered()[:5], SENDER)]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_request_is_answered_or_refused(certificates: Certificates, service: Service, form: str) -> None:
    with certificates.client(service, DISPATCHER) as client:
        assert reachability(client, form).status_code == 200
    with certificates.client(service, OTHER_DISPATCHER) as client:
        assert AUTHORISED in problem(reachability(client, form), 403, "not-allowed")


@pytest.mark.parametrize("name", DENIED)
def test_other_organisations_are_refused(certificates: Certificates, service: Service, name: str) -> None:
    with certificates.client(service, name) as client:
        problem(reachability(client), 403, "not-allowed")


def test_a_dispatcher_acts_only_for_its_registered_senders(
    certificates: Certificates, service: Service
) -> None:
    (row,) = [row for row in table("far/dispatchers.csv") if row["id"] == DISPATCHER]
    with certificates.client(service, DISPATCHER) as client:
        for sender in table("far/senders.csv"):
            expected = 200 if sender["id"] in row["senders"].split() else 403
            assert reachability(client, sender=sender["id"]).status_code == expected, sender


@pytest.mark.parametrize("name", [*KEPT_OUT, None])
def test_an_invalid_certificate_is_refused(
    certificates: Certificates, service: Service, name: str | None
) -> None:
    with certificates.client(service, name) as client, pytest.raises(httpx.TransportError):
        client.get("/healthz")


@pytest.mark.parametrize("name", KEPT_OUT)
def test_an_invalid_certificate_is_refused_where_none_is_needed(
    certificates: Certificates, lenient: Service, name: str
) -> None:
    with certificates.client(lenient, name) as client, pytest.raises(httpx.TransportError):
        client.get("/healthz")


def test_intermediate_certificates_are_accepted(certificates: Certificates, service: Service) -> None:
    with certificates.client(service, "below") as client:
        assert reachability(client).status_code == 200


def test_a_certificate_without_number_is_refused(certificates: Certificates, service: Service) -> None:
    with certificates.client(service, "numberless") as client:
        problem(reachability(client), 401, "missing-credentials")
        problem(client.get("/v1/senders"), 401, "missing-credentials")
        assert client.get("/healthz").status_code == 200
        assert post(client, "/Recipient/v3", envelope(is_reachable(SENDER, []))).status_code == 401


def test_without_a_certificate_only_health_is_answered(certificates: Certificates, lenient: Service) -> None:
    with certificates.client(lenient) as client:
        problem(reachability(client), 401, "missing-credentials")
        problem(client.get("/v1/senders"), 401, "missing-credentials")
        for path in ("/healthz", "/readyz", "/metrics", "/openapi.json"):
            assert client.get(path).status_code == 200
    with certificates.client(lenient, SENDER) as client:
        assert reachability(client).status_code == 200


def test_another_spelling_of_a_path_does_not_bypass_authentication(certificates: Certificates, lenient: Service) -> None:
    with certificates.client(lenient) as client:
        for path in ("//v1/senders", "/healthz/../v1/senders", "/v1/senders?/healthz", "/healthz/", "/metrics//v1"):
            assert client.get(path).status_code in (401, 404), path


def test_a_header_proves_nothing(certificates: Certificates, lenient: Service) -> None:
    with certificates.client(lenient) as client:
        for value in ("Bearer x", "Bearer", "Basic eDp5", SENDER):
            assert client.get("/v1/senders", headers={"Authorization": value}).status_code == 401
    with certificates.client(lenient, STRANGER) as client:
        client.headers["Authorization"] = f"Bearer {SENDER}"
        problem(reachability(client), 403, "not-allowed")


@pytest.mark.parametrize("name", [SENDER, DISPATCHER])
def test_zeep_is_answered_over_our_wsdl(certificates: Certificates, service: Service, name: str) -> None:
    client = soap(certificates, service, name)
    (service_there,) = client.wsdl.services.values()
    (port,) = service_there.ports.values()
    assert port.binding_options["address"] == f"{service.address}/Recipient/v3"
    assert service.address.startswith("https://")
    output = client.service.isReachable(SENDER, registered()[:3])
    assert [status.AccountStatus.RecipientId for status in output] == registered()[:3]
    assert len(client.service.isRegistered(registered()[:3])) == 3


@pytest.mark.parametrize("name", [OTHER_DISPATCHER, OPERATOR, STRANGER])
def test_zeep_gets_5002_without_permission(certificates: Certificates, service: Service, name: str) -> None:
    client = soap(certificates, service, name)
    with pytest.raises(zeep.exceptions.Fault) as caught:
        client.service.isReachable(SENDER, registered()[:1])
    assert code(caught.value) == "5002"


def test_organisations_without_a_role_get_no_recipients(certificates: Certificates, service: Service) -> None:
    for name in (OTHER_DISPATCHER, OPERATOR, OTHER_SENDER):
        assert soap(certificates, service, name).service.isRegistered(registered()[:1])
    client = soap(certificates, service, STRANGER)
    calls = [
        lambda: client.service.isRegistered(registered()[:1]),
        lambda: client.service.getAccountPreferences(registered()[0], registered()[1]),
    ]
    for call in calls:
        with pytest.raises(zeep.exceptions.Fault) as caught:
            call()
        assert code(caught.value) == "5002"


@pytest.mark.parametrize("name", [SENDER, OTHER_DISPATCHER, OPERATOR, STRANGER])
def test_every_authenticated_client_reads_the_lists(certificates: Certificates, service: Service, name: str) -> None:
    senders = [row["id"] for row in table("far/senders.csv")]
    assert [s.Id for s in soap(certificates, service, name, "Authority").service.getSenders()] == senders
    with certificates.client(service, name) as client:
        assert [sender["id"] for sender in client.get("/v1/senders").json()] == senders


def test_a_fault_without_permission_keeps_the_schema(
    certificates: Certificates, service: Service, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with certificates.client(service, STRANGER) as client:
        schemas = Schemas.of_wsdl(client.get("/Recipient/v3?wsdl").content, tmp_path_factory.mktemp("wsdl"))
        fault = schemas.fault(post(client, "/Recipient/v3", envelope(is_reachable(SENDER, registered()[:1]))))
        assert (fault.faultcode, fault.code) == ("Client", 5002)


def test_krr_is_open_to_any_certificate_without_tokens(
    certificates: Certificates, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with running(tmp_path_factory.mktemp("krr"), config(certificates, register=str(KRR))) as service:
        with certificates.client(service, NORWEGIAN) as client:
            ids = [person["personidentifikator"] for person in persons()[:3]]
            answer = client.post("/rest/v2/personer", json={"personidentifikatorer": ids}).json()["personer"]
            assert [person["personidentifikator"] for person in answer] == ids
            assert client.post("/v1/reachability", json={"recipients": ids}).status_code == 200


def s_client(certificates: Certificates, service: Service, *options: str) -> str:
    """The output of openssl for a connection, with the received data."""
    given = ["-cert", f"{SENDER}.pem", "-key", f"{SENDER}.key", "-CAfile", "ca.pem", "-cipher", "ALL:@SECLEVEL=0"]
    done = openssl(
        "s_client",
        "-connect",
        f"127.0.0.1:{service.port}",
        *given,
        *options,
        directory=certificates.directory,
        check=False,
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize("version", ["tls1", "tls1_1"])
def test_old_versions_of_tls_are_refused(certificates: Certificates, service: Service, version: str) -> None:
    output = s_client(certificates, service, f"-{version}")
    if "unknown option" in output.lower():
        pytest.skip("this openssl cannot ask with it")
    assert "SSL alert number" in output and "Cipher is (NONE)" in output, output


@pytest.mark.parametrize(("version", "name"), [("tls1_2", "TLSv1.2"), ("tls1_3", "TLSv1.3")])
def test_new_versions_of_tls_are_accepted(
    certificates: Certificates, service: Service, version: str, name: str
) -> None:
    output = s_client(certificates, service, f"-{version}")
    assert f"New, {name}, Cipher is" in output and "Verify return code: 0" in output, output


@pytest.mark.parametrize("cipher", ["AES128-SHA", "ECDHE-ECDSA-AES128-SHA", "NULL", "AES128-GCM-SHA256"])
def test_weak_ciphers_are_refused(certificates: Certificates, service: Service, cipher: str) -> None:
    output = s_client(certificates, service, "-tls1_2", "-cipher", f"{cipher}:@SECLEVEL=0")
    assert "Cipher is (NONE)" in output, output


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_resumed_connection_keeps_its_client(
    certificates: Certificates, service: Service, version: ssl.TLSVersion
) -> None:
    context = certificates.context(STRANGER)
    context.minimum_version = context.maximum_version = version
    head = b"GET /v1/senders HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    session, resumed = None, []
    for _ in range(2):
        with socket.create_connection(("127.0.0.1", service.port), 10) as raw:
            with context.wrap_socket(raw, server_hostname="localhost", session=session) as stream:
                stream.sendall(head)
                assert stream.recv(15) == b"HTTP/1.1 200 OK"
                while stream.recv(1 << 16):
                    pass
                session = stream.session
                resumed.append(stream.session_reused)
    assert resumed == [False, True]


def test_plain_http_is_not_answered(service: Service) -> None:
    with httpx.Client(trust_env=False) as client, pytest.raises(httpx.TransportError):
        client.get(service.address.replace("https", "http") + "/healthz")


def test_unfinished_handshakes_do_not_delay_others(certificates: Certificates, service: Service) -> None:
    idle = [socket.create_connection(("127.0.0.1", service.port), 10) for _ in range(50)]
    try:
        for raw in idle[:25]:
            raw.sendall(struct.pack("!BHH", 22, 0x0301, 200))
        with certificates.client(service, SENDER) as client:
            assert reachability(client).status_code == 200
    finally:
        for raw in idle:
            raw.close()


def follow(
    certificates: Certificates, service: Service, organisation: str, replica: Path, *more: str
) -> subprocess.CompletedProcess[str]:
    """Follows with a certificate, until the replica is level with the service."""
    shown = ["--certificate", certificates.file(f"{organisation}.pem")]
    shown += ["--key", certificates.file(f"{organisation}.key"), "--ca", certificates.file("ca.pem")]
    command = [NABAR, "follow", "--once", f"https://localhost:{service.port}", replica, *shown, *more]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_only_listed_clients_may_follow_the_whole_register(tmp_path: Path, certificates: Certificates) -> None:
    """The sender is listed, and follows with its certificate; the dispatcher is not."""
    listed = f"[replicas]\norganisations = ['{SENDER}']\n"
    with running(tmp_path, config(certificates, listed)) as service:
        for organisation, status in [(SENDER, 200), (DISPATCHER, 403)]:
            with certificates.client(service, organisation) as http:
                assert http.get("/v1/snapshot").status_code == status
                assert http.get("/v1/changes", params={"from": 1000}).status_code == status
        for organisation, code in [(SENDER, 0), (DISPATCHER, 1)]:
            replica = tmp_path / organisation
            completed = follow(certificates, service, organisation, replica)
            assert completed.returncode == code, completed.stderr
            assert replica.exists() == (code == 0)


@pytest.fixture(scope="module")
def divided(certificates: Certificates, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A data directory that the sender may follow, with parts for two operators and a dispatcher."""
    directory = tmp_path_factory.mktemp("divided")
    nabar("init", str(FIXTURES / "far"), str(directory / "source"), "--quiet")
    parts = [f"operator:{OPERATOR}", f"operator:{OTHER_OPERATOR}", f"dispatcher:{DISPATCHER}"]
    listed = f"[replicas]\norganisations = ['{SENDER[2:]}']\nparts = {parts}\ndirectory = '{directory}/parts'\n"
    with running(directory, config(certificates, listed, str(directory / "source"))) as service:
        yield service


def recipients(register: Path) -> int:
    return int(json.loads(nabar("inspect", str(register), "--json"))["recipients"])


def same(a: Path, b: Path) -> bool:
    """Whether two registers have the same content."""
    return subprocess.run([NABAR, "diff", a, b, "--quiet"], timeout=30).returncode == 0


@pytest.mark.parametrize(
    ("organisation", "part"),
    [(OPERATOR, f"operator:{OPERATOR}"), (DISPATCHER, f"dispatcher:{DISPATCHER}")],
)
def test_an_organisation_gets_its_part_without_naming_it(
    tmp_path: Path, certificates: Certificates, divided: Service, organisation: str, part: str
) -> None:
    """The same if it names the part; clients that may follow the whole register get a part by its name."""
    replicas = [tmp_path / name for name in ("unnamed", "named", "given")]
    for replica, caller, more in zip(
        replicas, (organisation, organisation, SENDER), ([], ["--part", part], ["--part", part]), strict=True
    ):
        completed = follow(certificates, divided, caller, replica, *more)
        assert completed.returncode == 0, completed.stderr
        assert same(replica, replicas[0])
    rows = table("far/recipients.csv")
    own = [row for row in rows if row["operator_id"] == OPERATOR] if organisation == OPERATOR else rows
    assert recipients(replicas[0]) == len(own) > 0
    assert not same(replicas[0], divided.log.parent / "source")
    with certificates.client(divided, organisation) as client:
        for path in ("/v1/snapshot", "/v1/changes?from=1000"):
            assert client.get(path).headers["nabar-register"] == f"far {part}"


def test_a_listed_client_follows_the_whole_of_a_register_with_parts(
    tmp_path: Path, certificates: Certificates, divided: Service
) -> None:
    completed = follow(certificates, divided, SENDER, tmp_path / "all")
    assert completed.returncode == 0, completed.stderr
    assert same(tmp_path / "all", divided.log.parent / "source")
    with certificates.client(divided, SENDER) as client:
        assert client.get("/v1/snapshot").headers["nabar-register"] == "far"


@pytest.mark.parametrize(
    ("organisation", "part"),
    [
        (OPERATOR, f"operator:{OTHER_OPERATOR}"),
        (OPERATOR, f"dispatcher:{DISPATCHER}"),
        (OPERATOR, f"dispatcher:{OPERATOR}"),
        (DISPATCHER, f"operator:{OPERATOR}"),
        # In the register, but without permission for the whole and without part.
        (OTHER_DISPATCHER, None),
        (OTHER_DISPATCHER, f"dispatcher:{OTHER_DISPATCHER}"),
        (OTHER_DISPATCHER, f"dispatcher:{DISPATCHER}"),
        (OTHER_SENDER, None),
        (STRANGER, None),
        (STRANGER, f"operator:{OPERATOR}"),
        # A listed client: a part that does not exist.
        (SENDER, f"dispatcher:{OTHER_DISPATCHER}"),
    ],
)
def test_parts_of_others_are_refused(
    tmp_path: Path, certificates: Certificates, divided: Service, organisation: str, part: str | None
) -> None:
    completed = follow(certificates, divided, organisation, tmp_path / "replica", *(["--part", part] if part else []))
    assert completed.returncode == 1, completed.stderr
    assert completed.stderr.startswith("nabar: the source refuses (403)"), completed.stderr
    assert not (tmp_path / "replica").exists()
    with certificates.client(divided, organisation) as client:
        for path, asked in (("/v1/snapshot", {}), ("/v1/changes", {"from": "1000"})):
            asked = {**asked, **({"part": part} if part else {})}
            assert LISTED in problem(client.get(path, params=asked), 403, "not-allowed")


def test_a_replica_without_permission_keeps_its_content(
    tmp_path: Path, certificates: Certificates, divided: Service
) -> None:
    replica = tmp_path / "replica"
    nabar("init", str(FIXTURES / "far"), str(replica), "--quiet")
    (replica / "replica-of").write_text("far\n")
    before = {path.name: path.read_bytes() for path in replica.iterdir()}
    for organisation, more in [(STRANGER, []), (OPERATOR, ["--part", f"operator:{OTHER_OPERATOR}"])]:
        completed = follow(certificates, divided, organisation, replica, *more)
        assert completed.returncode == 1, completed.stderr
        assert completed.stderr.startswith(f"nabar: the source refuses (403): {LISTED}"), completed.stderr
    assert {path.name: path.read_bytes() for path in replica.iterdir()} == before
