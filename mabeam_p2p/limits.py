"""The limits that what a log comes to depends on, as one number that peers can compare."""

import hashlib

from mabeam_p2p.config import Limits
from mabeam_p2p.ids import INTEGER_MAX

WITH_LIMITS = 2
"""The first machine version in which the log says by which limits it is applied."""

FIRST_LIMITS: dict[str, int] = {
    "accounts_max": 65_536,
    "agents_per_peer_max": 1_024,
    "attributes_per_agent_max": 16,
    "auction_bids_max": 1_024,
    "auction_items_max": 64,
    "barrier_members_max": 1_024,
    "barrier_note_bytes_max": 1_024,
    "barrier_parties_max": 4_096,
    "budget_depth_max": 8,
    "budgets_max": 4_096,
    "capabilities_per_agent_max": 64,
    "claims_max": 65_536,
    "closed_auctions_max": 256,
    "closed_barriers_max": 4_096,
    "closed_generations_max": 64,
    "closed_proposals_max": 1_024,
    "counters_max": 65_536,
    "currencies_max": 1_024,
    "dead_tasks_max": 1_024,
    "deals_max": 16_384,
    "finished_tasks_max": 4_096,
    "groups_per_agent_max": 64,
    "guards_max": 1_024,
    "holds_max": 16_384,
    "journal_items_max": 4_096,
    "journals_max": 4_096,
    "locks_max": 16_384,
    "metadata_bytes_max": 4_096,
    "movements_max": 4_096,
    "offers_per_agent_max": 256,
    "open_auctions_max": 256,
    "open_barriers_max": 4_096,
    "open_proposals_max": 1_024,
    "open_tasks_max": 16_384,
    "operations_max": 16_384,
    "parameters_max": 65_536,
    "queue_items_max": 4_096,
    "queues_max": 4_096,
    "rationale_bytes_max": 2_048,
    "reputations_max": 65_536,
    "reservations_max": 16_384,
    "schemas_max": 4_096,
    "scored_seats_max": 16,
    "seat_candidates_max": 64,
    "seat_scores_max": 16,
    "seats_max": 1_024,
    "session_window": 4_096,
    "sessions_max": 16_384,
    "task_argument_bytes_max": 65_536,
    "task_backlog_max": 16,
    "task_losses_max": 32,
    "task_names_max": 4_096,
    "task_requirements_max": 16,
    "task_result_bytes_max": 65_536,
    "task_retries_max": 1_000,
    "task_slots_max": 1_024,
    "task_steals_max": 2,
    "tasks_bytes_max": 67_108_864,
    "value_bytes_max": 65_536,
}
"""Limits that outcomes depend on (all that machines read, but for the size of answers), and what
each was when it came. Never edited, and only added to: a default that is another one today is a
difference, as is one that somebody has set."""


def rules_of(limits: Limits) -> int:
    """A hash of the limits that outcomes depend on; never 0, which stands for: not said. One that
    came later, and stands at what it was then, leaves the hash as it was."""
    given = ((name, getattr(limits, name)) for name in sorted(FIRST_LIMITS))
    text = "\n".join(f"{name}={value}" for name, value in given if value != FIRST_LIMITS[name])
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest) % INTEGER_MAX + 1
