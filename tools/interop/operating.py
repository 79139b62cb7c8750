"""Shared by the tests of operation: a configuration, requests in every form, and parsing of answers."""

from __future__ import annotations

import re
import select
import socket
import time

import httpx

from running import Service
from support import DATE, FAR, SENDER

DISPATCHER = "164727000046"
OTHER_DISPATCHER = "164727096994"
ASKED = {"sender": SENDER, "date": DATE}
CSV = {"Content-Type": "text/csv"}
REGISTER = f'[[register]]\npath = "{FAR}"\n'


def tls(client_ca: bool) -> str:
    authority = 'client_ca = "c/ca.pem"' if client_ca else ""
    return f'[tls]\ncertificate = "c/server.pem"\nkey = "c/server.key"\n{authority}\n'


def reachability(http: httpx.Client, ids: list[str]) -> httpx.Response:
    return http.post("/v1/reachability", params=ASKED, json={"recipients": ids})


def problem(response: httpx.Response, status: int) -> str:
    assert response.status_code == status, response.text
    assert response.headers["content-type"].startswith("application/problem+json")
    assert response.json()["status"] == status
    return str(response.json()["detail"])


def metric(http: httpx.Client, name: str) -> float:
    found = re.search(rf"^{re.escape(name)} (\S+)$", http.get("/metrics").text, re.MULTILINE)
    assert found, name
    return float(found[1])


def compact(http: httpx.Client, ids: list[str]) -> httpx.Response:
    headers = {"Content-Type": "application/vnd.nabar.ids"}
    return http.post("/v1/reachability", params=ASKED, content="".join(ids).encode(), headers=headers)


def lines(http: httpx.Client, ids: list[str], streamed: bool = False) -> httpx.Response:
    body = "".join(f"{id}\n" for id in ids).encode()
    return http.post("/v1/reachability", params=ASKED, content=iter([body]) if streamed else body, headers=CSV)


def post_head(service: Service, length: str, path: str = "/v1/reachability", type: str = "text/csv") -> socket.socket:
    """A connection with a request in progress."""
    stream = socket.create_connection(("127.0.0.1", service.port), 30)
    head = f"POST {path}?sender={SENDER}&date={DATE} HTTP/1.1\r\nHost: localhost\r\n"
    stream.sendall(f"{head}Content-Type: {type}\r\n{length}\r\n\r\n".encode())
    return stream


def until_closed(stream: socket.socket, seconds: float) -> bytes:
    """All data until the other end closes."""
    deadline, output = time.monotonic() + seconds, b""
    while True:
        left = deadline - time.monotonic()
        assert left > 0 and select.select([stream], [], [], left)[0], f"still open after {seconds} s: {output[:100]!r}"
        try:
            part = stream.recv(1 << 16)
        except ConnectionResetError:
            return output
        if not part:
            return output
        output += part
