"""Text of others as it may stand before a person: no sign of it breaks a line, moves a terminal or
turns what stands beside it around."""

import json
import unicodedata

JOINERS = "\u200c\u200d"
"""They join or part the signs beside them, in Persian or in emoji."""


def legible(text: str, but: str = "") -> str:
    """`text` with every sign that cannot be seen escaped as JSON does it, `but` for these."""
    if text.isprintable():
        return text
    return "".join(
        sign if _is_legible(sign) or sign in but else json.dumps(sign)[1:-1] for sign in text
    )


def _is_legible(sign: str) -> bool:
    """Python counts every blank but one as not printable."""
    return sign.isprintable() or sign in JOINERS or unicodedata.category(sign) == "Zs"
