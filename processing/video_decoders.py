"""The readers behind `video_reading`: frames by number, in presentation order, and the times at which they appear."""

import errno
import itertools
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from .decord_limits import DECORD_MAX_TIME, SEEKABLE, SKIPPING, TOO_LATE, cut_off, misread_by_decord, refused_by_header
from .heartbeat import beat
from .interlacing import first_fields, gives_fields, pairs
from .joined_files import REMARKS, is_ogg_header, second_file_in, tell_second_file
from .packets import Packets
from .timelines import Timeline
from .video_files import (
    COPY_AGAIN,
    Source,
    VideoReadError,
    first_line,
    has_pyav,
    import_reader,
    open_container,
    read_errors,
    upright_pixels,
)
from .video_streams import (
    alpha_decoder,
    alpha_left_out,
    hides_alpha,
    streams_left_out,
)

__all__ = [
    "SEEKABLE",
    "DecodeError",
    "Decoder",
    "DecordDecoder",
    "LeftToPyAV",
    "PyAVDecoder",
    "open_decoder",
]

# decord decodes on while nobody asks, into memory, as far as the file goes. What a whole file may take there, decoded:
# a larger one is PyAV's, which decodes what is asked for.
LOOK_AHEAD_BYTES = 1 << 28
# What decord keeps of the times of a frame. It takes as much for all that the header speaks of, or ends the process.
TIMES_BYTES = 32
# What FFmpeg says of frames that it is not to decode, among others.
TOO_LARGE = (errno.EINVAL, errno.ENOMEM, errno.ERANGE)


class DecodeError(Exception):
    """A reader gives up on a file; another may still read it, by the `packets` that were read already."""

    def __init__(self, cause: str, packets: Packets | None = None):
        super().__init__(cause)
        self.packets = packets


class LeftToPyAV(Exception):
    """A file whose frames, decoded, take more than `LOOK_AHEAD_BYTES`, or that is in memory.

    Reading past the end of a damaged one there, decord ends the process. PyAV stands in for it, by the `packets` that
    were read already.
    """

    def __init__(self, packets: Packets | None):
        super().__init__()
        self.packets = packets


def open_decoder(decoder_class: Any, source: "Source", num_threads: int, **options: Any) -> "Decoder":
    """A decoder, or the `VideoReadError` that says why there is none."""
    try:
        return decoder_class(source, num_threads, **options)
    except DecodeError as error:
        raise decoder_class.gives_up(source.name, error) from error


class Decoder:
    """Frames by number, in presentation order. `problem` says what is broken in a file that is partly readable, and
    `left_out` what is not read of one that is whole. `shifts` are what to add to the times of each packet (ticks), in
    the order of the file, where its clock starts again in the middle."""

    backend: str
    timeline: Timeline
    problem: str | None = None
    left_out: str | None = None
    shifts: Any = None

    def read(self, index: int) -> np.ndarray:
        """Frame `index`, RGB uint8 `(height, width, 3)`; raises `DecodeError`."""
        raise NotImplementedError

    def close(self) -> None:
        """Gives the file back."""

    @classmethod
    def gives_up(cls, name: str, error: DecodeError) -> VideoReadError:
        """What the user is told when there is no other reader to turn to."""
        install = "" if has_pyav() else " after `pip install av`"
        retry = f"Use backend='auto' or 'pyav'{install}, which may still read it"
        return VideoReadError(name, str(error), retry if cls.backend == "decord" else COPY_AGAIN)


class DecordDecoder(Decoder):
    """decord; it turns frames upright itself and seeks to the nearest keyframe where that saves decoding.

    It raises [`LeftToPyAV`] for a file that is in memory, and, as it decodes ahead as far as one goes, for one that
    would not fit there.
    """

    backend = "decord"
    _reader: Any = None

    def __init__(self, source: Source, num_threads: int):
        self._source = source
        if not has_pyav():
            if not source.begins_as_seekable:
                raise DecodeError("decord cannot open it safely: it begins as no MP4, Matroska or AVI does")
            source.check_tables(with_times=True)
            self._open(source, num_threads)
            return
        container, stream = open_container(source)  # a look at the header spares decord what it gets wrong
        with container:
            # Asked beforehand: decord may abort the whole process.
            if cause := refused_by_header(container, stream, source):
                raise DecodeError(cause)
            if not fits_in_memory(container, stream):
                raise LeftToPyAV(None)
            cause, packets = misread_by_decord(container, stream, source, read_errors())
            if cause:
                raise DecodeError(cause, packets)
            if not isinstance(source.file, str):
                raise LeftToPyAV(packets)
            self._open(source, num_threads)
            if len(self._reader) * _frame_bytes(stream) > LOOK_AHEAD_BYTES:  # a header that lies
                self.close()
                raise LeftToPyAV(None)
            self.problem = cut_off(stream, source, self.timeline.duration)
            self.left_out = _left_out(container, stream, source)

    def _open(self, source: Source, num_threads: int):
        decord = import_reader("decord")  # not before it is needed: its libraries take 400 MB
        decord.logging.set_level(decord.logging.QUIET)
        try:
            # The smallest tolerance: decord otherwise passes off a neighbour as a frame it could not decode.
            self._reader = decord.VideoReader(source.rewound(), num_threads=num_threads, fault_tol=1e-6)
            times = self._reader.get_frame_timestamp(range(len(self._reader)))
            keyframes = self._reader.get_key_indices()
            rate = self._reader.get_avg_fps() or 1.0
        except Exception as error:  # RuntimeError, DECORDError, AssertionError: decord raises whatever it likes
            raise DecodeError(f"decord cannot open it ({first_line(error)})") from error
        # Headers can be wrong, or unread without PyAV. Times far too late for decord come out equal.
        if times.max() > DECORD_MAX_TIME or (np.diff(times[:, 0]) <= 0).any():
            raise DecodeError(TOO_LATE)
        self.timeline = Timeline.build(times[:, 0], times[:, 1], keyframes, rate)

    def read(self, index: int) -> np.ndarray:
        try:
            frame = self._reader[index]
            # Tensors of another library come out where the user has set a decord bridge.
            frame = frame.asnumpy() if hasattr(frame, "asnumpy") else np.asarray(frame)
        except Exception as error:
            raise DecodeError(f"decord cannot decode frame {index} ({first_line(error)})") from error
        if frame.shape[-1] != 3:  # decord takes row padding for a channel in narrow clips turned by 90 degrees
            raise DecodeError(f"decord returned a frame of shape {frame.shape}")
        self._source.check_size(frame.shape[1], frame.shape[0])
        return frame

    def close(self) -> None:
        self._reader = None


class PyAVDecoder(Decoder):
    """PyAV; it goes on past what cannot be decoded, so that the rest of a broken file is still read.

    In place of decord it rounds times as decord does: which of the two reads a file must not show in its captions.
    """

    backend = "pyav"
    _pts: Any  # of all frames, in ticks, ascending; `None` where the file does not tell those of all
    _ignores_edits = False  # whether the edit list of an MP4, which leaves nothing of it, is passed over
    _hides_alpha = False  # whether what is transparent lies beside the pictures
    _weaves = False  # whether two of what the decoder gives are a frame
    _cause = "nothing comes out"  # of the last frame that could not be decoded

    def __init__(
        self, source: Source, num_threads: int, in_place_of_decord: bool = False, packets: Packets | None = None
    ):
        self._errors = read_errors()
        self._in_place_of_decord = in_place_of_decord
        self._source = source
        self._num_threads = num_threads
        # The last one at or before the wanted, and the one after it.
        self._held: tuple[int, Any] | None = None
        self._ahead: tuple[int, Any] | None = None
        self._wanted_pts = -math.inf
        self._open()
        try:
            self._end = second_file_in(source.file, source.head, self._container.format.name)
            self._take_times(packets or Packets.read(self.packets(), self._stream, self._errors))
            self.problem = cut_off(self._stream, source, self.timeline.duration) or self.problem
            told = [_left_out(self._container, self._stream, source, self._last_byte)]
            if self._hides_alpha and self._alpha_codec is None:
                told.append(alpha_left_out(self._stream))
            self.left_out = "; ".join(filter(None, told)) or None
        except BaseException:
            self.close()
            raise

    def read(self, index: int) -> np.ndarray:
        key = self.timeline.keyframe_before(index)
        if self._held is None or not key <= self._held[0] <= index:  # else decoding on touches fewer frames
            self._seek(key)
        self._advance(index)
        while self._held is None and key > 0:  # nothing readable from that keyframe on
            key = self.timeline.keyframe_before(key - 1)
            self._seek(key)
            self._advance(index)
        found = self._held or self._ahead  # a file with a broken beginning shows its first readable frame
        if found is None:
            raise DecodeError(f"none of its frames can be decoded ({self._cause})")
        fields = (found[1] * 2)[:2] if self._weaves else found[1]  # a lone field stands for both
        try:
            pixels = upright_pixels(*fields)
        except self._errors as error:
            raise DecodeError(f"frame {index} cannot be decoded ({first_line(error)})") from error
        return pixels

    def close(self) -> None:
        self._container.close()

    def _open(self):
        self._container, self._stream = open_container(self._source, self._ignores_edits)
        self._is_at_start = True
        self._hides_alpha = self._hides_alpha or hides_alpha(self._stream)
        self._choose_codec()

    def _begin_anew(self):
        """Opens the file again, which finds the first frame of any container, unless it was just opened."""
        if not self._is_at_start:
            self._container.close()
            self._open()

    def _choose_codec(self):
        self._alpha_codec = alpha_decoder(self._stream) if self._hides_alpha else None
        codec = self._alpha_codec or self._stream.codec_context
        codec.options = self._stream.codec_context.options
        # A header of Theora in the middle is taken by a decoder of one frame at a time.
        codec.thread_type = "SLICE" if codec.name == "theora" else "AUTO"
        codec.thread_count = self._num_threads

    def _take_times(self, packets: Packets):
        """Says when all frames appear, without decoding any."""
        is_shown = packets.is_shown
        if not is_shown.any():
            if self._ignores_edits or not self._container.format.name.startswith("mov"):
                raise DecodeError("its video stream has no frames")
            self._ignores_edits = True
            self.close()
            self._open()
            self._take_times(Packets.read(self.packets(), self._stream, self._errors))
            self.problem = self.problem or "its edit list, which leaves no frame of it, is passed over"
            return
        self._last_byte = int(packets.places.max())
        if packets.bring_alpha and not self._hides_alpha:
            self._hides_alpha = True
            self._choose_codec()
        axis = packets.on_one_axis(self._container, self._stream)
        order = np.flatnonzero(is_shown)[np.argsort(axis.times[is_shown], kind="stable")]
        durations = packets.durations
        if packets.hold_fields:
            self._weaves = gives_fields(self._stream)
            order = order[first_fields(axis.times[order])] if axis.are_known else order[::2]
            durations = 2 * durations
        times, durations, is_key = axis.times[order], durations[order], packets.is_key[order]
        rate = float(self._stream.average_rate or 1)
        if not axis.are_known:
            starts = (times - times[0]) * float(self._stream.time_base)
            # A bare stream has a rate alone, of frames. Else those shown at the same time would not be seen.
            if packets.pts.count(None) == len(packets.pts) or (np.diff(starts) <= 0).any():
                starts = np.arange(len(times)) / rate
            self._pts, self.timeline = None, Timeline.build(starts, starts + 1 / rate, [], rate)
            return
        self._pts, self.shifts = times, axis.shifts
        can_seek = self._container.format.name in SEEKABLE and axis.shifts is None
        self.timeline = Timeline.build(*self._times(durations), np.flatnonzero(is_key) if can_seek else [], rate)

    def _times(self, durations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """When each frame appears, and when it ends, in seconds."""
        since_first = self._pts - self._pts[0]  # in whole ticks, exact however late the clock starts
        starts, ends = (ticks * float(self._stream.time_base) for ticks in (since_first, since_first + durations))
        refused = refused_by_header(self._container, self._stream, self._source) or ends.max() > DECORD_MAX_TIME
        if self._in_place_of_decord and not refused:
            rounded = starts.astype(np.float32)
            if (np.diff(rounded) > 0).all():
                return rounded, ends.astype(np.float32)
        return starts, ends

    def packets(self) -> Iterator[Any]:
        """The packets of the stream, from where the container stands; a broken end is the end."""
        try:
            count, codec = itertools.count(), self._stream.codec_context.name
            self._is_at_start = False
            for packet in self._container.demux(self._stream):
                beat()
                if self._end is not None and (packet.pos or 0) >= self._end:
                    yield self._end_packet()
                    return
                if self.shifts is not None and packet.size and not is_ogg_header(packet, codec):
                    yield from self._shift(packet, next(count))
                yield packet
        except self._errors as error:
            self.problem = self.problem or f"it breaks off ({first_line(error)})"

    def _shift(self, packet, number: int) -> Iterator[Any]:
        """Puts a packet on the axis of the whole file: its number tells which part it is of.

        Yields before the first of a part what brings out the frames that the decoder still holds: it would lose them
        where the size changes.
        """
        number = min(number, len(self.shifts) - 1)
        ticks = int(self.shifts[number])
        packet.pts += ticks
        if packet.dts is not None:
            packet.dts += ticks
        if number and ticks != self.shifts[number - 1]:
            yield self._end_packet()

    def _end_packet(self) -> Any:
        """What brings out the frames that the decoder still holds."""
        end = import_reader("av").Packet()
        end.stream = self._stream
        return end

    def decoded_frames(self) -> Iterator[tuple[int, list[Any]]]:
        """Decodes on from where the container stands: frames, each alone or as its fields."""
        if self._weaves:
            return pairs(self._decoded_pictures())
        return ((number, [frame]) for number, frame in self._decoded_pictures())

    def _decoded_pictures(self) -> Iterator[tuple[int, Any]]:
        count = itertools.count()
        fields = 2 if self._weaves else 1
        for packet in self.packets():
            if self._stream.codec_context.name in SKIPPING:
                # What is shown before the wanted frame, and no other frame is made of, need not be decoded.
                is_passed = packet.pts is not None and packet.pts < self._wanted_pts
                self._stream.codec_context.skip_frame = "NONREF" if is_passed else "DEFAULT"
            for frame in self._decode(packet):
                self._source.check_size(frame.width, fields * frame.height)
                if self._pts is None:
                    yield next(count) // fields, frame
                elif frame.pts is not None:
                    yield max(int(np.searchsorted(self._pts, frame.pts, side="right")) - 1, 0), frame

    def _decode(self, packet) -> list[Any]:
        codec = self._alpha_codec
        if is_ogg_header(packet, self._stream.codec_context.name, REMARKS):
            return []
        try:
            frames = packet.decode() if codec is None else codec.decode(packet if packet.size else None)
        except self._errors as error:
            self._cause = first_line(error)
            if getattr(error, "errno", None) in TOO_LARGE:  # or so: threads and some decoders do not tell the size
                self._cause += f", or more pixels than the {self._source.max_pixels} of `max_pixels`"
            self.problem = self.problem or f"some frames cannot be decoded ({self._cause})"
            frames = []
        context = codec or self._stream.codec_context
        self._source.check_size(context.width, context.height)  # of those much larger no frame comes out
        if not packet.size:  # the decoder has ended: of a part, if others follow
            context.flush_buffers()
        return frames

    def _seek(self, key: int):
        self._held = self._ahead = None
        self._decoded = self.decoded_frames()
        if key > 0:
            try:
                self._is_at_start = False
                self._container.seek(int(self._pts[key]), stream=self._stream)
                return
            except self._errors:  # from now on this file is read from the start on
                self.timeline = replace(self.timeline, keyframes=np.array([0]))
        self._begin_anew()

    def _advance(self, index: int):
        """Decodes until `_held` is frame `index`, or the last readable one before it."""
        if self._pts is not None:
            self._wanted_pts = self._pts[index]
        while self._held is None or self._held[0] < index:
            self._ahead = self._ahead or next(self._decoded, None)
            if self._ahead is None or self._ahead[0] > index:
                break
            self._held, self._ahead = self._ahead, None


def fits_in_memory(container, stream) -> bool:
    """Whether all frames of a file, decoded, take no more than `LOOK_AHEAD_BYTES`, by what its header says of them."""
    num_frames = reserved = stream.frames
    if not num_frames and container.duration and stream.average_rate:
        start = container.start_time or 0  # some containers count their duration from there, some from 0
        microseconds = container.duration - start if container.duration > start > 0 else container.duration
        num_frames = microseconds / 1e6 * float(stream.average_rate)
        reserved = container.duration / 1e6 * float(stream.average_rate)
    return 0 < max(num_frames * _frame_bytes(stream), reserved * TIMES_BYTES) <= LOOK_AHEAD_BYTES


def _frame_bytes(stream) -> int:
    """Bytes that a frame takes once it is decoded."""
    return stream.codec_context.width * stream.codec_context.height * 3


def _left_out(container, stream, source: Source, last_byte: int = 0) -> str | None:
    """What to say of what is in a file and is not read; `last_byte` is one of the last frame that is."""
    index = stream.index_entries
    last_byte = max(last_byte, index[-1].pos if len(index) else 0)
    second = second_file_in(source.file, source.head, container.format.name, last_byte)
    return "; ".join(filter(None, [streams_left_out(container, stream), tell_second_file(second)])) or None
