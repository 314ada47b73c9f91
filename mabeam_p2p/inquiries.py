"""What is asked of a peer about itself and its neighbours, for people and monitors; a part of
`requests`, whose tags these share."""

from msgspec import Struct

from mabeam_p2p.ids import PeerId
from mabeam_p2p.records import Evidence, Figure, Histogram


class ReadEvidence(Struct, frozen=True, gc=False, array_like=True, tag=60):
    """What this peer knows of `peer`, and from what. Answer: EvidenceAnswer."""

    peer: PeerId


class ReadFigures(Struct, frozen=True, gc=False, array_like=True, tag=61):
    """What this peer can be measured by. Answer: Figures."""


class EvidenceAnswer(Struct, frozen=True, gc=False, array_like=True, tag=60):
    evidence: Evidence


class Figures(Struct, frozen=True, gc=False, array_like=True, tag=61):
    figures: tuple[Figure, ...]
    histograms: tuple[Histogram, ...] = ()
