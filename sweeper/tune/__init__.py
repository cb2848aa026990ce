"""The only place that touches the hooks of Ray Tune. What Ray reads from the environment is set here, before any module imports it."""

import os

# our recorder writes the results, and our progress shows them
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("RAY_DEDUP_LOGS", "1")
# what Ray says of its own processes comes to our standard output, even with log_to_driver off; what matters of it we say ourselves
os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
# a busy machine takes longer than Ray's own half minute to start it; a process of it that dies meanwhile is noticed at once
os.environ.setdefault("RAY_raylet_start_wait_time_s", "120")
# the driver waits, deaf to signals and without a limit, for workers that are started ahead: for ever if one of them dies meanwhile
os.environ.setdefault("RAY_prestart_worker_first_driver", "0")
