# `make help` lists the targets. Everything that needs root says so.

SHELL       := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
# su keeps a PATH without sbin, where iptables, containerd and runc may be.
export PATH := $(PATH):/usr/local/go/bin:/usr/local/sbin:/usr/sbin:/sbin
# sudo keeps no HOME of its own for the caches on every system; root then uses root's.
export MINIKUBELET_TOOLS ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/minikubelet/tools
export CGO_ENABLED ?= 0
# gRPC's request tracing brings templates along, and with them reflection on which the linker can drop nothing: without it
# the agent is 5.7 MB smaller, on disk and in memory.
TAGS := grpcnotrace
# Under sudo git may refuse a clone that another user owns, and go build would fail for want of a commit to stamp. The rest are
# the flags that the agent is built with: vet, staticcheck and the tests take what its build has compiled.
export GOFLAGS ?= -buildvcs=false -trimpath -tags=$(TAGS)

# Nodes report it, and an API server rejects what is no semver: Kubernetes' version, then the commit.
KUBERNETES_VERSION := v1.36.3
COMMIT  := $(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
VERSION ?= $(KUBERNETES_VERSION)+minikubelet.$(COMMIT)

PKGS       ?= ./...
TEST_FLAGS ?=
E2E_FLAGS  ?=
JOBS       ?= 2
PLUGIN     := pkg/cni/plugin/minikubelet-cni

.DEFAULT_GOAL := help
.PHONY: help build plugin tools test unit e2e race lint verify bench compare conformance demo fuzz clean

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-11s %s\n", $$1, $$2}'

build: plugin ## build bin/minikubelet, static, with the CNI plugin inside
	go build -p $(JOBS) -tags $(TAGS) -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o bin/minikubelet ./cmd/minikubelet

# The agent embeds the plugin. Without it (a plain `go build`) the agent compiles too, and says what is missing when it runs.
plugin:
	go build -p $(JOBS) -trimpath -ldflags '-s -w' -o $(PLUGIN) ./cmd/minikubelet-cni

tools: ## build what the tests run: containerd, runc, CNI plugins, etcd, Kubernetes, CoreDNS, metrics-server (sudo: also installs packages)
	hack/build-tools

test: tools build ## everything: lint, unit tests, fuzz targets, comparison, e2e; needs root (sudo make test)
	hack/test

unit: ## unit tests alone, in seconds, without root
	go test -p $(JOBS) $(TEST_FLAGS) $$(go list $(PKGS) | grep -v -e /test/e2e -e /test/compare/live)

e2e: build ## tests against real components; needs root. One, with only the tools it needs: make e2e E2E_FLAGS='-run Name -v'
	hack/build-tools $(if $(E2E_FLAGS),--present)
	go test -p 1 -count=1 -timeout 70m $(E2E_FLAGS) ./test/e2e/...

race: ## unit tests with the race detector
	CGO_ENABLED=1 go test -p $(JOBS) -race $(TEST_FLAGS) $$(go list $(PKGS) | grep -v -e /test/e2e -e /test/compare/live)

lint: ## gofmt, go vet, staticcheck, errcheck, dead code, unused exports, tidy go.mod, rules, ratchets; budgets warn
	hack/lint/run

verify: lint unit ## what a commit must pass: lint and unit tests

bench: tools build ## latency, memory and CPU against the floor of bare CRI calls; needs root. KUBELET=1 measures a kubelet too
	$(if $(KUBELET),hack/build-tools kubelet)
	KUBELET_BIN=$(if $(KUBELET),$(MINIKUBELET_TOOLS)/bin/kubelet,$(KUBELET_BIN)) go run ./hack/bench $(BENCH_FLAGS)

compare: tools build ## the same pods on a kubelet and on the agent; needs root. CASES='regexp' RECORD=1 writes down what the kubelet does
	hack/build-tools kubelet
	go test -count=1 -timeout 40m ./test/compare/live -v -args -kubelet -only '$(CASES)' $(if $(RECORD),-record)

conformance: tools build ## upstream's own e2e suite on this agent; needs root. FOCUS='regexp' SKIP='regexp' choose the specs
	hack/build-tools e2e.test ginkgo agnhost nonewprivs debian
	go run ./hack/conformance $(CONFORMANCE_FLAGS)

demo: ## the examples on a private containerd, live in this terminal; needs root. KEEP=1 leaves it running
	hack/demo/install
	$(MAKE) --no-print-directory build
	go build -o bin/demo ./hack/demo
	@bin/demo $(if $(KEEP),-keep)

fuzz: ## each fuzz target for FUZZTIME (default 30s)
	hack/fuzz $(FUZZTIME)

clean: ## remove what was built here; the tools' cache stays
	rm -rf bin $(PLUGIN)
