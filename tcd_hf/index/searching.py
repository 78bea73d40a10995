"""Searching an index: the model that made it asks, and the retriever of its latest version answers."""

import copy
import os
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, overload

import torch

from tcd_hf.choices import DEFAULT_LEXICAL_WEIGHT, DEFAULT_MOMENTS, DEFAULT_WITHIN, QuerySyntax, SearchMode
from tcd_hf.index.damage import (
    RowsDamagedError,
    damaged_rows_error,
    explained,
    is_of_lancedb,
    may_be_damage,
    reading_rows,
)
from tcd_hf.index.opening import check_model
from tcd_hf.index.recall import DEFAULT_MEMORY_BUDGET
from tcd_hf.index.schema import IndexMismatchError
from tcd_hf.index.storage import IndexStorage
from tcd_hf.index.stored_index import StoredIndex
from tcd_hf.index.verification import find_damaged_rows
from tcd_hf.loading import load_for_index, read_as_index
from tcd_hf.modeling.modeling_tcd import TCDModel
from tcd_hf.processing.processing_tcd import TCDProcessor
from tcd_hf.reading.files import absolute_path

if TYPE_CHECKING:
    from tcd_hf.index.hits import Hit
    from tcd_hf.index.moments import Moment
    from tcd_hf.index.retrieval import IndexScores, Retriever

__all__ = ["SearchableIndex"]

Answer = TypeVar("Answer")


class SearchableIndex(StoredIndex):
    """The part of a [`VideoIndex`] that searches.

    Args:
        storage ([`IndexStorage`]): the index, opened.
        model, processor, device, lexical_weight, memory_budget: as of [`VideoIndex.open`]; a model and a processor
            that are given have made the index.

    Raises:
        ValueError: a weight out of its range.
    """

    def __init__(
        self,
        storage: IndexStorage,
        model: TCDModel | str | os.PathLike | None,
        processor: TCDProcessor | None,
        device: str | torch.device | None = "auto",
        lexical_weight: float = DEFAULT_LEXICAL_WEIGHT,
        memory_budget: int = DEFAULT_MEMORY_BUDGET,
    ):
        if not 0 <= lexical_weight <= 1:
            raise ValueError(f"lexical_weight must lie in [0, 1], got {lexical_weight}.")
        super().__init__(storage)
        self.lexical_weight = lexical_weight
        self.memory_budget = memory_budget
        named = isinstance(model, str | os.PathLike)
        self._model, self._load_by = (None, model) if named else (model, None)
        self._processor = processor
        self._device = device
        self._lender: SearchableIndex | None = None
        self._loading = threading.Lock()
        self._retriever: Any = None

    @property
    def model(self) -> TCDModel:
        """The model that made the index; loaded if it was not given."""
        return self._require_model()[0]

    @property
    def processor(self) -> TCDProcessor:
        """The processor of that model; loaded if it was not given."""
        return self._require_model()[1]

    @overload
    def search(
        self,
        queries: str,
        top_k: int = ...,
        recall_k: int = ...,
        mode: SearchMode = ...,
        where: str | None = ...,
        moments: int = ...,
        between: tuple[float, float] | None = ...,
        syntax: QuerySyntax = ...,
        within: float = ...,
    ) -> "list[Hit]": ...

    @overload
    def search(
        self,
        queries: list[str] | tuple[str, ...],
        top_k: int = ...,
        recall_k: int = ...,
        mode: SearchMode = ...,
        where: str | None = ...,
        moments: int = ...,
        between: tuple[float, float] | None = ...,
        syntax: QuerySyntax = ...,
        within: float = ...,
    ) -> "list[list[Hit]]": ...

    def search(
        self,
        queries: str | Sequence[str],
        top_k: int = 10,
        recall_k: int = 50,
        mode: SearchMode = "two-stage",
        where: str | None = None,
        moments: int = DEFAULT_MOMENTS,
        between: tuple[float, float] | None = None,
        syntax: QuerySyntax = "plain",
        within: float = DEFAULT_WITHIN,
    ) -> "list[Hit] | list[list[Hit]]":
        """Finds the videos that match best; see [`~Retriever.search`].

        Args:
            queries (`str` or `list[str]`): what to look for, in at most 1000 characters: a longer one is cut, with a
                warning.
            top_k (`int`, *optional*, defaults to 10): hits per query, best first; fewer if there are fewer videos.
            recall_k (`int`, *optional*, defaults to 50): segments that each kind of recall names to be scored
                exactly; more where these are of fewer than `top_k` videos.
            mode (`str`, *optional*, defaults to `"two-stage"`): `"two-stage"` recalls by vectors, by those of captions
                and by spelling, and scores the candidates exactly; `"full"` scores all segments; `"coarse"` and
                `"lexical"` rank by one alone.
            where (`str`, *optional*): a condition in a small part of SQL, see
                [`~tcd_hf.index.conditions.check_condition`], on the columns `path`, `duration` and `fps` of the file,
                `segment`, `start`, `end`, `has_text`, `caption_text` (what is read, as it is written) and `sources` of
                its segments, and others, such as `"duration < 60 AND has_text"`,
                `"lower(caption_text) LIKE '%tesco%'"` or `"sources LIKE '%subtitle%'"`.
            moments (`int`, *optional*, defaults to 3): further moments of a hit at most, `moments` of [`Hit`].
            between (`tuple[float, float]`, *optional*): only moments that are, in part, between two times of their
                video, in seconds; infinite ones leave a side open. A moment is then looked for in the segments that
                are in this time, and shown as far as these go.
            syntax (`str`, *optional*, defaults to `"plain"`): `"query"` reads quotes, exclusions, `OR` and `>>` as
                the command line does, see [`parse_query`].
            within (`float`, *optional*, defaults to 60.0): of `first >> then`, most seconds from the end of the first
                moment to the begin of the second; infinity asks for the order alone. A hit is then from the begin of
                the first to the end of the second, with the evidence of both and the mean of their scores; videos
                without such a pair are none. Only in the modes `"two-stage"` and `"full"`.

        Returns:
            `list[Hit]` for a string, `list[list[Hit]]` for a list.

        Raises:
            ValueError: an empty index or query, an option out of its range, or an index opened without its model, which
                cannot be loaded.
            IndexDamagedError: rows that are to be shown, or all that tells of them, are not what was written.
            OSError: the files of the index may not be read, or are out of reach.
        """
        return self._with_retriever(
            lambda retriever: retriever.search(queries, top_k, recall_k, mode, where, moments, between, syntax, within)
        )

    def moments(
        self, query: str, path: str | os.PathLike, syntax: QuerySyntax = "plain", within: float = DEFAULT_WITHIN
    ) -> "list[Moment]":
        """All moments of one video that match a query, in the order of time; where no text of it does, the window that
        the model finds best.

        Args:
            query (`str`), syntax (`str`, *optional*, defaults to `"plain"`), within (`float`, *optional*, defaults to
                60.0): as in [`~VideoIndex.search`].
            path (`str | os.PathLike`): of the video.

        Raises:
            ValueError: an empty query, or a video that the index does not have.
            IndexDamagedError, OSError: as of [`~VideoIndex.search`].
        """
        return self._with_retriever(lambda retriever: retriever.moments(query, absolute_path(path), syntax, within))

    def score(self, queries: Sequence[str]) -> "IndexScores":
        """Scores every query with every video, in the order of [`~VideoIndex.paths`].

        Raises:
            ValueError: an empty index or query.
            IndexDamagedError, OSError: as of [`~VideoIndex.search`].
        """
        return self._with_retriever(lambda retriever: retriever.score(queries))

    def _with_retriever(self, ask: "Callable[[Retriever], Answer]") -> Answer:
        """Asks the retriever, and once more if a writer took away files of a former version meanwhile."""
        while True:
            version = self._latest().version
            try:
                return ask(self._retrieval(version))
            except RowsDamagedError as error:
                if self._latest().version == version:
                    raise self._damage_behind(error) from error
            except (OSError, RuntimeError, ValueError):
                if self._latest().version == version:
                    raise

    def _damage_behind(self, error: RowsDamagedError) -> BaseException:
        """What to say of rows that could not be read: which are damaged, or what else the matter was."""
        if error.paths:
            return damaged_rows_error(self.uri, error.paths)
        cause = error.__cause__ if isinstance(error.__cause__, Exception) else error
        told = explained(cause, self._storage, "rows")
        if isinstance(told, IndexMismatchError) or not may_be_damage(cause):
            return told
        damage = find_damaged_rows(self._storage.videos)
        if damage.row_ids:
            return damaged_rows_error(self.uri, damage.paths)
        return told if is_of_lancedb(cause) else cause

    def _retrieval(self, version: int) -> "Retriever":
        """What answers questions about the index at this version, which is the latest."""
        self.model.eval()
        retriever = self._retriever  # one look: other threads may replace it meanwhile
        if retriever is None or retriever.rows.table.version != version:
            from tcd_hf.index.retrieval import Retriever

            model, processor = self.model, self.processor
            with reading_rows():
                table = self._storage.open_table()  # of its own: a search goes on while this index is added to
                retriever = self._retriever = Retriever(
                    model,
                    processor,
                    table,
                    self.metadata,
                    self._storage.load_statistics(table),
                    lexical_weight=self.lexical_weight,
                    memory_budget=self.memory_budget,
                )
        return retriever

    def _require_model(self) -> tuple[TCDModel, TCDProcessor]:
        """The model and its processor, loaded if they are not there yet, and then checked."""
        with self._loading:
            if self._model is None or self._processor is None:
                model, processor = self._borrowed() if self._lender is not None else self._loaded()
                self._model, self._processor = self._model or model, self._processor or processor
            return self._model, self._processor

    def _loaded(self) -> tuple[TCDModel, TCDProcessor]:
        model, processor = load_for_index(self.uri, self.metadata, self._device, self._load_by)
        check_model(
            self._storage,
            model if self._model is None else None,
            processor if self._processor is None else None,
        )
        return model, processor

    def _borrow_model(self, lender: "SearchableIndex") -> None:
        """Has it use the model of another index, where none was given, in place of loading its own.

        Args:
            lender ([`SearchableIndex`]): one of the same model and tokenizer.
        """
        self._lender = lender

    def _borrowed(self) -> tuple[TCDModel, TCDProcessor]:
        """The other's model, and a processor of its own: it reads text as this index says."""
        assert self._lender is not None
        model, processor = self._lender._require_model()
        processor = copy.deepcopy(processor)
        read_as_index(processor, {"ocr_options": processor.ocr_options, **self.metadata.reading})
        return model, processor
