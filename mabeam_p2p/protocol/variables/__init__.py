"""Variables: eventual, causal, acknowledged. Pure; called by `node` alone.

`variables.Variables` is one peer's part; `dotted` says what a variable is, `table` holds them,
`pushes` accounts for writes on their way, `anti_entropy` evens out what they missed.
"""

from mabeam_p2p.protocol.variables.variables import Variables

__all__ = ["Variables"]
