"""A folder as a data set: which of its files are read, and which rows of which splits they make."""

from biformer_lit.data.folder.files import Files
from biformer_lit.data.folder.images import ClassFolder
from biformer_lit.data.folder.opening import open_folder
from biformer_lit.data.folder.report import FolderReport, Splits

__all__ = ["ClassFolder", "Files", "FolderReport", "Splits", "open_folder"]
