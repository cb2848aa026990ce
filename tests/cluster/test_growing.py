"""A cluster whose nodes come and go while a sweep runs, made of Ray's own nodes on this machine."""

from __future__ import annotations

import json
import threading
import time

import pytest

import sweeper.cluster.session  # noqa: F401  (sets what Ray reads when it is imported)

import ray  # isort: skip
from ray.cluster_utils import Cluster  # isort: skip

from sweeper.cluster import capacity, nodes
from sweeper.cluster.autoscaler import Autoscaler, NodeType, packs_on, read_autoscaler
from sweeper.cluster.session import ray_session
from sweeper.driver.events import EpochTrained, TrialReturned
from sweeper.errors import ClusterError
from sweeper.space import parse_space
from sweeper.sweep import start_sweep

pytestmark = pytest.mark.one_by_one

SPACE = """
name: growing
dataset: {name: synthetic, train_images: 2000, test_images: 300, validation: 300}
training: {epochs: 12}
parameters:
  loss: {choices: [cross_entropy, mse]}
  learning_rate: {low: 0.01, high: 0.3, log: true}
compare: {arms: loss, searches: 1, trials_per_arm: 2, seeds: 0}
search: {sampler: {name: random}, pruner: {name: none}}
resources: {max_failures: 0}
"""

L4 = NodeType("l4", {"CPU": 4.0, "GPU": 1.0}, 8)
FOUR_T4 = NodeType("t4", {"CPU": 48.0, "GPU": 4.0}, 2)
UNKNOWN = NodeType("worker group", None, None)


@pytest.mark.parametrize(
    ("types", "most", "cpus", "gpus", "packs"),
    [
        ([L4], 8, 1, 1, 8),
        ([L4], 3, 1, 1, 3),  # the cluster's limit is below the type's
        ([L4], 8, 1, 0.25, 32),
        ([L4], 8, 8, 1, 0),  # no node has 8 cores
        ([L4, FOUR_T4], 8, 1, 1, 14),  # the roomiest first: two of four, then six of one
        ([L4], 8, 4, 0, 8),
        ([UNKNOWN], None, 1, 1, 0),
        ([], 0, 1, 0, 0),
    ],
)
def test_an_autoscaler_may_reach_as_many_packs_as_its_largest_cluster_holds(types, most, cpus, gpus, packs):
    assert Autoscaler(tuple(types), most).packs(cpus, gpus) == packs


@pytest.mark.parametrize(
    ("gpus_on_node", "gpus", "packs"), [(1, 1 / 3, 3), (1, 0.1, 10), (1, 0.4, 2), (4, 1, 4), (0, 1, 0), (1, 0.3333, 3)]
)
def test_shares_of_a_gpu_fill_it(gpus_on_node, gpus, packs):
    assert packs_on({"CPU": 64.0, "GPU": float(gpus_on_node)}, 1, gpus) == packs


@pytest.mark.parametrize("content", ["", "[]", "{", "available_node_types: {a: 1}", '{"available_node_types": {}}', "\x00"])
def test_a_settled_file_that_is_none_tells_of_no_autoscaler(tmp_path, content, monkeypatch):
    monkeypatch.delenv("RAY_USAGE_STATS_KUBERAY_IN_USE", raising=False)
    path = tmp_path / "ray_bootstrap_config.yaml"
    path.write_text(content)
    assert read_autoscaler(path) is None
    assert read_autoscaler(tmp_path / "absent") is None


def test_on_kubernetes_nodes_may_come_that_nobody_knows(tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_USAGE_STATS_KUBERAY_IN_USE", "1")
    autoscaler = read_autoscaler(tmp_path / "absent")
    assert autoscaler.may_bring_unknown(1000)
    assert not autoscaler.has_gpus


def test_machines_of_ones_own_are_expected_until_all_have_joined(tmp_path):
    path = tmp_path / "ray_bootstrap_config.yaml"
    own = {"local.cluster.node": {"resources": {}, "node_config": {}, "min_workers": 2, "max_workers": 2}}
    path.write_text(json.dumps({"available_node_types": own, "max_workers": 2, "head_node_type": "local.cluster.node"}))
    autoscaler = read_autoscaler(path)
    assert autoscaler.least == 2
    assert autoscaler.may_bring_unknown(1)
    assert not autoscaler.may_bring_unknown(2)


@pytest.fixture(scope="module")
def cluster_of_all():
    quick_health_checks = {
        "health_check_initial_delay_ms": 500,
        "health_check_period_ms": 300,
        "health_check_timeout_ms": 2000,
        "health_check_failure_threshold": 3,
    }
    head = {"num_cpus": 0, "num_gpus": 0, "include_dashboard": False, "_system_config": quick_health_checks}
    made = Cluster(initialize_head=True, head_node_args=head)
    yield made
    made.shutdown()


@pytest.fixture
def cluster(cluster_of_all):
    """A head without cores, which takes nodes; in this process no Ray is connected."""
    yield cluster_of_all
    for node in cluster_of_all.list_all_nodes():
        if node is not cluster_of_all.head_node:
            cluster_of_all.remove_node(node)
    cluster_of_all.wait_for_nodes()


@pytest.fixture
def quick_looks(monkeypatch):
    monkeypatch.setattr(capacity, "POLL_SECONDS", 0.0)
    monkeypatch.setattr(capacity, "SECONDS_BETWEEN_NOTICES", 0.0)


def _eventually(condition, seconds: float = 40) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_nodes_that_join_make_room_and_where_all_are_lost_one_pack_waits(cluster, quick_looks, tmp_path):
    said: list[str] = []
    with ray_session(cluster.address) as joined:
        with pytest.raises(
            ClusterError, match=r"no node can run a trial that wants 1 CPU and 0 GPU: the cluster has 0 CPU and 0 GPU on 1 node"
        ):
            joined.capacity(1, 0, str(tmp_path), said.append)
        first = cluster.add_node(num_cpus=2)
        _eventually(lambda: len(capacity.alive_nodes()) == 2)
        room = joined.capacity(1, "auto", str(tmp_path), said.append)
        assert (room.gpus, room.n_packs) == (0, 2)
        second = cluster.add_node(num_cpus=3)
        _eventually(lambda: room.n_packs == 5)
        cluster.remove_node(second)
        _eventually(lambda: room.n_packs == 2)
        cluster.remove_node(first)
        _eventually(lambda: room.n_packs == 1)
    assert said[0] == "more nodes have joined: room for 5 packs side by side, 2 before"
    assert said[1] == "a node was lost: room for 2 packs side by side, 5 before"
    assert said[2].startswith("waiting for a node with 1 CPU and 0 GPU: the cluster has 0 CPU and 0 GPU on 1 node")


def test_gpus_that_an_autoscaler_may_start_are_waited_for_and_not_replaced_by_cores(cluster, quick_looks):
    said: list[str] = []
    cluster.add_node(num_cpus=2)
    with ray_session(cluster.address):
        _eventually(lambda: len(capacity.alive_nodes()) == 2)
        room = capacity.Capacity(1, "auto", autoscaler=Autoscaler((L4,), 8), tell=said.append)
        assert (room.gpus, room.n_packs) == (1, 8)
        assert set(said) == {
            "waiting for a node with 1 CPU and 1 GPU: the cluster has 2 CPU and 0 GPU on 2 nodes; the autoscaler was asked for more (l4)"
        }
        with pytest.raises(ClusterError, match="its autoscaler has no node type that could; lower --cpus-per-trial or --gpus-per-trial"):
            capacity.Capacity(1, 2, autoscaler=Autoscaler((L4,), 8), tell=said.append)


def test_of_nodes_that_nobody_knows_as_many_again_are_asked_for(cluster, quick_looks):
    cluster.add_node(num_cpus=3)
    with ray_session(cluster.address):
        _eventually(lambda: len(capacity.alive_nodes()) == 2)
        assert capacity.Capacity(1, 0, autoscaler=Autoscaler((UNKNOWN,)), tell=print).n_packs == 6
        assert capacity.Capacity(1, 1, autoscaler=Autoscaler((UNKNOWN,)), tell=print).n_packs == 1


def test_results_on_the_heads_own_disk_are_refused_while_no_other_node_can_be_asked(cluster, tmp_path):
    with ray_session(cluster.address):
        alone = capacity.alive_nodes()
        nodes.require_shared_results(str(tmp_path), alone, growing=False)
        with pytest.raises(ClusterError, match=r"on the head's own disk.*set --results to object storage \(s3://BUCKET/PREFIX\)"):
            nodes.require_shared_results(str(tmp_path), alone, growing=True)
        nodes.require_shared_results("s3://bucket/sweeps", alone, growing=True)
        cluster.add_node(num_cpus=1)
        _eventually(lambda: len(capacity.alive_nodes()) == 2)
        nodes.require_shared_results(str(tmp_path), capacity.alive_nodes(), growing=True)  # it sees the folder: they share the disk
    assert not list(tmp_path.iterdir())


class Watcher:
    """Remembers what a sweep tells."""

    def __init__(self, on_epoch) -> None:
        self.returned_for: list[str | None] = []
        self._on_epoch = on_epoch

    def __call__(self, event) -> None:
        match event:
            case TrialReturned(_, error):
                self.returned_for.append(error)
            case EpochTrained(config, metrics):
                self._on_epoch(config, metrics)


def test_a_trial_whose_node_is_lost_goes_on_elsewhere_and_it_is_not_held_against_it(cluster, tmp_path):
    kept, lost = cluster.add_node(num_cpus=1), cluster.add_node(num_cpus=1)
    assert kept is not lost
    epochs: list[tuple[str, int]] = []

    def lose_a_node_in_the_middle(config, metrics) -> None:
        epochs.append((config.trial_id, metrics.epoch))
        latest = dict(epochs)
        on_both = sum(2 <= epoch <= 8 for epoch in latest.values()) == 2
        if on_both and lost in cluster.list_all_nodes():
            cluster.remove_node(lost, allow_graceful=False)

    watcher = Watcher(lose_a_node_in_the_middle)
    result = start_sweep(
        parse_space(SPACE.replace("max_failures: 0", "max_failures: 0, pack: 1"), "growing.yaml"),
        results=str(tmp_path / "results"),
        address=cluster.address,
        command=["test"],
        observers=[watcher],
    )
    trials = result.folder.read_trials().frame
    assert result.n_failed == 0  # though max_failures is 0
    assert list(trials["state"].unique()) == ["complete"]
    assert set(trials["attempts"]) == {1}
    assert [error for error in watcher.returned_for if error] == [f"its node {_address(lost)} was lost"]
    rows = result.folder.read_epochs().frame
    assert sorted(zip(rows["trial"], rows["epoch"], strict=True)) == sorted(set(epochs))
    assert len(rows) == 4 * 12


def test_a_pack_whose_node_is_lost_before_its_first_epoch_is_tried_again_and_it_is_not_held_against_it(cluster, tmp_path):
    _, lost = cluster.add_node(num_cpus=1), cluster.add_node(num_cpus=1)
    watcher = Watcher(lambda config, metrics: None)

    def lose_the_node_when_its_pack_starts() -> None:
        _eventually(lambda: ray.is_initialized() and lost.node_id in _nodes_of_packs(), 120)
        cluster.remove_node(lost, allow_graceful=False)

    losing = threading.Thread(target=lose_the_node_when_its_pack_starts)
    losing.start()
    long_epochs = SPACE.replace("train_images: 2000", "train_images: 12000").replace("epochs: 12", "epochs: 2")
    space = parse_space(long_epochs.replace("max_failures: 0", "max_failures: 0, pack: 2"), "growing.yaml")
    result = start_sweep(space, results=str(tmp_path / "results"), address=cluster.address, command=["test"], observers=[watcher])
    losing.join()
    trials = result.folder.read_trials().frame
    assert list(trials["state"].unique()) == ["complete"]
    assert set(trials["attempts"]) == {1}
    assert [error for error in watcher.returned_for if error] == [f"its node {_address(lost)} was lost"] * 2


def _nodes_of_packs() -> set[str]:
    """Nodes on which a pack's process is ready; Ray itself places a pack anew whose node is lost before. A sweep has no other actors."""
    return {actor["Address"]["NodeID"] for actor in ray._private.state.actors(actor_state_name="ALIVE").values()}


def _address(node) -> str:
    return node.node_ip_address
