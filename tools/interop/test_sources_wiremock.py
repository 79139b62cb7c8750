"""KRR and Maskinporten replayed by WireMock, whose faults are those of another server: Jetty, not Python.

The answers have the shapes of recorded ones; the ids are synthetic. What a job has done is read from WireMock's journal.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

import oracle
from asking import Job
from oracle import List
from running import wait_until
from support import Row, synthetic

IDS = synthetic(12)
IDS_PER_CALL = 4
CALLS = len(IDS) // IDS_PER_CALL
SCOPES = "krr:global/kontaktinformasjon.read krr:global/digitalpost.read"
TOKEN = "eyJ0eXAi.wiremock"
FAULTS = ["EMPTY_RESPONSE", "MALFORMED_RESPONSE_CHUNK", "RANDOM_DATA_THEN_CLOSE", "CONNECTION_RESET_BY_PEER"]
START_SECONDS = 30.0


def jar() -> Path | None:
    """The standalone server in the package `wiremock`."""
    found = importlib.util.find_spec("wiremock")
    places = found.submodule_search_locations if found and found.submodule_search_locations else []
    jars = [jar for place in places for jar in Path(place).glob("server/wiremock-standalone-*.jar")]
    return jars[0] if jars else None


pytestmark = [
    pytest.mark.skipif(shutil.which("java") is None, reason="WireMock needs java, which is not installed"),
    pytest.mark.skipif(jar() is None, reason="the package wiremock, with WireMock's jar, is not installed"),
]


class WireMock:
    def __init__(self, address: str) -> None:
        self.address = address
        self.http = httpx.Client(base_url=f"{address}/__admin", trust_env=False, timeout=30)

    def reset(self) -> None:
        self.http.post("/reset").raise_for_status()

    def stub(self, path: str, response: Row, *, scenario: Row | None = None, priority: int = 5, **request: Any) -> None:
        mapping = {"request": {"method": "POST", "urlPath": path, **request}, "response": response}
        self.http.post("/mappings", json={**mapping, "priority": priority, **(scenario or {})}).raise_for_status()

    def requests(self, path: str) -> list[Row]:
        """In order."""
        found = self.http.post("/requests/find", json={"method": "POST", "urlPath": path}).json()["requests"]
        return sorted(found, key=lambda request: request["loggedDate"])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WireMock]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("wiremock") / "log"
    options = ["--port", str(port), "--bind-address", "127.0.0.1", "--disable-banner"]
    command = ["java", "-jar", str(jar()), *options, "--root-dir", str(log.parent)]
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT)
    wiremock = WireMock(f"http://127.0.0.1:{port}")

    def is_up() -> bool:
        assert process.poll() is None, log.read_text()
        try:
            return wiremock.http.get("/mappings").is_success
        except httpx.TransportError:
            return False

    try:
        wait_until(is_up, START_SECONDS, "WireMock starts")
        yield wiremock
    finally:
        wiremock.http.close()
        process.kill()
        process.wait()


def person(id: str, number: int) -> Row:
    """The shapes of KRR: a mailbox, contact data only, a reservation, no person."""
    shapes: list[Row] = [
        {
            "reservasjon": "NEI",
            "status": "AKTIV",
            "varslingsstatus": "KAN_VARSLES",
            "kontaktinformasjon": {
                "epostadresse": "kari.nordmann@example.no",
                "epostadresse_oppdatert": "2026-03-11T19:57:52.000+01:00",
                "epostadresse_sist_verifisert": "2026-05-29T10:14:52+02",
            },
            "digital_post": {"postkasseadresse": "kari.nordmann#1234", "postkasseleverandoeradresse": "984661185"},
            "sertifikat": "",
            "spraak": "nb",
        },
        {
            "reservasjon": "NEI",
            "status": "AKTIV",
            "varslingsstatus": "KAN_VARSLES",
            "kontaktinformasjon": {
                "mobiltelefonnummer": "+4799999999",
                "mobiltelefonnummer_oppdatert": "2026-01-05T10:45:15.768Z",
            },
        },
        {"reservasjon": "JA", "status": "AKTIV", "varslingsstatus": "KAN_IKKE_VARSLES"},
        {"reservasjon": "NEI", "status": "IKKE_REGISTRERT", "varslingsstatus": "KAN_IKKE_VARSLES"},
    ]
    return {"personidentifikator": id, **shapes[number % len(shapes)]}


PERSONS = [person(id, number) for number, id in enumerate(IDS)]
PARTS = [sorted(IDS)[start : start + IDS_PER_CALL] for start in range(0, len(IDS), IDS_PER_CALL)]


def answer(ids: list[str]) -> Row:
    found = [person for person in PERSONS if person["personidentifikator"] in ids]
    return {"status": 200, "headers": {"Content-Type": "application/json"}, "jsonBody": {"personer": found}}


def about(ids: list[str]) -> Row:
    """A call that asks for these ids."""
    return {"bodyPatterns": [{"equalToJson": {"personidentifikatorer": ids}, "ignoreArrayOrder": True}]}


class World:
    def __init__(self, directory: Path, server: WireMock) -> None:
        self.server = server
        server.reset()
        tls = directory / "tls"
        tls.mkdir()
        key = rsa.generate_private_key(65537, 2048)
        file = tls / "key.pem"
        file.touch(0o600)
        form = serialization.PrivateFormat.PKCS8
        file.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
        token = {"issuer": f"{server.address}/", "client_id": "a", "key": "tls/key.pem", "kid": "first"}
        limits = {"ids_per_call": IDS_PER_CALL, "call_time": "5s", "give_up_after": "20s"}
        source = {"kind": "krr", "address": server.address, "token": token, "limits": limits}
        self.job = Job(directory, List.plain(IDS, oracle.norwegian), source)
        self.token_answer: Row = {
            "status": 200,
            "jsonBody": {"access_token": TOKEN, "token_type": "Bearer", "expires_in": 119, "scope": SCOPES},
        }
        server.stub("/token", self.token_answer)
        for part in PARTS:
            bearer = {"headers": {"Authorization": {"equalTo": f"Bearer {TOKEN}"}}}
            server.stub("/rest/v2/personer", answer(part), **about(part), **bearer)

    def fault(self, response: Row, path: str = "/rest/v2/personer", **request: Any) -> None:
        """The first call gets it, the others do not."""
        once = {"scenarioName": path, "requiredScenarioState": "Started", "newScenarioState": "over"}
        self.server.stub(path, response, scenario=once, priority=1, **request)

    def check(self, calls: int = CALLS + 1, tokens: int = 1) -> None:
        oracle.check_files(self.job.out, self.job.mailing, oracle.krr(PERSONS))
        bodies = [json.loads(request["body"]) for request in self.server.requests("/rest/v2/personer")]
        asked = [sorted(body["personidentifikatorer"]) for body in bodies]
        assert all(part in asked for part in PARTS) and all(ids in PARTS for ids in asked)
        assert len(asked) == calls, "the failed call alone is made again"
        assert len(self.server.requests("/token")) == tokens
        assert self.job.files() == {"out"}


@pytest.fixture
def world(tmp_path: Path, server: WireMock) -> World:
    return World(tmp_path, server)


def test_undisturbed(world: World) -> None:
    ran = world.job.works("split")
    world.check(CALLS)
    assert TOKEN not in ran.out + ran.error


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_issuer_and_one_of_the_register(world: World, fault: str) -> None:
    world.fault({"fault": fault}, path="/token")
    world.fault({"fault": fault}, **about(PARTS[1]))
    world.job.works("split")
    world.check(tokens=2)


def test_an_answer_in_dribbles(world: World) -> None:
    dribble = {"chunkedDribbleDelay": {"numberOfChunks": 8, "totalDuration": 300}}
    world.fault({**answer(PARTS[0]), **dribble}, **about(PARTS[0]))
    world.job.works("split")
    world.check(CALLS)


def test_dribbles_that_take_too_long(world: World) -> None:
    world.job.write_source(limits={"call_time": "400ms"})
    dribble = {"chunkedDribbleDelay": {"numberOfChunks": 8, "totalDuration": 3000}}
    world.fault({**answer(PARTS[0]), **dribble}, **about(PARTS[0]))
    world.job.works("split")
    world.check()


def test_an_answer_that_does_not_begin(world: World) -> None:
    world.job.write_source(limits={"call_time": "400ms"})
    world.fault({**answer(PARTS[0]), "fixedDelayMilliseconds": 2000}, **about(PARTS[0]))
    world.job.works("split")
    world.check()


def test_faults_that_stay(world: World) -> None:
    """The job ends, and goes on when the register is back: what was answered is not asked again."""
    world.job.write_source(limits={"give_up_after": "300ms"})
    world.server.stub("/rest/v2/personer", {"fault": "RANDOM_DATA_THEN_CLOSE"}, priority=1, **about(PARTS[2]))
    ran = world.job.fails("split", 1, "not answered for", "goes on from there")
    assert not any(id in ran.error for id in IDS)
    before = len(world.server.requests("/rest/v2/personer"))
    world.server.stub("/rest/v2/personer", answer(PARTS[2]), priority=1, **about(PARTS[2]))
    world.job.works("split")
    world.check(before + 1, tokens=2)


def test_a_refused_token_is_requested_once_more(world: World) -> None:
    """An error that repeats the token and an id is not shown."""
    refused = {"status": 401, "jsonBody": {"error": "invalid_token", "error_description": f"{TOKEN} {IDS[0]}"}}
    world.server.stub("/rest/v2/personer", refused, priority=1)
    ran = world.job.fails("split", 1, "token")
    assert TOKEN not in ran.error and IDS[0] not in ran.error
    assert len(world.server.requests("/token")) == 2
