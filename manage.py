#!/usr/bin/env python
"""The entry point of all commands: Django's command line."""

import gc
import os
import sys


def main() -> None:
    """Run a management command. The collector is off during its imports."""
    gc.disable()
    from gregory.launch.local import early

    early.prepare()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gregory.settings")
    from django.core.management import ManagementUtility
    from django.core.management.base import BaseCommand

    from gregory.collector import skip_at_exit
    from gregory.output import Output

    class Utility(ManagementUtility):
        def fetch_command(self, subcommand: str) -> BaseCommand:
            command = super().fetch_command(subcommand)
            gc.freeze()
            gc.enable()
            return command

    # Django's own commands write there too.
    sys.stdout, sys.stderr = Output(sys.stdout), Output(sys.stderr)
    skip_at_exit()
    Utility(sys.argv).execute()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        # Ctrl-C during the imports. A command handles its own.
        sys.exit(130)
