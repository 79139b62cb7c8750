"""Kivra asked live: each row is in the right file, or the job ends with the right error."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import oracle
import standin
from asking import Job
from oracle import List
from standin import Fault, Reply, above, always, at, standing_in, touching
from standin_far import fixture
from standin_kivra import (
    AUTH,
    CLIENT,
    COMPANIES,
    SECRET,
    TENANT,
    USERS,
    KivraStandIn,
    error,
    listing,
    newer_contract,
    refusing,
)
from support import FIXTURES, SENDER

FAILED, USAGE, REFUSED = 1, 2, 3
STRANGER = "197512122396"
"""An id of no list."""


class World:
    def __init__(self, directory: Path, kivra: KivraStandIn, address: str) -> None:
        self.kivra, self.directory, self.address = kivra, directory, address
        self.tls = directory / "tls"
        self.tls.mkdir()
        self.write_secret(SECRET)

    def write_secret(self, text: str, mode: int = 0o600) -> None:
        file = self.tls / "secret"
        file.write_text(f"{text}\n")
        file.chmod(mode)

    def job(self, list: List | None = None, rows: int = 40, **limits: Any) -> Job:
        of = list or List.of(FIXTURES / "far-list.csv", oracle.swedish, rows)
        table = {"ids_per_call": 4, "call_time": "5s", "give_up_after": "20s", **limits}
        token = {"client_id": CLIENT, "secret_file": "tls/secret", "tenant": TENANT}
        source = {"kind": "kivra", "address": self.address, "token": token, "limits": table}
        return Job(self.directory, of, source)

    def check(self, job: Job, refused: set[str] | None = None, operator: str = oracle.KIVRA) -> None:
        """The files are those of an undisturbed run; each id was asked, and none after its answer."""
        oracle.check_files(job.out, job.mailing, oracle.kivra(self.kivra.reachable, refused or set(), operator))
        assert set(self.kivra.asked()) == set(job.mailing.ids())
        assert not self.kivra.asked_after_answer()
        assert set(self.kivra.answered()) == set(job.mailing.ids()) - (refused or set()), "no other answer is believed"
        assert job.files() == {"out"}, "only the outputs are left"
        job.check_private()

    def no_secret(self, text: str) -> None:
        assert not any(token in text for token in self.kivra.tokens) and SECRET not in text and TENANT not in text


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    reachable = sorted(fixture(SENDER))[::2]
    kivra = KivraStandIn(reachable)
    with standing_in(kivra) as server:
        server.pages[AUTH] = kivra.auth
        yield World(tmp_path, kivra, server.address)


def is_company(id: str) -> bool:
    return id.startswith("16")


def test_a_whole_list(world: World) -> None:
    job = world.job(List.of(FIXTURES / "far-list.csv", oracle.swedish), ids_per_call=100)
    ran = job.works("split", "--json")
    world.check(job)
    report = json.loads(ran.out)
    oracle.check_counts(report, job.mailing, oracle.kivra(world.kivra.reachable))
    assert (report["register"]["kind"], report["sender"]) == ("kivra", None)
    assert any(map(is_company, job.mailing.ids())), "organisations too"
    for call in world.kivra.calls:
        assert len({is_company(id) for id in call.ids}) == 1
    assert world.kivra.auth_requests == [200], "one token for the job"
    world.no_secret(ran.out + ran.error)
    calls = -(-sum(not is_company(id) for id in job.mailing.ids()) // 100)
    assert len(world.kivra.calls) <= calls + 2, "only the call with both kinds is asked in two"


def test_many_ids_a_call(world: World) -> None:
    job = world.job(List.plain(swedish(5000), oracle.swedish), ids_per_call=500_000)
    world.kivra.reachable = set(job.mailing.ids()[::3])
    job.works("split")
    world.check(job)
    assert len(world.kivra.calls) == 1


def swedish(count: int) -> list[str]:
    """Personnummer of the test series, in order."""
    found = []
    for year in range(1930, 2010):
        for month in range(1, 13):
            for day in range(1, 29):
                digits = f"{year % 100:02}{month:02}{day:02}980"
                check = next(last for last in "0123456789" if oracle.luhn(digits + last))
                found.append(f"{year // 100}{digits}{check}")
                if len(found) == count:
                    return found
    raise AssertionError(f"only {len(found)} ids")


def test_an_operator_of_the_source_file(world: World) -> None:
    job = world.job(rows=12)
    job.write_source(operator="164821000108")
    job.works("split")
    world.check(job, operator="164821000108")


PASSING: dict[str, Fault] = {
    "503": standin.status(503),
    "429": standin.status(429, Retry_After="0"),
    "500": refusing(500),
    "502_page": standin.page(502),
    "200_page": standin.page(200),
    "no_answer": standin.no_answer,
    "reset_in_body": standin.reset_in_body,
    "truncated": standin.truncated,
    "empty": standin.empty,
    "doubled": listing(lambda rows: [*rows, *(rows or [STRANGER, STRANGER])]),
    "foreign": standin.foreign(STRANGER),
    "another_spelling": listing(lambda _: ["19751212-2396"]),
    "no_text": listing(lambda _: [197512122396]),
    "no_list": listing(lambda _: {"0": STRANGER}),
    "newer_contract": newer_contract,
}


def test_passing_faults_change_nothing(world: World) -> None:
    """Each fault is that of the first attempt of another call."""
    job = world.job(ids_per_call=2)
    faults = [fault for name, fault in PASSING.items() if name != "newer_contract"]
    world.kivra.schedule = at({1 + 2 * number: fault for number, fault in enumerate(faults)})
    job.works("split")
    world.check(job)
    right = [call for call in world.kivra.calls if call.answered]
    assert len(right) >= len(faults) and len(world.kivra.calls) == len(right) + len(faults)


def test_fields_that_are_new(world: World) -> None:
    job = world.job(rows=12)
    world.kivra.schedule = always(newer_contract)
    job.works("split")
    world.check(job)
    assert all(call.answered for call in world.kivra.calls)


def test_faults_at_random(world: World) -> None:
    job = world.job(List.of(FIXTURES / "far-list.csv", oracle.swedish, 60, 60), calls_in_flight=4)
    world.kivra.schedule = standin.seeded(1, [*PASSING.values()], 0.3, succession_max=2)
    job.works("split")
    world.check(job)


def test_bad_ids_do_not_sink_the_others(world: World) -> None:
    job = world.job(ids_per_call=16)
    refused = {*job.mailing.ids()[3:6], job.mailing.ids()[-1]}
    world.kivra.schedule = touching(refused, refusing(400))
    job.works("split")
    world.check(job, refused)


@pytest.mark.parametrize("by", ["fault", "limit"])
def test_calls_become_smaller(world: World, by: str) -> None:
    job = world.job(ids_per_call=32)
    if by == "limit":
        world.kivra.ids_max = 10
        job.works("split")
    else:
        world.kivra.schedule = above(10, refusing(413))
        job.works("split")
    world.check(job)


def test_tokens_end_while_a_job_runs(world: World) -> None:
    world.kivra.real_seconds = 0.2
    job = world.job(ids_per_second=40)
    job.works("split")
    world.check(job)
    assert world.kivra.unauthorized and len(world.kivra.auth_requests) == 1 + world.kivra.unauthorized


@pytest.mark.parametrize("first", [Reply(503, headers={"Retry-After": "0"}), Reply(200, b"<html>", "text/html")])
def test_passing_faults_of_the_token(world: World, first: Reply) -> None:
    world.kivra.auth_fault = lambda number: first if number == 1 else None
    job = world.job(rows=12)
    job.works("split")
    world.check(job)


def test_credentials_that_do_not_work(world: World) -> None:
    job = world.job(rows=12)
    world.write_secret("another")
    ran = job.fails("split", FAILED, "secret_file")
    assert "another" not in ran.error and not world.kivra.calls and len(world.kivra.auth_requests) == 1
    world.write_secret(SECRET, mode=0o644)
    ran = job.fails("split", USAGE, "chmod 600")
    world.no_secret(ran.error.replace(str(world.tls), ""))
    world.write_secret("two\nlines")
    job.fails("split", USAGE, "only line")
    world.write_secret(SECRET)
    job.write_source(token={"tenant": "0" * 40, "scopes": [USERS]})
    job.fails("split", FAILED, "tenant", "404")
    job.write_source(token={"tenant": TENANT})
    job.works("split")
    assert job.files() == {"out"}


def test_a_scope_that_the_client_does_not_have(world: World) -> None:
    world.kivra.allowed = {USERS}
    job = world.job(List.of(FIXTURES / "far-list.csv", oracle.swedish, 60))
    ran = job.fails("split", FAILED, "scopes")
    assert not world.kivra.calls
    # Persons only.
    job.write_source(token={"scopes": [USERS]})
    persons = [id for id in job.mailing.ids() if not is_company(id)]
    job.mailing = List.plain(persons, oracle.swedish)
    job.mailing.write(job.path)
    job.works("split")
    world.check(job)
    # An organisation needs the other one.
    job.mailing = List.plain([SENDER], oracle.swedish)
    job.mailing.write(job.path)
    job.fails("split", FAILED, "companymatch", more=["--force"])
    world.no_secret(ran.error)
    assert COMPANIES not in ran.error


def test_resolve_known_and_recheck(world: World) -> None:
    job = world.job(rows=30)
    job.works("resolve")
    calls = len(world.kivra.calls)
    run = ["-r", str(job.run_file), "--date", "2026-06-01"]
    ran = job.nabar("split", *run, "-o", str(job.out), str(job.path))
    assert ran.code == 0, ran.error
    oracle.check_files(job.out, job.mailing, oracle.kivra(world.kivra.reachable))
    ran = job.nabar("split", *run, "--sender", SENDER, "-o", str(job.directory / "other"), str(job.path))
    assert ran.code == USAGE and "sender" in ran.error
    ran = job.nabar("inspect", str(job.run_file), "--json")
    assert json.loads(ran.out)["kind"] == "kivra"
    job.works("resolve", "--known", str(job.run_file))
    assert len(world.kivra.calls) == calls, "nothing is asked again"
    job.works("split", "--known", str(job.run_file), "--force")
    assert len(world.kivra.calls) == calls
    oracle.check_files(job.out, job.mailing, oracle.kivra(world.kivra.reachable))
    # Some leave.
    digital = [id for id in job.mailing.ids() if id in world.kivra.reachable]
    gone = set(digital[::2])
    world.kivra.reachable -= gone
    recheck = ["recheck", "--source", str(job.source_file), str(job.out), "-o", str(job.directory / "late"), "--json"]
    ran = job.nabar(*recheck)
    assert ran.code == 0, ran.error
    report = json.loads(ran.out)
    rows = [id for id in job.mailing.identities() if id in gone]
    assert (report["late_paper"], report["late_moved"]) == (len(rows), 0)
    # Answers for one tenant are not those for another.
    job.write_source(token={"tenant": "1" * 40})
    ran = job.run("split", "--known", str(job.run_file), "--force")
    assert ran.code == USAGE and "another" in ran.error, ran


def test_an_id_that_was_never_asked(world: World) -> None:
    job = world.job(rows=12)
    job.works("resolve")
    job.mailing = List.plain([*job.mailing.ids(), STRANGER], oracle.swedish)
    job.mailing.write(job.path)
    ran = job.nabar("check", "-r", str(job.run_file), str(job.path))
    assert ran.code == REFUSED and "not asked" in ran.error, ran


def test_the_tenant_is_the_sender(world: World) -> None:
    job = world.job(rows=12)
    job.fails("split", USAGE, "tenant", more=["--sender", SENDER])
    job.fails("split", USAGE, "--on-behalf-of", more=["--on-behalf-of", "5560000000"])
    assert not world.kivra.calls and not world.kivra.auth_requests


def test_the_same_command_goes_on(world: World) -> None:
    job = world.job()
    world.kivra.schedule = always(lambda _: error(403, "40300", "Forbidden"), after=4)
    job.fails("split", FAILED, "goes on from there")
    world.kivra.schedule = lambda _: None
    job.works("split")
    world.check(job)


def test_source_check(world: World) -> None:
    job = world.job()
    ran = job.nabar("source", "check", str(job.source_file))
    assert ran.code == 0 and "kind kivra" in ran.out and "token" in ran.out, ran
    assert [len(call.ids) for call in world.kivra.calls] == [1]
    assert SECRET not in ran.out
