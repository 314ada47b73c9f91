"""The ledger: who has what money, what of it is set aside, and who may move it."""

from mabeam_p2p.machine.ledger.books import BooksState
from mabeam_p2p.machine.ledger.ledger import Ledger, LedgerState, Operation

__all__ = ["BooksState", "Ledger", "LedgerState", "Operation"]
