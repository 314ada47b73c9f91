"""The fuzzer's own parts, where its engine is not installed: another one takes its place, which
tries what it is given and makes nothing of it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hostile import archive, rows
from tests.hostile.entrances import READERS
from tools import fuzz

ROOT = Path(__file__).resolve().parents[2]
TRIED = 40
"""Inputs of each target."""

ENGINE = '''
"""Calls the target with each file of its folders, as libFuzzer begins; keeps what breaks it."""

import contextlib
import os
import sys
from pathlib import Path

instrumented = []


@contextlib.contextmanager
def instrument_imports(include):
    instrumented.extend(include)
    early = [name for name in sys.modules if name.split(".")[0] in include]
    assert not early, f"imported before, so that nothing guides the search there: {early}"
    yield


def Setup(arguments, take):
    global work
    work = arguments[1:], take


def Fuzz():
    arguments, take = work
    options = dict(one[1:].split("=", 1) for one in arguments if one.startswith("-"))
    _, corpus = map(Path, (one for one in arguments if not one.startswith("-")))
    files = sorted(corpus.iterdir())[: int(os.environ["TRIED"])]
    for file in files:
        try:
            take(file.read_bytes())
        except BaseException:
            Path(options["artifact_prefix"], f"crash-{file.name}").write_bytes(file.read_bytes())
    print(f"tried {len(files)}")
'''


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "atheris.py").write_text(ENGINE, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(tmp_path), str(ROOT))))
    monkeypatch.setenv("TRIED", str(TRIED))
    monkeypatch.setattr(archive, "FOUND", tmp_path / "found")


def test_every_way_in_is_a_target_and_so_is_the_disk() -> None:
    assert sorted(fuzz.TARGETS) == sorted((*READERS, "storage"))


@pytest.mark.parametrize("target", fuzz.TARGETS)
def test_a_target_begins_with_the_corpus_and_takes_all_of_it(target: str, tmp_path: Path) -> None:
    fuzz.seeds(target, tmp_path)
    inputs = [path.read_bytes() for path in sorted(tmp_path.iterdir())]
    assert set(inputs) >= set(rows.seeds() if target == "storage" else ())
    assert len(inputs) > (5 if target == "storage" else TRIED)
    take = fuzz.entrance(target)
    outcomes = {take(data) for data in (*inputs[:TRIED], b"", b"\xff" * 64)}
    assert len(outcomes) > 1, "what is read and what is refused are told apart"


@pytest.mark.slow
@pytest.mark.parametrize("target", fuzz.TARGETS)
def test_a_target_runs_in_a_process_of_its_own_and_nothing_of_the_corpus_breaks_it(
    target: str, engine: None, capfd: pytest.CaptureFixture[str]
) -> None:
    assert fuzz.fuzz(target, 1, keeps=False) == 0
    told = capfd.readouterr().out
    assert f"{target}: 0 broke it, 0 reached more" in told
    assert "tried 0" not in told
    assert "tried " in told


def test_an_engine_that_does_not_run_is_not_taken_for_one_that_found_nothing(
    engine: None, tmp_path: Path
) -> None:
    (tmp_path / "atheris.py").write_text("raise RuntimeError", encoding="utf-8")
    with pytest.raises(SystemExit, match="value: nothing was tried: it ended with 1"):
        fuzz.fuzz("value", 1, keeps=False)


def test_what_breaks_a_target_is_kept_where_the_tests_try_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "FOUND", tmp_path)
    broken = tmp_path / "crash"
    broken.write_bytes(b"\x00broken")
    kept = fuzz.keep_broken("value", broken)
    assert archive.found() == {f"value/found/{kept.name}": b"\x00broken"}


def test_what_has_reached_more_goes_into_the_corpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "ARCHIVE", tmp_path / "corpus.tar.xz")
    archive.write({"value/faults/empty": b""})
    (tmp_path / "new").write_bytes(b"\xf6")
    fuzz.keep_fresh("value", [tmp_path / "new"])
    (fresh,) = archive.read().keys() - {"value/faults/empty"}
    assert fresh.startswith("value/reached/")
    assert archive.read()[fresh] == b"\xf6"


@pytest.mark.parametrize(
    ("target", "code", "why"),
    [
        ("nothing", 2, "no such target: nothing; there are frame,"),
        ("value", 1, "needs atheris: tools/venv test fuzz"),
    ],
)
def test_what_cannot_be_done_is_said(target: str, code: int, why: str, tmp_path: Path) -> None:
    (tmp_path / "atheris.py").write_text("raise ImportError", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "tools.fuzz", target],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, why in done.stderr) == (code, True), done.stderr
