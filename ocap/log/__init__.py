"""The message log: one entry per delivery, syscall, fault and end, as a line or as JSON.

`entry` says what an entry is, `lines` how people see one; `writing` keeps a file of them,
`reading` goes through it, `selection`, `chain` and `traffic` answer what was asked about it.
"""

from __future__ import annotations

from ocap.log.entry import BadEntryError, Entry, event_line, from_event, from_json_line, to_json_line
from ocap.log.lines import to_line

__all__ = ["BadEntryError", "Entry", "event_line", "from_event", "from_json_line", "to_json_line", "to_line"]
