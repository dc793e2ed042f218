"""Programs in Python as forks of a process that has imported their libraries. They are real processes, and they start at once."""

import os
import runpy
import signal
import subprocess
import sys
import traceback
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from django.db import connection


class ForkedPopen(subprocess.Popen):
    """Starts `python -m MODULE` as a fork. The process that starts it has no thread that holds a lock."""

    def _execute_child(self, args: Sequence[Any], *more: Any) -> None:
        program = [str(word) for word in args]
        if program[:2] != [sys.executable, "-m"]:
            super()._execute_child(args, *more)  # type: ignore[misc]
            return
        cwd, env = more[4:6]
        stdin, stdin_parent, stdout_parent, stdout, stderr_parent, stderr = pipes = more[9:15]
        self.pid = os.fork()
        if self.pid == 0:
            os.setsid()
            for number, descriptor in enumerate((stdin, stdout, stderr)):
                if descriptor != -1:
                    os.dup2(descriptor, number)
            # An open end in the child would keep its own standard input from closing.
            for descriptor in {stdin_parent, stdout_parent, stderr_parent} - {-1}:
                os.close(descriptor)
            if cwd is not None:
                os.chdir(cwd)
            be_module(program[2], program[3:], env)
        self._child_created = True
        self._close_pipe_fds(*pipes)  # type: ignore[attr-defined]


def be_module(module: str, arguments: Sequence[str], env: Mapping[str, str] | None) -> NoReturn:
    """Become `python -m MODULE ARGUMENTS` in this forked process, and end with its exit code."""
    code: Any = 1
    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        # The session belongs to the parent. The driver does not end it, because another process opened it.
        connection.connection = None
        if env is not None:
            os.environ.clear()
            os.environ.update(env)
        sys.stdin, sys.stdout, sys.stderr = os.fdopen(0), os.fdopen(1, "w"), os.fdopen(2, "w")
        sys.argv = [module, *arguments]
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 - the process has no caller
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
