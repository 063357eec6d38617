"""Schema evolution: a row stored by an earlier version of a class becomes state of the class as it is."""

from __future__ import annotations

from inspect import getattr_static
from typing import TYPE_CHECKING, Any

from ocap.protocol.errors import OcapError

if TYPE_CHECKING:
    from vats.rows import Rows

VERSION = ""
"""Where a row notes its schema version, if that is not 0: no field has such a name."""


class SchemaError(OcapError, TypeError):
    """A stored object does not fit its class; the class author's fault. The row is left as it was."""


def adapt(cls: type[Any], state: dict[str, Any], rows: Rows) -> tuple[dict[str, Any], bool]:
    """The state of an object as its class wants it, and whether it was migrated.

    Raises:
        SchemaError: `migrate` fails or is missing where it is needed, or the row is of a later version.
    """
    version = state.pop(VERSION, 0)
    wanted = cls.schema_version
    is_migrated = version != wanted
    if is_migrated:
        step = f"{cls.__qualname__}: stored with schema_version {version}, now {wanted}"
        if version > wanted:
            raise SchemaError(f"{step}: an older version of the code cannot read it")
        state = _migrate(cls, version, state, step)
    fields = cls._ocap_fields
    if state.keys() != fields.keys():
        state = {name: value for name, value in state.items() if name in fields}
    for name, value in state.items():
        field = fields[name]
        complaint = field.complaint(value)
        if complaint is not None:
            raise SchemaError(
                f"{field.where} as it is stored{complaint}; raise the schema_version of {cls.__qualname__} "
                "and convert it in a classmethod `migrate`"
            )
        if is_migrated:
            state[name] = rows.admit(value, field.where, cls._ocap_durable)
    return state, is_migrated


def _migrate(cls: type[Any], version: int, state: dict[str, Any], step: str) -> dict[str, Any]:
    if not isinstance(getattr_static(cls, "migrate", None), classmethod | staticmethod):
        return state  # a new version whose values still fit needs no hook
    try:
        migrated = cls.migrate(version, state)
    except Exception as error:
        raise SchemaError(f"{step}: migrate raised {type(error).__name__}: {error}") from error
    if not isinstance(migrated, dict):
        raise SchemaError(f"{step}: migrate returned a {type(migrated).__name__}, not the dict of the fields")
    return migrated
