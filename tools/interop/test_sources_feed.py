"""KRR's feed into a data directory: after faults and kills the directory has the persons of the register."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

import standin
from asking import Ran, toml
from maskinporten import Maskinporten, OAuthClient
from norwegian import plain
from running import wait_until
from standin import Call, Fault, Reply, at, standing_in
from standin_feed import (
    SCOPE,
    FeedCall,
    FeedStandIn,
    empty_page,
    numbered,
    too_many,
    with_doubles,
    with_value,
)
from support import KRR_CONTRACTS, NABAR, Row, nabar, persons, serving, synthetic
from test_sources_tokens import CLIENT, KEY, ORGANISATION, SCOPES, pem
from tokens import jwk

pytestmark = pytest.mark.skipif(not KRR_CONTRACTS.is_dir(), reason=f"the official contracts are not in {KRR_CONTRACTS}")
FAILED, USAGE = 1, 2
SECONDS_MAX = 60


class Following:
    """A directory that follows the feed of a stand-in."""

    def __init__(self, directory: Path, krr: FeedStandIn, address: str) -> None:
        self.directory, self.krr = directory, krr
        self.data, self.exports = directory / "data", 0
        self.source: Row = {"kind": "krr", "address": address}
        self.write(limits={"call_time": "5s", "give_up_after": "20s"}, feed={"interval": "50ms"})

    def write(self, **tables: Any) -> None:
        self.source |= tables
        (self.directory / "krr.toml").write_text(toml(self.source))

    def command(self, *more: str) -> list[str]:
        return [NABAR, "follow", "--source", str(self.directory / "krr.toml"), str(self.data), *more]

    def run(self, *more: str) -> Ran:
        place: Row = {"stdin": subprocess.DEVNULL, "env": {**os.environ, "TMPDIR": str(self.directory)}}
        done = subprocess.run(self.command(*more), capture_output=True, text=True, timeout=SECONDS_MAX, **place)
        self.check_silent(done.stdout + done.stderr)
        return Ran(done.returncode, done.stdout, done.stderr)

    def check_silent(self, text: str) -> None:
        """No id in what is printed, nor in the name of a file."""
        text += " ".join(path.name for path in self.directory.rglob("*"))
        assert not set(re.findall(r"\d{11}", text)) & set(self.krr.persons), "an id is shown"

    def once(self) -> Ran:
        ran = self.run("--once")
        assert ran.code == 0, ran.error
        return ran

    def fails(self, code: int, *words: str) -> Ran:
        ran = self.run("--once")
        assert ran.code == code, ran
        assert all(word in ran.error for word in words), ran.error
        return ran

    @contextmanager
    def running(self, *more: str) -> Iterator[subprocess.Popen[bytes]]:
        with (self.directory / "follow.log").open("ab") as log:
            process = subprocess.Popen(self.command(*more), stdin=subprocess.DEVNULL, stderr=log)
            try:
                yield process
            finally:
                process.kill()
                process.wait()
        self.check_silent((self.directory / "follow.log").read_text())

    def log(self) -> str:
        return (self.directory / "follow.log").read_text()

    def everybody(self, path: Path | None = None) -> dict[str, Row]:
        self.exports += 1
        out = self.directory / f"export-{self.exports}"
        nabar("export", str(path or self.data), "-o", str(out))
        rows = [json.loads(line) for line in (out / "personer.jsonl").read_text().splitlines()]
        return {row["personidentifikator"]: plain(row) for row in rows}

    @property
    def sequence(self) -> int:
        return int(json.loads(nabar("inspect", "--json", str(self.data)))["sequence"])

    def check(self, path: Path | None = None) -> None:
        """The directory has exactly the persons of the register."""
        assert self.everybody(path) == model(self.krr.persons)
        if path is None:
            assert self.sequence == self.krr.latest
            assert {name.name for name in self.directory.glob(".data*")} == {".data.lock"}, "nothing else is left"


def model(persons: Mapping[str, Row]) -> dict[str, Row]:
    """The persons as a copy has them: `varslingsstatus` is that of a day."""
    left_out = ("varslingsstatus",)
    return {id: plain({n: v for n, v in row.items() if n not in left_out}) for id, row in persons.items()}


@pytest.fixture
def krr() -> FeedStandIn:
    return FeedStandIn(persons(), page_size=60)


@pytest.fixture
def following(krr: FeedStandIn, tmp_path: Path) -> Iterator[Following]:
    with standing_in(krr) as server:
        yield Following(tmp_path, krr, server.address)


def ids(krr: FeedStandIn, count: int, seed: int) -> list[str]:
    return random.Random(seed).sample(sorted(krr.persons), count)


def change(krr: FeedStandIn, seed: int, count: int = 30) -> None:
    """Some persons change, some are deleted, some are new."""
    for id in ids(krr, count, seed):
        contact = {"mobiltelefonnummer": f"+47{seed:08}", "mobiltelefonnummer_oppdatert": "2026-05-01T10:00:00+02"}
        krr.put({"personidentifikator": id, "reservasjon": "NEI", "status": "AKTIV", "kontaktinformasjon": contact})
    krr.delete(*ids(krr, count // 3, seed + 1000))
    for id in synthetic(3000)[seed * 5 : seed * 5 + 5]:
        krr.put({"personidentifikator": id, "reservasjon": "JA", "status": "AKTIV"})
    krr.skip(7)


def test_a_full_load_and_what_follows(krr: FeedStandIn, following: Following) -> None:
    following.once()
    following.check()
    loaded = krr.begins()
    assert loaded[0] == 0 and loaded == sorted(loaded) and len(set(loaded)) == -(-len(krr.persons) // 60) + 1
    for seed in (1, 2):
        change(krr, seed)
        following.once()
        following.check()
    assert krr.begins() == sorted(krr.begins()), "from where it was"
    assert (following.data / "feed-of").read_text() == f"{following.source['address']}\n"
    # The register's own numbers go on from an export.
    refused = subprocess.run([NABAR, "apply", following.data, "-"], input="", capture_output=True, text=True)
    assert refused.returncode == USAGE and "follows the feed" in refused.stderr


FAULTS: dict[str, Fault] = {
    "503": standin.status(503),
    "429": standin.status(429, Retry_After="0"),
    "502_page": standin.page(502),
    "200_page": standin.page(200),
    "no_answer": standin.no_answer,
    "reset_in_body": standin.reset_in_body,
    "truncated": standin.truncated,
    "empty": standin.empty,
    "another_page": numbered(begin=-3),
    "ends_before": numbered(to=-1),
    "after_the_last": numbered(to=5000),
    "does_not_advance": numbered(to=0, latest=5000),
    "a_gap_once": numbered(begin=5),
    "too_many": too_many,
    "status": with_value("status", "UKJENT"),
    "reservation": with_value("reservasjon", ""),
    "id": with_value("personidentifikator", "11111111111"),
}


def test_a_passing_fault_changes_nothing(krr: FeedStandIn, following: Following) -> None:
    """Each fault in the full load and after it."""
    faults = list(FAULTS.values())
    krr.page_size = 12
    # Every second call, so that they do not follow one another.
    krr.schedule = at({3 + 2 * number: fault for number, fault in enumerate(faults)})
    following.once()
    following.check()
    assert len(krr.calls) >= 3 + 2 * len(faults)
    change(krr, 3)
    before = len(krr.calls)
    krr.schedule = at({before + 1 + 2 * number: fault for number, fault in enumerate(faults[::3])})
    following.once()
    following.check()


def test_values_that_never_fit_end_the_job_without_their_content(krr: FeedStandIn, following: Following) -> None:
    following.once()
    change(krr, 4)
    id = next(iter(krr.persons))
    krr.schedule = standin.always(with_value("status", id))
    following.fails(FAILED, "status", "contract")
    krr.schedule = lambda _: None
    following.once()
    following.check()


@pytest.mark.parametrize("size", [60, 7])
def test_doubles_and_empty_pages(krr: FeedStandIn, following: Following, size: int) -> None:
    """Of several entries the last one counts: a deletion too, however old its dates are."""
    krr.page_size = size
    krr.schedule = lambda call: with_doubles if call.number % 3 else empty_page
    krr.skip(50)
    following.once()
    following.check()
    change(krr, 5)
    krr.skip(20)
    krr.put(*[krr.persons[id] for id in ids(krr, 10, 6)])
    following.once()
    following.check()
    assert any(row["status"] == "SLETTET" for row in following.everybody().values())


def test_killed_at_any_moment(krr: FeedStandIn, following: Following) -> None:
    krr.page_size = 25
    made, moments = random.Random(7), []
    while len(moments) < 10:
        calls, victim = made.randrange(1, 5), threading.Event()
        in_body, before = made.random() < 0.5, len(krr.calls)

        with following.running() as process:

            def kill(call: Call) -> Reply | None:
                true = call.true()
                if call.number < before + calls:
                    return true
                if in_body:
                    return standin.replace(true, piece=len(true.body) // 2 + 1, between=stop)
                stop()
                return None

            def stop() -> None:
                process.kill()
                process.wait()
                victim.set()

            krr.schedule = lambda _: kill
            assert victim.wait(20), following.log()
        moments.append(calls)
        krr.schedule = lambda _: None
        if len(moments) % 2:
            change(krr, 10 + len(moments), 10)
    following.once()
    following.check()
    assert krr.begins() == sorted(krr.begins()), "no page is lost once the next one was asked for"


@pytest.mark.parametrize("status", [400, 410])
def test_numbers_that_are_gone(krr: FeedStandIn, following: Following, status: int, tmp_path: Path) -> None:
    """All persons are loaded again; readers and replicas see the old register until the new one is complete."""
    following.once()
    with serving(f"gone-{status}", str(following.data)) as base:
        replica = tmp_path / "replica"

        def replicate() -> None:
            subprocess.run([NABAR, "follow", "-q", "--once", base, replica], check=True, timeout=SECONDS_MAX)

        replicate()
        following.check(replica)
        change(krr, 8)
        following.once()
        replicate()
        following.check(replica)
        # Two persons leave without a trace.
        for id in ids(krr, 2, 9):
            del krr.persons[id], krr.changed[id]
        krr.skip(10)
        krr.gone_before, krr.gone_status = krr.latest, status
        krr.page_size, seen = 11, []

        def count(call: Call) -> Reply:
            assert isinstance(call, FeedCall)
            seen.append(httpx.get(f"{base}/v1/register", trust_env=False).json()["recipients"])
            if call.begin == 0:
                # Numbers are gone for those who were there before.
                krr.gone_before = 0
            return call.true()

        krr.schedule = lambda _: count
        ran = following.once()
        assert "too far behind" in ran.error
        assert min(seen) >= len(krr.persons), "a reader saw a part of the register"
        following.check()
        wait_until(lambda: httpx.get(f"{base}/v1/register", trust_env=False).json()["sequence"] == krr.latest)
        replicate()
        following.check(replica)


def test_a_load_that_is_killed_goes_on(krr: FeedStandIn, following: Following) -> None:
    """Also one that replaces an earlier register."""
    following.once()
    before = following.everybody()
    change(krr, 11)
    krr.page_size, krr.gone_before = 20, krr.latest
    done = threading.Event()
    with following.running() as process:

        def load(call: Call) -> Reply | None:
            assert isinstance(call, FeedCall)
            if call.begin == 0:
                krr.gone_before = 0
            if 0 < call.begin < 100:
                process.kill()
                process.wait()
                done.set()
                return None
            return call.true()

        krr.schedule = lambda _: load
        assert done.wait(20), following.log()
    krr.schedule = lambda _: None
    assert following.everybody() == before, "the old register is still there"
    calls = len(krr.calls)
    following.once()
    following.check()
    assert krr.begins()[calls] > 0, "it does not begin again"


def test_silence_is_an_alarm(krr: FeedStandIn, following: Following) -> None:
    following.once()
    following.write(limits={"give_up_after": "2s"}, feed={"max_silence": "1s"})
    krr.schedule = standin.always(standin.status(503))
    ran = following.fails(FAILED, "ALARM: nothing was fetched since", "daily")
    assert ran.error.count("ALARM") <= 3


def test_metrics_while_it_follows(krr: FeedStandIn, following: Following) -> None:
    with following.running("--metrics-listen", "127.0.0.1:0"):
        found = wait_until(lambda: re.search(r"metrics: listening on (http://\S+)", following.log()))

        def metric(name: str) -> float:
            text = httpx.get(f"{found[1]}/metrics", trust_env=False).text
            value = re.search(rf"^nabar_follow_{name} (\S+)$", text, re.MULTILINE)
            # The sequence number of the source is absent until it is known.
            return float(value[1]) if value else -1.0

        wait_until(lambda: metric("sequence") == metric("source_sequence") == krr.latest)
        change(krr, 12)
        wait_until(lambda: metric("sequence") == krr.latest)
        assert metric("connected") == 1 and metric("last_contact_timestamp_seconds") > 0
        krr.schedule = standin.always(standin.status(500))
        wait_until(lambda: metric("connected") == 0 and metric("transfers_failed_total") > 0)
        krr.schedule = lambda _: None
        wait_until(lambda: metric("connected") == 1)
        assert "the source is back" in following.log()
    following.once()
    following.check()


def test_tokens_with_the_scope_of_the_feed(tmp_path: Path) -> None:
    """It is added to those of the source file. Tokens end while it follows."""
    scopes = {*SCOPES, SCOPE}
    oauth = Maskinporten(OAuthClient(CLIENT, ORGANISATION, [jwk(KEY, "first")], scopes))
    oauth.real_seconds = 0.15
    krr = FeedStandIn(persons(), oauth, page_size=10)
    key = tmp_path / "key.pem"
    key.touch(0o600)
    key.write_bytes(pem(KEY))
    with standing_in(krr) as server:
        server.pages["/token"] = oauth.page
        oauth.issuer = f"{server.address}/"
        following = Following(tmp_path, krr, server.address)
        following.write(token={"issuer": oauth.issuer, "client_id": CLIENT, "key": "key.pem", "kid": "first"})
        krr.schedule = lambda _: lambda call: standin.replace(call.true(), piece=1 << 20, pause=0.02)
        following.once()
        following.check()
        assert len(oauth.requests) > 1 and krr.unauthorized > 0
        oauth.clients[CLIENT].scopes -= {SCOPE}
        following.fails(FAILED, "MP-200", "scope")
    assert not oauth.complaints


def test_what_cannot_follow_is_refused(krr: FeedStandIn, following: Following) -> None:
    following.once()
    calls = len(krr.calls)
    following.write(address=following.source["address"].replace("127.0.0.1", "localhost"))
    following.fails(USAGE, "follows the feed of")
    following.write(kind="far", address="http://127.0.0.1:1/Recipient")
    following.fails(USAGE, "only KRR has a feed")
    assert len(krr.calls) == calls
    for more, word in [(["--trust", "a.pub"], "--trust"), (["http://127.0.0.1:1"], "cannot be used with")]:
        ran = following.run(*more)
        assert ran.code == USAGE and word in ran.error, ran
