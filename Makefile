# Everything a newcomer types. Whatever is missing is installed, built or made first, once; what is dear to
# make lives in the cache, ~/.cache/bridgehead (BRIDGEHEAD_CACHE names another place).
#
#   make demo    two nodes, a policy, a guest, a live migration and a report
#   make test    every test that this machine can run
#   make check   format, lint, types, import rules and the pure tests: under two minutes
#   make clean   virtual environments and tool caches; `make distclean`: kernel and images as well

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.ONESHELL:
.DEFAULT_GOAL := demo
.PHONY: demo test check test-peers test-lab root setup kernel images packages venv requirements clean distclean

override ROOT := $(patsubst %/,%,$(dir $(abspath $(lastword $(MAKEFILE_LIST)))))
CACHE := $(or $(BRIDGEHEAD_CACHE),$(HOME)/.cache/bridgehead)
# The environment belongs to one checkout and one set of pinned packages.
KEY := $(shell { echo '$(ROOT)'; cat '$(ROOT)/requirements.txt'; } | sha256sum | cut -c1-12)
VENV := $(CACHE)/venv-$(KEY)
RUN := cd '$(ROOT)'; export PATH='$(VENV)/bin':"$$PATH" PYTHONPATH='$(ROOT)'; exec

# What comes from Debian: the one list of it.
PACKAGES := \
  python3 python3-venv python3-dev gcc make pkgconf libvirt-dev \
  flex bison bc libelf-dev xz-utils \
  iproute2 iputils-ping nftables kmod procps \
  qemu-system-x86 qemu-utils ipxe-qemu seabios libvirt-daemon libvirt-daemon-driver-qemu libvirt-clients \
  mmdebstrap busybox-static cpio e2fsprogs containernetworking-plugins

demo: setup
	@$(RUN) vmnet rack demo $(DEMO)

test: setup
	@$(RUN) python -m pytest --places $(TEST)

check: venv
	@$(RUN) bash -ec '
	    ruff format --check .
	    ruff check .
	    mypy
	    lint-imports
	    pytest -q tests/plan tests/document'

# Beside other engines (nmstatectl, ifstate, the Go plugins), and in Vagrant machines.
test-peers test-lab: setup
	@folder=tests/$(if $(filter test-lab,$@),vagrant,peers)
	if [ -z "$$(find '$(ROOT)'/$$folder -name 'test_*.py' 2>/dev/null)" ]; then echo "$@: nothing here yet"; exit 0; fi
	$(RUN) python -m pytest $$folder

root:
	@[ $$(id -u) = 0 ] || {
	    echo 'error: the rack, its guests and most tests need root' >&2
	    echo '  hint: sudo make $(or $(MAKECMDGOALS),$(.DEFAULT_GOAL))' >&2
	    exit 77
	}

# The environment first, then the two long ones side by side.
setup: root venv
	@$(MAKE) --no-print-directory -f '$(ROOT)/Makefile' -j2 kernel images

# Where the host's kernel has all we need, no lab kernel is built; where none can be had, what needs it says so.
kernel:
	@cd '$(ROOT)'; export PYTHONPATH='$(ROOT)'
	'$(VENV)/bin/python' -m nncp.lab prepare

images:
	@if [ -e '$(ROOT)/vmnet/rack/images.py' ]; then $(RUN) vmnet rack images; fi

packages:
	@missing=$$(comm -23 <(tr ' ' '\n' <<<'$(PACKAGES)' | sort -u) \
	    <(dpkg-query -W -f '$${Package} $${db:Status-Status}\n' 2>/dev/null | sed -n 's/ installed$$//p' | sort -u))
	[ -n "$$missing" ] || exit 0
	echo "installing" $$missing
	[ $$(id -u) = 0 ] && root= || root=sudo
	install="$$root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o Dpkg::Use-Pty=0 install --no-install-recommends"
	$$install $$missing >/dev/null 2>&1 || { $$root apt-get -qq update; $$install $$missing >/dev/null; }

venv: packages
	@[ ! -e '$(VENV)/ready' ] || ! '$(VENV)/bin/python' -c '' 2>/dev/null || exit 0
	echo "making the Python environment"
	for python in python3 /usr/bin/python3 ''; do
	    $${python:-false} -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break
	done
	[ -n "$$python" ] || { echo "no Python of version 3.11 or newer" >&2; exit 69; }
	mkdir -p '$(CACHE)'
	exec 9>'$(VENV).lock'; flock 9
	[ ! -e '$(VENV)/ready' ] || exit 0
	# What this checkout used before its pins changed is of no use to anybody.
	grep -lsxF '$(ROOT)' '$(CACHE)'/venv-*/checkout | xargs -r dirname | xargs -r rm -rf || true
	rm -rf '$(VENV)'
	"$$python" -m venv '$(VENV)'
	echo '$(ROOT)' >'$(VENV)/checkout'
	pip="$(VENV)/bin/python -m pip --quiet --disable-pip-version-check install --no-build-isolation --require-hashes"
	# What builds packages comes first: libvirt-python is built here, against the libvirt that is here.
	awk '/^(packaging|setuptools|wheel)==/ {on=1} on {print} !/\\$$/ {on=0}' '$(ROOT)/requirements.txt' >'$(VENV)/build.txt'
	$$pip -r '$(VENV)/build.txt'
	$$pip -r '$(ROOT)/requirements.txt'
	'$(VENV)/bin/python' -m pip --quiet --disable-pip-version-check install --no-build-isolation --no-deps -e '$(ROOT)'
	touch '$(VENV)/ready'

# Pin anew what pyproject.toml asks for.
requirements: venv
	@cd '$(ROOT)'
	'$(VENV)/bin/python' - <<'END' | CUSTOM_COMPILE_COMMAND='make requirements' '$(VENV)/bin/pip-compile' --quiet \
	    --upgrade --generate-hashes --allow-unsafe --strip-extras --no-annotate --no-emit-index-url \
	    --no-emit-trusted-host --no-emit-find-links --no-emit-options --output-file requirements.txt -
	import tomllib
	with open("pyproject.toml", "rb") as file:
	    config = tomllib.load(file)
	project = config["project"]
	print(*project["dependencies"], *project["optional-dependencies"]["launcher"], sep="\n")
	print(*config["dependency-groups"]["dev"], *config["build-system"]["requires"], sep="\n")
	print("editables", "setuptools", "wheel", sep="\n")
	END

clean:
	@rm -rf '$(CACHE)'/venv-*
	cd '$(ROOT)'; rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean
	@rm -rf '$(CACHE)'
