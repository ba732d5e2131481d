"""What all tests share: no window for figures, and a data folder that is not the reader's own."""

import functools
import http.server
import os
import signal
import sys
import threading
from pathlib import Path

import pytest
import torch

os.environ.setdefault("MPLBACKEND", "Agg")  # before anything imports pyplot

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # for tools/, which is not installed


@pytest.fixture(scope="session")
def session_data(tmp_path_factory):
    """One data folder for the whole run, so that what is drawn once serves all tests."""
    return tmp_path_factory.mktemp("d2lseg_data")


@pytest.fixture(autouse=True)
def data_folder(session_data, monkeypatch):
    """Keep every test out of the checkout's ``data/``."""
    monkeypatch.setenv("D2LSEG_DATA", str(session_data))
    return session_data


@pytest.fixture(autouse=True)
def close_figures():
    """Leave no figure of one test open for the next."""
    yield
    plt = sys.modules.get("matplotlib.pyplot")  # a test that draws nothing need not import it
    if plt:
        plt.close("all")


@pytest.fixture
def interrupts():
    """Let SIGINT interrupt, as in a terminal: what a shell starts in the background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def real_voc():
    """A folder with three real VOC photos in VOC layout, where this machine has it."""
    folder = Path(os.environ.get("D2LSEG_REAL_VOC", ROOT.parent / "shared" / "real-voc"))
    if not folder.is_dir():
        pytest.skip(f"no real VOC photos in {folder}: set D2LSEG_REAL_VOC to a folder in VOC layout")
    return folder


@pytest.fixture
def same_threads():
    """Restore the number of threads for other tests."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def colab_python(tmp_path_factory):
    """The Python of an environment with Colab's versions, made once. PyTorch is the running one's."""
    from tools import colab, commands  # here, because few tests need them

    try:
        return colab.make(tmp_path_factory.mktemp("colab"), shared=True)
    except colab.ColabError as error:
        if "network failed" in commands.pip_trouble(str(error)):
            pytest.skip("pip reaches no package index from here")
        raise


@pytest.fixture
def rates(monkeypatch):
    """Keep the learning rate of each training step."""
    from d2lseg.engine.progress import Progress  # here, because many tests need none of it

    seen, advance = [], Progress.advance

    def spy(progress, loss, images, rate):
        seen.append(rate)
        advance(progress, loss, images, rate)

    monkeypatch.setattr(Progress, "advance", spy)
    return seen


@pytest.fixture
def tiny_backbone(monkeypatch):
    """Register a tiny backbone, for tests that are not about the backbone, and give its name."""
    from d2lseg import backbones
    from tools import mutate

    monkeypatch.setattr(backbones, "BACKBONES", dict(backbones.BACKBONES))
    mutate.add_tiny_backbone()
    return mutate.TINY


@pytest.fixture
def file_server():
    """Serve folders on this machine alone: ``file_server(folder)`` gives the URL of the folder."""
    servers = []

    def serve(folder):
        handler = functools.partial(_QuietHandler, directory=str(folder))
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


class _QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        """Keep the request log out of the test output."""


@pytest.fixture
def photo_folder(tmp_path):
    """A folder with the lists train, train_aug and val: noise with a bright square, a cat or an aeroplane."""
    import numpy as np  # here, because many tests need none of them
    from PIL import Image
    from voc_layout import write_mask

    rng = np.random.default_rng(0)
    for part in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (tmp_path / part).mkdir(parents=True)
    names = [f"p{i}" for i in range(12)]
    for i, name in enumerate(names):
        pixels, label = rng.integers(0, 90, (40, 56, 3), np.uint8), np.zeros((40, 56), np.uint8)
        pixels[8:30, 10:40] += 150
        label[8:30, 10:40] = 8 if i % 2 else 1
        label[0] = 255
        Image.fromarray(pixels).save(tmp_path / "JPEGImages" / f"{name}.jpg")
        write_mask(tmp_path / "SegmentationClass" / f"{name}.png", label)
    lists = {"train": names[:6], "train_aug": names[:9], "val": names[9:]}
    for split, members in lists.items():
        (tmp_path / "ImageSets" / "Segmentation" / f"{split}.txt").write_text("\n".join(members) + "\n")
    return tmp_path
