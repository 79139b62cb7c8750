"""Tokens for KRR from a server with Maskinporten's rules. First that server itself is tried, with another client."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from joserfc.jwk import RSAKey

import oracle
import standin
from asking import Job
from maskinporten import GRANT, Maskinporten, OAuthClient
from oracle import List
from running import openssl
from standin import Fault, Reply, Server, standing_in
from standin_krr import KrrStandIn
from support import FIXTURES, KRR_CONTRACTS, Row, persons
from tokens import jwk

pytestmark = pytest.mark.skipif(not KRR_CONTRACTS.is_dir(), reason=f"the official contracts are not in {KRR_CONTRACTS}")
FAILED = 1
USAGE = 2
CLIENT, ORGANISATION = "1a2b3c4d-0000-4000-8000-0123456789ab", "991825827"
CUSTOMER, STRANGER = "974760673", "889640782"
SCOPES = ["krr:global/kontaktinformasjon.read", "krr:global/digitalpost.read"]
NEW_SCOPES = ["krr:global/kontaktinfo.read", "krr:global/postkasse.read"]
KEY = rsa.generate_private_key(65537, 2048)
OTHER_KEY = rsa.generate_private_key(65537, 2048)


def pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


class World:
    """Maskinporten, KRR, and a job."""

    def __init__(self, directory: Path, server: Server, oauth: Maskinporten, krr: KrrStandIn) -> None:
        self.server, self.oauth, self.krr = server, oauth, krr
        oauth.issuer = f"{server.address}/"
        self.tls = directory / "tls"
        self.tls.mkdir()
        self.write_key(KEY)
        token = {"issuer": oauth.issuer, "client_id": CLIENT, "key": "tls/key.pem", "kid": "first"}
        limits = {"ids_per_call": 4, "call_time": "5s", "give_up_after": "10s"}
        source = {"kind": "krr", "address": server.address, "token": token, "limits": limits}
        self.job = Job(directory, List.of(FIXTURES / "krr-list.csv", oracle.norwegian, 24), source)

    def write_key(self, key: rsa.RSAPrivateKey) -> None:
        file = self.tls / "key.pem"
        file.unlink(missing_ok=True)
        file.touch(0o600)
        file.write_bytes(pem(key))

    def check(self) -> None:
        """An undisturbed result, and no secret anywhere."""
        oracle.check_files(self.job.out, self.job.mailing, oracle.krr(self.krr.persons.values()))
        assert not self.krr.asked_after_answer()
        assert self.job.files() == {"out"}

    def refused(self, *words: str, more: tuple[str, ...] = ()) -> None:
        """The job ends at once, before KRR has seen an id."""
        ran = self.job.fails("split", FAILED, *words, more=more)
        assert not self.krr.calls
        assert len(self.oauth.requests) == 1, "it is not asked again"
        self.no_secret(ran.out + ran.error)

    def no_secret(self, text: str) -> None:
        assert not any(token in text for token in self.oauth.tokens) and "eyJ" not in text

    def post(
        self, claims: Row, header: Row | None = None, key: Any = KEY, algorithm: str = "RS256", **form: str
    ) -> Row:
        """A token request of another client; the answer with its status."""
        assertion = jwt.encode(claims, key, algorithm, {"kid": "first", **(header or {})})
        fields = {"grant_type": GRANT, "assertion": assertion, **form}
        response = httpx.post(f"{self.server.address}/token", data=fields, trust_env=False)
        return {**response.json(), "status": response.status_code}

    def claims(self, **other: Any) -> Row:
        now = int(time.time())
        good = {"aud": self.oauth.issuer, "iss": CLIENT, "scope": " ".join(SCOPES), "iat": now, "exp": now + 100}
        id = {"jti": os.urandom(8).hex()}
        return {name: value for name, value in {**good, **id, **other}.items() if value is not None}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    customers = {CUSTOMER: {*SCOPES, *NEW_SCOPES}, "984661185": {SCOPES[0]}}
    client = OAuthClient(CLIENT, ORGANISATION, [jwk(KEY, "first")], {*SCOPES, *NEW_SCOPES}, customers)
    oauth = Maskinporten(client)
    krr = KrrStandIn(persons(), oauth)
    with standing_in(krr) as server:
        server.pages["/token"] = oauth.page
        yield World(tmp_path, server, oauth, krr)
    assert not oauth.complaints, oauth.complaints


# The server itself.


def test_the_server_gives_a_token(world: World) -> None:
    answer = world.post(world.claims())
    assert (answer["status"], answer["token_type"], answer["expires_in"]) == (200, "Bearer", 120)
    assert answer["scope"] == " ".join(SCOPES)
    granted = world.oauth.granted(answer["access_token"])
    assert granted and granted.consumer == ORGANISATION
    customer = world.post(world.claims(consumer_org=CUSTOMER))
    granted = world.oauth.granted(customer["access_token"])
    assert granted and granted.consumer == CUSTOMER


def test_the_server_checks_each_claim(world: World) -> None:
    now = int(time.time())
    for other, code in [
        ({"aud": world.oauth.issuer.rstrip("/")}, "MP-110"),
        ({"aud": f"{world.oauth.issuer}token"}, "MP-110"),
        ({"aud": [world.oauth.issuer]}, "MP-110"),
        ({"iss": "somebody"}, "MP-100"),
        ({"iat": now - 15}, "MP-130"),
        ({"iat": now + 15, "exp": now + 30}, "MP-130"),
        ({"exp": now - 1}, "MP-130"),
        ({"exp": now + 130}, "MP-130"),
        ({"jti": None}, "MP-012"),
        ({"scope": "krr:global/hentendring.read"}, "MP-200"),
        ({"scope": f"{SCOPES[0]}  {SCOPES[1]}"}, "MP-200"),
        ({"consumer_org": STRANGER}, "MP-250"),
        ({"consumer_org": "984661185"}, "MP-251"),
        ({"sub": "somebody"}, "Unknown claims"),
        ({"iat": None}, "Missing claims"),
    ]:
        answer = world.post(world.claims(**other))
        assert answer["status"] >= 400 and code in answer["error_description"], (other, answer)
    once = world.claims()
    assert world.post(once)["status"] == 200
    assert "MP-012" in world.post(once)["error_description"]


def test_the_server_checks_signature_and_header(world: World) -> None:
    assert world.post(world.claims(), key=OTHER_KEY)["error"] == "invalid_grant"
    assert world.post(world.claims(), key=os.urandom(32), algorithm="HS256")["error"] == "invalid_grant"
    assert "Unknown key" in world.post(world.claims(), {"kid": "second"})["error_description"]
    assert "one of kid and x5c" in world.post(world.claims(), {"x5c": ["MIIB"]})["error_description"]
    assert world.post(world.claims(), client_id=CLIENT)["error"] == "invalid_request"
    assert world.post(world.claims(), grant_type="client_credentials")["error"] == "unsupported_grant_type"


# nabar as its client.


def test_a_job_with_a_token(world: World) -> None:
    ran = world.job.works("split")
    world.check()
    world.no_secret(ran.out + ran.error)
    assert [answer["status"] for answer in world.oauth.requests] == [200], "one token for the job"
    assert not world.krr.unauthorized


def test_suppliers_scopes(world: World) -> None:
    world.job.write_source(token={"scopes": NEW_SCOPES})
    world.job.works("split")
    world.check()


def test_an_issuer_without_a_slash_at_its_end(world: World) -> None:
    world.job.write_source(token={"issuer": world.server.address})
    world.job.works("split")
    world.check()


def test_tokens_that_end_while_a_job_runs(world: World) -> None:
    world.oauth.expires_in = 2
    world.job.write_source(limits={"ids_per_second": 8, "calls_in_flight": 2})
    world.job.works("split")
    world.check()
    assert len(world.oauth.requests) > 1 and not world.krr.unauthorized, "renewed in time"
    assert len(world.oauth.requests) <= 5, "and not for each call"


def test_tokens_that_end_earlier_than_promised(world: World) -> None:
    world.oauth.expires_in, world.oauth.real_seconds = 3600, 0.5
    world.job.write_source(limits={"ids_per_second": 16})
    world.job.works("split")
    world.check()
    assert world.krr.unauthorized and len(world.oauth.requests) == 1 + world.krr.unauthorized


def test_tokens_that_krr_never_takes(world: World) -> None:
    world.oauth.real_seconds = 0
    ran = world.job.fails("split", FAILED, "token")
    assert world.krr.unauthorized == 2 and not world.krr.calls, "once more, with another token"
    world.no_secret(ran.error)


def test_tokens_without_a_scope_that_was_asked_for(world: World) -> None:
    """Maskinporten may grant fewer scopes than it was asked for, and says so."""
    world.oauth.granted_scopes = [SCOPES[0]]
    ran = world.job.fails("split", FAILED, "scope", SCOPES[1])
    assert not world.krr.calls
    world.no_secret(ran.error)


@pytest.mark.parametrize("scopes", [SCOPES[:1], SCOPES[1:]])
def test_half_of_the_scopes_is_not_silently_paper(world: World, scopes: list[str]) -> None:
    """Without contact data no person can be notified, without mailboxes none is digital: neither is the truth."""
    world.job.write_source(token={"scopes": scopes})
    world.job.fails("split", USAGE, "scope")
    assert not world.krr.calls


def test_a_supplier_asks_for_its_customer(world: World) -> None:
    world.job.works("split", "--on-behalf-of", CUSTOMER)
    world.check()
    assert {call.asker for call in world.krr.calls} == {CUSTOMER}


def test_the_customer_of_the_source_file(world: World) -> None:
    world.job.write_source(token={"consumer_org": CUSTOMER})
    world.job.works("split")
    world.check()
    assert {call.asker for call in world.krr.calls} == {CUSTOMER}


def test_answers_for_one_customer_are_not_taken_over_for_another(world: World) -> None:
    world.job.write_source(token={"consumer_org": CUSTOMER})
    world.job.works("resolve")
    before = len(world.krr.calls)
    world.oauth.clients[CLIENT].customers[STRANGER] = set(SCOPES)
    ran = world.job.run("split", "--known", str(world.job.run_file), "--on-behalf-of", STRANGER)
    assert ran.code != 0 and len(world.krr.calls) == before, ran


def test_errors_of_maskinporten_stop_and_say_what_to_do(world: World) -> None:
    for change, words in [
        ({"client_id": "somebody"}, ("MP-100", "client_id")),
        ({"scopes": [*SCOPES, "krr:global/hentendring.read"]}, ("MP-200", "scope")),
        ({"consumer_org": STRANGER}, ("MP-250", "consumer_org")),
        ({"consumer_org": "984661185"}, ("MP-251", "consumer_org")),
        ({"kid": "second"}, ("token",)),
        ({"issuer": f"{world.server.address.replace('127.0.0.1', 'localhost')}/"}, ("MP-110", "issuer")),
    ]:
        world.oauth.requests.clear()
        world.job.forget()
        kept = world.job.source
        world.job.write_source(token=change)
        world.refused(*words)
        world.job.source = kept


def test_a_mistake_may_be_corrected_when_nothing_was_answered(world: World) -> None:
    world.job.write_source(token={"consumer_org": STRANGER})
    world.refused("MP-250")
    world.job.write_source(token={"consumer_org": CUSTOMER})
    world.job.works("split")
    world.check()


def test_a_key_that_has_expired(world: World) -> None:
    world.oauth.clients[CLIENT].expired.add("first")
    world.refused("MP-121", "key")


def test_a_key_that_is_not_the_registered_one(world: World) -> None:
    world.write_key(OTHER_KEY)
    world.refused("token")


PASSING: dict[str, Reply] = {
    "503": Reply(503, headers={"Retry-After": "0"}),
    "429": Reply(429, headers={"Retry-After": "0"}),
    "502_page": Reply(502, standin.HTML.encode(), "text/html"),
    "200_page": Reply(200, standin.HTML.encode(), "text/html"),
    "reused": Reply(400, json.dumps({"error": "invalid_grant", "error_description": "(MP-012)"}).encode()),
}


@pytest.mark.parametrize("name", PASSING)
def test_passing_faults_of_maskinporten(world: World, name: str) -> None:
    world.oauth.fault = lambda number: PASSING[name] if number == 1 else None
    world.job.works("split")
    world.check()
    assert len(world.oauth.requests) == 2


def test_faults_of_both_at_random(world: World) -> None:
    world.job.write_source(limits={"calls_in_flight": 3})
    world.oauth.real_seconds, world.oauth.expires_in = 0.15, 3600
    world.oauth.fault = lambda number: PASSING["503"] if number % 3 == 2 else None
    faults: list[Fault] = [standin.status(503), standin.missing, standin.reset_in_body, standin.truncated]
    world.krr.schedule = standin.seeded(7, faults, 0.3, succession_max=2)
    world.job.works("split")
    world.check()


def test_a_token_is_not_needed_when_everything_is_known(world: World) -> None:
    world.job.works("resolve")
    calls, requests = len(world.krr.calls), len(world.oauth.requests)
    world.job.works("split", "--known", str(world.job.run_file))
    assert (len(world.krr.calls), len(world.oauth.requests)) == (calls, requests)


def test_source_check_says_each_step(world: World) -> None:
    ran = world.job.nabar("source", "check", str(world.job.source_file))
    assert ran.code == 0 and "token" in ran.out and "call" in ran.out, ran
    world.no_secret(ran.out)
    world.oauth.clients.clear()
    ran = world.job.nabar("source", "check", str(world.job.source_file))
    assert ran.code == FAILED and "MP-100" in ran.error, ran


# Enterprise certificates.


def make_chain(directory: Path, organisation: str) -> None:
    """root.pem, and tls/chain.pem with the certificate of the key and the one of the intermediate CA."""
    ca = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign"
    root = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "root.key", "-out", "root.pem", "-days", "90"]
    openssl(*root, "-subj", "/CN=Test root", directory=directory)
    for name, subject, issuer, extension in [
        ("middle", "/CN=Test CA", "root", ca),
        ("leaf", f"/C=NO/O=Test/CN=Test/serialNumber={organisation}", "middle", "keyUsage=digitalSignature"),
    ]:
        (directory / f"{name}.ext").write_text(extension)
        key = ["-key", "key.pem"] if name == "leaf" else ["-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key"]
        openssl("req", "-new", *key, "-subj", subject, "-out", f"{name}.csr", directory=directory)
        signed = ["-CA", f"{issuer}.pem", "-CAkey", f"{issuer}.key", "-CAcreateserial", "-extfile", f"{name}.ext"]
        openssl(
            "x509", "-req", "-in", f"{name}.csr", *signed, "-days", "60", "-out", f"{name}.pem", directory=directory
        )
    chain = (directory / "leaf.pem").read_text() + (directory / "middle.pem").read_text()
    (directory / "chain.pem").write_text(chain)


def with_chain(world: World, organisation: str = ORGANISATION) -> None:
    make_chain(world.tls, organisation)
    world.oauth.roots = [x509.load_pem_x509_certificate((world.tls / "root.pem").read_bytes())]
    world.job.write_source(token={"kid": None, "certificate": "tls/chain.pem"})


def test_a_chain_in_place_of_a_key_id(world: World) -> None:
    with_chain(world)
    ran = world.job.works("split")
    world.check()
    assert "warning" not in ran.error, "60 days are left"


def test_a_chain_of_another_organisation_or_without_its_middle(world: World) -> None:
    with_chain(world, STRANGER)
    world.refused("token")
    world.oauth.requests.clear()
    world.job.forget()
    (world.tls / "chain.pem").write_bytes((world.tls / "leaf.pem").read_bytes())
    world.refused("token")


# Other forms of the key.


def write_private(file: Path, content: str | bytes) -> None:
    file.unlink(missing_ok=True)
    file.touch(0o600)
    file.write_bytes(content.encode() if isinstance(content, str) else content)


def private_jwk(key: rsa.RSAPrivateKey, kid: str | None) -> Row:
    """Written by a library of its own."""
    made = RSAKey.import_key(pem(key)).as_dict(private=True)
    return {**made, "use": "sig", "alg": "RS256", **({"kid": kid} if kid else {})}


@pytest.mark.parametrize("form", ["alone", "set", "kid_of_the_source_file"])
def test_a_key_as_jwk(world: World, form: str) -> None:
    named = private_jwk(KEY, None if form == "kid_of_the_source_file" else "first")
    other = {**jwk(OTHER_KEY, "second"), "use": "sig"}
    write_private(world.tls / "key.jwk", json.dumps({"keys": [other, named]} if form == "set" else named, indent=1))
    kid = "first" if form == "kid_of_the_source_file" else None
    world.job.write_source(token={"key": "tls/key.jwk"})
    if kid is None:
        world.job.write_source(token={"kid": None})
    ran = world.job.works("split")
    world.check()
    assert named["d"] not in ran.out + ran.error


def test_a_jwk_that_does_not_work(world: World) -> None:
    file = world.tls / "key.jwk"
    world.job.write_source(token={"key": "tls/key.jwk", "kid": None})
    named = private_jwk(KEY, "first")
    public = {name: value for name, value in named.items() if name not in ("d", "p", "q", "dp", "dq", "qi")}
    for key, words in [
        (public, ("public key",)),
        ({**named, "kty": "EC"}, ("RSA",)),
        ({**named, "kid": None}, ("kid",)),
        ({**named, "qi": None}, ("lacks qi",)),
        ({"keys": [named, named]}, ("several",)),
        ({**named, "p": named["q"]}, ("key.jwk",)),
    ]:
        write_private(file, json.dumps(key))
        ran = world.job.fails("split", USAGE, *words)
        assert named["d"] not in ran.error
    write_private(file, json.dumps(named))
    file.chmod(0o644)
    world.job.fails("split", USAGE, "chmod 600")
    assert not world.oauth.requests


def test_a_key_as_pkcs12(world: World) -> None:
    """Its chain is sent as x5c, unless the source file has the id of the key."""
    with_chain(world)
    others = [(world.tls / name).read_bytes() for name in ("root.pem", "middle.pem")]
    (world.tls / "others.pem").write_bytes(b"".join(others))
    given = ["-in", "leaf.pem", "-inkey", "key.pem", "-certfile", "others.pem", "-out", "key.p12"]
    openssl("pkcs12", "-export", *given, "-passout", "pass:hemligt ord", directory=world.tls)
    write_private(world.tls / "password", "hemligt ord\n")
    token = {"key": "tls/key.p12", "certificate": None, "password_file": "tls/password"}
    world.job.write_source(token=token)
    ran = world.job.works("split")
    world.check()
    assert "hemligt" not in ran.out + ran.error
    world.oauth.roots = []
    world.job.fails("split", FAILED, "token", more=["--force"])
    world.job.forget()
    world.job.write_source(token={"kid": "first"})
    world.job.works("split")
    assert world.job.files() == {"out"}
