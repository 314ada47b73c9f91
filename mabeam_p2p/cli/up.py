"""`mabeam up`: one peer in the foreground, until it is told to leave."""

import asyncio
import logging
import os
import signal
from collections.abc import Mapping
from contextlib import AbstractContextManager, AsyncExitStack, nullcontext

import click

from mabeam_p2p import assembly
from mabeam_p2p.api import settings
from mabeam_p2p.cli import dashboard, output
from mabeam_p2p.cli.joining import read_code
from mabeam_p2p.cli.keys import notes_on
from mabeam_p2p.config import Config
from mabeam_p2p.daemon import allocator, cores, descriptors
from mabeam_p2p.daemon.host import Host
from mabeam_p2p.daemon.notify import ServiceManager
from mabeam_p2p.observe import logs
from mabeam_p2p.observe.dumping import Dumps
from mabeam_p2p.observe.endpoint import Metrics

OWNER_ONLY = 0o077
"""The umask of a daemon: what it makes is its user's alone."""


class FlagsAlone(click.Command):
    """What stands behind its flags may be the rest of a join code: it is not repeated."""

    allow_extra_args = True

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        rest = super().parse_args(context, args)
        if rest and not context.resilient_parsing:
            raise click.UsageError(
                "something stands behind the flags that is none of them. If it is the rest of a "
                "join code put all of it into quotes: --join 'MB1 ...'",
                context,
            )
        return rest


@click.command(cls=FlagsAlone)
@click.option("--name", help="Name of the peer and of its own agent.  [default: the host's name]")
@click.option("--cluster", help="Name of the cluster.  [default: default]")
@click.option("--listen", metavar="HOST[:PORT]", help="Where other peers reach this one; lan: the"
              " address that leads to the network; port 0, or none, takes a free one, and that one"
              " again at later starts, if it is free; host 0.0.0.0 follows this machine's address."
              " What peers say comes to one of the two ports behind it."
              "  [default: 127.0.0.1:0; with --join, and after it, the"
              " address that leads there]")  # fmt: skip
@click.option("--data-dir", metavar="FOLDER", help="Where the log is kept; :memory: keeps nothing."
              "  [default: under the user's state folder, by cluster and name]")  # fmt: skip
@click.option("--expect", type=int, metavar="N", help="Peers that must see each other before a new"
              " cluster forms.  [default: 3]")  # fmt: skip
@click.option("--join", "join_code", metavar="CODE", help="Be let into the cluster that printed"
              " CODE. - asks for it, or reads it from a pipe; @FILE reads it from a file; so does"
              " MABEAM_JOIN_CODE, which other users do not see.")  # fmt: skip
@click.option("--no-invite", is_flag=True, help="Print no join code.")
@click.option("--seed", "seeds", multiple=True, metavar="HOST:PORT", help="Where another peer might"
              " be; may be given several times.")  # fmt: skip
@click.option("--no-mdns", is_flag=True, help="Neither announce this peer nor look for others by"
              " multicast DNS.")  # fmt: skip
@click.option("--insecure-plaintext", is_flag=True, help="Speak without keys: whoever can reach the"
              " port can read everything and take part.")  # fmt: skip
@click.option("--score", type=click.IntRange(0, 100), metavar="0..100", help="How fit this peer is"
              " to lead.  [default: 50]")  # fmt: skip
@click.option("--score-by", type=click.Choice(settings.SCORES_BY), help="What gives the score while"
              " the peer runs.")  # fmt: skip
@click.option("--dashboard", metavar="[HOST:PORT]", is_flag=False, flag_value="127.0.0.1:0",
              help="Serve a page that shows what this peer knows; without an address at a free port"
              " of this host alone. Needs the extra dashboard.")  # fmt: skip
@click.option("--dashboard-token", metavar="FILE", help="The page asks for the word in this file,"
              " which is made if it is not there. Needed beyond this host.")  # fmt: skip
@click.option("--config", "file", metavar="FILE", help="Read this file in place of ./mabeam.toml.")
@click.option("--metrics", "metrics_at", metavar="[HOST:]PORT", envvar="MABEAM_METRICS",
              help="Serve metrics for Prometheus at /metrics there; a port alone means this host"
              " alone, every user of it. Needs the extra `metrics`.")  # fmt: skip
@click.option("--log-format", type=click.Choice(logs.FORMATS), default="text", show_default=True,
              envvar="MABEAM_LOG_FORMAT", help="What the log on standard error is made of: lines of"
              " text, or JSON objects, one on a line.")  # fmt: skip
@click.option("--verbose", "-v", is_flag=True, help="Log every change of role, leader and member.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def up(
    join_code: str | None,
    no_invite: bool,
    metrics_at: str | None,
    log_format: str,
    verbose: bool,
    as_json: bool,
    **flags: object,
) -> None:
    """Run a peer on this host, in the foreground.

    Peers of the same cluster find each other by multicast DNS and by seeds. When --expect of them
    see each other for the first time they form the cluster; later ones join it. The peer keeps its
    identity, its key and its log in its data folder.

    The peers of one user on one host share a secret, and need no code. For another host, listen on
    an address of this one: the peer prints a code, with which the other is let in.

    Prints a line when it listens and a line when it can serve. SIGTERM, Ctrl-C or the end of the
    terminal leaves the cluster, which a leader hands over to another one; a second SIGTERM or
    Ctrl-C ends at once.

    \b
      mabeam up --name a --expect 1
      mabeam up --listen lan               here, and on the other host:
      mabeam up --join MB1-...
    """
    with prepared(log_format, verbose), output.faults(), output.endings():
        config = config_of(flags, read_code(join_code))
        code = asyncio.run(_run(config, as_json, metrics_at, invites=not no_invite))
        raise output.Exit(code)


def config_of(flags: Mapping[str, object], join_code: str | None = None) -> Config:
    """What the flags, by the names of their parameters, and the other settings come to. join_code:
    as it was read. Raises ConfigError."""
    given = {
        "name": flags["name"],
        "cluster": flags["cluster"],
        "listen": flags["listen"],
        "data_dir": flags["data_dir"],
        "expect": flags["expect"],
        "join_code": join_code,
        "seeds": flags["seeds"] or None,
        "mdns": False if flags["no_mdns"] else None,
        "insecure_plaintext": True if flags["insecure_plaintext"] else None,
        "score": flags["score"],
        "score_by": flags["score_by"],
        "dashboard": flags["dashboard"],
        "dashboard_token": flags["dashboard_token"],
    }
    file = flags["file"]
    assert file is None or isinstance(file, str), "click has made it of a word"
    return settings.load(given, file=file, origin="command line").config


def check(config: Config, metrics_at: str | None) -> None:
    """Refuse what no start could make good. Looks, and makes nothing. Raises ConfigError,
    AddressError."""
    assembly.check(config)
    dashboard.check(config)
    if metrics_at:
        Metrics(metrics_at)


def prepared(log_format: str, verbose: bool) -> AbstractContextManager[None]:
    """The process as a daemon wants it; within the result notes go where the log goes."""
    os.umask(OWNER_ONLY)
    descriptors.raise_limit()
    cores.leave_none()
    allocator.keep_what_is_freed()
    logs.set_up(log_format, logging.INFO if verbose else logging.WARNING)
    return output.notes_to(logs.note) if log_format == "json" else nullcontext()


async def _run(config: Config, as_json: bool, metrics_at: str | None, *, invites: bool) -> int:
    """Serve until told to leave; the exit code."""
    metrics = Metrics(metrics_at) if metrics_at else None
    manager = ServiceManager(os.environ)
    listeners = (manager.on_event,) if metrics is None else (manager.on_event, metrics.tally.count)
    host = Host(config, listeners)
    words: list[int] = []

    def stop(number: int) -> None:
        # Of a terminal that goes the kernel, the shell and the session's manager may all tell, at
        # once: that is nobody who is impatient.
        if number != signal.SIGHUP:
            if words:
                os._exit(128 + number)
            words.append(number)
        manager.stopping()
        host.stop()

    loop = asyncio.get_running_loop()
    for number in ending_signals():
        loop.add_signal_handler(number, stop, number)
    if config.data_dir == ":memory:":
        output.note("this peer keeps nothing: all it knows is lost when it ends")
    manager.begin()
    # What else it listens on first: a port that is taken must not make the peer join and leave.
    held = nullcontext() if metrics is None else metrics.listening()
    async with held, dashboard.running(config, host) as page, AsyncExitStack() as stack:
        dumps = Dumps(host.socket_path, host.parts)
        stack.callback(dumps.close)
        dumps.start()
        served = {} if page is None else {"dashboard": page}
        if metrics is not None:
            # Before the peer, of which there is nothing to tell any more then.
            stack.push_async_callback(metrics.close)
            metrics.begin(host.ask, name=config.name, peer=host.peer, cluster=config.cluster)
            served["metrics"] = metrics.address
        manager.status(f"{config.name} listens on {host.address} and waits for its cluster")
        code = await host.invite() if invites else ""
        _report(as_json, host, "listening", served, code)
        with output.patience(wait_of(config, host.expect)):
            is_ready = await host.ready()
        if is_ready:
            _report(as_json, host, "ready", served)
            manager.ready()
        await host.stopped()
        manager.stopping()
    manager.close()
    return output.INTERRUPTED if signal.SIGINT in words else output.DONE


def ending_signals() -> tuple[signal.Signals, ...]:
    """At which a peer leaves: at SIGHUP, unless it was started to outlive it, as by nohup."""
    always = (signal.SIGINT, signal.SIGTERM)
    is_ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return always if is_ignored else (*always, signal.SIGHUP)


def wait_of(config: Config, expect: int) -> str:
    """What it is that a peer waits for that is not ready yet. expect: as of its host."""
    inviter = "the peer that gave out the code lets it in, " if config.join_code else ""
    return (
        f"{config.name} waits: {inviter}a new cluster forms when {expect} peers see each other, an "
        "old one goes on when a majority is back; see `mabeam status`"
    )


def _report(as_json: bool, host: Host, event: str, served: dict[str, str], code: str = "") -> None:
    """served: where pages of this peer are, by their name. code: with which others join."""
    if as_json:
        known = {"join": code} if code else {}
        output.json_line(
            {
                "event": event,
                "peer": host.peer,
                "name": host.config.name,
                "cluster": host.config.cluster,
                "address": host.address,
                "socket": host.socket_path,
                "pid": os.getpid(),
                **served,
                **known,
            }
        )
    elif event == "listening":
        click.echo(
            f"{host.config.name} ({host.peer}) of cluster {host.config.cluster} listens on "
            f"{host.address}"
        )
        if "dashboard" in served:
            click.echo(f"its dashboard is {served['dashboard']}")
        if "metrics" in served:
            click.echo(f"its metrics are at http://{served['metrics']}/metrics")
        if code:
            click.echo(f"for half an hour, at least, others join with:  mabeam up --join {code}")
            for note in notes_on(host.address):
                output.note(note)
    else:
        click.echo(f"{host.config.name} is ready")
