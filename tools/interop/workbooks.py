"""Workbooks as other programs make and read them: openpyxl for `.xlsx`, odfpy for `.ods`.

`python tools/interop/workbooks.py fixtures/runs` makes `list.xlsx` and `list.ods` from `fixtures/far-list.csv`.
"""

from __future__ import annotations

import csv
import datetime
import os
import sys
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

# It writes other bytes if that library is there.
os.environ["OPENPYXL_LXML"] = "False"

import odf.table
import odf.text
from odf.namespaces import TABLENS
from odf.opendocument import OpenDocumentSpreadsheet
from openpyxl import Workbook, load_workbook

HERE = Path(__file__).resolve().parents[2]

Cell = None | str | int | float | bool | datetime.date | datetime.datetime | datetime.time | datetime.timedelta


@dataclass
class Sheet:
    """A sheet: its rows, and numbers from 1 of hidden ones."""

    name: str
    rows: list[list[Cell]]
    hidden: set[int] = field(default_factory=set)
    is_hidden: bool = False
    merged: list[str] = field(default_factory=list)


def write_xlsx(path: Path, sheets: list[Sheet]) -> None:
    book = Workbook()
    book.remove(book.active)
    for sheet in sheets:
        out = book.create_sheet(sheet.name)
        for row in sheet.rows:
            out.append(row)
        for row in sheet.hidden:
            out.row_dimensions[row].hidden = True
        for cells in sheet.merged:
            out.merge_cells(cells)
        if sheet.is_hidden:
            out.sheet_state = "hidden"
    book.save(path)
    repack(path)


def write_ods(path: Path, sheets: list[Sheet]) -> None:
    book = OpenDocumentSpreadsheet()
    for sheet in sheets:
        table = odf.table.Table(name=sheet.name)
        for number, row in enumerate(sheet.rows, 1):
            out = odf.table.TableRow()
            if number in sheet.hidden:
                out.setAttrNS(TABLENS, "visibility", "collapse")
            for cell in row:
                out.addElement(ods_cell(cell))
            table.addElement(out)
        book.spreadsheet.addElement(table)
    book.save(str(path))
    repack(path)


def ods_cell(cell: Cell) -> odf.table.TableCell:
    if cell is None:
        return odf.table.TableCell()
    if isinstance(cell, bool):
        typed = {"valuetype": "boolean", "booleanvalue": str(cell).lower()}
    elif isinstance(cell, int | float):
        typed = {"valuetype": "float", "value": repr(cell)}
    elif isinstance(cell, datetime.datetime | datetime.date):
        typed = {"valuetype": "date", "datevalue": cell.isoformat()}
    elif isinstance(cell, datetime.time):
        typed = {"valuetype": "time", "timevalue": f"PT{cell.hour:02}H{cell.minute:02}M{cell.second:02}S"}
    else:
        typed = {"valuetype": "string"}
    out = odf.table.TableCell(**typed)
    for line in str(cell).split("\n"):
        out.addElement(odf.text.P(text=line))
    return out


def repack(path: Path) -> None:
    """The same archive with a fixed time, so that it is made the same every time."""
    with zipfile.ZipFile(path) as made:
        entries = [(name, made.read(name)) for name in made.namelist()]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        for name, content in entries:
            stored = zipfile.ZIP_STORED if name == "mimetype" else zipfile.ZIP_DEFLATED
            if name not in ("docProps/core.xml", "meta.xml"):
                out.writestr(zipfile.ZipInfo(name), content, stored)


def read_xlsx(path: Path) -> list[Sheet]:
    book = load_workbook(path)
    return [Sheet(sheet.title, [list(row) for row in sheet.iter_rows(values_only=True)]) for sheet in book]


def fixture_sheets() -> list[Sheet]:
    """The fixture list as a caseworker keeps it: a title, numbers as numbers, dates, a hidden row, and a sheet of notes."""
    lines = (HERE / "fixtures/far-list.csv").read_bytes().splitlines()
    texts = [line.decode("utf-8", "replace") for line in lines]
    rows = [row for row in csv.reader(texts, delimiter=";") if row and "\ufffd" not in "".join(row)][1:121]
    out: list[list[Cell]] = [["Fastighetsavgift 2026"], [], ["personnummer", "namn", "adress", "ort", "belopp", "förfaller"]]
    for number, row in enumerate(rows):
        row = ["".join(filter(str.isprintable, cell)) for cell in row] + [""] * 6
        id_: Cell = int(row[0]) if number % 3 == 0 and row[0].isdigit() else row[0]
        due = datetime.date(2026, 6, 1) + datetime.timedelta(days=number % 30)
        out.append([id_, row[1], f"{row[2]}\n{row[3]}" if number % 5 == 0 else row[2], row[4], 100 + number * 1.25, due])
    notes = Sheet("Anteckningar", [["Kontakt", "Anna"], ["Ärende", 2026]])
    return [Sheet("Utskick", out, hidden={6}, merged=["A1:D1"]), notes]


def main(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    write_xlsx(directory / "list.xlsx", fixture_sheets())
    write_ods(directory / "list.ods", fixture_sheets())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
