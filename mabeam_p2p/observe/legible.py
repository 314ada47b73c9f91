"""Text of others as it may stand before a person: no sign of it breaks a line, moves a terminal or
turns what stands beside it around."""

import json


def legible(text: str, but: str = "") -> str:
    """`text` with every sign that is not printable escaped as JSON does it, `but` for these."""
    if text.isprintable():
        return text
    return "".join(
        sign if sign.isprintable() or sign in but else json.dumps(sign)[1:-1] for sign in text
    )
