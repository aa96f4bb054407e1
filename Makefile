# Commands of Agent PaaS. Every target that needs packages makes .venv first (launch/bootstrap.py).
# Variables may be given before or after: `PORT=8001 make run` and `make run PORT=8001` are the same.

.DEFAULT_GOAL := help
.PHONY: help run cluster replace test exhaustive attack observed check format reset clean lock frontend bench chaos screenshots

# The first Python that is 3.11 or newer; the one in .venv starts quickest.
PYTHON ?= $(shell for python in .venv/bin/python python3 python3.11 python3.12 python3.13 python3.14; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$python" && exit; \
	done; echo python3)
WITH = $(PYTHON) -m launch.bootstrap
LOCK = $(WITH) --uv pip compile --quiet --generate-hashes --no-annotate --no-header --universal --python-version 3.11

# More than two cores, for what waits; each worker has imports and a database of its own. ARGS="-n 8" where there are more.
PYTEST = -m pytest -n 4 --dist worksteal
SECURITY = tests/attack tests/tenants/test_tenancy_contract.py tests/tenants/test_leak_fuzz.py

help: ## This list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | while IFS="$$(printf '\t')" read -r name text; do \
		printf '  make %-10s %s\n' "$$name" "$$text"; done

run: ## Start everything; Ctrl-C stops it (PORT=8000, VAR_DIR=var)
	@exec $(WITH) requirements.txt -- -m launch run

cluster: ## Start two web processes and two workers behind a proxy (needs caddy)
	@exec $(WITH) requirements.txt -- -m launch cluster

replace: ## Replace the web processes and workers of a running `make run` or `make cluster`, one after the other
	@exec $(WITH) requirements.txt -- -m launch replace

test: ## Run the tests (ARGS="tests/launch -k port" for some of them)
	@exec $(WITH) requirements-dev.txt -- $(PYTEST) -m "not exhaustive" $(ARGS)

exhaustive: ## Run what `make test` leaves out: the rest of its matrices and cases, most of what kills processes
	@exec $(WITH) requirements-dev.txt -- $(PYTEST) -m exhaustive $(ARGS)

attack: ## Run the security suite, with the whole of its matrices
	@exec $(WITH) requirements-dev.txt -- $(PYTEST) $(SECURITY) $(ARGS)

observed: ## Try alerts and dashboards (needs caddy, prometheus and alertmanager)
	@exec $(WITH) requirements-dev.txt -- -m pytest -o addopts="" -ra --strict-markers tests/cluster/test_alerts.py tests/cluster/test_dashboards.py $(ARGS)

check: ## Format, lint, types, import rules, migrations
	@$(WITH) requirements-dev.txt
	@sh launch/check.sh

format: ## Rewrite the Python files in the house style
	@$(WITH) requirements-dev.txt
	@.venv/bin/ruff format . && .venv/bin/ruff check --fix .

reset: ## Delete all stored data after asking (FORCE=1: without asking)
	@exec $(WITH) requirements.txt -- -m launch reset

clean: ## Delete .venv and caches; data stay
	@rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -type d -not -path './frontend/node_modules/*' -prune -exec rm -rf {} +

lock: ## Resolve pyproject.toml anew into requirements*.txt (needs a package index)
	@$(LOCK) --group embedded pyproject.toml -o requirements.txt
	@$(LOCK) --constraint requirements.txt pyproject.toml -o requirements-server.txt
	@$(LOCK) --group embedded --group dev pyproject.toml -o requirements-dev.txt
	@$(LOCK) --constraint requirements.txt --group embedded --group ocr pyproject.toml -o requirements-ocr.txt

frontend: ## Build the chat page into static/chat (needs Node 20; only after changing frontend/)
	@cd frontend && npm ci && npm run build

bench: ## Measure speed and memory under load (ARGS="--help" for what)
	@exec $(WITH) requirements-dev.txt -- -m bench $(ARGS)

chaos: ## Hurt every part of a loaded installation and audit its books (ARGS="--minutes 10 --seed 7")
	@exec $(WITH) requirements-dev.txt -- -m bench.chaos $(ARGS)

screenshots: ## Take the documents' pictures of the portal anew (needs chromium)
	@exec $(WITH) requirements-dev.txt -- -m bench.gallery
