"""A network outside PyTorch: ONNX files and `torch.export`, at sizes that were not exported.

ONNX files are run with onnxruntime. Where one of the packages of the extra `export` is missing, or torch is
too old for its exporter, those tests are skipped.
"""

import contextlib
import importlib.util
import io
import json
import os
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from d2lseg import cli, fcn, prediction
from d2lseg.cli import export

MISSING = [name for name in export.NEEDED if importlib.util.find_spec(name) is None]
OLD = [int(n) for n in torch.__version__.split(".")[:2]] < [int(n) for n in export.TESTED.split(".")]
LACKING = f"not installed: {', '.join(MISSING)}" if MISSING else f"torch is older than {export.TESTED}"
needed = pytest.mark.skipif(bool(MISSING) or OLD, reason=LACKING)
exporting = pytest.mark.skipif(OLD, reason=f"torch is older than {export.TESTED}")

ROOT = Path(__file__).resolve().parent.parent
NETWORKS = [  # each variant, backbone, upsampling and geometry
    ("8s", "efficientnet_lite0", "bilinear", "corrected"),
    ("16s", "resnet18", "learned", "corrected"),
    ("32s", "resnet50", "random", "textbook"),
    ("8s", "vgg16", "bilinear", "textbook"),
]
SIZES = [(1, 64, 96), (2, 33, 70), (1, 1, 1), (3, 200, 31)]


def network(variant="32s", backbone="resnet18", upsampling="bilinear", geometry="textbook"):
    torch.manual_seed(0)
    names = ("background", "Tasse", "Löffel")
    model = fcn.FCN(variant, 3, backbone, upsampling, geometry, classes=names).eval()
    for name, part in model.named_children():
        if name.startswith("score"):  # those of the skips begin at zero, and would show no fault
            torch.nn.init.normal_(part.weight, std=0.1)
    return model


def images(count, height, width):
    g = torch.Generator().manual_seed(height)
    return torch.randint(256, (count, 3, height, width), dtype=torch.uint8, generator=g)


def onnx(model, output="logits"):
    import onnxruntime

    content = export.onnx_file(model, output)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return session, lambda x: session.run(None, {"images": x.numpy()})[0]


@exporting
@pytest.mark.slow
@pytest.mark.parametrize("options", NETWORKS, ids=" ".join)
def test_torch_export_with_dynamic_sizes(options):
    model = network(*options)
    from torch.fx.experimental.dynamic_spec import ParamsSpec, ShapesSpec, ShapeVar, TensorSpec

    n, height, width = (ShapeVar(name, min=1) for name in ("n", "height", "width"))
    sizes = ShapesSpec(params=ParamsSpec({"images": TensorSpec([n, 3, height, width])}))
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(model, (images(2, 70, 101),), dynamic_shapes=sizes).module()
        for size in SIZES:
            torch.testing.assert_close(program(images(*size)), model(images(*size)), atol=1e-4, rtol=1e-4)


@needed
@pytest.mark.slow
@pytest.mark.parametrize("options", NETWORKS, ids=" ".join)
def test_an_onnx_file_gives_the_same_logits_at_any_size(options):
    model = network(*options)
    _, run = onnx(model)
    for size in SIZES:
        with torch.no_grad():
            want = model(images(*size))
        found = torch.from_numpy(run(images(*size)))
        torch.testing.assert_close(found, want, atol=1e-3 * max(1, want.abs().max().item()), rtol=0)


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    """The shipped weights as an ONNX file, and what the command printed."""
    path, printed = tmp_path_factory.mktemp("onnx") / "new" / "model.onnx", io.StringIO()
    with contextlib.redirect_stdout(printed):
        assert cli.main(["export", "--checkpoint", "photos", "--out", str(path)]) == 0
    return path, printed.getvalue()


@needed
@pytest.mark.slow
def test_the_command_writes_classes_that_are_those_of_predict(shipped):
    """The shipped weights on a photograph that ships, at its own size."""
    import onnxruntime

    path, out = shipped
    assert len(re.findall(r"classes differ at 0\.\d{3}% of the pixels", out)) == 3 and str(path) in out
    assert [p.name for p in path.parent.iterdir()] == ["model.onnx"], "one file, with the weights in it"
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (given,), (got,) = session.get_inputs(), session.get_outputs()
    assert (given.name, given.type, given.shape[1]) == ("images", "tensor(uint8)", 3)
    assert (got.name, got.type) == ("classes", "tensor(uint8)")
    assert all(isinstance(side, str) for side in (given.shape[0], *given.shape[2:]))
    meta = session.get_modelmeta().custom_metadata_map
    model = fcn.pretrained("photos")
    assert tuple(json.loads(meta["classes"])) == model.classes
    assert json.loads(meta["colours"]) == [list(colour) for colour in model.colormap]
    photo = prediction.sample_photo("chelsea")
    pixels = np.asarray(Image.open(photo).convert("RGB"))
    found = session.run(None, {"images": pixels.transpose(2, 0, 1)[None]})[0][0]
    assert (found != prediction.predict(model, photo).numpy()).mean() < 1e-3
    assert (found == model.classes.index("cat")).mean() > 0.3


def docs_code(word):
    """The one code block of the docs that holds a word."""
    text = (ROOT / "docs" / "export.md").read_text(encoding="utf-8")
    (code,) = (block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if word in block)
    return code


@needed
@pytest.mark.slow
def test_the_script_of_the_docs_runs_outside_the_project(shipped, tmp_path):
    code, photo = docs_code("sys.argv"), prediction.sample_photo("chelsea")
    assert "torch" not in code and "import d2lseg" not in code
    (tmp_path / "segment.py").write_text(code, encoding="utf-8")
    shutil.copy(shipped[0], tmp_path)
    command = [sys.executable, "segment.py", "model.onnx", str(photo), "mask.png"]
    alone = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    if "PYTHONPATH" in os.environ:
        alone["PYTHONPATH"] = os.pathsep.join(
            place for place in os.environ["PYTHONPATH"].split(os.pathsep) if Path(place).resolve() != ROOT
        )
    done = subprocess.run(command, cwd=tmp_path, env=alone, capture_output=True, text=True, check=True)
    assert re.search(r"^cat: \d\d\.\d%$", done.stdout, re.MULTILINE)
    found = np.asarray(Image.open(tmp_path / "mask.png"))
    assert (found != prediction.predict(fcn.pretrained("photos"), photo).numpy()).mean() < 1e-3


@exporting
@pytest.mark.slow
def test_the_export_of_the_docs_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(compile(docs_code("torch.export.save"), "docs/export.md", "exec"), {})
    assert capsys.readouterr().out == "(1, 7, 480, 640)\n"


def test_an_export_that_fails_is_an_error_of_one_line(tmp_path, monkeypatch, capsys):
    def fail(*arguments, **options):
        raise TypeError("export() got an unexpected keyword\nargument")

    monkeypatch.setattr(export, "NEEDED", ("json",))
    monkeypatch.setattr(torch.onnx, "export", fail)
    assert cli.main(["export", "--checkpoint", "photos", "--out", str(tmp_path / "model.onnx")]) == 1
    words = f"error: torch {torch.__version__} could not export this network (TypeError: export() got an"
    assert words in capsys.readouterr().err and not list(tmp_path.iterdir())


@needed
@pytest.mark.slow
def test_a_file_that_differs_is_not_written(tmp_path, monkeypatch, capsys, tiny_backbone):
    whole = export.onnx_file

    def other_weights(model, output):
        content = whole(model, output)
        model.score.bias.data += 1
        return content

    path = tmp_path / "model.onnx"
    path.write_text("old")
    monkeypatch.setattr(export, "onnx_file", other_weights)
    fcn.save(network(backbone=tiny_backbone), tmp_path / "model.pt")
    words = ["export", "--checkpoint", str(tmp_path / "model.pt"), "--out", str(path), "--output", "logits"]
    assert cli.main(words) == 1
    assert re.search(r"error: the exported file and PyTorch disagree: logits differ", capsys.readouterr().err)
    assert path.read_text() == "old"


@pytest.mark.parametrize(
    ("found", "wanted", "words"),
    [
        (torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 4, 5), r"float32 \(1, 2, 4, 4\), expected .*5\)"),
        (torch.zeros(1, 2, 4, 4), torch.full((1, 2, 4, 4), 0.01), "differ by at most 1.0e-02"),
        (torch.zeros(1, 2, 4, 4), torch.full((1, 2, 4, 4), float("nan")), "differ by at most nan"),
        (
            torch.zeros(1, 9, 9, dtype=torch.uint8),
            torch.zeros(1, 9, 9, dtype=torch.int64),
            "expected torch.int64",
        ),
        (torch.zeros(1, 9, 9, dtype=torch.uint8), torch.ones(1, 9, 9, dtype=torch.uint8), r"100\.000%"),
    ],
)
def test_results_that_differ_are_told(found, wanted, words):
    assert "differ" in export.agreement(wanted.nan_to_num(), wanted.nan_to_num())
    with pytest.raises(RuntimeError, match=f"disagree: .*{words}"):
        export.agreement(found, wanted)


def test_what_is_not_installed_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(export, "NEEDED", ("json", "no_such_package"))
    out = str(tmp_path / "model.onnx")
    assert cli.main(["export", "--checkpoint", "photos", "--out", out]) == 1
    line = capsys.readouterr().err.strip()
    assert re.fullmatch(r"error: export needs no_such_package, .*: pip install no_such_package", line)
