"""Several indexes as one: archives that are kept by year, by team or by disk, in one ranking."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast

from tcd_hf.index.ingest import AddReport
from tcd_hf.index.joint_rows import JointRows, place_of
from tcd_hf.index.joint_search import JointRetriever
from tcd_hf.index.lexical import LexicalStatistics
from tcd_hf.index.searching import SearchableIndex
from tcd_hf.index.storage import IndexStorage
from tcd_hf.modeling.modeling_tcd import TCDModel
from tcd_hf.processing.processing_tcd import TCDProcessor
from tcd_hf.processing.video_inputs import VideoInput
from tcd_hf.reading.cache import CaptionCache
from tcd_hf.reading.files import FoundVideos, absolute_path, absolute_videos

if TYPE_CHECKING:
    from tcd_hf.index.damage import Damage
    from tcd_hf.index.retrieval import Retriever
    from tcd_hf.index.video_index import VideoIndex

__all__ = ["JointIndex"]

Answer = TypeVar("Answer")


class JointIndex(SearchableIndex):
    """Several indexes, searched and read as one. Made by [`VideoIndex.open`], of a list of places.

    It has the methods of [`VideoIndex`] that search and read, and [`~JointIndex.add`]; whatever else writes is done
    with one of `parts`. There is one ranking: how rare a word is, is counted in all of the indexes, so that scores are
    those of one index of all videos, and each [`Hit`] tells by `index` which one it is of. Each search sees what was
    committed last to each.

    A video that several of them have is found once, by its best hit, and counts once; what else is told of it is told
    by the rows of the first that has it.

    Args:
        parts (`Sequence[VideoIndex]`): the indexes, of the same model, tokenizer and length of segments.

    Attributes:
        parts (`list[VideoIndex]`): each by itself, in the order given.
    """

    def __init__(self, parts: "Sequence[VideoIndex]"):
        self.parts = list(parts)
        first = self.parts[0]
        rows = JointRows([part._storage for part in self.parts])
        # All that is inherited reads it as it reads the storage of one index.
        super().__init__(cast(IndexStorage, rows), None, None, None, first.lexical_weight, first.memory_budget)
        self._merged: tuple[list[LexicalStatistics], LexicalStatistics] = [], LexicalStatistics()

    @property
    def cache(self) -> CaptionCache:
        """The caption cache of the indexes."""
        return self.parts[0].cache

    def add(
        self,
        paths: Iterable[str | os.PathLike] | str | os.PathLike | Mapping[str, VideoInput],
        into: str | os.PathLike | None = None,
        **options: Any,
    ) -> AddReport:
        """Brings videos into one of the indexes. What another has already is left there as it is, and named among the
        unchanged.

        Args:
            paths (`Iterable[str | os.PathLike]` or one, or `Mapping`): as of [`VideoIndex.add`].
            into (`str | os.PathLike`, *optional*): place of the index, as it was given; the first one by default.
            options: further ones of [`VideoIndex.add`].

        Raises:
            ValueError: `into` is none of the indexes; and all else as of [`VideoIndex.add`].
        """
        part = self.parts[0] if into is None else self._part_at(into)
        elsewhere = {path for other in self.parts if other is not part for path in other._latest_videos()}
        elsewhere.difference_update(part._latest_videos())
        if isinstance(paths, Mapping):
            given = {absolute_path(name): video for name, video in paths.items()}
            found = FoundVideos(list(given), [])
            rest: Any = {path: video for path, video in given.items() if path not in elsewhere}
        else:
            found = absolute_videos(paths)
            rest = [path for path in found.videos if path not in elsewhere]
        known = [path for path in found.videos if path in elsewhere]
        if lost := set(map(absolute_path, options.get("texts") or ())).intersection(known):
            raise ValueError(
                f"texts are given for {min(lost)}, which another of the indexes has: add them to that one."
            )
        on_video = options.get("on_video") or (lambda path: None)
        for path in known:
            on_video(path)
        report = part.add(rest, **options) if rest or not known else AddReport()
        unchanged = {*report.unchanged, *known}
        report.unchanged = [path for path in found.videos if path in unchanged]
        report.left_out = found.left_out
        return report

    def check(self) -> "list[Damage]":
        """Verifies all indexes, see [`VideoIndex.check`]; what is damaged is told with the index that it is of."""
        return [
            damage._replace(detail=f"{part.uri}: {damage.detail}") for part in self.parts for damage in part.check()
        ]

    def new_handle(self) -> "JointIndex":
        """Another handle of these indexes, for another thread that adds to the first; see [`VideoIndex.new_handle`]."""
        return type(self)([self.parts[0].new_handle(), *self.parts[1:]])

    def _part_at(self, place: str | os.PathLike) -> "VideoIndex":
        """The index at a place."""
        wanted = place_of(IndexStorage(place))
        for part in self.parts:
            if place_of(part._storage) == wanted:
                return part
        raise ValueError(f"into={os.fspath(place)!r} is none of the indexes that were opened: {self.uri}.")

    def _with_retriever(self, ask: "Callable[[Retriever], Answer]") -> Answer:
        """Asks what answers for all of them, each at its latest version. Each is asked by itself: once more if a writer
        was at work meanwhile, and with its name where its files are damaged."""
        own = [part._with_retriever(lambda retriever: retriever.rows.statistics) for part in self.parts]
        known, merged = self._merged  # one look: other threads may replace it meanwhile
        if list(map(id, known)) != list(map(id, own)):
            merged = LexicalStatistics.merged(own)
            self._merged = own, merged
        return ask(cast("Retriever", JointRetriever(self.parts, merged)))

    def _require_model(self) -> tuple[TCDModel, TCDProcessor]:
        return self.parts[0]._require_model()
