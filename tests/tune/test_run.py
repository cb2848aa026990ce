"""Packs on devices, with real Ray and a stub in the place of training."""

import json
import os
import subprocess

from forked_python import fast_python

SHORT_PACKS = """
import json, os, sys, time
from pathlib import Path
from sweeper.cluster.session import ray_session
from ray import tune
from sweeper.records import EpochMetrics
from sweeper.space import parse_space
from sweeper.store import SweepFolder
from sweeper.studies.studies import Studies
from sweeper.cluster.capacity import Capacity
from sweeper.driver.coordinator import Coordinator
from sweeper.driver.events import ignore
from sweeper.driver.messages import REPORT_KEY, PackReport, members_from_json
from sweeper.tune.pack_size import PackSize
from sweeper.driver.recorder import Recorder
from sweeper.tune.run import PackPlan, run_packs

class Short(tune.Trainable):
    def setup(self, config, context, dataset):
        self.processes, self.trials = Path(context), 0
        try:
            (self.processes / "first").mkdir()
        except FileExistsError:
            time.sleep(2)  # the second process takes longer to start than the first takes for its packs
            (self.processes / "second").mkdir(exist_ok=True)
        self.reset_config(config)

    def reset_config(self, config):
        self.trial = members_from_json(config["members"])[0].trial_id
        self.trials += 1
        return True

    def step(self):
        for _ in range(150 if self.trials == 10 else 0):
            if (self.processes / "second").exists():
                break
            time.sleep(0.1)
        return {REPORT_KEY: PackReport("stub", {self.trial: [EpochMetrics(1, *[0.5] * 9)]}).to_json()}

    def save_checkpoint(self, folder): ...
    def load_checkpoint(self, checkpoint): ...

scratch = Path(sys.argv[1])
(scratch / "processes").mkdir()
space = parse_space(sys.argv[2], "space.yaml")
folder = SweepFolder(str(scratch / "sweep"))
folder.create()
recorder = Recorder(folder, space.parameter_types(), space.search.metric)
coordinator = Coordinator(space, Studies(space, folder.journal), recorder, folder, ignore)
with ray_session(None):
    run_packs(coordinator, str(scratch / "processes"), None, PackPlan(PackSize(1), Capacity(0.5, 0)), str(scratch / "tune"), Short)
recorder.flush()
started = sorted(path.name for path in (scratch / "processes").iterdir())
print(json.dumps({"trials": len(folder.read_trials().frame), "started": started}))
"""

SPACE = """
name: short
dataset: {name: synthetic, train_images: 300, test_images: 50, validation: 60}
training: {epochs: 1}
parameters:
  loss: {choices: [cross_entropy]}
  learning_rate: {low: 1.0e-3, high: 0.5, log: true}
compare: {arms: loss, searches: 1, trials_per_arm: 20, seeds: 0}
search: {sampler: random, pruner: none}
resources: {max_failures: 0}
"""


def test_a_process_that_takes_longer_to_start_than_a_pack_to_end_still_gets_its_share(tmp_path):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    command = [fast_python(), "-c", SHORT_PACKS, str(tmp_path), SPACE]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {"trials": 20, "started": ["first", "second"]}
