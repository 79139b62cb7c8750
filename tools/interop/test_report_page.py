"""`report.html` for readers with a screen reader, low vision or a printer without colours: axe-core looks at pages of every kind."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from support import NABAR, ROOT

PACKAGES = ROOT / "target/interop-node"
AXE = ROOT / "tools/interop/page/axe.js"
LISTS = {"far": ROOT / "fixtures/far-list.csv", "krr": ROOT / "fixtures/krr-list.csv"}
LEAST_CONTRAST = 4.5  # of WCAG 2.2 AA


def page(directory: Path, kind: str, *more: str) -> Path:
    output = directory / "page.html"
    register = ROOT / f"target/interop/{kind}/{kind}.nabar"
    sender = ["--sender", "164821000025"] if kind == "far" else []
    arguments = [NABAR, "check", "-q", "-r", str(register), *sender, "--date", "2026-06-01", "--html", str(output), *more]
    ran = subprocess.run(arguments, capture_output=True, text=True, timeout=60)
    assert ran.returncode in (0, 3), ran.stderr
    return output


@pytest.mark.parametrize("language", ["en", "sv"])
@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("far", ["--postage", "8.50", "--digital-cost", "0.90", "--currency", "SEK", "--group-by", "ort", "--group-by", "age"]),
        ("far", ["--rules", "RULES", "--group-by", "age", "--duplicates", "set-aside"]),
        ("far", ["--max-rejected", "0"]),
        ("krr", []),
    ],
)
def test_axe_finds_nothing(tmp_path: Path, kind: str, more: list[str], language: str) -> None:
    (tmp_path / "protected.csv").write_text("id\n196810199809\n")
    rules = tmp_path / "rules.toml"
    rules.write_text((ROOT / "fixtures/rules/first.toml").read_text())
    more = [str(rules) if one == "RULES" else one for one in more]
    html = page(tmp_path, kind, str(LISTS[kind]), "--lang", language, *more)
    ran = subprocess.run(["node", str(AXE), str(PACKAGES), str(html)], capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    results = json.loads(ran.stdout)
    assert results["found"] == []
    assert results["passes"] > 10


def test_axe_would_find_something(tmp_path: Path) -> None:
    html = tmp_path / "bad.html"
    html.write_text("<html><body><img src=x><table><tr><td>1</td></tr></table></body></html>")
    ran = subprocess.run(["node", str(AXE), str(PACKAGES), str(html)], capture_output=True, text=True, timeout=120)
    assert {"document-title", "html-has-lang", "image-alt"} <= {one["id"] for one in json.loads(ran.stdout)["found"]}


def luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(2 * one for one in colour[1:])
    parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_colours_can_be_read(tmp_path: Path) -> None:
    style = page(tmp_path, "far", str(LISTS["far"])).read_text().split("<style>")[1].split("</style>")[0]
    schemes = [dict(re.findall(r"--(\w+): (#[0-9a-f]+)", part)) for part in re.findall(r":root \{(.*?)\}", style, re.S)]
    assert len(schemes) == 3  # light, dark, print
    for scheme in schemes:
        for name in set(scheme) - {"page", "line"}:
            one, other = sorted((luminance(scheme[name]), luminance(scheme["page"])))
            assert (other + 0.05) / (one + 0.05) >= LEAST_CONTRAST, (name, scheme)
