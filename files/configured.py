"""The file store that the settings name."""

from files.local import LocalStore
from files.store import FileStore
from runtime.errors import OperatorError
from runtime.settings import Settings


def configured(settings: Settings) -> FileStore:
    """An object store where one is named, else a folder. Raises OperatorError when its library is not installed."""
    if not settings.files_url:
        return LocalStore(settings.files_dir)
    try:
        from files.objects import ObjectStore
    except ImportError:
        raise OperatorError("ONYSOFT_FILES_URL needs the extra s3: pip install onysoft-gateway[s3]") from None
    return ObjectStore(settings.files_url)
