"""A file for each part, each named by an option."""

from __future__ import annotations

from pathlib import Path

from pipeline.config import SplitConfig
from pipeline.data.source import Source, SourceKind, file_address, why_not_opened
from pipeline.data.sources.file import check_parts, read_parts
from pipeline.errors import DataError, shorten


class PartFiles(SourceKind):
    """What `--train-file`, `--validation-file` and `--test-file` name."""

    priority = 0

    def claims(self, dataset: str, config: SplitConfig) -> bool:
        """Whatever `--dataset` says, where one of them is given."""
        return bool(config.train_file or config.validation_file or config.test_file)

    def find(self, dataset: str, config: SplitConfig) -> Source:
        """A file for each of train, validation and test, each named by an option."""
        given = {"train": config.train_file, "validation": config.validation_file, "test": config.test_file}
        named = {part: name for part, name in given.items() if name}
        options = {part: f"--{part}-file {shorten(name)}" for part, name in named.items()}
        messages: list[str] = []
        if "train" not in named:
            messages.append(
                f"{', '.join(options.values())}: needs --train-file as well: nothing is trained on the other parts."
            )
        elif dataset not in ("", named["train"]):
            messages.append(f"--dataset {shorten(dataset)} and {options['train']}: which of them? Give one.")
        files: dict[str, Path] = {}
        for part, name in named.items():
            try:
                file = Path(name).expanduser()
                if file.is_file():
                    files[part] = file
                else:
                    messages.append(f"{options[part]}: no such file. Relative paths start at {Path.cwd()}.")
            except (OSError, RuntimeError, ValueError) as error:
                messages.append(f"{options[part]}: cannot be opened: {why_not_opened(error)}. Give the path of a file.")
        if len({file.resolve() for file in files.values()}) < len(files):  # however they were typed
            messages.append(
                f"{', '.join(options.values())}: the same file twice. A model cannot be tested on what it was trained on."
            )
        if messages:
            raise DataError(*messages)
        sha256 = check_parts(files, options, config)
        path = files["train"]
        return Source(
            path.name,
            file_address(path),
            sha256,
            lambda: read_parts(files, options, config, may_lack=False),
            options["train"],
        )
