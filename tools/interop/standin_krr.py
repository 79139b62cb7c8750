"""KRR's `POST /rest/v2/personer`.

There is no official schema of the REST service. Its persons are those of the SOAP service, so each is also written as
`Person` of the official XSD and validated there: lengths, enumerations, base64, times.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from lxml import etree

from maskinporten import Maskinporten
from norwegian import TERMS
from soap import SAFE
from standin import BadRequest, Call, Fault, Register, Reply, missing
from standin_far import CHECKING
from support import KRR_CONTRACTS, Row

PATH = "/rest/v2/personer"
CALL_IDS_MAX = 1000
CONTACT = {"krr:global/kontaktinformasjon.read", "krr:global/kontaktinfo.read"}
MAILBOX = {"krr:global/digitalpost.read", "krr:global/postkasse.read"}
ALWAYS = ("personidentifikator", "reservasjon", "reservasjonstidspunkt", "reservasjon_oppdatert", "status")
OF_CONTACT = ("varslingsstatus", "kontaktinformasjon", "spraak", "spraak_oppdatert")
OF_MAILBOX = ("digital_post", "sertifikat")
KEYS_OF_CONTACT = {
    f"{channel}{end}"
    for channel in ("epostadresse", "mobiltelefonnummer")
    for end in ("", "_oppdatert", "_sist_verifisert", "_sist_validert", "_duplisert")
}
LANGUAGES = ("nb", "nn", "en", "se")


def unknown(id: str) -> Row:
    return {
        "personidentifikator": id,
        "reservasjon": "NEI",
        "status": "IKKE_REGISTRERT",
        "varslingsstatus": "KAN_IKKE_VARSLES",
    }


def moment(text: str) -> datetime:
    """One of the three spellings of the contract."""
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?(Z|[+-]\d\d(:\d\d)?)", text), "a time"
    return datetime.fromisoformat(text)


class KrrStandIn(Register):
    """KRR with some persons. With `tokens`, it wants an access token of that server."""

    def __init__(self, persons: Iterable[Row], tokens: Maskinporten | None = None) -> None:
        super().__init__()
        self.persons = {person["personidentifikator"]: person for person in persons}
        self.tokens = tokens
        self.ids_max = CALL_IDS_MAX
        self.unauthorized = 0
        file = KRR_CONTRACTS / "oppslagstjeneste-metadata-16-02.xsd"
        self.schema = etree.XMLSchema(etree.parse(str(file), SAFE))

    def read(self, path: str, headers: Mapping[str, str], body: bytes, peer: Row) -> Call | Reply:
        asker, scopes = "", CONTACT | MAILBOX
        if self.tokens is not None:
            scheme, _, token = headers.get("authorization", "").partition(" ")
            granted = self.tokens.granted(token) if scheme == "Bearer" else None
            if granted is None:
                self.unauthorized += 1
                return problem(401, "Unauthorized", {"WWW-Authenticate": 'Bearer error="invalid_token"'})
            asker, scopes = granted.consumer, granted.scopes
            if not scopes & (CONTACT | MAILBOX):
                return problem(403, "insufficient_scope")
        number = self.number()
        try:
            ids = self.parse(path, headers, body)
        except (BadRequest, ValueError) as error:
            self.complain(f"call {number}: {error}")
            return problem(400, "Bad Request")
        if len(ids) > self.ids_max:
            return problem(413, "Too many")
        return KrrCall(number, ids, self, asker, peer=peer, scopes=scopes)

    def parse(self, path: str, headers: Mapping[str, str], body: bytes) -> list[str]:
        if path != PATH:
            raise BadRequest(f"the path is {path}")
        if headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            raise BadRequest("the body is JSON")
        asked = json.loads(body)
        if list(asked) != ["personidentifikatorer"]:
            raise BadRequest("the body has exactly personidentifikatorer")
        ids = asked["personidentifikatorer"]
        if not 1 <= len(ids) <= CALL_IDS_MAX:
            raise BadRequest(f"{len(ids)} ids")
        if not all(isinstance(id, str) and re.fullmatch(r"\d{11}", id) for id in ids):
            raise BadRequest("an id is 11 digits")
        return ids

    def row(self, id: str, asker: str) -> Row:
        return self.persons.get(id, unknown(id))

    def reply(self, call: Call, rows: list[Row], *, valid: bool = True) -> Reply:
        assert isinstance(call, KrrCall)
        fields = {*ALWAYS}
        fields |= {*OF_CONTACT} if call.scopes & CONTACT else set()
        fields |= {*OF_MAILBOX} if call.scopes & MAILBOX else set()
        known = {*ALWAYS, *OF_CONTACT, *OF_MAILBOX}
        shown = [{name: value for name, value in row.items() if name in fields or name not in known} for row in rows]
        if valid:
            for row in shown:
                self.check(row)
        return Reply(200, STYLES[call.number % len(STYLES)](shown), "application/json", chunked=call.number % 2 == 0)

    def check(self, person: Row) -> None:
        """Asserts that a person follows the contract."""
        assert set(person) <= {*ALWAYS, *OF_CONTACT, *OF_MAILBOX}, "the fields"
        contact, mailbox = person.get("kontaktinformasjon", {}), person.get("digital_post", {})
        assert set(contact) <= KEYS_OF_CONTACT
        assert set(mailbox) <= {"postkasseadresse", "postkasseleverandoeradresse"}
        assert person.get("spraak") in (None, *LANGUAGES)
        for name, value in [*person.items(), *contact.items()]:
            if name.endswith(("_oppdatert", "_sist_verifisert", "_sist_validert", "tidspunkt")):
                assert value == "" or moment(value)
            if name.endswith("_duplisert"):
                assert value in ("JA", "NEI", "")
        # The validator takes other characters for base64.
        base64.b64decode(person.get("sertifikat", ""), validate=True)
        with CHECKING:
            assert self.schema.validate(as_xml(person)), str(self.schema.error_log)


class KrrCall(Call):
    def __init__(self, *values: Any, scopes: set[str], **named: Any) -> None:
        super().__init__(*values, **named)
        self.scopes = scopes


def as_xml(person: Row) -> etree._Element:
    """A person in the form of the SOAP service."""

    def add(parent: etree._Element, name: str, text: str | None = None, **attributes: str) -> etree._Element:
        node = etree.SubElement(parent, f"{{{TERMS}}}{name}", attributes)
        node.text = text
        return node

    root = etree.Element(f"{{{TERMS}}}Person")
    for name in ("personidentifikator", "reservasjon", "status", "varslingsstatus"):
        if name in person:
            add(root, name, person[name])
    if contact := person.get("kontaktinformasjon"):
        node = add(root, "Kontaktinformasjon")
        for name in ("mobiltelefonnummer", "epostadresse"):
            ends = {"sistOppdatert": "_oppdatert", "sistVerifisert": "_sist_verifisert"}
            times = {key: contact[name + end] for key, end in ends.items() if contact.get(name + end)}
            if contact.get(name):
                written = {key: moment(text).isoformat() for key, text in times.items()}
                add(node, name.capitalize(), contact[name], **written)
    mailbox = person.get("digital_post", {})
    if mailbox.get("postkasseadresse"):
        node = add(root, "SikkerDigitalPostAdresse")
        add(node, "postkasseadresse", mailbox["postkasseadresse"])
        add(node, "postkasseleverandoerAdresse", mailbox["postkasseleverandoeradresse"])
    if person.get("sertifikat"):
        add(root, "X509Sertifikat", person["sertifikat"])
    return root


def problem(code: int, text: str, headers: Mapping[str, str] | None = None) -> Reply:
    """An error as the service writes it. It may repeat what was asked."""
    body = json.dumps({"status": code, "error": text, "path": PATH})
    return Reply(code, body.encode(), "application/json", headers or {})


def refusing(code: int) -> Fault:
    """An error whose text names an id."""
    return lambda call: problem(code, f"Ugyldig personidentifikator {call.ids[0]}")


def changed(change: Callable[[Row], Row]) -> Fault:
    """The first registered person, if there is one, has other values, which the contract does not allow."""

    def fault(call: Call) -> Reply:
        rows = call.rows()
        known = next((index for index, row in enumerate(rows) if row["status"] != "IKKE_REGISTRERT"), None)
        if known is None:
            return missing(call)
        return call.with_rows([*rows[:known], change(rows[known]), *rows[known + 1 :]], valid=False)

    return fault


def newer_contract(call: Call) -> Reply:
    """No fault: fields that are new in the contract, and others that it might have one day."""
    rows = []
    for row in call.rows():
        contact = {**row.get("kontaktinformasjon", {}), "sms_kanal": {"status": ["PÅ", 1]}}
        mailbox = {**row.get("digital_post", {}), "type": 7}
        more = {"ny": [None, {"status": "DØD"}], "kontaktinformasjon": contact}
        rows.append({**row, **more, **({"digital_post": mailbox} if "digital_post" in row else {})})
    true = call.with_rows(rows, valid=False, is_true=True)
    return replace(true, body=true.body.replace(b'{"personer":', b'{"side": {"nr": 1}, "personer":', 1))


# The same message as different serializers write it.


def compact_style(rows: list[Row]) -> bytes:
    return json.dumps({"personer": rows}, ensure_ascii=False, separators=(",", ":")).encode()


def escaped_style(rows: list[Row]) -> bytes:
    """ASCII only, indented, solidus escaped."""
    text = json.dumps({"personer": rows}, indent=2).replace("/", "\\/")
    return text.replace('{\n  "personer":', '{"personer":', 1).encode()


def null_style(rows: list[Row]) -> bytes:
    """Fields without a value are null."""
    named = (*ALWAYS, *OF_CONTACT, *OF_MAILBOX)
    full = [{**{name: None for name in named}, **row} for row in rows]
    return json.dumps({"personer": full}, ensure_ascii=False).encode()


STYLES = (compact_style, escaped_style, null_style)
