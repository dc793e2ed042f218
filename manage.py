#!/usr/bin/env python
"""The entry point of all commands: Django's command line."""

import os
import sys


def main() -> None:
    """Run a management command."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gregory.settings")
    from django.core.management import execute_from_command_line

    from gregory.collector import skip_at_exit
    from gregory.output import Output

    # Django's own commands write there too.
    sys.stdout, sys.stderr = Output(sys.stdout), Output(sys.stderr)
    skip_at_exit()
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
