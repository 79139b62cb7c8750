"""Print runs that other programs make are split as naive readers say, letter by letter and byte by byte."""

from __future__ import annotations

import csv
import gzip
import json
import os
import random
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

import runs
from runs import Cut, Letter
from support import FAR, KRR, NABAR, SENDER

FIXTURES = runs.HERE / "fixtures/runs"
OPTIONS = ["-r", str(FAR), "--sender", SENDER, "--date", "2026-06-01", "--max-rejected", "100%", "-q"]


def split(run: Path, description: Path, out: Path, *more: str, stdin: bytes | None = None) -> dict[str, list[int]]:
    """Splits a run. The numbers of the letters of each file, from 0, as the feedback says."""
    list_ = "-" if stdin is not None else str(run)
    command = [NABAR, "split", *OPTIONS, "--run", str(description), *more, list_, "-o", str(out)]
    done = subprocess.run(command, input=stdin, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr.decode()
    report = json.loads((out / "report.json").read_text())
    operators = {file["operator_id"]: file["path"] for file in report["files"] if file["operator_id"]}
    others = {file["outcome"]: file["path"] for file in report["files"] if not file["operator_id"]}
    letters: dict[str, list[int]] = {file["path"]: [] for file in report["files"]}
    with (out / "feedback.csv").open() as lines:
        for line in csv.DictReader(lines):
            path = operators[line["operator_id"]] if line["operator_id"] else others[line["outcome"]]
            letters[path].append(int(line["letter"]) - 1)
    assert sorted(number for numbers in letters.values() for number in numbers) == list(range(report["list"]["rows"]))
    return letters


def outcomes_of_list(letters: list[Letter], folder: Path) -> list[str]:
    """The outcome of each in a split of a list with the same ids, one row a letter."""
    list_ = folder / "ids.csv"
    list_.write_text("personnummer;x\n" + "".join(f"{letter.ids[0] if letter.ids else ''};1\n" for letter in letters))
    out = folder / "of-list"
    command = [NABAR, "split", *OPTIONS, "--id-column", "personnummer", str(list_), "-o", str(out)]
    subprocess.run(command, check=True, timeout=120, capture_output=True)
    with (out / "feedback.csv").open() as lines:
        return [line["recipient_id"] + line["outcome"] + line["operator_id"] for line in csv.DictReader(lines)]


def feedback(out: Path) -> list[dict[str, str]]:
    with (out / "feedback.csv").open() as lines:
        return list(csv.DictReader(lines))


def check_parts(run: bytes, out: Path, letters: dict[str, list[int]], cut: Callable[[bytes], Cut]) -> None:
    """Each file has what is around the letters, and the bytes of its letters in their order."""
    whole = cut(run)
    assert whole.before + b"".join(whole.letters) + whole.after == run
    for path, numbers in letters.items():
        part = cut((out / path).read_bytes())
        assert part.letters == [whole.letters[number] for number in numbers], path
        assert len(part.before) == len(whole.before) and len(part.after) == len(whole.after), path
    at = [int(line["bytes"]) for line in feedback(out)]
    assert at == [len(letter) for letter in whole.letters]


def some_ids(chance: random.Random, ids: list[str]) -> list[str]:
    """Mostly one id; none, two, the same one twice, or one that cannot be read."""
    one = chance.choice(ids)
    kind = chance.randrange(20)
    return {0: [], 1: [one, chance.choice(ids)], 2: [one, one], 3: [""], 4: ["19681019980X"], 5: [one, ""]}.get(kind, [one])


def some_letters(chance: random.Random, count: int, longest: int = 4) -> list[Letter]:
    ids = [letter.ids[0] for letter in runs.fixture_letters() if letter.ids[0].isascii()]
    texts = ["Storgatan 1", "a line, with \u00e5\u00e4\u00f6", "<&>", "10 no type", "90"]
    return [
        Letter(
            some_ids(chance, ids),
            [chance.choice(texts) for _ in range(chance.randrange(longest))],
            [chance.randrange(10**6) for _ in range(chance.randrange(3))],
        )
        for _ in range(count)
    ]


def test_fixtures_are_as_made(tmp_path: Path) -> None:
    runs.main(tmp_path)
    for made in tmp_path.iterdir():
        assert made.read_bytes() == (FIXTURES / made.name).read_bytes(), made.name


def test_letters_have_the_outcomes_of_a_list_of_their_ids(tmp_path: Path) -> None:
    letters = runs.fixture_letters()
    letters = [Letter([letter.ids[0].replace("\u2013", "-")], letter.lines, letter.amounts) for letter in letters]
    expected = outcomes_of_list(letters, tmp_path)
    for name, run, description in [
        ("a.dat", runs.records(letters), "night.toml"),
        ("a.xml", runs.xml(letters), "bundle.toml"),
        ("a.afp", runs.afp(letters), "afp.toml"),
    ]:
        (tmp_path / name).write_bytes(run)
        split(tmp_path / name, FIXTURES / description, tmp_path / f"out-{name}")
        found = [line["recipient_id"] + line["outcome"] + line["operator_id"] for line in feedback(tmp_path / f"out-{name}")]
        assert found == expected, name


@pytest.mark.parametrize("seed", range(12))
def test_records(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    count = chance.choice([0, 1, 2, 30, 300]) if seed else 30_000
    letters = some_letters(chance, count)
    charset, end = chance.choice([("cp1252", "\n"), ("cp1252", "\r\n"), ("utf-8", "\n"), ("cp500", "\x85")])
    run = runs.records(letters, charset, end)
    name = {"cp1252": "iso-8859-1", "utf-8": "utf-8", "cp500": "ebcdic-500"}[charset]
    description = (FIXTURES / "night.toml").read_text().replace("iso-8859-1", name)
    description = description.replace('id_in = "10"', 'id_in = ["10", "11"]')
    (tmp_path / "run.toml").write_text(description)
    (tmp_path / "night.dat").write_bytes(run)
    parts = split(tmp_path / "night.dat", tmp_path / "run.toml", tmp_path / "out")

    def cut(part: bytes) -> Cut:
        return runs.cut_records(part, charset, end)

    check_parts(run, tmp_path / "out", parts, cut)
    for path, numbers in parts.items():
        mine = [letters[number] for number in numbers]
        said = cut((tmp_path / "out" / path).read_bytes()).after
        assert said == cut(runs.records(mine, charset, end)).after, path
    # Unpacked from a stream, the files are the same.
    split(Path("night.dat"), tmp_path / "run.toml", tmp_path / "of-stream", stdin=gzip.compress(run, 1))
    for path in parts:
        ending = Path(path).with_suffix(".txt").name
        assert (tmp_path / "of-stream" / ending).read_bytes() == (tmp_path / "out" / path).read_bytes(), path


@pytest.mark.parametrize("seed", range(8))
def test_records_of_fixed_length(tmp_path: Path, seed: int) -> None:
    chance = random.Random(100 + seed)
    letters = some_letters(chance, chance.choice([1, 40, 5000]))
    charset = chance.choice(["cp500", "cp1252"])
    lines = runs.records(letters, "utf-8").decode().splitlines()
    run = "".join(f"{line:<70.70}" for line in lines).encode(charset)
    description = (FIXTURES / "night.toml").read_text().replace('id_in = "10"', 'id_in = ["10", "11"]')
    description = description.replace("iso-8859-1", {"cp500": "ebcdic-500", "cp1252": "iso-8859-1"}[charset])
    (tmp_path / "run.toml").write_text(description.replace("record_type", "record_length = 70\nrecord_type"))
    (tmp_path / "night.dat").write_bytes(run)
    parts = split(tmp_path / "night.dat", tmp_path / "run.toml", tmp_path / "out")

    def cut(part: bytes) -> Cut:
        text = part.decode(charset)
        found = runs.cut_records("".join(text[at : at + 70] + "\n" for at in range(0, len(text), 70)).encode())
        bare = [letter.decode("utf-8").replace("\n", "").encode(charset) for letter in found.letters]
        return Cut(found.before[:-1].decode().replace("\n", "").encode(charset), bare, found.after.decode().replace("\n", "").encode(charset))

    check_parts(run, tmp_path / "out", parts, cut)


@pytest.mark.parametrize("seed", range(12))
def test_xml(tmp_path: Path, seed: int) -> None:
    chance = random.Random(200 + seed)
    letters = some_letters(chance, chance.choice([1, 2, 30, 300]) if seed else 12_000)
    run = runs.xml(letters, chance.choice(["", "b"]), chance)
    (tmp_path / "a.xml").write_bytes(run)
    parts = split(tmp_path / "a.xml", FIXTURES / "bundle.toml", tmp_path / "out")
    _, _, whole = runs.read_xml(run)
    assert len(whole) == len(letters)
    for path, numbers in parts.items():
        attribute, element, part = runs.read_xml((tmp_path / "out" / path).read_bytes())
        assert part == [whole[number] for number in numbers], path
        assert attribute == element == len(numbers), path
    for line, letter in zip(feedback(tmp_path / "out"), letters, strict=True):
        different = {"".join(filter(str.isdigit, id_)) for id_ in letter.ids if id_}
        reason = "no_id" if not letter.ids else "more_than_one_identity" if len(different) > 1 else None
        assert reason is None or line["reason"] == reason
    split(Path("a.xml"), FIXTURES / "bundle.toml", tmp_path / "of-stream", stdin=run)
    for path in parts:
        assert (tmp_path / "of-stream" / path).read_bytes() == (tmp_path / "out" / path).read_bytes(), path


@pytest.mark.parametrize("seed", range(12))
def test_afp(tmp_path: Path, seed: int) -> None:
    chance = random.Random(300 + seed)
    letters = some_letters(chance, chance.choice([1, 2, 30, 300]) if seed else 12_000, 6)
    run = runs.afp(letters, chance, line_ends=chance.random() < 0.3)
    (tmp_path / "a.afp").write_bytes(run)
    parts = split(tmp_path / "a.afp", FIXTURES / "afp.toml", tmp_path / "out")
    check_parts(run, tmp_path / "out", parts, runs.cut_afp)
    split(Path("a.afp"), FIXTURES / "afp.toml", tmp_path / "of-stream", stdin=run)
    for path in parts:
        assert (tmp_path / "of-stream" / path).read_bytes() == (tmp_path / "out" / path).read_bytes(), path


@pytest.mark.parametrize("name", ["night.dat", "bundle.xml", "night.afp"])
def test_descriptions_are_proposed(tmp_path: Path, name: str) -> None:
    done = subprocess.run([NABAR, "run", "describe", str(FIXTURES / name)], capture_output=True, timeout=60, check=True)
    (tmp_path / "run.toml").write_bytes(done.stdout)
    proposed = split(FIXTURES / name, tmp_path / "run.toml", tmp_path / "proposed")
    known = {"night.dat": "night.toml", "bundle.xml": "bundle.toml", "night.afp": "afp.toml"}[name]
    assert proposed == split(FIXTURES / name, FIXTURES / known, tmp_path / "known")
    ids = [letter.ids[0] for letter in runs.fixture_letters()]
    assert not any(id_ in done.stderr.decode() for id_ in ids if len(id_) > 9), "ids are masked"


KRR_OPTIONS = ["-r", str(KRR), "--date", "2026-06-01", "--max-rejected", "100%", "-q"]


@pytest.mark.parametrize("seed", range(4))
def test_mottakersplitt(tmp_path: Path, seed: int) -> None:
    chance = random.Random(500 + seed)
    known = [number for _, number in runs.fixture_recipients() if number]
    kinds = [*known, None, "12345678901", "", "02864715225"]
    recipients = [(f"k <{n}>" if n % 9 else " ", chance.choice(kinds)) for n in range([3000, 1, 40, 400][seed])]
    (tmp_path / "m.xml").write_bytes(runs.mottakersplitt(recipients, ["", "dp"][seed % 2]))
    (tmp_path / "m.xml.gz").write_bytes(gzip.compress((tmp_path / "m.xml").read_bytes()))
    (tmp_path / "run.toml").write_text('form = "mottakersplitt"\n')
    results = []
    for name in ("m.xml", "m.xml.gz"):
        out = tmp_path / f"out-{name}"
        command = [NABAR, "split", *KRR_OPTIONS, "--run", str(tmp_path / "run.toml"), str(tmp_path / name), "-o", str(out)]
        subprocess.run(command, check=True, timeout=120, capture_output=True)
        results.append(runs.ElementTree.parse(out / "mottakersplitt-resultat.xml").getroot())
        said = json.loads((out / "report.json").read_text())["list"]["run"]["result"]
    root, of = results[0], f"{{{runs.DIGIPOST}}}"
    assert root.tag == f"{of}mottakersplitt-resultat" and root.findtext(f"{of}status") == "SUKSESS"
    assert [child.tag for child in root[1]] == [f"{of}{n}" for n in ("ref-avsender-id", "ref-jobb-id", "start-tid", "slutt-tid")]
    assert root[1][0].text == "4711" and root[1][1].text == "skatt-2026.1"
    found = [[(child.tag.removeprefix(of), child.text or "") for child in one] for one in root[3]]
    assert found == [[(child.tag.removeprefix(of), child.text or "") for child in one] for one in results[1][3]]
    expected = []
    for (customer, _), line in zip(recipients, feedback(tmp_path / "out-m.xml"), strict=True):
        status = {"984661185": "DIGIPOST"}.get(line["operator_id"], "IDENTIFISERT")
        if line["reason"] in ("not_registered", "no_id", "empty"):
            status = "UIDENTIFISERT"
        elif line["outcome"] == "rejected":
            status = "UGYLDIG"
        why = "UGYLDIG_FOEDSELSNUMMER" if status == "UGYLDIG" else None
        if not customer.strip():
            status, why = "UGYLDIG", "UGYLDIG_KUNDEID"
        expected.append([("kunde-id", customer.strip()), ("status", status), *([("ugyldig-grunn", why)] if why else [])])
    assert found == expected
    counts = {child.tag.removeprefix(of): int(child.text or "") for child in root[2]}
    of_status = {name: sum(one[1][1] == name.upper() for one in found) for name in ("digipost", "identifisert", "uidentifisert", "ugyldig")}
    assert counts == {"total": len(found), "digipost-vask": 0, "identifisert-vask": 0, "uidentifisert-flere-treff": 0, **of_status}
    assert [said[name] for name in ("digipost", "identified", "unidentified", "invalid")] == list(of_status.values())


@pytest.mark.parametrize("cut_at", [0.2, 0.6, 0.99])
@pytest.mark.parametrize("name", ["night.dat", "bundle.xml", "night.afp"])
def test_runs_that_are_cut_off_are_refused(tmp_path: Path, name: str, cut_at: float) -> None:
    run = (FIXTURES / name).read_bytes()
    short = tmp_path / name
    short.write_bytes(run[: int(len(run) * cut_at)])
    known = {"night.dat": "night.toml", "bundle.xml": "bundle.toml", "night.afp": "afp.toml"}[name]
    command = [NABAR, "split", *OPTIONS, "--run", str(FIXTURES / known), str(short), "-o", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert done.returncode == 3, done.stderr.decode()
    assert b"at byte" in done.stderr
    assert not os.path.exists(tmp_path / "out")


@pytest.mark.parametrize("seed", range(12))
def test_zip(tmp_path: Path, seed: int) -> None:
    chance = random.Random(400 + seed)
    letters = some_letters(chance, chance.choice([1, 2, 30, 300]) if seed else 3000)
    as_xml = seed % 2 == 1
    run = runs.archive(letters, chance, as_xml)
    (tmp_path / "a.zip").write_bytes(run)
    index = (
        'index = "index.xml"\nletter_element = "Letter"\nid_path = "Id/@v"\nfiles_in = "File"\n'
        if as_xml
        else 'index = "index.csv"\nid_column = "personnummer"\nfiles_in = "file"\nfiles_separator = "|"\n'
    )
    counts = '[[count]]\npath = "Batch/@n"\n' if as_xml else ""
    (tmp_path / "zip.toml").write_text(f'form = "zip"\nunnamed = "reject"\n{index}{counts}')
    done = subprocess.run(
        [NABAR, "split", *OPTIONS, "--run", str(tmp_path / "zip.toml"), str(tmp_path / "a.zip"), "-o", str(tmp_path / "out")],
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    whole = zipfile.ZipFile(tmp_path / "a.zip")
    rows = letters_of_index(whole)
    report = json.loads((tmp_path / "out/report.json").read_text())
    left = list(rows)
    named = {name for _, names in rows for name in names}
    for file in report["files"]:
        part = zipfile.ZipFile(tmp_path / "out" / file["path"])
        assert part.testzip() is None
        mine = letters_of_index(part)
        # In the order of the run, and no letter twice.
        rest = iter(rows)
        assert all(any(letter == other for other in rest) for letter in mine), file["path"]
        for letter in mine:
            left.remove(letter)
        expected = {name for _, names in mine for name in names}
        if file["outcome"] == "rejected":
            expected |= {name for name in whole.namelist() if name not in named and not name.startswith("index")}
        assert sorted(part.namelist()) == sorted(expected | {name for name in whole.namelist() if name.startswith("index")})
        for name in expected:
            assert part.read(name) == whole.read(name), name
            assert part.getinfo(name).compress_size == whole.getinfo(name).compress_size
        if as_xml:
            root = runs.ElementTree.fromstring(part.read("index.xml"))
            assert root.get("n") == str(len(mine)) and len(root) == len(mine)
    assert not left


def letters_of_index(archive: zipfile.ZipFile) -> list[tuple[str, tuple[str, ...]]]:
    """Id and files of each letter."""
    if "index.xml" in archive.namelist():
        root = runs.ElementTree.fromstring(archive.read("index.xml"))
        return [(one.find("Id").get("v"), tuple(file.text for file in one.findall("File"))) for one in root]  # type: ignore[union-attr]
    rows = [line.split(";") for line in archive.read("index.csv").decode().splitlines()]
    assert rows[0] == ["personnummer", "file"]
    return [(id_, tuple(name for name in names.split("|") if name)) for id_, names in rows[1:]]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("missing", "not in the archive"),
        ("unnamed", "named by no letter"),
        ("slip", "lead out of a directory"),
        ("twice", "name of another one"),
        ("cut", "cannot be read"),
        ("before", "something before its archive"),
        ("swapped", "another name than its directory"),
        ("long", "longer than 1 GiB"),
        ("bomb", "larger than its declared"),
        ("expands", "more than 200 times"),
        ("lies", "something else of its data"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_archives_that_are_refused(tmp_path: Path, change: str, expected: str) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as out:
        rows = "personnummer;file\n196810199809;a.pdf\n"
        repeated = {"long": (1 << 30) // 1000 + 1, "bomb": 10_000, "expands": 50_000}.get(change, 0)
        out.writestr("index.csv", rows + "1;\n".rjust(1000, "0") * repeated, compresslevel=9 if change == "expands" else 1)
        if change != "missing":
            out.writestr("a.pdf", "a")
        if change == "unnamed":
            out.writestr("b.pdf", "b")
        if change == "slip":
            out.writestr("../b.pdf", "b")
        if change == "twice":
            out.writestr("a.pdf", "b")
    if change == "lies":
        # The directory says that b.pdf is longer than its own header does.
        bytes_ = (tmp_path / "a.zip").read_bytes()
        at = bytes_.rindex(b"PK\x01\x02") + 20
        (tmp_path / "a.zip").write_bytes(bytes_[:at] + (2).to_bytes(4, "little") + bytes_[at + 4 :])
    if change == "cut":
        bytes_ = (tmp_path / "a.zip").read_bytes()
        (tmp_path / "a.zip").write_bytes(bytes_[: len(bytes_) // 2])
    if change == "bomb":
        # The directory, behind the entries, says less than the index has.
        bytes_ = (tmp_path / "a.zip").read_bytes()
        at = bytes_.index(b"PK\x01\x02") + 24
        (tmp_path / "a.zip").write_bytes(bytes_[:at] + (1000).to_bytes(4, "little") + bytes_[at + 4 :])
    if change == "before":
        bytes_ = (tmp_path / "a.zip").read_bytes()
        (tmp_path / "a.zip").write_bytes(bytes_ + bytes_)
    if change == "swapped":
        bytes_ = (tmp_path / "a.zip").read_bytes()
        at = bytes_.index(b"a.pdf")
        (tmp_path / "a.zip").write_bytes(bytes_[:at] + b"b.pdf" + bytes_[at + 5 :])
    (tmp_path / "zip.toml").write_text('form = "zip"\nindex = "index.csv"\nfiles_in = "file"\n')
    for command in (["check"], ["split", "-o", str(tmp_path / "out")]):
        done = subprocess.run(
            [NABAR, *command, *OPTIONS, "--run", str(tmp_path / "zip.toml"), str(tmp_path / "a.zip")],
            capture_output=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 3 and expected in done.stderr.decode(), (command, done.stderr.decode())
        assert not os.path.exists(tmp_path / "out")


def test_missing_and_shared_files(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as out:
        rows = "".join(f"{id_};{name}\n" for id_, name in [("196810199809", "./sub\\a.pdf"), ("199001022384", "sub/a.pdf"), ("189001019802", "none.pdf")])
        out.writestr("index.csv", "personnummer;file\n" + rows)
        out.writestr("sub/a.pdf", "a")

    def done(more: str) -> subprocess.CompletedProcess[bytes]:
        (tmp_path / "zip.toml").write_text(f'form = "zip"\nindex = "index.csv"\nfiles_in = "file"\n{more}')
        command = [NABAR, "split", *OPTIONS, "--run", str(tmp_path / "zip.toml"), str(tmp_path / "a.zip"), "-o", str(tmp_path / "out")]
        return subprocess.run(command, capture_output=True, timeout=60, check=False)

    missing = done("")
    assert missing.returncode == 3 and b"1 files that letters name are not in the archive, the first one of letter 3" in missing.stderr
    shared = done('missing = "allow"\nshared = "refuse"\n')
    assert shared.returncode == 3 and b"named by several letters" in shared.stderr
    assert done('missing = "allow"\n').returncode == 0
    entries = json.loads((tmp_path / "out/report.json").read_text())["list"]["run"]["entries"]
    assert (entries["files"], entries["named"], entries["missing"]) == (1, 1, 1)
    for part in (tmp_path / "out").glob("*.zip"):
        with zipfile.ZipFile(part) as archive:
            letters = letters_of_index(archive)
            assert ("sub/a.pdf" in archive.namelist()) == any("a.pdf" in name for _, names in letters for name in names)
