# Building, checking and deploying template.yaml. The tools live in .tools and nowhere else;
# `make tools` is all it takes to have them, and removing .tools all it takes to be rid of them.

VENV  := .tools/venv
TOOLS := $(VENV)/.installed
MINISTACK := .tools/ministack/.installed
CHECKOV := .tools/checkov/.installed
INTEROP := .tools/interop/.installed
BENCH := .tools/bench/.installed
# sam finds cargo-lambda, and cargo-lambda its linker, by PATH.
WITH_TOOLS := PATH="$(CURDIR)/$(VENV)/bin:$$PATH" SAM_CLI_TELEMETRY=0
# Asked first, because sam and cargo-lambda are late or unclear about it: whose account, which region?
ACCOUNT := $(VENV)/bin/python tools/account.py
# make deploy STACK=another: its name, and the first part of its functions' names.
STACK ?= $(shell sed -n 's/^stack_name = "\(.*\)"/\1/p' samconfig.toml)

# sam, and aws of version 1, look for the region in AWS_DEFAULT_REGION alone; everything else in AWS_REGION first.
ifdef AWS_REGION
export AWS_DEFAULT_REGION := $(AWS_REGION)
endif

.PHONY: tools build account deploy invoke-remote logs destroy deploy-check lint-template

tools: $(TOOLS) $(MINISTACK) $(CHECKOV) ## sam, cargo-lambda, cfn-lint, aws, ministack and checkov, in their pinned versions

$(TOOLS): tools/requirements.txt
$(MINISTACK): tools/requirements-ministack.txt
$(CHECKOV): tools/requirements-checkov.txt
$(INTEROP): tools/requirements-interop.txt
$(BENCH): bench/python/requirements.txt

$(TOOLS) $(MINISTACK) $(CHECKOV) $(INTEROP) $(BENCH):
	@python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
		|| { echo "this needs python3, version 3.11 or newer, on the PATH; found: $$(python3 --version 2>&1 || true)" >&2; exit 1; }
	@python3 -c 'import venv, ensurepip' 2>/dev/null \
		|| { echo "this needs Python's venv module; Debian and Ubuntu have it in the package python3-venv" >&2; exit 1; }
	python3 -m venv --clear $(@D)
	$(@D)/bin/pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

build: $(TOOLS) ## both functions as they are deployed, into .aws-sam/build, and the sizes of their zips
	@command -v cargo >/dev/null || { echo "make build needs cargo on the PATH; https://rustup.rs installs it" >&2; exit 1; }
	@cargo metadata --locked --format-version 1 >/dev/null # sam has no way to ask for --locked
	$(WITH_TOOLS) sam build
	@$(VENV)/bin/python tools/zip_functions.py .aws-sam/build .aws-sam

account: $(TOOLS) ## whose account and which region the targets below will reach
	@$(ACCOUNT)

deploy: account build ## creates the stack, or brings it up to date; its parameters are in samconfig.toml
	$(WITH_TOOLS) sam deploy --stack-name $(STACK) --s3-prefix $(STACK) $(ARGS)

# The folder of the event says which function it is for.
EVENT_FOR = $(notdir $(patsubst %/,%,$(dir $(EVENT))))

invoke-remote: $(TOOLS) ## invokes a deployed function: make invoke-remote EVENT=events/consumer/batch.json
invoke-remote: EVENT := $(or $(EVENT),events/producer/one-packet.json)
invoke-remote:
	@[ -f "$(EVENT)" ] || { echo "no file $(EVENT); the samples are in events/producer and events/consumer" >&2; exit 1; }
	@case "$(EVENT_FOR)" in producer|consumer) ;; *) \
		echo "expected EVENT in a folder named producer or consumer, which says whom to invoke; given $(EVENT)" >&2; exit 1;; esac
	@$(ACCOUNT) --stack $(STACK)
	@$(WITH_TOOLS) sam remote invoke --stack-name $(STACK) $(if $(filter producer,$(EVENT_FOR)),Producer,Consumer) --event-file $(EVENT) $(ARGS); \
		status=$$?; echo; exit $$status

logs: $(TOOLS) ## both functions' log, the last ten minutes of it: make logs ARGS='--tail --filter packet'
	@$(ACCOUNT) --stack $(STACK)
	@set -o pipefail; $(WITH_TOOLS) sam logs --stack-name $(STACK) --output json $(ARGS) | $(VENV)/bin/python -uc "$$LINES"

# sam would spread each line of ours over twenty; its JSON holds it as it was written.
define LINES
import json, sys
for line in sys.stdin:
    print(json.loads(line)["message"].rstrip() if line.startswith("{") else line.rstrip())
endef
export LINES

destroy: $(TOOLS) ## deletes the stack with its stream and queue, and says what stays; ARGS=--no-prompts does not ask
	@$(ACCOUNT) --stack $(STACK)
	@output() { $(WITH_TOOLS) aws cloudformation describe-stacks --stack-name $(STACK) --output text \
		--query "Stacks[0].Outputs[?OutputKey=='$$1'].OutputValue"; }; \
	bucket=$$(output FailureBucketName) && queue=$$(output UndeliveredQueueUrl) || exit 1; \
	case "$$bucket" in ""|None) ;; *) \
		echo "The bucket with what the mapping gave up stays. To empty and delete it: aws s3 rb --force s3://$$bucket";; esac; \
	case "$$queue" in ""|None) ;; *) \
		echo "In the queue of undelivered packets, which goes with the stack: about $$($(WITH_TOOLS) aws sqs get-queue-attributes \
			--queue-url "$$queue" --attribute-names ApproximateNumberOfMessages --output text \
			--query Attributes.ApproximateNumberOfMessages) messages";; esac
	$(WITH_TOOLS) sam delete --stack-name $(STACK) $(ARGS)

# Not AWS, but a server of this machine with an account of its own; nothing of yours is asked for or used.
deploy-check: $(TOOLS) $(MINISTACK) ## all of the above against ministack: deploys, invokes, reads, deletes
	@$(VENV)/bin/python tools/deploy_check.py $(ARGS)

# Linters see little of what SAM makes, and less of what stands behind an intrinsic function: so the template is translated
# under every combination of parameters that matters. W2001: there, what only conditions read is not used any more.
TRANSLATED := .aws-sam/translated
lint-template: $(TOOLS) $(CHECKOV) ## template.yaml, as written and as translated; needs neither network nor account
	$(WITH_TOOLS) sam validate --lint --template template.yaml
	@$(VENV)/bin/python tools/template.py $(TRANSLATED)
	$(VENV)/bin/cfn-lint --ignore-checks W2001 -- $(TRANSLATED)/*.yaml
	.tools/checkov/bin/checkov --framework cloudformation --directory $(TRANSLATED) --compact --quiet --skip-download
	@$(VENV)/bin/python tools/check_template.py
	@$(VENV)/bin/python tools/break_template.py
	@$(VENV)/bin/python tools/costs.py --check README.md
