"""The bugs that tools/mutants plants: each is a small edit of the protocol or of a machine.

Most were made by somebody once. Each names the rule that it breaks and the test, if there is one,
that was written for it; the simulator must find the others, and finds most of them too. One file
for each family.
"""

from tools.planted import collectives, journals, ledger, parameters, spine, tasks
from tools.planted.base import Edit, Mutant

MUTANTS: tuple[Mutant, ...] = (
    *spine.MUTANTS,
    *parameters.MUTANTS,
    *journals.MUTANTS,
    *tasks.MUTANTS,
    *ledger.MUTANTS,
    *collectives.MUTANTS,
)

__all__ = ["MUTANTS", "Edit", "Mutant"]
