"""Code that runs as another user of this machine, in a child that was root until then."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import mabeam_p2p

OTHER_USER = 65_534
"""`nobody`, by custom: no file here is its."""

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")

_BECOME = """
import os, socket, sys
from pathlib import Path
from mabeam_p2p.api import sockets
from mabeam_p2p.errors import MabeamError
from mabeam_p2p.storage import folder
os.setgroups([])
os.setgid({user})
os.setuid({user})
"""


def as_other_user(code: str, *arguments: str | Path) -> str:
    """What the code, given `sys.argv[1:]`, prints. It must end well."""
    script = _BECOME.format(user=OTHER_USER) + code
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | {"PYTHONPATH": str(Path(mabeam_p2p.__file__).parent.parent)},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
