"""Google Drive: a folder."""

from pathlib import Path


def mount(mountpoint):
    """Make the reader's Drive appear at a place."""
    (Path(mountpoint) / "MyDrive").mkdir(parents=True)
    print(f"Mounted at {mountpoint}")
