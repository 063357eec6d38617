"""What a vat's code finds without being given it: allowed imports, and builtins without files or terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ocap.protocol.deliveries import StartVat
from tests.vats.puppet_kernel import Rows, data
from vats.ambient import PURE
from vats.liveslots import Liveslots
from vats.loader import VatSource

ROOT = """
def build_root_object(vat_powers, parameters, baggage):
    from vats import Exo
    return Exo()
"""


def start(folder: Path, code: str, imports: tuple[str, ...] = ()) -> tuple[str | None, list[str]]:
    """The fault of a vat with that code at its top, and what it logged."""
    path = folder / "vat.py"
    path.write_text(code + ROOT)
    lines: list[str] = []
    source = VatSource(str(path), "v1", imports)
    vat = Liveslots("v1", Rows(), source, registry=source.registry, log=lines.append)
    fault = vat.deliver(StartVat(0, data({}))).fault
    vat.close()
    source.unload()
    return fault, lines


@pytest.mark.parametrize("module", sorted(PURE))
def test_every_module_of_the_list_can_be_imported(tmp_path: Path, module: str) -> None:
    package, _, name = module.rpartition(".")
    assert start(tmp_path, f"from {package} import {name}" if package else f"import {name}")[0] is None


ALLOWED = {
    "import collections.abc": (),
    "from collections import abc, deque": (),
    "from urllib.parse import quote": (),
    "from urllib import parse": (),
    "import tests": ("tests",),
    "import tests.stores": ("tests",),
    "from tests import stores": ("tests.stores",),
    "from tests.stores import rows_of": ("tests.stores",),
    "from tests.stores import rows_of  # it imports apsw": ("tests",),
    "import os, socket": ("*",),
}


@pytest.mark.parametrize("code", ALLOWED)
def test_what_the_list_allows_is_imported(tmp_path: Path, code: str) -> None:
    assert start(tmp_path, code, ALLOWED[code])[0] is None


REFUSED = {
    "import os": ((), 'may not import os; its config would have to say imports = ["os"]'),
    "x = 1\nimport os": ((), "vat.py:2: this vat may not import os"),
    "import os.path": ((), "may not import os;"),
    "from os import path": ((), "may not import os;"),
    "from os.path import join": ((), "may not import os.path;"),
    "import urllib.request": ((), "may not import urllib;"),
    "from urllib import parse, request": ((), "may not import urllib;"),
    "import urllib.parse": ((), "gives this vat all of urllib; write `from urllib import parse`"),
    "import tests.stores": (("tests.stores",), "all of tests; write `from tests import stores`"),
    "from tests import conftest": (("tests.stores",), "may not import tests;"),
    "__import__('os')": ((), "may not import os;"),
    "exec('import os', {})": ((), "may not import os;"),
    "import collectionsx": ((), "may not import collectionsx;"),
    "from ocap import Kernel": ((), "may not import ocap;"),
}


@pytest.mark.parametrize("code", REFUSED)
def test_anything_else_is_refused_with_its_place_and_what_to_write(tmp_path: Path, code: str) -> None:
    imports, reason = REFUSED[code]
    fault, _ = start(tmp_path, code, imports)
    assert fault is not None
    assert f"{tmp_path / 'vat.py'}:" in fault or "exec" in code
    assert reason in fault


def test_relative_imports_are_resolved_before_they_are_looked_up(tmp_path: Path) -> None:
    for imports, allowed in (((), False), (("tests.stores",), True)):
        scope = '__package__ = "tests"\nfrom .stores import rows_of\nfrom . import stores\n'
        assert (start(tmp_path, scope, imports)[0] is None) == allowed


def test_code_may_do_without_a_module_that_it_may_not_import(tmp_path: Path) -> None:
    assert start(tmp_path, "try:\n    import numpy\nexcept ImportError:\n    numpy = None\n")[0] is None


@pytest.mark.parametrize("call", ["open('x')", "input()", "breakpoint()", "exit()", "quit()", "help()"])
def test_what_reaches_outside_is_refused(tmp_path: Path, call: str) -> None:
    fault, _ = start(tmp_path, call)
    assert fault is not None
    assert f"AmbientError: {call.partition('(')[0]}(): a vat " in fault


def test_print_writes_to_the_log(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert start(tmp_path, "print('a', 1, sep='-')\nprint()") == (None, ["a-1", ""])
    assert capfd.readouterr() == ("", "")


def test_builtins_are_the_own_of_each_incarnation(tmp_path: Path) -> None:
    code = "assert not hasattr(__builtins__, 'get') or 'shared' not in __builtins__\n__builtins__['shared'] = 1\n"
    for _ in range(2):
        assert start(tmp_path, code + "assert shared == 1\n")[0] is None


def test_classes_made_by_attrs_and_dataclasses_work(tmp_path: Path) -> None:
    code = """
from __future__ import annotations
from collections import namedtuple
from dataclasses import dataclass
from enum import Enum
from attrs import frozen

@frozen
class A:
    x: int = 0

@dataclass
class B:
    x: int = 0

C, D = namedtuple("C", "x"), Enum("D", "x")
assert [A(1).x, B(1).x, C(1).x, D.x.value] == [1, 1, 1, 1]
"""
    assert start(tmp_path, code)[0] is None


def made(**options: Any) -> Any:
    from ocap import ClusterConfig, VatConfig  # noqa: PLC0415 - the other tests need no kernel

    return ClusterConfig("a", {"a": VatConfig(str(Path(__file__).parent / "survivors/keeper.py"), **options)})


@pytest.mark.parametrize("name", ["", "a b", "a.", "numpy.*"])
def test_a_config_names_modules(name: str) -> None:
    from ocap import ConfigError  # noqa: PLC0415
    from ocap.config import check_config  # noqa: PLC0415

    with pytest.raises(ConfigError, match=r"vats.a.imports: .* is no module"):
        check_config(made(imports=[name]), {})
    assert check_config(made(imports=["numpy.linalg", "*"]), {}).vats["a"].imports == ("numpy.linalg", "*")
