"""The command line: `mabeam`, and `python -m mabeam_p2p`. One file for each family of verbs."""

import os

import click

import mabeam_p2p
from mabeam_p2p.cli import output
from mabeam_p2p.cli.auctions import auction
from mabeam_p2p.cli.ballots import explain, proposals, propose, vote
from mabeam_p2p.cli.barriers import barrier
from mabeam_p2p.cli.budgets import ledger
from mabeam_p2p.cli.demo import demo
from mabeam_p2p.cli.doctor import doctor
from mabeam_p2p.cli.dump import dump
from mabeam_p2p.cli.facts import down, info, leader, members, score, status, transfer
from mabeam_p2p.cli.journal import log
from mabeam_p2p.cli.keys import keys
from mabeam_p2p.cli.recipes import counter, lock, queue
from mabeam_p2p.cli.repair import repair
from mabeam_p2p.cli.seats import elect, lead
from mabeam_p2p.cli.service import service
from mabeam_p2p.cli.setup import completion, config, version
from mabeam_p2p.cli.streams import events, monitor
from mabeam_p2p.cli.tasks import tasks
from mabeam_p2p.cli.up import up
from mabeam_p2p.cli.variables import get, set_, watch
from mabeam_p2p.cli.voters import voters
from mabeam_p2p.cli.why import why

FAMILIES: dict[str, tuple[click.Command, ...]] = {
    "Peers": (up, down, status, info, members, why, voters, keys, monitor, events, log),
    "Agree": (propose, vote, proposals, explain),
    "Lead": (leader, transfer, score, elect, lead),
    "Share and meet": (get, set_, watch, barrier),
    "Hold and count": (lock, counter, queue),
    "Work and trade": (tasks, auction, ledger),
    "This command": (demo, doctor, dump, repair, service, config, completion, version),
}
"""Every verb, in the order in which help shows them."""


class Families(click.Group):
    """A group whose help shows its verbs by family, and whose own faults are told as such."""

    def invoke(self, context: click.Context) -> object:
        with output.faults():
            return super().invoke(context)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        # One column for all, as if they were one list.
        width = max(len(str(verb.name)) for verbs in FAMILIES.values() for verb in verbs)
        for family, verbs in FAMILIES.items():
            with formatter.section(family):
                room = formatter.width - 6 - width
                formatter.write_dl(
                    [(str(verb.name).ljust(width), verb.get_short_help_str(room)) for verb in verbs]
                )


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done, 1 refused or not found, 2 usage, 69 no daemon, 70 a fault of this "
    "program, 75 try again, 78 configuration, 130 interrupted.",
    cls=Families,
)
@click.version_option(mabeam_p2p.__version__, message="mabeam %(version)s")
@click.pass_context
def main(context: click.Context) -> None:
    """Peers without a broker: they find each other, elect, vote, share and meet.

    \b
      mabeam demo                          five peers on this host show what they can do
      mabeam up --name a --expect 1        run a peer; then, in another shell:
      mabeam status                        what it sees
      mabeam propose lr 0.01               put a value to the vote
    """
    if os.environ.get("NO_COLOR"):
        context.color = False


for _verbs in FAMILIES.values():
    for _verb in _verbs:
        main.add_command(_verb)

__all__ = ["main"]
