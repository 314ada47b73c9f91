"""Frames and their strict, bounded encoding."""
