"""Prepare an AWS account for ``cluster.yaml``: once per account, and again without harm.

    python clusters/aws_account.py BUCKET [REGION]

Makes a private bucket for results, and the role ``sweeper-cluster`` of the cluster's machines: it may start and end machines, hand itself
to them, look up AWS's public images, and use this bucket; nothing else. Needs boto3, and credentials of somebody who may make roles.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import boto3
from botocore.exceptions import ClientError

ROLE = "sweeper-cluster"
REGION = "us-east-1"


def prepare(bucket: str, region: str) -> None:
    """Make what is missing; what is there stays, but for the role's policy, which is written anew."""
    s3, iam = boto3.client("s3", region_name=region), boto3.client("iam", region_name=region)
    where = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
    _unless_there(("BucketAlreadyOwnedByYou",), s3.create_bucket, Bucket=bucket, **where)
    closed = dict.fromkeys(("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True)
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=closed)

    trust = _document({"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"})
    _unless_there(("EntityAlreadyExists",), iam.create_role, RoleName=ROLE, AssumeRolePolicyDocument=trust)
    role = iam.get_role(RoleName=ROLE)["Role"]["Arn"]
    iam.put_role_policy(RoleName=ROLE, PolicyName=ROLE, PolicyDocument=policy(bucket, role))
    _unless_there(("EntityAlreadyExists",), iam.create_instance_profile, InstanceProfileName=ROLE)
    _unless_there(("LimitExceeded",), iam.add_role_to_instance_profile, InstanceProfileName=ROLE, RoleName=ROLE)
    # spot machines need a role of AWS's own; its first user has to make it
    _unless_there(("InvalidInput", "EntityAlreadyExists"), iam.create_service_linked_role, AWSServiceName="spot.amazonaws.com")


def policy(bucket: str, role: str) -> str:
    """What the machines may do, as JSON."""
    return _document(
        {
            "Effect": "Allow",
            "Action": ["ec2:RunInstances", "ec2:TerminateInstances", "ec2:StopInstances", "ec2:CreateTags", "ec2:Describe*"],
            "Resource": "*",
        },
        {"Effect": "Allow", "Action": "iam:PassRole", "Resource": role},
        {"Effect": "Allow", "Action": "ssm:GetParameters", "Resource": "arn:aws:ssm:*::parameter/aws/service/*"},
        {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": f"arn:aws:s3:::{bucket}"},
        {"Effect": "Allow", "Action": ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"],
         "Resource": f"arn:aws:s3:::{bucket}/*"},
    )  # fmt: skip


def _document(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def _unless_there(codes: tuple[str, ...], call: Any, **arguments: Any) -> None:
    try:
        call(**arguments)
    except ClientError as error:
        if error.response["Error"]["Code"] not in codes:
            raise


def main(arguments: list[str]) -> None:
    """The command line."""
    if not 1 <= len(arguments) <= 2 or arguments[0].startswith("-"):
        raise SystemExit(__doc__)
    bucket, region = arguments[0], arguments[1] if len(arguments) == 2 else REGION
    try:
        prepare(bucket, region)
    except ClientError as error:
        raise SystemExit(f"AWS refuses: {error}") from error
    sys.stdout.write(
        f"bucket s3://{bucket} and role {ROLE} are ready; in cluster.yaml set SWEEP_RESULTS=s3://{bucket}/sweeps and region: {region}\n"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
