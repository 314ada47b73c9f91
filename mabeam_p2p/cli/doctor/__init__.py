"""`mabeam doctor`: what is wrong with this host, or its peer, and the command that mends it."""

import asyncio
from collections.abc import Iterator, Mapping
from pathlib import Path

import click

from mabeam_p2p import assembly
from mabeam_p2p.addresses import split_address
from mabeam_p2p.api import settings
from mabeam_p2p.cli import output
from mabeam_p2p.cli.doctor import cluster as told
from mabeam_p2p.cli.doctor import network, places, software
from mabeam_p2p.cli.doctor.descriptors import descriptors
from mabeam_p2p.cli.doctor.finding import Finding, counts, error, ok, skipped, warning
from mabeam_p2p.cli.doctor.firewall import firewall
from mabeam_p2p.cli.doctor.holders import advice, ports_of, socket_of
from mabeam_p2p.config import Config
from mabeam_p2p.errors import AddressError, ConfigError, MabeamError, NoRoute

COLOURS = {"ok": "green", "skipped": None, "warning": "yellow", "error": "red"}


@click.command()
@click.option("--name", help="Name of the peer.  [default: the host's name]")
@click.option("--cluster", envvar="MABEAM_CLUSTER", help="Name of the cluster."
              "  [default: default]")  # fmt: skip
@click.option("--listen", metavar="HOST[:PORT]", help="Where the peer is to be reached."
              "  [default: where the daemon is, else as in the settings]")  # fmt: skip
@click.option("--data-dir", metavar="FOLDER", help="Where the peer's log is kept."
              "  [default: as in the settings]")  # fmt: skip
@click.option("--no-mdns", is_flag=True, help="Leave multicast alone.")
@click.option("--config", "file", metavar="FILE", help="Read this file in place of ./mabeam.toml.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def doctor(
    name: str | None,
    cluster: str | None,
    listen: str | None,
    data_dir: str | None,
    no_mdns: bool,
    file: str | None,
    as_json: bool,
) -> None:
    """Find what is wrong with this host, and how to mend it.

    Takes the settings of `mabeam up`. Looks at versions, the data folder and its modes, local
    sockets, descriptors, the disk, the address and its port, multicast, the firewall, and, if the
    peer runs here, at its quorum and clocks. Changes nothing; sends one question of multicast DNS.
    Each finding names the command that mends it. Exits 1 if something does not work.
    """
    given = {
        "name": name,
        "cluster": cluster,
        "listen": listen,
        "data_dir": data_dir,
        "mdns": False if no_mdns else None,
    }
    findings = list(examine(given, file))
    if as_json:
        output.json_line(
            {"findings": [one.to_dict() for one in findings], "counts": counts(findings)}
        )
    else:
        for one in findings:
            _print(one)
        _print_sum(findings)
    if counts(findings)["error"]:
        raise SystemExit(output.REFUSED)


def examine(given: Mapping[str, object], file: str | None = None) -> Iterator[Finding]:
    """All findings, in the order in which they are printed."""
    yield from software.versions()
    yield software.curve()
    try:
        config = settings.load(given, file=file, origin="command line").config
    except ConfigError as fault:
        yield error("settings", str(fault), "mabeam config show --origin")
        return
    yield ok("settings", f"peer {config.name} of cluster {config.cluster}")
    daemon = asyncio.run(told.ask(config.cluster, config.name))
    process = told.process_of(config.cluster, config.name)
    path: Path | None = None
    try:
        path = assembly.data_folder(config)
    except ConfigError as fault:
        yield error("folder", str(fault), "mabeam up --data-dir FOLDER")
    else:
        yield from _of_folder(path, config, process)
    yield from places.local_sockets(config.cluster)
    yield descriptors(process)
    if isinstance(daemon, told.Daemon) and not given.get("listen"):
        address: str | Finding = daemon.status.address
    else:
        address = _listen_address(config)
    yield from _of_network(config, path, address, process)
    if isinstance(daemon, Finding):
        yield daemon
    else:
        yield from told.findings(daemon, path)


def _of_folder(path: Path | None, config: Config, process: int | None) -> Iterator[Finding]:
    if path is None:
        yield skipped("folder", "this peer keeps nothing")
        return
    yield from places.folder(path)
    yield places.room(path, config)
    yield from _of_holder(path, config, process)


def _of_holder(path: Path, config: Config, process: int | None) -> Iterator[Finding]:
    holder = places.holder(path)
    if holder is None or holder == process:
        return
    found = socket_of(holder)
    if found is not None and (found.parent.name, found.stem) == (config.cluster, config.name):
        text = f"the daemon (process {holder}) is not found from here: its socket is {found}"
        yield warning("folder", text, advice(holder))
    else:
        text = f"process {holder} uses {path}, and is not the daemon of this name and cluster"
        yield error("folder", text, advice(holder))


def _listen_address(config: Config) -> str | Finding:
    try:
        return assembly.listen_address(config)
    except NoRoute as fault:
        return error("address", str(fault), "ip -brief address; ip route; ip -6 route")
    except AddressError as fault:
        return error("address", str(fault), "mabeam up --listen lan")
    except MabeamError as fault:
        return error("address", str(fault), "mabeam config show --origin")


def _of_network(
    config: Config, path: Path | None, address: str | Finding, process: int | None
) -> Iterator[Finding]:
    """path: the data folder; None: there is none."""
    former_port = 0
    if isinstance(address, Finding):
        host, port, found = "", 0, address
    else:
        host, port = split_address(address)
        if not port:
            port = former_port = assembly.former_port(path)
        found = network.address(host)
    yield found
    if found.level == "error":
        yield skipped("port", "there is no such address")
        yield skipped("multicast", "there is no such address")
    else:
        found = network.port(host, port, process)
        yield _less(found) if port == former_port else found
        if config.mdns:
            yield from network.multicast(host)
        else:
            yield skipped("multicast", "the settings leave it alone")
    yield from firewall(host, _ports(config, host, port, process), uses_mdns=config.mdns)


def _less(found: Finding) -> Finding:
    """The port is nobody's word: where it cannot be had, any other one is taken."""
    if found.level != "error":
        return found
    text = (
        f"{found.text}, and the peer, which had it last, will take another one, where those that "
        "are started anew, too, do not look"
    )
    return warning(found.check, text, found.mend)


def _ports(config: Config, host: str, port: int, process: int | None) -> list[int]:
    """At which others come to the peer. One with keys has its data at one of the two behind its
    port, if they can be had; as long as it runs it is seen where."""
    behind = list(range(port, min(port + 3, 65_536))) if port else [0]
    held = [] if process is None else ports_of(process, host)
    if port in held:
        return behind if set(held) & set(behind[1:]) else held
    return behind[:1] if config.insecure_plaintext else behind


def _print(one: Finding) -> None:
    mark = click.style(one.level.ljust(7), fg=COLOURS[one.level])
    click.echo(f"{mark}  {one.check.ljust(11)}  {one.text}")
    if one.mend:
        click.echo(f"{' ' * 22}mend: {one.mend}")


def _print_sum(findings: list[Finding]) -> None:
    number = counts(findings)
    output.note(f"{number['error']} errors, {number['warning']} warnings")
