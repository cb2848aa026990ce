"""The operating system's process: signals, the exit message, the reaper child, state to restore.

In: what any long-running program would need. Out of here: what a sweep, a trial or a cluster is.
"""
