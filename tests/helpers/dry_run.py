"""A recipe with one step of training and of validation, on the CPU."""

from biformer_lit.cli import main


def dry_run(name, *more):
    """Run the recipe of this name with more arguments; returns the LightningCLI."""
    arguments = ["--data.batch_size", "2", "--data.num_workers", "0", "--trainer.fast_dev_run", "true"]
    arguments += ["--trainer.accelerator", "cpu", "--trainer.devices", "1", "--trainer.precision", "32-true"]
    arguments += ["--trainer.logger", "false", "--trainer.enable_progress_bar", "false"]
    return main(["fit", "--config", name, *arguments, *more])
