from .messages import AudioPacket as AudioPacket
from .messages import Message as Message
from .messages import OtherEvent as OtherEvent
from .messages import Participant as Participant
from .messages import Ref as Ref
from .messages import decode_message as decode_message
from .messages import encode_message as encode_message
