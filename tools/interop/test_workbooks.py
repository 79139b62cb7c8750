"""Lists in workbooks of other programs are split row by row, with the cells that they had."""

from __future__ import annotations

import csv
import datetime
import json
import random
import subprocess
import zipfile
from pathlib import Path

import pytest

import workbooks
from runs import fixture_letters
from support import FAR, NABAR, SENDER
from workbooks import Cell, Sheet

FIXTURES = workbooks.HERE / "fixtures/runs"
OPTIONS = ["-r", str(FAR), "--sender", SENDER, "--date", "2026-06-01"]
HEADER = ["personnummer", "namn\noch mer", "adress", "belopp", "förfaller", "kl", "ok", "blandat"]


def nabar(*arguments: str, stdin: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([NABAR, *arguments], input=stdin, capture_output=True, timeout=120, check=False)


def split(list_: str, out: Path, *more: str, stdin: bytes | None = None) -> dict:
    """Splits a list, and returns the report."""
    done = nabar("split", *OPTIONS, "--max-rejected", "100%", "--json", *more, list_, "-o", str(out), stdin=stdin)
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


def rows_by_file(out: Path, report: dict) -> dict[str, list[int]]:
    """Numbers of the rows of each file, from 0, as the feedback says."""
    operators = {file["operator_id"]: file["path"] for file in report["files"] if file["operator_id"]}
    others = {file["outcome"]: file["path"] for file in report["files"] if not file["operator_id"]}
    rows: dict[str, list[int]] = {file["path"]: [] for file in report["files"]}
    with (out / "feedback.csv").open() as lines:
        for line in csv.DictReader(lines):
            path = operators[line["operator_id"]] if line["operator_id"] else others[line["outcome"]]
            rows[path].append(int(line["row"]) - 1)
    return rows


def some_rows(chance: random.Random, count: int) -> list[list[Cell]]:
    """Rows with cells of all types; ids as texts and as numbers, some missing or wrong."""
    ids = [letter.ids[0] for letter in fixture_letters() if letter.ids[0].isascii()]
    day = datetime.date(2026, 1, 1)
    rows: list[list[Cell]] = []
    for _ in range(count):
        id_: Cell = chance.choice(ids)
        if chance.random() < 0.4 and str(id_).isdigit():
            id_ = int(str(id_))
        if chance.random() < 0.1:
            id_ = chance.choice([None, "19681019980X", "1,96E+11", 3.5, True])
        other = '196810199809;x\n"197602102381";y;1;2;3;4;5;6'
        texts = ["Åsa Öberg", 'the "big" one', "a;b,c\td", "two\nlines", other, "x\n\n", "=SUM(A1)", "007", "sep=;", "  blanks ", "-", None]
        mixed: list[Cell] = [5, "5", None, "x", 2.5, datetime.date(2026, 2, 3), "2026-02-03", True, "TRUE"]
        rows.append(
            [
                id_,
                chance.choice(texts),
                chance.choice(texts),
                chance.choice([None, 0, -3, 12.5, 1e6, 198001011234, 0.1]),
                chance.choice([None, day + datetime.timedelta(days=chance.randrange(400))]),
                chance.choice([None, datetime.time(chance.randrange(24), chance.randrange(60), 1)]),
                chance.choice([None, True, False]),
                chance.choice(mixed),
            ]
        )
        if chance.random() < 0.03:
            rows.append([])
    return rows


def normal(cell: Cell) -> Cell:
    if isinstance(cell, datetime.date) and not isinstance(cell, datetime.datetime):
        return datetime.datetime(cell.year, cell.month, cell.day)
    return None if cell == "" else cell


def text(cell: Cell) -> str:
    """A cell as text, as the page about lists says."""
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return str(cell).upper()
    if isinstance(cell, float) and cell == int(cell):
        cell = int(cell)
    if isinstance(cell, datetime.datetime):
        cell = cell.date() if cell.time() == datetime.time() else cell
    return str(cell) if not isinstance(cell, datetime.datetime) else cell.isoformat()


def trimmed(row: list[Cell]) -> list[Cell]:
    cells = [normal(cell) for cell in row]
    while cells and cells[-1] is None:
        cells.pop()
    return cells


def same(written: list[Cell], row: list[Cell], form: str) -> bool:
    """Whether cells are those of a row: ids as texts, and mixed columns as texts."""
    # A formula that no program has calculated has no value.
    row = [None if form == "xlsx" and cell == "=SUM(A1)" else cell for cell in row]
    found, wanted = trimmed(written), trimmed(row)
    if len(found) != len(wanted):
        return False
    for column, (one, other) in enumerate(zip(found, wanted, strict=True)):
        if column in (0, 7):
            if text(one) != text(other):
                return False
        elif form == "ods" and column == 5 and other is not None:
            # A time of day is a duration there.
            if one != other and one != datetime.timedelta(hours=other.hour, minutes=other.minute, seconds=other.second):  # type: ignore[union-attr]
                return False
        elif form == "ods" and isinstance(other, str):
            # The library writes blanks as XML has them: several are one.
            if str(one).split() != other.split():
                return False
        elif type(one) is not type(other) and not (isinstance(one, int | float) and isinstance(other, int | float)):
            return False
        elif one != other:
            return False
    return True


def test_fixtures_are_as_made(tmp_path: Path) -> None:
    workbooks.main(tmp_path)
    for made in tmp_path.iterdir():
        assert made.read_bytes() == (FIXTURES / made.name).read_bytes(), made.name


@pytest.mark.parametrize("form", ["xlsx", "ods"])
@pytest.mark.parametrize("seed", range(8))
def test_workbooks(tmp_path: Path, seed: int, form: str) -> None:
    chance = random.Random(seed)
    rows = some_rows(chance, chance.choice([1, 2, 30, 300]) if seed else 4000)
    titles: list[list[Cell]] = chance.choice([[], [["Utskick 2026"], []]])
    hidden = {number for number in range(3, len(rows)) if chance.random() < 0.1 and trimmed((titles + [HEADER] + rows)[number - 1])}
    sheets = [Sheet("Om", [["Kontakt", "Anna"]]), Sheet("Rader", [*titles, HEADER, *rows], hidden)]
    path = tmp_path / f"list.{form}"
    (workbooks.write_xlsx if form == "xlsx" else workbooks.write_ods)(path, sheets)
    report = split(str(path), tmp_path / "out")
    formulas = sum("=SUM(A1)" in row for row in rows) + sum(row.count("=SUM(A1)") == 2 for row in rows)
    expected = {"name": "Rader", "hidden_rows": len(hidden), "empty_formulas": formulas if form == "xlsx" else 0}
    assert report["list"]["sheet"] == expected
    while rows and not rows[-1]:
        rows.pop()
    parts = rows_by_file(tmp_path / "out", report)
    assert sorted(number for numbers in parts.values() for number in numbers) == list(range(len(rows)))
    for name, numbers in parts.items():
        assert name.endswith(".xlsx")
        part, summary = workbooks.read_xlsx(tmp_path / "out" / name)
        assert part.name == "Rader" and summary.name == "Summary"
        written = part.rows[len(titles) + 1 :]
        written += [[]] * (len(numbers) - len(written))
        assert [trimmed(row) for row in part.rows[: len(titles) + 1]] == [trimmed(row) for row in [*titles, HEADER]]
        assert len(written) == len(numbers), name
        for row, number in zip(written, numbers, strict=True):
            assert same(row, rows[number], form), f"{name} {number}"
            assert not row or row[0] is None or isinstance(row[0], str)
        counts = dict(row for row in summary.rows if row[1] is not None)
        assert counts["rows"] == len(rows) and counts[name.removesuffix(".xlsx")] == len(numbers)
    # The same rows as CSV, by the same numbers; and from a stream.
    if form == "xlsx":
        csv_report = split("-", tmp_path / "csv", "--csv", stdin=path.read_bytes())
        assert csv_report["list"]["digest"] == report["list"]["digest"]
        assert rows_by_file(tmp_path / "csv", csv_report) == {name.replace(".xlsx", ".csv"): numbers for name, numbers in parts.items()}
        for name, numbers in parts.items():
            with (tmp_path / "csv" / name.replace(".xlsx", ".csv")).open(encoding="utf-8-sig", newline="") as lines:
                records = list(csv.reader(lines, delimiter=";"))[len(titles) + 1 :]
            for record, number in zip(records, numbers, strict=True):
                cells = ["" if cell == "=SUM(A1)" else text(cell) for cell in rows[number]]
                assert record == (cells + [""] * 8)[:8]


@pytest.mark.parametrize("form", ["xlsx", "ods"])
def test_outcomes_are_those_of_a_list(tmp_path: Path, form: str) -> None:
    rows = workbooks.fixture_sheets()[0].rows[3:]
    with (tmp_path / "list.csv").open("w", newline="") as out:
        csv.writer(out, delimiter=";").writerows([["personnummer", "namn"], *([text(row[0]), "x"] for row in rows)])
    split(str(tmp_path / "list.csv"), tmp_path / "of-list")
    split(str(FIXTURES / f"list.{form}"), tmp_path / "of-sheet")
    assert (tmp_path / "of-sheet/feedback.csv").read_text() == (tmp_path / "of-list/feedback.csv").read_text()


def test_sheets_are_chosen(tmp_path: Path) -> None:
    rows: list[list[Cell]] = [["personnummer", "namn"], ["196810199809", "a"]]
    other: list[list[Cell]] = [["Kontakt", "Anna"]]
    path = tmp_path / "a.xlsx"

    def check(*sheets: Sheet, more: tuple[str, ...] = ()) -> tuple[int, str]:
        workbooks.write_xlsx(path, list(sheets))
        done = nabar("check", *OPTIONS, *more, str(path))
        return done.returncode, done.stderr.decode()

    assert 'sheet "B"' in check(Sheet("A", other), Sheet("B", rows))[1]
    assert 'sheet "B"' in check(Sheet("A", rows, is_hidden=True), Sheet("B", rows))[1]
    assert 'sheet "A"' in check(Sheet("A", rows, is_hidden=True), Sheet("B", other))[1]
    code, said = check(Sheet("A", rows), Sheet("B", rows))
    assert code == 2 and '"A", "B"' in said and "--sheet" in said
    assert 'sheet "A"' in check(Sheet("A", rows), Sheet("B", rows), more=("--sheet", "A"))[1]
    code, said = check(Sheet("A", rows), more=("--sheet", "C"))
    assert code == 2 and '"A"' in said
    code, said = check(Sheet("A", other), Sheet("B", other))
    assert code == 2 and "no sheet has a column of ids" in said
    assert check(Sheet("A", [["personnummer"], ["196810199809"], [None], ["196810199809"]]))[0] == 0


def test_sheets_of_notes_and_names_like_ours(tmp_path: Path) -> None:
    rows: list[list[Cell]] = [["personnummer", "namn"], ["196810199809", "a"]]
    for name in ("Summary", "SUMMARY", "Rader"):
        path = tmp_path / f"{name}.xlsx"
        workbooks.write_xlsx(path, [Sheet(name, rows), Sheet("Blad2", []), Sheet("Läs", [["Läs mig"], ["x"]])])
        report = split(str(path), tmp_path / name)
        assert report["list"]["sheet"]["name"] == name
        part, summary = workbooks.read_xlsx(tmp_path / name / "paper.xlsx")
        assert part.name == name and summary.name == ("Summary" if name == "Rader" else "nabar")
    done = nabar("check", *OPTIONS, "--sheet", "rader", str(tmp_path / "Rader.xlsx"))
    assert done.returncode == 0, "names of sheets differ in more than case"
    (tmp_path / "a.csv").write_text("personnummer\n196810199809\n")
    done = nabar("check", *OPTIONS, "--sheet", "A", str(tmp_path / "a.csv"))
    assert done.returncode == 2 and b"in no workbook" in done.stderr


def test_formulas_dates_and_merged_titles(tmp_path: Path) -> None:
    book = workbooks.Workbook()
    sheet = book.active
    sheet.append(["Personnummer", "Namn", "Adress", None, None])
    sheet.append([None, None, "Gata", "Postnr", "Ort"])
    sheet.merge_cells("C1:E1")
    for number in range(20):
        sheet.append([196810199809, "a", f"Gatan {number}", "12345", '="x"'])
        sheet.cell(sheet.max_row, 1).number_format = "yyyy-mm-dd"
    sheet.append([196810199809, 2958466, -1, -0.5, 46174])
    for column in range(2, 6):
        sheet.cell(sheet.max_row, column).number_format = "yyyy-mm-dd"
    book.save(tmp_path / "a.xlsx")
    done = nabar("split", *OPTIONS, "--json", str(tmp_path / "a.xlsx"), "-o", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr.decode()
    assert b"formulas have no saved value" in done.stderr
    report = json.loads(done.stdout)
    assert report["list"]["sheet"]["empty_formulas"] == 20 and report["outcomes"]["rejected"] == 1
    last = [row for file in report["files"] if file["rows"] > 1 for row in workbooks.read_xlsx(tmp_path / "out" / file["path"])[0].rows][-1]
    # Postcodes are texts in its column.
    assert last == ["196810199809", 2958466, -1, "-0.5", datetime.datetime(2026, 6, 1)]


@pytest.mark.parametrize("name", ["xl/worksheets/sheet1.xml", "xl/workbook.xml", "xl/sharedStrings.xml", "[Content_Types].xml"])
def test_damaged_workbooks_are_refused(tmp_path: Path, name: str) -> None:
    whole = zipfile.ZipFile(FIXTURES / "list.xlsx")
    for change in ("missing", "cut", "text"):
        with zipfile.ZipFile(tmp_path / "a.xlsx", "w") as out:
            for entry in whole.namelist():
                content = whole.read(entry)
                if entry == name:
                    if change == "missing":
                        continue
                    content = content[: len(content) // 2] if change == "cut" else content.replace(b"<", b"&", 20)
                out.writestr(entry, content)
        done = nabar("split", *OPTIONS, str(tmp_path / "a.xlsx"), "-o", str(tmp_path / "out"))
        assert done.returncode in (0, 2, 3), done.stderr.decode()
        if name.endswith(("sheet1.xml", "workbook.xml")):
            assert done.returncode != 0 and not (tmp_path / "out").exists()
        assert b"panicked" not in done.stderr and b"19" + b"68" not in done.stderr


def test_other_files_are_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "old.xls").write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600)
    done = nabar("check", *OPTIONS, str(tmp_path / "old.xls"))
    assert done.returncode == 3 and b".xlsx" in done.stderr
    done = nabar("check", *OPTIONS, "--id-at", "0:12", str(FIXTURES / "list.xlsx"))
    assert done.returncode == 3 and b"--id-at" in done.stderr
    split(str(FIXTURES / "list.xlsx"), tmp_path / "out")
    done = nabar("recheck", "--source", "far.toml", str(tmp_path / "out"), "-o", str(tmp_path / "late"))
    assert done.returncode == 2 and b"--csv" in done.stderr
