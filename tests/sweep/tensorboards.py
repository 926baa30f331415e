"""What TensorBoard's own backend makes of a study's folder."""

import dataclasses

from studies import ledger_of
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext
from tensorboard.plugins import base_plugin
from tensorboard.plugins.hparams import api_pb2, backend_context, get_experiment, list_session_groups

from biformer_lit.sweep.trials.board import write_tensorboard

STATUSES = ("STATUS_UNKNOWN", "STATUS_SUCCESS", "STATUS_FAILURE", "STATUS_RUNNING")


@dataclasses.dataclass
class Row:
    """A row of the table of HParams."""

    values: dict
    metrics: dict
    status: str
    sessions: int


class Board:
    """A folder as TensorBoard loads it.

    Args:
        folder: The study's.
    """

    def __init__(self, folder):
        self.runs = EventMultiplexer()
        self.runs.AddRunsFromDirectory(str(folder / "cells"))
        self.runs.Reload()
        provider = MultiplexerDataProvider(self.runs, str(folder / "cells"))
        self._context = backend_context.Context(base_plugin.TBContext(data_provider=provider))

    def experiment(self):
        return get_experiment.Handler(RequestContext(), self._context, "", api_pb2.GetExperimentRequest()).run()

    def columns(self):
        """Name to type and domain."""
        found = {}
        for info in self.experiment().hparam_infos:
            domain = list(info.domain_discrete) or [info.domain_interval.min_value, info.domain_interval.max_value]
            found[info.name] = (api_pb2.DataType.Name(info.type).removeprefix("DATA_TYPE_"), domain)
        return found

    def rows(self):
        """Trial to its row."""
        request = api_pb2.ListSessionGroupsRequest(
            allowed_statuses=[api_pb2.Status.Value(name) for name in STATUSES], start_index=0, slice_size=1000
        )
        handler = list_session_groups.Handler(RequestContext(), self._context, "", request)
        found = {}
        for group in handler.run().session_groups:
            values = {name: getattr(value, value.WhichOneof("kind")) for name, value in group.hparams.items()}
            metrics = {metric.name.tag: metric.value for metric in group.metric_values}
            status = api_pb2.Status.Name(group.sessions[0].status).removeprefix("STATUS_")
            found[group.name] = Row(values, metrics, status, len(group.sessions))
        return found

    def text(self, tag):
        return [event.tensor_proto.string_val[0].decode() for event in self.runs.Tensors(".", tag)]

    def steps(self, run, tag):
        return [event.step for event in self.runs.Tensors(run, tag)]


def update(folder, table=None, said=None):
    """Bring a study's summaries up to date, as the command does; what it said."""
    said = [] if said is None else said
    ledger = ledger_of(folder)
    jobs = ledger.jobs()
    write_tensorboard(folder, jobs, ledger.standings(job.key for job in jobs), table=table, say=said.append)
    return said


def files(folder, kind=""):
    """Our event files below a folder that say something, and when they were written."""
    found = {path: path.stat() for path in sorted(folder.rglob(f"*tfevents.*.{kind}*-*"))}
    return {path: each.st_mtime_ns for path, each in found.items() if each.st_size}
