"""The steps about who may do something: a lock whose holder is paused, a seat whose holder dies."""

import os
import signal
import time

from mabeam_p2p.cli.demo.crew import GROUP, LEASE_SECONDS
from mabeam_p2p.cli.demo.director import Crew
from mabeam_p2p.cli.demo.scene import Scene, alike
from mabeam_p2p.cli.demo.stage import Step

SEAT = "planner"
EARLY, LATE = "written by the one that holds the lock", "written by one that held it once"


async def lock(scene: Scene, step: Step, crew: Crew) -> None:
    stage = scene.stage
    await crew.come()
    first, second = crew.members[:2]
    await crew.order(first, "take")
    old = (await crew.reply(first)).token
    os.killpg(first.process.pid, signal.SIGSTOP)
    paused = time.monotonic()
    stage.progress(f"{first.id} is paused while it holds the lock")
    await crew.order(second, "take")
    new = (await crew.reply(second)).token
    seconds = time.monotonic() - paused
    stage.check(
        step,
        f"{first.id} holds a lock for {LEASE_SECONDS:g} s and is paused: {second.id} has it after "
        f"{seconds:.2f} s, and its token {new} is greater than {old}",
        new > old > 0,
    )
    await crew.order(second, "write", EARLY)
    written = await crew.reply(second)
    # It lies in the mailbox of a process that stands still, and is done when that goes on.
    await crew.order(first, "write", LATE)
    os.killpg(first.process.pid, signal.SIGCONT)
    refused = await crew.reply(first)
    stage.check(
        step,
        f"{first.id} goes on and writes too late: the guard of the file refuses token {old}, for "
        f"it has seen {new}",
        written.token == new and (refused.token, refused.refused_for) == (old, new),
    )
    stage.check(step, "the file is as its holder left it", crew.report.read_text() == EARLY)
    step.facts |= {"tokens": [old, new], "takeover_seconds": round(seconds, 3)}


async def seat(scene: Scene, step: Step, crew: Crew) -> None:
    stage = scene.stage
    ranked = sorted(crew.members, key=lambda member: -member.score)
    best, next_best = ranked[:2]
    elected = await crew.group.elect(SEAT)
    stage.check(
        step,
        f"{len(ranked)} agents elect {elected.holder} as the {SEAT}, whose published score of "
        f"{best.score:g} is the best: token {elected.token}",
        elected.holder == best.id and elected.token > 0,
    )
    stage.progress(f"kill -9 of {best.id}")
    killed = time.monotonic()
    await crew.kill(best)

    async def has_successor() -> bool:
        seats = [voice.group(GROUP).seat(SEAT) for voice in scene.voices.values()]
        return all(one.holder not in (None, best.id) for one in seats)

    followed = await scene.until(has_successor)
    seconds = time.monotonic() - killed
    seats = [voice.group(GROUP).seat(SEAT) for voice in scene.voices.values()]
    stage.check(
        step,
        f"it was killed by kill -9: after {seconds:.2f} s every peer names {seats[0].holder}, the "
        f"next best, with token {seats[0].token}",
        followed
        and alike((one.holder, one.token) for one in seats)
        and seats[0].holder == next_best.id
        and seats[0].token > elected.token,
    )
    step.facts |= {
        "killed": best.id,
        "holder": seats[0].holder,
        "tokens": [elected.token, seats[0].token],
        "successor_seconds": round(seconds, 3),
    }
    # The crew's work is done; what comes next ends the daemons that it lives on.
    await crew.go()
