"""Services with a nabar.toml, their logs, and certificates for them."""

from __future__ import annotations

import json
import os
import re
import signal
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import httpx

from support import NABAR, ROOT, START_SECONDS, Row, identities

PATIENCE = 10.0
"""Maximum of seconds to wait; certificates are checked every two."""
LISTENING = re.compile(r"listening on (https?)://127\.0\.0\.1:(\d+)")

T = TypeVar("T")


def wait_until(found: Callable[[], T], seconds: float = PATIENCE, what: str = "") -> T:
    """The first true result of `found`."""
    deadline = time.monotonic() + seconds
    while True:
        if value := found():
            return value
        assert time.monotonic() < deadline, f"not within {seconds} s {what}"
        time.sleep(0.02)


@dataclass
class Service:
    process: subprocess.Popen[bytes]
    log: Path
    address: str = ""

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    def logged(self) -> list[Row]:
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def count(self, message: str) -> int:
        return sum(row.get("message") == message for row in self.logged())

    def hang_up(self) -> None:
        self.process.send_signal(signal.SIGHUP)

    def end(self) -> int:
        self.process.terminate()
        return self.process.wait(timeout=START_SECONDS)


@contextmanager
def running(
    directory: Path,
    config: str,
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    by: Sequence[str] = (),
) -> Iterator[Service]:
    """A service on a free port with `config`, started by a command or directly. Ends it, and checks that its log has no
    identities."""
    if "refusals_per_second" not in config:
        # All refusals of a test come from one address.
        config = config if "[limits]" in config else f"{config}\n[limits]\n"
        config = config.replace("[limits]\n", "[limits]\nrefusals_per_second = 1_000_000\n")
    (directory / "nabar.toml").write_text(config)
    command = [*by, NABAR, "serve", "--config", str(directory / "nabar.toml"), "--listen", "127.0.0.1:0", *arguments]
    log = directory / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stderr=file, env={**os.environ, **(environment or {})}
        )
    service = Service(process, log)

    def listening() -> re.Match[str] | None:
        assert process.poll() is None, f"it did not start: {log.read_text()}"
        return LISTENING.search(log.read_text())

    try:
        found = wait_until(listening, START_SECONDS)
        assert found
        service.address = f"{found[1]}://127.0.0.1:{found[2]}"
        yield service
        assert process.poll() in (None, 0), f"it died ({process.returncode}): {log.read_text()}"
    finally:
        try:
            service.end()
        finally:
            process.kill()
            process.wait()
    logged = set(re.findall(r"\d{11,12}", log.read_text()))
    assert not logged & identities(), "an identity stands in the log"


def plain(service: Service) -> httpx.Client:
    return httpx.Client(base_url=service.address, trust_env=False, timeout=30)


def openssl(*arguments: str, directory: Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    command = ["openssl", *arguments]
    return subprocess.run(command, cwd=directory, input="", capture_output=True, text=True, check=check, timeout=60)


class Certificates:
    """A root, a server, and clients, as PEM in a directory."""

    def __init__(self, directory: Path, *organisations: str) -> None:
        self.directory = directory
        script = ROOT / "tools/test-certificates.sh"
        subprocess.run([str(script), str(directory), *organisations], check=True, stdout=subprocess.DEVNULL)

    def file(self, name: str) -> Path:
        return self.directory / name

    def make(
        self,
        name: str,
        subject: str,
        extensions: str = "extendedKeyUsage=clientAuth",
        days: int = 30,
        issuer: str = "ca",
    ) -> None:
        """One more certificate."""
        self.file(f"{name}.ext").write_text(extensions)
        key = f"{name}.key"
        openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key, directory=self.directory)
        openssl("req", "-new", "-utf8", "-key", key, "-subj", subject, "-out", f"{name}.csr", directory=self.directory)
        signed = ["-CA", f"{issuer}.pem", "-CAkey", f"{issuer}.key", "-CAcreateserial", "-extfile", f"{name}.ext"]
        given = ["-in", f"{name}.csr", "-days", str(days), "-out", f"{name}.pem"]
        openssl("x509", "-req", *signed, *given, directory=self.directory)

    def make_server(self, name: str, days: int = 30) -> None:
        names = "subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth"
        self.make(name, "/CN=localhost", names, days)

    def replace(self, name: str, by: str) -> None:
        """Replaces a certificate and its key by another."""
        for kind in ("key", "pem"):
            os.replace(self.file(f"{by}.{kind}"), self.file(f"{name}.{kind}"))

    def context(self, client: str | None = None) -> ssl.SSLContext:
        """For a client with one of these certificates, or one of another directory by its path."""
        context = ssl.create_default_context(cafile=str(self.file("ca.pem")))
        # From Python 3.13 on; the script's certificates do not name their issuer's key.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if client:
            context.load_cert_chain(self.file(f"{client}.pem"), self.file(f"{client}.key"))
        return context

    def client(self, service: Service, client: str | None = None) -> httpx.Client:
        return httpx.Client(base_url=service.address, verify=self.context(client), trust_env=False, timeout=30)
