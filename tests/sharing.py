"""Which tests stay together when pytest-xdist deals them out: a module's, and all those that need the one engine of this machine."""

from xdist.scheduler import LoadScopeScheduling

# A word of a test's folder or parameter -> what it needs, of which there is one on a machine.
ENGINES = {
    "docker": "Docker engine",
    "cluster": "Kubernetes",
    "kubernetes": "Kubernetes",
    "chart": "Kubernetes",
    "chaos": "Kubernetes",
}


def together(test: str) -> str:
    """The name of what this test, by its id, shares with others."""
    path, _, name = test.partition("::")
    parameters = name.partition("[")[2].rstrip("]").split("-")
    needed = (engine for word, engine in ENGINES.items() if word in (path.split("/")[1], *parameters))
    return next(needed, path)


class Sharing(LoadScopeScheduling):
    """xdist's own groups by marker are lost on this pytest, which keeps no id that a plugin has changed."""

    def _split_scope(self, nodeid: str) -> str:
        return together(nodeid)
