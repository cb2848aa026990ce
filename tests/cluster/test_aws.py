"""cluster.yaml as far as it can be proved without AWS: Ray takes it, and a mock of EC2 starts from it the machines that are meant."""

import copy
import importlib.metadata
import importlib.util
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

PROJECT = Path(__file__).resolve().parents[2]
AWS, ON_PREMISES = PROJECT / "cluster.yaml", PROJECT / "clusters" / "onprem.yaml"
GPU_TYPES = {"l4": "g6.xlarge", "a10g": "g5.xlarge", "t4": "g4dn.xlarge"}

pytest.importorskip("boto3", reason="needs boto3")
moto = pytest.importorskip("moto", reason="needs moto[ec2,iam,s3,server]")


@pytest.fixture
def aws(monkeypatch, tmp_path):
    """A mock AWS that is prepared, and the configuration as Ray's ``ray up`` settles it there."""
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("HOME", str(tmp_path))  # Ray writes the key pair there
    from ray.autoscaler._private.aws import config as ray_aws
    from ray.autoscaler._private.aws import utils as ray_aws_utils

    with moto.mock_aws():
        for cached in (ray_aws_utils.resource_cache, ray_aws_utils.client_cache):
            cached.cache_clear()
        _account().prepare("sweeps", "us-east-1")
        yield ray_aws.bootstrap_aws(_prepared())
    for cached in (ray_aws_utils.resource_cache, ray_aws_utils.client_cache):
        cached.cache_clear()


def _account() -> Any:
    spec = importlib.util.spec_from_file_location("aws_account", PROJECT / "clusters" / "aws_account.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _prepared() -> dict[str, Any]:
    from ray.autoscaler._private.util import prepare_config

    return prepare_config(yaml.safe_load(AWS.read_text()))


def _started(config: dict[str, Any], node_type: str, kind: str) -> Any:
    """The machine that Ray's own provider starts for a node type."""
    import boto3
    from ray.autoscaler._private.aws.node_provider import AWSNodeProvider
    from ray.autoscaler.tags import TAG_RAY_NODE_KIND, TAG_RAY_NODE_NAME, TAG_RAY_NODE_STATUS, TAG_RAY_USER_NODE_TYPE

    node_config = copy.deepcopy(config["available_node_types"][node_type]["node_config"])
    # the mock looks up no public parameters of AWS
    assert node_config["ImageId"] == (
        "resolve:ssm:/aws/service/deeplearning/ami/x86_64/base-oss-nvidia-driver-gpu-ubuntu-24.04/latest/ami-id"
    )
    node_config["ImageId"] = "ami-12c6146b"
    tags = {
        TAG_RAY_NODE_KIND: kind,
        TAG_RAY_NODE_NAME: f"ray-sweeper-{kind}",
        TAG_RAY_NODE_STATUS: "uninitialized",
        TAG_RAY_USER_NODE_TYPE: node_type,
    }
    AWSNodeProvider(config["provider"], config["cluster_name"]).create_node(node_config, tags, 1)
    instances = [
        instance
        for reservation in boto3.client("ec2", region_name="us-east-1").describe_instances()["Reservations"]
        for instance in reservation["Instances"]
    ]
    assert len(instances) == 1
    return instances[0]


@pytest.mark.parametrize("path", [AWS, ON_PREMISES], ids=lambda path: path.name)
def test_ray_takes_a_cluster_file_by_its_own_schema_and_rules(path):
    from ray.autoscaler._private.util import prepare_config, validate_config

    config = yaml.safe_load(path.read_text())
    validate_config(config)
    validate_config(prepare_config(config))


@pytest.mark.parametrize("path", [AWS, ON_PREMISES], ids=lambda path: path.name)
def test_the_versions_in_a_cluster_file_are_the_projects(path):
    import tomllib

    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    allowed = {Requirement(each).name: Requirement(each).specifier for each in project["dependencies"]}
    text = path.read_text()
    pins = {name: set(re.findall(rf"{name}(?:\[\w+\])?==([\d.]+)", text)) for name in ("ray", "torch")}
    assert all(len(versions) == 1 for versions in pins.values()), pins
    for name, (version,) in ((name, tuple(versions)) for name, versions in pins.items()):
        assert version in allowed[name]
    assert next(iter(pins["ray"])) == importlib.metadata.version("ray")
    (python,) = re.findall(r"uv venv .*--python ([\d.]+)", text)
    assert python in SpecifierSet(project["requires-python"])


def test_both_cluster_files_set_up_a_machine_in_the_same_way():
    aws, on_premises = (yaml.safe_load(path.read_text()) for path in (AWS, ON_PREMISES))
    for key in ("setup_commands", "head_setup_commands", "file_mounts", "cluster_synced_files", "rsync_exclude"):
        assert aws[key] == on_premises[key], key


def test_the_head_is_one_cpu_machine_on_demand_that_runs_no_trial(aws):
    head = _started(aws | {"provider": aws["provider"]}, "head", "head")
    assert head["InstanceType"] == "m7i.large"
    assert "InstanceLifecycle" not in head
    assert aws["available_node_types"]["head"]["resources"] == {"CPU": 0, "GPU": 0}
    assert aws["available_node_types"]["head"]["max_workers"] == 0
    assert any("--num-cpus=0" in command for command in aws["head_start_ray_commands"])


@pytest.mark.parametrize("node_type", GPU_TYPES)
def test_a_worker_is_a_tagged_spot_machine_of_its_gpu_type_in_the_closed_group(aws, node_type):
    import boto3

    worker = _started(aws, node_type, "worker")
    assert worker["InstanceType"] == GPU_TYPES[node_type]
    assert worker["InstanceLifecycle"] == "spot"
    tags = {tag["Key"]: tag["Value"] for tag in worker["Tags"]}
    assert tags["ray-cluster-name"] == "sweeper"
    assert tags["ray-node-type"] == "worker"
    assert tags["ray-user-node-type"] == node_type
    assert worker["IamInstanceProfile"]["Arn"].endswith("instance-profile/sweeper-cluster")
    (group,) = worker["SecurityGroups"]
    rules = boto3.client("ec2", region_name="us-east-1").describe_security_groups(GroupIds=[group["GroupId"]])["SecurityGroups"][0]
    open_to_the_world = {
        (rule.get("FromPort"), rule.get("ToPort"))
        for rule in rules["IpPermissions"]
        for each in rule["IpRanges"]
        if each["CidrIp"] == "0.0.0.0/0"
    }
    assert open_to_the_world == {(22, 22)}
    for rule in rules["IpPermissions"]:
        assert rule["IpRanges"] or {pair["GroupId"] for pair in rule["UserIdGroupPairs"]} == {group["GroupId"]}


def test_no_worker_runs_while_no_trial_waits_and_there_is_a_limit(aws):
    workers = {name: each for name, each in aws["available_node_types"].items() if name != "head"}
    assert set(workers) == set(GPU_TYPES)
    assert all(
        each["min_workers"] == 0 and each["max_workers"] == 8 and each["resources"] == {"CPU": 4, "GPU": 1} for each in workers.values()
    )
    assert aws["max_workers"] == 8
    assert aws["idle_timeout_minutes"] == 5
    assert aws["provider"]["cache_stopped_nodes"] is False


def test_the_driver_reads_from_the_settled_file_that_eight_gpus_may_come(aws, tmp_path):
    from sweeper.cluster.autoscaler import read_autoscaler

    (tmp_path / "ray_bootstrap_config.yaml").write_text(json.dumps(aws))
    autoscaler = read_autoscaler(tmp_path / "ray_bootstrap_config.yaml")
    assert autoscaler.has_gpus
    assert autoscaler.packs(cpus=1, gpus=1) == 8
    assert autoscaler.packs(cpus=1, gpus=0.25) == 32
    assert autoscaler.packs(cpus=1, gpus=2) == 0
    assert not autoscaler.may_bring_unknown(0)


def test_the_account_is_prepared_twice_without_harm_and_the_role_is_narrow(aws):
    import boto3

    account = _account()
    account.prepare("sweeps", "us-east-1")
    iam = boto3.client("iam", region_name="us-east-1")
    profile = iam.get_instance_profile(InstanceProfileName="sweeper-cluster")["InstanceProfile"]
    assert [role["RoleName"] for role in profile["Roles"]] == ["sweeper-cluster"]
    statements = iam.get_role_policy(RoleName="sweeper-cluster", PolicyName="sweeper-cluster")["PolicyDocument"]["Statement"]
    everywhere = [action for each in statements if each["Resource"] == "*" for action in each["Action"]]
    assert all(action.startswith("ec2:") for action in everywhere)
    assert "ec2:*" not in everywhere
    block = boto3.client("s3").get_public_access_block(Bucket="sweeps")["PublicAccessBlockConfiguration"]
    assert all(block.values())


def test_a_cluster_file_opens_no_port_of_ray_and_sends_the_token_to_every_machine():
    for path in (AWS, ON_PREMISES):
        config = yaml.safe_load(path.read_text())
        starts = " ".join(config["head_start_ray_commands"])
        assert "--dashboard-host=127.0.0.1" in starts
        assert "host=0" not in path.read_text()
        assert "~/.ray/auth_token" in config["cluster_synced_files"]
        assert any("RAY_AUTH_MODE=token" in command for command in config["setup_commands"])
        for commands in ("head_setup_commands", "worker_setup_commands"):
            assert any("chmod 600 ~/.ray/auth_token" in command for command in config[commands])


def test_every_field_of_a_cluster_file_is_commented_or_plain():
    """A field that somebody may want to change says why it is as it is, on its line or above."""
    for path in (AWS, ON_PREMISES):
        lines = path.read_text().splitlines()
        for number, line in enumerate(lines):
            if re.match(
                r"(max_workers|upscaling_speed|idle_timeout_minutes|cluster_name|  region|  cache_stopped_nodes|  ssh_user|  ~/)", line
            ):
                assert "#" in line or lines[number - 1].lstrip().startswith("#"), f"{path.name}:{number + 1}: {line}"
