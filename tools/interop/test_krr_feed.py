"""KRR's feed of changes (hentEndringer), as followed by clients that keep a number and the persons they received."""

from __future__ import annotations

import json
import random
import select
import shutil
from collections.abc import Iterator
from contextlib import suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import httpx
import pytest

from norwegian import (
    AS_SENT,
    FEEDS,
    NUMBER_MAX,
    PAGE_MAX,
    REST,
    Changing,
    Copy,
    ask_rest,
    expected,
    known,
    plain,
    removed,
    somebody,
)
from operating import problem
from running import plain as client_of
from running import running, wait_until
from support import FIXTURES, KRR, Row, nabar, serving, synthetic
from tokens import ALWAYS, BOTH, CONTACT, MAILBOX, OF_CONTACT, OF_MAILBOX, RSA, bearer, config, jwk, token, write_keys

CHANGES = (FIXTURES / "changes/krr.jsonl").read_text().splitlines(keepends=True)
LATEST = 1000
"""Sequence number of the fixture."""
LED = 1 << 52
"""Numbers from here on belong to clients in a full load."""


@pytest.fixture(params=FEEDS)
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def data(tmp_path: Path) -> Changing:
    """A data directory of the fixture."""
    return Changing(tmp_path / "data", FIXTURES / "krr")


@pytest.fixture
def base(data: Changing) -> Iterator[str]:
    """A service of `data`."""
    with serving("feed", str(data.path)) as address:
        yield address


def ids(count: int, start: int = 0) -> list[str]:
    return synthetic()[start : start + count]


def in_form(form: str, everybody: dict[str, Row]) -> dict[str, Row]:
    return {id: AS_SENT[form](person) for id, person in everybody.items()}


@pytest.mark.parametrize("name", ["", "no"])
def test_number_0_gets_all_persons(form: str, name: str, krr: str, both: str, http: httpx.Client) -> None:
    copy = Copy(FEEDS[form](http, f"{both}/no" if name else krr)).finish()
    assert copy.persons == in_form(form, dict(zip(known(), expected(known()), strict=True)))
    assert sum(len(page.persons) for page in copy.pages) == len(known()), "a person twice"
    assert copy.take() and not copy.pages[-1].persons, "and then nothing more"


def test_the_current_number_gets_no_changes(form: str, krr: str, http: httpx.Client) -> None:
    copy = Copy(FEEDS[form](http, krr), LATEST)
    assert copy.take()
    (page,) = copy.pages
    assert (page.persons, page.start, page.to, page.latest) == ([], LATEST, LATEST, LATEST)


def test_copies_with_any_first_number_become_equal_to_the_register(
    form: str, data: Changing, base: str, http: httpx.Client
) -> None:
    ask = FEEDS[form](http, base)
    copies = [Copy(ask), Copy(ask, LATEST, in_form(form, data.everybody())), Copy(ask, 7)]
    for start in range(0, len(CHANGES), 20):
        data.feed("".join(CHANGES[start : start + 20]))
        data.shown(http, base)
        copies.append(Copy(ask))
        for copy in copies:
            copy.take()
    everybody = in_form(form, data.everybody())
    for copy in copies:
        copy.finish().agrees(everybody)
    own = copies[1]
    assert own.at == data.sequence, "the register's numbers go on for who began with one"
    assert len(own.pages) == 6
    data.put(somebody(ids(1)[0]), somebody(known()[0]))
    data.shown(http, base)
    for copy in copies:
        assert copy.take()
        assert [person["personidentifikator"] for person in copy.pages[-1].persons] == [ids(1)[0], known()[0]]
        copy.agrees(in_form(form, data.everybody()))


def test_a_large_register_is_sent_in_pages_while_it_changes(form: str, tmp_path: Path, http: httpx.Client) -> None:
    """Persons change before and after the current page of a client; some join, some leave."""
    data = Changing.of(tmp_path / "great", map(somebody, ids(2500)))
    with serving("feed-great", str(data.path)) as base:
        copy = Copy(FEEDS[form](http, base))
        assert not copy.take()
        for round in range(2):
            changed = ids(2500)[round::100]
            data.put(*(somebody(id, reservasjon="JA") for id in changed), *map(somebody, ids(9, 2500 + 9 * round)))
            data.remove(*ids(2500)[round + 50 :: 200], *ids(1, 2500))
            data.shown(http, base)
            assert not copy.take()
        copy.finish().agrees(in_form(form, data.everybody()))
        assert 0 < len(copy.pages[0].persons) <= PAGE_MAX
        numbers = [page.to for page in copy.pages]
        assert numbers == sorted(set(numbers))


def test_a_page_without_changes_advances_the_number(form: str, data: Changing, base: str, http: httpx.Client) -> None:
    led, own = Copy(FEEDS[form](http, base)).finish(), Copy(FEEDS[form](http, base), LATEST)
    data.apply({"set_aside": {"reason": "bad_length"}})
    data.put_at_once([], 50)
    data.shown(http, base)
    for copy in (led, own):
        before = copy.at
        copy.finish()
        assert not copy.pages[-1].persons and copy.at > before
    assert own.at == LATEST + 51


def test_a_number_within_a_page_gets_the_whole_page(form: str, data: Changing, base: str, http: httpx.Client) -> None:
    """It is unknown which of its persons changed before that number."""
    data.put_at_once([somebody(id) for id in ids(3)], 10)
    data.shown(http, base)
    for at in (LATEST, LATEST + 4, LATEST + 9):
        assert list(Copy(FEEDS[form](http, base), at).finish().persons) == ids(3)
    assert not Copy(FEEDS[form](http, base), LATEST + 10).finish().persons


def test_removed_persons_are_sent_as_deleted_and_returning_ones_as_new(
    form: str, data: Changing, base: str, http: httpx.Client
) -> None:
    id = known()[0]
    copies = [Copy(FEEDS[form](http, base)).finish(), Copy(FEEDS[form](http, base), LATEST)]
    data.remove(id)
    data.shown(http, base)
    for copy in copies:
        (person,) = copy.finish().pages[-1].persons
        assert person == removed(id, person) and person["status"] == "SLETTET"
    data.put(somebody(id))
    data.shown(http, base)
    for copy in copies:
        assert copy.finish().persons[id] == AS_SENT[form](data.everybody()[id])


def test_after_a_checkpoint_an_old_number_gets_all_persons_again(
    form: str, data: Changing, base: str, http: httpx.Client
) -> None:
    ask = FEEDS[form](http, base)
    led = Copy(ask).finish()
    data.feed("".join(CHANGES[:50]))
    data.checkpoint("--keep")
    data.shown(http, base)
    kept = Copy(ask, led.at, dict(led.persons)).finish()
    assert len(kept.pages[-1].persons) <= 50
    data.feed("".join(CHANGES[50:]))
    data.checkpoint()
    data.shown(http, base)
    everybody = in_form(form, data.everybody())
    for copy in (Copy(ask, LATEST), Copy(ask, led.at), Copy(ask, kept.at), Copy(ask, 1)):
        assert copy.finish().persons == everybody
    data.put(somebody(ids(1)[0]))
    data.shown(http, base)
    assert len(copy.finish().pages[-1].persons) == 1, "and from then on what changes"


def test_a_replaced_register_file_is_sent_in_full(form: str, tmp_path: Path, http: httpx.Client) -> None:
    """It has no changes, only numbers."""
    older, newer = (Changing.of(tmp_path / name, map(somebody, ids(5)), 40) for name in ("older", "newer"))
    newer.put(*map(somebody, ids(3, 4)))
    file = tmp_path / "krr.nabar"
    shutil.copy(next(older.path.glob("register-*")), file)
    with serving("feed-file", str(file)) as base:
        copies = [Copy(FEEDS[form](http, base)).finish(), Copy(FEEDS[form](http, base), 40).finish()]
        newer.checkpoint()
        next(newer.path.glob("register-*")).rename(file)
        wait_until(lambda: http.get(f"{base}/v1/register").json()["sequence"] == 43)
        for copy in copies:
            assert copy.finish().persons.keys() >= set(ids(7))
            assert set(ids(7)) == {person["personidentifikator"] for person in copy.pages[-1].persons}


def test_a_page_has_no_more_persons_than_the_contract_allows(form: str, tmp_path: Path, http: httpx.Client) -> None:
    """Even if more change at once."""
    data = Changing.of(tmp_path, [somebody(known()[0])])
    with serving("feed-page", str(data.path)) as base:
        copy = Copy(FEEDS[form](http, base)).finish()
        data.put_at_once([somebody(id) for id in ids(PAGE_MAX + 1)], 5)
        data.shown(http, base)
        assert copy.finish().persons == in_form(form, data.everybody())


@pytest.mark.parametrize("sequence", [2**31, LED, LED + 1000])
def test_numbers_of_the_register_may_be_high(sequence: int, tmp_path: Path, http: httpx.Client) -> None:
    """LED + 1000 is the number of a replica that was loaded from the feed of a replica."""
    data = Changing.of(tmp_path, map(somebody, ids(3)), sequence)
    with serving("feed-high", str(data.path)) as base:
        problem(http.post(f"{base}{REST}", json={"fraEndringsId": 0}), 501)
        copy = Copy(ask_rest(http, base), sequence).finish()
        assert not copy.persons
        data.put(somebody(ids(1)[0]))
        data.shown(http, base)
        assert list(copy.finish().persons) == ids(1)


def test_nabar_follows_what_it_serves(form: str, data: Changing, base: str, tmp_path: Path, http: httpx.Client) -> None:
    """The unchanged pages make a register with the same persons."""
    replica = Changing.of(tmp_path / "replica", [], 0)
    copy = Copy(FEEDS[form](http, base))
    for part in (CHANGES[:60], CHANGES[60:]):
        copy.finish()
        data.feed("".join(part))
        data.shown(http, base)
    for page in copy.finish().pages:
        replica.feed(page.text)
    assert replica.sequence == copy.at
    Copy(copy.ask, persons=in_form(form, replica.everybody())).agrees(in_form(form, data.everybody()))


BAD: dict[str, Any] = {
    "ahead": {"fraEndringsId": LATEST + 1},
    "ahead of who was led": {"fraEndringsId": LED | LATEST + 1 << 22},
    "the last that JavaScript counts": {"fraEndringsId": NUMBER_MAX - 1},
    "2^53": {"fraEndringsId": NUMBER_MAX},
    "2^63": {"fraEndringsId": 2**63},
    "2^64": {"fraEndringsId": 2**64},
    "negative": {"fraEndringsId": -1},
    "a fraction": {"fraEndringsId": 0.5},
    "a text": {"fraEndringsId": str(LATEST)},
    "nothing": {"fraEndringsId": None},
    "yes": {"fraEndringsId": True},
    "a list of numbers": {"fraEndringsId": [LATEST]},
    "missing": {},
    "of another name": {"fraEndringsNummer": LATEST},
    "no object": LATEST,
    "a list": [LATEST],
}


@pytest.mark.parametrize("case", BAD)
def test_an_invalid_number_is_a_problem(krr: str, http: httpx.Client, case: str) -> None:
    problem(http.post(f"{krr}{REST}", json=BAD[case]), 400)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff", b"[" * 100_000, b'{"fraEndringsId":1000,"fraEndringsId":0}', b'{"fraEndringsId":NaN}']
)
def test_invalid_json_is_a_problem(krr: str, http: httpx.Client, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    problem(http.post(f"{krr}{REST}", content=body, headers=headers), 400)


def test_json_of_common_clients_is_accepted(krr: str, http: httpx.Client) -> None:
    answers = [
        http.post(f"{krr}{REST}", content=content, headers={"Content-Type": type}).json()
        for content, type in [
            (b'{"fraEndringsId":0}', "application/json"),
            (b' {\r\n"fraEndringsId" : 0, "filter": {"a": []}}\n', "Application/JSON; charset=UTF-8"),
        ]
    ]
    assert answers[0] == answers[1] and answers[0]["list"]


def test_another_content_type_or_method_or_register_is_refused(
    far: str, krr: str, both: str, http: httpx.Client
) -> None:
    asked = json.dumps({"fraEndringsId": 0}).encode()
    for type in ("text/plain", "application/x-www-form-urlencoded", "application/xml", ""):
        problem(http.post(f"{krr}{REST}", content=asked, headers={"Content-Type": type}), 415)
    for method in ("GET", "PUT", "DELETE"):
        response = http.request(method, f"{krr}{REST}")
        problem(response, 405)
        assert response.headers["allow"] == "POST"
    for base in (far, f"{both}/se", both, f"{both}/other"):
        problem(httpx.post(f"{base}{REST}", json={"fraEndringsId": 0}, trust_env=False), 404)
    problem(httpx.post(f"{krr}/rest/v1/krr/hentEndringer", json={"fraEndringsId": 0}, trust_env=False), 404)


REFUSED = [("POST", "/rest/v1/krr/hentEndringer", 404), ("PUT", REST, 405), ("POST", "/v1/register", 405)]


@pytest.mark.parametrize(("method", "path", "status"), REFUSED)
def test_after_a_refusal_the_connection_is_usable_or_closed(krr: str, method: str, path: str, status: int) -> None:
    for _ in range(5):
        refused_then_usable(krr, method, path, status)


def refused_then_usable(base: str, method: str, path: str, status: int, headers: dict[str, str] | None = None) -> None:
    """Like a client with keep-alive that sends head and body separately."""
    address, body = httpx.URL(base), b'{"fraEndringsId": 0}'
    connection = HTTPConnection(address.host, address.port or 0, timeout=10)
    connection.putrequest(method, path)
    for name, value in {"Content-Type": "application/json", "Content-Length": len(body), **(headers or {})}.items():
        connection.putheader(name, str(value))
    connection.endheaders()
    select.select([connection.sock], [], [], 0.1)
    with suppress(OSError):
        connection.send(body)
    response = connection.getresponse()
    assert response.status == status and response.read()
    if not response.will_close:
        connection.request("GET", "/healthz")
        assert connection.getresponse().status == 200
    connection.close()


def test_invented_numbers_are_harmless(data: Changing, base: str, http: httpx.Client) -> None:
    """They are refused, or lead to a last page; no number causes an error of the service."""
    data.feed("".join(CHANGES))
    data.shown(http, base)
    made = random.Random(1)
    numbers = [made.randrange(2 ** made.randrange(1, 66)) for _ in range(60)]
    numbers += [LED | made.randrange(990, 1110) << 22 | made.randrange(1 << 22) for _ in range(40)]
    numbers += [LED, LED | LATEST << 22, LED | LATEST << 22 | (1 << 22) - 2, LED - 1, LED | (1 << 22) - 1]
    for number in numbers:
        response = http.post(f"{base}{REST}", json={"fraEndringsId": number})
        assert response.status_code in (200, 400), (number, response.text)
        if response.status_code == 200:
            Copy(ask_rest(http, base), number).finish()


def test_scopes_open_the_fields_of_the_feed(tmp_path: Path) -> None:
    """Also for removed persons. The audit log has the number of persons, without identities."""
    write_keys(tmp_path / "jwks.json", jwk(RSA, "rsa"))
    data = Changing(tmp_path / "data", FIXTURES / "krr")
    text = config(tmp_path / "jwks.json", None, '[audit]\npath = "audit.jsonl"').replace(str(KRR), str(data.path))
    data.remove(known()[0])
    with running(tmp_path, text) as service, client_of(service) as http:

        def ask(scope: str, number: int) -> httpx.Response:
            asked = {"fraEndringsId": number}
            return http.post(f"/no{REST}", json=asked, headers=bearer(token(scope=scope)))

        for number in (0, LATEST):
            everything = ask(BOTH, number).json()["list"]
            fields = {CONTACT: ALWAYS | OF_CONTACT, MAILBOX: ALWAYS | OF_MAILBOX}
            for scope, allowed in fields.items():
                part = ask(scope, number).json()["list"]
                assert part == [{name: person[name] for name in person if name in allowed} for person in everything]
        assert plain(everything) == [removed(known()[0], everything[0])]
        problem(http.post(f"/no{REST}", json={"fraEndringsId": 0}), 401)
        refused_then_usable(service.address, "POST", f"/no{REST}", 401)
        problem(ask("openid", 0), 403)
    audit = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    audit = [row for row in audit if not row.get("opened")]
    assert {row["endpoint"] for row in audit} == {"krr-endringer"}
    assert [row["ids"] for row in audit[:4]] == [len(known()) - 1] * 3 + [1]
    assert not [id for id in known() if any(id in json.dumps(row) for row in audit)]


def test_after_a_missing_scope_the_connection_is_usable_or_closed(tmp_path: Path) -> None:
    write_keys(tmp_path / "jwks.json", jwk(RSA, "rsa"))
    with running(tmp_path, config(tmp_path / "jwks.json", None)) as service:
        for _ in range(5):
            refused_then_usable(service.address, "POST", f"/no{REST}", 403, bearer(token(scope="openid")))


def test_a_client_over_its_limit_can_continue_later(tmp_path: Path) -> None:
    toml = f'[[register]]\npath = "{KRR}"\n[limits]\nids_per_second = 200\n'
    with running(tmp_path, toml) as service, client_of(service) as http:
        asked = {"fraEndringsId": 0}
        assert http.post(REST, json=asked).status_code == 200
        response = http.post(REST, json=asked)
        problem(response, 429)
        # All persons of the page count.
        assert 1 <= int(response.headers["retry-after"]) <= 3
        wait_until(lambda: http.post(REST, json=asked).status_code == 200)


def test_nabar_changes_and_the_feed_have_the_same_persons(data: Changing, base: str, http: httpx.Client) -> None:
    data.feed("".join(CHANGES))
    data.shown(http, base)
    lines = map(json.loads, nabar("changes", str(data.path), "--from", str(LATEST)).splitlines())
    changed = {(line.get("put_person") or line["remove_person"])["personidentifikator"] for line in lines}
    assert Copy(ask_rest(http, base), LATEST).finish().persons.keys() == changed
