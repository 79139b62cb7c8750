"""SOAP 1.1 and 1.2 by hand: envelopes, faults, and the schemas that answers must follow, also when zeep asks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import httpx
import zeep
from lxml import etree

SOAP = "http://schemas.xmlsoap.org/soap/envelope/"
SOAP12 = "http://www.w3.org/2003/05/soap-envelope"
CONTENT_TYPES = {SOAP: "text/xml", SOAP12: "application/soap+xml"}
CODES = {SOAP: ["Client", "Server", "VersionMismatch", "MustUnderstand"], SOAP12: ["Sender", "Receiver"]}
MM = "http://minameddelanden.gov.se"
AUTHORITY = f"{MM}/Authority"
V2, V3 = f"{MM}/schema/Recipient/v2", f"{MM}/schema/Recipient/v3"
COMMON, COMMON_V3 = f"{MM}/schema/Common", f"{MM}/schema/Common/v3"
XS = "http://www.w3.org/2001/XMLSchema"
SAFE = etree.XMLParser(resolve_entities=False, no_network=True)


def envelope(body: str, header: str = "", soap: str = SOAP) -> str:
    return f'<s:Envelope xmlns:s="{soap}">{header}<s:Body>{body}</s:Body></s:Envelope>'


def is_reachable(sender: str, ids: list[str]) -> str:
    asked = "".join(f"<recipientId>{escape(id)}</recipientId>" for id in ids)
    return f'<isReachable xmlns="{V3}"><senderOrgNr>{escape(sender)}</senderOrgNr>{asked}</isReachable>'


def is_registered(ids: list[str]) -> str:
    return f'<isRegistered xmlns="{V3}">{"".join(f"<recipientId>{id}</recipientId>" for id in ids)}</isRegistered>'


def post(
    http: httpx.Client, url: str, text: str | bytes, content_type: str = "text/xml; charset=utf-8"
) -> httpx.Response:
    content = text.encode() if isinstance(text, str) else text
    return http.post(url, content=content, headers={"Content-Type": content_type, "SOAPAction": '""'})


def payload(text: bytes, soap: str = SOAP) -> etree._Element:
    """The single element in the body of an envelope, as a document."""
    root = etree.fromstring(text, SAFE)
    assert root.tag == f"{{{soap}}}Envelope", root.tag
    (body,) = root.findall(f"{{{soap}}}Body")
    (child,) = body
    return etree.fromstring(etree.tostring(child), SAFE)


@dataclass(frozen=True)
class Fault:
    """A fault; code, description and call come from its detail, if it has one."""

    faultcode: str
    faultstring: str
    detail: str | None = None
    code: int | None = None
    description: str | None = None
    call: str | None = None


class Schemas:
    """Checks elements of answers against XML schemas."""

    def __init__(self, schema: etree.XMLSchema, soap: str = SOAP) -> None:
        self.schema, self.soap = schema, soap

    @classmethod
    def official(cls, contracts: Path) -> Schemas:
        files = {V2: "v2/Recipient.xsd", V3: "v3/Recipient.xsd", COMMON_V3: "v3/Common.xsd"}
        return cls.importing({space: contracts / "schema" / file for space, file in files.items()})

    @classmethod
    def of_wsdl(cls, text: bytes, directory: Path, soap: str = SOAP) -> Schemas:
        """The schemas inside a WSDL document. They import each other without locations; files give them."""
        found = {schema.get("targetNamespace", ""): schema for schema in etree.fromstring(text).iter(f"{{{XS}}}schema")}
        files = {space: directory / f"{number}.xsd" for number, space in enumerate(found)}
        for space, schema in found.items():
            for other in schema.findall(f"{{{XS}}}import"):
                other.set("schemaLocation", files[other.get("namespace", "")].name)
            files[space].write_bytes(etree.tostring(schema))
        return cls.importing(files, soap)

    @classmethod
    def importing(cls, files: dict[str, Path], soap: str = SOAP) -> Schemas:
        imports = "".join(
            f'<import namespace="{space}" schemaLocation="{file.as_uri()}"/>' for space, file in files.items()
        )
        return cls(etree.XMLSchema(etree.fromstring(f'<schema xmlns="{XS}">{imports}</schema>')), soap)

    def check(self, element: etree._Element) -> None:
        alone = etree.fromstring(etree.tostring(element), SAFE)
        assert self.schema.validate(alone), str(self.schema.error_log)

    def answer(self, response: httpx.Response) -> etree._Element:
        """The checked element of the answer."""
        assert response.status_code == 200, response.text
        found = self.message(response)
        self.check(found)
        return found

    def fault(self, response: httpx.Response) -> Fault:
        """The fault of the answer, with checked detail."""
        output = self.fault_of(self.message(response))
        assert response.status_code == (400 if output.faultcode == "Sender" else 500), response.text
        return output

    def message(self, response: httpx.Response) -> etree._Element:
        assert response.headers["content-type"].startswith(CONTENT_TYPES[self.soap]), response.headers
        return payload(response.content, self.soap)

    def fault_of(self, found: etree._Element) -> Fault:
        assert found.tag == f"{{{self.soap}}}Fault", found.tag
        if self.soap == SOAP12:
            assert [etree.QName(child).localname for child in found] == ["Code", "Reason"]
            (code,), (reason,) = found
            assert (code.tag, reason.tag) == (f"{{{SOAP12}}}Value", f"{{{SOAP12}}}Text")
            assert reason.get("{http://www.w3.org/XML/1998/namespace}lang"), "SOAP 1.2, part 1, 5.4.2.1"
            return Fault(self.faultcode(code), reason.text or "")
        names = [child.tag for child in found]
        assert names in (["faultcode", "faultstring"], ["faultcode", "faultstring", "detail"]), names
        local = self.faultcode(found[0])
        output = Fault(local, found.findtext("faultstring", ""))
        assert output.faultstring
        if (detail := found.find("detail")) is None:
            return output
        (child,) = detail
        self.check(child)
        values = {etree.QName(value).localname: value.text or "" for value in child}
        return Fault(
            output.faultcode,
            output.faultstring,
            str(child.tag),
            int(values["ErrorCode"]),
            values["Description"],
            values["CallId"],
        )

    def faultcode(self, element: etree._Element) -> str:
        prefix, _, local = (element.text or "").rpartition(":")
        assert element.nsmap.get(prefix or None) == self.soap, "a qualified name of the envelope's namespace"
        assert local in CODES[self.soap], local
        return local


class Checking(zeep.Plugin):
    """Checks every answer that zeep gets against the schemas, and keeps the last."""

    def __init__(self, schemas: Schemas) -> None:
        self.schemas = schemas
        self.last: etree._Element | None = None

    def ingress(self, envelope: Any, http_headers: Any, operation: Any) -> tuple[Any, Any]:
        self.last = payload(etree.tostring(envelope), self.schemas.soap)
        if self.last.tag.endswith("}Fault"):
            self.schemas.fault_of(self.last)
        else:
            self.schemas.check(self.last)
        return envelope, http_headers


def transport() -> zeep.Transport:
    return zeep.Transport(timeout=30, operation_timeout=60)
