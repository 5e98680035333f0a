# The front door: installs what is missing, then hands over to CMake's presets. `make` lists the targets.

PRESET ?= release
JOBS ?= $(shell nproc)
ARGS ?=
CTEST_ARGS ?= --label-exclude '^soak$$'
FUZZ_SECONDS ?= 60
MINUTES ?= 10

BUILD = build/$(PRESET)
PYTHON = .venv/bin/python
PACKAGES_STAMP = build/packages.stamp
PYTHON_STAMP = .venv/samovar-requirements.txt

.PHONY: help setup build test soak demo bench asan tsan fuzz lint clean

help: ## list the targets
	@echo "Samovar: Python, kept hot, served in a microsecond. Start with: make demo"
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16
	@echo "Variables: PRESET=release|dev|asan|tsan  JOBS=n  ARGS='--for the command'  CTEST_ARGS='-R name'  FUZZ_SECONDS=n  MINUTES=n"

setup: ## install missing Debian packages and Python packages (in .venv), after looking at what is there
	@tools/setup/install.sh
	@mkdir -p build && touch $(PACKAGES_STAMP)

build: $(BUILD)/build.ninja ## build the library, the tool build/release/bin/samovar, the tests and the benchmarks
	cmake --build --preset $(PRESET) -j $(JOBS)

test: build ## build and run every test but the soak tests
	ctest --preset $(PRESET) --output-on-failure --no-tests=error $(CTEST_ARGS)

soak: build ## run the stress tests for hours: a kill at every instruction, MINUTES of each that is driven by chance (ARGS='-R Kills')
	-@tools/setup/install.sh numa # where that fails, one test does, and says so
	SAMOVAR_SOAK_MINUTES=$(MINUTES) ctest --preset $(PRESET) --verbose --no-tests=error --label-regex '^soak$$' $(ARGS)

demo: build ## build and run the demo: handwritten digits, classified by Python, called from C++
	$(BUILD)/bin/samovar demo $(ARGS)

bench: build ## build and run the benchmarks: the whole (ARGS=--quick), then the parts
	$(BUILD)/bin/samovar bench $(ARGS)
	$(BUILD)/bin/samovar_bench_parts

asan: ## run the tests under AddressSanitizer and UndefinedBehaviorSanitizer
	@$(MAKE) --no-print-directory test PRESET=asan

tsan: ## run the tests without Python workers under ThreadSanitizer (without ASLR, which it cannot bear on newer kernels)
	@setarch $$(uname -m) -R $(MAKE) --no-print-directory test PRESET=tsan

fuzz: ## run each fuzz target under libFuzzer for FUZZ_SECONDS (60; or those in ARGS)
	@tools/setup/install.sh fuzz
	@$(MAKE) --no-print-directory build PRESET=fuzz
	@tests/fuzz/run.sh build/fuzz $(FUZZ_SECONDS) $(ARGS)

lint: $(PYTHON_STAMP) ## check the Python code: ruff and mypy --strict
	$(PYTHON) -m ruff check python_ext/samovar tools
	$(PYTHON) -m ruff format --check python_ext/samovar tools
	$(PYTHON) -m mypy --strict python_ext/samovar tools

clean: ## remove everything built; .venv stays
	rm -rf build

# Once per list of packages; ninja itself runs cmake again when a CMakeLists.txt changes.

$(PACKAGES_STAMP): tools/setup/debian-packages.txt
	@tools/setup/install.sh packages
	@mkdir -p $(@D) && touch $@

$(PYTHON_STAMP): tools/setup/requirements.txt | $(PACKAGES_STAMP)
	@tools/setup/install.sh python

$(BUILD)/build.ninja: CMakePresets.json | $(PACKAGES_STAMP) $(PYTHON_STAMP)
	cmake --preset $(PRESET)
	@touch $@
