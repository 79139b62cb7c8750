"""The write side of FaR's contract, and POST /v1/changes: what docs/writing.md says, as a client sees it."""

from __future__ import annotations

import datetime
import json
import random
import re
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import httpx
import pytest
import zeep
from lxml import etree

from running import Certificates, Service, plain, running
from soap import COMMON, MM, SOAP, V2, V3, Checking, Schemas, envelope, post, transport
from support import CONTRACTS, FIXTURES, NABAR, SENDER, Row, nabar, table

RECIPIENT_BINDING = "{http://minameddelanden.gov.se/Recipient}RecipientBinding-v3"
V1, SENDER_V1 = f"{MM}/schema/Recipient", f"{MM}/schema/Sender"
BREVIA, SAMHALL, MEJLO = "164921000016", "164921079770", "164921159564"
DOMAIN = {BREVIA: "brevia.example", SAMHALL: "www.samhallspost.example", MEJLO: MEJLO}
"""Three ways of naming an operator."""
OWNER = "162021000027"
COMPANY, UNLISTED = "165560000167", "165560000001"
SIGNERS = ["197509029810", "194908079819", "196007089805"]
"""Two of them sign together for `COMPANY`."""
ADA, BO, CECILIA = "197509029810", "194908079819", "196007089805"
STRANGER = "189001019802"
SENDERS = [row["id"] for row in table("far/senders.csv")]
SIGNATORIES = f"""
[[company]]
id = "{COMPANY}"
name = "Exempelbolaget AB"
rule = "Firman tecknas av två styrelseledamöter i förening."
signatures = 2
signers = [{", ".join(f'{{ id = "{id}", name = "Person {n}" }}' for n, id in enumerate(SIGNERS))}]
"""


def kill(service: Service) -> None:
    service.process.kill()
    service.process.wait()
    # `running` takes any other end for a crash.
    service.process.returncode = 0


def prepare(directory: Path, fixture: str = "far") -> Path:
    """A data directory of its own."""
    data = directory / "data"
    nabar("init", str(FIXTURES / fixture), str(data))
    (directory / "signatories.toml").write_text(SIGNATORIES)
    return data


@contextmanager
def writable(directory: Path, more: str = "", writing: str = "") -> Iterator[Service]:
    config = f"""
[[register]]
path = "{directory}/data"
[writable]
signatories = "{directory}/signatories.toml"
{writing}
{more}"""
    with running(directory, config) as service:
        yield service
    text = (directory / "log").read_text()
    assert not [id for id in (*SIGNERS, COMPANY, UNLISTED, STRANGER) if id in text], "an identity stands in the log"


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    prepare(tmp_path)
    with writable(tmp_path) as service:
        yield service


class Client:
    """The service as zeep sees it through the official contract."""

    def __init__(self, address: str, session: Any = None) -> None:
        if not CONTRACTS.exists():
            pytest.skip(f"the official contract is not at {CONTRACTS}")
        self.checking = Checking(Schemas.official(CONTRACTS))
        client = zeep.Client(str(CONTRACTS / "Recipient.wsdl"), transport=transport(), plugins=[self.checking])
        if session:
            client.transport.session = session
        self.proxy = client.create_service(RECIPIENT_BINDING, f"{address}/Recipient/v3")

    def call(self, operation: str, **named: Any) -> Any:
        return self.proxy[operation](**named)

    def code(self, operation: str, **named: Any) -> int | None:
        """The code of the fault, whose texts have no identity number."""
        with pytest.raises(zeep.exceptions.Fault):
            self.call(operation, **named)
        assert self.checking.last is not None
        fault = self.checking.schemas.fault_of(self.checking.last)
        assert not re.search(r"\d{10,12}", f"{fault.faultstring} {fault.description}"), fault
        return fault.code

    def register(self, id: str, operator: str, *signers: str, type: str = "Secure") -> Any:
        return self.call("register", **registering(id, operator, *signers, type=type))

    def status(self, id: str) -> Any:
        (found,) = self.call("isReachable", senderOrgNr=SENDER, recipientId=[id])
        (alone,) = self.call("isRegistered", recipientId=[id])
        assert alone.Type == found.AccountStatus.Type and alone.Pending == found.AccountStatus.Pending
        return found

    def accepted(self, id: str, user: str | None = None) -> set[str]:
        found = self.call("getAccountPreferences", RecipientId=id, UserIdentity=user or id)
        return {sender.Id for sender in found.AcceptedSenders}


def signatures(*signers: str) -> list[Row]:
    return [{"Signature": b"signature", "Certificate": signer} for signer in signers]


def request(id: str, operator: str, type: str) -> Row:
    return {
        "Id": id,
        "Type": type,
        "AgreementText": "Avtal & villkor",
        "Timestamp": datetime.date(2026, 6, 1),
        "ServiceSupplier": DOMAIN.get(operator, operator),
    }


def registering(id: str, operator: str, *signers: str, type: str = "Secure") -> Row:
    account = request(id, operator, "Create")
    return {"accountRequest": account, "accountType": type, "signature": signatures(*(signers or (id,)))}


def leaving(id: str, operator: str, *signers: str) -> Row:
    return {"deregisterAccount": request(id, operator, "Delete"), "signature": signatures(*(signers or (id,)))}


def moving(id: str, operator: str, *signers: str) -> Row:
    signers = signers or (id,)
    supplier = DOMAIN.get(operator, operator)
    return {**identity(id, signers[0]), "ServiceSupplier": supplier, **agreed(*signers)}


def choosing(id: str, senders: list[str], *signers: str) -> Row:
    signers = signers or (id,)
    accepted = [{"Id": sender, "Name": "Name"} for sender in senders]
    return {**identity(id, signers[0]), "preferences": {"Id": id, "AcceptedSenders": accepted}, **agreed(*signers)}


def agreed(*signers: str) -> Row:
    return {"AgreementText": "Avtal", "SignatureData": signatures(*signers)}


def identity(id: str, user: str) -> Row:
    return {"Id": id, "UserIdentity": user}


def changes(service: Service, start: int = 1000) -> list[Row]:
    with plain(service) as http:
        response = http.get("/v1/changes", params={"from": start})
    assert response.status_code == 200, response.text
    return [json.loads(line) for line in response.text.splitlines()]


def kinds(found: list[Row]) -> list[str]:
    names = {"sequence", "time"}
    return [next(iter(set(row) - names)) for row in found]


def test_person(service: Service) -> None:
    client = Client(service.address)
    client.status(STRANGER)
    assert client.register(STRANGER, BREVIA).Status == "Complete"
    found = client.status(STRANGER)
    assert (found.AccountStatus.Type, found.AccountStatus.Pending) == ("Secure", False)
    assert found.AccountStatus.ServiceSupplier.Id == BREVIA and found.SenderAccepted
    assert client.accepted(STRANGER) == set(SENDERS)
    assert client.call("storeAccountPreferences", **choosing(STRANGER, SENDERS[1:3])).Status == "Complete"
    assert client.accepted(STRANGER) == set(SENDERS[1:3])
    assert not client.status(STRANGER).SenderAccepted
    assert client.call("changeServiceSupplier", **moving(STRANGER, MEJLO)).Status == "Complete"
    assert client.status(STRANGER).AccountStatus.ServiceSupplier.Id == MEJLO
    assert client.accepted(STRANGER) == set(SENDERS[1:3])
    before = changes(service)
    assert kinds(before)[:2] == ["put_recipient", "set_acceptance"] and len(before) == 3
    assert [row["sequence"] for row in before] == [1001, 1002, 1003]
    # What is already so changes nothing.
    assert client.register(STRANGER, MEJLO).Status == "Complete"
    assert client.call("changeServiceSupplier", **moving(STRANGER, MEJLO)).Status == "Complete"
    assert changes(service) == before
    assert client.call("deregister", **leaving(STRANGER, MEJLO)).Status == "Complete"
    assert client.status(STRANGER).AccountStatus.Type == "Not"
    assert client.code("deregister", **leaving(STRANGER, MEJLO)) in (None, 5003)


def test_company(service: Service) -> None:
    client = Client(service.address)
    first = client.register(COMPANY, BREVIA, ADA)
    assert first.Status == "Incomplete" and [person.Id for person in first.SignedBy] == [ADA]
    assert {person.Id for person in first.PossibleSigners} >= {BO, CECILIA}
    assert client.status(COMPANY).AccountStatus.Pending
    (pending,) = client.call("getPendingAccountRequest", recipientId=[], userIdentity=BO)
    assert pending.AccountRequest.Id == COMPANY and pending.AccountRequest.Type == "Create"
    assert client.call("getPendingAccountRequest", recipientId=[], userIdentity=STRANGER) in (None, [])
    client.call("deletePendingAccountRequest", recipientId=COMPANY, userIdentity=BO)
    assert client.status(COMPANY).AccountStatus.Type == "Not"
    client.register(COMPANY, BREVIA, ADA)
    assert client.register(COMPANY, BREVIA, BO).Status == "Complete"
    assert not client.status(COMPANY).AccountStatus.Pending

    chosen = choosing(COMPANY, SENDERS[:2], ADA)
    assert client.call("storeAccountPreferences", **chosen).Status == "Incomplete"
    kept = client.call("getPendingAccountPreferences", **identity(COMPANY, ADA))
    assert {sender.Id for sender in kept.AccountPreferences.AcceptedSenders} == set(SENDERS[:2])
    client.call("deletePendingAccountPreferences", organizationIdentity=identity(COMPANY, ADA))
    assert client.code("getPendingAccountPreferences", **identity(COMPANY, ADA)) == 5003
    client.call("storeAccountPreferences", **chosen)
    assert client.call("storeAccountPreferences", **choosing(COMPANY, SENDERS[:2], BO)).Status == "Complete"
    assert client.accepted(COMPANY, ADA) == set(SENDERS[:2])

    assert client.call("changeServiceSupplier", **moving(COMPANY, MEJLO, ADA)).Status == "Incomplete"
    found = client.call("getPendingChangeServiceSupplier", **identity(COMPANY, BO))
    assert found.serviceSupplier.Id == MEJLO
    given_up = client.call("deletePendingChangeServiceSupplier", organizationIdentity=identity(COMPANY, BO))
    assert given_up.Id == MEJLO
    empty = client.call("getPendingChangeServiceSupplier", **identity(COMPANY, BO))
    assert empty.serviceSupplier is None
    assert client.call("changeServiceSupplier", **moving(COMPANY, MEJLO, ADA, CECILIA)).Status == "Complete"
    may = client.call("isAuthorizedSigner", CompanyId=COMPANY, UserIdentity=ADA)
    assert may.isAccountAuthorizedSigner and may.AccountInformation.AccountStatus == "Active"
    assert not client.call("isAuthorizedSigner", CompanyId=COMPANY, UserIdentity=STRANGER).isAccountAuthorizedSigner
    assert client.call("deregister", **leaving(COMPANY, MEJLO, ADA)).Status == "Incomplete"
    assert client.call("deregister", **leaving(COMPANY, MEJLO, BO)).Status == "Complete"
    assert client.status(COMPANY).AccountStatus.Type == "Not"


def test_unlisted_company(service: Service) -> None:
    client = Client(service.address)
    before = changes(service)
    assert client.register(UNLISTED, BREVIA, ADA).Status == "RulesNotSupported"
    assert client.status(UNLISTED).AccountStatus.Type == "Not"
    assert client.call("getPendingAccountRequest", recipientId=[UNLISTED], userIdentity=ADA) in (None, [])
    assert changes(service) == before
    assert client.code("isAuthorizedSigner", CompanyId=UNLISTED, UserIdentity=ADA) == 5003


def test_faults(service: Service) -> None:
    client = Client(service.address)
    assert client.code("register", **registering(STRANGER, "unknown.example")) == 8004
    assert client.code("register", **registering(STRANGER, BREVIA, ADA)) == 5002
    assert client.code("register", **registering("189001019801", BREVIA)) == 6007
    assert client.code("storeAccountPreferences", **choosing(STRANGER, SENDERS)) == 5003
    client.register(STRANGER, BREVIA)
    assert client.code("register", **registering(STRANGER, MEJLO)) == 5002
    assert client.code("storeAccountPreferences", **choosing(STRANGER, ["164000000000"])) == 5001
    assert client.code("deletePendingAccountRequest", recipientId=STRANGER, userIdentity=STRANGER) == 5003
    for length, refused in ((65536, False), (65537, True)):
        long = {**moving(COMPANY, MEJLO, ADA), "AgreementText": "a" * length}
        client.register(COMPANY, BREVIA, ADA, BO)
        if refused:
            assert client.code("changeServiceSupplier", **long) == 5001
        else:
            assert client.call("changeServiceSupplier", **long).Status == "Incomplete"
    with plain(service) as http:
        url = f"{service.address}/Recipient/v3"
        for body, code in [(f'<register xmlns="{V3}"/>', "5001"), (f'<nothing xmlns="{V3}"/>', "5000")]:
            response = post(http, url, envelope(body))
            assert f"ErrorCode>{code}<" in response.text, response.text


def test_read_only(tmp_path: Path) -> None:
    data = prepare(tmp_path)
    with running(tmp_path, f'[[register]]\npath = "{data}"\n') as service:
        assert Client(service.address).code("register", **registering(STRANGER, BREVIA)) == 5000


def test_threads(service: Service) -> None:
    ids = [row["recipient_id"] for row in table("far/recipients.csv") if row["type"] == "Secure"]
    ids = [id for id in ids if not id.startswith("16")][:6]
    client = Client(service.address)
    operators = {id: client.status(id).AccountStatus.ServiceSupplier for id in ids}
    ids = [id for id in ids if operators[id]]

    def work(thread: int) -> dict[str, list[frozenset[str]]]:
        choice, own = random.Random(thread), Client(service.address)
        sent: dict[str, list[frozenset[str]]] = {id: [] for id in ids}
        for _ in range(15):
            id, senders = choice.choice(ids), choice.sample(SENDERS, 3)
            assert own.call("storeAccountPreferences", **choosing(id, senders)).Status == "Complete"
            sent[id].append(frozenset(senders))
        return sent

    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(work, range(8)))
    for id in ids:
        last = {sent[id][-1] for sent in done if sent[id]}
        assert not last or client.accepted(id) in last
    assert kinds(changes(service)).count("set_acceptance") == 8 * 15


def send(http: httpx.Client, *lines: Row | str, expected: int = 200, **parameters: str) -> Row:
    text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    response = http.post("/v1/changes", content=text.encode(), params=parameters)
    assert response.status_code == expected, response.text
    assert not re.search(r"\d{11,12}", response.text), response.text
    found: Row = response.json()
    return found


def removal(id: str) -> Row:
    return {"remove_recipient": {"recipient_id": id}}


TIME = "2026-06-02T04:00:00Z"


def test_changes(tmp_path: Path) -> None:
    prepare(tmp_path)
    with writable(tmp_path) as service:
        with plain(service) as http:
            sender = {"put_sender": {"id": "164821720663", "name": "Tallnäs kommunalförbund"}}
            done = send(http, sender, removal(BO), removal(STRANGER))
            assert (done["from"], done["to"], done["applied"]) == (1000, 1003, 3)
            assert (done["skipped"], done["without_effect"], done["set_aside"]) == (0, 1, [])
            numbered = [{"sequence": 1004 + n, "time": TIME, **removal(id)} for n, id in enumerate((CECILIA, STRANGER))]
            done = send(http, *numbered)
            assert (done["from"], done["to"], done["applied"], done["without_effect"]) == (1003, 1005, 2, 1)
            done = send(http, *numbered)
            assert (done["to"], done["applied"], done["skipped"]) == (1005, 0, 2)
            send(http, {"sequence": 1009, "time": TIME, **removal(ADA)}, expected=409)
            send(http, {"sequence": 1005, "time": TIME, **removal(ADA)}, expected=409)  # a fork
            bad = {"remove_recipient": {"recipient_id": "196007089806"}}
            for line in (bad, "{", {"put_person": {}}, {**removal(ADA), "more": 1}):
                send(http, removal(ADA), line, expected=422)
            send(http, removal(ADA), {"sequence": 1007, "time": TIME, **removal(ADA)}, expected=422)
            send(http, {"time": TIME, **removal(ADA)}, expected=422)
            send(http, {"others": {"previous": 1005}}, expected=422)
            assert len(changes(service)) == 5
            done = send(http, removal(ADA), bad, max_rejected="50%")
            assert done["applied"] >= 1 and len(done["set_aside"]) == 1, done
            send(http, removal(ADA), bad, bad, max_rejected="1", expected=422)
            send(http, removal(ADA), max_rejected="much", expected=400)
        before = changes(service)
        kill(service)
    with writable(tmp_path) as service:
        assert changes(service) == before
        with plain(service) as http:
            assert send(http, removal(STRANGER))["from"] == before[-1]["sequence"]


def test_changes_of_krr(tmp_path: Path) -> None:
    data = prepare(tmp_path, "krr")
    number = int(json.loads(nabar("inspect", "--json", str(data)))["sequence"])
    with writable(tmp_path) as service:
        person = {"personidentifikator": "28909546666", "reservasjon": "JA", "status": "AKTIV"}
        with plain(service) as http:
            done = send(http, {"put_person": person})
            assert (done["from"], done["to"], done["applied"]) == (number, number + 1, 1)
            send(http, {"put_persons": {"previous": number + 1, "persons": []}}, expected=422)
            page = {"put_persons": {"previous": number + 1, "persons": [person]}}
            assert send(http, {"sequence": number + 9, "time": TIME, **page})["to"] == number + 9
            send(http, removal(ADA), expected=422)
        kill(service)
    with writable(tmp_path) as service, plain(service) as http:
        assert http.get("/v1/changes", params={"from": str(number + 9)}).text == ""
    first, *_ = nabar("changes", str(data), "--from", str(number)).splitlines()
    assert json.loads(first)["put_person"]["reservasjon"] == "JA"


def test_certificates(tmp_path: Path) -> None:
    prepare(tmp_path)
    made = Certificates(tmp_path / "c", BREVIA, MEJLO, SENDER, OWNER)
    tls = f"""
[tls]
certificate = "{tmp_path}/c/server.pem"
key = "{tmp_path}/c/server.key"
client_ca = "{tmp_path}/c/ca.pem"
client_optional = true"""
    fields = "<Type>Create</Type><AgreementText>a</AgreementText><Timestamp>2026-06-01</Timestamp>"
    fields += f"<ServiceSupplier>{BREVIA}</ServiceSupplier>"
    signed = f"<c:Signature>AAAA</c:Signature><c:Certificate>{STRANGER}</c:Certificate>"
    account = re.sub("<(/?)", r"<\1r:", f"<Id>{STRANGER}</Id>{fields}")
    body = (
        f'<register xmlns="{V3}" xmlns:c="{COMMON}" xmlns:r="{V1}"><accountRequest>{account}</accountRequest>'
        f"<accountType>Secure</accountType><signature>{signed}</signature></register>"
    )
    prefs = (
        f'<storeAccountPreferences xmlns="{V2}" xmlns:c="{COMMON}"><Id>{STRANGER}</Id>'
        f"<UserIdentity>{STRANGER}</UserIdentity>"
        f'<preferences><Id xmlns="{V1}">{STRANGER}</Id></preferences><AgreementText>a</AgreementText>'
        f"<SignatureData>{signed}</SignatureData></storeAccountPreferences>"
    )

    def ask(service: Service, caller: str | None, text: str) -> str:
        with made.client(service, caller) as http:
            return post(http, f"{service.address}/Recipient/v3", envelope(text)).text

    with writable(tmp_path, tls, f'owners = ["{OWNER}"]') as service:
        for caller in (MEJLO, SENDER, OWNER):
            assert "ErrorCode>5002<" in ask(service, caller, body), caller
        refused = ask(service, None, body)
        assert "Complete" not in refused, refused
        assert "Complete" in ask(service, BREVIA, body)
        for caller in (MEJLO, SENDER, OWNER):
            assert "ErrorCode>5002<" in ask(service, caller, prefs), caller
        assert "Complete" in ask(service, BREVIA, prefs)
        for someone, status in [(BREVIA, 403), (SENDER, 403), (None, 401), (OWNER, 200)]:
            with made.client(service, someone) as http:
                send(http, removal(STRANGER), expected=status)


def test_replica(tmp_path: Path) -> None:
    prepare(tmp_path)
    replica = tmp_path / "replica"

    def follow(service: Service) -> None:
        nabar("follow", service.address, str(replica), "--once")

    with writable(tmp_path) as service:
        client = Client(service.address)
        follow(service)
        client.register(STRANGER, BREVIA)
        client.call("storeAccountPreferences", **choosing(STRANGER, SENDERS[:2]))
        client.register(COMPANY, MEJLO, ADA)
        follow(service)
    assert not (replica / "pending.json").exists()
    nabar("export", str(replica), "--output", str(tmp_path / "a"))
    nabar("export", str(tmp_path / "data"), "--output", str(tmp_path / "b"))
    for name in ("recipients.csv", "senders.csv", "operators.csv", "register.toml"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
    subprocess.run([NABAR, "diff", str(replica), str(tmp_path / "data")], check=True, stdout=subprocess.DEVNULL)
    asked = ["lookup", "-r", str(replica), "--json", "--sender", SENDERS[2], "-"]
    found = [json.loads(line) for line in nabar(*asked, text=f"{STRANGER}\n{COMPANY}\n").splitlines()]
    assert [(row["type"], row["pending"]) for row in found] == [("Secure", False), ("Secure", True)], found


COMPANIES = [COMPANY, "164560149462", "164560012918"]
PERSONS = [ADA, BO, CECILIA, STRANGER]
OPERATORS = [BREVIA, SAMHALL, MEJLO]
Answer = str | int
"""A status, or the code of a fault."""


@dataclass
class Account:
    operator: str
    accepted: frozenset[str]
    pending: bool = False


@dataclass
class Pending:
    content: tuple[str, ...]
    signers: frozenset[str]


@dataclass
class Model:
    """The accounts and pending requests as docs/writing.md has them."""

    accounts: dict[str, Account] = field(default_factory=dict)
    pending: dict[tuple[str, str], Pending] = field(default_factory=dict)

    def sign(self, id: str, kind: str, content: tuple[str, ...], signers: list[str]) -> Answer:
        if id == UNLISTED:
            return "RulesNotSupported"
        if id in PERSONS:
            return "Complete" if set(signers) == {id} else 5002
        if not set(signers) <= set(SIGNERS):
            return 5002
        before = self.pending.get((id, kind))
        all_signers = frozenset(signers) | (before.signers if before and before.content == content else frozenset())
        if len(all_signers) >= 2:
            self.pending.pop((id, kind), None)
            return "Complete"
        self.pending[id, kind] = Pending(content, all_signers)
        return "Incomplete"

    def register(self, id: str, operator: str, signers: list[str]) -> Answer:
        account = self.accounts.get(id)
        if account and account.operator != operator:
            return 5002
        done = self.sign(id, "account", ("Create", operator), signers)
        if done == "Complete" and (not account or account.pending):
            accepted = account.accepted if account else frozenset(SENDERS)
            self.accounts[id] = Account(operator, accepted)
        elif done == "Incomplete" and not account:
            self.accounts[id] = Account(operator, frozenset(SENDERS), True)
        return done

    def deregister(self, id: str, signers: list[str]) -> Answer:
        account = self.accounts.get(id)
        if not account:
            return 5003
        done = self.sign(id, "account", ("Delete", account.operator), signers)
        if done == "Complete":
            del self.accounts[id]
            self.pending = {key: kept for key, kept in self.pending.items() if key[0] != id}
        return done

    def move(self, id: str, operator: str, signers: list[str]) -> Answer:
        account = self.accounts.get(id)
        if not account:
            return 5003
        done = self.sign(id, "move", (operator,), signers)
        if done == "Complete":
            account.operator = operator
        return done

    def choose(self, id: str, senders: list[str], signers: list[str]) -> Answer:
        account = self.accounts.get(id)
        if not account:
            return 5003
        done = self.sign(id, "choice", tuple(sorted(senders)), signers)
        if done == "Complete":
            account.accepted = frozenset(senders)
        return done

    def give_up(self, id: str, kind: str) -> Answer:
        if not self.pending.pop((id, kind), None):
            return 5003
        if kind == "account" and self.accounts[id].pending:
            del self.accounts[id]
        return "done"


class Raw:
    """The service by hand, which is faster than zeep."""

    def __init__(self, service: Service, http: httpx.Client) -> None:
        self.url, self.http = f"{service.address}/Recipient/v3", http

    def ask(self, name: str, space: str, body: str) -> etree._Element:
        text = f'<{name} xmlns="{space}" xmlns:r="{V1}" xmlns:s="{SENDER_V1}" xmlns:c="{COMMON}">{body}</{name}>'
        response = post(self.http, self.url, envelope(text))
        (element,) = etree.fromstring(response.content).find(f"{{{SOAP}}}Body")
        return element

    def answer(self, name: str, space: str, body: str) -> Answer:
        found = self.ask(name, space, body)
        if code := found.findtext(".//{*}ErrorCode"):
            assert not re.search(r"\d{10,12}", found.findtext(".//{*}Description", ""))
            return int(code)
        return found.findtext(".//{*}Status") or "done"

    def account(self, name: str, tag: str, kind: str, id: str, supplier: str, signers: list[str]) -> Answer:
        text = f"<r:Id>{id}</r:Id><r:Type>{kind}</r:Type><r:AgreementText>a</r:AgreementText>"
        text += f"<r:Timestamp>2026-06-01</r:Timestamp><r:ServiceSupplier>{escape(supplier)}</r:ServiceSupplier>"
        type = "<accountType>Secure</accountType>" if name == "register" else ""
        return self.answer(name, V3, f"<{tag}>{text}</{tag}>{type}{self.signed('signature', signers)}")

    def signed(self, tag: str, signers: list[str]) -> str:
        signature = "<c:Signature>AAAA</c:Signature>"
        return "".join(f"<{tag}>{signature}<c:Certificate>{id}</c:Certificate></{tag}>" for id in signers)

    def identity(self, id: str, user: str) -> str:
        return f"<Id>{id}</Id><UserIdentity>{user}</UserIdentity>"

    def move(self, id: str, supplier: str, signers: list[str]) -> Answer:
        text = f"<ServiceSupplier>{supplier}</ServiceSupplier><AgreementText>a</AgreementText>"
        text = self.identity(id, signers[0]) + text + self.signed("SignatureData", signers)
        return self.answer("changeServiceSupplier", V2, text)

    def choose(self, id: str, senders: list[str], signers: list[str]) -> Answer:
        names = (f"<r:AcceptedSenders><s:Id>{x}</s:Id><s:Name>ab</s:Name></r:AcceptedSenders>" for x in senders)
        text = f"<preferences><r:Id>{id}</r:Id>{''.join(names)}</preferences><AgreementText>a</AgreementText>"
        text = self.identity(id, signers[0]) + text + self.signed("SignatureData", signers)
        return self.answer("storeAccountPreferences", V2, text)

    def give_up(self, id: str, kind: str) -> Answer:
        if kind == "account":
            text = f"<recipientId>{id}</recipientId><userIdentity>{ADA}</userIdentity>"
            return self.answer("deletePendingAccountRequest", V3, text)
        name = {"choice": "deletePendingAccountPreferences", "move": "deletePendingChangeServiceSupplier"}[kind]
        return self.answer(name, V2, f"<organizationIdentity>{self.identity(id, ADA)}</organizationIdentity>")

    def check(self, model: Model) -> None:
        for id in (*PERSONS, *COMPANIES, UNLISTED):
            text = f"<senderOrgNr>{SENDER}</senderOrgNr><recipientId>{id}</recipientId>"
            found = self.ask("isReachable", V3, text)
            account = model.accounts.get(id)
            assert found.findtext(".//{*}Type") == ("Secure" if account else "Not")
            if account:
                assert found.findtext(".//{*}Pending") == str(account.pending).lower()
                assert found.findtext(".//{*}ServiceSupplier/{*}Id") == account.operator
                assert found.findtext(".//{*}SenderAccepted") == str(SENDER in account.accepted).lower()
                user = id if id in PERSONS else ADA
                text = f"<RecipientId>{id}</RecipientId><UserIdentity>{user}</UserIdentity>"
                got = self.ask("getAccountPreferences", V3, text)
                assert {x.text for x in got.findall(".//{*}AcceptedSenders/{*}Id")} == account.accepted
        for id in COMPANIES:
            text = f"<recipientId>{id}</recipientId><userIdentity>{ADA}</userIdentity>"
            self.same(self.ask("getPendingAccountRequest", V3, text), model.pending.get((id, "account")))
            got = self.ask("getPendingAccountPreferences", V2, self.identity(id, ADA))
            self.same(got, model.pending.get((id, "choice")))
            got = self.ask("getPendingChangeServiceSupplier", V2, self.identity(id, ADA))
            self.same(got, model.pending.get((id, "move")))

    def same(self, found: etree._Element, pending: Pending | None) -> None:
        signers = {x.text for x in found.findall(".//{*}SignedBy/{*}Id")}
        assert signers == (pending.signers if pending else set()), etree.tostring(found)


def step(choice: random.Random, model: Model, raw: Raw) -> tuple[tuple[Any, ...], Answer, Answer]:
    """One operation: what it is, the model's answer, and the service's. What the document leaves open is not asked."""
    id = choice.choice([*PERSONS, *COMPANIES, *COMPANIES, UNLISTED])
    signers = [id] if id in PERSONS else choice.sample(SIGNERS, choice.choice([1, 1, 2]))
    if choice.random() < 0.05:
        signers = [STRANGER if id != STRANGER else ADA]
    wrong_signer = id in PERSONS and signers != [id] or STRANGER in signers and id != STRANGER
    operator, account = choice.choice(OPERATORS), model.accounts.get(id)
    kinds = {kind for kind in ("account", "choice", "move") if (id, kind) in model.pending}
    operation = choice.choice(["register", "deregister", "move", "choose", "give up", "unknown"])
    match operation:
        case "register":
            if account and not account.pending and (id not in PERSONS or (wrong_signer and account)):
                operator = choice.choice([x for x in OPERATORS if x != account.operator])
                signers = [id] if id in PERSONS else SIGNERS[:2]
            if account and account.pending and operator != account.operator:
                signers = SIGNERS[:2]
            expected = model.register(id, operator, signers)
            got = raw.account("register", "accountRequest", "Create", id, DOMAIN[operator], signers)
        case "deregister" if account and not account.pending:
            expected = model.deregister(id, signers)
            supplier = account.operator
            got = raw.account("deregister", "deregisterAccount", "Delete", id, supplier, signers)
        case "move" if account and not account.pending and "choice" not in kinds and id != UNLISTED:
            if "move" in kinds:
                (operator,) = model.pending[id, "move"].content
            elif operator == account.operator and id not in PERSONS:
                operator = next(x for x in OPERATORS if x != account.operator)
            expected, got = model.move(id, operator, signers), raw.move(id, DOMAIN[operator], signers)
        case "choose" if id != UNLISTED and (not account.pending if account else not wrong_signer):
            senders = choice.sample(SENDERS, choice.randrange(len(SENDERS)))
            if "choice" in kinds and choice.random() < 0.5:
                senders = list(model.pending[id, "choice"].content)
            if account and frozenset(senders) == account.accepted:
                senders = senders[1:] or SENDERS[:1]
            expected, got = model.choose(id, senders, signers), raw.choose(id, senders, signers)
        case "give up" if id in COMPANIES:
            kind = choice.choice(["account", "choice", "move"])
            expected, got = model.give_up(id, kind), raw.give_up(id, kind)
        case _:
            if id not in PERSONS:
                signers = SIGNERS[:2]
            got = raw.account("register", "accountRequest", "Create", STRANGER, "unknown.example", [STRANGER])
            expected = 8004
    return (operation, id, operator, signers, kinds, account), expected, got


def test_random_operations(tmp_path: Path) -> None:
    prepare(tmp_path)
    _, entry = SIGNATORIES.split("[[company]]")
    text = "".join(f"[[company]]{entry.replace(COMPANY, company)}" for company in COMPANIES)
    (tmp_path / "signatories.toml").write_text(text)
    everyone = frozenset(SENDERS)
    model = Model()
    for row in table("far/recipients.csv"):
        if row["recipient_id"] in (*PERSONS, *COMPANIES):
            assert row["type"] == "Secure" and row["acceptance"] == "all-except"
            accepted = everyone - set(row["exceptions"].split())
            model.accounts[row["recipient_id"]] = Account(row["operator_id"], accepted, row["pending"] == "true")
    choice, history = random.Random(20260601), []
    for _ in range(6):
        with writable(tmp_path) as service, plain(service) as http:
            raw = Raw(service, http)
            raw.check(model)
            for n in range(500):
                done, expected, got = step(choice, model, raw)
                history.append((done, got))
                assert got == expected, (done, expected, got)
                if n % 100 == 99:
                    raw.check(model)
            kill(service)
    assert {"Complete", "Incomplete", "RulesNotSupported", 5002, 5003, 8004} <= {got for _, got in history}
