"""The JSON Schema of source files, with an independent validator: what nabar prints and takes follows it."""

from __future__ import annotations

import json
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from support import NABAR, ROOT

USAGE = 2


def printed(*arguments: str) -> str:
    return subprocess.run([NABAR, "source", *arguments], check=True, capture_output=True, text=True, timeout=30).stdout


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    schema = json.loads(printed("schema"))
    Draft202012Validator.check_schema(schema)
    assert schema == json.loads((ROOT / "docs/source.schema.json").read_text())
    return Draft202012Validator(schema)


@pytest.mark.parametrize("kind", ["far", "krr", "kivra"])
def test_templates_follow_the_schema(validator: Draft202012Validator, kind: str) -> None:
    text = printed("init", kind)
    assert text.startswith("#:schema ./source.schema.json\n")
    file = tomllib.loads(text)
    validator.validate(file)
    for table in (file, *(part for part in file.values() if isinstance(part, dict))):
        table["unknown"] = 1
        assert not validator.is_valid(file)
        del table["unknown"]
    assert validator.is_valid(file)


def test_examples_of_the_documentation_follow_the_schema(validator: Draft202012Validator) -> None:
    text = (ROOT / "docs/sources.md").read_text()
    examples = [part.split("```")[0] for part in text.split("```toml\n")[1:]]
    assert len(examples) > 1
    for example in examples:
        validator.validate(tomllib.loads(example))


FAR = {"kind": "far", "address": "https://far.example/"}
KRR = {"kind": "krr", "address": "https://krr.example/"}
KIVRA = {"kind": "kivra", "address": "https://kivra.example/"}
KEY = {"issuer": "https://issuer.example/", "client_id": "a", "key": "b"}
WRONG: list[dict[str, Any]] = [
    {"kind": "far"},
    {**FAR, "kind": "eboks"},
    {**FAR, "token": KEY},
    {**FAR, "operator": "165568402266"},
    {**FAR, "tls": {"key": "a"}},
    {**FAR, "tls": {"key": "a", "certificate": "b", "pkcs12": "c"}},
    {**FAR, "tls": {"password_env": "A"}},
    {**FAR, "limits": {"ids_per_call": 1001}},
    {**FAR, "limits": {"calls_in_flight": 0}},
    {**KRR, "token": {**KEY, "kid": "c", "certificate": "d"}},
    {**KRR, "token": {**KEY, "kid": "c", "secret_file": "d"}},
    {**KRR, "token": {"client_id": "a"}},
    KIVRA,
    {**KIVRA, "token": KEY},
    {**KIVRA, "token": {"client_id": "a", "secret_file": "b", "tenant": "c"}, "limits": {"ids_per_call": 500_001}},
]


@pytest.mark.parametrize("number", range(len(WRONG)))
def test_both_refuse_what_is_wrong(validator: Draft202012Validator, number: int, tmp_path: Path) -> None:
    file = WRONG[number]
    assert not validator.is_valid(file)
    path = tmp_path / "source.toml"
    path.write_text(toml(file))
    ran = subprocess.run([NABAR, "source", "check", str(path)], capture_output=True, text=True, timeout=30)
    assert ran.returncode == USAGE and "source.toml" in ran.stderr, ran


def toml(file: dict[str, Any]) -> str:
    def lines(table: dict[str, Any]) -> str:
        values = {name: value for name, value in table.items() if not isinstance(value, dict)}
        return "".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items())

    tables = [(name, value) for name, value in file.items() if isinstance(value, dict)]
    return lines(file) + "".join(f"[{name}]\n{lines(table)}" for name, table in tables)
