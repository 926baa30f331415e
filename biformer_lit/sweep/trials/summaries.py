"""Summaries as TensorBoard's plugins read them; to be imported where one is written, as TensorBoard takes a moment."""

import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.custom_scalar import metadata as layout_metadata
from tensorboard.plugins.hparams import api_pb2, plugin_data_pb2
from tensorboard.plugins.hparams import metadata as hparams_metadata
from tensorboard.plugins.text import metadata as text_metadata
from tensorboard.summary.writer.record_writer import RecordWriter
from tensorboard.util import tensor_util

from biformer_lit.common.files import replacing
from biformer_lit.sweep.trials.varied import Column

Summaries: TypeAlias = list[tuple[int, Any]]
"""Steps, and what is known of them as ``Summary.Value``."""

_TYPES = {
    "number": api_pb2.DATA_TYPE_FLOAT64,
    "boolean": api_pb2.DATA_TYPE_BOOL,
    "text": api_pb2.DATA_TYPE_STRING,
}


def experiment(
    name: str, question: str, columns: Mapping[str, Column], varied: set[str], metrics: Mapping[str, str]
) -> Summaries:
    """Return the definition of the HParams table.

    Args:
        name: Of the study.
        question: That it answers.
        columns: Of the table.
        varied: Those that are to come first.
        metrics: Tag to title of its figures.
    """
    described = api_pb2.Experiment(name=name, description=question)
    for column_name, column in columns.items():
        info = described.hparam_infos.add(name=column_name, type=_TYPES[column.kind], differs=column_name in varied)
        if column.bounds is not None:
            info.domain_interval.min_value, info.domain_interval.max_value = column.bounds
        elif column.labels:
            info.domain_discrete.extend([column.value(label) for label in column.labels])
    for tag, title in metrics.items():
        described.metric_infos.add(name=api_pb2.MetricName(tag=tag), display_name=title)
    return [(0, _data(hparams_metadata.EXPERIMENT_TAG, plugin_data_pb2.HParamsPluginData(experiment=described)))]


def session_start(name: str, values: Mapping[str, bool | float | str]) -> Summaries:
    """A row of the table of HParams, by its name and its values."""
    info = plugin_data_pb2.SessionStartInfo(group_name=name, start_time_secs=time.time())
    for column, value in values.items():
        if isinstance(value, bool):
            info.hparams[column].bool_value = value
        elif isinstance(value, str):
            info.hparams[column].string_value = value
        else:
            info.hparams[column].number_value = value
    data = plugin_data_pb2.HParamsPluginData(session_start_info=info)
    return [(0, _data(hparams_metadata.SESSION_START_INFO_TAG, data))]


def session_end(*, success: bool) -> Summaries:
    """Return the event that completes a row of the table."""
    status = api_pb2.STATUS_SUCCESS if success else api_pb2.STATUS_FAILURE
    info = plugin_data_pb2.SessionEndInfo(status=status, end_time_secs=time.time())
    data = plugin_data_pb2.HParamsPluginData(session_end_info=info)
    return [(0, _data(hparams_metadata.SESSION_END_INFO_TAG, data))]


def layout(charts: Mapping[str, Mapping[str, Sequence[str]]]) -> Summaries:
    """The charts of Custom Scalars: category to title to tags."""
    described = layout_pb2.Layout()
    for category, titles in charts.items():
        added = described.category.add(title=category)
        for title, tags in titles.items():
            added.chart.add(title=title).multiline.tag.extend([f"^{re.escape(tag)}$" for tag in tags])
    tensor = tensor_util.make_tensor_proto(described.SerializeToString())
    return [(0, _value(layout_metadata.CONFIG_SUMMARY_TAG, layout_metadata.create_summary_metadata(), tensor))]


def text(tag: str, markdown: str) -> Summaries:
    """A text."""
    metadata = text_metadata.create_summary_metadata(display_name="", description="")
    return [(0, _value(tag, metadata, tensor_util.make_tensor_proto(markdown.encode())))]


def scalars(step: int, values: Mapping[str, float | None]) -> Summaries:
    """Tags and their values, without those that are not known."""
    return [(step, summary_pb2.Summary.Value(tag=tag, simple_value=v)) for tag, v in values.items() if v is not None]


def write_events(path: Path, summaries: Summaries, unfinished: str) -> None:
    """Write an event file, the whole or none.

    Args:
        path: The file; its name holds tfevents.
        summaries: What to write.
        unfinished: What the name of the file is made of until it is complete; TensorBoard reads all with tfevents.
    """
    now = time.time()
    events = [event_pb2.Event(wall_time=now, file_version="brain.Event:2")]
    for step, value in summaries:
        events.append(event_pb2.Event(wall_time=now, step=step, summary=summary_pb2.Summary(value=[value])))
    with replacing(path, unfinished) as temporary, temporary.open("wb") as file:
        writer = RecordWriter(file)
        for event in events:
            writer.write(event.SerializeToString())


def _data(tag: str, data: Any) -> Any:
    return _value(tag, hparams_metadata.create_summary_metadata(data), hparams_metadata.NULL_TENSOR)


def _value(tag: str, metadata: Any, tensor: Any) -> Any:
    metadata.data_class = summary_pb2.DATA_CLASS_TENSOR
    return summary_pb2.Summary.Value(tag=tag, metadata=metadata, tensor=tensor)
