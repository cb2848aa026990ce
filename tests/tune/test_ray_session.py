"""A Ray of our own: who may talk to it, and what it leaves behind."""

import json
import os
import subprocess
import sys

SESSION = """
import json, os, subprocess, sys
from sweeper.tune.session import ray_session
import ray

STRANGER = '''
import ray
try:
    ray.init(address="ADDRESS", log_to_driver=False)
    print("let in")
except Exception as error:
    print(type(error).__name__)
'''
with ray_session(None):
    context = ray.get_runtime_context()
    environment = {name: value for name, value in os.environ.items() if name != "RAY_AUTH_TOKEN"}
    stranger = subprocess.run(
        [sys.executable, "-c", STRANGER.replace("ADDRESS", context.gcs_address)], env=environment, capture_output=True, text=True
    )
    dashboard = ray._private.worker._global_node.webui_url
print(json.dumps({"stranger": stranger.stdout.split(), "dashboard": dashboard, "initialized": ray.is_initialized()}))
"""


def test_a_stranger_without_the_token_is_refused_and_no_token_is_written_to_the_home_folder(tmp_path):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")} | {"HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", SESSION], env=environment, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["stranger"] == ["AuthenticationError"]
    assert not found["dashboard"]
    assert found["initialized"] is False
    assert [path.name for path in tmp_path.rglob("*") if "token" in path.name.lower()] == []
