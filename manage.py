#!/usr/bin/env python
"""Management commands. They sign in to PostgreSQL as paas_owner, which may migrate and provision."""

import os
import sys
from contextlib import nullcontext


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "paas.settings.dev")
    os.environ.setdefault("DATABASE_LOGIN", "owner")
    os.environ.setdefault("STATEMENT_TIMEOUT_MS", "0")
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line

    from tenants import scope

    try:
        # Django's own migration commands look at the schema as its owner; everything else binds for itself.
        with scope.owner() if {"makemigrations", "showmigrations"} & set(sys.argv[1:2]) else nullcontext():
            execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        sys.exit(f"Configuration: {error}")


if __name__ == "__main__":
    main()
