"""``python -m sweeper`` is the command ``sweep``."""

from sweeper.cli import main

main()
