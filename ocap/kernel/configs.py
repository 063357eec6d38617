"""What the kernel reads in a subcluster's config, and changes there.

A config is the host program's, kept for whoever asks and for the next reload. It is a dict, which has
under `vats` a dict for each vat by name; of these the kernel knows `source` and `parameters`.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from ocap.kernel.bodies import are_alike, read_body, write_body
from ocap.kernel.lifecycle import VatSpec
from ocap.kernel.rows import VatRow
from ocap.protocol.capdata import CapData


def vat_names(config: CapData) -> Collection[str]:
    """The vats that a config has."""
    return _read(config)[1]


def with_vat(config: CapData, name: str, source: str | None, parameters: CapData | None) -> CapData:
    """The config with other code and parameters of one vat; None: those it says.

    Raises:
        NotPassableError: the whole is too large, or too deep.
    """
    whole, vats = _read(config)
    if name not in vats:
        return config
    if source is not None:
        vats[name]["source"] = source
    if parameters is not None:
        vats[name]["parameters"] = read_body(parameters)
    return write_body(whole)


def without_vat(config: CapData, name: str) -> CapData:
    """The config with one vat less."""
    whole, vats = _read(config)
    if name not in vats:
        return config
    del vats[name]
    return write_body(whole)


def _read(config: CapData) -> tuple[Any, dict[str, Any]]:
    """All of it, and the vats in it, which may be changed."""
    whole = read_body(config)
    match whole:
        case {"vats": dict(vats)}:
            return whole, vats
    return whole, {}


def is_built_as(vat: VatRow, spec: VatSpec) -> bool:
    """Whether a vat's next incarnation will be what `spec` says. Its other options need no incarnation."""
    has, wants = vat.options, spec.options
    return (vat.source, has.imports, has.endowments) == (spec.source, wants.imports, wants.endowments) and are_alike(
        vat.parameters, spec.parameters
    )
