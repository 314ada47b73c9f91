"""Programs of others that tests run."""

import os
import shutil

import pytest


def program(*names: str, package: str, required: str) -> str:
    """The path of the first of these that is installed; without any the test is skipped. package:
    the Debian package that has it. required: the variable that is set where one must be, so that
    green means there that the test ran: then it fails."""
    path = next((found for name in names if (found := shutil.which(name))), None)
    if path is None:
        reason = f"there is no {' or '.join(names)}, which Debian's package {package} has"
        if os.environ.get(required):
            pytest.fail(f"${required} is set, and {reason}")
        pytest.skip(reason)
    return path
