# The entry points for people. Each is one script or one command; what needs thought is in scripts/.

.DEFAULT_GOAL := help
.PHONY: help setup demo up test crash check bench fmt

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' Makefile

setup: ## install the tools that tests and demo need, or name them
	@scripts/setup.sh

demo: ## import a real disk image, and show what happens
	@scripts/setup.sh demo
	@cargo build --release --bin longshore
	@$(call built,release) demo

up: ## serve in the foreground; for options: make up ARGS="--data-dir DIR"
	@cargo build --release --bin longshore
	@exec $(call built,release) up $(ARGS)

test: setup ## run all tests; the last line counts them
	@scripts/test.sh

crash: ## kill, starve and unplug the object store, ROUNDS times each; SEED repeats a run
	@cargo build --package longshore-apiserver --example serve
	@FAULTS_ROUNDS=$(or $(ROUNDS),300) $(if $(SEED),FAULTS_SEED=$(SEED)) cargo test \
		--package longshore-apiserver --test it -- --nocapture crash:: faults:: backup::

check: ## formatting, lints, layers, licences, documentation
	@scripts/check.sh

bench: ## measure against qemu-img and kube-apiserver, and print tables
	@scripts/setup.sh bench
	@cargo build --release --bin longshore
	@cargo run --quiet --release --package xtask -- bench $(call built,release)

fmt: ## format the code
	@cargo fmt --all

built = "$${CARGO_TARGET_DIR:-target}/$(1)/longshore"
