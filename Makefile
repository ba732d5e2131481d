# Every command is in tasks.py; this only gives it short names.
PYTHON ?= python3

.PHONY: help lab test render site slides wheel wheelhouse repository setup

help:
	@$(PYTHON) tasks.py --help

# make lab LAB_ARGS="--port 9999 --no-browser"; make hands LAB_ARGS on as a variable
lab:
	@$(PYTHON) tasks.py lab

test:
	@$(PYTHON) tasks.py test

# make render NOTEBOOKS="03 05"
render:
	@$(PYTHON) tasks.py render $(NOTEBOOKS)

# open build/html/index.html
site:
	@$(PYTHON) tasks.py site

# make slides NOTEBOOKS="03 05"
slides:
	@$(PYTHON) tasks.py slides $(NOTEBOOKS)

wheel:
	@$(PYTHON) tasks.py wheel

wheelhouse:
	@$(PYTHON) tasks.py wheelhouse

# make repository NAME=owner/name, or without NAME to read it from git; to unset it: make repository NAME=--unset
repository:
	@$(PYTHON) tasks.py repository $(NAME)

setup:
	@$(PYTHON) tasks.py setup
