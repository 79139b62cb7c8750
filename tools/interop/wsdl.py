"""The content of a WSDL, for comparison: without prefixes, order and documentation."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lxml import etree

from soap import XS

WSDL, SOAP12_BINDING = "http://schemas.xmlsoap.org/wsdl/", "http://schemas.xmlsoap.org/wsdl/soap12/"
GLOBAL = ("element", "complexType", "simpleType")
Shapes = dict[tuple[str, str], Any]


def local(node: etree._Element) -> str:
    return etree.QName(node).localname


def resolved(node: etree._Element, attribute: str) -> str | None:
    """The qualified name that an attribute has."""
    if (text := node.get(attribute)) is None:
        return None
    prefix, _, name = text.rpartition(":")
    return f"{{{node.nsmap.get(prefix or None, '')}}}{name}"


def operations(wsdl: etree._Element) -> dict[str, Any]:
    """Messages, operations, bindings and ports, with all that they name."""
    answer: dict[str, Any] = {"namespace": wsdl.get("targetNamespace"), "name": wsdl.get("name")}
    for message in wsdl.findall(f"{{{WSDL}}}message"):
        answer[f"message {message.get('name')}"] = {part.get("name"): resolved(part, "element") for part in message}
    for port_type in wsdl.findall(f"{{{WSDL}}}portType"):
        for operation in port_type:
            messages = {local(message): resolved(message, "message") for message in operation}
            answer[f"{port_type.get('name')} {operation.get('name')}"] = messages
    for binding in wsdl.findall(f"{{{WSDL}}}binding"):
        name = f"binding {binding.get('name')}"
        answer[name] = [resolved(binding, "type"), *bound(binding)]
        for operation in binding.findall(f"{{{WSDL}}}operation"):
            parts = {local(part): bound(part) for part in operation if part.tag.startswith(f"{{{WSDL}}}")}
            answer[f"{name} {operation.get('name')}"] = {**parts, "operation": bound(operation)}
    for port in wsdl.findall(f"{{{WSDL}}}service/{{{WSDL}}}port"):
        answer[f"port {port.getparent().get('name')} {port.get('name')}"] = resolved(port, "binding")
    return answer


def bound(node: etree._Element) -> list[Any]:
    """The SOAP 1.2 elements in a part of a binding."""
    names = ("style", "transport", "soapAction", "use", "part")
    return [
        (local(part), resolved(part, "message"), {name: part.get(name) for name in names if part.get(name) is not None})
        for part in node.findall(f"{{{SOAP12_BINDING}}}*")
    ]


def schemas_of(wsdl: etree._Element) -> list[etree._Element]:
    return [schema for schema in wsdl.iter(f"{{{XS}}}schema") if schema.get("targetNamespace")]


def shapes(schemas: Iterable[etree._Element]) -> Shapes:
    """All elements and types by their names. A type that adds nothing to another one is replaced by it."""
    found = {
        (local(node), f"{{{schema.get('targetNamespace')}}}{node.get('name')}"): node
        for schema in schemas
        for node in schema
        if not isinstance(node, etree._Comment) and local(node) in GLOBAL
    }
    same: dict[str | None, str | None] = {}
    for (kind, name), node in found.items():
        if kind == "simpleType" and not len(node[0]):
            same[name] = resolved(node[0], "base")
    return {key: shape(node, same) for key, node in found.items()}


def shape(node: etree._Element, same: dict[str | None, str | None]) -> Any:
    kind = local(node)
    inside = [shape(part, same) for part in node if not isinstance(part, etree._Comment)]
    inside = [part for part in inside if part[0] != "annotation"]
    kept: dict[str, Any] = {name: node.get(name) for name in ("name", "value") if node.get(name)}
    for name in ("type", "ref", "base"):
        if node.get(name):
            kept[name] = same.get(resolved(node, name), resolved(node, name))
    if kind in ("element", "sequence", "choice", "all"):
        kept["occurs"] = (node.get("minOccurs", "1"), node.get("maxOccurs", "1"))
    if kind == "attribute":
        kept["use"] = node.get("use", "optional")
    if inside and inside[0][0] in ("enumeration", "attribute"):
        inside = sorted(inside, key=str)
    return kind, kept, inside


def forms(schemas: Iterable[etree._Element]) -> dict[str | None, tuple[str, str]]:
    """Whether elements and attributes inside have the namespace."""
    names = ("elementFormDefault", "attributeFormDefault")
    qualified = [tuple(schema.get(name, "unqualified") for name in names) for schema in schemas]
    spaces = [schema.get("targetNamespace") for schema in schemas]
    return {space: (form[0], form[1]) for space, form in zip(spaces, qualified, strict=True)}
