from ticktape.client import Client as Client
from ticktape.client.download import download as download
from ticktape.local import open as open  # noqa: A004

__version__: str
