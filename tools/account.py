"""Says whose account and which region the next command will reach, or in one sentence what is missing.

sam and cargo-lambda find out late, and some of what they say then is no help ("Name does not resolve").

    account.py                  prints account and region
    account.py --stack NAME     also expects the stack there
"""

import argparse
import difflib
import os
import sys

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ConnectionError, HTTPClientError, ProfileNotFound

QUICK = Config(connect_timeout=5, read_timeout=10, retries={"total_max_attempts": 2})


class Missing(Exception):
    """What is missing, as a sentence for whoever typed the command."""


def profile_of(session) -> str:
    return f"profile {session.profile}" if session.profile else "the default profile"


def region_of(session) -> str:
    """AWS_REGION first, as cargo-lambda and the newer SDKs look for it. sam and the AWS CLI's version 1 know only
    AWS_DEFAULT_REGION, so the Makefile gives them that."""
    region = os.environ.get("AWS_REGION") or session.get_config_variable("region")
    if not region:
        raise Missing(f"no region: AWS_REGION is not set, and {profile_of(session)} has none. "
                      "Choose one, for example: export AWS_REGION=eu-west-1")
    return region


def known_regions(session) -> list[str]:
    return [region for partition in session.get_available_partitions()
            for region in session.get_available_regions("kinesis", partition)]


def identity_of(session, region: str) -> str:
    """The account's number, from STS, the one call that needs no permission."""
    if session.get_credentials() is None:
        raise Missing(f"no credentials: neither AWS_ACCESS_KEY_ID with AWS_SECRET_ACCESS_KEY nor {profile_of(session)} "
                      "gives any. `aws configure` stores some, `aws configure sso` sets up a sign-in")
    try:
        return session.create_client("sts", region_name=region, config=QUICK).get_caller_identity()["Account"]
    except ClientError as error:
        cause = error.response["Error"]
        raise Missing(f"AWS refused the credentials in {region}: {cause['Code']}: {cause['Message'].rstrip('.')}. "
                      "They may be expired or mistyped, or the region may not be enabled for the account") from error
    except (ConnectionError, HTTPClientError) as error:
        regions = known_regions(session)
        if region in regions or os.environ.get("AWS_ENDPOINT_URL"):
            raise Missing(f"AWS cannot be reached: {error}") from error
        nearest = difflib.get_close_matches(region, regions, 1)
        meant = f"; is {nearest[0]} meant?" if nearest else ""
        raise Missing(f"no AWS in the region {region}: it is not among the {len(regions)} regions known here, "
                      f"and nothing answers there{meant}") from error


def expect_stack(session, region: str, account: str, name: str) -> None:
    try:
        session.create_client("cloudformation", region_name=region, config=QUICK).describe_stacks(StackName=name)
    except ClientError as error:
        if "does not exist" not in error.response["Error"]["Message"]:
            raise
        raise Missing(f"no stack {name} in {region} of account {account}. `make deploy` makes it; "
                      "if it is there already, it is in another region or account") from error


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--stack", metavar="NAME")
    stack = arguments.parse_args().stack
    try:
        session = botocore.session.Session()
        region = region_of(session)
        account = identity_of(session, region)
        if stack:
            expect_stack(session, region, account, stack)
    except Missing as missing:
        print(missing, file=sys.stderr)
        return 1
    except ProfileNotFound as error:
        print(f"{error}; AWS_PROFILE has to name one that ~/.aws/config or ~/.aws/credentials holds", file=sys.stderr)
        return 1
    except (BotoCoreError, ClientError) as error:
        print(f"asking AWS failed: {error}", file=sys.stderr)
        return 1
    at = os.environ.get("AWS_ENDPOINT_URL")
    print(f"account {account}, region {region}" + (f", at {at}" if at else ""), file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
