"""Settings that Lightning's trainer cannot work with: one line, exit status 2, nothing touched.

Each row is a command line, as ``helpers.bad_input`` reads it, and what its one line of error says.
"""

import pytest

TRAINER = [
    pytest.param(
        "fit $tiny --trainer.accelerator tup", r"trainer: .*accelerator='tup'.* names are: auto", id="accelerator"
    ),
    pytest.param("fit $tiny --trainer.devices x", r"trainer: `devices` .*should be an int > 0", id="devices-text"),
    pytest.param(
        "fit $tiny --trainer.devices 0", r"trainer: .*devices='0'.* not a valid input using cpu", id="no-devices"
    ),
    pytest.param("fit $tiny --trainer.strategy ddpp", r"trainer: .*strategy='ddpp'.*choices: auto, ddp", id="strategy"),
    pytest.param("fit $tiny --trainer.max_epochs two", r"trainer\.max_epochs: 'two' .*expected int", id="epochs-text"),
    pytest.param(
        "fit $tiny --trainer.max_epochs -3", r"trainer: `max_epochs` must be .*-1\. You .*-3", id="epochs-negative"
    ),
    pytest.param(
        "fit $tiny --trainer.max_epochs -1", r"length of the run is unknown: set trainer\.max_steps", id="endless"
    ),
    pytest.param("fit $tiny --trainer.precision 12", r"trainer\.precision: '12' .*'bf16-mixed'", id="precision"),
    pytest.param("fit $tiny --trainer.limit_train_batches 2.5", r"trainer: .*2\.5 for limit_train_batches", id="limit"),
    pytest.param(
        "fit $tiny --trainer.accumulate_grad_batches 0", r"trainer\.accumulate_grad_batches=0 must be", id="grad"
    ),
    pytest.param(
        "fit $tiny --trainer.check_val_every_n_epoch 0", r"trainer\.check_val_every_n_epoch=0 must be", id="every"
    ),
    pytest.param(
        "fit $tiny --trainer.val_check_interval 0", r"trainer\.val_check_interval=0.* must be above", id="interval"
    ),
    pytest.param(
        "fit $tiny --trainer.val_check_interval 100",
        r"trainer: `val_check_interval` \(100\) must be less than",
        id="interval-100",
    ),
    pytest.param(
        "fit $tiny --trainer.max_time 5", r"trainer: .*not a valid duration. Expected .*DD:HH:MM:SS", id="max-time"
    ),
    pytest.param(
        "fit $tiny --trainer.logger.save_dir $files/note.txt",
        r"note\.txt is a file, where a folder is to be; choose another place",
        id="run-folder-is-a-file",
    ),
    pytest.param(
        "fit $tiny --trainer.callbacks.monitor val/nope",
        r"monitor='val/nope'.*could not find.*'val/acc1'",
        id="monitor",
    ),
]


@pytest.mark.parametrize(("arguments", "message"), TRAINER)
def test_a_bad_trainer_gives_one_clear_line(arguments, message, check_refusal):
    check_refusal(arguments, message)
