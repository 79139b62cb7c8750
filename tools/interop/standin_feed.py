"""KRR's feed, `POST /rest/v2/krr/hentEndringer`: persons by the number of their last change, a page at a time."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from maskinporten import Maskinporten
from standin import BadRequest, Call, Fault, Reply
from standin_krr import ALWAYS, CONTACT, MAILBOX, OF_CONTACT, OF_MAILBOX, KrrCall, KrrStandIn, problem
from support import Row

PATH = "/rest/v2/krr/hentEndringer"
SCOPE = "krr:global/hentendring.read"
PAGE_MAX = 1000


class FeedStandIn(KrrStandIn):
    """KRR with a feed. Each change of a person uses up a number; some numbers are used up by other changes."""

    def __init__(self, persons: Iterable[Row], tokens: Maskinporten | None = None, page_size: int = PAGE_MAX) -> None:
        super().__init__([], tokens)
        self.page_size = page_size
        self.latest = 0
        self.changed: dict[str, int] = {}
        """The number of the last change of each person."""
        self.gone_before = 0
        """Numbers below it, but 0, are refused."""
        self.gone_status = 400
        self.put(*persons)

    def put(self, *persons: Row) -> None:
        with self.lock:
            for person in persons:
                self.latest += 1
                self.changed[person["personidentifikator"]] = self.latest
                self.persons[person["personidentifikator"]] = person

    def delete(self, *ids: str) -> None:
        """A deleted person keeps an entry, without contact data and mailbox."""
        self.put(*({"personidentifikator": id, "reservasjon": "NEI", "status": "SLETTET"} for id in ids))

    def skip(self, numbers: int) -> None:
        self.latest += numbers

    def read(self, path: str, headers: Mapping[str, str], body: bytes, peer: Row) -> Call | Reply:
        if path != PATH:
            return super().read(path, headers, body, peer)
        asker, scopes = "", CONTACT | MAILBOX | {SCOPE}
        if self.tokens is not None:
            scheme, _, token = headers.get("authorization", "").partition(" ")
            granted = self.tokens.granted(token) if scheme == "Bearer" else None
            if granted is None:
                self.unauthorized += 1
                return problem(401, "Unauthorized", {"WWW-Authenticate": 'Bearer error="invalid_token"'})
            asker, scopes = granted.consumer, granted.scopes
            if SCOPE not in scopes:
                return problem(403, "insufficient_scope")
        number = self.number()
        try:
            begin = self.parse_number(headers, body)
        except (BadRequest, ValueError) as error:
            self.complain(f"call {number}: {error}")
            return problem(400, "Bad Request")
        return FeedCall(number, [], self, asker, peer=peer, scopes=scopes, begin=begin)

    def parse_number(self, headers: Mapping[str, str], body: bytes) -> int:
        if headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            raise BadRequest("the body is JSON")
        asked = json.loads(body)
        if list(asked) != ["fraEndringsId"] or type(asked["fraEndringsId"]) is not int or asked["fraEndringsId"] < 0:
            raise BadRequest("the body has exactly fraEndringsId, a number")
        return int(asked["fraEndringsId"])

    def begins(self) -> list[int]:
        """The numbers that were asked for, in order."""
        return [call.begin for call in self.calls if isinstance(call, FeedCall)]


class FeedCall(KrrCall):
    def __init__(self, *values: Any, begin: int, **named: Any) -> None:
        super().__init__(*values, **named)
        self.begin = begin

    def page(self) -> tuple[list[Row], int]:
        """Persons who changed after the number, in the order of their changes, and the number of the last one."""
        krr = self.feed()
        with krr.lock:
            after = sorted((number, id) for id, number in krr.changed.items() if number > self.begin)
            page = after[: krr.page_size]
            to = page[-1][0] if len(page) < len(after) else krr.latest
            return [krr.persons[id] for _, id in page], to

    def feed(self) -> FeedStandIn:
        assert isinstance(self.register, FeedStandIn)
        return self.register

    def true(self) -> Reply:
        krr = self.feed()
        if 0 < self.begin < krr.gone_before:
            return problem(krr.gone_status, f"Ukjent fraEndringsId {self.begin}")
        persons, to = self.page()
        return self.of(persons, to)

    def of(self, persons: list[Row], to: int, *, valid: bool = True, **numbers: int) -> Reply:
        """A page of these persons; each follows the contract if `valid`."""
        krr = self.feed()
        fields = {*ALWAYS}
        fields |= {*OF_CONTACT} if self.scopes & CONTACT else set()
        fields |= {*OF_MAILBOX} if self.scopes & MAILBOX else set()
        shown = [{name: value for name, value in row.items() if name in fields} for row in persons]
        if valid:
            for row in shown:
                krr.check(row)
        page = {"list": shown, "fraEndringsId": self.begin, "tilEndringsId": to, "sisteEndringsId": krr.latest, **numbers}
        if self.number % 3 == 0:
            # Other orders of the keys, and such that are new.
            page = dict(reversed([*page.items(), ("antall", len(shown)), ("ny", {"list": [1]})]))
        body = json.dumps(page, ensure_ascii=self.number % 2 == 0, indent=2 if self.number % 4 == 1 else None)
        return Reply(200, body.encode(), "application/json", chunked=self.number % 2 == 0, is_true=True)


def feeding(fault: Any) -> Fault:
    """A fault of the feed as a fault of any call."""

    def of_call(call: Call) -> Reply | None:
        assert isinstance(call, FeedCall)
        reply: Reply | None = fault(call)
        return reply and replace(reply, is_true=False)

    return of_call


def numbered(**numbers: int) -> Fault:
    """A page with other numbers, relative to the one that was asked for."""
    named = {"begin": "fraEndringsId", "to": "tilEndringsId", "latest": "sisteEndringsId"}

    def fault(call: FeedCall) -> Reply:
        persons, to = call.page()
        return call.of(persons, to, **{named[name]: call.begin + offset for name, offset in numbers.items()})

    return feeding(fault)


def with_value(name: str, value: Any) -> Fault:
    """The last person of the page has another value, which the contract does not allow."""

    def fault(call: FeedCall) -> Reply:
        persons, to = call.page()
        return call.of([*persons[:-1], {**persons[-1], name: value}] if persons else [{name: value}], to, valid=False)

    return feeding(fault)


@feeding
def too_many(call: FeedCall) -> Reply:
    persons, to = call.page()
    return call.of((persons or [{}]) * (PAGE_MAX + 1), to, valid=False)


def empty_page(call: Call) -> Reply:
    """No fault: the changes up to the number are of no person of the feed."""
    assert isinstance(call, FeedCall)
    krr = call.feed()
    persons, to = call.page()
    first = min((krr.changed[person["personidentifikator"]] for person in persons), default=to + 1)
    return call.of([], first - 1) if first - 1 > call.begin else call.of(persons, to)


def with_doubles(call: Call) -> Reply:
    """No fault: earlier states of the page's persons come before their last one, some with later dates."""
    assert isinstance(call, FeedCall)
    persons, to = call.page()
    made = random.Random(call.number)
    page = list(persons)
    for person in made.sample(persons, len(persons) // 2):
        contact = {"epostadresse": "earlier@example.no", "epostadresse_oppdatert": "2026-05-30T00:00:00Z"}
        earlier = {
            "personidentifikator": person["personidentifikator"],
            "reservasjon": made.choice(["JA", "NEI"]),
            "status": "AKTIV" if person["status"] == "SLETTET" else made.choice(["AKTIV", "SLETTET"]),
            "reservasjon_oppdatert": "2026-05-31T00:00:00Z",
            "kontaktinformasjon": contact,
        }
        page.insert(made.randrange(page.index(person) + 1), earlier)
    return call.of(page, to)
