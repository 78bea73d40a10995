"""From the candidates of a search to its hits: rows are read, scored, and the best of them shown."""

import numpy as np
import pyarrow as pa

from tcd_hf.choices import FUSED_MODES
from tcd_hf.index.hits import EvidenceFinder, Hit
from tcd_hf.index.meant import MeaningFinder
from tcd_hf.index.recall import Recall, first_of_each
from tcd_hf.index.schema import CAPTIONS_COLUMN, COARSE_COLUMN, VERIFIED_COLUMNS
from tcd_hf.index.scored_rows import (
    ScoredRows,
    Search,
    best_of_each,
    make_hit,
    moments_of,
    window_scores,
    windows_to_follow,
)
from tcd_hf.index.stored_rows import StoredRows

__all__ = ["HitMaker"]


class HitMaker:
    """Makes hits of the rows of a table.

    Args:
        recall ([`Recall`]): knows of which videos rows are.
        rows ([`StoredRows`]): reads and scores them.
        find_meant ([`MeaningFinder`]): finds evidence by meaning.
    """

    def __init__(self, recall: Recall, rows: StoredRows, find_meant: MeaningFinder):
        self.recall, self.rows, self.find_meant = recall, rows, find_meant

    def hits(self, search: Search, row_ids: np.ndarray, above: float = -np.inf) -> list[Hit]:
        """The hits of one search among its candidates, best first; ties in the order added.

        Args:
            search ([`Search`]): what is looked for.
            row_ids (`np.ndarray` of shape `(num_rows,)`): of the candidates.
            above (`float`, *optional*): a score that hits must exceed; by default any will do.

        Raises:
            RowsDamagedError: rows that are to be shown are not what was written.
        """
        if not len(row_ids):
            return []
        rows = self.read(row_ids)
        scored = self.rows.score(search.texts, search.text_embeds, rows, search)
        texts, ranked_by = best_of_each(self._ranked_by(search, scored))
        order = np.lexsort((self.recall.positions(row_ids), -ranked_by))
        order = order[ranked_by[order] > (0 if search.mode == "lexical" else -np.inf)]
        videos = self.recall.videos(row_ids[order])
        leaders = first_of_each(videos, 1)
        leaders = leaders[ranked_by[order[leaders]] > above]
        hits: list[Hit] = []
        while len(hits) < search.top_k and len(leaders):
            count = search.top_k - len(hits)
            of_each = [order[videos == video] for video in videos[leaders[:count]]]
            hits += self._make_hits(search, row_ids, rows, scored, of_each, texts, ranked_by)
            leaders = leaders[count:]
        return hits

    def read(self, row_ids: np.ndarray) -> pa.Table:
        """Rows with all that is scored, shown and verified of them: to read some of it apart takes longer."""
        vectors = self.recall.vectors(row_ids)
        if vectors is None:
            return self.rows.take(row_ids, list(VERIFIED_COLUMNS))
        rows = self.rows.take(row_ids, [name for name in VERIFIED_COLUMNS if name != COARSE_COLUMN])
        return rows.append_column(COARSE_COLUMN, vectors)

    def _make_hits(
        self,
        search: Search,
        row_ids: np.ndarray,
        rows: pa.Table,
        scored: ScoredRows,
        of_each: list[np.ndarray],
        texts: np.ndarray,
        ranked_by: np.ndarray,
    ) -> list[Hit]:
        """Hits of some videos, each given by the places of its scored rows, best first; none of a video without a
        moment in the time range, although a window of it is."""
        shown = [self._rows_to_show(search, row_ids, places, scored, texts) for places in of_each]
        all_shown = np.concatenate(shown)
        self.rows.verify(row_ids[all_shown], rows.take(all_shown))
        scores_of_windows = window_scores(search, scored, all_shown, texts, ranked_by, self.rows.fusion)
        find_evidence = EvidenceFinder(search.query.text, search.query.phrases)
        # In the texts of all videos at once, which costs less.
        find_evidence.may_match([window for place in all_shown for window in scored.segments.windows(int(place))])
        hits, found_in, start = [], [], 0
        for places in shown:
            own = scores_of_windows[start : (start := start + len(places))]
            moments = moments_of(search, scored, places, own, rows, find_evidence, limit=1 + search.moments)
            if moments:
                leader = places[0]
                path = self.recall.path(int(row_ids[leader]))
                scores = scored.scores.pick(texts[leader], leader)
                score = float(ranked_by[leader])
                hits.append(make_hit(path, score, scores, moments, self.rows.fusion.is_weak(score, search.mode)))
                found_in.append(places)
        return self._add_meaning(search, hits, found_in, rows, texts)

    def _add_meaning(
        self, search: Search, hits: list[Hit], found_in: list[np.ndarray], rows: pa.Table, texts: np.ndarray
    ) -> list[Hit]:
        """The hits, with evidence by meaning where there is none by spelling and they are not weak."""
        asked = [place for place, hit in enumerate(hits) if not hit.evidence and not hit.is_weak]
        if not asked or self.find_meant.least is None or search.mode not in FUSED_MODES:
            return hits
        embeds = search.text_embeds.cpu().numpy()[[texts[found_in[place][0]] for place in asked]]
        captions = [[rows[CAPTIONS_COLUMN][int(row)].as_py() for row in found_in[place]] for place in asked]
        windows = [
            windows_to_follow(search, own, self.rows.metadata.num_frames, hits[place].start)
            for place, own in zip(asked, captions, strict=True)
        ]
        meant = self.find_meant([hits[place] for place in asked], list(embeds), windows)
        for place, hit in zip(asked, meant, strict=True):
            hits[place] = hit
        return hits

    def _ranked_by(self, search: Search, scored: ScoredRows) -> np.ndarray:
        """`(num_alternatives, num_rows)`: `-inf` for what is out of the question."""
        if search.mode == "lexical":
            return scored.scores.lexical
        if search.mode != "coarse":
            return scored.scores.score
        # Row by row: a matrix product may round equal rows differently, and equal videos must tie.
        coarse, queries = scored.features.coarse_embeds.cpu().numpy(), self.rows.coarse_queries(search.text_embeds)
        products = (coarse[None] * queries[:, None]).sum(axis=2)
        return np.where(np.isfinite(scored.scores.score), products, -np.inf)

    def _rows_to_show(
        self, search: Search, row_ids: np.ndarray, places: np.ndarray, scored: ScoredRows, texts: np.ndarray
    ) -> np.ndarray:
        """The rows of a video whose captions are worth reading, which takes time, best first. With a row go those
        beside it, over which what it shows may go on."""
        lexical = scored.scores.lexical[texts[places], places]
        worth = places[(np.arange(len(places)) == 0) | (lexical >= max(lexical[0] / 2, 1e-6))]
        if len(worth) <= search.moments + 2:
            return worth
        positions = self.recall.positions(row_ids[worth])
        in_order = np.argsort(positions)
        runs = np.empty(len(worth), int)  # of neighbouring rows
        runs[in_order] = np.cumsum(np.diff(positions[in_order], prepend=positions[in_order][:1]) > 1)
        most = first_of_each(runs, 1)[: search.moments + 2]
        return worth[np.isin(runs, runs[most])]
