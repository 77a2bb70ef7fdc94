# The front door. Every target sets up what it needs; on a fresh machine `make demo` or `make test` is enough.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.DEFAULT_GOAL := help
REPRODUCE := reproduce-ffhq reproduce-imagenet reproduce-celebahq
.PHONY: help install demo test test-slow faults bench bench-cpu bench-gpu lint prior card clean tune tune-oracle oracle \
        reproduce-photos docs tune-paper-small reproduce-paper-small reproduce-paper-noise tune-frontier reproduce-frontier \
        reproduce-operators reproduce-latent $(REPRODUCE)
TUNED := $(basename $(notdir $(wildcard conf/experiment/tune/*.yaml)))

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-21s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "  make reproduce-ffhq | reproduce-imagenet | reproduce-celebahq   the paper's benchmark; PLAN=1: only its cost"

install: $(STAMP) ## create the environment in .venv

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

demo: install ## restore 8 photographs under 2 tasks with 5 methods; ends with a leaderboard and a page
	$(BIN)/vml-bench run experiment=demo
	$(BIN)/vml-bench leaderboard --results results/demo
	$(BIN)/vml-bench report --results results/demo

# PLAN=1 says what it would cost, in all and for each published number, and stops. OFFLINE=1 fetches and checks nothing
# first. ARGS takes further Hydra overrides (task=sr4 task.noise_std=0, runner.batch_size=32 …), TABLE options of
# `vml-bench leaderboard`.
$(REPRODUCE): reproduce-%: install ## the paper's benchmark on a GPU; PLAN=1: only say what it costs
ifdef PLAN
	$(BIN)/vml-bench plan experiment=reproduce_$* $(ARGS)
else
ifndef OFFLINE
	$(BIN)/vml-bench fetch $*
	$(BIN)/vml-bench doctor $*
endif
	$(BIN)/vml-bench run experiment=reproduce_$* $(ARGS)
	$(BIN)/vml-bench leaderboard --published --dataset $*256 $(TABLE)
endif

DENOISE := task=denoise task.noise_std=0.05,0.2
reproduce-photos: install ## the embedded benchmark in full: hours on two cores, stop and start at will; PLAN=1 too
ifdef PLAN
	$(BIN)/vml-bench plan experiment=reproduce_photos $(ARGS)
	$(BIN)/vml-bench plan experiment=reproduce_photos $(DENOISE) $(ARGS)
else
	$(BIN)/vml-bench run experiment=reproduce_photos $(ARGS)
	$(BIN)/vml-bench run experiment=reproduce_photos $(DENOISE) $(ARGS)
	$(BIN)/vml-bench leaderboard --dataset photos64 $(TABLE)
endif

# The paper's comparison on photos64, in three parts; results/paper_small. PLAN=1 and ARGS as above.
VERB := $(if $(PLAN),plan,run)
AT_200 := method.budget=at_200 task=inpaint_half,sr4,deblur_uniform_all_taps runner.limit=8
AT_1000 := method.budget=at_1000 task=inpaint_half,deblur_uniform_all_taps runner.limit=4
tune-paper-small: install ## levels × inner steps of reproduce-paper-small, chosen on tuning crops (an hour); PLAN=1
	$(BIN)/vml-bench $(VERB) experiment=paper_small/tune $(ARGS)
ifndef PLAN
	$(BIN)/vml-bench tuning --results results/paper_small
	$(BIN)/python -m vml_bench.studies.splits
endif

reproduce-paper-small: install ## the paper's comparison at equal compute: four hours, stop and start at will; PLAN=1
	$(BIN)/vml-bench $(VERB) experiment=paper_small/base $(ARGS)
	for sweep in paper_small/levels paper_small; do $(BIN)/vml-bench $(VERB) experiment=$$sweep $(ARGS) || exit; done
	for sweep in paper_small/levels paper_small; do \
	  $(BIN)/vml-bench $(VERB) experiment=$$sweep $(AT_200) $(ARGS) || exit; \
	  $(BIN)/vml-bench $(VERB) experiment=$$sweep $(AT_1000) $(ARGS) || exit; done
ifndef PLAN
	$(BIN)/vml-bench leaderboard --results results/paper_small --dataset photos64 $(TABLE)
endif

reproduce-paper-noise: install ## the same methods under four levels of noise, at one budget; PLAN=1 too
	for sweep in paper_noise/levels paper_noise; do $(BIN)/vml-bench $(VERB) experiment=$$sweep $(ARGS) || exit; done
ifndef PLAN
	$(BIN)/vml-bench leaderboard --results results/paper_small --dataset photos64 $(TABLE)
endif

# Of each method's grid the lowest LPIPS and the highest PSNR of `make tune-frontier` at 20, its own default, and what was
# better by more than 0.001 or 0.01 dB at 10 or 50
FRONTIER := "frontier method=ddrm method.sampler.eta=0.4,0.85,1" "frontier method=ddnm method.sampler.eta=0.4,0.7,1" \
  "frontier method=lmaps method.sampler.fresh=0.7,0.85,1" "frontier method=diffpir method.sampler.zeta=0.3,0.8,1" \
  "frontier method=pigdm method.sampler.eta=0.8,1" "frontier method=vml_fixed_point_20 method.sampler.step_size=1,1.5" \
  "frontier method=daps method.sampler.step_size=1" "frontier method=library/ddrm,proximap" frontier/knob \
  "frontier method=ddrm method.sampler.eta=0.7 method.budget=at_50" \
  "frontier method=diffpir method.sampler.zeta=0.6 method.budget=at_10" \
  "frontier method=daps method.sampler.step_size=0.5 method.budget=at_10"
reproduce-frontier: install ## LPIPS against PSNR at equal compute, and the one knob: hours on two cores; PLAN=1 too
	for sweep in $(FRONTIER); do for problem in "" "$(DENOISE)"; do \
	  $(BIN)/vml-bench $(VERB) experiment=$$sweep $$problem $(ARGS) || exit; done; done
	for sweep in "frontier/knob task=inpaint_half method.place=wide" frontier/oracle; do \
	  $(BIN)/vml-bench $(VERB) experiment=$$sweep $(ARGS) || exit; done
ifndef PLAN
	$(BIN)/python -m vml_bench.studies.frontier
	$(BIN)/vml-bench leaderboard --results results/frontier --no-figures
endif

FRONTIER_GRIDS := "method=ddrm,ddnm method.sampler.eta=0.4,0.7,0.85,1" "method=pigdm method.sampler.eta=0.2,0.5,0.8,1" \
  "method=lmaps method.sampler.fresh=0.5,0.7,0.85,1" "method=diffpir method.sampler.zeta=0.3,0.6,0.8,1" \
  "method=proximap method.sampler.fresh=0.5,0.8,1" "method=daps method.sampler.step_size=0.5,1,2" \
  "method=vml_fixed_point_20 method.sampler.step_size=1,1.25,1.5"
tune-frontier: install ## the knobs of the methods of reproduce-frontier, on tuning crops: half an hour; PLAN=1 too
	for grid in $(FRONTIER_GRIDS); do $(BIN)/vml-bench $(VERB) experiment=frontier/tune $$grid $(ARGS) || exit; done

STARTS := task=phase_retrieval starts=4 method=dps,daps
reproduce-operators: install ## tasks that are not linear or have no fast decomposition: a quarter of an hour; PLAN=1 too
	for sweep in operators/linear operators "operators $(STARTS)"; do \
	  $(BIN)/vml-bench $(VERB) experiment=$$sweep $(ARGS) || exit; done
ifndef PLAN
	$(BIN)/vml-bench leaderboard --results results/operators --dataset photos64 $(TABLE)
endif

LATENT := "latent method=dps" "latent method=vml_fixed_point_20 prior=photos64" \
  "latent method=vml_fixed_point_20 prior=photos64_latent task=sr4,inpaint_box" "latent method=reddiff prior=photos64" \
  "latent method=reddiff prior=photos64_latent method.sampler.learning_rate=0.25"
reproduce-latent: install ## a prior of latents beside one of pixels: ten minutes on two cores; PLAN=1 too
	for sweep in $(LATENT); do $(BIN)/vml-bench $(VERB) experiment=$$sweep $(ARGS) || exit; done
ifndef PLAN
	$(BIN)/vml-bench leaderboard --results results/latent --dataset photos64 $(TABLE)
endif

tune: install ## eight settings of every method on the tuning crops, and the table that compares them
	for method in $(TUNED); do $(BIN)/vml-bench run experiment=tune/$$method $(ARGS) || exit; done
	$(BIN)/vml-bench tuning

tune-oracle: install ## the same settings against exact posteriors (minutes)
	for method in $(TUNED); do \
	  $(BIN)/vml-bench run experiment=tune/$$method experiment/tune/on@_global_=oracle $(ARGS) || exit; done
	$(BIN)/vml-bench tuning --dataset gmm_tune

oracle: install ## every method against exact posteriors (half an hour on one core; stop and start again at will)
	for sweep in oracle oracle_vector oracle_2d; do $(BIN)/vml-bench run experiment=$$sweep $(ARGS) || exit; done
	for sweep in oracle_compute oracle_compute_vml; do $(BIN)/vml-bench run experiment=$$sweep $(ARGS) || exit; done
	$(BIN)/vml-bench leaderboard --results results/oracle
	$(BIN)/vml-bench leaderboard --results results/oracle_compute

test: install ## run the tests, a process for each core
	$(BIN)/python -m pytest -n auto --dist loadfile

test-slow: install ## run the slow, full-size checks
	$(BIN)/python -m pytest -m slow

faults: install ## kill, fill, truncate, starve … real runs hundreds of times; writes results/durability.md
	$(BIN)/python -m benchmarks.faults $(ARGS)

bench: install ## measure time and memory against the network's own, and against deepinv; writes results/performance
	$(BIN)/python -m pip install --quiet --editable '.[dev,bench]'
	$(BIN)/python -m benchmarks.performance $(ARGS)

bench-cpu: install ## what cheaper passes save here and do to scores (10 minutes); results/performance/cpu*.md
	for how in --compile --avx2; do $(BIN)/python -m benchmarks.performance.cpu $$how $(ARGS) || exit; done

bench-gpu: install ## measure a GPU in nine minutes: passes, memory, cells, hours; writes results/performance/gpu.md
	$(BIN)/python -m benchmarks.performance.gpu $(ARGS)

docs: install ## build the pages as a site, build/site/index.html; a broken link fails
	$(BIN)/mkdocs build --strict

lint: install ## check style, and that imports climb nowhere
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo

prior: install ## train the photos64 prior (hours; stop and start again at will)
	$(BIN)/python -m vml_bench.train

card: install ## measure the shipped prior and write its model card
	$(BIN)/python -m vml_bench.train.card

clean: ## remove the demo's results
	rm -rf results/demo
