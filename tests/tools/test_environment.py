import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tools import environment


def test_package_is_compiled_even_where_python_may_not_keep_what_it_compiles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "mabeam_p2p"
    package.mkdir()
    (package / "__init__.py").write_text("STARTED = True\n")
    (package / "broken.py").write_text("STARTED =\n")
    monkeypatch.setattr(environment, "ROOT", tmp_path)
    environment.compile_package()
    imported = subprocess.run(
        [sys.executable, "-v", "-c", "import mabeam_p2p; assert mabeam_p2p.STARTED"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    compiled = importlib.util.cache_from_source(str(package / "__init__.py"))
    assert f"code object from {compiled!r}" in imported.stderr
    assert not Path(importlib.util.cache_from_source(str(package / "broken.py"))).exists()
