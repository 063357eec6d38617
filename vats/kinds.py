"""Kind numbers: what sort of thing `o+dKIND/INSTANCE` is."""

from __future__ import annotations

MAP, SET, WEAK_MAP, WEAK_SET = range(1, 5)
STORE_KINDS = range(MAP, WEAK_SET + 1)
"""Stores. All of them draw their instance numbers from one counter, so a number names one store."""

FIRST_CLASS_KIND = 10
"""Classes of exos and kits have this number and those above."""
