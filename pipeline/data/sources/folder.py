"""A folder with a file a part."""

from __future__ import annotations

from pathlib import Path

from pipeline.config import SplitConfig
from pipeline.data.reading.tables import FORMATS, is_table_file
from pipeline.data.source import PART_NAMES, Source, SourceKind, file_address, opening
from pipeline.data.sources.file import check_parts, read_parts
from pipeline.errors import DataError, shorten


class Folder(SourceKind):
    """A folder with a file a part, in GLUE's layout or another."""

    priority = 25

    def claims(self, dataset: str, config: SplitConfig) -> bool:
        """Any folder."""
        with opening(dataset):
            return Path(dataset).expanduser().is_dir()

    def find(self, dataset: str, config: SplitConfig) -> Source:
        """The folder's files."""
        with opening(dataset):
            return _parts_of(Path(dataset).expanduser(), config)


def _parts_of(path: Path, config: SplitConfig) -> Source:
    files, messages = find_parts(path)
    if "train" not in files and not messages:
        messages.append(
            f"--dataset {path}: the folder holds no train.tsv, nor train.csv or the like. GLUE's layout is train.tsv, dev.tsv, "
            f"test.tsv; other endings are {', '.join(ending for ending in FORMATS if ending != '.tsv')}. "
            f"Or name the files: --train-file, --validation-file, --test-file.{_hint_at_folder(path)}"
        )
    if messages:
        raise DataError(*messages)
    options = {part: f"--dataset {file}" for part, file in files.items()}
    sha256 = check_parts(files, options, config)
    return Source(path.resolve().name, file_address(path), sha256, lambda: read_parts(files, options, config, may_lack=True))


def find_parts(path: Path) -> tuple[dict[str, Path], list[str]]:
    """Part -> file of a folder, by the files' names; and what is wrong with them, as sentences."""
    files: dict[str, Path] = {}
    messages: list[str] = []
    entries = [entry for entry in sorted(path.iterdir()) if entry.is_file() and is_table_file(entry)]
    for part, stems in PART_NAMES.items():
        matches = [entry for entry in entries if entry.name.lower().split(".")[0] in stems]
        if len(matches) > 1:
            names = ", ".join(entry.name for entry in matches)
            messages.append(f"--dataset {path}: holds {len(matches)} files for the {part} part: {names}. Keep one.")
        elif matches:
            files[part] = matches[0]
    return files, messages


def _hint_at_folder(path: Path) -> str:
    """Where the parts lie, if one folder further down."""
    stems = PART_NAMES["train"]
    train = next((file for file in sorted(path.glob("*/*")) if is_table_file(file) and file.name.split(".")[0] in stems), None)
    return (
        f" There is {shorten(str(train.relative_to(path)))}: is --dataset {shorten(str(train.parent))} meant?" if train else ""
    )
