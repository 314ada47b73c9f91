"""One peer's protocol object. `node` holds the cores, `dispatch` is the table of who hears what,
`application` applies what is committed, `report` tells of it."""

from mabeam_p2p.protocol.node.node import Node

__all__ = ["Node"]
