"""KRR: changing registers, clients that keep a copy, and persons in the two forms of the contract."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import httpx
from lxml import etree

from running import wait_until
from soap import SOAP12, envelope, payload
from support import KRR, Row, lookup, nabar, persons

MESSAGES, TERMS = "http://kontaktinfo.difi.no/xsd/oppslagstjeneste/16-02", "http://begrep.difi.no"
REST, SOAP_PATH = "/rest/v2/krr/hentEndringer", "/kontaktinfo-external/ws-v5"
CONTENT_TYPE = "application/soap+xml; charset=utf-8"
TIME = "2026-06-01T05:00:00Z"
NUMBER_MAX = 2**53
"""Beyond it JavaScript does not count."""
PAGE_MAX = 1000
FIELDS = [
    "personidentifikator",
    "reservasjon",
    "reservasjonstidspunkt",
    "reservasjon_oppdatert",
    "status",
    "varslingsstatus",
    "kontaktinformasjon",
    "digital_post",
    "sertifikat",
    "spraak",
    "spraak_oppdatert",
]
NEEDS = ["Person", "Kontaktinfo", "Sertifikat", "SikkerDigitalPost", "VarslingsStatus"]
COMBINATIONS = [list(part) for size in range(1, 6) for part in itertools.combinations(NEEDS, size)]


def plain(value: Any) -> Any:
    """Without empty values, and with parsed times: the contract has three spellings."""
    if isinstance(value, dict):
        parts = {name: plain(part) for name, part in value.items()}
        return {name: part for name, part in parts.items() if part not in (None, "", {})}
    try:
        moment = datetime.fromisoformat(value)
        return moment if moment.tzinfo else value
    except (TypeError, ValueError):
        return value


def known() -> list[str]:
    """All ids of the fixture."""
    return [person["personidentifikator"] for person in persons()]


def expected(ids: Iterable[str], register: Path = KRR) -> list[Row]:
    """Persons in the form of the contract, as of today, from nabar's command line."""
    rows = lookup(register, ids, date=None)
    return [plain({name: row[name] for name in FIELDS if name in row}) for row in rows]


def somebody(id: str, **more: Any) -> Row:
    """A person who can be notified."""
    contact = {"epostadresse": f"{id[6:]}@example.no", "epostadresse_oppdatert": f"{date.today()}T00:00:00Z"}
    return {"personidentifikator": id, "reservasjon": "NEI", "status": "AKTIV", "kontaktinformasjon": contact, **more}


class Changing:
    """A data directory."""

    def __init__(self, path: Path, extract: Path) -> None:
        self.path, self.exports = path, 0
        # It may be empty.
        nabar("init", "--allow-empty", str(extract), str(path))

    @classmethod
    def of(cls, directory: Path, persons: Iterable[Row], sequence: int = 1000) -> Changing:
        """A data directory of a new extract with these persons."""
        source = directory / "extract"
        source.mkdir(parents=True)
        toml = f'kind = "krr"\nsequence = {sequence}\nas_of = "2026-06-01T04:00:00Z"\n'
        (source / "register.toml").write_text(toml)
        (source / "personer.jsonl").write_text("".join(f"{json.dumps(person)}\n" for person in persons))
        return cls(directory / "data", source)

    @property
    def sequence(self) -> int:
        return int(json.loads(nabar("inspect", "--json", str(self.path)))["sequence"])

    def apply(self, *changes: Row) -> None:
        """Changes without their numbers."""
        numbered = [{"sequence": n, "time": TIME, **change} for n, change in enumerate(changes, self.sequence + 1)]
        self.feed("".join(f"{json.dumps(change)}\n" for change in numbered))

    def put(self, *persons: Row) -> None:
        self.apply(*({"put_person": person} for person in persons))

    def remove(self, *ids: str) -> None:
        self.apply(*({"remove_person": {"personidentifikator": id}} for id in ids))

    def put_at_once(self, persons: list[Row], numbers: int) -> None:
        """As a page of KRR."""
        last = self.sequence
        change = {"sequence": last + numbers, "time": TIME, "put_persons": {"previous": last, "persons": persons}}
        self.feed(json.dumps(change))

    def feed(self, text: str) -> None:
        nabar("apply", str(self.path), "-", "--time", TIME, text=text)

    def checkpoint(self, *options: str) -> None:
        nabar("checkpoint", "-q", *options, str(self.path))

    def export(self) -> list[Row]:
        self.exports += 1
        out = self.path.with_name(f"{self.path.name}-export-{self.exports}")
        nabar("export", str(self.path), "-o", str(out))
        return [json.loads(line) for line in (out / "personer.jsonl").read_text().splitlines()]

    def everybody(self) -> dict[str, Row]:
        """All persons in the form of the contract."""
        ids = [person["personidentifikator"] for person in self.export()]
        return dict(zip(ids, expected(ids, self.path), strict=True))

    def shown(self, http: httpx.Client, base: str) -> None:
        """Waits until the service has all changes."""
        sequence = self.sequence
        wait_until(lambda: http.get(f"{base}/v1/register").json()["sequence"] == sequence)


@dataclass
class Page:
    persons: list[Row]
    start: int
    to: int
    latest: int
    text: str = ""


Ask = Callable[[int], Page]


def ask_rest(http: httpx.Client, base: str) -> Ask:
    def ask(number: int) -> Page:
        response = http.post(f"{base}{REST}", json={"fraEndringsId": number})
        assert response.status_code == 200, response.text
        assert response.headers["content-type"].startswith("application/json")
        answer = response.json()
        assert list(answer) == ["list", "fraEndringsId", "tilEndringsId", "sisteEndringsId"]
        numbers = (answer["fraEndringsId"], answer["tilEndringsId"], answer["sisteEndringsId"])
        return Page([plain(person) for person in answer["list"]], *numbers, response.text)

    return ask


def ask_soap(http: httpx.Client, base: str, needs: Iterable[str] = NEEDS) -> Ask:
    def ask(number: int) -> Page:
        response = post12(http, f"{base}{SOAP_PATH}", get_changes(number, needs))
        assert response.status_code == 200, response.text
        answer = payload(response.content, SOAP12)
        numbers = (int(answer.get(f"{name}EndringsNummer", "")) for name in ("fra", "til", "seneste"))
        return Page([of_soap(person) for person in answer], *numbers, response.text)

    return ask


FEEDS: dict[str, Callable[[httpx.Client, str], Ask]] = {"rest": ask_rest, "soap": ask_soap}


@dataclass
class Copy:
    """The copy of a client: a number and persons."""

    ask: Ask
    at: int = 0
    persons: dict[str, Row] = field(default_factory=dict)
    pages: list[Page] = field(default_factory=list)

    def take(self) -> bool:
        """Takes a page. Returns whether it was the last."""
        page = self.ask(self.at)
        output = {person["personidentifikator"]: person for person in page.persons}
        assert len(output) == len(page.persons) <= PAGE_MAX
        assert self.at == page.start <= page.to <= page.latest < NUMBER_MAX
        assert page.to > page.start or page.to == page.latest, "it goes on"
        self.at = page.to
        self.persons.update(output)
        self.pages.append(page)
        return page.to == page.latest

    def finish(self) -> Copy:
        assert any(self.take() for _ in range(100)), "it comes to an end"
        return self

    def agrees(self, everybody: dict[str, Row]) -> None:
        """It has all persons; any other it has as removed."""
        besides = {id: removed(id, person) for id, person in self.persons.items() if id not in everybody}
        assert self.persons == {**everybody, **besides}


def removed(id: str, like: Row) -> Row:
    """A person who has left the register, with the fields of another."""
    gone = {"personidentifikator": id, "reservasjon": "NEI", "status": "SLETTET", "varslingsstatus": "KAN_IKKE_VARSLES"}
    return {name: gone[name] for name in gone if name in like}


def needs_and_ids(needs: Iterable[str], ids: Iterable[str]) -> str:
    output = "".join(f"<informasjonsbehov>{escape(need)}</informasjonsbehov>" for need in needs)
    return output + "".join(f"<personidentifikator>{escape(id)}</personidentifikator>" for id in ids)


def get_persons(ids: Iterable[str], needs: Iterable[str] = NEEDS) -> str:
    return f'<HentPersonerForespoersel xmlns="{MESSAGES}">{needs_and_ids(needs, ids)}</HentPersonerForespoersel>'


def get_changes(number: object, needs: Iterable[str] = NEEDS) -> str:
    name = "HentEndringerForespoersel"
    return f'<{name} xmlns="{MESSAGES}" fraEndringsNummer="{number}">{needs_and_ids(needs, [])}</{name}>'


def post12(http: httpx.Client, url: str, body: str, header: str = "") -> httpx.Response:
    content = envelope(body, header, SOAP12).encode()
    return http.post(url, content=content, headers={"Content-Type": CONTENT_TYPE})


TIMES = {"sistOppdatert": "oppdatert", "sistVerifisert": "sist_verifisert"}


def of_soap(person: etree._Element) -> Row:
    """A person of the SOAP service in the form of the REST service."""
    assert person.tag == f"{{{TERMS}}}Person"
    answer: Row = {}
    for element in person:
        match etree.QName(element).localname:
            case "Kontaktinformasjon":
                answer["kontaktinformasjon"] = contact = {}
                for channel in element:
                    name = etree.QName(channel).localname.lower()
                    contact[name] = channel.text
                    contact.update({f"{name}_{TIMES[time]}": channel.get(time) for time in channel.attrib})
            case "SikkerDigitalPostAdresse":
                address, operator = (part.text for part in element)
                answer["digital_post"] = {"postkasseadresse": address, "postkasseleverandoeradresse": operator}
            case name:
                answer[{"X509Sertifikat": "sertifikat"}.get(name, name)] = element.text
    return dict(plain(answer))


def as_soap(person: Row, needs: Iterable[str] = NEEDS, withhold: bool = False) -> Row:
    """The expected answer of the SOAP service for a person of the REST service. With VarslingsStatus it withholds contacts
    that must not be used, except in the feed."""
    answer = {name: person[name] for name in ("personidentifikator", "reservasjon", "status")}
    if "VarslingsStatus" in needs:
        answer["varslingsstatus"] = person["varslingsstatus"]
        if withhold and person["varslingsstatus"] == "KAN_IKKE_VARSLES":
            return answer
    contact = person.get("kontaktinformasjon", {})
    parts = {
        "Kontaktinfo": {
            "kontaktinformasjon": {
                name: contact[name] for name in contact if not name.endswith(("_duplisert", "_sist_validert"))
            }
        },
        "SikkerDigitalPost": {"digital_post": person.get("digital_post")},
        "Sertifikat": {"sertifikat": person.get("sertifikat")},
    }
    for need, part in parts.items():
        answer |= part if need in needs else {}
    return dict(plain(answer))


AS_SENT: dict[str, Callable[[Row], Row]] = {"rest": lambda person: person, "soap": as_soap}


def contact(**more: str) -> Row:
    now = datetime.now().astimezone().isoformat(timespec="seconds")
    good = {"epostadresse": "a@example.no", "mobiltelefonnummer": "+4799999999"}
    times = {f"{channel}_oppdatert": now for channel in good}
    return {"kontaktinformasjon": {**good, **times, **more}}


MAILBOX_OF = {"postkasseadresse": "somebody#1234", "postkasseleverandoeradresse": "984661185"}
ODD: dict[str, tuple[Row, str]] = {
    "a long e-mail": (contact(epostadresse="a" * 40 + "@example.no"), "epostadresse"),
    "a long e-mail that fits": (contact(epostadresse="å" * 39 + "@example.no"), ""),
    "a short e-mail": (contact(epostadresse="a@"), "epostadresse"),
    "a short mobile": (contact(mobiltelefonnummer="9999999"), "mobiltelefonnummer"),
    "a long mobile": (contact(mobiltelefonnummer="+" + "9" * 20), "mobiltelefonnummer"),
    "a short mailbox": ({"digital_post": {**MAILBOX_OF, "postkasseadresse": "a#12345"}}, "digital_post"),
    "a long mailbox": ({"digital_post": {**MAILBOX_OF, "postkasseadresse": "a" * 101}}, "digital_post"),
    "a mailbox nowhere": (
        {"digital_post": {**MAILBOX_OF, "postkasseleverandoeradresse": "1" * 21}},
        "digital_post",
    ),
    "markup": (contact(epostadresse="<a>&\"'@b.no]]>"), ""),
    # Newer than the contract of SOAP.
    "times of the last validation": (
        contact(
            epostadresse_sist_validert="2026-05-04T00:00:00Z",
            mobiltelefonnummer_sist_validert="2026-05-05T00:00:00Z",
        ),
        "",
    ),
    "a line break": (contact(epostadresse="a\r\n@b.no"), ""),
    "a control character": (contact(epostadresse="a\u0001@example.no"), "epostadresse"),
    "no character of XML": (contact(mobiltelefonnummer="+47999\uffff99999"), "mobiltelefonnummer"),
    "a null character": (
        {"digital_post": {**MAILBOX_OF, "postkasseadresse": "somebody\u0000#1234"}},
        "digital_post",
    ),
    "a certificate in PEM": ({"sertifikat": "-----BEGIN CERTIFICATE-----\nMIIB\n"}, "sertifikat"),
    "a certificate in base64 for addresses": ({"sertifikat": "MIIB-_=="}, "sertifikat"),
    "a certificate in lines": ({"sertifikat": "MIIB\r\nMIIB\n"}, ""),
}
"""Possible fields of a person, and those that the schema of the contract cannot hold."""
