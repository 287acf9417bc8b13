# make run             start everything here, http://localhost:8000 (PORT=8001 for another port)
# make test            every test, the quick ones again on PostgreSQL; ARGS goes to pytest: make test ARGS="-k clone -m 'not browser'"
# make check           the house rules alone: lint, types, import order, templates, migrations
# make bench           our pages, sync and clone measured beside virsh
# make lab             two real storage hosts to play with (NFS, iSCSI, LVM, multipath), until Ctrl-C; as root
# make clean           remove the virtual environment and the caches; .data stays

PYTHON ?= python3
ARGS ?=
BIN := .venv/bin

.PHONY: run test check bench lab clean

run:
	@scripts/system-packages run
	@scripts/venv $(PYTHON) requirements.txt
	@$(BIN)/python manage.py start

test check bench:
	@scripts/system-packages test
	@scripts/venv $(PYTHON) requirements-dev.txt
	@$(MAKE) --no-print-directory _$@

_test:
	@$(BIN)/python tests/everything.py $(ARGS)

_check:
	@$(BIN)/python -m pytest tests/test_house.py $(ARGS)

_bench:
	@$(BIN)/python tests/bench.py $(ARGS)

lab:
	@scripts/system-packages lab
	@$(PYTHON) tests/lab/play.py $(ARGS)

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -not -path './.data/*' -prune -exec rm -rf {} +
