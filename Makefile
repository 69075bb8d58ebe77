# Everything that is done with Rivulet. `make` alone lists it.
# Built here: rustup's cargo and a C compiler are enough. `make tools` adds what deploying needs.

.DEFAULT_GOAL := help
SHELL := /bin/bash
CARGO := cargo
BINARIES := -p producer -p consumer -p cli
# Where cargo puts what it builds.
TARGET := $(or $(CARGO_TARGET_DIR),target)

.PHONY: help run local invoke test interop soak fuzz lint \
	bench bench-speed bench-counts bench-baseline bench-floor bench-others bench-streams

help: ## lists the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

run: local ## builds and starts both functions, the stream and the gateway: make run ARGS='--shards 2'
	@exec $(TARGET)/local/rivulet up $(ARGS)

local: # the binaries that `run` and `invoke` start
	@$(CARGO) --version >/dev/null 2>&1 || { echo "cargo is missing: install Rust from https://rustup.rs"; exit 1; }
	@[ -x $(TARGET)/local/rivulet ] || echo "building: a few minutes the first time" >&2
	@$(CARGO) build --locked --profile local $(BINARIES)

invoke: local ## invokes one function once and prints log and answer: make invoke EVENT=events/consumer/batch.json
	@$(TARGET)/local/rivulet invoke $(ARGS) $(or $(EVENT),events/producer/one-packet.json)

test: ## runs every test
	$(CARGO) build --locked $(BINARIES)
	$(CARGO) test --locked --workspace

interop: local .tools/interop/.installed ## other people's clients, each operation of each: make interop ARGS='--only boto3'
	$(CARGO) build --locked --profile local -p cli --example interop -p kpl --example codec
	@.tools/interop/bin/python tools/interop $(ARGS)

soak: local ## a million records through the stream, and 100,000 packets under every fault: make soak ARGS='--only kill'
	$(CARGO) run --locked --profile local -p local --example stream_soak
	$(CARGO) run --locked --profile local -p cli --example soak -- $(ARGS)

# RUSTC_BOOTSTRAP, because the instruments are behind unstable flags: so any toolchain will do. What a run finds worth
# keeping goes into fuzz/target/corpus, what breaks a promise into fuzz/artifacts.
FUZZ := PATH="$(CURDIR)/.tools/bin:$$PATH" RUSTC_BOOTSTRAP=1 $(CARGO) fuzz

fuzz: ## ten seconds of every fuzz target: make fuzz ARGS=-max_total_time=600
	@$(FUZZ) --version >/dev/null 2>&1 || { echo "make fuzz needs cargo-fuzz: cargo install --locked --root .tools cargo-fuzz" >&2; exit 1; }
	$(FUZZ) build
	@set -e; for target in $$($(FUZZ) list); do \
		echo "== $$target"; found=fuzz/target/corpus/$$target; mkdir -p $$found; \
		$(FUZZ) run $$target $$found fuzz/corpus/$$target events/producer events/consumer -- \
			-max_total_time=10 -timeout=10 -max_len=8192 -dict=fuzz/dictionary $(ARGS); \
	done

lint: ## format, clippy, documentation
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS=-Dwarnings $(CARGO) doc --locked --workspace --no-deps --document-private-items

# The crates whose work is timed, and whose instructions are counted.
SPEED := $(CARGO) bench --locked $(patsubst crates/%/benches/speed.rs,-p %,$(wildcard crates/*/benches/speed.rs)) --bench speed

bench: ## how much, how fast: every part below (bench-speed and so on), about ten minutes once it is built
	@set -e; for part in speed counts floor streams; do \
		echo "== bench-$$part" >&2; $(MAKE) --no-print-directory bench-$$part ARGS=; \
	done

bench-speed: ## the time that the crates' own work takes: make bench-speed ARGS=consumer
	$(SPEED) -- $(ARGS)

bench-counts: ## the instructions of the same, beside those kept in bench/instructions.txt; needs valgrind
	@$(SPEED) -- --instructions

bench-baseline: ## keeps the instructions counted now in bench/instructions.txt
	@$(SPEED) -- --instructions --keep

# Each of ours is built alone, as it is for Lambda: together, one would have the other's features of their crates.
bench-floor: bench-others ## both functions beside one that does nothing, Node.js and Python: make bench-floor ARGS='--only consumer'
	$(CARGO) build --locked --release -p consumer
	$(CARGO) build --locked --release -p producer
	$(CARGO) build --locked --release -p producer --example nothing
	$(CARGO) run --locked --profile local -p cli --example floor -- --binaries $(TARGET)/release $(ARGS)

NODE := bench/node/node_modules/.installed

bench-others: # who cannot be installed is left out
	@for other in $(NODE) $(BENCH); do \
		$(MAKE) --silent $$other >/dev/null 2>&1 || echo "not everything can be compared: make $$other says why" >&2; \
	done

$(NODE): bench/node/package.json
	@npm --version >/dev/null 2>&1 || { echo "this needs npm on the PATH, which comes with Node.js" >&2; exit 1; }
	npm install --prefix $(<D) --no-package-lock --no-audit --no-fund
	@touch $@

bench-streams: local ## the stream alone, what strict ordering costs, what aggregates save, and the load check
	$(CARGO) run --locked --profile local -p local --example stream_bench
	$(CARGO) run --locked --profile local -p cli --example ordering
	$(CARGO) run --locked --profile local -p cli --example aggregates
	$(CARGO) run --locked --profile local -p cli --example load -- $(ARGS)

include tools/deploy.mk
