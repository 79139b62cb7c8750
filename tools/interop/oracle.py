"""A naive second implementation of what a split is: plain Python, one row after the other, from the extracts' rows.

It reads the spellings that the fixtures' lists have, not all that nabar knows.
"""

from __future__ import annotations

import calendar
import csv
import io
import json
import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from standin_far import Status
from support import Row

REFERENCE = date(2026, 6, 1)
MONTHS_FRESH = 18
KIVRA = "165568402266"
"""Kivra AB: its VAT number, which its documentation names, is SE556840226601."""
Outcome = tuple[str, str, str]
"""Outcome, reason, operator's id."""
Decide = Callable[[str], Outcome]


# Identities.


def luhn(digits: str) -> bool:
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + place % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def is_date(year: int, month: int, day: int) -> bool:
    return 1 <= month <= 12 and 1 <= day <= calendar.monthrange(year, month)[1]


def cell_text(cell: str) -> str:
    return re.sub(r"\s", "", cell)


def swedish(cell: str) -> str | None:
    """12 digits, or nothing if the cell has no valid identity."""
    text = cell_text(cell)
    if re.fullmatch(r"\d{9}", text):
        text = f"0{text}"
    if match := re.fullmatch(r"(16|18|19|20)(\d{6})-?(\d{4})", text):
        century, digits = match[1], match[2] + match[3]
    elif match := re.fullmatch(r"(\d{6})-?(\d{4})", text):
        digits = match[1] + match[2]
        century = "16" if digits[2] >= "2" else century_of(digits)
    else:
        return None
    if not luhn(digits):
        return None
    if century == "16":
        return f"16{digits}" if digits[2] >= "2" else None
    year, month, day = int(century + digits[:2]), int(digits[2:4]), int(digits[4:6])
    return century + digits if is_date(year, month, day if day < 60 else day - 60) else None


def century_of(digits: str) -> str:
    """The century in which the person is 0 to 99 years old on the reference date."""
    month, day = int(digits[2:4]), int(digits[4:6])
    day = day if day < 60 else day - 60
    born = (2000 + int(digits[:2]), month, day)
    return "20" if born <= (REFERENCE.year, REFERENCE.month, REFERENCE.day) else "19"


def norwegian(cell: str) -> str | None:
    """11 digits, or nothing."""
    text = cell_text(cell)
    if re.fullmatch(r"\d{6}-\d{5}", text):
        text = text.replace("-", "")
    if re.fullmatch(r"\d{10}", text):
        text = f"0{text}"
    if not re.fullmatch(r"\d{11}", text):
        return None
    digits = [int(digit) for digit in text]
    first = sum(map(int.__mul__, digits, (3, 7, 6, 1, 8, 9, 4, 5, 2, 1)))
    second = sum(map(int.__mul__, digits, (5, 4, 3, 2, 7, 6, 5, 4, 3, 2, 1)))
    if first % 11 not in (0, 1, 2, 3) or second % 11:
        return None
    day, month = int(text[:2]) % 40, int(text[2:4])
    month = next((month - more for more in (80, 65, 40, 0) if month > more), 0)
    return text if any(is_date(year + int(text[4:6]), month, day) for year in (1900, 2000)) else None


# Outcomes.


def far(answers: dict[str, Status], refused: Collection[str] = ()) -> Decide:
    """Outcomes from what FaR answers to the sender, by the definition of reachable."""

    def decide(id: str) -> Outcome:
        if id in refused:
            return "rejected", "refused_by_register", ""
        answer = answers.get(id)
        if answer is None or answer.type == "Not":
            return "paper", "not_registered", ""
        if answer.accepted not in ("true", "1"):
            return "paper", "sender_declined", ""
        if answer.pending in ("true", "1"):
            return "paper", "pending", ""
        if answer.type == "Anonymous":
            return "paper", "anonymous_account", ""
        if answer.supplier is None or not answer.supplier.service.strip():
            return "paper", "operator_without_address", ""
        return "digital", "", answer.supplier.id

    return decide


def krr(persons: Iterable[Row], refused: Collection[str] = (), on: date = REFERENCE) -> Decide:
    """Outcomes from persons as KRR answers them."""
    known = {person["personidentifikator"]: person for person in persons}

    def is_fresh(contact: Row, channel: str) -> bool:
        times = [contact.get(f"{channel}_{end}") for end in ("oppdatert", "sist_verifisert")]
        days = [datetime.fromisoformat(text).astimezone(UTC).date() for text in times if text]
        return bool(contact.get(channel)) and any(on < months_later(day) for day in days)

    def decide(id: str) -> Outcome:
        person = known.get(id)
        if id in refused:
            return "rejected", "refused_by_register", ""
        if person is None or person["status"] == "IKKE_REGISTRERT":
            return "paper", "not_registered", ""
        if person["status"] == "SLETTET":
            return "paper", "deleted", ""
        if person["reservasjon"] == "JA":
            return "paper", "reserved", ""
        contact, mailbox = person.get("kontaktinformasjon", {}), person.get("digital_post", {})
        if not any(is_fresh(contact, channel) for channel in ("epostadresse", "mobiltelefonnummer")):
            return "paper", "not_notifiable", ""
        if mailbox.get("postkasseadresse") and mailbox.get("postkasseleverandoeradresse"):
            return "digital", "", mailbox["postkasseleverandoeradresse"]
        return "notify", "", ""

    return decide


def kivra(reachable: Collection[str], refused: Collection[str] = (), operator: str = KIVRA) -> Decide:
    """Outcomes from who is in Kivra's answer."""

    def decide(id: str) -> Outcome:
        if id in refused:
            return "rejected", "refused_by_register", ""
        return ("digital", "", operator) if id in reachable else ("paper", "not_registered", "")

    return decide


def months_later(day: date) -> date:
    month = day.month - 1 + MONTHS_FRESH
    year, month = day.year + month // 12, month % 12 + 1
    return date(year, month, min(day.day, calendar.monthrange(year, month)[1]))


# Lists and their files.


def is_open(row: bytes) -> bool:
    """Whether a quoted cell has not ended. A quotation mark inside another cell is a character."""
    quoted, begins = False, True
    for byte in row:
        if byte == ord('"') and (quoted or begins):
            quoted = not quoted
        begins = byte == ord(";") and not quoted
    return quoted


@dataclass
class List:
    """A list with a header, and its rows as bytes."""

    header: bytes
    rows: list[bytes]
    read: Callable[[str], str | None]

    @classmethod
    def of(cls, path: Path, read: Callable[[str], str | None], count: int | None = None, start: int = 0) -> List:
        lines = path.read_bytes().splitlines(keepends=True)
        rows: list[bytes] = []
        for line in lines[1:]:
            if rows and is_open(rows[-1]):
                rows[-1] += line
            else:
                rows.append(line)
        return cls(lines[0], rows[start:][:count], read)

    @classmethod
    def plain(cls, ids: Iterable[str], read: Callable[[str], str | None], header: str = "id;name") -> List:
        """One row for each id, as spelt."""
        return cls(f"{header}\n".encode(), [f"{id};Row {number}\n".encode() for number, id in enumerate(ids)], read)

    def write(self, path: Path) -> Path:
        path.write_bytes(self.header + b"".join(self.rows))
        return path

    def identities(self) -> list[str | None]:
        """What each row's first cell says."""
        delimiter = ";"
        cells = [next(csv.reader(io.StringIO(row.decode("latin-1")), delimiter=delimiter), [""]) for row in self.rows]
        return [self.read(cell[0] if cell else "") for cell in cells]

    def ids(self) -> list[str]:
        """The distinct ids, ascending."""
        return sorted({id for id in self.identities() if id})

    def outcomes(self, decide: Decide) -> list[tuple[str, Outcome]]:
        return [(id, decide(id)) if id else ("", ("rejected", "", "")) for id in self.identities()]


def check_files(directory: Path, list: List, decide: Decide) -> None:
    """Asserts that a split has each row in the right file, byte for byte, and nothing else."""
    wanted = list.outcomes(decide)
    report = json.loads((directory / "report.json").read_text())
    paths: dict[tuple[str, str | None], str] = {
        (file["outcome"], file["operator_id"]): file["path"] for file in report["files"]
    }
    expected = {path: list.header for path in paths.values()}
    for row, (_, (outcome, _, operator)) in zip(list.rows, wanted, strict=True):
        assert (outcome, operator or None) in paths, f"no file for {outcome} {operator}"
        expected[paths[outcome, operator or None]] += row
    found = {path.name for path in directory.iterdir()}
    assert found == {*expected, "feedback.csv", "report.json", "report.html"}
    for name, content in expected.items():
        assert (directory / name).read_bytes() == content, name
    with (directory / "feedback.csv").open(newline="", encoding="utf-8") as file:
        feedback = [*csv.DictReader(file)]
    assert len(feedback) == len(wanted)
    for number, (line, (id, (outcome, reason, operator))) in enumerate(zip(feedback, wanted, strict=True), 1):
        assert (line["row"], line["outcome"], line["operator_id"]) == (str(number), outcome, operator), number
        if id:
            # Why a cell has no identity is not this module's business.
            assert line["reason"] == reason, number
            assert line["recipient_id"] == ("" if outcome == "rejected" else id), number


def check_counts(report: Row, list: List, decide: Decide) -> None:
    """Asserts the numbers of a report."""
    outcomes = [outcome for _, (outcome, _, _) in list.outcomes(decide)]
    assert report["list"]["rows"] == len(outcomes)
    assert report["outcomes"] == {name: outcomes.count(name) for name in ("digital", "notify", "paper", "rejected")}
