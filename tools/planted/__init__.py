"""The bugs that tools/mutants plants: each is a small edit of the protocol or of a machine.

Most were made by somebody once. Each names the rule that it breaks and the test, if there is one,
that was written for it; the simulator must find the others, and finds most of them too. One file
for each family, which needs no more than to be here.
"""

from importlib import import_module
from pkgutil import iter_modules

from tools.planted.base import Edit, Mutant

MUTANTS: tuple[Mutant, ...] = tuple(
    mutant
    for module in sorted(found.name for found in iter_modules(__path__))
    for mutant in getattr(import_module(f"{__name__}.{module}"), "MUTANTS", ())
)

__all__ = ["MUTANTS", "Edit", "Mutant"]
