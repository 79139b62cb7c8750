"""FaR's `isReachable`, from the official WSDL and XSDs: SOAP 1.1, document/literal, faults with `applicationFault`."""

from __future__ import annotations

import csv
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from lxml import etree

from soap import COMMON_V3, SOAP, V3, Schemas, payload
from standin import BadRequest, Call, Fault, Register, Reply
from support import CONTRACTS, FIXTURES, Row

PATH = "/Recipient/v3"
TYPES, SENDERS = "http://minameddelanden.gov.se/schema/Recipient", "http://minameddelanden.gov.se/schema/Sender"
CALL_ID = "9b1c4a52-6d0e-4f0b-8f35-1f6a8f0f7d11"
CALL_IDS_MAX = 1000
CHECKING = threading.Lock()
"""Schemas keep their last errors: one thread at a time."""


@dataclass(frozen=True)
class Supplier:
    """`ServiceSupplier`."""

    id: str
    name: str
    service: str
    ui: str = ""
    internal: str = ""
    logo: str = ""


@dataclass(frozen=True)
class Status:
    """`ReachabilityStatus`. `type`, `pending` and `accepted` are texts, so that a test can write others."""

    id: str
    type: str = "Not"
    pending: str = "false"
    supplier: Supplier | None = None
    registered: str = ""
    accepted: str | None = "false"
    changed: str = ""
    more: str = ""
    """Elements that the contract does not have."""


def rows_of(name: str) -> list[dict[str, str]]:
    with (FIXTURES / "far" / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def suppliers() -> dict[str, Supplier]:
    return {
        row["id"]: Supplier(
            row["id"],
            row["name"],
            row["service_address"],
            row["ui_address"],
            row["internal_service_address"],
            row["logo"],
        )
        for row in rows_of("operators.csv")
    }


def fixture(sender: str) -> dict[str, Status]:
    """What FaR would answer to a sender for each recipient of the fixture."""
    known = suppliers()
    answers = {}
    for row in rows_of("recipients.csv"):
        listed = sender in row["exceptions"].split()
        accepted = listed == (row["acceptance"] != "all-except")
        answers[row["recipient_id"]] = Status(
            row["recipient_id"],
            row["type"],
            row["pending"],
            known.get(row["operator_id"]),
            row["last_registration"],
            "true" if accepted else "false",
            row["last_sender_accept_change"],
        )
    return answers


def dispatchers() -> dict[str, set[str]]:
    """The senders of each dispatcher."""
    return {row["id"]: set(row["senders"].split()) for row in rows_of("dispatchers.csv")}


class FarStandIn(Register):
    """FaR with some recipients; an id that it does not have is answered with `Type=Not`."""

    def __init__(self, recipients: Mapping[str, Status], *, mutual: bool = False) -> None:
        super().__init__()
        self.recipients = dict(recipients)
        self.mutual = mutual
        self.schemas = Schemas.official(CONTRACTS)
        self.dispatchers = dispatchers()
        self.ids_max = CALL_IDS_MAX

    def read(self, path: str, headers: Mapping[str, str], body: bytes, peer: Row) -> Call | Reply:
        number = self.number()
        try:
            sender, ids = self.parse(path, headers, body)
        except (BadRequest, AssertionError, etree.XMLSyntaxError, ValueError) as error:
            self.complain(f"call {number}: {error}")
            return self.fault_reply(5001, "The request does not follow the contract")
        call = Call(number, ids, self, sender, peer=peer)
        if self.mutual and not self.may_ask(peer.get("serialNumber", ""), sender):
            return self.fault_reply(5002, f"{peer.get('serialNumber')} may not ask for {sender}")
        if len(ids) > self.ids_max:
            return self.fault_reply(5005, f"At most {self.ids_max} ids")
        return call

    def may_ask(self, organisation: str, sender: str) -> bool:
        return organisation == sender or sender in self.dispatchers.get(organisation, set())

    def parse(self, path: str, headers: Mapping[str, str], body: bytes) -> tuple[str, list[str]]:
        if path != PATH:
            raise BadRequest(f"the path is {path}")
        media, _, parameter = headers.get("content-type", "").partition(";")
        if media.strip() != "text/xml" or parameter.strip().lower() not in ("", "charset=utf-8", 'charset="utf-8"'):
            raise BadRequest("SOAP 1.1 is text/xml")
        if headers.get("soapaction") not in ('""', ""):
            raise BadRequest("the WSDL has an empty SOAPAction, which is a quoted header")
        root = etree.fromstring(body)
        if [child.tag for child in root] not in ([f"{{{SOAP}}}Body"], [f"{{{SOAP}}}Header", f"{{{SOAP}}}Body"]):
            raise BadRequest("an envelope has at most a header, and a body")
        request = payload(body)
        if request.tag != f"{{{V3}}}isReachable":
            raise BadRequest(f"the operation is {request.tag}")
        with CHECKING:
            self.schemas.check(request)
        ids = [node.text or "" for node in request.findall(f"{{{V3}}}recipientId")]
        if not ids:
            raise BadRequest("a call without ids is allowed, but of no use")
        return request.findtext(f"{{{V3}}}senderOrgNr", ""), ids

    def row(self, id: str, asker: str) -> Status:
        return self.recipients.get(id, Status(id))

    def reply(self, call: Call, rows: list[Status], *, valid: bool = True) -> Reply:
        body = STYLES[call.number % len(STYLES)](rows)
        if valid:
            with CHECKING:
                self.schemas.check(payload(body))
        return Reply(200, body, chunked=call.number % 2 == 0)

    def fault_reply(self, code: int, description: str, *, valid: bool = True) -> Reply:
        detail = (
            f'<c:applicationFault xmlns:c="{COMMON_V3}"><c:ErrorCode>{code}</c:ErrorCode>'
            f"<c:Description>{escape(description)}</c:Description><c:CallId>{CALL_ID}</c:CallId></c:applicationFault>"
        )
        if valid:
            with CHECKING:
                self.schemas.check(etree.fromstring(detail))
        text = (
            f'<?xml version="1.0" encoding="UTF-8"?><soap:Envelope xmlns:soap="{SOAP}"><soap:Body><soap:Fault>'
            f"<faultcode>soap:{'Server' if code < 5000 else 'Client'}</faultcode><faultstring>{escape(description)}"
            f"</faultstring><detail>{detail}</detail></soap:Fault></soap:Body></soap:Envelope>"
        )
        return Reply(500, text.encode())


def fault(code: int, status: int = 500) -> Fault:
    """A fault of the register, whose description names an id, as real ones do. The XSD does not allow code 0."""

    def answer(call: Call) -> Reply:
        assert isinstance(call.register, FarStandIn)
        reply = call.register.fault_reply(code, f"Fault {code} at recipient {call.ids[0]}", valid=code > 0)
        return replace(reply, status=status)

    return answer


def changed(**values: Any) -> Fault:
    """The first row has other values, which the contract does not allow."""
    return lambda call: call.with_rows([replace(call.rows()[0], **values), *call.rows()[1:]], valid=False)


NEW = (
    '<n:Sekretess xmlns:n="urn:new"><n:Type>Sekure</n:Type><n:RecipientId>no id</n:RecipientId></n:Sekretess>'
    '<n:Skyddad xmlns:n="urn:new">perhaps</n:Skyddad>'
)
SAME_NAMES = (
    '<n:SenderAccepted xmlns:n="urn:new">{0}</n:SenderAccepted><n:Pending xmlns:n="urn:new">{0}</n:Pending>'
    '<n:Type xmlns:n="urn:new">Not</n:Type>'
)


def other_namespace(call: Call) -> Reply:
    """No fault: elements of another namespace that have the names of the contract, with other values."""
    rows = [replace(row, more=SAME_NAMES.format("true")) for row in call.rows()]
    return call.with_rows(rows, valid=False, is_true=True)


def newer_contract(call: Call) -> Reply:
    """No fault: the true rows with elements that a later version of the contract might have."""
    return call.with_rows([replace(row, more=NEW) for row in call.rows()], valid=False, is_true=True)


# The same message as different stacks write it.


def plain_style(rows: Iterable[Status]) -> bytes:
    """One default namespace after the other, as .NET does."""
    parts = [element(row, "", f' xmlns="{TYPES}"', "", "") for row in rows]
    return envelope("s", f'<isReachableResponse xmlns="{V3}">{"".join(parts)}</isReachableResponse>').encode()


def prefixed_style(rows: Iterable[Status]) -> bytes:
    """All namespaces at the root with numbered prefixes, as CXF does."""
    spaces = f'xmlns:ns2="{V3}" xmlns:ns3="{TYPES}" xmlns:ns4="{SENDERS}"'
    parts = [element(row, "ns2:", "", "ns3:", "") for row in rows]
    return envelope(
        "SOAP-ENV", f"<ns2:isReachableResponse {spaces}>{''.join(parts)}</ns2:isReachableResponse>"
    ).encode()


def spaced_style(rows: Iterable[Status]) -> bytes:
    """Indented, with comments, CDATA and character references, after a byte order mark."""
    spaces = f"xmlns:r={quoteattr(V3)}\n  xmlns:t='{TYPES}'"
    parts = [element(row, "r:", "", "t:", "\n      ") for row in rows]
    body = f"<r:isReachableResponse {spaces}><!-- rows -->{''.join(parts)}\n</r:isReachableResponse>"
    return b"\xef\xbb\xbf" + envelope("e", body, "\n").encode()


def envelope(prefix: str, body: str, space: str = "") -> str:
    head = f"<{prefix}:Header/>" if space else ""
    return (
        f'<?xml version="1.0" encoding="utf-8"?>{space}<{prefix}:Envelope xmlns:{prefix}="{SOAP}">{space}{head}'
        f"<{prefix}:Body>{space}{body}{space}</{prefix}:Body></{prefix}:Envelope>"
    )


def element(row: Status, outer: str, declared: str, inner: str, space: str) -> str:
    def value(name: str, text: str | None) -> str:
        if text is None:
            return ""
        if space and name == "Name":
            return f"{space}<{inner}{name}><![CDATA[{text}]]></{inner}{name}>"
        written = escape(text)
        if space and name == "ServiceAdress":
            written = written.replace("/", "&#x2F;").replace(":", "&#58;")
        return f"{space}<{inner}{name}>{written}</{inner}{name}>"

    status = value("RecipientId", row.id) + value("Type", row.type) + value("Pending", row.pending)
    if supplier := row.supplier:
        texts = {
            "Id": supplier.id,
            "Name": supplier.name,
            "Logo": supplier.logo or None,
            "ServiceAdress": supplier.service,
            "UIAdress": supplier.ui or None,
            "InternalServiceAdress": supplier.internal,
        }
        inside = "".join(value(name, text) for name, text in texts.items())
        status += f"{space}<{inner}ServiceSupplier>{inside}{space}</{inner}ServiceSupplier>"
    status += value("LastRegistration", row.registered or None)
    rest = value("SenderAccepted", row.accepted) + value("LastSenderAcceptChange", row.changed or None)
    inside = f"<{inner}AccountStatus>{status}{row.more}</{inner}AccountStatus>{rest}{row.more}"
    if declared:
        # `return` has the namespace of the response, what is in it that of the types.
        inside = inside.replace("<AccountStatus>", f"<AccountStatus{declared}>", 1)
        inside = inside.replace("<SenderAccepted>", f"<SenderAccepted{declared}>")
        inside = inside.replace("<LastSenderAcceptChange>", f"<LastSenderAcceptChange{declared}>")
    return f"{space}<{outer}return>{inside}</{outer}return>"


STYLES = (plain_style, prefixed_style, spaced_style)
