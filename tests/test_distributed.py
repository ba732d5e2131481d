"""Two real processes on the CPU (gloo), against one that does all the work."""

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import ddp_worker
import pytest
import torch
import torch.distributed as dist
from torch import nn
from voc_layout import make_folder

from d2lseg import fcn, training, voc
from d2lseg.engine import checkpoint, distributed

WORKER = Path(ddp_worker.__file__)
SIZES = {"train": [(40, 60), (50, 30), (33, 33), (64, 80), (45, 47)], "val": [(41, 52), (20, 70), (64, 33)]}

pytestmark = pytest.mark.skipif(not dist.is_available(), reason="this torch has no torch.distributed")


def torchrun(job, folder, processes=2, errors=subprocess.STDOUT):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
    return subprocess.Popen(
        [*command, str(processes), str(WORKER), job, str(folder)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Give the folder in which two processes have measured, and what they printed."""
    folder = tmp_path_factory.mktemp("ddp")
    make_folder(folder / "voc", SIZES)
    process = torchrun("measure", folder, errors=subprocess.PIPE)
    printed, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return folder, printed


@pytest.fixture(scope="module")
def found(run):
    return [torch.load(run[0] / f"rank{rank}.pt") for rank in (0, 1)]


@pytest.fixture(autouse=True)
def one_thread():
    """Compute as the workers do, so that sums come out the same to the last bit."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.slow
@pytest.mark.parametrize("case", ["unequal", "one rank void"])
def test_gradients_equal_those_of_one_process_with_the_joint_batch(found, case):
    parts = [ddp_worker.batch(case, rank) for rank in (0, 1)]
    void = [float((labels == 255).float().mean()) for _, labels in parts]
    assert abs(void[0] - void[1]) > 0.3
    want = ddp_worker.gradients(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))
    joint = float(sum(result[case]["loss"] for result in found) / 2)
    assert joint == pytest.approx(float(want.pop("loss")), abs=1e-5)
    for name, gradient in want.items():
        scale = float(gradient.abs().max())
        for result in found:
            assert float((result[case][name] - gradient).abs().max()) <= 1e-5 * max(scale, 1), name
    # the mean of the two processes' own means is something else: the check can fail
    apart = [ddp_worker.gradients(*part)["score.weight"] for part in parts]
    assert float((sum(apart) / 2 - want["score.weight"]).abs().max()) > 1e-3


@pytest.mark.slow
def test_a_batch_that_is_void_everywhere_gives_zero(found):
    for result in found:
        assert float(result["all void"].pop("loss")) == 0
        assert all((gradient == 0).all() for gradient in result["all void"].values())


@pytest.mark.slow
def test_scores_equal_those_of_one_process_exactly(run, found):
    training.set_seed(0)
    _, val_iter = voc.load_data_voc(run[0] / "voc", 2, (32, 48))
    matrix = training.evaluate(fcn.FCN32s(21), val_iter, precision="float32")
    assert [result["images"] for result in found] == [2, 1] and len(val_iter) == 3
    assert all(torch.equal(result["matrix"], matrix) for result in found)


@pytest.mark.slow
def test_a_process_without_an_image_gets_the_scores_of_the_others(found):
    first, second = (result["alone"] for result in found)
    assert torch.equal(first, second) and first.sum() > 0


@pytest.mark.slow
def test_both_processes_end_with_the_same_model_and_rows(found):
    first, second = found
    for name, value in first["weights"].items():
        if "running" not in name and "tracked" not in name:  # the running means are each one's own
            assert torch.equal(value, second["weights"][name]), name
    assert len(first["rows"]) == 2
    for mine, theirs in zip(first["rows"], second["rows"], strict=True):
        assert {k: mine[k] for k in ("loss", "miou")} == {k: theirs[k] for k in ("loss", "miou")}


@pytest.mark.slow
def test_balanced_weights_are_those_of_the_whole_training_set_in_each_process(run, found):
    images = voc.VOCSegDataset(run[0] / "voc")
    labels = [label for _, label in images]
    weights = training.balanced_weights(training.count_pixels(labels, 21))
    assert all(torch.equal(result["class weights"], weights) for result in found)
    for rank in (0, 1):  # each share of the images has others: the check can fail
        assert not torch.equal(training.balanced_weights(training.count_pixels(labels[rank::2], 21)), weights)


@pytest.mark.slow
def test_all_processes_go_on_from_the_checkpoint_of_the_first(run, found):
    state = checkpoint.read(run[0] / "last.pt")["state"]
    for result in found:
        assert all(torch.equal(value, result["weights again"][name]) for name, value in state.items())
        assert result["rows again"] == found[0]["rows"]


@pytest.mark.slow
def test_all_processes_stop_at_the_same_time(found):
    first, second = (result["timed"][-1] for result in found)
    assert first["seconds"] == second["seconds"] >= 0.5


@pytest.mark.slow
def test_only_the_first_process_prints(run, found):
    words = [line.split()[0] for line in run[1].splitlines() if line.strip()]
    trainings = [[row["epoch"] for row in found[0][key]] for key in ("rows", "timed")]
    assert words == [str(word) for epochs in trainings for word in ("epoch", *epochs)]


@pytest.mark.slow
def test_a_killed_process_ends_the_job_and_leaves_the_checkpoint(tmp_path):
    make_folder(tmp_path / "voc", SIZES)
    process = torchrun("forever", tmp_path)
    try:
        deadline = time.monotonic() + 120
        while not (tmp_path / "last.pt").is_file():
            assert process.poll() is None and time.monotonic() < deadline, process.communicate()[0]
            time.sleep(0.05)
        os.kill(int((tmp_path / "pid1").read_text()), signal.SIGKILL)
        printed, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode != 0 and "SIGKILL" in printed
    assert fcn.load(tmp_path / "last.pt").arguments["variant"] == "32s"


@pytest.mark.slow
def test_an_error_in_one_process_ends_the_job_with_its_words(tmp_path):
    process = torchrun("fail", tmp_path)
    printed, _ = process.communicate(timeout=120)
    assert process.returncode != 0 and "image 7 is broken" in printed


def test_outside_torchrun_there_is_one_process():
    with distributed.joined() as ranks:
        assert ranks == distributed.Ranks(0, 1, 0) and ranks.first and not dist.is_initialized()
    model, tensor = nn.Linear(1, 1), torch.ones(2)
    assert distributed.parallel(model, torch.device("cpu")) is model
    assert distributed.summed(tensor) is tensor
    assert distributed.from_first(lambda: 5) == distributed.in_turns(lambda: 5) == 5
    distributed.share_buffers(nn.BatchNorm2d(2))


def test_in_turns_the_first_process_of_each_machine_goes_before_the_others(monkeypatch):
    """Two machines of two processes each, played by threads; the first ones take their time."""
    me, meeting, done = threading.local(), threading.Barrier(4), []
    monkeypatch.setattr(distributed, "ranks", lambda: me.ranks)
    monkeypatch.setattr(dist, "new_group", lambda backend, timeout: (backend, timeout.days))
    monkeypatch.setattr(dist, "barrier", lambda group: meeting.wait(60))
    monkeypatch.setattr(dist, "destroy_process_group", lambda group: None)

    def make():
        time.sleep(0.05 * (4 - me.ranks.rank))
        done.append(me.ranks.rank)
        return f"result {me.ranks.rank}"

    def process(rank):
        me.ranks = distributed.Ranks(rank, 4, local_rank=rank % 2)
        return distributed.in_turns(make)

    with ThreadPoolExecutor(4) as threads:
        results = list(threads.map(process, range(4)))
    assert results == [f"result {rank}" for rank in range(4)]
    assert done[:2] == [0, 2] and set(done[2:]) == {1, 3}


@pytest.fixture
def torchrun_alone(monkeypatch, tmp_path):
    """Look like the only process that torchrun has started."""
    names = {"TORCHELASTIC_RUN_ID": "test", "RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"}
    names |= {"LOCAL_WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
    for name, value in names.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("torchrun_alone")
def test_a_group_is_joined_and_left():
    with distributed.joined("cpu") as ranks:
        assert dist.is_initialized() and dist.get_backend() == "gloo"
        assert ranks == distributed.Ranks(0, 1, 0)
    assert not dist.is_initialized()


@pytest.mark.usefixtures("torchrun_alone")
@pytest.mark.parametrize("gpus", [0, 1])
def test_more_processes_than_gpus_are_refused(monkeypatch, gpus):
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    with pytest.raises(ValueError, match=f"2 processes on a machine with {gpus} GPUs"):
        with distributed.joined("cuda"):
            pass


def test_each_process_takes_the_gpu_of_its_local_rank(monkeypatch):
    taken = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    distributed.take_gpu(3, 4)
    assert taken == [3]


def test_synchronised_batch_norm_needs_cuda():
    with pytest.raises(ValueError, match=r"CUDA.* cpu"):
        distributed.synchronize_batch_norm(fcn.FCN32s(2), torch.device("cpu"))


def test_synchronised_batch_norm_keeps_the_parameters():
    model = fcn.FCN32s(3)
    before = model.state_dict()
    after = distributed.synchronize_batch_norm(model, torch.device("cuda")).state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[k], after[k]) for k in before)
    kinds = {type(layer) for layer in model.modules()}
    assert nn.SyncBatchNorm in kinds and nn.BatchNorm2d not in kinds


@pytest.mark.parametrize(
    ("gpus", "start"), [(0, "python "), (1, "python "), (4, "torchrun --nproc-per-node=4 ")]
)
def test_the_command_fits_the_machine(monkeypatch, gpus, start):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    assert distributed.command() == start + "-m d2lseg train"
