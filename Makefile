# ichor: build, demo, lint, test, bench, install, package. Every target installs what it needs; nothing is fetched twice.
SHELL       := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:

GO      ?= go
PYTHON3 ?= python3
SUDO    := $(if $(filter 0,$(shell id -u)),,sudo)
CACHE   := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/ichor
LOCK    := models/training/requirements.lock
VENV     = $(CACHE)/venv-$(firstword $(shell sha256sum $(LOCK)))
LIBRARY := bin/lib/libonnxruntime.so.1.24.4

# Foreign peers and validators for the interop tests, each with its Debian package.
TOOLS := storescu:dcmtk Orthanc:orthanc /usr/share/orthanc/plugins/libOrthancDicomWeb.so:orthanc-dicomweb dciodvfy:dicom3tools \
  gdcmconv:libgdcm-tools opj_decompress:libopenjp2-tools chromium:chromium npm:npm promtool:prometheus

# The web page in which the browser test shows our objects.
PAGE   := $(addprefix reporting/viewertest/,.npmrc package.json package-lock.json index.html viewer.js vite.config.js)
VIEWER  = $(CACHE)/viewer-$(firstword $(shell cat $(PAGE) | sha256sum))

.PHONY: help build demo test test-go test-python bench install uninstall venv peers viewer clean
help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

build: bin/ichor ## build bin/ichor and fetch the ONNX Runtime library it loads

# The commit is part of the version if git can read it. In a checkout of another user, as in many containers, it cannot.
bin/ichor: $(LIBRARY) FORCE
	CGO_ENABLED=1 $(GO) build -trimpath -buildvcs=$$(git rev-parse HEAD >/dev/null 2>&1 && echo auto || echo false) -o $@ ./cmd/ichor

.PHONY: FORCE
FORCE:

# Pinned by version and digest; the wheel's tag is fixed, so the Python version of this machine does not matter.
$(LIBRARY): models/onnx/runtime.txt | pip
	@echo "fetching ONNX Runtime"
	@mkdir -p bin/lib $(CACHE)/onnxruntime
	@$(PYTHON3) -m pip download -q --no-deps --require-hashes --only-binary=:all: --implementation cp --python-version 3.12 \
	  --platform manylinux_2_28_x86_64 --platform manylinux_2_27_x86_64 -r $< -d $(CACHE)/onnxruntime
	@$(PYTHON3) models/onnx/unpack.py $(CACHE)/onnxruntime bin/lib
	@touch $@

demo: build ## run the whole system on this machine: send a sample head CT, get the segmentation back
	@bin/ichor demo --out out/demo

# Functions that only tests call and that stay: peers with faults, and the tables that write documents.
TEST_ONLY := ichor/scp/(scptest|receiver)\.|ichor/cmd/ichor/node\.AlarmNames$$|ichor/pipeline/phantom/synthetic\.|ichor/scp\.(OtherStorageClasses|PlainSyntaxes|StoreRefusals)$$
.PHONY: lint
lint: ## check the code: go vet, gofmt, staticcheck, dead code (versions are pinned in go.mod)
	@unformatted=$$(gofmt -l cmd config models pipeline reporting scp); test -z "$$unformatted" || { echo "run gofmt -w on:" $$unformatted; exit 1; }
	$(GO) vet -tags scale ./...
	$(GO) tool staticcheck ./...
	@dead=$$($(GO) tool deadcode -f '{{range .Funcs}}{{printf "%s:%d: %s.%s\n" .Position.File .Position.Line $$.Path .Name}}{{end}}' ./...); \
	  dead=$$(grep -vE '$(TEST_ONLY)' <<<"$$dead" || true); test -z "$$dead" || { echo "no command calls:"; echo "$$dead"; exit 1; }

test: test-go test-python ## run all tests, with everything they need

# The race detector runs where there are goroutines. Voxel loops, codecs and writers have none, and are slow under it; of the
# tests that run whole nodes with analyses, it runs only RACE_NODES. The slowest package comes first, so that the others run
# beside it.
RACE_NODES := TestStandBy|TestOperate|TestDestinationDown|TestCompleteByCount|TestMetrics
RACE := ./cmd/ichor/node ./scp ./scp/ul ./scp/dimse ./scp/find ./scp/secure ./scp/receiver ./scp/spool ./scp/dcm/codec \
  ./pipeline/queue ./pipeline/state ./pipeline/assembly ./pipeline/retention ./reporting/deliver/... ./reporting/outcome \
  ./reporting/web ./reporting/metrics ./models/onnx
test-go: export ICHOR_PYTHON = $(VENV)/bin/python
test-go: export ICHOR_ONNXRUNTIME = $(abspath $(LIBRARY))
test-go: export ICHOR_VIEWER = $(VIEWER)/dist
test-go: $(LIBRARY) peers venv viewer ## run the Go tests, with the foreign peers; screenshots are kept in out
	@mkdir -p out
	$(GO) vet -tags scale ./...
	$(GO) test -race -timeout 20m $(RACE)
	$(GO) test -race -timeout 20m -run '^($(RACE_NODES))$$' ./cmd/ichor
	$(GO) test -timeout 30m -artifacts -outputdir $(abspath out) ./cmd/ichor $$($(GO) list ./... | grep -vxF "$$($(GO) list $(RACE) ./cmd/ichor)")

test-python: venv ## run the tests of the training code
	cd models/training && PYTHONPATH=. $(VENV)/bin/python -m pytest -q tests

# One target after the other, each with FUZZPROCS workers. Minimising is cut short, else it takes most of the time. Inputs
# that fail are kept in testdata/fuzz of the package.
FUZZTIME  ?= 1m
FUZZPROCS ?= $(shell nproc)
.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME (default 1m): make fuzz FUZZTIME=10m
	@grep -rE '^func Fuzz' --include='*_test.go' . | sed -E 's#/[^/]*:func (Fuzz[A-Za-z0-9_]*)\(.*# \1#' | sort | while read -r package target; do \
	  echo "$$package $$target"; $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1s -parallel $(FUZZPROCS) "$$package" </dev/null; done

# The full size of what the tests do in small. Needs 4 GiB of disk in ICHOR_TEST_DIR, or in the temporary folder.
KILLS ?= 200
.PHONY: siege
siege: $(LIBRARY) ## stress-test: 1,000 silent associations, 10,000 refused ones, 200 senders, 2 GiB, random kills
	ICHOR_SIEGE=1 $(GO) test -count 1 -timeout 60m -v -run 'TestSilentCrowd|TestRefusedAssociations|TestCrowdOfSenders' ./scp
	ICHOR_KILLS=$(KILLS) ICHOR_ONNXRUNTIME=$(abspath $(LIBRARY)) $(GO) test -count 1 -timeout 180m -v -run 'TestKill$$' ./cmd/ichor

# Nodes of a pair, workers, three NATS servers and a PACS, each in a network namespace; needs root, and runs without partitions
# where it may not make namespaces. SEED repeats the choices. The result and the logs are kept in out.
SEED    ?= 1
MINUTES ?= 60
RATE    ?= 104
FLEET    = ICHOR_TEST_SEED=$(SEED) ICHOR_TEST_RESULT=$(abspath out)/$@.json ICHOR_TEST_LOGS=$(abspath out)/$@ ICHOR_ONNXRUNTIME=$(abspath $(LIBRARY))
.PHONY: campaign soak
campaign: $(LIBRARY) ## kill KILLS nodes and workers, and NATS servers and PACS beside, at random: make campaign KILLS=200 SEED=2
	@mkdir -p out
	$(FLEET) ICHOR_TEST_KILLS=$(KILLS) $(GO) test -count 1 -timeout 240m -v -run 'TestCampaign$$' ./cmd/ichor

soak: $(LIBRARY) ## the same for MINUTES under load, ten times the peak of a trauma centre: make soak MINUTES=60 SEED=2
	@mkdir -p out
	$(FLEET) ICHOR_TEST_MINUTES=$(MINUTES) ICHOR_TEST_RATE=$(RATE) $(GO) test -count 1 -timeout $$(($(MINUTES) + 60))m -v -run 'TestCampaign$$' ./cmd/ichor

.PHONY: scale
scale: $(LIBRARY) ## measure two workers beside one, with networks that wait in place of computing
	ICHOR_TEST_SCALE=1 ICHOR_ONNXRUNTIME=$(abspath $(LIBRARY)) $(GO) test -tags scale -count 1 -timeout 20m -v -run 'TestScale$$' ./cmd/ichor

# dicom-storescp of dicom-rs is compiled once, where cargo is installed; without it, bench leaves it out.
DICOM_RS := $(CACHE)/dicom-rs-0.10.1
.PHONY: dicom-rs
dicom-rs:
	@test -x $(DICOM_RS)/bin/dicom-storescp || ! command -v cargo >/dev/null || { echo "compiling dicom-storescp (once)"; \
	  cargo install -q dicom-storescp --version 0.10.1 --locked --root $(DICOM_RS); }

bench: build peers venv dicom-rs ## measure reception, inference and end-to-end time, beside other software
	ICHOR_PYTHON=$(VENV)/bin/python DICOM_STORESCP=$(DICOM_RS)/bin/dicom-storescp ICHOR_ONNXRUNTIME=$(abspath $(LIBRARY)) $(GO) run ./cmd/bench

# One virtual environment for each lock file, outside the checkout, so that clones share it.
venv: pip ## make the Python environment of the lock file
	@test -e $(VENV)/complete || { echo "installing the Python environment (once for this lock file; PyTorch is large)"; \
	  rm -rf $(VENV); $(PYTHON3) -m venv $(VENV); \
	  $(VENV)/bin/python -m pip install -q --require-hashes --no-deps -r $(LOCK); touch $(VENV)/complete; }

# Debian's python3 comes without pip and venv.
.PHONY: pip
pip:
	@$(PYTHON3) -c 'import pip, ensurepip' 2>/dev/null || { echo "installing python3-pip and python3-venv"; \
	  export DEBIAN_FRONTEND=noninteractive; $(SUDO) apt-get update -q >/dev/null; \
	  $(SUDO) apt-get install -y -q --no-install-recommends python3-pip python3-venv >/dev/null; }

peers: ## install the DICOM tools and the browser that the tests run against
	@missing=; for t in $(TOOLS); do [ -e $${t%%:*} ] || PATH="$$PATH:/usr/sbin" command -v $${t%%:*} >/dev/null || missing+=" $${t##*:}"; done; \
	if [ -n "$$missing" ]; then echo "installing$$missing"; export DEBIAN_FRONTEND=noninteractive; \
	  $(SUDO) apt-get update -q >/dev/null; $(SUDO) apt-get install -y -q --no-install-recommends $$missing >/dev/null; fi

viewer: peers ## build the page of the browser test
	@test -e $(VIEWER)/complete || { echo "building the viewer of the browser test (once for these sources)"; rm -rf $(VIEWER); mkdir -p $(VIEWER); \
	  cp $(PAGE) $(VIEWER); cd $(VIEWER); npm ci --silent; npx vite build; rm -rf node_modules; touch complete; }

# DESTDIR stages the files, for a package. Building needs no root; installing does.
PREFIX  ?= /usr/local
DESTDIR ?=
BUNDLE  := models/bundles/ichor-synthetic
# Documents for operators, installed with the program.
DOCUMENTS := CHANGELOG.md SECURITY.md $(wildcard docs/operate*.md) $(addprefix docs/,cluster.md install.md connect.md secure.md upgrade.md conformance.md)
AS_ROOT  = $(if $(DESTDIR),,$(SUDO))
install: $(if $(shell command -v $(GO) 2>/dev/null),build,built) ## install binary, library, bundle, example configuration and the systemd unit
	$(AS_ROOT) install -D -m 755 bin/ichor $(DESTDIR)$(PREFIX)/bin/ichor
	$(AS_ROOT) install -d $(DESTDIR)$(PREFIX)/lib/ichor $(DESTDIR)$(PREFIX)/share/ichor/bundles
	$(AS_ROOT) install -m 644 bin/lib/* $(DESTDIR)$(PREFIX)/lib/ichor/
	$(AS_ROOT) cp -rT --no-preserve=ownership $(BUNDLE) $(DESTDIR)$(PREFIX)/share/ichor/bundles/$(notdir $(BUNDLE))
	$(AS_ROOT) install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/ichor/monitoring systemd/monitoring/alerts.yaml systemd/monitoring/dashboard.json
	$(AS_ROOT) install -D -m 644 config/example.yaml $(DESTDIR)$(PREFIX)/share/doc/ichor/ichor.example.yaml
	test -e $(DESTDIR)/etc/ichor/ichor.yaml || sed 's#^state: .*#state: /var/lib/ichor#' config/example.yaml | \
	  $(AS_ROOT) install -D -m 640 /dev/stdin $(DESTDIR)/etc/ichor/ichor.yaml
	$(AS_ROOT) install -D -m 644 systemd/ichor.sysusers $(DESTDIR)/usr/lib/sysusers.d/ichor.conf
	$(AS_ROOT) install -D -m 644 systemd/ichor.tmpfiles $(DESTDIR)/usr/lib/tmpfiles.d/ichor.conf
	bin/ichor manual --out out/manual
	$(AS_ROOT) install -d $(addprefix $(DESTDIR)$(PREFIX)/share/,man/man1 man/man5 bash-completion/completions zsh/vendor-completions fish/vendor_completions.d doc/ichor)
	$(AS_ROOT) install -m 644 out/manual/man1/* $(DESTDIR)$(PREFIX)/share/man/man1/
	$(AS_ROOT) install -m 644 out/manual/man5/* $(DESTDIR)$(PREFIX)/share/man/man5/
	$(AS_ROOT) install -m 644 out/manual/completions/ichor.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/ichor
	$(AS_ROOT) install -m 644 out/manual/completions/_ichor $(DESTDIR)$(PREFIX)/share/zsh/vendor-completions/
	$(AS_ROOT) install -m 644 out/manual/completions/ichor.fish $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/
	$(AS_ROOT) install -m 644 $(DOCUMENTS) systemd/ichor-gpu.conf systemd/nats/nats-server.conf $(DESTDIR)$(PREFIX)/share/doc/ichor/
	sed 's#@PREFIX@#$(PREFIX)#' systemd/ichor.service | $(AS_ROOT) install -D -m 644 /dev/stdin $(DESTDIR)/usr/lib/systemd/system/ichor.service
	$(AS_ROOT) install -m 644 systemd/ichor.socket systemd/ichor-tls.socket $(DESTDIR)/usr/lib/systemd/system/
	@test -n "$(DESTDIR)" || { $(AS_ROOT) systemd-sysusers ichor.conf && $(AS_ROOT) systemd-tmpfiles --create ichor.conf && \
	  $(AS_ROOT) systemctl daemon-reload; } || echo "installed; systemd creates the user and the folders and loads the unit at its next start"
	@echo "next: edit /etc/ichor/ichor.yaml, run 'sudo ichor check', then 'sudo systemctl enable --now ichor'"

# sudo has no Go on its PATH; then the files that were built before are installed.
.PHONY: built
built:
	@test -x bin/ichor && test -e $(LIBRARY) || { echo "$(GO) is not on the PATH and nothing is built; run 'make build' first"; exit 1; }

uninstall: ## remove the installed files; configuration and state stay
	$(AS_ROOT) rm -rf $(DESTDIR)$(PREFIX)/bin/ichor $(DESTDIR)$(PREFIX)/lib/ichor $(DESTDIR)$(PREFIX)/share/ichor \
	  $(DESTDIR)$(PREFIX)/share/doc/ichor $(DESTDIR)$(PREFIX)/share/man/man1/ichor*.1 $(DESTDIR)$(PREFIX)/share/man/man5/ichor.yaml.5 \
	  $(addprefix $(DESTDIR)$(PREFIX)/share/,bash-completion/completions/ichor zsh/vendor-completions/_ichor fish/vendor_completions.d/ichor.fish) \
	  $(DESTDIR)/usr/lib/sysusers.d/ichor.conf $(DESTDIR)/usr/lib/tmpfiles.d/ichor.conf $(addprefix $(DESTDIR)/usr/lib/systemd/system/,ichor.service ichor.socket ichor-tls.socket)

include systemd/package/package.mk

clean: ## remove build outputs
	rm -rf bin out
