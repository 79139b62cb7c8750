"""FaR's contract on the wire: requests in every valid style, broken requests, and hostile ones."""

from __future__ import annotations

import gzip
import socket
import time

import httpx
import pytest
from lxml import etree

from soap import AUTHORITY, SOAP, V2, V3, Schemas, envelope, is_reachable, is_registered, post
from support import CONTRACTS, FAR, SENDER, lookup, registered

IDS = registered()[:3]
BODY = is_reachable(SENDER, IDS)
PLAIN = envelope(BODY)
DECLARED = '<?xml version="1.0" encoding="UTF-8"?>'
SECONDS_MAX = 5.0


def prefixed(soap: str, ours: str) -> str:
    ids = "".join(f"<{ours}:recipientId>{id}</{ours}:recipientId>" for id in IDS)
    return (
        f'<{soap}:Envelope xmlns:{soap}="{SOAP}"><{soap}:Body><{ours}:isReachable xmlns:{ours}="{V3}">'
        f"<{ours}:senderOrgNr>{SENDER}</{ours}:senderOrgNr>{ids}</{ours}:isReachable></{soap}:Body></{soap}:Envelope>"
    )


STYLES: dict[str, str | bytes] = {
    "declared": DECLARED + PLAIN,
    "declared with line breaks": DECLARED.replace("UTF-8", "utf-8") + "\r\n" + PLAIN.replace("><", ">\r\n\t<") + "\r\n",
    "byte order mark": b"\xef\xbb\xbf" + (DECLARED + PLAIN).encode(),
    "default namespaces only": f'<Envelope xmlns="{SOAP}"><Body>{BODY}</Body></Envelope>',
    "prefixes": prefixed("soapenv", "v3"),
    "odd prefixes": prefixed("_", "ns0.a-b"),
    "prefixes swapped against habit": prefixed("v3", "soap"),
    "prefixes beyond ASCII": prefixed("söap", "å"),
    "namespaces all on the envelope": prefixed("s", "r")
    .replace(f' xmlns:r="{V3}"', "")
    .replace("<s:Envelope", f'<s:Envelope xmlns:r="{V3}"'),
    "a prefix redeclared inside": f'<s:Envelope xmlns:s="{SOAP}" xmlns:x="urn:other"><s:Body>'
    + prefixed("s", "x").split("<s:Body>")[1],
    "unused namespaces": PLAIN.replace(
        "<s:Envelope", '<s:Envelope xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:u="urn:u"'
    ),
    "xsi:type": PLAIN.replace(
        "<s:Envelope",
        '<s:Envelope xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:xsd="http://www.w3.org/2001/XMLSchema"',
    )
    .replace("<senderOrgNr>", '<senderOrgNr xsi:type="xsd:string">')
    .replace("<recipientId>", '<recipientId xsi:type="xsd:string">'),
    "single quotes": PLAIN.replace('"', "'"),
    "spaces in tags": PLAIN.replace("<recipientId>", "<recipientId  >").replace("</recipientId>", "</recipientId\n>"),
    "empty header": PLAIN.replace("<s:Body>", "<s:Header/><s:Body>"),
    "headers": envelope(
        BODY,
        '<s:Header><a:Action xmlns:a="http://www.w3.org/2005/08/addressing">isReachable</a:Action>'
        '<x:recipientId xmlns:x="urn:x">1</x:recipientId></s:Header>',
    ),
    "CDATA": PLAIN.replace("<recipientId>", "<recipientId><![CDATA[").replace("</recipientId>", "]]></recipientId>"),
    "CDATA in parts": PLAIN.replace(IDS[0], f"{IDS[0][:4]}<![CDATA[{IDS[0][4:8]}]]>{IDS[0][8:]}"),
    "character references": PLAIN.replace(
        IDS[0], "".join(f"&#{ord(d)};" if n % 2 else f"&#x{ord(d):X};" for n, d in enumerate(IDS[0]))
    ),
    "comments between": PLAIN.replace("<recipientId>", "<!-- <recipientId>1</recipientId> --><recipientId>"),
    "a comment inside an id": PLAIN.replace(IDS[1], f"{IDS[1][:6]}<!-- 1 -->{IDS[1][6:]}"),
    "a processing instruction": PLAIN.replace("<s:Body>", "<?client 1?><s:Body>"),
    "Latin-1 declared": (DECLARED.replace("UTF-8", "ISO-8859-1") + PLAIN).encode("latin-1"),
    "US-ASCII declared": (DECLARED.replace("UTF-8", "US-ASCII") + PLAIN).encode("ascii"),
    "UTF-16": (DECLARED.replace("UTF-8", "UTF-16") + PLAIN).encode("utf-16"),
}
MAY_BE_REFUSED = {"Latin-1 declared", "US-ASCII declared", "UTF-16"}
"""Other encodings than UTF-8: answered correctly or refused with a fault."""

ENTITY = PLAIN.replace(IDS[0], "&a;")
LAUGHS = "".join(f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip("abcdefghi", "bcdefghij", strict=True))
HOSTILE: dict[str, str] = {
    "a document type": f"<!DOCTYPE x>{PLAIN}",
    "an entity": f'<!DOCTYPE x [<!ENTITY a "{IDS[0]}">]>{ENTITY}',
    "a file": f'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>{ENTITY}',
    "a document type elsewhere": f'<!DOCTYPE x SYSTEM "http://127.0.0.1:1/x.dtd">{PLAIN}',
    "a parameter entity": f'<!DOCTYPE x [<!ENTITY % p SYSTEM "file:///etc/passwd"> %p;]>{PLAIN}',
    "a billion laughs": f'<!DOCTYPE x [<!ENTITY a "{"ha" * 20}">{LAUGHS}]>{PLAIN.replace(IDS[0], "&j;")}',
    "an undeclared entity": ENTITY,
    "a deep nest": envelope("<a>" * 100_000 + "</a>" * 100_000),
    "a deep nest without an end": envelope("<a>" * 300_000),
    "a deep nest in the header": envelope(BODY, f"<s:Header>{'<a>' * 100_000}{'</a>' * 100_000}</s:Header>"),
    "many attributes": PLAIN.replace(
        "<recipientId>", "<recipientId " + " ".join(f'a{n}="1"' for n in range(50_000)) + ">", 1
    ),
    "an attribute twice": PLAIN.replace("<recipientId>", '<recipientId a="1" a="1">', 1),
    "a null character": PLAIN.replace(IDS[0], "&#0;"),
    "a long text": PLAIN.replace(IDS[0], "1" * 1_000_000),
}
MAY_BE_ANSWERED = {"a deep nest in the header", "many attributes", "an attribute twice"}
"""Harmless: headers and attributes are not read."""

MALFORMED: dict[str, str | bytes] = {
    "nothing": "",
    "text": "hello",
    "JSON": '{"recipients": []}',
    "HTML": "<html><body>hello</body></html>",
    "no envelope": BODY,
    "an envelope of no namespace": PLAIN.replace(f' xmlns:s="{SOAP}"', "").replace("s:", ""),
    "SOAP 1.2": PLAIN.replace(SOAP, "http://www.w3.org/2003/05/soap-envelope"),
    "no body": f'<s:Envelope xmlns:s="{SOAP}"/>',
    "an empty body": envelope(""),
    "two requests": envelope(BODY + BODY),
    "an operation that is none": envelope(f'<isReachabel xmlns="{V3}"/>'),
    "an operation of no namespace": envelope("<isReachable/>"),
    "an operation of another namespace": envelope(BODY.replace(V3, V2)),
    "no sender": envelope(f'<isReachable xmlns="{V3}"><recipientId>{IDS[0]}</recipientId></isReachable>'),
    "two senders": envelope(BODY.replace("<recipientId>", f"<senderOrgNr>{SENDER}</senderOrgNr><recipientId>", 1)),
    "an unknown argument": envelope(BODY.replace("</isReachable>", "<recipientID>1</recipientID></isReachable>")),
    "an element inside an id": PLAIN.replace(IDS[0], f"<id>{IDS[0]}</id>"),
    "no recipient to isRegistered": envelope(is_registered([])),
    "overlapping tags": PLAIN.replace("</recipientId></isReachable>", "</isReachable></recipientId>"),
    "an undeclared prefix": PLAIN.replace("<isReachable", "<q:isReachable").replace("</isReachable", "</q:isReachable"),
    "bytes that are no UTF-8": PLAIN.encode().replace(IDS[0].encode(), b"\xff\xfe"),
    "a second root": PLAIN + PLAIN,
    "text after the end": PLAIN + "hello",
}


@pytest.fixture(scope="module", params=["served", "official"])
def schemas(
    request: pytest.FixtureRequest, far: str, http: httpx.Client, tmp_path_factory: pytest.TempPathFactory
) -> Schemas:
    if request.param == "served":
        return Schemas.of_wsdl(http.get(f"{far}/Recipient/v3?wsdl").content, tmp_path_factory.mktemp("schemas"))
    if not CONTRACTS.exists():
        pytest.skip(f"the official contract is not at {CONTRACTS}")
    return Schemas.official(CONTRACTS)


@pytest.fixture(scope="module")
def url(far: str) -> str:
    return f"{far}/Recipient/v3"


def texts(answer: etree._Element) -> list[str]:
    return [(element.text or "").strip() for element in answer.iter()]


def test_a_plain_request_is_answered_as_lookup_says(url: str, http: httpx.Client, schemas: Schemas) -> None:
    answer = schemas.answer(post(http, url, PLAIN))
    assert answer.tag == f"{{{V3}}}isReachableResponse"
    assert {child.tag for child in answer} == {f"{{{V3}}}return"}
    types = [element.text for element in answer.iter("{*}Type")]
    assert types == [row["type"] for row in lookup(FAR, IDS, SENDER)]


@pytest.mark.parametrize("style", STYLES)
def test_the_same_request_in_another_style_has_the_same_answer(
    url: str, http: httpx.Client, schemas: Schemas, style: str
) -> None:
    encoding = {"UTF-16": "utf-16", "Latin-1 declared": "ISO-8859-1", "US-ASCII declared": "us-ascii"}.get(
        style, "utf-8"
    )
    response = post(http, url, STYLES[style], f"text/xml; charset={encoding}")
    if style in MAY_BE_REFUSED and response.status_code != 200:
        schemas.fault(response)
    else:
        assert texts(schemas.answer(response)) == texts(schemas.answer(post(http, url, PLAIN)))


@pytest.mark.parametrize("action", [None, "", '""', "isReachable", f'"{V3}/isReachable"'])
@pytest.mark.parametrize(
    "content_type",
    ["text/xml", "text/xml;charset=UTF-8", 'TEXT/XML; charset="utf-8"', "text/xml; charset=utf-8; action=x"],
)
def test_headers_of_common_clients_are_accepted(
    url: str, http: httpx.Client, schemas: Schemas, action: str | None, content_type: str
) -> None:
    headers = {"Content-Type": content_type} | ({} if action is None else {"SOAPAction": action})
    schemas.answer(http.post(url, content=PLAIN.encode(), headers=headers))


def test_a_chunked_request_is_accepted(url: str, http: httpx.Client, schemas: Schemas) -> None:
    parts = (bytes([byte]) for byte in PLAIN.encode())
    schemas.answer(http.post(url, content=parts, headers={"Content-Type": "text/xml"}))


def raw(url: str, head: str, body: str, wait_for: bytes = b"") -> bytes:
    """The data received on a new connection: all, or after the head all up to `wait_for` and then the rest."""
    address = httpx.URL(url)
    with socket.create_connection((address.host, address.port), timeout=10) as client:
        client.sendall(head.format(path=address.path, host=address.netloc.decode(), length=len(body.encode())).encode())
        got = b""
        while wait_for not in got:
            piece = client.recv(4096)
            assert piece, got
            got += piece
        client.sendall(body.encode())
        while piece := client.recv(65536):
            got += piece
    return got


def test_expect_100_continue_is_answered(url: str, schemas: Schemas) -> None:
    """.NET clients do."""
    head = (
        "POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: text/xml; charset=utf-8\r\nConnection: close\r\n"
        "Expect: 100-continue\r\nContent-Length: {length}\r\n\r\n"
    )
    got = raw(url, head, PLAIN, wait_for=b"100 Continue\r\n\r\n")
    assert b"HTTP/1.1 200 OK" in got and b"isReachableResponse" in got


def test_a_client_of_http_1_0_is_answered(url: str, schemas: Schemas) -> None:
    got = raw(url, "POST {path} HTTP/1.0\r\nContent-Type: text/xml\r\nContent-Length: {length}\r\n\r\n", PLAIN)
    assert got.startswith(b"HTTP/1.0 200") and b"isReachableResponse" in got


def test_a_compressed_request_is_answered_right_or_refused(url: str, http: httpx.Client, schemas: Schemas) -> None:
    headers = {"Content-Type": "text/xml", "Content-Encoding": "gzip"}
    response = http.post(url, content=gzip.compress(PLAIN.encode()), headers=headers)
    if response.status_code == 200:
        schemas.answer(response)
    else:
        assert response.status_code == 415 or schemas.fault(response).faultcode == "Client"


@pytest.mark.parametrize("host", ["a&b", "a<b>", "a'b\"c", "x" * 5000])
def test_a_wsdl_is_xml_for_any_host(url: str, http: httpx.Client, host: str) -> None:
    response = http.get(f"{url}?wsdl", headers={"Host": host})
    if response.status_code == 200:
        etree.fromstring(response.content)
    else:
        assert 400 <= response.status_code < 500


def test_a_header_that_must_be_understood_is_answered_or_refused_as_such(
    url: str, http: httpx.Client, schemas: Schemas
) -> None:
    header = '<s:Header><x:y xmlns:x="urn:x" s:mustUnderstand="1"/></s:Header>'
    response = post(http, url, envelope(BODY, header))
    if response.status_code != 200:
        assert schemas.fault(response).faultcode == "MustUnderstand"


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_request_is_a_fault(url: str, http: httpx.Client, schemas: Schemas, case: str) -> None:
    assert schemas.fault(post(http, url, MALFORMED[case])).faultcode in ("Client", "VersionMismatch")


def test_arguments_of_no_namespace_are_answered_right_or_refused(
    url: str, http: httpx.Client, schemas: Schemas
) -> None:
    body = BODY.replace("<senderOrgNr>", '<senderOrgNr xmlns="">').replace("<recipientId>", '<recipientId xmlns="">')
    response = post(http, url, envelope(body))
    if response.status_code == 200:
        assert texts(schemas.answer(response)) == texts(schemas.answer(post(http, url, PLAIN)))
    else:
        assert schemas.fault(response).faultcode == "Client"


def test_a_request_cut_anywhere_is_a_fault(url: str, http: httpx.Client, schemas: Schemas) -> None:
    for end in range(0, len(PLAIN), 7):
        assert schemas.fault(post(http, url, PLAIN[:end])).faultcode == "Client"


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_request_is_refused_at_once_and_discloses_nothing(
    url: str, http: httpx.Client, schemas: Schemas, case: str
) -> None:
    began = time.monotonic()
    response = post(http, url, HOSTILE[case])
    assert time.monotonic() - began < SECONDS_MAX
    assert "root:" not in response.text
    assert len(response.content) < 10_000
    if case in MAY_BE_ANSWERED and response.status_code == 200:
        schemas.answer(response)
    else:
        assert response.status_code == 413 or schemas.fault(response).faultcode == "Client"
    schemas.answer(post(http, url, PLAIN))


@pytest.mark.parametrize(
    "content_type", ["application/json", "application/soap+xml", "text/plain", "application/x-www-form-urlencoded"]
)
def test_another_content_type_is_refused(url: str, http: httpx.Client, content_type: str) -> None:
    assert post(http, url, PLAIN, content_type).status_code in (415, 500)


def test_1001_ids_are_5005(url: str, http: httpx.Client, schemas: Schemas) -> None:
    ids = (registered() * 3)[:1001]
    schemas.answer(post(http, url, envelope(is_reachable(SENDER, ids[:1000]))))
    for body in (is_reachable(SENDER, ids), is_registered(ids)):
        assert schemas.fault(post(http, url, envelope(body))).code == 5005


def test_a_hundred_thousand_ids_are_refused(url: str, http: httpx.Client, schemas: Schemas) -> None:
    response = post(http, url, envelope(is_reachable(SENDER, registered() * 200)))
    assert response.status_code == 413 or schemas.fault(response).code == 5005


def test_a_client_that_disconnects_early_does_not_affect_others(url: str, http: httpx.Client, schemas: Schemas) -> None:
    address = httpx.URL(url)
    head = f"POST {address.path} HTTP/1.1\r\nHost: {address.host}\r\nContent-Type: text/xml\r\n"
    head += f"Content-Length: {len(PLAIN)}\r\n\r\n"
    for end in (0, 1, len(PLAIN) // 2, len(PLAIN) - 1):
        with socket.create_connection((address.host, address.port), timeout=10) as client:
            client.sendall((head + PLAIN[:end]).encode())
            client.shutdown(socket.SHUT_WR)
            assert b"200" not in client.recv(4096)[:16]
    schemas.answer(post(http, url, PLAIN))


def test_the_schema_lets_empty_addresses_of_an_operator_through(url: str, http: httpx.Client, schemas: Schemas) -> None:
    answer = schemas.answer(post(http, url, envelope(is_registered(registered()))))
    internal = list(answer.iter("{*}InternalServiceAdress"))
    assert len(internal) == len(list(answer.iter("{*}ServiceSupplier")))
    assert any(not element.text for element in internal)
    assert not any(not element.text for name in ("Logo", "UIAdress") for element in answer.iter(f"{{*}}{name}"))


def test_authority_answers_with_elements_of_no_namespace(
    far: str, http: httpx.Client, tmp_path_factory: pytest.TempPathFactory
) -> None:
    authority = Schemas.of_wsdl(http.get(f"{far}/Authority?wsdl").content, tmp_path_factory.mktemp("authority"))
    answer = authority.answer(post(http, f"{far}/Authority", envelope(f'<getSenders xmlns="{AUTHORITY}"/>')))
    assert answer.tag == f"{{{AUTHORITY}}}getSendersResponse"
    assert {child.tag for child in answer} == {"return"}
    for asked in (
        f'<a:isSenderAccepted xmlns:a="{AUTHORITY}"><arg0>{SENDER}</arg0></a:isSenderAccepted>',
        f'<isSenderAccepted xmlns="{AUTHORITY}"><arg0 xmlns="">{SENDER}</arg0></isSenderAccepted>',
    ):
        assert texts(authority.answer(post(http, f"{far}/Authority", envelope(asked))))[1:] == ["true"]
