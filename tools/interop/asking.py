"""Runs nabar against a stand-in: source files, commands, and what holds for every command."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from oracle import List
from support import NABAR, Row

REFERENCE = "2026-06-01"
SECONDS_MAX = 60
PRIVATE = 0o600


@dataclass
class Ran:
    code: int
    out: str
    error: str


@dataclass
class Job:
    """A directory with a source file and a list, where nabar runs."""

    directory: Path
    mailing: List
    source: Row
    options: list[str] = field(default_factory=list)
    """Options of every job, such as the sender."""

    def __post_init__(self) -> None:
        self.path = self.mailing.write(self.directory / "list.csv")
        self.write_source()

    @property
    def out(self) -> Path:
        return self.directory / "out"

    @property
    def run_file(self) -> Path:
        return self.directory / "run.nabar"

    @property
    def source_file(self) -> Path:
        return self.directory / "source.toml"

    def write_source(self, **tables: Any) -> None:
        self.source = merged(self.source, tables)
        self.source_file.write_text(toml(self.source))

    def command(self, name: str, *more: str) -> list[str]:
        options = ["--source", str(self.source_file), "--date", REFERENCE, *self.options]
        to = {"split": ["-o", str(self.out)], "resolve": ["-o", str(self.run_file)]}.get(name, [])
        return [NABAR, name, *options, *to, *more, str(self.path)]

    def run(self, name: str, *more: str) -> Ran:
        """A command that asks. Checks that its texts and reports have no id."""
        return self.nabar(*self.command(name, *more)[1:])

    def nabar(self, *arguments: str) -> Ran:
        command = [NABAR, *arguments]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=SECONDS_MAX, stdin=subprocess.DEVNULL, **self.place()
        )
        ran = Ran(done.returncode, done.stdout, done.stderr)
        self.check_silent(ran)
        return ran

    def place(self) -> Row:
        """The job's directory, also for temporary files: nothing is left elsewhere unseen."""
        return {"cwd": self.directory, "env": {**os.environ, "TMPDIR": str(self.directory)}}

    def start(self, name: str, *more: str) -> subprocess.Popen[str]:
        """A command that asks, to be ended by the test."""
        return subprocess.Popen(
            self.command(name, *more),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **self.place(),
        )

    def ended(self, process: subprocess.Popen[str]) -> Ran:
        out, error = process.communicate(timeout=SECONDS_MAX)
        ran = Ran(process.returncode, out, error)
        self.check_silent(ran)
        return ran

    def check_silent(self, ran: Ran) -> None:
        """No id in what a command prints, in reports, or in the name of a file."""
        ids = {id for id in self.mailing.identities() if id}
        ids |= {id[2:] for id in ids if len(id) == 12}
        texts = {"output": ran.out, "error": ran.error}
        for path in self.directory.rglob("*"):
            texts[f"name of {path.suffix} file"] = path.name
            if path.name in ("report.json", "report.html"):
                texts[path.name] = path.read_text()
        for name, text in texts.items():
            found = set(re.findall(r"\d{10,12}", text)) & ids
            assert not found, f"{len(found)} ids in the {name}"

    def works(self, name: str, *more: str) -> Ran:
        ran = self.run(name, *more)
        assert ran.code == 0, f"exit code {ran.code}: {ran.error}"
        return ran

    def fails(self, name: str, code: int, *words: str, more: Iterable[str] = ()) -> Ran:
        ran = self.run(name, *more)
        assert ran.code == code, f"exit code {ran.code}: {ran.error}"
        for word in words:
            assert word in ran.error, ran.error
        return ran

    def files(self) -> set[str]:
        """What is in the directory but for the test's own files."""
        given = {"list.csv", "source.toml", "tls"}
        return {path.name for path in self.directory.iterdir()} - given

    def forget(self) -> None:
        """Removes what an earlier job has left."""
        for path in [self.directory / name for name in self.files()]:
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def check_private(self) -> None:
        """Files that nabar made are readable by their owner only."""
        for path in self.directory.rglob("*"):
            if path.is_file() and path.name not in ("list.csv", "source.toml") and "tls" not in path.parts:
                assert path.stat().st_mode & 0o777 == PRIVATE, path.name


def merged(base: Mapping[str, Any], more: Mapping[str, Any]) -> Row:
    result = dict(base)
    for name, value in more.items():
        both = isinstance(value, dict) and isinstance(result.get(name), dict)
        result[name] = merged(result[name], value) if both else value
        if value is None:
            del result[name]
    return result


def toml(table: Row) -> str:
    def value(part: Any) -> str:
        if isinstance(part, list):
            return f"[{', '.join(map(value, part))}]"
        return str(part) if isinstance(part, int) else f'"{part}"'

    plain = [f"{name} = {value(part)}\n" for name, part in table.items() if not isinstance(part, dict)]
    tables = [f"\n[{name}]\n{toml(part)}" for name, part in table.items() if isinstance(part, dict)]
    return "".join(plain + tables)
