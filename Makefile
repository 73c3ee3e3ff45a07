# What a developer types. `make` alone lists the targets.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
GO      ?= go
TOOL    := $(GO) tool -modfile=.tools/go.mod

.PHONY: help
help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build bin/pgforeman
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o bin/pgforeman ./cmd/pgforeman

.PHONY: generate
generate: ## Generate the code in store/internal/dbsqlc from queries/ and the migrations
	$(TOOL) sqlc generate

.PHONY: images
images: build ## Build the container images that the Engine does not have yet
	bin/pgforeman image build

.PHONY: demo
demo: images ## Create a cluster of three nodes, write to it, show how to use it
	deployments/demo.sh

# The packages' tests run one after another (-p 1): many of them start containers,
# and a timing that holds on an idle machine does not hold beside a second cluster.
.PHONY: test
test: images ## Run every test (needs Docker)
	$(GO) build ./...
	$(GO) test -p 1 -count 1 -timeout 30m ./...

.PHONY: test-unit
test-unit: ## Run the tests that need nothing but Go
	$(GO) test -short ./...

.PHONY: test-integration
test-integration: images ## Run the whole-program tests alone; RUN=TestName picks some
	$(GO) test -p 1 -count 1 -timeout 30m -v $(if $(RUN),-run '$(RUN)') ./integration/...

.PHONY: chaos
chaos: images ## The long fault tests (hours): 1,000 seeds, SIGKILL at every boundary on Docker, outages of a minute
	.ci/chaos

# A worker that has something to shrink stops looking; so it may not shrink for long.
FUZZTIME ?= 60s
.PHONY: fuzz
fuzz: ## Fuzz what comes from outside, FUZZTIME (60s) each; what breaks is kept in testdata/fuzz
	@grep -rl --include='*_test.go' '^func Fuzz' jobs | xargs -n1 dirname | sort -u | while read -r dir; do \
	  for f in $$(grep -h '^func Fuzz' $$dir/*_test.go | sed 's/func \(Fuzz[A-Za-z]*\).*/\1/'); do \
	    echo "== $$dir $$f"; $(GO) test -short -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 20x ./$$dir; \
	  done; done

.PHONY: bench
bench: images ## Measure the engine's state database: steps a second, with and without a long history
	$(GO) test -run '^$$' -bench . -timeout 30m ./store

.PHONY: lint
lint: ## Check format, vet, lint, and that generated code is fresh (no network)
	@unformatted=$$(git ls-files -z '*.go' | xargs -0 -r gofmt -l); \
	  [ -z "$$unformatted" ] || { echo "not formatted, run gofmt -w on:"; echo "$$unformatted"; exit 1; }
	$(GO) vet ./...
	$(TOOL) golangci-lint run
	.ci/generated

.PHONY: vuln
vuln: ## Look for known vulnerabilities in what the binary calls (asks vuln.go.dev)
	$(TOOL) govulncheck ./...

.PHONY: sbom
sbom: ## Write bin/pgforeman.cdx.json, the bill of materials of the binary (CycloneDX)
	@mkdir -p bin
	$(TOOL) cyclonedx-gomod app -json -licenses -main cmd/pgforeman -output bin/pgforeman.cdx.json .

.PHONY: clean
clean: ## Remove what dev and demo left in Docker, their state, and bin/
	@if [ -x bin/pgforeman ]; then bin/pgforeman dev down --yes; fi
	rm -rf bin
