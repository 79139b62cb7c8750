"""SOAP 1.1 by hand: envelopes, faults, and the schemas that answers must follow."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

import httpx
from lxml import etree

SOAP = "http://schemas.xmlsoap.org/soap/envelope/"
MM = "http://minameddelanden.gov.se"
AUTHORITY = f"{MM}/Authority"
V2, V3 = f"{MM}/schema/Recipient/v2", f"{MM}/schema/Recipient/v3"
COMMON, COMMON_V3 = f"{MM}/schema/Common", f"{MM}/schema/Common/v3"
XS = "http://www.w3.org/2001/XMLSchema"
SAFE = etree.XMLParser(resolve_entities=False, no_network=True)


def envelope(body: str, header: str = "") -> str:
    return f'<s:Envelope xmlns:s="{SOAP}">{header}<s:Body>{body}</s:Body></s:Envelope>'


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


def payload(text: bytes) -> etree._Element:
    """What stands in the body of an envelope: one element, as a document of its own."""
    root = etree.fromstring(text, SAFE)
    assert root.tag == f"{{{SOAP}}}Envelope", root.tag
    (body,) = root.findall(f"{{{SOAP}}}Body")
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

    def __init__(self, schema: etree.XMLSchema) -> None:
        self.schema = schema

    @classmethod
    def official(cls, contracts: Path) -> Schemas:
        files = {V2: "v2/Recipient.xsd", V3: "v3/Recipient.xsd", COMMON_V3: "v3/Common.xsd"}
        return cls.importing({space: contracts / "schema" / file for space, file in files.items()})

    @classmethod
    def of_wsdl(cls, text: bytes, directory: Path) -> Schemas:
        """The schemas inside a WSDL document. They import each other without saying where; files say it."""
        found = {schema.get("targetNamespace", ""): schema for schema in etree.fromstring(text).iter(f"{{{XS}}}schema")}
        files = {space: directory / f"{number}.xsd" for number, space in enumerate(found)}
        for space, schema in found.items():
            for other in schema.findall(f"{{{XS}}}import"):
                other.set("schemaLocation", files[other.get("namespace", "")].name)
            files[space].write_bytes(etree.tostring(schema))
        return cls.importing(files)

    @classmethod
    def importing(cls, files: dict[str, Path]) -> Schemas:
        imports = "".join(
            f'<import namespace="{space}" schemaLocation="{file.as_uri()}"/>' for space, file in files.items()
        )
        return cls(etree.XMLSchema(etree.fromstring(f'<schema xmlns="{XS}">{imports}</schema>')))

    def check(self, element: etree._Element) -> None:
        alone = etree.fromstring(etree.tostring(element), SAFE)
        assert self.schema.validate(alone), str(self.schema.error_log)

    def answer(self, response: httpx.Response) -> etree._Element:
        """The element that answers, checked."""
        assert response.status_code == 200, response.text
        assert response.headers["content-type"].startswith("text/xml"), response.headers
        found = payload(response.content)
        self.check(found)
        return found

    def fault(self, response: httpx.Response) -> Fault:
        """The fault that answers, its detail checked."""
        assert response.status_code == 500, response.text
        assert response.headers["content-type"].startswith("text/xml"), response.headers
        return self.fault_of(payload(response.content))

    def fault_of(self, found: etree._Element) -> Fault:
        assert found.tag == f"{{{SOAP}}}Fault", found.tag
        names = [child.tag for child in found]
        assert names in (["faultcode", "faultstring"], ["faultcode", "faultstring", "detail"]), names
        prefix, _, local = found.findtext("faultcode", "").rpartition(":")
        assert found.nsmap.get(prefix or None) == SOAP, "the faultcode is a qualified name of the envelope's namespace"
        assert local in ("Client", "Server", "VersionMismatch", "MustUnderstand"), local
        told = Fault(local, found.findtext("faultstring", ""))
        assert told.faultstring
        if (detail := found.find("detail")) is None:
            return told
        (child,) = detail
        self.check(child)
        values = {etree.QName(value).localname: value.text or "" for value in child}
        return Fault(
            told.faultcode,
            told.faultstring,
            str(child.tag),
            int(values["ErrorCode"]),
            values["Description"],
            values["CallId"],
        )
