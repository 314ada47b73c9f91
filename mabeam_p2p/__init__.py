"""Peers without a broker that find each other, elect, vote, agree and meet at barriers."""

__version__ = "0.1.0"
