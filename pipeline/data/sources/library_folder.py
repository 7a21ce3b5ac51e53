"""Folders that are for the library datasets: saved by it, or laid out as on the hub."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pipeline.config import SplitConfig
from pipeline.data.reading.files import LFS
from pipeline.data.reading.tables import is_table_file
from pipeline.data.source import Source, SourceKind, file_address, opening, refuse_file_options
from pipeline.data.sources.folder import find_parts
from pipeline.data.sources.hub import check_one_configuration, read_library
from pipeline.errors import DataError
from pipeline.hashing import digest, hash_file

_SHARD = re.compile(r"-\d{5}-of-\d{5}(?:-[0-9a-f]+)?\.")


class LibraryFolder(SourceKind):
    """A folder that `save_to_disk` wrote, or a clone of a data set of the hub."""

    priority = 20

    def claims(self, dataset: str, config: SplitConfig) -> bool:
        """A folder with that library's own files, or one without a training file that is laid out as on the hub."""
        with opening(dataset):
            path = Path(dataset).expanduser()
            return path.is_dir() and (_is_saved(path) or _is_cloned(path))

    def find(self, dataset: str, config: SplitConfig) -> Source:
        """The folder, of one of both kinds."""
        with opening(dataset):
            path = Path(dataset).expanduser()
            return (_saved if _is_saved(path) else _cloned)(path, config)


def _is_saved(path: Path) -> bool:
    return any((path / name).is_file() for name in ("dataset_dict.json", "state.json"))


def _saved(path: Path, config: SplitConfig) -> Source:
    """A folder that `save_to_disk` of the library datasets wrote."""

    def load() -> Any:
        import datasets

        loaded = datasets.load_from_disk(str(path))
        return loaded if isinstance(loaded, Mapping) else {"all": loaded}

    return _folder(path, config, load, "Save it again with save_to_disk.")


def _is_cloned(path: Path) -> bool:
    """Whether a folder is laid out as on the hub: by its card, or with files such as `data/train-00000-of-00001.parquet`.

    One with a training file right in it is not.
    """
    files, messages = find_parts(path)
    if "train" in files or messages:
        return False
    return any(_SHARD.search(file.name) for file in _data_files(path)) or _card_names_data(path)


def _cloned(path: Path, config: SplitConfig) -> Source:
    """A data set of the hub in a folder of this machine, as `git clone` or a download leaves it.

    Raises:
        DataError: The clone holds pointers of Git LFS in place of the data.
    """
    for file in _data_files(path):
        with file.open("rb") as opened:
            if opened.read(len(LFS)) == LFS:
                raise DataError(
                    f"--dataset {path}: {file.relative_to(path)} is a pointer of Git LFS, not the data. Run `git lfs pull` "
                    "in the folder, or download the data set anew."
                )

    def load() -> Any:
        import datasets

        if config.dataset_config_name is None:
            check_one_configuration(str(path), str(path))
        return datasets.load_dataset(str(path), config.dataset_config_name)

    return _folder(path, config, load, "Check --dataset-config-name.")


def _folder(path: Path, config: SplitConfig, load: Callable[[], Any], way_out: str) -> Source:
    refuse_file_options(config, str(path))
    files = [file for file in sorted(path.rglob("*")) if file.is_file() and ".git" not in file.relative_to(path).parts]
    hashes = {str(file.relative_to(path)): hash_file(file) for file in files}
    # Older versions read parts that name their classes differently: what they prepared is not found under this.
    agreed = {"class names": "of all parts alike"} if "dataset_dict.json" in hashes else {}
    return Source(
        path.resolve().name,
        file_address(path),
        digest(hashes | agreed),
        lambda: read_library(load, str(path), path, config, way_out),
    )


def _data_files(path: Path) -> list[Path]:
    """Files of data in a folder and in the folders right in it."""
    entries = [*path.glob("*"), *path.glob("[!.]*/*")]
    return sorted(file for file in entries if file.is_file() and is_table_file(file))


def _card_names_data(path: Path) -> bool:
    """Whether the front matter of a README names data files."""
    card = path / "README.md"
    if not card.is_file():
        return False
    start = card.read_text(encoding="utf-8", errors="replace")
    return bool(re.match(r"---\n(?:.*\n)*?(?:configs|data_files):", start.partition("\n---")[0] + "\n"))
