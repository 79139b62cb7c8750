"""Mutual TLS to a register: whose certificate may ask, and what is said of certificates that do not work."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import oracle
from asking import Job
from operating import DISPATCHER, OTHER_DISPATCHER
from oracle import List
from running import Certificates, openssl
from standin import server_context, standing_in
from standin_far import PATH, FarStandIn, dispatchers, fixture
from support import CONTRACTS, FIXTURES, SENDER

pytestmark = pytest.mark.skipif(not CONTRACTS.is_dir(), reason=f"the official contracts are not in {CONTRACTS}")
FAILED = 1
USAGE = 2
PASSWORD = "a pass word ÅÄÖ"


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    made = Certificates(tmp_path_factory.mktemp("sources") / "tls", SENDER, DISPATCHER, OTHER_DISPATCHER)
    made.make("short", f"/C=SE/O=Test/CN=Test/serialNumber={SENDER}", days=10)
    made.make("long", f"/C=SE/O=Test/CN=Test/serialNumber={SENDER}", days=300)
    for name in ("long", SENDER):
        given = ["-in", f"{name}.pem", "-inkey", f"{name}.key", "-certfile", "ca.pem", "-out", f"{name}.p12"]
        openssl("pkcs12", "-export", *given, "-passout", f"pass:{PASSWORD}", directory=made.directory)
    made.file("password").write_text(f"{PASSWORD}\n")
    made.file("wrong").write_text("another\n")
    return made


class World:
    def __init__(self, directory: Path, tls: Certificates, far: FarStandIn, address: str) -> None:
        self.far, self.tls = far, tls
        table = {"ca": str(tls.file("ca.pem"))}
        limits = {"ids_per_call": 10, "call_time": "5s", "give_up_after": "1s"}
        source = {"kind": "far", "address": address + PATH, "tls": table, "limits": limits}
        rows = List.of(FIXTURES / "far-list.csv", oracle.swedish, 20)
        self.job = Job(directory, rows, source, ["--sender", SENDER])

    def use(self, name: str) -> None:
        pair = {"certificate": str(self.tls.file(f"{name}.pem")), "key": str(self.tls.file(f"{name}.key"))}
        self.job.write_source(tls=pair)

    def check(self) -> None:
        oracle.check_files(self.job.out, self.job.mailing, oracle.far(self.far.recipients))
        assert self.job.files() == {"out"}


@contextmanager
def serving(directory: Path, tls: Certificates, context: ssl.SSLContext | None = None) -> Iterator[World]:
    far = FarStandIn(fixture(SENDER), mutual=True)
    with standing_in(far, context or server_context(tls.directory, client=True)) as server:
        yield World(directory, tls, far, server.address)


@pytest.fixture
def world(tmp_path: Path, tls: Certificates) -> Iterator[World]:
    with serving(tmp_path, tls) as world:
        yield world


@pytest.mark.parametrize("name", [SENDER, DISPATCHER])
def test_a_sender_and_its_dispatcher_ask(world: World, name: str) -> None:
    world.use(name)
    world.job.works("split")
    world.check()
    assert {call.peer["serialNumber"] for call in world.far.calls} == {name}


def test_another_dispatcher_may_not(world: World) -> None:
    assert SENDER not in dispatchers().get(OTHER_DISPATCHER, set())
    world.use(OTHER_DISPATCHER)
    world.job.fails("split", FAILED, "5002", "dispatcher")
    assert not world.job.out.exists()


def test_a_certificate_that_ends_soon(world: World) -> None:
    world.use("short")
    ran = world.job.works("split")
    assert "warning" in ran.error and ("9 days" in ran.error or "10 days" in ran.error)
    world.check()
    world.use("long")
    assert "warning" not in world.job.works("split", "--force").error


def test_source_check_says_the_days_that_are_left(world: World) -> None:
    world.use("long")
    ran = world.job.nabar("source", "check", str(world.job.source_file), "--sender", SENDER)
    assert ran.code == 0 and ("299 days" in ran.out or "300 days" in ran.out), ran


@pytest.fixture(params=["none", "root", "name"])
def unusable(request: pytest.FixtureRequest, tmp_path: Path, tls: Certificates) -> Iterator[tuple[World, str]]:
    """A job without a client certificate, without the register's root, or with a register of another name; and a word
    that the error must have."""
    context = server_context(tls.directory, client=True)
    if request.param == "name":
        names = "subjectAltName=DNS:far.example\nextendedKeyUsage=serverAuth"
        tls.make("elsewhere", "/CN=elsewhere", names)
        context.load_cert_chain(tls.file("elsewhere.pem"), tls.file("elsewhere.key"))
    with serving(tmp_path, tls, context) as world:
        if request.param != "none":
            world.use(SENDER)
        if request.param == "root":
            world.job.write_source(tls={"ca": None})
        yield world, {"none": "client certificate", "root": "root", "name": "name"}[request.param]


def test_certificates_that_do_not_work(unusable: tuple[World, str]) -> None:
    world, word = unusable
    ran = world.job.fails("split", FAILED, word)
    assert not world.far.calls
    assert "not answered for" not in ran.error, "it stops at once: waiting does not help"


def test_a_key_of_another_certificate(world: World) -> None:
    pair = {"certificate": str(world.tls.file(f"{SENDER}.pem")), "key": str(world.tls.file("long.key"))}
    world.job.write_source(tls=pair)
    ran = world.job.run("split")
    assert ran.code in (1, 2) and ".pem" in ran.error, ran
    assert not world.far.calls


def test_pkcs12_is_refused_with_the_command_that_converts_it(world: World) -> None:
    world.job.write_source(
        tls={"pkcs12": str(world.tls.file("long.p12")), "password_file": str(world.tls.file("password"))}
    )
    world.job.fails("split", USAGE, "openssl pkcs12")
    assert not world.far.calls
