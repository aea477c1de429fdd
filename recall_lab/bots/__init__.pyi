# The public names of rl.bots, read by type checkers and by __init__.py alike.

from .account import REGIONS as REGIONS
from .async_client import AsyncClient as AsyncClient
from .client import Client as Client
from .configured import create as create
from .configured import delete as delete
from .configured import delete_media as delete_media
from .configured import download as download
from .configured import endpoint_status as endpoint_status
from .configured import get as get
from .configured import leave as leave
from .configured import list as list
from .configured import wait_until as wait_until
from .requests import EVENTS as EVENTS
from .requests import Reachable as Reachable
from .retries import Timing as Timing
from .values import STEPS as STEPS
from .values import Bot as Bot
from .values import RealtimeEndpoint as RealtimeEndpoint
from .values import Recording as Recording
from .values import StatusChange as StatusChange
