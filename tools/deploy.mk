# Building, checking and deploying template.yaml. The tools live in .tools/venv and nowhere else;
# `make tools` is all it takes to have them, and removing .tools all it takes to be rid of them.

VENV  := .tools/venv
TOOLS := $(VENV)/.installed
# sam finds cargo-lambda, and cargo-lambda its linker, by PATH.
WITH_TOOLS := PATH="$(CURDIR)/$(VENV)/bin:$$PATH" SAM_CLI_TELEMETRY=0

.PHONY: tools build deploy lint-template invoke-producer invoke-consumer

tools: $(TOOLS) ## sam, cargo-lambda, cfn-lint and aws, in their pinned versions

$(TOOLS): tools/requirements.txt
	@python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
		|| { echo "make tools needs python3, version 3.11 or newer, on the PATH; found: $$(python3 --version 2>&1 || true)" >&2; exit 1; }
	@python3 -c 'import venv, ensurepip' 2>/dev/null \
		|| { echo "make tools needs Python's venv module; Debian and Ubuntu have it in the package python3-venv" >&2; exit 1; }
	python3 -m venv --clear $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

build: $(TOOLS) ## both functions as they are deployed, into .aws-sam/build, and the sizes of their zips
	@command -v cargo >/dev/null || { echo "make build needs cargo on the PATH; https://rustup.rs installs it" >&2; exit 1; }
	@cargo metadata --locked --format-version 1 >/dev/null # sam has no way to ask for --locked
	$(WITH_TOOLS) sam build
	@for function in Producer Consumer; do \
		zip=$(CURDIR)/.aws-sam/$$function.zip; rm -f "$$zip"; \
		(cd .aws-sam/build/$$function && "$(CURDIR)/$(VENV)/bin/python" -m zipfile -c "$$zip" bootstrap) || exit 1; \
		echo "$$function.zip: $$(($$(wc -c < "$$zip") / 1024)) KiB"; \
	done

deploy: build ## build, then create or update the stack; its parameters are in samconfig.toml
	$(WITH_TOOLS) sam deploy $(ARGS)

# Some rules look only at what SAM makes of the template, so that is checked too.
lint-template: $(TOOLS) ## template.yaml, as written and as translated; needs neither network nor account
	$(WITH_TOOLS) sam validate --lint --template template.yaml
	@mkdir -p .aws-sam
	$(VENV)/bin/python -c "$$TRANSLATE" template.yaml > .aws-sam/translated.yaml
	$(VENV)/bin/cfn-lint --template .aws-sam/translated.yaml

define TRANSLATE
import sys
from samcli.lib.translate.sam_template_validator import SamTemplateValidator
from samcli.yamlhelper import yaml_parse
template = yaml_parse(open(sys.argv[1]).read())
print(SamTemplateValidator(template, None, region="us-east-1").get_translated_template_if_valid())
endef
export TRANSLATE

invoke-producer: $(TOOLS) ## send the deployed producer a sample event; EVENT=events/producer/batch.json
	$(WITH_TOOLS) sam remote invoke Producer --event-file $(or $(EVENT),events/producer/one-packet.json) $(ARGS)

invoke-consumer: $(TOOLS) ## the same for the consumer, past the stream; EVENT=events/consumer/batch.json
	$(WITH_TOOLS) sam remote invoke Consumer --event-file $(or $(EVENT),events/consumer/one-packet.json) $(ARGS)
