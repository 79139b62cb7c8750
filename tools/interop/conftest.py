"""The services under test, each started once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from operating import DISPATCHER, OTHER_DISPATCHER
from running import Certificates
from support import FAR, KRR, SENDER, serving

# The service refuses keys that others can read.
os.umask(0o077)


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


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path / "c", SENDER, DISPATCHER, OTHER_DISPATCHER)
