"""KRR's REST contract, compared with nabar's command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from norwegian import Changing, expected, known, plain, somebody
from support import KRR, canonical, column, lookup, persons, serving, synthetic

STRANGERS = ["23864829477", "01829007158"]
"""Of the synthetic series, and not in the register."""


@pytest.fixture(params=["v1", "v2"])
def url(request: pytest.FixtureRequest, krr: str) -> str:
    return f"{krr}/rest/{request.param}/personer"


def ask(http: httpx.Client, url: str, ids: list[str]) -> list[dict[str, Any]]:
    response = http.post(url, json={"personidentifikatorer": ids})
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].startswith("application/json")
    answer = response.json()
    assert list(answer) == ["personer"]
    persons: list[dict[str, Any]] = answer["personer"]
    return persons


def test_persons_agree_with_lookup(url: str, http: httpx.Client) -> None:
    output = [plain(person) for person in ask(http, url, known())]
    assert output == expected(known())


def test_persons_have_the_fields_of_the_extract(url: str, http: httpx.Client) -> None:
    judged = {"varslingsstatus"}
    for output, given in zip(ask(http, url, known()), persons(), strict=True):
        assert {name: value for name, value in plain(output).items() if name not in judged} == {
            name: value for name, value in plain(given).items() if name not in judged
        }


def test_times_of_the_last_validation_are_kept(http: httpx.Client, tmp_path: Path) -> None:
    """Of an extract and of a change, over REST and in the feed; they do not make a channel fresh."""
    old = {"epostadresse": "kari@example.no", "epostadresse_oppdatert": "2020-01-01T00:00:00Z"}
    validated = {
        "epostadresse_sist_validert": "2026-05-31T10:14:52+02",
        "mobiltelefonnummer_sist_validert": "2026-05-30T23:59:59.500Z",
    }
    made = [somebody(id, kontaktinformasjon={**old, **validated}) for id in synthetic(2)]
    data = Changing.of(tmp_path, made[:1])
    data.put(made[1])
    with serving("krr-validated", str(data.path)) as address:
        body = {"personidentifikatorer": [person["personidentifikator"] for person in made]}
        rest = http.post(f"{address}/rest/v2/personer", json=body).json()["personer"]
        feed = http.post(f"{address}/rest/v2/krr/hentEndringer", json={"fraEndringsId": 1000}).json()["list"]
    for answers, given in ((rest, made), (feed, made[1:])):
        assert [plain(answer["kontaktinformasjon"]) for answer in answers] == [
            plain(person["kontaktinformasjon"]) for person in given
        ]
    assert {person["varslingsstatus"] for person in rest} == {"KAN_IKKE_VARSLES"}


def test_reserved_deleted_and_expired_persons_cannot_be_notified(url: str, http: httpx.Client) -> None:
    answer = ask(http, url, known())
    assert {person["status"] for person in answer} == {"AKTIV", "SLETTET"}
    assert {person["reservasjon"] for person in answer} == {"JA", "NEI"}
    for person in answer:
        if person["reservasjon"] == "JA" or person["status"] == "SLETTET":
            assert person["varslingsstatus"] == "KAN_IKKE_VARSLES"


def test_an_unknown_person_is_not_registered(url: str, http: httpx.Client) -> None:
    strangers = [row["recipient_id"] for row in lookup(KRR, STRANGERS) if row["reason"] == "not_registered"]
    strangers += [
        row["recipient_id"] for row in lookup(KRR, column("krr-list.csv")) if row["reason"] == "not_registered"
    ][:5]
    assert strangers
    for person, id in zip(ask(http, url, strangers), strangers, strict=True):
        assert (person["personidentifikator"], person["status"]) == (id, "IKKE_REGISTRERT")
        assert person.get("varslingsstatus", "KAN_IKKE_VARSLES") == "KAN_IKKE_VARSLES"
        assert not plain(
            {name: person.get(name) for name in ("kontaktinformasjon", "digital_post", "sertifikat", "spraak")}
        )


def test_a_mailing_list_is_answered_in_its_order(url: str, http: httpx.Client) -> None:
    ids = canonical(KRR, column("krr-list.csv"), None)
    assert len(set(ids)) < len(ids)
    assert [person["personidentifikator"] for person in ask(http, url, ids)] == ids


def test_1000_persons_are_answered(url: str, http: httpx.Client) -> None:
    ids = (known() * 3)[:1000]
    assert [person["personidentifikator"] for person in ask(http, url, ids)] == ids


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_register_with_a_name_answers_under_its_name(both: str, http: httpx.Client, version: str) -> None:
    answer = ask(http, f"{both}/no/rest/{version}/personer", known()[:10])
    assert [plain(person) for person in answer] == expected(known()[:10])


BAD: dict[str, Any] = {
    "no persons": {"personidentifikatorer": []},
    "1001 persons": {"personidentifikatorer": (known() * 3)[:1001]},
    "no list": {"personidentifikatorer": known()[0]},
    "numbers": {"personidentifikatorer": [12345678901]},
    "another name": {"personidentifikator": known()[:1]},
    "nothing": {},
    "a list": known(),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_request_is_refused_and_not_repeated(url: str, http: httpx.Client, case: str) -> None:
    response = http.post(url, json=BAD[case])
    assert response.status_code in (400, 413, 422), response.text
    assert known()[0] not in response.text


@pytest.mark.parametrize("body", [b"", b"{", b"personer", b"\xff", b"[" * 100_000])
def test_invalid_json_is_refused(url: str, http: httpx.Client, body: bytes) -> None:
    assert http.post(url, content=body, headers={"Content-Type": "application/json"}).status_code == 400


def test_another_content_type_or_method_is_refused(url: str, http: httpx.Client) -> None:
    assert http.post(url, content=b"{}", headers={"Content-Type": "text/plain"}).status_code == 415
    assert http.get(url).status_code == 405


@pytest.mark.parametrize("id", ["", "abc", "1881999149", "188199914951", "18819991494", "18819991495 ", "١٨٨١٩٩٩١٤٩٥"])
def test_an_invalid_id_is_refused_or_not_registered(url: str, http: httpx.Client, id: str) -> None:
    response = http.post(url, json={"personidentifikatorer": [known()[0], id]})
    if response.status_code == 200:
        found, other = response.json()["personer"]
        assert found["personidentifikator"] == known()[0]
        assert other["status"] == "IKKE_REGISTRERT" or id.strip() == known()[0]
    else:
        assert response.status_code in (400, 422)
        assert known()[0] not in response.text


def test_paths_of_the_other_register_are_not_found(far: str, krr: str, http: httpx.Client) -> None:
    assert http.post(f"{far}/rest/v2/personer", json={"personidentifikatorer": known()[:1]}).status_code == 404
    assert http.post(f"{krr}/Recipient/v3", content=b"", headers={"Content-Type": "text/xml"}).status_code == 404
