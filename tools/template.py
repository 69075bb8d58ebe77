"""template.yaml under chosen parameters: conditions decided, and what SAM makes of it.

`template.py FOLDER` writes one translated template for each of the cases below, for cfn-lint.
"""

import copy
import logging
import sys
from pathlib import Path

from samcli.lib.translate.sam_template_validator import SamTemplateValidator
from samcli.yamlhelper import yaml_dump, yaml_parse

logging.getLogger("samtranslator").setLevel(logging.ERROR)  # it warns of metrics that nobody collects

PATH = Path(__file__).resolve().parent.parent / "template.yaml"

LISTENER = {
    "GatewayServiceToken": "arn:aws:lambda:us-east-1:123456789012:function:gateway",
    "GatewayServiceRole": "arn:aws:iam::123456789012:role/gateway",
    "GatewayApiKey": "key",
    "GatewayNetworks": "192.0.2.0/24,2001:db8::/32",
}
TOPIC = {"AlarmTopicArn": "arn:aws:sns:us-east-1:123456789012:alarms"}

# Every condition is true in one of these and false in another; check_template.py holds them to that.
CASES = {
    "default": {},
    "provisioned": {"ShardCount": 2, "RetentionHours": 24, "MaxRecordMiB": 4, "Architecture": "arm64"},
    "quiet": {"LogPackets": "none", "ApplicationLogLevel": "ERROR", "SystemLogLevel": "WARN", "Dashboard": "false"},
    "reserved": {"ProducerConcurrency": "10", "ConsumerConcurrency": "4", **TOPIC},
    "http-api": {"HttpApi": "true"},
    "http-api-open": {"HttpApi": "true", "HttpAuthorization": "NONE"},
    "function-url": {"FunctionUrl": "true"},
    "function-url-open": {"FunctionUrl": "true", "HttpAuthorization": "NONE"},
    "udp-to-producer": LISTENER,
    "udp-to-stream": {**LISTENER, "GatewayDestination": "stream"},
    "udp-without-key": {**LISTENER, "GatewayDestination": "stream", "PartitionKeyExpression": ""},
    "everything": {
        **LISTENER, **TOPIC, "HttpApi": "true", "FunctionUrl": "true", "HttpAuthorization": "NONE",
        "ShardCount": 4, "ProducerConcurrency": "10", "ConsumerConcurrency": "40", "ParallelizationFactor": 10,
    },
}  # fmt: skip


def parse(text):
    """The template with CloudFormation's short forms written long."""
    return yaml_parse(text)


def values(template, parameters):
    defaults = {name: about.get("Default") for name, about in template["Parameters"].items()}
    unknown = set(parameters) - set(defaults)
    assert not unknown, f"no such parameters: {unknown}"
    return {name: str(value) for name, value in {**defaults, **parameters}.items()}


def holds(condition, template, given):
    """Whether a condition, or an assertion of a rule, holds under these values of the parameters."""
    (function, of), = condition.items()
    text = lambda value: given[value["Ref"]] if isinstance(value, dict) else str(value)
    inner = lambda each: holds(each, template, given)
    match function:
        case "Condition": return inner(template["Conditions"][of])
        case "Fn::Equals": return text(of[0]) == text(of[1])
        case "Fn::Contains": return text(of[1]) in map(text, of[0])
        case "Fn::Not": return not inner(of[0])
        case "Fn::And": return all(map(inner, of))
        case "Fn::Or": return any(map(inner, of))
    raise ValueError(f"no condition: {function}")  # fmt: skip


def conditions(template, parameters):
    given = values(template, parameters)
    return {name: holds(of, template, given) for name, of in template["Conditions"].items()}


def refusals(template, parameters):
    """What the template's rules say against these parameters."""
    given = values(template, parameters)
    for rule in template.get("Rules", {}).values():
        if holds(rule["RuleCondition"], template, given):
            for assertion in rule["Assertions"]:
                if not holds(assertion["Assert"], template, given):
                    yield assertion["AssertDescription"]


def decided(template, parameters):
    """The template with its conditions decided: what is not there is gone, and what was chosen is the only choice."""
    truths = conditions(template, parameters)

    def walk(node):
        if isinstance(node, list):
            return [each for each in map(walk, node) if each != {"Ref": "AWS::NoValue"}]
        if not isinstance(node, dict):
            return node
        if list(node) == ["Fn::If"]:
            condition, then, otherwise = node["Fn::If"]
            return walk(then if truths[condition] else otherwise)
        walked = {name: walk(each) for name, each in node.items()}
        return {name: each for name, each in walked.items() if each != {"Ref": "AWS::NoValue"}}

    result = copy.deepcopy(dict(template))
    for section in ("Resources", "Outputs"):
        present = {}
        for name, about in template[section].items():
            if truths.get(about.get("Condition"), True):
                present[name] = walk({key: each for key, each in about.items() if key != "Condition"})
        result[section] = present
    for name, value in parameters.items():
        result["Parameters"][name] = {"Type": template["Parameters"][name]["Type"], "AllowedValues": [value], "Default": value}
    del result["Conditions"]
    return result


def main(folder):
    template = parse(PATH.read_text())
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.yaml"):
        old.unlink()
    for name, parameters in CASES.items():
        said = list(refusals(template, parameters))
        assert not said, f"{name}: {said}"
        validator = SamTemplateValidator(decided(template, parameters), None, region="us-east-1")
        translated = yaml_parse(validator.get_translated_template_if_valid())
        (folder / f"{name}.yaml").write_text(yaml_dump(translated))
    print(f"translated: {', '.join(CASES)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
