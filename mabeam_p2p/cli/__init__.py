"""The command line: `mabeam`, and `python -m mabeam_p2p`. One file for each family of verbs."""

import os

import click

import mabeam_p2p
from mabeam_p2p.cli.auctions import auction
from mabeam_p2p.cli.ballots import explain, proposals, propose, vote
from mabeam_p2p.cli.barriers import barrier
from mabeam_p2p.cli.budgets import ledger
from mabeam_p2p.cli.demo import demo
from mabeam_p2p.cli.facts import down, info, leader, members, status
from mabeam_p2p.cli.journal import log
from mabeam_p2p.cli.recipes import counter, lock, queue
from mabeam_p2p.cli.seats import elect, lead
from mabeam_p2p.cli.setup import completion, config, version
from mabeam_p2p.cli.streams import events, monitor
from mabeam_p2p.cli.tasks import tasks
from mabeam_p2p.cli.up import up
from mabeam_p2p.cli.variables import get, set_, watch


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done, 1 refused or not found, 2 usage, 69 no daemon, 75 try again, "
    "78 configuration, 130 interrupted.",
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


for _verb in (
    up,
    down,
    status,
    info,
    members,
    leader,
    elect,
    lead,
    propose,
    vote,
    proposals,
    explain,
    log,
    get,
    set_,
    watch,
    barrier,
    ledger,
    auction,
    tasks,
    lock,
    counter,
    queue,
    events,
    monitor,
    demo,
    config,
    completion,
    version,
):
    main.add_command(_verb)

__all__ = ["main"]
