# The verbs of this repository. Each sets up what it needs first (see
# scripts/setup), so any of them works on a bare Debian machine with Rust.

export PATH := $(CURDIR)/target/tools/bin:$(PATH)

# Where `make demo` listens.
export DEMO_PORT ?= 8080
export DEMO_CONTROL_PORT ?= 8081

IMAGE ?= skep:latest

.DEFAULT_GOAL := help
.PHONY: help build demo demo-down test test-vm test-swarm bench-swarm swarm-demo swarm-demo-down churn fuzz bench image fmt lint ci

help: ## list these verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build skep: target/release/skep
	@cargo build --release -p skep

demo: ## set up, build, and run the voting app on Skep; leaves it serving
	@scripts/setup demo
	@scripts/demo up

demo-down: ## stop the demo and remove everything that it made
	@scripts/demo down

test: ## set up and run every test, the browser's included, and those of the whole under both engines
	@scripts/setup test
	@examples/voting/build
	@cargo build -p skep
	@cargo nextest run --workspace --exclude skep-swarm-tests
	@SKEP_TEST_ENGINE=docker cargo nextest run -p skep-tests -E 'not test(/^lean::/)'

test-vm: ## run the lean engine's tests on cgroup v2, AppArmor and a newer Docker, in a machine of their own (slow)
	@scripts/vm test lean::

test-swarm: ## run the tests that need a Swarm, on Swarms of nodes in containers
	@scripts/setup test
	@cargo build -p skep
	@cargo nextest run -p skep-swarm-tests; ended=$$?; scripts/swarm sweep; exit $$ended

bench-swarm: ## measure what a cluster costs and how fast it is back, on Swarms of nodes in containers
	@scripts/setup bench
	@cargo build --release -p skep
	@SKEP_BIN=$${SKEP_BIN:-$${CARGO_TARGET_DIR:-target}/release/skep} cargo nextest run -p skep-swarm-tests \
		-E 'test(/^figures::/)' --run-ignored only --no-capture; ended=$$?; scripts/swarm sweep; exit $$ended

swarm-demo: ## a Swarm of three nodes here, Skep and the voting app on it: votes, loses a node, votes on
	@scripts/setup demo
	@scripts/swarm-demo up

swarm-demo-down: ## remove that Swarm and everything in it
	@scripts/swarm-demo down

churn: ## ten minutes of full load on the lean engine: what is there at its end is what was there before
	@scripts/setup test
	@cargo build --release -p skep
	@SKEP_CHURN_SECONDS=600 cargo nextest run --release -p skep-tests -E 'test(a_steady_load)' --no-capture

fuzz: ## feed the parsers of functions' Docker requests for a while (SECONDS=60)
	@SKEP_FUZZ_SECONDS=$(or $(SECONDS),60) cargo test --quiet --release -p skep-grant --test fuzz -- --nocapture

bench: ## measure Skep beside its yardsticks
	@scripts/setup bench
	@cargo build --release -p skep -p skep-bench
	@target/release/skep-bench

image: ## build the image of Skep (IMAGE=skep:latest)
	@scripts/setup demo
	@scripts/image $(IMAGE)

fmt: ## format the code
	@cargo fmt --all

lint: ## check formatting, clippy's advice, and the dependencies' licences
	@scripts/setup ci
	@cargo fmt --all --check
	@cargo clippy --locked --workspace --all-targets -- -D warnings
	@cargo deny --locked check bans licenses sources

ci: ## what every change must pass
	@.ci/run
