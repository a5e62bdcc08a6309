# make demo   the main job on this machine, no root
# make test   style, types and tests; CI runs make test-probe-rs, too
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
PROBE_RS := tests/embassy/test_probe_rs.py
SYSTEMD := tests/systemd
APART := --ignore $(PROBE_RS) --ignore $(SYSTEMD)
# The tests start a thousand Python processes: none is to compile again what another has compiled.
unexport PYTHONDONTWRITEBYTECODE
WORKERS := -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

.PHONY: demo demo-board pictures dashboard test test-probe-rs test-systemd sim days real-days crashes kills board-cuts link-loss check bench bench-mcu golden fuzz fuzz-api mutants clean help
help:            ## show the targets
	@grep -E '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

$(STAMP): pyproject.toml scripts/setup-venv.sh
	@scripts/setup-venv.sh "$(PYTHON)" "$(VENV)" demo
	@touch $@

# With what `demo` needs: one installation in place of two.
$(VENV)/.installed-dev: pyproject.toml scripts/setup-venv.sh
	@scripts/setup-venv.sh "$(PYTHON)" "$(VENV)" dev
	@touch $(STAMP) $(VENV)/.installed-sim $@

$(VENV)/.installed-sim: pyproject.toml scripts/setup-venv.sh
	@scripts/setup-venv.sh "$(PYTHON)" "$(VENV)" sim
	@touch $(STAMP) $@

$(VENV)/.installed-bench: $(VENV)/.installed-dev
	@scripts/setup-venv.sh "$(PYTHON)" "$(VENV)" bench
	@touch $@

$(VENV)/.installed-mutants: $(VENV)/.installed-dev
	@scripts/setup-venv.sh "$(PYTHON)" "$(VENV)" mutants
	@touch $@

demo: $(STAMP)   ## coordinator, nodes, example rules on real input; shuts down by itself, with KEEP=1 on Ctrl-C
	@KEEP=$(KEEP) $(BIN)/python scripts/demo.py

demo-board: $(VENV)/.installed-sim ## two nodes and a simulated board, deployed to by each strategy; builds firmware once, which needs Rust
	@$(BIN)/python -m scripts.demo_board

pictures: $(VENV)/.installed-dev ## pictures of the dashboard for the docs, of a real run of the demo: four minutes
	@$(BIN)/python scripts/pictures.py

# Without scripts: the build needs none of them.
dashboard/node_modules/.package-lock.json: dashboard/package.json dashboard/package-lock.json dashboard/.npmrc
	@cd dashboard && npm ci --ignore-scripts --no-progress --loglevel=error >/dev/null
	@touch $@

dashboard: dashboard/node_modules/.package-lock.json ## build the dashboard from dashboard/ into the package; commit what changed
	@cd dashboard && npx --no-install tsc && node build.mjs

check: $(VENV)/.installed-dev   ## style, types, generated files
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python tools/generate.py --check

test: $(VENV)/.installed-dev    ## check, then the tests; a skipped one fails
# pytest compiles each file of tests. Meanwhile one process does that; later each of several would do it again.
	@$(BIN)/python -m pytest -q --collect-only $(APART) >/dev/null 2>&1 &
	@scripts/install-test-deps.sh
	@$(BIN)/eyeflow node kafka-setup --home $(VENV)/kafka >/dev/null
	@$(MAKE) --no-print-directory dashboard/node_modules/.package-lock.json
	$(MAKE) check
	$(BIN)/python -m pytest -q --fail-on-skip $(WORKERS) $(APART) $(PYTEST_ARGS)

test-probe-rs: $(VENV)/.installed-dev ## flashing with the real probe-rs, built once from its crate: that takes minutes
	$(BIN)/python -m pytest -q --fail-on-skip $(PROBE_RS)

test-systemd: $(VENV)/.installed-dev ## the node as a service of a real systemd, in namespaces of its own: as root, on Linux
	$(BIN)/python -m pytest -q --fail-on-skip $(SYSTEMD)

sim: $(VENV)/.installed-dev     ## the whole cluster from N seeds (100), beginning with SEED (a new one)
	PYTHONPATH=tests $(BIN)/python -m simulation $(if $(SEED),--seed $(SEED)) --runs $(or $(N),100)

days: $(VENV)/.installed-dev    ## three virtual days alone with BACKEND (kafka) while things fail, from N seeds (1), beginning with SEED
	PYTHONPATH=tests $(BIN)/python -m simulation $(if $(SEED),--seed $(SEED)) --runs $(or $(N),1) --days $(or $(BACKEND),kafka)

real-days: $(VENV)/.installed-dev ## DAYS (3) of a node with a real Kafka of its own that is killed; the clock of the node runs, that of Kafka does not
	@$(BIN)/eyeflow node kafka-setup --home $(VENV)/kafka >/dev/null
	EYEFLOW_FUZZ=full EYEFLOW_DAYS=$(or $(DAYS),3) $(BIN)/python -m pytest -q -rP --show-capture=stdout tests/unit/node/broker/test_days.py

crashes: $(VENV)/.installed-dev ## the coordinator or a node dies at each step of each strategy that leaves something new, or at each EVERY-th from OFFSET on
	EYEFLOW_CRASHES=$(or $(EVERY),1) EYEFLOW_CRASHES_OFFSET=$(or $(OFFSET),0) $(BIN)/python -m pytest -q -rP -n $(or $(PROCESSES),logical) -o timeout=0 tests/simulation/test_steps.py -k "dies_at_a_step or leave_nothing_new"

kills: $(VENV)/.installed-dev   ## N times (1000) a real node or coordinator is killed under load, beginning with SEED; NODES, BACKEND
	@$(BIN)/eyeflow node kafka-setup --home $(VENV)/kafka >/dev/null
	PYTHONPATH=tests $(BIN)/python -m kills $(if $(SEED),--seed $(SEED)) --kills $(or $(N),1000) --nodes $(or $(NODES),2) --backend $(or $(BACKEND),kafka)

board-cuts: $(VENV)/.installed-dev ## the line of a board is cut N times (200) at random bytes, its gateway killed at every tenth; SEED
	EYEFLOW_BOARD_CUTS=$(or $(N),200) EYEFLOW_SEED=$(or $(SEED),1) $(BIN)/python -m pytest -q -o timeout=0 tests/cli/test_link_cuts.py

link-loss: $(VENV)/.installed-dev ## boards alone for HOURS (1 6 24) of a virtual clock, with their very firmware; 10 s of processor time for each hour
	EYEFLOW_LINK_LOSS_HOURS="$(or $(HOURS),1 6 24)" $(BIN)/python -m pytest -q -o timeout=0 tests/simulation/test_link_loss.py

bench: $(VENV)/.installed-bench ## figures as ratios to named alternatives; see docs/performance.md
	$(BIN)/python -m bench

bench-mcu: $(VENV)/.installed-dev ## instructions of rules on emulated cores; the same in every run
	$(BIN)/python -m bench mcu

fuzz: $(VENV)/.installed-dev    ## the long share of mutation and agreement tests
	EYEFLOW_FUZZ=full $(BIN)/python -m pytest -q tests/conformance tests/unit/svm tests/unit/compiler tests/embassy/test_emulated_cores.py tests/simulation tests/unit/node/store tests/unit/coordinator/archive tests/cli/test_demo_board.py

fuzz-api: $(VENV)/.installed-dev ## the long share of requests that are made from the OpenAPI document
	EYEFLOW_FUZZ_EXAMPLES=$(or $(EXAMPLES),200) $(BIN)/python -m pytest -q tests/unit/coordinator/test_openapi_fuzz.py

mutants: $(VENV)/.installed-mutants ## what safety rests on, changed a thousand ways: tests must notice; MODULES="session rollout" for some
	$(BIN)/python tools/mutants.py $(MUTANTS_ARGS) $(MODULES)

golden: $(VENV)/.installed-dev  ## write generated files and golden files again; read the diff
	$(BIN)/python tools/generate.py
	$(BIN)/python tests/conformance/build.py
	EYEFLOW_UPDATE_GOLDEN=1 $(BIN)/python -m pytest -q tests/unit tests/examples
	git --no-pager diff --stat

clean:           ## remove what make made
	rm -rf $(VENV) demo-data build dist
