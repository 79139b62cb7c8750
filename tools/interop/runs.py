"""Print runs as other programs make and read them: line data, XML and AFP.

`python3 tools/interop/runs.py fixtures/runs` makes the runs of the fixtures from `fixtures/far-list.csv`.
"""

from __future__ import annotations

import csv
import io
import random
import struct
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree
from xml.sax.saxutils import escape, quoteattr

HERE = Path(__file__).resolve().parents[2]


@dataclass
class Letter:
    """A letter: the texts where its id may be, and lines."""

    ids: list[str]
    lines: list[str] = field(default_factory=list)
    amounts: list[int] = field(default_factory=list)


@dataclass
class Cut:
    """A run as a naive reader cuts it."""

    before: bytes
    letters: list[bytes]
    after: bytes


def fixture_letters() -> list[Letter]:
    """A letter for each recipient of the fixture list, with one to four lines."""
    lines = (HERE / "fixtures/far-list.csv").read_bytes().splitlines()
    texts = [line.decode("utf-8", "replace") for line in lines]
    rows = [row for row in csv.reader(texts, delimiter=";") if row and "\ufffd" not in "".join(row)][1:]
    chance = random.Random(20)
    letters = []
    for row in rows[:120]:
        row += [""] * (6 - len(row))
        amounts = [chance.randrange(100, 100_000) for _ in range(chance.randrange(1, 5))]
        letters.append(Letter([row[0]], [row[1], f"{row[2]}, {row[3]} {row[4]}"], amounts))
    return letters


# Line data: 00 header, 10 letter with id, 20 address, 30 amount, 90 trailer.


def records(letters: list[Letter], charset: str = "cp1252", end: str = "\n") -> bytes:
    """Records of fixed width with a type, and a trailer with letters, records and the sum of amounts."""
    out = [f"00PROPERTY TAX 2026{end}"]
    body = []
    for number, letter in enumerate(letters, 1):
        for index, id_ in enumerate(letter.ids or [""]):
            body.append(f"{10 if index == 0 else 11}{number:08d}{id_:<14}{end}")
        body += [f"20{line:<60.60}{end}" for line in letter.lines]
        body += [f"30{amount:010d}fee{end}" for amount in letter.amounts]
    total = sum(sum(letter.amounts) for letter in letters)
    out += body
    out.append(f"90{len(letters):08d}{len(body):08d}{total:014d}{end}")
    return "".join(out).encode(charset)


def cut_records(run: bytes, charset: str = "cp1252", end: str = "\n") -> Cut:
    """Cuts where the type is 10."""
    lines = run.decode(charset).split(end)
    assert lines.pop() == ""
    lines = [line + end for line in lines]
    first = next((at for at, line in enumerate(lines) if line[:2] in ("10", "90")), len(lines))
    last = next(at for at, line in enumerate(lines) if line[:2] == "90")
    letters: list[list[str]] = []
    for line in lines[first:last]:
        if line[:2] == "10":
            letters.append([])
        letters[-1].append(line)
    joined = ["".join(letter).encode(charset) for letter in letters]
    return Cut("".join(lines[:first]).encode(charset), joined, "".join(lines[last:]).encode(charset))


# XML: an element for each letter, with what is common before and after.


def xml(letters: list[Letter], prefix: str = "", dirt: random.Random | None = None) -> bytes:
    """A bundle; with `dirt` comments, CDATA, references and spaces that mean nothing."""
    tag = f"{prefix}:" if prefix else ""
    name = f"xmlns:{prefix}" if prefix else "xmlns"
    count = len(letters)
    out = [
        '<?xml version="1.0" encoding="UTF-8"?>\n',
        f'<{tag}Bundle {name}="urn:example:bundle" letters="{count}">\n',
        f"  <{tag}BundleCommon><{tag}LetterCount>{count}</{tag}LetterCount></{tag}BundleCommon>\n",
    ]
    for number, letter in enumerate(letters, 1):
        noise = dirt.choice(["", "<!-- <Letter> -->", "<?print <Letter>?>", "\n\n"]) if dirt else ""
        out.append(f"  {noise}<{tag}Letter number={quoteattr(str(number))}>\n    <{tag}Recipient>")
        for id_ in letter.ids:
            text = escape(id_)
            if dirt and id_ and dirt.random() < 0.3:
                text = dirt.choice([f"<![CDATA[{id_}]]>", f" {text}\n", "".join(f"&#{ord(c)};" for c in id_), f"{text[:4]}<!-- 1 -->{text[4:]}"])
            out.append(f"<{tag}PersonId>{text}</{tag}PersonId>")
        out.append(f"</{tag}Recipient>\n")
        out += [f"    <{tag}Line>{escape(line)}</{tag}Line>\n" for line in letter.lines]
        if dirt and dirt.random() < 0.2:
            out.append("<![CDATA[<Letter><PersonId>196810199809</PersonId>]]>")
        out += [f"    <{tag}Amount>{amount}</{tag}Amount>\n" for amount in letter.amounts]
        out.append(f"  </{tag}Letter>\n")
    out.append(f"</{tag}Bundle>\n")
    return "".join(out).encode()


def read_xml(run: bytes) -> tuple[int, int, list[tuple[list[str], str]]]:
    """Both counts, and for each letter its ids and its canonical form without what is behind it."""
    root = ElementTree.fromstring(run)
    space = "{urn:example:bundle}"
    letters = []
    for element in root.findall(f"{space}Letter"):
        element.tail = None
        ids = ["".join(found.itertext()).strip() for found in element.findall(f"{space}Recipient/{space}PersonId")]
        letters.append((ids, ElementTree.canonicalize(ElementTree.tostring(element))))
    said = root.findtext(f"{space}BundleCommon/{space}LetterCount") or "-1"
    return int(root.get("letters") or -1), int(said), letters


# AFP: structured fields of MO:DCA, written from its reference.

BEGIN_DOCUMENT, END_DOCUMENT = b"\xd3\xa8\xa8", b"\xd3\xa9\xa8"
BEGIN_RESOURCES, END_RESOURCES = b"\xd3\xa8\xc6", b"\xd3\xa9\xc6"
OBJECT_DATA, TEXT = b"\xd3\xee\xfb", b"\xd3\xee\x9b"
BEGIN_GROUP, END_GROUP = b"\xd3\xa8\xad", b"\xd3\xa9\xad"
BEGIN_PAGE, END_PAGE = b"\xd3\xa8\xaf", b"\xd3\xa9\xaf"
TAG, NO_OPERATION, MEDIUM_MAP = b"\xd3\xa0\x90", b"\xd3\xee\xee", b"\xd3\xab\xcc"


def structured_field(kind: bytes, data: bytes = b"", padding: int = 0, extension: bytes = b"") -> bytes:
    """A field; with `padding` bytes at its end that are none of its data, or `extension` before it."""
    flags = 0
    if extension:
        flags |= 0x80
        data = bytes([len(extension) + 1]) + extension + data
    if padding:
        flags |= 0x08
        data += b"\0" * (padding - 1) + bytes([padding]) if padding < 256 else b"\0" * (padding - 3) + struct.pack(">H", padding) + b"\0"
    return b"\x5a" + struct.pack(">H", 8 + len(data)) + kind + bytes([flags, 0, 0]) + data


def tag(name: str, value: str, charset: str = "cp500", page: int | None = None) -> bytes:
    """The data of a TLE: code page, name, value, and a position."""
    triplets = b""
    if page is not None:
        triplets += bytes([6, 0x01]) + struct.pack(">HH", 697, page)
    encoded, text = name.encode(charset), value.encode(charset, "replace")
    triplets += bytes([4 + len(encoded), 0x02, 0x0B, 0x00]) + encoded
    triplets += bytes([4 + len(text), 0x36, 0, 0]) + text
    return triplets + bytes([10, 0x80]) + b"\0" * 8


def afp(letters: list[Letter], dirt: random.Random | None = None, line_ends: bool = False) -> bytes:
    """A document with a page group for each letter."""
    chance = dirt or random.Random(7)
    end = b"\r\n" if line_ends else b""
    resource = bytes(chance.randrange(256) for _ in range(300)) + b"\x5a\x00\x10\xd3\xa8\xad"
    fields = [
        structured_field(BEGIN_RESOURCES, "RESOURCE".encode("cp500")),
        structured_field(OBJECT_DATA, resource),
        structured_field(END_RESOURCES),
        structured_field(BEGIN_DOCUMENT, "NIGHTRUN".encode("cp500")),
    ]
    for number, letter in enumerate(letters, 1):
        fields.append(structured_field(BEGIN_GROUP, f"{number:08d}".encode("cp500")))
        fields.append(structured_field(TAG, tag("Number", str(number))))
        for id_ in letter.ids:
            padding = dirt.choice([0, 0, 1, 5, 300]) if dirt else 0
            extension = dirt.choice([b"", b"", b"\1\2"]) if dirt else b""
            charset, page = dirt.choice([("cp500", None), ("cp500", 500), ("cp1252", 1252)]) if dirt else ("cp500", None)
            fields.append(structured_field(TAG, tag("PersonId", id_, charset, page), padding, extension))
        for line in letter.lines:
            fields.append(structured_field(BEGIN_PAGE))
            fields.append(structured_field(TEXT, line.encode("cp500", "replace") + b"\x5a\x00\x08\xd3\xa9\xad\0\0\0"))
            fields.append(structured_field(END_PAGE))
        if dirt and dirt.random() < 0.2:
            # A group within the group.
            fields += [structured_field(BEGIN_GROUP), structured_field(END_GROUP)]
        fields.append(structured_field(END_GROUP, f"{number:08d}".encode("cp500")))
        if dirt and dirt.random() < 0.2:
            fields.append(structured_field(dirt.choice([NO_OPERATION, MEDIUM_MAP]), b"between "))
    fields.append(structured_field(END_DOCUMENT, "NIGHTRUN".encode("cp500")))
    return b"".join(one + end for one in fields)


def fields_of(run: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and bytes of each field, with a line end behind it."""
    at = 0
    while at < len(run):
        assert run[at] == 0x5A, at
        end = at + 1 + struct.unpack(">H", run[at + 1 : at + 3])[0]
        if run[end : end + 2] == b"\r\n":
            end += 2
        yield run[at + 3 : at + 6], run[at:end]
        at = end


def cut_afp(run: bytes) -> Cut:
    """Cuts where groups begin that are in no other, or the medium maps and comments right before them."""
    before, letters, after, waiting, depth = b"", [], b"", b"", 0
    for kind, bytes_ in fields_of(run):
        if kind == BEGIN_GROUP and depth == 0:
            letters.append(waiting)
            waiting = b""
        depth += kind == BEGIN_GROUP
        if depth:
            letters[-1] += bytes_
        elif kind in (NO_OPERATION, MEDIUM_MAP) and not after:
            waiting += bytes_
        elif letters or kind == END_DOCUMENT:
            after += waiting + bytes_
            waiting = b""
        else:
            before += waiting + bytes_
            waiting = b""
        depth -= kind == END_GROUP
    return Cut(before, letters, after + waiting)


# ZIP: an index, and a file or two for each letter.


def archive(letters: list[Letter], dirt: random.Random | None = None, as_xml: bool = False) -> bytes:
    """An archive; with `dirt` letters share files, have none, and entries are stored or compressed."""
    chance = dirt or random.Random(3)
    names: list[list[str]] = []
    for number, _ in enumerate(letters, 1):
        own = [f"letters/{number:05d}.pdf"]
        if dirt and dirt.random() < 0.2:
            own.append("common/terms.pdf")
        names.append(own if not dirt or dirt.random() < 0.95 else [])
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as out:

        def add(name: str, content: bytes) -> None:
            entry = zipfile.ZipInfo(name, (2026, 6, 1, 4, 0, 0))
            entry.compress_type = chance.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
            out.writestr(entry, content)

        add("common/terms.pdf", b"%PDF terms")
        if as_xml:
            body = [
                f'<Letter><Id v={quoteattr((letter.ids or [""])[0])}/>' + "".join(f"<File>{name}</File>" for name in own) + "</Letter>\n"
                for letter, own in zip(letters, names, strict=True)
            ]
            add("index.xml", f'<Batch n="{len(letters)}">\n{"".join(body)}</Batch>\n'.encode())
        else:
            rows = [f"{(letter.ids or [''])[0]};{'|'.join(own)}\r\n" for letter, own in zip(letters, names, strict=True)]
            add("index.csv", ("personnummer;file\r\n" + "".join(rows)).encode())
        for number, letter in enumerate(letters, 1):
            if any(own.endswith(f"{number:05d}.pdf") for own in names[number - 1]):
                add(f"letters/{number:05d}.pdf", f"%PDF {number} {letter.lines}".encode() * chance.randrange(1, 40))
    return packed.getvalue()


# A mottakersplitt of Digipost.

DIGIPOST = "http://www.digipost.no/xsd/avsender2_1"


def mottakersplitt(recipients: list[tuple[str, str | None]], prefix: str = "") -> bytes:
    """A question for recipients: `kunde-id`, and a number or, without one, a name and address."""
    of, name = (":" + prefix, f"{prefix}:") if prefix else ("", "")

    def element(tag: str, content: str) -> str:
        return f"<{name}{tag}>{content}</{name}{tag}>"

    out = [f'<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n<{name}mottakersplitt xmlns{of}="{DIGIPOST}">\n']
    job = element("avsender-id", "4711") + element("jobb-id", "skatt-2026.1") + element("jobb-navn", "Skatt & gebyr".replace("&", "&amp;"))
    out.append(f"  {element('jobb-innstillinger', job)}\n  <{name}mottakere>\n")
    for customer, number in recipients:
        known = element("foedselsnummer", escape(number)) if number is not None else (
            element("navn", element("navn-format1", element("fullt-navn-fornavn-foerst", "Kari Nordmann")))
            + element("adresse", element("adresse-format1", element("adresselinje1", "Storgata 1") + element("postnummer", "0155") + element("poststed", "Oslo")))
        )
        out.append(f"    {element('mottaker', element('kunde-id', escape(customer)) + known)}\n")
    out.append(f"  </{name}mottakere>\n</{name}mottakersplitt>\n")
    return "".join(out).encode()


def fixture_recipients() -> list[tuple[str, str | None]]:
    with (HERE / "fixtures/krr-list.csv").open(encoding="utf-8", errors="replace", newline="") as lines:
        rows = list(csv.reader(lines, delimiter=";"))[1:61]
    return [(f"K{number:04}", row[0] if number % 20 else None) for number, row in enumerate(rows, 1)]


def main(directory: Path) -> None:
    letters = fixture_letters()
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "mottakersplitt.xml").write_bytes(mottakersplitt(fixture_recipients()))
    (directory / "night.dat").write_bytes(records(letters))
    (directory / "bundle.xml").write_bytes(xml(letters))
    (directory / "night.afp").write_bytes(afp(letters))
    # Names with dashes that are no ASCII are left to lists.
    plain = [letter for letter in letters if letter.ids[0].isascii()]
    (directory / "letters.zip").write_bytes(archive(plain[:40]))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
