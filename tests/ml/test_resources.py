"""Threads and memory from control groups in the layouts of Docker, Kubernetes and systemd."""

import ctypes
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gregory.ml import resources
from gregory.ml.resources import MemoryEvents, available_memory, cpu_count, integer_instructions, memory_events
from tests.strict import need

C = ctypes.CDLL(None)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The files of a kernel, by path, and 8 CPUs. A test adds the files that it needs."""
    files: dict[str, str] = {}
    monkeypatch.setattr(resources, "_read", lambda path: files.get(str(path), ""))
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    return files


def test_without_a_control_group_the_affinity_mask_counts(machine: dict[str, str]) -> None:
    assert cpu_count() == 8


@pytest.mark.parametrize(
    ("quota", "threads"),
    [("max 100000", 8), ("200000 100000", 2), ("150000 100000", 2), ("50000 100000", 1), ("1000 100000", 1), ("6400000 100000", 8)],
)
def test_quota_of_a_container_with_version_2(machine: dict[str, str], quota: str, threads: int) -> None:
    machine |= {"/proc/self/cgroup": "0::/", "/sys/fs/cgroup/cpu.max": quota}
    assert cpu_count() == threads


@pytest.mark.parametrize(
    ("own", "parent", "threads"), [("300000", "100000", 1), ("100000", "300000", 1), ("max", "200000", 2), ("200000", "max", 2)]
)
def test_the_least_quota_of_the_group_and_those_above_it_counts(machine: dict[str, str], own: str, parent: str, threads: int) -> None:
    machine |= {
        "/proc/self/cgroup": "0::/user.slice/limited.slice/train.scope",
        "/sys/fs/cgroup/user.slice/limited.slice/train.scope/cpu.max": f"{own} 100000",
        "/sys/fs/cgroup/user.slice/limited.slice/cpu.max": f"{parent} 100000",
        "/sys/fs/cgroup/user.slice/cpu.max": "max 100000",
    }
    assert cpu_count() == threads


def test_a_quota_of_version_1_above_the_group_counts(machine: dict[str, str]) -> None:
    machine |= {
        "/proc/self/cgroup": "4:cpu,cpuacct:/docker/abc",
        "/sys/fs/cgroup/cpu/docker/abc/cpu.cfs_quota_us": "-1",
        "/sys/fs/cgroup/cpu/docker/abc/cpu.cfs_period_us": "100000",
        "/sys/fs/cgroup/cpu/docker/cpu.cfs_quota_us": "50000",
        "/sys/fs/cgroup/cpu/docker/cpu.cfs_period_us": "100000",
    }
    assert cpu_count() == 1


def test_group_that_the_container_cannot_see_falls_back_to_the_mount(machine: dict[str, str]) -> None:
    machine |= {"/proc/self/cgroup": "0::/kubepods/pod1/container1", "/sys/fs/cgroup/cpu.max": "200000 100000"}
    assert cpu_count() == 2


@pytest.mark.parametrize(("quota", "threads"), [("-1", 8), ("250000", 3), ("0", 8)])
def test_quota_of_version_1(machine: dict[str, str], quota: str, threads: int) -> None:
    machine |= {
        "/proc/self/cgroup": "5:devices:/\n4:cpu,cpuacct:/docker/abc\n1:name=systemd:/docker/abc",
        "/sys/fs/cgroup/cpu/docker/abc/cpu.cfs_quota_us": quota,
        "/sys/fs/cgroup/cpu/docker/abc/cpu.cfs_period_us": "100000",
    }
    assert cpu_count() == threads


def test_quota_of_version_1_inside_a_container(machine: dict[str, str]) -> None:
    machine |= {
        "/proc/self/cgroup": "4:cpu:/docker/abc",
        "/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "400000",
        "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
    }
    assert cpu_count() == 4


def test_affinity_mask_limits_a_large_quota(machine: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3})
    machine |= {"/proc/self/cgroup": "0::/", "/sys/fs/cgroup/cpu.max": "400000 100000"}
    assert cpu_count() == 1


def test_system_without_affinity_masks_counts_its_processors(machine: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert cpu_count() == 6


def test_memory_of_a_container_with_version_2(machine: dict[str, str]) -> None:
    machine |= {
        "/proc/self/cgroup": "0::/",
        "/sys/fs/cgroup/memory.max": "4294967296",
        "/sys/fs/cgroup/memory.events": "low 0\nhigh 12\nmax 7\noom 3\noom_kill 2\noom_group_kill 0",
    }
    assert memory_events() == MemoryEvents(oom_kills=2, limit=4 << 30)


def test_memory_of_version_1(machine: dict[str, str]) -> None:
    machine |= {
        "/proc/self/cgroup": "4:memory:/docker/abc\n1:cpu:/",
        "/sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes": "1073741824",
        "/sys/fs/cgroup/memory/docker/abc/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 1",
    }
    assert memory_events() == MemoryEvents(oom_kills=1, limit=1 << 30)


@pytest.mark.parametrize(("own", "parent"), [("max", "536870912"), ("1073741824", "536870912"), ("536870912", "1073741824")])
def test_the_least_memory_limit_of_the_group_and_those_above_it_counts(machine: dict[str, str], own: str, parent: str) -> None:
    machine |= {
        "/proc/self/cgroup": "0::/limited.slice/train.scope",
        "/sys/fs/cgroup/limited.slice/train.scope/memory.max": own,
        "/sys/fs/cgroup/limited.slice/memory.max": parent,
        # The kills of the group itself, not those of the other groups below its parent.
        "/sys/fs/cgroup/limited.slice/train.scope/memory.events": "oom_kill 1",
        "/sys/fs/cgroup/limited.slice/memory.events": "oom_kill 7",
    }
    assert memory_events() == MemoryEvents(oom_kills=1, limit=512 << 20)


@pytest.mark.parametrize(
    ("path", "value"),
    [("/sys/fs/cgroup/memory.max", "max"), ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712")],
)
def test_no_limit_is_none(machine: dict[str, str], path: str, value: str) -> None:
    machine[path] = value
    assert memory_events().limit is None


def test_host_without_control_groups_counts_its_own_kills(machine: dict[str, str]) -> None:
    machine["/proc/vmstat"] = "nr_free_pages 81\noom_kill 5"
    assert memory_events() == MemoryEvents(oom_kills=5, limit=None)


def test_system_that_counts_nothing(machine: dict[str, str]) -> None:
    assert memory_events() == MemoryEvents(oom_kills=0, limit=None)


def test_a_missing_file_reads_as_an_empty_text(tmp_path: Path) -> None:
    assert resources._read(tmp_path / "cpu.max") == ""


def test_a_control_group_can_have_any_name(tmp_path: Path) -> None:
    (tmp_path / "cgroup").write_text("0::/formação", encoding="utf-8")
    assert resources._read(tmp_path / "cgroup").startswith("0::/forma")


def test_file_is_read_without_its_newline(tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text("max 100000\n", encoding="ascii")
    assert resources._read(tmp_path / "cpu.max") == "max 100000"


@pytest.mark.parametrize(
    ("cpuinfo", "instructions"),
    [
        ("flags\t\t: fpu sse4_1 avx avx2", "avx2"),
        ("flags\t\t: fpu sse4_1 avx avx2 avx512f avx512bw", "avx512bw"),
        ("flags\t\t: fpu sse4_1 avx avx2 avx512bw avx512_vnni", "avx512_vnni"),
        ("flags\t\t: fpu sse4_1 avx avx2 avx_vnni", "avx_vnni"),
        ("Features\t: fp asimd asimddp", "asimddp"),
        ("", platform.machine()),
    ],
)
def test_the_most_recent_instructions_for_int8_are_named(machine: dict[str, str], cpuinfo: str, instructions: str) -> None:
    machine["/proc/cpuinfo"] = cpuinfo
    assert integer_instructions() == instructions


def test_a_limit_of_the_operator_is_named_beside_the_instructions(machine: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX512_CORE")
    machine["/proc/cpuinfo"] = "flags : avx512_vnni"
    assert integer_instructions() == "avx512_vnni, ONEDNN_MAX_CPU_ISA=AVX512_CORE"


MEMINFO = "MemTotal:       25165824 kB\nMemFree:         1048576 kB\nMemAvailable:   16777216 kB"


def test_without_a_limit_the_memory_of_the_machine_is_available(machine: dict[str, str]) -> None:
    machine["/proc/meminfo"] = MEMINFO
    assert available_memory() == 16 * 2**30


def test_the_limit_of_a_container_minus_its_use_is_available(machine: dict[str, str]) -> None:
    machine |= {
        "/proc/meminfo": MEMINFO,
        "/proc/self/cgroup": "0::/",
        "/sys/fs/cgroup/memory.max": str(8 * 2**30),
        "/sys/fs/cgroup/memory.current": str(3 * 2**30),
        # File pages, which the kernel frees first.
        "/sys/fs/cgroup/memory.stat": f"anon {2 * 2**30}\ninactive_file {2**30}",
    }
    assert available_memory() == 6 * 2**30


def test_a_limit_of_version_1_includes_child_groups(machine: dict[str, str]) -> None:
    machine |= {
        "/proc/meminfo": MEMINFO,
        "/proc/self/cgroup": "4:memory:/docker/abc",
        "/sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes": str(4 * 2**30),
        "/sys/fs/cgroup/memory/docker/abc/memory.usage_in_bytes": str(2 * 2**30),
        "/sys/fs/cgroup/memory/docker/abc/memory.stat": f"inactive_file 4096\ntotal_inactive_file {2**30}",
    }
    assert available_memory() == 3 * 2**30


def test_the_use_of_other_groups_below_a_limited_parent_counts(machine: dict[str, str]) -> None:
    machine |= {
        "/proc/meminfo": MEMINFO,
        "/proc/self/cgroup": "0::/limited.slice/train.scope",
        "/sys/fs/cgroup/limited.slice/train.scope/memory.max": str(6 * 2**30),
        "/sys/fs/cgroup/limited.slice/train.scope/memory.current": str(2**30),
        "/sys/fs/cgroup/limited.slice/memory.max": str(8 * 2**30),
        "/sys/fs/cgroup/limited.slice/memory.current": str(5 * 2**30),
    }
    assert available_memory() == 3 * 2**30


def test_a_limit_above_the_free_memory_has_no_effect(machine: dict[str, str]) -> None:
    machine |= {"/proc/meminfo": MEMINFO, "/proc/self/cgroup": "0::/", "/sys/fs/cgroup/memory.max": str(64 * 2**30)}
    assert available_memory() == 16 * 2**30


def test_nothing_is_available_beyond_the_limit(machine: dict[str, str]) -> None:
    machine |= {"/proc/self/cgroup": "0::/", "/sys/fs/cgroup/memory.max": "1000", "/sys/fs/cgroup/memory.current": "4000"}
    assert available_memory() == 0


# Real control groups of this machine


@pytest.fixture
def below_limits() -> Iterator[list[Path]]:
    """New groups without limits of their own. Their parents have 512 MiB and half a processor."""
    name, size, quota = f"gregory-test-{os.getpid()}", str(512 << 20), "50000"
    version1 = [Path("/sys/fs/cgroup/memory", name, "memory.limit_in_bytes"), Path("/sys/fs/cgroup/cpu", name, "cpu.cfs_quota_us")]
    version2 = [Path("/sys/fs/cgroup", name, "memory.max"), Path("/sys/fs/cgroup", name, "cpu.max")]
    limits = version2 if Path("/sys/fs/cgroup/cgroup.procs").exists() else version1
    groups = list(dict.fromkeys(limit.parent for limit in limits))
    try:
        for limit, value in zip(limits, (size, quota), strict=True):
            (limit.parent / "child").mkdir(parents=True, exist_ok=True)
            limit.write_text(value)
    except OSError:
        need(None, what="the right to make control groups", remedy="run the tests as root on a machine with cgroups")
    try:
        yield [group / "child" for group in groups]
    finally:
        for group in groups:
            (group / "child").rmdir()
            group.rmdir()


@pytest.mark.root
def test_the_kernels_limits_on_a_parent_group_count(below_limits: list[Path]) -> None:
    code = f"""
import os
for group in {[str(group) for group in below_limits]}:
    open(group + "/cgroup.procs", "w").write(str(os.getpid()))
from gregory.ml.resources import available_memory, cpu_count, memory_events
print(memory_events().limit, cpu_count(), available_memory() <= 512 << 20)
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == f"{512 << 20} 1 True\n"


@pytest.mark.skipif(not hasattr(C, "malloc_trim"), reason="only glibc keeps freed memory between used blocks and can return it")
def test_freed_memory_goes_back_to_the_kernel() -> None:
    def resident() -> int:
        """Bytes of memory that is no file."""
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("RssAnon:"))

    C.malloc.restype, C.memset.argtypes, C.free.argtypes = (
        ctypes.c_void_p,
        (ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t),
        (ctypes.c_void_p,),
    )
    size, count = 2**15, 2**11  # blocks that are too small to have pages of their own
    blocks = [C.malloc(size) for _ in range(count)]
    for block in blocks:
        C.memset(block, 1, size)
    for number, block in enumerate(blocks):
        if number % 64:
            C.free(block)
    before = resident()
    resources.return_free_memory()
    assert before - resident() > size * count // 2
    for block in blocks[::64]:
        C.free(block)
