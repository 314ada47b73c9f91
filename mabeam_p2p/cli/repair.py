"""The last resort of a cluster that has lost its majority for ever."""

import sys
import time

import click

from mabeam_p2p.api.repairing import Repair
from mabeam_p2p.api.repairing import repair as repair_folder
from mabeam_p2p.cli import output


@click.command()
@click.argument("data_dir", type=click.Path(file_okay=False), metavar="DATA_DIR")
@click.option("--yes", is_flag=True, help="Do it, without asking.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def repair(data_dir: str, yes: bool, as_json: bool) -> None:
    """Let a stopped peer go on alone.

    For a cluster that has lost its majority for ever. Prints what may be lost, and changes nothing
    unless that is confirmed. The cluster gets a new id; peers of the old one are refused for good
    and have to start with empty folders. Of several survivors take the one whose log ends last: the
    greater last term, then the greater last index. DATA_DIR is what `mabeam up` was given, or a
    folder by cluster and name under the user's state folder, ~/.local/state/mabeam. Exits 1 if it
    is in use, or nothing was changed.
    """
    with output.endings():
        seen = repair_folder(data_dir)
        if not as_json:
            _tell(seen)
        if not yes and not _is_confirmed(seen):
            if as_json:
                output.json_line(seen.to_dict())
            if seen.needed:
                output.note("nothing was changed; --yes does it")
            raise output.Exit(output.REFUSED)
        done = repair_folder(data_dir, write=True)
        if as_json:
            output.json_line(done.to_dict())
        else:
            output.note(
                f"done: the log goes on as cluster {done.new_cluster_id}. Start this peer; start "
                "the others with empty data folders"
            )


def _tell(seen: Repair) -> None:
    now = time.time()
    output.facts(
        {
            "folder": seen.path,
            "peer": seen.peer,
            "cluster": seen.cluster_id,
            "voters": list(seen.voters),
            "log ends at": f"index {seen.last_index}, of term {seen.last_term}",
            "last term": seen.term,
            "last entry": _age(seen.last_entry_at, now),
            "last written": _age(seen.written_at, now),
        }
    )
    if not seen.needed:
        output.note("Nothing to repair: this peer votes alone, and leads by itself. Start it.")
        return
    others = [voter for voter in seen.voters if voter != seen.peer]
    output.note(
        f"Lost: whatever the voters acknowledged behind index {seen.last_index}. The folder does "
        "not say how much of its log was committed: what was not, is from now on.\n"
        f"Fenced for good: {', '.join(others) or 'nobody'}, and all other peers of this cluster. "
        "If a majority of the voters still runs anywhere, stop it first, or do not do this: there "
        "would be two clusters, which never merge."
    )


def _age(moment: float, now: float) -> str:
    text = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment))
    return f"{text} ({max(0.0, now - moment):.0f} s ago)"


def _is_confirmed(seen: Repair) -> bool:
    if not seen.needed or not sys.stdin.isatty():
        return False
    typed: str = click.prompt(
        "Type the peer's id to go on", default="", show_default=False, err=True
    )
    return typed.strip() == seen.peer
