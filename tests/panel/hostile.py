"""A vat that says whatever may do harm where it is shown, in every place where it can say something."""

from __future__ import annotations

import json
import unicodedata

HOSTILE = (
    "\x1b[2J\x1b]0;owned\x07\x9b31m\u202egpj.exe\u2066\u200b\u3164\ufeff\U000e0041"
    "</script><script>window.owned=1</script><img src=x onerror=window.owned=1>\"'><svg onload=window.owned=1>"
    "javascript:window.owned=1 {{7*7}} [bold]x[/bold] ]]>&lt; \\ `$(id)` '; DROP TABLE vats; --"
    "\r\n12<7 v9:forged  fault  all is well\x85\u2028x\n# HELP forged 1\nforged 1\n\n%% ;note over v1: x"
    + "\u0300"
    * 20
)

METHOD = "<script>window.owned=1</script>\"'><img src=x onerror=window.owned=1>\u3164`;#"
"""Of methods only what can be printed is let through; this can."""

VAT = f"""
from vats import DurableExo, E, Exo

HOSTILE = {HOSTILE!r}
Odd = type(HOSTILE, (Exo,), {{"__module__": __name__}})
Wrong = type(HOSTILE, (Exception,), {{}})

class Note(DurableExo):
    text: str

class Root(Exo):
    def __init__(self, vat_powers, baggage):
        self.powers, self.baggage = vat_powers, baggage
        self.notes = baggage.provide_map("notes")

    async def bootstrap(self, vats, services):
        self.baggage["other"] = vats["other"]
        self.notes[HOSTILE[:200]] = Note(text=HOSTILE)
        return {{HOSTILE: [HOSTILE, {{HOSTILE: HOSTILE}}]}}

    async def talk(self):
        self.powers.log(HOSTILE)
        print(HOSTILE)
        self.powers.log(chr(0xD800) + HOSTILE)
        await getattr(E(self.baggage["other"]), {METHOD!r})(HOSTILE, **{{HOSTILE: HOSTILE}})

    async def takes(self, *args, **kwargs):
        return Odd()

    async def fail(self):
        raise ValueError(HOSTILE)

    async def fail_oddly(self):
        raise Wrong(HOSTILE)

    async def flood(self, *args):
        while True:
            E.send_only(self.baggage["other"]).takes(1)

    async def calls_nothing(self):
        await getattr(E(self.baggage["other"]), HOSTILE)()

    async def leave(self):
        self.powers.exit_with_failure(HOSTILE)

setattr(Root, {METHOD!r}, Root.takes)

def build_root_object(vat_powers, parameters, baggage):
    return Root(vat_powers, baggage)
"""

_NAME = json.dumps(HOSTILE, ensure_ascii=False)

TOML = "\n".join(
    f"""
[subclusters.{name}]
bootstrap = {_NAME}
[subclusters.{name}.vats.{_NAME}]
source = "hostile.py"
parameters = {{ {_NAME} = {_NAME} }}
[subclusters.{name}.vats.other]
source = "hostile.py"
"""
    for name in ("plain", _NAME, "leaver")
)
# TOML has fewer escapes than JSON, and no half characters.
TOML = "".join(char if char == "\n" or char.isprintable() else f"\\U{ord(char):08X}" for char in TOML)


def unsafe(text: str) -> list[str]:
    """What in a text that people read would move a cursor, hide, or turn round."""
    return sorted({ascii(char) for char in text if char not in "\n " and unicodedata.category(char)[0] in "CZ"})
