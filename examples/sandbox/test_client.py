"""How a client of FaR is tested with `nabar sandbox` and pytest: `pytest test_client.py`, with nabar in the path.

The client under test is the function `is_reachable` below; put your own in its place.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

SENDER = "164821000025"
V3 = "http://minameddelanden.gov.se/schema/Recipient/v3"


# The client under test.


def is_reachable(address: str, tls: ssl.SSLContext, ids: list[str], attempts: int = 4) -> dict[str, bool]:
    """Whether each recipient can be reached by the sender. Technical faults and lost connections are tried again."""
    asked = "".join(f"<recipientId>{id}</recipientId>" for id in ids)
    message = f"""<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><isReachable xmlns="{V3}">
        <senderOrgNr>{SENDER}</senderOrgNr>{asked}</isReachable></s:Body></s:Envelope>"""
    for attempt in range(attempts):
        request = urllib.request.Request(address, message.encode(), {"Content-Type": "text/xml; charset=utf-8"})
        try:
            with urllib.request.urlopen(request, context=tls, timeout=10) as response:
                text = response.read().decode()
        except urllib.error.HTTPError as error:
            code = re.search(r"ErrorCode>(\d+)<", error.read().decode())
            if code and int(code[1]) >= 5000:
                raise ValueError(f"FaR refuses the call with {code[1]}") from None
        except (OSError, http.client.HTTPException):
            pass
        else:
            rows = re.findall(r"<return>.*?</return>", text)
            if len(rows) == len(ids):
                return {id: reachable(next(row for row in rows if id in row)) for id in ids}
        time.sleep(0.05 * 2**attempt)
    raise TimeoutError("FaR does not answer")


def reachable(row: str) -> bool:
    parts = (">Secure<", "Pending>false<", "SenderAccepted>true<")
    return all(part in row for part in parts) and not re.search(r"\bServiceAdress></", row)


# The sandbox.


@dataclass
class Sandbox:
    """A running sandbox: its addresses, and its files."""

    far: str
    admin: str
    files: Path

    def call(self, method: str, path: str, body: object = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(urllib.request.Request(self.admin + path, data, method=method)) as response:
            text = response.read()
        return json.loads(text) if text else None

    def recipients(self, state: str) -> list[str]:
        found = self.call("GET", f"/recipients?register=far&state={state}")
        return [row["id"] for row in found["recipients"]]

    def calls(self) -> list[dict[str, Any]]:
        return self.call("GET", "/requests")["requests"]

    def tls(self, who: str = "sender") -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.files / "ca.pem"))
        context.load_cert_chain(self.files / f"{who}.pem", self.files / f"{who}.key")
        return context


@pytest.fixture(scope="session")
def running() -> Iterator[Sandbox]:
    command = [os.environ.get("NABAR", "nabar"), "sandbox", "--listen", "127.0.0.1:0", "--listen-plain", "127.0.0.1:0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        printed = {}
        assert process.stderr is not None
        for line in process.stderr:
            name, value = line.split(maxsplit=1)
            printed[name] = value.strip()
            if name == "ready":
                break
        files = Path(printed["files"].split(":")[0])
        yield Sandbox(printed["FaR"], printed["ready"].split()[0], files)
        process.terminate()


@pytest.fixture
def sandbox(running: Sandbox) -> Sandbox:
    running.call("DELETE", "/faults")
    running.call("DELETE", "/requests")
    return running


# The tests.


@pytest.mark.parametrize(
    ("state", "expected"), [("digital", True), ("declines-the-sender", False), ("pending", False), ("anonymous", False)]
)
def test_states(sandbox: Sandbox, state: str, expected: bool) -> None:
    ids = sandbox.recipients(state)[:10]
    assert is_reachable(sandbox.far, sandbox.tls(), ids) == dict.fromkeys(ids, expected)


@pytest.mark.parametrize(
    "fault",
    [
        {"soap_fault": {"code": 4999}},
        {"status": {"status": 503, "retry_after": 1}},
        {"reset": "beginning"},
        {"reset": "middle"},
        {"truncated": 0.5},
        {"rows": "missing"},
    ],
    ids=str,
)
def test_faults_that_pass_are_tried_again(sandbox: Sandbox, fault: dict[str, Any]) -> None:
    sandbox.call("PUT", "/faults", [{"on": {"operation": "isReachable"}, "times": 2, "fault": fault}])
    ids = sandbox.recipients("digital")[:3]
    assert is_reachable(sandbox.far, sandbox.tls(), ids) == dict.fromkeys(ids, True)
    calls = sandbox.calls()
    assert len(calls) == 3
    assert all(call["ids"] == ids and call["caller"] == SENDER for call in calls)


def test_a_refusal_is_not_tried_again(sandbox: Sandbox) -> None:
    with pytest.raises(ValueError, match="5002"):
        is_reachable(sandbox.far, sandbox.tls("operator"), sandbox.recipients("digital")[:1])
    assert len(sandbox.calls()) == 1
