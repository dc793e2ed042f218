"""Leave out the optional libraries that other libraries import because they are installed."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def hidden(*libraries: str) -> Iterator[None]:
    """Let imports of these libraries fail in the block, as if they were not installed."""
    present = {library: sys.modules.get(library) for library in libraries}
    sys.modules.update(dict.fromkeys(libraries))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for library, module in present.items():
            del sys.modules[library]
            if module is not None:
                sys.modules[library] = module
