"""An entry as a line for people.

`12<7 v2:moola  deliver  message ko5=o+0 .make_purse(100) -> kp9=p-3`: crank 12, caused by
crank 7; each name as the kernel's, then the vat's.
"""

from __future__ import annotations

import json
from typing import Any

from ocap.legible import safe_text
from ocap.log.entry import Entry, Fields

LINE_LENGTH = 200
"""Characters of one value on a line: it stays a line. The JSON has the whole."""


def to_line(entry: Entry) -> str:
    """One entry as one line, inert on a terminal whatever a vat wrote into it."""
    head = f"{entry.crank}<{entry.cause} {vat_text(entry)}  {entry.kind}"
    if entry.kernel is not None and entry.vatside is not None:
        what = f"{entry.op} {_operation(entry.op or '', entry.kernel, entry.vatside)}".rstrip()
        return f"{head}  {what}" if entry.text is None else f"{head}  {what}: {safe_text(entry.text)}"
    return f"{head}  {safe_text(entry.text or '')}".rstrip()


def vat_text(entry: Entry) -> str:
    """Whose entry it is."""
    return "kernel" if entry.vat is None else safe_text(f"{entry.vat}:{entry.name or entry.vat}")


def _operation(op: str, ours: Fields, theirs: Fields) -> str:
    match op:
        case "message" | "send":
            result = f" -> {_pair(ours['result'], theirs['result'])}" if ours["result"] and theirs["result"] else ""
            return f"{_pair(ours['target'], theirs['target'])} .{call_text(ours)}{result}"
        case "notify" | "resolve":
            pairs = zip(ours["settlements"], theirs["settlements"], strict=False)
            return ", ".join(_settled(mine, its) for mine, its in pairs)
        case "start":
            return f"incarnation {ours['incarnation']} {value_text(ours['parameters'])}"
        case "subscribe":
            return _pair(ours["promise"], theirs["promise"])
        case "forward":
            return f"{_pair(ours['promise'], theirs['promise'])} to {_pair(ours['to'], theirs['to'])}"
        case "keep":
            what = "decision of" if ours["decision"] else "subscription to"
            return f"{what} {_pair(ours['promise'], theirs['promise'])}"
        case "exit":
            return f"{'failure' if ours['is_failure'] else 'value'} {value_text(ours['data'])}"
    return " ".join(_pair(mine, its) for mine, its in zip(ours["refs"], theirs["refs"], strict=False))


def _pair(kref: str, vref: str) -> str:
    return safe_text(f"{kref}={vref}")


def _settled(ours: Fields, theirs: Fields) -> str:
    return f"{_pair(ours['promise'], theirs['promise'])} {outcome_text(ours)}"


def outcome_text(settlement: Fields, limit: int = LINE_LENGTH) -> str:
    """How a promise settled, and to what."""
    return f"{'rejected' if settlement['rejected'] else 'fulfilled'} {value_text(settlement['data'], limit)}"


def call_text(fields: Fields, limit: int = LINE_LENGTH) -> str:
    """The method and arguments of a message."""
    method = safe_text(fields["method"])
    match fields["args"]:
        case [list(args), dict(kwargs)]:
            parts = [value_text(arg, limit) for arg in args]
            parts += [f"{safe_text(key)}={value_text(value, limit)}" for key, value in kwargs.items()]
            return f"{method}({', '.join(parts)})"
    return f"{method}({value_text(fields['args'], limit)})"


def value_text(value: Any, limit: int = LINE_LENGTH) -> str:
    """A value as JSON on one line, cut where it is long."""
    try:
        text = safe_text(json.dumps(value, ensure_ascii=False))
    except RecursionError:
        return "<nested too deep to be shown>"
    return text if len(text) <= limit else f"{text[:limit]}… {len(text)} characters"
