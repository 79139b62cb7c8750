"""nabar asks nabar: a register of eight million recipients behind mutual TLS, asked for all of its recipients. What is split with
the answers is what is split with the register itself."""

from __future__ import annotations

import csv
import filecmp
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from running import Certificates, running
from support import DATE, NABAR, ROOT

RECIPIENTS = 8_000_000
ROWS = 8_000_000
IDS_PER_CALL = 1000
SECONDS_MAX = 300
FAILED = 1


def run(*command: str, code: int = 0) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS_MAX, stdin=subprocess.DEVNULL)
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A register and a list of eight million rows, with 1 % of damaged ones. Removed at the end: two gigabytes."""
    made = tmp_path_factory.mktemp("own")
    build = ("cargo", "build", "--quiet", "--profile", "quick", "--manifest-path", f"{ROOT}/Cargo.toml")
    run(*build, "--package", "nabar-generate")
    generate = f"{ROOT}/target/quick/nabar-generate"
    run(generate, "far", "--recipients", str(RECIPIENTS), "-o", f"{made}/extract")
    run(generate, "list", "--extract", f"{made}/extract", "--rows", str(ROWS), "-o", f"{made}/list.csv")
    run(NABAR, "build", f"{made}/extract", "-o", f"{made}/far.nabar")
    (made / "extract/recipients.csv").unlink()
    yield made
    shutil.rmtree(made)


def sender(directory: Path) -> str:
    with (directory / "extract/senders.csv").open(newline="") as file:
        return next(csv.DictReader(file))["id"]


def split(directory: Path, sender: str, *options: str) -> Path:
    out = directory / "out"
    run(NABAR, "split", *options, "--date", DATE, "--sender", sender, f"{directory}/list.csv", "-o", str(out))
    return out


def test_a_register_of_eight_million_behind_mutual_tls(directory: Path) -> None:
    own = sender(directory)
    tls = Certificates(directory / "tls", own).directory
    config = f"""
[[register]]
path = "{directory}/far.nabar"
[tls]
certificate = "{tls}/server.pem"
key = "{tls}/server.key"
client_ca = "{tls}/ca.pem"
"""
    source, answers = directory / "far.toml", directory / "run.nabar"

    def write_source(address: str, client: str) -> None:
        source.write_text(f"""
kind = "far"
address = "{address}/Recipient/v3"
[tls]
ca = "{tls}/ca.pem"
{client}
[limits]
calls_in_flight = 8
give_up_after = "1s"
""")

    with running(directory, config) as service:
        write_source(service.address, "")
        resolve = (NABAR, "resolve", "--source", str(source), "--sender", own, "--json", "-o", str(answers))
        error = run(*resolve, f"{directory}/list.csv", code=FAILED)
        assert "client certificate" in error
        write_source(service.address, f'certificate = "{tls}/{own}.pem"\nkey = "{tls}/{own}.key"')
        said = json.loads(run(*resolve, f"{directory}/list.csv"))
    assert said["retries"] == 0 and said["ids"] > RECIPIENTS / 2
    assert said["calls"] == -(-said["ids"] // IDS_PER_CALL)
    asked = split(directory, own, "-r", str(answers))
    asked.rename(directory / "asked")
    whole = split(directory, own, "-r", f"{directory}/far.nabar")
    names = sorted(path.name for path in whole.iterdir())
    assert names == sorted(path.name for path in (directory / "asked").iterdir())
    same = [name for name in names if filecmp.cmp(whole / name, directory / "asked" / name, shallow=False)]
    assert set(names) - set(same) <= {"report.json", "report.html"}, set(names) - set(same)
