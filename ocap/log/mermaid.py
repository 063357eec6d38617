"""A sequence diagram as Mermaid text, for Markdown pages and mermaid.live."""

from __future__ import annotations

import re

from ocap.log.traffic import Traffic

_ARROWS = {"message": "->>", "fulfilled": "-->>", "rejected": "--x"}


def to_mermaid(traffic: Traffic) -> str:
    """The diagram, its last line ended."""
    ids = {vat: _id(vat, number) for number, vat in enumerate(traffic.names)}
    lines = ["sequenceDiagram"]
    lines += [f"    participant {ids[vat]} as {_label(vat, name)}" for vat, name in traffic.names.items()]
    for step in traffic.steps:
        if step.kind == "note":
            lines.append(f"    Note over {ids[step.target]}: {_escaped(step.text)}")
        else:
            lines.append(f"    {ids[step.source]}{_ARROWS[step.kind]}{ids[step.target]}: {_escaped(step.text)}")
    return "\n".join(lines) + "\n"


def _id(vat: str, number: int) -> str:
    return vat if re.fullmatch(r"host|kernel|v[0-9]+", vat) else f"p{number}"


def _label(vat: str, name: str) -> str:
    return _escaped(name if vat == name else f"{vat} {name}")


def _escaped(text: str) -> str:
    """`text` with whatever Mermaid, or the HTML it makes, might take for its own as character codes."""
    text = re.sub(r"[^\w .,:()\[\]{}\"'=+*/!?@→…-]", lambda found: f"#{ord(found[0])};", text)
    return re.sub(r"^((?:no)?wrap):", r"\1#58;", text)
