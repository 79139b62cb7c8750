"""The services that the tests ask, each started once."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from support import FAR, KRR, serving


@pytest.fixture(scope="session")
def far() -> Iterator[str]:
    """One register without a name: FaR at `/`."""
    with serving("far", str(FAR)) as address:
        yield address


@pytest.fixture(scope="session")
def krr() -> Iterator[str]:
    """One register without a name: KRR at `/`."""
    with serving("krr", str(KRR)) as address:
        yield address


@pytest.fixture(scope="session")
def both() -> Iterator[str]:
    """Two registers: FaR under `/se/`, KRR under `/no/`."""
    with serving("both", f"se={FAR}", f"no={KRR}") as address:
        yield address


@pytest.fixture(scope="session")
def http() -> Iterator[httpx.Client]:
    with httpx.Client(timeout=60, trust_env=False) as client:
        yield client
