# Everything that is done with Rivulet. `make` alone lists it.
# Built here: rustup's cargo and a C compiler are enough. `make tools` adds what deploying needs.

.DEFAULT_GOAL := help
SHELL := /bin/bash
CARGO := cargo
BINARIES := -p producer -p consumer -p cli
# Where cargo puts what it builds.
TARGET := $(or $(CARGO_TARGET_DIR),target)

.PHONY: help run local invoke test interop soak fuzz lint bench

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

bench: local ## how much, how fast: the stream alone, what strict ordering costs, what aggregates save, the load check
	$(CARGO) run --locked --profile local -p local --example stream_bench
	$(CARGO) run --locked --profile local -p cli --example ordering
	$(CARGO) run --locked --profile local -p cli --example aggregates
	$(CARGO) run --locked --profile local -p cli --example load -- $(ARGS)

include tools/deploy.mk
