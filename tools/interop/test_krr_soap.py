"""KRR's SOAP service of contract 16-02: zeep with the WSDL that is served and with the official one, and by hand."""

from __future__ import annotations

import base64
import gzip
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests
import zeep
from lxml import etree

from norwegian import (
    COMBINATIONS,
    CONTENT_TYPE,
    MESSAGES,
    NEEDS,
    ODD,
    PAGE_MAX,
    REST,
    SOAP_PATH,
    Changing,
    as_soap,
    contact,
    expected,
    get_changes,
    get_persons,
    known,
    needs_and_ids,
    of_soap,
    plain,
    post12,
    somebody,
)
from operating import problem, tls
from running import Certificates, running
from running import plain as client_of
from soap import SOAP, SOAP12, Checking, Schemas, envelope, transport
from support import KRR, KRR_CONTRACTS, SENDER, Row, identities, serving, synthetic
from tokens import CONTACT, MAILBOX, RSA, bearer, config, jwk, token, write_keys
from wsdl import forms, operations, schemas_of, shapes

WSDL, XSD = KRR_CONTRACTS / "oppslagstjeneste-ws-16-02.wsdl", KRR_CONTRACTS / "oppslagstjeneste-ws-16-02.xsd"
TERMS_XSD = KRR_CONTRACTS / "oppslagstjeneste-metadata-16-02.xsd"
BINDING = "{http://kontaktinfo.difi.no/wsdl/oppslagstjeneste-16-02}oppslagstjeneste-16-02_SOAP12Binding"
SOURCES = ["served", "official"]
STRANGERS = ["23864829477", "01829007158"]
"""Of the synthetic series, and not in the register."""
IDS = [known()[0], STRANGERS[0]]
ODD_ID = synthetic()[0]
LATEST = 1000
"""Sequence number of the fixture."""


@pytest.fixture(scope="module")
def url(krr: str) -> str:
    return f"{krr}{SOAP_PATH}"


@pytest.fixture(scope="module")
def served(url: str, http: httpx.Client) -> bytes:
    response = http.get(f"{url}?wsdl")
    assert response.status_code == 200 and response.headers["content-type"].startswith("text/xml")
    return response.content


@pytest.fixture(scope="module")
def ours(served: bytes, tmp_path_factory: pytest.TempPathFactory) -> Schemas:
    return Schemas.of_wsdl(served, tmp_path_factory.mktemp("schemas"), SOAP12)


@pytest.fixture(scope="module", params=SOURCES)
def schemas(request: pytest.FixtureRequest, ours: Schemas) -> Schemas:
    if request.param == "served":
        return ours
    if not XSD.exists():
        pytest.skip(f"the official contract is not at {XSD}")
    return Schemas.importing({MESSAGES: XSD}, SOAP12)


class Asking:
    """The service as zeep sees it."""

    def __init__(self, proxy: Any, checking: Checking) -> None:
        self.proxy, self.checking = proxy, checking

    def persons(self, needs: list[str], ids: list[str]) -> list[Row]:
        self.proxy.HentPersoner(informasjonsbehov=needs, personidentifikator=ids)
        return self.last_persons()

    def changes(self, needs: list[str], number: int) -> tuple[list[Row], list[int]]:
        answer = self.proxy.HentEndringer(informasjonsbehov=needs, fraEndringsNummer=number)
        return self.last_persons(), [answer.fraEndringsNummer, answer.tilEndringsNummer, answer.senesteEndringsNummer]

    def last_persons(self) -> list[Row]:
        """The persons of the last answer, which was valid."""
        assert self.checking.last is not None
        return [of_soap(person) for person in self.checking.last]


@pytest.fixture(scope="module")
def asking(schemas: Schemas, ours: Schemas, url: str) -> Asking:
    checking = Checking(schemas)
    if schemas is ours:
        client = zeep.Client(f"{url}?wsdl", transport=transport(), plugins=[checking])
        assert client.service._binding_options["address"] == url
        return Asking(client.service, checking)
    client = zeep.Client(str(WSDL), transport=transport(), plugins=[checking])
    return Asking(client.create_service(BINDING, url), checking)


def registered() -> list[Row]:
    return expected(known())


def examples() -> list[Row]:
    """One person of each relevant kind, and an unknown one."""
    kinds: dict[Any, Row] = {}
    for person in registered():
        contact = person.get("kontaktinformasjon", {})
        parts = ("epostadresse" in contact, "mobiltelefonnummer" in contact, "digital_post" in person)
        kinds[person["status"], person["reservasjon"], person["varslingsstatus"], parts] = person
    return [*kinds.values(), stranger(STRANGERS[0])]


def stranger(id: str) -> Row:
    output = {"reservasjon": "NEI", "status": "IKKE_REGISTRERT", "varslingsstatus": "KAN_IKKE_VARSLES"}
    return {"personidentifikator": id, **output}


def answers(schemas: Schemas, response: httpx.Response) -> list[Row]:
    return [of_soap(person) for person in schemas.answer(response)]


def test_persons_have_the_requested_parts_for_every_combination(asking: Asking) -> None:
    """With VarslingsStatus persons who cannot be notified come without contacts."""
    people = examples()
    ids = [person["personidentifikator"] for person in people]
    withheld: Counter[bool] = Counter()
    for needs in COMBINATIONS:
        answer = asking.persons(needs, ids)
        assert answer == [as_soap(person, needs, withhold=True) for person in people], needs
        withheld.update("kontaktinformasjon" in person for person in answer if "VarslingsStatus" in needs)
    assert len(people) > 8 and len(withheld) == 2


def test_changes_have_the_requested_parts_and_nothing_is_withheld(
    asking: Asking, krr: str, http: httpx.Client
) -> None:
    page = http.post(f"{krr}{REST}", json={"fraEndringsId": 0}).json()
    people = [plain(person) for person in page["list"]]
    for needs in COMBINATIONS:
        expected = [as_soap(person, needs) for person in people]
        assert answers(asking.checking.schemas, post12(http, f"{krr}{SOAP_PATH}", get_changes(0, needs))) == expected
    for needs in COMBINATIONS[::6]:
        answer, numbers = asking.changes(needs, 0)
        assert answer == [as_soap(person, needs) for person in people], needs
        assert numbers == [page["fraEndringsId"], page["tilEndringsId"], page["sisteEndringsId"]]
    silent = [person for person in answer if person["varslingsstatus"] == "KAN_IKKE_VARSLES"]
    assert any("kontaktinformasjon" in person for person in silent)
    assert any("digital_post" in person for person in silent)
    assert asking.changes(["Person"], LATEST) == ([], [LATEST] * 3)


def test_answers_are_objects_as_clients_use_them(asking: Asking) -> None:
    whole = [person for person in registered() if as_soap(person, withhold=True).keys() >= {"sertifikat"}]
    people = [person for person in whole if len(person["kontaktinformasjon"]) == 6][:3]
    ids = [person["personidentifikator"] for person in people]
    header = {"Oppslagstjenesten": {"PaaVegneAv": "991825827"}}
    output = asking.proxy.HentPersoner(informasjonsbehov=NEEDS, personidentifikator=ids, _soapheaders=header)
    assert people and len(output) == len(people)
    for person, given in zip(output, people, strict=True):
        contact = given["kontaktinformasjon"]
        assert person.X509Sertifikat == base64.b64decode(given["sertifikat"])
        assert person.Kontaktinformasjon.Epostadresse._value_1 == contact["epostadresse"]
        assert isinstance(person.Kontaktinformasjon.Mobiltelefonnummer.sistVerifisert, datetime)
        assert person.Kontaktinformasjon.Epostadresse.sistOppdatert == contact["epostadresse_oppdatert"]
        assert person.SikkerDigitalPostAdresse.postkasseadresse == given["digital_post"]["postkasseadresse"]
    with pytest.raises(zeep.exceptions.Fault) as fault:
        asking.proxy.HentPrintSertifikat()
    assert fault.value.code.endswith(":Sender") and "replica" in fault.value.message


def test_a_call_is_answered_in_order_with_duplicates(url: str, http: httpx.Client, schemas: Schemas) -> None:
    """1000 ids: registered, unknown and invalid ones."""
    ids = [*reversed(known()), *known(), *STRANGERS, *STRANGERS, "abc<&>'\"xyz", "æøåÆØÅ😀1234", *known()][:PAGE_MAX]
    assert len(ids) == PAGE_MAX and set(STRANGERS) < set(ids)
    people = {person["personidentifikator"]: as_soap(person, withhold=True) for person in registered()}
    output = answers(schemas, post12(http, url, get_persons(ids)))
    assert output == [people.get(id, stranger(id)) for id in ids]


def test_persons_are_those_of_the_rest_service(krr: str, url: str, http: httpx.Client, schemas: Schemas) -> None:
    ids = [*known(), *STRANGERS]
    rest = http.post(f"{krr}/rest/v2/personer", json={"personidentifikatorer": ids}).json()["personer"]
    answer = answers(schemas, post12(http, url, get_persons(ids, NEEDS[:4])))
    assert answer == [as_soap(plain(person), NEEDS[:4]) for person in rest]


def test_xmllint_accepts_the_answers(url: str, http: httpx.Client, tmp_path: Path) -> None:
    if not XSD.exists() or not shutil.which("xmllint"):
        pytest.skip(f"the official contract is not at {XSD}, or xmllint is not installed")
    for number, body in enumerate([get_persons([*known(), *STRANGERS]), get_changes(0), get_changes(LATEST)]):
        (answer,) = etree.fromstring(post12(http, url, body).content).find(f"{{{SOAP12}}}Body")
        (tmp_path / f"{number}.xml").write_bytes(etree.tostring(answer))
    command = ["xmllint", "--nonet", "--noout", "--schema", str(XSD), *map(str, sorted(tmp_path.glob("*.xml")))]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A service of registers with one unusual person each, and their addresses."""
    directory = tmp_path_factory.mktemp("odd")
    made = {case: Changing.of(directory / f"{n}", [somebody(IDS[0])]) for n, case in enumerate(ODD)}
    for case, data in made.items():
        data.put(somebody(ODD_ID, **{**contact(), **ODD[case][0]}))
    with serving("soap-odd", *(f"odd{n}={data.path}" for n, data in enumerate(made.values()))) as address:
        yield {case: f"{address}/odd{n}" for n, case in enumerate(made)}


@pytest.mark.parametrize("case", ODD)
def test_values_that_the_schema_cannot_hold_are_left_out(
    odd: dict[str, str], http: httpx.Client, schemas: Schemas, case: str
) -> None:
    base, lost = odd[case], ODD[case][1]
    rest = http.post(f"{base}/rest/v2/personer", json={"personidentifikatorer": [ODD_ID]}).json()["personer"]
    answer = as_soap(plain(rest[0]))
    for part in (answer, answer["kontaktinformasjon"]) if lost else ():
        for absent in [name for name in part if name.startswith(lost)]:
            del part[absent]
    for body in (get_persons([ODD_ID]), get_changes(LATEST)):
        assert answers(schemas, post12(http, f"{base}{SOAP_PATH}", body)) == [answer]


def soap12(text: str, header: str = "") -> str:
    return envelope(text, header, SOAP12)


PLAIN = soap12(get_persons(IDS))
FAULTY: dict[str, tuple[str | bytes, str]] = {
    "no persons": (soap12(get_persons([])), "1 to 1000 persons, not 0"),
    "1001 persons": (soap12(get_persons((known() * 3)[:1001])), "1 to 1000 persons, not 1001"),
    "100 000 persons": (soap12(get_persons(known() * 250)), "longer"),
    "no informasjonsbehov": (soap12(get_persons(IDS, [])), "informasjonsbehov is missing"),
    "no informasjonsbehov of changes": (soap12(get_changes(0, [])), "informasjonsbehov is missing"),
    "an unknown informasjonsbehov": (soap12(get_persons(IDS, ["Person", "Alt"])), "informasjonsbehov"),
    "an informasjonsbehov in small letters": (soap12(get_changes(0, ["person"])), "informasjonsbehov"),
    "an empty informasjonsbehov": (soap12(get_persons(IDS, [""])), "informasjonsbehov"),
    "an id of 10": (soap12(get_persons([*IDS, IDS[0][:10]])), "number 3"),
    "an id of 12": (soap12(get_persons([f"{IDS[0]}1"])), "number 1"),
    "an empty id": (soap12(get_persons(["", *IDS])), "number 1"),
    "an element in an id": (PLAIN.replace(IDS[0], f"<id>{IDS[0]}</id>"), "number 1"),
    "a control character": (PLAIN.replace(IDS[0], "\x01" * 11), ""),
    "a reference to a control character": (PLAIN.replace(IDS[0], "&#1;" * 11), ""),
    "a reference to no character": (PLAIN.replace(IDS[0], "&#xFFFF;" * 11), ""),
    "an unknown argument": (PLAIN.replace("personidentifikator", "personIdentifikator"), "argument"),
    "persons of changes": (soap12(get_changes(0).replace("</HentE", f"{needs_and_ids([], IDS)}</HentE")), "argument"),
    "no number": (soap12(get_changes(0).replace(' fraEndringsNummer="0"', "")), "fraEndringsNummer"),
    "a number of another namespace": (
        soap12(get_changes(0).replace("fraEndringsNummer", 'xmlns:x="urn:x" x:fraEndringsNummer')),
        "fraEndringsNummer",
    ),
    **{f"the number {n}": (soap12(get_changes(n)), "") for n in (-1, 0.5, "x", "", 1001, 1 << 53, 1 << 63, 1 << 64)},
    "HentPrintSertifikat": (soap12(f'<HentPrintSertifikatForespoersel xmlns="{MESSAGES}"/>'), "print"),
    "an answer": (soap12(f'<HentPersonerRespons xmlns="{MESSAGES}"/>'), "operation"),
    "contract 14-05": (PLAIN.replace("16-02", "14-05"), "operation"),
    "SOAP 1.1": (PLAIN.replace(SOAP12, SOAP), "SOAP"),
    "two operations": (soap12(get_persons(IDS) * 2), "body"),
    "an empty body": (soap12(""), "body"),
    "no envelope": (get_persons(IDS), ""),
    "nothing": ("", ""),
    "JSON": ('{"personidentifikatorer": []}', ""),
    "a cut message": (PLAIN[:-40], ""),
    "overlapping tags": (PLAIN.replace("</personidentifikator></", "</x></"), ""),
    "an undeclared prefix": (PLAIN.replace("HentPersonerForespoersel", "q:HentPersonerForespoersel"), ""),
    "an undeclared entity": (PLAIN.replace(IDS[0], "&id;"), ""),
    "bytes that are no UTF-8": (PLAIN.encode().replace(IDS[0].encode(), b"\xff" * 11), ""),
    "a document type": (f"<!DOCTYPE x>{PLAIN}", "document type"),
    "a file": (
        f'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>{PLAIN.replace(IDS[0], "&a;")}',
        "document type",
    ),
    "a deep nest": (soap12("<a>" * 100_000 + "</a>" * 100_000), "nested"),
}


@pytest.mark.parametrize("case", FAULTY)
def test_an_invalid_call_is_a_fault_of_the_sender(url: str, http: httpx.Client, ours: Schemas, case: str) -> None:
    """It discloses neither identities nor internals."""
    text, words = FAULTY[case]
    content = text.encode() if isinstance(text, str) else text
    response = http.post(url, content=content, headers={"Content-Type": CONTENT_TYPE})
    assert response.status_code == 400, response.text[:500]
    fault = ours.fault(response)
    assert fault.faultcode == "Sender" and words in fault.faultstring
    assert len(response.content) < 500 and not re.search(r"\d{10}|panic|src/|\.rs|root:", response.text)


def test_a_fault_is_logged_without_identities(tmp_path: Path) -> None:
    """At every log level; and neither metrics nor wrong paths show identities."""
    with running(tmp_path, f'[[register]]\npath = "{KRR}"\n', "--log", "debug") as service, client_of(service) as http:
        for text, _ in FAULTY.values():
            http.post(SOAP_PATH, content=text, headers={"Content-Type": CONTENT_TYPE})
        http.post(SOAP_PATH, content=PLAIN, headers={"Content-Type": CONTENT_TYPE, "X-Request-Id": known()[0]})
        http.post(f"{SOAP_PATH}?id={known()[0]}", content=PLAIN, headers={"Content-Type": "text/plain"})
        http.get(f"{SOAP_PATH}/{known()[0]}")
        output = http.get("/metrics").text + service.log.read_text()
        assert service.count("fault") > 20
    assert not set(re.findall(r"\d{11}", output)) & identities()


SECURITY = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"
HEADERS = {
    "on behalf of somebody": f'<Oppslagstjenesten xmlns="{MESSAGES}"><PaaVegneAv>9</PaaVegneAv></Oppslagstjenesten>',
    "on behalf of no organisation": f'<o:Oppslagstjenesten xmlns:o="{MESSAGES}"/>',
    "a signature": f'<w:Security xmlns:w="{SECURITY}"><w:BinarySecurityToken>MIIB</w:BinarySecurityToken></w:Security>',
    "an address": '<a:To xmlns:a="http://www.w3.org/2005/08/addressing">urn:x</a:To>',
}
STYLES: dict[str, tuple[str | bytes, str]] = {
    **{
        name: (soap12(get_persons(IDS), f"<s:Header>{text}</s:Header>"), CONTENT_TYPE) for name, text in HEADERS.items()
    },
    "an action": (PLAIN, 'application/soap+xml;charset=UTF-8;action="HentPersoner"'),
    "no parameters": (PLAIN, "application/soap+xml"),
    "as XML": (PLAIN, "text/xml; charset=utf-8"),
    "a byte order mark": (b"\xef\xbb\xbf" + PLAIN.encode(), CONTENT_TYPE),
    "UTF-16": (PLAIN.encode("utf-16"), "application/soap+xml; charset=utf-16"),
    "Latin-1": (f'<?xml version="1.0" encoding="ISO-8859-1"?>{PLAIN}', "application/soap+xml"),
    "default namespaces": (PLAIN.replace("s:", ""), CONTENT_TYPE),
    "line breaks": (PLAIN.replace("><", ">\r\n\t<"), CONTENT_TYPE),
    "CDATA and references": (PLAIN.replace(IDS[0], f"&#{ord(IDS[0][0])};<![CDATA[{IDS[0][1:]}]]>"), CONTENT_TYPE),
    "white space around values": (
        PLAIN.replace(">Person<", "> Person\n<").replace(IDS[0], f"\n {IDS[0]} "),
        CONTENT_TYPE,
    ),
    "identifiers of elements": (PLAIN.replace("<s:Body>", '<s:Body xmlns:u="urn:u" u:Id="b">'), CONTENT_TYPE),
}


@pytest.mark.parametrize("style", STYLES)
def test_a_call_in_another_style_has_the_same_answer(url: str, http: httpx.Client, ours: Schemas, style: str) -> None:
    content, type = STYLES[style]
    output = http.post(url, content=content, headers={"Content-Type": type})
    assert answers(ours, output) == answers(ours, post12(http, url, get_persons(IDS)))


def test_other_content_and_methods_and_registers_are_refused(
    url: str, far: str, both: str, http: httpx.Client, ours: Schemas
) -> None:
    for type in ("application/json", "text/plain", 'multipart/related; type="application/xop+xml"'):
        assert ours.fault(http.post(url, content=PLAIN, headers={"Content-Type": type})).faultcode == "Sender"
    headers = {"Content-Type": CONTENT_TYPE, "Content-Encoding": "gzip"}
    assert ours.fault(http.post(url, content=gzip.compress(PLAIN.encode()), headers=headers)).faultcode == "Sender"
    for method in ("GET", "PUT", "DELETE"):
        problem(http.request(method, url), 405)
    for base in (far, f"{both}/se", both):
        headers = {"Content-Type": CONTENT_TYPE}
        problem(httpx.post(f"{base}{SOAP_PATH}", content=PLAIN, headers=headers, trust_env=False), 404)
    assert answers(ours, post12(http, f"{both}/no{SOAP_PATH}", get_persons(IDS)))
    assert f'location="{both}/no{SOAP_PATH}"' in http.get(f"{both}/no{SOAP_PATH}?wsdl").text


def test_the_feed_over_rest_and_soap_has_the_same_numbers(krr: str, url: str, http: httpx.Client) -> None:
    page = http.post(f"{krr}{REST}", json={"fraEndringsId": 0}).json()
    for number in (page["tilEndringsId"], LATEST):
        rest, soap = http.post(f"{krr}{REST}", json={"fraEndringsId": number}), post12(http, url, get_changes(number))
        assert [response.headers["nabar-sequence"] for response in (rest, soap)] == [str(LATEST)] * 2
        results, answer = rest.json(), etree.fromstring(soap.content)[0][0]
        assert dict(answer.attrib) == {
            "fraEndringsNummer": str(number),
            "tilEndringsNummer": str(results["tilEndringsId"]),
            "senesteEndringsNummer": str(results["sisteEndringsId"]),
        }


def test_a_client_with_a_certificate_is_answered_over_tls(tmp_path: Path, certificates: Certificates) -> None:
    with running(tmp_path, f'[[register]]\npath = "{KRR}"\n{tls(True)}') as service:
        session = requests.Session()
        session.trust_env, session.verify = False, str(certificates.file("ca.pem"))
        session.cert = (str(certificates.file(f"{SENDER}.pem")), str(certificates.file(f"{SENDER}.key")))
        client = zeep.Client(f"{service.address}{SOAP_PATH}?wsdl", transport=zeep.Transport(session=session))
        assert client.service._binding_options["address"].startswith("https://")
        answer = client.service.HentPersoner(informasjonsbehov=["Person"], personidentifikator=IDS)
        assert [person.personidentifikator for person in answer] == IDS
        assert len(client.service.HentEndringer(informasjonsbehov=NEEDS, fraEndringsNummer=0).Person) == len(known())
        with certificates.client(service, SENDER) as http:
            assert len(http.post(REST, json={"fraEndringsId": 0}).json()["list"]) == len(known())
        with certificates.client(service) as http, pytest.raises(httpx.TransportError):
            post12(http, SOAP_PATH, get_persons(IDS))


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of a service that takes tokens."""
    directory = tmp_path_factory.mktemp("guarded")
    write_keys(directory / "jwks.json", jwk(RSA, "rsa"))
    with running(directory, config(directory / "jwks.json", None)) as service, client_of(service) as http:
        yield http


def asked_with(guarded: httpx.Client, scope: str, body: str) -> httpx.Response:
    headers = {**bearer(token(scope=scope)), "Content-Type": CONTENT_TYPE}
    return guarded.post(f"/no{SOAP_PATH}", content=soap12(body), headers=headers)


def test_scopes_give_access_to_their_fields(guarded: httpx.Client, ours: Schemas) -> None:
    people = registered()
    ids = [person["personidentifikator"] for person in people]
    of = {CONTACT: {"varslingsstatus", "kontaktinformasjon"}, MAILBOX: {"digital_post", "sertifikat"}}
    always = {"personidentifikator", "reservasjon", "status"}
    for body in (get_persons(ids, NEEDS[:4]), get_changes(0)):
        everything = answers(ours, asked_with(guarded, f"{CONTACT} {MAILBOX}", body))
        for scope, fields in of.items():
            output = answers(ours, asked_with(guarded, scope, body))
            assert output == [{name: p[name] for name in p if name in always | fields} for p in everything]
    for body in (get_persons(IDS), get_changes(0)):
        assert ours.fault(asked_with(guarded, "openid", body)).faultcode == "Sender"
    problem(post12(guarded, f"/no{SOAP_PATH}", get_persons(IDS)), 401)


def test_withheld_fields_do_not_disclose_who_can_be_notified(
    guarded: httpx.Client, ours: Schemas
) -> None:
    """Without the scope VarslingsStatus makes no difference, or is refused."""
    plainly, asking = (asked_with(guarded, MAILBOX, get_persons(known(), needs)) for needs in (NEEDS[:4], NEEDS))
    if asking.status_code == 200:
        assert answers(ours, asking) == answers(ours, plainly)
    else:
        assert ours.fault(asking).faultcode == "Sender"


def official() -> tuple[etree._Element, list[etree._Element]]:
    """The contract, and the schemas that it imports."""
    if not WSDL.exists():
        pytest.skip(f"the official contract is not at {WSDL}")
    return etree.parse(WSDL).getroot(), [etree.parse(file).getroot() for file in (XSD, TERMS_XSD)]


def test_the_description_has_the_operations_of_the_contract(served: bytes) -> None:
    assert operations(etree.fromstring(served)) == operations(official()[0])


def test_the_description_has_the_elements_and_types_of_the_contract(served: bytes) -> None:
    """Including names, order, occurrence, values and lengths, and the names of types, of which code is generated."""
    ours, theirs = schemas_of(etree.fromstring(served)), official()[1]
    assert forms(ours) == forms(theirs)
    ours, theirs = shapes(ours), shapes(theirs)
    assert {key: ours[key] for key in ours.keys() & theirs.keys()} == {
        key: theirs[key] for key in ours.keys() & theirs.keys()
    }
    assert ours.keys() ^ theirs.keys() == set()


def test_the_description_is_as_zeep_reads_it_and_cannot_be_broken_by_an_address(url: str, http: httpx.Client) -> None:
    for host in ("a&b", "a<b>", "a'b\"c"):
        response = http.get(f"{url}?WSDL", headers={"Host": host})
        if response.status_code == 200:
            etree.fromstring(response.content)
        else:
            assert 400 <= response.status_code < 500
    client = zeep.Client(f"{url}?wsdl", transport=transport())
    (binding,) = client.wsdl.bindings.values()
    assert binding.name == BINDING and isinstance(binding, zeep.wsdl.bindings.Soap12Binding)
    assert sorted(binding.all()) == ["HentEndringer", "HentPersoner", "HentPrintSertifikat"]
