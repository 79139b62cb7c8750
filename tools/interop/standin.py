"""A server that stands in for a live register: it records each call, and fails where a test wants it to.

It knows nothing of nabar. The contracts are in `standin_far.py` and `standin_krr.py`: what a request must look like,
and the answer to it. A test sets a schedule, which decides for each call whether and how its answer is spoilt.
"""

from __future__ import annotations

import random
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from support import Row

HTML = "<!DOCTYPE html><html><head><title>Error</title></head><body><h1>{}</h1><p>Try later.</body></html>"
GATE_SECONDS = 30
"""Maximum of seconds for which a held answer waits for the test."""


class BadRequest(Exception):
    """A request that the contract does not allow. The stand-in notes it, and the test fails at its end."""


@dataclass(frozen=True)
class Reply:
    """What is sent. With `cut`, the connection is reset after so many bytes of the body."""

    status: int = 200
    body: bytes = b""
    content_type: str = "text/xml; charset=utf-8"
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int | None = None
    piece: int | None = None
    """Bytes that are sent at a time; all at once without it."""
    pause: float = 0.0
    """Seconds after each piece."""
    chunked: bool = False
    between: Callable[[], None] | None = None
    """Is called after the first piece."""
    is_true: bool = False
    """Whether it answers the call as the register knows it."""


@dataclass
class Call:
    """One request of the client."""

    number: int
    """From 1, in the order in which requests arrived."""
    ids: list[str]
    register: Register
    asker: str = ""
    """FaR: the sender. KRR: the organisation on whose behalf is asked."""
    started: float = 0.0
    ended: float = 0.0
    status: int = 0
    answered: bool = False
    """Whether the true answer was sent to its end."""
    peer: Row = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)

    def rows(self) -> list[Any]:
        """The true rows, in the order of the ids."""
        return [self.register.row(id, self.asker) for id in self.ids]

    def true(self) -> Reply:
        """The true answer. It follows the contract."""
        return self.with_rows(self.rows(), is_true=True)

    def with_rows(self, rows: list[Any], *, valid: bool = True, is_true: bool = False) -> Reply:
        """An answer with other rows; `valid` ones follow the contract although they may not fit the question."""
        return replace(self.register.reply(self, rows, valid=valid), is_true=is_true)


Fault = Callable[[Call], Reply | None]
"""Gives the answer to a call in place of the true one, or nothing: the call fails before any answer."""
Schedule = Callable[[Call], Fault | None]


class Register:
    """A contract: how requests are read, and answers written."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.complaints: list[str] = []
        self.schedule: Schedule = lambda _: None
        self.lock = threading.Lock()
        self.flying = self.flying_max = 0

    def read(self, path: str, headers: Mapping[str, str], body: bytes, peer: Row) -> Call | Reply:
        """The call that a request makes, or what refuses it."""
        raise NotImplementedError

    def row(self, id: str, asker: str) -> Any:
        raise NotImplementedError

    def reply(self, call: Call, rows: list[Any], *, valid: bool = True) -> Reply:
        raise NotImplementedError

    def number(self) -> int:
        """The number of the next call. Needs the lock."""
        return len(self.calls) + 1

    def complain(self, text: str) -> None:
        self.complaints.append(text)

    # What the record says.

    def asked(self) -> list[str]:
        return [id for call in self.calls for id in call.ids]

    def answered(self) -> list[str]:
        return [id for call in self.calls if call.answered for id in call.ids]

    def calls_after_answer(self) -> int:
        """Calls that asked for ids of which an earlier call had answered some."""
        done: set[str] = set()
        count = 0
        for call in self.calls:
            count += bool(done & set(call.ids))
            if call.answered:
                done |= set(call.ids)
        return count

    def asked_after_answer(self) -> set[str]:
        """Ids that were asked although an earlier call had answered them."""
        done: set[str] = set()
        again: set[str] = set()
        for call in self.calls:
            again |= done & set(call.ids)
            if call.answered:
                done |= set(call.ids)
        return again


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server
    request: socket.socket
    is_flying = False

    def setup(self) -> None:
        self.request.settimeout(GATE_SECONDS)
        if isinstance(self.request, ssl.SSLSocket):
            self.request.do_handshake()
        super().setup()

    def peer(self) -> Row:
        """The subject of the client's certificate."""
        if not isinstance(self.request, ssl.SSLSocket) or not (certificate := self.request.getpeercert()):
            return {}
        subject: Any = certificate["subject"]
        return {name: value for part in subject for name, value in part}

    def do_GET(self) -> None:
        self.answer(self.server.other("GET", self.path, dict(self.headers), b""))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        headers = {name.lower(): value for name, value in self.headers.items()}
        register = self.server.register
        if self.path in self.server.pages:
            self.answer(self.server.other("POST", self.path, headers, body))
            return
        with register.lock:
            read = register.read(self.path, headers, body, self.peer())
            if isinstance(read, Call):
                read.started, read.headers = time.monotonic(), headers
                register.calls.append(read)
                register.flying += 1
                register.flying_max = max(register.flying, register.flying_max)
        if isinstance(read, Reply):
            self.answer(read)
            return
        self.is_flying = True
        try:
            self.serve(read)
        finally:
            self.land()
            with register.lock:
                read.ended = time.monotonic()

    def land(self) -> None:
        """Before the last byte of an answer: with it, the client may make its next call."""
        register = self.server.register
        with register.lock:
            register.flying -= self.is_flying
            self.is_flying = False

    def serve(self, call: Call) -> None:
        register = call.register
        try:
            fault = register.schedule(call)
            reply = fault(call) if fault else call.true()
        except Exception as error:
            register.complain(f"call {call.number}: the stand-in failed: {error!r}")
            reply = Reply(404)
        if reply is None:
            self.reset()
            return
        call.status = reply.status
        # Before the last byte, so that the client's next call sees it.
        call.answered = reply.is_true and reply.cut is None
        try:
            self.answer(reply)
        except OSError:
            call.answered = False
            self.close_connection = True

    def reset(self) -> None:
        """Ends the connection with RST."""
        self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        if isinstance(self.request, ssl.SSLSocket):
            self.request.detach()
        self.request.close()

    def answer(self, reply: Reply) -> None:
        self.send_response(reply.status)
        if reply.body or reply.status == 200:
            self.send_header("Content-Type", reply.content_type)
        if reply.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(len(reply.body)))
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.end_headers()
        body = reply.body if reply.cut is None else reply.body[: reply.cut]
        size = reply.piece or (len(body) // 3 + 1 if reply.chunked else len(body) or 1)
        for start in range(0, len(body), size):
            part = body[start : start + size]
            if start + size >= len(body) and not reply.chunked:
                self.land()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part) if reply.chunked else part)
            if reply.between and start == 0:
                reply.between()
            if reply.pause:
                time.sleep(reply.pause)
        if reply.cut is not None:
            self.reset()
        elif reply.chunked:
            self.land()
            self.wfile.write(b"0\r\n\r\n")

    def finish(self) -> None:
        try:
            super().finish()
        except (OSError, ValueError):
            pass

    def log_message(self, format: str, *args: Any) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, register: Register, context: ssl.SSLContext | None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.register, self.context = register, context
        self.pages: dict[str, Callable[[str, dict[str, str], bytes], Reply]] = {}

    @property
    def address(self) -> str:
        scheme = "https" if self.context else "http"
        return f"{scheme}://127.0.0.1:{self.server_port}"

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, peer = super().get_request()
        if self.context:
            # The handshake is made in the thread of the connection.
            connection = self.context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return connection, peer

    def other(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Reply:
        page = self.pages.get(path)
        return page(method, headers, body) if page else Reply(404, b"no such page", "text/plain")

    def handle_error(self, request: Any, client_address: Any) -> None:
        # Clients that end, and handshakes that fail, belong to the tests.
        pass


@contextmanager
def standing_in(register: Register, context: ssl.SSLContext | None = None) -> Iterator[Server]:
    """A running stand-in. At its end, each request must have followed the contract."""
    server = Server(register, context)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
    assert not register.complaints, register.complaints


def server_context(directory: Path, *, client: bool) -> ssl.SSLContext:
    """TLS with the certificates of `tools/test-certificates.sh`; with `client`, mutual TLS."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(directory / "server.pem", directory / "server.key")
    if client:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(directory / "ca.pem")
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


# Schedules.


def at(faults: Mapping[int, Fault]) -> Schedule:
    """A fault for some calls, by their number from 1."""
    return lambda call: faults.get(call.number)


def always(fault: Fault, after: int = 0) -> Schedule:
    """A fault for all calls after the first ones."""
    return lambda call: fault if call.number > after else None


def touching(ids: Collection[str], fault: Fault) -> Schedule:
    """A fault for each call that has one of these ids."""
    return lambda call: fault if set(ids) & set(call.ids) else None


def above(count: int, fault: Fault) -> Schedule:
    """A fault for each call with more ids."""
    return lambda call: fault if len(call.ids) > count else None


def first_of(*schedules: Schedule) -> Schedule:
    """The first schedule that has a fault for a call."""
    return lambda call: next((fault for schedule in schedules if (fault := schedule(call))), None)


def seeded(seed: int, faults: list[Fault], share: float, succession_max: int = 3) -> Schedule:
    """Some calls at random, but never more than `succession_max` in succession."""
    source, succession = random.Random(seed), 0

    def schedule(call: Call) -> Fault | None:
        nonlocal succession
        with call.register.lock:
            succession = succession + 1 if source.random() < share and succession < succession_max else 0
            return source.choice(faults) if succession else None

    return schedule


# Faults of any register: of the connection, and of a proxy between.


def status(code: int, **headers: str) -> Fault:
    """A status with an empty body. `Retry_After="1"` becomes a header."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _: Reply(code, headers=named)


def page(code: int) -> Fault:
    """A web page in place of an answer."""
    return lambda _: Reply(code, HTML.format(code).encode(), "text/html; charset=utf-8")


def no_answer(_: Call) -> None:
    """The connection is reset before the answer."""


def reset_in_body(call: Call) -> Reply:
    """The connection is reset in the middle of the body."""
    true = call.true()
    return replace(true, cut=len(true.body) // 2)


def truncated(call: Call) -> Reply:
    """A complete response with the first two thirds of the message."""
    true = call.true()
    return replace(true, body=true.body[: 2 * len(true.body) // 3], is_true=False)


def empty(call: Call) -> Reply:
    return replace(call.true(), body=b"", is_true=False)


def drip(seconds: float, *, in_time: bool) -> Fault:
    """The true answer in 20 pieces, which takes so many seconds."""

    def fault(call: Call) -> Reply:
        true = call.true()
        return replace(true, piece=len(true.body) // 20 + 1, pause=seconds / 20, is_true=in_time)

    return fault


def redirect(address: str) -> Fault:
    return lambda _: Reply(307, headers={"Location": address})


# Faults of the rows: each follows the contract as far as a single row can.


def missing(call: Call) -> Reply:
    return call.with_rows(call.rows()[:-1])


def no_rows(call: Call) -> Reply:
    return call.with_rows([])


def doubled(call: Call) -> Reply:
    rows = call.rows()
    return call.with_rows([*rows, rows[0]])


def doubled_for_missing(call: Call) -> Reply:
    """As many rows as ids, but one twice and another missing."""
    rows = call.rows()
    return call.with_rows([rows[0], *rows[:-1]]) if len(rows) > 1 else call.with_rows([*rows, *rows])


def foreign(id: str) -> Fault:
    """A row for an id that was not asked comes in addition."""
    return lambda call: call.with_rows([*call.rows(), call.register.row(id, call.asker)])


def foreign_for_missing(id: str) -> Fault:
    """A row for an id that was not asked takes the place of another."""
    return lambda call: call.with_rows([*call.rows()[1:], call.register.row(id, call.asker)])


def reordered(call: Call) -> Reply:
    """No fault: the contracts promise no order."""
    rows = call.rows()
    random.Random(call.number).shuffle(rows)
    return call.with_rows(rows, is_true=True)
