"""What the packets of a video stream say of its frames: read once, for all that is asked of them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .interlacing import begins_with_fields
from .joined_files import is_ogg_header
from .timelines import fill_gaps, join_parts
from .video_streams import brings_alpha, keeps_decoding_times

__all__ = ["Axis", "Packets"]

HEAD_PACKETS = 16  # of a file, to see what they hold


@dataclass(frozen=True)
class Axis:
    """When packets are shown, on one axis.

    Attributes:
        times (`np.ndarray` of shape `(packets,)`, int64): ticks, in the order of the file.
        shifts (`np.ndarray` of shape `(packets,)`, int64, *optional*): what was added to what the packets say, where
            the clock of the file starts again in the middle.
        are_known (`bool`): whether these are the times of showing, else the frames are to be counted.
    """

    times: np.ndarray
    shifts: np.ndarray | None
    are_known: bool

    def shift_at(self, time: float, number: int) -> int:
        """What to add to a time that something else in the file says, such as a subtitle, in ticks.

        Args:
            time (`float`): ticks.
            number (`int`): of the packets that come before it in the file. Where two parts of the file meet, it is of
                the one whose clock shows such a time.
        """
        shifts = self.shifts
        if shifts is None:
            return 0
        around = [min(max(place, 0), len(self.times) - 1) for place in (number - 1, number)]
        nearest = min(around, key=lambda place: abs(self.times[place] - shifts[place] - time))
        return int(shifts[nearest])


@dataclass(frozen=True)
class Packets:
    """The packets with frames in them, in the order of the file.

    Attributes:
        pts (`tuple[int | None, ...]`): when they say that they are shown, ticks.
        durations (`np.ndarray` of shape `(packets,)`): how long, ticks; 0 where they do not say.
        is_key (`np.ndarray` of shape `(packets,)`, bool): whether decoding can begin there.
        is_shown (`np.ndarray` of shape `(packets,)`, bool): whether no edit list throws them away.
        places (`np.ndarray` of shape `(packets,)`): their first bytes in the file; 0 where it is not known.
        hold_fields (`bool`): whether the first of them hold a field each, not a frame.
        bring_alpha (`bool`): whether what is transparent lies beside the first of them.
    """

    pts: tuple[int | None, ...]
    durations: np.ndarray
    is_key: np.ndarray
    is_shown: np.ndarray
    places: np.ndarray
    hold_fields: bool
    bring_alpha: bool

    @classmethod
    def read(cls, packets: Iterable[Any], stream, errors: tuple[type[Exception], ...]) -> "Packets":
        """Goes through packets of a stream of PyAV, whose decoder is new afterwards; `errors` are what PyAV raises."""
        rows, head, codec = [], [], stream.codec_context.name
        for packet in packets:
            if packet.size and not is_ogg_header(packet, codec):
                if len(head) < HEAD_PACKETS:
                    head.append(packet)
                shown, place = not packet.is_discard, packet.pos or 0
                rows.append((packet.pts, packet.duration or 0, packet.is_keyframe, shown, place))
        pts, *others = zip(*rows, strict=True) if rows else ((), (), (), (), ())
        durations, is_key, is_shown, places = (
            np.array(values, dtype) for values, dtype in zip(others, (np.int64, bool, bool, np.int64), strict=True)
        )
        stream.codec_context.skip_frame = "DEFAULT"
        hold_fields = begins_with_fields(stream, head, errors)
        return cls(pts, durations, is_key, is_shown, places, hold_fields, any(map(brings_alpha, head)))

    def on_one_axis(self, container, stream) -> Axis:
        """When each is shown; there is to be one at least."""
        ticks = ticks_per_frame(stream)
        times = fill_gaps(self.pts, ticks)
        is_known = np.array([time is not None for time in self.pts])
        # Some of a bare stream or of an old container may have no times.
        are_known = bool(is_known.all()) and not keeps_decoding_times(container, stream, times)
        lasts, in_order = np.where(self.durations > 0, self.durations, ticks), not stream.codec_context.has_b_frames
        shifts = join_parts(times, lasts, self.is_key & is_known, in_order)
        return Axis(times if shifts is None else times + shifts, shifts, are_known)


def ticks_per_frame(stream) -> int:
    """How long a frame lasts by the frame rate of a stream, at least 1."""
    return max(1, round(1 / float(stream.average_rate or 1) / stream.time_base))
