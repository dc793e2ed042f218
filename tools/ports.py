"""A port of this machine for a server that a test starts, and may stop and start again."""

import random
import socket

# Below the ports that Linux gives to clients and to servers without a port (net.ipv4.ip_local_port_range). Such a port would be free only
# until another process connects to any server.
LOWEST, HIGHEST = 10_000, 29_999


def free_port() -> int:
    """A port on which no server of this machine listens. Each process draws others."""
    draw = random.SystemRandom()
    while True:
        port = draw.randint(LOWEST, HIGHEST)
        with socket.socket() as probe:
            try:
                probe.bind(("", port))
            except OSError:
                continue
        return port
