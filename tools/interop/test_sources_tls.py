"""Mutual TLS to a register: whose certificate may ask, and what is said of certificates that do not work."""

from __future__ import annotations

import shutil
import ssl
import subprocess
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


# PKCS#12.

NEW = ["-keypbe", "AES-256-CBC", "-certpbe", "AES-256-CBC", "-macalg", "SHA256"]
OLD = ["-keypbe", "PBE-SHA1-3DES", "-certpbe", "PBE-SHA1-3DES", "-macalg", "SHA1"]
EXPORTS = {
    "default": [],
    "many_rounds": [*NEW, "-iter", "100000"],
    "legacy": ["-legacy"],
    "windows": [*OLD, "-name", "Åsa", "-CSP", "Microsoft"],
}


def export(tls: Certificates, name: str, out: str, *more: str, password: str = PASSWORD) -> Path:
    given = ["-in", f"{name}.pem", "-inkey", f"{name}.key", "-certfile", "ca.pem", "-out", out]
    openssl("pkcs12", "-export", *given, *more, "-passout", f"pass:{password}", directory=tls.directory)
    return tls.file(out)


def keytool(directory: Path, *arguments: str) -> None:
    command = [str(shutil.which("keytool")), "-noprompt", *arguments]
    subprocess.run(command, cwd=directory, check=True, capture_output=True, timeout=60)


def secret(tls: Certificates, name: str, text: str) -> str:
    file = tls.file(name)
    file.write_text(text)
    file.chmod(0o600)
    return str(file)


def use_pkcs12(world: World, file: Path, password: str = PASSWORD) -> None:
    password_file = secret(world.tls, "password", f"{password}\n")
    world.job.write_source(tls={"pkcs12": str(file), "password_file": password_file})


@pytest.mark.parametrize("name", EXPORTS)
def test_pkcs12_of_openssl(world: World, name: str) -> None:
    use_pkcs12(world, export(world.tls, SENDER, f"{name}.p12", *EXPORTS[name]))
    ran = world.job.works("split")
    world.check()
    assert {call.peer["serialNumber"] for call in world.far.calls} == {SENDER}
    assert PASSWORD not in ran.out + ran.error


needs_keytool = pytest.mark.skipif(shutil.which("keytool") is None, reason="there is no keytool")


@needs_keytool
@pytest.mark.parametrize("legacy", [False, True])
def test_pkcs12_of_java(world: World, legacy: bool) -> None:
    """keytool converts a key that openssl has made; Java 8 wrote the legacy form."""
    password, at = "changeit", world.tls.directory
    source = export(world.tls, SENDER, "openssl.p12", "-name", "org", password=password)
    store = world.tls.file("java.p12")
    store.unlink(missing_ok=True)
    options = ["-J-Dkeystore.pkcs12.legacy"] if legacy else []
    into = ["-destkeystore", str(store), "-deststoretype", "PKCS12", "-deststorepass", password]
    source_of = ["-srckeystore", str(source), "-srcstoretype", "PKCS12", "-srcstorepass", password]
    keytool(at, "-importkeystore", *options, *source_of, *into)
    store.chmod(0o600)
    use_pkcs12(world, store, password)
    world.job.works("split")
    world.check()


@needs_keytool
def test_a_key_that_keytool_makes(tmp_path: Path, tls: Certificates) -> None:
    """It writes ECDSA keys without their public part. The register trusts the certificate itself."""
    store = tls.file("made.p12")
    name = f"CN=Test,O=Test,C=SE,SERIALNUMBER={SENDER}"
    kind = ["-keyalg", "EC", "-groupname", "secp256r1", "-dname", name, "-alias", "org"]
    keytool(tls.directory, "-genkeypair", *kind, "-keystore", str(store), "-storepass", "changeit")
    store.chmod(0o600)
    made = openssl("pkcs12", "-in", str(store), "-nokeys", "-passin", "pass:changeit", directory=tls.directory)
    context = server_context(tls.directory, client=True)
    context.load_verify_locations(cadata=made.stdout)
    with serving(tmp_path, tls, context) as world:
        use_pkcs12(world, store, "changeit")
        world.job.works("split")
        world.check()
    assert {call.peer["serialNumber"] for call in world.far.calls} == {SENDER}


def test_a_password_in_the_environment(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    file = export(world.tls, SENDER, "environment.p12")
    world.job.write_source(tls={"pkcs12": str(file), "password_env": "NABAR_TEST_PASSWORD"})
    world.job.fails("split", USAGE, "password_env", "not set")
    monkeypatch.setenv("NABAR_TEST_PASSWORD", "wrong one")
    ran = world.job.fails("split", USAGE, "the password is not the one", "environment.p12")
    assert "wrong one" not in ran.error
    monkeypatch.setenv("NABAR_TEST_PASSWORD", PASSWORD)
    world.job.works("split")
    world.check()


def test_pkcs12_that_does_not_work(world: World) -> None:
    file = export(world.tls, SENDER, "bad.p12")
    use_pkcs12(world, file, "another")
    ran = world.job.fails("split", USAGE, "the password is not the one", "bad.p12")
    assert "another" not in ran.error
    world.job.write_source(tls={"password_file": None})
    world.job.fails("split", USAGE, "password_file", "password_env")
    use_pkcs12(world, file)
    file.chmod(0o644)
    world.job.fails("split", USAGE, "chmod 600")
    file.chmod(0o600)
    given = ["-nokeys", "-in", f"{SENDER}.pem", "-out", "bad.p12", "-passout", f"pass:{PASSWORD}"]
    openssl("pkcs12", "-export", *given, directory=world.tls.directory)
    world.job.fails("split", USAGE, "no private key")
    file.write_bytes(file.read_bytes()[:-20])
    world.job.fails("split", USAGE, "cut off")
    assert not world.far.calls


def test_a_certificate_of_pkcs12_that_ends_soon_or_has_ended(world: World) -> None:
    use_pkcs12(world, export(world.tls, "short", "short.p12"))
    ran = world.job.works("split")
    assert "warning" in ran.error and ("9 days" in ran.error or "10 days" in ran.error)
    ran = world.job.nabar("source", "check", str(world.job.source_file), "--sender", SENDER)
    assert ran.code == 0 and "days left: renew it soon" in ran.out, ran
    world.tls.make("ended", f"/C=SE/O=Test/CN=Test/serialNumber={SENDER}", days=-1)
    use_pkcs12(world, export(world.tls, "ended", "ended.p12"))
    calls = len(world.far.calls)
    world.job.fails("split", FAILED, "ended at", "renew it", more=["--force"])
    assert len(world.far.calls) == calls
