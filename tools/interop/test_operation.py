"""The service as whoever runs it sees it: reloading, the audit log, limits, its configuration, its end."""

from __future__ import annotations

import json
import os
import re
import resource
import select
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import httpx
import pytest
from cryptography import x509

from running import Certificates, Service, plain, running, wait_until
from soap import Schemas, envelope, is_reachable, post
from support import DATE, FAR, KRR, NABAR, SENDER, START_SECONDS, Row, identities, lookup, persons, registered

DISPATCHER = "164727000046"
OTHER_DISPATCHER = "164727096994"
ASKED = {"sender": SENDER, "date": DATE}
CSV = {"Content-Type": "text/csv"}
REGISTER = f'[[register]]\npath = "{FAR}"\n'
READ_ANEW = "certificates and keys were read anew"
STAY = "what cannot be read stays as it was"


def tls(client_ca: bool) -> str:
    authority = 'client_ca = "c/ca.pem"' if client_ca else ""
    return f'[tls]\ncertificate = "c/server.pem"\nkey = "c/server.key"\n{authority}\n'


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path / "c", SENDER, DISPATCHER, OTHER_DISPATCHER)


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


# Reloading


def shown(certificates: Certificates, service: Service) -> bytes:
    """The certificate that a new connection is shown."""
    with socket.create_connection(("127.0.0.1", service.port), 10) as raw:
        with certificates.context().wrap_socket(raw, server_hostname="localhost") as stream:
            return stream.getpeercert(True) or b""


def der(certificates: Certificates, name: str) -> bytes:
    return ssl.PEM_cert_to_DER_cert(certificates.file(f"{name}.pem").read_text())


def read_anew(service: Service) -> None:
    """Once more, so that the next look by itself is as far away as it gets."""
    before = service.count(READ_ANEW)
    service.hang_up()
    wait_until(lambda: service.count(READ_ANEW) > before)


@pytest.mark.parametrize("at_once", [False, True])
def test_a_new_certificate_is_shown_to_new_connections(
    tmp_path: Path, certificates: Certificates, at_once: bool
) -> None:
    certificates.make_server("new", days=10)
    with running(tmp_path, REGISTER + tls(False)) as service, certificates.client(service) as http:
        port = connection(http)
        assert shown(certificates, service) == der(certificates, "server")
        new = der(certificates, "new")
        if at_once:
            read_anew(service)
        certificates.replace("server", "new")
        if at_once:
            service.hang_up()
        wait_until(lambda: shown(certificates, service) == new, 1.5 if at_once else 8)
        assert connection(http) == port, "the open connection goes on"
        assert service.process.poll() is None


def connection(http: httpx.Client) -> int:
    """The client's port of the connection that answers."""
    with http.stream("GET", "/healthz") as response:
        assert response.read() == b"ok\n"
        stream = response.extensions["network_stream"]
        return int(stream.get_extra_info("client_addr")[1])


@pytest.mark.parametrize("text", [b"", b"no certificate", None])
@pytest.mark.parametrize("file", ["server.pem", "server.key", "ca.pem"])
def test_a_broken_file_leaves_what_was(
    tmp_path: Path, certificates: Certificates, file: str, text: bytes | None
) -> None:
    certificates.make_server("new")
    good = der(certificates, "server")
    with running(tmp_path, REGISTER + tls(True)) as service:
        kept, path = certificates.context(SENDER), certificates.file(file)
        whole = path.read_bytes()
        path.unlink() if text is None else path.write_bytes(text)
        (row, *_) = wait_until(lambda: [row for row in service.logged() if row["level"] == "ERROR"])
        assert row["message"] == STAY and file in row["error"]
        with httpx.Client(base_url=service.address, verify=kept, trust_env=False) as http:
            assert reachability(http, registered()[:2]).status_code == 200
        path.write_bytes(whole)
        wait_until(lambda: service.count(READ_ANEW))
        certificates.replace("server", "new")
        new = der(certificates, "server")
        assert new != good
        context = certificates.context(SENDER)

        def now_shown() -> bytes | None:
            with socket.create_connection(("127.0.0.1", service.port), 10) as raw:
                with context.wrap_socket(raw, server_hostname="localhost") as stream:
                    return stream.getpeercert(True)

        wait_until(lambda: now_shown() == new)


def test_a_key_of_another_certificate_leaves_what_was(tmp_path: Path, certificates: Certificates) -> None:
    certificates.make_server("new")
    with running(tmp_path, REGISTER + tls(False)) as service:
        good = der(certificates, "server")
        certificates.file("new.key").rename(certificates.file("server.key"))
        wait_until(lambda: service.count(STAY))
        assert shown(certificates, service) == good
        certificates.file("new.pem").rename(certificates.file("server.pem"))
        new = der(certificates, "server")
        wait_until(lambda: shown(certificates, service) == new)


def test_a_root_that_is_taken_away_lets_nobody_in(tmp_path: Path, certificates: Certificates) -> None:
    other = Certificates(tmp_path / "other", SENDER)
    with running(tmp_path, REGISTER + tls(True)) as service:
        old = certificates.context(SENDER)
        new = certificates.context()
        new.load_cert_chain(other.file(f"{SENDER}.pem"), other.file(f"{SENDER}.key"))

        def let_in(context: ssl.SSLContext) -> bool:
            with httpx.Client(base_url=service.address, verify=context, trust_env=False) as http:
                try:
                    return reachability(http, registered()[:1]).status_code == 200
                except httpx.TransportError:
                    return False

        assert let_in(old) and not let_in(new)
        certificates.file("ca.pem").write_bytes(other.file("ca.pem").read_bytes())
        service.hang_up()
        wait_until(lambda: let_in(new))
        assert not let_in(old)


def test_broken_keys_for_tokens_do_not_keep_an_old_certificate(tmp_path: Path, certificates: Certificates) -> None:
    """Whoever signs tokens may be away when a certificate is renewed."""
    keys = tmp_path / "jwks.json"
    keys.write_text(json.dumps({"keys": [{"kty": "EC", "crv": "P-256", "kid": "a", "x": "A" * 43, "y": "A" * 43}]}))
    certificates.make_server("new")
    tokens = '[tokens]\nissuer = "i"\naudience = "a"\nalgorithms = ["ES256"]\njwks = "jwks.json"\n'
    with running(tmp_path, REGISTER + tls(False) + tokens) as service:
        keys.write_text("{")
        wait_until(lambda: service.count(STAY))
        certificates.replace("server", "new")
        new = der(certificates, "server")
        wait_until(lambda: shown(certificates, service) == new, 6)


def test_metrics_tell_when_certificates_expire(tmp_path: Path, certificates: Certificates) -> None:
    def end(name: str) -> float:
        return x509.load_der_x509_certificate(der(certificates, name)).not_valid_after_utc.timestamp()

    certificates.make_server("new", days=300)

    def name(file: str) -> str:
        return f'nabar_certificate_expiry_seconds{{file="{certificates.file(file)}"}}'

    with running(tmp_path, REGISTER + tls(True)) as service:
        with certificates.client(service, SENDER) as http:
            assert metric(http, name("server.pem")) == end("server")
            assert metric(http, name("ca.pem")) == end("ca")
            certificates.replace("server", "new")
            service.hang_up()
            wait_until(lambda: metric(http, name("server.pem")) == end("server"))


def test_metrics_tell_two_files_of_one_name_apart(tmp_path: Path, certificates: Certificates) -> None:
    (tmp_path / "ca").mkdir()
    (tmp_path / "ca/server.pem").write_bytes(certificates.file("ca.pem").read_bytes())
    with running(tmp_path, REGISTER + tls(True).replace("c/ca.pem", "ca/server.pem")) as service:
        with certificates.client(service, SENDER) as http:
            assert http.get("/metrics").text.count("\nnabar_certificate_expiry_seconds{") == 2


# The audit log


AUDIT = '[audit]\npath = "audit"\n'


def audited(directory: Path, name: str = "audit") -> list[Row]:
    """What came of each exchange, without the lines that say that an answer has begun."""
    file = directory / name
    rows = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    return [row for row in rows if not row.get("begun")]


def outcomes(ids: list[str]) -> Row:
    return dict(Counter(row["outcome"] for row in lookup(FAR, ids, SENDER)))


def compact(http: httpx.Client, ids: list[str]) -> httpx.Response:
    headers = {"Content-Type": "application/vnd.nabar.ids"}
    return http.post("/v1/reachability", params=ASKED, content="".join(ids).encode(), headers=headers)


def lines(http: httpx.Client, ids: list[str], streamed: bool = False) -> httpx.Response:
    body = "".join(f"{id}\n" for id in ids).encode()
    return http.post("/v1/reachability", params=ASKED, content=iter([body]) if streamed else body, headers=CSV)


WAYS: dict[str, tuple[str, Callable[[httpx.Client, list[str]], httpx.Response]]] = {
    "json": ("reachability", reachability),
    "lines": ("reachability", lines),
    "streamed lines": ("reachability", lambda http, ids: lines(http, ids, True)),
    "compact": ("reachability", compact),
    "check": (
        "check",
        lambda http, ids: http.post("/v1/check", params=ASKED, content="\n".join(["id", *ids]), headers=CSV),
    ),
    "soap": ("far-recipient", lambda http, ids: post(http, "/Recipient/v3", envelope(is_reachable(SENDER, ids)))),
}


@pytest.mark.parametrize("way", WAYS)
def test_an_exchange_is_one_line_of_who_asked_what(tmp_path: Path, certificates: Certificates, way: str) -> None:
    endpoint, ask = WAYS[way]
    ids = registered()[:120]
    with running(tmp_path, REGISTER + tls(True) + AUDIT) as service:
        with certificates.client(service, DISPATCHER) as http:
            response = ask(http, ids)
            assert response.status_code == 200, response.text
        (row,) = wait_until(lambda: audited(tmp_path))
    assert row["request_id"] == response.headers["x-request-id"]
    told = {name: row.get(name) for name in ("endpoint", "status", "caller", "address", "sender", "sequence", "ids")}
    assert told == {
        "endpoint": endpoint,
        "status": 200,
        "caller": DISPATCHER,
        "address": "127.0.0.1",
        "sender": SENDER,
        "sequence": 1000,
        "ids": len(ids),
    }
    assert {name: count for name, count in row["outcomes"].items() if count} == outcomes(ids)
    assert row["time"] and row["micros"] >= 0


def test_what_is_refused_is_in_the_audit_log_and_health_is_not(tmp_path: Path, certificates: Certificates) -> None:
    with running(tmp_path, REGISTER + tls(True) + AUDIT) as service:
        with certificates.client(service, OTHER_DISPATCHER) as http:
            for path in ("/healthz", "/readyz", "/metrics", "/openapi.json"):
                http.get(path)
            assert reachability(http, registered()[:2]).status_code == 403
            assert http.get("/nothing").status_code == 404
            assert post(http, "/Recipient/v3", envelope(is_reachable(SENDER, registered()[:1]))).status_code == 500
            assert http.get("/v1/senders").status_code == 200
    rows = audited(tmp_path)
    assert [row["status"] for row in rows] == [403, 404, 500, 200]
    assert {row["caller"] for row in rows} == {OTHER_DISPATCHER}


def test_no_identity_is_in_the_audit_log(tmp_path: Path) -> None:
    ids = registered()
    with running(tmp_path, REGISTER + AUDIT) as service, plain(service) as http:
        for _, ask in WAYS.values():
            ask(http, ids)
        http.get(f"/v1/{ids[0]}", headers={"X-Request-Id": ids[0], "User-Agent": ids[0]})
        http.post("/v1/reachability", params={"sender": ids[0], ids[1]: ids[2]}, json={"recipients": ids[:1]})
        post(http, "/Recipient/v3", envelope(is_reachable(ids[0], ids[:1])))
        post(http, "/Recipient/v3", envelope(f'<x{ids[0]} xmlns="{ids[1]}"/>'))
    text = (tmp_path / "audit").read_text()
    assert len(audited(tmp_path)) == len(WAYS) + 4
    assert not set(re.findall(r"\d{10,12}", text)) & {form for id in identities() for form in (id, id[2:])}


def test_persons_are_audited(tmp_path: Path) -> None:
    ids = [person["personidentifikator"] for person in persons()[:7]]
    with running(tmp_path, f'[[register]]\npath = "{KRR}"\n{AUDIT}') as service, plain(service) as http:
        http.post("/rest/v2/personer", json={"personidentifikatorer": ids})
    (row,) = audited(tmp_path)
    assert (row["endpoint"], row["status"], row["ids"], row["sequence"]) == ("krr-personer", 200, 7, 1000)


def test_an_answer_that_is_broken_off_is_audited(tmp_path: Path) -> None:
    """As far as it came: those ids were answered."""
    with running(tmp_path, REGISTER + AUDIT) as service:
        with closing(post_head(service, "Transfer-Encoding: chunked")) as stream:
            block = f"{registered()[0]}\n".encode()
            stream.sendall(b"%x\r\n%s\r\n" % (len(block), block))
            assert wait_until(lambda: stream.recv(1 << 16)).startswith(b"HTTP/1.1 200")
        (row,) = wait_until(lambda: audited(tmp_path))
        assert (row["ids"], row["sender"]) == (1, SENDER)


def test_a_renamed_audit_log_is_followed_by_a_new_one(tmp_path: Path) -> None:
    with running(tmp_path, REGISTER + AUDIT) as service, plain(service) as http:
        with ExitStack() as stack:
            writers = [threading.Thread(target=ask_often, args=(service, 100)) for _ in range(4)]
            for writer in writers:
                writer.start()
                stack.callback(writer.join)
            wait_until(lambda: audited(tmp_path))
            (tmp_path / "audit").rename(tmp_path / "audit.1")
            service.hang_up()
            wait_until((tmp_path / "audit").exists)
        reachability(http, registered()[:3])
        assert audited(tmp_path)[-1]["ids"] == 3
    rows = audited(tmp_path, "audit.1") + audited(tmp_path)
    assert len(rows) == 401, "none is lost, all are whole"
    assert len({row["request_id"] for row in rows}) == 401


def ask_often(service: Service, times: int) -> None:
    with plain(service) as http:
        for _ in range(times):
            assert reachability(http, registered()[:2]).status_code == 200


@pytest.mark.parametrize("way", WAYS)
def test_what_cannot_be_audited_is_not_answered(tmp_path: Path, way: str) -> None:
    ids = registered()[:5]
    with running(tmp_path, REGISTER + '[audit]\npath = "/dev/full"\n') as service, plain(service) as http:
        try:
            response = WAYS[way][1](http, ids)
        except httpx.TransportError:
            return
        assert "audit" in problem(response, 503)
        assert not any(id in response.text for id in ids)
        assert http.get("/healthz").status_code == 200
        assert any(row["level"] == "ERROR" and "audit" in row["message"] for row in service.logged())


def test_half_a_line_of_a_full_disk_spoils_no_other(tmp_path: Path) -> None:
    # Otherwise the signal ends the process, and nothing is left to go on.
    by = ["sh", "-c", """trap '' XFSZ; exec "$0" "$@" """]
    with running(tmp_path, REGISTER + AUDIT, by=by) as service, plain(service) as http:
        reachability(http, registered()[:2])
        length = (tmp_path / "audit").stat().st_size
        resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE, (length + 40, resource.RLIM_INFINITY))
        assert reachability(http, registered()[:2]).status_code == 503
        resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        assert reachability(http, registered()[:3]).status_code == 200
    *_, last = (tmp_path / "audit").read_text().splitlines()
    assert json.loads(last)["ids"] == 3


# Limits


def until_refused(ask: Callable[[], httpx.Response], times: int = 50) -> httpx.Response:
    """The first answer that is none; asked faster than a limit of one a second allows."""
    for _ in range(times):
        response = ask()
        if response.status_code != 200:
            return response
    raise AssertionError(f"{times} questions at once were answered")


LIMITED = {
    "requests": ("requests_a_second = 1", reachability, registered()[:1]),
    "ids": ("ids_a_second = 10", reachability, registered()[:10]),
    "ids in lines": ("ids_a_second = 10", lines, registered()[:10]),
    "ids in compact form": ("ids_a_second = 10", compact, registered()[:10]),
}


@pytest.mark.parametrize("case", LIMITED)
def test_who_asks_too_much_is_told_and_others_are_served(tmp_path: Path, certificates: Certificates, case: str) -> None:
    limit, ask, ids = LIMITED[case]
    with running(tmp_path, f"{REGISTER}{tls(True)}[limits]\n{limit}\n") as service:
        with certificates.client(service, SENDER) as greedy, certificates.client(service, DISPATCHER) as other:
            assert ask(greedy, ids).status_code == 200
            problem(until_refused(lambda: ask(greedy, ids)), 429)
            assert ask(other, ids).status_code == 200
            wait_until(lambda: ask(greedy, ids).status_code == 200)


@pytest.mark.parametrize("limit", ["requests_a_second = 1", "ids_a_second = 10"])
def test_soap_is_told_4999_if_it_asks_too_much(tmp_path: Path, limit: str) -> None:
    with running(tmp_path, f"{REGISTER}[limits]\n{limit}\n") as service, plain(service) as http:
        wsdl = http.get("/Recipient/v3?wsdl").content
        asked = envelope(is_reachable(SENDER, registered()[:9]))
        response = until_refused(lambda: post(http, "/Recipient/v3", asked))
        fault = Schemas.of_wsdl(wsdl, tmp_path).fault(response)
        assert (fault.faultcode, fault.code) == ("Server", 4999)


def test_persons_are_limited(tmp_path: Path) -> None:
    ids = [person["personidentifikator"] for person in persons()[:5]]
    config = f'[[register]]\npath = "{KRR}"\n[limits]\nids_a_second = 5\n'
    with running(tmp_path, config) as service, plain(service) as http:
        problem(until_refused(lambda: http.post("/rest/v2/personer", json={"personidentifikatorer": ids})), 429)


def test_a_line_without_its_end_counts_as_an_id(tmp_path: Path) -> None:
    with running(tmp_path, f"{REGISTER}[limits]\nids_a_second = 1\n") as service, plain(service) as http:
        problem(
            until_refused(lambda: http.post("/v1/reachability", params=ASKED, content=registered()[0], headers=CSV)),
            429,
        )


def test_a_soap_call_counts_its_ids_and_not_its_sender(tmp_path: Path) -> None:
    with running(tmp_path, f"{REGISTER}[limits]\nids_a_second = 10\n") as service, plain(service) as http:
        for _ in range(2):
            response = post(http, "/Recipient/v3", envelope(is_reachable(SENDER, registered()[:5])))
            assert response.status_code == 200, response.text


def test_health_is_told_to_who_has_asked_too_much(tmp_path: Path) -> None:
    with running(tmp_path, f"{REGISTER}[limits]\nrequests_a_second = 1\n") as service, plain(service) as http:
        until_refused(lambda: reachability(http, []))
        for path in ("/healthz", "/readyz", "/metrics"):
            assert http.get(path).status_code == 200, path


def test_a_client_has_so_many_connections(tmp_path: Path) -> None:
    with running(tmp_path, f"{REGISTER}[limits]\nconnections_a_client = 2\n") as service, ExitStack() as stack:
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


def post_head(service: Service, length: str, path: str = "/v1/reachability", type: str = "text/csv") -> socket.socket:
    """A connection on which a question has begun."""
    stream = socket.create_connection(("127.0.0.1", service.port), 30)
    head = f"POST {path}?sender={SENDER}&date={DATE} HTTP/1.1\r\nHost: localhost\r\n"
    stream.sendall(f"{head}Content-Type: {type}\r\n{length}\r\n\r\n".encode())
    return stream


def until_closed(stream: socket.socket, seconds: float) -> bytes:
    """What comes until the other end closes."""
    deadline, told = time.monotonic() + seconds, b""
    while True:
        left = deadline - time.monotonic()
        assert left > 0 and select.select([stream], [], [], left)[0], f"still open after {seconds} s: {told[:100]!r}"
        try:
            part = stream.recv(1 << 16)
        except ConnectionResetError:
            return told
        if not part:
            return told
        told += part


SHORT = "stall_time = '1s'\n"
BOTH_SHORT = f"{SHORT}head_time = '1s'\n"


@pytest.mark.parametrize("limits", [SHORT, BOTH_SHORT])
@pytest.mark.parametrize("case", ["lines", "streamed lines", "json", "soap", "list"])
def test_who_stops_in_the_middle_is_not_waited_for(tmp_path: Path, case: str, limits: str) -> None:
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
@pytest.mark.parametrize("begun", [b"", b"GET /healthz HTTP/1.1\r\nHost: a\r\n"])
def test_who_does_not_finish_a_head_is_not_waited_for(tmp_path: Path, begun: bytes, limits: str) -> None:
    with running(tmp_path, f"{REGISTER}[limits]\n{limits}") as service:
        with closing(socket.create_connection(("127.0.0.1", service.port), 30)) as stream:
            stream.sendall(begun)
            until_closed(stream, 5)


def long_answer(service: Service) -> socket.socket:
    """A connection on which many more answers come than buffers take, all ids sent."""
    body = "".join(f"{id}\n" for id in registered()).encode() * 3000
    stream = socket.socket()
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
    stream.settimeout(30)
    stream.connect(("127.0.0.1", service.port))
    head = f"POST /v1/reachability?sender={SENDER} HTTP/1.1\r\nHost: a\r\nContent-Type: text/csv\r\n"
    stream.sendall(f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
    return stream


@pytest.mark.parametrize("limits", [SHORT, BOTH_SHORT])
def test_who_takes_nothing_is_not_waited_for(tmp_path: Path, limits: str) -> None:
    with running(tmp_path, f"{REGISTER}[limits]\n{limits}") as service, plain(service) as http:
        with closing(long_answer(service)):
            assert metric(http, "nabar_connections") == 2
            wait_until(lambda: metric(http, "nabar_connections") == 1, 6)


def test_who_takes_an_answer_slowly_gets_it_all(tmp_path: Path) -> None:
    """It never stops for as long as the limits are, but takes longer than them."""
    with running(tmp_path, f"{REGISTER}[limits]\nstall_time = '3s'\nhead_time = '3s'\n") as service:
        with closing(long_answer(service)) as stream:
            begun, told = time.monotonic(), stream.recv(1 << 16)
            head, _, _ = told.partition(b"\r\n\r\n")
            assert b"transfer-encoding: chunked" in head
            end = told
            while not end.endswith(b"\r\n0\r\n\r\n"):
                part = stream.recv(1 << 16)
                assert part, "it was cut"
                end = end[-16:] + part
                if time.monotonic() < begun + 7:
                    select.select([], [], [], 0.01)


def test_a_list_that_waits_for_its_turn_gets_it(tmp_path: Path) -> None:
    """The job before it comes slowly, but it comes; that takes longer than the limits."""
    limits = f"[limits]\n{BOTH_SHORT}jobs = 1\n"
    with running(tmp_path, REGISTER + limits) as service:
        with ExitStack() as stack:
            slow = stack.enter_context(closing(post_head(service, "Transfer-Encoding: chunked", "/v1/check")))
            slow.sendall(b"3\r\nid\n\r\n")
            with plain(service) as http:
                for _ in range(20):  # until the first has surely been taken up
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


# The configuration


def refused(directory: Path, config: str | None, listen: str = "127.0.0.1:0") -> tuple[int, str]:
    """How the service ends, and what it says."""
    file = directory / "nabar.toml"
    if config is not None:
        file.write_text(config)
    command = [NABAR, "serve", "--config", str(file), "--listen", listen]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=10)
    return done.returncode, done.stderr


TOKENS = '[tokens]\nissuer = "i"\naudience = "a"\njwks = "jwks.json"\n'
BAD_CONFIGS: dict[str, tuple[str, str]] = {
    "an unknown name": (f'listne = "127.0.0.1:0"\n{REGISTER}', "listne"),
    "an unknown table": (f"{REGISTER}[tsl]\n", "tsl"),
    "an unknown name in a table": (f"{REGISTER}[limits]\nrequests = 1\n", "requests"),
    "an unknown name of a register": (f'{REGISTER}sender = "x"\n', "sender"),
    "no TOML": ("[[register]\n", "line 1"),
    "a table without what it needs": (f'{REGISTER}[tls]\ncertificate = "c/server.pem"\n', "key"),
    "HS256": (f'{REGISTER}{TOKENS}algorithms = ["HS256"]\n', "tokens.algorithms"),
    "HS384 beside others": (f'{REGISTER}{TOKENS}algorithms = ["RS256", "HS384"]\n', "tokens.algorithms"),
    "none": (f'{REGISTER}{TOKENS}algorithms = ["none"]\n', "none"),
    "no algorithm": (f"{REGISTER}{TOKENS}algorithms = []\n", "tokens.algorithms"),
    "client_optional alone": (f"{REGISTER}{tls(False)}client_optional = true\n", "client_optional"),
    "no requests a second": (f"{REGISTER}[limits]\nrequests_a_second = 0\n", "requests_a_second"),
    "a time that is none": (f'{REGISTER}[limits]\nstall_time = "soon"\n', "stall_time"),
    "a time before nothing": (f'{REGISTER}[limits]\nstall_time = "-1s"\n', "stall_time"),
    "an address that is none": (f'listen = "localhost"\n{REGISTER}', "listen"),
    "no register": ("", "register"),
}


@pytest.mark.parametrize("case", BAD_CONFIGS)
def test_a_bad_configuration_is_told_of(tmp_path: Path, case: str) -> None:
    config, matter = BAD_CONFIGS[case]
    code, told = refused(tmp_path, config)
    assert code == 2 and matter in told, told
    assert case == "no register" or str(tmp_path / "nabar.toml") in told


def test_a_configuration_that_is_not_there_is_told_of(tmp_path: Path) -> None:
    code, told = refused(tmp_path, None)
    assert code == 2 and str(tmp_path / "nabar.toml") in told


@pytest.mark.parametrize("file", ["server.pem", "server.key", "ca.pem"])
@pytest.mark.parametrize("text", [None, b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_certificates_that_cannot_be_read_are_told_of(
    tmp_path: Path, certificates: Certificates, file: str, text: bytes | None
) -> None:
    path = certificates.file(file)
    path.unlink() if text is None else path.write_bytes(text)
    code, told = refused(tmp_path, REGISTER + tls(True))
    assert code == 1 and file in told, told


@pytest.mark.parametrize("jwks", [None, "{", '{"keys": []}'])
def test_keys_that_cannot_be_read_are_told_of(tmp_path: Path, jwks: str | None) -> None:
    if jwks is not None:
        (tmp_path / "jwks.json").write_text(jwks)
    code, told = refused(tmp_path, REGISTER + TOKENS)
    assert code == 1 and "jwks.json" in told, told


def test_keys_at_an_address_without_encryption_are_refused(tmp_path: Path) -> None:
    config = REGISTER + TOKENS.replace("jwks.json", "http://127.0.0.1:1/jwks")
    code, told = refused(tmp_path, config)
    assert code in (1, 2) and "http://127.0.0.1:1/jwks" in told and "https" in told, told


def test_an_audit_log_that_cannot_be_opened_is_told_of(tmp_path: Path) -> None:
    code, told = refused(tmp_path, f'{REGISTER}[audit]\npath = "nowhere/audit"\n')
    assert code == 1 and "nowhere/audit" in told, told


def test_a_register_that_is_not_there_is_told_of(tmp_path: Path) -> None:
    code, told = refused(tmp_path, '[[register]]\npath = "nothing.nabar"\n')
    assert code == 1 and "nothing.nabar" in told, told


@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0"])
@pytest.mark.parametrize("encrypted", [False, True])
def test_nobody_listens_to_all_without_asking_who_they_are(
    tmp_path: Path, certificates: Certificates, address: str, encrypted: bool
) -> None:
    code, told = refused(tmp_path, REGISTER + (tls(False) if encrypted else ""), address)
    assert code == 2 and "127.0.0.1" in told and "client_ca" in told, told


def test_paths_count_from_the_configuration(tmp_path: Path, certificates: Certificates) -> None:
    (tmp_path / "far.nabar").write_bytes(FAR.read_bytes())
    config = f'[[register]]\npath = "far.nabar"\n{tls(True)}{AUDIT}'
    with running(tmp_path, config) as service, certificates.client(service, SENDER) as http:
        assert reachability(http, registered()[:1]).status_code == 200
    assert audited(tmp_path)


# Beginning and end


@pytest.mark.parametrize("way", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_code_0(tmp_path: Path, certificates: Certificates, way: signal.Signals) -> None:
    with running(tmp_path, REGISTER + tls(True)) as service, certificates.client(service, SENDER) as http:
        assert reachability(http, registered()[:1]).status_code == 200
        service.process.send_signal(way)
        assert service.process.wait(timeout=5) == 0


def test_connections_on_which_nothing_comes_do_not_delay_the_end(tmp_path: Path) -> None:
    with running(tmp_path, REGISTER) as service, plain(service) as http:
        assert http.get("/healthz").status_code == 200
        with closing(socket.create_connection(("127.0.0.1", service.port), 10)):
            wait_until(lambda: metric(http, "nabar_connections") == 2)
            service.process.terminate()
            assert service.process.wait(timeout=5) == 0


def test_a_handshake_that_has_not_ended_does_not_delay_the_end(tmp_path: Path, certificates: Certificates) -> None:
    with running(tmp_path, REGISTER + tls(False)) as service, certificates.client(service) as http:
        with closing(socket.create_connection(("127.0.0.1", service.port), 10)):
            wait_until(lambda: metric(http, "nabar_connections") == 2)
            service.process.terminate()
            assert service.process.wait(timeout=5) == 0


def test_what_has_begun_ends_before_the_service_does(tmp_path: Path) -> None:
    with running(tmp_path, REGISTER) as service:
        with closing(post_head(service, "Transfer-Encoding: chunked")) as stream:
            line = f"{registered()[0]}\n".encode()
            stream.sendall(b"%x\r\n%s\r\n" % (len(line), line))
            assert stream.recv(1 << 16).startswith(b"HTTP/1.1 200")
            service.process.terminate()
            wait_until(lambda: any("stopping" in row["message"] for row in service.logged()))
            with pytest.raises(OSError):
                socket.create_connection(("127.0.0.1", service.port), 1).close()
            stream.sendall(b"%x\r\n%s\r\n0\r\n\r\n" % (len(line), line))
            assert until_closed(stream, 10).endswith(b"0\r\n\r\n")
        assert service.process.wait(timeout=START_SECONDS) == 0


def test_what_does_not_end_is_cut_off(tmp_path: Path) -> None:
    with running(tmp_path, f"{REGISTER}[limits]\nshutdown_time = '1s'\n") as service:
        with closing(post_head(service, "Transfer-Encoding: chunked")) as stream:
            line = f"{registered()[0]}\n".encode()
            stream.sendall(b"%x\r\n%s\r\n" % (len(line), line))
            assert stream.recv(1 << 16).startswith(b"HTTP/1.1 200")
            service.process.terminate()
            assert service.process.wait(timeout=5) == 0


def test_a_hang_up_right_at_the_start_ends_nothing(tmp_path: Path) -> None:
    """`systemctl reload` may follow as soon as the service has said that it is ready."""
    for attempt in range(10):
        directory = tmp_path / str(attempt)
        directory.mkdir()
        told = directory / "notify"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
            notified.bind(str(told))
            notified.settimeout(START_SECONDS)
            (directory / "nabar.toml").write_text(REGISTER)
            command = [NABAR, "serve", "--config", str(directory / "nabar.toml"), "--listen", "127.0.0.1:0"]
            environment = {**os.environ, "NOTIFY_SOCKET": str(told)}
            process = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=environment)
            try:
                assert b"READY=1" in notified.recv(4096)
                process.send_signal(signal.SIGHUP)
                process.terminate()
                assert process.wait(timeout=START_SECONDS) == 0
            finally:
                process.kill()
                process.wait()


@pytest.fixture
def notified(tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        path = str(tmp_path / "notify")
        listener.bind(path)
        listener.settimeout(START_SECONDS)
        yield path, listener


def test_who_started_it_is_notified(tmp_path: Path, notified: tuple[str, socket.socket]) -> None:
    path, listener = notified
    with running(tmp_path, REGISTER, environment={"NOTIFY_SOCKET": path}) as service:
        assert "READY=1" in listener.recv(4096).decode().split("\n")
        with plain(service) as http:
            assert http.get("/readyz").status_code == 200
        assert service.end() == 0
        assert "STOPPING=1" in listener.recv(4096).decode().split("\n")


def activated(directory: Path, given: socket.socket, config: str) -> subprocess.Popen[str]:
    """A service that is handed a socket as systemd hands it over: as file descriptor 3, with its process id."""
    (directory / "nabar.toml").write_text(config)
    fd = given.fileno()
    script = f'exec 3<&{fd}; export LISTEN_FDS=1 LISTEN_PID=$$; exec "$0" serve --config "$1"'
    command = ["bash", "-c", script, NABAR, str(directory / "nabar.toml")]
    return subprocess.Popen(command, pass_fds=[fd], stderr=subprocess.PIPE, text=True)


def test_a_socket_that_is_handed_over_is_listened_at(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as given:
        port = given.getsockname()[1]
        # The address of the configuration is taken already, and is not used.
        process = activated(tmp_path, given, f'listen = "127.0.0.1:{port}"\n{REGISTER}')
    try:
        with httpx.Client(trust_env=False, timeout=START_SECONDS) as http:
            assert http.get(f"http://127.0.0.1:{port}/healthz").status_code == 200
        process.terminate()
        _, told = process.communicate(timeout=START_SECONDS)
        assert process.returncode == 0 and f"listening on http://127.0.0.1:{port}" in told
    finally:
        process.kill()
        process.communicate()


def test_a_socket_for_all_is_refused_without_asking_who_they_are(tmp_path: Path) -> None:
    with socket.create_server(("0.0.0.0", 0)) as given:
        process = activated(tmp_path, given, REGISTER)
        try:
            _, told = process.communicate(timeout=START_SECONDS)
        finally:
            process.kill()
            process.communicate()
    assert process.returncode in (1, 2) and "client_ca" in told
