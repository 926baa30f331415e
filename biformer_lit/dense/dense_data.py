"""Base of the data modules of dense tasks: the embedded scenes, and normalised photographs."""

from typing import Any

from biformer_lit.data.checks import require
from biformer_lit.data.data_module import HFDataModule
from biformer_lit.data.embedded.scenes import SCENES, Scenes
from biformer_lit.data.loading import load_splits
from biformer_lit.data.normalisation import IMAGENET_MEAN, IMAGENET_STD, Triple, require_normalisation

_DEFAULT_SCENES = Scenes()


class DenseDataModule(HFDataModule):
    """Opens the data set of a dense task, by default the embedded ``digit_scenes``.

    Args:
        dataset: As for ``HFDataModule``.
        scenes: What the scenes of ``digit_scenes`` look like.
        mean: Mean of the channels that is subtracted, for pixel values 0..1.
        std: Standard deviation of the channels that is divided by.
        **kwargs: Arguments of ``HFDataModule``.

    Raises:
        ConfigError: If an argument is out of its range.
    """

    def __init__(
        self,
        dataset: str = SCENES,
        scenes: Scenes = _DEFAULT_SCENES,
        mean: Triple = IMAGENET_MEAN,
        std: Triple = IMAGENET_STD,
        **kwargs: Any,
    ) -> None:
        super().__init__(dataset=dataset, **kwargs)
        problem = f"is for the data set {SCENES}; leave it out"
        require(dataset == SCENES or scenes == _DEFAULT_SCENES, "scenes", scenes, problem)
        require_normalisation(mean, std)
        self.scenes, self.mean, self.std = scenes, mean, std

    def load(self) -> dict[str, Any]:
        """All splits of the data set by name; see ``HFDataModule``."""
        options = {"scenes": self.scenes} if self.dataset == SCENES else None
        return load_splits(self.dataset, self.config_name, self.revision, self.streaming, options, self.files_root)
