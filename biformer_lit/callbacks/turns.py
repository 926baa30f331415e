"""Schedule of the callbacks that draw the first validation images."""

from lightning.pytorch import Callback, Trainer

from biformer_lit.errors import ConfigError


class DrawsInTurns(Callback):
    """Base of callbacks that draw a few images of a validation every few epochs, the first validation always.

    Args:
        every_n_epochs: How often.
        images: How many of the first validation batch's images.
        without: What to say of leaving it out, after the problem.

    Raises:
        ConfigError: On a value out of its range.
    """

    def __init__(self, every_n_epochs: int, images: int, without: str) -> None:
        for name, value in (("every_n_epochs", every_n_epochs), ("images", images)):
            if value < 1:
                raise ConfigError(f"{type(self).__name__} {name}={value} must be at least 1; {without}")
        self.every_n_epochs = every_n_epochs
        self.images = images
        self.drawn: int | None = None  # the epoch of the last drawing

    def has_turn(self, trainer: Trainer) -> bool:
        """Return whether this validation is to be drawn, by this process."""
        if not trainer.is_global_zero or trainer.sanity_checking or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return False
        turn = trainer.current_epoch // self.every_n_epochs  # validation may come in every second epoch only
        return bool(trainer.loggers) and (self.drawn is None or turn != self.drawn // self.every_n_epochs)
