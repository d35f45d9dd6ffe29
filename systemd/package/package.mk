# Debian and RPM packages, with a list of what is in them (SBOM) and their digests. Everything lands in out/package.
PACKAGE  := out/package
STAGE    := $(PACKAGE)/stage
VERSION   = $(shell sed -n 's/^const version = "\(.*\)"$$/\1/p' cmd/ichor/version.go)
# The date of the commit: the same source gives the same packages.
EPOCH     = $(shell git log -1 --format=%ct 2>/dev/null || date +%s)
TOOL      = $(GO) -C systemd/package tool
MAINTAINER ?= The ichor authors <ichor@localhost>
NFPM      = VERSION=$(VERSION) MAINTAINER="$(MAINTAINER)" SOURCE_DATE_EPOCH=$(EPOCH) $(TOOL) nfpm package --config

.PHONY: package stage package-cuda vulnerabilities
package: stage ## build the .deb and the .rpm, the SBOM and the digests, in out/package; with CUDA if its wheels are in the cache
	$(NFPM) ichor.nfpm.yaml --packager deb --target $(abspath $(PACKAGE))
	$(NFPM) ichor.nfpm.yaml --packager rpm --target $(abspath $(PACKAGE))
	cp $(STAGE)/usr/share/doc/ichor/ichor.cdx.json $(PACKAGE)/ichor-$(VERSION).cdx.json
	@if ls $(CACHE)/cuda/onnxruntime_gpu-*.whl >/dev/null 2>&1; then $(MAKE) --no-print-directory package-cuda; \
	  else echo "without ichor-cuda: 'make package-cuda' fetches its 2 GB of wheels"; fi
	cd $(PACKAGE) && rm -f SHA256SUMS && sha256sum *.deb *.rpm *.cdx.json >SHA256SUMS && cat SHA256SUMS

# The tree as it is installed. Debian wants its man pages and its changelog compressed, without the time of day.
stage: build
	rm -rf $(PACKAGE)
	$(MAKE) --no-print-directory install PREFIX=/usr DESTDIR=$(abspath $(STAGE)) >/dev/null
	CGO_ENABLED=1 $(GO) build -trimpath -buildvcs=$$(git rev-parse HEAD >/dev/null 2>&1 && echo auto || echo false) -buildmode=pie -ldflags='-s -w' -o $(STAGE)/usr/bin/ichor ./cmd/ichor
	install -D -m 644 systemd/ichor.preset $(STAGE)/usr/lib/systemd/system-preset/80-ichor.preset
	install -D -m 644 systemd/package/copyright $(STAGE)/usr/share/doc/ichor/copyright
	install -D -m 644 systemd/package/overrides $(STAGE)/usr/share/lintian/overrides/ichor
	rm $(STAGE)/etc/ichor/ichor.yaml $(STAGE)/usr/lib/ichor/LICENSE
	gzip -9n $(STAGE)/usr/share/man/man?/* $(STAGE)/usr/lib/ichor/ThirdPartyNotices.txt
	gzip -9nc CHANGELOG.md >$(STAGE)/usr/share/doc/ichor/changelog.gz
	printf 'ichor ($(VERSION)-1) stable; urgency=medium\n\n  * See changelog.gz.\n\n -- %s  %s\n' "$(MAINTAINER)" "$$(date -uRd @$(EPOCH))" | \
	  gzip -9n >$(STAGE)/usr/share/doc/ichor/changelog.Debian.gz
	mv $(STAGE)/usr/lib/ichor/ThirdPartyNotices.txt.gz $(STAGE)/usr/share/doc/ichor/onnxruntime-notices.txt.gz
	rm $(STAGE)/usr/share/doc/ichor/CHANGELOG.md
	$(PYTHON3) systemd/package/sbom.py $(VERSION) $(EPOCH) $(STAGE)/usr $(STAGE)/usr/share/doc/ichor/licences >$(PACKAGE)/ichor.cdx.json
	mv $(PACKAGE)/ichor.cdx.json $(STAGE)/usr/share/doc/ichor/
	gzip -9n $(STAGE)/usr/share/doc/ichor/licences

vulnerabilities: ## look the modules up in the Go vulnerability database
	$(TOOL) govulncheck -C ../.. ./...

# 2 GB of wheels, each pinned by digest: from the cache if all are there, without a network. No GPU is needed to build.
CUDA_WHEELS = $(PYTHON3) -m pip download -q --no-deps --require-hashes --only-binary=:all: --implementation cp --python-version 3.12 \
  --platform manylinux_2_28_x86_64 --platform manylinux_2_27_x86_64 --platform manylinux2014_x86_64 -r systemd/package/cuda.txt -d $(CACHE)/cuda
package-cuda: pip ## build the packages with the CUDA libraries, in out/package
	mkdir -p $(PACKAGE) $(CACHE)/cuda
	$(CUDA_WHEELS) --no-index --find-links $(CACHE)/cuda 2>/dev/null || $(CUDA_WHEELS)
	rm -rf out/cuda && $(PYTHON3) systemd/package/unpack_cuda.py $(CACHE)/cuda out/cuda
	$(NFPM) ichor-cuda.nfpm.yaml --packager deb --target $(abspath $(PACKAGE))
	$(NFPM) ichor-cuda.nfpm.yaml --packager rpm --target $(abspath $(PACKAGE))
	rm -rf out/cuda
	cd $(PACKAGE) && rm -f SHA256SUMS && sha256sum *.deb *.rpm $$(ls *.cdx.json 2>/dev/null) >SHA256SUMS

# Needs root. The root file system is thrown away.
.PHONY: trial
trial: package ## try .deb and .rpm in a Debian with a real systemd: install, crash, reload, upgrade, restore, purge
	rm -rf out/next && mkdir -p out/next
	$(subst VERSION=$(VERSION),VERSION=$(VERSION).1,$(NFPM)) ichor.nfpm.yaml --packager rpm --target $(abspath out/next)
	mv out/next/*.rpm $(PACKAGE)/next.rpm
	systemd/package/trial.sh $(abspath out/trial) $(abspath $(PACKAGE))
	rm -rf out/trial out/next $(PACKAGE)/next.rpm
