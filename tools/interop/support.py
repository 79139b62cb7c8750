"""Shared by all tests: running services, the fixtures, and the answers of nabar's command line to compare with."""

from __future__ import annotations

import csv
import itertools
import json
import os
import queue
import re
import subprocess
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
NABAR = os.environ.get("NABAR", str(ROOT / "target/release/nabar"))
WORK = ROOT / "target/interop"
FIXTURES = ROOT / "fixtures"
CONTRACTS = ROOT.parent / "shared/contracts/minameddelanden"
KRR_CONTRACTS = ROOT.parent / "shared/contracts/krr"

FAR = WORK / "far/far.nabar"
KRR = WORK / "krr/krr.nabar"
DATE = "2026-06-01"
SENDER = "164821000025"
UNKNOWN_SENDER = "164000000000"
START_SECONDS = 30
LISTENING = re.compile(r"listening on (http://127\.0\.0\.1:\d+)")

Row = dict[str, Any]


@contextmanager
def serving(name: str, *registers: str) -> Iterator[str]:
    """A service on a free port. Gives its address once it listens, stops it, and checks that its log has no identities."""
    # Each worker of pytest-xdist has its own services.
    log = WORK / f"{name}-{os.environ.get('PYTEST_XDIST_WORKER', 'only')}.log"
    command = [NABAR, "serve", *(word for register in registers for word in ("-r", register))]
    process = subprocess.Popen(
        [*command, "--listen", "127.0.0.1:0"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    addresses: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def read() -> None:
        assert process.stderr
        with log.open("w") as file:
            for line in process.stderr:
                file.write(line)
                if found := LISTENING.search(line):
                    addresses.put(found[1])
        addresses.put(None)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        address = addresses.get(timeout=START_SECONDS)
        assert address, f"the service did not start: {log.read_text()}"
        yield address
        assert process.poll() is None, f"the service died ({process.returncode}): {log.read_text()}"
    finally:
        process.terminate()
        try:
            process.wait(timeout=START_SECONDS)
        finally:
            process.kill()
            reader.join()
    logged = set(re.findall(r"\d{11,12}", log.read_text()))
    assert not logged & identities(), "an identity stands in the log"


def nabar(*arguments: str, text: str = "") -> str:
    return subprocess.run([NABAR, *arguments], input=text, stdout=subprocess.PIPE, text=True, check=True).stdout


def lookup(register: Path, ids: Iterable[str], sender: str | None = None, date: str | None = DATE) -> list[Row]:
    """The answer of `nabar lookup` for each id."""
    options = [*(["--sender", sender] if sender else []), *(["--date", date] if date else [])]
    text = nabar("lookup", "-r", str(register), "--json", *options, "-", text="".join(f"{id}\n" for id in ids))
    return [json.loads(line) for line in text.splitlines()]


def table(name: str) -> list[dict[str, str]]:
    """A CSV file of the fixtures."""
    with (FIXTURES / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def column(name: str) -> list[str]:
    """The first column of a list of the fixtures, as spelt there. Some rows are not UTF-8."""
    with (FIXTURES / name).open(newline="", encoding="utf-8", errors="replace") as file:
        return [row[0] if row else "" for row in csv.reader(file, delimiter=";")][1:]


def persons() -> list[Row]:
    return [json.loads(line) for line in (FIXTURES / "krr/personer.jsonl").read_text(encoding="utf-8").splitlines()]


def registered() -> list[str]:
    """Every recipient of the FaR fixture."""
    return [row["recipient_id"] for row in table("far/recipients.csv")]


def canonical(register: Path, ids: Iterable[str], sender: str | None) -> list[str]:
    """The valid ids in the spelling of the wire, in order, with duplicates."""
    return [row["recipient_id"] for row in lookup(register, ids, sender) if row["recipient_id"]]


def identities() -> set[str]:
    return {*registered(), *synthetic(), *(person["personidentifikator"] for person in persons())}


@cache
def synthetic(count: int = 3000) -> list[str]:
    """Norwegian numbers of a synthetic series (month + 80) that no fixture has, close to each other."""
    fixture = {person["personidentifikator"] for person in persons()}
    weights = ([3, 7, 6, 1, 8, 9, 4, 5, 2], [5, 4, 3, 2, 7, 6, 5, 4, 3, 2])
    found: list[str] = []
    for day, individual in itertools.product(range(1, 29), range(500)):
        digits = [int(digit) for digit in f"{day:02}8190{individual:03}"]
        for row in weights:
            digits.append(-sum(a * b for a, b in zip(row, digits, strict=True)) % 11)
        if 10 not in digits and (text := "".join(map(str, digits))) not in fixture:
            found.append(text)
    return found[:count]


def answer(row: Row) -> Row:
    """The part of an answer of `nabar lookup` that `POST /v1/reachability` gives: all fields, `None` where there is no value."""
    return {name: row.get(name) for name in ("outcome", "reason", "operator_id")}
