"""Films keep their frames, time stamps and sound; colours keep in step; an interrupted film goes on."""

import errno
from fractions import Fraction

import av
import numpy as np
import pytest
import torch
from pictures import photograph
from PIL import Image

from colorize_lib.__main__ import main
from colorize_lib.colorizing import film
from colorize_lib.colorizing.batch import plan
from colorize_lib.colorizing.colorizer import Colorizer
from colorize_lib.colorizing.steadying import Steadier
from colorize_lib.models import GeneratorConfig, build_generator

FRAMES = 20


@pytest.fixture(scope="module")
def colorizer() -> Colorizer:
    torch.manual_seed(0)
    config = GeneratorConfig("unet", size=32, n_down=5, num_filters=4)
    return Colorizer(build_generator(config), config, "cpu")


@pytest.fixture
def clip(tmp_path):
    """A pan over a picture, with a tone and uneven time stamps."""
    path, picture = tmp_path / "clip.mp4", photograph(3, (160, 90))
    with av.open(str(path), "w") as out:
        video, sound = out.add_stream("libx264", rate=10), out.add_stream("aac", rate=8000, layout="mono")
        video.width, video.height, video.pix_fmt = 96, 64, "yuv420p"
        video.codec_context.time_base = Fraction(1, 100)
        for number in range(FRAMES):
            frame = av.VideoFrame.from_image(picture.crop((2 * number, 10, 96 + 2 * number, 74)))
            frame.pts, frame.time_base = 10 * number + number % 3, Fraction(1, 100)
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        tone = np.sin(np.arange(16000) * 0.3).astype(np.float32)[None] / 4
        wave = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
        wave.sample_rate, wave.pts = 8000, 0
        out.mux(sound.encode(wave))
        out.mux(sound.encode(None))
    return path


def contents(path) -> tuple[list[float], list[bytes], np.ndarray]:
    """Times of the pictures, packets of the sound, the pictures."""
    with av.open(str(path)) as opened:
        sound = [bytes(packet) for packet in opened.demux(audio=0) if packet.size]
    with av.open(str(path)) as opened:
        frames = [(frame.time, frame.to_ndarray(format="rgb24")) for frame in opened.decode(video=0)]
    return [time for time, _ in frames], sound, np.stack([pixels for _, pixels in frames])


def test_frames_time_stamps_and_sound_are_kept_and_the_pictures_coloured(clip, colorizer, tmp_path):
    assert film.colorize_film(colorizer, clip, tmp_path / "out.mp4") == []
    (times, sound, before), (kept, same_sound, after) = contents(clip), contents(tmp_path / "out.mp4")
    assert kept == pytest.approx(times, abs=1e-3) and len(times) == FRAMES
    assert same_sound == sound and len(sound) > 10
    assert before.shape == after.shape
    assert np.abs(before.mean(axis=3) - after.mean(axis=3)).mean() < 25  # the lightness is the film's
    assert not list(tmp_path.glob("*.parts"))


def test_an_interrupted_film_goes_on_and_ends_as_if_it_never_was(clip, colorizer, tmp_path, monkeypatch):
    monkeypatch.setattr(film, "PIECE", 6)
    film.colorize_film(colorizer, clip, tmp_path / "whole.mp4", about="a")
    seen = []

    def stopped(picture, **options):
        seen.append(picture)
        if len(seen) == 10:
            raise KeyboardInterrupt
        return colorizer(picture, **options)

    target = tmp_path / "out.mp4"
    with pytest.raises(KeyboardInterrupt):
        film.colorize_film(stopped, clip, target, about="a")
    assert not target.exists()
    with pytest.raises(ValueError, match="holds results of an earlier call: --resume goes on, --force begins anew"):
        film.colorize_film(colorizer, clip, target, about="a")
    with pytest.raises(ValueError, match="was begun with other options or another source"):
        film.colorize_film(colorizer, clip, target, about="b", resume=True)
    film.colorize_film(colorizer, clip, target, about="a", resume=True)
    for one, other in zip(contents(target), contents(tmp_path / "whole.mp4"), strict=True):
        assert np.array_equal(one, other)


def test_colours_follow_what_moves_and_begin_anew_at_a_cut():
    grey = np.asarray(photograph(1, (96, 64)).convert("L"), dtype=np.float32)[:64, :64] / 127.5 - 1
    rng, steady = np.random.default_rng(0), Steadier()
    flicker = [rng.normal(0, 0.1, (2, 64, 64)).astype(np.float32) + 0.3 * (-1) ** number for number in range(6)]
    steadied = [steady(np.roll(grey, number, axis=1)[:, 8:], ab[:, :, 8:]) for number, ab in enumerate(flicker)]
    moves = [np.abs(np.diff([of.mean() for of in shown])).mean() for shown in (flicker, steadied)]
    assert moves[1] < 0.5 * moves[0] and steady.cuts == 0
    other = np.asarray(photograph(9, (96, 64)).convert("L"), dtype=np.float32)[:64, 8:64] / 127.5 - 1
    assert np.array_equal(steady(-other, flicker[0][:, :, 8:]), flicker[0][:, :, 8:]) and steady.cuts == 1


def test_what_is_no_film_is_one_sentence(clip, colorizer, tmp_path, capsys):
    (tmp_path / "text.mp4").write_text("no film")
    (tmp_path / "cut.mp4").write_bytes(clip.read_bytes()[:3000])
    with av.open(str(tmp_path / "sound.mp4"), "w") as out, av.open(str(clip)) as opened:
        stream = out.add_stream_from_template(opened.streams.audio[0])
        for packet in opened.demux(audio=0):
            if packet.dts is not None:
                packet.stream = stream
                out.mux(packet)
    said = {"text": "is no film, or is cut off", "cut": "is no film, or is cut off", "sound": "has no pictures"}
    for name, words in said.items():
        assert main(["colorize", str(tmp_path / f"{name}.mp4"), "--device", "cpu"]) == 1
        assert words in capsys.readouterr().err
    assert main(["colorize", str(clip), "--samples", "2"]) == 1
    assert "a film has one answer" in capsys.readouterr().err
    assert main(["colorize", str(clip), "--hint", "1,2,#c03028"]) == 1
    assert "hints belong to one photograph" in capsys.readouterr().err


def test_numbered_frames_are_coloured_in_their_order_and_go_on(colorizer, tmp_path, capsys):
    (tmp_path / "frames").mkdir()
    for number in range(12):  # 10 comes after 9
        photograph(3, (160, 90)).crop((2 * number, 10, 96 + 2 * number, 74)).save(tmp_path / "frames" / f"{number}.png")
    pairs, seen = plan([tmp_path / "frames"], tmp_path / "out").pairs, []
    film.colorize_frames(colorizer, pairs, about="a")

    def stopped(picture, **options):
        seen.append(picture)
        if len(seen) == 8:
            raise KeyboardInterrupt
        return colorizer(picture, **options)

    again = plan([tmp_path / "frames"], tmp_path / "again").pairs
    with pytest.raises(KeyboardInterrupt):
        film.colorize_frames(stopped, again, about="a")
    film.colorize_frames(colorizer, again, about="a", resume=True)
    for number in range(12):
        one, other = (Image.open(tmp_path / folder / f"{number}.png") for folder in ("out", "again"))
        assert one.tobytes() == other.tobytes()
    assert "12 frames coloured" in capsys.readouterr().out


def test_a_full_disk_is_named_and_no_film_is_left(clip, colorizer, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(film, "_join", full)
    with pytest.raises(OSError, match=r"No space left on device for .*out.mp4: [0-9.,]+ MB are free"):
        film.colorize_film(colorizer, clip, tmp_path / "out.mp4")
    assert not (tmp_path / "out.mp4").exists()
