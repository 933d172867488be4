# One way in. Each target installs what it lacks (Debian 12, Ubuntu 22.04 or later; as root) and can be run at once.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup build run test test-full lint format bench profile-kernel profile-user docker manifests clean

TARGET := x86_64-unknown-linux-gnu
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)
IMAGE ?= kubeward:$(VERSION)

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | column -t -s '|'

setup: ## Install what building, linting and testing need
	@scripts/setup.sh all

build: ## Build bin/kubeward, one static binary
	@scripts/setup.sh build
	@scripts/build.sh $(TARGET)

run: build ## Show a live trace and a summary of a small workload (as root, no cluster)
	@scripts/run.sh

test: build ## Run every tier of tests that this machine can run; TIERS="unit kubernetes" runs two
	@scripts/setup.sh bench
	@scripts/test.sh $(TIERS)

test-full: build ## The same with the numbers of docs/truth.md: ten million calls, 1,000 containers, 100,000 namespaces
	@scripts/setup.sh bench
	@KUBEWARD_TEST_FULL=1 NEXTEST_PROFILE=full scripts/test.sh $(TIERS)

lint: ## Check form, warnings, licences and dependencies
	@scripts/setup.sh lint
	@scripts/lint.sh

format: ## Format the Rust and the C in place
	@scripts/setup.sh lint
	@scripts/lint.sh --format

bench: build ## Measure what watching costs, beside other programs (as root); ROWS="kernel/*" measures some
	@scripts/setup.sh bench
	@scripts/bench.sh rows $(if $(ROWS),--only '$(ROWS)') $(if $(ROUNDS),--rounds $(ROUNDS))

profile-kernel: build ## Show runs and time of our kernel programs, and where a call's time goes (as root)
	@scripts/setup.sh bench
	@scripts/profile.sh kernel

profile-user: ## Draw where the agent's time goes under load, target/profile-user.svg (as root)
	@scripts/setup.sh bench
	@scripts/profile.sh user

docker: build ## Build the container image from bin/kubeward, as IMAGE
	@command -v docker >/dev/null || { echo "error: docker is not installed (Debian: apt-get install docker.io)" >&2; exit 1; }
	docker build --file deployments/Dockerfile --build-arg VERSION=$(VERSION) --tag $(IMAGE) bin

manifests: ## Make deployments/kubeward.yaml and the chart's copy of it for IMAGE
	@scripts/manifests.sh $(VERSION) $(IMAGE)

clean: ## Remove everything that was built
	cargo clean
	rm -rf bin
