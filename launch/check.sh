#!/bin/sh
# What `make check` runs, all of it even when something fails, so that one run shows everything.
cd "$(dirname "$0")/.." || exit 1
PATH="$PWD/.venv/bin:$PATH"
failed=""

check() {
    name=$1
    shift
    if output=$("$@" 2>&1); then
        printf 'ok      %s\n' "$name"
    else
        printf 'FAILED  %s\n%s\n' "$name" "$output"
        failed="$failed, $name"
    fi
}

check "format" ruff format --check .
check "lint" ruff check .
check "types" python -m mypy
check "import rules" lint-imports
check "migrations" env DJANGO_SETTINGS_MODULE=paas.settings.types python manage.py makemigrations --check --dry-run
check "migrations can be rolled out" env DJANGO_SETTINGS_MODULE=paas.settings.types python manage.py lint_migrations
check "system checks" env DJANGO_SETTINGS_MODULE=paas.settings.types python manage.py check
check "protocol schema" env DJANGO_SETTINGS_MODULE=paas.settings.types python manage.py export_protocol --check
check "dashboards" env DJANGO_SETTINGS_MODULE=paas.settings.types python manage.py export_dashboards --check
check "translations" env DJANGO_SETTINGS_MODULE=paas.settings.types python manage.py messages --check
check "chat bundle" python -m launch.check_bundle
check "model catalogue" env DJANGO_SETTINGS_MODULE=paas.settings.types python manage.py refresh_catalog --check

if [ -n "$failed" ]; then
    printf '\nNot in order: %s\n' "${failed#, }"
    exit 1
fi
