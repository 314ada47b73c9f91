from pathlib import Path

import pytest

from mabeam_p2p.storage.sqlite import SqliteStorage
from tests.storage.folders import Folder, append


@pytest.fixture
def killed(tmp_path: Path) -> Folder:
    """Twelve writes, the last six of them in the write-ahead log alone."""
    live = Folder(tmp_path / "live")
    for first in (1, 7):
        storage = SqliteStorage(str(live.path))
        storage.recover()
        for index in range(first, first + 6):
            storage.write(append(index))
        left = live.copy("killed")
        storage.close()
    return left
