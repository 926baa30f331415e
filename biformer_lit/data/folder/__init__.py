"""A folder as a data set: which of its files are read, and which rows of which splits they make."""

from biformer_lit.data.folder.class_folder import ClassFolder
from biformer_lit.data.folder.folder_files import Files
from biformer_lit.data.folder.folder_report import FolderReport, Splits
from biformer_lit.data.folder.opening import open_folder

__all__ = ["ClassFolder", "Files", "FolderReport", "Splits", "open_folder"]
