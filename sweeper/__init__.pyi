from sweeper.api import Sweep as Sweep
from sweeper.api import open as open  # noqa: A004
from sweeper.api import resume as resume
from sweeper.api import run as run

__version__: str
