"""What is worth keeping of a look at a URL list: compressed texts unpacked, and where rows of texts stand."""

import hashlib
import io
import zipfile
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
from pyarrow.fs import FileSystem, FileType

from curation.list_files import READ_BYTES, ListFile, filesystem, readable, split_location
from curation.list_formats import FileIndex


@dataclass(frozen=True)
class ListCache:
    """A folder, on disk or object storage, that all workers can read and one run writes to.

    Files are named by the identity of the list's file, and are known to be whole by what stands at their end
    or beside them: what a killed run has left half-written is made again.
    """

    folder: str

    def unpacked(self, file: ListFile, identity: str) -> ListFile:
        """A compressed file's text as a file of its own; another file as it is."""
        if file.compression is None:
            return file
        root, path = split_location(self.folder)
        target = f"{path}/{_key(identity)}-{PurePosixPath(file.path).stem}"
        with readable(f"{self.folder}: unpacking {file.name}"):
            system = filesystem(root)
            size = _marked_size(system, target)
            if size is None or system.get_file_info(target).size != size:
                system.create_dir(path, recursive=True)
                size = _copy(file, system, target)
        return ListFile(root, target, size)

    def saved_index(self, file: ListFile, identity: str, stop: int | None) -> FileIndex | None:
        """What `save_index` has left, if it is whole."""
        root, target = self._index_file(file, identity, stop)
        with readable(self.folder):
            system = filesystem(root)
            if system.get_file_info(target).type != FileType.File:
                return None
            with system.open_input_file(target) as stream:
                data = stream.read()
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as saved:
                return FileIndex(int(saved["rows"]), saved["marks"], tuple(saved["header"].tolist()))
        except (ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None

    def save_index(self, file: ListFile, identity: str, stop: int | None, index: FileIndex) -> None:
        """Keep where the rows of a text stand; an archive without its end is not one."""
        root, target = self._index_file(file, identity, stop)
        data = io.BytesIO()
        header = np.array(index.header, np.str_)
        np.savez(data, rows=np.array(index.rows), marks=index.marks, header=header)
        with readable(self.folder):
            system = filesystem(root)
            system.create_dir(str(PurePosixPath(target).parent), recursive=True)
            with system.open_output_stream(target) as stream:
                stream.write(data.getvalue())

    def _index_file(self, file: ListFile, identity: str, stop: int | None) -> tuple[str, str]:
        root, path = split_location(self.folder)
        upto = "all" if stop is None else str(stop)
        return root, f"{path}/{_key(identity)}-{file.format}-{upto}.index.npz"


def _key(identity: str) -> str:
    return hashlib.sha256(identity.encode()).hexdigest()[:16]


def _copy(file: ListFile, system: FileSystem, target: str) -> int:
    """The marker beside the copy is written last and says how long it is."""
    with file.open() as text, system.open_output_stream(target) as copy:
        while block := text.read(8 * READ_BYTES):
            copy.write(block)
        size = int(copy.tell())
    with system.open_output_stream(f"{target}.done") as marker:
        marker.write(str(size).encode())
    return size


def _marked_size(system: FileSystem, target: str) -> int | None:
    if system.get_file_info(f"{target}.done").type != FileType.File:
        return None
    with system.open_input_stream(f"{target}.done") as marker:
        text = marker.read().decode("ascii", errors="replace")
    return int(text) if text.isdigit() else None
