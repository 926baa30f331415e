"""Data module for data sets in the format of Hugging Face ``datasets``, common to all tasks."""

import logging
from abc import abstractmethod
from typing import Any, ClassVar, Literal

import datasets
import numpy as np
from datasets.distributed import split_dataset_by_node
from lightning.pytorch import LightningDataModule
from sklearn.model_selection import train_test_split

from biformer_lit.common.seeding import base_seed, derive_seed
from biformer_lit.data.checks import check_loading, require
from biformer_lit.data.columns import columns_of, find_image_column, keep_columns
from biformer_lit.data.folder import ClassFolder, Files, FolderReport
from biformer_lit.data.identity import Identity, find_identity
from biformer_lit.data.images.rendering import Rendering
from biformer_lit.data.labels import Integers
from biformer_lit.data.loaders import (
    LAST,
    Collate,
    Loader,
    StreamLoader,
    TrainLoader,
    end_epoch,
    follow_epochs,
    is_searching,
    loader_options,
    training_position,
)
from biformer_lit.data.loading import find_split, load_splits, split_to_predict
from biformer_lit.data.named_sets import DIGITS, SETS
from biformer_lit.data.own_transforms import require_transforms
from biformer_lit.data.preprocessing import PreparedImages
from biformer_lit.data.samples import PARTS, Part, Read, RowDataset, RowStream, Skipped, Source
from biformer_lit.data.sampling import EvalSampler, TrainSampler
from biformer_lit.data.streams import Shards, find_shards, number_rows
from biformer_lit.data.telling import ToldData
from biformer_lit.errors import ConfigError, DataError
from biformer_lit.kinds import follow_old_name
from biformer_lit.seams.lightning_seams import batches_taken

_log = logging.getLogger(__name__)


class HFDataModule(PreparedImages, ToldData, LightningDataModule):
    """Opens the data set, divides it, and makes loaders whose batches depend on the position only.

    A task's data module implements ``find_targets`` and ``reader``, and may override ``check``, ``divide``,
    ``collate`` and ``load``. Batches are dictionaries; ``index`` is the row number in the stored split. In evaluation
    they also have ``file`` and ``image_id``, a list each, where the data set tells the images' files or has a column
    with its own numbers for them.

    Args:
        dataset: ``digits`` or ``digit_scenes`` (embedded, no download), a local folder (Parquet files, images
            in class folders, or the output of ``save_to_disk``), or the id of a data set on the Hugging Face
            hub. What exists on disk never causes a look-up on the hub.
        config_name: Configuration of the data set, where it has several.
        revision: Branch, tag or commit of a data set on the hub.
        train_split: Name of the split to train on.
        val_split: Name of the split to validate on. By default the one with a usual name (validation, val,
            valid, dev, eval), and if there is none a part of the training split.
        test_split: Name of the split to test on, by default ``test``.
        predict_split: Name of the split to predict. By default the only split there is, all of it; else the split to
            test on, else the one to validate on. It is never the part that is cut from the training split.
        val_fraction: Share of the training split that becomes the validation split if there is none.
        split_seed: Seed of that division; it is independent of ``seed_everything``.
        streaming: Read the rows as a stream, for sets that do not fit on the disk. The validation split
            must exist, and the training loader has no length: set ``trainer.max_steps`` or
            ``trainer.limit_train_batches``.
        shuffle_buffer: Rows held in memory to shuffle a stream.
        batch_size: Training images per step and process.
        eval_batch_size: Images per step and process in validation, test and prediction; by default
            ``batch_size``.
        num_workers: Processes that load data, for each training process; 0 loads in the training process.
            By default one less than the CPUs that each training process may use, at most 8.
        image_column: Column with the images, if it cannot be guessed.
        value_range: The stored values that become black and white, [0, 4095] for 12 bits; what lies beyond does too. By
            default 0..65535 for 16-bit integers, unless nearly black; fractions and signed numbers need it.
        bands: Which bands of the images, counted from 1, become red, green and blue, or the one that becomes grey;
            needed where images have other bands than these and alpha.
        on_bad_image: Whether an image that cannot be read ends the run or is skipped. In training the next
            row stands in for it, so that batches keep their size; in evaluation the batch is smaller.
            Skipped rows are logged and listed in ``skipped``.
        files_root: A folder whose files may be read besides those inside a local ``dataset``, if its links or rows name
            them.
        unlabelled: Take the images as unlabelled whatever the data says, for ``predict``: a folder whose sub-folders
            are no classes of the network, for instance.
        transforms: Names of transforms of your own (``register_transform``, in a plug-in), applied in this order to
            training images after the augmentation and before the normalisation.

    Raises:
        ConfigError: If an argument is out of its range.
    """

    _no_classes: str | None = None  # why there are none
    kind: ClassVar[str | None] = None  # of task that its batches are for, see biformer_lit.kinds; None for any
    class_folder: ClassFolder | None = None

    def __init__(
        self,
        dataset: str = DIGITS,
        config_name: str | None = None,
        revision: str | None = None,
        train_split: str = "train",
        val_split: str | None = None,
        test_split: str | None = None,
        val_fraction: float = 0.1,
        split_seed: int = 0,
        streaming: bool = False,
        shuffle_buffer: int = 10_000,
        batch_size: int = 64,
        eval_batch_size: int | None = None,
        num_workers: int | None = None,
        image_column: str | None = None,
        value_range: tuple[float, float] | None = None,
        bands: tuple[int, ...] | None = None,
        on_bad_image: Literal["error", "skip"] = "error",
        predict_split: str | None = None,
        files_root: str | None = None,
        unlabelled: bool = False,
        transforms: tuple[str, ...] = (),
    ) -> None:
        super().__init__()
        self.dataset, self.config_name, self.revision = dataset, config_name, revision
        self.train_split, self.val_split, self.test_split = train_split, val_split, test_split
        self.val_fraction, self.split_seed = val_fraction, split_seed
        self.streaming, self.shuffle_buffer = streaming, shuffle_buffer
        self.batch_size, self.num_workers = batch_size, num_workers
        self.eval_batch_size = batch_size if eval_batch_size is None else eval_batch_size
        self.image_column, self.on_bad_image = image_column, on_bad_image
        self.value_range, self.bands = value_range, bands
        self.rendering = Rendering(value_range, bands)
        self.predict_split, self.files_root = predict_split, files_root
        self.unlabelled, self.transforms = unlabelled, tuple(transforms)
        require_transforms(self.transforms)
        if unlabelled:
            self._no_classes = "data.init_args.unlabelled: true, so nothing can be learnt or measured; use predict"
        check_loading(self, named=self.dataset in SETS)
        self.repeats = 1
        self.skipped: dict[str, Skipped] = {}
        self.folder: FolderReport | None = None
        self._files: Files | None = None
        self._tables: dict[str, Any] = {}
        self._shards: dict[str, Shards] = {}
        self.identity: Identity | None = None
        self._features: dict[str, datasets.Features | None] = {}
        self._sources: dict[Part, Source] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        follow_old_name(cls, "targets")

    def adopt_preprocessing(self) -> None:
        """Use what ``value_range`` and ``bands`` are now; see ``PreparedImages``."""
        self.rendering = Rendering(self.value_range, self.bands)

    @abstractmethod
    def find_targets(self, features: datasets.Features, table: Any, split: str) -> list[str]:
        """Find the columns that hold the targets, and learn the classes.

        Args:
            features: Columns of the data set.
            table: The training split, or the first split if there is none.
            split: Name of that split.

        Returns:
            Names of the columns to keep besides the images; a split may lack them.
        """

    @abstractmethod
    def reader(self, image_column: str, part: Part) -> Read:
        """The function that makes a sample of a stored row."""

    def check(self, table: Any, split: str, part: Part) -> None:
        """Refuse rows that cannot be used for ``part``."""

    def allow_fewer_classes(self, allowed: bool) -> None:
        """Take note that data may have fewer classes than is said; see ``NumberedClasses``."""

    def divide(self, split: str) -> tuple[Integers, Integers]:
        """Rows of the training split to train and to validate on; at random here. ``check`` came first."""
        rows = np.arange(len(self._tables[split]))
        second = int(np.ceil(self.val_fraction * len(rows)))
        problem = (
            f"of {len(rows)} rows leaves {len(rows) - second} for training and {second} for validation, but each part "
            "needs one; change it, or set data.init_args.val_split"
        )
        require(0 < second < len(rows), "val_fraction", self.val_fraction, problem)
        train, held_out = train_test_split(rows, test_size=second, random_state=self.split_seed)
        return np.sort(train), np.sort(held_out)

    def collate(self, part: Part) -> Collate:
        """Return the function that makes a batch of samples for ``part``."""
        return Collate()

    def load(self) -> dict[str, Any]:
        """All splits of the data set by name, ``datasets.Dataset`` or ``datasets.IterableDataset``."""
        return load_splits(
            self.dataset,
            self.config_name,
            self.revision,
            self.streaming,
            files_root=self.files_root,
            class_folder=self.class_folder,
        )

    def prepare_data(self) -> None:
        """Download the data set and prepare it on the disk; Lightning calls this once per node."""
        if not self.streaming:
            self.load()

    def setup(self, stage: str | None = None) -> None:
        """Open the data set and check what ``stage`` needs; what is done already is not done again.

        With a trainer the rows are looked at, and what was understood of them is told; see ``overview``.

        Args:
            stage: ``fit``, ``validate``, ``test``, ``predict``, or None for fit.

        Raises:
            DataError: If the data set, or a split, column or label that is needed, is missing or does not
                fit.
            ConfigError: If an argument names something the data set does not have.
        """
        self.allow_fewer_classes(stage not in (None, "fit"))
        if not self._tables:
            self._open()
        for part in PARTS[stage or "fit"]:
            if part not in self._sources:
                self._prepare(part)
        self.tell(stage or "fit")

    def _open(self) -> None:
        splits = self.load()
        if not splits:  # dataset_dict.json may list none
            raise DataError(f"data.init_args.dataset: {self.dataset!r} has no split at all; write it again")
        self._files, self.folder = getattr(splits, "files", None), getattr(splits, "report", None)
        warning = self.folder.warning() if self.folder is not None else None
        if warning and self._process()[0] == 0:
            _log.warning("data set %r: %s", self.dataset, warning)
        # stored rows as they are, however they were to be shown
        splits = {name: table.with_format(None) for name, table in splits.items()}
        first = self.train_split if self.train_split in splits else next(iter(splits))
        self._features = {name: table.features for name, table in splits.items()}
        features = columns_of(splits[first], first)
        self._image_column = find_image_column(features, self.image_column)
        targets = [] if self.unlabelled else self.find_targets(features, splits[first], first)
        self.identity = find_identity(features, splits[first], self._image_column, targets, self.dataset)
        columns = [self._image_column, *targets, *self.identity.columns]
        if self.streaming:
            self._shards = {name: find_shards(stream) for name, stream in splits.items()}
        self._tables = {name: keep_columns(table, columns) for name, table in splits.items()}

    def _prepare(self, part: Part) -> None:
        names = list(self._tables)
        if part == "predict":
            self._add(part, split_to_predict(names, self.predict_split, self.test_split, self.val_split), None)
            return
        validation = find_split("validation", self.val_split, names)
        if part == "train" or (part == "validation" and validation is None):
            find_split("train", self.train_split, names)
            self._prepare_training(self.train_split, validation)
            return
        split = validation if part == "validation" else find_split("test", self.test_split, names)
        if split is None:
            raise DataError(f"data.init_args.test_split: none to test on; there are {', '.join(names)}; name one")
        self._add(part, split, None)

    def _prepare_training(self, split: str, validation: str | None) -> None:
        if validation is not None:
            self._add("train", split, None)
            return
        problem = (
            f"does not do for a stream, which cannot be divided; name a split (there are {', '.join(self._tables)}) "
            "or set data.init_args.streaming: false"
        )
        require(not self.streaming, "val_split", None, problem)
        self._require_rows(split)
        self.check(self._tables[split], split, "train")
        rows, held_out = self.divide(split)
        self._add("train", split, rows)
        self._add("validation", split, held_out)

    def _add(self, part: Part, split: str, rows: Integers | None) -> None:
        table = self._tables[split]
        if self._image_column not in table.column_names:
            raise DataError(f"split {split!r} has no column {self._image_column!r}; set data.init_args.image_column")
        if rows is None:
            self._require_rows(split)
            self.check(table, split, part)
            rows = np.arange(0 if self.streaming else len(table))
        self.skipped.setdefault(split, Skipped(split))
        self._sources[part] = Source(table, split, rows, self.identity, self._files)

    def _require_rows(self, split: str) -> None:
        if not self.streaming and len(self._tables[split]) == 0:
            raise DataError(f"split {split!r} of {self.dataset!r} is empty; add rows or name another split")

    def num_rows(self, part: Part) -> int:
        """Number of rows of ``train``, ``validation``, ``test`` or ``predict``, over all processes.

        Raises:
            ConfigError: If the part is not set up, or is a stream.
        """
        if self.streaming:
            raise ConfigError("data.init_args.streaming: the number of rows of a stream is unknown")
        return len(self._source(part).rows)

    def _source(self, part: Part) -> Source:
        if part not in self._sources:
            raise ConfigError(f"data: the {part} data is not set up; call setup() for its stage first")
        return self._sources[part]

    def _process(self) -> tuple[int, int]:
        trainer = self.trainer
        return (0, 1) if trainer is None else (trainer.global_rank, trainer.world_size)

    def train_dataloader(self) -> TrainLoader:
        """Batches of shuffled, augmented rows, all of ``batch_size``; resumed runs go on where they stopped.

        Each process gets equally many. An epoch of streams ends when the first process has no whole batch left.

        Raises:
            ConfigError: If there are fewer rows than one batch takes.
        """
        if self.streaming:
            return self._stream_loader()
        source, (rank, world_size) = self._source("train"), self._process()
        sampler = TrainSampler(len(source.rows), rank, world_size, base_seed(), self.repeats)
        problem = (
            f"is too many: there are {len(source.rows)} training rows for {world_size} processes; "
            f"set at most {len(sampler)}"
        )
        if is_searching(self.trainer):  # BatchSizeFinder ends where the batch is the whole set
            self.batch_size = min(self.batch_size, len(sampler))
        require(self.batch_size <= len(sampler), "batch_size", self.batch_size, problem)

        def start(epoch: int, batches: int) -> None:
            sampler.start(epoch, batches * self.batch_size)

        start(*training_position(self.trainer))
        dataset = self._rows(source, "train", base_seed())
        loader = TrainLoader(dataset, sampler=sampler, drop_last=True, **self._options("train"))
        follow_epochs(loader, self.trainer, start)
        return loader

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Notice the last batch of a stream; Lightning calls this with each batch that it has taken."""
        if self.trainer is not None and isinstance(batch, dict) and batch.pop(LAST, False):
            end_epoch(self.trainer, batches_taken(self.trainer) + 1)
        return batch

    def val_dataloader(self) -> Loader:
        """Batches of all validation rows, each exactly once over the processes."""
        return self._eval_loader("validation")

    def test_dataloader(self) -> Loader:
        """Batches of all test rows, each exactly once over the processes."""
        return self._eval_loader("test")

    def predict_dataloader(self) -> Loader:
        """Batches of all rows to predict, each exactly once over the processes; a missing label is -1."""
        return self._eval_loader("predict")

    def _eval_loader(self, part: Part) -> Loader:
        if self.streaming:
            return Loader(self._stream(part), **self._options(part))
        source = self._source(part)
        sampler = EvalSampler(len(source.rows), *self._process())
        return Loader(self._rows(source, part, None), sampler=sampler, **self._options(part))

    def _rows(self, source: Source, part: Part, seed: int | None) -> RowDataset:
        read = self.reader(self._image_column, part)
        return RowDataset(source, self.skipped[source.split], read, seed, self.on_bad_image == "skip")

    def _stream(self, part: Part) -> RowStream:
        source, process = self._source(part), self._process()
        stream = number_rows(source.table, self._shards[source.split])
        seed, size = None, self.eval_batch_size
        if part == "train":
            seed, size = base_seed(), self.batch_size
            stream = stream.shuffle(seed=derive_seed(seed, "shuffle"), buffer_size=self.shuffle_buffer)
        source = source._replace(table=split_dataset_by_node(stream, *process))
        read = self.reader(self._image_column, part)
        skip = self.on_bad_image == "skip"
        return RowStream(source, self.skipped[source.split], read, seed, skip, process, size)

    def _stream_loader(self) -> StreamLoader:
        dataset = self._stream("train")
        settings = {"world_size": self._process()[1], "shuffle_buffer": self.shuffle_buffer}
        loader = StreamLoader(dataset, settings, drop_last=True, **self._options("train"))
        dataset.start(*training_position(self.trainer))
        follow_epochs(loader, self.trainer, dataset.start)
        return loader

    def _options(self, part: Part) -> dict[str, Any]:
        size = self.batch_size if part == "train" else self.eval_batch_size
        return loader_options(self.trainer, size, self.num_workers, self.collate(part))
