# make demo   the main job on simulated hardware, in a table   (SECONDS=20 ends it; EMONCMS= and APIKEY= post it, MQTT= publishes it)
# make test   every test, with coverage
# make fuzz   ten thousand random sequences of faults on the 1-Wire bus, a million damaged lines per decoder,
#             and ten times as many examples as usual of all else that is tested at random
# make soak   two hundred kills and power cuts under fifty frames a second, while servers and networks fail in every way
# make peers  the network probe, logs and InfluxDB against Debian's programs (installed as root), with hundreds of kills,
#             and a real Home Assistant (827 MB, with Python 3.13: PYTHON313=)
# make bench  how fast the 1-Wire bus and the radio are, what queue, page and network probe cost, against targets and peers
# make fleet  a thousand gateways through a broker to one relay, which is killed, as is the broker
# make machine   the package on an emulated machine: kernel, systemd, power cuts, wrong clocks  (ONLY=power; FULL=1)
# make docs   the manual as a web site, into build/docs
# make man    the manual pages and the completion for bash, into build/man
# make lint   ruff and mypy
#
# make install    the service (as root; DESTDIR= for an image)     make deb  the same as a package
# make uninstall  removes it, and keeps configuration and readings; make purge removes these too

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# An existing pip can install into the environment: installing another pip takes longer than everything else. It is
# looked for once, where it is needed.
HOST_PIP = $(eval HOST_PIP := $(shell $(PYTHON) -m pip --python "$$(command -v $(PYTHON))" --version >/dev/null 2>&1 \
	&& echo yes))$(HOST_PIP)
PIP = $(if $(HOST_PIP),$(PYTHON) -m pip --python $(BIN)/python,$(BIN)/python -m pip) --disable-pip-version-check -q

# After an upgrade of Python the environment has no packages for the new one: it is made anew.
STALE := $(shell [ ! -f $(VENV)/pyvenv.cfg ] || $(BIN)/python -c 'import os, sysconfig; os.stat(sysconfig.get_path("purelib"))' \
	2>/dev/null || echo stale)

# The tests start hundreds of processes: each would compile every module again.
unexport PYTHONDONTWRITEBYTECODE

# Most tests wait for something, so that more of them run at a time than there are cores.
WORKERS := 6

# What `make peers` compares with; `make test` uses them where they are installed.
PEERS := influxdb victoria-metrics rsyslog logrotate xz-utils bzip2 zstd fping prometheus prometheus-blackbox-exporter chromium \
	iproute2 openssl $(if $(shell command -v npm),,npm)

# The lists are in setup.cfg only.
needs = $(shell $(PYTHON) -c 'import configparser, shlex; c = configparser.ConfigParser(); c.read("setup.cfg"); \
	print(*map(shlex.quote, c["options$(2)"]["$(1)"].replace(" ", "").split()))')
RUNTIME = $(call needs,install_requires)
TEST = $(call needs,test,.extras_require)
LINT = $(call needs,lint,.extras_require)
MANUAL = $(call needs,manual,.extras_require)
about = $(shell $(PYTHON) -c 'from gateway import version; print(version.$(1))')
define usable_python
$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
|| { echo "Python 3.11 or newer is needed; $$($(PYTHON) --version 2>&1) is what $(PYTHON) is."; exit 1; }; \
$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
|| { echo "Python's venv module is missing: sudo apt install python3-venv"; exit 1; }
endef

.PHONY: help demo test fuzz soak bench fleet peers machine man docs lint install uninstall purge deb clean

demo: $(VENV)/.runtime
	$(if $(MQTT),@$(BIN)/python -c 'import paho.mqtt.enums' 2>/dev/null || ./install.sh fetch $(PIP) install $(call needs,mqtt,.extras_require))
	@$(BIN)/python -m gateway demo $(if $(SECONDS),--seconds $(SECONDS))

help:
	@sed -n '/^$$/q; s/^# \{0,1\}//p' Makefile

test: $(VENV)/.test
	@# Each worker would compile all tests for itself.
	@ls tests/test_*.py | xargs -P 2 -n 90 $(BIN)/python -m pytest --collect-only -q -p no:cacheprovider >/dev/null || :
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup --cov --cov-report=term:skip-covered --cov-fail-under=$(if $(REQUIRE_PEERS),95,93)

fuzz: $(VENV)/.test
	SEQUENCES=10000 $(BIN)/python -m pytest -q tests/test_onewire_fuzz.py
	FUZZ_LINES=1000000 $(BIN)/python -m pytest -q -o timeout=0 tests/test_line_fuzz.py tests/test_rfm12pi_fuzz.py
	EXAMPLES=1000 $(BIN)/python -m pytest -q -o timeout=0 -n $(WORKERS) -m hypothesis

soak: $(VENV)/.test
	KILLS=200 $(BIN)/python -m pytest -q -o timeout=0 -o log_cli=true -o log_cli_level=INFO tests/test_kill_loop.py tests/test_mqtt_relay.py \
	tests/test_mqtt_outage.py

peers: $(VENV)/.test
	@dpkg-query -W $(PEERS) >/dev/null 2>&1 || { test "$$(id -u)" = 0 && apt-get install -y --no-install-recommends $(PEERS); } \
	|| { echo "As root: apt-get install --no-install-recommends $(PEERS)"; exit 1; }
	REQUIRE_PEERS=all KILLS=200 ROTATIONS=100 HOSTILE=10000 $(BIN)/python -m pytest -q -o timeout=0 -o log_cli=true -o log_cli_level=INFO \
	tests/test_influxdb_peers.py tests/test_lograte_peers.py tests/test_probe_peers.py tests/test_syslog.py \
	tests/test_page.py tests/test_page_browser.py tests/test_page_hostile.py tests/test_history_clock.py
	@$(BIN)/python -m tests.peers_home_assistant

bench: $(VENV)/.test
	@status=0; for part in onewire radio durability page network; do $(BIN)/python -m benchmarks.$$part || status=1; echo; done; exit $$status

fleet: $(VENV)/.test
	@$(BIN)/python -m benchmarks.fleet

machine: deb
	@$(BIN)/python -m tests.machine dist/oemgateway_*.deb $(ONLY) $(if $(FULL),--full) $(if $(ARCH),--arch $(ARCH)) \
	$(if $(JOBS),--jobs $(JOBS))

man: $(VENV)/.manual
	@PYTHONPATH="$(CURDIR)" $(BIN)/python docs/manual/build.py build/man

docs: $(VENV)/.test
	@PYTHONPATH="$(CURDIR)" $(BIN)/python -m sphinx -nW --keep-going -q -b html docs build/docs && echo build/docs/index.html

lint: $(VENV)/.lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

install:
	@$(usable_python)
	@PYTHON='$(PYTHON)' DESTDIR='$(DESTDIR)' ./install.sh install

uninstall purge:
	@DESTDIR='$(DESTDIR)' ./install.sh $@

# Built in a copy, as dpkg-buildpackage writes its result beside the folder, and many files into it.
# It asks for a compiler too, which nothing here needs.
deb: $(VENV)/.manual
	@! grep -aE '^[[:space:]]*(apikey|key|password|proxy_password|token)[[:space:]]*=' etc/oemgateway.conf \
	| grep -qvE "^[^=]*=[[:space:]]*(\"\"|'')?[[:space:]]*(#.*)?\$$" \
	|| { echo "etc/oemgateway.conf has a key or password, which all who have the package could read:" \
	"copy the file to /etc/oemgateway.conf, then git checkout etc/oemgateway.conf"; exit 1; }
	@command -v dpkg-buildpackage dh dh_python3 >/dev/null \
	|| { echo "What builds packages is missing: sudo apt install dpkg-dev debhelper dh-python"; exit 1; }
	@rm -rf build/deb dist/*.deb && mkdir -p build/deb/source dist
	@cp -R CHANGELOG.rst LICENSE README.rst setup.cfg debian etc gateway init.d listeners build/deb/source
	@mkdir build/deb/source/vendor && cp -R $(VENV)/lib/python3*/site-packages/pyownet build/deb/source/vendor
	@PYTHONPATH="$(CURDIR)" $(BIN)/python docs/manual/build.py build/deb/source/manual
	@sed "s/@VERSION@/$(call about,VERSION)/; s/@DATE@/$$(date -R -u -d @$(call about,MADE))/" debian/changelog.in \
	>build/deb/source/debian/changelog
	cd build/deb/source && dpkg-buildpackage --build=binary --no-sign --no-check-builddeps >../build.log 2>&1 || { cat ../build.log; exit 1; }
	@mv build/deb/*.deb dist && ls dist/*.deb

clean:
	rm -rf $(VENV) build dist *.egg-info .coverage* .mypy_cache .pytest_cache .ruff_cache .hypothesis

.PHONY: $(STALE)
$(BIN)/python $(VENV)/.runtime $(VENV)/.manual $(VENV)/.test $(VENV)/.lint: $(STALE)

$(BIN)/python:
	@$(usable_python)
	@$(PYTHON) -m venv $(if $(STALE),--clear) $(if $(HOST_PIP),--without-pip) $(VENV)

$(VENV)/.runtime: setup.cfg | $(BIN)/python
	@echo "Setting up $(VENV) ..."
	@./install.sh fetch $(PIP) install $(RUNTIME)
	@touch $@

$(VENV)/.manual: setup.cfg | $(VENV)/.runtime
	@./install.sh fetch $(PIP) install $(MANUAL)
	@touch $@

$(VENV)/.test: setup.cfg | $(VENV)/.manual
	@./install.sh fetch $(PIP) install $(TEST)
	@touch $@

$(VENV)/.lint: setup.cfg | $(VENV)/.test
	@./install.sh fetch $(PIP) install $(LINT)
	@touch $@
