"""`mabeam service`: run a peer under systemd, from the start of the machine or of a session on."""

import difflib
import os
import pwd
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import click
from click.core import ParameterSource

from mabeam_p2p import places
from mabeam_p2p.api import settings
from mabeam_p2p.cli import output
from mabeam_p2p.cli.service.unit import Service, is_as_written, is_ours, peer_of, text_of
from mabeam_p2p.cli.up import check, config_of, up
from mabeam_p2p.config import Config
from mabeam_p2p.errors import ConfigError

SYSTEM_UNITS = Path("/etc/systemd/system")
PATHS = ("data_dir", "file", "dashboard_token")
"""Parameters of `up` that name a place: a service has another working folder."""
TILDES = ("dashboard_token",)
"""Of those, the ones in which the peer reads a leading ~ as a home."""
PINNED = ("data_dir", "dashboard_token")
"""Of those, the settings that stand in the unit wherever they came from."""

IN_MEMORY = ":memory:"
"""The data folder that keeps nothing."""

_WRITTEN = ("name", "cluster", *PINNED)
_OF_CLIENTS = ("MABEAM_ADDR", "MABEAM_TIMEOUT")
"""What a daemon does not look at."""

_NO_CODE = (
    "a join code has no place in a unit: all users of this host can read that, and it outlives the "
    "code. Let the peer of a user's unit join once before (`mabeam up --join -`; afterwards its "
    "key lets it in), or write MABEAM_JOIN_CODE=CODE into a file of mode 0600 and name that file "
    "to the unit: `systemctl edit UNIT`, [Service], EnvironmentFile=FILE"
)

PROGRAM_SECONDS = 30.0
"""For an interpreter that is tried."""

_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*")

_system = click.option(
    "--system", is_flag=True, help="A unit of the system, not of the user's own manager."
)
_unit_dir = click.option(
    "--unit-dir",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Where unit files are.  [default: where systemd looks for them]",
)
_force = click.option(
    "--force", is_flag=True, help="Also if the unit file was changed, or is not ours."
)
_run_as = click.option(
    "--run-as",
    metavar="USER",
    help="With --system: the user whose programs attach to the peer. Not root.",
)
_FLAGS = {"ignore_unknown_options": True}


@click.group()
def service() -> None:
    """Run a peer under systemd.

    \b
      mabeam service install -- --name a --listen lan --seed 192.0.2.8:7946
      mabeam service install --system --run-as ml -- --name a --config /etc/mabeam/a.toml
    """


@service.command("install", context_settings=_FLAGS)
@_system
@_run_as
@_unit_dir
@_force
@click.argument("flags", nargs=-1, type=click.UNPROCESSED, metavar="[--] [FLAGS OF up]...")
def install(
    system: bool, run_as: str | None, unit_dir: Path | None, force: bool, flags: tuple[str, ...]
) -> None:
    """Write the unit file of a peer, and say how to start it.

    FLAGS are those of `mabeam up`, and are checked. --join is refused: whoever is on this host can
    read a unit file. A unit file that was changed by hand stays as it is unless --force is given,
    that of another peer always.
    """
    with output.endings():
        wanted = _service(system, run_as, flags)
        path = _folder(system, unit_dir) / wanted.unit_name
        text = text_of(wanted)
        known = _read(path)
        _check_peer(path, known, wanted)
        if known is not None and known != text and not is_as_written(known) and not force:
            output.note(_difference(path, known, text))
            raise ConfigError(
                f"{path} was changed by hand, and stays as it is: --force replaces it",
                path=str(path),
            )
        fault = _verify(wanted.unit_name, text, system=system)
        if fault:
            raise ConfigError(f"systemd would not take the unit: {fault}", path=str(path))
        if known != text:
            _write(path, text)
        click.echo(f"{path} {'is as it should be' if known == text else 'is written'}")
        if left_out := _left_out():
            output.note(f"not in the unit, for they may be secret: {', '.join(left_out)}")
        for folder in wanted.writable:
            if not os.path.isdir(folder):
                # Only root can make it there: the peer may write nowhere else.
                words = ("install", "-d", "-m", "0700", "-o", wanted.user, folder)
                output.note(f"before it starts, make its data folder:  {shlex.join(words)}")
        manager = "systemctl" if system else "systemctl --user"
        output.note(
            f"to start it now and later:  {manager} daemon-reload && "
            f"{manager} enable {wanted.unit_name} && "
            # It is ready with its cluster, which may wait for other hosts.
            f"{manager} start --no-block {wanted.unit_name}"
        )
        if run_as:
            output.note(f"its clients run as {run_as}, and find it in /run/mabeam/{run_as}")
        else:
            output.note("to have it run while you are not logged in:  loginctl enable-linger")


@service.command("uninstall", context_settings=_FLAGS)
@_system
@_unit_dir
@_force
@click.argument("flags", nargs=-1, type=click.UNPROCESSED, metavar="[--] [FLAGS OF up]...")
def uninstall(system: bool, unit_dir: Path | None, force: bool, flags: tuple[str, ...]) -> None:
    """Remove the unit file of a peer, and the links that enable it. Its data folder stays.

    Says how to stop it. Of FLAGS the name and the cluster count.
    """
    with output.endings():
        config = _parsed(flags, all_of_them=False)[1]
        wanted = Service(config.cluster, config.name, ("/",))
        path = _folder(system, unit_dir) / wanted.unit_name
        known = _read(path)
        if known is None:
            raise ConfigError(f"there is no {path}", path=str(path))
        _check_peer(path, known, wanted)
        if not is_as_written(known) and not force:
            what = "was changed by hand" if is_ours(known) else "is not ours"
            raise ConfigError(f"{path} {what}, and stays: --force removes it", path=str(path))
        # The file last: without it this verb finds nothing to remove.
        for one in (*_links_to(path, system), path):
            try:
                one.unlink()
            except OSError as error:
                raise _unusable(one, error) from error
            click.echo(f"{one} is removed")
        # Not `disable --now`: of a unit without a file it may fail, and stop nothing.
        manager = "systemctl" if system else "systemctl --user"
        output.note(
            f"to stop it and forget it:  {manager} stop {wanted.unit_name}; {manager} daemon-reload"
        )


@service.command("show", context_settings=_FLAGS)
@_system
@_run_as
@click.argument("flags", nargs=-1, type=click.UNPROCESSED, metavar="[--] [FLAGS OF up]...")
def show(system: bool, run_as: str | None, flags: tuple[str, ...]) -> None:
    """Print the unit file that `install` would write."""
    with output.endings():
        click.echo(text_of(_service(system, run_as, flags)), nl=False)


# ---- what is to run ------------------------------------------------------------------------------


def _service(system: bool, run_as: str | None, flags: tuple[str, ...]) -> Service:
    """Raises ConfigError."""
    if system and not run_as:
        raise ConfigError("--system needs --run-as USER: the user whose programs use the peer")
    if run_as and not system:
        raise ConfigError("--run-as goes with --system: a user's own manager runs as that user")
    if run_as:
        _check_user(run_as)
    context, config = _parsed(flags)
    check(config, context.params["metrics_at"])
    # What a service prints goes into the journal: no code that lets others in.
    words = _words(context, config)
    command = (sys.executable, "-P", "-m", "mabeam_p2p", "up", "--no-invite", *words)
    has_folder = config.data_dir not in (None, "", IN_MEMORY)
    writable = (os.path.abspath(str(config.data_dir)),) if system and has_folder else ()
    state_folder = None if system else places.state_folder()
    state_home = "" if state_folder is None else os.path.abspath(state_folder.parent)
    return Service(config.cluster, config.name, command, run_as or "", state_home, writable)


def _check_user(name: str) -> None:
    try:
        user = pwd.getpwnam(name)
    except KeyError:
        text = f"there is no user {name!r} on this host: make one, or name another"
        raise ConfigError(text) from None
    if not _USER.fullmatch(name):
        raise ConfigError(f"the name {name!r} cannot be part of a path: name another user")
    if user.pw_uid == 0:
        raise ConfigError("a peer needs no rights of root: name the user whose programs use it")
    if os.geteuid() == 0:
        _check_program(user)


def _check_program(user: pwd.struct_passwd) -> None:
    """Whether the user can run what the unit would: systemd would try it for ever."""
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", "import mabeam_p2p"],
            user=user.pw_uid,
            group=user.pw_gid,
            extra_groups=os.getgrouplist(user.pw_name, user.pw_gid),
            env={},
            cwd="/",
            # It is the user's, and this terminal is not.
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=PROGRAM_SECONDS,
        )
        last = done.stderr.strip().rpartition("\n")[2]
        fault = "".join(filter(str.isprintable, last)) or f"exit code {done.returncode}"
    except subprocess.TimeoutExpired:
        fault = f"it does not end within {PROGRAM_SECONDS:g} s"
    except OSError as error:
        fault = str(error.strerror)
    else:
        if done.returncode == 0:
            return
    raise ConfigError(
        f"user {user.pw_name!r} cannot run mabeam_p2p with {sys.executable} ({fault}): install it "
        "where that user can read it, as in a venv under /opt, and say this with the `mabeam` there"
    )


def _parsed(flags: tuple[str, ...], *, all_of_them: bool = True) -> tuple[click.Context, Config]:
    """The flags, and what `up` would make of them here and now; or of those alone that name it."""
    context = up.make_context("mabeam up", list(flags))
    if not all_of_them:
        named = {name: context.params[name] for name in ("name", "cluster")}
        return context, settings.load(named, file=context.params["file"]).config
    if context.params["join_code"] is not None:
        raise ConfigError(_NO_CODE, key="join_code")
    return context, config_of(context.params)


def _words(context: click.Context, config: Config) -> list[str]:
    """For the command of the service: with the name and the cluster that come of the flags, and
    with places that do not depend on where it is started."""
    words = ["--name", config.name, "--cluster", config.cluster]
    for parameter in up.params:
        value = context.params.get(str(parameter.name))
        source = context.get_parameter_source(str(parameter.name))
        is_written = parameter.name in ("name", "cluster", "no_invite")
        if is_written or source is not ParameterSource.COMMANDLINE:
            continue
        option = parameter.opts[0]
        if value is True:
            words.append(option)
            continue
        for one in value if isinstance(value, tuple) else (value,):
            is_place = parameter.name in PATHS
            words += [option, _place(str(parameter.name), one) if is_place else str(one)]
    for parameter in up.params:
        name = str(parameter.name)
        if name in PINNED and context.params[name] is None and getattr(config, name):
            words += [parameter.opts[0], _place(name, getattr(config, name))]
    named = os.environ.get(settings.FILE_VARIABLE)
    if not context.params["file"] and (named or Path(settings.FILE_NAME).exists()):
        words += ["--config", os.path.abspath(named or settings.FILE_NAME)]
    return words


def _place(name: str, path: str) -> str:
    """As it is meant here and now, by whoever reads the parameter of this name."""
    is_plain = path == IN_MEMORY or (name in TILDES and path.startswith("~"))
    return path if is_plain else os.path.abspath(path)


def _left_out() -> list[str]:
    """Settings of this environment that the service will not have."""
    written = (settings.FILE_VARIABLE, *(settings.PREFIX + key.upper() for key in _WRITTEN))
    return [
        variable
        for variable in sorted(os.environ)
        if variable.startswith(settings.PREFIX)
        and variable not in (*written, *_OF_CLIENTS)
        and not settings.is_foreign(variable)
    ]


# ---- unit files ----------------------------------------------------------------------------------


def _folder(system: bool, unit_dir: Path | None) -> Path:
    """Raises ConfigError."""
    folder = unit_dir or _usual_folder(system)
    if folder is None:
        raise ConfigError(
            "this user has no home, and so no place for a unit: set HOME or XDG_CONFIG_HOME, or "
            "take --unit-dir FOLDER"
        )
    return folder


def _usual_folder(system: bool) -> Path | None:
    """Where systemd looks for units, and has its links; None: this user has no home."""
    if system:
        return SYSTEM_UNITS
    folder = places.config_folder(os.environ)
    return None if folder is None else folder / "systemd" / "user"


def _links_to(path: Path, system: bool) -> list[Path]:
    """Those by which `systemctl enable` has the unit of this path started, wherever that is."""
    folders = {path.parent, _usual_folder(system) or path.parent}
    links = [link for folder in folders for link in folder.glob(f"*.wants/{path.name}")]
    unit = os.path.realpath(path)
    return sorted(link for link in links if link.is_symlink() and os.path.realpath(link) == unit)


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unusable(path, error) from error


def _write(path: Path, text: str) -> None:
    """The whole file, or none of it: systemd may look at any moment."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
            file.write(text)
            os.fchmod(file.fileno(), 0o644)
        os.replace(file.name, path)
    except OSError as error:
        raise _unusable(path, error) from error


def _unusable(path: Path, error: OSError) -> ConfigError:
    advice = "take --unit-dir FOLDER, or do it as root" if error.errno in (1, 13, 30) else ""
    text = f"{path}: {error.strerror}" + (f": {advice}" if advice else "")
    return ConfigError(text, path=str(path))


def _check_peer(path: Path, known: str | None, wanted: Service) -> None:
    """A file name may be that of two peers, as of a-b of c and of b of c-a. Raises ConfigError."""
    other = None if known is None else peer_of(known)
    if other not in (None, (wanted.cluster, wanted.name)):
        cluster, name = other
        raise ConfigError(
            f"{path} is the unit of another peer, {name!r} of cluster {cluster!r}, and stays, with "
            f"--force, too: give peer {wanted.name!r} of {wanted.cluster!r} another name",
            path=str(path),
        )


def _difference(path: Path, known: str, text: str) -> str:
    lines = difflib.unified_diff(
        known.splitlines(), text.splitlines(), str(path), "what would be written", lineterm="", n=1
    )
    return "\n".join(lines)


def _verify(unit_name: str, text: str, *, system: bool) -> str:
    """What systemd itself finds wrong with the unit; empty: nothing, or it is not here."""
    program = shutil.which("systemd-analyze")
    if program is None:
        return ""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / unit_name
        path.write_text(text, encoding="utf-8")
        scope = "--system" if system else "--user"
        done = subprocess.run(
            [program, scope, "verify", str(path)], capture_output=True, text=True, check=False
        )
        if done.returncode == 0:
            return ""
        # Other units of this host may be wrong, too: that is nobody's business here.
        lines = [line for line in done.stderr.splitlines() if unit_name in line]
        return "; ".join(lines)
