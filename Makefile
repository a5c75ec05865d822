# colorize-lab: every command a reader needs. `make` alone prints them.
PROFILE ?= sample
PHOTOS  ?=
SET     ?=
NB      ?=
LAUNCH  ?=
EXTRA   ?=
CIFAR   ?=
PYTHON  ?= python3

VENV := .venv
PY   := $(VENV)/bin/python
UV   := $(VENV)/bin/uv
# Wheels of torch are large; a slow line should not end the installation.
export UV_HTTP_TIMEOUT ?= 600

# Values reach the programs by the environment and as they are: with spaces, commas, quotes and dollars.
export LAB_PROFILE := $(value PROFILE)
export LAB_PHOTOS  := $(value PHOTOS)
export LAB_SET     := $(value SET)
export LAB_LAUNCH  := $(value LAUNCH)
export LAB_EXTRA   := $(value EXTRA)
export LAB_CIFAR   := $(value CIFAR)
RUN := notebooks/tools/run.py --profile "$$LAB_PROFILE" --photos "$$LAB_PHOTOS" --settings "$$LAB_SET" --launch="$$LAB_LAUNCH"
# The files with badges that open notebooks in Colab, and with the cells that clone the repository there.
BADGED   := README.md $(wildcard notebooks/0*.ipynb outputs/published/*/*.ipynb)

.DEFAULT_GOAL := help
.PHONY: help setup run-all run readme report web publish release encoder hints human-test demo bench claims test lint format badges lock clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'
	@echo
	@echo "  PROFILE=sample (default) | test | photos | colab | paper   PHOTOS=DIR: your photographs"
	@echo "  SET=\"key=value ...\": override parameters of the notebooks"
	@echo "  LAUNCH=\"--multi_gpu --num_processes 4\": train on several GPUs (options of accelerate launch)"

setup: $(VENV)/.installed ## Create .venv with the locked packages (does nothing the second time)

$(VENV)/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "colorize-lab needs Python 3.11 or newer: make setup PYTHON=/path/to/python3"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check uv
	$(UV) pip sync --quiet --require-hashes --compile-bytecode requirements.lock
	$(UV) pip install --quiet --no-deps --editable .
	@touch $@

lock: ## Resolve requirements.lock anew from pyproject.toml
	$(UV) pip compile pyproject.toml --extra dev --extra demo --extra scale --extra imagenet --extra export --extra film --universal --generate-hashes --upgrade \
	  --quiet --no-emit-index-url --custom-compile-command "make lock" --output-file requirements.lock

run-all: setup ## Run all notebooks under PROFILE; again only those that read something that changed
	$(PY) $(RUN) --changed

run: setup ## Run one notebook: make run NB=02
	@test -n "$(NB)" || { echo "say which notebook: make run NB=02"; exit 1; }
	$(PY) $(RUN) $(NB)

readme: setup ## Write the tables of the README from outputs/published
	$(PY) notebooks/tools/readme.py

report: setup ## Make a site of PROFILE's executed notebooks: outputs/PROFILE/report/index.html
	$(PY) notebooks/tools/report.py --profile "$$LAB_PROFILE"

web: setup ## Make a page that colours photographs in the reader's browser: outputs/PROFILE/web/
	$(PY) notebooks/tools/web.py --profile "$$LAB_PROFILE"

publish: setup ## Copy PROFILE's notebooks without its photographs to outputs/published, to be committed
	$(PY) notebooks/tools/publish.py --profile "$$LAB_PROFILE"

release: setup ## Ship a trained generator in weights/: make release PROFILE=photos NB=03/distribution
	$(PY) notebooks/tools/release.py --profile "$$LAB_PROFILE" --notebook $(NB)

encoder: setup ## Train an encoder that knows things, distilled from EfficientNet-Lite2: make encoder PHOTOS=A,B
	$(PY) notebooks/tools/encoder.py --photos "$$LAB_PHOTOS"

hints: setup ## Teach the shipped generator to take hints: make hints PHOTOS=A,B
	$(PY) notebooks/tools/hints.py --photos "$$LAB_PHOTOS"

human-test: setup ## Ask people which picture is the fake, by PROFILE's notebook 06; or COMPARE="DIR DIR": which looks better
	$(PY) -m colorize_lib human-test "outputs/$$LAB_PROFILE/$(if $(COMPARE),comparison" --compare $(COMPARE),06_evaluation/human_test")

demo: setup ## Colour your own photographs on a page that this machine alone sees
	$(PY) -m colorize_lib demo

claims: setup ## Train and judge what is missing of the arms of benchmarks/claims/plan.yaml: PHOTOS=A,B EXTRA=DIR CIFAR=DIR
	$(PY) benchmarks/claims --photos "$$LAB_PHOTOS" --extra "$$LAB_EXTRA" $(if $(CIFAR),--cifar "$$LAB_CIFAR")

bench: setup ## Time ours beside the recipe that others use, on PHOTOS or package photographs
	$(PY) benchmarks/bench.py $(if $(PHOTOS),--photos "$$LAB_PHOTOS") --json outputs/published/benchmarks.json

test: setup ## Run the tests
	OMP_NUM_THREADS=1 $(PY) -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

lint: setup ## Check style, and that no notebook carries outputs
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/nbstripout --keep-id --verify notebooks/*.ipynb

format: setup ## Mend style, and strip the notebooks
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .
	$(VENV)/bin/nbstripout --keep-id notebooks/*.ipynb

badges: ## Have badges and Colab cells name your repository: make badges REPO=owner/name
	@echo "$$REPO" | grep -qxE '[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]+' || { echo "make badges REPO=owner/name" >&2; exit 1; }
	@sed -i.bak -E -e "s#(colab\.research\.google\.com/github/)[^/]+/[^/]+/blob#\1$$REPO/blob#g" \
	  -e "s#(COLORIZE_LAB_URL[^/]*//github\.com/)[^/]+/[^\"\\]+#\1$$REPO#" $(BADGED)
	@rm $(BADGED:=.bak)

clean: ## Delete what a profile left, with checkpoints and people's answers: make clean PROFILE=sample
	@test "$(origin PROFILE)" != file || { echo "say which: make clean PROFILE=sample" >&2; exit 1; }
	@test -f "notebooks/profiles/$$LAB_PROFILE.yaml" || { echo "there is no profile '$$LAB_PROFILE'" >&2; exit 1; }
	rm -rf "outputs/$$LAB_PROFILE"
