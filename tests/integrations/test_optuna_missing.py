"""Without Optuna the package works, and says what to install."""

import subprocess
import sys

import pytest

WITHOUT = "import sys; sys.modules['optuna'] = None; "


@pytest.mark.slow
def test_missing_optuna_is_told_with_what_to_install() -> None:
    code = WITHOUT + "import mabeam_p2p.integrations.optuna"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert "pip install 'mabeam-p2p[optuna]'" in run.stderr.splitlines()[-1]


@pytest.mark.slow
def test_nothing_else_needs_optuna() -> None:
    code = WITHOUT + "import mabeam_p2p, mabeam_p2p.integrations, mabeam_p2p.cli"
    subprocess.run([sys.executable, "-c", code], check=True)
