"""`nabar sandbox`, with independent clients, with nabar as the client, and the examples of docs/sandbox.md."""

from __future__ import annotations

import csv
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests
import zeep

from soap import V3, envelope, is_reachable, is_registered, payload, post
from support import CONTRACTS, NABAR, ROOT, Row

EXAMPLES = ROOT / "examples" / "sandbox"
SENDER, OPERATOR, OTHER_OPERATOR = "164821000025", "164921000016", "164921079770"
JUNIT = [Path("/usr/share/java") / name for name in ("junit4.jar", "hamcrest.jar")]
STATES = {
    "digital": "Secure",
    "anonymous": "Anonymous",
    "no-account": "Not",
    "not-in-the-register": "Not",
    "pending": "Secure",
    "digital-company": "Secure",
}


@dataclass
class Sandbox:
    process: subprocess.Popen[str]
    printed: dict[str, str]
    state: Path

    def __post_init__(self) -> None:
        self.admin = httpx.Client(base_url=self.printed["ready"].split()[0])

    @property
    def far(self) -> str:
        return self.printed["FaR"]

    def tls(self, who: str | None) -> httpx.Client:
        context = ssl.create_default_context(cafile=str(self.state / "ca.pem"))
        if who:
            context.load_cert_chain(self.state / f"{who}.pem", self.state / f"{who}.key")
        return httpx.Client(verify=context)

    def recipients(self, state: str, register: str = "far", limit: int = 20) -> list[str]:
        answer = self.admin.get("recipients", params={"register": register, "state": state, "limit": limit})
        return [row["id"] for row in answer.json()["recipients"]]

    def faults(self, *faults: Row) -> None:
        answer = self.admin.put("faults", json=list(faults))
        assert answer.is_success, answer.text

    def calls(self, **wanted: str) -> list[Row]:
        return self.admin.get("requests", params=wanted).json()["requests"]

    def end(self) -> int:
        self.process.terminate()
        return self.process.wait(timeout=60)


def start(state: Path, *options: str) -> Sandbox:
    command = [NABAR, "sandbox", "--state", str(state), "--listen", "127.0.0.1:0", "--listen-plain", "127.0.0.1:0"]
    process = subprocess.Popen([*command, *options], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    printed = {}
    for line in process.stderr:
        name, value = line.split(maxsplit=1)
        printed[name] = value.strip()
        if name == "ready":
            return Sandbox(process, printed, state)
    raise AssertionError(f"it has not started: {printed}")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    sandbox = start(tmp_path_factory.mktemp("sandbox") / "state")
    yield sandbox
    assert sandbox.end() == 0


@pytest.fixture
def sandbox(running: Sandbox) -> Sandbox:
    assert running.admin.delete("faults").status_code == 204
    assert running.admin.delete("requests").status_code == 204
    return running


def code_of(answer: httpx.Response) -> str | None:
    return payload(answer.content).findtext(".//{*}ErrorCode")


def asked(sandbox: Sandbox, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([NABAR, *arguments], capture_output=True, text=True, timeout=120, cwd=sandbox.state)


def test_every_recipient_is_in_the_state_that_the_list_says(sandbox: Sandbox) -> None:
    with (sandbox.state / "recipients.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert sum(row["register"] == "far" for row in rows) == 10_000
    listed = {row["id"]: row["state"] for row in rows if row["register"] == "far"}
    with sandbox.tls("sender") as http:
        for state, expected in STATES.items():
            ids = [id for id, its in listed.items() if its == state][:50]
            answer = post(http, sandbox.far, envelope(is_registered(ids)))
            found = [child.text for child in payload(answer.content).iter() if child.tag.endswith("}Type")]
            assert found == [expected] * len(ids), state


@pytest.mark.skipif(not CONTRACTS.is_dir(), reason="the official contracts are not there")
def test_an_operator_registers_with_zeep(sandbox: Sandbox) -> None:
    session = requests.Session()
    session.trust_env = False
    session.verify = str(sandbox.state / "ca.pem")
    session.cert = (str(sandbox.state / "operator.pem"), str(sandbox.state / "operator.key"))
    wsdl = str(CONTRACTS / "Recipient.wsdl")
    client = zeep.Client(wsdl, transport=zeep.Transport(session=session))
    binding = "{http://minameddelanden.gov.se/Recipient}RecipientBinding-v3"
    service = client.create_service(binding, sandbox.far)
    (id,) = sandbox.recipients("not-in-the-register", limit=1)
    account = {"Id": id, "Type": "Create", "AgreementText": "text", "Timestamp": "2026-06-01"}
    signature = [{"Signature": b"signature", "Certificate": id}]
    done = service.register(
        accountRequest={**account, "ServiceSupplier": OPERATOR}, accountType="Secure", signature=signature
    )
    assert done.Status == "Complete"
    (status,) = service.isRegistered(recipientId=[id])
    assert (status.Type, status.ServiceSupplier.Id) == ("Secure", OPERATOR)
    with pytest.raises(zeep.exceptions.Fault):
        service.register(
            accountRequest={**account, "ServiceSupplier": OTHER_OPERATOR}, accountType="Secure", signature=signature
        )
    assert [call["operation"] for call in sandbox.calls(id=id)] == ["register", "isRegistered", "register"]
    done = service.deregister(
        deregisterAccount={**account, "Type": "Delete", "ServiceSupplier": OPERATOR}, signature=signature
    )
    assert done.Status == "Complete"


def test_nabar_gets_through_what_passes(sandbox: Sandbox, tmp_path: Path) -> None:
    ids = sandbox.recipients("digital", limit=900) + sandbox.recipients("declines-the-sender", limit=100)
    (tmp_path / "list.csv").write_text("\n".join(["id", *ids]) + "\n")
    bad = ids[17]
    once: list[Row] = [{"reset": "beginning"}, {"reset": "middle"}, {"truncated": 0.5}, {"status": {"status": 503}}]
    once += [{"rows": kind} for kind in ("missing", "doubled", "foreign")] + [{"soap_fault": {"code": 4999}}]
    faults: list[Row] = [{"after": number, "times": 1, "fault": fault} for number, fault in enumerate(once)]
    faults.append({"on": {"ids": [bad]}, "fault": {"soap_fault": {"code": 5001}}})
    faults.append({"fault": {"rows": "reordered"}})
    sandbox.faults(*faults)
    (sandbox.state / "tuned.toml").write_text(
        (sandbox.state / "far.toml").read_text() + "\n[limits]\nids_per_call = 100\ncalls_in_flight = 4\n"
    )
    command = ["check", "--source", "tuned.toml", "--sender", SENDER, str(tmp_path / "list.csv"), "--json"]
    done = asked(sandbox, *command)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["outcomes"] == {"digital": 899, "notify": 0, "paper": 100, "rejected": 1}
    met = {json.dumps(row["fault"], sort_keys=True): row["met"] for row in sandbox.admin.get("faults").json()["faults"]}
    assert all(count >= 1 for count in met.values()), met


@pytest.mark.parametrize(
    ("fault", "source", "said"),
    [
        ({"soap_fault": {"code": 5002}}, "far", "5002"),
        ({"certificate": "expired"}, "far", "has expired"),
        ({"certificate": "wrong_name"}, "far", "another name"),
        ({"certificate": "untrusted"}, "far", "not below a known root"),
        ({"token_error": "MP-250"}, "krr", "MP-250"),
        ({"clock_skew": 120}, "krr", "MP-130"),
    ],
    ids=str,
)
def test_nabar_stops_at_what_does_not_pass(
    sandbox: Sandbox, tmp_path: Path, fault: Row, source: str, said: str
) -> None:
    sandbox.faults({"fault": fault})
    ids = sandbox.recipients("digital" if source == "far" else "reserved", source, 3)
    (tmp_path / "list.csv").write_text("\n".join(["id", *ids]) + "\n")
    sender = ["--sender", SENDER] if source == "far" else []
    done = asked(sandbox, "check", "--source", f"{source}.toml", *sender, str(tmp_path / "list.csv"))
    assert done.returncode == 1
    assert said in done.stderr
    assert len(sandbox.calls()) <= 1


def test_tokens_that_end_early_are_renewed(sandbox: Sandbox, tmp_path: Path) -> None:
    ids = sandbox.recipients("mailbox-digipost", "krr", 300)
    (tmp_path / "list.csv").write_text("\n".join(["id", *ids]) + "\n")
    sandbox.faults(
        {"on": {"path": "/token"}, "times": 1, "fault": {"token_seconds": 0}},
    )
    done = asked(sandbox, "check", "--source", "krr.toml", str(tmp_path / "list.csv"), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["outcomes"]["digital"] == 300
    tokens = sandbox.calls(path="/token")
    assert len(tokens) == 2
    assert all(call["assertion"]["iss"] == "sandbox" for call in tokens)
    assert len({call["assertion"]["jti"] for call in tokens}) == 2


def test_a_supplier_asks_for_a_customer(sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("\n".join(["id", *sandbox.recipients("reserved", "krr", 5)]) + "\n")
    text = (sandbox.state / "krr.toml").read_text().replace('client_id = "sandbox"', 'client_id = "sandbox-supplier"')
    (sandbox.state / "supplier.toml").write_text(text)
    for customer, said in [("991825827", ""), ("974760673", "MP-250")]:
        command = ["check", "--source", "supplier.toml", "--on-behalf-of", customer, str(tmp_path / "list.csv")]
        done = asked(sandbox, *command)
        assert (done.returncode == 0) == (not said), done.stderr
        assert said in done.stderr


def test_each_caller_has_its_rights(sandbox: Sandbox) -> None:
    (id,) = sandbox.recipients("digital", limit=1)
    for who, status in [("sender", 200), ("dispatcher", 200), ("operator", 500), (None, 401)]:
        with sandbox.tls(who) as http:
            answer = post(http, sandbox.far, envelope(is_reachable(SENDER, [id])))
        assert answer.status_code == status, (who, answer.text)
        assert who != "operator" or code_of(answer) == "5002"
    callers = [call["caller"] for call in sandbox.calls(operation="isReachable")]
    assert callers == [SENDER, "164727000046", OPERATOR, None]


def test_a_pending_company_lacks_one_signature(sandbox: Sandbox) -> None:
    (id,) = sandbox.recipients("pending-company", limit=1)
    with (sandbox.state / "signatories.toml").open("rb") as file:
        (company,) = (one for one in tomllib.load(file)["company"] if one["id"] == id)
    first, second, _ = (signer["id"] for signer in company["signers"])
    ask = f"""<getPendingAccountRequest xmlns="{V3}"><recipientId>{id}</recipientId>
        <userIdentity>{second}</userIdentity></getPendingAccountRequest>"""
    with sandbox.tls("operator") as http:
        found = payload(post(http, sandbox.far, envelope(ask)).content)
    assert [one.text for one in found.iterfind(".//{*}SignedBy/{*}Id")] == [first]
    assert second in [one.text for one in found.iterfind(".//{*}PossibleSigners/{*}Id")]


def test_a_reset_in_the_middle_sends_the_first_half(sandbox: Sandbox) -> None:
    sandbox.faults({"fault": {"reset": "middle"}})
    address = sandbox.admin.base_url
    with socket.create_connection((address.host, address.port)) as connection:
        connection.sendall(b"GET /jwk HTTP/1.1\r\nHost: localhost\r\n\r\n")
        received = b""
        with pytest.raises(ConnectionResetError):
            while part := connection.recv(4096):
                received += part
    assert received.startswith(b"HTTP/1.1 200")
    assert b'{"keys"' in received
    assert not received.endswith(b"}")


def test_changes_by_the_owner_are_followed(sandbox: Sandbox, tmp_path: Path) -> None:
    (id,) = sandbox.recipients("anonymous", limit=1)
    line = json.dumps({"remove_recipient": {"recipient_id": id}})
    address = sandbox.far.replace("/Recipient/v3", "/v1/changes")
    with sandbox.tls("operator") as http:
        assert http.post(address, content=line).status_code == 403
    with sandbox.tls("sender") as http:
        assert http.post(address, content=line).json()["applied"] == 1
    source = sandbox.far.removesuffix("/Recipient/v3")
    certificate = ["--certificate", "operator.pem", "--key", "operator.key", "--ca", "ca.pem"]
    done = asked(sandbox, "follow", source, str(tmp_path / "copy"), "--once", *certificate)
    assert done.returncode == 0, done.stderr
    done = asked(sandbox, "lookup", "-r", str(tmp_path / "copy"), "--sender", SENDER, id)
    assert "not_registered" in done.stdout


def test_a_state_is_kept_and_a_seed_makes_the_same_again(tmp_path: Path) -> None:
    listed = []
    for name, seed in [("one", ["--seed", "7"]), ("one", []), ("two", ["--seed", "7"])]:
        sandbox = start(tmp_path / name, *seed)
        with sandbox.tls("sender") as http:
            (id, gone) = sandbox.recipients("digital", limit=2)
            address = sandbox.far.replace("/Recipient/v3", "/v1/changes")
            if not listed:
                change = json.dumps({"remove_recipient": {"recipient_id": gone}})
                assert http.post(address, content=change).is_success
            answer = post(http, sandbox.far, envelope(is_reachable(SENDER, [id, gone])))
            types = [child.text for child in payload(answer.content).iter() if child.tag.endswith("}Type")]
            assert types == ["Secure", "Not" if name == "one" else "Secure"]
        listed.append((tmp_path / name / "recipients.csv").read_text())
        assert sandbox.end() == 0
    assert listed[0] == listed[1] == listed[2]


def test_other_directories_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "far.toml").write_text("mine")
    assert "not that of a sandbox" in refused("--state", str(tmp_path))
    assert (tmp_path / "far.toml").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["far.toml"]
    made = tmp_path / "made"
    made.mkdir()
    (made / "sandbox.seed").write_text("seed 7\n")
    assert "--seed 7" in refused("--state", str(made), "--seed", "8")


def test_one_sandbox_at_a_time_has_a_state(sandbox: Sandbox) -> None:
    before = {path: path.read_bytes() for path in sandbox.state.iterdir() if path.is_file()}
    assert "another sandbox runs on this state" in refused("--state", str(sandbox.state))
    assert before == {path: path.read_bytes() for path in sandbox.state.iterdir() if path.is_file()}


def refused(*options: str) -> str:
    command = [NABAR, "sandbox", "--listen", "127.0.0.1:0", "--listen-plain", "127.0.0.1:0", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    return done.stderr


def test_faults_of_a_file_and_bad_ones(tmp_path: Path) -> None:
    faults = tmp_path / "faults.json"
    faults.write_text(json.dumps([{"fault": {"soap_fault": {"code": 4999}}}]))
    sandbox = start(tmp_path / "state", "--faults", str(faults))
    with sandbox.tls("sender") as http:
        answer = post(http, sandbox.far, envelope(is_reachable(SENDER, sandbox.recipients("digital", limit=1))))
    assert code_of(answer) == "4999"
    for bad in ({}, [{"fault": {"nonsense": 1}}], [{"share": 2, "fault": {"reset": "middle"}}]):
        assert sandbox.admin.post("faults", json=bad).status_code == 400
    assert len(sandbox.admin.get("faults").json()["faults"]) == 1
    assert sandbox.end() == 0
    faults.write_text("nonsense")
    assert "faults.json: these are no faults" in refused("--faults", str(faults))


def test_the_example_with_pytest() -> None:
    command = [sys.executable, "-B", "-m", "pytest", "-p", "no:cacheprovider", "-q", "test_client.py"]
    done = subprocess.run(command, cwd=EXAMPLES, env={**os.environ, "NABAR": NABAR}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.skipif(shutil.which("javac") is None, reason="the example with JUnit needs javac, which is not installed")
@pytest.mark.skipif(not all(jar.exists() for jar in JUNIT), reason="the example with JUnit needs the package junit4")
def test_the_example_with_junit(tmp_path: Path) -> None:
    path = ":".join(map(str, [tmp_path, *JUNIT]))
    subprocess.run(["javac", "-cp", path, "-d", str(tmp_path), str(EXAMPLES / "ClientTest.java")], check=True)
    command: list[Any] = ["java", "-cp", path, "org.junit.runner.JUnitCore", "ClientTest"]
    done = subprocess.run(command, env={**os.environ, "NABAR": NABAR}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
