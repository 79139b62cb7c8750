"""Limits of a client: requests, ids, connections, bodies, time."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

import httpx
import pytest

from operating import (
    ASKED,
    CSV,
    DISPATCHER,
    REGISTER,
    compact,
    lines,
    metric,
    post_head,
    problem,
    reachability,
    tls,
    until_closed,
)
from running import Certificates, Service, plain, running, wait_until
from soap import Schemas, envelope, is_reachable, post
from support import KRR, SENDER, persons, registered


def until_refused(ask: Callable[[], httpx.Response], times: int = 50) -> httpx.Response:
    """The first refusal; sends requests faster than a limit of one per second allows."""
    for _ in range(times):
        response = ask()
        if response.status_code != 200:
            return response
    raise AssertionError(f"{times} questions at once were answered")


LIMITED = {
    "requests": ("requests_per_second = 1", reachability, registered()[:1]),
    "ids": ("ids_per_second = 10", reachability, registered()[:10]),
    "ids in lines": ("ids_per_second = 10", lines, registered()[:10]),
    "ids in compact form": ("ids_per_second = 10", compact, registered()[:10]),
}


@pytest.mark.parametrize("case", LIMITED)
def test_only_a_client_over_its_limit_is_refused(tmp_path: Path, certificates: Certificates, case: str) -> None:
    limit, ask, ids = LIMITED[case]
    with running(tmp_path, f"{REGISTER}{tls(True)}[limits]\n{limit}\n") as service:
        with certificates.client(service, SENDER) as greedy, certificates.client(service, DISPATCHER) as other:
            assert ask(greedy, ids).status_code == 200
            refused = until_refused(lambda: ask(greedy, ids))
            problem(refused, 429)
            assert refused.headers["retry-after"] == "1"
            assert ask(other, ids).status_code == 200
            wait_until(lambda: ask(greedy, ids).status_code == 200)


@pytest.mark.parametrize("limit", ["requests_per_second = 1", "ids_per_second = 10"])
def test_soap_gets_4999_over_the_limit(tmp_path: Path, limit: str) -> None:
    with running(tmp_path, f"{REGISTER}[limits]\n{limit}\n") as service, plain(service) as http:
        wsdl = http.get("/Recipient/v3?wsdl").content
        asked = envelope(is_reachable(SENDER, registered()[:9]))
        response = until_refused(lambda: post(http, "/Recipient/v3", asked))
        fault = Schemas.of_wsdl(wsdl, tmp_path).fault(response)
        assert (fault.faultcode, fault.code) == ("Server", 4999)


def test_persons_are_limited(tmp_path: Path) -> None:
    ids = [person["personidentifikator"] for person in persons()[:5]]
    config = f'[[register]]\npath = "{KRR}"\n[limits]\nids_per_second = 5\n'
    with running(tmp_path, config) as service, plain(service) as http:
        problem(until_refused(lambda: http.post("/rest/v2/personer", json={"personidentifikatorer": ids})), 429)


def test_a_line_without_its_end_counts_as_an_id(tmp_path: Path) -> None:
    with running(tmp_path, f"{REGISTER}[limits]\nids_per_second = 1\n") as service, plain(service) as http:
        problem(
            until_refused(lambda: http.post("/v1/reachability", params=ASKED, content=registered()[0], headers=CSV)),
            429,
        )


def test_a_soap_call_counts_its_ids_and_not_its_sender(tmp_path: Path) -> None:
    with running(tmp_path, f"{REGISTER}[limits]\nids_per_second = 10\n") as service, plain(service) as http:
        for _ in range(2):
            response = post(http, "/Recipient/v3", envelope(is_reachable(SENDER, registered()[:5])))
            assert response.status_code == 200, response.text


def test_health_is_answered_over_the_limit(tmp_path: Path) -> None:
    with running(tmp_path, f"{REGISTER}[limits]\nrequests_per_second = 1\n") as service, plain(service) as http:
        until_refused(lambda: reachability(http, []))
        for path in ("/healthz", "/readyz", "/metrics"):
            assert http.get(path).status_code == 200, path


def test_connections_of_a_client_are_limited(tmp_path: Path) -> None:
    with running(tmp_path, f"{REGISTER}[limits]\nconnections_per_client = 2\n") as service, ExitStack() as stack:
        first, second = (stack.enter_context(plain(service)) for _ in range(2))
        assert first.get("/healthz").status_code == second.get("/healthz").status_code == 200
        with plain(service) as third, pytest.raises(httpx.TransportError):
            third.get("/healthz")
        assert metric(first, "nabar_connections") == 2
        assert metric(first, "nabar_connections_refused_total") == 1
        second.close()

        def again() -> bool:
            with plain(service) as other:
                try:
                    return other.get("/healthz").status_code == 200
                except httpx.TransportError:
                    return False

        wait_until(again)
        assert reachability(first, registered()[:1]).status_code == 200


LONG = "[limits]\nbody_bytes = 1000\n"


@pytest.mark.parametrize("size", [1001, 20 << 20])
def test_a_body_that_is_too_long_is_413(tmp_path: Path, size: int) -> None:
    with running(tmp_path, REGISTER + LONG) as service, plain(service) as http:
        assert "1000" in problem(http.post("/v1/reachability", json={"recipients": ["a" * size]}, params=ASKED), 413)
        problem(compact(http, registered()[:100]), 413)
        ids = registered()[:100]
        assert len(lines(http, ids).text.splitlines()) == len(ids), "lines are streamed"
        assert reachability(http, registered()[:5]).status_code == 200


@pytest.mark.parametrize("size", [1001, 1 << 17, 20 << 20])
def test_a_body_in_chunks_that_is_too_long_is_413(tmp_path: Path, size: int) -> None:
    headers = {"Content-Type": "application/json"}
    with running(tmp_path, REGISTER + LONG) as service, plain(service) as http:
        for _ in range(10):
            chunks = (b" " * 1000 for _ in range(size // 1000 + 1))
            problem(http.post("/v1/reachability", params=ASKED, content=chunks, headers=headers), 413)


SHORT = "stall_time = '1s'\n"
BOTH_SHORT = f"{SHORT}head_time = '1s'\n"


@pytest.mark.parametrize("limits", [SHORT, BOTH_SHORT])
@pytest.mark.parametrize("case", ["lines", "streamed lines", "json", "soap", "list"])
def test_a_stalled_request_times_out(tmp_path: Path, case: str, limits: str) -> None:
    length = "Transfer-Encoding: chunked" if case == "streamed lines" else "Content-Length: 100"
    path = {"soap": "/Recipient/v3", "list": "/v1/check"}.get(case, "/v1/reachability")
    type = {"soap": "text/xml", "json": "application/json"}.get(case, "text/csv")
    begun = b"5\r\n12345\r\n" if case == "streamed lines" else b"12345"
    with running(tmp_path, f"{REGISTER}[limits]\n{limits}") as service, plain(service) as http:
        with closing(post_head(service, length, path, type)) as stream:
            stream.sendall(begun)
            assert not until_closed(stream, 5).startswith(b"HTTP/1.1 200") or case == "streamed lines"
        assert reachability(http, registered()[:1]).status_code == 200


@pytest.mark.parametrize("limits", ["head_time = '1s'\n", BOTH_SHORT])
@pytest.mark.parametrize("begun", [b"", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"])
def test_an_unfinished_head_times_out(tmp_path: Path, begun: bytes, limits: str) -> None:
    with running(tmp_path, f"{REGISTER}[limits]\n{limits}") as service:
        with closing(socket.create_connection(("127.0.0.1", service.port), 30)) as stream:
            stream.sendall(begun)
            until_closed(stream, 5)


def long_answer(service: Service) -> socket.socket:
    """A connection with far more answers than buffers hold, after all ids were sent."""
    body = "".join(f"{id}\n" for id in registered()).encode() * 3000
    stream = socket.socket()
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
    stream.settimeout(30)
    stream.connect(("127.0.0.1", service.port))
    head = f"POST /v1/reachability?sender={SENDER} HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/csv\r\n"
    stream.sendall(f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
    return stream


@pytest.mark.parametrize("limits", [SHORT, BOTH_SHORT])
def test_a_client_that_does_not_read_times_out(tmp_path: Path, limits: str) -> None:
    with running(tmp_path, f"{REGISTER}[limits]\n{limits}") as service, plain(service) as http:
        with closing(long_answer(service)):
            assert metric(http, "nabar_connections") == 2
            wait_until(lambda: metric(http, "nabar_connections") == 1, 6)


def test_a_slow_reader_gets_the_complete_answer(tmp_path: Path) -> None:
    """No pause is as long as the limits, but the whole takes longer."""
    with running(tmp_path, f"{REGISTER}[limits]\nstall_time = '3s'\nhead_time = '3s'\n") as service:
        with closing(long_answer(service)) as stream:
            begun, output = time.monotonic(), stream.recv(1 << 16)
            head, _, _ = output.partition(b"\r\n\r\n")
            assert b"transfer-encoding: chunked" in head
            end = output
            while not end.endswith(b"\r\n0\r\n\r\n"):
                part = stream.recv(1 << 16)
                assert part, "it was cut"
                end = end[-16:] + part
                if time.monotonic() < begun + 7:
                    select.select([], [], [], 0.01)


def test_a_list_that_waits_for_its_turn_gets_it(tmp_path: Path) -> None:
    """The list before it arrives slowly, and takes longer than the limits."""
    limits = f"[limits]\n{BOTH_SHORT}jobs = 1\nbytes_per_second_min = 1\n"
    with running(tmp_path, REGISTER + limits) as service:
        with ExitStack() as stack:
            slow = stack.enter_context(closing(post_head(service, "Transfer-Encoding: chunked", "/v1/check")))
            slow.sendall(b"3\r\nid\n\r\n")
            with plain(service) as http:
                for _ in range(20):  # until the first is surely in progress
                    http.get("/healthz")
            waiting = stack.enter_context(closing(post_head(service, "Content-Length: 16", "/v1/check")))
            waiting.sendall(f"id\n{registered()[0]}\n".encode())
            line = f"{registered()[0]}\n".encode()
            deadline = time.monotonic() + 3
            while time.monotonic() < deadline:
                slow.sendall(b"%x\r\n%s\r\n" % (len(line), line))
                assert not select.select([waiting], [], [], 0.2)[0], waiting.recv(1 << 16)
            slow.sendall(b"0\r\n\r\n")
            assert slow.recv(1 << 16).startswith(b"HTTP/1.1 200")
            assert waiting.recv(1 << 16).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(("age", "status"), [("36h", 503), ("2d", 503), ("900000h", 200), ("30000d", 200)])
@pytest.mark.parametrize("given", ["config", "option"])
def test_a_register_that_is_too_old_is_not_ready(tmp_path: Path, age: str, status: int, given: str) -> None:
    config, options = (f'max_age = "{age}"\n', ()) if given == "config" else ("", ("--max-age", age))
    with running(tmp_path, config + REGISTER, *options) as service, plain(service) as http:
        response = http.get("/readyz")
        assert (response.status_code, response.json()["ready"]) == (status, status == 200)
        assert http.get("/healthz").status_code == 200


def test_incoming_lines_are_slowed_down(tmp_path: Path) -> None:
    """A hundred ids at forty per second: the first forty at once, and the rest in a second and a half."""
    with running(tmp_path, f"{REGISTER}[limits]\nids_per_second = 40\n") as service, plain(service) as http:
        ids = registered()[:100]
        pieces = ("".join(f"{id}\n" for id in ids[first : first + 20]).encode() for first in range(0, 100, 20))
        began = time.monotonic()
        output = http.post("/v1/reachability", params=ASKED, content=pieces, headers=CSV)
        assert output.status_code == 200 and [row.split(",")[0] for row in output.text.splitlines()] == ids
        assert time.monotonic() - began > 1
