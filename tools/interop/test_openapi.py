"""The OpenAPI document, and the service against it: schemathesis generates valid and invalid requests."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from support import FAR, SENDER, lookup, registered

EXAMPLES = 40

Case = schemathesis.Case[Any]

IDS = st.lists(st.from_regex(r"[0-9]{12}", fullmatch=True), max_size=20).map("".join)
LINES = st.lists(st.one_of(st.sampled_from(registered()), st.text(max_size=20)), max_size=20).map("\n".join)
schemathesis.openapi.media_type("application/vnd.nabar.ids", IDS.map(str.encode))
schemathesis.openapi.media_type("text/csv", LINES.map(str.encode))
schemathesis.openapi.media_type("text/plain", LINES.map(str.encode))
schemathesis.openapi.media_type("application/jsonl", LINES.map(str.encode))

# A generated sender is rarely one of the register, so refusals are right.
EXCLUDED: list[Any] = [schemathesis.checks.positive_data_acceptance]


@pytest.fixture(scope="module")
def far_schema(far: str) -> schemathesis.BaseSchema:
    return schemathesis.openapi.from_url(f"{far}/openapi.json")


@pytest.fixture(scope="module")
def krr_schema(krr: str) -> schemathesis.BaseSchema:
    return schemathesis.openapi.from_url(f"{krr}/openapi.json")


LIMITS = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow, HealthCheck.data_too_large],
)


# The document is the same for both kinds of register; paths of KRR are not found at a FaR register.
@schemathesis.pytest.from_fixture("far_schema").exclude(path_regex="^/rest/").parametrize()
@LIMITS
def test_the_swedish_service_follows_its_document(case: Case, far: str) -> None:
    case.call_and_validate(base_url=far, excluded_checks=EXCLUDED)


@schemathesis.pytest.from_fixture("krr_schema").parametrize()
@LIMITS
def test_the_norwegian_service_follows_its_document(case: Case, krr: str) -> None:
    case.call_and_validate(base_url=krr, excluded_checks=EXCLUDED)


def test_the_document_is_valid_openapi_and_has_every_address(far: str, http: httpx.Client) -> None:
    schema = schemathesis.openapi.from_url(f"{far}/openapi.json")
    schema.validate()
    document = http.get(f"{far}/openapi.json").json()
    assert document["openapi"].startswith("3.")
    wanted = {
        "/v1/reachability": "post",
        "/v1/register": "get",
        "/v1/operators": "get",
        "/v1/senders": "get",
        "/v1/dispatchers": "get",
        "/v1/check": "post",
        "/healthz": "get",
        "/readyz": "get",
        "/metrics": "get",
    }
    paths = {path: operations for path, operations in document["paths"].items()}
    assert {path for path, method in wanted.items() if method in paths.get(path, {})} == set(wanted)


def test_the_document_names_every_form_of_ids_and_answers(far: str, http: httpx.Client) -> None:
    operation = http.get(f"{far}/openapi.json").json()["paths"]["/v1/reachability"]["post"]
    assert set(operation["requestBody"]["content"]) >= {
        "application/json",
        "text/csv",
        "text/plain",
        "application/vnd.nabar.ids",
    }
    assert set(operation["responses"]["200"]["content"]) >= {
        "application/json",
        "text/csv",
        "application/vnd.nabar.answers",
    }
    refusals = [answer for status, answer in operation["responses"].items() if status.startswith(("4", "default"))]
    assert refusals and all("application/problem+json" in answer["content"] for answer in refusals)


def test_an_answer_follows_the_document(far: str, far_schema: schemathesis.BaseSchema) -> None:
    """With a sender of the register, which generated requests rarely have."""
    operation = far_schema["/v1/reachability"]["POST"]
    ids = [*registered(), "abc"]
    case = operation.Case(query={"sender": SENDER}, body={"recipients": list(ids)}, media_type="application/json")
    response = case.call_and_validate(base_url=far)
    assert [result["outcome"] for result in response.json()["results"]] == [
        row["outcome"] for row in lookup(FAR, ids, SENDER)
    ]
