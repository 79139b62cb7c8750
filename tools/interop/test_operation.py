"""Operation of the service: audit log, configuration, start and end."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import socket
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import httpx
import pytest

from operating import (
    ASKED,
    CSV,
    DISPATCHER,
    OTHER_DISPATCHER,
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
from soap import envelope, is_reachable, post
from support import FAR, KRR, NABAR, SENDER, START_SECONDS, Row, identities, lookup, persons, registered

# The audit log


AUDIT = '[audit]\npath = "audit"\n'


def audited(directory: Path, name: str = "audit") -> list[Row]:
    """The final line of each exchange, without the lines for begun answers and for the opened file."""
    file = directory / name
    rows = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    return [row for row in rows if not row.get("begun") and not row.get("opened")]


def outcomes(ids: list[str]) -> Row:
    return dict(Counter(row["outcome"] for row in lookup(FAR, ids, SENDER)))


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
def test_an_exchange_is_one_line_with_caller_and_request(tmp_path: Path, certificates: Certificates, way: str) -> None:
    endpoint, ask = WAYS[way]
    ids = registered()[:120]
    with running(tmp_path, REGISTER + tls(True) + AUDIT) as service:
        with certificates.client(service, DISPATCHER) as http:
            response = ask(http, ids)
            assert response.status_code == 200, response.text
        (row,) = wait_until(lambda: audited(tmp_path))
    assert row["request_id"] == response.headers["x-request-id"]
    output = {name: row.get(name) for name in ("endpoint", "status", "caller", "address", "sender", "sequence", "ids")}
    assert output == {
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


def test_refusals_are_in_the_audit_log_and_health_is_not(tmp_path: Path, certificates: Certificates) -> None:
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
    assert [(row.get("fault"), row.get("sender")) for row in rows] == [
        ("not-allowed", SENDER),
        ("not-found", None),
        ("5002", SENDER),
        (None, None),
    ]


def test_requests_without_a_caller_are_audited_with_their_sender(tmp_path: Path, certificates: Certificates) -> None:
    """The certificate names no organisation. A sender that is the number of a person is not recorded."""
    certificates.make("person", "/CN=person/serialNumber=196810199809")
    with running(tmp_path, REGISTER + tls(True) + AUDIT) as service, certificates.client(service, "person") as http:
        assert reachability(http, registered()[:2]).status_code == 401
        assert http.get("/v1/senders", params={"sender": "196810199809"}).status_code == 401
        assert post(http, "/Recipient/v3", envelope(is_reachable(SENDER, registered()[:1]))).status_code == 401
        wait_until(lambda: service.count("not authenticated") == 3)
        reasons = [row for row in service.logged() if row["message"] == "not authenticated"]
    rows = audited(tmp_path)
    assert [(row["endpoint"], row["fault"], row.get("sender"), row.get("caller")) for row in rows] == [
        ("reachability", "missing-credentials", SENDER, None),
        ("senders", "missing-credentials", None, None),
        ("far-recipient", "missing-credentials", None, None),
    ]
    for row, reason in zip(rows, reasons, strict=True):
        assert (row["request_id"], row["endpoint"]) == (reason["request_id"], reason["endpoint"])
        assert "serialNumber in its subject is not the number of an organisation" in reason["reason"]
        assert reason["address"] == "127.0.0.1"


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


def test_an_interrupted_answer_is_audited(tmp_path: Path) -> None:
    """With the number of ids that were answered."""
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
def test_without_a_working_audit_log_nothing_is_answered(tmp_path: Path, way: str) -> None:
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


def test_a_partial_line_on_a_full_disk_damages_no_other(tmp_path: Path) -> None:
    # Otherwise the signal ends the process.
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


# The configuration


def refused(directory: Path, config: str | None, listen: str = "127.0.0.1:0") -> tuple[int, str]:
    """Exit code and messages of the service."""
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
    "no requests per second": (f"{REGISTER}[limits]\nrequests_per_second = 0\n", "requests_per_second"),
    "a time that is none": (f'{REGISTER}[limits]\nstall_time = "soon"\n', "stall_time"),
    "a time before nothing": (f'{REGISTER}[limits]\nstall_time = "-1s"\n', "stall_time"),
    "an address that is none": (f'listen = "localhost"\n{REGISTER}', "listen"),
    "no register": ("", "register"),
}


@pytest.mark.parametrize("case", BAD_CONFIGS)
def test_a_bad_configuration_is_reported(tmp_path: Path, case: str) -> None:
    config, matter = BAD_CONFIGS[case]
    code, output = refused(tmp_path, config)
    assert code == 2 and matter in output, output
    assert case == "no register" or str(tmp_path / "nabar.toml") in output


def test_a_missing_configuration_is_reported(tmp_path: Path) -> None:
    code, output = refused(tmp_path, None)
    assert code == 2 and str(tmp_path / "nabar.toml") in output


@pytest.mark.parametrize("file", ["server.pem", "server.key", "ca.pem"])
@pytest.mark.parametrize("text", [None, b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_unreadable_certificates_are_reported(
    tmp_path: Path, certificates: Certificates, file: str, text: bytes | None
) -> None:
    path = certificates.file(file)
    path.unlink() if text is None else path.write_bytes(text)
    code, output = refused(tmp_path, REGISTER + tls(True))
    assert code == 1 and file in output, output


@pytest.mark.parametrize("jwks", [None, "{", '{"keys": []}'])
def test_unreadable_keys_are_reported(tmp_path: Path, jwks: str | None) -> None:
    if jwks is not None:
        (tmp_path / "jwks.json").write_text(jwks)
    code, output = refused(tmp_path, REGISTER + TOKENS)
    assert code == 1 and "jwks.json" in output, output


def test_keys_at_an_address_without_encryption_are_refused(tmp_path: Path) -> None:
    config = REGISTER + TOKENS.replace("jwks.json", "http://127.0.0.1:1/jwks")
    code, output = refused(tmp_path, config)
    assert code in (1, 2) and "http://127.0.0.1:1/jwks" in output and "https" in output, output


def test_an_audit_log_that_cannot_be_opened_is_reported(tmp_path: Path) -> None:
    code, output = refused(tmp_path, f'{REGISTER}[audit]\npath = "nowhere/audit"\n')
    assert code == 1 and "nowhere/audit" in output, output


def test_a_missing_register_is_reported(tmp_path: Path) -> None:
    code, output = refused(tmp_path, '[[register]]\npath = "nothing.nabar"\n')
    assert code == 1 and "nothing.nabar" in output, output


@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0"])
@pytest.mark.parametrize("encrypted", [False, True])
def test_a_public_address_needs_authentication(
    tmp_path: Path, certificates: Certificates, address: str, encrypted: bool
) -> None:
    code, output = refused(tmp_path, REGISTER + (tls(False) if encrypted else ""), address)
    assert code == 2 and "127.0.0.1" in output and "client_ca" in output, output


def test_paths_count_from_the_configuration(tmp_path: Path, certificates: Certificates) -> None:
    (tmp_path / "far.nabar").write_bytes(FAR.read_bytes())
    config = f'[[register]]\npath = "far.nabar"\n{tls(True)}{AUDIT}'
    with running(tmp_path, config) as service, certificates.client(service, SENDER) as http:
        assert reachability(http, registered()[:1]).status_code == 200
    assert audited(tmp_path)


# Start and end


@pytest.mark.parametrize("way", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_code_0(tmp_path: Path, certificates: Certificates, way: signal.Signals) -> None:
    with running(tmp_path, REGISTER + tls(True)) as service, certificates.client(service, SENDER) as http:
        assert reachability(http, registered()[:1]).status_code == 200
        service.process.send_signal(way)
        assert service.process.wait(timeout=5) == 0


def test_idle_connections_do_not_delay_the_end(tmp_path: Path) -> None:
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


def test_requests_in_progress_are_answered_before_the_end(tmp_path: Path) -> None:
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


def test_requests_that_do_not_end_are_cut_off(tmp_path: Path) -> None:
    with running(tmp_path, f"{REGISTER}[limits]\nshutdown_time = '1s'\n") as service:
        with closing(post_head(service, "Transfer-Encoding: chunked")) as stream:
            line = f"{registered()[0]}\n".encode()
            stream.sendall(b"%x\r\n%s\r\n" % (len(line), line))
            assert stream.recv(1 << 16).startswith(b"HTTP/1.1 200")
            service.process.terminate()
            assert service.process.wait(timeout=5) == 0


def test_a_hang_up_right_at_the_start_ends_nothing(tmp_path: Path) -> None:
    """`systemctl reload` may follow as soon as the service has reported that it is ready."""
    for attempt in range(10):
        directory = tmp_path / str(attempt)
        directory.mkdir()
        output = directory / "notify"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
            notified.bind(str(output))
            notified.settimeout(START_SECONDS)
            (directory / "nabar.toml").write_text(REGISTER)
            command = [NABAR, "serve", "--config", str(directory / "nabar.toml"), "--listen", "127.0.0.1:0"]
            environment = {**os.environ, "NOTIFY_SOCKET": str(output)}
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


def test_systemd_is_notified(tmp_path: Path, notified: tuple[str, socket.socket]) -> None:
    path, listener = notified
    with running(tmp_path, REGISTER, environment={"NOTIFY_SOCKET": path}) as service:
        assert "READY=1" in listener.recv(4096).decode().split("\n")
        with plain(service) as http:
            assert http.get("/readyz").status_code == 200
        assert service.end() == 0
        assert "STOPPING=1" in listener.recv(4096).decode().split("\n")


def activated(directory: Path, given: socket.socket, config: str) -> subprocess.Popen[str]:
    """A service that gets a socket as from systemd: as file descriptor 3, with its process id."""
    (directory / "nabar.toml").write_text(config)
    fd = given.fileno()
    script = f'exec 3<&{fd}; export LISTEN_FDS=1 LISTEN_PID=$$; exec "$0" serve --config "$1"'
    command = ["bash", "-c", script, NABAR, str(directory / "nabar.toml")]
    return subprocess.Popen(command, pass_fds=[fd], stderr=subprocess.PIPE, text=True)


def test_a_passed_socket_is_used(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as given:
        port = given.getsockname()[1]
        # The address of the configuration is taken already, and is not used.
        process = activated(tmp_path, given, f'listen = "127.0.0.1:{port}"\n{REGISTER}')
    try:
        with httpx.Client(trust_env=False, timeout=START_SECONDS) as http:
            assert http.get(f"http://127.0.0.1:{port}/healthz").status_code == 200
        process.terminate()
        _, output = process.communicate(timeout=START_SECONDS)
        assert process.returncode == 0 and f"listening on http://127.0.0.1:{port}" in output
    finally:
        process.kill()
        process.communicate()


def test_a_passed_public_socket_needs_authentication(tmp_path: Path) -> None:
    with socket.create_server(("0.0.0.0", 0)) as given:
        process = activated(tmp_path, given, REGISTER)
        try:
            _, output = process.communicate(timeout=START_SECONDS)
        finally:
            process.kill()
            process.communicate()
    assert process.returncode in (1, 2) and "client_ca" in output
