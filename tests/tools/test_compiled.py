"""Which modules are compiled, and when anew. Compiling takes minutes: --verify does it, and
compares."""

from pathlib import Path

import pytest

from tools import compiled


def test_what_every_step_goes_through_is_compiled() -> None:
    chosen = [path.as_posix() for path in compiled.sources() if compiled.is_compiled(path)]
    assert "mabeam_p2p/protocol/node/node.py" in chosen
    assert "mabeam_p2p/machine/ballots.py" in chosen
    assert "mabeam_p2p/testing/simulator.py" in chosen
    assert [path for path in chosen if "/testing/" in path] == [
        f"mabeam_p2p/testing/{name}.py" for name in compiled.SIMULATOR
    ], "a module of the simulator is gone, or defines a record"


def test_records_and_what_is_no_core_stay_interpreted() -> None:
    for name in ("records/stored.py", "machine/machine.py", "runtime/driver.py", "ids.py"):
        assert not compiled.is_compiled(Path("mabeam_p2p") / name)


def test_a_change_of_any_module_asks_for_another_tree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "ROOT", tmp_path)
    module = tmp_path / "mabeam_p2p" / "a.py"
    module.parent.mkdir()
    module.write_text("A = 1\n")
    (tmp_path / "pyproject.toml").write_text("")
    before = compiled.mark()
    assert compiled.mark() == before
    module.write_text("A = 2\n")
    assert compiled.mark() != before
