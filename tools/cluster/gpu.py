"""Imaginary GPUs: a device plugin offers COUNT devices of RESOURCE to the kubelet and gives their names to the container.

`python -m tools.cluster.gpu nvidia.com/gpu 2`. There is no device file and no driver. The messages are small, so this module
encodes them by hand, without code generated from the kubelet's protocol: https://kubernetes.io/docs/concepts/extend-kubernetes/compute-storage-net/device-plugins/
"""

import contextlib
import sys
import threading
import time
from collections.abc import Iterator
from concurrent import futures
from dataclasses import dataclass, field
from pathlib import Path

import grpc

# The kubelet searches this folder alone.
FOLDER = Path("/var/lib/kubelet/device-plugins")
KUBELET = FOLDER / "kubelet.sock"
POLL = 0.2


@dataclass(frozen=True, kw_only=True)
class DevicePlugin:
    """The five calls of `v1beta1.DevicePlugin`. Messages are bytes."""

    resource: str
    count: int
    listed: threading.Event = field(default_factory=threading.Event)

    @property
    def socket(self) -> Path:
        return FOLDER / f"gregory-{self.resource.replace('/', '-')}.sock"

    @property
    def offered(self) -> Path:
        """A file that is younger than the kubelet as soon as this kubelet knows the devices."""
        return self.socket.with_suffix(".offered")

    def serve(self) -> grpc.Server:
        handlers = {
            name: grpc.unary_unary_rpc_method_handler(lambda request, context: b"")
            for name in ("GetDevicePluginOptions", "PreStartContainer", "GetPreferredAllocation")
        }
        handlers["ListAndWatch"] = grpc.unary_stream_rpc_method_handler(self._list_and_watch)
        handlers["Allocate"] = grpc.unary_unary_rpc_method_handler(self._allocate)
        server = grpc.server(futures.ThreadPoolExecutor(8))
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("v1beta1.DevicePlugin", handlers),))
        server.add_insecure_port(f"unix://{self.socket}")
        server.start()
        return server

    def register(self) -> None:
        request = message_field(1, b"v1beta1") + message_field(2, self.socket.name.encode()) + message_field(3, self.resource.encode())
        with grpc.insecure_channel(f"unix://{KUBELET}") as channel:
            channel.unary_unary("/v1beta1.Registration/Register")(request, timeout=5)

    def _list_and_watch(self, request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        """One list, because no device fails. The stream stays open, because its end would remove the plugin."""
        yield b"".join(
            message_field(1, message_field(1, f"gpu-{number}".encode()) + message_field(2, b"Healthy")) for number in range(self.count)
        )
        # gRPC requests the next message after this one is sent.
        self.listed.set()
        while context.is_active():
            time.sleep(POLL)

    def _allocate(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        """Set a variable with the names of the devices, as NVIDIA's container runtime does."""
        response = b""
        for _, container in fields_of(request):
            names = b",".join(name for _, name in fields_of(container))
            response += message_field(1, message_field(1, message_field(1, b"NVIDIA_VISIBLE_DEVICES") + message_field(2, names)))
        return response


def message_field(number: int, value: bytes) -> bytes:
    """A length-delimited field of a protocol buffer."""
    return bytes([number << 3 | 2]) + _varint(len(value)) + value


def fields_of(message: bytes) -> Iterator[tuple[int, bytes]]:
    """Number and value of each field. All fields of these messages are length-delimited."""
    position = 0
    while position < len(message):
        number = message[position] >> 3
        position += 1
        length = shift = 0
        more = True
        while more:
            byte = message[position]
            position += 1
            length |= (byte & 127) << shift
            shift += 7
            more = byte > 127
        yield number, message[position : position + length]
        position += length


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 127:
        encoded.append(value & 127 | 128)
        value >>= 7
    return bytes([*encoded, value])


def main(resource: str, count: int) -> None:
    """Offer the devices for ever. A restarted kubelet forgets its plugins and empties their folder."""
    plugin = DevicePlugin(resource=resource, count=count)
    known: int | None = None
    server: grpc.Server | None = None
    while True:
        with contextlib.suppress(FileNotFoundError, grpc.RpcError):
            kubelet = KUBELET.stat().st_ino
            if kubelet != known or not (plugin.socket.exists() and plugin.offered.exists()):
                if server is not None:
                    server.stop(grace=None).wait()
                plugin.socket.unlink(missing_ok=True)
                plugin.offered.unlink(missing_ok=True)
                plugin.listed.clear()
                server = plugin.serve()
                plugin.register()
                if plugin.listed.wait(5):
                    plugin.offered.touch()
                    known = kubelet
        time.sleep(POLL)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
