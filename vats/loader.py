"""Vat sources: a fresh instance of a module for each incarnation of each vat."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Collection, Mapping
from functools import lru_cache
from pathlib import Path
from types import CodeType, ModuleType

from ocap.protocol.passable import SHARED, Registry, loading_into, vat_module_name
from vats.ambient import LoadError, vat_builtins
from vats.liveslots import BuildRootObject


@lru_cache(maxsize=128)
def _compiled(text: bytes, path: str) -> CodeType:
    """Vats of one source share its code, which cannot change; what the code makes is each vat's own."""
    return compile(text, path, "exec", dont_inherit=True)


class VatSource:
    """The code of one vat, to be given to one `Liveslots` as its `load`.

    The module is executed anew, never shared with another vat or incarnation: a shared one would be
    a channel around the kernel. While it is loaded it is in `sys.modules` under a name with the vat's id.

    Args:
        source: a file, which ends in `.py`, or a dotted module path.
        vat_id: whose code it is.
        imports: modules it may import beside the pure ones of `vats.ambient`; `"*"` is any.

    Attributes:
        registry: the `@passable` classes of the module.
    """

    def __init__(self, source: str, vat_id: str, imports: Collection[str] = ()) -> None:
        self.registry = Registry(SHARED)
        self._source = source
        self._vat_id = vat_id
        self._imports = imports
        self._module: ModuleType | None = None

    def __call__(self) -> BuildRootObject:
        """Execute the module and return its `build_root_object`.

        Raises:
            LoadError: there is no such file or module, or no `build_root_object` in it, or it imports
                what it may not.
            Exception: whatever the module raises, such as SyntaxError.
        """
        path, name, package = self._locate()
        own_name = vat_module_name(name, self._vat_id)
        while own_name in sys.modules:  # the incarnation before it, which goes on if this one fails
            own_name += "+"
        module = ModuleType(own_name)
        module.__file__ = str(path)
        module.__package__ = package
        vars(module)["__builtins__"] = vat_builtins(self._imports)
        # Compiled from the text: bytecode cached by time and size may be that of an edited file.
        try:
            code = _compiled(path.read_bytes(), str(path))
        except OSError as error:
            raise LoadError(f"{path}: {error.strerror or error}") from None
        self.unload()
        self._module = module
        sys.modules[module.__name__] = module
        with loading_into(self.registry):
            exec(code, module.__dict__)  # noqa: S102 - running the vat's code is the point
        build: BuildRootObject | None = getattr(module, "build_root_object", None)
        if not callable(build):
            raise LoadError(f"{path} defines no build_root_object(vat_powers, parameters, baggage)")
        return build

    def is_of(self, namespace: Mapping[str, object]) -> bool:
        """Whether code with these globals is the module that was loaded last."""
        module = self._module
        return module is not None and namespace is vars(module)

    def unload(self) -> None:
        """Take the module out of `sys.modules`, unless a later incarnation has its place."""
        module, self._module = self._module, None
        if module is not None and sys.modules.get(module.__name__) is module:
            del sys.modules[module.__name__]

    def _locate(self) -> tuple[Path, str, str]:
        if self._source.endswith(".py"):
            path = Path(self._source)
            return path, path.stem, ""
        try:
            spec = importlib.util.find_spec(self._source)
        except ModuleNotFoundError as error:
            raise LoadError(f"no module {self._source}: {error}") from None
        if spec is None or not spec.origin or not spec.origin.endswith(".py"):
            raise LoadError(f"no module {self._source} with a Python file; give a dotted path, or a file ending in .py")
        return Path(spec.origin), self._source, spec.parent or ""
