"""KRR asked live: each row is in the right file, or the job ends with the right error."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import oracle
import standin
from asking import Job
from norwegian import plain
from oracle import List
from standin import Fault, above, always, at, standing_in, touching
from standin_krr import KrrStandIn, changed, newer_contract, refusing
from support import FIXTURES, KRR_CONTRACTS, Row, lookup, persons, synthetic

pytestmark = pytest.mark.skipif(not KRR_CONTRACTS.is_dir(), reason=f"the official contracts are not in {KRR_CONTRACTS}")
FAILED, USAGE, REFUSED = 1, 2, 3
Make = Callable[..., Job]


@pytest.fixture
def krr() -> KrrStandIn:
    return KrrStandIn(persons())


@pytest.fixture
def job(krr: KrrStandIn, tmp_path: Path) -> Iterator[Make]:
    """Makes a job on the first rows of the fixture's list, four ids a call."""
    with standing_in(krr) as server:

        def make(list: List | None = None, rows: int = 40, **limits: Any) -> Job:
            of = list or List.of(FIXTURES / "krr-list.csv", oracle.norwegian, rows)
            table = {"ids_per_call": 4, "call_time": "5s", "give_up_after": "20s", **limits}
            return Job(tmp_path, of, {"kind": "krr", "address": server.address, "limits": table})

        yield make


def check_split(krr: KrrStandIn, job: Job, refused: set[str] | None = None) -> None:
    oracle.check_files(job.out, job.mailing, oracle.krr(krr.persons.values(), refused or set()))
    assert set(krr.asked()) == set(job.mailing.ids())
    assert not krr.asked_after_answer()
    assert job.files() == {"out"}, "only the outputs are left"
    job.check_private()


def test_a_whole_list(krr: KrrStandIn, job: Make) -> None:
    made = job(List.of(FIXTURES / "krr-list.csv", oracle.norwegian), ids_per_call=50)
    ran = made.works("split", "--json")
    check_split(krr, made)
    oracle.check_counts(json.loads(ran.out), made.mailing, oracle.krr(krr.persons.values()))


def test_a_thousand_ids_a_call(krr: KrrStandIn, job: Make) -> None:
    made = job(List.plain(synthetic(1001), oracle.norwegian))
    made.write_source(limits=None)
    made.works("split")
    check_split(krr, made)
    assert sorted(len(call.ids) for call in krr.calls) == [1, 1000]


def test_an_address_with_a_slash_at_its_end(krr: KrrStandIn, job: Make) -> None:
    made = job(rows=10)
    made.write_source(address=f"{made.source['address']}/")
    made.works("split")
    check_split(krr, made)


FRESH, STALE = "2025-12-02T00:00:00Z", "2024-11-30T23:59:59Z"
MAILBOX = {"postkasseadresse": "kari.nordmann#1234", "postkasseleverandoeradresse": "984661185"}


def kinds() -> list[Row]:
    """Persons of every kind: contact data, mailbox, reservation and status, with the edges of the 18-month rule."""
    contacts: list[Row] = [
        {},
        {"epostadresse": "kari@example.no", "epostadresse_oppdatert": FRESH},
        {"epostadresse": "kari@example.no", "epostadresse_oppdatert": STALE},
        {"epostadresse": "kari@example.no", "epostadresse_oppdatert": STALE, "epostadresse_sist_verifisert": FRESH},
        {"epostadresse": "kari@example.no"},
        {"epostadresse": "", "epostadresse_oppdatert": FRESH},
        # The last fresh day, and the day after it.
        {"mobiltelefonnummer": "+4799999999", "mobiltelefonnummer_oppdatert": "2024-12-02T08:00:00.000+01:00"},
        {"mobiltelefonnummer": "+4799999999", "mobiltelefonnummer_oppdatert": "2024-12-01T08:00:00+01"},
        # In UTC it is the day before.
        {"mobiltelefonnummer": "+4799999999", "mobiltelefonnummer_oppdatert": "2024-12-02T00:30:00+01"},
        {
            **{"mobiltelefonnummer": "+4799999999", "mobiltelefonnummer_oppdatert": FRESH},
            **{"epostadresse": "kari@example.no", "epostadresse_oppdatert": STALE, "epostadresse_duplisert": "JA"},
        },
    ]
    mailboxes: list[Row] = [{}, {"digital_post": MAILBOX}, {"digital_post": {**MAILBOX, "postkasseadresse": ""}}]
    found = []
    for status, reserved in [("AKTIV", "NEI"), ("AKTIV", "JA"), ("SLETTET", "NEI")]:
        for contact in contacts:
            for mailbox in mailboxes:
                person = {"reservasjon": reserved, "status": status, "varslingsstatus": "KAN_VARSLES", **mailbox}
                found.append({**person, **({"kontaktinformasjon": contact} if contact else {})})
    return found


def test_every_kind_of_person(krr: KrrStandIn, job: Make) -> None:
    ids = synthetic(90)
    named = [{"personidentifikator": id, **kind} for id, kind in zip(ids, kinds(), strict=True)]
    krr.persons = {person["personidentifikator"]: person for person in named}
    made = job(List.plain(ids, oracle.norwegian), ids_per_call=20)
    made.works("split")
    check_split(krr, made)


def test_the_newer_fields_of_contact_data(krr: KrrStandIn, job: Make) -> None:
    """`…_sist_validert` is kept, and does not make a channel fresh: the rule names updates and verifications."""
    id = synthetic(1)[0]
    contact = {
        **{"epostadresse": "kari@example.no", "epostadresse_oppdatert": STALE, "epostadresse_sist_validert": FRESH},
        **{"mobiltelefonnummer": "+4799999999", "mobiltelefonnummer_sist_validert": FRESH},
    }
    person = {"personidentifikator": id, "reservasjon": "NEI", "status": "AKTIV", "kontaktinformasjon": contact}
    krr.persons = {id: person}
    made = job(List.plain([id], oracle.norwegian))
    made.works("split")
    check_split(krr, made)
    made.works("resolve")
    [kept] = lookup(made.run_file, [id])
    assert plain(kept["kontaktinformasjon"]) == plain(contact)


PASSING: dict[str, Fault] = {
    "503": standin.status(503),
    "503_with_retry_after": standin.status(503, Retry_After="0"),
    "429": standin.status(429, Retry_After="0"),
    "500": refusing(500),
    "502_page": standin.page(502),
    "200_page": standin.page(200),
    "no_answer": standin.no_answer,
    "reset_in_body": standin.reset_in_body,
    "slow_drip": standin.drip(0.2, in_time=True),
    "truncated": standin.truncated,
    "empty": standin.empty,
    "missing": standin.missing,
    "no_rows": standin.no_rows,
    "doubled": standin.doubled,
    "doubled_for_missing": standin.doubled_for_missing,
    "foreign": standin.foreign(synthetic(1)[0]),
    "foreign_for_missing": standin.foreign_for_missing(synthetic(1)[0]),
    "reordered": standin.reordered,
    "newer_contract": newer_contract,
}
NO_FAULTS = {"slow_drip", "reordered", "newer_contract"}


@pytest.mark.parametrize("name", PASSING)
def test_a_passing_fault_changes_nothing(krr: KrrStandIn, job: Make, name: str) -> None:
    made = job(rows=16)
    krr.schedule = at({1: PASSING[name], 3: PASSING[name]})
    made.works("split")
    check_split(krr, made)
    calls = -(-len(made.mailing.ids()) // 4)
    assert len(krr.calls) == calls + (0 if name in NO_FAULTS else 2)


BAD_VALUES: list[Fault] = [
    changed(lambda person: {**person, "status": "UKJENT"}),
    changed(lambda person: {**person, "reservasjon": "KANSKJE"}),
    changed(lambda person: {**person, "personidentifikator": int(person["personidentifikator"])}),
    changed(lambda person: {**person, "kontaktinformasjon": {"epostadresse_oppdatert": "i går"}}),
]
"""Values that the contract does not allow."""


def test_bad_values_are_asked_again(krr: KrrStandIn, job: Make) -> None:
    made = job()
    # The first attempt of one part after the other.
    krr.schedule = at({1 + 2 * number: fault for number, fault in enumerate(BAD_VALUES)})
    made.works("split")
    check_split(krr, made)
    assert len(krr.calls) == -(-len(made.mailing.ids()) // 4) + len(BAD_VALUES)


def test_a_person_without_reservation_is_no_answer(krr: KrrStandIn, job: Make) -> None:
    """The reservation is always returned. Without it, a reserved person would get digital mail."""
    made = job()
    known = changed(lambda person: {name: part for name, part in person.items() if name != "reservasjon"})
    krr.schedule = at({1: known})
    made.works("split")
    check_split(krr, made)
    assert len(krr.calls) == -(-len(made.mailing.ids()) // 4) + 1


def test_faults_in_succession_and_at_random(krr: KrrStandIn, job: Make) -> None:
    for seed in range(3):
        krr.calls.clear()
        made = job(List.of(FIXTURES / "krr-list.csv", oracle.norwegian, 60, 60 * seed), calls_in_flight=4)
        quick = [*BAD_VALUES, *(fault for name, fault in PASSING.items() if "slow" not in name)]
        krr.schedule = standin.seeded(seed, quick, 0.3, succession_max=2)
        made.works("split", "--force")
        check_split(krr, made)


def test_values_that_never_fit_are_named(krr: KrrStandIn, job: Make) -> None:
    word, made = "status", job(rows=16)
    # The value is an id, which the error must not repeat.
    krr.schedule = always(changed(lambda person: {**person, word: person["personidentifikator"]}), after=1)
    made.fails("split", FAILED, "contract", word)
    krr.schedule = lambda _: None
    made.works("split")
    check_split(krr, made)


@pytest.mark.parametrize("status", [403, 405])
def test_statuses_that_will_not_change_stop_at_once(krr: KrrStandIn, job: Make, status: int) -> None:
    made = job()
    krr.schedule = always(refusing(status), after=2)
    made.fails("split", FAILED, str(status))
    assert len(krr.calls) == 3
    krr.schedule = lambda _: None
    made.works("split")
    check_split(krr, made)


def test_ids_are_not_sent_to_another_address(krr: KrrStandIn, job: Make) -> None:
    other = KrrStandIn([])
    with standing_in(other) as elsewhere:
        made = job()
        krr.schedule = always(standin.redirect(f"{elsewhere.address}/rest/v2/personer"))
        made.fails("split", FAILED, "redirect")
    assert len(krr.calls) == 1 and not other.calls


def test_bad_ids_do_not_sink_the_others(krr: KrrStandIn, job: Make) -> None:
    made = job(ids_per_call=16)
    refused = {*made.mailing.ids()[3:6], made.mailing.ids()[-1]}
    krr.schedule = touching(refused, refusing(400))
    made.works("split")
    check_split(krr, made, refused)


def test_calls_become_smaller(krr: KrrStandIn, job: Make) -> None:
    made = job(ids_per_call=32)
    krr.schedule = above(10, refusing(413))
    made.works("split")
    check_split(krr, made)


def test_an_id_that_was_never_asked(krr: KrrStandIn, job: Make) -> None:
    made = job(rows=20)
    made.works("resolve")
    made.mailing = List.of(FIXTURES / "krr-list.csv", oracle.norwegian, 24)
    made.mailing.write(made.path)
    split = ["split", "-r", str(made.run_file), "--date", "2026-06-01", "-o", str(made.out), str(made.path)]
    ran = made.nabar(*split)
    assert ran.code == REFUSED and "not asked" in ran.error, ran
    assert made.files() == {"run.nabar"}
    # With the rest, it is used.
    made.works("resolve", "--known", str(made.run_file))
    ran = made.nabar(*split)
    assert ran.code == 0, ran.error
    oracle.check_files(made.out, made.mailing, oracle.krr(krr.persons.values()))
    assert not krr.asked_after_answer()
    ran = made.nabar("purge", "--all", str(made.directory))
    assert ran.code == 0 and made.files() == {"out"}


def test_krr_takes_no_sender(krr: KrrStandIn, job: Make) -> None:
    made = job()
    made.fails("split", USAGE, "--on-behalf-of", more=["--sender", "164821000025"])
    assert not krr.calls


def test_source_check(krr: KrrStandIn, job: Make) -> None:
    made = job()
    ran = made.nabar("source", "check", str(made.source_file))
    assert ran.code == 0, ran.error
    assert [len(call.ids) for call in krr.calls] == [1]
