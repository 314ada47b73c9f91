"""Compiles the cores and the simulator with mypyc, and runs a tool of proof on them.

The compiled tree is a copy under build/, made anew when a source has changed; the checkout stays
as it is. What runs is the same source: --verify plays seeds on both, and compares their hashes.
"""

import argparse
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("mabeam_p2p/protocol/", "mabeam_p2p/machine/")
SIMULATOR = (
    "audits",
    "causality",
    "checkers",
    "disk",
    "host",
    "inspection",
    "line_hints",
    "links",
    "members",
    "outcomes",
    "simulator",
    "trace_hash",
    "traffic",
    "upsets",
)
"""Of mabeam_p2p/testing: what every step goes through."""
INTERPRETED = re.compile(r"^class \w+\([^)]*\bStruct\b", re.MULTILINE)
"""A record's class is made by msgspec."""
TOOLS = ("simulate", "meetings", "small_scope")


def sources() -> list[Path]:
    """The package, in order, relative to the checkout."""
    return sorted(path.relative_to(ROOT) for path in ROOT.glob("mabeam_p2p/**/*.py"))


def is_compiled(path: Path) -> bool:
    """path: relative to the checkout."""
    if path.name == "__init__.py" or INTERPRETED.search((ROOT / path).read_text("utf-8")):
        return False
    if path.parent.name == "testing":
        return path.stem in SIMULATOR
    return path.as_posix().startswith(PACKAGES)


def mark() -> str:
    """What a compiled tree depends on."""
    digest = hashlib.sha256(f"{sys.version} {version('mypy')}".encode())
    for path in (*sources(), Path("pyproject.toml")):
        digest.update(f"{path}\0".encode() + (ROOT / path).read_bytes())
    digest.update("\n".join(str(path) for path in sources() if is_compiled(path)).encode())
    return digest.hexdigest()[:16]


def build() -> Path:
    """The compiled tree of the sources as they are; one process makes it."""
    folder = ROOT / "build" / f"compiled-{mark()}"
    folder.parent.mkdir(exist_ok=True)
    with (ROOT / "build" / "compiled.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            for old in folder.parent.glob("compiled-*"):
                shutil.rmtree(old)
            partial = folder.with_name("partial")
            shutil.rmtree(partial, ignore_errors=True)
            compile_into(partial)
            partial.rename(folder)
    return folder


def compile_into(folder: Path) -> None:
    for path in (*sources(), Path("pyproject.toml")):
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / path, target)
    modules = [str(path) for path in sources() if is_compiled(path)]
    print(f"compiling {len(modules)} modules: some minutes", file=sys.stderr, flush=True)
    if shutil.which("gcc") is None and shutil.which("cc") is None:
        raise SystemExit("tools/compiled: there is no C compiler: apt-get install gcc")
    environment = {**os.environ, "MYPYC_OPT_LEVEL": "1"}
    log = folder.parent / "compiled.log"
    with log.open("w") as output:
        done = subprocess.run(
            [sys.executable, "-m", "mypyc", *modules],
            cwd=folder,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if done.returncode:
        raise SystemExit(f"tools/compiled: mypyc has failed: see {log}")


def command(tool: str, arguments: list[str]) -> tuple[list[str], dict[str, str]]:
    """What runs `tool` of this checkout on the package of the folder in which it is started."""
    run = [sys.executable, "-m", f"tools.{tool}", *arguments]
    return run, {**os.environ, "PYTHONPATH": str(ROOT)}


def hashes(folder: Path, seeds: int) -> str:
    run, environment = command("simulate", ["--hashes", "--seeds", str(seeds)])
    done = subprocess.run(run, cwd=folder, env=environment, stdout=subprocess.PIPE, check=True)
    return done.stdout.decode()


def verify(seeds: int) -> int:
    """Whether compiled and interpreted runs of the first seeds are the same, step by step."""
    same = hashes(build(), seeds) == hashes(ROOT, seeds)
    found = "the same hashes" if same else "OTHER HASHES"
    print(f"{seeds} seeds: {found} compiled and interpreted")
    return 0 if same else 1


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/compiled", description=__doc__)
    parser.add_argument("--verify", type=int, metavar="SEEDS", help="compare so many seeds")
    parser.add_argument("tool", nargs="?", choices=TOOLS, help="what to run")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="its arguments")
    options = parser.parse_args()
    if options.verify:
        return verify(options.verify)
    if options.tool is None:
        parser.error(f"say what to run: {', '.join(TOOLS)}, or --verify SEEDS")
    folder = build()
    run, environment = command(options.tool, options.arguments)
    os.chdir(folder)
    os.execve(run[0], run, environment)


if __name__ == "__main__":
    sys.exit(main())
