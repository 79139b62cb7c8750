"""Jobs that ask, ended at any moment: the same command goes on, and never asks for what it knows."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

import oracle
import standin
from asking import Job
from oracle import List
from running import wait_until
from standin import Call, Fault, Register, Reply, Server, always, standing_in
from standin_far import PATH, FarStandIn, fault, fixture
from standin_krr import KrrStandIn
from support import CONTRACTS, FIXTURES, SENDER, persons

pytestmark = pytest.mark.skipif(not CONTRACTS.is_dir(), reason=f"the official contracts are not in {CONTRACTS}")
IDS_PER_CALL = 4
INTERRUPTED = 130
ANSWERS_WAITING = 4
"""Answers for each call in flight that a job may have, but not yet in its journal, when it is killed."""


@dataclass
class Case:
    """A register, and a job that asks it."""

    register: Register
    job: Job
    decide: oracle.Decide
    journal: Path
    process: subprocess.Popen[str] | None = None
    sizes: list[int] = field(default_factory=list)

    def kill(self) -> None:
        assert self.process
        self.process.kill()
        self.process.wait()

    def wait_for_journal(self, call: Call) -> None:
        """Until what was answered before this call is in the journal. For one call in flight, and no faults."""
        if self.sizes:
            wait_until(lambda: self.journal_size() > self.sizes[-1], seconds=4, what=f"the journal grows: {self.sizes}")
        self.sizes.append(self.journal_size())

    def journal_size(self) -> int:
        return self.journal.stat().st_size if self.journal.exists() else 0


def make(kind: str, directory: Path, server: Server, rows: int, **limits: Any) -> Job:
    table = {"ids_per_call": IDS_PER_CALL, "call_time": "5s", "give_up_after": "20s", **limits}
    if kind == "far":
        source = {"kind": "far", "address": server.address + PATH, "limits": table}
        return Job(directory, List.of(FIXTURES / "far-list.csv", oracle.swedish, rows), source, ["--sender", SENDER])
    source = {"kind": "krr", "address": server.address, "limits": table}
    return Job(directory, List.of(FIXTURES / "krr-list.csv", oracle.norwegian, rows), source)


@pytest.fixture(params=["far", "krr"])
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Case]:
    is_far = request.param == "far"
    register = FarStandIn(fixture(SENDER)) if is_far else KrrStandIn(persons())
    decide = oracle.far(fixture(SENDER)) if is_far else oracle.krr(persons())
    with standing_in(register) as server:
        job = make(request.param, tmp_path, server, 40)
        yield Case(register, job, decide, tmp_path / "out.journal")


def check_end(case: Case) -> None:
    oracle.check_files(case.job.out, case.job.mailing, case.decide)
    assert set(case.register.asked()) == set(case.job.mailing.ids())
    assert case.job.files() == {"out"}, "only the outputs are left"
    case.job.check_private()


@pytest.mark.parametrize("moment", ["before", "in the body"])
def test_a_killed_job_goes_on_where_it_was(case: Case, moment: str) -> None:
    """Killed at the second, fifth and eighth call, with all earlier answers in the journal: none is asked again."""
    moments = [2, 5, 8]

    def kill(call: Call) -> Reply | None:
        case.wait_for_journal(call)
        if moment == "before":
            case.kill()
            return None
        true = call.true()
        half = len(true.body) // 2 + 1
        return replace(true, piece=half, cut=len(true.body) - 1, between=case.kill)

    def schedule(call: Call) -> Fault | None:
        if call.number in moments:
            return kill
        case.wait_for_journal(call)
        return None

    case.register.schedule = schedule
    for _ in moments:
        case.process = case.job.start("split")
        ran = case.job.ended(case.process)
        assert ran.code == -signal.SIGKILL
        assert not case.job.out.exists()
        case.job.check_private()
        case.sizes.clear()
    case.job.works("split")
    check_end(case)
    assert not case.register.asked_after_answer()


@pytest.mark.parametrize("seed", range(3))
def test_killed_at_random(case: Case, seed: int) -> None:
    """With calls in flight and faults: what is asked again was on its way when the job was killed."""
    source = random.Random(seed)
    flying = source.choice([1, 3])
    case.job.write_source(limits={"calls_in_flight": flying})
    faults = standin.seeded(seed, [standin.status(503), standin.missing, standin.reset_in_body], 0.15, succession_max=1)
    kills = 0
    next_kill = source.randrange(1, 5)

    def schedule(call: Call) -> Fault | None:
        if call.number == next_kill and case.process:
            delay = source.choice([0, 1, 2])
            if delay == 0:
                case.kill()
            return lambda call: replace(call.true(), piece=100, between=case.kill if delay == 1 else None)
        return faults(call)

    case.register.schedule = schedule
    while kills < 4:
        case.process = case.job.start("split")
        if source.random() < 0.3:
            seconds = source.random() * 0.15
            try:
                case.process.wait(seconds)
            except subprocess.TimeoutExpired:
                case.process.kill()
        ran = case.job.ended(case.process)
        case.process = None
        if ran.code == 0:
            break
        assert ran.code == -signal.SIGKILL, ran.error
        kills += 1
        next_kill = len(case.register.calls) + source.randrange(1, 5)
    if not case.job.out.exists():
        case.job.works("split")
    check_end(case)
    assert case.register.calls_after_answer() <= kills * flying * ANSWERS_WAITING


def test_answers_of_a_job_killed_while_it_splits_can_be_removed(case: Case) -> None:
    """`split --source` keeps nothing but its outputs, and what a kill leaves is gone after the next job or a purge."""
    for ended_by in ("job", "purge"):
        case.register.calls.clear()
        case.job.forget()
        for _ in range(20):
            case.process = case.job.start("split", "--force")
            while case.process.poll() is None and not answers_of(case.job):
                pass
            case.kill()
            case.job.ended(case.process)
            if answers_of(case.job):
                break
        else:
            pytest.skip("no kill came in time")
        case.job.check_private()
        if ended_by == "job":
            case.job.works("split", "--force")
            assert case.job.files() == {"out"}
        else:
            ran = case.job.nabar("purge", "--all", str(case.job.directory))
            assert ran.code == 0, ran.error
            assert not answers_of(case.job), "answers are left after a purge"


def answers_of(job: Job) -> list[Path]:
    """Register files in the working directories of a job."""
    return [*job.directory.glob(".nabar-work*/*.nabar")]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_job_keeps_what_was_answered(case: Case, number: int) -> None:
    case.job.write_source(limits={"calls_in_flight": 2})

    def schedule(call: Call) -> Fault | None:
        if call.number == 5 and case.process:
            case.process.send_signal(number)
            # The job must not wait for an answer.
            return standin.drip(3, in_time=False)
        return None

    case.register.schedule = schedule
    case.process = case.job.start("split")
    ran = case.job.ended(case.process)
    assert ran.code == INTERRUPTED and "same command" in ran.error, ran
    assert case.job.files() == {"out.journal"}
    assert len(case.register.answered()) >= 3 * IDS_PER_CALL
    case.register.schedule = lambda _: None
    case.job.works("split")
    check_end(case)
    # The other call may have been on its way.
    assert case.register.calls_after_answer() <= 1


def test_two_jobs_do_not_ask_for_the_same_output(case: Case) -> None:
    second: list[int] = []

    def schedule(call: Call) -> Fault | None:
        if call.number == 2:
            ran = case.job.run("split")
            second.append(ran.code)
            assert "another job" in ran.error
        return None

    case.register.schedule = schedule
    case.job.works("split")
    assert second == [1]
    check_end(case)
    assert not case.register.asked_after_answer()


def test_a_journal_is_not_one_of_another_address(case: Case) -> None:
    case.register.schedule = always(fault(5002) if isinstance(case.register, FarStandIn) else standin.status(403), 2)
    case.job.fails("split", 1)
    calls, address = len(case.register.calls), case.job.source["address"]
    case.job.write_source(address=address.replace("127.0.0.1", "localhost"))
    case.register.schedule = lambda _: None
    case.job.fails("split", 1, "another source")
    assert len(case.register.calls) == calls
    case.job.write_source(address=address)
    case.job.works("split")
    check_end(case)
    assert not case.register.asked_after_answer()


def test_answers_of_a_journal_that_became_too_old_are_asked_again(case: Case) -> None:
    case.job.write_source(keep={"max_age": "2s", "delete_after": "1h"})
    case.register.schedule = always(standin.status(404), after=2)
    case.job.fails("split", 1)
    ended = case.register.calls[-1].ended
    time.sleep(max(0.0, ended + 2.1 - time.monotonic()))
    before = len(case.register.calls)
    case.register.schedule = lambda _: None
    case.job.works("split")
    oracle.check_files(case.job.out, case.job.mailing, case.decide)
    asked = [id for call in case.register.calls[before:] for id in call.ids]
    assert sorted(asked) == case.job.mailing.ids()
