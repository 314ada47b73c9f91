"""Optuna without a database: studies live in the replicated log of the peers.

    from mabeam_p2p.blocking import join
    from mabeam_p2p.integrations.optuna import Storage

    with join("searcher-1") as agent:
        study = optuna.create_study(
            study_name="digits", storage=Storage(agent), load_if_exists=True
        )
        study.optimize(objective, n_trials=50)

Every peer that does so works on the same study. A trial whose agent is gone is failed by the others
(`Storage`). See docs/optuna.md.
"""

try:
    import optuna  # noqa: F401
except ImportError as error:
    raise ImportError(
        f"mabeam_p2p.integrations.optuna needs Optuna ({error}): install it with "
        "`pip install 'mabeam-p2p[optuna]'`"
    ) from error

from mabeam_p2p.integrations.optuna.backend import JournalBackend
from mabeam_p2p.integrations.optuna.storage import Storage

__all__ = ["JournalBackend", "Storage"]
