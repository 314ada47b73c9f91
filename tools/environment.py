"""Makes `.venv` in this checkout: the package, editable, with the extras that are asked for.

Called by tools/venv. It needs the standard library alone.

1. One process at a time: a lock that the system drops with the last process of a run.
2. The stamp is removed before the first change and written after the last one. A run that
   was cut short leaves none, and the next one starts from an empty folder.
3. Whatever the stamp says is there in the wanted form is not touched.
4. The package is compiled here: pip does not do it for an editable one, and where the
   environment forbids Python to keep what it compiled (PYTHONDONTWRITEBYTECODE), each of the
   hundreds of processes that the tests start would compile all of it again.
"""

import argparse
import compileall
import configparser
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tools.fetch_pip import FetchError, fetch

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STAMP = VENV / "stamp.json"
PYTHON = VENV / "bin" / "python"

# What would make pip put the package elsewhere than into the environment.
MISLEADING = ("PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PYTHONHOME", "PYTHONPATH")


def say(line: str) -> None:
    """One line a step, apart from what the caller prints."""
    print(f"venv: {line}", file=sys.stderr, flush=True)


def interpreter_mark() -> str:
    """What the whole environment depends on; the scripts in it hold absolute paths."""
    return f"{sys.version} in {sys.base_prefix} for {ROOT}"


def packages_mark() -> str:
    """What the installed packages depend on."""
    texts = [(ROOT / name).read_bytes() for name in ("setup.cfg", "pyproject.toml")]
    return hashlib.sha256(b"\0".join(texts)).hexdigest()


def known_extras() -> list[str]:
    """The extras that setup.cfg offers."""
    parser = configparser.RawConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return sorted(parser["options.extras_require"])


@contextmanager
def lock() -> Iterator[None]:
    """Waits until no other process prepares this environment."""
    with open(ROOT / ".venv.lock", "w") as file:
        # Pip inherits the lock: it may outlive a killed parent, and still writes then.
        os.set_inheritable(file.fileno(), True)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another run prepares .venv; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def read_stamp() -> dict[str, str]:
    """Marks of the extras that are installed, "" being none; empty if the folder is unusable."""
    try:
        stamp = json.loads(STAMP.read_bytes())
        usable = stamp["interpreter"] == interpreter_mark() and PYTHON.exists()
        return dict(stamp["extras"]) if usable else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def write_stamp(extras: dict[str, str]) -> None:
    """Whole or not at all."""
    text = json.dumps({"interpreter": interpreter_mark(), "extras": extras}, indent=2)
    partial = STAMP.with_suffix(".partial")
    partial.write_text(text + "\n", encoding="utf-8")
    partial.replace(STAMP)


def run(*arguments: str | Path) -> int:
    """Runs the environment's Python, shows what it printed if it failed; returns the exit code."""
    environment = {key: text for key, text in os.environ.items() if key not in MISLEADING}
    environment |= {"PIP_USER": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}
    done = subprocess.run(
        [PYTHON, *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        close_fds=False,
    )
    if done.returncode != 0:
        sys.stderr.buffer.write(done.stdout)
        sys.stderr.flush()
    return done.returncode


def make_environment() -> None:
    """An empty environment with pip in it. Raises FetchError, OSError."""
    if VENV.is_symlink() or VENV.is_file():
        raise FetchError(f"{VENV} is not a folder; remove it")
    shutil.rmtree(VENV, ignore_errors=True)
    say(f"making .venv with Python {'.'.join(map(str, sys.version_info[:3]))}")
    venv.create(VENV, symlinks=True)
    bundled = subprocess.run([PYTHON, "-m", "ensurepip"], capture_output=True).returncode == 0
    if not bundled:
        say("fetching pip, which this Python came without")
        with tempfile.TemporaryDirectory() as folder:
            wheel = fetch(Path(folder))
            if run(wheel / "pip", "install", "--quiet", "--no-index", "--no-deps", wheel) != 0:
                raise FetchError(f"{wheel.name} does not install itself")


def prepare(extras: list[str]) -> int:
    """Brings `.venv` to the wanted state. Returns the exit code."""
    wanted = packages_mark()
    marks = read_stamp()
    missing = [extra for extra in ["", *extras] if marks.get(extra) != wanted]
    if not missing:
        return 0
    started = time.monotonic()
    if not marks:
        make_environment()
    STAMP.unlink(missing_ok=True)
    named = ",".join(extra for extra in missing if extra)
    target = f"{ROOT}[{named}]" if named else str(ROOT)
    say(f"installing mabeam_p2p{f' with {named}' if named else ''} (a minute or two when new)")
    code = run("-m", "pip", "install", "--quiet", "--progress-bar=off", "--editable", target)
    if code == 0:
        marks |= dict.fromkeys(missing, wanted)
        say(f"ready in {time.monotonic() - started:.0f} s")
    else:
        say("pip could not install it, see above; does your package index answer (PIP_INDEX_URL)?")
    # A pip that gave up by itself left everything as it was before.
    write_stamp(marks)
    return code


def compile_package() -> None:
    """Compiles what has changed. What does not compile is for its importer to say."""
    compileall.compile_dir(ROOT / "mabeam_p2p", quiet=2)


def main() -> int:
    """Exit code 0: the environment is as asked for."""
    parser = argparse.ArgumentParser(prog="tools/venv", description=__doc__.splitlines()[0])
    parser.add_argument("extras", nargs="*", help=f"of setup.cfg: {', '.join(known_extras())}")
    extras: list[str] = parser.parse_args().extras
    if unknown := [extra for extra in extras if extra not in known_extras()]:
        parser.error(f"no extra {', '.join(unknown)}; there are {', '.join(known_extras())}")
    try:
        with lock():
            code = prepare(extras)
            compile_package()
            return code
    except (FetchError, OSError) as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        say("interrupted; the next run starts afresh")
        return 130


if __name__ == "__main__":
    sys.exit(main())
