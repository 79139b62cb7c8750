"""The stand-ins themselves: requests that the contracts do not allow are noted, answers follow the contracts."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import pytest

from soap import CONTENT_TYPES, SOAP12, V3, Schemas, envelope, is_reachable, is_registered
from standin import Server, standing_in
from standin_far import PATH, TYPES, FarStandIn, fixture
from standin_krr import PATH as KRR_PATH
from standin_krr import STYLES, KrrStandIn
from support import CONTRACTS, SENDER, persons, registered

pytestmark = pytest.mark.skipif(not CONTRACTS.is_dir(), reason=f"the official contracts are not in {CONTRACTS}")


@pytest.fixture
def far() -> Iterator[tuple[FarStandIn, Server]]:
    far = FarStandIn(fixture(SENDER))
    with standing_in(far) as server:
        yield far, server


@pytest.fixture
def krr() -> Iterator[tuple[KrrStandIn, Server]]:
    krr = KrrStandIn(persons())
    with standing_in(krr) as server:
        yield krr, server


def ask_far(
    server: Server, body: str, content_type: str = "text/xml", path: str = PATH, **headers: str
) -> httpx.Response:
    headers = {"Content-Type": content_type, "SOAPAction": '""', **headers}
    return httpx.post(f"{server.address}{path}", content=body.encode(), headers=headers, trust_env=False)


def test_far_answers_as_its_contract_says(far: tuple[FarStandIn, Server]) -> None:
    standin, server = far
    schemas = Schemas.official(CONTRACTS)
    ids = [*registered()[:50], "197512122396"]
    for _ in range(6):
        answer = schemas.answer(ask_far(server, envelope(is_reachable(SENDER, ids))))
        assert [status.findtext(f".//{{{TYPES}}}RecipientId") for status in answer.findall(f"{{{V3}}}return")] == ids
    assert len({call.number % 3 for call in standin.calls}) == 3, "in each style"


def test_far_notes_what_its_contract_does_not_allow(far: tuple[FarStandIn, Server]) -> None:
    standin, server = far
    ids = registered()[:2]
    good = is_reachable(SENDER, ids)
    for body, more in [
        (envelope(is_reachable(SENDER, ids[:1] * 1001)), {}),
        (envelope(is_reachable(SENDER, [])), {}),
        (envelope(is_reachable(SENDER[2:], ids)), {}),
        (envelope(is_reachable(SENDER, [f"{ids[0][:8]}-{ids[0][8:]}"])), {}),
        (envelope(is_registered(ids)), {}),
        (envelope(good.replace("Recipient/v3", "Recipient/v2")), {}),
        (envelope(good.replace("recipientId", "RecipientId")), {}),
        (envelope(good) + "x", {}),
        (envelope(good, soap=SOAP12), {}),
        (envelope(good), {"content_type": CONTENT_TYPES[SOAP12]}),
        (envelope(good), {"path": "/Recipient/v2"}),
        (envelope(good), {"SOAPAction": '"isReachable"'}),
    ]:
        standin.complaints.clear()
        assert ask_far(server, body, **more).status_code == 500
        assert len(standin.complaints) == 1, body[:300]
    standin.complaints.clear()
    assert not standin.calls


def test_krr_notes_what_its_contract_does_not_allow(krr: tuple[KrrStandIn, Server]) -> None:
    standin, server = krr
    id = persons()[0]["personidentifikator"]
    bodies = [{"personidentifikatorer": ids} for ids in ([], [id] * 1001, [int(id)], [id[:10]], [f"{id[:6]} {id[6:]}"])]
    for body in [*bodies, {"personidentifikator": [id]}, {"personidentifikatorer": [id], "side": 1}]:
        standin.complaints.clear()
        response = httpx.post(f"{server.address}{KRR_PATH}", json=body, trust_env=False)
        assert response.status_code == 400 and len(standin.complaints) == 1, body
    standin.complaints.clear()
    assert not standin.calls


def test_krr_writes_the_same_persons_in_each_style() -> None:
    for style in STYLES:
        read = json.loads(style(persons()))["personer"]
        assert [{name: part for name, part in row.items() if part is not None} for row in read] == persons()


def test_krr_does_not_send_what_its_contract_does_not_allow(krr: tuple[KrrStandIn, Server]) -> None:
    standin, _ = krr
    good = {"personidentifikator": "18819991495", "reservasjon": "NEI", "status": "AKTIV"}
    standin.check(good)
    for more in [
        {"status": "UKJENT"},
        {"ny": 1},
        {"kontaktinformasjon": {"epostadresse": "a" * 51}},
        {"kontaktinformasjon": {"epostadresse_oppdatert": "2026-01-01"}},
        {"digital_post": {"postkasseadresse": "kort", "postkasseleverandoeradresse": "984661185"}},
        {"sertifikat": "?"},
    ]:
        with pytest.raises((AssertionError, ValueError)):
            standin.check({**good, **more})
