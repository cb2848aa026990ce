"""The searcher that Ray Tune asks for trials: one suggestion is one pack of members."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ray.tune.search import Searcher

from sweeper.driver.coordinator import Coordinator
from sweeper.driver.messages import members_to_json
from sweeper.errors import StudyError
from sweeper.tune.hook_errors import wrap_exceptions
from sweeper.tune.pack_size import PackSize


class PackSearcher(Searcher):
    """Suggests packs until every planned trial has ended.

    ``max_packs`` is asked each time: a cluster grows and shrinks. ``FINISHED`` is final for Tune, and a pack that loses its process gives
    its members back: so it is said only when nothing is out.
    """

    def __init__(self, coordinator: Coordinator, *, pack_size: PackSize, max_packs: Callable[[], int]) -> None:
        super().__init__()
        self._coordinator = coordinator
        self._pack_size = pack_size
        self._max_packs = max_packs

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its searcher for a resume of its own; ours starts from the studies

    def set_search_properties(self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any) -> bool:  # noqa: ARG002
        return True

    @wrap_exceptions
    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]  # FINISHED is text
        """Configuration of the next pack; ``None`` while all members are out; ``Searcher.FINISHED`` at the end."""
        if self._coordinator.finished:
            return Searcher.FINISHED
        max_packs = self._max_packs()
        if self._coordinator.n_packs >= max_packs:
            return None
        members = self._coordinator.start_pack(trial_id, self._pack_size.of_next(self._coordinator.n_left, max_packs))
        if members:
            return {"members": members_to_json(members)}
        if not self._coordinator.n_packs:
            raise StudyError("trials are left to be trained, but none can be had: the studies contradict the space")
        return None

    @wrap_exceptions
    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:  # noqa: ARG002
        self._coordinator.closed(trial_id)

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the studies are the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore: the studies are the state."""
