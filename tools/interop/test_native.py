"""nabar's own interface, compared with its command line."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import httpx
import pytest

from support import (
    DATE,
    FAR,
    FIXTURES,
    KRR,
    SENDER,
    UNKNOWN_SENDER,
    Row,
    answer,
    canonical,
    column,
    lookup,
    nabar,
    persons,
    registered,
    table,
)

AS_OF = "2026-06-01T04:00:00Z"
SEQUENCE = 1000
ASKED = {"sender": SENDER, "date": DATE}
PAPER = [
    "not_registered",
    "sender_declined",
    "pending",
    "anonymous_account",
    "operator_without_address",
    "reserved",
    "not_notifiable",
    "deleted",
]
NOTIFY, OPERATORS_FROM, NO_ID = 8, 9, 255
SPELLINGS = [
    "196810199809",
    "19681019-9809",
    "681019-9809",
    "6810199809",
    " 19681019 9809 ",
    "164560149462",
    "456014-9462",
    "4560149462",
]


def ask(http: httpx.Client, base: str, recipients: list[str], **asked: str) -> httpx.Response:
    return http.post(f"{base}/v1/reachability", params=asked, json={"recipients": recipients})


def lines(
    http: httpx.Client, url: str, body: bytes | Iterator[bytes], content_type: str, **asked: str
) -> list[list[str]]:
    response = http.post(url, params=asked, content=body, headers={"Content-Type": content_type})
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].startswith("text/csv")
    return list(csv.reader(io.StringIO(response.text, newline="")))


def cells(id: str, row: dict[str, Any]) -> list[str]:
    return [id, row["outcome"], row["reason"] or "", row["operator_id"] or ""]


def problem(response: httpx.Response, *statuses: int) -> dict[str, Any]:
    assert response.status_code in statuses, response.text
    assert response.headers["content-type"].startswith("application/problem+json")
    answer: dict[str, Any] = response.json()
    assert answer["status"] == response.status_code
    assert all(isinstance(answer[name], str) and answer[name] for name in ("type", "title", "detail"))
    assert not re.search(r"\d{10,12}", response.text), "a problem repeats no id"
    return answer


def test_json_answers_the_fixture_list_as_lookup_does(far: str, http: httpx.Client) -> None:
    ids = column("far-list.csv")
    results = ask(http, far, ids, **ASKED).json()
    assert results["results"] == [answer(row) for row in lookup(FAR, ids, SENDER)]
    assert results["register"] == {"kind": "far", "sequence": SEQUENCE, "as_of": AS_OF}
    assert (results["sender"], results["date"]) == (SENDER, DATE)


def test_json_answers_the_norwegian_fixture_list_as_lookup_does(krr: str, http: httpx.Client) -> None:
    ids = column("krr-list.csv")
    results = ask(http, krr, ids, date=DATE).json()
    assert results["results"] == [answer(row) for row in lookup(KRR, ids)]
    assert {result["outcome"] for result in results["results"]} == {"digital", "notify", "paper", "rejected"}
    assert results["register"] == {"kind": "krr", "sequence": SEQUENCE, "as_of": AS_OF}
    assert results.get("sender") is None


def test_json_takes_sender_and_date_from_the_body_or_the_address(far: str, http: httpx.Client) -> None:
    ids = registered()[:50]
    in_body = http.post(f"{far}/v1/reachability", json={**ASKED, "recipients": ids})
    assert in_body.json() == ask(http, far, ids, **ASKED).json()


def test_the_default_date_is_today(far: str, http: httpx.Client) -> None:
    results = ask(http, far, registered()[:5], sender=SENDER).json()
    assert datetime.fromisoformat(results["date"])
    assert results["results"] == [answer(row) for row in lookup(FAR, registered()[:5], SENDER)]


def test_the_date_decides_who_can_be_notified(krr: str, http: httpx.Client) -> None:
    ids = [person["personidentifikator"] for person in persons()]
    for date in ("2026-06-01", "2027-06-01", "2028-06-01"):
        assert ask(http, krr, ids, date=date).json()["results"] == [answer(row) for row in lookup(KRR, ids, date=date)]


def test_every_spelling_of_an_id_and_of_the_sender_is_read(far: str, http: httpx.Client) -> None:
    expected = [answer(row) for row in lookup(FAR, SPELLINGS, SENDER)]
    assert [result["outcome"] for result in expected] == ["digital"] * len(SPELLINGS)
    for sender in (SENDER, SENDER[2:], f"{SENDER[2:8]}-{SENDER[8:]}"):
        results = ask(http, far, SPELLINGS, sender=sender, date=DATE).json()
        assert (results["sender"], results["results"]) == (SENDER, expected)


def test_each_duplicate_is_answered(far: str, http: httpx.Client) -> None:
    results = ask(http, far, [registered()[0], "abc", registered()[0], "abc"], **ASKED).json()["results"]
    assert len(results) == 4 and results[:2] == results[2:]


def test_no_ids_have_no_answers(far: str, http: httpx.Client) -> None:
    assert ask(http, far, [], **ASKED).json()["results"] == []
    for content_type in ("text/csv", "text/plain"):
        assert lines(http, f"{far}/v1/reachability", b"", content_type, **ASKED) == []


def test_more_ids_than_the_official_service_accepts_are_answered(far: str, http: httpx.Client) -> None:
    ids = registered() * 100
    results = ask(http, far, ids, **ASKED).json()["results"]
    assert results == [answer(row) for row in lookup(FAR, registered(), SENDER)] * 100


@pytest.mark.parametrize("content_type", ["text/csv", "text/plain", "text/plain; charset=utf-8"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_lines_answer_the_fixture_list_as_lookup_does(
    far: str, http: httpx.Client, content_type: str, end: str
) -> None:
    ids = column("far-list.csv")
    body = end.join(ids).encode()
    output = lines(http, f"{far}/v1/reachability", body, content_type, **ASKED)
    assert output == [cells(id, row) for id, row in zip(ids, lookup(FAR, ids, SENDER), strict=True)]


def test_lines_answer_the_norwegian_fixture_list_as_lookup_does(krr: str, http: httpx.Client) -> None:
    ids = column("krr-list.csv")
    output = lines(http, f"{krr}/v1/reachability", "\n".join(ids).encode(), "text/csv", date=DATE)
    assert output == [cells(id, row) for id, row in zip(ids, lookup(KRR, ids), strict=True)]


@pytest.mark.parametrize("size", [1, 2, 7, 13, 64, 100_000])
def test_answers_do_not_depend_on_the_chunks_of_the_body(far: str, http: httpx.Client, size: int) -> None:
    ids = [registered()[0], "", "", "abc", registered()[1], "", "a,b", 'a"b', registered()[2]]
    body = "\n".join(ids).encode()
    expected = [cells(id, row) for id, row in zip(ids, lookup(FAR, ids, SENDER), strict=True)]
    for text in (body, body + b"\n"):
        chunks = (text[at : at + size] for at in range(0, len(text), size))
        assert lines(http, f"{far}/v1/reachability", chunks, "text/csv", **ASKED) == expected


@pytest.mark.parametrize("body", [b"\n", b"\r\n"])
def test_a_blank_line_is_a_row(far: str, http: httpx.Client, body: bytes) -> None:
    assert lines(http, f"{far}/v1/reachability", body, "text/csv", **ASKED) == [["", "rejected", "empty", ""]]
    assert lines(http, f"{far}/v1/reachability", iter([body]), "text/csv", **ASKED) == [["", "rejected", "empty", ""]]


def test_lines_of_any_length_are_streamed(far: str, http: httpx.Client) -> None:
    ids, rounds = registered(), 1000
    block = "".join(f"{id}\n" for id in ids).encode()
    expected = [",".join(cells(id, row)) for id, row in zip(ids, lookup(FAR, ids, SENDER), strict=True)]
    body = (block for _ in range(rounds))
    count = 0
    with http.stream(
        "POST", f"{far}/v1/reachability", params=ASKED, content=body, headers={"Content-Type": "text/csv"}
    ) as response:
        assert response.status_code == 200
        for line in response.iter_lines():
            assert line == expected[count % len(ids)]
            count += 1
    assert count == rounds * len(ids)


def unpack(response: httpx.Response) -> tuple[int, int, list[str], bytes]:
    """Sequence, as-of, operators and answers of the compact form."""
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/vnd.nabar.answers"
    body = response.content
    magic, sequence, as_of, answers, operators = struct.unpack_from("<8sQqIH", body)
    assert magic == b"NABAANS\x01"
    at, names = 30, []
    for _ in range(operators):
        names.append(body[at + 1 : at + 1 + body[at]].decode("ascii"))
        at += 1 + body[at]
    assert len(body) - at == answers
    return sequence, as_of, names, body[at:]


def coded(row: dict[str, Any], operators: list[str]) -> int:
    match row["outcome"]:
        case "digital":
            return OPERATORS_FROM + operators.index(row["operator_id"])
        case "notify":
            return NOTIFY
        case "paper":
            return PAPER.index(row["reason"])
    return NO_ID


def test_the_compact_form_agrees_with_lookup(both: str, http: httpx.Client) -> None:
    far_ids = [
        *canonical(FAR, column("far-list.csv"), SENDER),
        *registered(),
        "199002302384",
        "000000000000",
        "x" * 12,
        "\x00" * 12,
    ]
    krr_ids = [
        *canonical(KRR, column("krr-list.csv"), None),
        *[p["personidentifikator"] for p in persons()],
        "00000000000",
        "1" * 11,
    ]
    for name, register, ids, sender in (("se", FAR, far_ids, SENDER), ("no", KRR, krr_ids, None)):
        asked = {"date": DATE, **({"sender": sender} if sender else {})}
        response = http.post(
            f"{both}/{name}/v1/reachability",
            params=asked,
            content="".join(ids).encode(),
            headers={"Content-Type": "application/vnd.nabar.ids"},
        )
        sequence, as_of, operators, answers = unpack(response)
        seconds = int(datetime.fromisoformat(AS_OF).timestamp())
        assert (sequence, as_of) == (SEQUENCE, seconds * 1_000_000_000)
        rows = lookup(register, [id.replace("\x00", "x") for id in ids], sender)
        assert list(answers) == [coded(row, operators) for row in rows]
        assert len(set(answers)) >= 6


@pytest.mark.parametrize("body", [b"1" * 11, b"1" * 13, b"196810199809\n"])
def test_the_compact_form_refuses_a_part_of_an_id(far: str, http: httpx.Client, body: bytes) -> None:
    response = http.post(
        f"{far}/v1/reachability", params=ASKED, content=body, headers={"Content-Type": "application/vnd.nabar.ids"}
    )
    problem(response, 400, 422)


def test_the_compact_form_answers_no_ids_with_its_head(far: str, http: httpx.Client) -> None:
    response = http.post(f"{far}/v1/reachability", params=ASKED, headers={"Content-Type": "application/vnd.nabar.ids"})
    assert unpack(response)[3] == b""


def test_every_answer_names_its_version(far: str, http: httpx.Client) -> None:
    answers = [http.get(f"{far}/v1/{name}") for name in ("register", "operators", "senders", "dispatchers")]
    answers.append(ask(http, far, registered()[:2], **ASKED))
    for content_type in ("text/csv", "text/plain", "application/vnd.nabar.ids"):
        answers.append(
            http.post(
                f"{far}/v1/reachability",
                params=ASKED,
                content=registered()[0].encode(),
                headers={"Content-Type": content_type},
            )
        )
    answers.append(http.post(f"{far}/v1/check", params=ASKED, content=(FIXTURES / "far-list.csv").read_bytes()))
    for response in answers:
        assert response.status_code == 200, response.text
        assert (response.headers["nabar-sequence"], response.headers["nabar-as-of"]) == (str(SEQUENCE), AS_OF), (
            response.url
        )


BAD: dict[str, tuple[Row, Any, str, tuple[int, ...]]] = {
    "no sender": ({}, {"recipients": []}, "application/json", (400, 422)),
    "an unknown sender": ({"sender": UNKNOWN_SENDER}, {"recipients": []}, "application/json", (404, 422)),
    "a sender that is no id": ({"sender": "abc"}, {"recipients": []}, "application/json", (400, 404, 422)),
    "a date that is none": ({**ASKED, "date": "2026-02-30"}, {"recipients": []}, "application/json", (400, 422)),
    "a doubled name in the address": ({"sender": [SENDER, SENDER]}, {"recipients": []}, "application/json", (400, 422)),
    "a date in another form": ({**ASKED, "date": "1/6 2026"}, {"recipients": []}, "application/json", (400, 422)),
    "an unknown name in the address": ({**ASKED, "sendr": SENDER}, {"recipients": []}, "application/json", (400, 422)),
    "no recipients": (ASKED, {}, "application/json", (400, 422)),
    "recipients that are no list": (ASKED, {"recipients": registered()[0]}, "application/json", (400, 422)),
    "a recipient that is a number": (ASKED, {"recipients": [int(registered()[0])]}, "application/json", (400, 422)),
    "a recipient that is null": (ASKED, {"recipients": [None]}, "application/json", (400, 422)),
    "an unknown name in the body": (
        ASKED,
        {"recipients": [], "recipient": registered()[0]},
        "application/json",
        (400, 422),
    ),
    "a list": (ASKED, registered(), "application/json", (400, 422)),
    "no JSON": (ASKED, f"{{'recipients': {registered()[0]}}}", "application/json", (400,)),
    "nothing": (ASKED, "", "application/json", (400,)),
    "JSON cut off": (ASKED, f'{{"recipients": ["{registered()[0]}"', "application/json", (400,)),
    "JSON in Latin-1": (ASKED, '{"recipients": ["å"]}'.encode("latin-1"), "application/json", (400,)),
    "a deep nest": (ASKED, "[" * 100_000, "application/json", (400,)),
    "another content type": (ASKED, {"recipients": []}, "application/xml", (415,)),
    "a form": (ASKED, "recipients=1", "application/x-www-form-urlencoded", (415,)),
    "an unknown sender of lines": ({"sender": UNKNOWN_SENDER}, registered()[0], "text/csv", (404, 422)),
    "no sender of compact ids": ({}, registered()[0], "application/vnd.nabar.ids", (400, 422)),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_request_is_a_problem_that_repeats_no_id(far: str, http: httpx.Client, case: str) -> None:
    params, body, content_type, statuses = BAD[case]
    content = body if isinstance(body, (str, bytes)) else json.dumps(body)
    response = http.post(
        f"{far}/v1/reachability", params=params, content=content, headers={"Content-Type": content_type}
    )
    problem(response, *statuses)


@pytest.mark.parametrize("content_type", ["application/json", "text/csv"])
def test_a_compressed_body_is_answered_right_or_refused(far: str, http: httpx.Client, content_type: str) -> None:
    ids = registered()[:100]
    body = json.dumps({"recipients": ids}) if content_type == "application/json" else "\n".join(ids)
    headers = {"Content-Type": content_type, "Content-Encoding": "gzip"}
    url = f"{far}/v1/reachability"
    response = http.post(url, params=ASKED, content=gzip.compress(body.encode()), headers=headers)
    if response.status_code == 200:
        plain = http.post(url, params=ASKED, content=body.encode(), headers={"Content-Type": content_type})
        assert response.text == plain.text
    else:
        problem(response, 400, 415)


def test_an_identity_as_request_name_is_not_repeated(far: str, http: httpx.Client) -> None:
    id = registered()[0]
    for name in ("x-request-id", "traceparent", "user-agent"):
        response = http.get(f"{far}/v1/{id}", headers={name: f"{id}-{id}"})
        problem(response, 404)
        assert id not in str(response.headers)


def test_a_sender_for_a_register_without_senders_is_a_problem(krr: str, http: httpx.Client) -> None:
    problem(ask(http, krr, [], sender=SENDER), 400, 422)


def test_an_unknown_address_is_a_problem(far: str, both: str, http: httpx.Client) -> None:
    for url in (
        f"{far}/v2/reachability",
        f"{far}/v1/reachability/",
        f"{far}/v1//register",
        f"{both}/v1/register",
        f"{both}/dk/v1/register",
    ):
        problem(http.get(url), 404)


def test_another_method_is_a_problem_that_names_the_right_one(far: str, http: httpx.Client) -> None:
    for method, path in (
        ("GET", "reachability"),
        ("PUT", "reachability"),
        ("POST", "register"),
        ("DELETE", "senders"),
        ("GET", "check"),
    ):
        response = http.request(method, f"{far}/v1/{path}")
        problem(response, 405)
        assert response.headers["allow"]


def test_the_register_is_described(both: str, http: httpx.Client) -> None:
    for name, kind, recipients in (("se", "far", len(registered())), ("no", "krr", len(persons()))):
        answer = http.get(f"{both}/{name}/v1/register").json()
        assert (answer["kind"], answer["sequence"], answer["as_of"]) == (kind, SEQUENCE, AS_OF)
        assert answer["recipients"] == recipients


def test_operators_senders_and_dispatchers_are_those_of_the_register(far: str, http: httpx.Client) -> None:
    operators = [
        {name: row[name] for name in ("id", "name", "service_address", "ui_address")}
        for row in table("far/operators.csv")
    ]
    assert http.get(f"{far}/v1/operators").json() == operators
    assert http.get(f"{far}/v1/senders").json() == table("far/senders.csv")
    dispatchers = [{**row, "senders": row["senders"].split()} for row in table("far/dispatchers.csv")]
    assert http.get(f"{far}/v1/dispatchers").json() == dispatchers


def test_a_norwegian_register_has_operators_but_no_senders(krr: str, http: httpx.Client) -> None:
    operators = http.get(f"{krr}/v1/operators").json()
    assert {operator["id"] for operator in operators} >= {"984661185", "996460320"}
    assert http.get(f"{krr}/v1/senders").json() == []
    assert http.get(f"{krr}/v1/dispatchers").json() == []


def without_time(report: dict[str, Any]) -> dict[str, Any]:
    """A report without fields that differ from run to run, and without the path of the list."""
    kept = {name: value for name, value in report.items() if name not in ("seconds", "rows_per_second")}
    return {**kept, "list": {name: value for name, value in kept["list"].items() if name != "path"}}


@pytest.mark.parametrize("chunked", [False, True])
def test_a_check_is_the_report_of_the_command_line(both: str, http: httpx.Client, chunked: bool) -> None:
    for name, register, file, sender in (("se", FAR, "far-list.csv", SENDER), ("no", KRR, "krr-list.csv", None)):
        asked = {"date": DATE, **({"sender": sender} if sender else {})}
        options = [word for key, value in asked.items() for word in (f"--{key}", value)]
        expected = json.loads(nabar("check", "-r", str(register), *options, "--json", str(FIXTURES / file)))
        text = (FIXTURES / file).read_bytes()
        body = (text[at : at + 1000] for at in range(0, len(text), 1000)) if chunked else text
        response = http.post(
            f"{both}/{name}/v1/check", params=asked, content=body, headers={"Content-Type": "text/csv"}
        )
        assert response.status_code == 200, response.text
        assert without_time(response.json()) == without_time(expected)


def test_a_check_with_an_unknown_sender_is_a_problem(far: str, http: httpx.Client) -> None:
    problem(http.post(f"{far}/v1/check", params={"sender": UNKNOWN_SENDER}, content=b"x"), 404, 422)


def test_the_service_reports_health_and_readiness(far: str, both: str, http: httpx.Client) -> None:
    for base in (far, both):
        assert http.get(f"{base}/healthz").status_code == 200
        assert http.get(f"{base}/readyz").status_code == 200


def test_metrics_are_as_prometheus_reads_them(far: str, http: httpx.Client) -> None:
    ask(http, far, registered(), **ASKED)
    response = http.get(f"{far}/metrics")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith(("text/plain", "application/openmetrics-text"))
    line = re.compile(r'(# (HELP|TYPE|UNIT|EOF).*|[a-z_:][a-z0-9_:]*(\{([a-z_]+="[^"]*",?)*\})? -?[0-9.e+-]+|)')
    text = response.text.splitlines()
    assert not [entry for entry in text if not line.fullmatch(entry)]
    values = {entry.rpartition(" ")[0]: entry.rpartition(" ")[2] for entry in text if not entry.startswith("#")}
    assert str(SEQUENCE) in [value.removesuffix(".0") for name, value in values.items() if "sequence" in name]
    assert any(name.startswith("nabar_") and "requests" in name for name in values)


def test_many_clients_at_once_have_their_own_answers(far: str) -> None:
    ids = registered()
    expected = [answer(row) for row in lookup(FAR, ids, SENDER)]

    def part(number: int) -> bool:
        with httpx.Client(timeout=60, trust_env=False) as http:
            at = number * 7 % len(ids)
            return all(
                ask(http, far, ids[at : at + 60], **ASKED).json()["results"] == expected[at : at + 60]
                for _ in range(20)
            )

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(part, range(64)))


def test_requests_may_follow_each_other_without_waiting(far: str, http: httpx.Client) -> None:
    """Keep-alive: after a refused body the connection still works, or is closed."""
    for _ in range(3):
        problem(
            http.post(
                f"{far}/v1/reachability", params=ASKED, content=b"x" * 100_000, headers={"Content-Type": "text/html"}
            ),
            415,
        )
        assert http.get(f"{far}/v1/register").json()["sequence"] == SEQUENCE
