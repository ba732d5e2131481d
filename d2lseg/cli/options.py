"""The options of every command. Nothing heavy is imported here, so that ``--help`` is quick.

To add a command, write a function here that adds its parser, list it in `make_parser`, and add a module of
the command's name with a function ``run``.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

from .readers import below_one, not_negative, old_to_new, positive, share, whole

PROGRAM = "python -m d2lseg"

# as in the modules that import torch; a test compares them
VARIANTS = ("32s", "16s", "8s")
BACKBONES = ("resnet18", "resnet50", "vgg16", "efficientnet_lite0")
UPSAMPLINGS = ("bilinear", "learned", "random")
GEOMETRIES = ("textbook", "corrected")
SCHEDULES = ("one_cycle", "poly")
PRECISIONS = ("bf16", "fp16", "float32")
WINDOWS = ("flat", "smooth")
FORMS = ("labelme", "coco", "pairs")
LOSSES = ("ce", "ce+dice")
FROZEN = ("backbone", "batch-norm")
OUTPUTS = ("classes", "logits")
ARCHITECTURE = {"variant": "32s", "backbone": "resnet18", "upsampling": "bilinear", "geometry": "textbook"}

Add = Callable[..., argparse.Action]  # the method add_argument of a parser or a group
AddParser = Callable[..., argparse.ArgumentParser]  # the method add_parser

DEFAULT = "(default: %(default)s)"
PHOTOS = (
    "The checkpoint called photos is an FCN-8s that knows background, cat, cow, dog, horse, person and\n"
    "sheep. It was trained on 3,131 photographs of Pascal VOC 2012 and SBD, and is meant for teaching and\n"
    "research: not for decisions about people, nor for drawings. Its model card, with scores and limits,\n"
    "is docs/photo-weights.md in the course; its terms are in weights/NOTICE.md of the package.\n"
    "The checkpoint called emoji is the FCN-32s of notebook 05: it knows EmojiVOC's drawings, nothing else."
)
DATA = "The images: emojivoc (drawn locally), voc2012 (2 GB, downloaded once) or a folder in VOC layout."
CLASSES = "A text file with one class name per line, background first."


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands; it stores the name of the chosen one in ``command``."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Train fully convolutional networks, score them, and use them.",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for add in (_add_train, _add_evaluate, _add_predict, _add_export, _add_doctor, _add_data):
        add(commands.add_parser)
    return parser


def _command(
    add_parser: AddParser, name: str, summary: str, description: str, example: str
) -> argparse.ArgumentParser:
    """Add a command with the option that all commands have."""
    command = add_parser(
        name,
        help=summary,
        description=description,
        epilog=f"example:\n{example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    command.add_argument("--traceback", action="store_true", help="After an error, show where it was raised.")
    return command


# --- Options that several commands share --------------------------------------------------------------------


def _add_classes(add: Add) -> None:
    default = "(default: classes.txt in the folder of the data, else VOC's 21 classes)"
    add("--classes", metavar="FILE", help=f"{CLASSES} {default}")


def _add_check(add: Add) -> None:
    """Add what to do about images that cannot be read, one of two options."""
    skip_bad = "Leave out unusable images and list them at the end. (default: stop)"
    add("--skip-bad", action="store_true", help=skip_bad)
    no_check = "Do not read every image beforehand; a bad one then stops the run half way."
    add("--no-check", action="store_true", help=no_check)


def _add_workers(add: Add) -> None:
    default = "(default: 0, and up to 4 on Linux with a GPU)"
    add("--workers", type=whole(0), metavar="N", help=f"How many processes read images ahead. {default}")


def _add_checkpoint(add: Add) -> None:
    network = "The network: a model.pt or best.pt written by train"
    shipped = "photos or emoji, which come with the course"
    add("--checkpoint", required=True, metavar="FILE|photos|emoji", help=f"{network}; or {shipped}.")


def _add_size(add: Add, name: str, help: str, default: tuple[int, int] | None = None) -> None:
    add(name, type=whole(1), nargs=2, metavar=("HEIGHT", "WIDTH"), default=default, help=help)


def _add_seed(add: Add, help: str) -> None:
    add("--seed", type=whole(0), default=0, metavar="S", help=f"{help} {DEFAULT}")


def _add_tiles(add: Add) -> None:
    """Add how to cut large images."""
    tile = "Cut larger images into tiles of this size in pixels. (default: 768 768)"
    _add_size(add, "--tile", tile, default=(768, 768))
    overlap = f"How many pixels neighbouring tiles share. {DEFAULT}"
    add("--overlap", type=whole(0), default=128, metavar="N", help=overlap)


def _add_machine(add: Add) -> None:
    """Add where and how to compute."""
    devices = "cpu, cuda, cuda:1 (the second GPU) or mps"
    add("--device", metavar="NAME", help=f"Where to compute: {devices}. (default: a GPU if there is one)")
    precision = "The number format of convolutions. (default: the fastest that the device supports)"
    add("--precision", choices=PRECISIONS, help=precision)
    threads = "How many CPU threads to use. (default: one per core, under torchrun 1)"
    add("--threads", type=whole(1), metavar="N", help=threads)


# --- train, evaluate, predict, doctor -----------------------------------------------------------------------


def _add_train(add_parser: AddParser) -> None:
    command = _command(
        add_parser,
        "train",
        "train a network",
        "Train a network, and write it, its scores and what is needed to resume into a folder.\n"
        f"On several GPUs: torchrun --nproc-per-node=4 {PROGRAM.removeprefix('python ')} train ...",
        f"  {PROGRAM} train --data emojivoc --variant 8s --epochs 7 --out runs/first\n"
        "  and, if it was interrupted, the same with --resume\n"
        "  and on a few photographs of your own, as docs/fine-tuning.md explains\n"
        f"  {PROGRAM} train --data data/mine --init photos --freeze batch-norm --crop 256 256 --batch 4 "
        "--scale 0.5 2 --jitter 0.3 --lr 1e-3 --backbone-lr 1e-4 --epochs 40 --out runs/mine",
    )
    data = command.add_argument_group("data")
    _add_training_data(data.add_argument)
    _add_check(data.add_mutually_exclusive_group().add_argument)
    _add_model(command.add_argument_group("model"))
    training = command.add_argument_group("training")
    length = training.add_mutually_exclusive_group(required=True).add_argument
    length("--epochs", type=positive, metavar="N", help="Passes over the images; 0.5 is half a pass.")
    length("--minutes", type=positive, metavar="M", help="Stop after this time, not counting the evaluation.")
    _add_training(training.add_argument)
    _add_machine(command.add_argument_group("machine").add_argument)


def _add_training_data(add: Add) -> None:
    """Add what to train on."""
    add("--data", default="emojivoc", metavar="DATA", help=f"{DATA} {DEFAULT}")
    _add_classes(add)
    add("--batch", type=whole(1), default=8, metavar="N", help=f"Images per step, in each process. {DEFAULT}")
    crop = "(default: 160 224 for emojivoc, else 320 480)"
    _add_size(add, "--crop", f"The size in pixels of the random crop taken from each image. {crop}")
    scale = "Resize each image by a random factor between these before the crop. (default: not at all)"
    add("--scale", type=positive, nargs=2, metavar=("LOW", "HIGH"), help=scale)
    jitter = "Change brightness, contrast and saturation at random, this strongly; 0.4 is usual."
    add("--jitter", type=below_one, default=0.0, metavar="STRENGTH", help=f"{jitter} {DEFAULT}")
    _add_workers(add)
    add("--cache", action="store_true", help="Keep all images in memory after they have been read.")


def _add_model(group: argparse._ArgumentGroup) -> None:
    """Add what to train."""
    add, start = group.add_argument, group.add_mutually_exclusive_group().add_argument
    init = "Start from this network: its backbone, and its score layers if the classes are the same."
    start("--init", metavar="FILE|photos|emoji", help=f"{init} What is left out is printed.")
    weights = "Start the backbone from ImageNet weights (downloaded once) or a file in torchvision's format."
    start("--weights", metavar="imagenet|FILE", help=f"{weights} (default: random weights)")
    variant = "The stride of the finest map that is scored: 8s draws finer outlines."
    add("--variant", choices=VARIANTS, help=f"{variant} {_like_init('variant')}")
    backbone = "The classifier that the network is built on."
    add("--backbone", choices=BACKBONES, help=f"{backbone} {_like_init('backbone')}")
    upsampling = "How to enlarge scores: fixed, learned from a bilinear start, or from a random one."
    add("--upsampling", choices=UPSAMPLINGS, help=f"{upsampling} {_like_init('upsampling')}")
    geometry = "Place each cell on its block of pixels, or where it really looks."
    add("--geometry", choices=GEOMETRIES, help=f"{geometry} {_like_init('geometry')}")
    freeze = "Keep the backbone as it is, or its batch normalisation alone, for batches of a few images."
    freeze += " Alone, it means the backbone."
    add("--freeze", choices=FROZEN, nargs="?", const="backbone", metavar="backbone|batch-norm", help=freeze)


def _like_init(name: str) -> str:
    """Say what is chosen by default."""
    return f"(default: {ARCHITECTURE[name]}, or that of --init)"


def _add_training(add: Add) -> None:
    """Add how to train, and where to write the results."""
    rate = f"The peak learning rate; with ImageNet weights, start with 2e-4. {DEFAULT}"
    add("--lr", type=positive, default=2e-3, metavar="RATE", help=rate)
    backbone_rate = "The peak learning rate of the backbone, if it differs; a tenth of --lr is usual."
    add("--backbone-lr", type=positive, metavar="RATE", help=backbone_rate)
    loss = f"Cross-entropy, or cross-entropy and Dice, which helps small classes. {DEFAULT}"
    add("--loss", choices=LOSSES, default="ce", help=loss)
    weights = "How much a pixel of each class counts: balanced, the rarer the more, or a file with a line"
    add("--class-weights", metavar="balanced|FILE", help=f"{weights} NAME WEIGHT for each class.")
    decay = f"How strongly AdamW pulls the weights towards zero. {DEFAULT}"
    add("--weight-decay", type=not_negative, default=1e-2, metavar="RATE", help=decay)
    schedule = f"How the learning rate changes: up and then down, or only down. {DEFAULT}"
    add("--schedule", choices=SCHEDULES, default="one_cycle", help=schedule)
    _add_seed(add, "Of all randomness: the same seed gives the same weights.")
    sync = "On several GPUs, compute batch normalisation over the images of all of them."
    add("--sync-batch-norm", action="store_true", help=sync)
    out = "The folder for model.pt, best.pt, checkpoint.pt, history and settings."
    add("--out", required=True, metavar="DIR", help=out)
    resume = "Resume from DIR/checkpoint.pt, for more epochs if --epochs is larger than it was; if there is"
    resume += " none, start from the beginning."
    add("--resume", action="store_true", help=resume)


def _add_evaluate(add_parser: AddParser) -> None:
    command = _command(
        add_parser,
        "evaluate",
        "score a trained network",
        "Score a trained network on whole images, next to a model that predicts background everywhere.",
        f"  {PROGRAM} evaluate --checkpoint runs/first/model.pt --data emojivoc --json scores.json",
    )
    add = command.add_argument
    _add_checkpoint(add)
    add("--data", required=True, metavar="DATA", help=DATA)
    _add_classes(add)
    split = f"The list in the folder's ImageSets/Segmentation to score. {DEFAULT}"
    add("--split", default="val", metavar="NAME", help=split)
    add("--json", metavar="FILE", help="Write the scores, and what they were measured on, to this file.")
    _add_tiles(add)
    _add_check(command.add_mutually_exclusive_group().add_argument)
    _add_workers(add)
    _add_machine(command.add_argument_group("machine").add_argument)


def _add_predict(add_parser: AddParser) -> None:
    command = _command(
        add_parser,
        "predict",
        "find the classes in your own images",
        "Write for each image NAME.png, a mask of class indices in the classes' colours, and\n"
        "NAME_overlay.jpg, the colours over the image; and legend.png, the classes that were found.\n\n"
        f"{PHOTOS}",
        f"  {PROGRAM} predict --checkpoint photos photo.jpg holiday/\n"
        f"  {PROGRAM} predict --checkpoint runs/first/model.pt photo.jpg --out elsewhere",
    )
    add = command.add_argument
    _add_checkpoint(add)
    add("images", nargs="+", metavar="IMAGE", help="Image files, or folders: all images directly inside.")
    out = f"The folder for the results; those of an earlier run are replaced. {DEFAULT}"
    add("--out", default="predictions", metavar="DIR", help=out)
    _add_tiles(add)
    batch = f"How many tiles to compute at once; more is faster on a GPU. {DEFAULT}"
    add("--batch", type=whole(1), default=1, metavar="N", help=batch)
    window = f"How to join tiles: by a plain mean, or fading towards each tile's edge. {DEFAULT}"
    add("--window", choices=WINDOWS, default="flat", help=window)
    _add_machine(command.add_argument_group("machine").add_argument)


def _add_export(add_parser: AddParser) -> None:
    command = _command(
        add_parser,
        "export",
        "write a network as an ONNX file",
        "Write a network as an ONNX file that takes uint8 RGB images (N, 3, H, W) of any size, and compare\n"
        "it with PyTorch at three sizes before it is put in place. It needs three packages:\n"
        "pip install onnx onnxscript onnxruntime.",
        f"  {PROGRAM} export --checkpoint runs/first/best.pt --out model.onnx",
    )
    add = command.add_argument
    _add_checkpoint(add)
    add("--out", required=True, metavar="FILE", help="The file to write; an older one is replaced.")
    output = "Whether it gives the best class of each pixel, uint8 (N, H, W), or float32 logits (N, C, H, W)."
    add("--output", choices=OUTPUTS, default="classes", help=f"{output} {DEFAULT}")


def _add_doctor(add_parser: AddParser) -> None:
    command = _command(
        add_parser,
        "doctor",
        "find what is wrong with a dataset",
        "Read everything on the lists train and val of a folder in VOC layout. Print each fault and\n"
        "warning on one line, with what to do, and then what the dataset contains. If there is a fault,\n"
        "the exit status is 1.",
        f"  {PROGRAM} doctor datasets/cups --classes cups.txt",
    )
    folder = "The folder with JPEGImages, SegmentationClass and ImageSets."
    command.add_argument("folder", metavar="DIR", help=folder)
    _add_classes(command.add_argument)


# --- data ---------------------------------------------------------------------------------------------------


def _add_data(add_parser: AddParser) -> None:
    """Add ``data``, which has commands of its own, each a function in the module `data`."""
    summary = "get a dataset, or make one from your own images"
    command = add_parser("data", help=summary, description=f"{summary.capitalize()}.", allow_abbrev=False)
    jobs = command.add_subparsers(dest="job", metavar="JOB", required=True)
    for add in (_add_voc2012, _add_import, _add_labelme, _add_masks):
        add(jobs.add_parser)


def _add_voc2012(add_parser: AddParser) -> None:
    command = _command(
        add_parser,
        "voc2012",
        "download Pascal VOC 2012 and unpack its segmentation part",
        "Download Pascal VOC 2012 (2 GB), check it, and unpack the 2,913 photographs that have masks.\n"
        "If it was stopped, the same command resumes; once everything is there, it does nothing.",
        f"  {PROGRAM} data voc2012\n"
        "  and with a file that was downloaded by hand\n"
        f"  {PROGRAM} data voc2012 --from ~/Downloads/VOCtrainval_11-May-2012.tar",
    )
    add = command.add_argument
    out = "The folder for VOCdevkit. (default: D2LSEG_DATA, or data/ in a checkout)"
    add("--out", metavar="DIR", help=out)
    source = "Unpack this copy of the archive instead of downloading it; it is left unchanged."
    add("--from", dest="source", metavar="FILE", help=source)
    mirrors = "Addresses of the archive to try first; the environment variable D2LSEG_VOC_MIRRORS adds more."
    add("--mirror", dest="mirrors", action="extend", nargs="+", metavar="URL", help=mirrors)


def _add_import(add_parser: AddParser) -> None:
    command = _command(
        add_parser,
        "import",
        "make a dataset from what another tool has exported",
        "Put the images and labels of another tool into a new folder in VOC layout. Recognised are LabelMe\n"
        "and X-AnyLabeling, COCO's JSON files, CVAT's segmentation mask 1.1, and images and masks in pairs:\n"
        "two folders, side by side, or with a suffix such as _mask. Lists train, val and test are kept.",
        f"  {PROGRAM} data import export/ --out data/mine\n"
        "  and, if the masks have 255 for class 1\n"
        f"  {PROGRAM} data import export/ --out data/mine --map 0:0 255:1",
    )
    source = "The folder, or one JSON file of COCO or LabelMe."
    command.add_argument("source", metavar="SOURCE", help=source)
    form = "What it is. (default: found out, and printed)"
    command.add_argument("--form", choices=FORMS, help=form)
    masks = "The folder of the masks, if it is elsewhere; it counts from here, not from SOURCE."
    command.add_argument("--masks", metavar="DIR", help=masks)
    _add_masks_options(command.add_argument)
    _add_line_width(command.add_argument)
    _add_own(command.add_argument)


def _add_labelme(add_parser: AddParser) -> None:
    command = _command(
        add_parser,
        "labelme",
        "data import for images labelled with LabelMe",
        "Draw the shapes in a folder's LabelMe files (*.json) as masks, and put them and the images into\n"
        "a new folder in VOC layout. Later shapes cover earlier ones; void, ignore and __ignore__ are not\n"
        "scored.",
        f"  {PROGRAM} data labelme photos/ --out data/mine",
    )
    command.add_argument("source", metavar="FOLDER", help="The folder of JSON files, one per image.")
    command.set_defaults(form="labelme", masks=None, suffix=None, map=None)
    _add_line_width(command.add_argument)
    _add_own(command.add_argument)


def _add_masks(add_parser: AddParser) -> None:
    command = _command(
        add_parser,
        "masks",
        "data import for a folder of images and one of masks",
        "Put images and their masks into a new folder in VOC layout. A mask has the name of its image\n"
        "and contains class numbers, 0 for the first class and 255 for void, or the classes' colours.",
        f"  {PROGRAM} data masks photos/ masks/ --classes classes.txt --out data/mine\n"
        "  and, if the masks have 7 for class 1, and 9 for what should be void\n"
        f"  {PROGRAM} data masks photos/ masks/ --classes classes.txt --out data/mine --map 0:0 7:1 9:255",
    )
    add = command.add_argument
    add("source", metavar="IMAGES", help="The folder of the images.")
    add("masks", metavar="MASKS", help="The folder of the masks.")
    command.set_defaults(form="pairs", line_width=None)
    _add_masks_options(add)
    _add_own(add)


def _add_line_width(add: Add) -> None:
    """Add how to draw what has no area."""
    width = "Draw lines and points this many pixels wide. (default: stop at them)"
    add("--line-width", type=whole(1), metavar="N", help=width)


def _add_masks_options(add: Add) -> None:
    """Add how masks are named, and what their values mean."""
    suffix = "What a mask's name has behind its image's. (default: found out)"
    add("--suffix", metavar="TEXT", help=suffix)
    mapping = "The class number for each value in the masks. (default: the value itself)"
    add("--map", type=old_to_new, nargs="+", metavar="OLD:NEW", help=mapping)


def _add_own(add: Add) -> None:
    """Add the classes of a new dataset, where to put it, and how to split it."""
    default = "(default: the list beside the data, else the labels that occur)"
    add("--classes", metavar="FILE", help=f"{CLASSES} LabelMe's, CVAT's and CSV tables too. {default}")
    add("--out", required=True, metavar="DIR", help="The folder to make; it must not exist yet.")
    val_share = f"The share of the images for validation, chosen at random. {DEFAULT}"
    add("--val-share", type=share, default=0.2, metavar="SHARE", help=val_share)
    _add_seed(add, "Of that choice: the same seed gives the same lists.")
    add("--skip-bad", action="store_true", help="Leave out files that cannot be used, and list them.")
