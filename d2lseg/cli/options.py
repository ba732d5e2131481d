"""What each command takes. Nothing heavy is imported here, so that ``--help`` is quick.

A further command needs a function here that adds its parser, its name in `make_parser`, and a room of that
name with a function ``run``.
"""

from __future__ import annotations

import argparse

from .readers import not_negative, old_to_new, positive, share, whole

PROGRAM = "python -m d2lseg"

# as in fcn, backbones, training and prediction, which are too heavy to be asked; a test holds them together
VARIANTS = ("32s", "16s", "8s")
BACKBONES = ("resnet18", "resnet50", "vgg16")
UPSAMPLINGS = ("bilinear", "learned", "random")
GEOMETRIES = ("textbook", "corrected")
SCHEDULES = ("one_cycle", "poly")
PRECISIONS = ("bf16", "fp16", "float32")
WINDOWS = ("flat", "smooth")

DATA_HELP = (
    "The pictures: emojivoc (drawn on this machine), voc2012 (2 GB, downloaded once) or a folder in VOC "
    "layout."
)


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of all commands.

    Returns
    -------
    argparse.ArgumentParser
        It gives the options, and as ``command`` the name of the room that runs them.
    """
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Train fully convolutional networks, score them, and use them.",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for add in (_add_train, _add_evaluate, _add_predict, _add_doctor, _add_data_jobs):
        add(commands)
    return parser


def _new_command(
    commands: argparse._SubParsersAction, name: str, summary: str, description: str, example: str
) -> argparse.ArgumentParser:
    """Add a command's parser, with what all commands take."""
    command = commands.add_parser(
        name,
        help=summary,
        description=description,
        epilog=f"example:\n{example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    command.add_argument(
        "--traceback", action="store_true", help="After an error, show where in the code it came from."
    )
    return command


def _add_train(commands: argparse._SubParsersAction) -> None:
    """Add ``train``."""
    command = _new_command(
        commands,
        "train",
        "train a network",
        "Train a network and write it, its scores and what is needed to go on into a folder.\n"
        f"On several GPUs: torchrun --nproc-per-node=4 {PROGRAM.removeprefix('python ')} train ...",
        f"  {PROGRAM} train --data emojivoc --variant 8s --epochs 7 --out runs/first\n"
        "  and, if it was interrupted, the same with --resume",
    )
    _add_data(command.add_argument_group("data"))
    _add_model(command.add_argument_group("model"))
    _add_training(command.add_argument_group("training"))
    _add_machine(command)


def _add_data(group: argparse._ArgumentGroup) -> None:
    """Add the options on what a training reads."""
    add = group.add_argument
    add("--data", default="emojivoc", metavar="DATA", help=f"{DATA_HELP} (default: %(default)s)")
    _add_classes(group)
    add(
        "--batch",
        type=whole(1),
        default=8,
        metavar="N",
        help="How many pictures a step takes, in each process. (default: %(default)s)",
    )
    add(
        "--crop",
        type=whole(1),
        nargs=2,
        metavar=("HEIGHT", "WIDTH"),
        help="The size in pixels that is cut out of each picture at random. "
        "(default: 160 224 for emojivoc, else 320 480)",
    )
    add(
        "--scale",
        type=positive,
        nargs=2,
        metavar=("LOW", "HIGH"),
        help="Before the crop, resize each picture by a random factor between these. (default: not at all)",
    )
    _add_workers(group)
    add("--cache", action="store_true", help="Keep all pictures in memory once they have been read.")
    _add_check(group)


def _add_classes(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--classes",
        metavar="FILE",
        help="A text file with one class name a line, background first. "
        "(default: classes.txt in the folder of the data, else VOC's 21 classes)",
    )


def _add_check(group: argparse._ArgumentGroup) -> None:
    """Add the options on pictures that cannot be read."""
    add = group.add_mutually_exclusive_group().add_argument
    add(
        "--skip-bad",
        action="store_true",
        help="Leave out pictures that cannot be read, and name them at the end. (default: stop)",
    )
    add(
        "--no-check",
        action="store_true",
        help="Do not read every picture before the work begins; a bad one then stops it in the middle.",
    )


def _add_workers(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--workers",
        type=whole(0),
        metavar="N",
        help="How many processes read pictures ahead. (default: 0, and up to 4 on Linux with a GPU)",
    )


def _add_model(group: argparse._ArgumentGroup) -> None:
    """Add the options on what is trained."""
    add = group.add_argument
    add(
        "--variant",
        choices=VARIANTS,
        default="32s",
        help="The stride of the finest map that is scored: 8s draws finer outlines. (default: %(default)s)",
    )
    add(
        "--backbone",
        choices=BACKBONES,
        default="resnet18",
        help="The classifier that the network is built on. (default: %(default)s)",
    )
    add(
        "--weights",
        metavar="imagenet|FILE",
        help="Start the backbone with weights from ImageNet (downloaded once), or from a file of "
        "torchvision's. (default: random weights)",
    )
    add(
        "--upsampling",
        choices=UPSAMPLINGS,
        default="bilinear",
        help="How scores are enlarged: fixed, learned from a bilinear start, or learned from a random "
        "start. (default: %(default)s)",
    )
    add(
        "--geometry",
        choices=GEOMETRIES,
        default="textbook",
        help="Paint each cell around its block of pixels, or where it really looks. (default: %(default)s)",
    )


def _add_training(group: argparse._ArgumentGroup) -> None:
    """Add the options on how long, how, and where to."""
    add = group.add_argument
    length = group.add_mutually_exclusive_group(required=True)
    length.add_argument(
        "--epochs",
        type=positive,
        metavar="N",
        help="Train for so many passes over the pictures; 0.5 is half a pass.",
    )
    length.add_argument(
        "--minutes",
        type=positive,
        metavar="M",
        help="Train for so many minutes instead, the scoring after each epoch not counted.",
    )
    add(
        "--lr",
        type=positive,
        default=2e-3,
        metavar="RATE",
        help="The highest learning rate; with weights from ImageNet 2e-4 is a place to start. "
        "(default: %(default)s)",
    )
    add(
        "--weight-decay",
        type=not_negative,
        default=1e-2,
        metavar="RATE",
        help="How strongly AdamW pulls the weights to zero. (default: %(default)s)",
    )
    add(
        "--schedule",
        choices=SCHEDULES,
        default="one_cycle",
        help="How the learning rate moves: up and down, or only down. (default: %(default)s)",
    )
    add(
        "--seed",
        type=whole(0),
        default=0,
        metavar="S",
        help="Where all chance comes from: the same seed gives the same weights. (default: %(default)s)",
    )
    add(
        "--sync-batch-norm",
        action="store_true",
        help="On several GPUs, let batch normalisation see the pictures of all at once.",
    )
    add(
        "--out",
        required=True,
        metavar="DIR",
        help="The folder for model.pt, checkpoint.pt, history and settings.",
    )
    add(
        "--resume",
        action="store_true",
        help="Go on from DIR/checkpoint.pt, or start anew where there is none.",
    )


def _add_machine(command: argparse.ArgumentParser) -> None:
    """Add the options on what computes."""
    add = command.add_argument_group("machine").add_argument
    add(
        "--device",
        metavar="NAME",
        help="Where to compute: cpu, cuda, cuda:1 (the second GPU) or mps. (default: a GPU if there is one)",
    )
    add(
        "--precision",
        choices=PRECISIONS,
        help="The number format of convolutions. (default: the fastest that the device has)",
    )
    add(
        "--threads",
        type=whole(1),
        metavar="N",
        help="How many CPU threads to compute with. (default: as many as there are cores, under torchrun 1)",
    )


def _add_evaluate(commands: argparse._SubParsersAction) -> None:
    """Add ``evaluate``."""
    command = _new_command(
        commands,
        "evaluate",
        "score a trained network",
        "Score a trained network on whole pictures, beside a model that says background everywhere.",
        f"  {PROGRAM} evaluate --checkpoint runs/first/model.pt --data emojivoc --json scores.json",
    )
    add = command.add_argument
    _add_checkpoint(command)
    add("--data", required=True, metavar="DATA", help=DATA_HELP)
    _add_classes(command)
    add(
        "--split",
        default="val",
        metavar="NAME",
        help="Which list in the folder's ImageSets/Segmentation to score. (default: %(default)s)",
    )
    add("--json", metavar="FILE", help="Write the scores, and what they were measured on, into this file.")
    _add_check(command)
    _add_workers(command)
    _add_machine(command)


def _add_checkpoint(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--checkpoint", required=True, metavar="FILE", help="The network: a model.pt that train has written."
    )


def _add_predict(commands: argparse._SubParsersAction) -> None:
    """Add ``predict``."""
    command = _new_command(
        commands,
        "predict",
        "find the classes in pictures of one's own",
        "Write for each picture NAME.png, a mask of class indices in the classes' colours, and\n"
        "NAME_overlay.jpg, the colours over the picture; and legend.png, the classes that were found.",
        f"  {PROGRAM} predict --checkpoint runs/first/model.pt photo.jpg holiday/ --out predictions",
    )
    add = command.add_argument
    _add_checkpoint(command)
    add(
        "pictures",
        nargs="+",
        metavar="PICTURE",
        help="Photos, or folders: of a folder all pictures that lie directly in it.",
    )
    add(
        "--out",
        required=True,
        metavar="DIR",
        help="The folder for the results; those of an earlier run are replaced.",
    )
    add(
        "--tile",
        type=whole(1),
        nargs=2,
        default=(768, 768),
        metavar=("HEIGHT", "WIDTH"),
        help="Larger pictures are cut into tiles of this size in pixels. (default: 768 768)",
    )
    add(
        "--overlap",
        type=whole(0),
        default=128,
        metavar="N",
        help="How many pixels neighbouring tiles share. (default: %(default)s)",
    )
    add(
        "--batch",
        type=whole(1),
        default=1,
        metavar="N",
        help="How many tiles are computed at once; more is faster on a GPU. (default: %(default)s)",
    )
    add(
        "--window",
        choices=WINDOWS,
        default="flat",
        help="How tiles are joined: by a plain mean, or fading to each tile's edge. (default: %(default)s)",
    )
    _add_machine(command)


def _add_doctor(commands: argparse._SubParsersAction) -> None:
    """Add ``doctor``."""
    command = _new_command(
        commands,
        "doctor",
        "find what is wrong with a dataset",
        "Read all that the lists train and val of a folder in VOC layout name. Print every fault and every\n"
        "warning in a line, with what to do, and then what the dataset holds. After a fault the exit\n"
        "status is 1.",
        f"  {PROGRAM} doctor datasets/cups --classes cups.txt",
    )
    command.add_argument(
        "folder", metavar="DIR", help="The folder: JPEGImages, SegmentationClass, ImageSets."
    )
    _add_classes(command)


def _add_data_jobs(commands: argparse._SubParsersAction) -> None:
    """Add ``data``, which has commands of its own; each is a function in the room `data`."""
    command = commands.add_parser(
        "data",
        help="get a data set, or make one of your own pictures",
        description="Get a data set, or make one of your own pictures.",
        allow_abbrev=False,
    )
    jobs = command.add_subparsers(dest="job", metavar="JOB", required=True)
    for add in (_add_voc2012, _add_labelme, _add_masks):
        add(jobs)


def _add_voc2012(jobs: argparse._SubParsersAction) -> None:
    """Add ``data voc2012``."""
    command = _new_command(
        jobs,
        "voc2012",
        "download Pascal VOC 2012 and unpack its segmentation part",
        "Download Pascal VOC 2012 (2 GB), check it, and unpack the 2,913 photographs that have masks.\n"
        "The same command goes on where it was stopped, and does nothing once all is there.",
        f"  {PROGRAM} data voc2012\n"
        "  and with a file that was downloaded by hand\n"
        f"  {PROGRAM} data voc2012 --from ~/Downloads/VOCtrainval_11-May-2012.tar",
    )
    add = command.add_argument
    add(
        "--out",
        metavar="DIR",
        help="The folder that VOCdevkit goes into. (default: D2LSEG_DATA, or data/ in a checkout)",
    )
    add(
        "--from",
        dest="source",
        metavar="FILE",
        help="Take this copy of the archive instead of downloading it; it stays as it is.",
    )
    add(
        "--mirror",
        dest="mirrors",
        action="extend",
        nargs="+",
        metavar="URL",
        help="Addresses of the archive to try first; D2LSEG_VOC_MIRRORS in the environment names more.",
    )


def _add_labelme(jobs: argparse._SubParsersAction) -> None:
    """Add ``data labelme``."""
    command = _new_command(
        jobs,
        "labelme",
        "make a data set of pictures that were labelled with LabelMe",
        "Draw the shapes in a folder's LabelMe files (*.json) as masks, and put them and the pictures into\n"
        "a new folder in VOC layout. Later shapes lie over earlier ones; void and __ignore__ count nothing.",
        f"  {PROGRAM} data labelme photos/ --out data/mine",
    )
    command.add_argument("folder", metavar="FOLDER", help="Where the JSON files are, one for each picture.")
    _add_own(command, "(default: the labels that occur, in alphabetical order)")


def _add_masks(jobs: argparse._SubParsersAction) -> None:
    """Add ``data masks``."""
    command = _new_command(
        jobs,
        "masks",
        "make a data set of pictures and masks of class numbers",
        "Put pictures and their masks into a new folder in VOC layout. A mask has the name of its picture\n"
        "and holds class numbers, 0 for the first class and 255 for void.",
        f"  {PROGRAM} data masks photos/ masks/ --classes classes.txt --out data/mine\n"
        "  and, if the masks say 7 for class 1 and 9 is nobody's business\n"
        f"  {PROGRAM} data masks photos/ masks/ --classes classes.txt --out data/mine --map 0:0 7:1 9:255",
    )
    command.add_argument("images", metavar="IMAGES", help="The folder of the pictures, JPEG or PNG.")
    command.add_argument("masks", metavar="MASKS", help="The folder of the masks, greyscale or palette.")
    _add_own(command, required=True)
    command.add_argument(
        "--map",
        type=old_to_new,
        nargs="+",
        metavar="OLD:NEW",
        help="The class number that each value in the masks becomes. (default: its own)",
    )


def _add_own(command: argparse.ArgumentParser, default: str = "", required: bool = False) -> None:
    """Add what both makers of data sets take."""
    add = command.add_argument
    add("--out", required=True, metavar="DIR", help="The folder to make; it must not be there yet.")
    classes = "A text file with one class name a line, background first."
    add("--classes", metavar="FILE", required=required, help=f"{classes} {default}".strip())
    add(
        "--val-share",
        type=share,
        default=0.2,
        metavar="SHARE",
        help="Which share of the pictures is for validation, chosen by chance. (default: %(default)s)",
    )
    add(
        "--seed",
        type=whole(0),
        default=0,
        metavar="S",
        help="Of that choice: the same seed gives the same lists. (default: %(default)s)",
    )
