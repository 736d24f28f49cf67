# Everything is a plain command underneath: see .ci/ for the longer ones.

FUZZTIME ?= 30s
BENCH    ?= .
SOAK     ?= CleanCall|KilledLoses|PowerCut|InStepInARecording|TwoRoomsOfTwentyFive|SilencesAndWraps

.PHONY: help run build test test-install lint fuzz soak bench bench-parts web-check cover clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: build ## build and serve on this machine: prints the doctor's and the patient's link
	./consilium serve --dev

build: ## build ./consilium, static
	CGO_ENABLED=0 go build -trimpath -o consilium ./cmd/consilium

test: test-install ## every test: unit, race detector, real browsers, web client
	.ci/test

test-install: ## install what the tests need (as root; otherwise it names what is missing)
	.ci/install

lint: web-check ## formatting, vet, go fix, types of the web client
	.ci/lint

fuzz: ## fuzz every parser for FUZZTIME each
	FUZZTIME=$(FUZZTIME) .ci/fuzz

soak: ## record at full length, as root: a clean call, kill -9 twenty times, power cuts, an hour of 2 rooms of 25, 3 h of sound (5 h, ends by itself)
	go test -count=1 -timeout 6h -v -run '$(SOAK)' ./internal/e2e -soak

bench: ## measure the whole server, in 4 minutes: CPU and latency by packet, memory by participant
	go run ./cmd/bench

bench-parts: ## run the benchmarks of the packages that match BENCH
	go test -run '^$$' -bench '$(BENCH)' -benchmem ./...

lab: ## call in every network of the lab, as root, and write the table into docs (takes half an hour; go run ./cmd/lab -resume goes on)
	go run ./cmd/lab -into docs/explanation/networks.md

web-check: ## check the types of the web client, run its unit tests
	.ci/web-check

cover: ## test coverage by function, of everything but the browser tests
	go test -coverprofile=cover.prof -coverpkg=./... $$(go list ./... | grep -v /internal/e2e)
	go tool cover -func=cover.prof

clean: ## remove what was built
	rm -rf consilium cover.prof web/node_modules
