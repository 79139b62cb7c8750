"""FaR asked live: each row is in the right file, or the job ends with the right error."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

import oracle
import standin
from asking import Job
from oracle import List
from standin import Fault, Register, above, always, at, standing_in, touching
from standin_far import PATH, FarStandIn, Status, Supplier, changed, fault, fixture, newer_contract, other_namespace
from support import CONTRACTS, FIXTURES, SENDER, UNKNOWN_SENDER

pytestmark = pytest.mark.skipif(not CONTRACTS.is_dir(), reason=f"the official contracts are not in {CONTRACTS}")
OTHER_SENDER = "164821000108"
FAILED, USAGE, REFUSED = 1, 2, 3
STRANGER = "197512122396"
"""An id of no list."""


@pytest.fixture
def far() -> FarStandIn:
    return FarStandIn(fixture(SENDER))


Make = Callable[..., Job]


@pytest.fixture
def job(far: FarStandIn, tmp_path: Path) -> Iterator[Make]:
    """Makes a job on the first rows of the fixture's list, four ids a call."""
    with standing_in(far) as server:

        def make(list: List | None = None, rows: int = 40, sender: str = SENDER, **limits: Any) -> Job:
            of = list or List.of(FIXTURES / "far-list.csv", oracle.swedish, rows)
            table = {"ids_per_call": 4, "call_time": "2s", "give_up_after": "20s", **limits}
            source = {"kind": "far", "address": server.address + PATH, "limits": table}
            return Job(tmp_path, of, source, ["--sender", sender])

        yield make


def check_split(far: FarStandIn, job: Job, refused: set[str] | None = None) -> None:
    """The files are those of an undisturbed run; each id was asked, and none after its answer."""
    oracle.check_files(job.out, job.mailing, oracle.far(far.recipients, refused or set()))
    check_asked(far, job)
    assert job.files() == {"out"}, "only the outputs are left"
    job.check_private()


def check_asked(far: Register, job: Job) -> None:
    assert set(far.asked()) == set(job.mailing.ids())
    assert not far.asked_after_answer()
    assert all(len(call.ids) == len(set(call.ids)) for call in far.calls)


# Undisturbed.


def test_a_whole_list(far: FarStandIn, job: Make) -> None:
    made = job(List.of(FIXTURES / "far-list.csv", oracle.swedish), ids_per_call=50)
    ran = made.works("split", "--json")
    check_split(far, made)
    oracle.check_counts(json.loads(ran.out), made.mailing, oracle.far(far.recipients))
    assert len(far.calls) == -(-len(made.mailing.ids()) // 50), "calls are full"


def test_check_reports_the_same_and_leaves_nothing(far: FarStandIn, job: Make) -> None:
    made = job()
    ran = made.works("check", "--json")
    oracle.check_counts(json.loads(ran.out), made.mailing, oracle.far(far.recipients))
    check_asked(far, made)
    assert not made.files()


def test_a_thousand_ids_a_call(far: FarStandIn, job: Make) -> None:
    """Without limits of the source file: the contract's own."""
    ids = [f"16{number:09}{digit}" for number, digit in checked(412_000_000, 1001)]
    made = job(List.plain(ids, oracle.swedish))
    made.write_source(limits=None)
    made.works("split")
    check_split(far, made)
    assert sorted(len(call.ids) for call in far.calls) == [1, 1000]


def checked(start: int, count: int) -> Iterator[tuple[int, int]]:
    """Numbers with their check digits."""
    for number in range(start, start + count):
        yield number, next(digit for digit in range(10) if oracle.luhn(f"{number:09}{digit}"))


def test_every_kind_of_answer(far: FarStandIn, job: Make) -> None:
    """Type, pending, acceptance and supplier in every combination, most of which the fixture does not have."""
    suppliers = [
        None,
        Supplier("164921000016", "Brevia AB", "https://mm.brevia.example/v3"),
        Supplier("164921079770", "Min <samhälls>post & Co", ""),
    ]
    kinds = itertools.product(["Secure", "Anonymous", "Not"], ["true", "false", "1", "0"], ["true", "false"], suppliers)
    ids = List.of(FIXTURES / "far-list.csv", oracle.swedish, 100).ids()
    far.recipients = {
        id: Status(id, type, pending, supplier, accepted=accepted)
        for id, (type, pending, accepted, supplier) in zip(ids, kinds, strict=False)
    }
    assert len(far.recipients) == 72
    made = job(List.plain(ids, oracle.swedish))
    made.works("split")
    check_split(far, made)


def test_a_register_of_answers_is_used_as_often_as_wanted(far: FarStandIn, job: Make) -> None:
    made = job()
    summary = json.loads(made.works("resolve", "--json").out)
    assert (summary["ids"], summary["asked"], summary["retries"]) == (len(made.mailing.ids()),) * 2 + (0,)
    assert summary["calls"] == len(far.calls)
    assert made.files() == {"run.nabar"}, "without its journal"
    made.check_private()
    for number in range(2):
        out = made.directory / f"out{number}"
        ran = made.nabar(*split_of(made, out))
        assert ran.code == 0, ran.error
        oracle.check_files(out, made.mailing, oracle.far(far.recipients))
    check_asked(far, made)


def split_of(made: Job, out: Path, sender: str = SENDER, *more: str) -> list[str]:
    """A split with the register of answers."""
    return [
        *("split", "-r", str(made.run_file), "--sender", sender, "--date", "2026-06-01", "-o", str(out), *more),
        str(made.path),
    ]


def test_ids_of_several_lists_are_asked_once(far: FarStandIn, job: Make) -> None:
    made = job()
    other = List.of(FIXTURES / "far-list.csv", oracle.swedish, 40, start=20)
    path = other.write(made.directory / "list2.csv")
    made.works("resolve", str(path))
    assert sorted(far.asked()) == sorted({*made.mailing.ids(), *other.ids()})


# Faults after which the job goes on.

PASSING: dict[str, Fault] = {
    "503": standin.status(503),
    "503_with_retry_after": standin.status(503, Retry_After="0"),
    "429": standin.status(429, Retry_After="0"),
    "500_without_body": standin.status(500),
    "502_page": standin.page(502),
    "200_page": standin.page(200),
    "no_answer": standin.no_answer,
    "reset_in_body": standin.reset_in_body,
    "slow_drip": standin.drip(0.2, in_time=True),
    "too_slow_drip": standin.drip(3, in_time=False),
    "truncated": standin.truncated,
    "empty": standin.empty,
    "fault_0": fault(0),
    "fault_4999": fault(4999),
    "fault_with_status_200": fault(4999, 200),
    "missing": standin.missing,
    "no_rows": standin.no_rows,
    "doubled": standin.doubled,
    "doubled_for_missing": standin.doubled_for_missing,
    "foreign": standin.foreign(STRANGER),
    "foreign_for_missing": standin.foreign_for_missing(STRANGER),
    "reordered": standin.reordered,
    "newer_contract": newer_contract,
    "other_namespace": other_namespace,
}
NO_FAULTS = {"slow_drip", "reordered", "newer_contract", "other_namespace"}


@pytest.mark.parametrize("name", PASSING)
def test_a_passing_fault_changes_nothing(far: FarStandIn, job: Make, name: str) -> None:
    made = job(rows=20, call_time="1s" if name == "too_slow_drip" else "10s")
    numbers = [2] if name == "too_slow_drip" else [1, 4]
    far.schedule = at({number: PASSING[name] for number in numbers})
    made.works("split")
    check_split(far, made)
    calls = -(-len(made.mailing.ids()) // 4)
    assert len(far.calls) == calls + (0 if name in NO_FAULTS else len(numbers))


# Values that the contract does not allow.
BAD_VALUES: list[Fault] = [
    changed(type="Sekure"),
    changed(accepted="maybe"),
    changed(accepted=None),
    changed(pending=""),
    changed(id="19751212-2396"),
    changed(type="Secure", supplier=Supplier("", "Brevia AB", "https://mm.brevia.example/v3")),
    changed(registered="yesterday"),
]


def test_bad_values_are_asked_again(far: FarStandIn, job: Make) -> None:
    made = job()
    # The first attempt of one part after the other.
    far.schedule = at({1 + 2 * number: fault for number, fault in enumerate(BAD_VALUES)})
    made.works("split")
    check_split(far, made)
    assert len(far.calls) == -(-len(made.mailing.ids()) // 4) + len(BAD_VALUES)


def test_faults_in_succession_and_at_random(far: FarStandIn, job: Make) -> None:
    for seed in range(3):
        far.calls.clear()
        made = job(List.of(FIXTURES / "far-list.csv", oracle.swedish, 60, 60 * seed), calls_in_flight=4)
        # Elements of other namespaces have a test of their own.
        quick = [*BAD_VALUES, *(fault for name, fault in PASSING.items() if "slow" not in name and "other" not in name)]
        far.schedule = standin.seeded(seed, quick, 0.3, succession_max=2)
        made.works("split", "--force")
        check_split(far, made)


def test_what_was_made_again_is_counted(far: FarStandIn, job: Make) -> None:
    made = job()
    far.schedule = at({2: standin.status(503), 3: standin.missing, 7: standin.no_answer})
    summary = json.loads(made.works("resolve", "--json").out)
    assert (summary["retries"], summary["calls"]) == (3, len(far.calls))


def test_the_report_says_where_answers_come_from(far: FarStandIn, job: Make) -> None:
    made = job()
    refused = {made.mailing.ids()[0]}
    far.schedule = standin.first_of(at({2: standin.status(503)}), touching(refused, fault(5001)))
    began = datetime.now(UTC).replace(microsecond=0)
    source = json.loads(made.works("split", "--json").out)["register"]["source"]
    ids = len(made.mailing.ids())
    assert (source["address"], source["ids"], source["refused"]) == (made.source["address"], ids, 1)
    assert source["asked"] == {"ids": ids, "taken_over": 0, "calls": len(far.calls), "retries": 1}
    oldest, newest = (datetime.fromisoformat(source[name]) for name in ("oldest", "newest"))
    assert began <= oldest <= newest <= datetime.now(UTC)
    assert source == json.loads((made.out / "report.json").read_text())["register"]["source"]


def test_the_register_is_left_alone_as_long_as_it_wants(far: FarStandIn, job: Make) -> None:
    made = job(rows=20, calls_in_flight=2)
    far.schedule = at({2: standin.status(503, Retry_After="1")})
    made.works("split")
    check_split(far, made)
    refused = far.calls[1]
    # A call that was on its way is not among them.
    later = [call.started - refused.ended for call in far.calls if call.started > refused.ended + 0.05]
    assert later and min(later) >= 0.95, "no call of any worker"
    assert len(far.calls) - len(later) <= 3


def test_a_retry_after_may_be_a_date(far: FarStandIn, job: Make) -> None:
    made = job(rows=20)
    far.schedule = lambda call: (
        standin.status(503, Retry_After=formatdate(time.time() + 2, usegmt=True)) if call.number == 2 else None
    )
    made.works("split")
    check_split(far, made)
    # The date has whole seconds.
    assert far.calls[2].started - far.calls[1].ended >= 0.9


def test_suppliers_that_change_while_a_job_runs(far: FarStandIn, job: Make) -> None:
    """Later answers know a supplier's new address and name; the rows are still those of its id."""
    made = job()
    late = made.mailing.ids()[12:]
    for id in late:
        row = far.recipients.get(id)
        if row and row.supplier:
            moved = replace(row.supplier, service="https://mm.new.example/v4", name="Brevia Nya AB", logo="")
            far.recipients[id] = replace(row, supplier=moved)
    made.works("split")
    check_split(far, made)


# Faults that stop the job.


@pytest.mark.parametrize(
    ("spoilt", "word"),
    [
        (standin.foreign_for_missing(STRANGER), "not asked for"),
        (changed(type="Sekure"), "Type"),
    ],
)
def test_answers_that_never_fit_are_named(far: FarStandIn, job: Make, spoilt: Fault, word: str) -> None:
    made = job()
    far.schedule = always(spoilt, after=3)
    made.fails("split", FAILED, "contract", word)
    assert not made.out.exists()
    far.schedule = lambda _: None
    made.works("split")
    check_split(far, made)


@pytest.mark.parametrize("code", [5000, 5002, 5020, 8004])
def test_faults_of_the_input_stop_at_once(far: FarStandIn, job: Make, code: int) -> None:
    made = job()
    far.schedule = always(fault(code), after=2)
    ran = made.fails("split", FAILED, str(code))
    assert len(far.calls) == 3 and not made.out.exists()
    if code in (5002, 5020):
        assert "sender" in ran.error and "certificate" in ran.error
    far.schedule = lambda _: None
    made.works("split")
    check_split(far, made)


@pytest.mark.parametrize("status", [401, 404])
def test_statuses_that_will_not_change_stop_at_once(far: FarStandIn, job: Make, status: int) -> None:
    made = job()
    far.schedule = always(standin.status(status))
    made.fails("split", FAILED, str(status))
    assert len(far.calls) == 1


def test_ids_are_not_sent_to_another_address(far: FarStandIn, job: Make, tmp_path: Path) -> None:
    other = FarStandIn({})
    with standing_in(other) as elsewhere:
        made = job()
        far.schedule = always(standin.redirect(elsewhere.address + PATH))
        made.fails("split", FAILED, "redirect")
    assert len(far.calls) == 1 and not other.calls


def test_a_register_that_stays_away(far: FarStandIn, job: Make) -> None:
    made = job(give_up_after="1s")
    far.schedule = always(standin.status(503), after=3)
    made.fails("split", FAILED, "not answered", "503", "same command")
    assert made.files() == {"out.journal"}
    made.check_private()
    far.schedule = lambda _: None
    made.works("split")
    check_split(far, made)


def test_no_register_at_the_address(job: Make, far: FarStandIn) -> None:
    made = job(give_up_after="1s", connect_time="1s")
    made.write_source(address="http://127.0.0.1:9/Recipient/v3")
    made.fails("split", FAILED, "not answered")
    assert not far.calls


# Ids that the register refuses, and calls that are too large.


@pytest.mark.parametrize("bad", [1, 3, 7])
def test_bad_ids_do_not_sink_the_others(far: FarStandIn, job: Make, bad: int) -> None:
    made = job(ids_per_call=16)
    ids = made.mailing.ids()
    refused = {ids[0], ids[-1], *ids[5:17:2]} if bad == 7 else set(ids[3 : 3 + bad])
    far.schedule = touching(refused, fault(5001))
    ran = made.works("split", "--json")
    check_split(far, made, refused)
    rows = sum(id in refused for id in made.mailing.identities())
    assert json.loads(ran.out)["reasons"]["refused_by_register"] == rows
    alone = [call.ids for call in far.calls if len(call.ids) == 1 and call.ids[0] in refused]
    assert len(alone) == len(refused), "a bad id is asked alone once"
    assert len(far.calls) <= -(-len(ids) // 16) + len(refused) * 2 * 4, "by halves"


def test_refused_ids_stay_refused_in_a_register_of_answers(far: FarStandIn, job: Make) -> None:
    made = job()
    refused = set(made.mailing.ids()[2:4])
    far.schedule = touching(refused, fault(5001))
    summary = json.loads(made.works("resolve", "--json").out)
    assert summary["refused"] == 2
    ran = made.nabar(*split_of(made, made.out))
    assert ran.code == 0, ran.error
    oracle.check_files(made.out, made.mailing, oracle.far(far.recipients, refused))


def test_all_ids_refused(far: FarStandIn, job: Make) -> None:
    """More rejected rows than the job allows: it is refused, and not sent on as paper."""
    made = job(rows=20)
    far.schedule = always(fault(5001))
    made.fails("split", REFUSED)
    assert {path.name for path in made.out.iterdir()} == {"rejected.csv", "report.json", "report.html"}


@pytest.mark.parametrize("most", [1, 3, 10])
@pytest.mark.parametrize("too_many", [fault(5005), standin.status(413)], ids=["fault", "status"])
def test_calls_become_smaller(far: FarStandIn, job: Make, most: int, too_many: Fault) -> None:
    made = job(ids_per_call=32)
    far.ids_max, far.schedule = 1000, above(most, too_many)
    made.works("split")
    check_split(far, made)
    sizes = [len(call.ids) for call in far.calls]
    assert sum(size > most for size in sizes) <= 6, "the register is not asked for too many again and again"


def test_not_even_one_id_a_call(far: FarStandIn, job: Make) -> None:
    made = job(ids_per_call=4)
    far.schedule = always(fault(5005))
    made.fails("split", FAILED, "one id")


# Limits.


def test_calls_in_flight(far: FarStandIn, job: Make) -> None:
    made = job(rows=60, calls_in_flight=4)
    far.schedule = always(standin.drip(0.1, in_time=True))
    made.works("split")
    check_split(far, made)
    assert far.flying_max == 4


def test_one_call_at_a_time_by_default(far: FarStandIn, job: Make) -> None:
    made = job()
    made.works("split")
    assert far.flying_max == 1


def test_ids_per_second(far: FarStandIn, job: Make) -> None:
    made = job(rows=20, ids_per_second=32, calls_in_flight=4)
    made.works("split")
    check_split(far, made)
    first = far.calls[0].started
    for number, call in enumerate(far.calls):
        assert call.started - first >= number * 4 / 32 - 0.05, number


# What a register of answers may be used for.


def test_an_id_that_was_never_asked(far: FarStandIn, job: Make) -> None:
    made = job(rows=20)
    made.works("resolve")
    made.mailing = List.of(FIXTURES / "far-list.csv", oracle.swedish, 24)
    made.mailing.write(made.path)
    ran = made.nabar(*split_of(made, made.out))
    assert ran.code == REFUSED and "not asked" in ran.error, ran
    assert made.files() == {"run.nabar"}
    checked = made.nabar("check", "-r", str(made.run_file), *made.options, "--date", "2026-06-01", str(made.path))
    assert checked.code == REFUSED, checked.error
    # Only what is missing is asked.
    asked = len(far.asked())
    made.works("split", "--known", str(made.run_file))
    oracle.check_files(made.out, made.mailing, oracle.far(far.recipients))
    assert len(far.asked()) - asked == len(made.mailing.ids()) - asked
    assert not far.asked_after_answer()


def test_the_answers_of_an_id_that_was_never_asked_say_so(far: FarStandIn, job: Make) -> None:
    made = job(rows=20)
    made.works("resolve")
    # No check for ids in the output: they are what a lookup prints.
    options = ["--json", "--date", "2026-06-01", *made.options]
    ran = made.nabar("lookup", "-r", str(made.run_file), *options, STRANGER)
    assert json.loads(ran.out)["outcome"] == "not_asked"


def test_another_sender_is_refused(far: FarStandIn, job: Make) -> None:
    made = job(rows=20)
    made.works("resolve")
    for sender in (OTHER_SENDER, UNKNOWN_SENDER):
        ran = made.nabar(*split_of(made, made.out, sender))
        assert ran.code in (USAGE, REFUSED) and "sender" in ran.error, ran
        assert made.files() == {"run.nabar"}
    # The ten digits of the same sender are the same sender.
    ran = made.nabar(*split_of(made, made.out, SENDER[2:]))
    assert ran.code == 0, ran.error


def test_known_answers_of_another_sender_are_refused(far: FarStandIn, job: Make) -> None:
    made = job(rows=20)
    made.works("resolve")
    calls = len(far.calls)
    made.options = ["--sender", OTHER_SENDER]
    ran = made.run("split", "--known", str(made.run_file))
    assert ran.code != 0 and "another" in ran.error
    assert len(far.calls) == calls and not made.out.exists()


def test_answers_that_are_too_old_to_be_used(far: FarStandIn, job: Make) -> None:
    made = job(rows=20)
    made.write_source(keep={"max_age": "1s", "delete_after": "1h"})
    made.works("resolve")
    wait_for(far.calls[-1].ended + 1.1)
    ran = made.nabar(*split_of(made, made.out))
    assert ran.code == REFUSED, ran
    assert made.files() == {"run.nabar"}
    made.nabar("purge", str(made.directory))
    assert made.files() == {"run.nabar"}, "it may still be kept"


def test_answers_that_are_too_old_to_be_kept(far: FarStandIn, job: Make) -> None:
    made = job(rows=20)
    made.write_source(keep={"max_age": "1s", "delete_after": "1s"})
    made.works("resolve")
    wait_for(far.calls[-1].ended + 1.1)
    for command in (split_of(made, made.out), ["lookup", "-r", str(made.run_file), *made.options, STRANGER]):
        ran = made.nabar(*command)
        assert ran.code != 0 and "delete" in ran.error, ran
    ran = made.nabar("purge", str(made.directory))
    assert ran.code == 0 and not made.files()


def wait_for(until: float) -> None:
    """Waits for a monotonic time."""
    time.sleep(max(0.0, until - time.monotonic()))


# Removal.


def test_purge_removes_answers_and_nothing_else(far: FarStandIn, job: Make) -> None:
    made = job(rows=20)
    made.works("resolve")
    kept = {"far.nabar": (FIXTURES / "golden/far-format-1.nabar.zst").read_bytes(), "notes.journal": b"my notes\n"}
    (made.directory / "sub").mkdir()
    copy = made.directory / "sub/run.nabar"
    copy.write_bytes(made.run_file.read_bytes())
    made.nabar("build", str(FIXTURES / "far"), "-o", str(made.directory / "full.nabar"))
    for name, content in kept.items():
        (made.directory / name).write_bytes(content)
    far.schedule = always(fault(5002), after=len(far.calls) + 2)
    made.fails("split", FAILED, "5002")
    assert (made.directory / "out.journal").exists()

    ran = made.nabar("purge", str(made.directory))
    assert ran.code == 0, ran.error
    others = {*kept, "full.nabar", "full.nabar.rejected.csv", "sub"}
    assert made.files() == {*others, "run.nabar"}, "answers that may be kept"
    ran = made.nabar("purge", "--all", str(made.directory))
    assert ran.code == 0, ran.error
    assert made.files() == others
    assert copy.exists() and all((made.directory / name).read_bytes() == text for name, text in kept.items())


# `source check` and mistakes of the user.


def test_source_check_says_each_step(far: FarStandIn, job: Make) -> None:
    made = job()
    ran = made.nabar("source", "check", str(made.source_file), "--sender", SENDER)
    assert ran.code == 0, ran.error
    assert "call" in ran.out and len(far.calls) == 1 and len(far.calls[0].ids) == 1


@pytest.mark.parametrize(
    ("spoilt", "word"),
    [(fault(5002), "5002"), (standin.page(200), "answer"), (standin.status(404), "404"), (fault(4999), "4999")],
)
def test_source_check_says_what_fails(far: FarStandIn, job: Make, spoilt: Fault, word: str) -> None:
    made = job()
    far.schedule = always(spoilt)
    ran = made.nabar("source", "check", str(made.source_file), "--sender", SENDER)
    assert ran.code == FAILED and word in ran.error, ran


@pytest.mark.parametrize("kind", ["far", "krr"])
def test_the_source_file_that_init_prints_is_understood(far: FarStandIn, job: Make, kind: str) -> None:
    made = job()
    text = made.nabar("source", "init", kind).out
    made.source_file.write_text(text)
    ran = made.nabar("source", "check", str(made.source_file))
    # Its certificate and key do not exist yet.
    assert ran.code in (FAILED, USAGE) and (".pem" in ran.error or ".key" in ran.error), ran


def test_a_sender_is_needed(far: FarStandIn, job: Make) -> None:
    made = job()
    made.options = []
    made.fails("split", USAGE, "--sender")
    made.options = ["--sender", "12"]
    made.fails("split", USAGE)
    assert not far.calls


def test_nothing_is_asked_if_nothing_can_be_written(far: FarStandIn, job: Make) -> None:
    made = job()
    made.out.mkdir()
    (made.out / "mine.txt").write_text("mine")
    ran = made.run("split")
    assert ran.code != 0 and not far.calls


def test_a_list_with_mostly_unreadable_rows_is_not_asked(far: FarStandIn, job: Make) -> None:
    ids = List.of(FIXTURES / "far-list.csv", oracle.swedish, 20).ids()
    made = job(List.plain([*ids[:4], *(["19900102-2385"] * 6)], oracle.swedish))
    made.fails("split", REFUSED)
    assert not far.calls and not made.files()
