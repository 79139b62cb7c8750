"""Kivra's `usermatch/ssn`, `companymatch/vatnr` and `/v1/auth`, as its public documentation describes them.

A call sends the list of those that it asks about, and gets those of them who accept content of the tenant.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any
from urllib.parse import parse_qsl

from standin import BadRequest, Call, Fault, Register, Reply
from support import Row

TENANT = "15514a7e0c3d9b26f8e1507a4c92d36bb0e8f5712d"
CLIENT, SECRET = "5fd3a1c2b07e4d65", "s3cr3t/with+signs=and ÅÄÖ"
AUTH = "/v1/auth"
BODY_BYTES_MAX = 10_000_000
CALL_IDS_MAX = 500_000
FORM = "application/x-www-form-urlencoded"
PATHS = {
    f"/v2/tenant/{TENANT}/usermatch/ssn": "usermatch.ssn",
    f"/v2/tenant/{TENANT}/companymatch/vatnr": "companymatch.vatnr",
}
USERS, COMPANIES = f"get:kivra.v2.tenant.{TENANT}.usermatch.ssn", f"post:kivra.v2.tenant.{TENANT}.companymatch.vatnr"
"""Both calls are made with POST; the documentation names the methods of their scopes so."""
SCOPES = dict(zip(PATHS, (USERS, COMPANIES), strict=True))


def address_of(id: str) -> str:
    """How Kivra names a recipient: a personnummer with century, or a VAT number."""
    return f"SE{id[2:]}01" if id.startswith("16") else id


def id_of(address: str, name: str) -> str:
    """The id that a call asks about. Only one form is right for each of the two paths."""
    pattern = r"(?:18|19|20)\d{10}" if name == "usermatch.ssn" else r"SE\d{10}01"
    if not re.fullmatch(pattern, address):
        raise BadRequest(f"an address that {name} does not have")
    return address if name == "usermatch.ssn" else f"16{address[2:12]}"


class KivraStandIn(Register):
    """Kivra with some recipients who accept the tenant, and one client."""

    def __init__(self, reachable: Collection[str]) -> None:
        super().__init__()
        self.reachable = set(reachable)
        self.allowed = {USERS, COMPANIES}
        """The scopes of the client."""
        self.ids_max = CALL_IDS_MAX
        self.expires_in = 28800
        self.real_seconds: float | None = None
        """When tokens really end, if not as promised."""
        self.auth_fault: Callable[[int], Reply | None] = lambda _: None
        self.auth_requests: list[int] = []
        """The statuses of the answers."""
        self.tokens: dict[str, tuple[set[str], float]] = {}
        self.unauthorized = 0

    # Tokens.

    def auth(self, method: str, headers: dict[str, str], body: bytes) -> Reply:
        with self.lock:
            reply = self.auth_fault(len(self.auth_requests) + 1) or self.token(method, headers, body)
            self.auth_requests.append(reply.status)
        return reply

    def token(self, method: str, headers: dict[str, str], body: bytes) -> Reply:
        if method != "POST" or headers.get("content-type", "").partition(";")[0] != FORM:
            self.complain("a token is requested with a form")
            return Reply(415)
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, strict_parsing=True)
        form = dict(pairs)
        if len(form) != len(pairs) or not {"grant_type"} <= set(form) <= {"grant_type", "scope"}:
            self.complain("the form has grant_type and scope")
        if form.get("grant_type") != "client_credentials":
            return error(400, "40001", "Invalid Request")
        scheme, _, credentials = headers.get("authorization", "").partition(" ")
        if scheme != "Basic" or base64.b64decode(credentials, validate=True).decode() != f"{CLIENT}:{SECRET}":
            return error(401, "40104", "Invalid Client")
        scopes = set(form["scope"].split(",")) if "scope" in form else {f"kivra.v2.tenant.{TENANT}.**"}
        if not scopes <= self.allowed | {f"kivra.v2.tenant.{TENANT}.**"}:
            return error(401, "40101", "Access Denied")
        token = secrets.token_urlsafe(24)
        seconds = self.expires_in if self.real_seconds is None else self.real_seconds
        self.tokens[token] = (scopes, time.monotonic() + seconds)
        answer = {"state": "", "access_token": token, "expires_in": self.expires_in, "token_type": "bearer"}
        return Reply(200, json.dumps({**answer, "scope": ",".join(sorted(scopes))}).encode(), "application/json")

    def granted(self, headers: Mapping[str, str]) -> set[str] | None:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        scopes, ends = self.tokens.get(token, (set(), 0.0))
        return scopes if scheme == "Bearer" and time.monotonic() < ends else None

    # Matching.

    def read(self, path: str, headers: Mapping[str, str], body: bytes, peer: Row) -> Call | Reply:
        number = self.number()
        scopes = self.granted(headers)
        if scopes is None:
            self.unauthorized += 1
            return error(401, "40100", "Unauthorized")
        if path not in PATHS:
            return error(404, "40400", "Not found")
        if SCOPES[path] not in scopes and f"kivra.v2.tenant.{TENANT}.**" not in scopes:
            return error(403, "40300", "Forbidden")
        if len(body) >= BODY_BYTES_MAX:
            return error(413, "41300", "Payload too large")
        try:
            ids = self.parse(PATHS[path], headers, body)
        except (BadRequest, ValueError) as problem:
            self.complain(f"call {number}: {problem}")
            return error(400, "40000", "Bad Request")
        if len(ids) > self.ids_max:
            return error(413, "41300", "Payload too large")
        return KivraCall(number, ids, self, PATHS[path], peer=peer)

    def parse(self, name: str, headers: Mapping[str, str], body: bytes) -> list[str]:
        if headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            raise BadRequest("the body is JSON")
        asked = json.loads(body)
        if list(asked) != ["list"]:
            raise BadRequest("the body has exactly list")
        if not 1 <= len(asked["list"]) <= CALL_IDS_MAX:
            raise BadRequest(f"{len(asked['list'])} addresses")
        ids = [id_of(address, name) for address in asked["list"]]
        if len(ids) != len(set(ids)):
            raise BadRequest("an address twice")
        return ids

    def row(self, id: str, asker: str) -> str:
        return address_of(id)

    def reply(self, call: Call, rows: list[Any], *, valid: bool = True) -> Reply:
        style = {"separators": (",", ":")} if call.number % 2 else {"indent": 2}
        body = json.dumps({"list": rows}, **style).encode()
        return Reply(200, body, "application/json", chunked=call.number % 3 == 0)


class KivraCall(Call):
    def rows(self) -> list[str]:
        """The addresses of those who can be reached. The documentation promises no order."""
        register = self.register
        assert isinstance(register, KivraStandIn)
        return [address_of(id) for id in reversed(self.ids) if id in register.reachable]


def error(status: int, code: str, text: str) -> Reply:
    """An error as Kivra writes it."""
    body = {"code": code, "short_message": text, "long_message": text}
    return Reply(status, json.dumps(body).encode(), "application/json")


def refusing(status: int) -> Fault:
    """An error whose text names an id."""
    return lambda call: error(status, f"{status}00", f"Invalid {call.ids[0]}")


def listing(change: Callable[[list[str]], Any]) -> Fault:
    """An answer whose list is changed, which Kivra never does."""
    return lambda call: call.with_rows(change(call.rows()), valid=False)


def newer_contract(call: Call) -> Reply:
    """No fault: fields that are new in the contract."""
    rows = call.rows()
    body = {"diff": {"list": ["x"]}, "list": rows, "count": len(rows)}
    return Reply(200, json.dumps(body).encode(), "application/json", is_true=True)
