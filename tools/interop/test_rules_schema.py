"""The JSON Schema of channel rules, with an independent validator: the ready-made rules follow it, and both refuse what is
wrong."""

from __future__ import annotations

import copy
import datetime
import json
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from support import NABAR, ROOT

USAGE = 2
RULES = sorted((ROOT / "fixtures/rules").glob("*.toml"))


def as_json(value: Any) -> Any:
    """A value of TOML as JSON has it: dates are texts."""
    match value:
        case dict():
            return {name: as_json(one) for name, one in value.items()}
        case list():
            return [as_json(one) for one in value]
        case datetime.date():
            return value.isoformat()
    return value


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    ran = subprocess.run([NABAR, "rules", "schema"], check=True, capture_output=True, text=True, timeout=30)
    schema = json.loads(ran.stdout)
    Draft202012Validator.check_schema(schema)
    assert schema == json.loads((ROOT / "docs/rules.schema.json").read_text())
    return Draft202012Validator(schema)


@pytest.mark.parametrize("path", RULES, ids=lambda path: path.stem)
def test_ready_made_rules_follow_the_schema(validator: Draft202012Validator, path: Path) -> None:
    validator.validate(as_json(tomllib.loads(path.read_text())))


def test_examples_of_the_documentation_follow_the_schema(validator: Draft202012Validator) -> None:
    text = (ROOT / "docs/channels.md").read_text()
    examples = [part.split("```")[0] for part in text.split("```toml\n")[1:]]
    assert examples
    for example in examples:
        validator.validate(as_json(tomllib.loads(example)))


FILE = {"channel": [{"name": "print"}], "rule": [{"name": "a", "channel": "print"}, {"name": "b", "channel": "print"}]}
CONDITIONS: list[tuple[str, str, bool]] = [
    ('outcome = "digital"', '{"outcome": "digital"}', True),
    ('outcome = "rejected"', '{"outcome": "rejected"}', False),
    ("outcome = []", '{"outcome": []}', False),
    ('reason = ["pending", "reserved"]', '{"reason": ["pending", "reserved"]}', True),
    ('recipient = "child"', '{"recipient": "child"}', False),
    ("first_digit = [2, 5]", '{"first_digit": [2, 5]}', True),
    ("first_digit = 0", '{"first_digit": 0}', False),
    ("age = {}", '{"age": {}}', False),
    ("age = { below = 18 }", '{"age": {"below": 18}}', True),
    ("age = { above = 18 }", '{"age": {"above": 18}}', False),
    ('age = "old"', '{"age": "old"}', False),
    ('cell = { column = "a" }', '{"cell": {"column": "a"}}', False),
    ('cell = { is = "a" }', '{"cell": {"is": "a"}}', False),
    ('cell = { column = 3, is = ["a", 1] }', '{"cell": {"column": 3, "is": ["a", 1]}}', True),
    ("any = []", '{"any": []}', False),
    ("any = [{ any = [{ not = { age = { below = 1 } } }] }]", '{"any": [{"any": [{"not": {"age": {"below": 1}}}]}]}', True),
    ('weather = "fine"', '{"weather": "fine"}', False),
]


@pytest.mark.parametrize("toml, when, valid", CONDITIONS, ids=[toml for toml, _, _ in CONDITIONS])
def test_nabar_and_the_schema_agree(
    validator: Draft202012Validator, tmp_path: Path, toml: str, when: str, valid: bool
) -> None:
    file = copy.deepcopy(FILE)
    file["rule"][0]["when"] = json.loads(when)
    assert validator.is_valid(file) == valid
    path = tmp_path / "rules.toml"
    path.write_text(
        f'[[channel]]\nname = "print"\n[[rule]]\nname = "a"\nchannel = "print"\n[rule.when]\n{toml}\n'
        '[[rule]]\nname = "b"\nchannel = "print"\n'
    )
    ran = subprocess.run([NABAR, "rules", "check", str(path)], capture_output=True, text=True, timeout=30)
    assert ran.returncode == (0 if valid else USAGE), ran
